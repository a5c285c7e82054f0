/*
 * Scenes: after a schedule all copies are equal and at rest, with all that random acts have made of
 * them. Then two nodes do something whose outcome the table of conflicts (docs/replication.md)
 * fixes.
 */
#include "sim_scene.h"

#include "mail/account_mode.h"
#include "mail/acl.h"
#include "mail/annotation.h"
#include "mail/deletion.h"
#include "mail/quota.h"
#include "mail/script.h"
#include "sync/forward.h"

#include <stdlib.h>

/* ---- nothing is said of what is gone ---- */

struct said {
	struct scene *scene;
	struct sim_node *node;
	struct kv_txn *kv;
};

static int look_at_said(void *context, const struct register_record *record)
{
	struct said *said = context;
	struct arena *arena = said->scene->arena;
	struct mailbox_record mailbox;
	struct message_record message;
	struct stamp instance;
	bool is_gone = false;

	if (!record->is_set)
		return 0;
	if (annotation_instance(record, &instance))
		is_gone = account_get_message(
				  said->kv, said->node->account, instance, arena, &message) == 0 &&
			  id128_is_none(message.placed_in);
	else if (!id128_is_none(record->mailbox))
		is_gone = account_get_mailbox(said->kv, said->node->account, record->mailbox, arena,
				  &mailbox) == 0 &&
			  !mailbox_is_live(&mailbox);
	if (is_gone)
		sim_fail(said->scene->sim, "scene: something is said of what is gone on node %llu",
			(unsigned long long)said->node->id);
	return 0;
}

static void check_said(struct scene *scene)
{
	for (size_t i = 0; i < scene->sim->node_count; i++) {
		struct sim_node *node = &scene->sim->nodes[i];
		struct said said = { scene, node, node_read(node) };

		account_each_register(
			said.kv, node->account, RECORD_ACL, scene->arena, look_at_said, &said);
		account_each_register(said.kv, node->account, RECORD_ANNOTATION, scene->arena,
			look_at_said, &said);
		mail_read_end(&said.kv);
	}
}

/* An exchange at no step of which anything is said of what is gone. */
static void run_and_look(struct scene *scene, size_t from, size_t to)
{
	struct sim_link link = { 0 };

	link_begin(scene->sim, &link, from, to, NULL);
	while (link.exchange != NULL && !scene->sim->has_failed) {
		link_step(scene->sim, &link, false);
		check_said(scene);
	}
	link_abort(&link);
}

/* ---- scenes ---- */

/* No quota, no master, not deleted; and everywhere. */
static void set_the_stage(struct scene *scene)
{
	struct sim_node *own = &scene->sim->nodes[scene->x];
	struct quota_changes unlimited = { 0 };

	scene_at(scene, scene->x);
	scene->sim->forward_percent = 0;
	if (account_is_deleted(own))
		client_expect(&scene->client,
			mail_account_open(own->mail, bytes_of_string(SIM_ACCOUNT), true,
				&scene->client.error, &own->account),
			"make the account again");
	client_expect(&scene->client,
		mail_mode_set(
			own->mail, own->account, &(struct account_mode){ 0 }, &scene->client.error),
		"set the mode");
	for (size_t i = 0; i < QUOTA_RESOURCE_COUNT; i++)
		unlimited.change[i] = QUOTA_RESET;
	client_expect(&scene->client,
		quota_set(
			own->mail, own->account, &unlimited, &scene->client.error, &own->position),
		"reset limits");
	scene_done(scene);
	converge(scene->sim);
}

/* A copy that still has what was deleted and forgotten elsewhere, and something new. */
static void play_return(struct scene *scene)
{
	struct guid gone, fresh;
	uint32_t uid = scene_append(scene, scene->x, scene_inbox_of(scene, scene->x), &gone);

	scene_set_metadata(scene, scene->x, true);
	scene_annotate(scene, scene->x, uid);
	converge(scene->sim);
	scene_expunge(scene, scene->x, uid);
	if (sim_chance(scene->sim, 50))
		scene_flag(scene, scene->y, uid); /* it tells of it, then */
	scene_set_metadata(scene, scene->x, false);
	scene_append(scene, scene->y, scene_inbox_of(scene, scene->y), &fresh);
	scene->sim->now_ms += 1000;
	node_expire(scene->sim, &scene->sim->nodes[scene->x], 0);
	if (sim_are_neighbours(scene->sim, scene->x, scene->y))
		run_and_look(scene, scene->y, scene->x);
	converge(scene->sim);
	scene_expect_shown(scene, &gone, 0, "what was deleted and forgotten");
	scene_expect_shown(scene, &fresh, 1, "what came meanwhile");
	for (size_t i = 0; i < scene->sim->node_count; i++)
		if (scene_has_metadata(scene, i))
			sim_fail(scene->sim,
				"scene: a setting that was cleared and forgotten is set");
}

static int look_at_live(void *context, const struct mailbox_record *mailbox)
{
	unsigned *count = context;

	*count += mailbox_is_live(mailbox) && !bytes_equal_string(mailbox->name, "INBOX");
	return 0;
}

/* Copies of which some exchange a part only may have mail beside that part, of which nobody could
 * tell the others that its deleter had seen it: then the account lives on, with that, everywhere.
 */
static void check_deletion(struct scene *scene, bool has_mail)
{
	bool is_deleted = account_is_deleted(&scene->sim->nodes[0]);
	bool may_differ = scene->sim->is_filtered && scene->sim->node_count > 2;

	for (size_t i = 0; i < scene->sim->node_count; i++) {
		struct sim_node *node = &scene->sim->nodes[i];

		if (account_is_deleted(node) != (may_differ ? is_deleted : !has_mail) ||
			(has_mail && is_deleted))
			sim_fail(scene->sim, "scene: the account %s on node %llu",
				has_mail ? "is deleted, with mail," : "was deleted, and lives on",
				(unsigned long long)node->id);
	}
	for (size_t i = 0; i < scene->sim->node_count; i++) {
		struct sim_node *node = &scene->sim->nodes[i];
		struct kv_txn *kv = node_read(node);
		unsigned count = 0;

		account_each_mailbox(kv, node->account, scene->arena, look_at_live, &count);
		mail_read_end(&kv);
		if (count > 0 && (is_deleted || !may_differ))
			sim_fail(scene->sim, "scene: mailboxes of a deleted account live on");
	}
}

/* The account is deleted here, and changed there: only mail makes it live on. */
static void play_deletion(struct scene *scene)
{
	struct sim_node *x = &scene->sim->nodes[scene->x], *y = &scene->sim->nodes[scene->y];
	bool has_mail = sim_chance(scene->sim, 50);
	struct guid guid;

	if (has_mail)
		scene_append(scene, scene->y, scene_inbox_of(scene, scene->y), &guid);
	scene_at(scene, scene->y);
	client_expect(&scene->client,
		mailbox_subscribe(y->mail, y->account, BYTES_LITERAL("Scene"), true,
			&scene->client.error, &y->position),
		"subscribe");
	scene_done(scene);
	scene_at(scene, scene->x);
	client_expect(&scene->client,
		mail_account_delete(x->mail, x->account, &scene->client.error),
		"delete the account");
	scene_done(scene);
	converge(scene->sim);
	if (has_mail)
		scene_expect_shown(scene, &guid, 1, "mail that came to a deleted account");
	check_deletion(scene, has_mail);
}

struct scripts {
	unsigned count;
	unsigned texts; /* bits of "a", "b" */
};

static int look_at_script(void *context, struct bytes name, struct bytes text, bool is_active)
{
	struct scripts *scripts = context;

	(void)is_active;
	if (!bytes_start_with(name, BYTES_LITERAL("scene")))
		return 0;
	scripts->count++;
	scripts->texts |= bytes_equal_string(text, "a") ? 1u : 0;
	scripts->texts |= bytes_equal_string(text, "b") ? 2u : 0;
	return 0;
}

static void put_script(struct scene *scene, size_t node, const char *text)
{
	struct sim_node *own = &scene->sim->nodes[node];

	scene_at(scene, node);
	client_expect(&scene->client,
		mail_script_put(own->mail, own->account, BYTES_LITERAL("scene"),
			bytes_of_string(text), &scene->client.error),
		"put a script");
	scene_done(scene);
}

/* Edited on both sides: both are kept. Edited by one who knows the other's: nothing is. */
static void play_scripts(struct scene *scene)
{
	bool is_known = sim_chance(scene->sim, 50);

	put_script(scene, scene->x, "first");
	converge(scene->sim);
	put_script(scene, scene->x, "a");
	if (is_known)
		converge(scene->sim);
	put_script(scene, scene->y, "b");
	converge(scene->sim);
	for (size_t i = 0; i < scene->sim->node_count; i++) {
		struct sim_node *own = &scene->sim->nodes[i];
		struct scripts scripts = { 0 };

		mail_script_each(
			own->mail, own->account, look_at_script, &scripts, &scene->client.error);
		if (scripts.count != (is_known ? 1 : 2) || scripts.texts != (is_known ? 2 : 3))
			sim_fail(scene->sim, "scene: a script edited %s is there in %u versions",
				is_known ? "one after the other" : "on both sides", scripts.count);
	}
}

static unsigned count_scripts(struct scene *scene, size_t node)
{
	struct sim_node *own = &scene->sim->nodes[node];
	struct scripts scripts = { 0 };

	mail_script_each(own->mail, own->account, look_at_script, &scripts, &scene->client.error);
	return scripts.count;
}

/* An edit comes round by a third node to one who edits that: it was known, though not by this pair
 * of nodes. */
static void play_script_round(struct scene *scene)
{
	struct sim *sim = scene->sim;
	size_t z = 0;

	while (z == scene->x || z == scene->y)
		z++;
	if (sim->node_count < 3)
		return;
	put_script(scene, scene->x, "first");
	converge(sim);
	put_script(scene, scene->x, "a");
	link_run(sim, scene->x, z);
	link_run(sim, z, scene->y);
	put_script(scene, scene->y, "b");
	link_run(sim, scene->y, scene->x);
	converge(sim);
	for (size_t i = 0; i < sim->node_count; i++)
		if (count_scripts(scene, i) != 1)
			sim_fail(sim, "scene: a version that the edit was made from is kept");
}

/* Edited on both sides again and again, while the clocks stand still: each that loses has a name of
 * its own. */
static void play_script_at_once(struct scene *scene)
{
	struct sim *sim = scene->sim;
	unsigned rounds = 3;

	put_script(scene, scene->x, "first");
	converge(sim);
	sim->now_ms -= 3600 * 1000;
	for (unsigned i = 0; i < rounds && !sim->has_failed; i++) {
		put_script(scene, scene->x, arena_printf(scene->arena, "here %u", i));
		put_script(scene, scene->y, arena_printf(scene->arena, "there %u", i));
		converge(sim);
	}
	sim->now_ms += 3600 * 1000;
	for (size_t i = 0; i < sim->node_count; i++)
		if (count_scripts(scene, i) != 1 + rounds)
			sim_fail(sim,
				"scene: a script edited %u times on both sides is there in %u",
				rounds, count_scripts(scene, i));
}

/* Each has room here and there, not both together: both stay, and nothing more comes. */
static void play_quota(struct scene *scene)
{
	struct sim_node *x = &scene->sim->nodes[scene->x];
	struct quota_changes limit = { .change = { [QUOTA_MESSAGE] = QUOTA_SET } };
	struct guid one, other;
	struct mail_body *body = NULL;
	int result = 0;

	limit.limits.of[QUOTA_MESSAGE] = header_of(scene->sim, x).message_count + 1;
	scene_at(scene, scene->x);
	client_expect(&scene->client,
		quota_set(x->mail, x->account, &limit, &scene->client.error, &x->position),
		"set a limit");
	scene_done(scene);
	converge(scene->sim);
	scene_append(scene, scene->x, scene_inbox_of(scene, scene->x), &one);
	scene_append(scene, scene->y, scene_inbox_of(scene, scene->y), &other);
	converge(scene->sim);
	scene_expect_shown(scene, &one, 1, "mail within the limit here");
	scene_expect_shown(scene, &other, 1, "mail within the limit there");
	client_expect(&scene->client,
		mail_body_prepare(x->mail, scene_text_of(scene, "too much"), &body), "prepare");
	if (mail_deliver(x->mail, &x->account, 1, body, &scene->client.error, &result) !=
		ERR_OVERQUOTA)
		sim_fail(scene->sim, "scene: an account over its limit grows");
	mail_body_free(&body);
	scene_done(scene);
}

static int count_rights(void *context, const struct register_record *record)
{
	unsigned *count = context;

	*count += record->is_set;
	return 0;
}

/*
 * A mailbox is deleted, while elsewhere rights and metadata are set, and perhaps mail arrives: for
 * that it is made anew, its owner's alone.
 */
static void play_revival(struct scene *scene)
{
	struct sim_node *x = &scene->sim->nodes[scene->x];
	bool has_mail = sim_chance(scene->sim, 60);
	struct id128 id, home;
	unsigned count = 0;
	struct guid guid;
	struct kv_txn *kv;

	if (!scene_make_mailbox(scene, scene->x, "Scene", &id))
		return; /* it is there */
	scene_grant(scene, scene->x, id, "bob");
	converge(scene->sim);
	if (has_mail)
		scene_append(scene, scene->y, id, &guid);
	scene_delete_mailbox(scene, scene->x, "Scene");
	scene_grant(scene, scene->y, id, "carol");
	scene_set_metadata_of(scene, scene->y, id, "/scene", true);
	converge(scene->sim);
	if (!has_mail)
		return;
	scene_expect_shown(scene, &guid, 1, "mail that came to a deleted mailbox");
	(void)scene_shown(scene, scene->x, &guid, &home);
	kv = node_read(x);
	account_each_register_of(kv, x->account, RECORD_ACL, home, bytes_of(NULL, 0), scene->arena,
		count_rights, &count);
	mail_read_end(&kv);
	if (id128_equal(home, id) || count > 0 ||
		scene_has_metadata_of(scene, scene->x, home, "/scene"))
		sim_fail(scene->sim,
			"scene: a mailbox made anew has the rights or metadata of the deleted one");
}

/* Two mailboxes get one name on two nodes: what was said of either is said of the one that stays.
 */
static void play_union(struct scene *scene)
{
	struct id128 left, right;
	struct mailbox_record joined;

	if (!scene_make_mailbox(scene, scene->x, "Left", &left) ||
		!scene_make_mailbox(scene, scene->x, "Right", &right))
		return;
	scene_set_metadata_of(scene, scene->x, left, "/left", true);
	scene_set_metadata_of(scene, scene->x, right, "/right", true);
	converge(scene->sim);
	scene_rename_mailbox(scene, scene->x, "Left", "Joined");
	scene_rename_mailbox(scene, scene->y, "Right", "Joined");
	converge(scene->sim);
	for (size_t i = 0; i < scene->sim->node_count; i++) {
		struct sim_node *node = &scene->sim->nodes[i];
		struct kv_txn *kv = node_read(node);
		int rc = account_find_mailbox(
			kv, node->account, BYTES_LITERAL("Joined"), scene->arena, &joined);

		mail_read_end(&kv);
		if (rc < 0 || !scene_has_metadata_of(scene, i, joined.id, "/left") ||
			!scene_has_metadata_of(scene, i, joined.id, "/right"))
			sim_fail(scene->sim, "scene: metadata of united mailboxes is lost");
	}
}

static int count_forwards(void *context, const struct mailbox_record *mailbox)
{
	unsigned *count = context;

	*count += !id128_is_none(mailbox->forward) && bytes_equal_string(mailbox->name, "Anew");
	return 0;
}

/*
 * Two nodes make a mailbox anew, each by itself, for the same mail, with different UIDVALIDITYs: it
 * is one mailbox. The one that is given up is what clients there knew it by, so no other mailbox
 * comes by it, though it was given one meanwhile and gets the name in the end.
 */
static void play_anew_twice(struct scene *scene)
{
	struct sim *sim = scene->sim;
	size_t x = scene->x, y = scene->y, z = 0;
	unsigned count = 0;
	struct id128 id, other;
	struct guid guid, unused;
	struct kv_txn *kv;
	bool is_new;

	while (z == x || z == y)
		z++;
	if (sim->node_count < 3 || !scene_make_mailbox(scene, x, "Anew", &id))
		return;
	converge(sim);
	sim->now_ms -= 3600 * 1000; /* so UIDVALIDITYs follow each other */
	scene_delete_mailbox(scene, x, "Anew");
	link_run(sim, x, z);
	scene_append(scene, y, id, &guid);
	is_new = scene_make_mailbox(scene, z, "Other", &other);
	if (is_new)
		scene_append(scene, z, other, &unused);
	sim_merge_only(sim, x, y);
	sim_merge_only(sim, z, y);
	sim->now_ms += 3600 * 1000;
	link_run(sim, x, z);
	converge(sim);
	scene_expect_shown(scene, &guid, 1, "mail for a mailbox made anew");
	kv = node_read(&sim->nodes[x]);
	account_each_mailbox(kv, sim->nodes[x].account, scene->arena, count_forwards, &count);
	mail_read_end(&kv);
	if (count != 1)
		sim_fail(sim, "scene: a mailbox was made anew as %u", count);
	if (sim->has_failed || !is_new)
		return;
	scene_delete_mailbox(scene, x, "Anew");
	scene_rename_mailbox(scene, x, "Other", "Anew");
	converge(sim);
}

/* A node that has not got what was appended elsewhere gives no UID. */
static void play_authority(struct scene *scene)
{
	struct sim_node *x = &scene->sim->nodes[scene->x], *y = &scene->sim->nodes[scene->y];
	struct sync_session *session;
	struct buffer request = { 0 }, answer = { 0 };
	struct append_message message = { 0 };
	struct forward forward = { .account = SIM_ACCOUNT, .message = &message, .hop_count = 1 };
	struct forward_result result = { 0 };
	bool is_behind = sim_chance(scene->sim, 50);
	struct mailbox_record inbox;
	struct mail_body *body = NULL;
	struct guid guid;
	struct kv_txn *kv;

	if (is_behind)
		scene_append(scene, scene->x, scene_inbox_of(scene, scene->x), &guid);
	client_expect(&scene->client,
		mail_body_prepare(x->mail, scene_text_of(scene, "sent on"), &body), "prepare");
	message.body = body;
	kv = node_read(x);
	account_find_mailbox(kv, x->account, BYTES_LITERAL("INBOX"), scene->arena, &inbox);
	mail_read_end(&kv);
	forward.mailbox = inbox.id;
	forward.uidnext = inbox.uidnext;
	forward.instance = mail_stamp_new(x->mail, header_of(scene->sim, x).clock_last);
	session = link_connect(scene->sim, x, y, NULL);
	forward_request(&forward, &request);
	link_respond(scene->sim, session, y, buffer_bytes(&request), &answer);
	if (forward_answer(buffer_bytes(&answer), &result, &scene->client.error) < 0 ||
		result.outcome != (is_behind ? FORWARD_BEHIND : FORWARD_APPENDED) ||
		scene_shown(scene, scene->y, mail_body_guid(body), NULL) != (is_behind ? 0 : 1))
		sim_fail(scene->sim, "scene: a node that is %s gives a UID or not",
			is_behind ? "behind" : "not behind");
	sync_session_free(&session);
	buffer_deinit(&request);
	buffer_deinit(&answer);
	mail_body_free(&body);
	converge(scene->sim);
}

/* ---- echoes ---- */

static uint64_t sequence_of_pair(struct sim *sim, size_t pair)
{
	return header_of(sim, &sim->nodes[sim->pairs[pair].from]).sequence +
	       header_of(sim, &sim->nodes[sim->pairs[pair].to]).sequence;
}

/* One round in some order, each exchange of which is looked at. */
static void count_round(struct sim *sim)
{
	size_t first = sim_below(sim, sim->pair_count);

	for (size_t i = 0; i < sim->pair_count && !sim->has_failed; i++) {
		size_t pair = (first + i) % sim->pair_count;
		size_t from = sim->pairs[pair].from, to = sim->pairs[pair].to;
		uint64_t before = sequence_of_pair(sim, pair);

		link_run(sim, from, to);
		sim->traffic[from < to ? from : to][from < to ? to : from].useful +=
			sequence_of_pair(sim, pair) > before;
	}
}

/*
 * No echo storms: when all copies are equal and one thing changes, each of the others is written
 * once, and no link carries it more than once, whatever the topology.
 */
static void play_echo(struct scene *scene)
{
	struct sim *sim = scene->sim;
	unsigned useful = 0;

	memset(sim->traffic, 0, sizeof(sim->traffic));
	client_change_one(sim, &sim->nodes[sim_below(sim, sim->node_count)]);
	for (size_t i = 0; i <= sim->node_count && !sim->has_failed; i++)
		count_round(sim);
	for (size_t a = 0; a < sim->node_count; a++)
		for (size_t b = a + 1; b < sim->node_count; b++) {
			useful += sim->traffic[a][b].useful;
			if (sim->traffic[a][b].useful > 1 || sim->traffic[a][b].carrying > 1)
				sim_fail(sim,
					"echo: one change crosses a link %u times, %u usefully",
					sim->traffic[a][b].carrying, sim->traffic[a][b].useful);
		}
	if (!sim->has_failed && (!all_equal(sim) || useful != sim->node_count - 1))
		sim_fail(sim, "echo: one change is written by %u exchanges on %zu nodes", useful,
			sim->node_count);
}

void epilogue(struct sim *sim)
{
	static void (*const plays[])(struct scene * scene) = { play_echo, play_echo, play_return,
		play_deletion, play_scripts, play_script_round, play_script_at_once, play_quota,
		play_revival, play_union, play_anew_twice, play_authority };
	struct scene scene = { .sim = sim, .arena = arena_new() };

	scene.client = (struct client){ .sim = sim, .arena = scene.arena };
	scene.x = sim_below(sim, sim->node_count);
	scene.y = (scene.x + 1 + sim_below(sim, sim->node_count - 1)) % sim->node_count;
	if (sim_chance(sim, 50)) {
		set_the_stage(&scene);
		if (!sim->has_failed)
			plays[sim_below(sim, COUNT(plays))](&scene);
		if (!sim->has_failed)
			check_said(&scene);
	}
	arena_free(&scene.arena);
}
