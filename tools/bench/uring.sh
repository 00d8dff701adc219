# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # the variables of run and lib.sh
# uring.sh - clonefs with FUSE over io_uring (BENCH_URING=1), which Debian 12's and 13's libfuse do not have. Sourced after peers.sh.
#
# Built for it, below $BUILD and kept there: libfuse from Debian's source package of sid, which the mirror of the host's apt has, and clonefs with it.
# The peers keep the libfuse that is installed. The kernel's switch is put back at the end.

URING_SWITCH=/sys/module/fuse/parameters/enable_uring

uring_start() {
	local d
	d=$(realpath "$BUILD")/libfuse-sid
	modprobe fuse 2> /dev/null
	[ -w $URING_SWITCH ] || die "no FUSE over io_uring in this kernel ($URING_SWITCH): Linux 6.14 or newer has it"
	uring_was=$(cat $URING_SWITCH)
	cleanup_hooks=(uring_stop "${cleanup_hooks[@]}")
	echo Y > $URING_SWITCH
	if [ ! -e "$d/done" ]; then
		note "building libfuse of Debian sid in $d"
		rm -rf "$d"
		uring_libfuse "$d" || die "no libfuse with io_uring: $(grep -v ^W: "$d/log" | tail -n 2 | tr '\n' ' ')"
	fi
	PKG_CONFIG_PATH=$d/inst/lib/pkgconfig LDFLAGS="-Wl,-rpath,$d/inst/lib" make -s -j"$(nproc)" BUILD="$BUILD/uring" all || die "cannot build clonefs with the libfuse in $d"
	CLONEFS=$BUILD/uring/clonefs
	VOL_OPTIONS=io_uring
	URING_VERSION="clonefs over io_uring, with libfuse $(cat "$d/done")"
}
uring_stop() { echo "$uring_was" > $URING_SWITCH; }

# uring_libfuse DIR: into DIR/inst, its version into DIR/done; says why not in DIR/log.
uring_libfuse() {
	mkdir -p "$1"
	debian_source "$1" fuse3 sid > "$1/log" 2>&1 || return 1
	{
		meson setup "$1/build" "$1"/tree/* --prefix="$1/inst" --libdir=lib --buildtype=release -Dexamples=false -Dtests=false -Dutils=false -Dinitscriptdir= &&
			ninja -C "$1/build" install
	} >> "$1/log" 2>&1 || return 1
	# Without liburing's headers it builds as well, and lacks what it is built for.
	grep -q 'define HAVE_URING' "$1"/build/*.h || { echo "libfuse was configured without io_uring" >> "$1/log"; return 1; }
	pkg-config --modversion "$1/inst/lib/pkgconfig/fuse3.pc" > "$1/done"
}

# A volume that was asked to be on io_uring is: the warning that it is not would be easily missed.
uring_check() { # PID
	grep -qs fuse-ring /proc/"$1"/task/*/comm || die "the mount does not use io_uring, though it was asked to (see $cache/log and the kernel's log)"
}
