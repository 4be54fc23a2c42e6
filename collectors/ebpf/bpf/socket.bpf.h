/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Sockets as they are made, and those that wait for others. */
#ifndef SOCKET_BPF_H
#define SOCKET_BPF_H

#define AF_NETLINK 16
#define SOCK_STREAM 1
#define SOCK_DGRAM 2
#define SOCK_TYPE 0xf /* the rest of the argument is flags */
#define NETLINK_AUDIT 9
#define NETLINK_CONNECTOR 11
#define NETLINK_NETFILTER 12
#define EPERM 1
#define EACCES 13

/* False for what other records are about, and for what every program has. */
static __always_inline bool uncommon(u16 family, u16 type, u16 protocol)
{
	switch (family) {
	case AF_UNIX:
		return false;
	case AF_INET:
	case AF_INET6:
		if (type == SOCK_STREAM)
			return protocol && protocol != IPPROTO_TCP && protocol != IPPROTO_MPTCP;
		return type != SOCK_DGRAM || (protocol && protocol != IPPROTO_UDP);
	case AF_NETLINK: /* others ask for routes with it */
		return protocol == NETLINK_AUDIT || protocol == NETLINK_CONNECTOR || protocol == NETLINK_NETFILTER;
	}
	return true;
}

/* A UDP socket is in the table from its making on, so that its first datagram finds it. */
static __always_inline void own_udp(struct task_struct *task, struct sock *sk)
{
	struct flow f = {};

	if (!udp_ends || !read_sock(&f.a, sk) || f.a.protocol != IPPROTO_UDP)
		return;
	begin_flow(&f, task, sk);
	flow_put((u64)sk, &f);
}

SEC("tracepoint/syscalls/sys_exit_socket")
int socket_made(struct sys_exit *ctx)
{
	struct task_struct *task = caller(0);
	struct socket_rec rec = {};
	struct pt_regs *regs;
	struct sock *sk;

	if (!task || (ctx->ret < 0 && ctx->ret != -EPERM && ctx->ret != -EACCES))
		return 0;
	regs = call_regs(task);
	rec.family = ARG1(regs);
	rec.type = ARG2(regs) & SOCK_TYPE;
	rec.protocol = ARG3(regs);
	if (ctx->ret >= 0) {
		sk = sock_of(task, ctx->ret);
		if (sk && rec.type == SOCK_DGRAM)
			own_udp(task, sk);
	}
	if (!uncommon(rec.family, rec.type, rec.protocol))
		return 0;
	begin(&rec.h, KIND_SOCKET, task);
	rec.error = ctx->ret < 0 ? -ctx->ret : 0;
	send(&rec, sizeof(rec), KIND_SOCKET, LATER);
	return 0;
}

SEC("tracepoint/syscalls/sys_exit_listen")
int listening(struct sys_exit *ctx)
{
	struct task_struct *task = caller(ctx->ret);
	struct flow f = {};
	struct sock *sk;

	if (!task)
		return 0;
	sk = sock_of(task, ARG1(call_regs(task)));
	if (!sk)
		return 0;
	if (BPF_CORE_READ(sk, __sk_common.skc_family) == AF_UNIX)
		return unix_address((u64)sk, 0, KERNEL, 0);
	if (!read_sock(&f.a, sk) || !once(task, (u64)sk))
		return 0;
	begin_flow(&f, task, sk);
	f.a.inbound = 1;
	send_flow(&f, task, KIND_LISTEN, 0, 0);
	return 0;
}

/* A UDP socket does not listen: one with a port that was asked for serves. */
SEC("tracepoint/syscalls/sys_exit_bind")
int bound(struct sys_exit *ctx)
{
	struct task_struct *task = caller(ctx->ret);
	struct flow f = {};
	struct sock *sk;

	if (!task)
		return 0;
	sk = sock_of(task, ARG1(call_regs(task)));
	if (!sk || !read_sock(&f.a, sk) || f.a.protocol != IPPROTO_UDP ||
		!(BPF_CORE_READ_BITFIELD_PROBED(sk, sk_userlocks) & SOCK_BINDPORT_LOCK))
		return 0;
	begin_flow(&f, task, sk);
	f.a.inbound = 1;
	send_flow(&f, task, KIND_LISTEN, 0, 0);
	return 0;
}

#endif
