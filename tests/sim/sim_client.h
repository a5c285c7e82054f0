/*
 * sim_client: what the acts of clients have in common; for sim_client.c and sim_settings.c.
 */
#ifndef CHAPAR_TESTS_SIM_CLIENT_H
#define CHAPAR_TESTS_SIM_CLIENT_H

#include "sim.h"

#define MAILBOX_COUNT_MAX 24
#define MESSAGE_COUNT_MAX 400

/* A client that looks at a node, and does one thing there. */
struct client {
	struct sim *sim;
	struct sim_node *node;
	struct arena *arena;
	struct error error;
	struct mailbox_record mailboxes[MAILBOX_COUNT_MAX]; /* live ones */
	size_t mailbox_count;
	struct message_record
		messages[MESSAGE_COUNT_MAX]; /* shown in the mailbox that was read last */
	size_t message_count;
};

const char *client_mailbox_name(struct client *client);
const struct mailbox_record *client_any_mailbox(struct client *client);
/* A mailbox with messages, which are listed then; NULL if the one that was drawn is empty. */
const struct mailbox_record *client_mailbox_with_messages(struct client *client);
/* One UID, or some neighbours. */
struct uid_set client_some_uids(struct client *client);
/* An act must succeed. */
void client_expect(struct client *client, int rc, const char *what);
/* The same; but what makes the account grow may be refused for its quota. */
void client_expect_growth(struct client *client, int rc, const char *what);

/* ---- sim_settings.c ---- */
void act_subscribe(struct client *client);
void act_annotate(struct client *client);
void act_special_use(struct client *client);
void act_quota(struct client *client);
void act_seen(struct client *client);
void act_script(struct client *client);
void act_mode(struct client *client);
/* Where the account is a replica: nothing may be changed, until it is made the master. */
void act_on_replica(struct client *client);
bool account_is_replica(struct sim_node *node);
void act_delete_account(struct client *client);
void act_undelete(struct client *client);
/* Somebody makes the account again, or brings it back; else nobody can do anything in it. */
void act_on_deleted(struct client *client);
bool account_is_deleted(struct sim_node *node);

#endif
