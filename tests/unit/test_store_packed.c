/* The store: bodies that go from store to store as they are compressed. */
#include "store_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <zstd.h>

#include <cmocka.h>

static void text_make(struct buffer *out)
{
	for (int i = 0; i < 20; i++)
		buffer_printf(out, "X-Field-%d: some value of some length\r\n", i);
	buffer_append_string(out, "\r\n");
	for (int i = 0; i < 500; i++)
		buffer_printf(out, "line %d of a body that compresses\r\n\r\n", i);
}

/* Adds the body as it came packed, and reads it back as it is stored then. */
static uint64_t pass_on(struct fixture *fixture, const char *key, struct bytes raw,
	struct bytes packed, struct buffer *out)
{
	struct put put = { bytes_of_string(key), B("x"), NULL, false };
	struct store_body *body = NULL;
	struct kv_txn *kv = NULL;
	uint64_t position, size;

	assert_int_equal(store_body_prepare_packed(fixture->store, raw, packed, &body), 0);
	put.body = body;
	assert_int_equal(store_commit(fixture->store, run_put, &put, NULL, &position), 0);
	buffer_clear(out);
	assert_int_equal(store_read_begin(fixture->store, position, &kv), 0);
	assert_int_equal(
		store_body_read_stored(fixture->store, kv, store_body_guid(body), out, &size), 0);
	if (size != 0) {
		struct buffer again = { 0 };

		assert_int_equal(
			store_body_unpack(fixture->store, buffer_bytes(out), size, &again), 0);
		assert_true(bytes_equal(buffer_bytes(&again), raw));
		buffer_deinit(&again);
	}
	store_body_free(&body);
	store_read_end(&kv);
	return size;
}

static void pack(struct buffer *out, struct bytes raw, int level)
{
	size_t bound = ZSTD_compressBound(raw.len), start = out->len, size;

	size = ZSTD_compress(buffer_extend(out, bound), bound, raw.ptr, raw.len, level);
	assert_false(ZSTD_isError(size));
	buffer_truncate(out, start + size);
}

static void a_body_is_stored_as_it_came(void **state)
{
	struct fixture *fixture = *state;
	struct buffer text = { 0 }, packed = { 0 }, out = { 0 };
	size_t head;

	fixture->options.compression = 1;
	open_store(fixture);
	text_make(&text);
	head = (size_t)((unsigned char *)memmem(text.data, text.len, "\r\n\r\n", 4) - text.data) +
	       4;
	/* At another level than the store's own, so that it shows. */
	pack(&packed, bytes_of(text.data, head), 9);
	pack(&packed, bytes_of(text.data + head, text.len - head), 9);
	assert_int_equal(
		pass_on(fixture, "a", buffer_bytes(&text), buffer_bytes(&packed), &out), text.len);
	assert_true(bytes_equal(buffer_bytes(&out), buffer_bytes(&packed)));
	/* All in one is as good. */
	buffer_append_string(&text, "another\r\n");
	buffer_clear(&packed);
	pack(&packed, buffer_bytes(&text), 9);
	assert_int_equal(
		pass_on(fixture, "b", buffer_bytes(&text), buffer_bytes(&packed), &out), text.len);
	assert_true(bytes_equal(buffer_bytes(&out), buffer_bytes(&packed)));
	buffer_deinit(&text);
	buffer_deinit(&packed);
	buffer_deinit(&out);
}

/* Else the head that is read alone would be another, or there would be more than the body. */
static void what_is_packed_otherwise_is_packed_anew(void **state)
{
	struct fixture *fixture = *state;
	static const unsigned char skippable[] = { 0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4 };
	struct buffer text = { 0 }, packed = { 0 }, out = { 0 }, head = { 0 };
	struct kv_txn *kv = NULL;
	struct guid guid;

	fixture->options.compression = 1;
	open_store(fixture);
	text_make(&text);
	pack(&packed, bytes_of(text.data, 100), 1);
	pack(&packed, bytes_of(text.data + 100, text.len - 100), 1);
	pass_on(fixture, "a", buffer_bytes(&text), buffer_bytes(&packed), &out);
	assert_false(bytes_equal(buffer_bytes(&out), buffer_bytes(&packed)));
	guid_of(buffer_bytes(&text), &guid);
	assert_int_equal(store_read_begin(fixture->store, 0, &kv), 0);
	assert_int_equal(store_body_read_head(fixture->store, kv, &guid, &head), 0);
	assert_non_null(memmem(head.data, head.len, "\r\n\r\n", 4));
	store_read_end(&kv);
	buffer_append_string(&text, "another\r\n");
	buffer_clear(&packed);
	pack(&packed, buffer_bytes(&text), 1);
	buffer_append_bytes(&packed, bytes_of(skippable, sizeof(skippable)));
	pass_on(fixture, "b", buffer_bytes(&text), buffer_bytes(&packed), &out);
	assert_false(bytes_equal(buffer_bytes(&out), buffer_bytes(&packed)));
	buffer_deinit(&text);
	buffer_deinit(&packed);
	buffer_deinit(&out);
	buffer_deinit(&head);
}

static void a_store_that_does_not_compress_keeps_it_plain(void **state)
{
	struct fixture *fixture = *state;
	struct buffer text = { 0 }, packed = { 0 }, out = { 0 };

	fixture->options.compression = 0;
	open_store(fixture);
	text_make(&text);
	pack(&packed, buffer_bytes(&text), 1);
	assert_int_equal(
		pass_on(fixture, "a", buffer_bytes(&text), buffer_bytes(&packed), &out), 0);
	assert_true(bytes_equal(buffer_bytes(&out), buffer_bytes(&text)));
	buffer_deinit(&text);
	buffer_deinit(&packed);
	buffer_deinit(&out);
}

static void what_cannot_be_unpacked_is_refused(void **state)
{
	struct fixture *fixture = *state;
	struct buffer text = { 0 }, packed = { 0 }, out = { 0 };

	open_store(fixture);
	text_make(&text);
	pack(&packed, buffer_bytes(&text), 1);
	assert_int_equal(
		store_body_unpack(fixture->store, buffer_bytes(&packed), text.len - 1, &out),
		ERR_CORRUPT);
	assert_int_equal(
		store_body_unpack(fixture->store, buffer_bytes(&packed), text.len + 1, &out),
		ERR_CORRUPT);
	assert_int_equal(store_body_unpack(fixture->store, B("no frame"), 8, &out), ERR_CORRUPT);
	assert_int_equal(out.len, 0);
	buffer_deinit(&text);
	buffer_deinit(&packed);
	buffer_deinit(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_body_is_stored_as_it_came),
		TEST(what_is_packed_otherwise_is_packed_anew),
		TEST_BOTH(a_store_that_does_not_compress_keeps_it_plain),
		TEST_BOTH(what_cannot_be_unpacked_is_refused),
	};

	return cmocka_run_group_tests_name("store_packed", tests, NULL, NULL);
}
