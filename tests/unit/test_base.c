/* What is read eight octets at once gives what reading one by one would. */
#include "base/bytes.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/pack.h"
#include "base/parallel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define VARINT_SIZE_MAX 10

/* In a block of just that size, so that what reads beyond it is seen. */
static int unpack_exactly(const unsigned char *data, size_t size, uint64_t *value, size_t *left)
{
	unsigned char *block = mem_dup(data, size);
	struct bytes in = bytes_of(block, size);
	int rc = unpack_varint(&in, value);

	*left = in.len;
	free(block);
	return rc;
}

static void check_varint(uint64_t expected)
{
	struct buffer out = { 0 };
	size_t size, left;
	uint64_t value;

	pack_varint(&out, expected);
	size = out.len;
	for (size_t cut = 1; cut < size; cut++)
		assert_int_equal(unpack_exactly(out.data, cut, &value, &left), ERR_CORRUPT);
	for (size_t more = 0; more <= VARINT_SIZE_MAX; more++) {
		assert_int_equal(unpack_exactly(out.data, out.len, &value, &left), 0);
		assert_true(value == expected && left == more);
		buffer_append_byte(&out, more % 2 == 0 ? 0xff : 0);
	}
	buffer_deinit(&out);
}

static void varints_of_every_length_are_read_whatever_follows(void **state)
{
	(void)state;
	check_varint(0);
	for (int bit = 0; bit < 64; bit++) {
		uint64_t power = (uint64_t)1 << bit;

		check_varint(power);
		check_varint(power - 1);
		check_varint(power | 1);
		check_varint(power | 0x5555555555555555u);
		check_varint(UINT64_MAX - power);
	}
}

static void a_varint_that_is_not_minimal_or_too_great_is_corrupt(void **state)
{
	unsigned char data[16] = { 0 };
	uint64_t value;
	size_t left;

	(void)state;
	for (size_t size = 2; size <= VARINT_SIZE_MAX; size++) {
		memset(data, 0x80, sizeof(data));
		data[size - 1] = 0; /* ends with an octet that adds nothing */
		assert_int_equal(unpack_exactly(data, size, &value, &left), ERR_CORRUPT);
		assert_int_equal(unpack_exactly(data, sizeof(data), &value, &left), ERR_CORRUPT);
	}
	memset(data, 0xff, sizeof(data));
	data[VARINT_SIZE_MAX - 1] = 1; /* 2^64 - 1 */
	assert_int_equal(unpack_exactly(data, sizeof(data), &value, &left), 0);
	data[VARINT_SIZE_MAX - 1] = 2;
	assert_int_equal(unpack_exactly(data, sizeof(data), &value, &left), ERR_CORRUPT);
	data[VARINT_SIZE_MAX - 1] = 0xff;
	assert_int_equal(unpack_exactly(data, sizeof(data), &value, &left), ERR_CORRUPT);
}

static void the_ascii_at_the_front_is_counted_exactly(void **state)
{
	unsigned char data[40];

	(void)state;
	for (size_t size = 0; size < sizeof(data); size++) {
		unsigned char *block;

		memset(data, 'a', sizeof(data));
		block = mem_dup(data, size);
		assert_int_equal(bytes_ascii_len(bytes_of(block, size)), size);
		for (size_t at = 0; at < size; at++) {
			block[at] = 0x80;
			assert_int_equal(bytes_ascii_len(bytes_of(block, size)), at);
			block[at] = 0x7f;
		}
		free(block);
	}
}

static void round_count(void *context, size_t index)
{
	unsigned char *counts = context;

	counts[index]++; /* each has its own */
}

static void each_round_of_a_parallel_loop_runs_once(void **state)
{
	static const size_t sizes[] = { 0, 1, 15, 16, 33, 1000 };

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		unsigned char *counts = mem_zalloc(sizes[i] + 1);

		parallel_run(sizes[i], round_count, counts);
		for (size_t k = 0; k < sizes[i]; k++)
			assert_int_equal(counts[k], 1);
		assert_int_equal(counts[sizes[i]], 0);
		free(counts);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(varints_of_every_length_are_read_whatever_follows),
		cmocka_unit_test(a_varint_that_is_not_minimal_or_too_great_is_corrupt),
		cmocka_unit_test(each_round_of_a_parallel_loop_runs_once),
		cmocka_unit_test(the_ascii_at_the_front_is_counted_exactly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
