/* Which node takes the changes of accounts (mail/account_mode.h). */
#include "chapard/admin_private.h"

#include "sync/account_filter.h"

#define MODE_STEP 20 /* accounts looked at in one step */

/* The node of that name: this one, or one that a channel leads to. */
static int node_find(
	struct admin_call *call, const char *name, struct account_mode *mode_r, struct error *error)
{
	const struct admin *admin = call->admin;
	struct admin_node node = { mail_node(admin->mail), *mail_node_name(admin->mail) };
	int rc = 0;

	if (name != NULL && strcmp(name, admin->node_name) != 0) {
		if (admin->live == NULL)
			return error_set(error, ERR_UNAVAILABLE,
				"the daemon is stopped: other nodes are not known");
		rc = admin->live->peer_find(admin->live->context, name, &node, error);
	}
	*mode_r =
		(struct account_mode){ .has_master = true, .master = node.node, .node = node.name };
	return rc;
}

static int mode_parse(struct admin_call *call, struct account_mode *mode_r, struct error *error)
{
	const char *text = call->arguments[1];
	const char *name = call->argument_count == 3 ? call->arguments[2] : NULL;

	if (strcmp(text, "master") == 0)
		return node_find(call, name, mode_r, error);
	if (strcmp(text, "multi") != 0)
		return error_set(error, ERR_INVALID, "\"%.40s\" is neither multi nor master", text);
	if (name != NULL)
		return error_set(error, ERR_INVALID, "in mode multi no node is named");
	*mode_r = (struct account_mode){ 0 };
	return 0;
}

static void mode_tell(const char *account, const struct account_mode *mode, struct buffer *out)
{
	if (mode->has_master)
		buffer_printf(out, "%s: master is %s\n", account, mode->node.name);
	else
		buffer_printf(out, "%s: multi\n", account);
}

/* The next account in the order of their numbers. */
static int next_account(
	struct admin_call *call, struct account_header *header_r, struct error *error)
{
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(call->admin->mail, 0, &kv);

	if (rc == 0)
		rc = account_next(kv, call->account, header_r);
	mail_read_end(&kv);
	if (rc < 0 && rc != ERR_NOT_FOUND)
		error_set(error, rc, "the accounts cannot be read: %s", error_name(rc));
	if (rc == 0)
		call->account = header_r->number;
	return rc;
}

int admin_account_mode(struct admin_call *call, struct buffer *out, struct error *error)
{
	struct account_header header;
	struct account_mode mode;
	int rc = mode_parse(call, &mode, error);

	if (rc == 0)
		rc = account_filter_check(call->arguments[0], error);
	if (rc < 0)
		return rc;
	for (int i = 0; i < MODE_STEP && rc == 0; i++) {
		rc = next_account(call, &header, error);
		if (rc < 0 || header.hold == ACCOUNT_AWAY ||
			!account_filter_passes(call->arguments[0], header.name))
			continue;
		rc = mail_mode_set(call->admin->mail, header.number, &mode, error);
		if (rc < 0)
			break;
		mode_tell(header.name, &mode, out);
		call->item_count++;
	}
	if (rc == 0)
		return ADMIN_MORE;
	if (rc != ERR_NOT_FOUND)
		return rc;
	return call->item_count > 0 ? ADMIN_DONE
				    : error_set(error, ERR_NOT_FOUND, "no account matches");
}

int admin_account_switch(struct admin_call *call, struct buffer *out, struct error *error)
{
	struct account_mode mode, present;
	struct kv_txn *kv = NULL;
	uint32_t number;
	int rc = admin_account_find(call, call->arguments[0], &number, error);

	if (rc == 0)
		rc = node_find(
			call, call->argument_count == 2 ? call->arguments[1] : NULL, &mode, error);
	if (rc < 0)
		return rc;
	rc = mail_read_begin(call->admin->mail, 0, &kv);
	if (rc == 0)
		rc = account_mode_get(kv, number, &present);
	mail_read_end(&kv);
	if (rc < 0)
		return error_set(error, rc, "the account cannot be read: %s", error_name(rc));
	if (!present.has_master)
		return error_set(error, ERR_REFUSED,
			"%s can be changed on all nodes (mode multi): there is nothing to switch",
			call->arguments[0]);
	rc = mail_mode_set(call->admin->mail, number, &mode, error);
	if (rc < 0)
		return rc;
	mode_tell(call->arguments[0], &mode, out);
	return ADMIN_DONE;
}
