#include "imap/imap_parse.h"

#include "imap/imap_parse_private.h"

#include "base/error.h"
#include "mail/record.h"

static const char *const system_flags[] = { "\\Answered", "\\Deleted", "\\Draft", "\\Flagged",
	"\\Seen", "\\Recent" };

/* Registered keywords (RFC 5788 and the IANA list), whose spelling clients agree on. */
static const char *const known_keywords[] = { "$Forwarded", "$MDNSent", "$SubmitPending",
	"$Submitted", "$Junk", "$NotJunk", "$Phishing", "$Important", "$HasAttachment",
	"$HasNoAttachment", "Junk", "NonJunk", "Forwarded" };

static bool canonical_name(
	const char *const *names, size_t count, struct bytes name, struct bytes *name_r)
{
	for (size_t i = 0; i < count; i++) {
		if (!bytes_equal_string_nocase(name, names[i]))
			continue;
		*name_r = bytes_of_string(names[i]);
		return true;
	}
	return false;
}

#define CANONICAL_NAME(names, name, name_r)                                                        \
	canonical_name(names, sizeof(names) / sizeof((names)[0]), name, name_r)

static int fail_over_limit(struct imap_parser *parser, const char *problem)
{
	parser->is_over_limit = true;
	return imap_parse_fail(parser, ERR_TOO_LARGE, problem);
}

/* Without ']', which would end the response code PERMANENTFLAGS before its time. */
int imap_parse_flag(struct imap_parser *parser, struct bytes *flag_r)
{
	struct bytes start = parser->rest, name;
	bool is_system = imap_parse_take(parser, '\\');

	name = imap_parse_run(parser, CLASS_ATOM | CLASS_PLUS);
	if (name.len == 0)
		return imap_parse_fail(parser, ERR_INVALID, "Expected a flag");
	if (name.len >= FLAG_NAME_SIZE_MAX)
		return fail_over_limit(parser, "Flag name too long");
	if (!is_system) {
		if (!CANONICAL_NAME(known_keywords, name, flag_r))
			*flag_r = name;
		return 0;
	}
	if (!CANONICAL_NAME(system_flags, bytes_of(start.ptr, name.len + 1), flag_r))
		return imap_parse_fail(parser, ERR_INVALID, "Unknown system flag");
	return 0;
}

static int parse_flags(struct imap_parser *parser, struct imap_flags *flags_r)
{
	struct imap_flags flags = { NULL, 0 };
	struct bytes flag;
	int rc;

	flags.names = arena_alloc(parser->arena, MESSAGE_FLAG_COUNT_MAX * sizeof(*flags.names));
	do {
		bool is_known = false;

		rc = imap_parse_flag(parser, &flag);
		if (rc < 0)
			return rc;
		for (size_t i = 0; i < flags.count; i++)
			is_known = is_known || bytes_equal_nocase(flags.names[i], flag);
		if (is_known || bytes_equal_string(flag, "\\Recent"))
			continue;
		if (flags.count == MESSAGE_FLAG_COUNT_MAX)
			return fail_over_limit(parser, "Too many flags");
		flags.names[flags.count++] = flag;
	} while (imap_parse_take(parser, ' '));
	*flags_r = flags;
	return 0;
}

int imap_parse_flag_list(struct imap_parser *parser, struct imap_flags *flags_r)
{
	int rc;

	rc = imap_parse_expect(parser, '(');
	if (rc < 0)
		return rc;
	*flags_r = (struct imap_flags){ NULL, 0 };
	if (imap_parse_take(parser, ')'))
		return 0;
	rc = parse_flags(parser, flags_r);
	return rc < 0 ? rc : imap_parse_expect(parser, ')');
}

int imap_parse_store_flags(struct imap_parser *parser, struct imap_flags *flags_r)
{
	if (bytes_peek(parser->rest) == '(')
		return imap_parse_flag_list(parser, flags_r);
	return parse_flags(parser, flags_r);
}
