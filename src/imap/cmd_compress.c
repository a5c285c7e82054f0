/* COMPRESS (RFC 4978). */
#include "imap/imap_commands.h"
#include "imap/imap_reply.h"

enum net_result cmd_compress(struct imap_session *session, struct imap_parser *args)
{
	struct bytes mechanism;

	if (imap_parse_space(args) < 0 || imap_parse_atom(args, &mechanism) < 0 ||
		imap_parse_end(args) < 0)
		return imap_bad_args(session, args);
	if (!bytes_equal_string_nocase(mechanism, "DEFLATE"))
		return imap_bad(session, "Unknown compression");
	if (net_connection_is_compressed(session->connection))
		return imap_no(session, "[COMPRESSIONACTIVE] Compressed already");
	/* The answer is the last that is not compressed: put out before the change. */
	imap_printf(session, "%s OK DEFLATE active\r\n", session->tag);
	imap_flush(session);
	if (net_connection_start_compression(session->connection) < 0)
		return imap_bye(session, "[UNAVAILABLE] No memory to compress");
	return NET_DONE;
}
