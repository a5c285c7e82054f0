#!/bin/bash
# Two live Chapar nodes A and B that replicate to each other, for the load driver.
#   chapar.sh start|stop|cut|heal|kill NODE|restart NODE|empty NODE|pids|env|adduser N [FIRST]
# Users u0001..u0300 with password `secret` are made at the first start; `empty NODE` begins that node anew with nothing. Durability is the default:
# nothing is acknowledged before it is on disk. The replication links go through two
# `mailload proxy` processes, so that cut and heal break the wire itself.
# Environment: BENCH_TMP (work folder, needed), BASE (first port, default 23000), BUILD (default
#   ../build), USERS (default 300), COMPRESSION (default 1).
set -u
here=$(cd "$(dirname "$0")" && pwd)
: "${BENCH_TMP:?set BENCH_TMP to a work folder}" "${BASE:=23000}" "${BUILD:=$here/../build}"
: "${USERS:=300}" "${COMPRESSION:=1}"
chapard=$BUILD/src/chapard/chapard
chapar=$BUILD/src/chapar/chapar
mailload=${MAILLOAD:-$BUILD/bench/mailload}
folder=$BENCH_TMP/chapar
address=127.0.0.1
A_IMAP=$BASE A_LMTP=$((BASE + 1)) A_VIA=$((BASE + 3))
B_IMAP=$((BASE + 10)) B_LMTP=$((BASE + 11)) B_VIA=$((BASE + 13))

pid_of() { cat "$folder/$1.pid" 2>/dev/null; }

print_environment() {
	local key
	echo "BENCH_TMP=$BENCH_TMP"
	for key in A_IMAP A_LMTP B_IMAP B_LMTP; do
		echo "$key=$address:${!key}"
	done
	echo "A_PID=$(pid_of A)"
	echo "B_PID=$(pid_of B)"
}

# write_config NODE IMAP-PORT LMTP-PORT PEER PORT-TO-PEER
write_config() {
	mkdir -p "$folder/$1"
	echo "replication-secret" >"$folder/$1/sync-password"
	chmod 600 "$folder/$1/sync-password"
	cat >"$folder/$1/chapard.conf" <<END
node = "$1"
store {
	path = "store"
	compression = $COMPRESSION
}
listen imap {
	address = "$address:$2"
}
listen lmtp {
	address = "$address:$3"
}
allow-plaintext-loopback = true
create-accounts-on-delivery = true
log-level = "info"
sync-user "$4" {
	password-file = "sync-password"
}
peer "$4" {
	address = "$address:$5"
	user = "$1"
	password-file = "sync-password"
	tls = "none"
}
END
}

start_node() {
	local port=$A_IMAP try
	[ "$1" = A ] || port=$B_IMAP
	if (exec 3<>"/dev/tcp/$address/$port") 2>/dev/null; then
		echo "something answers on port $port already" >&2
		return 1
	fi
	setsid "$chapard" -c "$folder/$1/chapard.conf" </dev/null >>"$folder/$1/log" 2>&1 &
	echo $! >"$folder/$1.pid"
	for try in $(seq 300); do
		(exec 3<>"/dev/tcp/$address/$port") 2>/dev/null && return 0
		kill -0 "$(pid_of "$1")" 2>/dev/null || break
		sleep 0.1
	done
	echo "node $1 does not answer on port $port; see $folder/$1/log" >&2
	return 1
}

# end_process NAME [SIGNAL]: of the process whose id is in NAME.pid; waits for its end.
end_process() {
	local pid try
	pid=$(pid_of "$1")
	rm -f "$folder/$1.pid"
	[ -n "$pid" ] || return 0
	kill "-${2:-TERM}" "$pid" 2>/dev/null || return 0
	for try in $(seq 300); do
		kill -0 "$pid" 2>/dev/null || return 0
		sleep 0.1
	done
	echo "process $pid ($1) does not end; killing it" >&2
	kill -9 "$pid"
}

start_proxy() {
	[ -z "$(pid_of "proxy-$1")" ] || return 0
	setsid "$mailload" proxy --listen "$2" --to "$address:$3" \
		</dev/null >>"$folder/proxy-$1.log" 2>&1 &
	echo $! >"$folder/proxy-$1.pid"
}

heal() {
	start_proxy AB "$B_VIA" "$B_IMAP"
	start_proxy BA "$A_VIA" "$A_IMAP"
	sleep 0.1
}

cut_wire() {
	end_process proxy-AB
	end_process proxy-BA
}

# add_accounts NODE N [FIRST]
add_accounts() {
	local names
	mapfile -t names < <(seq -f 'u%04g' "${3:-1}" "$2")
	echo secret | "$chapar" -c "$folder/$1/chapard.conf" \
		account add "${names[@]}" --password-file - >/dev/null
}

# adduser N [FIRST]: on both nodes, each with its own copy of an account of the same name
adduser() {
	add_accounts B "$@" &
	add_accounts A "$@" && wait $! && echo "created=$(($1 - ${2:-1} + 1))"
}

case ${1:-} in
start)
	ulimit -n 65536 2>/dev/null
	mkdir -p "$folder"
	fresh=no
	[ -e "$folder/A/store" ] || fresh=yes
	write_config A "$A_IMAP" "$A_LMTP" B "$B_VIA"
	write_config B "$B_IMAP" "$B_LMTP" A "$A_VIA"
	[ "$fresh" = no ] || adduser "$USERS" >/dev/null || exit 1
	heal
	start_node A || exit 1
	start_node B || exit 1
	print_environment
	;;
stop)
	end_process A
	end_process B
	cut_wire
	;;
cut) cut_wire ;;
heal) heal ;;
kill) end_process "${2:?which node, A or B?}" KILL ;;
restart)
	end_process "${2:?which node, A or B?}"
	start_node "$2"
	;;
empty)
	end_process "${2:?which node, A or B?}"
	rm -rf "$folder/$2/store"
	start_node "$2"
	;;
pids) for name in A B proxy-AB proxy-BA; do pid_of "$name"; done ;;
env) print_environment ;;
adduser) adduser "${2:?how many?}" "${3:-1}" ;;
*)
	echo "usage: chapar.sh start|stop|cut|heal|kill NODE|restart NODE|empty NODE|pids|env|adduser N [FIRST]" >&2
	exit 64
	;;
esac
