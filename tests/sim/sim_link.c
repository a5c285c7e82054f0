/*
 * Exchanges over the virtual network. Requests arrive in order, as on a connection, or the
 * connection breaks: then the request or only its answer is lost. Any request of the past may be
 * delivered once more on a new connection.
 */
#include "sim.h"

#include <stdlib.h>

#define STEP_COUNT_MAX 40000 /* of one exchange; more means that it does not end */

static const struct sim_filter no_filter;

struct sync_session *link_connect(struct sim *sim, struct sim_node *from, struct sim_node *to,
	const struct sim_filter *filter)
{
	const struct sync_rights rights = { .is_full = true,
		.mailboxes = filter != NULL ? filter->allowed : NULL };
	const char *asked = filter != NULL ? filter->asked : NULL;
	struct sync_session *session = sync_session_new(to->mail, &rights);
	struct buffer request = { 0 }, answer = { 0 };
	struct error error = { 0 };
	struct sync_peer peer = { 0 };

	sync_hello_request(from->mail, asked, &request);
	if (sync_respond(session, buffer_bytes(&request), &answer, &error) < 0 ||
		sync_hello_check(from->mail, asked, buffer_bytes(&answer), &peer, &error) < 0)
		sim_fail(sim, "HELLO: %s", error.text);
	else if (peer.node != to->id)
		sim_fail(sim, "HELLO: node %llu says that it is %llu", (unsigned long long)to->id,
			(unsigned long long)peer.node);
	buffer_deinit(&request);
	buffer_deinit(&answer);
	return session;
}

void link_begin(struct sim *sim, struct sim_link *link, size_t from, size_t to,
	const struct sim_filter *filter)
{
	struct sim_node *initiator = &sim->nodes[from], *responder = &sim->nodes[to];

	assert(link->exchange == NULL);
	node_need_account(sim, initiator);
	link->from = from;
	link->to = to;
	link->filter = filter != NULL ? *filter : no_filter;
	link->view = (struct view_filter){ link->filter.asked, link->filter.allowed, NULL };
	link->session = link_connect(sim, initiator, responder, filter);
	link->exchange = exchange_new(initiator->mail, initiator->account, responder->id, NULL);
	exchange_set_filter(link->exchange, &link->view);
	link->request_count = 0;
	sim->counts.exchanges++;
	sim_trace(sim, "node %llu begins an exchange with node %llu%s%s%s%s",
		(unsigned long long)initiator->id, (unsigned long long)responder->id,
		link->filter.asked != NULL ? " of " : "",
		link->filter.asked != NULL ? link->filter.asked : "",
		link->filter.allowed != NULL ? " within " : "",
		link->filter.allowed != NULL ? link->filter.allowed : "");
}

void link_abort(struct sim_link *link)
{
	exchange_free(&link->exchange);
	sync_session_free(&link->session);
	for (size_t i = 0; i < COUNT(link->requests); i++)
		buffer_deinit(&link->requests[i]);
	link->request_count = 0;
}

void link_keep_for_later(struct sim *sim, size_t from, size_t to, const struct sim_filter *filter,
	bool is_append, struct bytes bytes)
{
	struct sim_request *request = &sim->late[sim->late_count < SIM_LATE_COUNT_MAX
							 ? sim->late_count++
							 : sim_below(sim, SIM_LATE_COUNT_MAX)];

	buffer_clear(&request->bytes);
	buffer_append_bytes(&request->bytes, bytes);
	request->from = from;
	request->to = to;
	request->from_id = sim->nodes[from].id;
	request->to_id = sim->nodes[to].id;
	request->is_append = is_append;
	request->filter = filter != NULL ? *filter : no_filter;
}

void late_drop(struct sim *sim, uint64_t node_id)
{
	size_t kept = 0;

	for (size_t i = 0; i < sim->late_count; i++) {
		if (sim->late[i].from_id == node_id || sim->late[i].to_id == node_id)
			buffer_deinit(&sim->late[i].bytes);
		else
			sim->late[kept++] = sim->late[i];
	}
	memset(&sim->late[kept], 0, (sim->late_count - kept) * sizeof(sim->late[0]));
	sim->late_count = kept;
}

/* Refused or not, a request of the past must do nothing that is illegal: observe() sees. */
void link_respond(struct sim *sim, struct sync_session *session, struct sim_node *node,
	struct bytes request, struct buffer *answer)
{
	struct error error = { 0 };
	int rc = sync_respond(session, request, answer, &error);

	sim_trace(sim, "  node %llu answers %.*s with %.*s", (unsigned long long)node->id,
		(int)(request.len < 6000 ? request.len : 6000), (const char *)request.ptr,
		(int)(answer->len < 6000 ? answer->len : 6000), buffer_string(answer));
	if (rc == ERR_INVALID || rc == ERR_ILLEGAL || rc == ERR_CORRUPT || rc == ERR_IO)
		sim_fail(sim, "node %llu answers %s: %s to %.*s", (unsigned long long)node->id,
			error_name(rc), error.text, (int)(request.len < 80 ? request.len : 80),
			(const char *)request.ptr);
	node_find_account(node);
	observe(sim, node, false);
}

void late_deliver(struct sim *sim, bool with_appends)
{
	struct sim_request *request;
	struct sync_session *session;
	struct buffer answer = { 0 };

	if (sim->late_count == 0)
		return;
	request = &sim->late[sim_below(sim, sim->late_count)];
	if (request->is_append && !with_appends)
		return;
	sim_trace(sim, "a request from node %llu arrives once more",
		(unsigned long long)request->from_id);
	session = link_connect(
		sim, &sim->nodes[request->from], &sim->nodes[request->to], &request->filter);
	link_respond(
		sim, session, &sim->nodes[request->to], buffer_bytes(&request->bytes), &answer);
	sync_session_free(&session);
	buffer_deinit(&answer);
}

/* The peer answers the oldest request. */
static void deliver(struct sim *sim, struct sim_link *link, bool mishaps)
{
	struct sim_node *peer = &sim->nodes[link->to];
	struct buffer request = link->requests[0], answer = { 0 };
	bool is_lost;

	if (link->request_count == 0) {
		sim_fail(sim, "an exchange waits without having asked");
		return;
	}
	link->request_count--;
	memmove(&link->requests[0], &link->requests[1], link->request_count * sizeof(request));
	link->requests[link->request_count] = (struct buffer){ 0 };
	if (sim_chance(sim, 30))
		link_keep_for_later(
			sim, link->from, link->to, &link->filter, false, buffer_bytes(&request));
	is_lost = mishaps && sim_chance(sim, 3 + sim->tear_percent / 2);
	if (!is_lost)
		link_respond(sim, link->session, peer, buffer_bytes(&request), &answer);
	is_lost = is_lost || (mishaps && sim_chance(sim, 4 + sim->tear_percent / 2));
	if (is_lost) {
		sim_trace(sim, "  the connection breaks");
		link_abort(link);
	} else {
		exchange_answer(link->exchange, buffer_bytes(&answer));
	}
	buffer_deinit(&request);
	buffer_deinit(&answer);
}

struct keep_point {
	const struct sim_link *link;
	uint32_t account;
	uint64_t peer;
	struct common_point point;
};

static int keep_point(struct store_write *store, void *context)
{
	const struct keep_point *keep = context;

	return point_put_of(
		store, keep->account, keep->peer, view_filter_key(&keep->link->view), keep->point);
}

/* Kept or lost: only time depends on it. */
static void finish(struct sim *sim, struct sim_link *link, bool mishaps)
{
	const struct exchange_result *result = exchange_result(link->exchange);
	struct sim_node *node = &sim->nodes[link->from];
	struct error error = { 0 };

	if (!mishaps) {
		size_t less = link->from < link->to ? link->from : link->to;
		size_t more = link->from < link->to ? link->to : link->from;

		sim->traffic[less][more].carrying +=
			result->offered_count + result->received_count > 0;
	}
	sim->counts.conflicts += result->conflict_count;
	sim->counts.refused += result->refused_count;
	sim->counts.repairs += result->repair_count;
	sim->counts.integrates += result->integrate_count;
	if ((!mishaps || sim_chance(sim, 85)) &&
		store_commit(node->store, keep_point,
			&(struct keep_point){
				link, node->account, sim->nodes[link->to].id, result->point },
			&error, &node->position) < 0)
		sim_fail(sim, "the common point cannot be saved: %s", error.text);
	link_abort(link);
}

static void fail_exchange(struct sim *sim, struct sim_link *link, bool mishaps)
{
	const struct error *error = &exchange_result(link->exchange)->error;

	sim->counts.failed_exchanges++;
	sim_trace(sim, "  the exchange fails: %s: %s", error_name(error->code), error->text);
	/* Where one may see a part only, what he heard of elsewhere is refused until both agree on
	 * the names. */
	if (exchange_result(link->exchange)->is_postponed ||
		(link->filter.allowed != NULL && strstr(error->text, "(mailboxes)") != NULL)) {
		link_abort(link);
		return;
	}
	if (!mishaps || (error->code != ERR_CHANGED && error->code != ERR_UNAVAILABLE))
		sim_fail(sim, "an exchange from node %llu to node %llu fails: %s: %s",
			(unsigned long long)sim->nodes[link->from].id,
			(unsigned long long)sim->nodes[link->to].id, error_name(error->code),
			error->text);
	link_abort(link);
}

void link_step(struct sim *sim, struct sim_link *link, bool mishaps)
{
	struct buffer request = { 0 };
	enum exchange_step step;

	if (mishaps && sim_chance(sim, sim->race_percent))
		client_act(sim, &sim->nodes[sim_chance(sim, 50) ? link->from : link->to]);
	if (mishaps && sim_chance(sim, sim->race_percent / 2))
		neighbour_act(sim, &sim->nodes[sim_chance(sim, 50) ? link->from : link->to]);
	step = exchange_next(link->exchange, &request);
	observe(sim, &sim->nodes[link->from], false);
	switch (step) {
	case EXCHANGE_SEND:
		if (link->request_count == COUNT(link->requests))
			deliver(sim, link, mishaps);
		if (link->exchange == NULL)
			break;
		link->requests[link->request_count++] = request;
		return;
	case EXCHANGE_WAIT:
		deliver(sim, link, mishaps);
		break;
	case EXCHANGE_DONE:
		finish(sim, link, mishaps);
		break;
	case EXCHANGE_FAILED:
		fail_exchange(sim, link, mishaps);
		break;
	}
	buffer_deinit(&request);
}

bool link_run(struct sim *sim, size_t from, size_t to)
{
	return link_run_filtered(sim, from, to, NULL);
}

bool link_run_filtered(struct sim *sim, size_t from, size_t to, const struct sim_filter *filter)
{
	struct sim_link link = { 0 };
	uint64_t failed = sim->counts.failed_exchanges;
	int step;

	link_begin(sim, &link, from, to, filter);
	for (step = 0; link.exchange != NULL && !sim->has_failed && step < STEP_COUNT_MAX; step++)
		link_step(sim, &link, false);
	if (step == STEP_COUNT_MAX)
		sim_fail(sim, "P6: an exchange does not end");
	link_abort(&link);
	return sim->counts.failed_exchanges == failed;
}
