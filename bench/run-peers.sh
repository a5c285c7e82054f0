#!/bin/bash
# run-peers.sh STEP [PEER...]: one workload over a list of peers (default: chapar cyrus dovecot).
#   steps: deliver append fetch store idle lag split catchup
# A peer is any server whose ports are in $BENCH_TMP/PEER.env (what its script printed at start).
# Output also goes to $BENCH_TMP/out/STEP-PEER[-REPETITION].txt. Repetitions of the peers are
# interleaved, so that load from elsewhere on the machine meets them alike.
# Environment: MAILLOAD (the load driver; default that of ../build) and, by step, COUNT, REPS, CONNS,
#   DRAIN, QUICKACK, LUSER, JITTER, SECONDS_MAX, MODE, ONLY, SUSER, QUIET, MAX, KICK, KICK2, TAG.
set -u
here=$(cd "$(dirname "$0")" && pwd)
: "${BENCH_TMP:?set BENCH_TMP to the folder used with the start scripts}"
: "${MAILLOAD:=$here/../build/bench/mailload}"
[ -x "$MAILLOAD" ] || { echo "build first: $MAILLOAD is missing" >&2; exit 1; }
export MAILLOAD
out=$BENCH_TMP/out
tag=${TAG:-}
step=${1:?which step?}
shift
peers=${*:-chapar cyrus dovecot}
mkdir -p "$out"
ulimit -n 65536 2>/dev/null

script() { if [ -x "$here/$1.sh" ]; then echo "$here/$1.sh"; else echo "$here/peers/$1.sh"; fi; }
note() { echo "# $(date +%T) load $(cut -d' ' -f1-3 /proc/loadavg)"; }

# With KICK, healing also tells both sides of a peer to replicate the user at once.
heal_command() {
	local kick=
	[ -z "${KICK:-}" ] || [ "$1" != dovecot ] || kick="; $(script "$1") kick $SUSER"
	echo "$(script "$1") heal$kick"
}

run_deliver() {
	note
	"$MAILLOAD" deliver --lmtp "$A_LMTP" --users 200 --conns "${CONNS:-8}" \
		--count "${COUNT:-7000}" --seed "$2$RANDOM" --pid "$A_PID" --pid-b "$B_PID"
	[ "${DRAIN:-1}" != 1 ] ||
		"$MAILLOAD" drain --imap-a "$A_IMAP" --imap-b "$B_IMAP" --users 200 --max "${MAX:-900}"
}

run_append() {
	local count=${COUNT:-1000}
	note
	"$MAILLOAD" append --imap "$A_IMAP" --user u0202 --count "$count" --seed "1$2"
	"$MAILLOAD" append --imap "$A_IMAP" --first 203 --conns 8 --count $((count * 2)) --seed "2$2"
	"$MAILLOAD" append --imap "$A_IMAP" --user u0202 --count "$count" --pipeline 32 --seed "3$2"
	"$MAILLOAD" append --imap "$A_IMAP" --user u0202 --count "$count" --multi 50 --seed "4$2"
}

run_fetch() {
	note
	"$MAILLOAD" fetch --imap "$A_IMAP" --user u0201 --reps "${REPS:-5}" \
		--quickack "${QUICKACK:-0}"
}

run_store() {
	note
	"$MAILLOAD" store --imap "$A_IMAP" --user u0201 --count "${COUNT:-1000}" --reps 3
}

run_idle() {
	note
	"$MAILLOAD" idle --imap "$A_IMAP" --users 200 --conns "${CONNS:-1000}" --pid "$A_PID"
	sleep 5
	"$MAILLOAD" pss --pid "$A_PID"
}

run_lag() {
	note
	"$MAILLOAD" lag --imap-a "$A_IMAP" --imap-b "$B_IMAP" --user "${LUSER:-u0211}" \
		--count "${COUNT:-200}" --jitter "${JITTER:-1000}" --seconds "${SECONDS_MAX:-600}" \
		--mode "${MODE:-noop}" --only "${ONLY:-afx}"
}

run_split() {
	note
	"$MAILLOAD" splitbrain --imap-a "$A_IMAP" --imap-b "$B_IMAP" --user "$SUSER" \
		--cut "$(script "$1") cut" --heal "$(heal_command "$1")" \
		--quiet "${QUIET:-10}" --max "${MAX:-120}" ${KICK2:+--kick "$KICK2"}
}

run_catchup() {
	note
	"$MAILLOAD" catchup --imap-a "$A_IMAP" --imap-b "$B_IMAP" --user "$SUSER" \
		--count "${COUNT:-5000}" --flag "${FLAG:-1000}" \
		--cut "$(script "$1") cut" --heal "$(heal_command "$1")"
}

# The default number of repetitions of a step; 1 where the driver repeats by itself.
case $step in
deliver | append) repetitions=${REPS:-3} ;;
idle) repetitions=${REPS:-2} ;;
fetch | store | lag | split | catchup) repetitions=1 ;;
*) echo "unknown step $step" >&2; exit 64 ;;
esac

for repetition in $(seq "$repetitions"); do
	for peer in $peers; do
		# shellcheck disable=SC1090
		. "$BENCH_TMP/$peer.env"
		file=$out/$step$tag-$peer
		[ "$repetitions" = 1 ] || file=$file-$repetition
		case $step in split | catchup) file=$file-$SUSER ;; esac
		echo "== $step $peer"
		"run_$step" "$peer" "$repetition" >"$file.txt" 2>&1
		case $step in
		split) grep -E 'splitbrain|LOST|MISSING|DUPL|RESURR|UNEQ|REUSED' "$file.txt" ;;
		*) cat "$file.txt" ;;
		esac
	done
done
