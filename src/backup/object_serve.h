/*
 * object_serve: the other end of a backup that another node keeps (object_node.c): answers the
 * OBJECT verbs of SYNC (docs/protocol.md) with the files of one folder, which has the form of any
 * backup in a folder.
 *
 * Who is served may add objects and read all. What is there he can neither replace nor, unless he
 * `may_prune`, take away or have read from elsewhere ("moved/"): who steals his password destroys
 * no backup with it. One at a time writes: the lock is his until object_server_free(). Used by one
 * thread at a time.
 */
#ifndef CHAPAR_BACKUP_OBJECT_SERVE_H
#define CHAPAR_BACKUP_OBJECT_SERVE_H

#include "base/buffer.h"
#include "base/error.h"

#define OBJECT_PIECE_SIZE_MAX (4u * 1024 * 1024) /* bytes of an object in a request or answer */
#define OBJECT_LIST_COUNT_MAX 10000u             /* objects in one answer */
#define OBJECT_HOLDER_SIZE_MAX 200               /* bytes that tell who writes */

struct dlist; /* sync/dlist.h */
struct object_server;

/* `folder` is copied. Nothing is opened yet. */
struct object_server *object_server_new(const char *folder, bool may_prune);
/* Gives up the lock. Sets *server to NULL. A NULL *server is allowed. */
void object_server_free(struct object_server **server);

/*
 * A sync_divert_function; `context` is the server. ERR_INVALID: no such verb, or malformed;
 * ERR_REFUSED: he may not; ERR_NOT_FOUND, ERR_EXISTS, ERR_UNAVAILABLE (another one writes),
 * ERR_FULL, ERR_IO.
 */
int object_server_respond(void *context, struct bytes verb, const struct dlist *map,
	struct buffer *answer, struct error *error);

#endif
