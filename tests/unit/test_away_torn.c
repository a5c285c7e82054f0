/*
 * An account that goes and comes back (mail/away.h, ADMIT, a first copy in parts), on a disk, with
 * a kill -9 at each commit: before its write to the disk, within it, and after it. B has all of it
 * in memory, and what it learnt of the exchange that was torn is lost, too.
 */
#include "sync_fixture.h"
#include "test_folder.h"

#include "base/mem.h"
#include "mail/account_mode.h"
#include "mail/away.h"
#include "mail/hold.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define MESSAGE_COUNT 1100 /* more than one commit clears away of one table */
#define PART_SIZE 150      /* records in one part of a first copy */
#define WRITE_COUNT_MAX 400
#define CLEARED_TABLE_COUNT 7 /* in which there is something of this account, at least */

enum tear { TEAR_BEFORE, TEAR_WITHIN, TEAR_AFTER, TEAR_COUNT, TEAR_NEVER = TEAR_COUNT };

struct torn_io {
	struct store_io io;
	enum tear tear;
	unsigned passed_count; /* writes that are not torn before that */
};

struct torn {
	char path[64];
	struct store_options options;
	struct torn_io io;
	struct node *a; /* on disk; NULL: closed */
	struct node *b;
	uint32_t account; /* at A */
};

static void die(void)
{
	kill(getpid(), SIGKILL);
	pause();
}

static ssize_t torn_write(
	const struct store_io *io, int fd, const struct iovec *iov, int count, off_t offset)
{
	struct torn_io *torn = (struct torn_io *)(uintptr_t)io;
	ssize_t wrote;

	if (torn->tear == TEAR_NEVER || torn->passed_count-- > 0)
		return pwritev(fd, iov, count, offset);
	switch (torn->tear) {
	case TEAR_BEFORE:
		break;
	case TEAR_WITHIN:
		wrote = pwrite(fd, iov[0].iov_base, iov[0].iov_len / 2 + 1, offset);
		assert_true(wrote > 0);
		break;
	default:
		wrote = pwritev(fd, iov, count, offset);
		assert_true(wrote > 0);
		break;
	}
	die();
	return -1;
}

/* What a process wrote survives its end. */
static int torn_sync(const struct store_io *io, int fd)
{
	(void)io;
	(void)fd;
	return 0;
}

static void open_a(struct torn *torn)
{
	struct error error = { 0 };

	torn->a = mem_zalloc(sizeof(*torn->a));
	if (store_open(&torn->options, &error, &torn->a->store) < 0)
		fail_msg("%s", error.text);
	assert_int_equal(mail_open(torn->a->store, clock_system(), &torn->a->mail), 0);
	torn->a->account = torn->account;
	torn->a->part_size = PART_SIZE;
}

static void fill_mailbox(struct node *node, const char *mailbox, unsigned count)
{
	char text[32];

	for (unsigned i = 0; i < count; i++) {
		snprintf(text, sizeof(text), "%s %u", mailbox, i);
		node_append(node, mailbox, text);
	}
}

static int setup(void **state)
{
	struct torn *torn = mem_zalloc(sizeof(*torn));

	*state = torn;
	strcpy(torn->path, "/tmp/chapar-test-away-XXXXXX");
	assert_non_null(test_folder_make(torn->path));
	torn->io = (struct torn_io){ { torn_write, torn_sync }, TEAR_NEVER, 0 };
	torn->options =
		(struct store_options){ .path = torn->path, .create = true, .io = &torn->io.io };
	open_a(torn);
	assert_int_equal(
		mail_account_open(torn->a->mail, BYTES_LITERAL("anna"), true, NULL, &torn->account),
		0);
	torn->a->account = torn->account;
	fill_mailbox(torn->a, "Work", MESSAGE_COUNT);
	fill_mailbox(torn->a, "INBOX", 5);
	node_flag(torn->a, "INBOX", 2, "\\Seen");
	node_move(torn->a, "INBOX", 3, "Work");
	node_expunge(torn->a, "INBOX", 4);
	torn->b = node_new();
	torn->b->part_size = PART_SIZE;
	return 0;
}

static int teardown(void **state)
{
	struct torn *torn = *state;

	node_free(&torn->a);
	node_free(&torn->b);
	test_folders_remove();
	free(torn);
	return 0;
}

static void report(void *context, const char *text)
{
	(void)context;
	fail_msg("verify: %s", text);
}

/* A is whole or away or being filled, and nothing in between. */
static void check_a(struct torn *torn)
{
	struct account_header header = node_header(torn->a);
	struct error error = { 0 };
	int rc = mail_hold_check(torn->a->mail, torn->account, &error);

	assert_int_equal(store_verify(torn->a->store, report, NULL, &error), 0);
	assert_int_equal(account_verify(torn->a->mail, torn->account, true, report, NULL), 0);
	switch (header.hold) {
	case ACCOUNT_SERVED:
		assert_int_equal(rc, 0);
		nodes_check_equal(torn->a, torn->b);
		break;
	case ACCOUNT_FILLING:
		assert_int_equal(rc, ERR_UNAVAILABLE);
		break;
	default:
		assert_int_equal(header.hold, ACCOUNT_AWAY);
		assert_int_equal(rc, ERR_REPLICA);
	}
}

static uint64_t body_bytes(struct node *node)
{
	struct store_status status;

	store_get_status(node->store, &status);
	return status.body_bytes;
}

/* ---- what is torn; each goes on where it was ---- */

typedef void act_function(struct torn *torn);

static void go(struct torn *torn)
{
	struct account_header header = node_header(torn->a);

	if (header.hold == ACCOUNT_SERVED)
		assert_int_equal(
			account_away_begin(torn->a->mail, torn->account, header.sequence, NULL), 0);
}

/* As at the start of a daemon. */
static void clear(struct torn *torn)
{
	struct account_clearing clearing = { 0 };
	int rc = 1;

	while (rc > 0)
		rc = account_clearing_next(torn->a->mail, &clearing, NULL);
	assert_int_equal(rc, 0);
}

static void come_back(struct torn *torn)
{
	struct buffer answer = { 0 };

	nodes_connect(torn->b, torn->a, NULL);
	do {
		assert_int_equal(node_ask(torn->a, "ADMIT %(ACCOUNT anna)", &answer), 0);
	} while (strstr(buffer_string(&answer), "MORE") != NULL);
	assert_string_equal(buffer_string(&answer), "ADMITTED %()");
	buffer_deinit(&answer);
	nodes_exchange(torn->b, torn->a, NULL);
}

/* Whether it came to its end. */
static bool try_in_child(
	struct torn *torn, act_function *act, enum tear tear, unsigned passed_count)
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		open_a(torn);
		torn->io.tear = tear;
		torn->io.passed_count = passed_count;
		act(torn);
		/* What the end of a process would write is not of the act. */
		_exit(0);
	}
	assert_true(child > 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	if (WIFSIGNALED(status))
		assert_int_equal(WTERMSIG(status), SIGKILL);
	else
		assert_int_equal(WEXITSTATUS(status), 0);
	return WIFEXITED(status);
}

/* The position of the last commit that A then has. */
static uint64_t check_reopened(struct torn *torn)
{
	struct store_status status;

	open_a(torn);
	check_a(torn);
	store_get_status(torn->a->store, &status);
	node_free(&torn->a);
	return status.durable_position;
}

/*
 * Kills it at its first write, and again at what is the first of the rest, to its end. A commit
 * with many bodies is many writes, which are nothing before the last: of these some are left out,
 * more the longer nothing is reached. Returns how many commits it took.
 */
static unsigned tear_at_each_commit(struct torn *torn, act_function *act)
{
	unsigned count = 0, passed_count = 0;
	uint64_t position = check_reopened(torn), reached = position;

	for (bool is_done = false; !is_done;) {
		for (int tear = 0; tear < TEAR_COUNT && !is_done; tear++) {
			is_done = try_in_child(torn, act, (enum tear)tear, passed_count);
			reached = check_reopened(torn);
		}
		passed_count = reached > position ? 0 : passed_count + 1 + passed_count / 2;
		count += reached > position;
		position = reached;
		assert_true(passed_count < WRITE_COUNT_MAX);
	}
	return count;
}

static void killed_at_each_commit_it_goes_and_comes_back_whole(void **state)
{
	struct torn *torn = *state;
	struct account_mode mode = { .has_master = true, .node = { "b", "b.example.org" } };

	mode.master = mail_node(torn->b->mail);
	assert_int_equal(mail_mode_set(torn->a->mail, torn->account, &mode, NULL), 0);
	nodes_connect(torn->a, torn->b, NULL);
	nodes_exchange(torn->a, torn->b, NULL);
	node_find_account(torn->b);
	check_a(torn);
	node_free(&torn->a);
	assert_true(tear_at_each_commit(torn, go) >= 1);
	assert_true(tear_at_each_commit(torn, clear) >= CLEARED_TABLE_COUNT + 1);
	open_a(torn);
	assert_int_equal(node_header(torn->a).hold, ACCOUNT_AWAY);
	assert_int_equal(body_bytes(torn->a), 0);
	node_free(&torn->a);
	node_append(torn->b, "INBOX", "while it was away");
	assert_true(tear_at_each_commit(torn, come_back) > MESSAGE_COUNT / PART_SIZE);
	open_a(torn);
	assert_int_equal(node_header(torn->a).hold, ACCOUNT_SERVED);
	nodes_connect(torn->b, torn->a, NULL);
	nodes_exchange(torn->b, torn->a, NULL);
	nodes_check_equal(torn->a, torn->b);
	assert_int_equal(node_count(torn->a, "Work"), MESSAGE_COUNT + 1);
	assert_int_equal(node_count(torn->a, "INBOX"), 4);
	/* Of what came in parts that were torn no body is held twice. */
	assert_true(body_bytes(torn->a) > 0);
	go(torn);
	clear(torn);
	assert_int_equal(body_bytes(torn->a), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			killed_at_each_commit_it_goes_and_comes_back_whole, setup, teardown),
	};

	return cmocka_run_group_tests_name("moves that are torn", tests, NULL, NULL);
}
