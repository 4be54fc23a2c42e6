/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Files that are watched for: a process in no watched tree that opens or runs
 * one is marked in that moment, before it can do anything with it, and told of.
 * While there are none this costs others nothing but a look at one number.
 *
 * A file is found by its device and inode, and so by any of its names.
 */
#ifndef LEFT_BPF_H
#define LEFT_BPF_H

#define PF_KTHREAD 0x00200000
#define HEIR_ARGS 4096
#define TMPFILE 020000000 /* the bit of O_TMPFILE that is not O_DIRECTORY's */

const volatile u32 agent = 0; /* PID of the agent, which is never told of */

struct left_key {
	u64 inode;
	u32 dev; /* as in struct file_id */
	u32 unused;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct left_key);
	__type(value, u8);
} left SEC(".maps");

volatile bool any_left = false; /* something is in that table */

/* A file that was made this moment, or is none, has only got the number of one that is gone. */
static __always_inline bool is_another(struct file *file)
{
	return BPF_CORE_READ(file, f_mode) & FMODE_CREATED || BPF_CORE_READ(file, f_flags) & TMPFILE ||
		(BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) != S_IFREG;
}

static __always_inline bool is_left(struct file *file, struct left_key *key)
{
	struct inode *inode = BPF_CORE_READ(file, f_inode);

	key->inode = BPF_CORE_READ(inode, i_ino);
	key->dev = BPF_CORE_READ(inode, i_sb, s_dev);
	if (!bpf_map_lookup_elem(&left, key))
		return false;
	if (!is_another(file))
		return true;
	bpf_map_delete_elem(&left, key);
	return false;
}

/* Appends what the process runs: it can be gone before anybody looks. */
static __always_inline void append_image(struct scratch *s, struct task_struct *task)
{
	struct mm_struct *mm = task->mm;
	u64 at, len, from;

	if (!mm)
		return;
	s->heir.exe_len = append_struct_path(s, &mm->exe_file->f_path);
	if (s->truncated)
		s->heir.exe_len = 0;
	s->heir.cwd_len = append_struct_path(s, &task->fs->pwd);
	from = BPF_CORE_READ(mm, arg_start);
	len = BPF_CORE_READ(mm, arg_end) - from;
	s->heir.args_total = len;
	if (len > HEIR_ARGS)
		len = HEIR_ARGS;
	at = s->used;
	barrier_var(at);
	barrier_var(len);
	if (at > RECORD_BYTES - HEIR_ARGS || len > HEIR_ARGS || bpf_probe_read_user(s->rec + at, len, (void *)from))
		return;
	s->heir.args_len = len;
	s->used += len;
}

/* Sends the record with the path, or without where there is no room to build one. */
static __always_inline bool send_heir(struct heir_rec *rec, struct task_struct *task, struct file *file)
{
	struct scratch *s = scratch_try();
	u64 n;

	if (!s) {
		rec->h.flags = PATH_TRUNCATED;
		return !bpf_ringbuf_output(&ring, rec, sizeof(*rec), wake(AT_ONCE, rec->h.time, 0));
	}
	s->heir = *rec;
	s->used = sizeof(*rec);
	s->heir.path_len = append_struct_path(s, &file->f_path);
	if (s->truncated)
		s->heir.h.flags = PATH_TRUNCATED;
	if (!rec->program)
		append_image(s, task);
	n = s->used;
	barrier_var(n);
	if (n > RECORD_BYTES)
		n = RECORD_BYTES;
	n = bpf_ringbuf_output(&ring, s->rec, n, wake(AT_ONCE, rec->h.time, 0));
	scratch_put(s);
	return !n;
}

/*
 * Marks the process of a task, which is in no watched tree, for a file that it
 * opened or runs, if that is watched for. The record is first, so that nothing
 * that another of its threads does comes before it; without one there is no
 * mark, and the next open tries again. Two threads in the same moment make two
 * records.
 *
 * The first process is told of and not marked: it starts programs for everybody.
 */
static __noinline bool becomes_heir(struct task_struct *task, struct file *file, bool program)
{
	struct task_struct *leader = task->group_leader;
	struct task_struct *parent = leader->real_parent;
	struct heir_rec rec = {};
	struct left_key key = {};

	if (!is_left(file, &key))
		return false;
	rec.f_mode = BPF_CORE_READ(file, f_mode);
	if (rec.f_mode & FMODE_PATH || task->flags & PF_KTHREAD)
		return false;
	begin(&rec.h, KIND_HEIR, task);
	if (!rec.h.pid || rec.h.pid == agent)
		return false;
	rec.inode = key.inode;
	rec.dev = key.dev;
	rec.program = program;
	rec.parent_start = start_ticks(parent);
	rec.parent_pid = pid_of(parent);
	rec.uid = bpf_get_current_uid_gid();
	bpf_probe_read_kernel_str(rec.comm, sizeof(rec.comm), leader->comm);
	if (!send_heir(&rec, task, file)) {
		drop(KIND_HEIR, CAUSE_RING);
		return false;
	}
	if (rec.h.pid == 1)
		return false;
	if (mark_task(leader))
		return true;
	drop(KIND_HEIR, CAUSE_TABLE);
	return false;
}

#endif
