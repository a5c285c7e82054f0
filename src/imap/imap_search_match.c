#include "imap/imap_search.h"

#include "imap/imap_annotation.h"
#include "imap/imap_columns.h"
#include "imap/imap_date.h"

#include "base/encode.h"

/* A message being matched, with what was read of it so far. */
struct candidate {
	struct imap_search *search;
	struct kv_txn *kv;
	const struct message_record *message;
	struct buffer blob;
	struct mime_summary summary;
	bool has_summary;
	enum { ASK_BODY, PASS_OVER_BODY, BODY_WAS_ASKED } mode;
	uint64_t answers; /* of the body that was asked */
};

static int match_key(struct candidate *candidate, const struct imap_search_key *key);

static int load_summary(struct candidate *candidate)
{
	int rc;

	if (candidate->has_summary)
		return 0;
	rc = message_summary(candidate->search->session->mail, candidate->kv,
		&candidate->message->guid, &candidate->blob, &candidate->summary);
	candidate->has_summary = rc == 0;
	return rc;
}

static int load_body(struct candidate *candidate, struct bytes *raw_r)
{
	struct imap_session *session = candidate->search->session;
	int rc = imap_body_load(
		&session->body, session->mail, candidate->kv, &candidate->message->guid);

	if (rc < 0)
		return rc;
	*raw_r = buffer_bytes(&session->body.raw);
	candidate->search->body_bytes += raw_r->len;
	return 0;
}

static bool match_flag(const struct message_record *message, struct bytes name)
{
	for (size_t i = 0; i < message->flag_count; i++) {
		if (message->flags[i].is_set && bytes_equal_nocase(message->flags[i].name, name))
			return true;
	}
	return false;
}

/* Appends the header, and maybe more of the message. */
static int load_header(const struct candidate *candidate, struct buffer *header)
{
	struct imap_session *session = candidate->search->session;
	size_t before = header->len;
	int rc = message_header(session->mail, candidate->kv, &candidate->message->guid, header);

	if (rc == 0)
		candidate->search->body_bytes += header->len - before;
	return rc;
}

/* The subject as it is compared, if the summary has that; else an empty run. */
static struct bytes folded_of(const struct candidate *candidate, const struct imap_search_key *key)
{
	if (!candidate->has_summary || !bytes_equal_string_nocase(key->text, "subject"))
		return bytes_of(NULL, 0);
	return candidate->summary.subject;
}

/* False if it surely does not have it, of which a column takes note. */
static bool header_may_have(
	const struct candidate *candidate, const struct imap_search_key *key, struct bytes header)
{
	struct bytes folded = folded_of(candidate, key);
	uint32_t uid = candidate->message->uid;

	if (key->column == NULL || candidate->mode == BODY_WAS_ASKED)
		return folded.len == 0 || mime_needle_in_folded(&key->needle, folded);
	if (folded.len > 0)
		return imap_column_add_folded(key->column, uid, folded, &key->needle);
	return imap_column_add_field(key->column, uid, header, &key->needle);
}

static int header_has(
	const struct candidate *candidate, const struct imap_search_key *key, struct bytes header)
{
	return header_may_have(candidate, key, header) &&
	       mime_search_header(header, key->text, &key->needle);
}

/* From the summary if it knows the field, else from the message. */
static int match_header(struct candidate *candidate, const struct imap_search_key *key)
{
	struct buffer header = { NULL, 0, 0 };
	bool is_known = mime_summary_knows(&key->text, 1);
	int rc = is_known ? load_summary(candidate) : 0;

	if (rc < 0)
		return rc;
	if (is_known && candidate->summary.has_fields)
		return header_has(candidate, key, candidate->summary.fields);
	rc = load_header(candidate, &header);
	if (rc == 0)
		rc = header_has(candidate, key, buffer_bytes(&header));
	buffer_deinit(&header);
	return rc;
}

static bool body_has(const struct imap_search_key *key, struct bytes raw)
{
	return key->kind == SEARCH_BODY ? mime_search_body(raw, &key->needle)
					: mime_search_text(raw, &key->needle);
}

static int match_body(struct candidate *candidate, const struct imap_search_key *key)
{
	struct bytes raw;
	int rc;

	if (candidate->mode == PASS_OVER_BODY)
		return IMAP_SEARCH_UNDECIDED;
	if (candidate->mode == BODY_WAS_ASKED)
		return (candidate->answers >> key->body_index & 1) != 0;
	rc = load_body(candidate, &raw);
	return rc < 0 ? rc : body_has(key, raw);
}

static int match_sent(struct candidate *candidate, const struct imap_search_key *key)
{
	int64_t day = (int64_t)key->number, sent;
	int rc = load_summary(candidate);

	if (rc < 0)
		return rc;
	if (!candidate->summary.has_sent_date)
		return 0;
	sent = candidate->summary.sent_day;
	if (key->kind == SEARCH_SENT_BEFORE)
		return sent < day;
	return key->kind == SEARCH_SENT_ON ? sent == day : sent >= day;
}

static int match_id(
	const struct imap_search_key *key, char letter, const unsigned char *bytes, size_t len)
{
	struct buffer text = { NULL, 0, 0 };
	bool is_same;

	buffer_append_byte(&text, letter);
	encode_hex(&text, bytes_of(bytes, len));
	is_same = bytes_equal(buffer_bytes(&text), key->text);
	buffer_deinit(&text);
	return is_same;
}

/* Keys that the record alone decides. */
static int match_record(const struct candidate *candidate, const struct imap_search_key *key)
{
	const struct message_record *message = candidate->message;
	const struct imap_view *view = candidate->search->view;
	int64_t now = (int64_t)(candidate->search->now_ms / 1000), number = (int64_t)key->number;
	int64_t day = imap_day_of(message->internaldate, message->internaldate_zone);
	int64_t saved_day = imap_day_of((int64_t)(message->savedate_ms / 1000), 0);

	switch (key->kind) {
	case SEARCH_FLAG:
		return match_flag(message, key->text);
	case SEARCH_NEW:
		return imap_view_is_recent(view, message->uid) &&
		       !match_flag(message, BYTES_LITERAL("\\Seen"));
	case SEARCH_LARGER:
		return message->size > key->number;
	case SEARCH_SMALLER:
		return message->size < key->number;
	case SEARCH_DAY_BEFORE:
		return day < number;
	case SEARCH_DAY_ON:
		return day == number;
	case SEARCH_DAY_SINCE:
		return day >= number;
	case SEARCH_SAVED_BEFORE:
		return saved_day < number;
	case SEARCH_SAVED_ON:
		return saved_day == number;
	case SEARCH_SAVED_SINCE:
		return saved_day >= number;
	case SEARCH_OLDER:
		return message->internaldate <= now - number;
	case SEARCH_YOUNGER:
		return message->internaldate >= now - number;
	case SEARCH_MODSEQ:
		return message->modseq >= key->number;
	case SEARCH_EMAILID:
		return match_id(key, 'M', message->guid.bytes, 16);
	case SEARCH_THREADID:
		return !id128_is_none(message->thread) &&
		       match_id(key, 'T', message->thread.bytes, sizeof(message->thread.bytes));
	default:
		return 0;
	}
}

/* Until one child decides; `stop` is the answer that does. */
static int match_children(struct candidate *candidate, const struct imap_search_key *key, int stop)
{
	int outcome = !stop;

	for (const struct imap_search_key *child = key->children; child != NULL;
		child = child->next) {
		int rc = match_key(candidate, child);

		if (rc < 0 || rc == stop)
			return rc;
		if (rc == IMAP_SEARCH_UNDECIDED)
			outcome = rc;
	}
	return outcome;
}

static int match_key(struct candidate *candidate, const struct imap_search_key *key)
{
	int rc;

	switch (key->kind) {
	case SEARCH_AND:
		return match_children(candidate, key, 0);
	case SEARCH_OR:
		return match_children(candidate, key, 1);
	case SEARCH_NOT:
		rc = match_key(candidate, key->children);
		return rc < 0 || rc == IMAP_SEARCH_UNDECIDED ? rc : !rc;
	case SEARCH_SET:
		return uid_set_has(&key->uids, candidate->message->uid);
	case SEARCH_RECENT:
		return imap_view_is_recent(candidate->search->view, candidate->message->uid);
	case SEARCH_SENT_BEFORE:
	case SEARCH_SENT_ON:
	case SEARCH_SENT_SINCE:
		return match_sent(candidate, key);
	case SEARCH_ANNOTATION:
		return imap_annotation_matches(candidate->search->session, candidate->kv,
			candidate->search->view->account, candidate->message, key->text,
			key->attributes, key->value, key->is_nil);
	case SEARCH_HEADER:
		return match_header(candidate, key);
	case SEARCH_BODY:
	case SEARCH_TEXT:
		return match_body(candidate, key);
	default:
		return match_record(candidate, key);
	}
}

static int match(struct candidate *candidate)
{
	int rc = match_key(candidate, candidate->search->root);

	buffer_deinit(&candidate->blob);
	return rc;
}

int imap_search_match(
	struct imap_search *search, struct kv_txn *kv, const struct message_record *message)
{
	struct candidate candidate = { .search = search, .kv = kv, .message = message };

	return match(&candidate);
}

int imap_search_decide(
	struct imap_search *search, struct kv_txn *kv, const struct message_record *message)
{
	struct candidate candidate = {
		.search = search, .kv = kv, .message = message, .mode = PASS_OVER_BODY
	};

	return match(&candidate);
}

uint64_t imap_search_ask(const struct imap_search *search, struct bytes raw)
{
	uint64_t answers = 0;

	for (const struct imap_search_key *key = search->newest; key != NULL; key = key->older) {
		if ((key->kind == SEARCH_BODY || key->kind == SEARCH_TEXT) && body_has(key, raw))
			answers |= (uint64_t)1 << key->body_index;
	}
	return answers;
}

int imap_search_conclude(struct imap_search *search, struct kv_txn *kv,
	const struct message_record *message, uint64_t answers)
{
	struct candidate candidate = { .search = search,
		.kv = kv,
		.message = message,
		.mode = BODY_WAS_ASKED,
		.answers = answers };

	return match(&candidate);
}
