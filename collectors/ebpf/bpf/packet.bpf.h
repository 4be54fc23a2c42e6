/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Packets of the sockets in the table, for what only they can tell: where a
 * datagram goes, the answers of name servers, and the names that a process
 * itself gives to its peer (TLS, QUIC, HTTP). What is seen here the process
 * cannot change any more.
 *
 * Both programs see every packet of the host that belongs to a socket, and end
 * at one look-up where the socket is none of a watched process. Of the others
 * they hand over answers of name servers, the first 4 KiB of what begins like
 * TLS, 2 KiB of what begins like a request of HTTP, 16 bytes of its answer, and
 * Initial packets of QUIC. They are attached from the start: that takes a
 * privilege that the agent then gives up.
 */
#ifndef PACKET_BPF_H
#define PACKET_BPF_H

#define DNS_PORT 53
#define UDP_HEADER 8
#define TCP_SYN 2 /* of the flags */
#define IPV6_HOPS 0
#define IPV6_ROUTING 43
#define IPV6_DESTINATION 60
#define IPV6_OPTIONS 4 /* headers between IPv6's and TCP's */

#define HEADS 10000    /* of one connection */
#define TLS_BYTES 4096 /* with a post-quantum key it is over 1,500 */
#define HTTP_BYTES 2048
#define STATUS_BYTES 16
#define QUIC_PACKETS 4

struct packet {
	u8 from[16];
	u8 to[16];
	u32 at; /* of the header behind IP's */
	u8 protocol;
	u8 unused[3];
};

static __always_inline bool read_packet(struct __sk_buff *skb, struct packet *p)
{
	u8 first = 0, next[2];
	__be32 v4[2];
	int i;

	if (bpf_skb_load_bytes(skb, 0, &first, 1))
		return false;
	if (first >> 4 == 4) {
		if (bpf_skb_load_bytes(skb, 9, &p->protocol, 1) || bpf_skb_load_bytes(skb, 12, v4, 8))
			return false;
		map_v4(p->from, v4[0]);
		map_v4(p->to, v4[1]);
		p->at = (first & 15) * 4;
		return true;
	}
	if (first >> 4 != 6 || bpf_skb_load_bytes(skb, 6, &p->protocol, 1) ||
		bpf_skb_load_bytes(skb, 8, p->from, 16) || bpf_skb_load_bytes(skb, 24, p->to, 16))
		return false;
	p->at = 40;
	for (i = 0; i < IPV6_OPTIONS; i++) {
		if (p->protocol != IPV6_HOPS && p->protocol != IPV6_ROUTING && p->protocol != IPV6_DESTINATION)
			return true;
		if (bpf_skb_load_bytes(skb, p->at, next, 2))
			return false;
		p->protocol = next[0];
		p->at += (next[1] + 1) * 8;
	}
	return true;
}

static __always_inline void begin_owned(struct header *h, enum kind kind, struct flow *f)
{
	h->time = bpf_ktime_get_boot_ns();
	h->start = f->start;
	h->pid = f->pid;
	h->tid = 0;
	h->kind = kind;
	h->flags = 0;
}

/* Hands over the payload at `at`, which an answer of a name server is. */
static __always_inline void send_answer(
	struct __sk_buff *skb, u32 at, const u8 from[16], struct flow *f, enum flags flags)
{
	struct dns_rec *rec;
	u32 last; /* byte of data that is taken */

	if (skb->len <= at)
		return;
	rec = bpf_ringbuf_reserve(&ring, sizeof(*rec), 0);
	if (!rec) {
		drop(KIND_DNS, CAUSE_RING);
		return;
	}
	__builtin_memset(rec, 0, sizeof(*rec) - DNS_BYTES);
	begin_owned(&rec->h, KIND_DNS, f);
	rec->h.flags = flags;
	rec->cookie = f->cookie;
	__builtin_memcpy(rec->peer, from, 16);
	rec->total = skb->len - at;
	last = rec->total - 1;
	if (last >= DNS_BYTES)
		last = DNS_BYTES - 1;
	/* The length is one more than what was compared, so that older verifiers see that it is not 0. */
	barrier_var(last);
	if (last >= DNS_BYTES || bpf_skb_load_bytes(skb, at, rec->data, last + 1)) {
		bpf_ringbuf_discard(rec, BPF_RB_NO_WAKEUP);
		return;
	}
	rec->len = last + 1;
	bpf_ringbuf_submit(rec, wake(LATER, rec->h.time, ring_waiting()));
}

/* Hands over at most `size` bytes of the payload; size is a constant. */
static __always_inline void send_head_of(
	struct __sk_buff *skb, u32 at, u32 len, struct flow *f, u32 offset, enum flags flags, const u32 size)
{
	struct head_rec *rec = bpf_ringbuf_reserve(&ring, sizeof(*rec) + size, 0);

	if (!rec) {
		drop(KIND_HEAD, CAUSE_RING);
		return;
	}
	begin_owned(&rec->h, KIND_HEAD, f);
	rec->h.flags = flags;
	rec->cookie = f->cookie;
	rec->a = f->a;
	rec->offset = offset;
	rec->unused = 0;
	len--; /* as in send_answer */
	barrier_var(len);
	if (len >= size || bpf_skb_load_bytes(skb, at, rec + 1, len + 1)) {
		bpf_ringbuf_discard(rec, BPF_RB_NO_WAKEUP);
		return;
	}
	rec->len = len + 1;
	bpf_ringbuf_submit(rec, wake(LATER, rec->h.time, ring_waiting()));
}

static __always_inline void send_head(
	struct __sk_buff *skb, u32 at, u32 len, struct flow *f, u32 offset, enum flags flags)
{
	if (len <= 256)
		send_head_of(skb, at, len, f, offset, flags, 256);
	else if (len <= 1536)
		send_head_of(skb, at, len, f, offset, flags, 1536);
	else
		send_head_of(skb, at, len, f, offset, flags, TLS_BYTES);
}

#define WORD(a, b, c, d) ((u32)(a) | (u32)(b) << 8 | (u32)(c) << 16 | (u32)(d) << 24) /* both targets are little-endian */

/* How much is wanted of what begins like this; 0: nothing. */
static __always_inline u32 opening(struct __sk_buff *skb, u32 at, u32 len)
{
	u32 word = 0;

	if (len < 4) { /* the rest is to come */
		if (bpf_skb_load_bytes(skb, at, &word, 1))
			return 0;
		if (word == 0x16)
			return TLS_BYTES;
		return (word >= 'A' && word <= 'Z') || word == '\r' || word == '\n' ? HTTP_BYTES : 0;
	}
	if (bpf_skb_load_bytes(skb, at, &word, 4))
		return 0;
	if ((word & 0xffff) == 0x0316)
		return TLS_BYTES;
	if ((word & 0xff) == '\r' || (word & 0xff) == '\n')
		return HTTP_BYTES; /* servers pass over empty lines */
	switch (word) {
	case WORD('G', 'E', 'T', ' '):
	case WORD('P', 'O', 'S', 'T'):
	case WORD('P', 'U', 'T', ' '):
	case WORD('H', 'E', 'A', 'D'):
	case WORD('D', 'E', 'L', 'E'):
	case WORD('P', 'A', 'T', 'C'):
	case WORD('O', 'P', 'T', 'I'):
	case WORD('C', 'O', 'N', 'N'):
	case WORD('T', 'R', 'A', 'C'):
	case WORD('P', 'R', 'O', 'P'): /* PROPFIND and other calls of WebDAV */
	case WORD('M', 'K', 'C', 'O'):
	case WORD('M', 'O', 'V', 'E'):
	case WORD('C', 'O', 'P', 'Y'):
		return HTTP_BYTES;
	}
	return 0;
}

static __always_inline bool head_allowed(struct flow *f)
{
	if (f->heads >= HEADS) {
		drop(KIND_HEAD, CAUSE_HEADS);
		return false;
	}
	f->heads++;
	return true;
}

/* What a client says, from where a segment begins like TLS or HTTP. */
static __always_inline void client_says(struct __sk_buff *skb, u32 at, u32 len, u32 seq, struct flow *f)
{
	u32 want, offset;

	if (!f->looked) {
		f->looked = 1;
		f->out_first = f->out_next = seq;
	}
	if ((s32)(seq - f->out_next) < 0)
		return; /* sent again */
	want = opening(skb, at, len);
	if (!want && seq == f->out_next)
		want = f->wanted;
	offset = seq - f->out_first;
	f->out_next = seq + len;
	if (!want || !head_allowed(f)) {
		f->wanted = 0;
		return;
	}
	if (want == HTTP_BYTES)
		f->http = 1;
	if (len > want)
		len = want;
	f->wanted = want - len;
	send_head(skb, at, len, f, offset, 0);
}

/* What a server answers: the status of HTTP, names. */
static __always_inline void server_says(
	struct __sk_buff *skb, u32 at, u32 len, u32 seq, const u8 from[16], struct flow *f)
{
	u32 word = 0;

	if (f->in_next && (s32)(seq - f->in_next) < 0)
		return;
	f->in_next = seq + len;
	if (f->a.peer_port == DNS_PORT) {
		send_answer(skb, at, from, f, OVER_TCP);
		return;
	}
	if (!f->http || len < STATUS_BYTES || bpf_skb_load_bytes(skb, at, &word, 4) || word != WORD('H', 'T', 'T', 'P'))
		return;
	if (head_allowed(f))
		send_head_of(skb, at, STATUS_BYTES, f, 0, ANSWERED, STATUS_BYTES);
}

struct tcp_head {
	u32 ports;
	__be32 seq;
	u32 ack;
	u8 words; /* in the upper half: length of the header */
	u8 flags;
};

static __always_inline void segment(struct __sk_buff *skb, struct packet *p, struct flow *f, bool out)
{
	struct tcp_head h = {};
	u32 at, seq;

	if (f->a.inbound || bpf_skb_load_bytes(skb, p->at, &h, 14))
		return;
	at = p->at + (h.words >> 4) * 4;
	if (skb->len <= at)
		return;
	seq = bpf_ntohl(h.seq) + !!(h.flags & TCP_SYN); /* data of TCP Fast Open */
	if (out)
		client_says(skb, at, skb->len - at, seq, f);
	else
		server_says(skb, at, skb->len - at, seq, p->from, f);
}

/* A long header of an Initial packet, of version 1 or 2. */
static __always_inline bool quic_initial(struct __sk_buff *skb, u32 at)
{
	u8 b[5];

	if (bpf_skb_load_bytes(skb, at, b, 5) || !(b[0] & 0x80))
		return false;
	if (!b[1] && !b[2] && !b[3] && b[4] == 1)
		return (b[0] & 0x30) == 0;
	return b[1] == 0x6b && b[2] == 0x33 && b[3] == 0x43 && b[4] == 0xcf && (b[0] & 0x30) == 0x10;
}

static __always_inline void datagram_out(struct __sk_buff *skb, struct packet *p, struct flow *f)
{
	struct flow to;
	__be16 ports[2];
	u32 at = p->at + UDP_HEADER;
	struct sock_rec rec;

	if (bpf_skb_load_bytes(skb, p->at, ports, 4) || skb->len <= at)
		return;
	if (counts_packets)
		__sync_fetch_and_add(&f->sent, skb->len - at);
	if (new_peer(f->cookie ? f->cookie : (u64)skb->sk, p->to, bpf_ntohs(ports[1]))) {
		__builtin_memset(&rec, 0, sizeof(rec));
		begin_owned(&rec.h, KIND_CONNECT, f);
		rec.cookie = f->cookie;
		rec.a = f->a;
		__builtin_memcpy(rec.a.local, p->from, 16);
		__builtin_memcpy(rec.a.peer, p->to, 16);
		rec.a.local_port = bpf_ntohs(ports[0]);
		rec.a.peer_port = bpf_ntohs(ports[1]);
		rec.a.inbound = 0;
		send(&rec, sizeof(rec), KIND_CONNECT, LATER);
		if (!f->reported) {
			f->a = rec.a;
			f->reported = 1;
		}
	}
	if (f->heads < QUIC_PACKETS && quic_initial(skb, at)) {
		f->heads++;
		to = *f;
		__builtin_memcpy(to.a.peer, p->to, 16);
		to.a.peer_port = bpf_ntohs(ports[1]);
		at = p->at + UDP_HEADER;
		send_head_of(skb, at, skb->len - at, &to, 0, 0, 1536);
	}
}

static __always_inline void datagram_in(struct __sk_buff *skb, struct packet *p, struct flow *f)
{
	__be16 ports[2];

	if (bpf_skb_load_bytes(skb, p->at, ports, 4))
		return;
	if (counts_packets && skb->len > p->at + UDP_HEADER)
		__sync_fetch_and_add(&f->received, skb->len - p->at - UDP_HEADER);
	if (ports[0] == bpf_htons(DNS_PORT))
		send_answer(skb, p->at + UDP_HEADER, p->from, f, 0);
	if (f->reported)
		return;
	/* Nothing was sent before: it serves, or only listens. */
	f->reported = 1;
	__builtin_memcpy(f->a.local, p->to, 16);
	__builtin_memcpy(f->a.peer, p->from, 16);
	f->a.peer_port = bpf_ntohs(ports[0]);
	f->a.local_port = bpf_ntohs(ports[1]);
	f->a.inbound = 1;
	send_owned(f, KIND_ACCEPT);
}

static __always_inline void look(struct __sk_buff *skb, bool out)
{
	struct packet p = {};
	struct flow *f;
	u64 key;

	if (!udp_ends)
		return; /* nothing has been watched yet */
	key = (u64)skb->sk;
	f = flow_of(key);
	if (!f || !read_packet(skb, &p))
		return;
	if (p.protocol == IPPROTO_TCP)
		segment(skb, &p, f, out);
	else if (p.protocol == IPPROTO_UDP && out)
		datagram_out(skb, &p, f);
	else if (p.protocol == IPPROTO_UDP)
		datagram_in(skb, &p, f);
}

SEC("cgroup_skb/egress")
int packet_out(struct __sk_buff *skb)
{
	look(skb, true);
	return 1;
}

SEC("cgroup_skb/ingress")
int packet_in(struct __sk_buff *skb)
{
	look(skb, false);
	return 1;
}

#endif
