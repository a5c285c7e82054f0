#include "mail/mime_summary.h"

#include "base/error.h"
#include "base/hash.h"
#include "base/pack.h"
#include "mail/mime_bodystructure.h"
#include "mail/mime_downgrade.h"
#include "mail/mime_envelope.h"
#include "mail/mime_header.h"
#include "mail/mime_preview.h"
#include "mail/mime_section.h"
#include "mail/mime_sort.h"
#include "mail/mime_text.h"

#define SUMMARY_MAGIC 'M'
#define DAY_SECONDS 86400

enum { FLAG_SENT_DATE = 1, FLAG_FIELDS = 2, FLAGS_ALL = 3 };

static const char *const known_fields[] = { "Date", "From", "To", "Cc", "Bcc", "Subject",
	"Message-ID", "References", "In-Reply-To", "Reply-To", "Sender", "Content-Type",
	"MIME-Version", "List-Id", "X-Priority", "Importance", "Priority",
	"Content-Transfer-Encoding", "Delivered-To", "Return-Path", "X-Mailer", "User-Agent",
	"Newsgroups" };

static bool is_known(struct bytes name)
{
	size_t i;

	for (i = 0; i < sizeof(known_fields) / sizeof(known_fields[0]); i++) {
		if (bytes_equal_string_nocase(name, known_fields[i]))
			return true;
	}
	return false;
}

/* The first Date counts, as in ENVELOPE. */
static void date_find(struct bytes header, struct mime_summary *summary)
{
	struct mime_field field;
	int32_t zone;

	while (mime_field_next(&header, &field)) {
		if (!bytes_equal_string_nocase(field.name, "date"))
			continue;
		if (mime_date_parse(field.value, &summary->sent_date, &zone) == 0) {
			int64_t local = summary->sent_date + zone;

			summary->has_sent_date = true;
			summary->sent_day = local / DAY_SECONDS - (local % DAY_SECONDS < 0);
		}
		return;
	}
}

static bool fields_collect(struct bytes header, struct buffer *out)
{
	struct mime_field field;

	while (mime_field_next(&header, &field)) {
		if (!is_known(field.name))
			continue;
		if (field.raw.len > MIME_SUMMARY_FIELDS_SIZE_MAX - out->len) {
			buffer_clear(out);
			return false;
		}
		buffer_append_bytes(out, field.raw);
	}
	return true;
}

static void summary_pack(const struct mime_summary *summary, struct buffer *out)
{
	size_t before = out->len;

	pack_u8(out, SUMMARY_MAGIC);
	pack_u8(out, MIME_SUMMARY_VERSION);
	pack_varint(out, summary->message_size);
	pack_varint(out, summary->header_size);
	pack_varint(out, summary->header_lines);
	pack_varint(out, summary->body_lines);
	pack_u8(out, (uint8_t)((summary->has_sent_date ? FLAG_SENT_DATE : 0) |
			       (summary->has_fields ? FLAG_FIELDS : 0)));
	pack_varint(out, summary->surrogate_size);
	pack_u64(out, (uint64_t)summary->sent_date);
	pack_u64(out, (uint64_t)summary->sent_day);
	pack_bytes(out, summary->envelope);
	pack_bytes(out, summary->body);
	pack_bytes(out, summary->bodystructure);
	pack_bytes(out, summary->fields);
	pack_bytes(out, summary->sort);
	pack_bytes(out, summary->preview);
	pack_bytes(out, summary->subject);
	pack_u32(out, crc32c(0, bytes_of(out->data + before, out->len - before)));
}

static uint64_t surrogate_size(struct bytes message, const struct mime_part *root)
{
	struct buffer surrogate = { 0 };
	uint64_t size;

	mime_downgrade(message, root, &surrogate);
	size = surrogate.len;
	buffer_deinit(&surrogate);
	return size;
}

void mime_summary_make(struct bytes message, struct buffer *out)
{
	struct arena *arena = arena_new();
	struct mime_part *root = mime_structure_parse(message, arena);
	struct bytes header = mime_part_header(root, message);
	struct buffer envelope = { 0 }, body = { 0 }, bodystructure = { 0 }, fields = { 0 };
	struct buffer sort = { 0 }, preview = { 0 }, subject = { 0 };
	struct mime_summary summary = { .message_size = message.len,
		.surrogate_size = surrogate_size(message, root),
		.header_size = root->header_size,
		.header_lines = root->header_lines,
		.body_lines = root->body_lines };

	date_find(header, &summary);
	mime_envelope_write(header, &envelope);
	mime_bodystructure_write(message, root, false, &body);
	mime_bodystructure_write(message, root, true, &bodystructure);
	mime_sort_make(header, &sort);
	mime_preview_make(message, root, &preview);
	mime_search_fold(header, BYTES_LITERAL("Subject"), &subject);
	if (subject.len > MIME_SUMMARY_SUBJECT_SIZE_MAX)
		buffer_clear(&subject);
	summary.has_fields = fields_collect(header, &fields);
	summary.envelope = buffer_bytes(&envelope);
	summary.body = buffer_bytes(&body);
	summary.bodystructure = buffer_bytes(&bodystructure);
	summary.fields = buffer_bytes(&fields);
	summary.sort = buffer_bytes(&sort);
	summary.preview = buffer_bytes(&preview);
	summary.subject = buffer_bytes(&subject);
	summary_pack(&summary, out);
	buffer_deinit(&envelope);
	buffer_deinit(&body);
	buffer_deinit(&bodystructure);
	buffer_deinit(&fields);
	buffer_deinit(&sort);
	buffer_deinit(&preview);
	buffer_deinit(&subject);
	arena_free(&arena);
}

static bool sizes_unpack(struct bytes *in, struct mime_summary *view)
{
	return unpack_varint(in, &view->message_size) == 0 &&
	       unpack_varint(in, &view->header_size) == 0 &&
	       unpack_varint(in, &view->header_lines) == 0 &&
	       unpack_varint(in, &view->body_lines) == 0 && view->header_size <= view->message_size;
}

static bool contents_unpack(struct bytes *in, unsigned version, struct mime_summary *view)
{
	uint64_t date, day;
	uint8_t flags;

	if (unpack_u8(in, &flags) < 0 || (flags & ~FLAGS_ALL) != 0 ||
		unpack_varint(in, &view->surrogate_size) < 0 || unpack_u64(in, &date) < 0 ||
		unpack_u64(in, &day) < 0)
		return false;
	view->has_sent_date = (flags & FLAG_SENT_DATE) != 0;
	view->has_fields = (flags & FLAG_FIELDS) != 0;
	view->sent_date = (int64_t)date;
	view->sent_day = (int64_t)day;
	return unpack_bytes(in, &view->envelope) == 0 && unpack_bytes(in, &view->body) == 0 &&
	       unpack_bytes(in, &view->bodystructure) == 0 &&
	       unpack_bytes(in, &view->fields) == 0 && unpack_bytes(in, &view->sort) == 0 &&
	       unpack_bytes(in, &view->preview) == 0 &&
	       (version < 4 || unpack_bytes(in, &view->subject) == 0) && in->len == 0;
}

int mime_summary_open(struct bytes blob, struct mime_summary *view_r)
{
	struct mime_summary view = { 0 };
	unsigned version;

	if (blob.len < 6 || blob.ptr[0] != SUMMARY_MAGIC)
		return ERR_CORRUPT;
	version = blob.ptr[1];
	if (version < MIME_SUMMARY_VERSION_MIN || version > MIME_SUMMARY_VERSION)
		return ERR_VERSION;
	blob.len -= 4;
	if (get_u32(blob.ptr + blob.len) != crc32c(0, blob))
		return ERR_CORRUPT;
	bytes_skip(&blob, 2);
	if (!sizes_unpack(&blob, &view) || !contents_unpack(&blob, version, &view))
		return ERR_CORRUPT;
	*view_r = view;
	return 0;
}

bool mime_summary_knows(const struct bytes *names, size_t name_count)
{
	for (size_t i = 0; i < name_count; i++) {
		if (!is_known(names[i]))
			return false;
	}
	return true;
}

bool mime_summary_header_fields(const struct mime_summary *summary, const struct bytes *names,
	size_t name_count, struct buffer *out)
{
	if (!summary->has_fields || !mime_summary_knows(names, name_count))
		return false;
	mime_header_fields(summary->fields, names, name_count, false, out);
	return true;
}
