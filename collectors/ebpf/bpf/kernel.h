/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The few kernel types that the sensor reads, and of each only the fields that
 * it reads. CO-RE finds where they are on the running kernel.
 */
#ifndef KERNEL_H
#define KERNEL_H

/* Tells libbpf's headers that registers have the kernel's names. */
#define __VMLINUX_H__

typedef signed char __s8;
typedef unsigned char __u8;
typedef short __s16;
typedef unsigned short __u16;
typedef int __s32;
typedef unsigned int __u32;
typedef long long __s64;
typedef unsigned long long __u64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u64 __be64;
typedef __u32 __wsum;
typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
typedef __s32 s32;
typedef __s64 s64;
typedef _Bool bool;

enum { false = 0, true = 1 };

enum bpf_map_type {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_RINGBUF = 27,
	BPF_MAP_TYPE_TASK_STORAGE = 29,
};

enum {
	BPF_ANY = 0,
	BPF_NOEXIST = 1,
	BPF_EXIST = 2,
	BPF_F_NO_PREALLOC = 1,
	BPF_LOCAL_STORAGE_GET_F_CREATE = 1,
	BPF_RB_NO_WAKEUP = 1,
	BPF_RB_FORCE_WAKEUP = 2,
	BPF_RB_AVAIL_DATA = 0,
};

struct bpf_sock;

/* The beginning of what a program on packets is given; the kernel rewrites the access. */
struct __sk_buff {
	u32 len;
	u32 unused[41];
	struct bpf_sock *sk;
};
_Static_assert(__builtin_offsetof(struct __sk_buff, sk) == 168, "as in the kernel's bpf.h");

/* What a cgroup/sock program sees of a socket; never relocated. */
struct bpf_sock {
	u32 bound_dev_if;
	u32 family;
	u32 type;
	u32 protocol;
};

/* What a syscalls/sys_exit_* tracepoint hands over; never relocated. */
struct sys_exit {
	u64 common;
	s32 nr;
	s32 padding; /* left as it was on the kernel's stack */
	s64 ret;
};

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
	int counter;
} atomic_t;

typedef struct {
	s64 counter;
} atomic64_t;

struct qstr {
	u64 hash_len;
	const unsigned char *name;
};

struct super_block {
	unsigned int s_dev;
	unsigned long s_magic;
};

enum { /* what an i_mode says of the kind of file */
	S_IFMT = 0170000,
	S_IFREG = 0100000,
	S_IFSOCK = 0140000,
};

struct inode {
	unsigned short i_mode;
	unsigned int i_nlink;
	u32 i_generation;
	unsigned long i_ino;
	s64 i_size;
	struct super_block *i_sb;
	void *i_private;
	s64 i_mtime_sec, i_ctime_sec; /* since 6.11 */
	u32 i_mtime_nsec, i_ctime_nsec;
};

struct timespec64 {
	s64 tv_sec;
	long tv_nsec;
};

struct inode___6_6 { /* until then without the underscores */
	struct timespec64 i_mtime, __i_mtime, i_ctime, __i_ctime;
};

struct dentry {
	struct dentry *d_parent;
	struct qstr d_name;
};

struct vfsmount {
	struct dentry *mnt_root;
};

struct mnt_namespace;

struct mount {
	struct mount *mnt_parent;
	struct dentry *mnt_mountpoint;
	struct vfsmount mnt;
	struct mnt_namespace *mnt_ns;
};

struct path {
	struct vfsmount *mnt;
	struct dentry *dentry;
};

struct renamedata {
	struct dentry *old_dentry;
	unsigned int flags;
};

enum { /* bits of a struct file's f_mode */
	FMODE_READ = 1,
	FMODE_WRITE = 2,
	FMODE_EXEC = 0x20,
	FMODE_PATH = 0x4000,
	FMODE_ATOMIC_POS = 0x8000, /* files and directories have it */
	FMODE_CREATED = 0x100000,
};

struct file {
	unsigned int f_mode;
	unsigned int f_flags;
	struct path f_path;
	struct inode *f_inode;
	void *private_data;
};

struct fdtable {
	unsigned int max_fds;
	struct file **fd;
};

struct files_struct {
	struct fdtable *fdt;
};

struct fs_struct {
	struct path root;
	struct path pwd;
};

struct ns_common {
	unsigned int inum;
};

struct mnt_namespace {
	struct ns_common ns;
};

struct net {
	struct ns_common ns;
};

struct user_namespace {
	struct ns_common ns;
};

struct nsproxy {
	struct mnt_namespace *mnt_ns;
	struct net *net_ns;
};

typedef struct {
	u32 val;
} kuid_t;

typedef struct {
	u32 val;
} kgid_t;

typedef struct {
	u64 val; /* only ever read by address: the kernel's own field is another before 6.3 */
} kernel_cap_t;

struct cred {
	kuid_t uid, suid, euid;
	kgid_t gid, sgid, egid;
	kernel_cap_t cap_permitted, cap_effective;
	struct user_namespace *user_ns;
};

struct kernfs_node {
	u64 id;
};

struct cgroup {
	struct kernfs_node *kn;
};

struct css_set {
	struct cgroup *dfl_cgrp;
};

struct list_head {
	struct list_head *next;
};

struct mm_struct {
	unsigned long arg_start, arg_end, env_start, env_end, task_size;
	struct file *exe_file;
};

struct pid_namespace {
	struct ns_common ns;
};

struct upid {
	int nr;
	struct pid_namespace *ns;
};

struct pid {
	unsigned int level;
	struct upid numbers[];
};

struct task_struct;
struct tty_struct;

enum pid_type {
	PIDTYPE_SID = 3,
};

struct signal_struct {
	atomic_t live;
	int group_exit_code;
	unsigned int flags;
	struct pid *pids[4];
	struct tty_struct *tty;
};

struct kernel_siginfo {
	int si_code;
};

struct thread_info {
	u32 status; /* amd64 */
};

struct task_struct {
	struct thread_info thread_info;
	unsigned int flags;
	int pid, tgid;
	int exit_code;
	u64 start_boottime;
	struct task_struct *group_leader, *real_parent, *parent;
	struct list_head ptraced, ptrace_entry;
	const struct cred *cred;
	struct css_set *cgroups;
	struct pid *thread_pid;
	struct mm_struct *mm;
	struct fs_struct *fs;
	struct files_struct *files;
	struct nsproxy *nsproxy;
	struct signal_struct *signal;
	char comm[16];
};

struct linux_binprm {
	const char *filename, *interp;
};

struct in6_addr {
	u8 bytes[16]; /* only ever read by address: the kernel's own field is another */
};

struct sock_common {
	__be32 skc_daddr, skc_rcv_saddr;
	__be16 skc_dport;
	u16 skc_num;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	struct in6_addr skc_v6_daddr, skc_v6_rcv_saddr;
	atomic64_t skc_cookie;
	unsigned long skc_flags;
};

struct sock {
	struct sock_common __sk_common;
	u16 sk_protocol;
	int sk_err;
	u16 sk_type;
	u8 sk_userlocks : 4;
};

struct sockaddr_un {
	unsigned short sun_family;
	char sun_path[108];
};

struct unix_address {
	int len;
	struct sockaddr_un name[];
};

struct unix_sock {
	struct unix_address *addr;
	struct path path;
	struct sock *peer;
};

struct mptcp_sock {
	struct sock *first;
};

struct inet_sock {
	__be16 inet_sport;
};

struct tcp_sock {
	u64 bytes_received, bytes_sent, bytes_retrans;
};

struct socket {
	struct file *file; /* NULL: the kernel's own */
	struct sock *sk;
};

struct msghdr {
	void *msg_name; /* the address, in the kernel's memory */
	int msg_namelen;
};

struct io_cqe {
	u64 user_data;
	s32 res;
	u32 flags;
	int fd; /* before the file is looked up; in the same place as flags */
};

struct io_kiocb {
	struct file *file;
	u8 opcode;
	u64 flags; /* 32 bits before 6.10: only the lower ones are read */
	struct io_cqe cqe;
};

/* What the kernel keeps of an io_uring request is at the beginning of its io_kiocb. */
struct filename {
	const char *name;
};

struct open_how {
	u64 flags;
};

struct open_flags {
	int open_flag;
};

struct io_open {
	int dfd;
	u32 file_slot;
	struct filename *filename;
	struct open_how how;
};

struct io_rename {
	int old_dfd;
	int new_dfd;
	struct filename *oldpath;
	struct filename *newpath;
	int flags;
};

struct io_unlink {
	int dfd;
	int flags;
	struct filename *filename;
};

struct io_mkdir {
	int dfd;
	struct filename *filename;
};

struct io_link {
	int old_dfd;
	int new_dfd;
	struct filename *oldpath;
	struct filename *newpath;
	int flags;
};

struct io_xattr {
	struct filename *filename;
};

struct io_connect {
	struct sockaddr *addr;
};

struct io_accept {
	u32 file_slot;
	int iou_flags;
};

struct io_sr_msg {
	void *umsg;
	int msg_flags;
};

struct io_splice {
	int splice_fd_in;
};

struct io_uring_cqe {
	u64 user_data;
	s32 res;
};

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
};

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
};

/* amd64 */
struct pt_regs {
	unsigned long r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs,
		flags, sp, ss;
};

/* arm64 */
struct user_pt_regs {
	u64 regs[31];
	u64 sp, pc, pstate;
};

#pragma clang attribute pop

#endif
