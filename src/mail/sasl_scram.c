#include "base/encode.h"
#include "base/random.h"
#include "mail/sasl_prepare.h"
#include "mail/sasl_private.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#define NONCE_SIZE_MAX 512   /* bytes of the client's part */
#define UNKNOWN_SALT_SIZE 16 /* as credentials_make() makes them */

/* ---- The grammar of RFC 5802, section 7 ---- */

void sasl_nonce_append(struct buffer *out, const char *fixed)
{
	unsigned char random[SCRAM_NONCE_SIZE * 3 / 4];

	if (fixed != NULL) {
		buffer_append_string(out, fixed);
		return;
	}
	random_bytes(random, sizeof(random));
	encode_base64(out, bytes_of(random, sizeof(random)));
}

bool scram_attribute_take(struct bytes *in, char letter, struct bytes *value_r)
{
	struct bytes rest = *in;
	size_t len;

	if (rest.len < 2 || rest.ptr[0] != (unsigned char)letter || rest.ptr[1] != '=')
		return false;
	bytes_skip(&rest, 2);
	len = bytes_find(rest, ',');
	*value_r = bytes_take(&rest, len);
	if (rest.len > 0)
		bytes_skip(&rest, 1);
	*in = rest;
	return true;
}

bool scram_nonce_is_good(struct bytes nonce)
{
	for (size_t i = 0; i < nonce.len; i++)
		if (nonce.ptr[i] < 0x21 || nonce.ptr[i] > 0x7e || nonce.ptr[i] == ',')
			return false;
	return nonce.len > 0 && nonce.len <= NONCE_SIZE_MAX;
}

void scram_name_write(struct buffer *out, struct bytes name)
{
	for (; name.len > 0; bytes_skip(&name, 1)) {
		if (name.ptr[0] == ',')
			buffer_append_string(out, "=2C");
		else if (name.ptr[0] == '=')
			buffer_append_string(out, "=3D");
		else
			buffer_append_byte(out, name.ptr[0]);
	}
}

int scram_name_read(struct buffer *out, struct bytes text)
{
	struct buffer plain = { 0 };
	int rc = 0;

	if (text.len > SASL_NAME_SIZE_MAX)
		return ERR_INVALID;
	while (text.len > 0 && rc == 0) {
		if (text.ptr[0] != '=') {
			buffer_append_byte(&plain, text.ptr[0]);
			bytes_skip(&text, 1);
		} else if (bytes_start_with(text, BYTES_LITERAL("=2C"))) {
			buffer_append_byte(&plain, ',');
			bytes_skip(&text, 3);
		} else if (bytes_start_with(text, BYTES_LITERAL("=3D"))) {
			buffer_append_byte(&plain, '=');
			bytes_skip(&text, 3);
		} else {
			rc = ERR_INVALID;
		}
	}
	if (rc == 0)
		rc = sasl_prepare(buffer_bytes(&plain), out);
	buffer_deinit(&plain);
	return rc;
}

void scram_auth_message(struct bytes client_first_bare, struct bytes server_first,
	struct bytes client_final_bare, struct buffer *out)
{
	buffer_append_bytes(out, client_first_bare);
	buffer_append_byte(out, ',');
	buffer_append_bytes(out, server_first);
	buffer_append_byte(out, ',');
	buffer_append_bytes(out, client_final_bare);
}

/* ---- The server's side ---- */

void sasl_scram_deinit(struct scram_server *scram)
{
	buffer_deinit(&scram->gs2_header);
	buffer_deinit(&scram->client_first_bare);
	buffer_deinit(&scram->server_first);
	buffer_deinit(&scram->nonce);
}

/* Nobody's keys: random, so that no proof fits, with the salt and count that would be expected. */
static void unknown_keys(
	struct sasl_authority *authority, struct bytes name, struct scram_keys *keys_r)
{
	unsigned char salt[SCRAM_KEY_SIZE];
	unsigned count = authority->options.parameters.scram_iteration_count;

	*keys_r = (struct scram_keys){ 0 };
	sasl_unknown_salt(authority, name, salt);
	memcpy(keys_r->salt, salt, UNKNOWN_SALT_SIZE);
	keys_r->salt_size = UNKNOWN_SALT_SIZE;
	keys_r->iteration_count = count > 0 ? count : SCRAM_ITERATION_COUNT_MIN;
	random_bytes(keys_r->stored_key, SCRAM_KEY_SIZE);
	random_bytes(keys_r->server_key, SCRAM_KEY_SIZE);
}

enum sasl_step sasl_scram_keys(struct sasl_authority *authority, struct bytes name,
	struct scram_keys *keys_r, bool *is_known_r)
{
	struct buffer blob = { 0 };
	int rc = authority->options.lookup(authority->options.context, name, &blob);

	if (rc == 0)
		rc = credentials_scram(buffer_bytes(&blob), keys_r);
	buffer_deinit(&blob);
	*is_known_r = rc == 0;
	if (rc == 0)
		return SASL_CONTINUE;
	if (rc != ERR_NOT_FOUND)
		return SASL_UNAVAILABLE;
	unknown_keys(authority, name, keys_r);
	return SASL_CONTINUE;
}

/* gs2-header: "n" or "y" (channel binding not offered), ",", optional "a=" authzid, ",". */
static bool header_take(struct sasl_server *server, struct bytes *in)
{
	const unsigned char *start = in->ptr;
	struct bytes authzid;

	if (!bytes_start_with(*in, BYTES_LITERAL("n,")) &&
		!bytes_start_with(*in, BYTES_LITERAL("y,")))
		return false;
	bytes_skip(in, 2);
	if (bytes_peek(*in) == ',') {
		bytes_skip(in, 1);
	} else {
		if (!scram_attribute_take(in, 'a', &authzid) || authzid.len == 0)
			return false;
		if (scram_name_read(&server->authzid, authzid) < 0)
			return false;
	}
	buffer_append(&server->scram.gs2_header, start, (size_t)(in->ptr - start));
	return true;
}

static enum sasl_step first_step(
	struct sasl_server *server, struct bytes input, struct buffer *challenge)
{
	struct scram_server *scram = &server->scram;
	struct bytes name, nonce;
	enum sasl_step step;

	if (!header_take(server, &input))
		return SASL_MALFORMED;
	buffer_append_bytes(&scram->client_first_bare, input);
	if (!scram_attribute_take(&input, 'n', &name) ||
		scram_name_read(&server->authcid, name) < 0 ||
		!scram_attribute_take(&input, 'r', &nonce) || !scram_nonce_is_good(nonce))
		return SASL_MALFORMED;
	step = sasl_scram_keys(
		server->authority, buffer_bytes(&server->authcid), &scram->keys, &scram->is_known);
	if (step != SASL_CONTINUE)
		return step;
	buffer_append_bytes(&scram->nonce, nonce);
	sasl_nonce_append(&scram->nonce, server->authority->nonce);
	buffer_append_string(&scram->server_first, "r=");
	buffer_append_bytes(&scram->server_first, buffer_bytes(&scram->nonce));
	buffer_append_string(&scram->server_first, ",s=");
	encode_base64(&scram->server_first, bytes_of(scram->keys.salt, scram->keys.salt_size));
	buffer_printf(&scram->server_first, ",i=%u", scram->keys.iteration_count);
	buffer_append_bytes(challenge, buffer_bytes(&scram->server_first));
	return SASL_CONTINUE;
}

/* Whether `proof` shows that the client knows the ClientKey whose hash we store. */
static bool proof_is_good(
	const struct scram_server *scram, struct bytes message, const unsigned char *proof)
{
	unsigned char signature[SCRAM_KEY_SIZE], key[SCRAM_KEY_SIZE], stored[SCRAM_KEY_SIZE];
	bool is_equal;

	scram_hmac(bytes_of(scram->keys.stored_key, SCRAM_KEY_SIZE), message, signature);
	for (size_t i = 0; i < SCRAM_KEY_SIZE; i++)
		key[i] = proof[i] ^ signature[i];
	SHA256(key, sizeof(key), stored);
	is_equal = CRYPTO_memcmp(stored, scram->keys.stored_key, SCRAM_KEY_SIZE) == 0;
	OPENSSL_cleanse(key, sizeof(key));
	return is_equal && scram->is_known;
}

/* client-final-message: c= r= [extensions] p=; its part before ",p=" goes into the proof. */
static bool final_parse(const struct scram_server *scram, struct bytes input, struct bytes *bare_r,
	struct buffer *proof)
{
	struct bytes rest = input, binding, nonce, ignored, last;
	struct buffer header = { 0 };
	bool is_good;

	if (!scram_attribute_take(&rest, 'c', &binding) ||
		!scram_attribute_take(&rest, 'r', &nonce))
		return false;
	while (rest.len > 0 && rest.ptr[0] != 'p')
		if (!scram_attribute_take(&rest, (char)rest.ptr[0], &ignored))
			return false;
	*bare_r = bytes_of(input.ptr, (size_t)(rest.ptr - input.ptr));
	if (bare_r->len == 0 || bare_r->ptr[bare_r->len - 1] != ',' ||
		!scram_attribute_take(&rest, 'p', &last) || rest.len > 0)
		return false;
	bare_r->len--;
	is_good = decode_base64(&header, binding) == 0 &&
		  bytes_equal(buffer_bytes(&header), buffer_bytes(&scram->gs2_header)) &&
		  bytes_equal(nonce, buffer_bytes(&scram->nonce)) &&
		  decode_base64(proof, last) == 0 && proof->len == SCRAM_KEY_SIZE;
	buffer_deinit(&header);
	return is_good;
}

static enum sasl_step final_step(
	struct sasl_server *server, struct bytes input, struct buffer *challenge)
{
	struct scram_server *scram = &server->scram;
	struct buffer message = { 0 }, proof = { 0 };
	unsigned char signature[SCRAM_KEY_SIZE];
	enum sasl_step step = SASL_MALFORMED;
	struct bytes bare;

	if (final_parse(scram, input, &bare, &proof)) {
		scram_auth_message(buffer_bytes(&scram->client_first_bare),
			buffer_bytes(&scram->server_first), bare, &message);
		step = proof_is_good(scram, buffer_bytes(&message), proof.data) ? SASL_CONTINUE
										: SASL_FAILED;
	}
	if (step == SASL_CONTINUE) {
		scram_hmac(bytes_of(scram->keys.server_key, SCRAM_KEY_SIZE), buffer_bytes(&message),
			signature);
		buffer_append_string(challenge, "v=");
		encode_base64(challenge, bytes_of(signature, sizeof(signature)));
	}
	buffer_deinit(&message);
	buffer_deinit(&proof);
	return step;
}

/* client-first, client-final, and the empty answer to our own proof. */
enum sasl_step sasl_scram_step(
	struct sasl_server *server, struct bytes input, struct buffer *challenge)
{
	if (server->scram.client_first_bare.len == 0)
		return first_step(server, input, challenge);
	if (!server->scram.is_proven) {
		enum sasl_step step = final_step(server, input, challenge);

		server->scram.is_proven = step == SASL_CONTINUE;
		return step;
	}
	return input.len == 0 ? SASL_DONE : SASL_MALFORMED;
}
