/*
 * unpack: messages that a server has compressed in its files, as Dovecot's zlib plugin does. They
 * are known by how they begin, as no message does.
 */
#ifndef CHAPAR_FOREIGN_UNPACK_H
#define CHAPAR_FOREIGN_UNPACK_H

#include "base/buffer.h"

#include <stdint.h>

enum unpack_form {
	UNPACK_PLAIN, /* not compressed */
	UNPACK_GZIP,
	UNPACK_ZSTD,
	UNPACK_OTHER /* bzip2, xz or LZ4, which are not read here */
};
enum unpack_form unpack_form_of(struct bytes raw);

/*
 * Appends what was compressed by gzip or zstd. ERR_INVALID: it is damaged or ends early;
 * ERR_TOO_LARGE: it would be over `size_max` bytes.
 */
int unpack(enum unpack_form form, struct bytes raw, uint64_t size_max, struct buffer *out);

#endif
