/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What a process asks io_uring to do passes no system call. A request is
 * reported when it is submitted, from the kernel's own copy of its names, which
 * nobody can change; how it ended is reported when it ends, and the agent joins
 * the two. The end cannot be relied on: a process can ask for none to be told.
 *
 * A worker of the ring is a thread of the process that owns it, so the mark and
 * the files of its process are its own.
 */
#ifndef URING_BPF_H
#define URING_BPF_H

enum {
	URING_READV = 1,
	URING_WRITEV = 2,
	URING_READ_FIXED = 4,
	URING_WRITE_FIXED = 5,
	URING_SENDMSG = 9,
	URING_RECVMSG = 10,
	URING_ACCEPT = 13,
	URING_CONNECT = 16,
	URING_FALLOCATE = 17,
	URING_OPENAT = 18,
	URING_READ = 22,
	URING_WRITE = 23,
	URING_SEND = 26,
	URING_OPENAT2 = 28,
	URING_SPLICE = 30,
	URING_RENAMEAT = 35,
	URING_UNLINKAT = 36,
	URING_MKDIRAT = 37,
	URING_SYMLINKAT = 38,
	URING_LINKAT = 39,
	URING_FSETXATTR = 41,
	URING_SETXATTR = 42,
	URING_SOCKET = 45,
	URING_SEND_ZC = 47,
	URING_SENDMSG_ZC = 48,
	URING_READ_MULTISHOT = 49,
	URING_FTRUNCATE = 55,
	URING_BIND = 56,
	URING_LISTEN = 57,
	URING_READV_FIXED = 60,
	URING_WRITEV_FIXED = 61,
};

/* Of the request's flags: the low bits are those that the process set. */
#define REQ_FIXED_FILE 1
#define REQ_SKIP_END 64
#define ACCEPT_MULTISHOT 1

const volatile bool trampolines = false; /* they see opens, renames, deletions, connections and datagrams */

/* The functions below are not inlined, so that what each keeps on the stack is not there all the time. */

static __always_inline u32 req_flags(struct io_kiocb *req)
{
	u32 flags = 0;

	bpf_probe_read_kernel(
		&flags, sizeof(flags), (void *)req + bpf_core_field_offset(struct io_kiocb, flags));
	return flags;
}

/* Appends a name that the kernel holds, and the directory it is relative to, as name i of a change. */
static __noinline int append_filename(
	struct scratch *s, struct task_struct *task, int i, s32 dirfd, struct filename *name)
{
	struct change_rec *r = &s->change;
	u64 at = s->used;
	long n;

	barrier_var(at);
	if (at > RECORD_BYTES - STRING_BYTES)
		return 0;
	n = bpf_probe_read_kernel_str(s->rec + at, STRING_BYTES, BPF_CORE_READ(name, name));
	if (n <= 0)
		return 0;
	s->used += n;
	if (i & 1)
		r->name_len[1] = n;
	else
		r->name_len[0] = n;
	if (dirfd == NO_DIR)
		return 0;
	if (i & 1)
		append_base(s, task, 1, dirfd, at);
	else
		append_base(s, task, 0, dirfd, at);
	return 0;
}

static __always_inline struct scratch *begin_request(
	struct task_struct *task, struct io_kiocb *req, enum kind kind, u32 flags)
{
	struct scratch *s = begin_change(task, kind);

	if (!s)
		return NULL;
	s->change.request = (u64)req;
	s->change.h.flags = flags | URING;
	return s;
}

static __always_inline void send_request(struct scratch *s, enum kind kind)
{
	scratch_send_file(s, kind);
	scratch_put(s);
}

static __noinline int submit_open(struct task_struct *task, struct io_kiocb *req)
{
	struct io_open *open = (void *)req;
	struct scratch *s = begin_request(task, req, KIND_ASKED, NAME_FOLLOWED);
	u64 flags;

	if (!s)
		return 0;
	flags = BPF_CORE_READ(open, how.flags);
	s->change.value[0] = flags;
	append_filename(s, task, 0, BPF_CORE_READ(open, dfd), BPF_CORE_READ(open, filename));
	send_request(s, KIND_ASKED);
	return 0;
}

static __noinline int submit_rename(struct task_struct *task, struct io_kiocb *req)
{
	struct io_rename *r = (void *)req;
	struct scratch *s = begin_request(
		task, req, KIND_RENAME, BPF_CORE_READ(r, flags) & RENAME_EXCHANGE ? RENAME_EXCHANGES : 0);

	if (!s)
		return 0;
	append_filename(s, task, 0, BPF_CORE_READ(r, old_dfd), BPF_CORE_READ(r, oldpath));
	append_filename(s, task, 1, BPF_CORE_READ(r, new_dfd), BPF_CORE_READ(r, newpath));
	send_request(s, KIND_RENAME);
	return 0;
}

static __noinline int submit_unlink(struct task_struct *task, struct io_kiocb *req)
{
	struct io_unlink *u = (void *)req;
	enum kind kind = BPF_CORE_READ(u, flags) & AT_REMOVEDIR ? KIND_RMDIR : KIND_UNLINK;
	struct scratch *s = begin_request(task, req, kind, 0);

	if (!s)
		return 0;
	append_filename(s, task, 0, BPF_CORE_READ(u, dfd), BPF_CORE_READ(u, filename));
	send_request(s, kind);
	return 0;
}

static __noinline int submit_mkdir(struct task_struct *task, struct io_kiocb *req)
{
	struct io_mkdir *m = (void *)req;
	struct scratch *s = begin_request(task, req, KIND_MKDIR, 0);

	if (!s)
		return 0;
	append_filename(s, task, 0, BPF_CORE_READ(m, dfd), BPF_CORE_READ(m, filename));
	send_request(s, KIND_MKDIR);
	return 0;
}

/* A hard link, or a symbolic one, whose text is where the old name is. */
static __noinline int submit_link(struct task_struct *task, struct io_kiocb *req, bool symbolic)
{
	struct io_link *l = (void *)req;
	enum kind kind = symbolic ? KIND_SYMLINK : KIND_LINK;
	struct filename *old, *new;
	struct scratch *s;
	u32 flags = 0;

	if (!symbolic && BPF_CORE_READ(l, flags) & AT_SYMLINK_FOLLOW)
		flags = NAME_FOLLOWED;
	s = begin_request(task, req, kind, flags);
	if (!s)
		return 0;
	old = BPF_CORE_READ(l, oldpath);
	new = BPF_CORE_READ(l, newpath);
	append_filename(s, task, 0, symbolic ? BPF_CORE_READ(l, new_dfd) : BPF_CORE_READ(l, old_dfd),
		symbolic ? new : old);
	append_filename(s, task, 1, symbolic ? NO_DIR : BPF_CORE_READ(l, new_dfd), symbolic ? old : new);
	send_request(s, kind);
	return 0;
}

static __noinline int submit_setxattr(struct task_struct *task, struct io_kiocb *req)
{
	struct io_xattr *x = (void *)req;
	struct scratch *s = begin_request(task, req, KIND_ATTR, NAME_FOLLOWED);

	if (!s)
		return 0;
	s->change.attribute = ATTR_XATTR;
	append_filename(s, task, 0, AT_FDCWD, BPF_CORE_READ(x, filename));
	send_request(s, KIND_ATTR);
	return 0;
}

/* A request about a file by its descriptor; one by its place in the ring's own table is looked at when it
 * ends. */
static __noinline int submit_object(
	struct task_struct *task, struct io_kiocb *req, enum kind kind, enum attribute attribute)
{
	struct scratch *s;

	if (req_flags(req) & REQ_FIXED_FILE) {
		drop(kind, CAUSE_URING);
		return 0;
	}
	s = begin_request(task, req, kind, NAME_OBJECT);
	if (!s)
		return 0;
	s->change.attribute = attribute;
	append_dir(s, task, 0, BPF_CORE_READ(req, cqe.fd));
	send_request(s, kind);
	return 0;
}

/*
 * A read or a write. The bytes are counted at the end; that there was one is
 * noted now, as its end may not be told.
 */
static __noinline int submit_move(struct task_struct *task, struct io_kiocb *req)
{
	struct file *file;

	if (req_flags(req) & REQ_FIXED_FILE) {
		if (req_flags(req) & REQ_SKIP_END)
			drop(KIND_USE, CAUSE_URING);
		return 0;
	}
	file = file_of(task, BPF_CORE_READ(req, cqe.fd));
	if (file)
		use_file(task, file, 0, 0, BY_URING);
	return 0;
}

static __always_inline bool accepts_many(struct io_kiocb *req)
{
	struct io_accept *accept = (void *)req;

	return bpf_core_field_exists(accept->iou_flags) &&
	       BPF_CORE_READ(accept, iou_flags) & ACCEPT_MULTISHOT;
}

static __always_inline struct sock *request_sock(struct io_kiocb *req)
{
	struct file *file = BPF_CORE_READ(req, file);
	struct socket *socket;

	if (!file || (BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) != S_IFSOCK)
		return NULL;
	socket = BPF_CORE_READ(file, private_data);
	return BPF_CORE_READ(socket, sk);
}

/* A message on a Unix socket can bring descriptors. */
static __noinline int submit_recvmsg(struct io_kiocb *req)
{
	struct sock *sk = request_sock(req);

	if (sk && BPF_CORE_READ(sk, __sk_common.skc_family) == AF_UNIX)
		drop(KIND_OPEN, CAUSE_URING);
	return 0;
}

/* Whether trampolines see by themselves what a request asks for. */
static __always_inline bool seen_anyway(u8 opcode)
{
	if (!trampolines)
		return false;
	switch (opcode) {
	case URING_OPENAT:
	case URING_OPENAT2:
	case URING_RENAMEAT:
	case URING_UNLINKAT:
	case URING_MKDIRAT:
	case URING_CONNECT:
	case URING_ACCEPT:
	case URING_SEND:
	case URING_SENDMSG:
	case URING_SEND_ZC:
	case URING_SENDMSG_ZC:
		return true;
	}
	return false;
}

static __always_inline int submitted(struct io_kiocb *req)
{
	struct task_struct *task = caller(0);
	u8 opcode;

	if (!task)
		return 0;
	opcode = BPF_CORE_READ(req, opcode);
	if (seen_anyway(opcode))
		return 0;
	switch (opcode) {
	case URING_OPENAT:
	case URING_OPENAT2:
		submit_open(task, req);
		break;
	case URING_RENAMEAT:
		submit_rename(task, req);
		break;
	case URING_UNLINKAT:
		submit_unlink(task, req);
		break;
	case URING_MKDIRAT:
		submit_mkdir(task, req);
		break;
	case URING_LINKAT:
		submit_link(task, req, false);
		break;
	case URING_SYMLINKAT:
		submit_link(task, req, true);
		break;
	case URING_SETXATTR:
		submit_setxattr(task, req);
		break;
	case URING_FSETXATTR:
		submit_object(task, req, KIND_ATTR, ATTR_XATTR);
		break;
	case URING_FTRUNCATE:
	case URING_FALLOCATE:
		submit_object(task, req, KIND_TRUNCATE, ATTR_NONE);
		break;
	case URING_READ:
	case URING_READV:
	case URING_READ_FIXED:
	case URING_READV_FIXED:
	case URING_READ_MULTISHOT:
	case URING_WRITE:
	case URING_WRITEV:
	case URING_WRITE_FIXED:
	case URING_WRITEV_FIXED:
	case URING_SPLICE:
		submit_move(task, req);
		break;
	case URING_CONNECT:
	case URING_SEND:
	case URING_SENDMSG:
	case URING_SEND_ZC:
	case URING_SENDMSG_ZC:
		if (req_flags(req) & REQ_SKIP_END)
			drop(KIND_CONNECT, CAUSE_URING);
		break;
	case URING_ACCEPT:
		if (req_flags(req) & REQ_SKIP_END || BPF_CORE_READ((struct io_accept *)req, file_slot) ||
			accepts_many(req))
			drop(KIND_ACCEPT, CAUSE_URING);
		break;
	case URING_SOCKET:
		drop(KIND_SOCKET, CAUSE_URING);
		break;
	case URING_BIND:
	case URING_LISTEN:
		drop(KIND_LISTEN, CAUSE_URING);
		break;
	case URING_RECVMSG:
		submit_recvmsg(req);
		break;
	}
	return 0;
}

SEC("tp_btf/io_uring_submit_req")
int BPF_PROG(uring_submitted, struct io_kiocb *req)
{
	return submitted(req);
}

/* The name it had before 6.3. */
SEC("tp_btf/io_uring_submit_sqe")
int BPF_PROG(uring_submitted_old, struct io_kiocb *req)
{
	return submitted(req);
}

/* How a request ended; with the path where it opened a file. */
static __noinline int send_end(struct task_struct *task, struct io_kiocb *req, s32 result, bool opens)
{
	struct scratch *s = scratch_get(KIND_URING);
	struct use_key key = {};
	struct file *file = NULL;

	if (!s)
		return 0;
	if (opens && result >= 0 && !BPF_CORE_READ((struct io_open *)req, file_slot))
		file = file_of(task, result);
	if (file) {
		identify(&key, task, file);
		begin_file(s, task, file, KIND_OPEN, &key);
		s->open.request = (u64)req;
		s->open.h.flags |= URING;
		if (BPF_CORE_READ((struct io_open *)req, how.flags) & O_TRUNC)
			s->open.h.flags |= OPEN_TRUNCATES;
		if (scratch_send_file(s, KIND_OPEN))
			note_open(&key, use_get(&key), s->open.f_mode);
	} else {
		begin(&s->uring.h, KIND_URING, task);
		s->uring.h.flags = URING;
		s->uring.request = (u64)req;
		s->uring.result = result;
		s->uring.unused = 0;
		s->used = sizeof(s->uring);
		scratch_send_file(s, KIND_URING);
	}
	scratch_put(s);
	return 0;
}

static __noinline int end_connect(struct task_struct *task, struct io_kiocb *req, s32 result)
{
	return any_connected(
		task, request_sock(req), result, (u64)BPF_CORE_READ((struct io_connect *)req, addr));
}

static __noinline int end_accept(struct task_struct *task, struct io_kiocb *req, s32 result)
{
	if (result >= 0 && !BPF_CORE_READ((struct io_accept *)req, file_slot))
		accept_done(task, sock_of(task, result));
	return 0;
}

static __noinline int end_send(struct io_kiocb *req, s32 result, bool message)
{
	struct io_sr_msg *m = (void *)req;
	struct sock *sk = request_sock(req);
	u64 address = 0;

	if (message)
		bpf_probe_read_user(&address, sizeof(address), BPF_CORE_READ(m, umsg));
	/* Where the address of a lone datagram is kept depends on the kernel. */
	if (!address && result > 0 && sk && BPF_CORE_READ(sk, sk_protocol) == IPPROTO_UDP &&
		!BPF_CORE_READ(sk, __sk_common.skc_dport))
		drop(KIND_CONNECT, CAUSE_URING);
	sent_to(sk, result, address, BPF_CORE_READ(m, msg_flags));
	return 0;
}

static __noinline int end_move(struct task_struct *task, struct io_kiocb *req, s32 result, bool writes)
{
	struct file *file = BPF_CORE_READ(req, file);

	if (result > 0 && file)
		use_file(task, file, writes ? 0 : result, writes ? result : 0, BY_URING);
	return 0;
}

static __noinline int end_splice(struct task_struct *task, struct io_kiocb *req, s32 result)
{
	struct file *in = file_of(task, BPF_CORE_READ((struct io_splice *)req, splice_fd_in));

	end_move(task, req, result, true);
	if (in && result > 0)
		use_file(task, in, result, 0, BY_URING);
	return 0;
}

static __always_inline int ended(struct io_kiocb *req, s32 result)
{
	struct task_struct *task = caller(0);
	u8 opcode;

	if (!task)
		return 0;
	if (!req) {
		/* One of several of a request that goes on. Before 6.10 this is all that tells a socket
		 * accepted so. */
		if (!bpf_core_field_exists(struct io_accept, iou_flags))
			drop(KIND_ACCEPT, CAUSE_URING);
		return 0;
	}
	opcode = BPF_CORE_READ(req, opcode);
	if (seen_anyway(opcode))
		return 0;
	switch (opcode) {
	case URING_OPENAT:
	case URING_OPENAT2:
		send_end(task, req, result, true);
		break;
	case URING_RENAMEAT:
	case URING_UNLINKAT:
	case URING_MKDIRAT:
	case URING_LINKAT:
	case URING_SYMLINKAT:
	case URING_SETXATTR:
	case URING_FSETXATTR:
	case URING_FTRUNCATE:
	case URING_FALLOCATE:
		send_end(task, req, result, false);
		break;
	case URING_CONNECT:
		end_connect(task, req, result);
		break;
	case URING_ACCEPT:
		end_accept(task, req, result);
		break;
	case URING_SEND:
	case URING_SEND_ZC:
		end_send(req, result, false);
		break;
	case URING_SENDMSG:
	case URING_SENDMSG_ZC:
		end_send(req, result, true);
		break;
	case URING_READ:
	case URING_READV:
	case URING_READ_FIXED:
	case URING_READV_FIXED:
		end_move(task, req, result, false);
		break;
	case URING_WRITE:
	case URING_WRITEV:
	case URING_WRITE_FIXED:
	case URING_WRITEV_FIXED:
		end_move(task, req, result, true);
		break;
	case URING_SPLICE:
		end_splice(task, req, result);
		break;
	}
	return 0;
}

/* Until 6.14 the result came as an argument, since then in a structure. */
SEC("tp_btf/io_uring_complete")
int BPF_PROG(uring_ended, void *ring_ctx, void *req, struct io_uring_cqe *cqe)
{
	return ended(req, cqe->res);
}

SEC("tp_btf/io_uring_complete")
int BPF_PROG(uring_ended_old, void *ring_ctx, void *req, u64 user_data, int result)
{
	return ended(req, result);
}

/* An end that found no room in the ring of the process, and is not told above. */
SEC("tp_btf/io_uring_cqe_overflow")
int BPF_PROG(uring_overflowed)
{
	if (caller(0))
		drop(KIND_USE, CAUSE_URING);
	return 0;
}

#endif
