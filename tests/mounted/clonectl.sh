#!/bin/bash
# Two controllers and three members that take connections: a cluster is made, all enter the answers, one is killed and leaves them, one is taken out by hand, the
# leader is killed and the other goes on; what is shown, and what is refused.
# timeout: 200
set -u
cd "$(dirname "$0")/../.." || exit 2
. tests/lib/tap.sh
command -v jq >/dev/null || skip_all "jq is not installed"
command -v openssl >/dev/null || skip_all "openssl is not installed"
W=$(mktemp -d) || exit 2
S=file://$W/store
declare -A pids
stop_all() {
	local p
	for p in "${pids[@]}"; do kill -KILL "$p"; done 2>/dev/null
	wait 2>/dev/null
	rm -rf "$W"
}
trap stop_all EXIT
ctl() { "$BUILD/clonectl" "$1" -c "$W/c-1.conf" "${@:2}"; }
# within SECONDS COMMAND...: until it succeeds
within() {
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.2
	done
}
refuses() { # DESCRIPTION TEXT CODE COMMAND...
	local what=$1 text=$2 want=$3 out code
	shift 3
	out=$("$@" 2>&1)
	code=$?
	[ $code -eq "$want" ] && grep -qF -e "$text" <<< "$out"
	ok $? "$what" "status $code: $out"
}
answers() { jq -r '[.addresses[].address] | join(" ")' "$W/store/answers/www.example.org" 2>/dev/null; }
answered() { [ "$(answers)" = "$1" ]; }
leader() { ctl status --json | jq -r '"\(.leader.holder) \(.leader.epoch)"'; }
leads() { [ "$(leader)" = "$1" ]; }
shows() { ctl status | grep -qF -e "$1"; }
state() { ctl status --json | jq -r --arg n "$1" '.members[] | select(.name == $n) | .state'; }
is_state() { [ "$(state "$1")" = "$2" ]; }
member() { # N: takes connections, and no more
	openssl s_server -accept "127.0.0.$((10 + $1)):28443" -nocert -quiet < /dev/null > /dev/null 2>&1 &
	pids[web-$1]=$!
}
controller() {
	"$BUILD/clonectl" controller -c "$W/c-$1.conf" > "$W/c-$1.log" 2>&1 &
	pids[c-$1]=$!
}

for n in 1 2; do printf '[clonectl]\nstore = %s\nname = c-%s\n[dns main]\ndriver = store\n' "$S" $n > "$W/c-$n.conf"; done
printf '[clonectl]\nstore = %s\n[dns main]\ndriver = store\nserver = x\n' "$S" > "$W/bad.conf"

# --- nothing there yet
refuses "no cluster: status says what to do" "clonectl init makes one" 4 ctl status
refuses "nor does a controller start" "clonectl init makes one" 4 ctl controller
check "init" ctl init --lease 2 --report 1 --name demo
refuses "once" "there is a cluster already" 4 ctl init
is "$(ctl status --json | jq -r '.site.name, .leader.epoch, (.members | length)' | xargs)" "demo 0 0" "it is empty"
refuses "a setting that nobody knows is named with its line" "bad.conf, line 5: [dns main] server" 2 "$BUILD/clonectl" controller -c "$W/bad.conf"
refuses "a new pool takes what it needs" "takes --host, --role and --dns" 1 ctl pool create www --host www.example.org
refuses "an address is one" "--address is an" 2 ctl pool add web-1 --role web --address 10.0.0.256
refuses "who is not there cannot be drained" "there is no member web-9" 4 ctl pool drain web-9
check "a pool" ctl pool create www --host www.example.org --role web --dns main --check tcp --port 28443 --ttl 1 --reports no
for n in 1 2 3; do
	member $n
	check "member $n" ctl pool add web-$n --role web --address 127.0.0.$((10 + n))
done

printf '[clonectl]\nstore = %s\nname = web-1\n' "$S" > "$W/same.conf"
timeout 2 "$BUILD/clonectl" controller -c "$W/same.conf" > "$W/same.log" 2>&1
grep -qF "a member is called web-1, and so is this controller" "$W/same.log"
ok $? "a controller with a member's name says so, and does nothing" "$(cat "$W/same.log")"

# --- two controllers: one leads, all enter
controller 1
check "one leads" within 30 leads "c-1 1"
controller 2
check "all are in the answers" within 40 answered "127.0.0.11 127.0.0.12 127.0.0.13"
is "$(jq -r .token "$W/store/answers/www.example.org" | cut -d. -f1)" 1 "the token is of its epoch"

# --- one dies
kill -KILL "${pids[web-2]}"
check "the dead one leaves" within 40 answered "127.0.0.11 127.0.0.13"
ctl log | grep -qF 'removes web-2 (127.0.0.12): it is dead'
ok $? "the log says why" "$(ctl log)"
check "status says that it is down" within 10 shows "it is down, and out of www.example.org"

# --- the leader dies: the other goes on, and settles the name
kill -KILL "${pids[c-1]}"
check "the other leads, in the next epoch" within 30 leads "c-2 2"
settled() { [ "$(jq -r .token "$W/store/answers/www.example.org" | cut -d. -f1)" = 2 ]; }
check "and has settled the name" within 30 settled
is "$(answers)" "127.0.0.11 127.0.0.13" "nobody was lost by that"

# --- by hand
check "drain" ctl pool drain web-1
check "it leaves" within 30 answered 127.0.0.13
check "and is drained when nobody has its address any more" within 30 is_state web-1 drained
check "remove the last one" ctl pool remove web-3
sleep 5
is "$(answers)" 127.0.0.13 "the answers are never emptied"
ctl status | grep -qF "stays only because the pool is at its minimum"
ok $? "which status says" "$(ctl status)"
check "web-1 is wanted again" ctl pool add web-1
check "it enters, and web-3 leaves" within 40 answered 127.0.0.11
check "web-3 is gone" within 40 is_state web-3 gone
ctl pool list | grep -qF "www.example.org, role web, at least 1, TTL 1 s, DNS main, checked by tcp on port 28443"
ok $? "pool list" "$(ctl pool list)"

# --- an object by hand: named, and left alone
printf '{"kind":"member"' > "$W/store/now/members/web-1"
check "what cannot be read is named" within 20 shows 'now/members/web-1: no JSON'
sleep 3
is "$(answers)" 127.0.0.11 "and nobody leaves because of it"
is "$(cat "$W/store/now/members/web-1")" '{"kind":"member"' "nor is it written over"

# --- a leader that cannot make its rounds any more lets go of the lease
controller 1
check "a member with the leader's name" ctl pool add c-2 --role other --address 10.9.9.9
check "the other one leads" within 40 leads "c-1 3"
grep -qF "a member is called c-2" "$W/c-2.log"
ok $? "the log says why" "$(cat "$W/c-2.log")"

# --- the end
kill -TERM "${pids[c-1]}"
wait "${pids[c-1]}"
is $? 0 "a controller ends in order" "$(cat "$W/c-1.log")"
is "$(ctl status --json | jq .leader.released)" true "and gives the lease back"
is "$(ctl log --json -n 0 | jq -r '[.[] | select(.result == "begun")] | length')" 0 "every decision has an end"
tap_done
