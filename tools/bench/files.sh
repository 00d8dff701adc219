# shellcheck shell=bash
# shellcheck disable=SC2154 # the variables of run and lib.sh
# files.sh - sections smallfiles, tar and names: many files.

# passthrough_ll has no extended attributes unless asked, and says so to the kernel. The volume has, and by itself is measured so; side $BARE is the same volume
# mounted without, as both are then.
BARE="clonefs, noxattr"
# bare_or_not SIDE COMMAND SIDE...
bare_or_not() {
	local rc
	[ "$1" = "$BARE" ] || { shift; "$@"; return; }
	shift
	vol_down
	vol_up noxattr
	"$@"
	rc=$?
	vol_down
	vol_up
	return $rc
}

# ------------------------------------------------------------------- 10,000 files, phase by phase

PHASES="create stat read list rename delete"
smallfiles_one() { bare_or_not "$1" smallfiles_timed "$1"; }
smallfiles_timed() {
	local clients dir phase s
	dir=$(dir_of "$1")
	# An hour is too long to wait for a peer: s3fs gets one round.
	[ "$1" != s3fs ] || [ "$round" = 1 ] || return 0
	for clients in 1 4; do
		timeout 1200 "$B/smallfiles" "$dir" "$FILES" $clients > "$W/small" 2> "$W/small.err" || {
			cat "$W/small.err" >&2
			case $1 in ext4 | clonefs*) return 1 ;; esac
			for phase in $PHASES; do
				grep -q "^$phase " "$W/small" || unmeasured "$FILES files $phase, $clients clients, s" "$1" "$(tail -n 1 "$W/small.err" | cut -c 1-150) (or over 20 minutes)"
			done
		}
		while read -r phase s; do measured "$FILES files $phase, $clients clients, s" "$1" "$s"; done < "$W/small"
	done
}
section_smallfiles() {
	local sides=(ext4 clonefs "$BARE") phase clients
	vol_fresh
	! peer_start passthrough_ll || sides+=(passthrough_ll)
	! peer_start s3fs || sides+=(s3fs)
	each_round smallfiles_one "${sides[@]}"
	for clients in 1 4; do
		for phase in $PHASES; do
			row "$FILES files $phase, $clients clients, s" clonefs passthrough_ll '<' 1.5
			row "$FILES files $phase, $clients clients, s" clonefs s3fs '<' 50
			row "$FILES files $phase, $clients clients, s" clonefs ext4 '<' -
			row "$FILES files $phase, $clients clients, s" "$BARE" passthrough_ll '<' 1.5
		done
	done
	peers_stop
	vol_gone
}

# ------------------------------------------------------------------- tar x of a source tree

# The tree is the C headers of this machine: sources as people have them, many directories, no download.
TREE=${BENCH_TREE:-/usr/include}
tar_one() {
	local dir start
	dir=$(dir_of "$1")
	[ "$1" != s3fs ] || [ "$round" = 1 ] || return 0
	start=$(now)
	timeout 1200 tar -C "$dir" -xf "$W/tree.tar" 2> "$W/tar.err" || {
		case $1 in ext4 | clonefs) tail -n 3 "$W/tar.err" >&2; return 1 ;; esac
		unmeasured "$tar_key" "$1" "$(tail -n 1 "$W/tar.err" | cut -c 1-150) (or over 20 minutes)"
		return 0
	}
	measured "$tar_key" "$1" "$(calc "$(now) - $start")"
	[ "$1" = s3fs ] || rm -rf "${dir:?}/${TREE##*/}"
}
section_tar() {
	local sides=(ext4 clonefs)
	tar -C "${TREE%/*}" -cf "$W/tree.tar" "${TREE##*/}" || die "cannot pack $TREE"
	tar_key="tar x of $TREE ($(tar -tf "$W/tree.tar" | wc -l) names, $(($(stat -c %s "$W/tree.tar") / 1000000)) MB), s"
	vol_fresh
	! peer_start passthrough_ll || sides+=(passthrough_ll)
	! peer_start s3fs || sides+=(s3fs)
	each_round tar_one "${sides[@]}"
	row "$tar_key" clonefs passthrough_ll '<' 1.5
	row "$tar_key" clonefs s3fs '<' 50
	row "$tar_key" clonefs ext4 '<' -
	rm "$W/tree.tar"
	peers_stop
	vol_gone
}

# ------------------------------------------------------------------- ls -l of a large directory

NAMES=100000
names_one() {
	bare_or_not "$1" names_timed "$1" && return
	case $1 in ext4 | clonefs*) return 1 ;; esac
	unmeasured "" "$1" "it could not (passthrough_ll needs a descriptor for each name; this host allows $(ulimit -H -n))"
}
names_timed() {
	local dir start
	dir=$(dir_of "$1")/names
	[ -d "$dir" ] || { mkdir "$dir" && (cd "$dir" && seq -f name-%06.0f $NAMES | xargs touch); } || return 1
	command ls -l "$dir" > /dev/null || return 1 # what follows is warm
	start=$(now)
	[ "$(command ls -l "$dir" | wc -l)" -eq $((NAMES + 1)) ] || return 1
	measured "ls -l of $NAMES names, warm, s" "$1" "$(calc "$(now) - $start")"
	start=$(now)
	[ "$(command ls -f "$dir" | wc -l)" -eq $((NAMES + 2)) ] || return 1
	measured "ls -f of $NAMES names, warm, s" "$1" "$(calc "$(now) - $start")"
}
section_names() {
	local sides=(ext4 clonefs "$BARE")
	vol_fresh
	! peer_start passthrough_ll || sides+=(passthrough_ll)
	each_round names_one "${sides[@]}"
	row "ls -l of $NAMES names, warm, s" clonefs - '<' 1
	row "ls -l of $NAMES names, warm, s" clonefs ext4 '<' -
	row "ls -l of $NAMES names, warm, s" clonefs passthrough_ll '<' -
	row "ls -l of $NAMES names, warm, s" "$BARE" - '<' 1
	row "ls -f of $NAMES names, warm, s" clonefs ext4 '<' -
	peers_stop
	rm -rf "$ext4/names" "$disk/pll/names"
	vol_gone
}
