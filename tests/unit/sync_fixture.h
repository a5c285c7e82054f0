/*
 * sync_fixture: nodes in memory, that exchange accounts through a wire of function calls.
 */
#ifndef CHAPAR_TESTS_SYNC_FIXTURE_H
#define CHAPAR_TESTS_SYNC_FIXTURE_H

#include "mail/mail.h"
#include "sync/exchange.h"
#include "sync/responder.h"

struct node {
	struct store *store;
	struct mail *mail;
	uint64_t position;            /* of its last write, so that reads show it */
	uint32_t account;             /* "anna", once there is one */
	struct sync_session *session; /* of the peer that asks us */
	const char *mailboxes;        /* its exchanges are about these (sync/view.h); NULL: all */
	size_t part_size;             /* of first copies in its exchanges (sync/fill.h); 0: usual */
};

/* What may happen to requests and answers on their way. Any member may be NULL. */
struct wire {
	void *context;
	/* Before the responder sees it; may change nodes. */
	void (*before)(void *context, struct bytes request);
	/* Whether the connection breaks before the answer arrives. */
	bool (*loses)(void *context, struct bytes request, struct bytes answer);
	/* Appends requests and answers as a transcript. */
	struct buffer *transcript;
};

struct node *node_new(void);
struct node *node_new_with_clock(const struct clock *clock);
/* With the account "anna". */
struct node *node_new_with_account(void);
void node_free(struct node **node);
/* Finds the account "anna" that an exchange may have made. */
void node_find_account(struct node *node);

/* Opens B's session for A: HELLO. Forgets an older one. */
void nodes_connect(struct node *a, struct node *b, const struct sync_rights *rights);
/* One exchange begun by A; fails the test unless it ends without error. */
struct exchange_result nodes_exchange(struct node *a, struct node *b, const struct wire *wire);
/* The same, however it ends. error.code is ERR_CLOSED if the wire broke. */
struct exchange_result nodes_try_exchange(struct node *a, struct node *b, const struct wire *wire);
/* One request of A's connection; returns what sync_respond() does; the answer is in *answer_r
 * (emptied before). */
int node_ask(struct node *b, const char *request, struct buffer *answer_r);

/* ---- what clients do; each fails the test on an error ---- */
struct id128 node_mailbox(struct node *node, const char *name); /* made if there is none */
/* Appends a message of this text; returns its UID. */
uint32_t node_append(struct node *node, const char *mailbox, const char *text);
void node_flag(struct node *node, const char *mailbox, uint32_t uid, const char *flag);
void node_move(struct node *node, const char *from, uint32_t uid, const char *to);
void node_expunge(struct node *node, const char *mailbox, uint32_t uid);
void node_rename(struct node *node, const char *from, const char *to);
void node_delete_mailbox(struct node *node, const char *name);

/* ---- what clients see ---- */
struct account_header node_header(struct node *node);
bool node_has_mailbox(struct node *node, const char *name);
size_t node_count(struct node *node, const char *mailbox); /* 0 if there is none */
/* The UID of the message with this text, or 0. */
uint32_t node_uid_of(struct node *node, const char *mailbox, const char *text);
bool node_has_flag(struct node *node, const char *mailbox, uint32_t uid, const char *flag);
/* Fails the test unless both copies have equal digests and account_verify() finds nothing. */
void nodes_check_equal(struct node *a, struct node *b);

#endif
