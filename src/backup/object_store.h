/*
 * object_store: where a backup is kept: named objects that are written once, whole, and read in
 * parts: files of a directory, of a directory at another node, or objects of an S3 server.
 *
 * An object is there with all its bytes, durably, or not at all: put() returns after that. Names
 * are those that object_name_is_valid() takes. Used by one thread at a time.
 */
#ifndef CHAPAR_BACKUP_OBJECT_STORE_H
#define CHAPAR_BACKUP_OBJECT_STORE_H

#include "base/buffer.h"
#include "base/error.h"

#include <stdint.h>

#define OBJECT_NAME_SIZE_MAX 80              /* bytes */
#define OBJECT_SIZE_MAX (512u * 1024 * 1024) /* bytes */
#define OBJECT_URL_SIZE_MAX 1000             /* bytes of a target's name */

struct object_store;
struct backup_source; /* backup_source.h */

/* Return non-zero to end a listing; object_list() then returns that. */
typedef int object_function(void *context, const char *name, uint64_t size);

struct object_store_functions {
	int (*put)(struct object_store *store, const char *name, struct bytes data,
		struct error *error);
	int (*get)(struct object_store *store, const char *name, uint64_t offset, uint64_t size,
		struct buffer *out, struct error *error);
	int (*list)(struct object_store *store, const char *folder, object_function *function,
		void *context, struct error *error);
	int (*remove)(struct object_store *store, const char *name, struct error *error);
	/* NULL where objects themselves must serve (object_lock.c). */
	int (*lock)(struct object_store *store, struct error *error);
	void (*close)(struct object_store *store);
};

/* What each kind begins with. */
struct object_store {
	const struct object_store_functions *functions;
	char *own_lock;        /* name of the object that says that we hold it; NULL: none */
	uint64_t lock_told_ms; /* monotonic: when that was written last */
};

/*
 * How a node that keeps backups is reached (object_serve.h): `connect` logs in at the node that the
 * URL names and says HELLO. What it stores in *source_r is ours until we call *close_r with the
 * source's context.
 */
struct object_way {
	int (*connect)(void *context, const char *url, struct backup_source *source_r,
		void (**close_r)(void *source_context), struct error *error);
	void *context;
};

/*
 * Opens the target that `url` names: a path, "s3://BUCKET/PREFIX", or a node, "imaps://USER@HOST/".
 * `create`: a directory that is not there is made. `way`: to nodes; NULL: there is none.
 * ERR_INVALID: no such kind; ERR_NOT_FOUND, ERR_IO, ERR_REFUSED, and those of connecting.
 */
int object_store_open(const char *url, bool create, const struct object_way *way,
	struct object_store **store_r, struct error *error);
/* Gives up the lock. Sets *store to NULL. A NULL *store is allowed. */
void object_store_close(struct object_store **store);

/* "folder/name" or "name", of lower-case letters, digits and '-', begun by a letter or digit. */
bool object_name_is_valid(const char *name);

/* In place of one that is there; a node does not allow that: ERR_EXISTS. ERR_FULL, ERR_IO,
 * ERR_REFUSED, ERR_UNAVAILABLE. */
int object_put(
	struct object_store *store, const char *name, struct bytes data, struct error *error);
/*
 * Appends `size` bytes from `offset` on; size 0: all of it. ERR_NOT_FOUND: there is no such object;
 * ERR_CORRUPT: it has not so many bytes; and those of object_put().
 */
int object_get(struct object_store *store, const char *name, uint64_t offset, uint64_t size,
	struct buffer *out, struct error *error);
/* All objects of a folder ("packs"), in no order. */
int object_list(struct object_store *store, const char *folder, object_function *function,
	void *context, struct error *error);
/* One that is not there is none of our business. */
int object_remove(struct object_store *store, const char *name, struct error *error);

/*
 * Only one process at a time writes to a target: takes that right until object_store_close().
 * ERR_UNAVAILABLE, with who holds it. A process that was killed holds it no more: at once in a
 * directory; elsewhere after OBJECT_LOCK_STALE_MS.
 */
int object_lock(struct object_store *store, struct error *error);
/* Says that we are still here; now and then, while it is held. ERR_CLOSED: it was taken from us. */
int object_lock_keep(struct object_store *store, struct error *error);

#define OBJECT_LOCK_STALE_MS (15u * 60 * 1000)
#define OBJECT_LOCK_TELL_MS (3u * 60 * 1000)

/* ---- the kinds ---- */
int object_directory_open(
	const char *path, bool create, struct object_store **store_r, struct error *error);
int object_s3_open(const char *url, struct object_store **store_r, struct error *error);
int object_node_open(const char *url, const struct object_way *way, struct object_store **store_r,
	struct error *error);

/*
 * Of a directory, of which the lock is held: writes one piece of an object, the first at offset 0,
 * each where the one before ended. With `is_last` the object is there; until then a put of the same
 * name begins anew. ERR_EXISTS: there is one of the name; ERR_INVALID: not where the last one
 * ended; and those of object_put().
 */
int object_directory_put_piece(struct object_store *store, const char *name, uint64_t offset,
	struct bytes data, bool is_last, struct error *error);
/* object_lock() of a directory for somebody else, whom those read who come meanwhile. */
int object_directory_lock(struct object_store *store, const char *holder, struct error *error);

#endif
