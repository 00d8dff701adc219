#!/bin/bash
# check-chroot.sh [--full] [RELEASE] - do a bare Debian and the packages of packages.txt suffice for what is committed here?
#
# Makes a minimal chroot of RELEASE (bookworm, trixie, sid; bookworm unless given) and there, each step with no more than its
# own groups of packages: builds with gcc; makes the Debian package, installs it, formats and checks a store with it, removes it;
# installs with `make install`; builds with clang; runs the unit tests, the replayed fuzz corpora and the lint. The big packages that
# only other layers of the tests need (Ceph, MariaDB, QEMU) are left out; --full installs all and runs `make test` as well.
#
# Needs root, debootstrap, git, and a network. Variables: MIRROR (of Debian; else that of apt's sources), ROOT (a chroot to use, and
# to keep; else one under TMPDIR, which is removed at the end), JOBS. Its mounts and processes are in namespaces that end with it.
set -euo pipefail
cd "$(dirname "$0")/.."

full=
[ "${1:-}" != --full ] || { full=1; shift; }
release=${1:-bookworm}
jobs=${JOBS:-$(nproc)}

# ------------------------------------------------------------------- inside the chroot
if [ "${CHECK_CHROOT:-}" = inside ]; then
	export DEBIAN_FRONTEND=noninteractive HOME=/root TMPDIR=/tmp LC_ALL=C.UTF-8
	build="make --no-print-directory -s -j$jobs"
	step() { echo "=== $release: $*"; "$@"; }
	[ -n "$full" ] || sed -i -E '/^(run|test) (mariadb-|ceph-|radosgw|qemu-)/d' packaging/packages.txt

	store_works() { # clonefs
		rm -rf /tmp/store
		mkdir /tmp/store
		"$1" format file:///tmp/store
		"$1" fsck --deep file:///tmp/store
	}
	sync_works() { # clonesync
		rm -rf /tmp/tree /tmp/state /tmp/key
		mkdir /tmp/tree
		"$1" keygen -o /tmp/key
		"$1" run /tmp/tree -k /tmp/key -s /tmp/state -l 127.0.0.1:0 &
		until "$1" wait --in-sync --timeout 60 -s /tmp/state 2>/dev/null; do
			kill -0 $! || return 1
			sleep 0.1
		done
		kill $!
		wait $!
	}
	step packaging/install-deps.sh build
	step $build all
	step store_works build/clonefs
	step sync_works build/clonesync
	step make -s install DESTDIR=/tmp/x
	step store_works /tmp/x/usr/bin/clonefs
	step make -s deb
	step apt-get -qq install -y --no-install-recommends ./build/clonefs_*.deb >/dev/null
	step store_works clonefs
	step sync_works clonesync
	step apt-get -qq remove -y clonefs >/dev/null
	step packaging/install-deps.sh run test
	step $build BUILD=build-clang CC=clang all unit-bins tool-bins fuzz-bins build-clang/sim
	step $build all unit-bins tool-bins fuzz-bins build/sim
	step tests/run --only lint,unit,fuzz
	[ -z "$full" ] || step make test
	exit 0
fi

# ------------------------------------------------------------------- in namespaces of its own
if [ "${CHECK_CHROOT:-}" = namespace ]; then
	[ -x "$ROOT/usr/bin/apt-get" ] || debootstrap --variant=minbase "$release" "$ROOT" "$MIRROR" > "$ROOT/debootstrap.log" 2>&1 || {
		tail -n 20 "$ROOT/debootstrap.log" >&2
		exit 1
	}
	cp -L /etc/resolv.conf "$ROOT/etc/resolv.conf"
	rm -rf "$ROOT/src"
	git clone -q . "$ROOT/src"
	# A mount itself, as the root of a machine is: what runs there makes namespaces of its own.
	mount --bind "$ROOT" "$ROOT"
	mount -t proc proc "$ROOT/proc"
	mount --rbind /dev "$ROOT/dev"
	CHECK_CHROOT=inside JOBS=$jobs chroot "$ROOT" /src/packaging/check-chroot.sh ${full:+--full} "$release"
	exit
fi

# ------------------------------------------------------------------- outside
[ "$(id -u)" -eq 0 ] || { echo "check-chroot.sh: only root can make a chroot" >&2; exit 1; }
command -v debootstrap >/dev/null || { echo "check-chroot.sh: there is no debootstrap: apt-get install debootstrap" >&2; exit 1; }
if [ -z "${MIRROR:-}" ]; then
	MIRROR=$(cat /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null |
		awk '$1 == "URIs:" || $1 == "deb" { for (i = 2; i <= NF; i++) if ($i ~ /^https?:/) { print $i; exit } }') || true
fi
[ -n "$MIRROR" ] || { echo "check-chroot.sh: no Debian mirror in apt's sources: set MIRROR" >&2; exit 1; }
export MIRROR
if [ -z "${ROOT:-}" ]; then
	ROOT=$(mktemp -d "${TMPDIR:-/tmp}/clonelove-chroot.XXXXXX")
	# With the namespace gone so are the mounts: nothing of the host is under it.
	trap 'rm -rf --one-file-system "$ROOT"' EXIT
	trap 'exit 130' INT TERM
fi
mkdir -p "$ROOT"
export ROOT
CHECK_CHROOT=namespace unshare --mount --pid --fork --kill-child --mount-proc --propagation private \
	packaging/check-chroot.sh ${full:+--full} "$release"
echo "=== $release: all of it works"
