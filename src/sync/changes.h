/*
 * changes: a set of records that changed on one copy since a point, with what the receiver must know of the
 * sender to judge them. The currency of every exchange, bundle and merge.
 */
#ifndef CHAPAR_SYNC_CHANGES_H
#define CHAPAR_SYNC_CHANGES_H

#include "mail/account.h"

/* A message record and what its sender knows of it. */
struct message_change {
	struct message_record record; /* local fields are 0 when it came from elsewhere */
	bool was_common;              /* its placement was part of the common point the set starts from */
};

struct change_set {
	struct id128 account;
	uint64_t since;    /* the sender's sequence the set starts after; 0: everything */
	uint64_t sequence; /* the sender's sequence the set reaches */
	uint64_t highest;  /* greatest modseq the sender has shown in the account */
	struct mailbox_record *mailboxes; /* each with the sender's present UIDNEXT */
	size_t mailbox_count;
	struct message_change *messages;
	size_t message_count;
	struct register_record *registers;
	size_t register_count;
	size_t mailbox_room, message_room, register_room;
};

#endif
