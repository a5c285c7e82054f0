#include "imap/imap_append.h"

#include "imap/imap_annotation.h"
#include "imap/imap_target.h"
#include "imap/imap_url.h"

#include "base/clock.h"
#include "base/mem.h"
#include "mail/mime_binary.h"

#include <stdlib.h>

/* ---- reading ---- */

/* "UTF8 (~{5}...)" after its word. */
static int parse_utf8(struct imap_parser *args, struct bytes *text_r, bool *is_binary_r)
{
	if (!args->is_utf8)
		return imap_parse_fail(args, ERR_INVALID, "ENABLE UTF8=ACCEPT first");
	if (imap_parse_space(args) < 0 || imap_parse_expect(args, '(') < 0 ||
		imap_parse_literal8(args, text_r, is_binary_r) < 0)
		return ERR_INVALID;
	if (!*is_binary_r)
		return imap_parse_fail(args, ERR_INVALID, "UTF8 takes a literal8");
	return imap_parse_expect(args, ')');
}

static struct imap_append_part *part_new(struct imap_append *append)
{
	void *parts = append->parts;

	mem_grow(&parts, &append->part_room, append->part_count + 1, sizeof(*append->parts));
	append->parts = parts;
	append->parts[append->part_count] = (struct imap_append_part){ .is_url = false };
	return &append->parts[append->part_count++];
}

static int parse_part(struct imap_parser *args, struct imap_append *append)
{
	struct imap_append_part *part;
	bool is_binary = false;
	int rc;

	if (append->part_count == IMAP_APPEND_PART_MAX)
		return imap_parse_fail(args, ERR_TOO_LARGE, "Too many pieces of a message");
	part = part_new(append);
	part->is_url = imap_parse_take_word(args, "URL");
	if (part->is_url) {
		rc = imap_parse_space(args);
		return rc < 0 ? rc : imap_parse_astring(args, &part->text);
	}
	if (imap_parse_take_word(args, "UTF8")) {
		rc = parse_utf8(args, &part->text, &is_binary);
	} else if (imap_parse_take_word(args, "TEXT")) {
		rc = imap_parse_space(args);
		if (rc == 0)
			rc = imap_parse_literal8(args, &part->text, &is_binary);
	} else {
		rc = imap_parse_fail(args, ERR_INVALID, "Expected URL or TEXT");
	}
	append->is_binary = append->is_binary || is_binary;
	return rc;
}

static int parse_catenate(struct imap_parser *args, struct imap_append *append)
{
	append->is_catenated = true;
	if (imap_parse_space(args) < 0 || imap_parse_expect(args, '(') < 0)
		return ERR_INVALID;
	do {
		if (parse_part(args, append) < 0)
			return ERR_INVALID;
	} while (imap_parse_take(args, ' '));
	return imap_parse_expect(args, ')');
}

static int parse_data(struct imap_parser *args, struct imap_append *append)
{
	struct imap_append_part *part;

	if (imap_parse_take_word(args, "CATENATE"))
		return parse_catenate(args, append);
	part = part_new(append);
	if (imap_parse_take_word(args, "UTF8"))
		return parse_utf8(args, &part->text, &append->is_binary);
	return imap_parse_literal8(args, &part->text, &append->is_binary);
}

int imap_parse_append(struct imap_parser *args, struct imap_append *append)
{
	struct imap_flags flags = { NULL, 0 };
	struct append_message *message = &append->message;
	int rc = imap_parse_space(args);

	message->internaldate = (int64_t)(clock_now_ms(clock_system()) / 1000);
	if (rc == 0 && bytes_peek(args->rest) == '(') {
		rc = imap_parse_flag_list(args, &flags);
		if (rc == 0)
			rc = imap_parse_space(args);
	}
	if (rc == 0 && bytes_peek(args->rest) == '"') {
		rc = imap_parse_date_time(
			args, &message->internaldate, &message->internaldate_zone);
		if (rc == 0)
			rc = imap_parse_space(args);
	}
	if (rc == 0 && imap_parse_take_word(args, "ANNOTATION")) {
		rc = imap_parse_space(args);
		if (rc == 0)
			rc = imap_parse_annotations(
				args, &append->annotations, &message->annotation_count);
		if (rc == 0)
			rc = imap_parse_space(args);
	}
	message->annotations = append->annotations;
	message->flags = flags.names;
	message->flag_count = flags.count;
	return rc < 0 ? rc : parse_data(args, append);
}

/* ---- putting it together ---- */

struct joining {
	struct imap_session *session;
	struct imap_append *append;
	struct imap_body source; /* read last */
	const char **answer;
};

static int refuse(struct joining *joining, int rc, const char *answer)
{
	*joining->answer = answer;
	return rc;
}

/* The code has the URL as it was given, if that can stand in a response. */
static int bad_url(struct joining *joining, struct bytes url, const char *why)
{
	struct arena *arena = joining->session->arena;

	for (size_t i = 0; i < url.len; i++) {
		if (url.ptr[i] <= ' ' || url.ptr[i] >= 0x7f || url.ptr[i] == ']' ||
			url.ptr[i] == '"')
			return refuse(
				joining, ERR_INVALID, arena_printf(arena, "[CANNOT] %s", why));
	}
	return refuse(joining, ERR_INVALID,
		arena_printf(arena, "[BADURL \"%.*s\"] %s", BYTES_ARGS(url), why));
}

static int too_big(struct joining *joining)
{
	return refuse(joining, ERR_TOO_LARGE,
		arena_printf(joining->session->arena, "[TOOBIG] Message is larger than %zu bytes",
			joining->session->options->append_size_max));
}

/* The mailbox of the URL, readable for this user. */
static int url_mailbox(struct imap_session *session, struct kv_txn *kv, const struct imap_url *url,
	uint32_t *account_r, struct id128 *mailbox_r)
{
	struct imap_target target;
	int rc;

	if (url->mailbox.len == 0) {
		if (session->view == NULL)
			return ERR_NOT_FOUND;
		*account_r = session->view->account;
		*mailbox_r = session->view->mailbox;
		return 0;
	}
	rc = imap_target_find(session, kv, url->mailbox, ACL_READ, &target, NULL);
	if (rc < 0)
		return rc;
	if (url->uidvalidity != 0 && url->uidvalidity != target.mailbox.uidvalidity)
		return ERR_NOT_FOUND;
	*account_r = target.account;
	*mailbox_r = target.mailbox.id;
	return 0;
}

static int load_source(struct joining *joining, const struct imap_url *url)
{
	struct imap_session *session = joining->session;
	struct message_record message;
	struct id128 mailbox;
	uint32_t account;
	struct kv_txn *kv;
	int rc = imap_read_begin(session, &kv);

	if (rc < 0)
		return rc;
	rc = url_mailbox(session, kv, url, &account, &mailbox);
	if (rc == 0)
		rc = account_get_message_at(
			kv, account, mailbox, url->uid, session->arena, &message);
	if (rc == 0)
		rc = imap_body_load_for(
			&joining->source, session->mail, kv, &message.guid, !session->is_utf8);
	mail_read_end(&kv);
	return rc;
}

static struct bytes cut_partial(const struct imap_url *url, struct bytes octets)
{
	if (!url->is_partial)
		return octets;
	bytes_skip(&octets, url->offset < octets.len ? url->offset : octets.len);
	if (octets.len > url->size_max)
		octets.len = url->size_max;
	return octets;
}

/* `scratch` holds what the octets may borrow. */
static int read_url(
	struct joining *joining, struct bytes text, struct buffer *scratch, struct bytes *octets_r)
{
	struct imap_url url;
	int rc;

	if (imap_url_parse(text, joining->session->arena, &url) < 0)
		return bad_url(joining, text, "Not the URL of a message here");
	rc = load_source(joining, &url);
	if (rc == ERR_NOT_FOUND || rc == ERR_REFUSED)
		return bad_url(joining, text, "No such message");
	if (rc < 0)
		return rc;
	*octets_r = buffer_bytes(&joining->source.raw);
	if (url.has_section)
		rc = mime_section_get(*octets_r, imap_body_root(&joining->source), &url.section,
			scratch, octets_r);
	if (rc == ERR_NOT_FOUND)
		return bad_url(joining, text, "No such section");
	*octets_r = cut_partial(&url, *octets_r);
	return rc;
}

static int join_part(struct joining *joining, const struct imap_append_part *part)
{
	struct buffer *joined = &joining->append->joined, scratch = { NULL, 0, 0 };
	struct bytes octets = part->text;
	int rc = 0;

	if (part->is_url)
		rc = read_url(joining, part->text, &scratch, &octets);
	if (rc == 0 && octets.len > joining->session->options->append_size_max - joined->len)
		rc = too_big(joining);
	if (rc == 0)
		buffer_append_bytes(joined, octets);
	buffer_deinit(&scratch);
	return rc;
}

/* Content with NUL, which no client could fetch but with BINARY, is kept in base64. */
static int take_binary(struct joining *joining, struct bytes *raw)
{
	struct imap_append *append = joining->append;
	struct buffer encoded = { NULL, 0, 0 };

	if (bytes_find(*raw, '\0') == raw->len)
		return 0;
	if (!append->is_binary)
		return refuse(joining, ERR_INVALID, "[CANNOT] Message contains NUL");
	if (mime_binary_encode(*raw, &encoded) < 0) {
		buffer_deinit(&encoded);
		return refuse(joining, ERR_INVALID,
			"[UNKNOWN-CTE] NUL outside of a part with binary content");
	}
	buffer_deinit(&append->joined);
	append->joined = encoded;
	*raw = buffer_bytes(&encoded);
	return raw->len > joining->session->options->append_size_max ? too_big(joining) : 0;
}

static int join(struct joining *joining, struct bytes *raw_r)
{
	struct imap_append *append = joining->append;
	struct imap_session *session = joining->session;
	int rc = 0;

	*raw_r = append->parts[0].text;
	for (size_t i = 0; i < append->part_count && append->is_catenated && rc == 0; i++)
		rc = net_connection_is_gone(session->connection)
			     ? ERR_CLOSED
			     : join_part(joining, &append->parts[i]);
	if (append->is_catenated)
		*raw_r = buffer_bytes(&append->joined);
	if (rc == 0)
		rc = take_binary(joining, raw_r);
	if (rc == 0 && raw_r->len == 0)
		rc = refuse(joining, ERR_INVALID, "[CANNOT] Empty message");
	return rc;
}

int imap_append_join(
	struct imap_session *session, struct imap_append *append, const char **answer_r)
{
	struct joining joining = { .session = session, .append = append, .answer = answer_r };
	int rc;

	*answer_r = NULL;
	rc = join(&joining, &append->raw);
	imap_body_deinit(&joining.source);
	return rc;
}

int imap_append_prepare(struct mail *mail, struct imap_append *append)
{
	int rc = mail_body_prepare(mail, append->raw, &append->body);

	append->message.body = append->body;
	return rc;
}

void imap_append_deinit(struct imap_append *append)
{
	mail_body_free(&append->body);
	buffer_deinit(&append->joined);
	free(append->parts);
}

const char *imap_append_refusal(const struct imap_append *append, const struct imap_target *target)
{
	for (size_t i = 0; i < append->message.annotation_count; i++) {
		const struct annotation *annotation = &append->annotations[i];

		if (annotation->value.len > ANNOTATION_VALUE_SIZE_MAX)
			return "[ANNOTATE TOOBIG] Value too large";
		if (annotation->scope == ANNOTATION_PRIVATE && !target->is_own &&
			target->seen_account == 0)
			return "[CANNOT] You have no account for private annotations";
		if (annotation->scope == ANNOTATION_SHARED && (target->rights & ACL_ANNOTATE) == 0)
			return "[NOPERM] You may not set shared annotations there";
	}
	return NULL;
}
