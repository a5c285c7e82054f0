/* imap_commands: the handlers that the table in imap_dispatch.c names. Each is in cmd_*.c. */
#ifndef CHAPAR_IMAP_COMMANDS_H
#define CHAPAR_IMAP_COMMANDS_H

#include "imap/imap_session.h"

imap_run cmd_append;
imap_run cmd_authenticate;
imap_run cmd_cancelupdate;
imap_run cmd_capability;
imap_run cmd_check;
imap_run cmd_close;
imap_run cmd_compress;
imap_run cmd_copy;
imap_run cmd_create;
imap_run cmd_delete;
imap_run cmd_deleteacl;
imap_run cmd_enable;
imap_run cmd_esearch;
imap_run cmd_examine;
imap_run cmd_expunge;
imap_run cmd_fetch;
imap_run cmd_getacl;
imap_run cmd_getmetadata;
imap_run cmd_getquota;
imap_run cmd_getquotaroot;
imap_run cmd_id;
imap_run cmd_idle;
imap_run cmd_list;
imap_run cmd_listrights;
imap_run cmd_login;
imap_run cmd_logout;
imap_run cmd_lsub;
imap_run cmd_move;
imap_run cmd_myrights;
imap_run cmd_namespace;
imap_run cmd_noop;
imap_run cmd_notify;
imap_run cmd_rename;
imap_run cmd_replace;
imap_run cmd_search;
imap_run cmd_select;
imap_run cmd_setacl;
imap_run cmd_sort;
imap_run cmd_setmetadata;
imap_run cmd_setquota;
imap_run cmd_starttls;
imap_run cmd_status;
imap_run cmd_store;
imap_run cmd_subscribe;
imap_run cmd_sync;
imap_run cmd_thread;
imap_run cmd_uid_expunge;
imap_run cmd_unauthenticate;
imap_run cmd_unselect;
imap_run cmd_unsubscribe;

#endif
