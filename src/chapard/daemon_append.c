/*
 * Which node appends: while nodes see each other, one of them gives the UIDs of an account
 * (mail/uid_authority.h). A message that comes to another is sent there (sync/forward.h), and is
 * told OK when it has come back as a change. Whenever that does not work in time, it is appended
 * here, as the same instance: merging makes one message of the two.
 */
#include "chapard/daemon_private.h"

#include "base/clock.h"
#include "base/log.h"
#include "mail/uid_authority.h"
#include "store/store.h"
#include "sync/account_filter.h"
#include "sync/forward.h"

#define ASK_TIMEOUT_MS 1000            /* until the other node has answered ... */
#define SHOWN_TIMEOUT_MS 2000          /* ... and until its message has come back */
#define DISTRUST_MS 5000               /* how long a node that was too slow is not asked */
#define FORWARD_SIZE_MAX (1024 * 1024) /* bytes: a larger message is not sent about */

/*
 * Whom to ask: the node that the account is lent to, or else the one with the smallest id; never
 * `origin` (0: this node), which sent the message here because it is not to append it itself.
 */
static struct daemon_peer *authority_find(struct daemon *daemon, const char *account,
	uint64_t origin, uint64_t holder, uint64_t now_ms)
{
	struct daemon_peers *peers = &daemon->peers;
	struct daemon_peer *found = NULL;
	uint64_t least = mail_node(daemon->mail);

	for (size_t i = 0; i < peers->count; i++) {
		struct daemon_peer *peer = peers->list[i];
		struct channel_status status;

		if (!peer->peer->uid_authority || peer->distrusted_until_ms > now_ms ||
			!account_filter_passes(peer->peer->accounts, account))
			continue;
		channel_get_status(peer->channel, &status);
		if (!status.is_connected || status.is_partial || status.peer_node == origin)
			continue;
		if (holder != 0 ? status.peer_node == holder : status.peer_node < least) {
			found = peer;
			least = status.peer_node;
		}
	}
	return found;
}

static void distrust(struct daemon_peer *peer, const char *account, const char *reason)
{
	peer->distrusted_until_ms = clock_monotonic_ms() + DISTRUST_MS;
	log_event(LOG_LEVEL_INFO, "append-not-forwarded", "channel", peer->peer->name, "account",
		account, "text", reason, NULL);
}

/* Has `peer`, whose channel is held, append it. */
static int forward_to(struct daemon *daemon, struct daemon_peer *peer, uint32_t account,
	const struct forward *forward, struct message_place *place_r)
{
	struct buffer request = { 0 }, answer = { 0 };
	uint64_t asked_ms = clock_monotonic_ms();
	struct forward_result result;
	struct error error = { 0 };
	int rc;

	forward_request(forward, &request);
	rc = channel_ask(peer->channel, buffer_bytes(&request), ASK_TIMEOUT_MS, &answer, &error);
	if (rc < 0)
		distrust(peer, forward->account, error.text);
	else /* what it refuses, for a quota or so, is for this node to judge */
		rc = forward_answer(buffer_bytes(&answer), &result, &error);
	buffer_deinit(&request);
	buffer_deinit(&answer);
	if (rc < 0)
		return ERR_UNAVAILABLE;
	if (result.outcome == FORWARD_LENT) {
		uid_authority_borrow(
			mail_uid_authority(daemon->mail), account, asked_ms + result.lent_ms);
		return ERR_UNAVAILABLE;
	}
	if (result.outcome == FORWARD_BEHIND)
		return ERR_UNAVAILABLE;
	rc = mail_wait_shown(daemon->mail, account, forward->instance, SHOWN_TIMEOUT_MS, place_r);
	if (rc == 0)
		return 0;
	distrust(peer, forward->account, "the message did not come back in time");
	return ERR_UNAVAILABLE;
}

static int state_read(struct daemon *daemon, uint32_t account, struct id128 mailbox,
	struct account_header *header_r, struct account_mode *mode_r, uint32_t *uidnext_r)
{
	struct mailbox_record record = { 0 };
	struct arena *arena = arena_new();
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(daemon->mail, 0, &kv);

	if (rc == 0)
		rc = account_load(kv, account, header_r);
	if (rc == 0)
		rc = account_mode_get(kv, account, mode_r);
	if (rc == 0)
		rc = account_get_mailbox(kv, account, mailbox, arena, &record);
	mail_read_end(&kv);
	arena_free(&arena);
	*uidnext_r = record.uidnext;
	return rc;
}

int daemon_route_append(void *context, uint32_t account, struct id128 mailbox,
	const struct append_message *message, struct stamp *instance, struct message_place *place_r)
{
	struct daemon *daemon = context;
	struct uid_authority *authority = mail_uid_authority(daemon->mail);
	struct forward forward = {
		.mailbox = mailbox, .message = message, .hop_count = message->hop_count
	};
	uint64_t now_ms = clock_monotonic_ms(), origin, holder;
	struct account_header header;
	struct account_mode mode;
	struct daemon_peer *peer;
	int rc;

	if (!daemon->peers.has_authority || message->hop_count > FORWARD_HOP_COUNT_MAX ||
		mail_body_size(message->body) > FORWARD_SIZE_MAX ||
		uid_authority_is_borrowed(authority, account, now_ms) ||
		state_read(daemon, account, mailbox, &header, &mode, &forward.uidnext) < 0 ||
		mode.has_master)
		return ERR_UNAVAILABLE;
	/* What another node sent here is its work, not ours. */
	origin = message->hop_count == 0 ? 0 : instance->node;
	holder = uid_authority_claim(
		authority, account, origin != 0 ? origin : mail_node(daemon->mail), now_ms);
	pthread_mutex_lock(&daemon->peers.lock);
	peer = authority_find(daemon, header.name, origin, holder, now_ms);
	if (peer != NULL)
		channel_hold(peer->channel);
	pthread_mutex_unlock(&daemon->peers.lock);
	if (peer == NULL)
		return ERR_UNAVAILABLE;
	if (store_group_is_on(mail_store(daemon->mail))) {
		channel_release(peer->channel);
		return ERR_TIMEOUT;
	}
	if (stamp_is_none(*instance))
		*instance = mail_stamp_new(daemon->mail, header.clock_last);
	forward.account = header.name;
	forward.instance = *instance;
	rc = forward_to(daemon, peer, account, &forward, place_r);
	channel_release(peer->channel);
	return rc;
}
