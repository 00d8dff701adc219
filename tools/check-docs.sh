#!/bin/bash
# check-docs.sh [CLONEFS] - every option in --help is in its man page and the other way round; every mount option that the
# program knows is in clonefs(5) and the other way round; bash completion knows every command and option. TAP.
set -u
cd "$(dirname "$0")/.." || exit 2
CLONEFS=${1:-${BUILD:-build}/clonefs}
# shellcheck source=tests/lib/tap.sh
. tests/lib/tap.sh
T=$(mktemp -d) || exit 2
trap 'rm -rf "$T"' EXIT

ln -s "$(realpath "$CLONEFS")" "$T/mount.clonefs"
ln -s "$(realpath "$CLONEFS")" "$T/fsck.clonefs"

# The options of a --help: "-o, --options LIST  ..." gives -o and --options.
help_options() { "$@" --help | sed -n 's/^  *\(-[-a-zA-Z, ]*\).*/\1/p' | tr ', ' '\n\n' | grep -E '^--?[a-zA-Z]' | sed 's/=.*//' | sort -u; }
# The options of an mdoc list: ".It Fl o , -options Ar LIST" gives -o and --options.
page_options() { sed -n 's/^\.It Fl \(.*\)/\1/p' | sed 's/ Ns Op.*//; s/ Ar .*//; s/ Ns .*//' | tr ',' '\n' | sed 's/ //g; s/^Fl//; /^$/d; s/^/-/' | sort -u; }
section() { awk -v s="$2" '/^\.S[sh] /{on = 0} $1 == ".Ss" && $2 == "clonefs" && $3 == s {on = 1} on' "$1"; }

same() { # description, wanted file, got file
	local d
	d=$(diff "$2" "$3") && pass "$1" || fail "$1" "< only in the program, > only in the manual:
$d"
}

for c in format mount sync stat unmount salvage dump; do
	help_options "$CLONEFS" $c | grep -vxE -e '-h|--help' > "$T/help"
	section fs/cmd/clonefs.1 $c | page_options > "$T/page"
	same "clonefs $c: --help and clonefs(1)" "$T/help" "$T/page"
	for o in $(grep -e '^--' "$T/help"); do
		grep -qE -e "^[[:space:]]*$c\)[^;]*$o( |'|\")" packaging/clonefs.bash-completion || fail "bash completion: clonefs $c $o"
	done
done
for p in mount fsck; do
	help_options "$T/$p.clonefs" > "$T/help"
	page_options < fs/cmd/$p.clonefs.8 > "$T/page"
	same "$p.clonefs: --help and $p.clonefs(8)" "$T/help" "$T/page"
done

sed -n 's/^\t{ "\([a-z0-9_]*\)", OPT_.*/\1/p' fs/mount/options.c | sort -u > "$T/known"
sed -n 's/^\(\.It \)\{0,1\}\.\{0,1\}Cm \(.*\)/\2/p' fs/cmd/clonefs.5 | sed 's/Ns = Ns Ar [A-Za-z0-9]*\( | \(Cm \)\{0,1\}[a-z0-9]*\)*//g; s/Cm //g' | tr ', ' '\n\n' |
	grep -E '^[a-z_][a-z0-9_]*$' | sort -u > "$T/page"
same "mount options: the program and clonefs(5)" "$T/known" "$T/page"

sed -n 's/^\t{ "\([a-z0-9_]*\)", OPT_STORE.*/\1/p' fs/mount/options.c | sort -u > "$T/known"
sed -n 's/^\t*{ "\([a-z0-9_]*\)", \(STRING\|BOOL\|NUMBER\|SIZE\),.*/\1/p' s3/s3_config.c | sort -u > "$T/page"
same "options of the store: those a mount hands on and those of s3/" "$T/known" "$T/page"

for f in fs/cmd/*.[158]; do
	out=$(mandoc -T lint -W warning "$f" 2>&1)
	ok $? "$f is good mdoc" "$out"
done
tap_done
