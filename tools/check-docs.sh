#!/bin/bash
# check-docs.sh [CLONEFS [CLONESYNC [CLONECTL]]] - every option in --help is in its man page and the other way round; every mount option and setting that a
# program knows is in its page and the other way round; bash completion knows every command and option. TAP.
set -u
cd "$(dirname "$0")/.." || exit 2
CLONEFS=${1:-${BUILD:-build}/clonefs}
CLONESYNC=${2:-$(dirname "$CLONEFS")/clonesync}
CLONECTL=${3:-$(dirname "$CLONEFS")/clonectl}
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
section() { awk -v p="$2" -v s="$3" '/^\.S[sh] /{on = 0} $1 == ".Ss" && $2 == p && $3 == s {on = 1} on' "$1"; }

same() { # description, wanted file, got file
	local d
	d=$(diff "$2" "$3") && pass "$1" || fail "$1" "< only in the program, > only in the manual:
$d"
}

# Each command of a program, against its section of the page and its line of the completion.
commands() { # program page completion command...
	local program=$1 page=$2 completion=$3 name c o
	name=$(basename "$program")
	shift 3
	for c in "$@"; do
		help_options "$program" "$c" | grep -vxE -e '-h|--help' > "$T/help"
		section "$page" "$name" "$c" | page_options > "$T/page"
		same "$name $c: --help and $name(1)" "$T/help" "$T/page"
		for o in $(grep -e '^--' "$T/help"); do
			grep -qE -e "^[[:space:]]*$c\)[^;]*$o( |'|\")" "$completion" || fail "bash completion: $name $c $o"
		done
	done
}
commands "$CLONEFS" fs/cmd/clonefs.1 packaging/clonefs.bash-completion format mount sync stat unmount salvage dump
mapfile -t all < <("$CLONESYNC" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z-]*\) .*/\1/p')
[ ${#all[@]} -gt 0 ] || fail "clonesync --help lists its commands"
commands "$CLONESYNC" replicator/cmd/clonesync.1 packaging/clonesync.bash-completion "${all[@]}"
for c in "${all[@]}"; do
	grep -qE -e "-W \"[^\"]*\b$c\b[^\"]* --version\"" packaging/clonesync.bash-completion || fail "bash completion: clonesync $c"
done
sed -n 's/^\t{ "\([a-z_]*\)", \(offsetof\|SIZE_MAX\).*/\1/p' replicator/cmd/settings.c | sort -u > "$T/known"
sed -n 's/^\.It Cm \([a-z_]*\)$/\1/p' replicator/cmd/clonesync.conf.5 | sort -u > "$T/page"
same "settings: clonesync and clonesync.conf(5)" "$T/known" "$T/page"
# Fields of JSON: those that clonesync gives and those of its page.
sed -n 's/.*\(add_[a-z0-9]*\|object_add\)(o, "\([a-z_]*\)".*/\2/p' replicator/cmd/answer.c replicator/cmd/answer_diff.c replicator/cmd/cmd_diff.c replicator/cmd/cmd_join.c | grep -vxE 'ok|progress' | sort -u > "$T/known"
sed -n '/^\.Sh JSON/,/^\.Sh FILES/s/^\.It Li \([a-z_]*\)$/\1/p' replicator/cmd/clonesync.1 | sort -u > "$T/page"
same "fields of JSON: clonesync and clonesync(1)" "$T/known" "$T/page"
mapfile -t all < <("$CLONECTL" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z-]*\) .*/\1/p')
[ ${#all[@]} -gt 0 ] || fail "clonectl --help lists its commands"
commands "$CLONECTL" orchestrator/cmd/clonectl.1 packaging/clonectl.bash-completion "${all[@]}"
for c in "${all[@]}"; do
	grep -qE -e "-W \"[^\"]*\b$c\b[^\"]* --version\"" packaging/clonectl.bash-completion || fail "bash completion: clonectl $c"
done
sed -n 's/^\t{ "\([a-z_]*\)", offsetof.*/\1/p' orchestrator/cmd/place.c | sort -u > "$T/known"
sed -n '/^\.Sh SECTION clonectl/,/^\.Sh SECTIONS/s/^\.It Cm \([a-z_]*\)$/\1/p' orchestrator/cmd/clonectl.conf.5 | sort -u > "$T/page"
same "settings: clonectl and clonectl.conf(5)" "$T/known" "$T/page"
sed -n 's/^\t{ "\([a-z0-9]*\)", dns_[a-z0-9]*_open.*/\1/p' orchestrator/dns.c | sort -u > "$T/known"
sed -n '/^\.Sh SECTIONS dns/,$s/^\.Cm \([a-z0-9]*\) :$/\1/p' orchestrator/cmd/clonectl.conf.5 | sort -u > "$T/page"
same "DNS drivers: clonectl and clonectl.conf(5)" "$T/known" "$T/page"
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

for f in fs/cmd/*.[158] replicator/cmd/*.[158] orchestrator/cmd/*.[158]; do
	out=$(mandoc -T lint -W warning "$f" 2>&1)
	ok $? "$f is good mdoc" "$out"
done
tap_done
