#include "mail/mail.h"

#include "base/error.h"
#include "base/mem.h"
#include "base/pack.h"
#include "mail/mail_private.h"
#include "mail/mime_sort.h"
#include "mail/mime_summary.h"
#include "mail/tables.h"
#include "store/store_stream.h"

#include <stdlib.h>

struct mail_body {
	struct store_body *stored;
	struct buffer summary;
	struct bytes raw; /* borrowed */
};

int mail_body_prepare(struct mail *mail, struct bytes raw, struct mail_body **body_r)
{
	return mail_body_prepare_packed(mail, raw, bytes_of(NULL, 0), body_r);
}

int mail_body_prepare_packed(
	struct mail *mail, struct bytes raw, struct bytes packed, struct mail_body **body_r)
{
	struct mail_body *body = mem_zalloc(sizeof(*body));
	int rc = packed.len > 0
			 ? store_body_prepare_packed(mail_store(mail), raw, packed, &body->stored)
			 : store_body_prepare(mail_store(mail), raw, &body->stored);

	if (rc == 0)
		mime_summary_make(raw, &body->summary);
	body->raw = raw;
	if (rc < 0)
		mail_body_free(&body);
	else
		*body_r = body;
	return rc;
}

void mail_body_free(struct mail_body **body)
{
	if (*body == NULL)
		return;
	store_body_free(&(*body)->stored);
	buffer_deinit(&(*body)->summary);
	free(*body);
	*body = NULL;
}

const struct guid *mail_body_guid(const struct mail_body *body)
{
	return store_body_guid(body->stored);
}

struct id128 mail_body_thread(const struct mail_body *body)
{
	struct mime_summary summary;
	struct mime_sort sort;
	unsigned char key[16];
	struct digest first;

	if (mime_summary_open(buffer_bytes(&body->summary), &summary) < 0 ||
		mime_sort_open(summary.sort, &sort) < 0 ||
		(sort.reference_count == 0 && !sort.has_message_id))
		return (struct id128){ { 0 } };
	first = sort.reference_count > 0 ? mime_sort_reference(&sort, 0) : sort.message_id;
	put_u64(key, first.high);
	put_u64(key + 8, first.low);
	return id128_derive("thread", bytes_of(key, sizeof(key)));
}

uint64_t mail_body_size(const struct mail_body *body)
{
	return body->raw.len;
}

struct bytes mail_body_raw(const struct mail_body *body)
{
	return body->raw;
}

void mail_body_add(struct account_write *write, const struct mail_body *body)
{
	void *bodies = write->bodies;

	mem_grow(&bodies, &write->body_room, write->body_count + 1,
		sizeof(const struct mail_body *));
	write->bodies = bodies;
	write->bodies[write->body_count++] = body;
}

static const struct mail_body *body_find(const struct account_write *write, const struct guid *guid)
{
	for (size_t i = write->body_count; i > 0; i--)
		if (guid_equal(mail_body_guid(write->bodies[i - 1]), guid))
			return write->bodies[i - 1];
	return NULL;
}

static struct bytes summary_key(const struct guid *guid)
{
	return bytes_of(guid->bytes, sizeof(guid->bytes));
}

int mail_body_reference(struct account_write *write, const struct guid *guid)
{
	const struct mail_body *body;
	int rc = store_body_reference(write->store, guid);

	if (rc != ERR_NOT_FOUND)
		return rc;
	body = body_find(write, guid);
	if (body == NULL)
		return ERR_NOT_FOUND;
	rc = store_body_add(write->store, body->stored);
	if (rc < 0)
		return rc;
	return store_put_unlogged(
		write->store, MAIL_TABLE_SUMMARY, summary_key(guid), buffer_bytes(&body->summary));
}

int mail_body_release(struct account_write *write, const struct guid *guid)
{
	int rc = store_body_release(write->store, guid);

	if (rc < 0)
		return rc;
	if (store_body_exists(write->kv, guid, NULL) == 0)
		return 0;
	rc = store_delete_unlogged(write->store, MAIL_TABLE_SUMMARY, summary_key(guid));
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

int message_body(struct mail *mail, struct kv_txn *kv, const struct guid *guid, struct buffer *out)
{
	return store_body_read(mail_store(mail), kv, guid, out);
}

int message_header(
	struct mail *mail, struct kv_txn *kv, const struct guid *guid, struct buffer *out)
{
	return store_body_read_head(mail_store(mail), kv, guid, out);
}

int message_stream(struct mail *mail, struct kv_txn *kv, const struct guid *guid,
	struct store_stream **stream_r)
{
	return store_stream_open(mail_store(mail), kv, guid, stream_r);
}

int message_summary_ready(
	struct kv_txn *kv, const struct guid *guid, struct mime_summary *summary_r)
{
	struct bytes value;
	int rc = kv_get(kv, MAIL_TABLE_SUMMARY, summary_key(guid), &value);

	if (rc < 0)
		return rc;
	/* Damaged, or of another version: as good as none. */
	return mime_summary_open(value, summary_r) < 0 ? ERR_NOT_FOUND : 0;
}

int message_summary(struct mail *mail, struct kv_txn *kv, const struct guid *guid,
	struct buffer *made, struct mime_summary *summary_r)
{
	struct buffer body = { 0 };
	size_t before = made->len;
	int rc = message_summary_ready(kv, guid, summary_r);

	if (rc != ERR_NOT_FOUND)
		return rc;
	rc = store_body_read(mail_store(mail), kv, guid, &body);
	if (rc == 0) {
		struct bytes blob;

		mime_summary_make(buffer_bytes(&body), made);
		blob = bytes_of(made->data + before, made->len - before);
		mail_summary_note(mail, guid, blob);
		rc = mime_summary_open(blob, summary_r);
	}
	buffer_deinit(&body);
	return rc;
}
