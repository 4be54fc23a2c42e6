/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Maps, the marks, and how a record is begun, filled and sent.
 *
 * Small records are built on the stack. Those with text are built in the
 * scratch buffer of the CPU, which `busy` guards: where programs can be
 * preempted, the second one on a CPU loses its record and counts that.
 *
 * Functions that are neither static nor inline are verified once, by
 * themselves; that keeps loops with many steps cheap to load.
 */
#ifndef RECORD_BPF_H
#define RECORD_BPF_H

#define PATH_DEPTH 1024	  /* components */
#define PATH_BYTES 4096	  /* and one component more */
#define STRING_BYTES 4096 /* PATH_MAX */
#define NAME_BYTES 256
#define PIECE_BYTES 2048
#define RECORD_BYTES 28672
#define INIT_PID_NS 0xEFFFFFFC /* as in the kernel's proc_ns.h */
#define PID_LEVELS 8	       /* of nested PID namespaces */

const volatile u32 pid_ns =
	INIT_PID_NS; /* inode number of the agent's PID namespace, whose numbers are reported */
const volatile u64 file_bytes = 6 << 20; /* with so much waiting in the ring, records of files are refused */
const volatile u64 wake_bytes = 1 << 19; /* so much waiting in the ring wakes the reader before its time */
const volatile u64 wake_after[2] = {20000000, 50000000}; /* ns: a record after so long without a wake-up does too; by enum haste */
u64 woken; /* when the reader was last woken, in ns since boot */

/*
 * An exec is read at once, for its probes (env.go) to be in place early; but not
 * more of them than get probes: a burst, and then one in a while.
 */
#define BURST 64
#define HASTE_COSTS 50000000ULL /* ns */
u64 paid; /* up to when these are used up, in ns since boot */

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 << 20);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct mark);
} marks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, CAUSES);
	__type(key, enum cause);
	__type(value, struct drop_counts);
} drops SEC(".maps");

struct scratch {
	u32 busy;
	u32 used; /* bytes of rec */
	/* where a walk up the directory tree is */
	u64 dentry;
	u64 vfsmount;
	u64 mnt_root;
	u64 mnt_ns;
	u32 path_len;
	u32 truncated; /* what was appended last is not all there is */
	u32 lost;      /* the walk ended below a root, or at that of another tree than the process's */
	u32 unused;
	/* where a walk through the environment is */
	u64 env;
	u64 env_end;
	u32 env_len;
	u32 inside; /* a value longer than a piece */
	/* where a walk through the arguments is */
	u64 args_from;
	u32 args_len;
	u32 args_off;
	char piece[PIECE_BYTES];
	union {
		char rec[RECORD_BYTES];
		struct exec_rec exec;
		struct args_rec args;
		struct open_rec open;
		struct change_rec change;
		struct uring_rec uring;
		/* Sent from the stack; named here so that the object describes them. */
		struct fork_rec fork;
		struct exit_rec exit;
		struct candidate_rec candidate;
		struct heir_rec heir;
		struct sock_rec sock;
		struct dns_rec dns;
		struct unix_rec un;
		struct socket_rec socket;
		struct head_rec head;
		struct access_rec access;
		struct identity_rec identity;
		struct getenv_rec getenv;
		struct compat_rec compat;
		/* Of attachments. */
		struct call call;
		enum call_how call_how;
	};
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct scratch);
} scratches SEC(".maps");

static __always_inline void drop(enum kind kind, enum cause cause)
{
	struct drop_counts *d = bpf_map_lookup_elem(&drops, &cause);

	if (d && kind < KINDS)
		__sync_fetch_and_add(&d->of[kind], 1);
}

/* The mark of the task's process, or NULL. It is on the leader, and threads have none. */
static __always_inline struct mark *mark_of(struct task_struct *task)
{
	struct task_struct *leader = task->group_leader;

	return bpf_task_storage_get(&marks, leader, 0, 0);
}

/* Marks a process by its leader. NULL: there is no memory. */
static __always_inline struct mark *mark_task(struct task_struct *task)
{
	struct mark unmarked = {};

	return bpf_task_storage_get(&marks, task, &unmarked, BPF_LOCAL_STORAGE_GET_F_CREATE);
}

/* The current task, where a call that it made succeeded and it is watched. */
static __always_inline struct task_struct *caller(s64 ret)
{
	struct task_struct *task;

	if (ret < 0)
		return NULL;
	task = bpf_get_current_task_btf();
	return mark_of(task) ? task : NULL;
}

/* Whose memory an address is of. */
enum space { USER, KERNEL };

static __always_inline long read_from(enum space space, void *to, u32 size, u64 from)
{
	return space == USER ? bpf_probe_read_user(to, size, (void *)from)
			     : bpf_probe_read_kernel(to, size, (void *)from);
}

static __always_inline struct pt_regs *call_regs(struct task_struct *task)
{
	return (struct pt_regs *)bpf_task_pt_regs(task);
}

/* The kernel trusts us to follow its own pointers, and so no helper is called for each. */
#ifdef __TARGET_ARCH_arm64
#define ARG1(regs) (((struct pt_regs___arm64 *)(regs))->orig_x0)
#else
#define ARG1(regs) PT_REGS_PARM1_SYSCALL(regs)
#endif
#define ARG2(regs) PT_REGS_PARM2_SYSCALL(regs)
#define ARG3(regs) PT_REGS_PARM3_SYSCALL(regs)
#define ARG4(regs) PT_REGS_PARM4_SYSCALL(regs)
#define ARG5(regs) PT_REGS_PARM5_SYSCALL(regs)

/* Argument i, from 1 to 5, of the system call that the current task is in; 0 for i = 0. */
__noinline u64 call_arg(u32 i)
{
	struct pt_regs *regs = call_regs(bpf_get_current_task_btf());

	switch (i) {
	case 1:
		return ARG1(regs);
	case 2:
		return ARG2(regs);
	case 3:
		return ARG3(regs);
	case 4:
		return ARG4(regs);
	case 5:
		return ARG5(regs);
	}
	return 0;
}

static __always_inline u64 start_ticks(struct task_struct *task)
{
	return task->group_leader->start_boottime / 10000000; /* as field 22 of /proc/PID/stat */
}

/* The number that a pid has in the agent's PID namespace, or 0. */
static __always_inline int pid_number(struct pid *pid)
{
	struct upid at = {};
	u32 i;

	for (i = 0; i < PID_LEVELS; i++) {
		if (i > BPF_CORE_READ(pid, level))
			break;
		if (bpf_probe_read_kernel(&at, sizeof(at), (void *)pid + bpf_core_field_offset(pid->numbers) + i * sizeof(at)))
			break;
		if (pid_ns == INIT_PID_NS || BPF_CORE_READ(at.ns, ns.inum) == pid_ns)
			return at.nr;
	}
	return 0;
}

/*
 * The number of a thread in the agent's PID namespace; 0 where it has none, as
 * it is outside of it. On the host itself this costs nothing: the verifier
 * removes what follows the first line.
 */
static __always_inline int local_number(struct task_struct *task, int number)
{
	if (pid_ns == INIT_PID_NS)
		return number;
	return pid_number(task->thread_pid);
}

static __always_inline int tid_of(struct task_struct *task)
{
	return local_number(task, task->pid);
}

static __always_inline int pid_of(struct task_struct *task)
{
	return local_number(task->group_leader, task->tgid);
}

static __always_inline void begin(struct header *h, enum kind kind, struct task_struct *task)
{
	h->time = bpf_ktime_get_boot_ns();
	h->start = start_ticks(task);
	h->pid = pid_of(task);
	h->tid = tid_of(task);
	h->kind = kind;
	h->flags = 0;
}

/* How soon a record has to be read, from the earliest on. */
enum haste { SOON, LATER, AT_ONCE };

/*
 * How a record made at `now` wakes the reader: some at once, others after a
 * pause, or when much is waiting. What comes right after a wake-up is read
 * without another, as the reader looks by itself for a while.
 */
static __always_inline u64 wake(enum haste haste, u64 now, u64 waiting)
{
	u64 from = paid > now ? paid : now;

	if (haste == SOON && from - now <= BURST * HASTE_COSTS) {
		paid = from + HASTE_COSTS;
		haste = AT_ONCE;
	}
	if (haste != AT_ONCE && now - woken < wake_after[haste] && waiting < wake_bytes)
		return BPF_RB_NO_WAKEUP;
	woken = now;
	return BPF_RB_FORCE_WAKEUP;
}

static __always_inline u64 ring_waiting(void)
{
	return bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA);
}

/* Sends a record, which begins with its header. */
static __always_inline void send(void *rec, u64 size, enum kind kind, enum haste haste)
{
	struct header *h = rec;

	if (bpf_ringbuf_output(&ring, rec, size, wake(haste, h->time, ring_waiting())))
		drop(kind, CAUSE_RING);
}

/*
 * Sends a record of a file: no flood of these takes the last part of the ring,
 * which is for processes and connections. False: it was not sent, and is counted.
 */
static __always_inline bool send_file(void *rec, u64 size, enum kind kind)
{
	struct header *h = rec;
	u64 waiting = ring_waiting();

	if (waiting > file_bytes) {
		drop(kind, CAUSE_RESERVE);
		return false;
	}
	if (bpf_ringbuf_output(&ring, rec, size, wake(LATER, h->time, waiting))) {
		drop(kind, CAUSE_RING);
		return false;
	}
	return true;
}

static __always_inline struct scratch *scratch_try(void)
{
	u32 zero = 0;
	struct scratch *s = bpf_map_lookup_elem(&scratches, &zero);

	return s && !__sync_lock_test_and_set(&s->busy, 1) ? s : NULL;
}

static __always_inline struct scratch *scratch_get(enum kind kind)
{
	struct scratch *s = scratch_try();

	if (!s)
		drop(kind, CAUSE_SCRATCH);
	return s;
}

static __always_inline void scratch_put(struct scratch *s)
{
	__sync_lock_test_and_set(&s->busy, 0);
}

static __always_inline void scratch_send(struct scratch *s, enum kind kind, enum haste haste)
{
	u64 n = s->used;

	barrier_var(n);
	if (n > RECORD_BYTES)
		n = RECORD_BYTES;
	send(s->rec, n, kind, haste);
}

static __always_inline bool scratch_send_file(struct scratch *s, enum kind kind)
{
	u64 n = s->used;

	barrier_var(n);
	if (n > RECORD_BYTES)
		n = RECORD_BYTES;
	return send_file(s->rec, n, kind);
}

/* One step of a walk; 0 when the walk is at its end. */
__noinline int path_step(struct scratch *s)
{
	struct dentry *dentry;
	struct vfsmount *vfsmount;
	struct dentry *parent;
	u64 at;
	long n;

	if (!s)
		return 0;
	dentry = (struct dentry *)s->dentry;
	vfsmount = (struct vfsmount *)s->vfsmount;
	parent = BPF_CORE_READ(dentry, d_parent);
	if ((u64)dentry == s->mnt_root) {
		struct mount *mnt = (void *)vfsmount - bpf_core_field_offset(struct mount, mnt);
		struct mount *up = BPF_CORE_READ(mnt, mnt_parent);

		if (!up || up == mnt) {
			s->lost = (u64)BPF_CORE_READ(mnt, mnt_ns) != s->mnt_ns;
			return 0;
		}
		s->dentry = (u64)BPF_CORE_READ(mnt, mnt_mountpoint);
		s->vfsmount = (u64)up + bpf_core_field_offset(struct mount, mnt);
		s->mnt_root = (u64)BPF_CORE_READ(up, mnt.mnt_root);
		return 1;
	}
	at = (u64)s->used + s->path_len;
	barrier_var(at);
	if (s->path_len > PATH_BYTES || at > RECORD_BYTES - NAME_BYTES)
		return 0;
	n = bpf_probe_read_kernel_str(s->rec + at, NAME_BYTES, BPF_CORE_READ(dentry, d_name.name));
	if (n <= 0)
		return 0;
	/* Of a memfd the name is all there is; of what was opened by handle, it may be "/". */
	if (dentry == parent) {
		s->lost = s->rec[at] == '/';
		s->path_len += s->lost ? 0 : n;
		return 0;
	}
	s->path_len += n;
	s->dentry = (u64)parent;
	return 1;
}

/*
 * Appends the path of s->dentry on s->vfsmount to the record and returns its
 * length. s->truncated tells whether leading components are missing. The walk
 * ends at the root of the mount namespace; a chroot is not subtracted.
 */
__noinline int append_path(struct scratch *s)
{
	struct vfsmount *vfsmount;
	int i;

	if (!s)
		return 0;
	vfsmount = (struct vfsmount *)s->vfsmount;
	s->path_len = 0;
	s->truncated = 1;
	s->lost = 0;
	s->mnt_ns = (u64)bpf_get_current_task_btf()->nsproxy->mnt_ns;
	s->mnt_root = (u64)BPF_CORE_READ(vfsmount, mnt_root);
	for (i = 0; i < PATH_DEPTH; i++) {
		if (!path_step(s)) {
			s->truncated = s->path_len > PATH_BYTES || s->lost;
			break;
		}
	}
	s->used += s->path_len;
	return s->path_len;
}

static __always_inline u16 append_struct_path(struct scratch *s, struct path *path)
{
	s->vfsmount = (u64)BPF_CORE_READ(path, mnt);
	s->dentry = (u64)BPF_CORE_READ(path, dentry);
	return append_path(s);
}

/* Appends at most STRING_BYTES of a string; returns its length, 0 if it cannot be read. */
__noinline int append_text(struct scratch *s, enum space space, u64 from)
{
	u64 at;
	long n;

	if (!s)
		return 0;
	at = s->used;
	barrier_var(at);
	if (at > RECORD_BYTES - STRING_BYTES)
		return 0;
	if (space == USER)
		n = bpf_probe_read_user_str(s->rec + at, STRING_BYTES, (void *)from);
	else
		n = bpf_probe_read_kernel_str(s->rec + at, STRING_BYTES, (void *)from);
	if (n <= 0)
		return 0;
	s->used += n;
	return n;
}

/* The same, of a user's string. */
static __always_inline int append_string(struct scratch *s, u64 from)
{
	return append_text(s, USER, from);
}

static __always_inline struct file *file_of(struct task_struct *task, u32 fd)
{
	struct fdtable *table = task->files->fdt;
	struct file *file = NULL;

	if (fd >= table->max_fds)
		return NULL;
	bpf_probe_read_kernel(&file, sizeof(file), table->fd + fd);
	return file;
}

/* What was told lately of a process and an object of the kernel, and when. */
struct once {
	u64 start;
	u64 object;
	u32 pid;
	u32 unused;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct once);
	__type(value, u64);
} told SEC(".maps");

#define ONCE_NS 60000000000ull

/* Whether this is to be told now: not where it was a minute ago. */
static __always_inline bool once(struct task_struct *task, u64 object)
{
	struct once key = {.start = start_ticks(task), .object = object, .pid = pid_of(task)};
	u64 now = bpf_ktime_get_boot_ns(), *last = bpf_map_lookup_elem(&told, &key);

	if (last && now - *last < ONCE_NS)
		return false;
	bpf_map_update_elem(&told, &key, &now, BPF_ANY);
	return true;
}

#endif
