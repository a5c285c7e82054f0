/*
 * The names and small files of a Maildir. The first byte of the input says which; what is read must
 * be what Chapar can store, UIDs must grow, and a mailbox name must come back as it was.
 */
#include "fuzz_check.h"

#include "foreign/maildir_files.h"
#include "foreign/rights.h"
#include "foreign/source.h"
#include "imap/imap_utf7.h"
#include "mail/acl.h"
#include "mail/mail.h"

#define INPUT_SIZE_MAX 65536

static void check_flags(const struct bytes *flags, size_t count)
{
	FUZZ_CHECK(count <= SOURCE_FLAG_COUNT_MAX);
	for (size_t i = 0; i < count; i++) {
		struct bytes name = flags[i];

		if (bytes_peek(name) == '\\')
			bytes_skip(&name, 1);
		FUZZ_CHECK(source_keyword_is_valid(name));
		for (size_t k = 0; k < i; k++)
			FUZZ_CHECK(!bytes_equal_nocase(flags[i], flags[k]));
	}
}

static void check_name(struct bytes in)
{
	struct maildir_keywords keywords = {
		.names = { [0] = BYTES_LITERAL("a"), [25] = BYTES_LITERAL("not valid") }
	};
	struct maildir_name name = maildir_name_parse(in);
	struct bytes flags[SOURCE_FLAG_COUNT_MAX];
	size_t count = 0;

	FUZZ_CHECK(bytes_start_with(in, name.base));
	FUZZ_CHECK(bytes_find(name.base, ':') == name.base.len);
	maildir_flags_of_letters(name.letters, &keywords, flags, &count);
	check_flags(flags, count);
}

static void check_uids(struct bytes in, struct arena *arena)
{
	struct maildir_uids uids = { 0 };

	if (maildir_uids_parse(in, arena, &uids) < 0)
		return;
	FUZZ_CHECK(uids.uidvalidity != 0 && uids.uidnext != 0);
	for (struct bytes rest = in; rest.len > 0; bytes_skip(&rest, rest.len > 0)) {
		struct bytes line = bytes_take(&rest, bytes_find(rest, '\n'));
		const struct maildir_uid *uid;

		bytes_skip(&line, bytes_find(line, ':') < line.len ? bytes_find(line, ':') + 1 : 0);
		uid = map_get(&uids.of, maildir_name_parse(line).base);
		FUZZ_CHECK(uid == NULL || (uid->uid > 0 && uid->uid < uids.uidnext));
	}
	map_deinit(&uids.of);
}

static void check_keywords(struct bytes in, struct arena *arena)
{
	struct maildir_keywords keywords;
	struct courier_keywords courier;
	struct bytes flags[SOURCE_FLAG_COUNT_MAX];
	size_t count = 0;

	maildir_keywords_parse(in, &keywords);
	maildir_flags_of_letters(
		BYTES_LITERAL("abcdefghijklmnopqrstuvwxyzDFPRST"), &keywords, flags, &count);
	courier_keywords_parse(in, arena, &courier);
	maildir_flags_of_courier(&courier, BYTES_LITERAL("1.a"), flags, &count);
	maildir_flags_of_lines(in, flags, &count);
	check_flags(flags, count);
	map_deinit(&courier.messages);
}

static void check_folder(struct bytes in, struct arena *arena)
{
	struct buffer encoded = { 0 };
	struct bytes name;

	if (mailbox_name_check(in, NULL) < 0)
		return;
	maildir_folder_encode(in, '.', &encoded);
	FUZZ_CHECK(bytes_find(buffer_bytes(&encoded), '/') == encoded.len);
	name = maildir_folder_decode(buffer_bytes(&encoded), '.', arena);
	/* INBOX has one spelling, and a dot has no place in a level. */
	if (bytes_find(in, '.') == in.len)
		FUZZ_CHECK(bytes_equal(name, imap_name_canonical(arena, in)));
	buffer_deinit(&encoded);
}

/* Lines of rights, and what a server would tell of the same words. */
static void check_rights(struct bytes in, struct arena *arena)
{
	struct bytes identifier = bytes_of(in.ptr, bytes_find(in, ' '));
	struct rights_entry entry;
	unsigned rights;

	for (int i = 0; i < 2; i++) {
		if (i == 0 ? !rights_of_line(in, arena, &entry)
			   : !rights_of_acl(identifier, in, BYTES_LITERAL("anna"), arena, &entry))
			continue;
		FUZZ_CHECK(entry.identifier.len > 0);
		FUZZ_CHECK(acl_parse_rights(entry.letters, &rights) == 0 && rights != 0);
	}
}

static void ignore_name(void *context, struct bytes name)
{
	(void)context;
	FUZZ_CHECK(name.len > 0);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct bytes in = bytes_of(data, size);
	struct buffer body = { 0 };
	struct arena *arena;

	if (size == 0 || size > INPUT_SIZE_MAX)
		return 0;
	arena = arena_new();
	bytes_skip(&in, 1);
	switch (data[0]) {
	case 'n':
		check_name(in);
		break;
	case 'u':
		check_uids(in, arena);
		break;
	case 'k':
		check_keywords(in, arena);
		break;
	case 'f':
		check_folder(in, arena);
		(void)maildir_folder_decode(in, '.', arena);
		break;
	case 'a':
		check_rights(in, arena);
		break;
	case 's':
		for (int i = 0; i < 3; i++)
			maildir_subscriptions_parse(
				in, i == 0 ? '/' : '.', i == 2, arena, ignore_name, NULL);
		break;
	default:
		source_body_normalize(in, &body);
		FUZZ_CHECK(body.len >= in.len && bytes_find(buffer_bytes(&body), '\0') == body.len);
		for (size_t i = 0; i < body.len; i++)
			FUZZ_CHECK(body.data[i] != '\n' || (i > 0 && body.data[i - 1] == '\r'));
	}
	buffer_deinit(&body);
	arena_free(&arena);
	return 0;
}
