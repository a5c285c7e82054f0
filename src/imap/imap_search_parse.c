#include "imap/imap_search.h"

#include "imap/imap_annotation.h"
#include "imap/imap_metadata.h"
#include "imap/imap_select_set.h"

#include "base/mem.h"

#include <ctype.h>
#include <stdlib.h>

enum argument {
	TAKES_NOTHING,
	TAKES_STRING,
	TAKES_HEADER, /* a name and a string */
	TAKES_KEYWORD,
	TAKES_NUMBER,
	TAKES_AGE, /* seconds, 1 or more (RFC 5032) */
	TAKES_DATE,
	TAKES_ID
};

/* `text` is the flag or the field; `is_negated`: the opposite of the kind. */
static const struct search_word {
	const char *name;
	enum imap_search_kind kind;
	enum imap_search_cost cost;
	enum argument argument;
	const char *text;
	bool is_negated;
} search_words[] = {
	{ "ALL", SEARCH_AND, SEARCH_NEEDS_NOTHING, TAKES_NOTHING, NULL, false },
	{ "ANSWERED", SEARCH_FLAG, SEARCH_NEEDS_RECORD, TAKES_NOTHING, "\\Answered", false },
	{ "BCC", SEARCH_HEADER, SEARCH_NEEDS_SUMMARY, TAKES_STRING, "Bcc", false },
	{ "BEFORE", SEARCH_DAY_BEFORE, SEARCH_NEEDS_RECORD, TAKES_DATE, NULL, false },
	{ "BODY", SEARCH_BODY, SEARCH_NEEDS_BODY, TAKES_STRING, NULL, false },
	{ "CC", SEARCH_HEADER, SEARCH_NEEDS_SUMMARY, TAKES_STRING, "Cc", false },
	{ "DELETED", SEARCH_FLAG, SEARCH_NEEDS_RECORD, TAKES_NOTHING, "\\Deleted", false },
	{ "DRAFT", SEARCH_FLAG, SEARCH_NEEDS_RECORD, TAKES_NOTHING, "\\Draft", false },
	{ "EMAILID", SEARCH_EMAILID, SEARCH_NEEDS_RECORD, TAKES_ID, NULL, false },
	{ "FLAGGED", SEARCH_FLAG, SEARCH_NEEDS_RECORD, TAKES_NOTHING, "\\Flagged", false },
	{ "FROM", SEARCH_HEADER, SEARCH_NEEDS_SUMMARY, TAKES_STRING, "From", false },
	{ "HEADER", SEARCH_HEADER, SEARCH_NEEDS_SUMMARY, TAKES_HEADER, NULL, false },
	{ "KEYWORD", SEARCH_FLAG, SEARCH_NEEDS_RECORD, TAKES_KEYWORD, NULL, false },
	{ "LARGER", SEARCH_LARGER, SEARCH_NEEDS_RECORD, TAKES_NUMBER, NULL, false },
	{ "NEW", SEARCH_NEW, SEARCH_NEEDS_RECORD, TAKES_NOTHING, NULL, false },
	{ "OLD", SEARCH_RECENT, SEARCH_NEEDS_NOTHING, TAKES_NOTHING, NULL, true },
	{ "OLDER", SEARCH_OLDER, SEARCH_NEEDS_RECORD, TAKES_AGE, NULL, false },
	{ "ON", SEARCH_DAY_ON, SEARCH_NEEDS_RECORD, TAKES_DATE, NULL, false },
	{ "RECENT", SEARCH_RECENT, SEARCH_NEEDS_NOTHING, TAKES_NOTHING, NULL, false },
	{ "SAVEDATESUPPORTED", SEARCH_AND, SEARCH_NEEDS_NOTHING, TAKES_NOTHING, NULL, false },
	{ "SAVEDBEFORE", SEARCH_SAVED_BEFORE, SEARCH_NEEDS_RECORD, TAKES_DATE, NULL, false },
	{ "SAVEDON", SEARCH_SAVED_ON, SEARCH_NEEDS_RECORD, TAKES_DATE, NULL, false },
	{ "SAVEDSINCE", SEARCH_SAVED_SINCE, SEARCH_NEEDS_RECORD, TAKES_DATE, NULL, false },
	{ "SEEN", SEARCH_FLAG, SEARCH_NEEDS_RECORD, TAKES_NOTHING, "\\Seen", false },
	{ "SENTBEFORE", SEARCH_SENT_BEFORE, SEARCH_NEEDS_SUMMARY, TAKES_DATE, NULL, false },
	{ "SENTON", SEARCH_SENT_ON, SEARCH_NEEDS_SUMMARY, TAKES_DATE, NULL, false },
	{ "SENTSINCE", SEARCH_SENT_SINCE, SEARCH_NEEDS_SUMMARY, TAKES_DATE, NULL, false },
	{ "SINCE", SEARCH_DAY_SINCE, SEARCH_NEEDS_RECORD, TAKES_DATE, NULL, false },
	{ "SMALLER", SEARCH_SMALLER, SEARCH_NEEDS_RECORD, TAKES_NUMBER, NULL, false },
	{ "SUBJECT", SEARCH_HEADER, SEARCH_NEEDS_SUMMARY, TAKES_STRING, "Subject", false },
	{ "TEXT", SEARCH_TEXT, SEARCH_NEEDS_BODY, TAKES_STRING, NULL, false },
	{ "THREADID", SEARCH_THREADID, SEARCH_NEEDS_RECORD, TAKES_ID, NULL, false },
	{ "TO", SEARCH_HEADER, SEARCH_NEEDS_SUMMARY, TAKES_STRING, "To", false },
	{ "UNANSWERED", SEARCH_FLAG, SEARCH_NEEDS_RECORD, TAKES_NOTHING, "\\Answered", true },
	{ "UNDELETED", SEARCH_FLAG, SEARCH_NEEDS_RECORD, TAKES_NOTHING, "\\Deleted", true },
	{ "UNDRAFT", SEARCH_FLAG, SEARCH_NEEDS_RECORD, TAKES_NOTHING, "\\Draft", true },
	{ "UNFLAGGED", SEARCH_FLAG, SEARCH_NEEDS_RECORD, TAKES_NOTHING, "\\Flagged", true },
	{ "UNKEYWORD", SEARCH_FLAG, SEARCH_NEEDS_RECORD, TAKES_KEYWORD, NULL, true },
	{ "UNSEEN", SEARCH_FLAG, SEARCH_NEEDS_RECORD, TAKES_NOTHING, "\\Seen", true },
	{ "YOUNGER", SEARCH_YOUNGER, SEARCH_NEEDS_RECORD, TAKES_AGE, NULL, false },
};

static int parse_key(
	struct imap_parser *args, struct imap_search *search, struct imap_search_key **key_r);

static int new_key(struct imap_parser *args, struct imap_search *search, enum imap_search_kind kind,
	struct imap_search_key **key_r)
{
	struct imap_search_key *key;

	if (search->key_count == IMAP_SEARCH_KEY_MAX)
		return imap_parse_fail(args, ERR_TOO_LARGE, "Too many search keys");
	search->key_count++;
	key = arena_zalloc(args->arena, sizeof(*key));
	key->kind = kind;
	if (kind == SEARCH_BODY || kind == SEARCH_TEXT)
		key->body_index = search->body_key_count++;
	key->older = search->newest;
	search->newest = key;
	*key_r = key;
	return 0;
}

/* Before those that cost more, after those that cost as much. */
static void add_child(struct imap_search_key *parent, struct imap_search_key *child)
{
	struct imap_search_key **at = &parent->children;

	while (*at != NULL && (*at)->cost <= child->cost)
		at = &(*at)->next;
	child->next = *at;
	*at = child;
	if (child->cost > parent->cost)
		parent->cost = child->cost;
}

/* Puts *key into a NOT. */
static int negate(
	struct imap_parser *args, struct imap_search *search, struct imap_search_key **key)
{
	struct imap_search_key *not_key;
	int rc = new_key(args, search, SEARCH_NOT, &not_key);

	if (rc < 0)
		return rc;
	add_child(not_key, *key);
	*key = not_key;
	return 0;
}

static int parse_needle(
	struct imap_parser *args, const struct imap_search *search, struct imap_search_key *key)
{
	struct bytes text;
	int rc;

	if (imap_parse_space(args) < 0 || imap_parse_astring(args, &text) < 0)
		return ERR_INVALID;
	rc = mime_needle_init(&key->needle, text, search->charset);
	if (rc < 0)
		return imap_parse_fail(args, rc, "Unusable search string");
	key->has_needle = true;
	return 0;
}

static int parse_age(struct imap_parser *args, struct imap_search_key *key)
{
	uint32_t seconds;
	int rc = imap_parse_number32(args, &seconds);

	if (rc < 0)
		return rc;
	if (seconds == 0)
		return imap_parse_fail(args, ERR_INVALID, "Zero seconds");
	key->number = seconds;
	return 0;
}

static int parse_argument(struct imap_parser *args, const struct imap_search *search,
	enum argument argument, struct imap_search_key *key)
{
	int64_t day;

	if (argument == TAKES_NOTHING)
		return 0;
	if (argument == TAKES_STRING)
		return parse_needle(args, search, key);
	if (imap_parse_space(args) < 0)
		return ERR_INVALID;
	switch (argument) {
	case TAKES_HEADER:
		if (imap_parse_astring(args, &key->text) < 0)
			return ERR_INVALID;
		return parse_needle(args, search, key);
	case TAKES_KEYWORD:
		return imap_parse_flag(args, &key->text);
	case TAKES_NUMBER:
		return imap_parse_number(args, INT64_MAX, &key->number);
	case TAKES_AGE:
		return parse_age(args, key);
	case TAKES_DATE:
		if (imap_parse_date(args, &day) < 0)
			return ERR_INVALID;
		key->number = (uint64_t)day;
		return 0;
	default:
		return imap_parse_astring(args, &key->text);
	}
}

static int parse_word(struct imap_parser *args, struct imap_search *search,
	const struct search_word *word, struct imap_search_key **key_r)
{
	int rc = new_key(args, search, word->kind, key_r);

	if (rc < 0)
		return rc;
	(*key_r)->cost = word->cost;
	search->has_ages = search->has_ages || word->argument == TAKES_AGE;
	if (word->text != NULL)
		(*key_r)->text = bytes_of_string(word->text);
	rc = parse_argument(args, search, word->argument, *key_r);
	if (rc == 0 && word->is_negated)
		rc = negate(args, search, key_r);
	return rc;
}

/* "MODSEQ "/flags/\\Draft" all 620162338": which flag changed is not kept apart (RFC 7162, 3.1.5).
 */
static int parse_modseq(
	struct imap_parser *args, struct imap_search *search, struct imap_search_key **key_r)
{
	struct bytes ignored;
	int rc = new_key(args, search, SEARCH_MODSEQ, key_r);

	if (rc < 0 || imap_parse_space(args) < 0)
		return ERR_INVALID;
	(*key_r)->cost = SEARCH_NEEDS_RECORD;
	search->has_modseq = true;
	if (bytes_peek(args->rest) == '"') {
		if (imap_parse_string(args, &ignored) < 0 || imap_parse_space(args) < 0)
			return ERR_INVALID;
		if (!imap_parse_take_word(args, "all") && !imap_parse_take_word(args, "priv") &&
			!imap_parse_take_word(args, "shared"))
			return imap_parse_fail(args, ERR_INVALID, "Malformed MODSEQ");
		if (imap_parse_space(args) < 0)
			return ERR_INVALID;
	}
	return imap_parse_modseq(args, &(*key_r)->number);
}

/* "ANNOTATION /comment value "IMAP4"" (RFC 5257, 4.8) */
static int parse_annotation(
	struct imap_parser *args, struct imap_search *search, struct imap_search_key **key_r)
{
	int rc = new_key(args, search, SEARCH_ANNOTATION, key_r);
	struct imap_search_key *key = *key_r;
	struct buffer folded = { NULL, 0, 0 };
	struct bytes value;

	if (rc < 0 || imap_parse_space(args) < 0 ||
		imap_parse_annotation_match(args, &key->text, &key->attributes) < 0 ||
		imap_parse_space(args) < 0 || imap_parse_value(args, &value, &key->is_nil) < 0)
		return ERR_INVALID;
	key->cost = SEARCH_NEEDS_RECORD;
	mime_casemap(value, &folded);
	key->value = arena_copy(args->arena, buffer_bytes(&folded));
	buffer_deinit(&folded);
	return 0;
}

/* OR chains on the right are one OR of many, so that long ones need no depth. */
static int parse_or(
	struct imap_parser *args, struct imap_search *search, struct imap_search_key **key_r)
{
	struct imap_search_key *child;
	bool is_last = false;

	if (new_key(args, search, SEARCH_OR, key_r) < 0)
		return ERR_INVALID;
	while (!is_last) {
		if (imap_parse_space(args) < 0 || parse_key(args, search, &child) < 0)
			return ERR_INVALID;
		add_child(*key_r, child);
		if (imap_parse_space(args) < 0)
			return ERR_INVALID;
		if (imap_parse_take_word(args, "OR"))
			continue;
		is_last = true;
		if (parse_key(args, search, &child) < 0)
			return ERR_INVALID;
		add_child(*key_r, child);
	}
	return 0;
}

static int parse_not(
	struct imap_parser *args, struct imap_search *search, struct imap_search_key **key_r)
{
	if (imap_parse_space(args) < 0 || parse_key(args, search, key_r) < 0)
		return ERR_INVALID;
	return negate(args, search, key_r);
}

static int parse_list(
	struct imap_parser *args, struct imap_search *search, struct imap_search_key **key_r)
{
	struct imap_search_key *child;

	if (new_key(args, search, SEARCH_AND, key_r) < 0)
		return ERR_INVALID;
	do {
		if (parse_key(args, search, &child) < 0)
			return ERR_INVALID;
		add_child(*key_r, child);
	} while (imap_parse_take(args, ' '));
	return 0;
}

static int parse_set(struct imap_parser *args, struct imap_search *search, bool is_uid,
	struct imap_search_key **key_r)
{
	if (new_key(args, search, SEARCH_SET, key_r) < 0 ||
		imap_parse_sequence(args, &(*key_r)->sequence) < 0)
		return ERR_INVALID;
	if (search->session->is_uidonly && !is_uid && !(*key_r)->sequence.is_saved)
		return imap_parse_fail(
			args, ERR_INVALID, "[UIDREQUIRED] No message numbers with UIDONLY");
	(*key_r)->is_uid = is_uid;
	search->has_numbers = search->has_numbers || !is_uid || (*key_r)->sequence.is_saved;
	return 0;
}

static int parse_key_inside(
	struct imap_parser *args, struct imap_search *search, struct imap_search_key **key_r)
{
	int next = bytes_peek(args->rest);

	if (isdigit(next) || next == '*' || next == '$')
		return parse_set(args, search, false, key_r);
	if (imap_parse_take(args, '(')) {
		if (parse_list(args, search, key_r) < 0)
			return ERR_INVALID;
		return imap_parse_expect(args, ')');
	}
	if (imap_parse_take_word(args, "NOT"))
		return parse_not(args, search, key_r);
	if (imap_parse_take_word(args, "OR"))
		return parse_or(args, search, key_r);
	if (imap_parse_take_word(args, "UID"))
		return imap_parse_space(args) < 0 ? ERR_INVALID
						  : parse_set(args, search, true, key_r);
	if (imap_parse_take_word(args, "MODSEQ"))
		return parse_modseq(args, search, key_r);
	if (imap_parse_take_word(args, "ANNOTATION"))
		return parse_annotation(args, search, key_r);
	for (size_t i = 0; i < sizeof(search_words) / sizeof(search_words[0]); i++) {
		if (imap_parse_take_word(args, search_words[i].name))
			return parse_word(args, search, &search_words[i], key_r);
	}
	return imap_parse_fail(args, ERR_INVALID, "Unknown search key");
}

static int parse_key(
	struct imap_parser *args, struct imap_search *search, struct imap_search_key **key_r)
{
	int rc = imap_parse_enter(args);

	if (rc < 0)
		return rc;
	rc = parse_key_inside(args, search, key_r);
	imap_parse_leave(args);
	return rc;
}

static int parse_charset(struct imap_parser *args, bool needs_charset, struct imap_search *search)
{
	struct mime_needle probe;

	/* Undeclared strings are taken for UTF-8, of which US-ASCII is a part. */
	search->charset = BYTES_LITERAL("UTF-8");
	if (!needs_charset && !imap_parse_take_word(args, "CHARSET"))
		return 0;
	/* RFC 6855, section 3. */
	if (!needs_charset && search->session->is_utf8_only)
		return imap_parse_fail(
			args, ERR_INVALID, "No CHARSET with UTF8=ACCEPT: it is UTF-8");
	if (!needs_charset && imap_parse_space(args) < 0)
		return ERR_INVALID;
	if (imap_parse_astring(args, &search->charset) < 0 || imap_parse_space(args) < 0)
		return ERR_INVALID;
	if (mime_needle_init(&probe, BYTES_LITERAL("a"), search->charset) < 0)
		return imap_parse_fail(args, ERR_NOT_FOUND, "Unknown charset");
	mime_needle_deinit(&probe);
	return 0;
}

int imap_parse_search(struct imap_parser *args, bool needs_charset, struct imap_search *search)
{
	int rc = parse_charset(args, needs_charset, search);

	if (rc < 0)
		return rc;
	rc = parse_list(args, search, &search->root);
	return rc < 0 ? rc : imap_parse_end(args);
}

/* Message numbers that are not there match nothing; that is no error here. */
void imap_search_bind(struct imap_search *search, const struct imap_view *view)
{
	search->view = view;
	for (struct imap_search_key *key = search->newest; key != NULL; key = key->older) {
		struct imap_sequence sequence = key->sequence;

		if (key->kind != SEARCH_SET)
			continue;
		uid_set_deinit(&key->uids);
		/* Resolving it changes it. */
		sequence.ranges =
			mem_dup(sequence.ranges, sequence.count * sizeof(*sequence.ranges));
		imap_search_uids(view, &sequence, key->is_uid, &key->uids);
		free(sequence.ranges);
	}
}

void imap_search_deinit(struct imap_search *search)
{
	for (struct imap_search_key *key = search->newest; key != NULL; key = key->older) {
		if (key->has_needle)
			mime_needle_deinit(&key->needle);
		key->has_needle = false;
		uid_set_deinit(&key->uids);
	}
	search->newest = NULL;
}
