#include "foreign/imap_answer.h"

#include "base/error.h"
#include "imap/imap_parse.h"

#include <ctype.h>

/* Bytes up to a blank, a bracket of the response, or a line's end. */
static struct bytes word_take(struct bytes *in)
{
	size_t len = 0;

	while (len < in->len && in->ptr[len] > ' ' && in->ptr[len] != '(' && in->ptr[len] != ')')
		len++;
	return bytes_take(in, len);
}

static bool blank_take(struct bytes *in)
{
	if (bytes_peek(*in) != ' ')
		return false;
	bytes_skip(in, 1);
	return true;
}

bool answer_has_word(struct bytes words, const char *word)
{
	while (words.len > 0) {
		struct bytes next = bytes_take(&words, bytes_find(words, ' '));

		if (bytes_equal_string_nocase(next, word))
			return true;
		if (words.len > 0)
			bytes_skip(&words, 1);
	}
	return false;
}

static bool number_take(struct bytes *in, uint64_t max, uint64_t *number_r)
{
	uint64_t number = 0;
	size_t len = 0;

	for (; len < in->len && isdigit(in->ptr[len]); len++) {
		uint64_t digit = (uint64_t)(in->ptr[len] - '0');

		if (digit > max || number > (max - digit) / 10)
			return false;
		number = number * 10 + digit;
	}
	bytes_skip(in, len);
	*number_r = number;
	return len > 0;
}

bool answer_code_number(struct bytes code, const char *word, uint64_t *number_r)
{
	size_t len = strlen(word);

	if (code.len <= len || !bytes_equal_string_nocase(bytes_of(code.ptr, len), word))
		return false;
	bytes_skip(&code, len);
	return blank_take(&code) && number_take(&code, INT64_MAX, number_r) && code.len == 0;
}

int answer_numbers(struct bytes text, size_t count_max,
	void (*function)(void *context, uint32_t number), void *context)
{
	size_t count = 0;

	while (text.len > 0) {
		uint64_t first, last;

		if (!number_take(&text, UINT32_MAX, &first))
			return ERR_INVALID;
		last = first;
		if (bytes_peek(text) == ':') {
			bytes_skip(&text, 1);
			if (!number_take(&text, UINT32_MAX, &last))
				return ERR_INVALID;
		}
		if (last < first) {
			uint64_t swap = first;

			first = last;
			last = swap;
		}
		if (last - first >= count_max - count)
			return ERR_TOO_LARGE;
		count += (size_t)(last - first) + 1;
		for (; first <= last; first++)
			function(context, (uint32_t)first);
		if (text.len > 0 && bytes_peek(text) != ',' && bytes_peek(text) != ' ')
			return ERR_INVALID;
		if (text.len > 0)
			bytes_skip(&text, 1);
	}
	return 0;
}

/* "[CODE ...] text" */
static void code_take(struct answer *answer)
{
	struct bytes text = answer->text;
	size_t end;

	if (bytes_peek(text) != '[')
		return;
	end = bytes_find(text, ']');
	if (end == text.len)
		return;
	answer->code = bytes_of(text.ptr + 1, end - 1);
}

/* ---- LIST, NAMESPACE ---- */

/* Some servers do not quote brackets. */
static int word_or_string(struct imap_parser *parser, struct bytes *text_r)
{
	if (bytes_peek(parser->rest) == '"' || bytes_peek(parser->rest) == '{')
		return imap_parse_string(parser, text_r);
	*text_r = word_take(&parser->rest);
	return text_r->len > 0 ? 0 : ERR_INVALID;
}

static int list_parse(struct imap_parser *parser, struct answer_list *list)
{
	struct bytes separator = { 0 };
	size_t end;
	int rc = imap_parse_expect(parser, '(');

	if (rc < 0)
		return rc;
	end = bytes_find(parser->rest, ')');
	list->attributes = bytes_take(&parser->rest, end);
	rc = imap_parse_expect(parser, ')');
	if (rc == 0)
		rc = imap_parse_space(parser);
	if (rc == 0 && !imap_parse_take_word(parser, "NIL"))
		rc = imap_parse_string(parser, &separator);
	list->separator = separator.len == 1 ? separator.ptr[0] : 0;
	if (rc == 0)
		rc = imap_parse_space(parser);
	if (rc == 0)
		rc = word_or_string(parser, &list->name);
	return rc < 0 || list->name.len == 0 ? ERR_INVALID : 0;
}

/* Over one value: an atom, a string, a literal or a list. */
static int value_skip(struct imap_parser *parser)
{
	struct bytes ignored;
	bool is_binary;
	int rc;

	switch (bytes_peek(parser->rest)) {
	case '"':
		return imap_parse_string(parser, &ignored);
	case '{':
	case '~':
		return imap_parse_literal8(parser, &ignored, &is_binary);
	case '(':
		rc = imap_parse_enter(parser);
		if (rc < 0)
			return rc;
		bytes_skip(&parser->rest, 1);
		while (rc == 0 && !imap_parse_take(parser, ')')) {
			rc = value_skip(parser);
			(void)blank_take(&parser->rest);
		}
		imap_parse_leave(parser);
		return rc;
	default:
		return word_take(&parser->rest).len > 0 ? 0 : ERR_INVALID;
	}
}

/* One of the three: NIL, or (("prefix" "/" extensions)...). */
static int namespace_parse(struct imap_parser *parser, struct answer_namespaces *all, bool is_own)
{
	int rc = 0;

	if (imap_parse_take_word(parser, "NIL"))
		return 0;
	rc = imap_parse_expect(parser, '(');
	while (rc == 0 && !imap_parse_take(parser, ')')) {
		struct bytes prefix;

		rc = imap_parse_expect(parser, '(');
		if (rc == 0)
			rc = imap_parse_string(parser, &prefix);
		while (rc == 0 && !imap_parse_take(parser, ')')) {
			(void)blank_take(&parser->rest);
			rc = value_skip(parser);
		}
		if (rc < 0)
			return rc;
		if (is_own && !all->has_personal) {
			all->has_personal = true;
			all->personal = prefix;
		} else if (!is_own &&
			   all->foreign_count < sizeof(all->foreign) / sizeof(all->foreign[0])) {
			all->foreign[all->foreign_count++] = prefix;
		}
		(void)blank_take(&parser->rest);
	}
	return rc;
}

static int namespaces_parse(struct imap_parser *parser, struct answer_namespaces *all)
{
	int rc = 0;

	for (int i = 0; i < 3 && rc == 0; i++) {
		rc = namespace_parse(parser, all, i == 0);
		(void)blank_take(&parser->rest);
	}
	return rc;
}

/* ---- FETCH ---- */

static bool flag_of(struct bytes word, struct bytes *flag_r)
{
	static const char *const system_flags[] = { "\\Answered", "\\Deleted", "\\Draft",
		"\\Flagged", "\\Seen" };

	for (size_t i = 0; i < sizeof(system_flags) / sizeof(system_flags[0]); i++)
		if (bytes_equal_string_nocase(word, system_flags[i])) {
			*flag_r = bytes_of_string(system_flags[i]);
			return true;
		}
	*flag_r = word;
	return source_keyword_is_valid(word);
}

static int flags_parse(struct imap_parser *parser, struct answer_fetch *fetch)
{
	struct bytes words, flag;
	int rc = imap_parse_expect(parser, '(');

	if (rc < 0)
		return rc;
	words = bytes_take(&parser->rest, bytes_find(parser->rest, ')'));
	fetch->has_flags = true;
	fetch->flag_count = 0;
	fetch->flags = arena_alloc(parser->arena, SOURCE_FLAG_COUNT_MAX * sizeof(struct bytes));
	while (words.len > 0) {
		bool is_new = flag_of(bytes_take(&words, bytes_find(words, ' ')), &flag);

		for (size_t i = 0; i < fetch->flag_count && is_new; i++)
			is_new = !bytes_equal_nocase(fetch->flags[i], flag);
		if (is_new && fetch->flag_count < SOURCE_FLAG_COUNT_MAX)
			fetch->flags[fetch->flag_count++] = flag;
		(void)blank_take(&words);
	}
	return imap_parse_expect(parser, ')');
}

static int body_parse(struct imap_parser *parser, struct answer_fetch *fetch)
{
	bool is_binary;

	fetch->has_body = true;
	if (imap_parse_take_word(parser, "NIL"))
		return 0;
	if (bytes_peek(parser->rest) == '"')
		return imap_parse_string(parser, &fetch->body);
	return imap_parse_literal8(parser, &fetch->body, &is_binary);
}

static int modseq_parse(struct imap_parser *parser, struct answer_fetch *fetch)
{
	int rc = imap_parse_expect(parser, '(');

	if (rc == 0)
		rc = imap_parse_modseq(parser, &fetch->modseq);
	return rc < 0 ? rc : imap_parse_expect(parser, ')');
}

static int item_parse(struct imap_parser *parser, struct answer_fetch *fetch)
{
	struct bytes name = word_take(&parser->rest);
	uint64_t number = 0;
	int rc = imap_parse_space(parser);

	if (rc < 0 || name.len == 0)
		return ERR_INVALID;
	if (bytes_equal_string_nocase(name, "UID"))
		return imap_parse_number32(parser, &fetch->uid);
	if (bytes_equal_string_nocase(name, "FLAGS"))
		return flags_parse(parser, fetch);
	if (bytes_equal_string_nocase(name, "BODY[]"))
		return body_parse(parser, fetch);
	if (bytes_equal_string_nocase(name, "MODSEQ"))
		return modseq_parse(parser, fetch);
	if (bytes_equal_string_nocase(name, "RFC822.SIZE")) {
		rc = imap_parse_number(parser, UINT64_MAX / 2, &number);
		fetch->size = number;
		return rc;
	}
	if (bytes_equal_string_nocase(name, "INTERNALDATE")) {
		rc = imap_parse_date_time(parser, &fetch->date, &fetch->zone);
		fetch->has_date = rc == 0;
		return rc;
	}
	return value_skip(parser);
}

static int fetch_parse(struct imap_parser *parser, struct answer_fetch *fetch)
{
	int rc = imap_parse_expect(parser, '(');

	while (rc == 0 && !imap_parse_take(parser, ')')) {
		rc = item_parse(parser, fetch);
		(void)blank_take(&parser->rest);
	}
	return rc;
}

/* ---- ACL, METADATA, QUOTA ---- */

static void pair_add(struct imap_parser *parser, struct answer_pairs *pairs, struct bytes name,
	struct bytes value)
{
	if (pairs->list == NULL)
		pairs->list =
			arena_alloc(parser->arena, ANSWER_PAIR_COUNT_MAX * sizeof(*pairs->list));
	if (pairs->count < ANSWER_PAIR_COUNT_MAX)
		pairs->list[pairs->count++] = (struct answer_pair){ name, value };
}

/* mailbox identifier rights identifier rights ... */
static int acl_parse(struct imap_parser *parser, struct answer_pairs *pairs)
{
	int rc = word_or_string(parser, &pairs->mailbox);

	while (rc == 0 && blank_take(&parser->rest) && parser->rest.len > 0) {
		struct bytes identifier, rights;

		rc = word_or_string(parser, &identifier);
		if (rc == 0)
			rc = imap_parse_space(parser);
		if (rc == 0)
			rc = word_or_string(parser, &rights);
		if (rc == 0)
			pair_add(parser, pairs, identifier, rights);
	}
	return rc < 0 || parser->rest.len > 0 ? ERR_INVALID : 0;
}

/* One entry and its value, which is left out if it is NIL. */
static int metadata_pair(struct imap_parser *parser, struct answer_pairs *pairs)
{
	struct bytes name, value;
	bool is_binary;
	int rc = word_or_string(parser, &name);

	if (rc == 0)
		rc = imap_parse_space(parser);
	if (rc < 0 || imap_parse_take_word(parser, "NIL"))
		return rc;
	if (bytes_peek(parser->rest) == '{' || bytes_peek(parser->rest) == '~')
		rc = imap_parse_literal8(parser, &value, &is_binary);
	else
		rc = word_or_string(parser, &value);
	if (rc == 0)
		pair_add(parser, pairs, name, value);
	return rc;
}

/* mailbox (entry value ...); without the list it only says that entries changed. */
static int metadata_parse(struct imap_parser *parser, struct answer_pairs *pairs)
{
	int rc = word_or_string(parser, &pairs->mailbox);

	if (rc == 0)
		rc = imap_parse_space(parser);
	if (rc < 0 || bytes_peek(parser->rest) != '(')
		return rc;
	bytes_skip(&parser->rest, 1);
	while (rc == 0 && !imap_parse_take(parser, ')')) {
		rc = metadata_pair(parser, pairs);
		(void)blank_take(&parser->rest);
	}
	return rc;
}

/* root (RESOURCE usage limit ...) */
static int quota_parse(struct imap_parser *parser, struct answer_pairs *pairs)
{
	struct bytes root;
	int rc = word_or_string(parser, &root);

	if (rc == 0)
		rc = imap_parse_space(parser);
	if (rc == 0)
		rc = imap_parse_expect(parser, '(');
	while (rc == 0 && !imap_parse_take(parser, ')')) {
		struct bytes name = word_take(&parser->rest), limit;
		uint64_t usage, number;

		if (name.len == 0 || !blank_take(&parser->rest) ||
			!number_take(&parser->rest, INT64_MAX, &usage) ||
			!blank_take(&parser->rest))
			return ERR_INVALID;
		limit = parser->rest;
		if (!number_take(&parser->rest, INT64_MAX, &number))
			return ERR_INVALID;
		limit.len -= parser->rest.len;
		pair_add(parser, pairs, name, limit);
		(void)blank_take(&parser->rest);
	}
	return rc;
}

/* ---- responses ---- */

static bool is_status(struct bytes word)
{
	static const char *const words[] = { "OK", "NO", "BAD", "BYE", "PREAUTH" };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (bytes_equal_string_nocase(word, words[i]))
			return true;
	return false;
}

static int numbered_parse(struct imap_parser *parser, struct answer *answer)
{
	struct bytes word;
	int rc = imap_parse_number32(parser, &answer->number);

	if (rc == 0)
		rc = imap_parse_space(parser);
	if (rc < 0)
		return rc;
	word = word_take(&parser->rest);
	if (bytes_equal_string_nocase(word, "EXISTS"))
		answer->kind = ANSWER_EXISTS;
	if (!bytes_equal_string_nocase(word, "FETCH"))
		return 0;
	answer->kind = ANSWER_FETCH;
	rc = imap_parse_space(parser);
	return rc < 0 ? rc : fetch_parse(parser, &answer->fetch);
}

/* 1: it is none of these. */
static int pairs_parse(struct imap_parser *parser, struct bytes word, struct answer *answer)
{
	static const struct {
		const char *word;
		enum answer_kind kind;
		int (*parse)(struct imap_parser *parser, struct answer_pairs *pairs);
	} rows[] = {
		{ "ACL", ANSWER_ACL, acl_parse },
		{ "METADATA", ANSWER_METADATA, metadata_parse },
		{ "QUOTA", ANSWER_QUOTA, quota_parse },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (bytes_equal_string_nocase(word, rows[i].word)) {
			/* Mail can be read without it. */
			if (rows[i].parse(parser, &answer->pairs) == 0)
				answer->kind = rows[i].kind;
			else
				answer->pairs = (struct answer_pairs){ 0 };
			return 0;
		}
	return 1;
}

static int untagged_parse(struct imap_parser *parser, struct answer *answer)
{
	struct bytes word;
	int rc;

	if (isdigit(bytes_peek(parser->rest)))
		return numbered_parse(parser, answer);
	word = word_take(&parser->rest);
	(void)blank_take(&parser->rest);
	answer->text = parser->rest;
	rc = pairs_parse(parser, word, answer);
	if (rc <= 0)
		return rc;
	if (is_status(word)) {
		answer->kind = ANSWER_STATUS;
		answer->status = word;
		code_take(answer);
	} else if (bytes_equal_string_nocase(word, "CAPABILITY")) {
		answer->kind = ANSWER_CAPABILITY;
	} else if (bytes_equal_string_nocase(word, "LIST") ||
		   bytes_equal_string_nocase(word, "LSUB")) {
		answer->kind = ANSWER_LIST;
		answer->list.is_lsub = bytes_equal_string_nocase(word, "LSUB");
		return list_parse(parser, &answer->list);
	} else if (bytes_equal_string_nocase(word, "NAMESPACE")) {
		answer->kind = ANSWER_NAMESPACE;
		return namespaces_parse(parser, &answer->namespaces);
	} else if (bytes_equal_string_nocase(word, "VANISHED")) {
		answer->kind = ANSWER_VANISHED;
		if (bytes_peek(answer->text) == '(') {
			bytes_skip(&answer->text, bytes_find(answer->text, ')'));
			if (answer->text.len > 0)
				bytes_skip(&answer->text, 1);
			(void)blank_take(&answer->text);
		}
	} else if (bytes_equal_string_nocase(word, "SEARCH")) {
		answer->kind = ANSWER_SEARCH;
		/* "(MODSEQ 5)" may follow the numbers. */
		answer->text.len = bytes_find(answer->text, '(');
		while (answer->text.len > 0 && answer->text.ptr[answer->text.len - 1] == ' ')
			answer->text.len--;
	}
	return 0;
}

int answer_parse(struct bytes response, struct arena *arena, struct answer *answer_r)
{
	struct imap_parser parser = { .rest = response, .arena = arena };
	struct answer answer = { .kind = ANSWER_OTHER };
	int rc = 0;

	if (bytes_peek(response) == '+') {
		bytes_skip(&response, 1);
		(void)blank_take(&response);
		answer.kind = ANSWER_CONTINUE;
		answer.text = response;
	} else {
		answer.tag = word_take(&parser.rest);
		if (answer.tag.len == 0 || !blank_take(&parser.rest))
			return ERR_INVALID;
		if (bytes_equal_string(answer.tag, "*")) {
			rc = untagged_parse(&parser, &answer);
		} else {
			answer.kind = ANSWER_TAGGED;
			answer.status = word_take(&parser.rest);
			(void)blank_take(&parser.rest);
			answer.text = parser.rest;
			code_take(&answer);
			rc = is_status(answer.status) ? 0 : ERR_INVALID;
		}
	}
	if (rc == 0)
		*answer_r = answer;
	return rc < 0 ? ERR_INVALID : 0;
}
