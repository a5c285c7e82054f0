/*
 * Dialogues with a real server, as files that read like the examples of the RFCs. Each file is a
 * server of its own, and is played twice: as it stands, and with every byte sent by itself; and
 *with
 * --pair once, with a second node that follows and in the end must show the same (dialogue_pair.h).
 *
 *	C: a LOGIN alice secret     sent by client 1, with CRLF; "C2:" is client 2, and so on
 *	S: a OK ...                 the next line from the server; "..." is any text
 *	S: * [UIDNEXT <uidnext>]    <name> stands for any word the first time, later for that word
 *	S*: a OK ...                all lines up to one like this
 *	E:                          the server has closed; a client that goes on connects anew
 *	login 2                     client 2 connects and logs in as alice
 *	compress 1                  all between client 1 and the server is compressed from here on
 *	login 3 bob                 client 3 as bob
 *	shared team bob lrs         makes the shared account "team", with that entry for its INBOX
 *	append INBOX 3              client 1 puts 3 small messages there
 *	mailboxes 2 a 1000          client 2 creates a/1 to a/1000
 *	quota alice MESSAGE 5       the operator limits alice's account; what is not named is
 *				    unlimited
 *	server tells-progress       as the first line: one that tells how far a search is whenever
 *				    it can
 *	server wants-tls            likewise: one that takes no passwords without TLS
 *
 * "{~}" and "{~+}" at the end of a C: line announce the L: lines that follow as a literal, without
 *the last CRLF; after them comes a C: line with the rest of the command. "{~}" waits for "+". A
 *line that begins with '#', and empty ones, are for the reader. "\0" is NUL, and in
 *C: and L: lines "\xe9" is that byte.
 */
#include "dialogue_pair.h"
#include "imap_fixture.h"

#include "base/mem.h"
#include "mail/acl.h"
#include "mail/quota.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#define CLIENT_COUNT_MAX 4
#define LINE_SIZE_MAX 4096
#define VARIABLE_COUNT_MAX 32

struct variable {
	char name[32];
	char value[128];
};

struct dialogue {
	struct imap_fixture server;
	const char *path;
	bool is_bytewise;
	bool is_pair;
	struct dialogue_pair pair;
	FILE *file;
	unsigned line_number;
	char line[LINE_SIZE_MAX];
	bool is_line_waiting; /* `line` was read and not used */
	struct net_client *clients[CLIENT_COUNT_MAX];
	struct variable variables[VARIABLE_COUNT_MAX];
	size_t variable_count;
};

static struct net_client *client_of(struct dialogue *dialogue, unsigned number)
{
	assert_in_range(number, 1, CLIENT_COUNT_MAX);
	if (dialogue->clients[number - 1] == NULL) {
		dialogue->clients[number - 1] = test_connect(dialogue->server.port);
		test_expect_start(dialogue->clients[number - 1], "* OK ");
	}
	return dialogue->clients[number - 1];
}

static void send_bytes(struct dialogue *dialogue, unsigned client, struct bytes bytes)
{
	struct net_client *to = client_of(dialogue, client);
	struct error error = { 0 };

	while (bytes.len > 0) {
		struct bytes piece = bytes_take(&bytes, dialogue->is_bytewise ? 1 : bytes.len);

		if (net_client_write(to, piece, HELPER_TIMEOUT_MS, &error) < 0)
			fail_msg("%s:%u: %s", dialogue->path, dialogue->line_number, error.text);
	}
}

/* ---- patterns ---- */

static const char *variable_get(const struct dialogue *dialogue, struct bytes name)
{
	for (size_t i = 0; i < dialogue->variable_count; i++) {
		if (bytes_equal_string(name, dialogue->variables[i].name))
			return dialogue->variables[i].value;
	}
	return NULL;
}

static void variable_set(struct dialogue *dialogue, struct bytes name, struct bytes value)
{
	struct variable *variable = &dialogue->variables[dialogue->variable_count++];

	assert_true(dialogue->variable_count <= VARIABLE_COUNT_MAX);
	snprintf(variable->name, sizeof(variable->name), "%.*s", BYTES_ARGS(name));
	snprintf(variable->value, sizeof(variable->value), "%.*s", BYTES_ARGS(value));
}

/* "<name>" at the front of `text`: a lower-case word in angle brackets. */
static bool take_name(struct bytes *text, struct bytes *name_r)
{
	size_t end = bytes_find(*text, '>');

	if (bytes_peek(*text) != '<' || end == text->len || end < 2)
		return false;
	for (size_t i = 1; i < end; i++) {
		if (!islower(text->ptr[i]))
			return false;
	}
	*name_r = bytes_of(text->ptr + 1, end - 1);
	bytes_skip(text, end + 1);
	return true;
}

static bool is_word_byte(int byte)
{
	return byte > ' ' && strchr("()[]<>\"", byte) == NULL;
}

static bool match(struct dialogue *dialogue, struct bytes pattern, struct bytes line)
{
	size_t variable_count = dialogue->variable_count, len = 0;
	struct bytes name;
	const char *value;

	while (pattern.len > 0) {
		if (bytes_start_with(pattern, BYTES_LITERAL("..."))) {
			bytes_skip(&pattern, 3);
			for (; line.len > 0; bytes_skip(&line, 1)) {
				if (match(dialogue, pattern, line))
					return true;
			}
			continue;
		}
		if (!take_name(&pattern, &name)) {
			if (bytes_peek(pattern) != bytes_peek(line))
				goto no;
			bytes_skip(&pattern, 1);
			bytes_skip(&line, 1);
			continue;
		}
		value = variable_get(dialogue, name);
		if (value == NULL) {
			for (len = 0; len < line.len && is_word_byte(line.ptr[len]); len++)
				;
			if (len == 0)
				goto no;
			variable_set(dialogue, name, bytes_of(line.ptr, len));
			bytes_skip(&line, len);
		} else if (bytes_start_with(line, bytes_of_string(value))) {
			bytes_skip(&line, strlen(value));
		} else {
			goto no;
		}
	}
	if (line.len == 0)
		return true;
no:
	dialogue->variable_count = variable_count;
	return false;
}

/* The pattern says "\0" where the line has NUL. */
static bool match_with_nul(struct dialogue *dialogue, struct bytes pattern, struct bytes line)
{
	struct buffer text = { NULL, 0, 0 };
	bool is_match;

	for (size_t i = 0; i < line.len; i++) {
		if (line.ptr[i] == '\0')
			buffer_append_string(&text, "\\0");
		else
			buffer_append_byte(&text, line.ptr[i]);
	}
	is_match = match(dialogue, pattern, buffer_bytes(&text));
	buffer_deinit(&text);
	return is_match;
}

/* ---- the lines of a dialogue ---- */

static bool next_line(struct dialogue *dialogue)
{
	if (dialogue->is_line_waiting) {
		dialogue->is_line_waiting = false;
		return true;
	}
	if (fgets(dialogue->line, sizeof(dialogue->line), dialogue->file) == NULL)
		return false;
	dialogue->line[strcspn(dialogue->line, "\n")] = '\0';
	dialogue->line_number++;
	return true;
}

static void expect(struct dialogue *dialogue, unsigned client, const char *pattern, bool skips)
{
	struct net_client *from = client_of(dialogue, client);
	struct error error = { 0 };
	struct bytes line;

	do {
		if (net_client_read_line(from, 1000000, &line, HELPER_TIMEOUT_MS, &error) < 0)
			fail_msg("%s:%u: instead of \"%s\": %s", dialogue->path,
				dialogue->line_number, pattern, error.text);
		if (match_with_nul(dialogue, bytes_of_string(pattern), line))
			return;
	} while (skips);
	fail_msg("%s:%u:\nexpected \"%s\"\ngot      \"%.*s\"", dialogue->path,
		dialogue->line_number, pattern, BYTES_ARGS(line));
}

/* With "\0" and "\xe9" as the bytes that they stand for. */
static void append_with_bytes(struct buffer *out, const char *text)
{
	for (; *text != '\0'; text++) {
		unsigned byte;

		if (strncmp(text, "\\0", 2) == 0) {
			buffer_append_byte(out, '\0');
			text++;
		} else if (strncmp(text, "\\x", 2) == 0 && sscanf(text + 2, "%2x", &byte) == 1) {
			buffer_append_byte(out, (int)byte);
			text += 3;
		} else {
			buffer_append_byte(out, *text);
		}
	}
}

/* The L: lines, with CRLF in between. */
static void read_literal(struct dialogue *dialogue, struct buffer *literal)
{
	for (bool is_first = true; next_line(dialogue); is_first = false) {
		const char *line = dialogue->line;

		if (strncmp(line, "L:", 2) != 0) {
			dialogue->is_line_waiting = true;
			return;
		}
		if (!is_first)
			buffer_append_string(literal, "\r\n");
		append_with_bytes(literal, line[2] == ' ' ? line + 3 : line + 2);
	}
}

static void append_with_values(struct dialogue *dialogue, struct buffer *out, const char *line)
{
	struct bytes text = bytes_of_string(line), name;

	while (text.len > 0) {
		struct bytes before = text;
		const char *value = take_name(&text, &name) ? variable_get(dialogue, name) : NULL;

		if (value != NULL) {
			buffer_append_string(out, value);
			continue;
		}
		text = before;
		buffer_append_byte(out, bytes_peek(text));
		bytes_skip(&text, 1);
	}
}

static void say(struct dialogue *dialogue, unsigned client, const char *line)
{
	struct buffer plain = { NULL, 0, 0 }, out = { NULL, 0, 0 }, literal = { NULL, 0, 0 };
	const char *mark = strstr(line, "{~");
	size_t mark_size = mark != NULL ? strlen(mark) : 0;
	bool waits = mark != NULL && mark[2] != '+';

	append_with_values(dialogue, &plain, line);
	append_with_bytes(&out, buffer_string(&plain));
	if (mark == NULL) {
		buffer_append_string(&out, "\r\n");
		send_bytes(dialogue, client, buffer_bytes(&out));
	} else {
		read_literal(dialogue, &literal); /* into the place where `line` was */
		buffer_truncate(&out, out.len - mark_size);
		buffer_printf(&out, "{%zu%s}\r\n", literal.len, waits ? "" : "+");
		send_bytes(dialogue, client, buffer_bytes(&out));
		if (waits)
			expect(dialogue, client, "+ OK", false);
		send_bytes(dialogue, client, buffer_bytes(&literal));
	}
	buffer_deinit(&plain);
	buffer_deinit(&out);
	buffer_deinit(&literal);
}

/* Whatever the client does then, it does with a new connection. */
static void expect_end(struct dialogue *dialogue, unsigned client)
{
	test_expect_end(client_of(dialogue, client));
	net_client_free(&dialogue->clients[client - 1]);
}

static void log_in(struct dialogue *dialogue, const char *arguments)
{
	char user[64] = "alice", line[100];
	unsigned client;

	assert_true(sscanf(arguments, "%u %63s", &client, user) >= 1);
	snprintf(line, sizeof(line), "login LOGIN %s secret", user);
	say(dialogue, client, line);
	expect(dialogue, client, "login OK ...", false);
}

static void make_shared(struct dialogue *dialogue, const char *arguments)
{
	struct mail *mail = dialogue->server.mail;
	char name[64], identifier[64], letters[64];
	struct arena *arena = arena_new();
	struct mailbox_record inbox;
	struct kv_txn *kv = NULL;
	unsigned rights;
	uint32_t account;

	assert_int_equal(sscanf(arguments, "%63s %63s %63s", name, identifier, letters), 3);
	assert_int_equal(mail_account_open(mail, bytes_of_string(name), true, NULL, &account), 0);
	assert_int_equal(mail_account_mark_shared(mail, account, NULL), 0);
	assert_int_equal(mail_read_begin(mail, 0, &kv), 0);
	assert_int_equal(
		account_find_mailbox(kv, account, BYTES_LITERAL("INBOX"), arena, &inbox), 0);
	mail_read_end(&kv);
	assert_int_equal(acl_parse_rights(bytes_of_string(letters), &rights), 0);
	assert_int_equal(acl_change(mail, account, inbox.id, bytes_of_string(identifier), ACL_SET,
				 rights, NULL, NULL),
		0);
	arena_free(&arena);
}

static void append(struct dialogue *dialogue, const char *arguments)
{
	char mailbox[64], message[40], line[160];
	unsigned count;

	assert_int_equal(sscanf(arguments, "%63s %u", mailbox, &count), 2);
	for (unsigned i = 1; i <= count; i++) {
		snprintf(message, sizeof(message), "Subject: %02u\r\n\r\ntext", i);
		snprintf(line, sizeof(line), "append APPEND %s {%zu+}\r\n%s", mailbox,
			strlen(message), message);
		say(dialogue, 1, line);
		expect(dialogue, 1, "append OK ...", true);
	}
}

static void make_mailboxes(struct dialogue *dialogue, const char *arguments)
{
	struct buffer commands = { NULL, 0, 0 };
	struct error error = { 0 };
	char above[64];
	unsigned client, count;

	assert_int_equal(sscanf(arguments, "%u %63s %u", &client, above, &count), 3);
	for (unsigned i = 1; i <= count; i++)
		buffer_printf(&commands, "mailbox CREATE %s/%u\r\n", above, i);
	assert_int_equal(net_client_write(client_of(dialogue, client), buffer_bytes(&commands),
				 HELPER_TIMEOUT_MS, &error),
		0);
	buffer_deinit(&commands);
	for (unsigned i = 1; i <= count; i++)
		expect(dialogue, client, "mailbox OK ...", false);
}

static void limit(struct dialogue *dialogue, const char *arguments)
{
	struct quota_changes changes;
	char user[64], name[64];
	unsigned long long number;
	uint32_t account;
	int used;

	for (int i = 0; i < QUOTA_RESOURCE_COUNT; i++) {
		changes.change[i] = QUOTA_SET;
		changes.limits.of[i] = QUOTA_UNLIMITED;
	}
	assert_int_equal(sscanf(arguments, "%63s%n", user, &used), 1);
	for (arguments += used; sscanf(arguments, "%63s %llu%n", name, &number, &used) == 2;
		arguments += used) {
		enum quota_resource resource = quota_resource_find(bytes_of_string(name));

		assert_int_not_equal(resource, QUOTA_RESOURCE_COUNT);
		changes.limits.of[resource] = number;
	}
	assert_int_equal(mail_account_open(dialogue->server.mail, bytes_of_string(user), false,
				 NULL, &account),
		0);
	assert_int_equal(quota_set(dialogue->server.mail, account, &changes, NULL, NULL), 0);
}

static void compress(struct dialogue *dialogue, const char *arguments)
{
	struct net_client *client = client_of(dialogue, (unsigned)atoi(arguments));

	assert_int_equal(net_client_start_compression(client, NULL), 0);
}

/* A line that begins with a word of its own; false: it is none. */
static bool play_word(struct dialogue *dialogue)
{
	static const struct {
		const char *word;
		void (*play)(struct dialogue *dialogue, const char *arguments);
	} words[] = { { "login ", log_in }, { "shared ", make_shared }, { "compress ", compress },
		{ "append ", append }, { "mailboxes ", make_mailboxes }, { "quota ", limit } };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		size_t len = strlen(words[i].word);

		if (strncmp(dialogue->line, words[i].word, len) == 0) {
			words[i].play(dialogue, dialogue->line + len);
			return true;
		}
	}
	return false;
}

static void play_line(struct dialogue *dialogue)
{
	const char *line = dialogue->line;
	unsigned client = 1;
	const char *rest;
	bool skips;

	if (line[0] == '\0' || line[0] == '#' || play_word(dialogue))
		return;
	rest = line + 1;
	if (isdigit((unsigned char)*rest))
		client = (unsigned)(*rest++ - '0');
	skips = *rest == '*';
	rest += skips ? 1 : 0;
	if (*rest != ':')
		fail_msg("%s:%u: what is this?", dialogue->path, dialogue->line_number);
	rest += rest[1] == ' ' ? 2 : 1;
	if (line[0] == 'C')
		say(dialogue, client, rest);
	else if (line[0] == 'S')
		expect(dialogue, client, rest, skips);
	else if (line[0] == 'E')
		expect_end(dialogue, client);
	else
		fail_msg("%s:%u: what is this?", dialogue->path, dialogue->line_number);
}

static void start_server(struct dialogue *dialogue)
{
	dialogue->is_line_waiting = next_line(dialogue);
	if (strcmp(dialogue->line, "server tells-progress") == 0)
		imap_fixture_start_telling(&dialogue->server);
	else
		imap_fixture_start_with(
			&dialogue->server, strcmp(dialogue->line, "server wants-tls") != 0, 100000);
	if (strncmp(dialogue->line, "server ", 7) == 0)
		dialogue->is_line_waiting = false;
}

static void play(void **state)
{
	struct dialogue *dialogue = *state;

	dialogue->file = fopen(dialogue->path, "r");
	assert_non_null(dialogue->file);
	start_server(dialogue);
	if (dialogue->is_pair)
		dialogue_pair_start(&dialogue->pair, &dialogue->server, dialogue->path);
	while (next_line(dialogue)) {
		play_line(dialogue);
		if (dialogue->is_pair && dialogue->line[0] == 'S')
			dialogue_pair_follow(&dialogue->pair);
	}
	if (dialogue->is_pair)
		dialogue_pair_compare(&dialogue->pair);
	for (unsigned i = 0; i < CLIENT_COUNT_MAX; i++)
		net_client_free(&dialogue->clients[i]);
	if (dialogue->is_pair)
		dialogue_pair_stop(&dialogue->pair);
	imap_fixture_stop(&dialogue->server);
	fclose(dialogue->file);
}

static int is_dialogue(const struct dirent *entry)
{
	const char *end = strrchr(entry->d_name, '.');

	return end != NULL && strcmp(end, ".txt") == 0;
}

static char *join(const char *a, const char *between, const char *b)
{
	char line[600];

	snprintf(line, sizeof(line), "%s%s%s", a, between, b);
	return mem_strdup(line);
}

int main(int count, char **arguments)
{
	bool is_pair = count > 1 && strcmp(arguments[1], "--pair") == 0;
	int first = is_pair ? 2 : 1;
	const char *folder = count > first ? arguments[first] : "tests/imap";
	const char *only = count > first + 1 ? arguments[first + 1] : "";
	struct dirent **entries;
	int entry_count = scandir(folder, &entries, is_dialogue, alphasort);
	struct CMUnitTest *tests = mem_zalloc_array((size_t)entry_count * 2, sizeof(*tests));
	size_t test_count = 0;
	int failed_count;

	for (int i = 0; i < entry_count; i++) {
		for (int mode = 0;
			mode < (is_pair ? 1 : 2) && strstr(entries[i]->d_name, only) != NULL;
			mode++) {
			struct dialogue *dialogue = mem_zalloc(sizeof(*dialogue));

			dialogue->path = join(folder, "/", entries[i]->d_name);
			dialogue->is_bytewise = mode == 1;
			dialogue->is_pair = is_pair;
			tests[test_count].name =
				join(entries[i]->d_name, "", mode == 1 ? ", byte by byte" : "");
			tests[test_count].test_func = play;
			tests[test_count++].initial_state = dialogue;
		}
		free(entries[i]);
	}
	free(entries);
	failed_count = _cmocka_run_group_tests("imap dialogues", tests, test_count, NULL, NULL);
	for (size_t i = 0; i < test_count; i++) {
		struct dialogue *dialogue = tests[i].initial_state;

		free((char *)dialogue->path);
		free((char *)tests[i].name);
		free(dialogue);
	}
	free(tests);
	return failed_count;
}
