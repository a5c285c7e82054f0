/* IMAP URLs: what is taken, written again in one plain way, is read as the same. */
#include "fuzz_check.h"

#include "imap/imap_url.h"
#include "imap/imap_utf7.h"

#include "base/buffer.h"
#include "base/error.h"

#define INPUT_SIZE_MAX 4096

static void put_escaped(struct buffer *out, struct bytes text)
{
	for (size_t i = 0; i < text.len; i++)
		buffer_printf(out, "%%%02X", text.ptr[i]);
}

static void put_section(struct buffer *out, const struct mime_section *section)
{
	static const char *const words[] = { [MIME_SECTION_ALL] = "",
		[MIME_SECTION_HEADER] = "HEADER",
		[MIME_SECTION_HEADER_FIELDS] = "HEADER.FIELDS",
		[MIME_SECTION_HEADER_FIELDS_NOT] = "HEADER.FIELDS.NOT",
		[MIME_SECTION_TEXT] = "TEXT",
		[MIME_SECTION_MIME] = "MIME" };
	struct buffer text = { NULL, 0, 0 };

	for (size_t i = 0; i < section->number_count; i++)
		buffer_printf(&text, "%s%u", i > 0 ? "." : "", section->numbers[i]);
	if (section->number_count > 0 && words[section->kind][0] != '\0')
		buffer_append_byte(&text, '.');
	buffer_append_string(&text, words[section->kind]);
	for (size_t i = 0; i < section->name_count; i++) {
		buffer_append_string(&text, i == 0 ? " (\"" : "\" \"");
		for (size_t at = 0; at < section->names[i].len; at++) {
			int byte = section->names[i].ptr[at];

			if (byte == '"' || byte == '\\')
				buffer_append_byte(&text, '\\');
			buffer_append_byte(&text, byte);
		}
	}
	if (section->name_count > 0)
		buffer_append_string(&text, "\")");
	put_escaped(out, buffer_bytes(&text));
	buffer_deinit(&text);
}

static void put_url(struct buffer *out, const struct imap_url *url)
{
	if (url->mailbox.len > 0) {
		buffer_append_byte(out, '/');
		put_escaped(out, url->mailbox);
		if (url->uidvalidity != 0)
			buffer_printf(out, ";UIDVALIDITY=%u", url->uidvalidity);
		buffer_append_byte(out, '/');
	}
	buffer_printf(out, ";UID=%u", url->uid);
	if (url->has_section) {
		buffer_append_string(out, "/;SECTION=");
		put_section(out, &url->section);
	}
	if (url->is_partial && url->size_max == UINT32_MAX)
		buffer_printf(out, "/;PARTIAL=%u", url->offset);
	else if (url->is_partial)
		buffer_printf(out, "/;PARTIAL=%u.%u", url->offset, url->size_max);
}

static void check_same_section(const struct mime_section *a, const struct mime_section *b)
{
	FUZZ_CHECK(a->kind == b->kind && a->number_count == b->number_count &&
		   a->name_count == b->name_count);
	for (size_t i = 0; i < a->number_count; i++)
		FUZZ_CHECK(a->numbers[i] == b->numbers[i]);
	for (size_t i = 0; i < a->name_count; i++)
		FUZZ_CHECK(bytes_equal(a->names[i], b->names[i]));
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct imap_url url = { 0 }, again = { 0 };
	struct buffer out = { NULL, 0, 0 };
	struct arena *arena;

	if (size > INPUT_SIZE_MAX)
		return 0;
	arena = arena_new();
	if (imap_url_parse(bytes_of(data, size), arena, &url) == 0) {
		FUZZ_CHECK(url.uid > 0);
		FUZZ_CHECK(imap_utf8_is_valid(url.mailbox));
		FUZZ_CHECK(bytes_find(url.mailbox, '\0') == url.mailbox.len);
		put_url(&out, &url);
		FUZZ_CHECK(imap_url_parse(buffer_bytes(&out), arena, &again) == 0);
		FUZZ_CHECK(bytes_equal(url.mailbox, again.mailbox) && url.uid == again.uid &&
			   url.uidvalidity == again.uidvalidity &&
			   url.has_section == again.has_section &&
			   url.is_partial == again.is_partial && url.offset == again.offset &&
			   url.size_max == again.size_max);
		if (url.has_section)
			check_same_section(&url.section, &again.section);
	}
	buffer_deinit(&out);
	arena_free(&arena);
	return 0;
}
