/*
 * generate: messages like those of real mailboxes (trace headers, encoded words, quoted-printable
 * text, HTML alternatives, base64 attachments).
 * A message is a pure function of (seed, index, size, tag): every server gets the same bytes, and a
 * snapshot can tell which message it sees. Any thread.
 */
#ifndef CHAPAR_BENCH_GENERATE_H
#define CHAPAR_BENCH_GENERATE_H

#include "base/buffer.h"

#include <stdint.h>

/*
 * Replaces what is in *out by the message. `size` is "mix" (log-normal, median 9 KB, 2 to 80 KB) or
 * a list of sizes in bytes with commas between them, of which one is drawn. `tag` (may be NULL)
 * opens the subject and the Message-ID.
 */
void generate_message(
	struct buffer *out, uint64_t seed, uint64_t index, const char *size, const char *tag);

#endif
