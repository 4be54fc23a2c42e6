/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Addresses that are not of the Internet: those of services on this host
 * (AF_UNIX), and of the machine that this one runs in (AF_VSOCK).
 */
#ifndef UNIX_BPF_H
#define UNIX_BPF_H

#define AF_UNIX 1
#define AF_VSOCK 40
#define UNIX_NAME 108

#define EBADF 9
#define EAGAIN 11
#define EFAULT 14
#define ENOTSOCK 88
#define EISCONN 106
#define EALREADY 114
#define EINPROGRESS 115
#define ERESTARTSYS 512

/* Appends the name that a socket was bound to, as the kernel keeps it. */
static __always_inline void append_bound(struct scratch *s, struct unix_sock *us)
{
	struct unix_address *address = BPF_CORE_READ(us, addr);
	struct unix_rec *r = &s->un;
	u64 at, len;

	if (BPF_CORE_READ(us, path.dentry))
		r->path_len = append_struct_path(s, &us->path);
	if (!address)
		return;
	len = BPF_CORE_READ(address, len) - __builtin_offsetof(struct sockaddr_un, sun_path);
	at = s->used;
	barrier_var(len);
	barrier_var(at);
	if (len > UNIX_NAME || at > RECORD_BYTES - UNIX_NAME)
		return;
	if (bpf_probe_read_kernel(s->rec + at, len, (void *)address->name + __builtin_offsetof(struct sockaddr_un, sun_path)))
		return;
	r->name_len = len;
	s->used += len;
}

/* Appends the name that a caller passed. */
static __always_inline void append_asked(struct scratch *s, enum space space, u64 address)
{
	struct unix_rec *r = &s->un;
	u64 at = s->used;
	u16 family = 0;
	long n;
	u8 first = 0;

	read_from(space, &family, sizeof(family), address);
	barrier_var(at);
	if (family != AF_UNIX || at > RECORD_BYTES - UNIX_NAME - 1)
		return;
	address += sizeof(family);
	read_from(space, &first, 1, address);
	if (!first) { /* abstract */
		s->rec[at++] = 0;
		address++;
		r->name_len = 1;
	}
	n = space == USER ? bpf_probe_read_user_str(s->rec + at, UNIX_NAME, (void *)address)
			  : bpf_probe_read_kernel_str(s->rec + at, UNIX_NAME, (void *)address);
	if (n > 0)
		r->name_len += n - 1;
	s->used += r->name_len;
}

/* A number for the name at the end of the record. */
__noinline int name_hash(struct scratch *s)
{
	u64 at;
	u32 hash = 2166136261;
	int i;

	if (!s)
		return 0;
	at = s->used - s->un.name_len;
	for (i = 0; i < UNIX_NAME && i < s->un.name_len; i++) {
		u64 here = at + i;

		barrier_var(here);
		if (here >= RECORD_BYTES)
			break;
		hash = (hash ^ (u8)s->rec[here]) * 16777619;
	}
	return hash;
}

/*
 * A connection, or a datagram, to a service; each is told once a minute. Where
 * the socket has a peer the kernel says which: else the caller does. address 0:
 * the socket listens.
 */
__noinline int unix_address(u64 socket, s64 ret, enum space space, u64 address)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct unix_sock *us = (struct unix_sock *)socket, *peer;
	struct unix_rec *r;
	struct scratch *s;

	if (!mark_of(task) || ret == -EISCONN || ret == -EBADF || ret == -EFAULT || ret == -EAGAIN)
		return 0;
	s = scratch_get(KIND_UNIX);
	if (!s)
		return 0;
	r = &s->un;
	__builtin_memset(r, 0, sizeof(*r));
	begin(&r->h, KIND_UNIX, task);
	r->cookie = BPF_CORE_READ((struct sock *)socket, __sk_common.skc_cookie.counter);
	r->error = ret < 0 ? -ret : 0;
	s->used = sizeof(*r);
	peer = (struct unix_sock *)BPF_CORE_READ(us, peer);
	if (!address) {
		r->listens = 1;
		append_bound(s, us);
	} else if (ret >= 0 && peer) {
		append_bound(s, peer);
	} else {
		append_asked(s, space, address);
	}
	if (r->name_len && once(task, (u64)(u32)name_hash(s) | (u64)(r->listens ? KIND_LISTEN : KIND_UNIX) << 32))
		scratch_send(s, KIND_UNIX, LATER);
	scratch_put(s);
	return 0;
}

struct sockaddr_vm {
	u16 family;
	u16 reserved;
	u32 port;
	u32 cid;
};

/* The address is the caller's: what the socket has of it is known to a module alone. */
static __always_inline int vsock_connected(
	struct task_struct *task, struct sock *sk, s64 ret, enum space space, u64 address)
{
	struct sockaddr_vm to = {};
	struct sock_rec rec = {};

	if (ret == -EALREADY || ret == -EISCONN || ret == -EBADF || ret == -EFAULT ||
		read_from(space, &to, sizeof(to), address))
		return 0;
	begin(&rec.h, KIND_VSOCK, task);
	rec.cookie = BPF_CORE_READ(sk, __sk_common.skc_cookie.counter);
	rec.error = ret < 0 && ret != -EINPROGRESS && ret != -ERESTARTSYS ? -ret : 0;
	__builtin_memcpy(rec.a.peer, &to.cid, 4);
	__builtin_memcpy(rec.a.peer + 4, &to.port, 4);
	send(&rec, sizeof(rec), KIND_VSOCK, LATER);
	return 0;
}

#endif
