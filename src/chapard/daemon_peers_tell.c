/*
 * What the channels tell of themselves (admin.h).
 */
#include "chapard/daemon_private.h"

#include "base/clock.h"
#include "chapard/json.h"

#include <stdlib.h>

#define FAILURES_TOLD_MAX 20 /* accounts set aside that are told to people, for each channel */

/* For how many seconds the peer may have been without what changed here. */
static uint64_t lag_s(const struct channel_status *status)
{
	uint64_t now_ms = clock_now_ms(clock_system());
	uint64_t since_ms =
		status->is_connected ? status->pending_since_ms : status->last_success_ms;

	return since_ms == 0 || since_ms > now_ms ? 0 : (now_ms - since_ms) / 1000;
}

static void channel_tell_json(const char *name, const struct channel_status *status,
	uint64_t lag_changes, const char *separator, struct buffer *out)
{
	json_member_string(out, separator, "name", bytes_of_string(name));
	json_member_bool(out, ",", "paused", status->is_paused);
	json_member_bool(out, ",", "connected", status->is_connected);
	json_member_bool(out, ",", "partial", status->is_partial);
	json_member_string(out, ",", "peer", bytes_of_string(status->peer));
	buffer_printf(out, ",\"peer-id\":\"%016llx\"", (unsigned long long)status->peer_node);
	json_member_number(out, ",", "pending", status->pending_count);
	json_member_number(out, ",", "lag-seconds", lag_s(status));
	json_member_number(out, ",", "lag-changes", lag_changes);
	json_member_number(out, ",", "backlog", status->backlog_count);
	json_member_number(out, ",", "failing", status->failing_count);
	json_member_number(out, ",", "last-success-ms", status->last_success_ms);
	json_member_string(out, ",", "last-error", bytes_of_string(status->last_error));
	json_member_number(out, ",", "exchanges", status->exchange_count);
	json_member_number(out, ",", "refused", status->refused_count);
	json_member_number(out, ",", "repairs", status->repair_count);
	json_member_number(out, ",", "conflicts", status->conflict_count);
	json_member_number(out, ",", "records-sent", status->sent_record_count);
	json_member_number(out, ",", "records-offered", status->offered_record_count);
	json_member_number(out, ",", "connects", status->connect_count);
}

static void channel_tell_text(const char *name, const struct channel_status *status,
	uint64_t lag_changes, struct buffer *out)
{
	uint64_t now_ms = clock_now_ms(clock_system());

	buffer_printf(out, "channel   %s: %s%s%s", name,
		status->is_paused      ? "paused"
		: status->is_connected ? "up"
				       : "down",
		status->peer[0] != '\0' ? ", " : "", status->peer);
	if (status->last_success_ms == 0)
		buffer_append_string(out, ", never succeeded");
	else
		buffer_printf(out, ", in touch %llu s ago",
			now_ms < status->last_success_ms
				? 0
				: (unsigned long long)(now_ms - status->last_success_ms) / 1000);
	buffer_printf(out,
		"; lag %llu s and %llu changes, %llu accounts wait, %llu of them failing; %llu "
		"exchanges, %llu "
		"conflicts "
		"resolved, %llu repairs\n",
		(unsigned long long)lag_s(status), (unsigned long long)lag_changes,
		(unsigned long long)status->pending_count,
		(unsigned long long)status->failing_count,
		(unsigned long long)status->exchange_count,
		(unsigned long long)status->conflict_count,
		(unsigned long long)status->repair_count);
	if (status->is_partial)
		buffer_append_string(out, "          some mailboxes only\n");
	if (status->last_error[0] != '\0')
		buffer_printf(out, "          last error: %s\n", status->last_error);
}

static void failures_json(const struct channel_failure *failures, size_t count, struct buffer *out)
{
	buffer_append_string(out, ",\"failures\":[");
	for (size_t i = 0; i < count; i++) {
		json_member_string(
			out, i == 0 ? "{" : ",{", "account", bytes_of_string(failures[i].account));
		json_member_string(out, ",", "text", bytes_of_string(failures[i].text));
		json_member_number(out, ",", "count", failures[i].count);
		json_member_number(out, ",", "since-ms", failures[i].since_ms);
		buffer_append_byte(out, '}');
	}
	buffer_append_byte(out, ']');
}

static void failures_text(const struct channel_failure *failures, size_t count, struct buffer *out)
{
	uint64_t now_ms = clock_monotonic_ms();

	for (size_t i = 0; i < count && i < FAILURES_TOLD_MAX; i++)
		buffer_printf(out, "          set aside: %s: %s (%u times, next try in %llu s)\n",
			failures[i].account, failures[i].text, failures[i].count,
			failures[i].retry_at_ms <= now_ms
				? 0
				: (unsigned long long)(failures[i].retry_at_ms - now_ms) / 1000);
	if (count > FAILURES_TOLD_MAX)
		buffer_printf(out, "          and %zu more\n", count - FAILURES_TOLD_MAX);
}

static void channel_tell(struct channel *channel, bool is_json, bool is_first, struct buffer *out)
{
	struct channel_failure *failures;
	struct channel_status status;
	size_t count = channel_get_failures(channel, &failures);

	uint64_t lag_changes = channel_lag_changes(channel);

	channel_get_status(channel, &status);
	if (is_json) {
		channel_tell_json(
			channel_name(channel), &status, lag_changes, is_first ? "{" : ",\n{", out);
		failures_json(failures, count, out);
		buffer_append_byte(out, '}');
	} else {
		channel_tell_text(channel_name(channel), &status, lag_changes, out);
		failures_text(failures, count, out);
	}
	free(failures);
}

void daemon_peers_tell(void *context, bool is_json, struct buffer *out)
{
	struct daemon *daemon = context;

	if (is_json)
		buffer_append_byte(out, '[');
	pthread_mutex_lock(&daemon->peers.lock);
	for (size_t i = 0; i < daemon->peers.count; i++)
		if (daemon->peers.list[i]->channel != NULL)
			channel_tell(daemon->peers.list[i]->channel, is_json, i == 0, out);
	pthread_mutex_unlock(&daemon->peers.lock);
	if (is_json)
		buffer_append_byte(out, ']');
}

void daemon_peers_health(void *context, struct admin_health *health_r)
{
	struct daemon *daemon = context;

	*health_r = (struct admin_health){ 0 };
	pthread_mutex_lock(&daemon->peers.lock);
	for (size_t i = 0; i < daemon->peers.count; i++) {
		struct channel_status status = { .is_paused = true };

		if (daemon->peers.list[i]->channel != NULL)
			channel_get_status(daemon->peers.list[i]->channel, &status);
		if (status.is_paused)
			continue;
		health_r->down_count += !status.is_connected;
		health_r->failing_count += status.failing_count;
	}
	pthread_mutex_unlock(&daemon->peers.lock);
}
