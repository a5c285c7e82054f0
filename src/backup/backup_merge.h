/* backup_merge: bringing back what is missing into an account that lives; for backup_restore.c. */
#ifndef CHAPAR_BACKUP_BACKUP_MERGE_H
#define CHAPAR_BACKUP_BACKUP_MERGE_H

#include "backup/backup_send.h"

/*
 * Has the node merge what is selected and not there: messages as new ones, whose instances derive
 * from what they were, so that nothing comes twice; mailboxes that are gone under their names, with
 * their rights and metadata; of a whole account also subscriptions, scripts and server metadata
 * that are not set there.
 */
int backup_merge(struct backup_restore_run *run, struct error *error);

#endif
