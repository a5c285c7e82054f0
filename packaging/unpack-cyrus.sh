#!/bin/bash
# unpack-cyrus.sh FOLDER: unpacks Debian's Cyrus IMAP server, and the libraries that it needs and this
# machine has not, into FOLDER for the import test. It is not installed, since it would replace
# Dovecot and the machine's own mail server; and it is never started here.
set -eu
folder=$1
[ ! -x "$folder/usr/lib/cyrus/bin/imapd" ] || exit 0
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
chmod 755 .
apt-get -q download cyrus-imapd cyrus-common libical3 libclamav12 libzephyr4 libxapian30 libpq5 \
	libwrap0 libtfm1 libmspack0 libllvm14 libjson-c5 libpcre3 libsqlite3-0 libxml2 libldap-2.5-0 \
	libhesiod0 libltdl7 libpcre2-8-0 libjansson4 </dev/null
mkdir -p "$folder"
for package in *.deb; do
	dpkg -x "$package" "$folder"
done
