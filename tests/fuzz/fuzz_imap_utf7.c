/*
 * Mailbox names: the input is taken as modified UTF-7 and as UTF-8. Each name has one form only, so
 * both ways round must give what there was; libc's own converter is asked too, which takes more
 * forms but must understand them alike.
 */
#include "fuzz_check.h"

#include "imap/imap_utf7.h"

#include "base/error.h"

#include <iconv.h>
#include <stdint.h>

#define INPUT_SIZE_MAX 4096

/* Opened once: that takes longer than all the rest. */
struct converter {
	const char *from, *to;
	iconv_t handle;
	bool is_open;
};

static struct converter decoder = { .from = "UTF-7-IMAP", .to = "UTF-8" };
static struct converter encoder = { .from = "UTF-8", .to = "UTF-7-IMAP" };
static struct converter checker = { .from = "UTF-8", .to = "UTF-16LE" };

/* False: libc does not know the charset (before 2.36), or does not take the text. */
static bool libc_convert(struct converter *converter, struct bytes in, struct buffer *out)
{
	char *source = (char *)(uintptr_t)in.ptr, *target;
	size_t source_size = in.len, target_size = in.len * 8 + 16;
	bool is_good;

	if (!converter->is_open)
		converter->handle = iconv_open(converter->to, converter->from);
	converter->is_open = true;
	if (converter->handle == (iconv_t)-1)
		return false;
	iconv(converter->handle, NULL, NULL, NULL, NULL);
	target = (char *)buffer_extend(out, target_size);
	is_good = iconv(converter->handle, &source, &source_size, &target, &target_size) == 0 &&
		  iconv(converter->handle, NULL, NULL, &target, &target_size) == 0;
	out->len = (size_t)((unsigned char *)target - out->data);
	return is_good;
}

static bool has_nul(struct bytes text)
{
	return bytes_find(text, '\0') < text.len;
}

static void check_encoded(struct bytes in, struct arena *arena)
{
	struct buffer again = { 0 }, other = { 0 };
	struct bytes utf8 = { NULL, 0 };

	if (imap_utf7_decode(arena, in, &utf8) == 0) {
		FUZZ_CHECK(imap_utf8_is_valid(utf8) && !has_nul(utf8));
		imap_utf7_encode(&again, utf8);
		FUZZ_CHECK(bytes_equal(buffer_bytes(&again), in));
		if (in.len > 0 && libc_convert(&decoder, in, &other))
			FUZZ_CHECK(bytes_equal(buffer_bytes(&other), utf8));
	}
	buffer_deinit(&again);
	buffer_deinit(&other);
}

static void check_utf8(struct bytes in, struct arena *arena)
{
	struct buffer encoded = { 0 }, other = { 0 };
	struct bytes decoded = { NULL, 0 };
	bool is_valid = imap_utf8_is_valid(in);

	FUZZ_CHECK(!libc_convert(&checker, in, &other) || is_valid);
	buffer_clear(&other);
	imap_utf7_encode(&encoded, in);
	for (size_t i = 0; i < encoded.len; i++)
		FUZZ_CHECK(encoded.data[i] >= 0x20 && encoded.data[i] < 0x7f);
	if (!has_nul(in)) {
		FUZZ_CHECK(imap_utf7_decode(arena, buffer_bytes(&encoded), &decoded) == 0);
		FUZZ_CHECK(!is_valid || bytes_equal(decoded, in));
		if (is_valid && in.len > 0 && libc_convert(&encoder, in, &other))
			FUZZ_CHECK(bytes_equal(buffer_bytes(&other), buffer_bytes(&encoded)));
	}
	buffer_deinit(&encoded);
	buffer_deinit(&other);
}

/* Canonical names stay as they are, and only INBOX changes. */
static void check_canonical(struct bytes in, struct arena *arena)
{
	struct bytes name = imap_name_canonical(arena, in);

	FUZZ_CHECK(bytes_equal_nocase(name, in));
	FUZZ_CHECK(bytes_equal(imap_name_canonical(arena, name), name));
	FUZZ_CHECK(bytes_equal(name, in) || bytes_start_with(name, BYTES_LITERAL("INBOX")));
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct bytes in = bytes_of(data, size);
	struct arena *arena;

	if (size > INPUT_SIZE_MAX)
		return 0;
	arena = arena_new();
	check_encoded(in, arena);
	check_utf8(in, arena);
	check_canonical(in, arena);
	arena_free(&arena);
	return 0;
}
