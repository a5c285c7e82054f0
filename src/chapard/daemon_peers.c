/*
 * The channels to the configured peers.
 */
#include "chapard/daemon_private.h"

#include "base/log.h"
#include "base/mem.h"
#include "chapard/json.h"

#include <stdlib.h>

static_assert((int)CONFIG_TLS_NONE == (int)CHANNEL_TLS_NONE &&
		      (int)CONFIG_TLS_START == (int)CHANNEL_TLS_START &&
		      (int)CONFIG_TLS_IMPLICIT == (int)CHANNEL_TLS_IMPLICIT,
	"the two enums are one");

static bool is_this_machine(const struct config_address *address)
{
	return address->host == NULL || strcmp(address->host, "localhost") == 0 ||
	       strcmp(address->host, "::1") == 0 || strncmp(address->host, "127.", 4) == 0;
}

static int peer_open(const struct config_peer *peer, struct mail *mail, struct channel **channel_r,
	struct error *error)
{
	struct buffer secret = { 0 };
	struct channel_options options = {
		.name = peer->name,
		.host = peer->address.host != NULL ? peer->address.host : peer->address.path,
		.port = peer->address.port,
		.user = peer->user,
		.tls = (enum channel_tls)peer->tls,
		.tls_options = { .verify = peer->pin.is_set ? NET_VERIFY_PIN : NET_VERIFY_CA,
			.ca_path = peer->ca_file },
	};
	int rc = config_secret_read(peer->password_file, &secret, error);

	memcpy(options.tls_options.pin, peer->pin.bytes, NET_PIN_SIZE);
	if (rc < 0) {
		error_prefix(error, "peer %s", peer->name);
	} else {
		options.password = buffer_string(&secret);
		*channel_r = channel_start(mail, &options);
		if (peer->tls == CONFIG_TLS_NONE && !is_this_machine(&peer->address))
			log_event(LOG_LEVEL_WARNING, "peer-without-tls", "peer", peer->name,
				"address", peer->address.text, NULL);
	}
	if (secret.data != NULL)
		explicit_bzero(secret.data, secret.room);
	buffer_deinit(&secret);
	return rc;
}

int daemon_peers_open(struct daemon *daemon, struct error *error)
{
	size_t count = daemon->config->peer_count;
	int rc = 0;

	daemon->channels = mem_zalloc_array(count + 1, sizeof(struct channel *));
	for (size_t i = 0; i < count && rc == 0; i++)
		rc = peer_open(
			&daemon->config->peers[i], daemon->mail, &daemon->channels[i], error);
	return rc;
}

void daemon_peers_close(struct daemon *daemon)
{
	for (size_t i = 0; daemon->channels != NULL && i < daemon->config->peer_count; i++)
		channel_stop(&daemon->channels[i]);
	free(daemon->channels);
	daemon->channels = NULL;
}

int daemon_peers_check(const struct config *config, struct error *error)
{
	struct buffer secret = { 0 };
	int rc = 0;

	for (size_t i = 0; i < config->peer_count && rc == 0; i++) {
		rc = config_secret_read(config->peers[i].password_file, &secret, error);
		if (rc < 0)
			error_prefix(error, "peer %s", config->peers[i].name);
	}
	if (secret.data != NULL)
		explicit_bzero(secret.data, secret.room);
	buffer_deinit(&secret);
	return rc;
}

static void channel_tell_json(const char *name, const struct channel_status *status,
	const char *separator, struct buffer *out)
{
	json_member_string(out, separator, "name", bytes_of_string(name));
	json_member_bool(out, ",", "connected", status->is_connected);
	json_member_string(out, ",", "peer", bytes_of_string(status->peer));
	buffer_printf(out, ",\"peer-id\":\"%016llx\"", (unsigned long long)status->peer_node);
	json_member_number(out, ",", "pending", status->pending_count);
	json_member_number(out, ",", "failing", status->failing_count);
	json_member_number(out, ",", "last-success-ms", status->last_success_ms);
	json_member_string(out, ",", "last-error", bytes_of_string(status->last_error));
	json_member_number(out, ",", "exchanges", status->exchange_count);
	json_member_number(out, ",", "refused", status->refused_count);
	json_member_number(out, ",", "repairs", status->repair_count);
	json_member_number(out, ",", "conflicts", status->conflict_count);
	json_member_number(out, ",", "connects", status->connect_count);
	buffer_append_byte(out, '}');
}

static void channel_tell_text(
	const char *name, const struct channel_status *status, struct buffer *out)
{
	uint64_t now_ms = clock_now_ms(clock_system());

	buffer_printf(out, "channel   %s: %s%s%s", name, status->is_connected ? "up" : "down",
		status->peer[0] != '\0' ? ", " : "", status->peer);
	if (status->last_success_ms == 0)
		buffer_append_string(out, ", never succeeded");
	else
		buffer_printf(out, ", in touch %llu s ago",
			now_ms < status->last_success_ms
				? 0
				: (unsigned long long)(now_ms - status->last_success_ms) / 1000);
	buffer_printf(out,
		"; %llu accounts wait, %llu of them failing; %llu exchanges, %llu conflicts "
		"resolved, %llu repairs\n",
		(unsigned long long)status->pending_count,
		(unsigned long long)status->failing_count,
		(unsigned long long)status->exchange_count,
		(unsigned long long)status->conflict_count,
		(unsigned long long)status->repair_count);
	if (status->last_error[0] != '\0')
		buffer_printf(out, "          last error: %s\n", status->last_error);
}

void daemon_peers_tell(void *context, bool is_json, struct buffer *out)
{
	struct daemon *daemon = context;
	size_t count = daemon->channels == NULL ? 0 : daemon->config->peer_count;

	if (is_json)
		buffer_append_byte(out, '[');
	for (size_t i = 0; i < count; i++) {
		struct channel_status status;

		channel_get_status(daemon->channels[i], &status);
		if (is_json)
			channel_tell_json(channel_name(daemon->channels[i]), &status,
				i == 0 ? "{" : ",\n{", out);
		else
			channel_tell_text(channel_name(daemon->channels[i]), &status, out);
	}
	if (is_json)
		buffer_append_byte(out, ']');
}
