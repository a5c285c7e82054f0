#include "lmtp/lmtp_private.h"

#define END_SIZE 5 /* CRLF "." CRLF */

size_t lmtp_wire_size_max(const struct lmtp_server *server)
{
	return server->options.message_size_max + server->options.message_size_max / 8 + 4096;
}

static enum net_frame line_frame(
	struct lmtp_session *session, struct bytes input, struct net_unit *unit_r)
{
	struct bytes rest = input;
	size_t len;

	bytes_skip(&rest, session->scanned_len);
	len = session->scanned_len + bytes_find(rest, '\n');
	if (len < input.len) {
		if (len >= LMTP_LINE_SIZE_MAX)
			session->is_overlong = true;
		session->scanned_len = 0;
		unit_r->len = len + 1;
		return NET_FRAME_READY;
	}
	session->scanned_len = input.len;
	if (input.len < LMTP_LINE_SIZE_MAX)
		return NET_FRAME_MORE;
	session->is_overlong = true;
	session->scanned_len = 0;
	unit_r->len = input.len;
	return NET_FRAME_SKIP;
}

/* Where the end that begins with the CRLF of the last line is complete; 0: not yet. */
static size_t end_find(struct lmtp_session *session, struct bytes input)
{
	/* An end may begin in the last four bytes of what was looked at before. */
	size_t from = session->scanned_len < END_SIZE ? 0 : session->scanned_len - (END_SIZE - 1);
	const unsigned char *found;

	found = memmem(input.ptr + from, input.len - from, "\r\n.\r\n", END_SIZE);
	session->scanned_len = input.len;
	return found == NULL ? 0 : (size_t)(found - input.ptr) + END_SIZE;
}

static enum net_frame data_frame(
	struct lmtp_session *session, struct bytes input, struct net_unit *unit_r)
{
	/* The CRLF of the DATA command counts for an empty message. */
	if (!session->is_too_large && bytes_start_with(input, BYTES_LITERAL(".\r\n"))) {
		session->scanned_len = 0;
		unit_r->len = 3;
		return NET_FRAME_READY;
	}
	unit_r->len = end_find(session, input);
	if (unit_r->len > 0) {
		/* The answer must not depend on how the data were cut into packets. */
		if (unit_r->len > lmtp_wire_size_max(session->server) + 1)
			session->is_too_large = true;
		session->scanned_len = 0;
		return NET_FRAME_READY;
	}
	unit_r->wanted = session->transaction.declared_size;
	if (!session->is_too_large && input.len <= lmtp_wire_size_max(session->server))
		return NET_FRAME_MORE;
	session->is_too_large = true;
	if (input.len < END_SIZE)
		return NET_FRAME_MORE;
	unit_r->len = input.len - (END_SIZE - 1);
	session->scanned_len = END_SIZE - 1;
	return NET_FRAME_SKIP;
}

enum net_frame lmtp_frame(void *context, struct bytes input, struct net_unit *unit_r)
{
	struct lmtp_session *session = context;
	enum net_frame frame;

	frame = session->is_data ? data_frame(session, input, unit_r)
				 : line_frame(session, input, unit_r);
	if (frame == NET_FRAME_MORE)
		unit_r->len = 0;
	return frame;
}
