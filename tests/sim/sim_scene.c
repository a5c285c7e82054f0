/* What nodes do and show in a scene. */
#include "sim_scene.h"

#include "mail/acl.h"
#include "mail/annotation.h"

void scene_at(struct scene *scene, size_t node)
{
	scene->client.node = &scene->sim->nodes[node];
}

void scene_done(struct scene *scene)
{
	struct sim_node *node = scene->client.node;

	node->position = mail_position(node->mail);
	scene->sim->now_ms += 1000;
	observe(scene->sim, node, true);
}

struct bytes scene_text_of(struct scene *scene, const char *what)
{
	return bytes_of_string(arena_printf(
		scene->arena, "Subject: %s %u\r\n\r\n", what, ++scene->sim->append_count));
}

struct id128 scene_inbox_of(struct scene *scene, size_t node)
{
	struct sim_node *own = &scene->sim->nodes[node];
	struct mailbox_record inbox = { 0 };
	struct kv_txn *kv = node_read(own);

	account_find_mailbox(kv, own->account, BYTES_LITERAL("INBOX"), scene->arena, &inbox);
	mail_read_end(&kv);
	return inbox.id;
}

uint32_t scene_append(struct scene *scene, size_t node, struct id128 mailbox, struct guid *guid_r)
{
	struct sim_node *own = &scene->sim->nodes[node];
	struct append_message message = { 0 };
	struct mail_body *body = NULL;
	uint32_t uidvalidity, uid = 0;

	scene_at(scene, node);
	client_expect(&scene->client,
		mail_body_prepare(own->mail, scene_text_of(scene, "scene"), &body), "prepare");
	message.body = body;
	message.internaldate = (int64_t)(scene->sim->now_ms / 1000);
	*guid_r = *mail_body_guid(body);
	client_expect(&scene->client,
		mailbox_append(own->mail, own->account, mailbox, &message, 1, &scene->client.error,
			&uidvalidity, &uid, &own->position),
		"append");
	mail_body_free(&body);
	scene_done(scene);
	return uid;
}

struct search {
	const struct guid *guid;
	unsigned count;
	struct id128 mailbox;
};

static int match_message(void *context, const struct message_record *message)
{
	struct search *search = context;

	if (guid_equal(&message->guid, search->guid)) {
		search->count++;
		search->mailbox = message->mailbox;
	}
	return 0;
}

struct searches {
	struct scene *scene;
	struct kv_txn *kv;
	struct sim_node *node;
	struct search *search;
};

static int match_mailbox(void *context, const struct mailbox_record *mailbox)
{
	struct searches *searches = context;

	return mailbox_is_live(mailbox)
		       ? account_each_message(searches->kv, searches->node->account, mailbox->id, 1,
				 UINT32_MAX, searches->scene->arena, match_message,
				 searches->search)
		       : 0;
}

unsigned scene_shown(
	struct scene *scene, size_t node, const struct guid *guid, struct id128 *mailbox_r)
{
	struct sim_node *own = &scene->sim->nodes[node];
	struct search search = { .guid = guid };
	struct searches searches = { scene, node_read(own), own, &search };

	account_each_mailbox(searches.kv, own->account, scene->arena, match_mailbox, &searches);
	mail_read_end(&searches.kv);
	if (mailbox_r != NULL)
		*mailbox_r = search.mailbox;
	return search.count;
}

void scene_expect_shown(
	struct scene *scene, const struct guid *guid, unsigned count, const char *what)
{
	for (size_t i = 0; i < scene->sim->node_count; i++)
		if (scene_shown(scene, i, guid, NULL) != count)
			sim_fail(scene->sim, "scene: %s is shown %u times on node %llu", what,
				scene_shown(scene, i, guid, NULL),
				(unsigned long long)scene->sim->nodes[i].id);
}

void scene_expunge(struct scene *scene, size_t node, uint32_t uid)
{
	struct sim_node *own = &scene->sim->nodes[node];
	struct uid_set uids = { 0 }, changed = { 0 }, modified = { 0 }, expunged = { 0 };
	struct bytes deleted = BYTES_LITERAL("\\Deleted");
	struct id128 inbox = scene_inbox_of(scene, node);

	scene_at(scene, node);
	uid_set_add(&uids, uid, uid);
	client_expect(&scene->client,
		message_store(own->mail, own->account, inbox, &uids, FLAGS_ADD, &deleted, 1,
			UINT64_MAX, &scene->client.error, &changed, &modified, &own->position),
		"store");
	client_expect(&scene->client,
		message_expunge(own->mail, own->account, inbox, &uids, &scene->client.error,
			&expunged, &own->position),
		"expunge");
	uid_set_deinit(&uids);
	uid_set_deinit(&changed);
	uid_set_deinit(&modified);
	uid_set_deinit(&expunged);
	scene_done(scene);
}

void scene_set_metadata_of(
	struct scene *scene, size_t node, struct id128 mailbox, const char *name, bool is_set)
{
	struct sim_node *own = &scene->sim->nodes[node];
	struct annotation change = { .scope = ANNOTATION_SHARED,
		.entry = bytes_of_string(name),
		.is_set = is_set,
		.value = BYTES_LITERAL("played") };
	struct metadata_change metadata = { .account = own->account,
		.own = own->account,
		.mailbox = mailbox,
		.entries = &change,
		.count = 1 };

	scene_at(scene, node);
	client_expect(&scene->client,
		metadata_set(own->mail, &metadata, &scene->client.error, &own->position),
		"set metadata");
	scene_done(scene);
}

void scene_set_metadata(struct scene *scene, size_t node, bool is_set)
{
	scene_set_metadata_of(scene, node, scene_inbox_of(scene, node), "/scene", is_set);
}

bool scene_has_metadata_of(struct scene *scene, size_t node, struct id128 mailbox, const char *name)
{
	struct sim_node *own = &scene->sim->nodes[node];
	struct kv_txn *kv = node_read(own);
	struct bytes value;
	int rc = metadata_get(kv, own->account, mailbox, ANNOTATION_SHARED, bytes_of_string(name),
		scene->arena, &value);

	mail_read_end(&kv);
	return rc == 0;
}

bool scene_has_metadata(struct scene *scene, size_t node)
{
	return scene_has_metadata_of(scene, node, scene_inbox_of(scene, node), "/scene");
}

bool scene_make_mailbox(struct scene *scene, size_t node, const char *name, struct id128 *id_r)
{
	struct sim_node *own = &scene->sim->nodes[node];

	scene_at(scene, node);
	if (mailbox_create(own->mail, own->account, bytes_of_string(name), bytes_of(NULL, 0),
		    &scene->client.error, id_r, &own->position) < 0)
		return false;
	scene_done(scene);
	return true;
}

void scene_delete_mailbox(struct scene *scene, size_t node, const char *name)
{
	struct sim_node *own = &scene->sim->nodes[node];

	scene_at(scene, node);
	client_expect(&scene->client,
		mailbox_delete(own->mail, own->account, bytes_of_string(name), &scene->client.error,
			&own->position),
		"delete");
	scene_done(scene);
}

void scene_rename_mailbox(struct scene *scene, size_t node, const char *from, const char *to)
{
	struct sim_node *own = &scene->sim->nodes[node];

	scene_at(scene, node);
	client_expect(&scene->client,
		mailbox_rename(own->mail, own->account, bytes_of_string(from), bytes_of_string(to),
			&scene->client.error, &own->position),
		"rename");
	scene_done(scene);
}

void scene_grant(struct scene *scene, size_t node, struct id128 mailbox, const char *identifier)
{
	struct sim_node *own = &scene->sim->nodes[node];

	scene_at(scene, node);
	client_expect(&scene->client,
		acl_change(own->mail, own->account, mailbox, bytes_of_string(identifier), ACL_SET,
			ACL_LOOKUP | ACL_READ, &scene->client.error, &own->position),
		"set rights");
	scene_done(scene);
}

void scene_annotate(struct scene *scene, size_t node, uint32_t uid)
{
	struct sim_node *own = &scene->sim->nodes[node];
	struct annotation change = { .scope = ANNOTATION_SHARED,
		.entry = BYTES_LITERAL("/comment"),
		.is_set = true,
		.value = BYTES_LITERAL("played") };
	struct uid_set uids = { 0 }, changed = { 0 }, modified = { 0 };

	scene_at(scene, node);
	uid_set_add(&uids, uid, uid);
	client_expect(&scene->client,
		message_annotate(own->mail, own->account, scene_inbox_of(scene, node), &uids,
			&change, 1, UINT64_MAX, &scene->client.error, &changed, &modified,
			&own->position),
		"annotate");
	uid_set_deinit(&uids);
	uid_set_deinit(&changed);
	uid_set_deinit(&modified);
	scene_done(scene);
}

void scene_flag(struct scene *scene, size_t node, uint32_t uid)
{
	struct sim_node *own = &scene->sim->nodes[node];
	struct bytes name = BYTES_LITERAL("\\Flagged");
	struct uid_set uids = { 0 }, changed = { 0 }, modified = { 0 };

	scene_at(scene, node);
	uid_set_add(&uids, uid, uid);
	client_expect(&scene->client,
		message_store(own->mail, own->account, scene_inbox_of(scene, node), &uids,
			FLAGS_ADD, &name, 1, UINT64_MAX, &scene->client.error, &changed, &modified,
			&own->position),
		"store");
	uid_set_deinit(&uids);
	uid_set_deinit(&changed);
	uid_set_deinit(&modified);
	scene_done(scene);
}

bool sim_are_neighbours(const struct sim *sim, size_t a, size_t b)
{
	for (size_t i = 0; i < sim->pair_count; i++)
		if ((sim->pairs[i].from == a && sim->pairs[i].to == b) ||
			(sim->pairs[i].from == b && sim->pairs[i].to == a))
			return true;
	return false;
}

void sim_merge_only(struct sim *sim, size_t from, size_t to)
{
	struct sim_link link = { 0 };
	uint64_t before = header_of(sim, &sim->nodes[from]).sequence;

	link_begin(sim, &link, from, to, NULL);
	while (link.exchange != NULL && !sim->has_failed &&
		header_of(sim, &sim->nodes[from]).sequence == before)
		link_step(sim, &link, false);
	link_abort(&link);
}
