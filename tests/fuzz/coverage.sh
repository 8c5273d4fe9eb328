#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# How much of the code behind each fuzz target its corpus reaches: coverage.sh DIRECTORY [TARGET...]. DIRECTORY is made and built in (clang with
# source coverage, no sanitizers); with $FOUND, a directory of run.sh's findings (BULKHEAD_BUILD/tests/fuzz/found), these are run too.
# Prints, for each target, the files it is named for with lines reached of lines there are.
set -eu
[ $# -gt 0 ] || { echo "usage: coverage.sh DIRECTORY [TARGET...]" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
mkdir -p "$1"
cd "$1"
shift
[ $# -gt 0 ] || set -- rng blk vsock balloon console serial state
[ -f Makefile ] || CC=clang CFLAGS="-O1 -g -fprofile-instr-generate -fcoverage-mapping" "$top/configure" >configure.log
for name; do
	make -s "tests/fuzz/fuzz_$name" >build.log 2>&1 || { tail -20 build.log; exit 1; }
	rm -f "$name.profraw"
	set -- "$here/corpus/$name"/*
	[ -z "${FOUND:-}" ] || for f in "$FOUND/$name"/*; do [ ! -f "$f" ] || set -- "$@" "$f"; done
	LLVM_PROFILE_FILE="$name.profraw" "tests/fuzz/fuzz_$name" "$@"
	llvm-profdata merge -sparse "$name.profraw" -o "$name.profdata"
	case $name in
	rng) files="devices/rng.c devices/virtio.c devices/virtq.c" ;;
	vsock) files="devices/vsock.c devices/vsockconn.c devices/vsockfill.c" ;;
	state) files="kvm/state.c devices/virtio.c" ;;
	*) files="devices/$name.c" ;;
	esac
	for f in $files; do
		llvm-cov report "tests/fuzz/fuzz_$name" -instr-profile="$name.profdata" "$top/vmm/$f" 2>/dev/null |
			awk -v t="$name" -v f="vmm/$f" '$1 == "TOTAL" { printf "%-8s %-24s %4d of %4d lines, %4d of %4d branches\n", t, f, $8 - $9, $8, $11 - $12, $11 }'
	done
done
