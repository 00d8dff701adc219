# shellcheck shell=bash
# tap.sh - TAP for shell tests: source it, call ok/check/skip, end with tap_done.

tap_n=0
tap_bad=0
tap_why= # what failed, for the end

# pass DESCRIPTION; fail DESCRIPTION [WHY]
pass() {
	tap_n=$((tap_n + 1))
	echo "ok $tap_n - $1"
}
fail() {
	tap_n=$((tap_n + 1))
	tap_bad=$((tap_bad + 1))
	echo "not ok $tap_n - $1"
	[ -z "${2:-}" ] || sed 's/^/# /' <<< "$2"
	tap_why+="not ok $tap_n - $1"$'\n'"$(head -n 12 <<< "${2:-}")"$'\n'
}
# ok STATUS DESCRIPTION [WHY]
ok() {
	if [ "$1" -eq 0 ]; then pass "$2"; else fail "$2" "${3:-status $1}"; fi
}
# check DESCRIPTION COMMAND...: passes when it succeeds; its output is shown when it does not
check() {
	local what=$1 out code
	shift
	out=$("$@" 2>&1)
	code=$?
	ok $code "$what" "$out (status $code)"
}
# is GOT WANTED DESCRIPTION
is() {
	if [ "$1" = "$2" ]; then pass "$3"; else fail "$3" "got: $1
wanted: $2"; fi
}
# A reason that begins with "host:" says that this host lacks something; any other skip fails in CI.
skip() { # DESCRIPTION REASON
	tap_n=$((tap_n + 1))
	echo "ok $tap_n - $1 # SKIP $2"
}
skip_all() { # REASON
	echo "1..0 # SKIP $1"
	exit 0
}
# What failed is said once more at the end: of a long log only that is looked at.
tap_done() {
	[ "$tap_bad" -eq 0 ] || sed -e '/^$/d' -e 's/^/# again: /' <<< "$tap_why" | head -n 36
	echo "1..$tap_n"
	[ "$tap_bad" -eq 0 ]
	exit $?
}
