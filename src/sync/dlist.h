/*
 * dlist: the data form of the SYNC commands and of Cyrus's replication protocol (docs/protocol.md
 * has the grammar): atoms, quoted strings, literals, lists `(a b)` and maps `%(KEY value ...)`. A
 * person can read it.
 *
 * Reading is bounded: depth, number of values and the size of what is allocated have limits, and a
 * literal is never believed beyond the bytes that are there. Strings borrow from the input where
 * they can, else from the arena. Writing goes to a buffer and cannot fail.
 */
#ifndef CHAPAR_SYNC_DLIST_H
#define CHAPAR_SYNC_DLIST_H

#include "base/arena.h"
#include "base/buffer.h"
#include "base/error.h"

#include <stdint.h>

#define DLIST_DEPTH_MAX 8                 /* lists in lists */
#define DLIST_VALUE_COUNT_MAX (16u << 20) /* values in one item */
#define DLIST_KEY_SIZE_MAX 64             /* bytes */

enum dlist_kind {
	DLIST_NIL,
	DLIST_ATOM,   /* also a number, a date, an id */
	DLIST_STRING, /* quoted or literal; a quoted number is still a number */
	DLIST_LIST,
	DLIST_MAP /* its members are keys and values by turns, each key an atom */
};

struct dlist {
	enum dlist_kind kind;
	struct bytes text;         /* of atoms and strings */
	const struct dlist *first; /* member of a list or map */
	const struct dlist *next;  /* in the same list or map */
	size_t count;              /* members; of a map, pairs */
};

/*
 * Takes one value, with blanks before it, off the front of *in. *value_r borrows from *in and
 * `arena`. ERR_INVALID: malformed, or cut short; ERR_TOO_LARGE: over a limit. On errors *in is in
 * no particular state.
 */
int dlist_parse(
	struct bytes *in, struct arena *arena, const struct dlist **value_r, struct error *error);

/* The same with a smaller limit to the number of values. Each takes some 50 bytes of memory. */
int dlist_parse_at_most(struct bytes *in, struct arena *arena, size_t value_count_max,
	const struct dlist **value_r, struct error *error);

/* ---- looking into a map; each ERR_NOT_FOUND if it has no such key, ERR_INVALID if it is of
 * another form ---- */

/* The value, or NULL. If a key is doubled, the first counts. */
const struct dlist *dlist_get(const struct dlist *map, const char *key);
int dlist_get_text(const struct dlist *map, const char *key, struct bytes *text_r);
/* A decimal number of at most `max`. */
int dlist_get_number(const struct dlist *map, const char *key, uint64_t max, uint64_t *number_r);
/* A list. */
int dlist_get_list(const struct dlist *map, const char *key, const struct dlist **list_r);

/* The text of an atom or string. ERR_INVALID for others. */
int dlist_text(const struct dlist *value, struct bytes *text_r);
/* A decimal number of at most `max`, without sign; leading zeros only as "0". ERR_INVALID. */
int dlist_number(const struct dlist *value, uint64_t max, uint64_t *number_r);

/* ---- writing ---- */

enum dlist_side {
	DLIST_REQUEST, /* literals are {n+}: whoever answers must not be waited for */
	DLIST_ANSWER   /* literals are {n} */
};

struct dlist_writer {
	struct buffer *out;
	enum dlist_side side;
	bool needs_blank;
};

static inline struct dlist_writer dlist_writer(struct buffer *out, enum dlist_side side)
{
	return (struct dlist_writer){ .out = out, .side = side };
}

void dlist_put_atom(struct dlist_writer *writer, const char *atom);
/* An atom, quoted string or literal, whatever can hold it. */
void dlist_put_text(struct dlist_writer *writer, struct bytes text);
void dlist_put_literal(struct dlist_writer *writer, struct bytes text);
void dlist_put_number(struct dlist_writer *writer, uint64_t number);
/* An atom of hexadecimal digits, lower case. */
void dlist_put_hex(struct dlist_writer *writer, struct bytes bytes);
void dlist_begin_list(struct dlist_writer *writer);
void dlist_end_list(struct dlist_writer *writer);
/* In a map, write keys with dlist_put_atom(), each before its value. */
void dlist_begin_map(struct dlist_writer *writer);
void dlist_end_map(struct dlist_writer *writer);

/* A key and its value. */
void dlist_put_text_of(struct dlist_writer *writer, const char *key, struct bytes text);
void dlist_put_number_of(struct dlist_writer *writer, const char *key, uint64_t number);
void dlist_put_hex_of(struct dlist_writer *writer, const char *key, struct bytes bytes);

#endif
