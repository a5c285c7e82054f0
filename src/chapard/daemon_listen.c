/*
 * The daemon's network server: its listeners, and the control socket.
 */
#include "chapard/daemon_private.h"

#include "base/log.h"
#include "chapard/control.h"

#include <stdlib.h>
#include <sys/stat.h>

static_assert((int)CONFIG_TLS_NONE == (int)NET_TLS_NONE &&
		      (int)CONFIG_TLS_START == (int)NET_TLS_START &&
		      (int)CONFIG_TLS_IMPLICIT == (int)NET_TLS_IMPLICIT,
	"the two enums are one");

/* Of LMTP's UNIX sockets: mail servers run as other users. Who may reach it is up to its folder. */
#define LMTP_SOCKET_MODE 0666
#define IMAP_SOCKET_MODE 0666

static bool wants_certificates(const struct config *config)
{
	for (size_t i = 0; i < config->sync_user_count; i++)
		if (config->sync_users[i].certificate != NULL)
			return true;
	return config->login.client_ca != NULL;
}

int daemon_server_new(struct daemon *daemon, struct error *error)
{
	const struct config *config = daemon->config;
	struct net_server_options options = {
		.io_thread_count = (unsigned)config->io_threads,
		.worker_count = (unsigned)config->workers,
		.connection_count_max = (unsigned)config->connections_max,
		.tls_certificate_path = config->tls_certificate,
		.tls_key_path = config->tls_key,
		.tls_client_ca_path = config->login.client_ca,
		.tls_wants_certificate = wants_certificates(config),
		.address_connection_max = (unsigned)config->address_connections_max,
	};

	return net_server_new(&options, &daemon->server, error);
}

static int listener_bind(
	struct daemon *daemon, const struct config_listener *listener, struct error *error)
{
	bool is_imap = listener->protocol == CONFIG_PROTOCOL_IMAP;
	struct net_listener_options options = {
		.address = listener->address.host,
		.port = listener->address.port,
		.path = listener->address.path,
		.mode = is_imap ? IMAP_SOCKET_MODE : LMTP_SOCKET_MODE,
		.tls = (enum net_tls_mode)listener->tls,
		.protocol = is_imap ? imap_server_protocol(daemon->imap)
				    : lmtp_server_protocol(daemon->lmtp),
		.context = is_imap ? (void *)daemon->imap : (void *)daemon->lmtp,
	};
	int rc = net_server_listen(daemon->server, &options,
		&daemon->ports[listener - daemon->config->listeners], error);

	if (rc < 0) {
		error_prefix(error, "listen %s: %s", listener->name, listener->address.text);
		return rc;
	}
	return 0;
}

int daemon_listen(struct daemon *daemon, struct error *error)
{
	for (size_t i = 0; i < daemon->config->listener_count; i++) {
		int rc = listener_bind(daemon, &daemon->config->listeners[i], error);

		if (rc < 0)
			return rc;
	}
	return 0;
}

int daemon_listen_control(struct daemon *daemon, struct error *error)
{
	char *path = control_path(daemon->config->store_path);
	struct net_listener_options options = {
		.path = path,
		.mode = 0600,
		.protocol = &control_protocol,
		.context = &daemon->admin,
	};
	int rc = net_server_listen(daemon->server, &options, NULL, error);

	if (rc < 0)
		error_prefix(error, "%s", path);
	free(path);
	return rc;
}

uint16_t daemon_port(const struct daemon *daemon, size_t listener)
{
	return daemon->ports[listener];
}

void daemon_listeners_log(const struct daemon *daemon)
{
	static const char *const protocol_names[] = { "imap", "lmtp" };
	static const char *const tls_names[] = { "none", "starttls", "implicit" };

	for (size_t i = 0; i < daemon->config->listener_count; i++) {
		const struct config_listener *listener = &daemon->config->listeners[i];
		struct buffer address = { 0 };

		if (listener->address.host == NULL)
			buffer_append_string(&address, listener->address.text);
		else if (strchr(listener->address.host, ':') != NULL)
			buffer_printf(
				&address, "[%s]:%u", listener->address.host, daemon->ports[i]);
		else
			buffer_printf(&address, "%s:%u", listener->address.host, daemon->ports[i]);
		log_event(LOG_LEVEL_INFO, "listening", "name", listener->name, "address",
			buffer_string(&address), "protocol", protocol_names[listener->protocol],
			"tls", tls_names[listener->tls], NULL);
		buffer_deinit(&address);
	}
}
