package ebpf

// The object and its Go face are made by clang and committed, so that neither a
// build nor a test of anything else needs clang.
//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -target amd64,arm64 -cc clang-14 -strip llvm-strip-14 -type kind -type cause -type flags -type header -type addrs -type fork_rec -type exec_rec -type args_rec -type exit_rec -type candidate_rec -type heir_rec -type open_rec -type change_rec -type sock_rec -type dns_rec -type unix_rec -type socket_rec -type head_rec -type file_id -type file_key -type creds -type namespaces -type image -type method -type access_rec -type identity_rec -type getenv_rec -type compat_rec -type attribute -type uring_rec -type use_key -type use -type how -type call -type call_how -type drop_counts -type left_key -type mark sensor bpf/sensor.bpf.c -- -mcpu=v3 -Wall -Werror
