/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Sockets: connect and accept from the socket itself when the call returns,
 * and the end of a socket with its totals. The end comes in any context, so
 * the owner is looked up in a table that the calls fill.
 *
 * A socket is in the table under its address. TCP: from connect or accept until
 * the state CLOSE, which every one of them reaches before its memory is used
 * again. UDP: from its making, or its first use by a watched process, until it
 * is released. Programs on packets (packet.bpf.h) find it there too.
 */
#ifndef NET_BPF_H
#define NET_BPF_H

#define AF_INET 2
#define AF_INET6 10
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define IPPROTO_MPTCP 262
#define TCP_ESTABLISHED 1
#define TCP_SYN_SENT 2
#define TCP_SYN_RECV 3
#define TCP_CLOSE 7
#define MSG_PEEK 2
#define MSG_FASTOPEN 0x20000000
#define SOCK_DONE 2	      /* bit 1 of skc_flags: the peer's FIN was received */
#define SOCK_BINDPORT_LOCK 8 /* the port was asked for, and not chosen by the kernel */
#define BATCH 32    /* datagrams of one sendmmsg that are looked at */

bool udp_ends = false;	   /* the agent sees UDP sockets end, so that the table is cleaned */
const volatile bool counts_packets = false; /* before 6.3 the bytes of UDP are counted by packet */
bool sees_packets = false; /* and what is sent, so that a datagram's address is known for sure */

struct flow {
	u64 start; /* of the owner */
	u32 pid;
	u32 reported; /* a connect or accept record was sent */
	u64 cookie;
	u64 sent; /* UDP: so far */
	u64 received;
	u64 said; /* sum of both when it was last told */
	struct addrs a;
	/* What packet.bpf.h looked at: the next sequence numbers, and how much is still wanted. */
	u32 out_first;
	u32 out_next;
	u32 in_next;
	u16 wanted;
	u16 heads;
	u8 looked;
	u8 http;
	u8 unused[6];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, u64);
	__type(value, struct flow);
} flows SEC(".maps");

/*
 * How many sockets of the table have a place here, by their address. Every
 * packet and every change of state of the host asks the table, nearly always
 * for nothing: where the count is 0 it need not be asked.
 */
#define PLACES 4096
u32 places[PLACES];

static __always_inline u32 *place_of(u64 socket)
{
	u64 number = 0;

	/* Older verifiers and newer ones alike do not want to see pointers shifted. */
	bpf_probe_read_kernel(&number, sizeof(number), &socket);
	return &places[(u32)(number >> 6) * 0x9E3779B1 >> 20 & (PLACES - 1)];
}

static __always_inline struct flow *flow_of(u64 socket)
{
	if (!*(volatile u32 *)place_of(socket))
		return NULL;
	return bpf_map_lookup_elem(&flows, &socket);
}

static __always_inline void flow_put(u64 socket, struct flow *f)
{
	u32 *place = place_of(socket);

	__sync_fetch_and_add(place, 1); /* first: who finds 0 does not look */
	if (!bpf_map_update_elem(&flows, &socket, f, BPF_NOEXIST))
		return;
	__sync_fetch_and_add(place, -1);
	if (bpf_map_update_elem(&flows, &socket, f, BPF_EXIST))
		drop(KIND_CLOSE, CAUSE_TABLE);
}

static __always_inline void flow_drop(u64 socket)
{
	if (!bpf_map_delete_elem(&flows, &socket))
		__sync_fetch_and_add(place_of(socket), -1);
}

/* Whom a UDP socket has sent to, so that only its first datagram to each is reported. */
struct peer {
	u64 socket;
	u8 address[16];
	u16 port;
	u16 unused[3];
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct peer);
	__type(value, u8);
} peers SEC(".maps");

/* Ports of gateways, to which strangers are watched connecting. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, u16);
	__type(value, u8);
} ports SEC(".maps");

struct sockaddr_any {
	u16 family;
	__be16 port;
	__be32 v4;
	u8 v6[16];
};

static __always_inline void map_v4(u8 to[16], __be32 v4)
{
	__builtin_memset(to, 0, 10);
	to[10] = to[11] = 0xff;
	__builtin_memcpy(to + 12, &v4, 4);
}

/* False where it is not an Internet address. */
static __always_inline bool read_peer(struct addrs *a, enum space space, u64 from)
{
	struct sockaddr_any sa = {};

	if (!from || read_from(space, &sa, 16, from))
		return false;
	a->peer_port = bpf_ntohs(sa.port);
	if (sa.family == AF_INET) {
		map_v4(a->peer, sa.v4);
		return true;
	}
	return sa.family == AF_INET6 && !read_from(space, a->peer, 16, from + 8);
}

/* False where it is not an Internet socket of a protocol that is reported. */
static __always_inline bool read_sock(struct addrs *a, struct sock *sk)
{
	u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);

	a->protocol = BPF_CORE_READ(sk, sk_protocol);
	if (a->protocol == IPPROTO_MPTCP)
		a->protocol = IPPROTO_TCP;
	if (a->protocol != IPPROTO_TCP && a->protocol != IPPROTO_UDP)
		return false;
	a->local_port = BPF_CORE_READ(sk, __sk_common.skc_num);
	a->peer_port = bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));
	if (family == AF_INET) {
		map_v4(a->local, BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr));
		map_v4(a->peer, BPF_CORE_READ(sk, __sk_common.skc_daddr));
		return true;
	}
	bpf_core_read(a->local, 16, &sk->__sk_common.skc_v6_rcv_saddr);
	bpf_core_read(a->peer, 16, &sk->__sk_common.skc_v6_daddr);
	return family == AF_INET6;
}

/* The peer is loopback, or has the address of this end: the route was chosen by then. */
static __always_inline bool this_host(struct addrs *a)
{
	const u8 *p = a->peer;
	u8 same = 0, zero = 0;
	int i;

	for (i = 0; i < 16; i++)
		same |= p[i] ^ a->local[i];
	for (i = 0; i < 10; i++)
		zero |= p[i];
	if (!same)
		return true;
	if (!zero && p[10] == 0xff && p[11] == 0xff)
		return p[12] == 127;
	return !zero && !(p[10] | p[11] | p[12] | p[13] | p[14]) && p[15] == 1;
}

static __always_inline struct sock *sock_of(struct task_struct *task, u32 fd)
{
	struct file *file = file_of(task, fd);
	struct socket *socket;

	if (!file || (BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) != S_IFSOCK)
		return NULL;
	socket = BPF_CORE_READ(file, private_data);
	return BPF_CORE_READ(socket, sk);
}

static __always_inline void begin_flow(struct flow *f, struct task_struct *task, struct sock *sk)
{
	f->start = start_ticks(task);
	f->pid = pid_of(task);
	f->cookie = BPF_CORE_READ(sk, __sk_common.skc_cookie.counter);
}

/* For connect and accept, in the context of the task that did it. */
static __always_inline void send_flow(
	struct flow *f, struct task_struct *task, enum kind kind, u32 error, enum flags flags)
{
	struct sock_rec rec = {};

	begin(&rec.h, kind, task);
	rec.h.flags = flags;
	rec.cookie = f->cookie;
	rec.a = f->a;
	rec.error = error;
	send(&rec, sizeof(rec), kind, LATER);
}

/* For what happens in any context: with the owner that the table names. */
static __always_inline void send_owned(struct flow *f, enum kind kind)
{
	struct sock_rec rec = {};

	rec.h.time = bpf_ktime_get_boot_ns();
	rec.h.start = f->start;
	rec.h.pid = f->pid;
	rec.h.kind = kind;
	rec.cookie = f->cookie;
	rec.sent = f->sent;
	rec.received = f->received;
	rec.a = f->a;
	send(&rec, sizeof(rec), kind, LATER);
}

static __always_inline void read_totals(struct flow *f, struct sock *sk)
{
	struct tcp_sock *tp = (struct tcp_sock *)sk;

	f->sent = BPF_CORE_READ(tp, bytes_sent) - BPF_CORE_READ(tp, bytes_retrans);
	f->received = BPF_CORE_READ(tp, bytes_received);
	/* The kernel counts a FIN as one byte. */
	if (f->received && BPF_CORE_READ(sk, __sk_common.skc_flags) & SOCK_DONE)
		f->received--;
	if (!f->a.local_port)
		f->a.local_port = bpf_ntohs(BPF_CORE_READ((struct inet_sock *)sk, inet_sport));
}

/*
 * Puts a TCP socket into the table as reported, or notes that there. One that
 * is closed by now has had its end before its beginning was seen: report that
 * too.
 */
static __always_inline void open_flow(struct flow *f, struct sock *sk)
{
	u64 key = (u64)sk;
	struct flow *known = flow_of(key);

	f->reported = 1;
	if (known) { /* since SYN_SENT; data may have gone out meanwhile */
		known->a = f->a;
		known->reported = 1;
	} else {
		flow_put(key, f);
	}
	if (BPF_CORE_READ(sk, __sk_common.skc_state) != TCP_CLOSE)
		return;
	read_totals(f, sk);
	send_owned(f, KIND_CLOSE);
	flow_drop(key);
}

/*
 * A Multipath TCP socket has no totals of its own: those of its first path are
 * told as its. The kernel made that one within connect.
 */
static __always_inline void open_paths(struct flow *f, struct sock *sk)
{
	struct flow *path;
	u64 key;

	if (!bpf_core_field_exists(struct mptcp_sock, first))
		return;
	key = (u64)BPF_CORE_READ((struct mptcp_sock *)sk, first);
	path = flow_of(key);
	if (!path)
		return;
	path->cookie = f->cookie;
	path->reported = 1;
}

/* Whether a UDP socket has sent nothing to this peer yet. */
static __always_inline bool new_peer(u64 socket, const u8 address[16], u16 port)
{
	struct peer peer = {.socket = socket, .port = port};
	u8 one = 1;

	__builtin_memcpy(peer.address, address, 16);
	if (bpf_map_lookup_elem(&peers, &peer))
		return false;
	bpf_map_update_elem(&peers, &peer, &one, BPF_ANY);
	return true;
}

/* Reports a UDP socket's first datagram to the peer in f->a. */
static __always_inline void send_first(struct flow *f, struct task_struct *task, struct sock *sk)
{
	u64 key = (u64)sk;
	struct flow *known;

	if (!new_peer(f->cookie ? f->cookie : key, f->a.peer, f->a.peer_port))
		return;
	send_flow(f, task, KIND_CONNECT, 0, 0);
	if (!udp_ends)
		return;
	known = flow_of(key);
	if (!known) {
		f->reported = 1;
		flow_put(key, f);
	} else if (!known->reported) {
		known->a = f->a;
		known->reported = 1;
	}
}

/* Reports the first datagram of a socket that has a peer. */
static __always_inline void send_connected(struct sock *sk)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct flow f = {};

	if (!read_sock(&f.a, sk) || !f.a.peer_port)
		return;
	begin_flow(&f, task, sk);
	send_first(&f, task, sk);
}

/* By the current task. A function of its own, as is datagram_sent, so that the stack of callers has room. */
static __noinline int connect_done(struct sock *sk, s64 ret, enum space space, u64 address)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct flow f = {}, *known;

	if (!sk || !read_sock(&f.a, sk))
		return 0;
	begin_flow(&f, task, sk);
	if (ret == -EALREADY || ret == -EISCONN || ret == -EBADF || ret == -EFAULT)
		return 0;
	if (ret == -ERESTARTSYS && BPF_CORE_READ(sk, __sk_common.skc_state) == TCP_CLOSE)
		ret = -BPF_CORE_READ(sk, sk_err); /* a signal came, and so did the refusal */
	if (ret < 0 && ret != -EINPROGRESS && ret != -ERESTARTSYS) {
		if (read_peer(&f.a, space, address))
			send_flow(&f, task, KIND_CONNECT, -ret, 0);
		return 0;
	}
	if (f.a.protocol == IPPROTO_UDP)
		return 0; /* its first datagram tells: resolvers connect sockets to learn a route */
	if (!f.a.peer_port && !read_peer(&f.a, space, address))
		return 0;
	known = flow_of((u64)sk);
	if (known && known->reported)
		return 0; /* a second call, to ask how the first one went */
	send_flow(&f, task, KIND_CONNECT, 0, 0);
	if (BPF_CORE_READ(sk, sk_protocol) == IPPROTO_TCP)
		open_flow(&f, sk);
	else
		open_paths(&f, sk);
	return 0;
}

/* A socket of any family, to an address of the user's. */
static __always_inline int any_connected(struct task_struct *task, struct sock *sk, s64 ret, u64 address)
{
	if (!sk)
		return 0;
	switch (BPF_CORE_READ(sk, __sk_common.skc_family)) {
	case AF_UNIX:
		return unix_address((u64)sk, ret, USER, address);
	case AF_VSOCK:
		return vsock_connected(task, sk, ret, USER, address);
	}
	return connect_done(sk, ret, USER, address);
}

SEC("tracepoint/syscalls/sys_exit_connect")
int connected(struct sys_exit *ctx)
{
	struct task_struct *task = caller(0);
	struct pt_regs *regs;

	if (!task)
		return 0;
	regs = call_regs(task);
	return any_connected(task, sock_of(task, ARG1(regs)), ctx->ret, ARG2(regs));
}

static __always_inline int accept_done(struct task_struct *task, struct sock *sk)
{
	struct flow f = {};

	if (!sk || !read_sock(&f.a, sk))
		return 0;
	begin_flow(&f, task, sk);
	f.a.inbound = 1;
	send_flow(&f, task, KIND_ACCEPT, 0, 0);
	if (BPF_CORE_READ(sk, sk_protocol) == IPPROTO_TCP)
		open_flow(&f, sk);
	return 0;
}

/* accept and accept4 */
SEC("tracepoint/syscalls/sys_exit_accept4")
int accepted(struct sys_exit *ctx)
{
	struct task_struct *task = caller(ctx->ret);

	return task ? accept_done(task, sock_of(task, ctx->ret)) : 0;
}

/* A msghdr of the user's, up to the length of what came beside the data. */
struct message {
	u64 name;
	u32 name_len;
	u32 unused;
	u64 vector;
	u64 vectors;
	u64 control;
	u64 control_len;
};

/* One datagram to an address, or to the peer of a connected socket where there is none. */
static __noinline int datagram_sent(struct sock *sk, s64 ret, enum space space, u64 address)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct flow f = {}, *known;

	if (!sk || !read_sock(&f.a, sk) || f.a.protocol != IPPROTO_UDP)
		return 0;
	known = flow_of((u64)sk);
	if (sees_packets && known && known->reported)
		return 0; /* the datagram itself was looked at */
	if (ret < 0 || (address && !read_peer(&f.a, space, address)) || !f.a.peer_port)
		return 0;
	begin_flow(&f, task, sk);
	send_first(&f, task, sk);
	return 0;
}

/* A send to an address of the user's; of TCP only what connects. */
static __always_inline int sent_to(struct sock *sk, s64 ret, u64 address, u32 flags)
{
	if (!sk)
		return 0;
	if (BPF_CORE_READ(sk, __sk_common.skc_family) == AF_UNIX)
		return address ? unix_address((u64)sk, ret, USER, address) : 0;
	if (BPF_CORE_READ(sk, sk_protocol) == IPPROTO_UDP)
		return datagram_sent(sk, ret, USER, address);
	return flags & MSG_FASTOPEN ? connect_done(sk, ret, USER, address) : 0;
}

SEC("tracepoint/syscalls/sys_exit_sendto")
int sendto_done(struct sys_exit *ctx)
{
	struct task_struct *task = caller(0);
	struct pt_regs *regs;

	if (!task)
		return 0;
	regs = call_regs(task);
	return sent_to(sock_of(task, ARG1(regs)), ctx->ret, ARG5(regs), ARG4(regs));
}

SEC("tracepoint/syscalls/sys_exit_sendmsg")
int sendmsg_done(struct sys_exit *ctx)
{
	struct task_struct *task = caller(0);
	struct pt_regs *regs;
	struct message m = {};

	if (!task)
		return 0;
	regs = call_regs(task);
	bpf_probe_read_user(&m, sizeof(m), (void *)ARG2(regs));
	return sent_to(sock_of(task, ARG1(regs)), ctx->ret, m.name, ARG3(regs));
}

/* One message of a sendmmsg; its own function so that it is verified once. */
__noinline int sendmmsg_one(u64 message, u32 fd)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct message m = {};

	bpf_probe_read_user(&m, sizeof(m), (void *)message);
	return sent_to(sock_of(task, fd), 0, m.name, 0);
}

SEC("tracepoint/syscalls/sys_exit_sendmmsg")
int sendmmsg_done(struct sys_exit *ctx)
{
	struct task_struct *task = caller(ctx->ret);
	struct pt_regs *regs;
	u64 messages;
	u32 fd;
	int i;

	if (!task)
		return 0;
	regs = call_regs(task);
	fd = ARG1(regs);
	messages = ARG2(regs);
	for (i = 0; i < BATCH && i < ctx->ret; i++)
		sendmmsg_one(messages + i * 64, fd);
	if (ctx->ret > BATCH)
		drop(KIND_CONNECT, CAUSE_BATCH);
	return 0;
}

/* Reports who connects to a gateway on this host from outside of every watched tree. */
static __always_inline int stranger_connects(struct task_struct *task, struct sock *sk, struct flow *f)
{
	u16 port = bpf_ntohs(sk->__sk_common.skc_dport);

	if (!bpf_map_lookup_elem(&ports, &port) || !read_sock(&f->a, sk) || !this_host(&f->a) || !once(task, port))
		return 0;
	bpf_get_socket_cookie(sk);
	begin_flow(f, task, sk);
	send_flow(f, task, KIND_CONNECT, 0, STRANGER);
	return 0;
}

/*
 * SYN_SENT is set in the context of the task that connects, before connect
 * returns: a connection that is over by then has an owner all the same.
 */
SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(tcp_state, struct sock *sk, int old, int new)
{
	struct flow f = {}, *known;
	struct task_struct *task;
	u64 key = (u64)sk;

	if (sk->sk_protocol != IPPROTO_TCP)
		return 0;
	switch (new) {
	case TCP_SYN_SENT:
		task = bpf_get_current_task_btf();
		if (!mark_of(task))
			return stranger_connects(task, sk, &f);
		if (!read_sock(&f.a, sk))
			return 0;
		bpf_get_socket_cookie(sk); /* gives it one, for connect to find */
		begin_flow(&f, task, sk);
		flow_put(key, &f);
		return 0;
	case TCP_ESTABLISHED:
		if (old == TCP_SYN_RECV)
			bpf_get_socket_cookie(sk); /* as above, for accept */
		return 0;
	case TCP_CLOSE:
		known = flow_of(key);
		if (!known)
			return 0;
		/* Refused before connect returned: that says it all. */
		if (known->reported || old != TCP_SYN_SENT) {
			read_totals(known, sk);
			send_owned(known, KIND_CLOSE);
		}
		flow_drop(key);
	}
	return 0;
}

/* The table's entry for a UDP socket; made where the current task is watched. */
static __always_inline struct flow *udp_flow(struct sock *sk)
{
	struct task_struct *task;
	struct flow f = {}, *known;
	u64 key = (u64)sk;

	if (!udp_ends)
		return NULL;
	known = flow_of(key);
	if (known)
		return known;
	task = bpf_get_current_task_btf();
	if (!mark_of(task) || !read_sock(&f.a, sk))
		return NULL;
	bpf_get_socket_cookie(sk);
	begin_flow(&f, task, sk);
	flow_put(key, &f);
	return flow_of(key);
}

/*
 * A watched process uses a TCP socket that it did not connect or accept itself:
 * one that it inherited or was handed, or that is older than its mark.
 */
static __always_inline void tcp_used(struct sock *sk)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct flow f = {}, *known;
	u64 key = (u64)sk;

	if (!mark_of(task))
		return;
	known = flow_of(key);
	if (known && known->start == start_ticks(task) && known->pid == pid_of(task))
		return;
	if (!read_sock(&f.a, sk) || !f.a.peer_port || BPF_CORE_READ(sk, sk_protocol) != IPPROTO_TCP ||
		BPF_CORE_READ(sk, __sk_common.skc_state) == TCP_CLOSE)
		return; /* its end was told, and none comes any more that would take it out of the table */
	bpf_get_socket_cookie(sk);
	begin_flow(&f, task, sk);
	if (known)
		f.a.inbound = known->a.inbound;
	else /* an accepted socket has this from the one that listens */
		f.a.inbound = !!(BPF_CORE_READ_BITFIELD_PROBED(sk, sk_userlocks) & SOCK_BINDPORT_LOCK);
	if (once(task, key))
		send_flow(&f, task, f.a.inbound ? KIND_ACCEPT : KIND_CONNECT, 0, PASSED);
	if (known)
		return;
	f.reported = 1;
	flow_put(key, &f);
	if (BPF_CORE_READ(sk, __sk_common.skc_state) == TCP_CLOSE)
		flow_drop(key);
}

SEC("tp_btf/sock_send_length")
int BPF_PROG(sent, struct sock *sk, int length)
{
	struct flow *f;

	if (length <= 0)
		return 0;
	if (sk->sk_protocol == IPPROTO_TCP) {
		tcp_used(sk);
		return 0;
	}
	if (sk->sk_protocol != IPPROTO_UDP)
		return 0;
	f = udp_flow(sk);
	if (!f)
		return 0;
	__sync_fetch_and_add(&f->sent, length);
	if (!f->reported) /* the first by a watched process, on a socket that an unwatched one made */
		send_connected(sk);
	return 0;
}

SEC("tp_btf/sock_recv_length")
int BPF_PROG(received, struct sock *sk, int length, int flags)
{
	struct flow *f;

	if (flags & MSG_PEEK || length <= 0)
		return 0;
	if (sk->sk_protocol == IPPROTO_TCP) {
		tcp_used(sk);
		return 0;
	}
	if (sk->sk_protocol != IPPROTO_UDP)
		return 0;
	f = udp_flow(sk);
	if (f)
		__sync_fetch_and_add(&f->received, length);
	return 0;
}

/* Gives every new socket its cookie, which tracepoints of system calls cannot. */
SEC("cgroup/sock_create")
int sock_created(struct bpf_sock *sk)
{
	bpf_get_socket_cookie(sk);
	return 1;
}

SEC("cgroup/sock_release")
int sock_released(struct bpf_sock *sk)
{
	u64 key = (u64)sk; /* the kernel hands over the socket itself */
	struct flow *f;

	if (sk->protocol != IPPROTO_UDP)
		return 1;
	f = flow_of(key);
	if (!f)
		return 1;
	if (f->reported || f->sent || f->received)
		send_owned(f, KIND_CLOSE);
	flow_drop(key);
	return 1;
}

/* A socket that is still in the table after it was read was no other one meanwhile. */
static int tell(void *table, u64 *key, struct flow *f, void *unused)
{
	struct sock *sk = (struct sock *)*key;
	struct flow now;
	u64 sum;

	if (!f->reported)
		return 0;
	now = *f;
	if (now.a.protocol == IPPROTO_TCP) {
		read_totals(&now, sk);
		if (!flow_of(*key))
			return 0;
	}
	sum = now.sent + now.received;
	if (sum == f->said)
		return 0;
	f->said = sum;
	send_owned(&now, KIND_SEND);
	return 0;
}

/*
 * Tells the totals so far of the connections that moved something since it was
 * last run, which the agent does every few seconds.
 */
SEC("syscall")
int totals(void *ctx)
{
	bpf_for_each_map_elem(&flows, tell, NULL, 0);
	return 0;
}

#endif
