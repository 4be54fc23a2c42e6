/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Answers of name servers, as they arrive: on the way into the socket, where
 * the process that asked cannot have changed them. The program sees every
 * packet that comes in, and looks further at UDP from port 53 alone. It is
 * attached from the start: that takes a privilege that the agent then gives up.
 */
#ifndef DNS_BPF_H
#define DNS_BPF_H

#define DNS_PORT 53
#define UDP_HEADER 8

/* Where the UDP header of a packet is, and who sent it; 0: it has none in plain sight. */
static __always_inline u32 udp_offset(struct __sk_buff *skb, u8 from[16])
{
	u8 first = 0, protocol = 0;
	__be32 v4 = 0;

	if (bpf_skb_load_bytes(skb, 0, &first, 1))
		return 0;
	if (first >> 4 == 4) {
		if (bpf_skb_load_bytes(skb, 9, &protocol, 1) || protocol != IPPROTO_UDP ||
			bpf_skb_load_bytes(skb, 12, &v4, 4))
			return 0;
		map_v4(from, v4);
		return (first & 15) * 4;
	}
	if (first >> 4 != 6 || bpf_skb_load_bytes(skb, 6, &protocol, 1) || protocol != IPPROTO_UDP ||
		bpf_skb_load_bytes(skb, 8, from, 16))
		return 0;
	return 40;
}

static __always_inline void answer(
	struct __sk_buff *skb, u32 offset, const u8 from[16], u64 cookie, struct flow *f)
{
	struct dns_rec *rec;
	u32 last; /* byte of data that is taken */

	if (skb->len <= offset + UDP_HEADER)
		return;
	rec = bpf_ringbuf_reserve(&ring, sizeof(*rec), 0);
	if (!rec) {
		drop(KIND_DNS, CAUSE_RING);
		return;
	}
	__builtin_memset(rec, 0, sizeof(*rec) - DNS_BYTES);
	rec->h.time = bpf_ktime_get_boot_ns();
	rec->h.start = f->start;
	rec->h.pid = f->pid;
	rec->h.kind = KIND_DNS;
	rec->cookie = cookie;
	__builtin_memcpy(rec->peer, from, 16);
	rec->total = skb->len - offset - UDP_HEADER;
	last = rec->total - 1;
	if (last >= DNS_BYTES)
		last = DNS_BYTES - 1;
	/* The length is one more than what was compared, so that older verifiers see that it is not 0. */
	barrier_var(last);
	if (last >= DNS_BYTES || bpf_skb_load_bytes(skb, offset + UDP_HEADER, rec->data, last + 1)) {
		bpf_ringbuf_discard(rec, BPF_RB_NO_WAKEUP);
		return;
	}
	rec->len = last + 1;
	bpf_ringbuf_submit(rec, wake(false));
}

SEC("cgroup_skb/ingress")
int dns_answered(struct __sk_buff *skb)
{
	u8 from[16] = {};
	struct flow *f;
	__be16 port = 0;
	u32 offset;
	u64 cookie;

	if (!udp_ends)
		return 1; /* nothing has been watched yet */
	offset = udp_offset(skb, from);
	if (!offset || bpf_skb_load_bytes(skb, offset, &port, 2) || port != bpf_htons(DNS_PORT))
		return 1;
	cookie = bpf_get_socket_cookie(skb);
	f = bpf_map_lookup_elem(&flows, &cookie);
	if (f)
		answer(skb, offset, from, cookie, f);
	return 1;
}

#endif
