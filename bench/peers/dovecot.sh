#!/bin/bash
# Two Dovecot 2.3 instances with dsync replication (replicator+aggregator, doveadm over TCP), both ways.
#   dovecot.sh start|stop|adduser N|cut|heal|kick USER|sync USER|pids|env
# Environment: BENCH_TMP, BASE (first port, default 22000), FORMAT=mdbox|maildir|sdbox, REPL=both|none,
#   FSYNC=optimized|always|never, IDLEHIB (imap_hibernate_timeout, e.g. 1s; default off), USERS (default 230),
#   STATE (of `sync`: what the last one printed, at first empty; unset: none is kept),
#   replication always goes through two `mailload proxy` processes when PROXY=1, so that cut/heal can break the wire.
set -u
here=$(cd "$(dirname "$0")" && pwd)
: "${BENCH_TMP:=$(mktemp -d)}" "${BASE:=22000}" "${FORMAT:=mdbox}" "${REPL:=both}" "${FSYNC:=optimized}" "${IDLEHIB:=0}" "${USERS:=230}" "${PROXY:=0}"
ML=${MAILLOAD:-$here/../../build/bench/mailload}
T=$BENCH_TMP/dovecot
A_IMAP=$BASE A_LMTP=$((BASE+1)) A_ADM=$((BASE+2)) A_VIA=$((BASE+3)) B_IMAP=$((BASE+10)) B_LMTP=$((BASE+11)) B_ADM=$((BASE+12)) B_VIA=$((BASE+13))
say() { echo "BENCH_TMP=$BENCH_TMP"; for k in A_IMAP A_LMTP A_ADM A_VIA B_IMAP B_LMTP B_ADM B_VIA; do echo "$k=127.0.0.1:${!k}"; done
  for s in A B; do echo "${s}_PID=$(cat "$T/$s/run/master.pid" 2>/dev/null)"; done; }
users() { local s i; for s in A B; do for i in $(seq -f "u%04g" 1 "$1"); do echo "$i:{PLAIN}secret:65534:65534::$T/$s/home/$i::"; done > "$T/$s/users"; done; }
conf() { # side imap lmtp adm peer
  local d=$T/$1; mkdir -p "$d"/{run,state,home}; chown 65534:65534 "$d/home"
  cat > "$d/dovecot.conf" <<E
base_dir = $d/run
state_dir = $d/state
instance_name = bench$1
log_path = $d/log
protocols = imap lmtp
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain
auth_username_format = %Ln
first_valid_uid = 1000
mail_uid = 65534
mail_gid = 65534
mail_location = $FORMAT:~/$FORMAT
mail_fsync = $FSYNC
mail_attribute_dict =
postmaster_address = postmaster@localhost
mail_max_userip_connections = 0
imap_hibernate_timeout = $IDLEHIB
passdb {
  driver = static
  args = password=secret
}
userdb {
  driver = passwd-file
  args = username_format=%n $d/users
}
namespace inbox {
  inbox = yes
  separator = /
}
service imap-login {
  process_limit = 200
  inet_listener imap {
    port = $2
  }
  inet_listener imaps {
    port = 0
  }
}
service imap {
  process_limit = 4000
  unix_listener imap-master {
    user = dovecot
  }
  extra_groups = dovecot
}
service imap-hibernate {
  unix_listener imap-hibernate {
    mode = 0666
  }
}
service anvil {
  client_limit = 8000
}
service auth {
  client_limit = 8000
}
service stats {
  client_limit = 8000
  unix_listener stats-writer {
    mode = 0666
  }
}
service lmtp {
  inet_listener lmtp {
    port = $3
  }
}
service doveadm {
  inet_listener {
    port = $4
  }
}
doveadm_password = secret
doveadm_port = $4
E
  [ "$REPL" = none ] || cat >> "$d/dovecot.conf" <<E
mail_plugins = notify replication
plugin {
  mail_replica = tcp:127.0.0.1:$5
}
service aggregator {
  fifo_listener replication-notify-fifo {
    mode = 0666
  }
  unix_listener replication-notify {
    mode = 0666
  }
}
service replicator {
  process_min_avail = 1
  unix_listener replicator-doveadm {
    mode = 0666
  }
}
E
}
heal() { [ "$PROXY" = 1 ] || return 0
  (exec setsid "$ML" proxy --listen $B_VIA --to 127.0.0.1:$B_ADM </dev/null >>"$T/proxyAB.log" 2>&1) & echo $! > "$T/proxyAB.pid"
  (exec setsid "$ML" proxy --listen $A_VIA --to 127.0.0.1:$A_ADM </dev/null >>"$T/proxyBA.log" 2>&1) & echo $! > "$T/proxyBA.pid"; sleep 0.1; }
cut() { local f p; for f in proxyAB proxyBA; do p=$(cat "$T/$f.pid" 2>/dev/null) && [ -n "$p" ] && kill "$p" 2>/dev/null; rm -f "$T/$f.pid"; done; sleep 0.3; }
[ -e "$T/proxymode" ] && [ "${1:-}" != start ] && PROXY=$(cat "$T/proxymode")
case ${1:-} in
start)
  ulimit -n 65536 2>/dev/null
  mkdir -p "$T/A" "$T/B"; chmod 711 "$BENCH_TMP"; chmod 755 "$T" "$T/A" "$T/B"; echo "$PROXY" > "$T/proxymode"
  conf A $A_IMAP $A_LMTP $A_ADM $([ "$PROXY" = 1 ] && echo $B_VIA || echo $B_ADM)
  conf B $B_IMAP $B_LMTP $B_ADM $([ "$PROXY" = 1 ] && echo $A_VIA || echo $A_ADM)
  users "$USERS"; heal
  for s in A B; do (exec setsid dovecot -F -c "$T/$s/dovecot.conf" </dev/null >>"$T/$s/out.log" 2>&1) & done
  for port in $A_IMAP $B_IMAP; do for i in $(seq 100); do (exec 3<>/dev/tcp/127.0.0.1/$port) 2>/dev/null && break; sleep 0.1; done; done
  say ;;
stop) cut; for s in A B; do p=$(cat "$T/$s/run/master.pid" 2>/dev/null) && [ -n "$p" ] && kill "$p" 2>/dev/null && for i in $(seq 100); do kill -0 "$p" 2>/dev/null || break; sleep 0.1; done; done ;;
adduser) users "$2" ;;
cut) cut ;;
heal) heal ;;
kick) for s in A B; do doveadm -c "$T/$s/dovecot.conf" replicator replicate -p high "$2"; done ;;   # both sides, as an admin would
status) for s in A B; do echo "== $s"; doveadm -c "$T/$s/dovecot.conf" replicator status "${2:-}"; done ;;
adm) shift; s=$1; shift; exec doveadm -c "$T/$s/dovecot.conf" "$@" ;;
sync) shift; exec doveadm -c "$T/A/dovecot.conf" ${DEBUG:+-D} sync ${SYNC_ARGS:-} ${STATE+-s "$STATE"} -u "$1" "tcp:127.0.0.1:${VIA:-$B_ADM}" ;;
pids) for s in A B; do cat "$T/$s/run/master.pid"; done ;;
env) say ;;
*) echo "usage: dovecot.sh start|stop|adduser N|cut|heal|kick USER|sync USER|status|adm SIDE ARGS|pids|env" >&2; exit 64 ;;
esac
