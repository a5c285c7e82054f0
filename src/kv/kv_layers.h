/*
 * kv_layers: an engine that keeps the latest commits in memory, above another engine.
 *
 * A commit costs no disk and is seen at once; it is not durable. What is in memory is moved down in
 * two steps: sealed by the writer, between transactions, so that new commits go elsewhere; flushed
 * in transactions of the engine below, by any thread, while others read and write. Since only
 * the last value of each row goes down, in the order of the keys, many commits cost the engine
 * below little more than one. What was not flushed is gone when the process ends: whoever needs it
 * again has it elsewhere (the store: in its log).
 */
#ifndef CHAPAR_KV_KV_LAYERS_H
#define CHAPAR_KV_KV_LAYERS_H

#include "kv/kv.h"

/* Takes `below` over, and sets it to NULL; nobody else may write there any more. */
struct kv *kv_layers_open(struct kv **below);
/* Bytes of memory taken by what is not sealed. No write transaction may be open. */
size_t kv_layers_size(const struct kv *kv);
/* Seals what was committed. No write transaction may be open, and nothing may be sealed. */
void kv_layers_seal(struct kv *kv);

/*
 * Pieces in which it is moved down, each a transaction of its own, so that the disk is never busy
 * with much at a time. The tables go in order, but table 0 last and in one piece: what it says of
 * the others comes with the last of them. Until then the engine below holds a part of what was
 * sealed, which nobody sees who reads through the layers.
 */
struct kv_pieces {
	size_t size_max; /* bytes to be written, about, after which a piece ends; 0: one piece */
	/* Unless NULL: what depends on the rows below goes along, and with the piece's end. A NULL
	 * value.ptr: the row goes. Negative: the flush fails. */
	int (*row)(void *context, struct kv_txn *below, unsigned table, struct bytes key,
		struct bytes value);
	int (*end)(void *context, struct kv_txn *below);
	void *context;
};

/* Moves what is sealed down; nothing to do if nothing is. On an error of the engine below it stays
 * sealed, to be tried again from the start. One thread at a time. */
int kv_layers_flush(struct kv *kv, const struct kv_pieces *pieces);

#endif
