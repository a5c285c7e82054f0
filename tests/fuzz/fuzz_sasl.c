/*
 * The server's side of SCRAM-SHA-256, the reading of stored credentials and the preparation of
 * names: all that a client, or a peer, can hand us of these. The first byte chooses; messages of a
 * dialogue are separated by LF.
 */
#include "mail/sasl.h"
#include "mail/sasl_prepare.h"

#include <stdlib.h>

#define INPUT_SIZE_MAX 20000

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

/* "user" with "pencil"; the blob is made once. */
static int lookup(void *context, struct bytes name, struct buffer *blob)
{
	if (!bytes_equal_string(name, "user"))
		return ERR_NOT_FOUND;
	buffer_append_bytes(blob, buffer_bytes(context));
	return 0;
}

static void dialogue(struct sasl_authority *authority, struct bytes in)
{
	struct sasl_server *server;
	enum sasl_step step = SASL_CONTINUE;

	if (sasl_server_new(authority, BYTES_LITERAL("SCRAM-SHA-256"), false, &server) < 0)
		abort();
	while (step == SASL_CONTINUE && in.len > 0) {
		struct bytes message = bytes_take(&in, bytes_find(in, '\n'));
		unsigned char *exact = malloc(message.len > 0 ? message.len : 1);
		struct buffer challenge = { 0 };

		if (message.len > 0)
			memcpy(exact, message.ptr, message.len);
		step = sasl_server_step(server, bytes_of(exact, message.len), &challenge);
		if (step != SASL_CONTINUE && challenge.len > 0)
			abort();
		buffer_deinit(&challenge);
		free(exact);
		if (in.len > 0)
			bytes_skip(&in, 1);
	}
	/* There is no other account. */
	if (step == SASL_DONE && !bytes_equal_string(sasl_server_authcid(server), "user"))
		abort();
	sasl_server_free(&server);
}

static void prepare(struct bytes in)
{
	struct buffer once = { 0 }, twice = { 0 };

	if (sasl_prepare(in, &once) == 0) {
		if (sasl_prepare(buffer_bytes(&once), &twice) != 0 ||
			!bytes_equal(buffer_bytes(&once), buffer_bytes(&twice)))
			abort();
	}
	buffer_deinit(&once);
	buffer_deinit(&twice);
}

static void credentials(struct bytes in)
{
	struct buffer out = { 0 };
	struct scram_keys keys;

	if (credentials_verify(in) == 0) {
		credentials_scram(in, &keys);
		if (credentials_drop_scram(in, &out) == 0 &&
			credentials_verify(buffer_bytes(&out)) != 0)
			abort();
	}
	buffer_deinit(&out);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	static struct buffer blob;
	struct password_parameters cheap = password_parameters_cheap();
	struct sasl_options options = {
		.lookup = lookup, .context = &blob, .parameters = cheap, .nonce = "server"
	};
	struct sasl_authority *authority;
	struct bytes in;

	if (blob.len == 0 && credentials_make(BYTES_LITERAL("pencil"), &cheap, &blob, NULL) < 0)
		abort();
	if (size < 1 || size > INPUT_SIZE_MAX)
		return 0;
	in = bytes_of(data + 1, size - 1);
	if (data[0] % 4 == 0) {
		credentials(in);
	} else if (data[0] % 4 == 1) {
		prepare(in);
	} else {
		authority = sasl_authority_new(&options);
		dialogue(authority, in);
		sasl_authority_free(&authority);
	}
	return 0;
}
