/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The 32-bit door: a 64-bit process may make system calls by int 0x80, at which
 * no tracepoint of system calls fires. Where a hook of another kind runs inside
 * such a call, it is noticed and said once.
 */
#ifndef COMPAT_BPF_H
#define COMPAT_BPF_H

#define TS_COMPAT 2

static __always_inline bool is_32bit(struct task_struct *task)
{
	u64 top = BPF_CORE_READ(task, mm, task_size);

	return top <= 1ull << 32;
}

static __always_inline void note_compat(struct task_struct *task)
{
	struct compat_rec rec = {};
	struct mark *mark;

	if (!bpf_core_field_exists(task->thread_info.status))
		return;
	if (!(BPF_CORE_READ(task, thread_info.status) & TS_COMPAT))
		return;
	mark = mark_of(task);
	if (!mark || __sync_lock_test_and_set(&mark->compat, 1))
		return;
	begin(&rec.h, KIND_COMPAT, task);
	send(&rec, sizeof(rec), KIND_COMPAT, LATER);
}

/* At exec: a 32-bit image is said by the exec itself. */
static __always_inline void start_compat(struct task_struct *task)
{
	struct mark *mark = mark_of(task);

	if (mark)
		mark->compat = is_32bit(task);
}

#endif
