# shellcheck shell=bash
# shellcheck disable=SC2154 # the variables of run and lib.sh
# commands.sh - section commands: what a person waits for, by the number of files: each command of clonefs, and what is done with large trees.

SIZES=${BENCH_SIZES:-10 100000 1000000}

# waited WHAT COMMAND...: how long it took
waited() {
	local what="$files files: $1" start
	shift
	start=$(now)
	"$@" > /dev/null || die "$what: failed"
	measured "$what, s" clonefs "$(calc "$(now) - $start")"
	row "$what, s" clonefs - '<' -
}
kill_mount() {
	local pid
	pid=$(mount_pid "$vol")
	kill -KILL "$pid"
	gone "$pid"
	umount -l "$vol"
}
commands_of() { # FILES
	local files=$1
	vol_n=$((vol_n + 1))
	volume=$STORE/vol-$vol_n
	cache=$disk/cache/$vol_n
	waited "format" clonefs format "$volume"
	"$B/volgen" "$volume" "$disk/volgen" "$files" 1 || die "volgen failed"
	rm -rf "$disk/volgen"
	waited "stat of the store" clonefs stat "$volume"
	waited "fsck" clonefs fsck "$volume"
	waited "fsck --deep" clonefs fsck --deep "$volume"
	waited "mount, nothing cached" vol_up
	waited "stat of the mount" clonefs stat "$vol"
	waited "find" find "$vol"
	waited "find again" find "$vol"
	waited "du" du -s "$vol"
	waited "ls -lR" command ls -lR "$vol"
	waited "chmod -R" chmod -R g+w "$vol"
	waited "sync" clonefs sync "$vol"
	waited "unmount" clonefs unmount "$vol"
	waited "mount again" vol_up
	waited "rm -rf of all of it" find "$vol" -mindepth 1 -maxdepth 1 -exec rm -rf {} +
	waited "killed at once, and salvage" eval 'kill_mount; clonefs salvage "$cache"'
	waited "mount after the kill" vol_up
	waited "unmount then" clonefs unmount "$vol"
	vol_delete
}
section_commands() {
	local files
	for files in $SIZES; do commands_of "$files"; done
}
