/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Files. An open is reported from the file that it gave; rename, unlink, rmdir
 * and mkdir from the strings that the caller passed, read when the call has
 * succeeded: a second thread that changes them in that moment deceives us.
 */
#ifndef FILE_BPF_H
#define FILE_BPF_H

#define AT_FDCWD -100
#define AT_REMOVEDIR 0x200

static __always_inline int report_open(struct task_struct *task, struct file *file)
{
	struct scratch *s = scratch_get(KIND_OPEN);
	struct open_rec *r;

	if (!s)
		return 0;
	r = &s->open;
	begin(&r->h, KIND_OPEN, task);
	r->f_mode = BPF_CORE_READ(file, f_mode);
	r->i_mode = BPF_CORE_READ(file, f_inode, i_mode);
	s->used = sizeof(*r);
	r->path_len = append_struct_path(s, &file->f_path);
	if (s->truncated)
		r->h.flags |= PATH_TRUNCATED;
	scratch_send(s, KIND_OPEN, false);
	scratch_put(s);
	return 0;
}

/* Attached to the exits of open, openat, openat2 and creat. */
SEC("tracepoint/syscalls/sys_exit_openat")
int opened(struct sys_exit *ctx)
{
	struct task_struct *task = caller(ctx->ret);
	struct file *file;

	if (!task)
		return 0;
	file = file_of(task, ctx->ret);
	return file ? report_open(task, file) : 0;
}

/* Appends name i of a change: the user's string, and the directory it is relative to. */
static __always_inline void append_name(
	struct scratch *s, struct task_struct *task, int i, s32 dirfd, u64 name)
{
	struct change_rec *r = &s->change;
	u64 at = s->used;
	struct file *dir;

	r->name_len[i] = append_string(s, name);
	r->dir_len[i] = 0;
	barrier_var(at);
	if (at >= RECORD_BYTES || s->rec[at] == '/')
		return;
	if (dirfd == AT_FDCWD) {
		r->dir_len[i] = append_struct_path(s, &task->fs->pwd);
	} else {
		dir = file_of(task, dirfd);
		if (!dir)
			return;
		r->dir_len[i] = append_struct_path(s, &dir->f_path);
	}
	if (s->truncated)
		r->h.flags |= PATH_TRUNCATED;
}

static __always_inline int changed(
	struct task_struct *task, enum kind kind, s32 dirfd, u64 name, s32 new_dirfd, u64 new_name)
{
	struct scratch *s = scratch_get(kind);
	struct change_rec *r;

	if (!s)
		return 0;
	r = &s->change;
	begin(&r->h, kind, task);
	r->unused = 0;
	r->mnt_ns = BPF_CORE_READ(task, nsproxy, mnt_ns, ns.inum);
	r->name_len[1] = 0;
	r->dir_len[1] = 0;
	s->used = sizeof(*r);
	append_name(s, task, 0, dirfd, name);
	if (kind == KIND_RENAME)
		append_name(s, task, 1, new_dirfd, new_name);
	scratch_send(s, kind, false);
	scratch_put(s);
	return 0;
}

SEC("tracepoint/syscalls/sys_exit_rename")
int rename_done(struct sys_exit *ctx)
{
	struct task_struct *task = caller(ctx->ret);
	struct pt_regs *regs;

	if (!task)
		return 0;
	regs = call_regs(task);
	return changed(task, KIND_RENAME, AT_FDCWD, ARG1(regs), AT_FDCWD, ARG2(regs));
}

/* renameat and renameat2 */
SEC("tracepoint/syscalls/sys_exit_renameat2")
int renameat_done(struct sys_exit *ctx)
{
	struct task_struct *task = caller(ctx->ret);
	struct pt_regs *regs;

	if (!task)
		return 0;
	regs = call_regs(task);
	return changed(task, KIND_RENAME, ARG1(regs), ARG2(regs), ARG3(regs), ARG4(regs));
}

SEC("tracepoint/syscalls/sys_exit_unlink")
int unlink_done(struct sys_exit *ctx)
{
	struct task_struct *task = caller(ctx->ret);
	struct pt_regs *regs;

	if (!task)
		return 0;
	regs = call_regs(task);
	return changed(task, KIND_UNLINK, AT_FDCWD, ARG1(regs), 0, 0);
}

SEC("tracepoint/syscalls/sys_exit_unlinkat")
int unlinkat_done(struct sys_exit *ctx)
{
	struct task_struct *task = caller(ctx->ret);
	struct pt_regs *regs;

	if (!task)
		return 0;
	regs = call_regs(task);
	return changed(
		task, ARG3(regs) & AT_REMOVEDIR ? KIND_RMDIR : KIND_UNLINK, ARG1(regs), ARG2(regs), 0, 0);
}

SEC("tracepoint/syscalls/sys_exit_rmdir")
int rmdir_done(struct sys_exit *ctx)
{
	struct task_struct *task = caller(ctx->ret);
	struct pt_regs *regs;

	if (!task)
		return 0;
	regs = call_regs(task);
	return changed(task, KIND_RMDIR, AT_FDCWD, ARG1(regs), 0, 0);
}

SEC("tracepoint/syscalls/sys_exit_mkdir")
int mkdir_done(struct sys_exit *ctx)
{
	struct task_struct *task = caller(ctx->ret);
	struct pt_regs *regs;

	if (!task)
		return 0;
	regs = call_regs(task);
	return changed(task, KIND_MKDIR, AT_FDCWD, ARG1(regs), 0, 0);
}

SEC("tracepoint/syscalls/sys_exit_mkdirat")
int mkdirat_done(struct sys_exit *ctx)
{
	struct task_struct *task = caller(ctx->ret);
	struct pt_regs *regs;

	if (!task)
		return 0;
	regs = call_regs(task);
	return changed(task, KIND_MKDIR, ARG1(regs), ARG2(regs), 0, 0);
}

#endif
