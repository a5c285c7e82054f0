#include "foreign/mbox_parse.h"

#include "imap/imap_date.h"

#include <ctype.h>

#define FROM_LINE_SIZE_MAX 1000

static struct bytes word_take(struct bytes *in)
{
	size_t len = 0;

	while (bytes_peek(*in) == ' ')
		bytes_skip(in, 1);
	while (len < in->len && in->ptr[len] != ' ')
		len++;
	return bytes_take(in, len);
}

static bool number_of(struct bytes text, uint64_t max, uint64_t *number_r)
{
	uint64_t number = 0;

	if (text.len == 0 || text.len > 19)
		return false;
	for (size_t i = 0; i < text.len; i++) {
		if (!isdigit(text.ptr[i]))
			return false;
		number = number * 10 + (uint64_t)(text.ptr[i] - '0');
	}
	*number_r = number;
	return number <= max;
}

/* "01:05:34" or "01:05" */
static bool time_of(struct bytes text, int64_t *seconds_r)
{
	uint64_t parts[3] = { 0 };
	size_t count = 0;

	while (count < 3) {
		struct bytes part = bytes_take(&text, bytes_find(text, ':'));

		if (part.len > 2 || !number_of(part, 60, &parts[count++]))
			return false;
		if (text.len == 0)
			break;
		bytes_skip(&text, 1);
	}
	*seconds_r = (int64_t)(parts[0] * 3600 + parts[1] * 60 + parts[2]);
	return text.len == 0 && count > 1 && parts[0] < 24;
}

/* "+0100": minutes east. */
static bool zone_of(struct bytes text, int32_t *zone_r)
{
	uint64_t number;
	int sign = bytes_peek(text) == '-' ? -1 : 1;

	if (text.len != 5 || (text.ptr[0] != '+' && text.ptr[0] != '-'))
		return false;
	if (!number_of(bytes_of(text.ptr + 1, 4), 1400, &number) || number % 100 > 59)
		return false;
	*zone_r = sign * (int32_t)(number / 100 * 60 + number % 100);
	return true;
}

static bool is_weekday(struct bytes word)
{
	static const char names[] = "MonTueWedThuFriSatSun";

	for (size_t i = 0; i + 3 < sizeof(names); i += 3)
		if (word.len == 3 && bytes_equal_nocase(word, bytes_of(names + i, 3)))
			return true;
	return false;
}

/* "Jan  3 01:05:34 1996", with a zone before or after the year, or none. */
static bool date_of(struct bytes text, int64_t *date_r, int32_t *zone_r)
{
	int month = imap_month_of(word_take(&text));
	uint64_t day, year = 0;
	int64_t seconds;

	*zone_r = 0;
	if (month < 0 || !number_of(word_take(&text), 31, &day) || day == 0 ||
		!time_of(word_take(&text), &seconds))
		return false;
	for (int i = 0; i < 3 && text.len > 0; i++) {
		struct bytes word = word_take(&text);

		if (year == 0 && word.len == 4 && number_of(word, 9999, &year))
			continue;
		(void)zone_of(word, zone_r); /* names of zones mean too many things */
	}
	if (year < 1970)
		return false;
	*date_r = imap_day_number((int)year, month, (int)day) * 86400 + seconds - *zone_r * 60;
	return true;
}

bool mbox_from_line(struct bytes line, int64_t *date_r, int32_t *zone_r)
{
	if (!bytes_start_with(line, BYTES_LITERAL("From ")) || line.len > FROM_LINE_SIZE_MAX)
		return false;
	if (line.ptr[line.len - 1] == '\r')
		line.len--;
	bytes_skip(&line, 5);
	/* The address may hold blanks, or be missing. */
	while (line.len > 0) {
		if (is_weekday(word_take(&line)) && date_of(line, date_r, zone_r))
			return true;
	}
	return false;
}

/* ---- the header ---- */

enum field {
	FIELD_OTHER,
	FIELD_STATUS,
	FIELD_X_STATUS,
	FIELD_X_KEYWORDS,
	FIELD_X_UID,
	FIELD_X_IMAPBASE,
	FIELD_X_IMAP,
	FIELD_CONTENT_LENGTH
};

static enum field field_of(struct bytes line, struct bytes *value_r)
{
	static const struct {
		const char *name;
		enum field field;
	} rows[] = {
		{ "Status", FIELD_STATUS },
		{ "X-Status", FIELD_X_STATUS },
		{ "X-Keywords", FIELD_X_KEYWORDS },
		{ "X-UID", FIELD_X_UID },
		{ "X-IMAPbase", FIELD_X_IMAPBASE },
		{ "X-IMAP", FIELD_X_IMAP },
		{ "Content-Length", FIELD_CONTENT_LENGTH },
	};
	struct bytes name = bytes_take(&line, bytes_find(line, ':'));

	if (line.len == 0)
		return FIELD_OTHER;
	bytes_skip(&line, 1);
	while (line.len > 0 && (line.ptr[line.len - 1] == '\r' || line.ptr[line.len - 1] == ' '))
		line.len--;
	while (bytes_peek(line) == ' ')
		bytes_skip(&line, 1);
	*value_r = line;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (bytes_equal_string_nocase(name, rows[i].name))
			return rows[i].field;
	return FIELD_OTHER;
}

static bool has_letter(struct bytes value, int letter)
{
	return bytes_find(value, letter) < value.len;
}

static void base_parse(struct bytes value, struct mbox_header *header)
{
	uint64_t uidvalidity, last;

	if (number_of(word_take(&value), UINT32_MAX, &uidvalidity) &&
		number_of(word_take(&value), UINT32_MAX - 1, &last)) {
		header->uidvalidity = (uint32_t)uidvalidity;
		header->uid_last = (uint32_t)last;
	}
}

static void field_take(enum field field, struct bytes value, struct mbox_header *header)
{
	uint64_t number;

	switch (field) {
	case FIELD_STATUS:
		header->is_seen = has_letter(value, 'R');
		break;
	case FIELD_X_STATUS:
		header->is_answered = has_letter(value, 'A');
		header->is_flagged = has_letter(value, 'F');
		header->is_draft = has_letter(value, 'T');
		header->is_deleted = has_letter(value, 'D');
		break;
	case FIELD_X_KEYWORDS:
		header->keywords = value;
		break;
	case FIELD_X_UID:
		if (number_of(value, UINT32_MAX - 1, &number))
			header->uid = (uint32_t)number;
		break;
	case FIELD_X_IMAP:
		header->is_internal = true;
		base_parse(value, header);
		break;
	case FIELD_X_IMAPBASE:
		base_parse(value, header);
		break;
	case FIELD_CONTENT_LENGTH:
		header->has_length = number_of(value, INT64_MAX, &header->length);
		break;
	case FIELD_OTHER:
		break;
	}
}

void mbox_header_parse(struct bytes text, struct mbox_header *header_r)
{
	*header_r = (struct mbox_header){ 0 };
	while (text.len > 0) {
		struct bytes line = bytes_take(&text, bytes_find(text, '\n')), value;
		enum field field;

		if (text.len > 0)
			bytes_skip(&text, 1);
		field = field_of(line, &value);
		if (field != FIELD_OTHER)
			field_take(field, value, header_r);
	}
}

/* ---- the message ---- */

static bool is_quoted_from(struct bytes line)
{
	size_t depth = 0;

	while (depth < line.len && line.ptr[depth] == '>')
		depth++;
	bytes_skip(&line, depth);
	return depth > 0 && bytes_start_with(line, BYTES_LITERAL("From "));
}

void mbox_message_restore(struct bytes message, bool is_quoted, struct buffer *out)
{
	bool is_header = true, is_dropped = false;

	buffer_reserve(out, message.len);
	while (message.len > 0) {
		size_t len = bytes_find(message, '\n');
		struct bytes line = bytes_take(&message, len < message.len ? len + 1 : len), value;
		struct bytes text = bytes_of(line.ptr, len);

		if (is_header && (text.len == 0 || bytes_equal_string(text, "\r"))) {
			is_header = false;
		} else if (is_header) {
			/* A field goes with the lines that continue it. */
			if (bytes_peek(text) != ' ' && bytes_peek(text) != '\t')
				is_dropped = field_of(text, &value) != FIELD_OTHER;
			if (is_dropped)
				continue;
		}
		if (!is_header && is_quoted && is_quoted_from(text))
			bytes_skip(&line, 1);
		buffer_append_bytes(out, line);
	}
}
