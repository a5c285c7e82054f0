/*
 * The transcripts of docs/protocol.md are what two nodes really say. Each block marked
 * "```transcript NAME" there must be the same as the scenario of that name here, but for line
 * breaks and indentation. Clock and random numbers are fixed, so every digit is.
 */
#include "sync_fixture.h"

#include "backup/object_serve.h"
#include "base/mem.h"
#include "mail/account_mode.h"
#include "mail/acl.h"
#include "mail/away.h"
#include "sync/forward.h"
#include "test_folder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

void __wrap_random_bytes(void *ptr, size_t len); /* NOLINT: the linker's name */

static uint64_t random_state;

void __wrap_random_bytes(void *ptr, size_t len)
{
	unsigned char *bytes = ptr;

	for (size_t i = 0; i < len; i++) {
		random_state = random_state * UINT64_C(6364136223846793005) + 1442695040888963407;
		bytes[i] = (unsigned char)(random_state >> 33);
	}
}

/* Bodies of this size cannot be read on this node. */
static const struct mail *damaged_mail;
static uint64_t damaged_size;

int __real_message_body(
	struct mail *mail, struct kv_txn *kv, const struct guid *guid, struct buffer *out);
int __wrap_message_body(
	struct mail *mail, struct kv_txn *kv, const struct guid *guid, struct buffer *out);

int __wrap_message_body(
	struct mail *mail, struct kv_txn *kv, const struct guid *guid, struct buffer *out)
{
	uint64_t size;

	if (mail == damaged_mail && store_body_exists(kv, guid, &size) == 0 && size == damaged_size)
		return ERR_CORRUPT;
	return __real_message_body(mail, kv, guid, out);
}

static uint64_t fixed_now_ms(const struct clock *clock)
{
	(void)clock;
	return UINT64_C(1793520000000);
}

static const struct clock fixed_clock = { fixed_now_ms };

struct scene {
	struct node *a, *b;
	struct buffer text;
	struct wire wire;
};

static struct node *scene_node(bool has_account)
{
	struct node *node = mem_zalloc(sizeof(*node));

	assert_int_equal(store_open_memory(&node->store), 0);
	assert_int_equal(mail_open(node->store, &fixed_clock, &node->mail), 0);
	if (has_account)
		assert_int_equal(mail_account_open(node->mail, BYTES_LITERAL("anna"), true, NULL,
					 &node->account),
			0);
	return node;
}

static void begin(struct scene *scene)
{
	random_state = 1;
	*scene = (struct scene){ .a = scene_node(true), .b = scene_node(false) };
	scene->wire.transcript = &scene->text;
}

/* ---- the scenarios ---- */

static void say_hello(struct scene *scene)
{
	struct buffer request = { 0 }, answer = { 0 };

	sync_hello_request(scene->a->mail, NULL, &request);
	nodes_connect(scene->a, scene->b, NULL);
	buffer_append_string(&scene->text, "C: ");
	buffer_append_bytes(&scene->text, buffer_bytes(&request));
	assert_int_equal(node_ask(scene->b, buffer_string(&request), &answer), 0);
	buffer_append_string(&scene->text, "\nS: ");
	buffer_append_bytes(&scene->text, buffer_bytes(&answer));
	buffer_deinit(&request);
	buffer_deinit(&answer);
}

static void first_push(struct scene *scene)
{
	node_append(scene->a, "INBOX", "one");
	nodes_exchange(scene->a, scene->b, &scene->wire);
}

static void fill(struct scene *scene)
{
	node_append(scene->a, "INBOX", "one");
	node_append(scene->a, "INBOX", "two");
	scene->a->part_size = 1;
	nodes_exchange(scene->a, scene->b, &scene->wire);
}

static void fill_pull(struct scene *scene)
{
	assert_int_equal(mail_account_open(scene->b->mail, BYTES_LITERAL("anna"), true, NULL,
				 &scene->b->account),
		0);
	node_append(scene->b, "INBOX", "one");
	node_append(scene->b, "INBOX", "two");
	scene->a->part_size = 1;
	nodes_exchange(scene->a, scene->b, &scene->wire);
}

static void small_push(struct scene *scene)
{
	nodes_exchange(scene->a, scene->b, NULL);
	node_append(scene->a, "INBOX", "two");
	nodes_exchange(scene->a, scene->b, &scene->wire);
}

static void changed(struct scene *scene)
{
	uint32_t uid = node_append(scene->a, "INBOX", "one");

	nodes_exchange(scene->a, scene->b, NULL);
	node_flag(scene->b, "INBOX", uid, "\\Answered");
	node_append(scene->b, "INBOX", "from b");
	node_flag(scene->a, "INBOX", uid, "\\Seen");
	nodes_exchange(scene->a, scene->b, &scene->wire);
}

static void missing(struct scene *scene)
{
	uint32_t uid;

	nodes_exchange(scene->a, scene->b, NULL);
	uid = node_append(scene->a, "INBOX", "one");
	node_move(scene->a, "INBOX", uid, "Archive");
	nodes_exchange(scene->a, scene->b, &scene->wire);
}

static void differs(struct scene *scene)
{
	uint32_t uid = node_append(scene->a, "INBOX", "one");
	struct common_point point;

	nodes_exchange(scene->a, scene->b, NULL);
	node_flag(scene->b, "INBOX", uid, "\\Flagged");
	point = (struct common_point){ node_header(scene->a).sequence,
		node_header(scene->b).sequence };
	assert_int_equal(point_save(scene->a->mail, scene->a->account, mail_node(scene->b->mail),
				 point, NULL),
		0);
	node_mailbox(scene->a, "Work");
	nodes_exchange(scene->a, scene->b, &scene->wire);
}

static void illegal(struct scene *scene)
{
	static const char request[] =
		"APPLY %(ACCOUNT anna EXPECT 1 SINCE 1 SEQUENCE 7 HIGHEST 9007199254740991 "
		"RESULT 00000000000000000000000000000000)";
	struct buffer answer = { 0 };

	nodes_exchange(scene->a, scene->b, NULL);
	assert_int_equal(node_ask(scene->b, request, &answer), ERR_ILLEGAL);
	buffer_printf(&scene->text, "C: %s\nS: %s", request, buffer_string(&answer));
	buffer_deinit(&answer);
}

static void nobody(void *context)
{
	(void)context;
}

static void ask_of(struct scene *scene, const char *request)
{
	struct buffer answer = { 0 };

	(void)node_ask(scene->b, request, &answer);
	buffer_printf(&scene->text, "C: %s\nS: %s\n", request, buffer_string(&answer));
	buffer_deinit(&answer);
}

static void hear(struct scene *scene)
{
	struct buffer news = { 0 };

	while (sync_news(scene->b->session, &news) > 0) {
		buffer_printf(&scene->text, "S: %s\n", buffer_string(&news));
		buffer_clear(&news);
	}
	buffer_deinit(&news);
}

static void notify(struct scene *scene)
{
	uint32_t uid = node_append(scene->a, "INBOX", "one");

	nodes_exchange(scene->a, scene->b, NULL);
	nodes_connect(scene->a, scene->b, NULL);
	sync_session_on_news(scene->b->session, nobody, NULL);
	ask_of(scene, "NOTIFY %(ACCOUNTS (%(ACCOUNT anna SINCE 3)) RECORDS 2 BODIES 1000)");
	hear(scene);
	node_flag(scene->b, "INBOX", uid, "\\Seen");
	hear(scene);
	node_append(scene->b, "INBOX", "two");
	hear(scene);
	for (int i = 0; i < 3; i++)
		node_append(scene->b, "INBOX", "more than is told at once");
	hear(scene);
	ask_of(scene, "NOTIFY %(NONE 1)");
}

static void damaged(struct scene *scene)
{
	nodes_exchange(scene->a, scene->b, NULL);
	node_append(scene->b, "INBOX", "one");
	node_append(scene->b, "INBOX", "damaged");
	damaged_mail = scene->b->mail;
	damaged_size = strlen("Subject: damaged\r\n\r\ndamaged\r\n");
	nodes_exchange(scene->a, scene->b, &scene->wire);
	damaged_mail = NULL;
}

static void stage(struct scene *scene)
{
	nodes_exchange(scene->a, scene->b, NULL);
	ask_of(scene,
		"STAGE %(PART 1 MAILBOXES (%(ID 1a1fd4356b8dde623db024a051a09f12 NAME Work NAMED "
		"1836564480000001.d659cce65af39af6 UIDVALIDITY 1793520000 UIDNEXT 1 MODSEQ "
		"1836564480000001)))");
	ask_of(scene, "INTEGRATE %(ACCOUNT anna SINCE 1 SEQUENCE 2 HIGHEST 1836564480000001 PARTS "
		      "1 REGISTERS (%(KIND SUBSCRIPTION KEY Work STAMP "
		      "1836564480000002.d659cce65af39af6 MODSEQ 1836564480000002 VALUE 1)))");
	ask_of(scene, "CHANGES %(ACCOUNT anna SINCE 1 COMMON 1)");
}

/* What bert, who may log in at B, sees and does of anna's mailboxes. */
static void others(struct scene *scene)
{
	static struct sync_rights rights = {
		.account = "bert", .identity.name = "bert", .other_users_prefix = "Other Users"
	};
	unsigned granted = ACL_LOOKUP | ACL_READ | ACL_SEEN | ACL_WRITE | ACL_INSERT;
	struct error error;
	struct id128 work;
	uint32_t uid;

	nodes_exchange(scene->a, scene->b, NULL);
	assert_int_equal(mail_account_open(scene->b->mail, BYTES_LITERAL("bert"), true, NULL,
				 &rights.identity.account),
		0);
	uid = node_append(scene->b, "Work", "one");
	node_append(scene->b, "INBOX", "not for bert");
	work = node_mailbox(scene->b, "Work");
	assert_int_equal(acl_change(scene->b->mail, scene->b->account, work, BYTES_LITERAL("bert"),
				 ACL_SET, granted, &error, &scene->b->position),
		0);
	nodes_connect(scene->a, scene->b, &rights);
	sync_session_on_news(scene->b->session, nobody, NULL);
	ask_of(scene, "POINTS %(CURSOR 0 OTHERS 1)");
	ask_of(scene, "NOTIFY %(ALL 1 OTHERS 1)");
	ask_of(scene, "CHANGES %(ACCOUNT anna SINCE 0)");
	ask_of(scene, "GET %(ACCOUNT anna INSTANCES (1836564480000001.29bafbf27c20ba0c))");
	node_flag(scene->b, "Work", uid, "\\Flagged");
	hear(scene);
	ask_of(scene, "RANGE %(ACCOUNT anna)");
	/* He has "w", not "t". */
	ask_of(scene,
		"APPLY %(ACCOUNT anna EXPECT 8 SINCE 8 SEQUENCE 3 HIGHEST 1836564480000002 RESULT "
		"00000000000000000000000000000000 MESSAGES (%(INSTANCE "
		"1836564480000001.29bafbf27c20ba0c MAILBOX 1a1fd4356b8dde623db024a051a09f12 UID 1 "
		"MODSEQ 1836564480000002 FLAGS (\\Deleted + 1836564480000002.d659cce65af39af6) "
		"GUID "
		"973ef6a1bc020aa44c0cdb8a6d862467ac42180a27bc6a18ddf43c589a47479a SIZE 21 "
		"INTERNALDATE 1700000000 SAVEDATE 1793520000000)))");
	ask_of(scene, "APPEND %(ACCOUNT anna MESSAGE %(INSTANCE 1836564480000000.7be0f508907a8c05 "
		      "MAILBOX "
		      "1a1fd4356b8dde623db024a051a09f12 UID 9 MODSEQ 1836564480000000 GUID "
		      "3f43efde841c73ac625376505f503f674bf73f3ce4314fe8790ab54cf8bd4132 SIZE 29 "
		      "INTERNALDATE 1700000000 SAVEDATE 1793520000000) BODY {29+}\r\nSubject: sent "
		      "on\r\n\r\nsent on\r\n)");
	assert_int_equal(acl_change(scene->b->mail, scene->b->account, work, BYTES_LITERAL("bert"),
				 ACL_SET, 0, &error, &scene->b->position),
		0);
	hear(scene);
	ask_of(scene, "CHANGES %(ACCOUNT anna SINCE 0)");
}

/* What he arranges there: mailboxes, and who may do what. */
static void arrange(struct scene *scene)
{
	static struct sync_rights rights = {
		.account = "bert", .identity.name = "bert", .other_users_prefix = "Other Users"
	};
	unsigned granted = ACL_LOOKUP | ACL_READ | ACL_CREATE | ACL_DELETE | ACL_ADMINISTER;
	struct error error;
	struct id128 work;

	nodes_exchange(scene->a, scene->b, NULL);
	assert_int_equal(mail_account_open(scene->b->mail, BYTES_LITERAL("bert"), true, NULL,
				 &rights.identity.account),
		0);
	work = node_mailbox(scene->b, "Work");
	assert_int_equal(acl_change(scene->b->mail, scene->b->account, work, BYTES_LITERAL("bert"),
				 ACL_SET, granted, &error, &scene->b->position),
		0);
	nodes_connect(scene->a, scene->b, &rights);
	ask_of(scene, "ARRANGE %(ACCOUNT anna MAILBOX 77777777777777777777777777777777 NAME "
		      "Work/new NAMED 1836564480000000.7be0f508907a8c05)");
	ask_of(scene, "ARRANGE %(ACCOUNT anna MAILBOX 77777777777777777777777777777777 NAME "
		      "Work/newer NAMED 1836564480000009.7be0f508907a8c05)");
	ask_of(scene, "ARRANGE %(ACCOUNT anna MAILBOX 88888888888888888888888888888888 NAME "
		      "Work/newer NAMED 1836564480000009.7be0f508907a8c05)");
	ask_of(scene, "ARRANGE %(ACCOUNT anna MAILBOX 88888888888888888888888888888888 NAME "
		      "New NAMED 1836564480000009.7be0f508907a8c05)");
	ask_of(scene, "GETACL %(ACCOUNT anna SINCE 0)");
	ask_of(scene, "SETACL %(ACCOUNT anna MAILBOX 77777777777777777777777777777777 IDENTIFIER "
		      "carl RIGHTS lr STAMP 1836564480000009.7be0f508907a8c05)");
	ask_of(scene, "SETACL %(ACCOUNT anna MAILBOX 77777777777777777777777777777777 IDENTIFIER "
		      "bert RIGHTS lrxk WAS lrkxa STAMP 1836564480000001.7be0f508907a8c05)");
	ask_of(scene, "SETACL %(ACCOUNT anna MAILBOX 77777777777777777777777777777777 IDENTIFIER "
		      "carl RIGHTS \"\" STAMP 1836564480000010.7be0f508907a8c05)");
	ask_of(scene, "ARRANGE %(ACCOUNT anna MAILBOX 77777777777777777777777777777777 COMMON 0)");
	ask_of(scene, "ARRANGE %(ACCOUNT anna MAILBOX 77777777777777777777777777777777 COMMON 0)");
}

/* A part of an account: A asks for Work only, and B lets it see no more than that and Archive. */
static void view(struct scene *scene)
{
	static const struct sync_rights rights = { .is_full = true, .mailboxes = "Work,Archive" };

	nodes_exchange(scene->a, scene->b, NULL);
	node_append(scene->b, "Work", "one");
	node_append(scene->b, "INBOX", "not for A");
	nodes_connect(scene->a, scene->b, &rights);
	ask_of(scene, "HELLO %(NODE d659cce65af39af6 VERSION 1 VIEW \"Work, Play*\")");
	ask_of(scene, "CHANGES %(ACCOUNT anna SINCE 1 COMMON 1)");
}

static void append(struct scene *scene)
{
	struct append_message message = { .internaldate = 1700000000 };
	struct forward forward = { .account = "anna", .uidnext = 1, .message = &message };
	struct buffer request = { 0 };
	struct mail_body *body = NULL;

	nodes_exchange(scene->a, scene->b, NULL);
	nodes_connect(scene->a, scene->b, NULL);
	node_append(scene->b, "INBOX", "so that it lends nothing");
	assert_int_equal(mail_body_prepare(scene->a->mail,
				 BYTES_LITERAL("Subject: sent on\r\n\r\nsent on\r\n"), &body),
		0);
	message.body = body;
	forward.mailbox = node_mailbox(scene->a, "INBOX");
	forward.instance = (struct stamp){ UINT64_C(1836564480000000), mail_node(scene->a->mail) };
	forward_request(&forward, &request);
	ask_of(scene, buffer_string(&request));
	/* Sent on by the node that it was sent to. */
	buffer_clear(&request);
	forward.hop_count = 1;
	forward_request(&forward, &request);
	ask_of(scene, buffer_string(&request));
	mail_body_free(&body);
	buffer_deinit(&request);
}

/* One request for each code that a peer can bring about by what it asks. */
/* B has moved the account to A, is asked about it, and takes it again. */
static void away(struct scene *scene)
{
	struct account_mode mode = { .has_master = true,
		.master = mail_node(scene->a->mail),
		.node = { "a", "a.example.org" } };

	node_append(scene->a, "INBOX", "one");
	assert_int_equal(mail_mode_set(scene->a->mail, scene->a->account, &mode, NULL), 0);
	nodes_exchange(scene->a, scene->b, NULL);
	node_find_account(scene->b);
	assert_int_equal(account_away_begin(scene->b->mail, scene->b->account,
				 node_header(scene->b).sequence, NULL),
		0);
	ask_of(scene, "POINTS %(ACCOUNTS (anna))");
	ask_of(scene, "CHANGES %(ACCOUNT anna SINCE 1 COMMON 1)");
	ask_of(scene, "ADMIT %(ACCOUNT anna)");
	ask_of(scene, "POINTS %(ACCOUNTS (anna))");
}

static void errors(struct scene *scene)
{
	static const struct sync_rights rights = { .account = "bert" };
	static const struct sync_rights reading = { .is_full = true, .is_read_only = true };

	nodes_exchange(scene->a, scene->b, NULL);
	ask_of(scene, "CHANGES %(ACCOUNT anna)");
	ask_of(scene, "NONSENSE %()");
	ask_of(scene, "CHANGES (");
	ask_of(scene, "CHANGES %(ACCOUNT nobody SINCE 0)");
	ask_of(scene, "APPLY %(ACCOUNT anna EXPECT 1 SINCE 1 SEQUENCE 7 HIGHEST 0 RESULT "
		      "00000000000000000000000000000000 PARTS 2)");
	nodes_connect(scene->a, scene->b, &rights);
	ask_of(scene, "CHANGES %(ACCOUNT anna SINCE 0)");
	ask_of(scene, "INTEGRATE %(ACCOUNT bert SINCE 0 SEQUENCE 1 HIGHEST 0)");
	nodes_connect(scene->a, scene->b, &reading);
	ask_of(scene, "PUT %(BODIES ())");
	sync_session_free(&scene->b->session);
	nodes_connect(scene->a, scene->b, NULL);
	ask_of(scene, "HELLO %(NODE 29bafbf27c20ba0c VERSION 1)");
	ask_of(scene, "HELLO %(NODE d659cce65af39af6 VERSION 2)");
}

static void objects(struct scene *scene)
{
	static const struct sync_rights keeping = { .account = "keeper" };
	char folder[] = "/tmp/chapar-objects-XXXXXX";
	struct object_server *server;

	assert_non_null(test_folder_make(folder));
	server = object_server_new(folder, false);
	sync_session_free(&scene->b->session);
	scene->b->session = sync_session_new(scene->b->mail, &keeping);
	sync_session_divert(scene->b->session, object_server_respond, server);
	ask_of(scene, "HELLO %(NODE d659cce65af39af6 VERSION 1)");
	ask_of(scene, "OBJECTPUT %(NAME packs/00 OFFSET 0 LAST 1 DATA bytes)");
	ask_of(scene, "OBJECTLOCK %(WHO \"process 7 on a\")");
	ask_of(scene, "OBJECTPUT %(NAME packs/00 OFFSET 0 DATA by)");
	ask_of(scene, "OBJECTPUT %(NAME packs/00 OFFSET 2 LAST 1 DATA tes)");
	ask_of(scene, "OBJECTLIST %(FOLDER packs)");
	ask_of(scene, "OBJECTGET %(NAME packs/00 OFFSET 3 SIZE 100)");
	ask_of(scene, "OBJECTPUT %(NAME packs/00 OFFSET 0 LAST 1 DATA others)");
	ask_of(scene, "OBJECTREMOVE %(NAME packs/00)");
	ask_of(scene, "POINTS %(CURSOR 0)");
	sync_session_free(&scene->b->session);
	object_server_free(&server);
}

static const struct scenario {
	const char *name;
	void (*run)(struct scene *scene);
} scenarios[] = {
	{ "hello", say_hello },
	{ "first-push", first_push },
	{ "fill", fill },
	{ "fill-pull", fill_pull },
	{ "small-push", small_push },
	{ "changed", changed },
	{ "missing", missing },
	{ "differs", differs },
	{ "illegal", illegal },
	{ "damaged", damaged },
	{ "stage", stage },
	{ "append", append },
	{ "notify", notify },
	{ "others", others },
	{ "arrange", arrange },
	{ "view", view },
	{ "away", away },
	{ "errors", errors },
	{ "objects", objects },
};
#define SCENARIO_COUNT (sizeof(scenarios) / sizeof(scenarios[0]))

/* ---- comparing ---- */

static void read_file(const char *path, struct buffer *out)
{
	FILE *file = fopen(path, "r");
	char block[4096];
	size_t count;

	assert_non_null(file);
	while ((count = fread(block, 1, sizeof(block), file)) > 0)
		buffer_append(out, block, count);
	fclose(file);
}

/* Any run of blanks and line ends as one blank; none at the ends. */
static void put_normal(struct bytes text, struct buffer *out)
{
	bool needs_blank = false;

	for (; text.len > 0; bytes_skip(&text, 1)) {
		if (strchr(" \t\r\n", text.ptr[0]) != NULL && text.ptr[0] != '\0') {
			needs_blank = out->len > 0;
			continue;
		}
		if (needs_blank)
			buffer_append_byte(out, ' ');
		needs_blank = false;
		buffer_append_byte(out, text.ptr[0]);
	}
}

/* The block's text, or an empty one. */
static struct bytes find_block(struct bytes document, const char *name)
{
	char fence[64];
	const char *begin, *end;

	snprintf(fence, sizeof(fence), "```transcript %s\n", name);
	begin = strstr((const char *)document.ptr, fence);
	if (begin == NULL)
		return bytes_of("", 0);
	begin += strlen(fence);
	end = strstr(begin, "```");
	return end == NULL ? bytes_of("", 0) : bytes_of(begin, (size_t)(end - begin));
}

static void every_transcript_of_the_document_is_what_nodes_say(void **state)
{
	struct buffer document = { 0 };
	unsigned differing_count = 0;

	(void)state;
	read_file(CHAPAR_PROTOCOL_FILE, &document);
	for (size_t i = 0; i < SCENARIO_COUNT; i++) {
		struct buffer told = { 0 }, said = { 0 };
		struct scene scene;

		begin(&scene);
		scenarios[i].run(&scene);
		put_normal(buffer_bytes(&scene.text), &said);
		put_normal(find_block(buffer_bytes(&document), scenarios[i].name), &told);
		if (!bytes_equal(buffer_bytes(&told), buffer_bytes(&said))) {
			/* In full: cmocka cuts what it tells. */
			fprintf(stderr, "transcript %s must read:\n%s\n", scenarios[i].name,
				buffer_string(&scene.text));
			differing_count++;
		}
		buffer_deinit(&told);
		buffer_deinit(&said);
		buffer_deinit(&scene.text);
		node_free(&scene.a);
		node_free(&scene.b);
	}
	buffer_deinit(&document);
	assert_int_equal(differing_count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_transcript_of_the_document_is_what_nodes_say),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
