/*
 * The server's side of all mechanisms but GSSAPI, the reading of stored credentials, the
 * preparation of names, and what an authorization server answers: all that a client, a peer or that
 * server can hand us of these. The first byte chooses; messages of a dialogue are separated by LF.
 */
#include "chapard/introspection_answer.h"
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

/* A token that is its user's name, as the other name that is known. */
static int token_check(void *context, struct bytes token, struct buffer *name)
{
	(void)context;
	if (!bytes_equal_string(token, "user"))
		return ERR_REFUSED;
	buffer_append_bytes(name, token);
	return 0;
}

static int binding(void *context, const char *type, struct buffer *out)
{
	(void)context;
	(void)type;
	buffer_append_string(out, "binding");
	return 0;
}

/* The last message may be anything, also nothing. */
static enum sasl_step message_give(struct sasl_server *server, struct bytes message)
{
	unsigned char *exact = malloc(message.len > 0 ? message.len : 1);
	struct buffer challenge = { 0 };
	enum sasl_step step;

	if (message.len > 0)
		memcpy(exact, message.ptr, message.len);
	step = sasl_server_step(server, bytes_of(exact, message.len), &challenge);
	if (step != SASL_CONTINUE && challenge.len > 0)
		abort();
	buffer_deinit(&challenge);
	free(exact);
	return step;
}

static void dialogue(struct sasl_authority *authority, unsigned choice, struct bytes in)
{
	static const char *const names[] = { "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-1",
		"SCRAM-SHA-1-PLUS", "PLAIN", "LOGIN", "EXTERNAL", "OAUTHBEARER", "XOAUTH2" };
	const char *name = names[choice % (sizeof(names) / sizeof(names[0]))];
	struct sasl_channel channel = {
		.is_private = true, .binding = binding, .certificate_name = BYTES_LITERAL("user")
	};
	struct sasl_server *server;
	enum sasl_step step = SASL_CONTINUE;

	if (sasl_server_new(authority, bytes_of_string(name), &channel, &server) < 0)
		abort();
	while (step == SASL_CONTINUE && in.len > 0) {
		struct bytes message = bytes_take(&in, bytes_find(in, '\n'));

		step = message_give(server, message);
		if (in.len > 0)
			bytes_skip(&in, 1);
	}
	/* There is no other account. */
	if (step == SASL_DONE && !bytes_equal_string(sasl_server_authcid(server), "user"))
		abort();
	sasl_server_free(&server);
}

static void introspection(struct bytes in)
{
	static const struct introspection_rules rules = { "mail", "chapar", "username" };
	struct buffer name = { 0 };
	uint64_t until_s;
	int rc = introspection_answer(in, &rules, 1000000000, &name, &until_s, NULL);

	/* Who gets in has a name and time left; who does not has left nothing. */
	if (rc == 0 ? name.len == 0 || until_s <= 1000000000 : name.len > 0)
		abort();
	buffer_deinit(&name);
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
		credentials_scram(in, SCRAM_SHA_256, &keys);
		credentials_scram(in, SCRAM_SHA_1, &keys);
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
		.lookup = lookup, .token_check = token_check, .context = &blob, .parameters = cheap
	};
	struct sasl_authority *authority;
	struct bytes in;

	cheap.scram_sha_1_iteration_count = SCRAM_ITERATION_COUNT_MIN;
	options.parameters = cheap;
	if (blob.len == 0 && credentials_make(BYTES_LITERAL("pencil"), &cheap, &blob, NULL) < 0)
		abort();
	if (size < 1 || size > INPUT_SIZE_MAX)
		return 0;
	in = bytes_of(data + 1, size - 1);
	if (data[0] % 16 == 0) {
		credentials(in);
	} else if (data[0] % 16 == 1) {
		prepare(in);
	} else if (data[0] % 16 == 2) {
		introspection(in);
	} else {
		authority = sasl_authority_new(&options);
		dialogue(authority, data[0] % 16 - 3u, in);
		sasl_authority_free(&authority);
	}
	return 0;
}
