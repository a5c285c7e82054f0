/*
 * import_private: what mail_import*.c share: the names that derive from a source's, and its
 * commits.
 */
#ifndef CHAPAR_MAIL_IMPORT_PRIVATE_H
#define CHAPAR_MAIL_IMPORT_PRIVATE_H

#include "mail/import.h"

/* The node id of a mailbox there, of one UIDVALIDITY; 0: of all. */
uint64_t import_node_of(struct bytes source, struct bytes name, uint32_t uidvalidity);
/* That of what the source has one of: subscriptions, points. */
uint64_t import_source_node(const struct import_target *target);
/* The id that a mailbox made for it gets; target->node must be set. */
struct id128 import_id_of(const struct import_target *target);

/* As mail_commit(), but that quotas bind only if they are to. */
int import_commit(
	const struct import_target *target, mail_run *run, void *context, struct error *error);
/* Writes a register as an act of the source's. */
int import_register_put(struct account_write *write, const struct import_target *target,
	const struct register_record *record);
/* A snapshot in which everything is seen; end it with mail_read_end(). */
int import_snapshot(const struct import_target *target, struct kv_txn **kv_r, struct error *error);

#endif
