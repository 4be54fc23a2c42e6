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
	KIND_LINK,
	KIND_SYMLINK,
	KIND_MKNOD,
	KIND_TRUNCATE,
	KIND_ATTR,
	KIND_ASKED, /* io_uring was asked to open a file; the record is a change_rec, with the flags as value
		     */
	KIND_USE,   /* a file was read, written or mapped; its totals are in the table of uses */
	KIND_URING, /* how a request to io_uring ended */
	KINDS,
};

enum cause {
	CAUSE_RING = 0, /* the ring was full */
	CAUSE_SCRATCH,	/* no room on this CPU to build the record */
	CAUSE_TABLE,	/* the table of sockets was full */
	CAUSE_BATCH,	/* more datagrams in one call than are looked at */
	CAUSE_URING,	/* done through io_uring, in a way that is not looked into */
	CAUSE_RESERVE,	/* the rest of the ring is kept for processes and connections */
	CAUSE_USES,	/* the table of files in use was full */
	CAUSES,
};

enum flags {
	PATH_TRUNCATED = 1,
	CWD_TRUNCATED = 2,
	ENV_TRUNCATED = 4,
	ARGS_TRUNCATED = 8,
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

/* Behind it: path, cwd, env names (each ended by zero), args. */
struct exec_rec {
	struct header h;
	u64 parent_start;
	u32 parent_pid;
	u32 uid;
	u32 args_total; /* bytes of arguments the process has; args_len, or came before in args_rec */
	u16 path_len;
	u16 cwd_len;
	u16 env_len;
	u16 args_len;
	u32 unused;
	char comm[16];
};
_Static_assert(sizeof(struct exec_rec) == 80, "exec");

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
 * A file under one name: the same for as long as the file has that name in that
 * directory. The addresses say nothing by themselves.
 */
struct file_id {
	u64 mnt;  /* address of the mount */
	u64 dir;  /* address of the directory's dentry */
	u64 name; /* hash and length of the last component */
	u64 ino;
	u32 generation;
	u32 unused;
};
_Static_assert(sizeof(struct file_id) == 40, "file_id");

/* KIND_OPEN and KIND_USE. Behind it: path, and the string that open was given. */
struct open_rec {
	struct header h;
	struct file_id file;
	u64 request; /* of io_uring; else 0 */
	u32 f_mode;
	u16 i_mode;
	u16 path_len;
	u16 name_len;
	u16 unused[3];
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
	struct file_id file;
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

/* Counts of what was not reported, for each cause and CPU. */
struct drop_counts {
	u64 of[KINDS];
};

/* On the leader of every watched process. */
struct mark {
	u32 exited; /* its exit was reported */
	u32 unused;
};

#endif
