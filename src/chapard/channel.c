#include "chapard/channel_private.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- connections ---- */

static void set_client(struct channel *channel, struct net_client *client)
{
	pthread_mutex_lock(&channel->lock);
	channel->client = client;
	if (client != NULL && (channel->is_stopping || channel->is_paused))
		net_client_interrupt(client);
	pthread_mutex_unlock(&channel->lock);
}

static void tell_up(struct channel *channel, const struct sync_peer *peer)
{
	struct channel_status *status = &channel->status;

	pthread_mutex_lock(&channel->lock);
	status->is_connected = true;
	status->is_partial = !view_filter_is_whole(&channel->filter);
	status->connect_count++;
	status->peer_node = peer->node;
	status->peer_name = peer->name;
	status->last_success_ms = clock_now_ms(clock_system());
	status->last_error[0] = '\0';
	snprintf(status->peer, sizeof(status->peer), "%s", net_client_peer(channel->client));
	pthread_mutex_unlock(&channel->lock);
	log_event(LOG_LEVEL_INFO, "channel-up", "channel", channel->options.name, "peer",
		status->peer, NULL);
}

/* Says why once, not with every attempt that fails in the same way. */
static void tell_down(struct channel *channel, const struct error *error)
{
	struct channel_status *status = &channel->status;
	bool is_news;

	pthread_mutex_lock(&channel->lock);
	if (channel->is_stopping || channel->is_paused) {
		status->is_connected = false;
		pthread_mutex_unlock(&channel->lock);
		return;
	}
	is_news = status->is_connected || strcmp(status->last_error, error->text) != 0;
	status->is_connected = false;
	memcpy(status->last_error, error->text, sizeof(status->last_error));
	pthread_mutex_unlock(&channel->lock);
	if (is_news)
		log_event(LOG_LEVEL_WARNING, "channel-down", "channel", channel->options.name,
			"error", error_name(error->code), "text", error->text, NULL);
}

/* One connection, from its beginning to its end. Returns whether it came up at all. */
static bool run_connection(struct channel *channel, struct error *error)
{
	struct net_client *client = net_client_new();
	struct sync_peer peer;
	int rc;

	set_client(channel, client);
	rc = channel_link_open(
		&channel->options.link, channel->mail, client, &channel->link, &peer, error);
	if (rc == 0) {
		channel_meet(channel, &peer);
		tell_up(channel, &peer);
		channel_serve(channel, error);
	}
	set_client(channel, NULL);
	channel_link_close(&channel->link);
	net_client_free(&client);
	return rc == 0;
}

/* A pause of `pause_ms`, more or less a quarter, so that many channels do not come back together.
 */
static void pause_before_retry(struct channel *channel, uint64_t pause_ms)
{
	struct timespec until;
	uint64_t random;

	random_bytes(&random, sizeof(random));
	pause_ms += random % (pause_ms / 2 + 1);
	pause_ms -= pause_ms / 4;
	clock_deadline(pause_ms, &until);
	pthread_mutex_lock(&channel->lock);
	while (!channel->is_stopping && !channel->is_paused &&
		pthread_cond_timedwait(&channel->stopped, &channel->lock, &until) == 0)
		;
	pthread_mutex_unlock(&channel->lock);
}

static void wait_while_paused(struct channel *channel)
{
	pthread_mutex_lock(&channel->lock);
	while (channel->is_paused && !channel->is_stopping)
		pthread_cond_wait(&channel->stopped, &channel->lock);
	pthread_mutex_unlock(&channel->lock);
}

/* A part of the time that the peer has been away: what was short costs little, and nobody knocks
 * at a dead node all the time. */
static uint64_t pause_after(uint64_t away_ms)
{
	uint64_t pause_ms = away_ms / 16;

	if (pause_ms < CHANNEL_PAUSE_MIN_MS)
		return CHANNEL_PAUSE_MIN_MS;
	return pause_ms < CHANNEL_PAUSE_MAX_MS ? pause_ms : CHANNEL_PAUSE_MAX_MS;
}

static void *channel_run(void *context)
{
	struct channel *channel = context;
	uint64_t away_since_ms = clock_monotonic_ms();
	struct error error = { 0 };

	if (channel_load(channel, &error) < 0)
		tell_down(channel, &error); /* begin from the beginning: all is exchanged again */
	for (;;) {
		wait_while_paused(channel);
		if (channel_is_stopping(channel))
			break;
		error = (struct error){ 0 };
		if (run_connection(channel, &error))
			away_since_ms = clock_monotonic_ms();
		tell_down(channel, &error);
		pause_before_retry(channel, pause_after(clock_monotonic_ms() - away_since_ms));
	}
	(void)channel_save(channel, &error);
	return NULL;
}

/* On the committer's thread. */
static void wake(void *context, const struct feed_news *news, size_t count)
{
	struct channel *channel = context;

	(void)news;
	(void)count;
	pthread_mutex_lock(&channel->lock);
	if (channel->client != NULL)
		net_client_wake(channel->client);
	pthread_mutex_unlock(&channel->lock);
}

/* ---- for others ---- */

static char *copy_or_null(const char *text)
{
	return text != NULL ? mem_strdup(text) : NULL;
}

static void copy_options(struct channel_options *own, const struct channel_options *options)
{
	*own = *options;
	own->name = mem_strdup(options->name);
	own->link.trace_name = own->name;
	own->link.host = mem_strdup(options->link.host);
	own->link.user = mem_strdup(options->link.user);
	own->link.password = copy_or_null(options->link.password);
	own->accounts = copy_or_null(options->accounts);
	own->link.mailboxes = copy_or_null(options->link.mailboxes);
	own->link.tls_options.ca_path = copy_or_null(options->link.tls_options.ca_path);
	own->link.tls_options.host_name = copy_or_null(options->link.tls_options.host_name);
	own->link.tls_options.certificate_path =
		copy_or_null(options->link.tls_options.certificate_path);
	own->link.tls_options.key_path = copy_or_null(options->link.tls_options.key_path);
}

static void free_options(struct channel_options *own)
{
	if (own->link.password != NULL)
		explicit_bzero((char *)own->link.password, strlen(own->link.password));
	free((char *)own->name);
	free((char *)own->link.host);
	free((char *)own->link.user);
	free((char *)own->link.password);
	free((char *)own->accounts);
	free((char *)own->link.mailboxes);
	free((char *)own->link.tls_options.ca_path);
	free((char *)own->link.tls_options.host_name);
	free((char *)own->link.tls_options.certificate_path);
	free((char *)own->link.tls_options.key_path);
}

struct channel *channel_start(struct mail *mail, const struct channel_options *options)
{
	struct channel *channel = mem_zalloc(sizeof(*channel));

	copy_options(&channel->options, options);
	channel->mail = mail;
	TAILQ_INIT(&channel->live);
	TAILQ_INIT(&channel->backlog);
	channel->is_paused = channel->status.is_paused = options->is_paused;
	pthread_mutex_init(&channel->lock, NULL);
	clock_cond_init(&channel->stopped);
	clock_cond_init(&channel->told);
	TAILQ_INIT(&channel->questions);
	TAILQ_INIT(&channel->waiters);
	store_listen(mail_store(mail), wake, channel);
	if (pthread_create(&channel->thread, NULL, channel_run, channel) != 0)
		abort(); /* as for memory: a node that cannot start a thread cannot serve */
	return channel;
}

void channel_stop(struct channel **channel_ptr)
{
	struct channel *channel = *channel_ptr;

	if (channel == NULL)
		return;
	pthread_mutex_lock(&channel->lock);
	channel->is_stopping = true;
	if (channel->client != NULL)
		net_client_interrupt(channel->client);
	pthread_cond_signal(&channel->stopped);
	pthread_cond_broadcast(&channel->told);
	while (channel->user_count > 0)
		pthread_cond_wait(&channel->told, &channel->lock);
	pthread_mutex_unlock(&channel->lock);
	pthread_join(channel->thread, NULL);
	store_unlisten(mail_store(channel->mail), wake, channel);
	channel_forget_all(channel);
	free(channel->asked);
	free(channel->failures);
	free_options(&channel->options);
	pthread_cond_destroy(&channel->stopped);
	pthread_cond_destroy(&channel->told);
	pthread_mutex_destroy(&channel->lock);
	free(channel);
	*channel_ptr = NULL;
}

void channel_set_paused(struct channel *channel, bool is_paused)
{
	bool is_news;

	pthread_mutex_lock(&channel->lock);
	is_news = channel->is_paused != is_paused;
	channel->is_paused = channel->status.is_paused = is_paused;
	if (is_paused && channel->client != NULL)
		net_client_interrupt(channel->client);
	pthread_cond_signal(&channel->stopped);
	pthread_mutex_unlock(&channel->lock);
	if (is_news)
		log_event(LOG_LEVEL_INFO, is_paused ? "channel-paused" : "channel-resumed",
			"channel", channel->options.name, NULL);
}

void channel_get_status(struct channel *channel, struct channel_status *status_r)
{
	pthread_mutex_lock(&channel->lock);
	*status_r = channel->status;
	pthread_mutex_unlock(&channel->lock);
}

uint64_t channel_lag_changes(struct channel *channel)
{
	struct kv_txn *kv = NULL;
	uint64_t last = 0, served;
	bool is_idle;

	pthread_mutex_lock(&channel->lock);
	is_idle = channel->status.is_connected && channel->status.pending_count == 0;
	served = channel->served;
	pthread_mutex_unlock(&channel->lock);
	if (is_idle || mail_read_begin(channel->mail, 0, &kv) < 0 || feed_last(kv, &last) < 0)
		last = 0;
	mail_read_end(&kv);
	return last > served ? last - served : 0;
}

const char *channel_name(const struct channel *channel)
{
	return channel->options.name;
}
