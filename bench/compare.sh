#!/bin/bash
# compare.sh: Chapar beside Cyrus and Dovecot on this machine in one run, with small counts (about
# a quarter of an hour). Needs root, since the peers come from Debian packages and run under their
# own users. Output: $BENCH_TMP/out. Environment: BENCH_TMP, PEERS (default: chapar cyrus dovecot),
# STEPS, SCALE (percent of the counts below, default 100).
set -u
here=$(cd "$(dirname "$0")" && pwd)
: "${PEERS:=chapar cyrus dovecot}" "${SCALE:=100}"
: "${STEPS:=deliver append fetch store idle lag catchup split}"
if [ -z "${BENCH_TMP:-}" ]; then
	BENCH_TMP=$(mktemp -d)
fi
export BENCH_TMP
export MAILLOAD=${MAILLOAD:-$here/../build/bench/mailload}
chmod 711 "$BENCH_TMP"

scaled() { echo $(($1 * SCALE / 100)); }
has() { case " $PEERS " in *" $1 "*) true ;; *) false ;; esac; }

stop_all() {
	trap - EXIT TERM INT
	has chapar && "$here/chapar.sh" stop
	has cyrus && "$here/peers/cyrus.sh" stop
	has dovecot && "$here/peers/dovecot.sh" stop
	echo "Output: $BENCH_TMP/out"
	"$here/report.py" "$BENCH_TMP/out"
}
trap stop_all EXIT
trap 'exit 1' TERM INT

if has cyrus || has dovecot; then
	[ "$(id -u)" = 0 ] || { echo "The peers need root; PEERS=chapar does not." >&2; exit 1; }
	"$here/peers/setup.sh" >"$BENCH_TMP/setup.log" 2>&1 ||
		{ tail -n 5 "$BENCH_TMP/setup.log" >&2; exit 1; }
fi
if has chapar; then
	"$here/chapar.sh" start >"$BENCH_TMP/chapar.env" || exit 1
fi
if has cyrus; then
	"$here/peers/cyrus.sh" start >"$BENCH_TMP/cyrus.env" && "$here/peers/cyrus.sh" adduser 230
fi
if has dovecot; then
	PROXY=1 "$here/peers/dovecot.sh" start >"$BENCH_TMP/dovecot.env"
fi

# The large mailbox that fetch and store look at.
fill_mailbox() {
	local peer
	for peer in $PEERS; do
		# shellcheck disable=SC1090
		. "$BENCH_TMP/$peer.env"
		"$MAILLOAD" append --imap "$A_IMAP" --user u0201 --count "$(scaled 10000)" \
			--multi 50 --seed 42 >"$BENCH_TMP/fill-$peer.txt" 2>&1
	done
}

for step in $STEPS; do
	case $step in
	deliver) REPS=3 COUNT=$(scaled 3000) "$here/run-peers.sh" deliver $PEERS ;;
	append) REPS=3 COUNT=$(scaled 1000) "$here/run-peers.sh" append $PEERS ;;
	fetch)
		fill_mailbox
		QUICKACK=1 REPS=5 "$here/run-peers.sh" fetch $PEERS
		;;
	store) COUNT=$(scaled 1000) "$here/run-peers.sh" store $PEERS ;;
	idle) REPS=1 CONNS=$(scaled 500) "$here/run-peers.sh" idle $PEERS ;;
	lag)
		# An expunge alone never reaches Dovecot's other side: not asked there.
		for peer in $PEERS; do
			only=afx
			[ "$peer" != dovecot ] || only=af
			ONLY=$only COUNT=$(scaled 40) "$here/run-peers.sh" lag "$peer"
		done
		;;
	catchup) KICK=1 SUSER=u0220 COUNT=$(scaled 3000) FLAG=$(scaled 600) \
		"$here/run-peers.sh" catchup $PEERS ;;
	split) KICK=1 QUIET=10 MAX=60 SUSER=u0221 "$here/run-peers.sh" split $PEERS ;;
	*) echo "unknown step $step" >&2 ;;
	esac
done
