/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Files. An open is reported from the file that it gave, and so is a change of
 * a file by its descriptor. Rename, unlink, link, mkdir and changes by path are
 * reported from the strings that the caller passed, read when the call has
 * succeeded: a second thread that changes them in that moment deceives us.
 *
 * How much a process reads and writes is added up by process and file in a
 * table that the agent empties every few seconds. The first time that a file is
 * met there, a record tells its path. The same table keeps a process that opens
 * one file again and again from filling the ring.
 */
#ifndef FILE_BPF_H
#define FILE_BPF_H

#define AT_FDCWD -100
#define NO_DIR -101 /* the name is a text and no path */
#define AT_SYMLINK_NOFOLLOW 0x100
#define AT_REMOVEDIR 0x200 /* unlinkat */
#define AT_SYMLINK_FOLLOW 0x400
#define AT_EMPTY_PATH 0x1000
#define RENAME_EXCHANGE 2
#define O_TRUNC 01000
#define PROT_EXEC 4
#define MAP_SHARED 1 /* MAP_SHARED_VALIDATE has this bit too */
#define MAP_ANONYMOUS 0x20

/* Further bits in an f_mode, of ours. */
#define MODE_PASSED 0x40000000
#define MODE_EMPTIED 0x80000000
#define MODES (FMODE_READ | FMODE_WRITE | FMODE_EXEC | FMODE_PATH | MODE_PASSED | MODE_EMPTIED)

#define SAME_OPENS 4 /* of one file by one process that are each reported, until the table is emptied */
#define USES 16384

/* Even and odd: one is filled while the agent empties the other. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, USES);
	__type(key, struct use_key);
	__type(value, struct use);
} uses_even SEC(".maps"), uses_odd SEC(".maps");

volatile u32 uses_turn = 0; /* the agent counts it up */

static __always_inline struct use *use_get(const struct use_key *key)
{
	if (uses_turn & 1)
		return bpf_map_lookup_elem(&uses_odd, key);
	return bpf_map_lookup_elem(&uses_even, key);
}

static __always_inline struct use *use_put(const struct use_key *key, const struct use *use)
{
	if (uses_turn & 1)
		bpf_map_update_elem(&uses_odd, key, use, BPF_NOEXIST);
	else
		bpf_map_update_elem(&uses_even, key, use, BPF_NOEXIST);
	return use_get(key);
}

/* The front of a struct file, with all that is asked of it, read at once. */
#define FRONT_BYTES 96
struct front {
	u8 bytes[FRONT_BYTES];
};

/* Where a kernel has a field further behind, it is read by itself; the verifier removes the one or the other.
 */
#define FRONT(front, file, type, field)                                                                      \
	({                                                                                                   \
		type value;                                                                                  \
		__builtin_memset(&value, 0, sizeof(value));                                                  \
		if (bpf_core_field_offset(struct file, field) + sizeof(type) <= FRONT_BYTES)                 \
			value = *(type *)((front)->bytes + bpf_core_field_offset(struct file, field));       \
		else                                                                                         \
			bpf_core_read(&value, sizeof(type), &(file)->field);                                 \
		value;                                                                                       \
	})

/*
 * Which file it is, and its f_mode. As a function of its own it gives its stack
 * back.
 */
static __noinline u32 identify(struct use_key *key, struct task_struct *task, struct file *file)
{
	struct front front;
	struct inode *inode;
	struct path path;

	bpf_probe_read_kernel(&front, sizeof(front), file);
	inode = FRONT(&front, file, struct inode *, f_inode);
	path = FRONT(&front, file, struct path, f_path);
	key->file.mnt = (u64)path.mnt;
	/* d_parent and the hash in d_name are beside each other. */
	bpf_core_read(&key->file.dir, 16, &path.dentry->d_parent);
	key->file.ino = BPF_CORE_READ(inode, i_ino);
	key->file.generation = BPF_CORE_READ(inode, i_generation);
	key->start = start_ticks(task);
	key->pid = pid_of(task);
	return FRONT(&front, file, u32, f_mode);
}

#define BTRFS_SUPER_MAGIC 0x9123683e /* subvolumes have devices of their own, that only btrfs knows */

static __always_inline u32 device_of(struct file *file)
{
	struct super_block *sb = BPF_CORE_READ(file, f_inode, i_sb);

	return BPF_CORE_READ(sb, s_magic) == BTRFS_SUPER_MAGIC ? 0 : BPF_CORE_READ(sb, s_dev);
}

/* A record with the path of a file, in s, which is sent by the caller. */
static __always_inline void begin_file(struct scratch *s, struct task_struct *task, struct file *file,
	enum kind kind, const struct use_key *key)
{
	struct open_rec *r = &s->open;

	begin(&r->h, kind, task);
	r->file = key->file;
	r->request = 0;
	r->f_mode = BPF_CORE_READ(file, f_mode);
	r->i_mode = BPF_CORE_READ(file, f_inode, i_mode);
	r->dev = device_of(file);
	r->name_len = 0;
	r->unused = 0;
	s->used = sizeof(*r);
	r->path_len = append_struct_path(s, &file->f_path);
	if (s->truncated)
		r->h.flags |= PATH_TRUNCATED;
}

/* Whether an open needs no record: enough of the same are known. */
static __always_inline bool known_open(struct use *use, u32 modes)
{
	if (!use || modes & FMODE_CREATED || modes & MODES & ~use->modes || use->sent < SAME_OPENS)
		return false;
	__sync_fetch_and_add(&use->more, 1);
	return true;
}

static __always_inline void note_open(const struct use_key *key, struct use *use, u32 modes)
{
	struct use first = {};

	if (use) {
		use->modes |= modes & MODES;
		use->sent++;
		return;
	}
	first.time = bpf_ktime_get_boot_ns();
	first.modes = modes & MODES;
	first.sent = 1;
	if (!use_put(key, &first))
		drop(KIND_USE, CAUSE_USES);
}

/* name: the string that open was given, in whose memory; 0: there is none. flags: of the record. */
static __noinline int report_open(
	struct task_struct *task, struct file *file, enum space space, u64 name, u32 flags)
{
	struct use_key key = {};
	struct scratch *s;
	struct use *use;
	u32 modes;

	modes = identify(&key, task, file) & ~(MODE_PASSED | MODE_EMPTIED);
	if (flags & PASSED)
		modes |= MODE_PASSED;
	if (flags & OPEN_TRUNCATES)
		modes |= MODE_EMPTIED;
	use = use_get(&key);
	if (known_open(use, modes))
		return 0;
	s = scratch_get(KIND_OPEN);
	if (!s)
		return 0;
	begin_file(s, task, file, KIND_OPEN, &key);
	s->open.h.flags |= flags;
	if (name)
		s->open.name_len = append_text(s, space, name);
	if (scratch_send_file(s, KIND_OPEN))
		note_open(&key, use, modes);
	scratch_put(s);
	return 0;
}

/* Attached to the exits of open, openat, openat2, creat and open_by_handle_at. */
SEC("tracepoint/syscalls/sys_exit_openat")
int opened(struct sys_exit *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();
	u64 cookie, flags, name = 0;
	struct call *call = (void *)&cookie;
	struct mark *mark;
	struct file *file;

	if (ctx->ret < 0)
		return 0;
	mark = mark_of(task);
	if (!mark && !any_left)
		return 0;
	file = file_of(task, ctx->ret);
	if (!file || !(mark || becomes_heir(task, file, false)))
		return 0;
	cookie = bpf_get_attach_cookie(ctx);
	flags = call_arg(call->flags);
	if (call->how & CALL_STRUCT)
		bpf_probe_read_user(&flags, sizeof(flags), (void *)flags);
	if (call->name[0])
		name = call_arg(call->name[0]);
	return report_open(
		task, file, USER, name, flags & O_TRUNC || call->how & CALL_EMPTIES ? OPEN_TRUNCATES : 0);
}

/* Appends, as what name i of a change is relative to, the directory of a descriptor. */
static __always_inline void append_dir(struct scratch *s, struct task_struct *task, int i, s32 dirfd)
{
	struct change_rec *r = &s->change;
	struct file *dir;

	if (dirfd == AT_FDCWD) {
		r->dir_len[i] = append_struct_path(s, &task->fs->pwd);
	} else {
		dir = file_of(task, dirfd);
		if (!dir) {
			r->h.flags |= PATH_TRUNCATED;
			return;
		}
		r->dir_len[i] = append_struct_path(s, &dir->f_path);
	}
	if (s->truncated)
		r->h.flags |= PATH_TRUNCATED;
}

#define MAGIC_ROOT -1
#define MAGIC_CWD -2
#define MAGIC_NONE -3

static __always_inline bool begins(struct scratch *s, u64 at, const char *with, int n)
{
	int i;

	for (i = 0; i < n; i++)
		if (s->rec[at + i] != with[i])
			return false;
	return true;
}

/*
 * What the name at `at` in the record stands for by its beginning, if that is
 * root, cwd or fd/N in /proc/self or /proc/thread-self: one of the above, or the
 * descriptor. Once the process is gone, nobody can tell.
 */
__noinline s64 magic(struct scratch *s, u64 at)
{
	s64 fd = 0;
	int i;

	if (!s)
		return MAGIC_NONE;
	barrier_var(at);
	if (at > RECORD_BYTES - STRING_BYTES)
		return MAGIC_NONE;
	if (begins(s, at, "/proc/self/", 11))
		at += 11;
	else if (begins(s, at, "/proc/thread-self/", 18))
		at += 18;
	else
		return MAGIC_NONE;
	if (begins(s, at, "root", 4))
		return s->rec[at + 4] == '/' || !s->rec[at + 4] ? MAGIC_ROOT : MAGIC_NONE;
	if (begins(s, at, "cwd", 3))
		return s->rec[at + 3] == '/' || !s->rec[at + 3] ? MAGIC_CWD : MAGIC_NONE;
	if (!begins(s, at, "fd/", 3))
		return MAGIC_NONE;
	for (i = 3; i < 10; i++) {
		char c = s->rec[at + i];

		if (c < '0' || c > '9')
			return i > 3 && (c == '/' || !c) ? fd : MAGIC_NONE;
		fd = fd * 10 + c - '0';
	}
	return MAGIC_NONE;
}

/* Appends what the name at `at` is relative to: nothing, where it is absolute. */
static __always_inline void append_base(struct scratch *s, struct task_struct *task, int i, s32 dirfd, u64 at)
{
	struct change_rec *r = &s->change;
	s64 what;

	barrier_var(at);
	if (at >= RECORD_BYTES)
		return;
	if (s->rec[at] != '/') {
		append_dir(s, task, i, dirfd);
		return;
	}
	what = magic(s, at);
	if (what == MAGIC_ROOT)
		r->dir_len[i] = append_struct_path(s, &task->fs->root);
	else if (what != MAGIC_NONE)
		append_dir(s, task, i, what == MAGIC_CWD ? AT_FDCWD : what);
}

/* Appends name i of a change: the user's string, and the directory it is relative to. */
static __always_inline void append_name(
	struct scratch *s, struct task_struct *task, int i, s32 dirfd, u64 name)
{
	struct change_rec *r = &s->change;
	u64 at = s->used;

	r->name_len[i] = append_string(s, name);
	append_base(s, task, i, dirfd, at);
}

static __always_inline struct scratch *begin_change(struct task_struct *task, enum kind kind)
{
	struct scratch *s = scratch_get(kind);
	struct change_rec *r;

	if (!s)
		return NULL;
	r = &s->change;
	begin(&r->h, kind, task);
	r->request = 0;
	r->mnt_ns = BPF_CORE_READ(task, nsproxy, mnt_ns, ns.inum);
	r->attribute = ATTR_NONE;
	r->value[0] = r->value[1] = 0;
	r->name_len[0] = r->name_len[1] = 0;
	r->dir_len[0] = r->dir_len[1] = 0;
	s->used = sizeof(*r);
	return s;
}

static __always_inline enum kind change_kind(const struct call *call, u32 flags)
{
	return call->kind == KIND_UNLINK && flags & AT_REMOVEDIR ? KIND_RMDIR : call->kind;
}

static __always_inline u32 change_flags(const struct call *call, u32 flags)
{
	switch (call->kind) {
	case KIND_RENAME:
		return flags & RENAME_EXCHANGE ? RENAME_EXCHANGES : 0;
	case KIND_LINK:
		return flags & AT_SYMLINK_FOLLOW ? NAME_FOLLOWED : 0;
	}
	return call->how & CALL_FOLLOWS && !(flags & AT_SYMLINK_NOFOLLOW) ? NAME_FOLLOWED : 0;
}

static __always_inline s32 call_dir(u8 i)
{
	return i ? (s32)call_arg(i) : AT_FDCWD;
}

/* Whether the call means the file of its descriptor, for want of a name. */
static __always_inline bool means_object(const struct call *call, u32 flags, u64 name)
{
	char first = 1;

	if (call->how & CALL_OBJECT || (!name && call->dir[0]))
		return true;
	return flags & AT_EMPTY_PATH && !bpf_probe_read_user(&first, 1, (void *)name) && !first;
}

/* Attached to the exits of all that change a file or directory by name or descriptor. */
SEC("tracepoint/syscalls/sys_exit_rename")
int changed(struct sys_exit *ctx)
{
	struct task_struct *task = caller(ctx->ret);
	struct call *call;
	struct scratch *s;
	u64 cookie, name;
	enum kind kind;
	u32 flags;

	if (!task)
		return 0;
	cookie = bpf_get_attach_cookie(ctx);
	call = (void *)&cookie;
	flags = call_arg(call->flags);
	kind = change_kind(call, flags);
	s = begin_change(task, kind);
	if (!s)
		return 0;
	s->change.h.flags = change_flags(call, flags);
	s->change.attribute = call->how >> 4;
	if (call->value) {
		s->change.value[0] = call_arg(call->value);
		s->change.value[1] = call_arg(call->value + 1);
	}
	name = call_arg(call->name[0]);
	if (means_object(call, flags, name)) {
		s->change.h.flags |= NAME_OBJECT;
		append_dir(s, task, 0, call_dir(call->dir[0]));
	} else {
		append_name(s, task, 0, call_dir(call->dir[0]), name);
	}
	if (kind == KIND_RENAME || kind == KIND_LINK)
		append_name(s, task, 1, call_dir(call->dir[1]), call_arg(call->name[1]));
	else if (call->name[1])
		s->change.name_len[1] = append_string(s, call_arg(call->name[1]));
	scratch_send_file(s, kind);
	scratch_put(s);
	return 0;
}

/* The entry of a file that is met for the first time: its path is told. */
static __noinline struct use *use_first(
	struct task_struct *task, struct file *file, const struct use_key *key)
{
	struct use first = {}, *use;
	struct scratch *s;
	bool sent;

	s = scratch_get(KIND_USE);
	if (!s)
		return NULL;
	begin_file(s, task, file, KIND_USE, key);
	sent = scratch_send_file(s, KIND_USE);
	scratch_put(s);
	if (!sent)
		return NULL;
	first.time = bpf_ktime_get_boot_ns();
	use = use_put(key, &first);
	if (!use)
		drop(KIND_USE, CAUSE_USES);
	return use;
}

/* Adds to the totals of a file that has a place in a directory; not of pipes, sockets, devices and memfds. */
static __noinline int use_file(struct task_struct *task, struct file *file, u64 read, u64 written, u32 how)
{
	struct use_key key = {};
	struct use *use;

	/* The quickest way to tell what is no file: pipes and sockets are read and written most. */
	if (!(BPF_CORE_READ(file, f_mode) & FMODE_ATOMIC_POS))
		return 0;
	identify(&key, task, file);
	use = use_get(&key);
	if (!use)
		use = use_first(task, file, &key);
	if (!use)
		return 0; /* which is counted */
	if (read)
		__sync_fetch_and_add(&use->read, read);
	if (written)
		__sync_fetch_and_add(&use->written, written);
	if (how & ~use->how)
		use->how |= how;
	return 0;
}

/* Attached to the exits of all that move bytes from or to a descriptor. */
SEC("tracepoint/syscalls/sys_exit_read")
int moved(struct sys_exit *ctx)
{
	struct task_struct *task = caller(ctx->ret - 1); /* nothing moved is nothing told */
	struct call *call;
	struct file *file;
	u64 cookie;

	if (!task)
		return 0;
	cookie = bpf_get_attach_cookie(ctx);
	call = (void *)&cookie;
	if (call->dir[0]) {
		file = file_of(task, call_arg(call->dir[0]));
		if (file)
			use_file(task, file, ctx->ret, 0, 0);
	}
	if (call->dir[1]) {
		file = file_of(task, call_arg(call->dir[1]));
		if (file)
			use_file(task, file, 0, ctx->ret, 0);
	}
	return 0;
}

/* What is read and written through a mapping makes no system call: only that there is one is told. */
SEC("tracepoint/syscalls/sys_exit_mmap")
int mapped(struct sys_exit *ctx)
{
	struct task_struct *task = caller((u64)ctx->ret < (u64)-4096 ? 0 : -1);
	struct pt_regs *regs;
	u32 prot, flags, how = MAPPED_READ;
	struct file *file;

	if (!task)
		return 0;
	regs = call_regs(task);
	prot = ARG3(regs);
	flags = ARG4(regs);
	if (flags & MAP_ANONYMOUS)
		return 0;
	file = file_of(task, ARG5(regs));
	if (!file)
		return 0;
	if (flags & MAP_SHARED && BPF_CORE_READ(file, f_mode) & FMODE_WRITE)
		how |= MAPPED_WRITE; /* if not now, then after mprotect */
	if (prot & PROT_EXEC)
		how |= MAPPED_EXEC;
	return use_file(task, file, 0, 0, how);
}

#endif
