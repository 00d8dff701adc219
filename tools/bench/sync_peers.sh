# shellcheck shell=bash
# shellcheck disable=SC2154 # the variables of run, lib.sh and sync_rig.sh
# sync_peers.sh - the others that clonesync is measured beside. Sourced after sync_rig.sh.

# make_on SIDE FILES BYTES DIR: the files, as a user of the side writes them.
make_on() {
	local side=$1
	shift
	if declare -F "make_$side" > /dev/null; then "make_$side" "$@"; else "$B/syncfiles" make "$@"; fi
}

sync_versions() {
	echo "clonesync $(git rev-parse --short HEAD 2> /dev/null)$(git diff --quiet HEAD 2> /dev/null || echo ' and changes')"
}
