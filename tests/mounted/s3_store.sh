#!/bin/bash
# The S3 backend on a real server, Ceph's object gateway: the promises of store.h over HTTP and TLS, races, refusals, and the
# server killed and started again under load.
# timeout: 300
set -u
cd "$(dirname "$0")/../.." || exit 2
. tests/lib/tap.sh

: "${BUILD:?}"
tool=$BUILD/tests/tools/s3tool
[ "$(id -u)" -eq 0 ] || skip_all "host: not root"
command -v radosgw > /dev/null || skip_all "ceph-mon ceph-osd radosgw ceph-common are not installed"
[ -x "$tool" ] || { echo "Bail out! $tool is not built"; exit 2; }
tool=$(realpath "$tool")

W=$(mktemp -d "${TMPDIR:-/tmp}/clonelove-s3.XXXXXX")
export S3_DIR=$W/server S3_PORT=$((20000 + RANDOM % 5000 * 2)) S3_TLS_PORT=$((30000 + RANDOM % 2000))
load_pid=
cleanup() {
	local code=$?
	trap - EXIT INT TERM
	[ -z "$load_pid" ] || kill -KILL "$load_pid" 2> /dev/null
	tests/lib/s3server.sh stop > /dev/null 2>&1
	rm -rf "$W"
	exit $code
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

for v in AWS_PROFILE AWS_SESSION_TOKEN AWS_CA_BUNDLE AWS_ENDPOINT_URL http_proxy https_proxy; do unset "$v"; done
export AWS_CONFIG_FILE=$W/none AWS_SHARED_CREDENTIALS_FILE=$W/none AWS_EC2_METADATA_DISABLED=true
tests/lib/s3server.sh start > "$W/env" 2> "$W/err" || { echo "Bail out! the server does not start: $(tail -n 1 "$W/err")"; exit 2; }
while read -r line; do export "${line?}"; done < "$W/env"
http=$AWS_ENDPOINT_URL_S3 secret=$AWS_SECRET_ACCESS_KEY
S=s3://test-bucket/some/prefix

# says DESCRIPTION PATTERN COMMAND...: fails, with one line on stderr that matches.
says() {
	local what=$1 pattern=$2 err code
	shift 2
	"$@" > /dev/null 2> "$W/stderr"
	code=$?
	err=$(grep -v 'warning: ' "$W/stderr")
	if [ "$code" -ne 0 ] && [ "$(wc -l <<< "$err")" -eq 1 ] && grep -qE -- "$pattern" <<< "$err" &&
		! grep -qF "$secret" "$W/stderr"; then
		pass "$what"
	else
		fail "$what" "status $code: $err"
	fi
}
tls() { AWS_ENDPOINT_URL_S3=$S3_TLS_ENDPOINT AWS_CA_BUNDLE=${CA-$S3_CA_BUNDLE} "$@"; }
with() { S3TOOL_OPTIONS=$1 "${@:2}"; }

says "a missing bucket" "no bucket test-bucket" "$tool" ls "$S"
check "the bucket is made" "$tool" mb "$S"
check "making it twice is fine" "$tool" mb "$S"
check "the server honours If-None-Match" "$tool" probe "$S"
check "conformance over HTTP" "$tool" conformance "$S"
check "conformance of close over HTTP" "$tool" conformance-close "$S"
check "conformance over TLS" tls "$tool" conformance "$S"
check "conformance of close over TLS" tls "$tool" conformance-close "$S"
check "conformance with hedged reads" with hedge_ms=1 "$tool" conformance "$S"
check "conformance without checksums, on one connection" with connections=1,checksum=off "$tool" conformance s3://test-bucket
AWS_ENDPOINT_URL_S3=${http/127.0.0.1/localhost} check "conformance in virtual-host style" with path_style=off "$tool" conformance "$S"

# --- races
won=
for i in 1 2 3 4 5 6; do
	"$tool" rm "$S" race
	out=$("$tool" race "$S" 50 2>> "$W/race.err") && won+="${out%% lost*} "
done
is "$won" "won 1 won 1 won 1 won 1 won 1 won 1 " "of 50 creates at once exactly one wins, six times"
bad=0
for i in 1 2 3 4; do "$tool" cas "$S" 20 > "$W/cas" 2>> "$W/race.err" || { bad=1; cat "$W/cas" >> "$W/race.err"; }; done
is "$bad" 0 "of 20 overwrites of one ETag at most one wins, and no result contradicts the object"

# --- shapes of data and names
head -c 23000000 /dev/urandom > "$W/big"
in_parts() {
	with multipart_threshold=5M,part_size=5M "$tool" put "$S" dir/big "$W/big" && "$tool" cp "$S" dir/big copy &&
		"$tool" get "$S" copy | cmp - "$W/big"
}
check "23 MB in parts, copied, read back" in_parts
names=($'ctl\x01x' $'tab\tx' 'plus+ space %25' 'a&b<c>"'\' 'ü€' $'del\x7f')
odd_names() {
	local n
	for n in "${names[@]}"; do "$tool" put "$S/odd" "$n" - <<< "$n" || return 1; done
	[ "$("$tool" ls "$S/odd" | cut -d' ' -f3- | sort)" = "$(printf '%s\n' "${names[@]}" | sort)" ] || return 1
	for n in "${names[@]}"; do [ "$("$tool" get "$S/odd" "$n")" = "$n" ] || return 1; done
	"$tool" rm "$S/odd" "${names[@]}" && [ -z "$("$tool" ls "$S/odd")" ]
}
check "names that XML and URLs find hard: written, listed, read, deleted at once" odd_names

# --- refusals
AWS_SECRET_ACCESS_KEY=wrong-secret-value says "a wrong secret" "SignatureDoesNotMatch.*check the keys" "$tool" ls "$S"
AWS_ACCESS_KEY_ID=nobody says "an unknown access key" "InvalidAccessKeyId" "$tool" ls "$S"
AWS_ACCESS_KEY_ID='' AWS_SECRET_ACCESS_KEY='' says "no keys at all" "no S3 credentials found: set AWS_ACCESS_KEY_ID" "$tool" ls "$S"
CA='' says "a certificate nobody vouches for" "not trusted.*AWS_CA_BUNDLE" tls "$tool" ls "$S"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3 -subj /CN=localhost -keyout "$W/k" -out "$W/other.pem" 2> /dev/null
CA=$W/other.pem says "another authority's certificate" "not trusted" tls "$tool" ls "$S"
AWS_ENDPOINT_URL_S3=http://127.0.0.1:1 says "nobody listens" "cannot connect to 127.0.0.1:1" with timeout_ms=700 "$tool" ls "$S"
AWS_ENDPOINT_URL_S3=http://no-such-host.invalid says "no such host" "cannot find the host no-such-host.invalid" with timeout_ms=700 "$tool" ls "$S"

# --- secrets
core_has_no_secret() {
	(
		cd "$W" || exit 1
		ulimit -c unlimited
		"$tool" load "$S/core" 2 20 > /dev/null 2>&1 &
		sleep 1
		kill -ABRT $!
		wait $!
	) 2> /dev/null
	local core
	core=$(find "$W" -maxdepth 1 -name 'core*' -print -quit)
	[ -s "$core" ] && ! grep -qF "$secret" "$core" && grep -qF test-bucket "$core"
}
case $(grep -qa __asan_init "$tool" && echo sanitized; cat /proc/sys/kernel/core_pattern) in
sanitized*) skip "a core dump holds no secret" "host: a sanitized program leaves no core dump" ;;
core | core.%p) check "a core dump holds no secret" core_has_no_secret ;;
*) skip "a core dump holds no secret" "host: core dumps go elsewhere (kernel.core_pattern)" ;;
esac

# --- the server dies, and comes back
"$tool" load "$S" 8 12 > "$W/load" 2>&1 &
load_pid=$!
for _ in 1 2 3; do
	sleep 2
	tests/lib/s3server.sh rgw-stop
	sleep 1
	tests/lib/s3server.sh rgw-start
done
wait "$load_pid"
code=$?
load_pid=
ok "$code" "killed and started again three times under load: no acknowledged PUT is lost" "$(cat "$W/load")"
echo "# $(cat "$W/load")"
retries=$(sed -n 's/.*retries \([0-9]*\)$/\1/p' "$W/load")
[ "${retries:-0}" -gt 0 ]
ok $? "the load did meet the outages" "retries: $retries"
check "the conditions still hold afterwards" "$tool" conformance "$S"
sed 's/^/# /' "$W/race.err" | sort | uniq -c | sort -rn | head -5
tap_done
