/*
 * SEARCH keys against a mailbox that stays. Whatever the keys say, logic holds: what they find and
 * what their opposite finds are together all messages and nothing twice; a key beside itself, or
 * asked of each message alone, or by a slow client, finds the same.
 */
#include "fuzz_check.h"
#include "fuzz_mailbox.h"

#include <ctype.h>

#define INPUT_SIZE_MAX 2000

/* The messages found, a bit each, by number; false: the command was refused. */
static bool ask(struct fuzz_session *session, const char *before, struct bytes keys,
	const char *after, unsigned *found_r)
{
	struct buffer command = { 0 };
	struct bytes answer, rest;
	bool is_ok;

	buffer_printf(&command, "t %s", before);
	buffer_append_bytes(&command, keys);
	buffer_printf(&command, "%s\r\n", after);
	answer = fuzz_session_send(session, buffer_bytes(&command), SIZE_MAX);
	fuzz_check_answers(answer);
	is_ok = fuzz_is_ok(answer, "t");
	*found_r = 0;
	rest = answer;
	if (is_ok) {
		FUZZ_CHECK(bytes_start_with(rest, BYTES_LITERAL("* SEARCH")));
		bytes_skip(&rest, 8);
	}
	while (is_ok && bytes_peek(rest) == ' ' && rest.len > 1 && isdigit(rest.ptr[1])) {
		unsigned number = 0;

		bytes_skip(&rest, 1);
		while (isdigit(bytes_peek(rest)))
			number = number * 10 + bytes_take(&rest, 1).ptr[0] - '0';
		FUZZ_CHECK(number >= 1 && number <= FUZZ_MESSAGE_COUNT);
		FUZZ_CHECK((*found_r >> number) == 0); /* in order, once each */
		*found_r |= 1u << number;
	}
	buffer_deinit(&command);
	return is_ok;
}

/* The same by UID. */
static void check_by_uid(struct fuzz_session *session, struct bytes keys, unsigned found)
{
	struct buffer command = { 0 }, expected = { 0 };
	struct bytes answer;

	buffer_append_string(&command, "t UID SEARCH ");
	buffer_append_bytes(&command, keys);
	buffer_append_string(&command, "\r\n");
	buffer_append_string(&expected, "* SEARCH");
	for (uint32_t number = 1; number <= FUZZ_MESSAGE_COUNT; number++) {
		if ((found >> number & 1) != 0)
			buffer_printf(&expected, " %u", fuzz_mailbox_uid(number));
	}
	answer = fuzz_session_send(session, buffer_bytes(&command), SIZE_MAX);
	FUZZ_CHECK(bytes_start_with(answer, buffer_bytes(&expected)));
	bytes_skip(&answer, expected.len);
	FUZZ_CHECK(bytes_start_with(answer, BYTES_LITERAL("\r\n")) ||
		   bytes_start_with(answer, BYTES_LITERAL(" (MODSEQ ")));
	buffer_deinit(&command);
	buffer_deinit(&expected);
}

/* Around the keys as they are. Limits of depth and number may refuse what is longer. */
static void check_logic(struct fuzz_session *session, struct bytes keys, unsigned found)
{
	const unsigned all = (1u << (FUZZ_MESSAGE_COUNT + 1)) - 2;
	struct buffer twice = { 0 };
	unsigned other;

	if (ask(session, "SEARCH NOT (", keys, ")", &other))
		FUZZ_CHECK(other == (all & ~found));
	if (ask(session, "SEARCH NOT (NOT (", keys, "))", &other))
		FUZZ_CHECK(other == found);
	buffer_append_bytes(&twice, keys);
	buffer_append_string(&twice, ") (");
	buffer_append_bytes(&twice, keys);
	if (ask(session, "SEARCH (", buffer_bytes(&twice), ")", &other))
		FUZZ_CHECK(other == found);
	if (ask(session, "SEARCH OR (", buffer_bytes(&twice), ")", &other))
		FUZZ_CHECK(other == found);
	if (ask(session, "SEARCH TEXT \"e\" (", keys, ")", &other))
		FUZZ_CHECK((other & ~found) == 0);
	for (uint32_t number = 1; number <= FUZZ_MESSAGE_COUNT; number++) {
		char before[32];

		snprintf(before, sizeof(before), "SEARCH %u (", number);
		if (ask(session, before, keys, ")", &other))
			FUZZ_CHECK(other == (found & 1u << number));
	}
	buffer_deinit(&twice);
}

static bool begins_with_word(struct bytes keys, const char *word)
{
	size_t len = strlen(word);

	return keys.len >= len && bytes_equal_nocase(bytes_of(keys.ptr, len), bytes_of(word, len));
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct fuzz_session *session = fuzz_mailbox_session(0);
	struct bytes keys = bytes_of(data, size);
	struct buffer command = { 0 };
	unsigned found, other;
	bool is_one;

	if (size > INPUT_SIZE_MAX || begins_with_word(keys, "RETURN"))
		return 0;
	buffer_append_string(&command, "t SEARCH ");
	buffer_append_bytes(&command, keys);
	buffer_append_string(&command, "\r\n");
	is_one = fuzz_is_command(buffer_bytes(&command));
	buffer_deinit(&command);
	if (!is_one || !ask(session, "SEARCH ", keys, "", &found))
		return 0;
	FUZZ_CHECK(ask(fuzz_mailbox_session(1), "SEARCH ", keys, "", &other) && other == found);
	check_by_uid(session, keys, found);
	/* CHARSET stands before all keys. */
	if (!begins_with_word(keys, "CHARSET"))
		check_logic(session, keys, found);
	return 0;
}
