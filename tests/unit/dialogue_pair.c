#include "dialogue_pair.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

#define MAILBOX_COUNT_MAX 100 /* that are looked into; of all there is LIST and STATUS */
#define ITEMS                                                                                      \
	"UID FLAGS INTERNALDATE SAVEDATE RFC822.SIZE MODSEQ EMAILID THREADID ENVELOPE "            \
	"BODYSTRUCTURE PREVIEW ANNOTATION (/* (value size)) BODY.PEEK[]"

static const char *const users[] = { "alice", "bob", "carol", "boss" };

void dialogue_pair_start(struct dialogue_pair *pair, struct imap_fixture *server, const char *path)
{
	*pair = (struct dialogue_pair){ .server = server, .path = path };
	imap_fixture_start_with(&pair->other, true, 100000);
	pair->a = (struct node){ .store = server->store, .mail = server->mail };
	pair->b = (struct node){ .store = pair->other.store, .mail = pair->other.mail };
}

void dialogue_pair_stop(struct dialogue_pair *pair)
{
	sync_session_free(&pair->a.session);
	sync_session_free(&pair->b.session);
	imap_fixture_stop(&pair->other);
}

/* ---- exchanges ---- */

static bool account_header_at(struct node *node, uint32_t account, struct account_header *header_r)
{
	struct kv_txn *kv = NULL;
	int rc;

	assert_int_equal(mail_read_begin(node->mail, mail_position(node->mail), &kv), 0);
	rc = account_load(kv, account, header_r);
	mail_read_end(&kv);
	assert_true(rc == 0 || rc == ERR_NOT_FOUND);
	return rc == 0;
}

static void exchange(struct dialogue_pair *pair, struct node *from, struct node *to,
	const struct account_header *header)
{
	struct exchange_result result;

	from->account = header->number;
	result = nodes_try_exchange(from, to, NULL);
	if (result.error.code != 0)
		fail_msg("%s: exchange of %s: %d %s", pair->path, header->name, result.error.code,
			result.error.text);
}

void dialogue_pair_follow(struct dialogue_pair *pair)
{
	struct account_header header;

	for (uint32_t number = 1; account_header_at(&pair->a, number, &header); number++) {
		assert_in_range(number, 1, DIALOGUE_ACCOUNT_COUNT_MAX - 1);
		if (header.sequence == pair->sequences[number])
			continue;
		exchange(pair, &pair->a, &pair->b, &header);
		pair->sequences[number] = header.sequence;
	}
}

/* ---- what clients see ---- */

static const char *after(const char *line, const char *start)
{
	size_t size = strlen(start);

	return strncmp(line, start, size) == 0 ? line + size : NULL;
}

/* What belongs to a session, or is only promised to grow, is the same on no two nodes. */
static bool is_of_session(const char *line)
{
	const char *rest = after(line, "* ");

	if (rest == NULL)
		return false;
	return strstr(rest, " RECENT") != NULL || after(rest, "OK [HIGHESTMODSEQ") != NULL ||
	       after(rest, "OK [CLOSED") != NULL || after(rest, "OK [UNSEEN") != NULL;
}

static void cut_out(char *line, const char *word)
{
	for (char *at = strstr(line, word); at != NULL; at = strstr(line, word))
		memmove(at, at + strlen(word), strlen(at + strlen(word)) + 1);
}

/* The answer of `command`, without what is of the session; false if it is not OK. */
static bool ask(struct net_client *client, const char *command, struct buffer *answer)
{
	struct error error = { 0 };
	struct bytes line;
	char text[4096];

	buffer_clear(answer);
	buffer_printf(answer, "v %s\r\n", command);
	assert_int_equal(
		net_client_write(client, buffer_bytes(answer), HELPER_TIMEOUT_MS, &error), 0);
	buffer_clear(answer);
	for (;;) {
		if (net_client_read_line(client, 1000000, &line, HELPER_TIMEOUT_MS, &error) < 0)
			fail_msg("%s: %s", command, error.text);
		snprintf(text, sizeof(text), "%.*s", BYTES_ARGS(line));
		if (after(text, "v ") != NULL)
			break;
		cut_out(text, " \\Recent");
		cut_out(text, "\\Recent");
		if (!is_of_session(text))
			buffer_printf(answer, "%s\n", text);
	}
	buffer_printf(answer, "%.6s", text);
	return after(text, "v OK") != NULL;
}

static struct net_client *log_in_as(uint16_t port, const char *user)
{
	struct net_client *client = test_connect(port);
	struct buffer answer = { NULL, 0, 0 };
	char command[100];
	bool is_in;

	test_expect_start(client, "* OK ");
	snprintf(command, sizeof(command), "LOGIN %s secret", user);
	is_in = ask(client, command, &answer);
	buffer_deinit(&answer);
	if (!is_in)
		net_client_free(&client);
	return client;
}

struct look {
	struct dialogue_pair *pair;
	const char *user;
	struct net_client *here, *there;
	struct buffer left, right;
};

static void compare(struct look *look, const char *command)
{
	(void)ask(look->here, command, &look->left);
	(void)ask(look->there, command, &look->right);
	if (strcmp(buffer_string(&look->left), buffer_string(&look->right)) != 0)
		fail_msg("%s: %s, %s:\n%s\n---- the other node:\n%s", look->pair->path, look->user,
			command, buffer_string(&look->left), buffer_string(&look->right));
}

/* Names as they stand in the lines of LIST: `each` gets them so that they can be sent. */
static void each_mailbox(struct look *look, void (*each)(struct look *, const char *name))
{
	char name[1100], *lines, *line, *rest;
	unsigned count = 0;

	assert_true(ask(look->here, "LIST \"\" *", &look->left));
	lines = mem_strdup(buffer_string(&look->left));
	for (line = strtok_r(lines, "\n", &rest); line != NULL && count < MAILBOX_COUNT_MAX;
		line = strtok_r(NULL, "\n", &rest)) {
		const char *start = strstr(line, ") \"/\" ");

		if (start == NULL || strstr(line, "\\Noselect") != NULL)
			continue;
		start += strlen(") \"/\" ");
		if (start[0] == '{')
			snprintf(name, sizeof(name), "{%zu+}\r\n%s", (size_t)atoi(start + 1),
				strtok_r(NULL, "\n", &rest));
		else
			snprintf(name, sizeof(name), "%s", start);
		each(look, name);
		count++;
	}
	free(lines);
}

static void compare_mailbox(struct look *look, const char *name)
{
	static const char *const commands[] = { "EXAMINE %s", "UID FETCH 1:* (" ITEMS ")",
		"GETACL %s", "MYRIGHTS %s", "GETQUOTAROOT %s",
		"GETMETADATA (DEPTH infinity) %s (/private /shared)" };

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		const char *place = strstr(commands[i], "%s");
		char command[1300];

		snprintf(command, sizeof(command), "%.*s%s%s",
			place != NULL ? (int)(place - commands[i]) : 0, commands[i],
			place != NULL ? name : commands[i], place != NULL ? place + 2 : "");
		compare(look, command);
	}
}

static void compare_views(struct dialogue_pair *pair)
{
	for (size_t i = 0; i < sizeof(users) / sizeof(users[0]); i++) {
		struct look look = { .pair = pair, .user = users[i] };

		look.here = log_in_as(pair->server->port, users[i]);
		if (look.here == NULL)
			continue;
		dialogue_pair_follow(pair); /* an account that the login made */
		look.there = log_in_as(pair->other.port, users[i]);
		assert_non_null(look.there);
		compare(&look,
			"LIST \"\" * RETURN (SUBSCRIBED CHILDREN SPECIAL-USE MYRIGHTS STATUS "
			"(MESSAGES UIDNEXT UIDVALIDITY UNSEEN DELETED SIZE MAILBOXID))");
		compare(&look, "LSUB \"\" *");
		compare(&look, "NAMESPACE");
		compare(&look, "GETMETADATA (DEPTH infinity) \"\" (/private /shared)");
		each_mailbox(&look, compare_mailbox);
		net_client_free(&look.here);
		net_client_free(&look.there);
		buffer_deinit(&look.left);
		buffer_deinit(&look.right);
	}
}

/* ---- the way back ---- */

static void flag_mailbox(struct look *look, const char *name)
{
	char command[1200];

	snprintf(command, sizeof(command), "SELECT %s", name);
	if (ask(look->here, command, &look->right))
		(void)ask(look->here, "UID STORE 1:* +FLAGS.SILENT ($FromB)", &look->right);
}

static void change_there(struct dialogue_pair *pair)
{
	struct account_header header;

	for (size_t i = 0; i < sizeof(users) / sizeof(users[0]); i++) {
		struct look look = { .pair = pair, .user = users[i] };

		look.here = log_in_as(pair->other.port, users[i]);
		if (look.here == NULL)
			continue;
		each_mailbox(&look, flag_mailbox);
		net_client_free(&look.here);
		buffer_deinit(&look.left);
		buffer_deinit(&look.right);
	}
	for (uint32_t number = 1; account_header_at(&pair->b, number, &header); number++)
		exchange(pair, &pair->b, &pair->a, &header);
}

static void report(void *context, const char *text)
{
	const struct dialogue_pair *pair = context;

	fail_msg("%s: verify: %s", pair->path, text);
}

static void verify(struct dialogue_pair *pair, struct node *node)
{
	struct account_header header;

	for (uint32_t number = 1; account_header_at(node, number, &header); number++)
		assert_int_equal(account_verify(node->mail, number, true, report, pair), 0);
}

void dialogue_pair_compare(struct dialogue_pair *pair)
{
	dialogue_pair_follow(pair);
	compare_views(pair);
	change_there(pair);
	compare_views(pair);
	verify(pair, &pair->a);
	verify(pair, &pair->b);
}
