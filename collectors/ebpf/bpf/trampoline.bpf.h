/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The same facts from the functions that do them, where the kernel allows
 * trampolines: whoever calls them, by whatever door, io_uring and 32-bit system
 * calls too, and no other system call costs more.
 *
 * A name is taken where the kernel asks its security modules, which get the
 * mount besides; what came of it is known when the file system has answered.
 * In between the thread keeps the name. Nothing is read from the process, so it
 * cannot deceive.
 */
#ifndef TRAMPOLINE_BPF_H
#define TRAMPOLINE_BPF_H

#define MAX_ERRNO 4095
#define SOCKADDR_IN6 28

/* What a thread is about to do to a name, and to a second one when it renames. */
struct intent {
	u64 dentry; /* of the first name; 0: nothing */
	u64 vfsmount;
	u64 dir[2];
	enum kind kind;
	u32 unused;
	char name[2][NAME_BYTES];
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct intent);
} intents SEC(".maps");

/* An argument as a number: the verifier lets no pointer be handed on as one. */
static __always_inline u64 argument(unsigned long long *ctx, int i)
{
	u64 value = 0;

	bpf_probe_read_kernel(&value, sizeof(value), ctx + i);
	return value;
}

static __always_inline u64 result(void *ctx)
{
	u64 ret = -MAX_ERRNO;

	bpf_get_func_ret(ctx, &ret);
	return ret;
}

/* Whether a function that gives 0, or else a pointer, gave an error; an int has no more than 32 bits. */
static __always_inline bool failed(u64 ret)
{
	return ret >= -MAX_ERRNO || (ret && !(ret >> 32));
}

static __always_inline void intend_name(struct intent *in, int i, struct dentry *dentry)
{
	in->dir[i] = (u64)BPF_CORE_READ(dentry, d_parent);
	bpf_probe_read_kernel_str(in->name[i], NAME_BYTES, BPF_CORE_READ(dentry, d_name.name));
}

static __always_inline int intend(
	enum kind kind, const struct path *dir, struct dentry *dentry, struct dentry *new_dentry)
{
	struct task_struct *task = caller(0);
	struct intent *in;

	if (!task)
		return 0;
	in = bpf_task_storage_get(&intents, task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!in) {
		drop(kind, CAUSE_TABLE);
		return 0;
	}
	in->kind = kind;
	in->dentry = (u64)dentry;
	in->vfsmount = (u64)BPF_CORE_READ(dir, mnt);
	intend_name(in, 0, dentry);
	if (new_dentry)
		intend_name(in, 1, new_dentry);
	return 0;
}

/* Appends a name that was taken and the path of its directory. */
static __always_inline void append_intended(struct scratch *s, struct intent *in, int i)
{
	struct change_rec *r = &s->change;
	u64 at = s->used;
	long n;

	barrier_var(at);
	if (at > RECORD_BYTES - NAME_BYTES)
		return;
	n = bpf_probe_read_kernel_str(s->rec + at, NAME_BYTES, in->name[i]);
	if (n < 0)
		return;
	s->used += n;
	r->name_len[i] = n;
	s->vfsmount = in->vfsmount;
	s->dentry = in->dir[i];
	r->dir_len[i] = append_path(s);
	if (s->truncated)
		r->h.flags |= PATH_TRUNCATED;
}

/* Reports what was intended, if it is this dentry's and the file system did it. */
static __always_inline int happened(enum kind kind, u64 ret, struct dentry *dentry, u32 flags)
{
	struct task_struct *task = caller(0);
	struct intent *in;
	struct scratch *s;

	if (!task || failed(ret))
		return 0;
	in = bpf_task_storage_get(&intents, task, 0, 0);
	if (!in || in->kind != kind || in->dentry != (u64)dentry)
		return 0;
	in->dentry = 0;
	s = begin_change(task, kind);
	if (!s)
		return 0;
	s->change.h.flags = flags;
	append_intended(s, in, 0);
	if (kind == KIND_RENAME)
		append_intended(s, in, 1);
	scratch_send_file(s, kind);
	scratch_put(s);
	return 0;
}

SEC("fentry/security_path_unlink")
int BPF_PROG(unlink_intended, const struct path *dir, struct dentry *dentry)
{
	return intend(KIND_UNLINK, dir, dentry, NULL);
}

SEC("fexit/vfs_unlink")
int BPF_PROG(unlink_happened, void *mnt, struct inode *dir, struct dentry *dentry)
{
	return happened(KIND_UNLINK, result(ctx), dentry, 0);
}

SEC("fentry/security_path_rmdir")
int BPF_PROG(rmdir_intended, const struct path *dir, struct dentry *dentry)
{
	return intend(KIND_RMDIR, dir, dentry, NULL);
}

SEC("fexit/vfs_rmdir")
int BPF_PROG(rmdir_happened, void *mnt, struct inode *dir, struct dentry *dentry)
{
	return happened(KIND_RMDIR, result(ctx), dentry, 0);
}

SEC("fentry/security_path_mkdir")
int BPF_PROG(mkdir_intended, const struct path *dir, struct dentry *dentry)
{
	return intend(KIND_MKDIR, dir, dentry, NULL);
}

SEC("fexit/vfs_mkdir")
int BPF_PROG(mkdir_happened, void *mnt, struct inode *dir, struct dentry *dentry)
{
	return happened(KIND_MKDIR, result(ctx), dentry, 0);
}

SEC("fentry/security_path_rename")
int BPF_PROG(rename_intended, const struct path *dir, struct dentry *dentry, const struct path *new_dir,
	struct dentry *new_dentry)
{
	return intend(KIND_RENAME, dir, dentry, new_dentry);
}

SEC("fexit/vfs_rename")
int BPF_PROG(rename_happened, struct renamedata *rd)
{
	return happened(KIND_RENAME, result(ctx), BPF_CORE_READ(rd, old_dentry),
		BPF_CORE_READ(rd, flags) & RENAME_EXCHANGE ? RENAME_EXCHANGES : 0);
}

/* In f_flags there is FMODE_EXEC where exec itself opens, which is not reported. */
static __always_inline int file_given(u64 ret, u64 name, u64 how)
{
	struct file *file = (struct file *)ret;
	struct task_struct *task = bpf_get_current_task_btf();
	struct mark *mark;

	if (failed(ret))
		return 0;
	mark = mark_of(task);
	if (!mark && !any_left)
		return 0;
	if (BPF_CORE_READ(file, f_flags) & FMODE_EXEC || !(mark || becomes_heir(task, file, false)))
		return 0;
	return report_open(task, file, KERNEL, name,
		BPF_CORE_READ((struct open_flags *)how, open_flag) & O_TRUNC ? OPEN_TRUNCATES : 0);
}

/* Every open of a path: the calls, io_uring's, and exec's own. */
SEC("fexit/do_filp_open")
int BPF_PROG(path_opened)
{
	struct filename *name = (struct filename *)argument(ctx, 1);

	return file_given(result(ctx), (u64)BPF_CORE_READ(name, name), argument(ctx, 2));
}

SEC("fexit/do_file_open_root")
int BPF_PROG(handle_opened)
{
	return file_given(result(ctx), 0, argument(ctx, 2));
}

/* Before 6.4 Multipath TCP has its paths connected and accepted by these functions too. */
static __always_inline bool is_users(struct socket *socket)
{
	return caller(0) && BPF_CORE_READ(socket, file);
}

/* connect, and a send that connects (TCP Fast Open). */
SEC("fexit/__inet_stream_connect")
int BPF_PROG(stream_connected, struct socket *socket)
{
	return is_users(socket) ? connect_done(BPF_CORE_READ(socket, sk), (s32)result(ctx), KERNEL, argument(ctx, 1)) : 0;
}

SEC("fexit/inet_dgram_connect")
int BPF_PROG(dgram_connected, struct socket *socket)
{
	return caller(0) ? connect_done(BPF_CORE_READ(socket, sk), (s32)result(ctx), KERNEL, argument(ctx, 1)) : 0;
}

static __always_inline int unix_reached(struct socket *socket, u64 ret, u64 address)
{
	if (!address || !caller(0))
		return 0;
	return unix_address((u64)BPF_CORE_READ(socket, sk), (s32)ret, KERNEL, address);
}

SEC("fexit/unix_stream_connect")
int BPF_PROG(unix_connected, struct socket *socket)
{
	return unix_reached(socket, result(ctx), argument(ctx, 1));
}

SEC("fexit/unix_dgram_connect")
int BPF_PROG(unix_dgram_connected, struct socket *socket)
{
	return unix_reached(socket, result(ctx), argument(ctx, 1));
}

SEC("fexit/unix_dgram_sendmsg")
int BPF_PROG(unix_sent, struct socket *socket, struct msghdr *message)
{
	return unix_reached(socket, result(ctx), (u64)BPF_CORE_READ(message, msg_name));
}

/* What connects over vsock is a module, and so this is where it asks; what came of it is not known. */
SEC("fexit/security_socket_connect")
int BPF_PROG(vsock_asked, struct socket *socket)
{
	struct sock *sk = BPF_CORE_READ(socket, sk);
	struct task_struct *task = caller(0);

	if (!task || BPF_CORE_READ(sk, __sk_common.skc_family) != AF_VSOCK)
		return 0;
	return vsock_connected(task, sk, (s32)result(ctx), KERNEL, argument(ctx, 1));
}

SEC("fexit/inet_accept")
int BPF_PROG(stream_accepted, struct socket *listening, struct socket *socket)
{
	struct task_struct *task = caller((s32)result(ctx));

	return task && is_users(listening) ? accept_done(task, BPF_CORE_READ(socket, sk)) : 0;
}

SEC("fexit/mptcp_stream_accept")
int BPF_PROG(mptcp_accepted, struct socket *listening, struct socket *socket)
{
	struct task_struct *task = caller((s32)result(ctx));

	return task ? accept_done(task, BPF_CORE_READ(socket, sk)) : 0;
}

SEC("fexit/udp_sendmsg")
int BPF_PROG(udp_sent_v4, struct sock *sk, struct msghdr *message)
{
	if (!caller(0))
		return 0;
	return datagram_sent(sk, (s32)result(ctx), KERNEL, (u64)BPF_CORE_READ(message, msg_name));
}

/* To an IPv4 address this calls udp_sendmsg, with an address that is gone by now. */
SEC("fexit/udpv6_sendmsg")
int BPF_PROG(udp_sent_v6, struct sock *sk, struct msghdr *message)
{
	u64 address;

	if (!caller(0))
		return 0;
	address = (u64)BPF_CORE_READ(message, msg_name);
	if (address && BPF_CORE_READ(message, msg_namelen) < SOCKADDR_IN6)
		return 0;
	return datagram_sent(sk, (s32)result(ctx), KERNEL, address);
}

#endif
