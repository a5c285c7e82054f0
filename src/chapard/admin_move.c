/*
 * Moving an account's home to another node: that node gets a copy, or what its copy lacks; then it
 * becomes the master, and clients here are referred to it; then it confirms that it knows.
 *
 * Nothing is stopped: clients go on here until the one write that makes the other node the master,
 * and what they write until then is with it before it knows that it is. Interrupted anywhere, the
 * same command goes on where it was.
 */
#include "chapard/admin_private.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

#define CONFIRM_MS 500 /* in one step */

struct move {
	struct account_header header; /* when what is to be confirmed was read */
	struct account_mode mode;     /* as it is to be */
	bool is_switched;
};

static int read_account(struct admin_call *call, uint32_t account, struct move *move,
	struct account_mode *present_r, struct error *error)
{
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(call->admin->mail, mail_position(call->admin->mail), &kv);

	if (rc == 0)
		rc = account_load(kv, account, &move->header);
	if (rc == 0)
		rc = account_mode_get(kv, account, present_r);
	mail_read_end(&kv);
	return rc < 0 ? error_set(error, rc, "the account cannot be read: %s", error_name(rc)) : 0;
}

static int find_target(
	struct admin_call *call, const char *name, struct move *move, struct error *error)
{
	const struct admin *admin = call->admin;
	struct admin_node node;
	int rc;

	if (admin->live == NULL)
		return error_set(
			error, ERR_UNAVAILABLE, "the daemon is stopped: nothing can be moved");
	if (strcmp(name, admin->node_name) == 0)
		return error_set(error, ERR_INVALID,
			"%s is this node: give the command on the node that has the account", name);
	rc = admin->live->peer_find(admin->live->context, name, &node, error);
	move->mode =
		(struct account_mode){ .has_master = true, .master = node.node, .node = node.name };
	return rc;
}

/* Only where users may change the account its last change is known. */
static int check_mode(struct admin_call *call, struct move *move,
	const struct account_mode *present, struct error *error)
{
	move->is_switched = present->has_master && present->master == move->mode.master;
	if (move->is_switched || !account_mode_is_replica(present, mail_node(call->admin->mail)))
		return 0;
	return error_set(error, ERR_REFUSED,
		"changes of %s are made on node %s: move it from there", call->arguments[0],
		present->node.name);
}

static int begin(struct admin_call *call, struct error *error)
{
	struct move *move = mem_zalloc(sizeof(*move));
	struct account_mode present;
	int rc = admin_account_find(call, call->arguments[0], &call->account, error);

	call->state = move;
	call->state_free = free;
	if (rc == 0)
		rc = find_target(call, call->arguments[1], move, error);
	if (rc == 0)
		rc = read_account(call, call->account, move, &present, error);
	return rc < 0 ? rc : check_mode(call, move, &present, error);
}

static int switch_over(struct admin_call *call, struct move *move, struct error *error)
{
	struct account_mode present;
	int rc = mail_mode_set(call->admin->mail, call->account, &move->mode, error);

	if (rc == 0)
		rc = read_account(call, call->account, move, &present, error);
	move->is_switched = rc == 0;
	return rc;
}

/* ADMIN_MORE: not yet. */
static int wait_for_target(struct admin_call *call, const struct move *move, struct error *error)
{
	const struct admin_live *live = call->admin->live;
	int rc = live->peer_confirm(
		live->context, call->arguments[1], &move->header, CONFIRM_MS, error);

	if (rc != ERR_TIMEOUT)
		return rc < 0 ? rc : ADMIN_DONE;
	if (live->is_stopping(live->context))
		return error_set(
			error, ERR_UNAVAILABLE, "the daemon ends; give the command again to go on");
	*error = (struct error){ 0 };
	return ADMIN_MORE;
}

int admin_account_move(struct admin_call *call, struct buffer *out, struct error *error)
{
	struct move *move = call->state;
	int rc;

	if (move == NULL) {
		rc = begin(call, error);
		return rc < 0 ? rc : ADMIN_MORE;
	}
	rc = wait_for_target(call, move, error);
	if (rc != ADMIN_DONE)
		return rc;
	if (!move->is_switched) {
		rc = switch_over(call, move, error);
		if (rc < 0)
			return rc;
		buffer_printf(out, "%s: node %s has all of it and takes the changes from now on\n",
			call->arguments[0], move->mode.node.name);
		return ADMIN_MORE;
	}
	buffer_printf(out, "%s: moved to node %s; the copy here is a replica\n", call->arguments[0],
		move->mode.node.name);
	return ADMIN_DONE;
}
