#!/bin/bash
# lint.sh [--build DIR] - what the project asks of its own sources. TAP.
#   sizes        no C file over 800 lines, no function over 100 (tools/lint-exceptions.txt has those let off, with the reason)
#   direction    common <- s3 <- fs/volume <- fs/mount <- fs/cmd, common <- s3 <- replicator <- replicator/cmd,
#                common <- s3 <- orchestrator <- orchestrator/cmd: nothing includes upwards
#   headers      each compiles by itself, gcc and (where there) clang
#   clang        where there, compiles everything without a warning
#   shell        shellcheck
#   docs         man pages against --help
#   words        no work left as a comment, no path of a developer's machine
set -u
cd "$(dirname "$0")/.." || exit 2
BUILD=build
[ "${1:-}" != --build ] || BUILD=$2
export BUILD
# shellcheck source=tests/lib/tap.sh
. tests/lib/tap.sh

mapfile -t sources < <(find common include s3 fs replicator orchestrator tests tools -name '*.[ch]' 2>/dev/null | sort)
mapfile -t headers < <(printf '%s\n' "${sources[@]}" | grep '\.h$')
mapfile -t scripts < <(find . \( -path ./.git -o -path "./$BUILD" -o -path './build*' \) -prune -o -type f \
	\( -name '*.sh' -o -path ./tests/run -o -path ./tests/model/run -o -path ./.ci/run -o -path ./tools/bench/run -o -name '*.bash-completion' \) -print | sort)

# --- sizes
excepted() { grep -q "^$1 " tools/lint-exceptions.txt; }
long=
for f in "${sources[@]}"; do
	n=$(wc -l < "$f")
	[ "$n" -le 800 ] || excepted "$f" || long+="$f: $n lines"$'\n'
done
[ -z "$long" ]; ok $? "no file over 800 lines" "$long"

long=$(awk '
	FNR == 1 { depth = 0; name = "" }
	/^[a-zA-Z_].*\(/ && !/;[ \t]*$/ && !/^#/ { name = $0; sub(/\(.*/, "", name); sub(/.*[ *]/, "", name) }
	/^\{/ && name != "" { start = FNR; inside = name }
	/^\}/ && inside != "" { if (FNR - start + 1 > 102) print FILENAME ":" inside " " FNR - start - 1 " lines"; inside = ""; name = "" }
' "${sources[@]}" | while read -r at n rest; do excepted "$at" || echo "$at: $n $rest"; done)
[ -z "$long" ]; ok $? "no function over 100 lines" "$long"

stale=$(grep -v '^#' tools/lint-exceptions.txt | while read -r at reason; do
	[ -e "${at%%:*}" ] || echo "$at: no such file"
	[ -n "$reason" ] || echo "$at: no reason"
done)
[ -z "$stale" ]; ok $? "the exceptions are of files that exist, with reasons" "$stale"

# --- direction: who may be included by whom
up=$(for f in "${sources[@]}"; do
	case $f in
	common/*) allowed="common include" ;;
	include/*) allowed="include" ;;
	s3/*) allowed="s3 common include" ;;
	fs/volume/*) allowed="fs/volume common include" ;;
	fs/mount/*) allowed="fs/mount fs/volume common include" ;;
	replicator/cmd/*) allowed="replicator/cmd replicator s3 common include" ;;
	replicator/*) allowed="replicator s3 common include" ;;
	orchestrator/cmd/*) allowed="orchestrator/cmd orchestrator s3 common include" ;;
	orchestrator/*) allowed="orchestrator s3 common include" ;;
	fs/cmd/*) allowed="fs/cmd fs/mount fs/volume s3 common include" ;;
	*) continue ;;
	esac
	sed -n 's/^#include "\(.*\)"/\1/p' "$f" | while read -r h; do
		found=
		for d in $allowed; do [ ! -e "$d/$h" ] || found=1; done
		[ -n "$found" ] || echo "$f includes $h"
	done
done)
[ -z "$up" ]; ok $? "includes go one way" "$up"

# --- headers alone
flags=$(make -s BUILD="$BUILD" print-cflags)
for cc in gcc clang; do
	command -v $cc >/dev/null || { skip "each header compiles alone ($cc)" "host: $cc is not installed"; continue; }
	bad=
	for h in "${headers[@]}"; do
		# shellcheck disable=SC2086
		out=$(printf '#include "%s"\n' "$h" | $cc $flags -I. -I"$(dirname "$h")" -Wno-pragma-once-outside-header -fsyntax-only -x c - 2>&1) ||
			bad+="$h: $(head -n 3 <<< "$out")"$'\n'
	done
	[ -z "$bad" ]; ok $? "each header compiles alone ($cc)" "$bad"
done

# --- all of it with clang: the build is gcc's
if command -v clang >/dev/null; then
	# shellcheck disable=SC2086 # flags are words
	out=$(printf '%s\n' "${sources[@]}" | grep '\.c$' | xargs -P "$(nproc)" -n 8 clang $flags -DCLONELOVE_VERSION='"lint"' -DCMOCKA_DISABLE_DEPRECATION_WARNINGS -fsyntax-only 2>&1)
	ok $? "clang has no warning" "$(grep -E 'error|warning' <<< "$out" | head -n 20)"
else
	skip "clang has no warning" "host: clang is not installed"
fi

# --- shell
if command -v shellcheck >/dev/null; then
	# Few at a time: what it takes for all at once grows faster than their number.
	out=$(printf '%s\n' "${scripts[@]}" | xargs -P "$(nproc)" -n 4 shellcheck -x -S warning -e SC2015,SC2001,SC1091,SC2034,SC2319 2>&1)
	ok $? "shellcheck" "$out"
else
	skip "shellcheck" "shellcheck is not installed"
fi
loose=$(for f in "${scripts[@]}"; do case $f in */tests/lib/* | */tools/bench/*.sh | *.bash-completion) ;; *) [ -x "$f" ] || echo "$f" ;; esac; done)
[ -z "$loose" ]; ok $? "scripts are executable" "$loose"

# --- words
words=$(grep -rnE '\b(TO''DO|FIX''ME|XX''X)\b' --include='*.[ch]' --include='*.sh' --include='*.md' --include=Makefile --exclude-dir=.git --exclude-dir="$BUILD" . |
	grep -vE 'XXXX|^./build')
[ -z "$words" ]; ok $? "no work left as a comment" "$words"

# --- docs
if [ -x "$BUILD/clonefs" ]; then
	out=$(tools/check-docs.sh "$BUILD/clonefs")
	ok $? "man pages, --help and completion agree" "$(grep -v '^ok' <<< "$out")"
else
	fail "man pages, --help and completion agree" "$BUILD/clonefs is not built: make first"
fi
tap_done
