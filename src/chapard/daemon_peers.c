/*
 * The channels to the peers: those of the configuration file, and those that an operator added
 * while the daemon ran. What he paused stays paused over restarts.
 */
#include "chapard/daemon_private.h"

#include "base/log.h"
#include "base/mem.h"
#include "chapard/peer_definition.h"
#include "sync/account_filter.h"

#include <stdio.h>
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

/* While the list changes, which may wait for the channel that asks, it is not known. */
static bool reaches(void *context, uint64_t node)
{
	struct daemon_peers *peers = &((struct daemon *)context)->peers;
	bool is_reached = false;

	if (pthread_mutex_trylock(&peers->lock) != 0)
		return false;
	for (size_t i = 0; i < peers->count && !is_reached; i++) {
		struct channel_status status;

		channel_get_status(peers->list[i]->channel, &status);
		is_reached = status.peer_node == node;
	}
	pthread_mutex_unlock(&peers->lock);
	return is_reached;
}

static int channel_open(const struct config_peer *peer, struct daemon *daemon, bool is_paused,
	struct channel **channel_r, struct error *error)
{
	struct buffer secret = { 0 };
	struct channel_options options = {
		.name = peer->name,
		.link = { .host = peer->address.host != NULL ? peer->address.host
							     : peer->address.path,
			.port = peer->address.port,
			.user = peer->user,
			.trace = daemon->trace,
			.trace_name = peer->name,
			.tls = (enum channel_tls)peer->tls,
			.tls_options = { .verify =
						 peer->pin.is_set ? NET_VERIFY_PIN : NET_VERIFY_CA,
				.ca_path = peer->ca_file,
				.certificate_path = peer->certificate,
				.key_path = peer->key },
			.mailboxes = peer->mailboxes },
		.accounts = peer->accounts,
		.rate_max = peer->backlog_rate_max,
		.is_paused = is_paused,
		.reaches = reaches,
		.context = daemon,
	};
	int rc = peer->password_file == NULL
			 ? 0
			 : config_secret_read(peer->password_file, &secret, error);

	memcpy(options.link.tls_options.pin, peer->pin.bytes, NET_PIN_SIZE);
	if (rc < 0) {
		error_prefix(error, "peer %s", peer->name);
	} else {
		options.link.password = peer->password_file != NULL ? buffer_string(&secret) : NULL;
		*channel_r = channel_start(daemon->mail, &options);
		if (peer->tls == CONFIG_TLS_NONE && !is_this_machine(&peer->address))
			log_event(LOG_LEVEL_WARNING, "peer-without-tls", "peer", peer->name,
				"address", peer->address.text, NULL);
	}
	if (secret.data != NULL)
		explicit_bzero(secret.data, secret.room);
	buffer_deinit(&secret);
	return rc;
}

static struct daemon_peer *peer_find(struct daemon_peers *peers, const char *name)
{
	for (size_t i = 0; i < peers->count; i++)
		if (strcmp(peers->list[i]->peer->name, name) == 0)
			return peers->list[i];
	return NULL;
}

/* So that commits need no lock where nothing is asked of peers. */
static void note_kinds(struct daemon *daemon)
{
	struct daemon_peers *peers = &daemon->peers;
	bool has_sync = false, has_authority = false;

	for (size_t i = 0; i < peers->count; i++) {
		has_sync = has_sync || peers->list[i]->peer->commit == CONFIG_COMMIT_SYNC;
		has_authority = has_authority || peers->list[i]->peer->uid_authority;
	}
	mail_set_acknowledging(daemon->mail, has_sync);
	peers->has_authority = has_authority;
}

/* Takes over `config` if it is our own, also on errors. */
static int peer_add(struct daemon *daemon, struct config_peer *config, bool is_own, bool is_paused,
	struct error *error)
{
	struct daemon_peers *peers = &daemon->peers;
	struct daemon_peer *peer;
	struct channel *channel;
	int rc = channel_open(config, daemon, is_paused, &channel, error);

	if (rc < 0) {
		if (is_own)
			config_peer_free(&config);
		return rc;
	}
	peer = mem_zalloc(sizeof(*peer));
	peer->peer = config;
	peer->is_own = is_own;
	peer->channel = channel;
	mem_grow((void **)&peers->list, &peers->room, peers->count + 1,
		sizeof(struct daemon_peer *));
	peers->list[peers->count++] = peer;
	note_kinds(daemon);
	return 0;
}

static void peer_free(struct daemon_peer *peer)
{
	channel_stop(&peer->channel);
	if (peer->is_own)
		config_peer_free(&peer->peer);
	free(peer);
}

static int configured_open(struct daemon *daemon, struct config_peer *config, struct error *error)
{
	struct peer_definition definition;
	struct arena *arena = arena_new();
	int rc = peer_definition_get(daemon->mail, config->name, arena, &definition, error);

	if (rc == 0 || rc == ERR_NOT_FOUND)
		rc = peer_add(daemon, config, false, rc == 0 && definition.is_paused, error);
	arena_free(&arena);
	return rc;
}

/* One that cannot be opened any more (its password file is gone) must not keep the node from
 * serving: it is told, and left out. */
static void added_open(struct daemon *daemon, const struct peer_definition *definition)
{
	struct config_peer *config = NULL;
	struct error error = { 0 };
	int rc;

	if (peer_find(&daemon->peers, definition->name) != NULL)
		return; /* the configuration file has it by now, and goes before */
	rc = config_peer_parse(daemon->config, definition->name, definition->words,
		definition->word_count, &config, &error);
	if (rc == 0)
		rc = peer_add(daemon, config, true, definition->is_paused, &error);
	if (rc < 0)
		log_event(LOG_LEVEL_ERROR, "channel-not-started", "channel", definition->name,
			"error", error_name(rc), "text", error.text, NULL);
}

int daemon_peers_open(struct daemon *daemon, struct error *error)
{
	struct arena *arena = arena_new();
	struct peer_definition *definitions = NULL;
	size_t count = 0;
	int rc = 0;

	pthread_mutex_lock(&daemon->peers.lock); /* the first channels run already */
	for (size_t i = 0; i < daemon->config->peer_count && rc == 0; i++)
		rc = configured_open(daemon, &daemon->config->peers[i], error);
	if (rc == 0)
		rc = peer_definition_list(daemon->mail, arena, &definitions, &count, error);
	for (size_t i = 0; i < count && rc == 0; i++)
		added_open(daemon, &definitions[i]);
	pthread_mutex_unlock(&daemon->peers.lock);
	arena_free(&arena);
	return rc;
}

void daemon_peers_close(struct daemon *daemon)
{
	struct daemon_peers *peers = &daemon->peers;

	pthread_mutex_lock(&peers->lock); /* channels that are still there may look at the list */
	for (size_t i = 0; i < peers->count; i++)
		peer_free(peers->list[i]);
	free(peers->list);
	peers->list = NULL;
	peers->count = peers->room = 0;
	pthread_mutex_unlock(&peers->lock);
}

int daemon_peers_check(const struct config *config, struct error *error)
{
	struct buffer secret = { 0 };
	int rc = 0;

	for (size_t i = 0; i < config->peer_count && rc == 0; i++) {
		if (config->peers[i].password_file != NULL)
			rc = config_secret_read(config->peers[i].password_file, &secret, error);
		if (rc < 0)
			error_prefix(error, "peer %s", config->peers[i].name);
	}
	if (secret.data != NULL)
		explicit_bzero(secret.data, secret.room);
	buffer_deinit(&secret);
	return rc;
}

/* ---- what an operator changes; the lock is held ---- */

static int change_add(struct daemon *daemon, const char *name, const char *const *words,
	size_t count, struct error *error)
{
	struct peer_definition definition = {
		.name = name, .is_added = true, .words = words, .word_count = count
	};
	struct config_peer *config = NULL;
	int rc;

	if (peer_find(&daemon->peers, name) != NULL)
		return error_set(error, ERR_EXISTS, "there is a channel %.64s already", name);
	if (daemon->peers.count >= CONFIG_PEER_COUNT_MAX)
		return error_set(
			error, ERR_REFUSED, "more than %d channels", CONFIG_PEER_COUNT_MAX);
	rc = config_peer_parse(daemon->config, name, words, count, &config, error);
	if (rc == 0)
		rc = peer_add(daemon, config, true, false, error);
	/* Without its row it would be gone with the next start: then it is not there now either. */
	if (rc == 0)
		rc = peer_definition_put(daemon->mail, &definition, error);
	else
		return rc;
	if (rc < 0)
		peer_free(daemon->peers.list[--daemon->peers.count]);
	return rc;
}

static int change_remove(struct daemon *daemon, struct daemon_peer *peer, struct error *error)
{
	struct daemon_peers *peers = &daemon->peers;
	char name[CONFIG_NAME_SIZE_MAX + 1] = "";

	if (!peer->is_own)
		return error_set(error, ERR_REFUSED,
			"channel %s is of the configuration file: remove its peer section, or "
			"pause it",
			peer->peer->name);
	strncpy(name, peer->peer->name, CONFIG_NAME_SIZE_MAX);
	for (size_t i = 0; i < peers->count; i++)
		if (peers->list[i] == peer)
			peers->list[i] = peers->list[--peers->count];
	note_kinds(daemon);
	peer_free(peer); /* saves its cursor once more: it goes with the rest */
	return peer_definition_forget(daemon->mail, name, error);
}

static int change_paused(
	struct daemon *daemon, struct daemon_peer *peer, bool is_paused, struct error *error)
{
	struct peer_definition definition;
	struct arena *arena = arena_new();
	int rc = peer_definition_get(daemon->mail, peer->peer->name, arena, &definition, error);

	if (rc == 0 || rc == ERR_NOT_FOUND) {
		definition.is_paused = is_paused;
		rc = peer_definition_put(daemon->mail, &definition, error);
	}
	if (rc == 0)
		channel_set_paused(peer->channel, is_paused);
	arena_free(&arena);
	return rc;
}

int daemon_peers_find(
	void *context, const char *name, struct admin_node *node_r, struct error *error)
{
	struct daemon *daemon = context;
	struct channel_status status = { 0 };
	struct daemon_peer *peer;

	pthread_mutex_lock(&daemon->peers.lock);
	peer = peer_find(&daemon->peers, name);
	if (peer != NULL)
		channel_get_status(peer->channel, &status);
	pthread_mutex_unlock(&daemon->peers.lock);
	if (peer == NULL)
		return error_set(error, ERR_NOT_FOUND, "no channel leads to a node %.64s", name);
	if (status.peer_node == 0)
		return error_set(error, ERR_UNAVAILABLE,
			"node %.64s was not reached since the start of this one", name);
	*node_r = (struct admin_node){ status.peer_node, status.peer_name };
	if (node_r->name.name[0] == '\0')
		snprintf(node_r->name.name, sizeof(node_r->name.name), "%s", name);
	return 0;
}

/* Why the node will not have all of the account, however long one waits. */
static int check_serves(const struct daemon_peer *peer, const char *account, struct error *error)
{
	struct channel_status status;

	channel_get_status(peer->channel, &status);
	if (!account_filter_passes(peer->peer->accounts, account))
		return error_set(error, ERR_REFUSED, "the channel to %s leaves the account out",
			peer->peer->name);
	if (status.is_partial)
		return error_set(error, ERR_REFUSED, "the channel to %s leaves mailboxes out",
			peer->peer->name);
	if (status.is_paused)
		return error_set(
			error, ERR_REFUSED, "the channel to %s is paused", peer->peer->name);
	return 0;
}

/* In place of ERR_TIMEOUT, if the account is set aside. */
static int check_failures(struct channel *channel, const char *account, struct error *error)
{
	struct channel_failure *failures = NULL;
	size_t count = channel_get_failures(channel, &failures);
	int rc = ERR_TIMEOUT;

	for (size_t i = 0; i < count && rc == ERR_TIMEOUT; i++)
		if (strcmp(failures[i].account, account) == 0)
			rc = error_set(error, ERR_UNAVAILABLE, "the account cannot be synced: %s",
				failures[i].text);
	free(failures);
	return rc;
}

int daemon_peers_confirm(void *context, const char *name, const struct account_header *account,
	unsigned timeout_ms, struct error *error)
{
	struct daemon *daemon = context;
	struct channel *channel = NULL;
	struct daemon_peer *peer;
	int rc;

	pthread_mutex_lock(&daemon->peers.lock);
	peer = peer_find(&daemon->peers, name);
	rc = peer == NULL
		     ? error_set(error, ERR_NOT_FOUND, "no channel leads to a node %.64s", name)
		     : check_serves(peer, account->name, error);
	if (rc == 0) {
		channel = peer->channel;
		channel_hold(channel);
	}
	pthread_mutex_unlock(&daemon->peers.lock);
	if (rc < 0)
		return rc;
	rc = channel_confirm(channel, account->number, account->sequence, timeout_ms, error);
	if (rc == ERR_TIMEOUT)
		rc = check_failures(channel, account->name, error);
	channel_release(channel);
	return rc;
}

int daemon_peers_ask(void *context, const char *name, struct bytes request, struct buffer *answer,
	struct error *error)
{
	struct daemon *daemon = context;
	struct channel *channel = NULL;
	struct daemon_peer *peer;
	int rc;

	pthread_mutex_lock(&daemon->peers.lock);
	peer = peer_find(&daemon->peers, name);
	if (peer != NULL && peer->channel != NULL) {
		channel = peer->channel;
		channel_hold(channel);
	}
	pthread_mutex_unlock(&daemon->peers.lock);
	if (channel == NULL)
		return error_set(error, ERR_NOT_FOUND, "no channel %.64s", name);
	rc = channel_ask(channel, request, CHANNEL_ANSWER_TIMEOUT_MS, answer, error);
	channel_release(channel);
	return rc;
}

int daemon_peers_change(void *context, enum admin_channel_act act, const char *name,
	const char *const *words, size_t count, struct error *error)
{
	struct daemon *daemon = context;
	struct daemon_peer *peer;
	int rc;

	pthread_mutex_lock(&daemon->peers.lock);
	peer = peer_find(&daemon->peers, name);
	if (act == ADMIN_CHANNEL_ADD)
		rc = change_add(daemon, name, words, count, error);
	else if (peer == NULL)
		rc = error_set(error, ERR_NOT_FOUND, "no channel %.64s", name);
	else if (act == ADMIN_CHANNEL_REMOVE)
		rc = change_remove(daemon, peer, error);
	else
		rc = change_paused(daemon, peer, act == ADMIN_CHANNEL_PAUSE, error);
	pthread_mutex_unlock(&daemon->peers.lock);
	return rc;
}
