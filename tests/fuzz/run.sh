#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs every fuzz target of the build for some time each, as many at once as there are CPUs: run.sh [SECONDS] [TARGET...]. TAP; needs a
# build with --enable-fuzzers. What is found beyond the corpus goes to BUILD/tests/fuzz/found/TARGET, what crashes beside it; the corpus
# itself is not touched.
here=$(cd "$(dirname "$0")" && pwd)

# One target: its verdict as a line on the output, its log beside what it found.
if [ "$1" = --one ]; then
	seconds=$2 name=$3 found=tests/fuzz/found/$3
	mkdir -p "$found"
	if timeout $((seconds + 60)) "tests/fuzz/fuzz_$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
		-max_len=65536 -artifact_prefix="tests/fuzz/found/crash-$name-" "$found" "$here/corpus/$name" >"$found.log" 2>&1; then
		execs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$found.log")
		cov=$(sed -n 's/.* cov: \([0-9]*\).*/\1/p' "$found.log" | tail -1)
		echo "ok - $name: $execs executions, $cov edges"
	else
		echo "$(tail -40 "$found.log" | sed 's/^/# /')
not ok - $name"
		exit 1
	fi
	exit 0
fi

seconds=${1:-${FUZZ_SECONDS:-10}}
[ $# -gt 0 ] && shift
cd "${BULKHEAD_BUILD:-.}" || exit 1
[ $# -gt 0 ] || for program in tests/fuzz/fuzz_*; do
	case $program in *.o | *.c | *.h) ;; *) [ -x "$program" ] && set -- "$@" "${program##*/fuzz_}" ;; esac
done
if [ $# -eq 0 ]; then
	echo "1..0 # SKIP no fuzz targets here: configure with CC=clang --enable-fuzzers"
	exit 0
fi
echo "1..$#"
printf '%s\n' "$@" | xargs -n 1 -P "$(nproc)" "$here/run.sh" --one "$seconds" || exit 1
