/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Descriptors that another process handed over: by a message of a Unix socket
 * (SCM_RIGHTS), or taken from it by pidfd_getfd. The numbers stand in the
 * memory of the process: another thread that changes them in that moment hides
 * a file. A socket is seen once more when it is used.
 */
#ifndef PASSED_BPF_H
#define PASSED_BPF_H

#define SOL_SOCKET 1
#define SCM_RIGHTS 1
#define PASSED_FDS 253 /* as many as a message can have */
#define PASSED_PARTS 8 /* of what came beside the data */
#define MESSAGES 1024  /* as many as recvmmsg gives */

/* A function of its own, so that its stack is not there while a file is looked at. */
static __noinline int passed_sock(struct task_struct *task, struct sock *sk)
{
	struct flow f = {}, *known;
	u64 key = (u64)sk;

	if (!sk || !read_sock(&f.a, sk) || !f.a.peer_port || !once(task, key))
		return 0;
	begin_flow(&f, task, sk);
	known = flow_of(key);
	if (known)
		f.a.inbound = known->a.inbound;
	send_flow(&f, task, KIND_CONNECT, 0, PASSED);
	return 0;
}

/* One descriptor that came. */
__noinline int passed_fd(u32 fd)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct file *file = file_of(task, fd);
	u16 mode;

	if (!file)
		return 0;
	mode = BPF_CORE_READ(file, f_inode, i_mode);
	if ((mode & S_IFMT) == S_IFSOCK)
		passed_sock(task, sock_of(task, fd));
	else if ((mode & S_IFMT) == S_IFREG)
		report_open(task, file, USER, 0, PASSED);
	return 0;
}

struct part {
	u64 len; /* with this head */
	u32 level;
	u32 type;
};

/* One part of what came beside the data; gives how long it is, 0 at the end. */
__noinline int passed_part(u64 at, u64 room)
{
	struct part head;
	u64 fds;
	u32 fd;
	int i;

	if (room < sizeof(head) || bpf_probe_read_user(&head, sizeof(head), (void *)at))
		return 0;
	if (head.len < sizeof(head) || head.len > room || head.len > 1 << 20)
		return 0;
	if (head.level == SOL_SOCKET && head.type == SCM_RIGHTS) {
		fds = (head.len - sizeof(head)) / sizeof(fd);
		for (i = 0; i < PASSED_FDS && i < fds; i++) {
			if (bpf_probe_read_user(&fd, sizeof(fd), (void *)(at + sizeof(head) + i * sizeof(fd))))
				break;
			passed_fd(fd);
		}
	}
	return (head.len + 7) & ~7ull;
}

/* What came beside the data of one message. */
__noinline int passed_message(u64 message)
{
	struct message m = {};
	u64 at, end;
	int i, n;

	if (bpf_probe_read_user(&m, sizeof(m), (void *)message) || m.control_len < sizeof(struct part))
		return 0;
	at = m.control;
	end = at + m.control_len;
	for (i = 0; i < PASSED_PARTS; i++) {
		n = passed_part(at, end - at);
		if (n <= 0)
			return 0;
		at += n;
		if (at >= end)
			return 0;
	}
	drop(KIND_OPEN, CAUSE_BATCH);
	return 0;
}

SEC("tracepoint/syscalls/sys_exit_recvmsg")
int recvmsg_done(struct sys_exit *ctx)
{
	struct task_struct *task = caller(ctx->ret);

	if (task)
		passed_message(ARG2(call_regs(task)));
	return 0;
}

SEC("tracepoint/syscalls/sys_exit_recvmmsg")
int recvmmsg_done(struct sys_exit *ctx)
{
	struct task_struct *task = caller(ctx->ret);
	u64 messages;
	int i;

	if (!task)
		return 0;
	messages = ARG2(call_regs(task));
	for (i = 0; i < MESSAGES && i < ctx->ret; i++)
		passed_message(messages + i * 64);
	return 0;
}

SEC("tracepoint/syscalls/sys_exit_pidfd_getfd")
int getfd_done(struct sys_exit *ctx)
{
	if (caller(ctx->ret))
		passed_fd(ctx->ret);
	return 0;
}

#endif
