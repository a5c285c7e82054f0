/*
 * Messages that another node is to append (sync/forward.h), as the daemon sends them: to a
 * neighbour with a smaller id, as long as nothing breaks. The request or its answer may be lost, or
 * what was appended does not come back in time: then the node appends by itself, as the same
 * instance. Leases are left out: they are memory, and their time is not the schedule's.
 */
#include "sim.h"

#include "mail/account_mode.h"
#include "mail/uid_authority.h"
#include "sync/forward.h"

/* A neighbour that gives the UIDs; false: none. */
static bool find_authority(struct sim *sim, size_t own, size_t *peer_r)
{
	for (size_t i = 0; i < sim->pair_count; i++) {
		size_t peer = sim->pairs[i].to;

		if (sim->pairs[i].from == own && sim->nodes[peer].id < sim->nodes[own].id) {
			*peer_r = peer;
			return true;
		}
	}
	return false;
}

/* What the client is told of is acknowledged, though the other node made it. */
static int find_place(struct sim *sim, struct sim_node *node, struct stamp instance,
	struct message_place *place_r)
{
	struct message_record message = { 0 };
	struct mailbox_record mailbox = { 0 };
	struct arena *arena = arena_new();
	struct kv_txn *kv = node_read(node);
	int rc = account_get_message(kv, node->account, instance, arena, &message);

	if (rc == 0 && message_is_shown(&message))
		rc = account_get_mailbox(kv, node->account, message.mailbox, arena, &mailbox);
	mail_read_end(&kv);
	if (rc == 0)
		ledger_acknowledge(sim->ledger, &message);
	*place_r = (struct message_place){ mailbox.uidvalidity, message.uid };
	arena_free(&arena);
	return rc;
}

/* True: the peer has appended it, and said so. */
static bool ask(struct sim *sim, size_t from, size_t to, const struct forward *forward)
{
	struct sync_session *session = link_connect(sim, &sim->nodes[from], &sim->nodes[to], NULL);
	struct buffer request = { 0 }, answer = { 0 };
	struct forward_result result;
	struct error error = { 0 };
	bool is_told = false;

	forward_request(forward, &request);
	if (!sim_chance(sim, 10)) {
		if (sim_chance(sim, 30))
			link_keep_for_later(sim, from, to, NULL, true, buffer_bytes(&request));
		link_respond(sim, session, &sim->nodes[to], buffer_bytes(&request), &answer);
		is_told = !sim_chance(sim, 10) &&
			  forward_answer(buffer_bytes(&answer), &result, &error) == 0 &&
			  result.outcome == FORWARD_APPENDED;
	}
	sync_session_free(&session);
	buffer_deinit(&request);
	buffer_deinit(&answer);
	return is_told;
}

static uint32_t uidnext_of(struct kv_txn *kv, uint32_t account, struct id128 mailbox)
{
	struct mailbox_record record = { 0 };
	struct arena *arena = arena_new();

	account_get_mailbox(kv, account, mailbox, arena, &record);
	arena_free(&arena);
	return record.uidnext;
}

static int route(void *context, uint32_t account, struct id128 mailbox,
	const struct append_message *message, struct stamp *instance, struct message_place *place_r)
{
	struct sim_router *router = context;
	struct sim *sim = router->sim;
	struct sim_node *node = &sim->nodes[router->node];
	/* No longer at the first node, so that no lease is given. */
	struct forward forward = {
		.account = SIM_ACCOUNT, .mailbox = mailbox, .message = message, .hop_count = 1
	};
	struct account_header header = { 0 };
	struct account_mode mode = { 0 };
	struct kv_txn *kv;
	int rc = ERR_UNAVAILABLE;
	size_t peer;

	if (sim->is_forwarding || account != node->account ||
		!sim_chance(sim, sim->forward_percent) || !find_authority(sim, router->node, &peer))
		return ERR_UNAVAILABLE;
	kv = node_read(node);
	account_load(kv, account, &header);
	account_mode_get(kv, account, &mode);
	forward.uidnext = uidnext_of(kv, account, mailbox);
	mail_read_end(&kv);
	if (mode.has_master)
		return ERR_UNAVAILABLE;
	*instance = mail_stamp_new(node->mail, header.clock_last);
	forward.instance = *instance;
	sim_trace(sim, "node %llu sends message %llu to node %llu", (unsigned long long)node->id,
		(unsigned long long)instance->modseq, (unsigned long long)sim->nodes[peer].id);
	sim->is_forwarding = true;
	if (ask(sim, router->node, peer, &forward) && sim_chance(sim, 85)) {
		link_run(sim, peer, router->node);
		rc = find_place(sim, node, *instance, place_r);
		sim->is_routed = true;
	}
	sim->is_forwarding = false;
	return rc < 0 ? ERR_UNAVAILABLE : 0;
}

void forward_open(struct sim *sim, struct sim_node *node)
{
	node->router = (struct sim_router){ sim, (size_t)(node - sim->nodes) };
	mail_set_append_router(node->mail, route, &node->router);
}
