/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What one process does to another: signals, tracing, access to its memory and
 * descriptors. Reported where the one that acts is watched, or where the other
 * is guarded: a gateway, or the agent.
 */
#ifndef TRACE_BPF_H
#define TRACE_BPF_H

#define PTRACE_TRACEME 0
#define PTRACE_ATTACH 16
#define PTRACE_SEIZE 0x4206

#define SI_USER 0
#define SI_QUEUE -1
#define SI_TKILL -6
#define SEND_SIG_PRIV 1 /* it and smaller are no addresses: from the kernel */

#define TRACE_SIGNAL_DELIVERED 0
#define QUIET 1000000000 /* ns: the same again within this time is not reported */

/* Guarded processes by PID, with their start. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, u32);
	__type(value, u64);
} guarded SEC(".maps");

struct repeat {
	u64 start; /* ns since boot, of the one that acts */
	u32 tgid;
	u32 target;
	enum method method;
	u32 signal;
};

/* When it was reported last. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct repeat);
	__type(value, u64);
} repeats SEC(".maps");

static __always_inline bool repeated(struct task_struct *task, struct access_rec *r)
{
	struct repeat key = {
		.start = task->group_leader->start_boottime,
		.tgid = task->tgid,
		.target = r->target_pid,
		.method = r->method,
		.signal = r->signal,
	};
	u64 now = bpf_ktime_get_boot_ns();
	u64 *last = bpf_map_lookup_elem(&repeats, &key);

	if (last && now - *last < QUIET)
		return true;
	bpf_map_update_elem(&repeats, &key, &now, BPF_ANY);
	return false;
}

static __always_inline bool is_guarded(u32 pid, u64 start)
{
	u64 *known = bpf_map_lookup_elem(&guarded, &pid);

	return known && *known == start;
}

/* Sends r, whose target and method are filled in, for the task that acts. */
static __always_inline int accessed(struct task_struct *task, struct access_rec *r)
{
	if (repeated(task, r))
		return 0;
	begin(&r->h, KIND_ACCESS, task);
	r->uid = bpf_get_current_uid_gid();
	bpf_probe_read_kernel_str(r->comm, sizeof(r->comm), task->comm);
	send(r, sizeof(*r), KIND_ACCESS, AT_ONCE);
	return 0;
}

static __always_inline void fill_target(struct access_rec *r, struct task_struct *target)
{
	struct task_struct *leader = BPF_CORE_READ(target, group_leader);

	r->target_start = BPF_CORE_READ(leader, start_boottime) / 10000000;
	r->target_pid = pid_number(BPF_CORE_READ(leader, thread_pid));
}

/*
 * Signals that a process sends to another. Not those of the kernel, of timers
 * and of the process to itself, and not signal 0, which is never made.
 */
SEC("tp_btf/signal_generate")
int BPF_PROG(signalled, int sig, struct kernel_siginfo *info, struct task_struct *target, int group, int result)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct access_rec rec = {};
	int code = 1;

	if ((u64)info <= SEND_SIG_PRIV || task->tgid == target->tgid || result != TRACE_SIGNAL_DELIVERED)
		return 0;
	bpf_probe_read_kernel(&code, sizeof(code), (void *)info + bpf_core_field_offset(info->si_code));
	if (code != SI_USER && code != SI_QUEUE && code != SI_TKILL)
		return 0;
	note_compat(task);
	fill_target(&rec, target);
	rec.signal = sig;
	if (!mark_of(task)) {
		if (!is_guarded(rec.target_pid, rec.target_start))
			return 0;
		rec.stranger = 1;
	}
	return accessed(task, &rec);
}

/* The tracee that came last; right after an attach it is the one attached to. */
static __always_inline struct task_struct *newest_tracee(struct task_struct *task)
{
	struct list_head *first = BPF_CORE_READ(task, ptraced.next);

	if ((void *)first == (void *)task + bpf_core_field_offset(task->ptraced))
		return NULL;
	return (void *)first - bpf_core_field_offset(task->ptrace_entry);
}

SEC("tracepoint/syscalls/sys_exit_ptrace")
int ptraced(struct sys_exit *ctx)
{
	struct task_struct *task, *target;
	struct access_rec rec = {};
	u64 request;

	if (ctx->ret < 0)
		return 0;
	task = bpf_get_current_task_btf();
	request = ARG1(call_regs(task));
	if (request == PTRACE_TRACEME) {
		/* The one that acts is the parent, as far as the reader cares. */
		rec.method = METHOD_TRACEME;
		fill_target(&rec, BPF_CORE_READ(task, parent));
		return mark_of(task) ? accessed(task, &rec) : 0;
	}
	if (request != PTRACE_ATTACH && request != PTRACE_SEIZE)
		return 0;
	target = newest_tracee(task);
	if (!target)
		return 0;
	rec.method = METHOD_PTRACE;
	fill_target(&rec, target);
	if (!mark_of(task)) {
		if (!is_guarded(rec.target_pid, rec.target_start))
			return 0;
		rec.stranger = 1;
	}
	return accessed(task, &rec);
}

/*
 * The number that a caller gave is of its own namespace and may be a thread's;
 * the agent finds out whose it is, and drops what strangers do to others.
 */
static __always_inline int reached(s64 ret, enum method method)
{
	struct task_struct *task;
	struct access_rec rec = {};

	if (ret < 0)
		return 0;
	task = bpf_get_current_task_btf();
	rec.method = method;
	if (pid_namespace_of(task) == pid_ns)
		rec.target_pid = ARG1(call_regs(task));
	rec.stranger = !mark_of(task);
	return accessed(task, &rec);
}

SEC("tracepoint/syscalls/sys_exit_process_vm_readv")
int vm_read(struct sys_exit *ctx)
{
	return reached(ctx->ret, METHOD_VM_READ);
}

SEC("tracepoint/syscalls/sys_exit_process_vm_writev")
int vm_written(struct sys_exit *ctx)
{
	return reached(ctx->ret, METHOD_VM_WRITE);
}

SEC("tracepoint/syscalls/sys_exit_pidfd_getfd")
int fd_taken(struct sys_exit *ctx)
{
	struct task_struct *task;
	struct access_rec rec = {};
	struct file *file;
	struct pid *pid;

	if (ctx->ret < 0)
		return 0;
	task = bpf_get_current_task_btf();
	file = file_of(task, ARG1(call_regs(task)));
	if (!file)
		return 0;
	pid = BPF_CORE_READ(file, private_data);
	if (!pid) /* since 6.9 */
		pid = BPF_CORE_READ(file, f_inode, i_private);
	rec.method = METHOD_GETFD;
	rec.target_pid = pid_number(pid);
	rec.stranger = !mark_of(task);
	return accessed(task, &rec);
}

#endif
