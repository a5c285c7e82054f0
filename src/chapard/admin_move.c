/*
 * Moving an account's home to another node: that node gets a copy, or what its copy lacks; then it
 * becomes the master, and clients here are referred to it; then it confirms that it knows. If it is
 * asked for, the copy here is given up after that (admin_remove.c).
 *
 * Nothing is stopped: clients go on here until the one write that makes the other node the master,
 * and what they write until then is with it before it knows that it is. Interrupted anywhere, the
 * same command goes on where it was.
 */
#include "chapard/admin_private.h"

#include "base/clock.h"
#include "base/mem.h"
#include "sync/wire.h"

#include <stdio.h>
#include <stdlib.h>

#define CONFIRM_MS 500 /* in one step */

struct move {
	struct account_header header; /* when what is to be confirmed was read */
	struct account_mode mode;     /* as it is to be */
	bool is_admitted;             /* the node takes the account, if it had given it up once */
	bool is_switched;
	bool removes_source;
	struct admin_removal removal;
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
	bool is_there = present->has_master && present->master == move->mode.master;

	if (move->header.hold == ACCOUNT_AWAY && !(is_there && move->removes_source))
		return error_set(error, ERR_REFUSED,
			"%s was moved to node %s already, and is not here any more",
			call->arguments[0], present->node.name);
	move->is_switched = is_there;
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
	int rc;

	call->state = move;
	call->state_free = free;
	if (call->argument_count == 3 && strcmp(call->arguments[2], "remove-source") != 0)
		return error_set(error, ERR_INVALID, "\"%.40s\" is not \"remove-source\"",
			call->arguments[2]);
	move->removes_source = call->argument_count == 3;
	rc = admin_account_find(call, call->arguments[0], &call->account, error);
	if (rc == 0)
		rc = find_target(call, call->arguments[1], move, error);
	if (rc == 0)
		rc = read_account(call, call->account, move, &present, error);
	return rc < 0 ? rc : check_mode(call, move, &present, error);
}

/* ---- a node that has given the account up takes it again ---- */

static int admit_ask(
	struct admin_call *call, const struct move *move, bool *has_more_r, struct error *error)
{
	const struct admin_live *live = call->admin->live;
	struct arena *arena = arena_new();
	struct buffer request = { 0 }, answer = { 0 };
	struct dlist_writer writer = wire_begin(&request, DLIST_REQUEST, "ADMIT");
	const struct dlist *map;
	struct bytes verb = { 0 };
	uint64_t more = 0;
	int rc;

	dlist_put_text_of(&writer, "ACCOUNT", bytes_of_string(move->header.name));
	dlist_end_map(&writer);
	rc = live->peer_ask(
		live->context, call->arguments[1], buffer_bytes(&request), &answer, error);
	if (rc == 0)
		rc = wire_answer(buffer_bytes(&answer), arena, &verb, &map, error);
	if (rc == 0 && bytes_equal_string(verb, "ADMITTED")) {
		(void)dlist_get_number(map, "MORE", 1, &more);
	} else if (rc == 0) {
		rc = wire_unanswered("ADMIT", error);
	} else if (rc == ERR_INVALID && bytes_equal_string(verb, "ERROR")) {
		/* A node that does not know the request never gives an account up. */
		*error = (struct error){ 0 };
		rc = 0;
	}
	*has_more_r = more != 0;
	buffer_deinit(&request);
	buffer_deinit(&answer);
	arena_free(&arena);
	return rc;
}

static int touch_run(struct account_write *write, void *context)
{
	(void)context;
	write->is_dirty = true;
	return 0;
}

int admin_account_touch(struct admin_call *call, struct error *error)
{
	return mail_node_commit(call->admin->mail, call->account, touch_run, NULL, error, NULL);
}

static int admit(struct admin_call *call, struct move *move, struct error *error)
{
	bool has_more;
	int rc = admit_ask(call, move, &has_more, error);

	if (rc < 0)
		return rc;
	*error = (struct error){ 0 };
	move->is_admitted = !has_more;
	/* The channel had no reason to look at the account. */
	if (move->is_admitted)
		rc = admin_account_touch(call, error);
	return rc < 0 ? rc : ADMIN_MORE;
}

/* ---- the way there ---- */

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

/* It knows that it is the master; what has come since then, by peers, it is to have, too. */
static int remove_source(
	struct admin_call *call, struct move *move, struct buffer *out, struct error *error)
{
	struct account_mode present;
	int rc = admin_removal_step(call, &move->removal, out, error);

	if (rc != ERR_CHANGED)
		return rc;
	*error = (struct error){ 0 };
	rc = read_account(call, call->account, move, &present, error);
	if (rc == 0)
		rc = check_mode(call, move, &present, error);
	return rc < 0 ? rc : ADMIN_MORE;
}

int admin_account_move(struct admin_call *call, struct buffer *out, struct error *error)
{
	struct move *move = call->state;
	int rc;

	if (move == NULL) {
		rc = begin(call, error);
		return rc < 0 ? rc : ADMIN_MORE;
	}
	if (move->header.hold == ACCOUNT_AWAY || admin_removal_is_on(&move->removal))
		return remove_source(call, move, out, error);
	if (!move->is_admitted)
		return admit(call, move, error);
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
	if (move->removes_source)
		return remove_source(call, move, out, error);
	buffer_printf(out, "%s: moved to node %s; the copy here is a replica\n", call->arguments[0],
		move->mode.node.name);
	return ADMIN_DONE;
}
