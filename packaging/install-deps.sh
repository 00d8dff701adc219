#!/bin/bash
# install-deps.sh GROUP... - installs the Debian packages of these groups of packages.txt, only those that are missing.
# As root directly, else through sudo (which asks). Waits for another apt that is at work.
set -euo pipefail
cd "$(dirname "$0")"

LOCK_WAIT_S=600
missing=()
for group in "$@"; do
	while read -r of package _; do
		[ "$of" = "$group" ] || continue
		case $(dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null || true) in
		ii*) ;;
		*) missing+=("$package") ;;
		esac
	done < packages.txt
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
	command -v sudo >/dev/null || {
		echo "install-deps.sh: these packages are missing, and there is no sudo to install them with: ${missing[*]}" >&2
		exit 1
	}
	as_root=(sudo)
fi
echo "Installing Debian packages: ${missing[*]}"
apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=$LOCK_WAIT_S "$@" </dev/null; }

# Services of what is installed must not start by themselves: the tests and quickstart run their own, in directories of their own.
policy=/usr/sbin/policy-rc.d
made_policy=
if [ ! -e $policy ]; then
	printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee $policy >/dev/null
	"${as_root[@]}" chmod 755 $policy
	made_policy=1
fi
trap '[ -z "$made_policy" ] || "${as_root[@]}" rm -f $policy' EXIT

log=$(mktemp)
apt update >"$log" 2>&1 || echo "install-deps.sh: apt-get update failed; trying with the lists there are" >&2
if ! apt install -y --no-install-recommends "${missing[@]}" >"$log" 2>&1; then
	tail -n 20 "$log" >&2
	echo "install-deps.sh: could not install ${missing[*]}; see above, then try again" >&2
	rm -f "$log"
	exit 1
fi
rm -f "$log"
