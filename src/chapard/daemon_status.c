/*
 * What the running daemon tells of itself (admin.h).
 */
#include "chapard/daemon_private.h"

#include "base/clock.h"
#include "chapard/json.h"

static void status_json(const struct net_server_stats *stats, uint64_t uptime_s, struct buffer *out)
{
	json_member_string(out, "{", "version", bytes_of_string(CHAPAR_VERSION));
	json_member_number(out, ",", "uptime", uptime_s);
	json_member_number(out, ",", "connections", stats->connection_count);
	json_member_number(out, ",", "workers-busy", stats->worker_busy_count);
	json_member_number(out, ",", "sessions-waiting", stats->worker_queue_length);
	json_member_number(out, ",", "accepted", stats->accepted_count);
	json_member_number(out, ",", "refused", stats->refused_count);
	json_member_number(out, ",", "tls-failed", stats->tls_failed_count);
	json_member_number(out, ",", "commands", stats->command_count);
	json_member_number(out, ",", "bytes-in", stats->input_size);
	json_member_number(out, ",", "bytes-out", stats->output_size);
	buffer_append_byte(out, '}');
}

static void daemon_status(void *context, bool is_json, struct buffer *out)
{
	struct daemon *daemon = context;
	uint64_t uptime_s = (clock_monotonic_ms() - daemon->started_ms) / 1000;
	struct net_server_stats stats;

	net_server_stats(daemon->server, &stats);
	if (is_json) {
		status_json(&stats, uptime_s, out);
		return;
	}
	buffer_printf(
		out, "daemon    %s, up %llu s\n", CHAPAR_VERSION, (unsigned long long)uptime_s);
	buffer_printf(out,
		"clients   %u now, %llu since the start; %llu refused, %llu TLS handshakes "
		"failed\n",
		stats.connection_count, (unsigned long long)stats.accepted_count,
		(unsigned long long)stats.refused_count,
		(unsigned long long)stats.tls_failed_count);
	buffer_printf(out, "commands  %llu; %u workers busy, %u sessions wait for one\n",
		(unsigned long long)stats.command_count, stats.worker_busy_count,
		stats.worker_queue_length);
}

static bool daemon_is_stopping(void *context)
{
	struct daemon *daemon = context;

	return atomic_load(&daemon->is_stopping);
}

void daemon_status_init(struct daemon *daemon)
{
	daemon->live = (struct admin_live){ .context = daemon,
		.trace = daemon->trace,
		.status = daemon_status,
		.channels = daemon_peers_tell,
		.health = daemon_peers_health,
		.is_stopping = daemon_is_stopping,
		.peer_find = daemon_peers_find,
		.peer_confirm = daemon_peers_confirm,
		.peer_ask = daemon_peers_ask,
		.channel_change = daemon_peers_change };
}
