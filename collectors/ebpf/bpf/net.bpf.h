/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Sockets: connect and accept from the socket itself when the call returns,
 * and the end of a socket with its totals. The end comes in any context, so
 * the owner is looked up in a table that connect and accept fill.
 *
 * A TCP socket is in the table under its address, from connect or accept until
 * the state CLOSE, which every one of them reaches before its memory is used
 * again. A UDP socket is there under its cookie until it is released.
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
#define S_IFMT 0170000
#define S_IFSOCK 0140000
#define MSG_PEEK 2
#define MSG_FASTOPEN 0x20000000
#define SOCK_DONE 2 /* bit 1 of skc_flags: the peer's FIN was received */
#define BATCH 32    /* datagrams of one sendmmsg that are looked at */

#define EBADF 9
#define EFAULT 14
#define ENOTSOCK 88
#define EISCONN 106
#define EALREADY 114
#define EINPROGRESS 115
#define ERESTARTSYS 512

bool udp_ends = false; /* the agent sees UDP sockets end, so that the table is cleaned */

struct flow {
	u64 start; /* of the owner */
	u32 pid;
	u32 reported; /* a connect or accept record was sent */
	u64 cookie;
	u64 sent;
	u64 received;
	struct addrs a;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, u64);
	__type(value, struct flow);
} flows SEC(".maps");

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
static __always_inline bool read_user_peer(struct addrs *a, u64 from)
{
	struct sockaddr_any sa = {};

	if (!from || bpf_probe_read_user(&sa, 16, (void *)from))
		return false;
	a->peer_port = bpf_ntohs(sa.port);
	if (sa.family == AF_INET) {
		map_v4(a->peer, sa.v4);
		return true;
	}
	return sa.family == AF_INET6 && !bpf_probe_read_user(a->peer, 16, (void *)(from + 8));
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

static __always_inline void flow_put(u64 key, struct flow *f)
{
	if (bpf_map_update_elem(&flows, &key, f, BPF_ANY))
		drop(KIND_CLOSE, CAUSE_TABLE);
}

/* For connect and accept, in the context of the task that did it. */
static __always_inline void send_flow(struct flow *f, struct task_struct *task, enum kind kind, u32 error)
{
	struct sock_rec rec = {};

	begin(&rec.h, kind, task);
	rec.cookie = f->cookie;
	rec.a = f->a;
	rec.error = error;
	send(&rec, sizeof(rec), kind, false);
}

static __always_inline void send_close(struct flow *f)
{
	struct sock_rec rec = {};

	rec.h.time = bpf_ktime_get_boot_ns();
	rec.h.start = f->start;
	rec.h.pid = f->pid;
	rec.h.kind = KIND_CLOSE;
	rec.cookie = f->cookie;
	rec.sent = f->sent;
	rec.received = f->received;
	rec.a = f->a;
	send(&rec, sizeof(rec), KIND_CLOSE, false);
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
 * Puts a TCP socket into the table as reported. One that is closed by now has
 * had its end before its beginning was seen: report that too.
 */
static __always_inline void open_flow(struct flow *f, struct sock *sk)
{
	f->reported = 1;
	flow_put((u64)sk, f);
	if (BPF_CORE_READ(sk, __sk_common.skc_state) != TCP_CLOSE)
		return;
	read_totals(f, sk);
	send_close(f);
	bpf_map_delete_elem(&flows, &(u64){(u64)sk});
}

/* Reports a UDP socket's first datagram to the peer in f->a. */
static __always_inline void send_first(struct flow *f, struct task_struct *task, struct sock *sk)
{
	struct peer peer = {.socket = f->cookie ? f->cookie : (u64)sk, .port = f->a.peer_port};
	struct flow *known;
	u8 one = 1;

	__builtin_memcpy(peer.address, f->a.peer, 16);
	if (bpf_map_lookup_elem(&peers, &peer))
		return;
	bpf_map_update_elem(&peers, &peer, &one, BPF_ANY);
	send_flow(f, task, KIND_CONNECT, 0);
	if (!udp_ends || !f->cookie)
		return;
	known = bpf_map_lookup_elem(&flows, &f->cookie);
	if (!known) {
		f->reported = 1;
		flow_put(f->cookie, f);
	} else if (!known->reported) {
		known->a = f->a;
		known->reported = 1;
	}
}

static __always_inline int connect_done(struct task_struct *task, struct sock *sk, s64 ret, u64 address)
{
	struct flow f = {}, *known;

	if (!sk || !read_sock(&f.a, sk))
		return 0;
	begin_flow(&f, task, sk);
	if (ret == -EALREADY || ret == -EISCONN || ret == -EBADF || ret == -EFAULT)
		return 0;
	if (ret < 0 && ret != -EINPROGRESS && ret != -ERESTARTSYS) {
		if (read_user_peer(&f.a, address))
			send_flow(&f, task, KIND_CONNECT, -ret);
		return 0;
	}
	if (!f.a.peer_port && !read_user_peer(&f.a, address))
		return 0; /* AF_UNSPEC: a UDP socket was disconnected */
	if (f.a.protocol == IPPROTO_UDP) {
		send_first(&f, task, sk);
		return 0;
	}
	known = bpf_map_lookup_elem(&flows, &(u64){(u64)sk});
	if (known && known->reported)
		return 0; /* a second call, to ask how the first one went */
	send_flow(&f, task, KIND_CONNECT, 0);
	if (BPF_CORE_READ(sk, sk_protocol) == IPPROTO_TCP)
		open_flow(&f, sk);
	return 0;
}

SEC("tracepoint/syscalls/sys_exit_connect")
int connected(struct sys_exit *ctx)
{
	struct task_struct *task = caller(0);
	struct pt_regs *regs;

	if (!task)
		return 0;
	regs = call_regs(task);
	return connect_done(task, sock_of(task, ARG1(regs)), ctx->ret, ARG2(regs));
}

static __always_inline int accept_done(struct task_struct *task, struct sock *sk)
{
	struct flow f = {};

	if (!sk || !read_sock(&f.a, sk))
		return 0;
	begin_flow(&f, task, sk);
	f.a.inbound = 1;
	send_flow(&f, task, KIND_ACCEPT, 0);
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

/* One datagram to an address, or to the peer of a connected socket where there is none. */
static __always_inline int sent_to(struct task_struct *task, struct sock *sk, s64 ret, u64 address, u32 flags)
{
	struct flow f = {};

	if (!sk || !read_sock(&f.a, sk))
		return 0;
	if (f.a.protocol == IPPROTO_TCP)
		return flags & MSG_FASTOPEN ? connect_done(task, sk, ret, address) : 0;
	if (ret < 0 || (address && !read_user_peer(&f.a, address)) || !f.a.peer_port)
		return 0;
	begin_flow(&f, task, sk);
	send_first(&f, task, sk);
	return 0;
}

SEC("tracepoint/syscalls/sys_exit_sendto")
int sendto_done(struct sys_exit *ctx)
{
	struct task_struct *task = caller(0);
	struct pt_regs *regs;

	if (!task)
		return 0;
	regs = call_regs(task);
	return sent_to(task, sock_of(task, ARG1(regs)), ctx->ret, ARG5(regs), ARG4(regs));
}

SEC("tracepoint/syscalls/sys_exit_sendmsg")
int sendmsg_done(struct sys_exit *ctx)
{
	struct task_struct *task = caller(0);
	struct pt_regs *regs;
	u64 address = 0;

	if (!task)
		return 0;
	regs = call_regs(task);
	bpf_probe_read_user(&address, sizeof(address), (void *)ARG2(regs)); /* msg_name */
	return sent_to(task, sock_of(task, ARG1(regs)), ctx->ret, address, ARG3(regs));
}

/* One message of a sendmmsg; its own function so that it is verified once. */
__noinline int sendmmsg_one(u64 message, u32 fd)
{
	struct task_struct *task = bpf_get_current_task_btf();
	u64 address = 0;

	bpf_probe_read_user(&address, sizeof(address), (void *)message);
	return sent_to(task, sock_of(task, fd), 0, address, 0);
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
		if (!mark_of(task) || !read_sock(&f.a, sk))
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
		known = bpf_map_lookup_elem(&flows, &key);
		if (!known)
			return 0;
		/* Refused before connect returned: that says it all. */
		if (known->reported || old != TCP_SYN_SENT) {
			read_totals(known, sk);
			send_close(known);
		}
		bpf_map_delete_elem(&flows, &key);
	}
	return 0;
}

/* The table's entry for a UDP socket; made where the current task is watched. */
static __always_inline struct flow *udp_flow(struct sock *sk, int length)
{
	struct task_struct *task;
	struct flow f = {}, *known;
	u64 key;

	if (sk->sk_protocol != IPPROTO_UDP || length <= 0 || !udp_ends)
		return NULL;
	key = bpf_get_socket_cookie(sk);
	known = bpf_map_lookup_elem(&flows, &key);
	if (known)
		return known;
	task = bpf_get_current_task_btf();
	if (!mark_of(task) || !read_sock(&f.a, sk))
		return NULL;
	begin_flow(&f, task, sk);
	flow_put(key, &f);
	return bpf_map_lookup_elem(&flows, &key);
}

SEC("tp_btf/sock_send_length")
int BPF_PROG(udp_sent, struct sock *sk, int length)
{
	struct flow *f = udp_flow(sk, length);

	if (f)
		__sync_fetch_and_add(&f->sent, length);
	return 0;
}

SEC("tp_btf/sock_recv_length")
int BPF_PROG(udp_received, struct sock *sk, int length, int flags)
{
	struct flow *f;

	if (flags & MSG_PEEK)
		return 0;
	f = udp_flow(sk, length);
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
	struct flow *f;
	u64 key;

	if (sk->protocol != IPPROTO_UDP)
		return 1;
	key = bpf_get_socket_cookie(sk);
	f = bpf_map_lookup_elem(&flows, &key);
	if (!f)
		return 1;
	if (f->reported)
		send_close(f);
	bpf_map_delete_elem(&flows, &key);
	return 1;
}

#endif
