/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What a process asks io_uring to do passes no system call that is looked at.
 * It is counted, so that the agent can say what it did not see.
 */
#ifndef URING_BPF_H
#define URING_BPF_H

enum {
	URING_RECVMSG = 10,
	URING_ACCEPT = 13,
	URING_CONNECT = 16,
	URING_OPENAT = 18,
	URING_OPENAT2 = 28,
	URING_RENAMEAT = 35,
	URING_UNLINKAT = 36,
	URING_MKDIRAT = 37,
};

/* Whether a request is about a Unix socket. */
static __always_inline bool uring_unix(struct io_kiocb *request)
{
	struct file *file = BPF_CORE_READ(request, file);
	struct socket *socket;
	struct sock *sk;

	if (!file || (BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) != S_IFSOCK)
		return false;
	socket = BPF_CORE_READ(file, private_data);
	sk = BPF_CORE_READ(socket, sk);
	return BPF_CORE_READ(sk, __sk_common.skc_family) == AF_UNIX;
}

SEC("tp_btf/io_uring_submit_req")
int BPF_PROG(uring_submitted, struct io_kiocb *request)
{
	if (!caller(0))
		return 0;
	switch (request->opcode) {
	case URING_OPENAT:
	case URING_OPENAT2:
		drop(KIND_OPEN, CAUSE_URING);
		break;
	case URING_RENAMEAT:
		drop(KIND_RENAME, CAUSE_URING);
		break;
	case URING_UNLINKAT:
		drop(KIND_UNLINK, CAUSE_URING);
		break;
	case URING_MKDIRAT:
		drop(KIND_MKDIR, CAUSE_URING);
		break;
	case URING_CONNECT:
		drop(KIND_CONNECT, CAUSE_URING);
		break;
	case URING_RECVMSG: /* it can bring descriptors */
		if (uring_unix(request))
			drop(KIND_OPEN, CAUSE_URING);
		break;
	case URING_ACCEPT:
		drop(KIND_ACCEPT, CAUSE_URING);
	}
	return 0;
}

#endif
