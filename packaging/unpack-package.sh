#!/bin/bash
# unpack-package.sh FOLDER PROGRAM PACKAGE...: unpacks packages of Debian into FOLDER for a test, unless
# PROGRAM is there. They are not installed, since that would replace the machine's own mail server; and
# nothing is started here.
set -eu
folder=$1
[ ! -x "$folder/$2" ] || exit 0
shift 2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
chmod 755 .
apt-get -q download "$@" </dev/null
mkdir -p "$folder"
for package in *.deb; do
	dpkg -x "$package" "$folder"
done
