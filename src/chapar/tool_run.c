#include "chapar/tool_run.h"

#include "base/mem.h"
#include "chapar/tool_progress.h"
#include "chapard/admin.h"
#include "chapard/control.h"
#include "chapard/storage.h"
#include "net/net_client.h"

#include <stdlib.h>

#define CONNECT_TIMEOUT_MS 5000

struct node {
	struct net_client *client; /* NULL: the store is open here */
	struct store *store;
	struct mail *mail;
	struct admin admin;
	struct sync_session *sync; /* of node_sync(), where the store is open here */
	struct buffer answer;
};

/* ERR_UNAVAILABLE, ERR_NOT_FOUND: no daemon runs. */
static int daemon_connect(const struct config *config, struct node *node, struct error *error)
{
	char *path = control_path(config->store_path);
	int rc;

	node->client = net_client_new();
	rc = net_client_connect(node->client, path, 0, CONNECT_TIMEOUT_MS, error);
	if (rc < 0)
		net_client_free(&node->client);
	free(path);
	return rc;
}

static int store_use(const struct config *config, struct node *node, struct error *error)
{
	struct node_name name;
	int rc = storage_open(config, &node->store, error);

	if (rc == ERR_UNAVAILABLE)
		return error_set(error, rc,
			"the store %s is in use, but no daemon answers at its %s",
			config->store_path, CONFIG_CONTROL_SOCKET_NAME);
	if (rc < 0)
		return rc;
	rc = mail_open(node->store, clock_system(), &node->mail);
	if (rc < 0)
		return error_set(error, rc, "%s: %s", config->store_path, error_name(rc));
	config_node_name(config, &name);
	mail_set_node_name(node->mail, &name);
	node->admin = (struct admin){ .mail = node->mail,
		.node_name = config->node,
		.new_accounts_have_master = config->new_accounts == CONFIG_NEW_MASTER,
		.passwords = config_password_parameters(config),
		.origin = config->origin.address.text != NULL ? &config->origin : NULL };
	return 0;
}

int node_open(const struct config *config, struct node **node_r, struct error *error)
{
	struct node *node = mem_zalloc(sizeof(*node));
	int rc = daemon_connect(config, node, error);

	if (rc == ERR_UNAVAILABLE || rc == ERR_NOT_FOUND)
		rc = store_use(config, node, error);
	if (rc == 0) {
		*node_r = node;
		node = NULL;
	}
	node_close(&node);
	return rc;
}

int node_open_folder(const char *folder, struct node **node_r, struct error *error)
{
	struct store_options options = { .path = folder, .create = true };
	struct node_name name = { .name = "chapar" };
	struct node *node = mem_zalloc(sizeof(*node));
	int rc = store_open(&options, error, &node->store);

	if (rc == 0) {
		rc = mail_open(node->store, clock_system(), &node->mail);
		if (rc < 0)
			error_set(error, rc, "%s: %s", folder, error_name(rc));
	}
	if (rc < 0) {
		node_close(&node);
		return rc;
	}
	mail_set_node_name(node->mail, &name);
	*node_r = node;
	return 0;
}

struct mail *node_mail(struct node *node)
{
	return node->mail;
}

void node_close(struct node **node)
{
	if (*node == NULL)
		return;
	net_client_free(&(*node)->client);
	sync_session_free(&(*node)->sync);
	buffer_deinit(&(*node)->answer);
	mail_close(&(*node)->mail);
	store_close(&(*node)->store);
	free(*node);
	*node = NULL;
}

static int daemon_run(
	struct node *node, struct bytes request, struct tool_progress *out, struct error *error)
{
	int rc = net_client_write(node->client, request, -1, error);

	if (rc == 0)
		rc = net_client_write(node->client, BYTES_LITERAL("\n"), -1, error);
	while (rc == 0) {
		struct bytes line;

		/* A command may take long between two lines; the daemon tells when it stops. */
		rc = net_client_read_line(node->client, CONTROL_LINE_SIZE_MAX, &line, -1, error);
		if (rc < 0)
			break;
		if (bytes_peek(line) != '=')
			return control_result_parse(line, error);
		bytes_skip(&line, 1);
		progress_line(out, line);
	}
	return error_prefix(error, "the daemon");
}

static void lines_take(struct tool_progress *out, struct bytes output)
{
	while (output.len > 0) {
		progress_line(out, bytes_take(&output, bytes_find(output, '\n')));
		if (output.len > 0)
			bytes_skip(&output, 1);
	}
}

static int store_run_request(
	struct node *node, struct bytes request, struct tool_progress *out, struct error *error)
{
	struct admin_call *call;
	struct buffer output = { 0 };
	int rc = admin_call_new(&node->admin, request, &call, error);

	if (rc < 0)
		return rc;
	do {
		rc = admin_call_step(call, &output, error);
		lines_take(out, buffer_bytes(&output));
		buffer_clear(&output);
	} while (rc == ADMIN_MORE);
	buffer_deinit(&output);
	admin_call_free(&call);
	return rc;
}

int node_run(
	struct node *node, const char *const *words, size_t count, FILE *out, struct error *error)
{
	struct buffer request = { 0 };
	struct tool_progress progress;
	int rc;

	progress_begin(&progress, out);
	admin_request_encode(words, count, &request);
	if (node->client != NULL)
		rc = daemon_run(node, buffer_bytes(&request), &progress, error);
	else
		rc = store_run_request(node, buffer_bytes(&request), &progress, error);
	progress_end(&progress);
	if (request.data != NULL)
		explicit_bzero(request.data, request.room); /* it may hold passwords */
	buffer_deinit(&request);
	return rc;
}

/* ---- SYNC ---- */

static int daemon_ask(struct node *node, struct bytes request, struct error *error)
{
	char size_line[32];
	struct bytes line;
	size_t size;
	int rc;

	snprintf(size_line, sizeof(size_line), "%zu\n", request.len);
	rc = net_client_write(node->client, bytes_of_string(size_line), -1, error);
	if (rc == 0)
		rc = net_client_write(node->client, request, -1, error);
	if (rc == 0)
		rc = net_client_read_line(node->client, CONTROL_LINE_SIZE_MAX, &line, -1, error);
	if (rc == 0 && control_size_parse(line, &size) < 0)
		rc = error_set(error, ERR_CLOSED, "the daemon stops");
	if (rc == 0)
		rc = net_client_read(node->client, size, &node->answer, -1, error);
	return rc < 0 ? error_prefix(error, "the daemon") : 0;
}

static int sync_ask(
	void *context, struct bytes request, struct bytes *answer_r, struct error *error)
{
	struct node *node = context;
	struct error told = { 0 };
	int rc = 0;

	buffer_clear(&node->answer);
	if (node->client != NULL)
		rc = daemon_ask(node, request, error);
	else
		(void)sync_respond(node->sync, request, &node->answer, &told);
	*answer_r = buffer_bytes(&node->answer);
	return rc;
}

static int daemon_sync_begin(struct node *node, struct error *error)
{
	struct bytes line;
	int rc = net_client_write(node->client, BYTES_LITERAL(CONTROL_SYNC "\n"), -1, error);

	if (rc == 0)
		rc = net_client_read_line(node->client, CONTROL_LINE_SIZE_MAX, &line, -1, error);
	return rc < 0 ? rc : control_result_parse(line, error);
}

int source_hello(struct backup_source *source, const struct sync_self *self, struct error *error)
{
	struct buffer request = { 0 };
	struct bytes answer;
	int rc;

	sync_hello_request_as(self, NULL, &request);
	rc = source->ask(source->context, buffer_bytes(&request), &answer, error);
	if (rc == 0)
		rc = sync_hello_check_as(self, NULL, answer, &source->peer, error);
	buffer_deinit(&request);
	return rc;
}

int node_sync(struct node *node, const struct sync_self *self, struct backup_source *source_r,
	struct error *error)
{
	struct sync_rights rights = { .is_full = true };
	int rc = 0;

	if (node->client != NULL)
		rc = daemon_sync_begin(node, error);
	else
		node->sync = sync_session_new(node->mail, &rights);
	*source_r = (struct backup_source){ .ask = sync_ask, .context = node };
	return rc < 0 ? rc : source_hello(source_r, self, error);
}

int node_rebuild(const struct config *config, bool skips_damage, FILE *out, struct error *error)
{
	uint64_t commit_count;
	int rc = storage_rebuild(config, skips_damage, error, &commit_count);

	if (rc == ERR_UNAVAILABLE)
		return error_set(error, rc, "the store %s is in use: stop the daemon first",
			config->store_path);
	if (rc == 0)
		fprintf(out, "rebuilt from %llu commits\n", (unsigned long long)commit_count);
	return rc;
}

int node_renew_id(const struct config *config, FILE *out, struct error *error)
{
	struct store *store = NULL;
	int rc = storage_open(config, &store, error);

	if (rc == ERR_UNAVAILABLE)
		return error_set(error, rc, "the store %s is in use: stop the daemon first",
			config->store_path);
	if (rc < 0)
		return rc;
	rc = store_renew_node_id(store, error);
	if (rc == 0)
		fprintf(out, "the node id is %016llx now\n",
			(unsigned long long)store_node_id(store));
	store_close(&store);
	return rc;
}
