# shellcheck shell=bash
# shellcheck disable=SC2154 # the variables of run and lib.sh
# peers.sh - the others that clonefs is measured beside. Sourced after lib.sh.
#
# peer_start NAME: serves at `dir_of NAME`. Where that cannot be, it says why, writes it down for the table (unmeasured) and returns 1.
# Nothing of theirs is part of Clonelove: packages of the group "bench", and libfuse's examples built in the run's work directory.

peers_up=()

peer_start() {
	mkdir -p "$(dir_of "$1")"
	if "start_$1" > "$W/why" 2>&1; then
		peers_up+=("$1")
		return 0
	fi
	unmeasured "" "$1" "$(tail -n 2 "$W/why" | tr '\n|' '  ' | cut -c 1-200)"
	return 1
}
peer_stop() {
	local at
	at=$(dir_of "$1")
	[ "$1" != s3backer ] || ! mountpoint -q "$at" || umount "$at"
	[ "$1" != s3backer ] || at=$W/peers/s3backer-file
	if mountpoint -q "$at"; then fusermount3 -u "$at" || umount -l "$at"; fi
	[ "$1" != s3backer ] || until_true 60 s3backer_gone
}
peers_stop() {
	local p
	for p in "${peers_up[@]}"; do peer_stop "$p"; done
	peers_up=()
}

# ------------------------------------------------------------------- libfuse's examples over the ext4

start_passthrough_ll() { # what FUSE alone costs
	local source=/usr/share/doc/libfuse3-dev/examples/passthrough_ll.c
	[ -e "$source" ] || { echo "Debian's libfuse3-dev has no examples here (dpkg's path-exclude?)"; return 1; }
	mkdir -p "$disk/pll"
	# shellcheck disable=SC2046
	gcc -O2 -w -D_GNU_SOURCE -o "$W/passthrough_ll" "$source" $(pkg-config --cflags --libs fuse3) || return 1
	# It has a descriptor for each inode.
	({ ulimit -n 262144 || ulimit -S -n "$(ulimit -H -n)"; } 2> /dev/null && "$W/passthrough_ll" -o "source=$disk/pll,cache=auto,timeout=1" "$(dir_of passthrough_ll)")
}

# The kernel's cache as it can be over FUSE: classic (the daemon moves the bytes), the writeback cache off, as clonefs has it off.
start_passthrough_hp() {
	local classic=()
	[ -x "$W/passthrough_hp" ] || build_passthrough_hp || return 1
	mkdir -p "$disk/hp"
	! "$W/passthrough_hp" --help | grep -q -- --nopassthrough || classic=(--nopassthrough)
	"$W/passthrough_hp" "${classic[@]}" "$disk/hp" "$(dir_of passthrough_hp)"
}
# Debian installs no source of it: it comes with the source of Debian's own fuse3, of the version installed.
build_passthrough_hp() {
	local d=$W/fuse3 tree
	mkdir -p "$d"
	debian_source "$d" "fuse3=$(dpkg-query -W -f '${source:Version}' libfuse3-dev)" > "$d/log" 2>&1 ||
		{ echo "cannot have the source package fuse3: $(grep -v ^W: "$d/log" | tail -n 2)"; return 1; }
	tree=$(echo "$d"/tree/*/example)
	[ -e "$tree/passthrough_hp.cc" ] || { echo "the source package fuse3 has no passthrough_hp.cc"; return 1; }
	# The writeback cache cannot be switched off by an option: it is never asked for.
	sed 's/FUSE_CAP_WRITEBACK_CACHE/0/g' "$tree/passthrough_hp.cc" > "$tree/bench_hp.cc"
	: > "$tree/config.h"
	# shellcheck disable=SC2046
	g++ -O2 -D_GNU_SOURCE -w -I"$tree" -o "$W/passthrough_hp" "$tree/bench_hp.cc" $(pkg-config --cflags --libs fuse3) -lpthread > "$d/log" 2>&1 ||
		{ echo "cannot build passthrough_hp: $(grep -m 1 error "$d/log")"; return 1; }
}

# debian_source DIR PACKAGE[=VERSION] [SUITE]: the upstream part of a source package, unpacked in DIR/tree; from the mirror that the host's apt uses, of its own
# suite or of SUITE. apt's lists stay as they are.
debian_source() (
	local apt
	mkdir -p "$1"/{lists/partial,archives/partial,tree} && cd "$1" || exit 1
	apt-cache policy libfuse3-dev | awk -v suite="${3:-}" -v has="$([ -e /usr/share/keyrings/debian-archive-keyring.gpg ] && echo 1)" '
		$2 ~ /^https?:/ && !(suite && $3 ~ /-security/) {
			split($3, at, "/"); print "deb-src " (has ? "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] " : "") $2, suite ? suite : at[1], at[2]
		}' | sort -u > sources.list
	apt=(-qq -o "Dir::Etc::sourcelist=$PWD/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$PWD/lists" -o "Dir::Cache::archives=$PWD/archives"
		-o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=root)
	timeout 300 apt-get "${apt[@]}" update < /dev/null && timeout 300 apt-get "${apt[@]}" source --download-only "$2" < /dev/null || exit 1
	for f in "${2%%=*}"_*.orig.tar.?z "${2%%=*}"_*.orig.tar.bz2; do [ ! -e "$f" ] || tar -C tree -xf "$f" || exit 1; done
	[ -n "$(ls tree)" ]
)

# ------------------------------------------------------------------- others that keep files in S3

needs_server() {
	[ -n "${BENCH_S3:-}" ] || { echo "needs the S3 server: BENCH_S3=1"; return 1; }
	command -v "$1" > /dev/null || { echo "$1 is not installed (package $1)"; return 1; }
	(umask 077 && echo "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" > "$W/peer-keys")
	"$TOOLS/s3bucket" "s3://$1" || { echo "no bucket for $1"; return 1; }
}

start_s3fs() { # its defaults, without a cache on disk
	needs_server s3fs || return 1
	s3fs s3fs "$(dir_of s3fs)" -o "url=$AWS_ENDPOINT_URL_S3,use_path_request_style,passwd_file=$W/peer-keys,allow_other" || return 1
	until_true 20 mountpoint -q "$(dir_of s3fs)" || { echo "s3fs did not mount"; return 1; }
}

# ext4 on a loop device on s3backer's file. Durable: a write is answered when its block is in S3 (--blockCacheSync). Its protection against stores whose
# writes become visible later is off, as it costs time and this server needs none; blocks are a page of InnoDB (its default, 4 KiB, is slower by
# far for everything but single blocks), large writes come in one piece. It wants the bucket in the host name: localhost has such names.
start_s3backer() {
	local at=$W/peers/s3backer-file loop
	needs_server s3backer || return 1
	mkdir -p "$at"
	s3backer --accessFile="$W/peer-keys" --baseURL="${AWS_ENDPOINT_URL_S3/127.0.0.1/localhost}/" --region="$AWS_REGION" --size=2G --blockSize=16k \
		--blockCacheSync --blockCacheWriteDelay=0 --blockCacheSize=65536 --md5CacheSize=0 --md5CacheTime=0 --minWriteDelay=0 --quiet \
		-o big_writes,max_write=131072 s3backer "$at" || return 1
	until_true 20 test -e "$at/file" || { echo "s3backer did not mount"; return 1; }
	loop=$(losetup --find --show "$at/file") || { echo "no loop device on s3backer's file"; return 1; }
	{ mkfs.ext4 -q -E nodiscard,lazy_itable_init=1,lazy_journal_init=1 "$loop" && mount -o noatime "$loop" "$(dir_of s3backer)"; } ||
		{ losetup --detach "$loop"; echo "cannot mount ext4 on s3backer's file"; return 1; }
	losetup --detach "$loop" # takes effect at the unmount
}
s3backer_gone() { ! pgrep -f "s3backer.*$W/peers" > /dev/null; }

# ------------------------------------------------------------------- who they are

version_of() { dpkg-query -W -f '${Version}' "$1" 2>/dev/null || echo "not installed"; }
versions() {
	echo "$(uname -sr); $(nproc) processors ($(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)); clonefs $(git rev-parse --short HEAD 2>/dev/null)$(git diff --quiet HEAD 2>/dev/null || echo ' and changes')"
	echo "libfuse (passthrough_ll, passthrough_hp) $(version_of libfuse3-3 | sed 's/not installed//')$(version_of libfuse3-4 | sed 's/not installed//'); s3fs $(version_of s3fs); s3backer $(version_of s3backer);" \
		"MariaDB $(version_of mariadb-server); sysbench $(version_of sysbench); fio $(version_of fio); radosgw $(version_of radosgw)"
	[ -z "${URING_VERSION:-}" ] || echo "$URING_VERSION"
}
