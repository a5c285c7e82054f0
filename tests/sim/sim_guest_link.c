/*
 * The connection of a clone with its origin: in place of channel_link.c and net_client.c, which
 * origin.c is linked with here. Requests arrive in order, or the connection breaks.
 */
#include "sim_guest.h"

#include "base/mem.h"
#include "chapard/channel_link.h"

#include <stdlib.h>

#define REQUEST_COUNT_MAX 64

struct net_client {
	bool is_open;
};

struct channel_link {
	struct guest *guest;
	struct sync_session *session;
	struct buffer requests[REQUEST_COUNT_MAX]; /* not answered yet */
	size_t count;
	struct buffer answer;
};

static struct guest *connecting; /* origin.c knows no guests */

void guest_link_begin(struct guest *guest)
{
	connecting = guest;
}

struct net_client *net_client_new(void)
{
	return mem_zalloc(sizeof(struct net_client));
}

void net_client_free(struct net_client **client)
{
	free(*client);
	*client = NULL;
}

void net_client_wake(struct net_client *client)
{
	(void)client;
}

int net_client_wait(
	struct net_client *client, enum net_wait *wait_r, int timeout_ms, struct error *error)
{
	(void)client;
	(void)timeout_ms;
	(void)error;
	*wait_r = NET_WAIT_TIMEOUT;
	return 0;
}

static struct sync_session *session_open(struct sim *sim)
{
	struct sync_rights rights = { .account = GUEST_USER,
		.identity = guest_identity(guests_own_there(sim)) };

	return sync_session_new(guests_server(sim)->mail, &rights);
}

static int hello(struct guest *guest, struct sync_session *session, struct sync_peer *peer_r,
	struct error *error)
{
	struct buffer request = { 0 }, answer = { 0 };
	int rc;

	sync_hello_request(guest->clone.mail, NULL, &request);
	rc = sync_respond(session, buffer_bytes(&request), &answer, error);
	if (rc == 0)
		rc = sync_hello_check(
			guest->clone.mail, NULL, buffer_bytes(&answer), peer_r, error);
	if (rc < 0)
		sim_fail(guest->sim, "HELLO of a guest: %s", error->text);
	buffer_deinit(&request);
	buffer_deinit(&answer);
	return rc;
}

int channel_link_open(const struct channel_link_options *options, struct mail *mail,
	struct net_client *client, struct channel_link **link_r, struct sync_peer *peer_r,
	struct error *error)
{
	struct channel_link *link = mem_zalloc(sizeof(*link));

	(void)options;
	(void)mail;
	client->is_open = true;
	link->guest = connecting;
	link->guest->is_broken = false;
	link->session = session_open(link->guest->sim);
	*link_r = link;
	return hello(link->guest, link->session, peer_r, error);
}

void channel_link_close(struct channel_link **link)
{
	if (*link == NULL)
		return;
	for (size_t i = 0; i < (*link)->count; i++)
		buffer_deinit(&(*link)->requests[i]);
	buffer_deinit(&(*link)->answer);
	sync_session_free(&(*link)->session);
	free(*link);
	*link = NULL;
}

int channel_link_request(struct channel_link *link, struct bytes request, struct error *error)
{
	if (link->count == REQUEST_COUNT_MAX)
		return error_set(error, ERR_TOO_LARGE, "too many requests at once");
	link->requests[link->count] = (struct buffer){ 0 };
	buffer_append_bytes(&link->requests[link->count++], request);
	return 0;
}

int channel_link_flush(struct channel_link *link, struct error *error)
{
	(void)link;
	(void)error;
	return 0;
}

int channel_link_listen(struct channel_link *link, struct error *error)
{
	(void)link;
	(void)error;
	return 0;
}

bool channel_link_take_news(struct channel_link *link)
{
	(void)link;
	return false;
}

/* ---- the node that answers ---- */

static bool changes_something(struct bytes request)
{
	return bytes_start_with(request, BYTES_LITERAL("APPEND ")) ||
	       bytes_start_with(request, BYTES_LITERAL("ARRANGE ")) ||
	       bytes_start_with(request, BYTES_LITERAL("APPLY "));
}

static void respond(struct guest *guest, struct sync_session *session, struct bytes request,
	struct buffer *answer)
{
	struct sim *sim = guest->sim;
	struct sim_node *server = guests_server(sim);
	struct guest_watch watch;
	struct error error = { 0 };
	int rc;

	guest_watch_begin(sim, &watch);
	rc = sync_respond(session, request, answer, &error);
	sim_trace(sim, "  node %llu answers guest %llu %.*s with %.*s",
		(unsigned long long)server->id, (unsigned long long)guest->clone.id,
		(int)(request.len < 6000 ? request.len : 6000), (const char *)request.ptr,
		(int)(answer->len < 6000 ? answer->len : 6000), buffer_string(answer));
	if (rc == ERR_INVALID || rc == ERR_ILLEGAL || rc == ERR_CORRUPT || rc == ERR_IO)
		sim_fail(sim, "node %llu answers a guest %s: %s to %.*s",
			(unsigned long long)server->id, error_name(rc), error.text,
			(int)(request.len < 80 ? request.len : 80), (const char *)request.ptr);
	server->position = mail_position(server->mail);
	guest_watch_end(sim, &watch);
	observe(sim, server, true);
}

static void keep_for_later(struct guest *guest, struct bytes request)
{
	struct sim *sim = guest->sim;
	struct guests *guests = sim->guests;
	struct guest_late *late;

	if (!changes_something(request) || !sim_chance(sim, 25))
		return;
	late = &guests->late[guests->late_count < GUEST_LATE_COUNT_MAX
				     ? guests->late_count++
				     : sim_below(sim, GUEST_LATE_COUNT_MAX)];
	buffer_clear(&late->bytes);
	buffer_append_bytes(&late->bytes, request);
	late->guest = (size_t)(guest - guests->list);
}

void guest_late_deliver(struct sim *sim)
{
	struct guests *guests = sim->guests;
	struct guest_late *late;
	struct sync_session *session;
	struct buffer answer = { 0 };
	struct sync_peer peer;
	struct error error = { 0 };

	if (guests->late_count == 0)
		return;
	late = &guests->late[sim_below(sim, guests->late_count)];
	session = session_open(sim);
	sim_trace(sim, "a request of a guest arrives once more");
	if (hello(&guests->list[late->guest], session, &peer, &error) == 0)
		respond(&guests->list[late->guest], session, buffer_bytes(&late->bytes), &answer);
	sync_session_free(&session);
	buffer_deinit(&answer);
}

/* Others act in the time that it takes. */
static void race(struct guest *guest)
{
	struct sim *sim = guest->sim;

	if (sim_chance(sim, sim->race_percent))
		client_act(sim, guests_server(sim));
	if (sim_chance(sim, sim->race_percent))
		guest_act(guest);
}

static int break_down(struct guest *guest, struct error *error)
{
	guest->is_broken = true;
	sim_trace(guest->sim, "  the connection breaks");
	return error_set(error, ERR_CLOSED, "the connection breaks");
}

int channel_link_answer(struct channel_link *link, struct bytes *answer_r, struct error *error)
{
	struct guest *guest = link->guest;
	struct sim *sim = guest->sim;
	struct buffer request = link->requests[0];
	unsigned tear = 2 + sim->tear_percent / 2;

	if (link->count == 0) {
		sim_fail(sim, "a guest waits without having asked");
		return error_set(error, ERR_CLOSED, "nothing was asked");
	}
	if (guest->mishaps)
		race(guest);
	if (guest->mishaps && sim_chance(sim, tear))
		return break_down(guest, error);
	link->count--;
	memmove(&link->requests[0], &link->requests[1], link->count * sizeof(request));
	buffer_clear(&link->answer);
	keep_for_later(guest, buffer_bytes(&request));
	respond(guest, link->session, buffer_bytes(&request), &link->answer);
	buffer_deinit(&request);
	if (guest->mishaps && sim_chance(sim, tear))
		return break_down(guest, error);
	*answer_r = buffer_bytes(&link->answer);
	return 0;
}
