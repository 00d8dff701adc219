#!/bin/bash
# s3server.sh - a real S3 server on loopback: Ceph's object gateway with one monitor and one object store in memory.
#   s3server.sh start      from nothing to serving, in seconds; prints the environment as `env` does
#   s3server.sh stop       ends all of it; the data is gone
#   s3server.sh rgw-stop | rgw-start | restart-with-data
#                          kills (SIGKILL) and starts the gateway only: the server "crashes", the data stays
#   s3server.sh env        the lines of environment that reach it
#   s3server.sh status     up or down
# Variables: S3_DIR (work directory, required), S3_PORT (HTTP, required), S3_TLS_PORT (HTTPS, empty = none),
#   S3_MON_PORT (S3_PORT + 1), S3_ACCESS, S3_SECRET, S3_THREADS (gateway threads, 64), S3_MEM (bytes of store, 4 GiB).
# Needs root and the packages ceph-mon ceph-osd radosgw ceph-common. The OSD takes ports of 6800-7300 as it finds them.
set -euo pipefail

S3_DIR=${S3_DIR:?set S3_DIR to a work directory}
S3_PORT=${S3_PORT:?set S3_PORT to a free port}
S3_TLS_PORT=${S3_TLS_PORT-}
S3_MON_PORT=${S3_MON_PORT:-$((S3_PORT + 1))}
S3_ACCESS=${S3_ACCESS:-testaccess}
S3_SECRET=${S3_SECRET:-testsecret0123456789}
S3_THREADS=${S3_THREADS:-64}
S3_MEM=${S3_MEM:-4294967296}
case $S3_DIR in /*) ;; *) S3_DIR=$PWD/$S3_DIR ;; esac
conf=$S3_DIR/ceph.conf
osd_uuid=7c1d6f0a-52f4-4a53-9d2e-3f4b1a0c8e11

die() { echo "s3server.sh: $*" >&2; exit 1; }

make_certificate() {
	[ ! -s "$S3_DIR/cert.pem" ] || return 0
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=localhost \
		-addext 'subjectAltName=DNS:localhost,DNS:*.localhost,IP:127.0.0.1' \
		-keyout "$S3_DIR/key.pem" -out "$S3_DIR/cert.pem" 2> /dev/null
}

write_conf() {
	local frontend="beast tcp_nodelay=1 endpoint=127.0.0.1:$S3_PORT"
	if [ -n "$S3_TLS_PORT" ]; then
		make_certificate
		frontend+=" ssl_endpoint=127.0.0.1:$S3_TLS_PORT ssl_certificate=$S3_DIR/cert.pem ssl_private_key=$S3_DIR/key.pem"
	fi
	cat > "$conf" <<-CONF
		[global]
		fsid = 0d2f4b8e-6a31-4c57-8b90-5e7f1c2d3a49
		mon_host = [v2:127.0.0.1:$S3_MON_PORT/0]
		mon_initial_members = a
		auth_cluster_required = none
		auth_service_required = none
		auth_client_required = none
		keyring = $S3_DIR/keyring
		ms_bind_ipv6 = false
		ms_mon_client_mode = crc
		ms_client_mode = crc
		run_dir = $S3_DIR/run
		admin_socket = $S3_DIR/run/\$name.asok
		pid_file = $S3_DIR/run/\$name.pid
		log_file = $S3_DIR/log/\$name.log
		crash_dir = $S3_DIR/log
		setuser_match_path =
		osd_pool_default_size = 1
		osd_pool_default_min_size = 1
		osd_pool_default_pg_num = 8
		osd_pool_default_pgp_num = 8
		osd_pool_default_pg_autoscale_mode = off
		osd_crush_chooseleaf_type = 0
		osd_crush_update_on_start = false
		mon_allow_pool_size_one = true
		mon_max_pg_per_osd = 2000
		[mon]
		mon_data = $S3_DIR/mon
		# No quorum to wait for, no disk worth waiting for.
		paxos_propose_interval = 0.02
		paxos_min_wait = 0.01
		mon_tick_interval = 1
		mon_data_avail_warn = 1
		mon_data_avail_crit = 1
		[osd]
		osd_data = $S3_DIR/osd
		public_addr = 127.0.0.1
		cluster_addr = 127.0.0.1
		osd_objectstore = memstore
		memstore_device_bytes = $S3_MEM
		osd_max_object_name_len = 2048
		osd_op_num_shards = 2
		[client.rgw]
		rgw_frontends = $frontend
		rgw_thread_pool_size = $S3_THREADS
		rgw_dns_name = localhost
		rgw_enable_usage_log = false
		rgw_enable_ops_log = false
		rgw_dynamic_resharding = false
		rgw_override_bucket_index_max_shards = 1
		rgw_run_sync_thread = false
		rgw_enable_quota_threads = false
	CONF
	: > "$S3_DIR/keyring"
}

up() { curl -s -o /dev/null --noproxy '*' --max-time 2 "http://127.0.0.1:$S3_PORT/"; }

# wait_for SECONDS COMMAND...
wait_for() {
	local end=$((SECONDS + $1))
	shift
	until "$@" > /dev/null 2>&1; do
		[ $SECONDS -lt $end ] || die "gave up waiting for: $* (logs in $S3_DIR/log)"
		sleep 0.05
	done
}

pid_of() { cat "$S3_DIR/run/$1.pid" 2> /dev/null || true; }

# Ends one daemon of ours: by the pid it wrote, and only while that is still its process.
kill_one() {
	local pid
	pid=$(pid_of "$1")
	[ -n "$pid" ] || return 0
	if grep -q "$S3_DIR" "/proc/$pid/cmdline" 2> /dev/null; then
		kill -KILL "$pid" 2> /dev/null || true
		while [ -e "/proc/$pid" ] && ! grep -q '^State:.Z' "/proc/$pid/status" 2> /dev/null; do sleep 0.02; done
	fi
	rm -f "$S3_DIR/run/$1.pid" "$S3_DIR/run/$1.asok"
}

rgw_start() {
	radosgw -c "$conf" -n client.rgw >> "$S3_DIR/log/rgw.out" 2>&1
	wait_for 90 up
}

start() {
	local tool
	for tool in ceph-mon ceph-osd radosgw ceph radosgw-admin openssl curl; do
		command -v "$tool" > /dev/null || die "$tool is not installed (packages: ceph-mon ceph-osd radosgw ceph-common openssl curl)"
	done
	! up || die "something answers on port $S3_PORT already"
	rm -rf "$S3_DIR/mon" "$S3_DIR/osd" "$S3_DIR/run" "$S3_DIR/log"
	mkdir -p "$S3_DIR/mon" "$S3_DIR/osd" "$S3_DIR/run" "$S3_DIR/log"
	write_conf
	ceph-mon -c "$conf" --mkfs -i a --mon-data "$S3_DIR/mon" >> "$S3_DIR/log/mon.out" 2>&1
	ceph-mon -c "$conf" -i a >> "$S3_DIR/log/mon.out" 2>&1
	wait_for 60 ceph -c "$conf" --connect-timeout 5 osd new "$osd_uuid" 0
	ceph-osd -c "$conf" -i 0 --mkfs --osd-uuid "$osd_uuid" >> "$S3_DIR/log/osd.out" 2>&1
	ceph -c "$conf" osd crush add osd.0 1.0 root=default host=here >> "$S3_DIR/log/osd.out" 2>&1
	ceph-osd -c "$conf" -i 0 >> "$S3_DIR/log/osd.out" 2>&1
	rgw_start
	radosgw-admin -c "$conf" -n client.rgw user create --uid=test --display-name=test --access-key="$S3_ACCESS" \
		--secret-key="$S3_SECRET" >> "$S3_DIR/log/admin.out" 2>&1
	print_env
}

stop() {
	kill_one client.rgw
	kill_one osd.0
	kill_one mon.a
	rm -rf "$S3_DIR/mon" "$S3_DIR/osd"
}

print_env() {
	echo "AWS_ENDPOINT_URL_S3=http://127.0.0.1:$S3_PORT"
	if [ -n "$S3_TLS_PORT" ]; then
		echo "S3_TLS_ENDPOINT=https://localhost:$S3_TLS_PORT"
		echo "S3_CA_BUNDLE=$S3_DIR/cert.pem"
	fi
	echo "AWS_ACCESS_KEY_ID=$S3_ACCESS"
	echo "AWS_SECRET_ACCESS_KEY=$S3_SECRET"
	echo "AWS_REGION=us-east-1"
}

case ${1:-} in
start) start ;;
stop) stop ;;
rgw-stop) kill_one client.rgw ;;
rgw-start) rgw_start ;;
restart-with-data)
	kill_one client.rgw
	rgw_start
	;;
env) print_env ;;
status) if up; then echo up; else echo down; exit 1; fi ;;
*)
	sed -n '2,12s/^# \{0,1\}//p' "$0" >&2
	exit 2
	;;
esac
