#!/bin/bash
# What clonesync refuses: each is one clear line, a non-zero exit, and nothing left behind. And: too few watches, readiness.
# timeout: 120
# sanitized: yes
set -u
cd "$(dirname "$0")/../.." || exit 2
. tests/lib/tap.sh
. tests/lib/mounts.sh
CLONESYNC=$BUILD/clonesync
clonesync() { "$CLONESYNC" "$@"; }
run() { timeout 20 "$CLONESYNC" run "$@"; }

mkdir "$W/tree" "$W/other" "$W/named"
# A FUSE mount that nobody serves: its /dev/fuse was closed.
mount_dead() {
	exec 9<> /dev/fuse || return 1
	mount -i -t fuse -o fd=9,rootmode=40000,user_id=0,group_id=0 none "$1" 2> /dev/null || { exec 9>&-; return 1; }
	exec 9>&-
}
untouched() { [ -z "$(ls -A "$W/other")" ] && [ ! -e "$W/s" ]; }
echo keep > "$W/tree/file"
KEY=$W/key
check "a key" clonesync keygen -o "$KEY"
before=$(cat "$KEY")
refuses "keygen over a key" "already" 1 clonesync keygen -o "$KEY"
is "$(cat "$KEY")" "$before" "which is what it was"

refuses "keygen where no file can be made" "No such file" 1 clonesync keygen -o "$W/missing/key"

# --- calls and settings
refuses "no such command" "--help" 2 clonesync frobnicate
refuses "no such option" "--help" 2 clonesync run --frobnicate
refuses "too many directories" "--help" 2 clonesync run a b
refuses "nobody to listen to or call" "--listen" 2 run "$W/tree" -k "$KEY" -s "$W/s"
refuses "an address that is none" "HOST:PORT" 2 run "$W/other" -k "$KEY" -s "$W/s" -l nonsense
refuses "an address that is not this machine's" "cannot listen on 192.0.2.1:7788" 1 run "$W/other" -k "$KEY" -s "$W/s" -l 192.0.2.1:7788
refuses "a peer that is none" "HOST:PORT" 2 run "$W/other" -k "$KEY" -s "$W/s" -l 127.0.0.1:0 -p nonsense
refuses "a callback that is none" "HOST:PORT" 2 run "$W/other" -k "$KEY" -s "$W/s" -l 127.0.0.1:0 -a nonsense
refuses "metrics for everybody" "loopback" 2 run "$W/other" -k "$KEY" -s "$W/s" -l 127.0.0.1:0 --metrics 0.0.0.0:9
for rate in 0 10X M -5 99999999999999999999; do
	refuses "a rate of $rate" "limit_rate" 2 run "$W/other" -k "$KEY" -s "$W/s" -l 127.0.0.1:0 "--limit-rate=$rate"
done
for age in 0 23h 0d d 7 -1d 1m 1dd 36601d 99999999999999999999w; do
	refuses "deletions remembered for $age" "remember_deletions" 2 run "$W/other" -k "$KEY" -s "$W/s" -l 127.0.0.1:0 "--remember-deletions=$age"
done
for pattern in '!x/' '# nothing' '!'; do
	refuses "a pattern $pattern" "ignore" 2 run "$W/other" -k "$KEY" -s "$W/s" -l 127.0.0.1:0 "--ignore=$pattern"
done
check "nothing was made before any of that was noticed" untouched
refuses "wait for nothing" "--in-sync" 2 clonesync wait -s "$W/s"
refuses "a timeout that is no number" "number" 2 clonesync wait --in-sync --timeout soon -s "$W/s"
printf 'tree = %s\nfrobnicate = 1\n' "$W/tree" > "$W/conf"
refuses "a setting that is not known" "line 2: .*frobnicate" 2 run -c "$W/conf"
refuses "no such configuration" "No such file" 1 run -c "$W/missing"
printf 'listen = 127.0.0.1:0\n' > "$W/conf"
refuses "a configuration without a directory" "which directory" 2 run -c "$W/conf"

# --- keys
refuses "no key file" "keygen" 2 run "$W/other" -k "$W/missing" -s "$W/s" -l 127.0.0.1:0
echo "not a key" > "$W/bad.key"
chmod 600 "$W/bad.key"
refuses "a key that is none" "line 1 of .*bad.key is no key" 2 run "$W/other" -k "$W/bad.key" -s "$W/s" -l 127.0.0.1:0
cp "$KEY" "$W/open.key"
chmod 644 "$W/open.key"
refuses "a key that everybody can read" "chmod 600" 2 run "$W/other" -k "$W/open.key" -s "$W/s" -l 127.0.0.1:0
cp -p "$KEY" "$W/other/key"
refuses "a key within the directory" "key file .* lies in .*other" 2 run "$W/other" -k "$W/other/key" -s "$W/s" -l 127.0.0.1:0
ln -s other "$W/other-way"
refuses "the same by another way" "key file .* lies in .*other" 2 run "$W/other" -k "$W/other-way/key" -s "$W/s" -l 127.0.0.1:0
rm "$W/other/key"
check "and nothing was made" untouched

# --- directories
refuses "no such directory" "No such file" 1 run "$W/missing" -k "$KEY" -s "$W/s" -l 127.0.0.1:0
refuses "a file in place of the directory" "director" 1 run "$W/tree/file" -k "$KEY" -s "$W/s" -l 127.0.0.1:0
refuses "a state directory within it" "state directory .* lies in" 2 run "$W/tree" -k "$KEY" -s "$W/tree/state" -l 127.0.0.1:0
[ ! -e "$W/tree/state" ]
ok $? "which is not made"
ln -s "$W/tree" "$W/way-in"
mkdir "$W/tree/sub"
refuses "the same through a link" "state directory .* lies in" 2 run "$W/tree" -k "$KEY" -s "$W/way-in/sub" -l 127.0.0.1:0
refuses "a state directory that cannot be made" "state directory" 1 run "$W/tree" -k "$KEY" -s "$W/missing/deeper" -l 127.0.0.1:0
if [ "$(id -u)" -eq 0 ] && command -v setpriv >/dev/null; then
	mkdir -m 700 "$W/private"
	mkdir "$W/nobody"
	cp "$KEY" "$W/nobody/key"
	chown -R 65534:65534 "$W/nobody"
	chmod 600 "$W/nobody/key"
	refuses "a directory that may not be read" "private.*Permission denied" 1 timeout 20 setpriv --reuid=65534 --regid=65534 --clear-groups \
		"$CLONESYNC" run "$W/private" -k "$W/nobody/key" -s "$W/nobody/state" -l 127.0.0.1:0
	is "$(ls -A "$W/private")" "" "and nothing is made there"
else
	skip "a directory that may not be read" "host: not root"
fi
is "$(ls -A "$W/tree") $(cat "$W/tree/file")" "file
sub keep" "what was refused has changed nothing in the directory"
refuses "status where none runs" "no clonesync runs" 4 clonesync status -s "$W/s"
refuses "wait where none runs" "no clonesync runs" 4 clonesync wait --in-sync -s "$W/s"

# --- one that runs
"$CLONESYNC" run "$W/tree" -k "$KEY" -s "$W/s" -l 127.0.0.1:0 > "$W/log" 2>&1 &
pid=$!
pids+=("$pid")
check "one runs" until_true 20 "$CLONESYNC" status -s "$W/s"
name=$'m\302\233\2332J\033[2J\342\200\256x' # what a terminal would obey, three times, and a turn of direction
"$CLONESYNC" run "$W/named" -k "$KEY" -s "$W/s4" -l 127.0.0.1:0 -n "$name" > "$W/log4" 2>&1 &
named=$!
pids+=("$named")
port=$(clonesync status --json -s "$W/s" | sed -n 's/.*"port": *\([0-9]*\).*/\1/p')
refuses "a port that is in use" "127.0.0.1:$port.*in use.*another port" 1 run "$W/other" -k "$KEY" -s "$W/s2" -l "127.0.0.1:$port"
refuses "a state directory that is in use" "another" 3 run "$W/other" -k "$KEY" -s "$W/s" -l 127.0.0.1:0
check "one with a strange name" until_true 20 "$CLONESYNC" status -s "$W/s4"
is "$(clonesync status -s "$W/s4" | sed -n 's/^member *\(m[^ ]*\) .*/\1/p')" 'm\302\233\2332J\033[2J\342\200\256x' "which is shown, and not obeyed"
kill -TERM "$named"
wait "$named"
check "the only member is in sync" clonesync wait --in-sync --timeout 20 -s "$W/s"
kill -TERM "$pid"
wait "$pid"
is $? 0 "SIGTERM ends it in order"
[ ! -e "$W/s/control" ]
ok $? "and its socket is gone"
"$CLONESYNC" run "$W/tree" -k "$KEY" -s "$W/s" -l 127.0.0.1:0 > "$W/log" 2>&1 &
pid=$!
pids+=("$pid")
check "started again" until_true 20 "$CLONESYNC" status -s "$W/s"
kill -KILL "$pid"
wait "$pid" 2>/dev/null
refuses "one that was killed does not run" "no clonesync runs" 4 clonesync status -s "$W/s"
printf '[clonesync]\ntree = %s\nstate_dir = %s\ncluster_key_file = %s\nlisten = 127.0.0.1:0\nname = by-file\n' "$W/tree" "$W/s" "$KEY" > "$W/conf"
"$CLONESYNC" run -c "$W/conf" > "$W/log" 2>&1 &
pid=$!
pids+=("$pid")
check "the next one takes its place, by a configuration file" until_true 20 "$CLONESYNC" status -c "$W/conf"
clonesync status -c "$W/conf" | grep -q "^member     by-file "
ok $? "which names it"
kill -INT "$pid"
wait "$pid"
is $? 0 "SIGINT ends it in order"

# --- a name that cannot be looked at (a mount whose process is dead) keeps nothing else from being seen
mkdir -p "$W/holed/mnt" "$W/holed/dir"
echo seen > "$W/holed/dir/file"
if mount_dead "$W/holed/mnt"; then
	"$CLONESYNC" run "$W/holed" -k "$KEY" -s "$W/s5" -l 127.0.0.1:0 > "$W/log" 2>&1 &
	pid=$!
	pids+=("$pid")
	known() { [ "$(clonesync status --json -s "$W/s5" | jq .records)" = "$1" ]; }
	check "what lies beside a dead mount is known" until_true 20 known 2
	clonesync status -s "$W/s5" | grep -qi "^error .*not connected"
	ok $? "and it is said what is wrong"
	umount -l "$W/holed/mnt"
	echo found > "$W/holed/mnt/file"
	check "what was below the mount is found once it is gone" until_true 20 known 4
	kill -TERM "$pid"
	wait "$pid"
else
	skip "a dead mount" "host: no FUSE mount can be made here"
fi

# --- requests that no command of ours makes
if command -v perl >/dev/null && perl -MIO::Socket::UNIX -e 1 2>/dev/null; then
	"$CLONESYNC" run -c "$W/conf" > "$W/log" 2>&1 &
	pid=$!
	pids+=("$pid")
	check "one runs once more" until_true 20 "$CLONESYNC" status -c "$W/conf"
	for request in '{"do":"missing","question":null,"deleted":true}' '{"do":"missing","question":"1","deleted":null}' '{"do":"forget","member":null}' \
		'{"do":"diff","member":7}' '{"do":null}' 'null' '[]'; do
		timeout 20 perl -MIO::Socket::UNIX -e 'my $s = IO::Socket::UNIX->new($ARGV[0]) or die; print $s "$ARGV[1]\n"; print scalar <$s>' "$W/s/control" "$request" > "$W/told"
		grep -q '"ok": *false' "$W/told"
		ok $? "refused: $request" "$(cat "$W/told")"
	done
	kill -TERM "$pid"
	wait "$pid"
	is $? 0 "and it goes on"
else
	skip "strange requests" "perl has no IO::Socket::UNIX"
fi

# --- readiness
if command -v perl >/dev/null && perl -MIO::Socket::UNIX -e 1 2>/dev/null; then
	NOTIFY_SOCKET=$W/notify timeout 60 perl -MIO::Socket::UNIX -MSocket -e '
		my $s = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => $ENV{NOTIFY_SOCKET}) or die; $| = 1;
		while (defined $s->recv(my $m, 4096)) { print "$m\n"; last if $m =~ /STOPPING/ }' > "$W/told" &
	listener=$!
	pids+=("$listener")
	until_true 10 test -S "$W/notify"
	NOTIFY_SOCKET=$W/notify "$CLONESYNC" run -c "$W/conf" > "$W/log" 2>&1 &
	pid=$!
	pids+=("$pid")
	check "the service manager is told that it is ready" until_true 20 grep -qx READY=1 "$W/told"
	check "and what it is at" until_true 20 grep -qx "STATUS=in sync" "$W/told"
	kill -TERM "$pid"
	wait "$pid"
	wait "$listener"
	grep -qx STOPPING=1 "$W/told"
	ok $? "and that it ends"
else
	skip "readiness" "perl has no IO::Socket::UNIX"
fi

# --- fewer watches than directories, in a user namespace with a limit of its own
mkdir -p "$W/wide/"{a,b,c,d,e,f,g,h}
limited=(unshare --user --map-root-user sh -c 'echo 4 > /proc/sys/user/max_inotify_watches && exec "$@"' -)
if "${limited[@]}" true 2>/dev/null; then
	"${limited[@]}" "$CLONESYNC" run "$W/wide" -k "$KEY" -s "$W/s3" -l 127.0.0.1:0 > "$W/log" 2>&1 &
	pid=$!
	pids+=("$pid")
	check "it starts with too few watches" until_true 20 "$CLONESYNC" status -s "$W/s3"
	is "$(grep -cE "of them cannot be watched .*sysctl -w fs.inotify.max_user_watches=[0-9]+$" "$W/log")" 1 "says so once, with the line that helps"
	[ "$(clonesync status --json -s "$W/s3" | sed -n 's/.*"unwatched_directories": *\([0-9]*\).*/\1/p')" -gt 0 ]
	ok $? "and status counts them" "$(cat "$W/log")"
	kill -TERM "$pid"
	wait "$pid"
	is $? 0 "it ends in order"
else
	skip "too few watches" "host: no user namespace with a limit of its own can be made"
fi
tap_done
