/*
 * Runs integrations that the executable model (tests/sim/model/merge_model.py --check) tells on
 *standard input, and compares what becomes of every record with what the model made of it.
 *
 *	case NODE CLOCK MY-HIGHEST THEIR-HIGHEST SINCE IS-REPAIR
 *	mine|theirs ID NAME-STAMP(2) NAME UIDVALIDITY DELETED-STAMP(2) FORWARD MODSEQ UIDNEXT
 *SEQUENCE own|sent INSTANCE(2) PLACED-STAMP(2) PLACED-IN MAILBOX UID MODSEQ SEQUENCE PLACED-SEQ
 *SHOWN-SEQ FLAG-COUNT FLAG:STAMP:STAMP:IS-SET ...           (of a sent one the SEQUENCE says
 *whether it was common)
 *	set|told KIND MAILBOX KEY STAMP(2) IS-SET VALUE MODSEQ SEQUENCE     (key and value in hex)
 *	mailbox, message, setting: as these, the expected result
 *	end CLOCK
 */
#include "merge_fixture.h"

#include "base/encode.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define WORD_COUNT_MAX 64

struct reader {
	char *words[WORD_COUNT_MAX];
	size_t count, at;
};

struct model_case {
	struct copy copy;
	struct change_set theirs;
	uint64_t since;
	bool is_repair;
	bool is_integrated;
	uint32_t uidvalidity_last;                           /* the greatest among the inputs */
	size_t mailbox_count, message_count, register_count; /* expected ones */
};

static const char *next_word(struct reader *reader)
{
	assert_true(reader->at < reader->count);
	return reader->words[reader->at++];
}

static uint64_t next_number(struct reader *reader)
{
	return strtoull(next_word(reader), NULL, 10);
}

static struct stamp next_stamp(struct reader *reader)
{
	uint64_t modseq = next_number(reader);

	return (struct stamp){ modseq, next_number(reader) };
}

static struct id128 next_id(struct reader *reader)
{
	const char *word = next_word(reader);
	struct buffer bytes = { 0 };
	struct id128 id = { { 0 } };

	if (strcmp(word, "-") != 0) {
		assert_int_equal(decode_hex(&bytes, bytes_of_string(word)), 0);
		assert_int_equal(bytes.len, sizeof(id.bytes));
		memcpy(id.bytes, bytes.data, sizeof(id.bytes));
	}
	buffer_deinit(&bytes);
	return id;
}

static struct bytes next_text(struct reader *reader, struct arena *arena)
{
	return arena_copy(arena, bytes_of_string(next_word(reader)));
}

static struct mailbox_record read_mailbox(struct reader *reader, struct arena *arena)
{
	struct mailbox_record mailbox = { .id = next_id(reader) };

	mailbox.name_stamp = next_stamp(reader);
	mailbox.name = next_text(reader, arena);
	mailbox.uidvalidity = (uint32_t)next_number(reader);
	mailbox.deleted = next_stamp(reader);
	mailbox.forward = next_id(reader);
	mailbox.modseq = next_number(reader);
	mailbox.uidnext = (uint32_t)next_number(reader);
	mailbox.sequence = next_number(reader);
	return mailbox;
}

static struct flag_state read_flag(struct reader *reader, struct arena *arena)
{
	char *word = arena_string(arena, bytes_of_string(next_word(reader)));
	char *save, *name = strtok_r(word, ":", &save);
	struct flag_state flag = { .name = bytes_of_string(name) };

	flag.stamp.modseq = strtoull(strtok_r(NULL, ":", &save), NULL, 10);
	flag.stamp.node = strtoull(strtok_r(NULL, ":", &save), NULL, 10);
	flag.is_set = strcmp(strtok_r(NULL, ":", &save), "1") == 0;
	return flag;
}

static struct message_record read_message(struct reader *reader, struct arena *arena)
{
	struct message_record message = { .instance = next_stamp(reader) };

	guid_of(bytes_of(&message.instance, sizeof(message.instance)), &message.guid);
	message.placed = next_stamp(reader);
	message.placed_in = next_id(reader);
	message.mailbox = next_id(reader);
	message.uid = (uint32_t)next_number(reader);
	message.modseq = next_number(reader);
	message.sequence = next_number(reader);
	message.placed_sequence = next_number(reader);
	message.shown_sequence = next_number(reader);
	message.flag_count = next_number(reader);
	message.flags = arena_alloc(arena, (message.flag_count + 1) * sizeof(*message.flags));
	for (size_t i = 0; i < message.flag_count; i++)
		message.flags[i] = read_flag(reader, arena);
	return message;
}

static struct bytes next_hex(struct reader *reader, struct arena *arena)
{
	const char *word = next_word(reader);
	struct buffer bytes = { 0 };
	struct bytes copied = { 0 };

	if (strcmp(word, "-") != 0) {
		assert_int_equal(decode_hex(&bytes, bytes_of_string(word)), 0);
		copied = arena_copy(arena, buffer_bytes(&bytes));
	}
	buffer_deinit(&bytes);
	return copied;
}

static struct register_record read_register(struct reader *reader, struct arena *arena)
{
	struct register_record record = { .kind = (enum record_kind)next_number(reader) };

	record.mailbox = next_id(reader);
	record.key = next_hex(reader, arena);
	record.stamp = next_stamp(reader);
	record.is_set = next_number(reader) == 1;
	record.value = next_hex(reader, arena);
	record.modseq = next_number(reader);
	record.sequence = next_number(reader);
	return record;
}

static void add_register(struct register_record **registers, size_t *count, size_t *room,
	struct register_record record)
{
	mem_grow((void **)registers, room, *count + 1, sizeof(**registers));
	(*registers)[(*count)++] = record;
}

static void begin_case(struct reader *reader, struct model_case *one)
{
	*one = (struct model_case){ .copy = { .node = next_number(reader), .arena = arena_new() } };
	one->copy.clock = next_number(reader);
	one->copy.highest = next_number(reader);
	one->theirs.highest = next_number(reader);
	one->since = next_number(reader);
	one->is_repair = next_number(reader) == 1;
}

static void add_mailbox(struct mailbox_record **mailboxes, size_t *count, size_t *room,
	struct mailbox_record mailbox)
{
	mem_grow((void **)mailboxes, room, *count + 1, sizeof(**mailboxes));
	(*mailboxes)[(*count)++] = mailbox;
}

static void add_own(struct copy *copy, struct message_record message)
{
	mem_grow((void **)&copy->messages, &copy->message_room, copy->message_count + 1,
		sizeof(*copy->messages));
	copy->messages[copy->message_count++] = message;
	if (copy->sequence < message.sequence)
		copy->sequence = message.sequence;
}

static void add_own_register(struct copy *copy, struct register_record record)
{
	add_register(&copy->registers, &copy->register_count, &copy->register_room, record);
	if (copy->sequence < record.sequence)
		copy->sequence = record.sequence;
}

static void add_sent(struct change_set *theirs, struct message_record message)
{
	mem_grow((void **)&theirs->messages, &theirs->message_room, theirs->message_count + 1,
		sizeof(*theirs->messages));
	theirs->messages[theirs->message_count++] =
		(struct message_change){ message, message.sequence == 1 };
}

static void note_uidvalidities(
	struct model_case *one, const struct mailbox_record *mailboxes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (mailboxes[i].uidvalidity > one->uidvalidity_last)
			one->uidvalidity_last = mailboxes[i].uidvalidity;
}

static void integrate_case(struct model_case *one)
{
	if (!one->is_integrated) {
		note_uidvalidities(one, one->copy.mailboxes, one->copy.mailbox_count);
		note_uidvalidities(one, one->theirs.mailboxes, one->theirs.mailbox_count);
		copy_integrate(&one->copy, &one->theirs, one->since, one->is_repair);
	}
	one->is_integrated = true;
}

/*
 * The rule for a new UIDVALIDITY is that it is above all that were ever used; which of several
 * mailboxes gets which of the new ones is not, and the two forms of the rules may differ in it.
 */
static void expect_uidvalidity(struct model_case *one, uint32_t own, uint32_t *expected)
{
	if (own > one->uidvalidity_last && *expected > one->uidvalidity_last)
		*expected = own;
}

static void expect_mailbox(struct model_case *one, struct mailbox_record expected)
{
	struct mailbox_record *own = copy_mailbox(&one->copy, expected.id);

	assert_non_null(own);
	expect_uidvalidity(one, own->uidvalidity, &expected.uidvalidity);
	assert_true(mailbox_same(own, &expected));
	assert_int_equal(own->modseq, expected.modseq);
	assert_int_equal(own->uidnext, expected.uidnext);
	one->mailbox_count++;
}

static void expect_message(struct model_case *one, struct message_record expected)
{
	struct message_record *own = copy_message(&one->copy, expected.instance);

	assert_non_null(own);
	assert_true(message_same(own, &expected));
	assert_int_equal(own->modseq, expected.modseq);
	one->message_count++;
}

static struct register_record *find_setting(struct copy *copy, const struct register_record *key)
{
	for (size_t i = 0; i < copy->register_count; i++)
		if (copy->registers[i].kind == key->kind &&
			id128_equal(copy->registers[i].mailbox, key->mailbox) &&
			bytes_equal(copy->registers[i].key, key->key))
			return &copy->registers[i];
	return NULL;
}

static void expect_register(struct model_case *one, struct register_record expected)
{
	const struct register_record *own = find_setting(&one->copy, &expected);

	assert_non_null(own);
	assert_int_equal(stamp_compare(own->stamp, expected.stamp), 0);
	assert_int_equal(own->is_set, expected.is_set);
	if (own->is_set) /* what a cleared one was, is for undelete */
		assert_true(bytes_equal(own->value, expected.value));
	assert_int_equal(own->modseq, expected.modseq);
	one->register_count++;
}

static void end_case(struct model_case *one, uint64_t clock)
{
	assert_int_equal(one->copy.mailbox_count, one->mailbox_count);
	assert_int_equal(one->copy.message_count, one->message_count);
	/* The model has no register that tells of merges; only its tick. */
	if (copy_register(&one->copy, RECORD_ACCOUNT, (struct id128){ { 0 } },
		    ACCOUNT_MERGED_KEY) != NULL)
		one->register_count++;
	assert_int_equal(one->copy.register_count, one->register_count);
	assert_int_equal(one->copy.clock, clock);
	copy_deinit(&one->copy);
	free(one->theirs.mailboxes);
	free(one->theirs.messages);
	free(one->theirs.registers);
}

static void take_line(struct reader *reader, struct model_case *one)
{
	const char *word = next_word(reader);
	struct copy *copy = &one->copy;

	if (strcmp(word, "case") == 0)
		begin_case(reader, one);
	else if (strcmp(word, "mine") == 0)
		add_mailbox(&copy->mailboxes, &copy->mailbox_count, &copy->mailbox_room,
			read_mailbox(reader, copy->arena));
	else if (strcmp(word, "theirs") == 0)
		add_mailbox(&one->theirs.mailboxes, &one->theirs.mailbox_count,
			&one->theirs.mailbox_room, read_mailbox(reader, copy->arena));
	else if (strcmp(word, "own") == 0)
		add_own(copy, read_message(reader, copy->arena));
	else if (strcmp(word, "sent") == 0)
		add_sent(&one->theirs, read_message(reader, copy->arena));
	else if (strcmp(word, "set") == 0)
		add_own_register(copy, read_register(reader, copy->arena));
	else if (strcmp(word, "told") == 0)
		add_register(&one->theirs.registers, &one->theirs.register_count,
			&one->theirs.register_room, read_register(reader, copy->arena));
	else
		integrate_case(one);
	if (strcmp(word, "mailbox") == 0)
		expect_mailbox(one, read_mailbox(reader, copy->arena));
	else if (strcmp(word, "message") == 0)
		expect_message(one, read_message(reader, copy->arena));
	else if (strcmp(word, "setting") == 0)
		expect_register(one, read_register(reader, copy->arena));
	else if (strcmp(word, "end") == 0)
		end_case(one, next_number(reader));
}

static void merging_agrees_with_the_model(void **state)
{
	struct model_case one = { 0 };
	char *line = NULL;
	size_t room = 0, case_count = 0;

	(void)state;
	while (getline(&line, &room, stdin) > 0) {
		struct reader reader = { 0 };
		char *save, *word = strtok_r(line, " \n", &save);

		for (; word != NULL; word = strtok_r(NULL, " \n", &save)) {
			assert_true(reader.count < WORD_COUNT_MAX);
			reader.words[reader.count++] = word;
		}
		case_count += strcmp(reader.words[0], "case") == 0;
		take_line(&reader, &one);
	}
	free(line);
	printf("%zu integrations compared\n", case_count);
	assert_true(case_count > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(merging_agrees_with_the_model) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
