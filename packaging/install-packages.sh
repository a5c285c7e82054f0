#!/bin/bash
# install-packages.sh SECTION...: sees to it that the Debian packages of these sections of
# debian-packages.txt are there. As root it installs the missing ones; otherwise it names them,
# with the command that installs them, and exits 1. It starts no service and asks no question.
set -eu
list=$(dirname "$0")/debian-packages.txt

packages_of() {
	awk -v want="$1" '/^#/ || NF == 0 { next }
		/^\[/ { inside = ($1 == "[" want "]"); next }
		inside { print $1, $2 }' "$list"
}

is_there() {
	if [ -n "${2:-}" ] && command -v "$2" >/dev/null; then
		return 0
	fi
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

missing=
for section in "$@"; do
	while read -r package tool; do
		is_there "$package" "$tool" || missing="$missing $package"
	done < <(packages_of "$section")
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ]; then
	echo "These packages are missing:$missing" >&2
	echo "Install them as root, then start again:" >&2
	echo "    apt-get update && apt-get install --no-install-recommends$missing" >&2
	exit 1
fi
echo "Installing:$missing"
export DEBIAN_FRONTEND=noninteractive
made_policy=no
if [ ! -e /usr/sbin/policy-rc.d ]; then
	# No package may start a service of its own on this machine.
	printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
	chmod 755 /usr/sbin/policy-rc.d
	made_policy=yes
fi
status=0
{
	apt-get -q -o DPkg::Lock::Timeout=300 update &&
		# shellcheck disable=SC2086
		apt-get -q -o DPkg::Lock::Timeout=300 install -y --no-install-recommends $missing
} </dev/null || status=$?
[ "$made_policy" = no ] || rm -f /usr/sbin/policy-rc.d
exit "$status"
