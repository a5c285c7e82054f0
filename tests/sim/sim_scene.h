/*
 * sim_scene: what nodes do and show in a scene (sim_epilogue.c), in one word each. All fail the
 * schedule where a node refuses.
 */
#ifndef CHAPAR_TESTS_SIM_SCENE_H
#define CHAPAR_TESTS_SIM_SCENE_H

#include "sim_client.h"

struct scene {
	struct client client;
	struct sim *sim;
	struct arena *arena;
	size_t x, y; /* two nodes */
};

void scene_at(struct scene *scene, size_t node);
void scene_done(struct scene *scene);
struct bytes scene_text_of(struct scene *scene, const char *what);
struct id128 scene_inbox_of(struct scene *scene, size_t node);
/* Appends a message on a node; returns its UID. */
uint32_t scene_append(struct scene *scene, size_t node, struct id128 mailbox, struct guid *guid_r);
/* How often the node shows a message with this body. */
unsigned scene_shown(
	struct scene *scene, size_t node, const struct guid *guid, struct id128 *mailbox_r);
void scene_expect_shown(
	struct scene *scene, const struct guid *guid, unsigned count, const char *what);
void scene_expunge(struct scene *scene, size_t node, uint32_t uid);
void scene_set_metadata_of(
	struct scene *scene, size_t node, struct id128 mailbox, const char *name, bool is_set);
void scene_set_metadata(struct scene *scene, size_t node, bool is_set);
bool scene_has_metadata_of(
	struct scene *scene, size_t node, struct id128 mailbox, const char *name);
bool scene_has_metadata(struct scene *scene, size_t node);
/* False: there is one of that name already. */
bool scene_make_mailbox(struct scene *scene, size_t node, const char *name, struct id128 *id_r);
void scene_delete_mailbox(struct scene *scene, size_t node, const char *name);
void scene_rename_mailbox(struct scene *scene, size_t node, const char *from, const char *to);
void scene_grant(struct scene *scene, size_t node, struct id128 mailbox, const char *identifier);
/* In INBOX. */
void scene_annotate(struct scene *scene, size_t node, uint32_t uid);
void scene_flag(struct scene *scene, size_t node, uint32_t uid);
/* Others never met: what one of them has and the other forgot is new between them. */
bool sim_are_neighbours(const struct sim *sim, size_t a, size_t b);
/* An exchange whose initiator dies as soon as it has merged. */
void sim_merge_only(struct sim *sim, size_t from, size_t to);

#endif
