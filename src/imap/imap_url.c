#include "imap/imap_url.h"

#include "imap/imap_utf7.h"

#include "base/encode.h"
#include "base/error.h"

#include <ctype.h>

/* Without its percent escapes; NUL, and what is not UTF-8, is no part of a URL of ours. */
static int unescape(struct bytes text, struct arena *arena, struct bytes *plain_r)
{
	struct buffer plain = { NULL, 0, 0 };
	int rc = 0;

	while (text.len > 0 && rc == 0) {
		struct bytes byte = bytes_take(&text, 1);

		if (byte.ptr[0] != '%')
			buffer_append_bytes(&plain, byte);
		else if (text.len < 2)
			rc = ERR_INVALID;
		else
			rc = decode_hex(&plain, bytes_of((char[2]){ (char)tolower(text.ptr[0]),
								 (char)tolower(text.ptr[1]) },
							2));
		if (rc == 0 && byte.ptr[0] == '%')
			bytes_skip(&text, 2);
	}
	if (rc == 0)
		*plain_r = arena_copy(arena, buffer_bytes(&plain));
	buffer_deinit(&plain);
	if (rc == 0 && (bytes_find(*plain_r, '\0') < plain_r->len || !imap_utf8_is_valid(*plain_r)))
		rc = ERR_INVALID;
	return rc;
}

/* Takes `word`, in any case. */
static bool take(struct bytes *text, const char *word)
{
	size_t len = strlen(word);

	if (text->len < len || !bytes_equal_string_nocase(bytes_of(text->ptr, len), word))
		return false;
	bytes_skip(text, len);
	return true;
}

static int take_number(struct bytes *text, uint32_t smallest, uint32_t *number_r)
{
	uint64_t number = 0;
	size_t digits = 0;

	for (; isdigit(bytes_peek(*text)) && number <= UINT32_MAX; digits++)
		number = number * 10 + (uint64_t)(bytes_take(text, 1).ptr[0] - '0');
	if (digits == 0 || number > UINT32_MAX || number < smallest)
		return ERR_INVALID;
	*number_r = (uint32_t)number;
	return 0;
}

static int take_mailbox(struct bytes *text, struct arena *arena, struct imap_url *url)
{
	struct bytes name = bytes_take(text, bytes_find(*text, ';'));
	int rc;

	/* Without UIDVALIDITY the name ends in the slash before ";UID=". */
	if (name.len > 0 && !take(text, ";UIDVALIDITY=")) {
		if (name.ptr[--name.len] != '/')
			return ERR_INVALID;
	} else if (name.len > 0) {
		if (take_number(text, 1, &url->uidvalidity) < 0 || !take(text, "/"))
			return ERR_INVALID;
	}
	rc = unescape(name, arena, &url->mailbox);
	if (rc == 0 && url->mailbox.len == 0)
		rc = ERR_INVALID;
	if (rc == 0)
		url->mailbox = imap_name_canonical(arena, url->mailbox);
	return rc;
}

static int take_partial(struct bytes *text, struct imap_url *url)
{
	url->is_partial = true;
	url->size_max = UINT32_MAX;
	if (take_number(text, 0, &url->offset) < 0)
		return ERR_INVALID;
	return take(text, ".") ? take_number(text, 1, &url->size_max) : 0;
}

static int take_section(struct bytes *text, struct arena *arena, struct imap_url *url)
{
	struct bytes section = bytes_take(text, bytes_find(*text, ';'));
	int rc;

	if (text->len > 0) {
		if (section.len == 0 || section.ptr[section.len - 1] != '/')
			return ERR_INVALID;
		section.len--;
		text->ptr--;
		text->len++;
	}
	rc = unescape(section, arena, &section);
	url->has_section = true;
	return rc < 0 ? rc : mime_section_parse(section, arena, &url->section);
}

int imap_url_parse(struct bytes text, struct arena *arena, struct imap_url *url_r)
{
	struct imap_url url = { .uid = 0 };

	if (bytes_peek(text) == '/') {
		bytes_skip(&text, 1);
		if (take_mailbox(&text, arena, &url) < 0)
			return ERR_INVALID;
	}
	if (!take(&text, ";UID=") || take_number(&text, 1, &url.uid) < 0)
		return ERR_INVALID;
	if (take(&text, "/;SECTION=") && take_section(&text, arena, &url) < 0)
		return ERR_INVALID;
	if (take(&text, "/;PARTIAL=") && take_partial(&text, &url) < 0)
		return ERR_INVALID;
	if (text.len > 0)
		return ERR_INVALID;
	*url_r = url;
	return 0;
}
