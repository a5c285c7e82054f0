/*
 * What the tests of the store share: a store in a directory of its own, or its twin in memory, and
 * the commits they make in it. Everything here fails the running test when it fails.
 */
#ifndef CHAPAR_TESTS_STORE_FIXTURE_H
#define CHAPAR_TESTS_STORE_FIXTURE_H

#include "store/store.h"

#include <stdatomic.h>

#define TABLE STORE_TABLE_FIRST_FREE
#define B(text) BYTES_LITERAL(text)

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define TEST_BOTH(name)                                                                            \
	TEST(name),                                                                                \
	{                                                                                          \
#name " (memory)", name, set_up_memory, tear_down, NULL                            \
	}

struct fixture {
	char path[64];
	struct store_options options;
	struct store *store;
	bool is_memory; /* the twin in memory, where nothing is reopened */
};

struct put {
	struct bytes key, value;
	const struct store_body *body;
	bool must_fail;
};

struct shared {
	_Atomic uint32_t acknowledged[4];
};

struct writer {
	struct fixture *fixture;
	struct shared *shared;
	int number;
};

int set_up(void **state);
int set_up_memory(void **state);
int tear_down(void **state);
void open_store(struct fixture *fixture);
int run_put(struct store_write *write, void *context);
int put_value(struct fixture *fixture, const char *key, const char *value, uint64_t *position);
int run_delete(struct store_write *write, void *context);
void check_value(struct fixture *fixture, uint64_t position, const char *key, const char *expected);
int run_release(struct store_write *write, void *context);
void add_body(struct fixture *fixture, const char *key, struct bytes raw, struct guid *guid);
int read_body(
	struct fixture *fixture, const struct guid *guid, struct buffer *out, uint64_t position);
void *write_for_ever(void *context);
void count_report(void *context, const char *text);
void segment_path(struct fixture *fixture, char path[128]);

#endif
