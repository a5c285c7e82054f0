#include "imap/imap_body.h"

#include "mail/mime_downgrade.h"

static void make_surrogate(struct imap_body *body)
{
	struct buffer surrogate = { NULL, 0, 0 };

	if (bytes_ascii_len(buffer_bytes(&body->raw)) == body->raw.len)
		return; /* without finding out its structure */
	body->is_surrogate =
		mime_downgrade(buffer_bytes(&body->raw), imap_body_root(body), &surrogate);
	if (!body->is_surrogate)
		return;
	buffer_deinit(&body->raw);
	body->raw = surrogate;
	body->root = NULL;
}

bool imap_body_has(const struct imap_body *body, const struct guid *guid)
{
	return body->is_loaded && guid_equal(&body->guid, guid);
}

int imap_body_load(
	struct imap_body *body, struct mail *mail, struct kv_txn *kv, const struct guid *guid)
{
	return imap_body_load_for(body, mail, kv, guid, false);
}

static void begin(struct imap_body *body, const struct guid *guid, bool for_ascii)
{
	body->is_loaded = false;
	body->guid = *guid;
	body->is_for_ascii = for_ascii;
	body->is_surrogate = false;
	body->is_decoded = false;
	body->root = NULL;
	buffer_clear(&body->raw);
}

static void end(struct imap_body *body)
{
	body->is_loaded = true;
	if (body->is_for_ascii)
		make_surrogate(body);
}

void imap_body_put(
	struct imap_body *body, const struct guid *guid, struct bytes raw, bool for_ascii)
{
	begin(body, guid, for_ascii);
	buffer_append_bytes(&body->raw, raw);
	end(body);
}

int imap_body_load_for(struct imap_body *body, struct mail *mail, struct kv_txn *kv,
	const struct guid *guid, bool for_ascii)
{
	int rc;

	/* A message that is its own surrogate serves both. */
	if (imap_body_has(body, guid) &&
		(body->is_for_ascii == for_ascii || (body->is_for_ascii && !body->is_surrogate)))
		return 0;
	begin(body, guid, for_ascii);
	rc = message_body(mail, kv, guid, &body->raw);
	if (rc == 0)
		end(body);
	return rc;
}

const struct mime_part *imap_body_root(struct imap_body *body)
{
	assert(body->is_loaded);
	if (body->root != NULL)
		return body->root;
	if (body->arena == NULL)
		body->arena = arena_new();
	else
		arena_reset(body->arena);
	body->root = mime_structure_parse(buffer_bytes(&body->raw), body->arena);
	return body->root;
}

int imap_body_decode(struct imap_body *body, const uint32_t *numbers, size_t number_count,
	struct bytes *content_r)
{
	struct bytes key = bytes_of(numbers, number_count * sizeof(*numbers));
	int rc = 0;

	if (number_count == 0) {
		*content_r = buffer_bytes(&body->raw);
		return 0;
	}
	if (!body->is_decoded || !bytes_equal(buffer_bytes(&body->decoded_numbers), key)) {
		buffer_clear(&body->decoded);
		buffer_clear(&body->decoded_numbers);
		buffer_append_bytes(&body->decoded_numbers, key);
		rc = mime_section_binary(buffer_bytes(&body->raw), imap_body_root(body), numbers,
			number_count, &body->decoded);
		body->is_decoded = rc == 0;
	}
	if (rc == 0)
		*content_r = buffer_bytes(&body->decoded);
	return rc;
}

void imap_body_deinit(struct imap_body *body)
{
	buffer_deinit(&body->decoded);
	buffer_deinit(&body->decoded_numbers);
	buffer_deinit(&body->raw);
	arena_free(&body->arena);
	*body = (struct imap_body){ 0 };
}
