/*
 * FETCH items against a mailbox that stays. The answers are read with a parser of their own, item
 * by item; a slow client must get what a fast one gets, and a part of a section must be that part
 * of the whole.
 */
#include "fuzz_check.h"
#include "fuzz_mailbox.h"
#include "mime_syntax.h"

#include <ctype.h>

#define INPUT_SIZE_MAX 2000

static struct buffer command;

static struct bytes ask(unsigned slow, const char *before, struct bytes items)
{
	buffer_clear(&command);
	buffer_printf(&command, "t %s ", before);
	buffer_append_bytes(&command, items);
	buffer_append_string(&command, "\r\n");
	return fuzz_session_send(fuzz_mailbox_session(slow), buffer_bytes(&command), SIZE_MAX);
}

/* ---- reading answers ---- */

static bool take(struct bytes *in, const char *text)
{
	if (!bytes_start_with(*in, bytes_of_string(text)))
		return false;
	bytes_skip(in, strlen(text));
	return true;
}

static uint64_t take_number(struct bytes *in)
{
	uint64_t number = 0;

	FUZZ_CHECK(isdigit(bytes_peek(*in)));
	while (isdigit(bytes_peek(*in)))
		number = number * 10 + (uint64_t)(bytes_take(in, 1).ptr[0] - '0');
	return number;
}

/* The text of a quoted string (as written) or literal; .ptr is NULL for NIL. */
static struct bytes take_nstring(struct bytes *in)
{
	struct bytes text;
	size_t size;

	if (take(in, "NIL"))
		return bytes_of(NULL, 0);
	if (take(in, "{") || take(in, "~{")) {
		size = take_number(in);
		FUZZ_CHECK(take(in, "}\r\n") && size <= in->len);
		return bytes_take(in, size);
	}
	FUZZ_CHECK(take(in, "\""));
	text = *in;
	while (in->len > 0 && in->ptr[0] != '"')
		bytes_skip(in, in->ptr[0] == '\\' && in->len > 1 ? 2 : 1);
	text.len -= in->len;
	FUZZ_CHECK(take(in, "\""));
	return text;
}

/* Any value: a string, a run up to a blank or parenthesis, or a list of such. */
static struct bytes take_value(struct bytes *in)
{
	struct bytes value = *in;
	size_t depth = 0;

	do {
		int byte = bytes_peek(*in);

		FUZZ_CHECK(byte >= 0);
		if (byte == '"' || byte == '{' || byte == '~') {
			take_nstring(in);
			continue;
		}
		FUZZ_CHECK(byte >= ' ' && byte < 0x7f);
		if (byte == ')' && depth == 0)
			break;
		if (byte == ' ' && depth == 0)
			break;
		depth += byte == '(';
		depth -= byte == ')';
		bytes_skip(in, 1);
		if (byte == ')' && depth == 0)
			break;
	} while (in->len > 0);
	value.len -= in->len;
	return value;
}

/* "BODY[HEADER.FIELDS (a "b")]<0>": the brackets belong to the name. */
static struct bytes take_item_name(struct bytes *in)
{
	struct bytes name = *in;
	bool is_inside = false;

	while (in->len > 0 && (is_inside || in->ptr[0] != ' ')) {
		int byte = in->ptr[0];

		if (is_inside && (byte == '"' || byte == '{')) {
			take_nstring(in);
			continue;
		}
		is_inside = is_inside ? byte != ']' : byte == '[';
		bytes_skip(in, 1);
	}
	name.len -= in->len;
	FUZZ_CHECK(name.len > 0);
	return name;
}

static void check_item(struct bytes name, struct bytes value)
{
	struct bytes rest = value;

	if (bytes_equal_string(name, "ENVELOPE"))
		FUZZ_CHECK(mime_syntax_is_envelope(value));
	else if (bytes_equal_string(name, "BODY"))
		FUZZ_CHECK(mime_syntax_is_body(value, false));
	else if (bytes_equal_string(name, "BODYSTRUCTURE"))
		FUZZ_CHECK(mime_syntax_is_body(value, true));
	else if (bytes_equal_string(name, "FLAGS") || bytes_equal_string(name, "MODSEQ"))
		FUZZ_CHECK(value.len >= 2 && value.ptr[0] == '(');
	else if (bytes_equal_string(name, "INTERNALDATE"))
		FUZZ_CHECK(value.len == 28);
	else if (bytes_equal_string(name, "UID") || bytes_equal_string(name, "RFC822.SIZE"))
		FUZZ_CHECK(take_number(&rest) < UINT32_MAX && rest.len == 0);
	else if (bytes_start_with(name, BYTES_LITERAL("BODY[")) ||
		 bytes_start_with(name, BYTES_LITERAL("RFC822")))
		FUZZ_CHECK(value.len > 0 && (take_nstring(&rest), rest.len == 0));
}

/* One "* 1 FETCH (...)". The value of item `wanted` is stored if it is there. */
static uint64_t take_answer(struct bytes *in, struct bytes wanted, struct bytes *value_r)
{
	uint64_t number;
	bool is_first = true;

	FUZZ_CHECK(take(in, "* "));
	number = take_number(in);
	FUZZ_CHECK(take(in, " FETCH ("));
	while (!take(in, ")")) {
		struct bytes name, value;

		FUZZ_CHECK(is_first || take(in, " "));
		is_first = false;
		name = take_item_name(in);
		FUZZ_CHECK(take(in, " "));
		value = take_value(in);
		check_item(name, value);
		if (bytes_equal(name, wanted))
			*value_r = take_nstring(&value);
	}
	FUZZ_CHECK(take(in, "\r\n"));
	return number;
}

/* All answers up to the tagged one, of which there must be `expected` or, if it is -1, any. */
static void check_answers(struct bytes answer, int expected)
{
	uint64_t last = 0;
	int count = 0;

	while (bytes_start_with(answer, BYTES_LITERAL("* ")) && answer.len > 2 &&
		isdigit(answer.ptr[2])) {
		uint64_t number = take_answer(&answer, bytes_of(NULL, 0), NULL);

		FUZZ_CHECK(number > last && number <= FUZZ_MESSAGE_COUNT);
		last = number;
		count++;
	}
	FUZZ_CHECK(expected < 0 || count == expected);
}

/* ---- sections and their parts ---- */

/* `items` is "BODY.PEEK[...]<offset.size>" and nothing else, which was answered. */
static void check_partial(struct bytes items)
{
	size_t bracket = items.len, offset = 0, size = 0;
	struct buffer part = { 0 };
	struct bytes name, rest, whole, piece;

	while (bracket > 0 && items.ptr[bracket - 1] != '<')
		bracket--;
	if (bracket == 0 || bracket > 200 || !bytes_start_with(items, BYTES_LITERAL("BODY.PEEK[")))
		return;
	rest = items;
	bytes_skip(&rest, bracket);
	offset = take_number(&rest);
	FUZZ_CHECK(take(&rest, "."));
	size = take_number(&rest);
	name = bytes_of(items.ptr, bracket - 1);
	for (uint32_t number = 1; number <= FUZZ_MESSAGE_COUNT; number++) {
		char before[32];
		struct bytes answer;

		snprintf(before, sizeof(before), "FETCH %u", number);
		buffer_clear(&part);
		answer = ask(0, before, items);
		bytes_skip(&answer, bytes_find(answer, '(') + 1);
		take_item_name(&answer);
		bytes_skip(&answer, 1);
		piece = take_nstring(&answer);
		buffer_append_bytes(&part, piece);
		answer = ask(0, before, name);
		bytes_skip(&answer, bytes_find(answer, '(') + 1);
		take_item_name(&answer);
		bytes_skip(&answer, 1);
		whole = take_nstring(&answer);
		FUZZ_CHECK((whole.ptr == NULL) == (piece.ptr == NULL));
		bytes_skip(&whole, offset < whole.len ? offset : whole.len);
		whole.len = whole.len < size ? whole.len : size;
		FUZZ_CHECK(bytes_equal(buffer_bytes(&part), whole));
	}
	buffer_deinit(&part);
}

static bool has_modifier(struct bytes items)
{
	return items.len > 12 && memmem(items.ptr, items.len, " (", 2) != NULL;
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct bytes items = bytes_of(data, size), answer;
	struct buffer fast = { 0 };
	bool is_ok;

	if (size > INPUT_SIZE_MAX)
		return 0;
	buffer_printf(&fast, "t FETCH 1:* ");
	buffer_append_bytes(&fast, items);
	buffer_append_string(&fast, "\r\n");
	is_ok = fuzz_is_command(buffer_bytes(&fast));
	buffer_clear(&fast);
	if (!is_ok)
		goto out;
	answer = ask(0, "FETCH 1:*", items);
	fuzz_check_answers(answer);
	is_ok = fuzz_is_ok(answer, "t");
	buffer_append_bytes(&fast, answer);
	if (is_ok)
		check_answers(answer, has_modifier(items) ? -1 : FUZZ_MESSAGE_COUNT);
	for (unsigned slow = 1; slow <= 2; slow++)
		FUZZ_CHECK(bytes_equal(ask(slow, "FETCH 1:*", items), buffer_bytes(&fast)));
	if (is_ok) {
		answer = ask(0, "UID FETCH 3:7", items);
		FUZZ_CHECK(fuzz_is_ok(answer, "t"));
		check_answers(answer, has_modifier(items) ? -1 : 4);
		check_partial(items);
	}
out:
	buffer_deinit(&fast);
	return 0;
}
