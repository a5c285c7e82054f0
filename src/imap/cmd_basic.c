/* Commands that touch no mail: CAPABILITY, CHECK, ENABLE, ID, LOGOUT, NAMESPACE, NOOP, STARTTLS. */
#include "imap/imap_capability.h"
#include "imap/imap_commands.h"
#include "imap/imap_reply.h"

#define ID_PAIR_COUNT_MAX 30 /* RFC 2971, 3.3 */

enum net_result cmd_capability(struct imap_session *session, struct imap_parser *args)
{
	if (imap_parse_end(args) < 0)
		return imap_bad_args(session, args);
	imap_put(session, "* CAPABILITY ");
	imap_put_capabilities(session);
	imap_put(session, "\r\n");
	return imap_ok(session, "Listed");
}

enum net_result cmd_noop(struct imap_session *session, struct imap_parser *args)
{
	if (imap_parse_end(args) < 0)
		return imap_bad_args(session, args);
	imap_catch_up(session);
	return imap_ok(session, "Done");
}

/* All is on disk before it is acknowledged, so there is nothing to check. */
enum net_result cmd_check(struct imap_session *session, struct imap_parser *args)
{
	return cmd_noop(session, args);
}

enum net_result cmd_logout(struct imap_session *session, struct imap_parser *args)
{
	if (imap_parse_end(args) < 0)
		return imap_bad_args(session, args);
	imap_put(session, "* BYE Logging out\r\n");
	imap_printf(session, "%s OK Logged out\r\n", session->tag);
	return NET_CLOSE;
}

enum net_result cmd_starttls(struct imap_session *session, struct imap_parser *args)
{
	if (imap_parse_end(args) < 0)
		return imap_bad_args(session, args);
	if (!net_connection_can_start_tls(session->connection))
		return imap_bad(session, "TLS is %s",
			net_connection_is_tls(session->connection) ? "on already"
								   : "not available");
	imap_printf(session, "%s OK Begin TLS negotiation now\r\n", session->tag);
	return NET_START_TLS;
}

/* What clients say of themselves is read for its form only. */
static int parse_id(struct imap_parser *args)
{
	struct bytes ignored;
	int rc = imap_parse_space(args);

	if (rc < 0 || imap_parse_take_word(args, "NIL"))
		return rc < 0 ? rc : imap_parse_end(args);
	rc = imap_parse_expect(args, '(');
	if (rc < 0 || imap_parse_take(args, ')'))
		return rc < 0 ? rc : imap_parse_end(args);
	for (unsigned count = 0; count < 2 * ID_PAIR_COUNT_MAX; count++) {
		if (count % 2 == 0 || !imap_parse_take_word(args, "NIL"))
			rc = imap_parse_string(args, &ignored);
		if (rc < 0)
			return rc;
		if (imap_parse_take(args, ')'))
			return count % 2 == 1 ? imap_parse_end(args) : ERR_INVALID;
		rc = imap_parse_space(args);
		if (rc < 0)
			return rc;
	}
	return imap_parse_fail(args, ERR_TOO_LARGE, "Too many ID fields");
}

enum net_result cmd_id(struct imap_session *session, struct imap_parser *args)
{
	const struct imap_server_options *options = session->options;

	if (parse_id(args) < 0)
		return imap_bad_args(session, args);
	imap_put(session, "* ID (\"name\" ");
	imap_put_string(&session->out, bytes_of_string(options->name));
	if (options->version != NULL) {
		imap_put(session, " \"version\" ");
		imap_put_string(&session->out, bytes_of_string(options->version));
	}
	imap_put(session, ")\r\n");
	return imap_ok(session, "Pleased to meet you");
}

enum net_result cmd_enable(struct imap_session *session, struct imap_parser *args)
{
	bool is_condstore = false, is_qresync = false;
	struct bytes name;

	do {
		if (imap_parse_space(args) < 0 || imap_parse_atom(args, &name) < 0)
			return imap_bad_args(session, args);
		is_condstore = is_condstore || bytes_equal_string_nocase(name, "CONDSTORE");
		is_qresync = is_qresync || bytes_equal_string_nocase(name, "QRESYNC");
	} while (!imap_parse_at_end(args));
	session->is_qresync = session->is_qresync || is_qresync;
	session->is_condstore = session->is_condstore || is_condstore || is_qresync;
	imap_printf(session, "* ENABLED%s%s\r\n", is_condstore ? " CONDSTORE" : "",
		is_qresync ? " QRESYNC" : "");
	return imap_ok(session, "Enabled");
}

enum net_result cmd_namespace(struct imap_session *session, struct imap_parser *args)
{
	if (imap_parse_end(args) < 0)
		return imap_bad_args(session, args);
	imap_put(session, "* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n");
	return imap_ok(session, "Listed");
}
