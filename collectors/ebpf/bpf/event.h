/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The wire between kernel and agent: one header, one structure a record kind,
 * and behind it, where the structure has lengths, that many bytes of text.
 * bpf2go makes the Go structures from these.
 *
 * A path is text as the kernel can give it: its components from the last to
 * the first, each ended by a zero byte.
 */
#ifndef EVENT_H
#define EVENT_H

enum kind {
	KIND_FORK = 0,
	KIND_EXEC,
	KIND_ARGS,
	KIND_EXIT,
	KIND_CANDIDATE,
	KIND_OPEN,
	KIND_RENAME,
	KIND_UNLINK,
	KIND_RMDIR,
	KIND_MKDIR,
	KIND_CONNECT,
	KIND_ACCEPT,
	KIND_CLOSE,
	KIND_DNS,
	KIND_LISTEN,
	KIND_SEND,
	KIND_UNIX,
	KIND_VSOCK,
	KIND_SOCKET,
	KIND_HEAD,
	KIND_ACCESS,
	KIND_IDENTITY,
	KIND_GETENV,
	KIND_COMPAT,
	KIND_LINK,
	KIND_SYMLINK,
	KIND_MKNOD,
	KIND_TRUNCATE,
	KIND_ATTR,
	KIND_ASKED, /* io_uring was asked to open a file; the record is a change_rec, with the flags as value
		     */
	KIND_USE,   /* a file was read, written or mapped; its totals are in the table of uses */
	KIND_URING, /* how a request to io_uring ended */
	KIND_HEIR,
	KINDS,
};

enum cause {
	CAUSE_RING = 0, /* the ring was full */
	CAUSE_SCRATCH,	/* no room on this CPU to build the record */
	CAUSE_TABLE,	/* the table of sockets was full */
	CAUSE_BATCH,	/* more datagrams in one call than are looked at */
	CAUSE_URING,	/* done through io_uring, in a way that is not looked into */
	CAUSE_HEADS,	/* more requests on one connection than are looked at */
	CAUSE_RESERVE,	/* the rest of the ring is kept for processes and connections */
	CAUSE_USES,	/* the table of files in use was full */
	CAUSES,
};

enum flags {
	PATH_TRUNCATED = 1,
	CWD_TRUNCATED = 2,
	ENV_TRUNCATED = 4,
	ARGS_TRUNCATED = 8,
	PASSED = 1 << 16,   /* the process did not make the descriptor: inherited, or handed to it */
	STRANGER = 1 << 17, /* the process is in no watched tree */
	OVER_TCP = 1 << 18, /* KIND_DNS: behind a length */
	ANSWERED = 1 << 19, /* KIND_HEAD: what came from the peer */
	OPEN_TRUNCATES = 16,	/* the open made the file empty */
	NAME_FOLLOWED = 32,	/* the last component of the first name is followed where it is a link */
	NAME_OBJECT = 64,	/* what stands for the directory of the first name is the object itself */
	RENAME_EXCHANGES = 128, /* both names stay, with the other's file */
	URING = 256,		/* asked of io_uring */
};

struct header {
	u64 time;  /* ns since boot */
	u64 start; /* clock ticks since boot */
	u32 pid;
	u32 tid;
	enum kind kind;
	enum flags flags;
};
_Static_assert(sizeof(struct header) == 32, "header");

struct fork_rec {
	struct header h; /* of the child */
	u64 parent_start;
	u32 parent_pid;
	u32 uid;
	char comm[16];
};
_Static_assert(sizeof(struct fork_rec) == 64, "fork");

/* Which file it is, and as of when. */
struct file_id {
	u64 inode;
	u64 size;
	s64 modified; /* ns since 1970 */
	s64 changed;
	u32 dev; /* as the kernel has it: 12 bits, 20 bits */
	u32 magic; /* of its file system, as statfs(2) gives it */
};
_Static_assert(sizeof(struct file_id) == 40, "file");

struct creds {
	u64 permitted; /* capabilities */
	u64 effective;
	u32 uid, euid, suid;
	u32 gid, egid, sgid;
};
_Static_assert(sizeof(struct creds) == 40, "creds");

/* Inode numbers of namespaces. */
struct namespaces {
	u32 mnt, pid, net, user;
};
_Static_assert(sizeof(struct namespaces) == 16, "namespaces");

enum image {
	IMAGE_DELETED = 1, /* no name leads to the executable */
	IMAGE_MEMORY = 2,  /* it is a memfd */
	IMAGE_SCRIPT = 4,  /* another file was asked for, which the kernel gave this interpreter for */
	IMAGE_32BIT = 8,
	IMAGE_TERMINAL = 16, /* the process has a controlling terminal */
};

/* Behind it: path, cwd, env names (each ended by zero), args, the name that exec was given. */
struct exec_rec {
	struct header h;
	u64 parent_start;
	u64 cgroup;  /* ID in the v2 tree */
	u64 cgroups; /* same number, same cgroups in all trees */
	struct file_id file;
	struct creds creds;
	struct namespaces ns;
	u32 parent_pid;
	u32 uid;
	u32 session; /* PID of its leader */
	enum image image;
	u32 args_total; /* bytes of arguments the process has; args_len, or came before in args_rec */
	u16 path_len;
	u16 cwd_len;
	u16 env_len;
	u16 args_len;
	u16 name_len;
	u16 unused;
	char comm[16];
};
_Static_assert(sizeof(struct exec_rec) == 200, "exec");

/* What one process did to another. */
enum method {
	METHOD_SIGNAL = 0,
	METHOD_PTRACE,
	METHOD_TRACEME, /* the target asked for it */
	METHOD_VM_READ,
	METHOD_VM_WRITE,
	METHOD_GETFD,
};

struct access_rec {
	struct header h; /* of the process that acts */
	u64 target_start; /* 0: not known */
	u32 target_pid;   /* or TID, where the start is not known; 0: it has none here */
	enum method method;
	u32 signal;
	u32 stranger; /* the process is in no watched tree */
	u32 uid;
	u32 unused;
	char comm[16];
};
_Static_assert(sizeof(struct access_rec) == 80, "access");

/* What a process is after it changed that. */
struct identity_rec {
	struct header h;
	struct creds creds;
	struct namespaces ns;
	u64 call; /* number of the system call */
};
_Static_assert(sizeof(struct identity_rec) == 96, "identity");

/* A variable that was asked for by name. */
#define GETENV_BYTES 64
struct getenv_rec {
	struct header h;
	u32 shell; /* by a shell's own look-up */
	u32 unused;
	char name[GETENV_BYTES];
};
_Static_assert(sizeof(struct getenv_rec) == 40 + GETENV_BYTES, "getenv");

/* A watched process that makes system calls by the 32-bit door. */
struct compat_rec {
	struct header h;
};

/* A piece of arguments too long for the exec_rec, which follows the last one. */
struct args_rec {
	struct header h;
	u32 offset;
	u32 len;
};
_Static_assert(sizeof(struct args_rec) == 40, "args");

struct exit_rec {
	struct header h;
	u32 status; /* as wait(2) gives it */
	u32 unused;
};
_Static_assert(sizeof(struct exit_rec) == 40, "exit");

struct candidate_rec {
	struct header h;
	char comm[16];
};
_Static_assert(sizeof(struct candidate_rec) == 48, "candidate");

/*
 * A process in no watched tree has opened or run a file that is watched for.
 * Behind it: path; of a process that runs something else than the file also what it
 * runs: path, working directory, and as much of the arguments as there is room for.
 */
struct heir_rec {
	struct header h;
	u64 parent_start;
	u64 inode;
	u32 dev; /* as in struct file_id */
	u32 parent_pid;
	u32 uid;
	u32 f_mode;
	u32 program; /* it is what the process runs now */
	u32 args_total;
	u16 path_len;
	u16 exe_len;
	u16 cwd_len;
	u16 args_len;
	char comm[16];
};
_Static_assert(sizeof(struct heir_rec) == 96, "heir");

/*
 * A file under one name: the same for as long as the file has that name in that
 * directory. The addresses say nothing by themselves.
 */
struct file_key {
	u64 mnt;  /* address of the mount */
	u64 dir;  /* address of the directory's dentry */
	u64 name; /* hash and length of the last component */
	u64 ino;
	u32 generation;
	u32 unused;
};
_Static_assert(sizeof(struct file_key) == 40, "file_key");

/* KIND_OPEN and KIND_USE. Behind it: path, and the string that open was given. */
struct open_rec {
	struct header h;
	struct file_key file;
	u64 request; /* of io_uring; else 0 */
	u32 f_mode;
	u32 dev; /* as in struct file_id; 0: it says nothing, as the inode number alone does not */
	u16 i_mode;
	u16 path_len;
	u16 name_len;
	u16 unused;
};
_Static_assert(sizeof(struct open_rec) == 96, "open");

enum attribute {
	ATTR_NONE = 0,
	ATTR_MODE,
	ATTR_OWNER,
	ATTR_TIMES,
	ATTR_XATTR, /* one is set */
	ATTR_XATTR_REMOVED,
	ATTR_FLAGS,
};

/*
 * Behind it, for the first and then for the second name: the user's string, and
 * the path of the directory that it is relative to. A rename and a link have a
 * second name; a symbolic link has its text there, an extended attribute its
 * name, both without a directory.
 */
struct change_rec {
	struct header h;
	u64 request; /* of io_uring; else 0 */
	u32 mnt_ns;  /* inode number of the process's mount namespace */
	enum attribute attribute;
	u32 value[2]; /* mode; user and group */
	u16 name_len[2];
	u16 dir_len[2];
};
_Static_assert(sizeof(struct change_rec) == 64, "change");

/* Behind it: the path of what a successful open opened. */
struct uring_rec {
	struct header h;
	u64 request;
	s32 result;
	u32 unused;
};
_Static_assert(sizeof(struct uring_rec) == 48, "uring");

/* What one process did to one file since the table was last emptied. */
struct use_key {
	struct file_key file;
	u64 start;
	u32 pid;
	u32 unused;
};
_Static_assert(sizeof(struct use_key) == 56, "use_key");

enum how {
	MAPPED_READ = 1,
	MAPPED_WRITE = 2,
	MAPPED_EXEC = 4,
	BY_URING = 8,
};

struct use {
	u64 time; /* of the first, ns since boot */
	u64 read; /* bytes */
	u64 written;
	u32 modes; /* of the opens that were reported */
	u32 sent;  /* opens that were reported */
	u32 more;  /* opens that were not */
	enum how how;
};
_Static_assert(sizeof(struct use) == 40, "use");

/*
 * Which argument of a system call is what, counted from 1; 0 where it has none.
 * It comes with the attachment, so that one program serves all calls of a kind.
 */
struct call {
	u8 kind;
	u8 how; /* CALL_, and an attribute in the upper half */
	u8 name[2];
	u8 dir[2]; /* descriptors that the names are relative to; else: of the files themselves */
	u8 value;  /* the first of the values */
	u8 flags;
};
_Static_assert(sizeof(struct call) == 8, "call");

enum call_how {
	CALL_FOLLOWS = 1, /* a link as the last component, unless flags say otherwise */
	CALL_OBJECT = 2,  /* it has a descriptor, and no name */
	CALL_EMPTIES = 4, /* an open that always makes the file empty */
	CALL_STRUCT = 8,  /* flags are in a structure, at its beginning */
};

/* Addresses are IPv6, with IPv4 mapped into it; ports are numbers. */
struct addrs {
	u8 local[16];
	u8 peer[16];
	u16 local_port;
	u16 peer_port;
	u16 protocol; /* 6 TCP, 17 UDP */
	u16 inbound;
};
_Static_assert(sizeof(struct addrs) == 40, "addrs");

struct sock_rec {
	struct header h; /* of the owner */
	u64 cookie;
	u64 sent;
	u64 received;
	struct addrs a;
	u32 error; /* positive error number */
	u32 unused;
};
_Static_assert(sizeof(struct sock_rec) == 104, "sock");

/* A datagram from port 53 to a socket in the table, as it came from the wire. */
#define DNS_BYTES 1232 /* what resolvers send at most without being asked for more */
struct dns_rec {
	struct header h; /* of the owner */
	u64 cookie;
	u8 peer[16];
	u16 len;   /* of data */
	u16 total; /* of the datagram */
	u32 unused;
	u8 data[DNS_BYTES];
};
_Static_assert(sizeof(struct dns_rec) == 64 + DNS_BYTES, "dns");

/*
 * An AF_UNIX address. Behind it: the path of the file, where there is one, and
 * the address itself, which begins with a zero byte where it is an abstract one.
 */
struct unix_rec {
	struct header h;
	u64 cookie;
	u32 error; /* positive error number */
	u16 path_len;
	u16 name_len;
	u16 listens;
	u16 unused[3];
};
_Static_assert(sizeof(struct unix_rec) == 56, "unix");

/* A socket was made, or refused, of a kind that no other record is about. */
struct socket_rec {
	struct header h;
	u32 error; /* positive error number */
	u16 family;
	u16 type;
	u16 protocol;
	u16 unused[3];
};
_Static_assert(sizeof(struct socket_rec) == 48, "socket");

/*
 * The beginning of what was sent, or the first bytes of an answer. Behind it:
 * those bytes. Offset counts from the first byte that was looked at.
 */
struct head_rec {
	struct header h; /* of the owner */
	u64 cookie;
	struct addrs a;
	u32 offset;
	u16 len;
	u16 unused;
};
_Static_assert(sizeof(struct head_rec) == 88, "head");

/* Counts of what was not reported, for each cause and CPU. */
struct drop_counts {
	u64 of[KINDS];
};

/* On the leader of every watched process. */
struct mark {
	u32 exited; /* its exit was reported */
	u32 compat; /* that it uses 32-bit system calls was reported */
};

#endif
