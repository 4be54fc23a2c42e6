/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Names of variables that a process asks for: programs at functions of its C
 * library or shell, put there for single watched processes. Values are not
 * looked at.
 */
#ifndef ENV_BPF_H
#define ENV_BPF_H

struct asked {
	u64 start; /* ns since boot, of the process */
	u32 tgid;
	u32 shell;
	char name[GETENV_BYTES];
};

/* Each name is reported once for a process, as long as there is room to know. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct asked);
	__type(value, u32);
} asked SEC(".maps");

static __always_inline int variable(struct pt_regs *ctx, u32 shell)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct getenv_rec rec = {};
	struct asked key = {};
	u32 one = 1;

	if (!mark_of(task))
		return 0;
	if (bpf_probe_read_user_str(key.name, sizeof(key.name), (void *)PT_REGS_PARM1(ctx)) <= 1)
		return 0;
	key.start = task->group_leader->start_boottime;
	key.tgid = task->tgid;
	key.shell = shell;
	if (bpf_map_update_elem(&asked, &key, &one, BPF_NOEXIST))
		return 0;
	begin(&rec.h, KIND_GETENV, task);
	rec.shell = shell;
	__builtin_memcpy(rec.name, key.name, sizeof(rec.name));
	send(&rec, sizeof(rec), KIND_GETENV, LATER);
	return 0;
}

SEC("uprobe.multi")
int got_env(struct pt_regs *ctx)
{
	return variable(ctx, 0);
}

SEC("uprobe.multi")
int shell_found(struct pt_regs *ctx)
{
	return variable(ctx, 1);
}

#endif
