/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Processes: how a mark spreads, and fork, exec, exit and names. */
#ifndef PROCESS_BPF_H
#define PROCESS_BPF_H

#define ARGS_PIECE 16384
#define ARGS_PIECES 16	 /* 256 KiB */
#define ARGS_INLINE 8192 /* fit behind path, cwd and env */
#define ENV_BYTES 8192	 /* of names */
#define ENV_PIECES 2048	 /* variables, long ones counting as several */
#define ENV_NAME 256
#define GIVEN_BYTES 2048 /* fit behind all the others */

#define SIGNAL_GROUP_EXIT 4

/*
 * Processes whose leader is dead while other threads live. Should one of those
 * exec, it becomes the leader, without the mark that the old one had.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, u32);
	__type(value, struct mark);
} headless SEC(".maps");

/* The child does not run yet, so nothing that it does can be missed. */
SEC("tp_btf/sched_process_fork")
int BPF_PROG(forked, struct task_struct *parent, struct task_struct *child)
{
	struct fork_rec rec = {};

	if (child->pid != child->tgid || !mark_of(parent))
		return 0;
	if (!mark_task(child)) {
		drop(KIND_FORK, CAUSE_TABLE);
		return 0;
	}
	note_compat(parent);
	begin(&rec.h, KIND_FORK, child);
	rec.parent_start = start_ticks(parent);
	rec.parent_pid = pid_of(parent);
	rec.uid = bpf_get_current_uid_gid();
	bpf_probe_read_kernel_str(rec.comm, sizeof(rec.comm), child->comm);
	send(&rec, sizeof(rec), KIND_FORK, LATER);
	return 0;
}

/* Sends the next piece of the arguments; 0 at the end. */
__noinline int args_step(struct scratch *s)
{
	u64 len;

	if (!s || s->args_off >= s->args_len)
		return 0;
	len = s->args_len - s->args_off;
	barrier_var(len);
	if (len > ARGS_PIECE)
		len = ARGS_PIECE;
	if (bpf_probe_read_user(s->rec + sizeof(s->args), len, (void *)(s->args_from + s->args_off)))
		return 0;
	s->args.h.time = bpf_ktime_get_boot_ns();
	s->args.offset = s->args_off;
	s->args.len = len;
	s->used = sizeof(s->args) + len;
	scratch_send(s, KIND_ARGS, LATER);
	s->args_off += len;
	return 1;
}

/* Sends the arguments in pieces, before the record that they belong to. */
static __always_inline void send_args(struct scratch *s, u64 from, u32 len)
{
	int i;

	s->args_from = from;
	s->args_len = len;
	s->args_off = 0;
	for (i = 0; i < ARGS_PIECES; i++)
		if (!args_step(s))
			break;
}

/* Length of the name at the front of s->piece; 0 if it has no '=' within ENV_NAME bytes. */
__noinline int env_name(struct scratch *s)
{
	int i;

	if (!s)
		return 0;
	for (i = 0; i < ENV_NAME - 1; i++) {
		if (s->piece[i] == '=')
			return i;
		if (!s->piece[i])
			return 0;
	}
	return 0;
}

/*
 * One variable, or one piece of a long one; 0 at the end. The value passes
 * through s->piece, from which nothing else is sent, and is overwritten by the
 * next.
 */
__noinline int env_step(struct scratch *s)
{
	u64 at, len;
	long n;

	if (!s)
		return 0;
	if (s->env >= s->env_end) {
		s->truncated = 0;
		return 0;
	}
	n = bpf_probe_read_user_str(s->piece, PIECE_BYTES, (void *)s->env);
	if (n <= 0)
		return 0;
	len = s->inside ? 0 : env_name(s);
	s->inside = n == PIECE_BYTES;
	s->env += s->inside ? n - 1 : n;
	at = (u64)s->used + s->env_len;
	barrier_var(len);
	barrier_var(at);
	if (!len)
		return 1;
	if (s->env_len > ENV_BYTES - ENV_NAME || at > RECORD_BYTES - ENV_NAME || len >= ENV_NAME)
		return 0;
	bpf_probe_read_kernel(s->rec + at, len, s->piece);
	s->rec[at + len] = 0;
	s->env_len += len + 1;
	return 1;
}

/* Appends the names of the variables from s->env to s->env_end, each ended by a zero byte. */
__noinline int append_env(struct scratch *s)
{
	int i;

	if (!s)
		return 0;
	s->env_len = 0;
	s->inside = 0;
	s->truncated = 1;
	for (i = 0; i < ENV_PIECES; i++)
		if (!env_step(s))
			break;
	s->used += s->env_len;
	return s->env_len;
}

/* Whether the process is watched; where another thread than the leader exec'ed, the leader is a new one. */
static __always_inline bool inherit_mark(struct task_struct *task, int old_pid)
{
	int pid = pid_of(task);

	if (mark_of(task))
		return true;
	if (old_pid == task->tgid || bpf_map_delete_elem(&headless, &pid))
		return false;
	if (mark_task(task))
		return true;
	drop(KIND_EXEC, CAUSE_TABLE);
	return false;
}

/* Appends the kernel's copy of the name that exec was given, unless it is too long. */
__noinline int append_given(struct scratch *s, u64 from)
{
	u64 at;
	long n;

	if (!s)
		return 0;
	at = s->used;
	barrier_var(at);
	if (at > RECORD_BYTES - GIVEN_BYTES)
		return 0;
	n = bpf_probe_read_kernel_str(s->rec + at, GIVEN_BYTES, (void *)from);
	if (n <= 1 || n == GIVEN_BYTES)
		return 0;
	s->used += n - 1;
	return n - 1;
}

/* Appends the name of a dentry that is a root, as a memfd has. */
__noinline int append_root_name(struct scratch *s, u64 dentry)
{
	u64 at;
	long n;

	if (!s)
		return 0;
	s->truncated = 0;
	at = s->used;
	barrier_var(at);
	if (at > RECORD_BYTES - NAME_BYTES)
		return 0;
	n = bpf_probe_read_kernel_str(
		s->rec + at, NAME_BYTES, BPF_CORE_READ((struct dentry *)dentry, d_name.name));
	if (n <= 0)
		return 0;
	s->used += n;
	return n;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(execed, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
	struct task_struct *parent = task->real_parent;
	struct mm_struct *mm = task->mm;
	struct exec_rec *r;
	struct scratch *s;
	u64 at, len;
	u32 total;

	if (!inherit_mark(task, old_pid) && !(any_left && becomes_heir(task, mm->exe_file, true)))
		return 0;
	start_compat(task);
	s = scratch_get(KIND_EXEC);
	if (!s)
		return 0;
	r = &s->exec;
	total = mm->arg_end - mm->arg_start;
	begin(&r->h, KIND_ARGS, task);
	if (total > ARGS_INLINE)
		send_args(s, mm->arg_start, total);

	begin(&r->h, KIND_EXEC, task);
	r->parent_start = start_ticks(parent);
	r->parent_pid = pid_of(parent);
	r->uid = bpf_get_current_uid_gid();
	r->args_total = total;
	r->args_len = 0;
	r->unused = 0;
	fill_image(r, task, bprm);
	fill_creds(&r->creds, task);
	fill_namespaces(&r->ns, task);
	bpf_probe_read_kernel_str(r->comm, sizeof(r->comm), task->comm);
	s->used = sizeof(*r);
	r->path_len = r->image & IMAGE_MEMORY ? append_root_name(s, (u64)BPF_CORE_READ(mm, exe_file, f_path.dentry))
					      : append_struct_path(s, &mm->exe_file->f_path);
	if (s->truncated)
		r->h.flags |= PATH_TRUNCATED;
	r->cwd_len = append_struct_path(s, &task->fs->pwd);
	if (s->truncated)
		r->h.flags |= CWD_TRUNCATED;
	s->env = mm->env_start;
	s->env_end = mm->env_end;
	r->env_len = append_env(s);
	if (s->truncated)
		r->h.flags |= ENV_TRUNCATED;
	at = s->used;
	len = total;
	barrier_var(at);
	barrier_var(len);
	if (len <= ARGS_INLINE && at <= RECORD_BYTES - ARGS_INLINE) {
		if (bpf_probe_read_user(s->rec + at, len, (void *)mm->arg_start)) {
			r->h.flags |= ARGS_TRUNCATED;
		} else {
			r->args_len = len;
			s->used += len;
		}
	}
	r->name_len = append_given(s, (u64)BPF_CORE_READ(bprm, filename));
	scratch_send(s, KIND_EXEC, SOON);
	scratch_put(s);
	return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(exited, struct task_struct *task)
{
	struct task_struct *leader = task->group_leader;
	struct signal_struct *sig = task->signal;
	struct mark *mark = mark_of(task);
	struct exit_rec rec = {};
	u32 pid = pid_of(task);

	if (!mark)
		return 0;
	note_compat(task);
	if (sig->live.counter != 0) {
		if (task->pid == task->tgid && bpf_map_update_elem(&headless, &pid, mark, BPF_ANY))
			drop(KIND_EXEC, CAUSE_TABLE);
		return 0;
	}
	/* Two threads can both find that they are the last. */
	if (__sync_lock_test_and_set(&mark->exited, 1))
		return 0;
	bpf_map_delete_elem(&headless, &pid);
	begin(&rec.h, KIND_EXIT, task);
	rec.status = sig->flags & SIGNAL_GROUP_EXIT ? sig->group_exit_code : leader->exit_code;
	send(&rec, sizeof(rec), KIND_EXIT, LATER);
	return 0;
}

/*
 * A process that takes OpenClaw's name is marked here and not by the agent, so
 * that none of its children is missed; the agent takes the mark back where it
 * was none of OpenClaw's. The name is set by exec and by prctl.
 */
SEC("tp_btf/task_rename")
int BPF_PROG(renamed, struct task_struct *task, const char *comm)
{
	const char want[] = "openclaw";
	struct candidate_rec rec = {};
	int i;

	if (task->pid != task->tgid || !pid_of(task))
		return 0;
	bpf_probe_read_kernel_str(rec.comm, sizeof(rec.comm), comm);
	for (i = 0; i < sizeof(want) - 1; i++)
		if (rec.comm[i] != want[i])
			return 0;
	if (mark_of(task))
		return 0;
	if (!mark_task(task)) {
		drop(KIND_CANDIDATE, CAUSE_TABLE);
		return 0;
	}
	begin(&rec.h, KIND_CANDIDATE, task);
	send(&rec, sizeof(rec), KIND_CANDIDATE, AT_ONCE);
	return 0;
}

/* One byte for every watched process that lives: how the agent learns that there is none. */
SEC("iter/task")
int watched(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct mark *mark;
	char one = 1;

	if (!task || task->pid != task->tgid)
		return 0;
	mark = bpf_task_storage_get(&marks, task, 0, 0);
	if (mark && !mark->exited)
		bpf_seq_write(ctx->meta->seq, &one, 1);
	return 0;
}

#endif
