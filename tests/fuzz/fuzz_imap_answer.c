/*
 * What an IMAP server says to us: whatever it is, what is read lies inside of it, flags are such as
 * Chapar can store, and numbers are bounded.
 */
#include "fuzz_check.h"

#include "base/error.h"
#include "foreign/imap_answer.h"

#define INPUT_SIZE_MAX 65536
#define NUMBER_COUNT_MAX 1000

static void check_inside(struct bytes in, struct bytes part)
{
	FUZZ_CHECK(part.len == 0 || (part.ptr >= in.ptr && part.ptr + part.len <= in.ptr + in.len));
}

static void count_number(void *context, uint32_t number)
{
	(void)number;
	++*(size_t *)context;
}

static void check_fetch(struct bytes in, const struct answer_fetch *fetch)
{
	FUZZ_CHECK(fetch->body.len <= in.len);
	FUZZ_CHECK(fetch->flag_count <= SOURCE_FLAG_COUNT_MAX);
	for (size_t i = 0; i < fetch->flag_count; i++) {
		struct bytes name = fetch->flags[i];

		if (bytes_peek(name) == '\\')
			bytes_skip(&name, 1);
		FUZZ_CHECK(source_keyword_is_valid(name));
	}
}

/* What was quoted lies elsewhere. */
static void check_pairs(const struct answer_pairs *pairs)
{
	size_t size = pairs->mailbox.len;

	FUZZ_CHECK(pairs->count <= ANSWER_PAIR_COUNT_MAX);
	for (size_t i = 0; i < pairs->count; i++) {
		FUZZ_CHECK(pairs->list[i].name.len <= INPUT_SIZE_MAX);
		FUZZ_CHECK(pairs->list[i].value.len <= INPUT_SIZE_MAX);
		size += pairs->list[i].name.len + pairs->list[i].value.len;
	}
	FUZZ_CHECK(size <= INPUT_SIZE_MAX);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct bytes in = bytes_of(data, size);
	struct answer answer;
	struct arena *arena;
	uint64_t number;
	size_t count = 0;
	int rc;

	if (size > INPUT_SIZE_MAX)
		return 0;
	arena = arena_new();
	if (answer_parse(in, arena, &answer) == 0) {
		check_inside(in, answer.tag);
		check_inside(in, answer.code);
		check_inside(in, answer.text);
		check_inside(in, answer.list.attributes);
		check_fetch(in, &answer.fetch);
		check_pairs(&answer.pairs);
		(void)answer_has_word(answer.text, "IMAP4rev1");
		(void)answer_code_number(answer.code, "UIDNEXT", &number);
		rc = answer_numbers(answer.text, NUMBER_COUNT_MAX, count_number, &count);
		FUZZ_CHECK(count <= NUMBER_COUNT_MAX);
		FUZZ_CHECK(rc == 0 || rc == ERR_INVALID || rc == ERR_TOO_LARGE);
	}
	arena_free(&arena);
	return 0;
}
