#include "imap_fixture.h"

#include <stdio.h>
#include <stdlib.h>

static int lookup(void *context, struct bytes name, struct buffer *blob)
{
	static const char *const users[] = { "alice", "bob", "carol", "nobody", "peer", "boss",
		"auditor" };
	struct imap_fixture *fixture = context;

	for (size_t i = 0; i < sizeof(users) / sizeof(users[0]); i++) {
		if (!bytes_equal_string_nocase(name, users[i]))
			continue;
		buffer_append_bytes(blob, buffer_bytes(&fixture->credentials));
		return 0;
	}
	return ERR_NOT_FOUND;
}

/* "boss" administers; "auditor" does too, and may change nothing; "peer" is a node. */
static int authorize(
	void *context, const char *authcid, const char *user, struct imap_grant *grant_r)
{
	bool is_himself = strcmp(authcid, user) == 0;

	(void)context;
	*grant_r = (struct imap_grant){ 0 };
	if (strcmp(authcid, "peer") == 0) {
		grant_r->is_peer = grant_r->rights.is_full = true;
	} else if (strcmp(authcid, "boss") == 0 || strcmp(authcid, "auditor") == 0) {
		grant_r->is_admin = is_himself;
		grant_r->is_delegate = !is_himself;
		grant_r->is_read_only = strcmp(authcid, "auditor") == 0;
		grant_r->rights.is_read_only = grant_r->is_read_only;
		return 0;
	}
	return is_himself ? 0 : ERR_REFUSED;
}

static bool may_create(void *context, const char *user)
{
	(void)context;
	return strcmp(user, "alice") == 0 || strcmp(user, "bob") == 0 || strcmp(user, "carol") == 0;
}

static void open_store(struct imap_fixture *fixture)
{
	char path[128];
	struct store_options options = fixture->store_options;
	struct error error = { 0 };

	snprintf(path, sizeof(path), "%s/store", fixture->files.directory);
	options.path = path;
	options.create = true;
	if (store_open(&options, &error, &fixture->store) < 0)
		fail_msg("%s", error.text);
	assert_int_equal(mail_open(fixture->store, clock_system(), &fixture->mail), 0);
}

static const char *const sales_members[] = { "bob", "carol" };
static const struct identity_group group_list[] = { { "sales", sales_members, 2 } };
static const struct identity_groups groups = { group_list, 1 };

static void start_server(struct imap_fixture *fixture, bool allow_plaintext, size_t append_size_max)
{
	struct imap_server_options imap = { .mail = fixture->mail,
		.authority = fixture->authority,
		.authorize = authorize,
		.may_create = may_create,
		.groups = &groups,
		.append_size_max = append_size_max,
		.search_cache_count_min = 1, /* so that all searches use it */
		.quota_warning_percent = 90,
		.allow_plaintext = allow_plaintext,
		.progress_interval_ms = fixture->progress_interval_ms,
		.idle_timeout_s = fixture->idle_timeout_s,
		.login_timeout_s = fixture->login_timeout_s,
		.version = "test" };
	struct net_server_options net = { .io_thread_count = 1,
		.worker_count = 4,
		.tls_certificate_path = fixture->files.certificate_path,
		.tls_key_path = fixture->files.key_path };
	struct net_listener_options listener = { .address = "127.0.0.1", .tls = NET_TLS_START };
	struct error error = { 0 };

	fixture->imap = imap_server_new(&imap);
	listener.protocol = imap_server_protocol(fixture->imap);
	listener.context = fixture->imap;
	if (net_server_new(&net, &fixture->net, &error) < 0 ||
		net_server_listen(fixture->net, &listener, &fixture->port, &error) < 0 ||
		net_server_start(fixture->net, &error) < 0)
		fail_msg("%s", error.text);
}

static void fixture_start(
	struct imap_fixture *fixture, bool allow_plaintext, size_t append_size_max)
{
	struct password_parameters cheap = password_parameters_cheap();
	struct sasl_options options = { .lookup = lookup, .context = fixture, .parameters = cheap };

	test_files_make(&fixture->files);
	assert_int_equal(
		credentials_make(BYTES_LITERAL("secret"), &cheap, &fixture->credentials, NULL), 0);
	fixture->authority = sasl_authority_new(&options);
	open_store(fixture);
	start_server(fixture, allow_plaintext, append_size_max);
}

void imap_fixture_start_with(
	struct imap_fixture *fixture, bool allow_plaintext, size_t append_size_max)
{
	memset(fixture, 0, sizeof(*fixture));
	fixture_start(fixture, allow_plaintext, append_size_max);
}

void imap_fixture_start_storing(
	struct imap_fixture *fixture, const struct store_options *store_options)
{
	memset(fixture, 0, sizeof(*fixture));
	fixture->store_options = *store_options;
	fixture_start(fixture, true, 0);
}

void imap_fixture_start_telling(struct imap_fixture *fixture)
{
	memset(fixture, 0, sizeof(*fixture));
	fixture->progress_interval_ms = 1;
	fixture_start(fixture, true, 0);
}

void imap_fixture_start_impatient(struct imap_fixture *fixture, unsigned idle_timeout_s)
{
	memset(fixture, 0, sizeof(*fixture));
	fixture->idle_timeout_s = idle_timeout_s;
	fixture_start(fixture, true, 0);
}

void imap_fixture_start_hurried(struct imap_fixture *fixture, unsigned login_timeout_s)
{
	memset(fixture, 0, sizeof(*fixture));
	fixture->login_timeout_s = login_timeout_s;
	fixture_start(fixture, true, 0);
}

void imap_fixture_start(struct imap_fixture *fixture)
{
	imap_fixture_start_with(fixture, true, 0);
}

void imap_fixture_stop(struct imap_fixture *fixture)
{
	char command[160];

	net_server_stop(fixture->net, 1000);
	net_server_free(&fixture->net);
	imap_server_free(&fixture->imap);
	mail_close(&fixture->mail);
	store_close(&fixture->store);
	sasl_authority_free(&fixture->authority);
	buffer_deinit(&fixture->credentials);
	snprintf(command, sizeof(command), "rm -rf '%s/store'", fixture->files.directory);
	assert_int_equal(system(command), 0);
	test_files_remove(&fixture->files);
}
