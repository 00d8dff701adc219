# shellcheck shell=bash
# vm.sh - a small Debian guest under QEMU whose disk forgets what was not flushed when the power goes: source it after tap.sh and mounts.sh.
#
# The guest is Debian's cloud kernel (fetched once with apt-get download to $BUILD/vm, not installed) and an initramfs of programs of this host
# and this build with the libraries they need; tests/tools/guest/work.sh is what it does. It boots in seconds, also without KVM. Its disk is
# tests/tools/losedisk. Its network is QEMU's own: from it, 10.0.2.2 is this host's loopback, where the store is (tests/tools/s3double), and it has no route to
# anywhere else. What it has to say (fsyncs that returned, what it found) comes through a port of its own into $REPORTS.

VM=$BUILD/vm
VM_MEMORY=${VM_MEMORY:-512}
VM_MODULES='virtio virtio_ring virtio_pci virtio_pci_legacy_dev virtio_pci_modern_dev virtio_blk virtio_net net_failover failover virtio_console fuse
	ext4 jbd2 mbcache crc16 crc32c_generic libcrc32c'
VM_PROGRAMS='bash sleep rm'
REPORTS=$W/reports
VM_ROOT=$W/guest-root
vm_pid=
disk_pid=
store_pid=
lost_writes=0

# A kernel's package, and those with its modules where Debian has them apart, to $VM/kernel.
vm_fetch() {
	local p more
	mkdir -p "$W/deb" "$VM"
	mapfile -t more < <(apt-cache depends "$1" | sed -n 's/.*Depends: *\(linux-\(modules\|binary\)-[^ ]*\)$/\1/p')
	(cd "$W/deb" && apt-get -qq -o APT::Sandbox::User=root download "$1" "${more[@]}") > "$W/apt.log" 2>&1 || return 1
	rm -rf "$VM/kernel.new"
	for p in "$W"/deb/*.deb; do dpkg-deb -x "$p" "$VM/kernel.new" || return 1; done
	rm -rf "$VM/kernel" "$W/deb"
	mv "$VM/kernel.new" "$VM/kernel"
}

# Skips the test where this host cannot run a guest.
vm_needs() {
	local package p
	[ "$(id -u)" -eq 0 ] || skip_all "host: not root"
	[ "$(uname -m)" = x86_64 ] || skip_all "host: not an x86-64"
	for p in qemu-system-x86_64 cpio mke2fs xz zstd; do command -v $p > /dev/null || skip_all "$p is not installed"; done
	if ! compgen -G "$VM/kernel/boot/vmlinuz-*" > /dev/null; then
		package=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | sed -n 's/.*Depends: *\(linux-image-.*-cloud-amd64\)$/\1/p' | head -n 1)
		[ -n "$package" ] || skip_all "host: apt knows no linux-image-cloud-amd64"
		vm_fetch "$package" || skip_all "host: $package cannot be fetched: $(tail -n 1 "$W/apt.log")"
	fi
	VM_KERNEL=$(compgen -G "$VM/kernel/boot/vmlinuz-*" | head -n 1)
}

# vm_program FILE...: programs and shared objects for the guest's /bin, with what they are linked with.
vm_program() {
	local f lib
	for f in "$@"; do
		cp -L "$f" "$VM_ROOT/bin" || return 1
		for lib in $(ldd "$f" 2>/dev/null | grep -o '/[^ :]*\.so[^ :]*'); do
			[ -e "$VM_ROOT$lib" ] || { mkdir -p "$VM_ROOT${lib%/*}" && cp -L "$lib" "$VM_ROOT$lib"; } || return 1
		done
	done
}

# vm_root [PROGRAM...]: the guest's root, $W/initramfs, with these programs of the host beside what every guest has.
vm_root() {
	local m f p
	mkdir -p "$VM_ROOT"/{bin,modules,proc,sys,dev,disk,vol,etc,run/clonefs,tmp,lib64,var}
	cp "$BUILD/guestinit" "$VM_ROOT/init"
	cp tests/tools/guest/work.sh "$VM_ROOT/work"
	cp tests/lib/pages.sh "$VM_ROOT"
	cp packaging/mariadb-clonefs.cnf "$VM_ROOT/etc/clonefs.cnf"
	vm_program "$CLONEFS" "$TOOLS/crashwork" "$BUILD/nosync.so" || return 1
	for p in $VM_PROGRAMS "$@"; do vm_program "$(command -v "$p")" || return 1; done
	echo 0123456789abcdef0123456789abcdef > "$VM_ROOT/etc/machine-id"
	echo 'root:x:0:0::/:/bin/bash' > "$VM_ROOT/etc/passwd"
	ln -s /proc/mounts "$VM_ROOT/etc/mtab"
	for m in $VM_MODULES; do
		f=$(find "$VM"/kernel/lib/modules "$VM"/kernel/usr/lib/modules -name "$m.ko*" 2>/dev/null | head -n 1)
		case $f in
		'') ;; # built in
		*.xz) xz -dc "$f" > "$VM_ROOT/modules/$m.ko" ;;
		*.zst) zstd -qdc "$f" > "$VM_ROOT/modules/$m.ko" ;;
		*) cp "$f" "$VM_ROOT/modules" ;;
		esac
	done
	(cd "$VM_ROOT" && find . | cpio -o -H newc --quiet) > "$W/initramfs" || return 1
	rm -rf "$VM_ROOT"
}

# To be started in the background only, so that what is killed is QEMU itself.
vm_qemu() { exec qemu-system-x86_64 -M q35 -m "$VM_MEMORY" -nodefaults -display none -no-reboot -kernel "$VM_KERNEL" -initrd "$W/initramfs" "$@"; }
# (Where the host is busy, QEMU's translator misses the moment at which a kernel checks its timer, and the kernel gives up.)
vm_words='console=ttyS0 panic=-1 loglevel=3 no_timer_check'

# How fast it runs: KVM where a guest gets up under it (a /dev/kvm that opens may serve only kernels made for it), else QEMU's translator. Found out once.
vm_accel() {
	VM_NAME=$(cat "$VM/accel" 2>/dev/null)
	if [ -z "$VM_NAME" ]; then
		VM_NAME=tcg
		[ ! -w /dev/kvm ] || ! timeout -s KILL 8 qemu-system-x86_64 -M q35 -accel kvm -cpu host -m "$VM_MEMORY" -nodefaults -display none -no-reboot \
			-kernel "$VM_KERNEL" -initrd "$W/initramfs" -append "$vm_words PROBE=1" -serial stdio < /dev/null 2>/dev/null | grep -q "guest: up" || VM_NAME=kvm
		echo "$VM_NAME" > "$VM/accel"
	fi
	VM_ACCEL=(-accel "tcg,thread=multi" -cpu max)
	[ "$VM_NAME" = tcg ] || VM_ACCEL=(-accel kvm -cpu host)
}

# The store outside of the guest: s3://bucket/..., for this host and (through vm_power_on) for the guest.
vm_store() {
	export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=secret AWS_REGION=us-east-1
	mkfifo "$W/until"
	"$TOOLS/s3double" < "$W/until" > "$W/port" &
	store_pid=$!
	exec 8> "$W/until"
	until_true 10 test -s "$W/port" || return 1
	store_port=$(cat "$W/port")
	export AWS_ENDPOINT_URL_S3=http://127.0.0.1:$store_port
}

# vm_power_on IMAGE SEED WORDS...: the guest on the disk of that image; WORDS (NAME=value) are work.sh's. A kernel that does not get as far as its first
# process, on a host that is too busy for it, has not seen the disk: it is started again.
vm_power_on() {
	local n end
	for n in 1 2 3; do
		vm_start "$@" || return 1
		end=$((SECONDS + 100))
		while ! grep -q "guest: up" "$W/console" 2>/dev/null && kill -0 "$vm_pid" 2>/dev/null && [ $SECONDS -lt $end ]; do sleep 0.1; done
		! grep -q "guest: up" "$W/console" || return 0
		echo "# the guest's kernel did not get up: $(tail -n 1 "$W/console")"
		vm_kill
	done
	return 1
}

vm_start() {
	local image=$1 seed=$2
	shift 2
	vm_kill # one that failed its test may still be there
	rm -f "$W/disk.sock" "$W/console"
	"$TOOLS/losedisk" "$image" "$W/disk.sock" "$seed" > "$W/disk.log" 2>&1 8>&- &
	disk_pid=$!
	until_true 10 test -S "$W/disk.sock" || return 1
	: > "$REPORTS"
	vm_qemu "${VM_ACCEL[@]}" -serial "file:$W/console" \
		-append "$vm_words AWS_ENDPOINT_URL_S3=http://10.0.2.2:$store_port AWS_ACCESS_KEY_ID=$AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY=$AWS_SECRET_ACCESS_KEY AWS_REGION=$AWS_REGION $*" \
		-blockdev "driver=nbd,server.type=unix,server.path=$W/disk.sock,node-name=disk" -device virtio-blk-pci,drive=disk,write-cache=on,physical_block_size=4096 \
		-netdev user,id=net -device virtio-net-pci,netdev=net,romfile= \
		-device virtio-serial-pci -chardev "file,id=reports,path=$REPORTS,append=on" -device virtserialport,chardev=reports,nr=1 < /dev/null > "$W/qemu.log" 2>&1 8>&- &
	vm_pid=$!
}

# The power goes. Mostly the disk picks the moment, around a flush; else the machine just dies. What was lost is in $W/disk.log.
vm_power_off() {
	local n
	if [ $((RANDOM % 8)) -gt 0 ]; then
		kill -USR1 "$disk_pid"
		for ((n = 0; n < 200; n++)); do kill -0 "$disk_pid" 2>/dev/null && sleep 0.05 || break; done
	fi
	vm_kill
	n=$(sed -n 's/.* \([0-9]*\) torn, \([0-9]*\) lost$/\1+\2/p' "$W/disk.log" | tail -n 1)
	lost_writes=$((lost_writes + ${n:-0}))
}

# Without ceremony; the disk notices.
vm_kill() {
	[ -z "$vm_pid" ] || kill -KILL "$vm_pid" 2>/dev/null
	[ -z "$vm_pid" ] || wait "$vm_pid" 2>/dev/null
	[ -z "$disk_pid" ] || wait "$disk_pid" 2>/dev/null
	vm_pid=
	disk_pid=
}

vm_end() {
	[ -z "$disk_pid" ] || kill -KILL "$disk_pid" 2>/dev/null
	vm_kill
	[ -z "$store_pid" ] || kill -KILL "$store_pid" 2>/dev/null
	wait "$store_pid" 2>/dev/null
}
cleanup_hooks+=(vm_end)

# vm_says SECONDS PATTERN: the first line of the reports that matches, as soon as it is there whole; nothing when the guest is gone or time is up.
vm_says() {
	local end=$((SECONDS + $1))
	while ! grep -qE "$2" "$REPORTS" && kill -0 "$vm_pid" 2>/dev/null && [ $SECONDS -lt $end ]; do sleep 0.1; done
	grep -E -m 1 "$2" "$REPORTS"
}

# vm_count_over SECONDS PATTERN NUMBER: waits until that many lines match (or the guest is gone).
vm_count_over() {
	local end=$((SECONDS + $1))
	while [ "$(grep -cE "$2" "$REPORTS")" -le "$3" ] && kill -0 "$vm_pid" 2>/dev/null && [ $SECONDS -lt $end ]; do sleep 0.1; done
}
