#!/bin/bash
# unpack-postfix.sh FOLDER: unpacks Debian's Postfix into FOLDER for the delivery test. It is not
# installed, since that would replace the machine's own mail server; and it is never started here.
set -eu
folder=$1
[ ! -x "$folder/usr/sbin/postfix" ] || exit 0
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
chmod 755 .
apt-get -q download postfix </dev/null
mkdir -p "$folder"
dpkg -x postfix_*.deb "$folder"
