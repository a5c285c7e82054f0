/*
 * s3_listing: what an S3 server's XML answers say: the keys of a listing, or an error. Pure.
 */
#ifndef CHAPAR_BACKUP_S3_LISTING_H
#define CHAPAR_BACKUP_S3_LISTING_H

#include "base/buffer.h"
#include "base/error.h"

#include <stdint.h>

#define S3_TEXT_SIZE_MAX 2048 /* bytes of one value */

struct s3_listing {
	bool is_truncated;
	char token[S3_TEXT_SIZE_MAX + 1]; /* with which the rest is asked for */
	char code[S3_TEXT_SIZE_MAX + 1];  /* of an error; "": it is none */
};

/* Calls for each key; non-zero ends it and is returned. ERR_INVALID: it is no such XML. */
typedef int s3_key_function(void *context, const char *key, uint64_t size);
int s3_listing_read(
	struct bytes xml, struct s3_listing *listing_r, s3_key_function *function, void *context);

#endif
