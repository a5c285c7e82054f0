#include "imap/imap_date.h"
#include "imap/imap_fetch.h"
#include "imap/imap_reply.h"
#include "imap/imap_update.h"

#include "base/encode.h"
#include "mail/mime_header.h"

/*
 * One answer about a message, which is held in memory until the client takes it, may be so many
 * times as large as the message; clients that want all of it in several forms need some.
 */
#define ANSWER_FACTOR_MAX 4
#define ANSWER_SIZE_SLACK (16u * 1024 * 1024)

/* What one message's answer is made from. */
struct fetched {
	struct imap_session *session;
	struct kv_txn *kv;
	const struct message_record *message;
	struct buffer *summary_blob;
	struct mime_summary summary;
	bool has_summary;
	bool in_pieces;
	bool asks_once;    /* the body, if at all */
	bool is_surrogate; /* something told is of one ... */
	uint64_t size;     /* ... which then is that large */
};

static void put_octets(struct imap_session *session, struct bytes octets)
{
	imap_put(session, " ");
	imap_put_literal(&session->out, octets);
}

static struct bytes cut_partial(const struct imap_fetch_item *item, struct bytes octets)
{
	if (!item->is_partial)
		return octets;
	if (item->offset >= octets.len)
		return bytes_of(octets.ptr, 0);
	bytes_skip(&octets, item->offset);
	if (octets.len > item->size_max)
		octets.len = item->size_max;
	return octets;
}

/* BODY[HEADER.FIELDS (...)] of what the summary knows. */
static bool put_known_fields(const struct fetched *fetched, const struct imap_fetch_item *item)
{
	struct buffer fields = { NULL, 0, 0 };
	bool is_known;

	if (!fetched->has_summary || item->section.kind != MIME_SECTION_HEADER_FIELDS ||
		item->section.number_count > 0)
		return false;
	is_known = mime_summary_header_fields(
		&fetched->summary, item->section.names, item->section.name_count, &fields);
	if (is_known) {
		imap_put_bytes(fetched->session, item->label);
		put_octets(fetched->session, cut_partial(item, buffer_bytes(&fields)));
	}
	buffer_deinit(&fields);
	return is_known;
}

static int load_body(struct fetched *fetched)
{
	struct imap_session *session = fetched->session;
	int rc = imap_body_load_for(&session->body, session->mail, fetched->kv,
		&fetched->message->guid, !session->is_utf8);

	if (rc == 0)
		fetched->is_surrogate = fetched->is_surrogate || session->body.is_surrogate;
	return rc;
}

static bool header_is_ascii(struct bytes message)
{
	size_t ascii_size = bytes_ascii_len(message);

	return ascii_size == message.len || ascii_size >= mime_header_block(message).len;
}

/* The header of the message, or fields of it, read alone. ERR_NOT_FOUND: all has to be read. */
static int put_header(struct fetched *fetched, const struct imap_fetch_item *item)
{
	struct imap_session *session = fetched->session;
	struct buffer read = { NULL, 0, 0 }, scratch = { NULL, 0, 0 };
	struct bytes octets;
	int rc;

	if (!mime_section_is_header(&item->section) ||
		imap_body_has(&session->body, &fetched->message->guid))
		return ERR_NOT_FOUND;
	rc = message_header(session->mail, fetched->kv, &fetched->message->guid, &read);
	/* It may be told by a surrogate. */
	if (rc == 0 && !session->is_utf8 && !header_is_ascii(buffer_bytes(&read)))
		rc = ERR_NOT_FOUND;
	if (rc == 0)
		rc = mime_section_get(buffer_bytes(&read), NULL, &item->section, &scratch, &octets);
	if (rc == 0) {
		imap_put_bytes(session, item->label);
		put_octets(session, cut_partial(item, octets));
	}
	buffer_deinit(&read);
	buffer_deinit(&scratch);
	return rc;
}

/* Whether the client is to see it as it is not. */
static int find_surrogate(const struct fetched *fetched)
{
	struct buffer made = { NULL, 0, 0 };
	struct mime_summary summary;
	int rc;

	if (fetched->session->is_utf8)
		return 0;
	rc = message_summary(
		fetched->session->mail, fetched->kv, &fetched->message->guid, &made, &summary);
	if (rc == 0)
		rc = summary.surrogate_size > 0;
	buffer_deinit(&made);
	return rc;
}

/* `size` bytes at `offset` of the message as it is stored, or those of them that were asked for. */
static int put_piece(
	struct fetched *fetched, const struct imap_fetch_item *item, uint64_t offset, uint64_t size)
{
	struct imap_session *session = fetched->session;
	uint64_t skipped = item->is_partial ? item->offset : 0;

	skipped = skipped < size ? skipped : size;
	size -= skipped;
	if (item->is_partial && size > item->size_max)
		size = item->size_max;
	imap_put_bytes(session, item->label);
	return imap_large_put(&session->large, offset + skipped, size, &session->out);
}

/* BODY[] and BODY[TEXT] of a large message. 1: it is not such a case. */
static int put_large(struct fetched *fetched, const struct imap_fetch_item *item)
{
	struct imap_session *session = fetched->session;
	const struct guid *guid = &fetched->message->guid;
	bool is_text = item->section.kind == MIME_SECTION_TEXT;
	uint64_t header_size = 0, size;
	int rc;

	if (!fetched->in_pieces || item->section.number_count > 0 ||
		(item->section.kind != MIME_SECTION_ALL && !is_text))
		return 1;
	rc = find_surrogate(fetched);
	if (rc != 0)
		return rc;
	rc = imap_large_open(&session->large, session->mail, fetched->kv, guid);
	if (rc == 0 && is_text)
		rc = imap_large_header_size(&session->large, &header_size);
	if (rc < 0)
		return rc;
	size = store_stream_size(session->large.stream);
	return put_piece(fetched, item, header_size, size - header_size);
}

/* A part of a message that was read to find it, and need not be kept for that. */
static int put_part(
	struct fetched *fetched, const struct imap_fetch_item *item, struct bytes octets)
{
	struct imap_session *session = fetched->session;
	const struct buffer *raw = &session->body.raw;
	bool is_within = octets.ptr >= raw->data && octets.ptr <= raw->data + raw->len;
	int rc;

	if (!fetched->in_pieces || session->body.is_surrogate || !is_within ||
		cut_partial(item, octets).len < IMAP_LARGE_SIZE_MIN) {
		imap_put_bytes(session, item->label);
		put_octets(session, cut_partial(item, octets));
		return 0;
	}
	rc = imap_large_open(&session->large, session->mail, fetched->kv, &fetched->message->guid);
	if (rc < 0)
		return rc;
	return put_piece(fetched, item, (uint64_t)(octets.ptr - raw->data), octets.len);
}

static bool is_whole(const struct imap_fetch_item *item)
{
	return item->section.kind == MIME_SECTION_ALL && item->section.number_count == 0;
}

/* All of a message that nothing else is told of is read to where it is told. 1: not so; the body
 * may be loaded then. */
static int put_whole(struct fetched *fetched, const struct imap_fetch_item *item)
{
	struct imap_session *session = fetched->session;
	const struct message_record *message = fetched->message;
	struct buffer *out = &session->out;
	size_t start = out->len, before;
	struct bytes octets;
	int rc;

	if (!is_whole(item) || item->is_partial || !fetched->asks_once ||
		imap_body_has(&session->body, &message->guid))
		return 1;
	imap_put_bytes(session, item->label);
	imap_put(session, " {");
	imap_put_number(session, message->size);
	imap_put(session, "}\r\n");
	before = out->len;
	rc = message_body(session->mail, fetched->kv, &message->guid, out);
	octets = bytes_of(out->data + before, out->len - before);
	if (rc == 0 && octets.len == message->size &&
		(session->is_utf8 || bytes_ascii_len(octets) == octets.len))
		return 0;
	if (rc == 0) {
		imap_body_put(&session->body, &message->guid, octets, !session->is_utf8);
		rc = 1;
	}
	buffer_truncate(out, start);
	return rc;
}

static int put_section(struct fetched *fetched, const struct imap_fetch_item *item)
{
	struct imap_session *session = fetched->session;
	struct buffer scratch = { NULL, 0, 0 };
	struct bytes octets, raw;
	int rc;

	if (put_known_fields(fetched, item) || put_header(fetched, item) == 0)
		return 0;
	rc = put_large(fetched, item);
	if (rc > 0)
		rc = put_whole(fetched, item);
	if (rc <= 0)
		return rc;
	rc = load_body(fetched);
	if (rc < 0)
		return rc;
	raw = buffer_bytes(&session->body.raw);
	if (is_whole(item)) {
		imap_put_bytes(session, item->label);
		put_octets(session, cut_partial(item, raw));
		return 0;
	}
	rc = mime_section_get(raw,
		mime_section_is_header(&item->section) ? NULL : imap_body_root(&session->body),
		&item->section, &scratch, &octets);
	if (rc == 0) {
		rc = put_part(fetched, item, octets);
	} else if (rc == ERR_NOT_FOUND) {
		imap_put_bytes(session, item->label);
		imap_put(session, " NIL");
		rc = 0;
	}
	buffer_deinit(&scratch);
	return rc;
}

/* BINARY and BINARY.SIZE; what holds NUL is a literal8 (RFC 3516). */
static int put_binary(struct fetched *fetched, const struct imap_fetch_item *item)
{
	struct imap_session *session = fetched->session;
	struct bytes content = { NULL, 0 };
	int rc = load_body(fetched);

	if (rc == 0)
		rc = imap_body_decode(&session->body, item->section.numbers,
			item->section.number_count, &content);
	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	imap_put_bytes(session, item->label);
	if (item->kind == FETCH_BINARY_SIZE) {
		imap_printf(session, " %zu", content.len);
		return 0;
	}
	if (rc == ERR_NOT_FOUND) {
		imap_put(session, " NIL");
		return 0;
	}
	content = cut_partial(item, content);
	imap_put(session, bytes_find(content, '\0') < content.len ? " ~" : " ");
	if (fetched->in_pieces && content.len >= IMAP_LARGE_SIZE_MIN)
		imap_large_put_made(
			&session->large, session->options->spill_folder, content, &session->out);
	else
		imap_put_literal(&session->out, content);
	return 0;
}

static void put_hex(struct imap_session *session, char letter, struct bytes id)
{
	buffer_append_byte(&session->out, '(');
	buffer_append_byte(&session->out, letter);
	encode_hex(&session->out, id);
	buffer_append_byte(&session->out, ')');
}

static void put_uid(struct imap_session *session, const struct message_record *message)
{
	imap_put(session, "UID ");
	imap_put_number(session, message->uid);
}

static void put_modseq(struct imap_session *session, const struct message_record *message)
{
	imap_put(session, "MODSEQ (");
	imap_put_number(session, message->modseq);
	imap_put(session, ")");
}

/* RFC 8474: the same content has the same EMAILID, wherever it is. */
static void put_email_id(struct imap_session *session, const struct message_record *message)
{
	imap_put(session, "EMAILID ");
	put_hex(session, 'M', bytes_of(message->guid.bytes, 16));
}

static void put_thread_id(struct imap_session *session, const struct message_record *message)
{
	imap_put(session, "THREADID ");
	if (id128_is_none(message->thread))
		imap_put(session, "NIL");
	else
		put_hex(session, 'T',
			bytes_of(message->thread.bytes, sizeof(message->thread.bytes)));
}

/* The summary of others' making is used; the lazy form asks for no more than one that is stored. */
static void put_preview(const struct fetched *fetched)
{
	struct mime_summary summary = fetched->summary;
	bool is_there = fetched->has_summary;

	if (!is_there)
		is_there =
			message_summary_ready(fetched->kv, &fetched->message->guid, &summary) == 0;
	imap_put(fetched->session, "PREVIEW ");
	if (is_there)
		imap_put_string(&fetched->session->out, summary.preview);
	else
		imap_put(fetched->session, "NIL");
}

static int put_item(struct fetched *fetched, const struct imap_fetch_item *item)
{
	struct imap_session *session = fetched->session;
	const struct message_record *message = fetched->message;

	switch (item->kind) {
	case FETCH_FLAGS:
		imap_put_flags(session, message);
		break;
	case FETCH_ANNOTATION:
		return imap_put_annotations(
			session, fetched->kv, session->view->account, message, item->annotation);
	case FETCH_UID:
		put_uid(session, message);
		break;
	case FETCH_MODSEQ:
		put_modseq(session, message);
		break;
	case FETCH_INTERNALDATE:
		imap_put(session, "INTERNALDATE ");
		imap_date_time_write(
			&session->out, message->internaldate, message->internaldate_zone);
		break;
	case FETCH_SIZE:
		imap_put(session, "RFC822.SIZE ");
		imap_put_number(session, fetched->size);
		break;
	case FETCH_ENVELOPE:
		imap_put(session, "ENVELOPE ");
		imap_put_bytes(session, fetched->summary.envelope);
		break;
	case FETCH_BODY:
		imap_put(session, "BODY ");
		imap_put_bytes(session, fetched->summary.body);
		break;
	case FETCH_BODYSTRUCTURE:
		imap_put(session, "BODYSTRUCTURE ");
		imap_put_bytes(session, fetched->summary.bodystructure);
		break;
	case FETCH_EMAILID:
		put_email_id(session, message);
		break;
	case FETCH_THREADID:
		put_thread_id(session, message);
		break;
	case FETCH_PREVIEW:
	case FETCH_PREVIEW_LAZY:
		put_preview(fetched);
		break;
	case FETCH_SAVEDATE:
		imap_put(session, "SAVEDATE ");
		imap_date_time_write(&session->out, (int64_t)(message->savedate_ms / 1000), 0);
		break;
	case FETCH_BINARY:
	case FETCH_BINARY_SIZE:
		return put_binary(fetched, item);
	case FETCH_SECTION:
		return put_section(fetched, item);
	}
	return 0;
}

/* Instead of the message's own: what is known of it as the client is to see it. */
static int load_surrogate_summary(struct fetched *fetched, bool needs_all)
{
	int rc;

	fetched->size = fetched->summary.surrogate_size;
	fetched->is_surrogate = true;
	if (!needs_all)
		return 0;
	rc = load_body(fetched);
	if (rc < 0)
		return rc;
	buffer_clear(fetched->summary_blob);
	mime_summary_make(buffer_bytes(&fetched->session->body.raw), fetched->summary_blob);
	return mime_summary_open(buffer_bytes(fetched->summary_blob), &fetched->summary);
}

static int load_summary(struct fetched *fetched, bool needs_all)
{
	int rc = message_summary(fetched->session->mail, fetched->kv, &fetched->message->guid,
		fetched->summary_blob, &fetched->summary);

	if (rc == 0 && !fetched->session->is_utf8 && fetched->summary.surrogate_size > 0)
		rc = load_surrogate_summary(fetched, needs_all);
	fetched->has_summary = rc == 0 && needs_all;
	return rc;
}

/* A FETCH that sets \Seen tells what an unasked one does; others what was asked for. */
static bool names_uid(const struct imap_session *session, bool with_flags)
{
	if (with_flags || session->is_qresync || session->notify != NULL)
		return imap_tells_uid(session);
	return !session->is_uidonly && session->command != NULL &&
	       (session->command->flags & COMMAND_IS_UID) != 0;
}

static int put_items(struct fetched *fetched, const struct imap_fetch *fetch, bool with_flags)
{
	struct imap_session *session = fetched->session;
	bool is_uid = names_uid(session, with_flags);
	size_t start = session->out.len;
	size_t size_max = ANSWER_FACTOR_MAX * fetched->message->size + ANSWER_SIZE_SLACK;
	const char *blank = "";
	bool has_uid = false;

	for (size_t i = 0; i < fetch->item_count; i++) {
		size_t before = session->out.len;
		int rc;

		imap_put(session, blank);
		rc = put_item(fetched, &fetch->items[i]);
		if (rc == 0 &&
			session->out.len - start + imap_large_pending(&session->large) > size_max)
			rc = ERR_TOO_LARGE;
		if (rc < 0)
			return rc;
		has_uid = has_uid || fetch->items[i].kind == FETCH_UID;
		/* Of annotations there may be none to tell of. */
		if (session->out.len == before + strlen(blank))
			buffer_truncate(&session->out, before);
		else
			blank = " ";
	}
	if (is_uid && !has_uid) {
		imap_put(session, blank);
		put_uid(session, fetched->message);
		blank = " ";
	}
	if (with_flags && !fetch->has_flags) {
		imap_put(session, blank);
		imap_put_flags(session, fetched->message);
	}
	if (with_flags && session->is_condstore && !fetch->has_modseq) {
		imap_put(session, " ");
		put_modseq(session, fetched->message);
	}
	return 0;
}

/* What is told of a surrogate is not what searches look in. */
static void note_subject(const struct fetched *fetched, struct imap_column *subjects)
{
	const struct mime_summary *summary = &fetched->summary;

	if (fetched->is_surrogate)
		return;
	if (summary->subject.len > 0)
		(void)imap_column_add_folded(
			subjects, fetched->message->uid, summary->subject, NULL);
	else if (summary->has_fields)
		(void)imap_column_add_field(subjects, fetched->message->uid, summary->fields, NULL);
}

int imap_fetch_write(struct imap_session *session, const struct imap_fetch *fetch,
	struct kv_txn *kv, const struct message_record *message, bool with_flags)
{
	struct buffer blob = { NULL, 0, 0 };
	struct fetched fetched = { .session = session,
		.kv = kv,
		.message = message,
		.summary_blob = &blob,
		.in_pieces = fetch->in_pieces && message->size >= IMAP_LARGE_SIZE_MIN,
		.asks_once = fetch->section_count == 1,
		.size = message->size };
	size_t start = session->out.len, index = imap_view_find(session->view, message->uid);
	size_t items_start;
	int rc = 0;

	if (fetch->needs_summary || (fetch->has_size && !session->is_utf8))
		rc = load_summary(&fetched, fetch->needs_summary);
	if (!fetch->needs_summary)
		rc = 0;
	else if (rc == 0 && fetch->subjects != NULL)
		note_subject(&fetched, fetch->subjects);
	if (rc == 0) {
		if (fetch->has_flags || with_flags)
			imap_tell_keywords(session, message);
		imap_put_fetch(session, index, message->uid);
		items_start = session->out.len;
		rc = put_items(&fetched, fetch, with_flags);
		if (session->out.len == items_start)
			buffer_truncate(&session->out, start);
		else
			imap_put(session, ")\r\n");
	}
	if (rc < 0) {
		buffer_truncate(&session->out, start);
		imap_large_deinit(&session->large);
	}
	buffer_deinit(&blob);
	return rc < 0 ? rc : fetched.is_surrogate;
}
