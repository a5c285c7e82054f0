/* Commands that touch no mail: CAPABILITY, CHECK, ENABLE, ID, LOGOUT, NAMESPACE, NOOP, STARTTLS. */
#include "imap/imap_capability.h"
#include "imap/imap_commands.h"
#include "imap/imap_reply.h"
#include "imap/imap_update.h"

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

enum enabling {
	ENABLE_CONDSTORE = 1,
	ENABLE_QRESYNC = 2,
	ENABLE_REV2 = 4,
	ENABLE_UTF8 = 8,
	ENABLE_UIDONLY = 16,
	ENABLE_METADATA = 32
};

static const struct {
	const char *name;
	enum enabling bit;
} enablings[] = { { "CONDSTORE", ENABLE_CONDSTORE }, { "QRESYNC", ENABLE_QRESYNC },
	{ "IMAP4rev2", ENABLE_REV2 }, { "UTF8=ACCEPT", ENABLE_UTF8 }, { "UIDONLY", ENABLE_UIDONLY },
	{ "METADATA", ENABLE_METADATA } };

#define ENABLING_COUNT (sizeof(enablings) / sizeof(enablings[0]))

static void enable(struct imap_session *session, unsigned wanted)
{
	session->is_qresync = session->is_qresync || (wanted & ENABLE_QRESYNC) != 0;
	if ((wanted & (ENABLE_CONDSTORE | ENABLE_QRESYNC)) != 0)
		imap_enable_condstore(session);
	session->is_rev2 = session->is_rev2 || (wanted & ENABLE_REV2) != 0;
	session->is_utf8_only = session->is_utf8_only || (wanted & ENABLE_UTF8) != 0;
	session->is_utf8 = session->is_rev2 || session->is_utf8_only;
	session->is_uidonly = session->is_uidonly || (wanted & ENABLE_UIDONLY) != 0;
	if ((wanted & ENABLE_METADATA) != 0) {
		session->tells_metadata = true;
		imap_catch_up(session); /* the state from which on changes are told */
	}
	/* A mailbox that is selected already has no \Recent from now on. */
	if (session->is_rev2 && session->view != NULL) {
		session->view->recent_first = 0;
		session->view->recent_told = 0;
	}
}

/* What is not known is passed over (RFC 5161, 3.1). */
enum net_result cmd_enable(struct imap_session *session, struct imap_parser *args)
{
	unsigned wanted = 0;
	struct bytes name;

	do {
		if (imap_parse_space(args) < 0 || imap_parse_atom(args, &name) < 0)
			return imap_bad_args(session, args);
		for (size_t i = 0; i < ENABLING_COUNT; i++) {
			if (bytes_equal_string_nocase(name, enablings[i].name))
				wanted |= enablings[i].bit;
		}
	} while (!imap_parse_at_end(args));
	imap_put(session, "* ENABLED");
	for (size_t i = 0; i < ENABLING_COUNT; i++) {
		if ((wanted & enablings[i].bit) != 0)
			imap_printf(session, " %s", enablings[i].name);
	}
	imap_put(session, "\r\n");
	enable(session, wanted);
	return imap_ok(session, "Enabled");
}

static void put_namespace(struct imap_session *session, const char *prefix)
{
	imap_put(session, "((");
	imap_put_string(
		&session->out, bytes_of_string(arena_printf(session->arena, "%s/", prefix)));
	imap_put(session, " \"/\"))");
}

enum net_result cmd_namespace(struct imap_session *session, struct imap_parser *args)
{
	if (imap_parse_end(args) < 0)
		return imap_bad_args(session, args);
	imap_put(session, "* NAMESPACE ((\"\" \"/\")) ");
	put_namespace(session, session->options->other_users_prefix);
	imap_put(session, " ");
	put_namespace(session, session->options->shared_prefix);
	imap_put(session, "\r\n");
	return imap_ok(session, "Listed");
}
