/*
 * Synchronous commit: a client is told OK when the change is on the peer's disk, too, or the time
 * that the peer is given is over.
 */
#include "chapard/daemon_private.h"

#include "base/log.h"
#include "sync/account_filter.h"

struct confirmer { /* a peer that is to confirm; its channel is held */
	struct channel *channel;
	unsigned timeout_ms;
	bool refuses;
};

static size_t confirmers_hold(struct daemon *daemon, const char *account,
	struct confirmer confirmers[CONFIG_PEER_COUNT_MAX])
{
	struct daemon_peers *peers = &daemon->peers;
	size_t count = 0;

	pthread_mutex_lock(&peers->lock);
	for (size_t i = 0; i < peers->count && count < CONFIG_PEER_COUNT_MAX; i++) {
		const struct config_peer *peer = peers->list[i]->peer;

		if (peer->commit != CONFIG_COMMIT_SYNC ||
			!account_filter_passes(peer->accounts, account))
			continue;
		channel_hold(peers->list[i]->channel);
		confirmers[count++] = (struct confirmer){ peers->list[i]->channel,
			(unsigned)peer->commit_timeout_ms,
			peer->commit_fallback == CONFIG_FALLBACK_REFUSE };
	}
	pthread_mutex_unlock(&peers->lock);
	return count;
}

/* Makes what was committed visible, so that channels hear of it at once, and reads the name. */
static int name_read(struct daemon *daemon, uint32_t account, struct account_header *header_r)
{
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(daemon->mail, mail_position(daemon->mail), &kv);

	if (rc == 0)
		rc = account_load(kv, account, header_r);
	mail_read_end(&kv);
	return rc;
}

int daemon_acknowledge(void *context, uint32_t account, uint64_t sequence, struct error *error)
{
	struct confirmer confirmers[CONFIG_PEER_COUNT_MAX];
	struct daemon *daemon = context;
	struct account_header header;
	size_t count;
	int result = 0;

	if (name_read(daemon, account, &header) < 0)
		return 0;
	count = confirmers_hold(daemon, header.name, confirmers);
	for (size_t i = 0; i < count; i++) {
		struct error reason = { 0 };
		int rc = channel_confirm(confirmers[i].channel, account, sequence,
			confirmers[i].timeout_ms, &reason);

		if (rc < 0)
			log_event(LOG_LEVEL_WARNING, "commit-not-confirmed", "channel",
				channel_name(confirmers[i].channel), "account", header.name, "text",
				reason.text, NULL);
		if (rc < 0 && confirmers[i].refuses)
			result = error_set(error, ERR_UNAVAILABLE,
				"It is done on this node, but node %s has not confirmed it",
				channel_name(confirmers[i].channel));
		channel_release(confirmers[i].channel);
	}
	return result;
}
