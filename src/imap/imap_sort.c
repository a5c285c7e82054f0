#include "imap/imap_sort.h"

#include "imap/imap_annotation.h"

#include "base/error.h"
#include "base/pack.h"

static const struct {
	const char *name;
	enum imap_sort_field field;
	bool needs_summary;
} sort_words[] = {
	{ "ANNOTATION", SORT_ANNOTATION, false },
	{ "ARRIVAL", SORT_ARRIVAL, false },
	{ "CC", SORT_CC, true },
	{ "DATE", SORT_DATE, true },
	{ "DISPLAYFROM", SORT_DISPLAYFROM, true },
	{ "DISPLAYTO", SORT_DISPLAYTO, true },
	{ "FROM", SORT_FROM, true },
	{ "SIZE", SORT_SIZE, false },
	{ "SUBJECT", SORT_SUBJECT, true },
	{ "TO", SORT_TO, true },
};

#define SORT_WORD_COUNT (sizeof(sort_words) / sizeof(sort_words[0]))

static bool is_named(const struct imap_sort *sort, enum imap_sort_field field)
{
	for (size_t i = 0; i < sort->count; i++) {
		if (sort->criteria[i].field == field)
			return true;
	}
	return false;
}

/* Of several entries each orders by its own. */
static int parse_annotation(struct imap_parser *args, struct imap_sort *sort, bool is_reversed)
{
	size_t count = 0;

	for (size_t i = 0; i < sort->count; i++)
		count += sort->criteria[i].field == SORT_ANNOTATION;
	if (count == IMAP_SORT_ANNOTATION_MAX)
		return imap_parse_fail(args, ERR_TOO_LARGE, "Too many annotations to sort by");
	sort->criteria[sort->count].field = SORT_ANNOTATION;
	sort->criteria[sort->count].is_reversed = is_reversed;
	if (imap_parse_space(args) < 0 ||
		imap_parse_annotation_match(args, &sort->criteria[sort->count].entry,
			&sort->criteria[sort->count].attributes) < 0)
		return ERR_INVALID;
	sort->count++;
	return 0;
}

static int parse_criterion(struct imap_parser *args, struct imap_sort *sort)
{
	bool is_reversed = imap_parse_take_word(args, "REVERSE");

	if (is_reversed && imap_parse_space(args) < 0)
		return ERR_INVALID;
	for (size_t i = 0; i < SORT_WORD_COUNT; i++) {
		if (!imap_parse_take_word(args, sort_words[i].name))
			continue;
		if (sort_words[i].field == SORT_ANNOTATION)
			return parse_annotation(args, sort, is_reversed);
		if (is_named(sort, sort_words[i].field))
			return 0;
		sort->criteria[sort->count].field = sort_words[i].field;
		sort->criteria[sort->count++].is_reversed = is_reversed;
		sort->needs_summary = sort->needs_summary || sort_words[i].needs_summary;
		return 0;
	}
	return imap_parse_fail(args, ERR_INVALID, "Unknown sort criterion");
}

int imap_parse_sort(struct imap_parser *args, struct imap_sort *sort_r)
{
	struct imap_sort sort = { .count = 0 };

	if (imap_parse_expect(args, '(') < 0)
		return ERR_INVALID;
	do {
		if (parse_criterion(args, &sort) < 0)
			return ERR_INVALID;
	} while (imap_parse_take(args, ' '));
	*sort_r = sort;
	return imap_parse_expect(args, ')');
}

int64_t imap_sent_date(const struct mime_summary *summary, const struct message_record *message)
{
	return summary->has_sent_date ? summary->sent_date : message->internaldate;
}

/* Signed numbers in the order of their octets. */
static void put_signed(struct buffer *out, int64_t number)
{
	pack_u64(out, (uint64_t)number ^ (UINT64_C(1) << 63));
}

static void put_text(struct buffer *out, struct bytes text)
{
	buffer_append_bytes(out, text);
	buffer_append_byte(out, '\0');
}

static void put_field(struct buffer *out, enum imap_sort_field field,
	const struct message_record *message, const struct mime_summary *summary,
	const struct mime_sort *sort)
{
	switch (field) {
	case SORT_ANNOTATION: /* by imap_sort_key() */
		break;
	case SORT_ARRIVAL:
		put_signed(out, message->internaldate);
		break;
	case SORT_DATE:
		put_signed(out, imap_sent_date(summary, message));
		break;
	case SORT_SIZE:
		pack_u64(out, message->size);
		break;
	case SORT_CC:
		put_text(out, sort->cc);
		break;
	case SORT_DISPLAYFROM:
		put_text(out, sort->display_from);
		break;
	case SORT_DISPLAYTO:
		put_text(out, sort->display_to);
		break;
	case SORT_FROM:
		put_text(out, sort->from);
		break;
	case SORT_SUBJECT:
		put_text(out, sort->subject);
		break;
	case SORT_TO:
		put_text(out, sort->to);
		break;
	case SORT_FIELD_COUNT:
		break;
	}
}

int imap_sort_key(const struct imap_sort *sort, struct imap_session *session, struct kv_txn *kv,
	uint32_t account, const struct message_record *message, struct buffer *out)
{
	struct mime_summary summary = { 0 };
	struct buffer blob = { NULL, 0, 0 };
	struct mime_sort texts = { 0 };
	int rc = 0;

	if (sort->needs_summary)
		rc = message_summary(session->mail, kv, &message->guid, &blob, &summary);
	if (rc == 0 && sort->needs_summary)
		rc = mime_sort_open(summary.sort, &texts);
	for (size_t i = 0; i < sort->count && rc == 0; i++) {
		size_t before = out->len;

		if (sort->criteria[i].field == SORT_ANNOTATION) {
			rc = imap_annotation_sort_text(session, kv, account, message,
				sort->criteria[i].entry, sort->criteria[i].attributes, out);
			buffer_append_byte(out, '\0');
		} else {
			put_field(out, sort->criteria[i].field, message, &summary, &texts);
		}
		for (size_t at = before; sort->criteria[i].is_reversed && at < out->len; at++)
			out->data[at] = (unsigned char)~out->data[at];
	}
	buffer_deinit(&blob);
	return rc;
}
