// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The kernel side of the sensor: reports what marked processes and their
 * descendants do. Files and sockets come from the exits of system calls, or from
 * trampolines where the kernel has them.
 */
#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>
#include "event.h"
#include "record.bpf.h"
#include "compat.bpf.h"
#include "identity.bpf.h"
#include "left.bpf.h"
#include "process.bpf.h"
#include "file.bpf.h"
#include "unix.bpf.h"
#include "net.bpf.h"
#include "socket.bpf.h"
#include "passed.bpf.h"
#include "packet.bpf.h"
#include "uring.bpf.h"
#include "trace.bpf.h"
#include "env.bpf.h"
#include "trampoline.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";
