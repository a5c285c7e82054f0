/*
 * kv_layers: an engine that keeps the latest commits in memory, above another engine.
 *
 * A commit costs no disk and is seen at once; it is not durable. What is in memory is moved down in
 * two steps: sealed by the writer, between transactions, so that new commits go elsewhere; flushed
 * in one transaction of the engine below, by any thread, while others read and write. Since only
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
/* Moves what is sealed down; nothing to do if nothing is. On an error of the engine below it stays
 * sealed, to be tried again. One thread at a time. */
int kv_layers_flush(struct kv *kv);

#endif
