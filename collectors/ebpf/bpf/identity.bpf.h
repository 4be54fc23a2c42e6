/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Who a process is: its image, credentials and namespaces, and changes of the last two. */
#ifndef IDENTITY_BPF_H
#define IDENTITY_BPF_H

#define SECOND 1000000000ll
#define CTIME_QUERIED (1u << 31) /* since 6.13 the kernel keeps a flag of its own in the nanoseconds */

/* Everything here is read by the slow and safe way: it is asked at exec, not at each event. */
static __always_inline void fill_creds(struct creds *c, struct task_struct *task)
{
	const struct cred *cred = BPF_CORE_READ(task, cred);

	bpf_probe_read_kernel(
		&c->permitted, sizeof(c->permitted), (void *)cred + bpf_core_field_offset(cred->cap_permitted));
	bpf_probe_read_kernel(
		&c->effective, sizeof(c->effective), (void *)cred + bpf_core_field_offset(cred->cap_effective));
	c->uid = BPF_CORE_READ(cred, uid.val);
	c->euid = BPF_CORE_READ(cred, euid.val);
	c->suid = BPF_CORE_READ(cred, suid.val);
	c->gid = BPF_CORE_READ(cred, gid.val);
	c->egid = BPF_CORE_READ(cred, egid.val);
	c->sgid = BPF_CORE_READ(cred, sgid.val);
}

static __always_inline u32 pid_namespace_of(struct task_struct *task)
{
	struct pid *pid = BPF_CORE_READ(task, thread_pid);
	struct upid at = {};
	u32 level = BPF_CORE_READ(pid, level);

	bpf_probe_read_kernel(
		&at, sizeof(at), (void *)pid + bpf_core_field_offset(pid->numbers) + level * sizeof(at));
	return BPF_CORE_READ(at.ns, ns.inum);
}

static __always_inline void fill_namespaces(struct namespaces *n, struct task_struct *task)
{
	n->mnt = BPF_CORE_READ(task, nsproxy, mnt_ns, ns.inum);
	n->net = BPF_CORE_READ(task, nsproxy, net_ns, ns.inum);
	n->user = BPF_CORE_READ(task, cred, user_ns, ns.inum);
	n->pid = pid_namespace_of(task);
}

static __always_inline void fill_times(struct file_id *f, struct inode *inode)
{
	struct inode___6_6 *old = (void *)inode;
	struct timespec64 m = {}, c = {};

	if (bpf_core_field_exists(inode->i_mtime_sec)) {
		f->modified = BPF_CORE_READ(inode, i_mtime_sec) * SECOND + BPF_CORE_READ(inode, i_mtime_nsec);
		f->changed = BPF_CORE_READ(inode, i_ctime_sec) * SECOND +
			(BPF_CORE_READ(inode, i_ctime_nsec) & ~CTIME_QUERIED);
		return;
	}
	if (bpf_core_field_exists(old->i_mtime))
		m = BPF_CORE_READ(old, i_mtime);
	else if (bpf_core_field_exists(old->__i_mtime))
		m = BPF_CORE_READ(old, __i_mtime);
	if (bpf_core_field_exists(old->i_ctime))
		c = BPF_CORE_READ(old, i_ctime);
	else if (bpf_core_field_exists(old->__i_ctime))
		c = BPF_CORE_READ(old, __i_ctime);
	f->modified = m.tv_sec * SECOND + m.tv_nsec;
	f->changed = c.tv_sec * SECOND + c.tv_nsec;
}

static __always_inline void fill_file(struct file_id *f, struct inode *inode)
{
	f->inode = BPF_CORE_READ(inode, i_ino);
	f->size = BPF_CORE_READ(inode, i_size);
	f->dev = BPF_CORE_READ(inode, i_sb, s_dev);
	f->magic = BPF_CORE_READ(inode, i_sb, s_magic);
	fill_times(f, inode);
}

/* A memfd is a root of its own whose name begins with this. */
static __always_inline bool is_memfd(struct dentry *dentry)
{
	const char want[] = "memfd:";
	char name[8] = {};
	int i;

	if (BPF_CORE_READ(dentry, d_parent) != dentry)
		return false;
	bpf_probe_read_kernel_str(name, sizeof(name), BPF_CORE_READ(dentry, d_name.name));
	for (i = 0; i < sizeof(want) - 1; i++)
		if (name[i] != want[i])
			return false;
	return true;
}

/* PID of the session's leader, as the agent counts. */
static __always_inline u32 session_of(struct task_struct *task)
{
	struct pid *pid = BPF_CORE_READ(task, signal, pids[PIDTYPE_SID]);

	return pid_number(pid);
}

static __always_inline void fill_image(
	struct exec_rec *r, struct task_struct *task, struct linux_binprm *bprm)
{
	struct file *exe = BPF_CORE_READ(task, mm, exe_file);
	struct inode *inode = BPF_CORE_READ(exe, f_inode);

	fill_file(&r->file, inode);
	r->session = session_of(task);
	r->cgroups = (u64)BPF_CORE_READ(task, cgroups);
	r->cgroup = BPF_CORE_READ(task, cgroups, dfl_cgrp, kn, id);
	r->image = 0;
	if (!BPF_CORE_READ(inode, i_nlink))
		r->image |= IMAGE_DELETED;
	if (is_memfd(BPF_CORE_READ(exe, f_path.dentry)))
		r->image |= IMAGE_MEMORY;
	if (BPF_CORE_READ(bprm, interp) != BPF_CORE_READ(bprm, filename))
		r->image |= IMAGE_SCRIPT;
	if (is_32bit(task))
		r->image |= IMAGE_32BIT;
	if (BPF_CORE_READ(task, signal, tty))
		r->image |= IMAGE_TERMINAL;
}

/* Attached to the exits of the calls that change credentials or namespaces. */
SEC("tracepoint/syscalls/sys_exit_setuid")
int identified(struct sys_exit *ctx)
{
	struct task_struct *task = caller(ctx->ret);
	struct identity_rec rec = {};

	if (!task)
		return 0;
	begin(&rec.h, KIND_IDENTITY, task);
	fill_creds(&rec.creds, task);
	fill_namespaces(&rec.ns, task);
	rec.call = ctx->nr;
	send(&rec, sizeof(rec), KIND_IDENTITY, LATER);
	return 0;
}

#endif
