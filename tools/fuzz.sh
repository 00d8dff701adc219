#!/bin/bash
# fuzz.sh BUILD SECONDS - runs each fuzzer of BUILD/tests/fuzz for SECONDS, from its corpus; what it finds new stays below BUILD/corpus,
# what breaks something in BUILD/crashes (replay: BUILD/tests/fuzz/fuzz_X FILE; then keep the file in tests/fuzz/corpus/X).
set -u
cd "$(dirname "$0")/.." || exit 2
build=$1 seconds=$2 bad=0
mkdir -p "$build/crashes"
for f in "$build"/tests/fuzz/fuzz_*; do
	case $f in *.o | *.d) continue ;; esac
	name=${f##*/fuzz_}
	mkdir -p "$build/corpus/$name" "tests/fuzz/corpus/$name"
	printf '%-16s ' "$name"
	if "$f" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -close_fd_mask=3 -artifact_prefix="$build/crashes/$name-" -print_final_stats=1 \
		"$build/corpus/$name" "tests/fuzz/corpus/$name" > "$build/$name.log" 2>&1; then
		awk '/number_of_executed_units/ {n = $2} END {print n " inputs, nothing found"}' "$build/$name.log"
	else
		echo "FAILED, see $build/$name.log"
		bad=1
	fi
done
exit $bad
