#include "chapard/json.h"

/* Length of the well-formed UTF-8 sequence (RFC 3629) at the start of `text`, or 0. */
static size_t sequence_len(struct bytes text)
{
	static const struct {
		unsigned char first_min, first_max, second_min, second_max;
		size_t len;
	} rows[] = {
		{ 0x00, 0x7f, 0x00, 0xff, 1 }, { 0xc2, 0xdf, 0x80, 0xbf, 2 },
		{ 0xe0, 0xe0, 0xa0, 0xbf, 3 }, /* shorter forms are not allowed */
		{ 0xe1, 0xec, 0x80, 0xbf, 3 }, { 0xed, 0xed, 0x80, 0x9f, 3 }, /* no surrogates */
		{ 0xee, 0xef, 0x80, 0xbf, 3 }, { 0xf0, 0xf0, 0x90, 0xbf, 4 },
		{ 0xf1, 0xf3, 0x80, 0xbf, 4 }, { 0xf4, 0xf4, 0x80, 0x8f, 4 }, /* up to U+10FFFF */
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (text.ptr[0] < rows[i].first_min || text.ptr[0] > rows[i].first_max)
			continue;
		if (text.len < rows[i].len)
			return 0;
		if (rows[i].len > 1 &&
			(text.ptr[1] < rows[i].second_min || text.ptr[1] > rows[i].second_max))
			return 0;
		for (size_t k = 2; k < rows[i].len; k++)
			if ((text.ptr[k] & 0xc0) != 0x80)
				return 0;
		return rows[i].len;
	}
	return 0;
}

static void character_append(struct buffer *out, struct bytes sequence)
{
	int byte = sequence.ptr[0];

	if (byte == '"' || byte == '\\')
		buffer_printf(out, "\\%c", byte);
	else if (byte == '\n')
		buffer_append_string(out, "\\n");
	else if (byte < ' ' || byte == 0x7f)
		buffer_printf(out, "\\u%04x", (unsigned)byte);
	else
		buffer_append_bytes(out, sequence);
}

void json_string(struct buffer *out, struct bytes text)
{
	buffer_append_byte(out, '"');
	while (text.len > 0) {
		size_t len = sequence_len(text);

		if (len > 0) {
			character_append(out, bytes_take(&text, len));
		} else {
			buffer_append_string(out, "\xef\xbf\xbd");
			bytes_skip(&text, 1);
		}
	}
	buffer_append_byte(out, '"');
}

static void key_append(struct buffer *out, const char *separator, const char *key)
{
	buffer_printf(out, "%s\"%s\":", separator, key);
}

void json_member_string(
	struct buffer *out, const char *separator, const char *key, struct bytes text)
{
	key_append(out, separator, key);
	json_string(out, text);
}

void json_member_number(struct buffer *out, const char *separator, const char *key, uint64_t number)
{
	key_append(out, separator, key);
	buffer_printf(out, "%llu", (unsigned long long)number);
}

void json_member_bool(struct buffer *out, const char *separator, const char *key, bool value)
{
	key_append(out, separator, key);
	buffer_append_string(out, value ? "true" : "false");
}
