/*
 * json: puts out JSON (RFC 8259), value by value. Commas between members are the caller's: each
 * function takes the text that goes before the value.
 */
#ifndef CHAPAR_CHAPARD_JSON_H
#define CHAPAR_CHAPARD_JSON_H

#include "base/buffer.h"

#include <stdint.h>

/* A string in quotes. Bytes that are not UTF-8 become U+FFFD. */
void json_string(struct buffer *out, struct bytes text);
/* {KEY:VALUE,...}: `separator` is "{" before the first member, "," before others. */
void json_member_string(
	struct buffer *out, const char *separator, const char *key, struct bytes text);
void json_member_number(
	struct buffer *out, const char *separator, const char *key, uint64_t number);
void json_member_bool(struct buffer *out, const char *separator, const char *key, bool value);

#endif
