/*
 * The channels to the configured peers.
 */
#include "chapard/daemon_private.h"

int daemon_peers_open(struct daemon *daemon, struct error *error)
{
	return daemon_peers_check(daemon->config, error);
}

void daemon_peers_close(struct daemon *daemon)
{
	(void)daemon;
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
	buffer_deinit(&secret);
	return rc;
}

void daemon_peers_tell(void *context, bool is_json, struct buffer *out)
{
	(void)context;
	if (is_json)
		buffer_append_string(out, "[]");
}
