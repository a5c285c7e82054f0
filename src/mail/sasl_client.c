#include "base/encode.h"
#include "base/mem.h"
#include "mail/sasl_prepare.h"
#include "mail/sasl_private.h"

#include <openssl/crypto.h>
#include <stdlib.h>

enum client_phase { CLIENT_FIRST, CLIENT_FINAL, CLIENT_VERIFY, CLIENT_DONE, CLIENT_FAILED };

struct sasl_client {
	bool is_plain;
	enum client_phase phase;
	struct buffer authzid, authcid, password; /* prepared */
	struct buffer gs2_header, first_bare, nonce;
	char *fixed_nonce;
	unsigned char server_signature[SCRAM_KEY_SIZE];
};

int sasl_client_new(const struct sasl_client_options *options, struct sasl_client **client_r)
{
	struct sasl_client *client;
	int rc = 0;

	if (strcasecmp(options->mechanism, "PLAIN") != 0 &&
		strcasecmp(options->mechanism, "SCRAM-SHA-256") != 0)
		return ERR_NOT_FOUND;
	client = mem_zalloc(sizeof(*client));
	client->is_plain = strcasecmp(options->mechanism, "PLAIN") == 0;
	if (options->nonce != NULL)
		client->fixed_nonce = mem_strdup(options->nonce);
	buffer_reserve(&client->password, strlen(options->password) + 1);
	if (options->authzid != NULL && options->authzid[0] != '\0')
		rc = sasl_prepare(bytes_of_string(options->authzid), &client->authzid);
	if (rc == 0)
		rc = sasl_prepare(bytes_of_string(options->authcid), &client->authcid);
	if (rc == 0)
		rc = sasl_prepare(bytes_of_string(options->password), &client->password);
	if (rc < 0) {
		sasl_client_free(&client);
		return rc;
	}
	*client_r = client;
	return 0;
}

void sasl_client_free(struct sasl_client **client)
{
	struct sasl_client *old = *client;

	*client = NULL;
	if (old == NULL)
		return;
	if (old->password.data != NULL)
		OPENSSL_cleanse(old->password.data, old->password.len);
	buffer_deinit(&old->authzid);
	buffer_deinit(&old->authcid);
	buffer_deinit(&old->password);
	buffer_deinit(&old->gs2_header);
	buffer_deinit(&old->first_bare);
	buffer_deinit(&old->nonce);
	free(old->fixed_nonce);
	free(old);
}

static int plain_make(struct sasl_client *client, struct buffer *response)
{
	buffer_append_bytes(response, buffer_bytes(&client->authzid));
	buffer_append_byte(response, '\0');
	buffer_append_bytes(response, buffer_bytes(&client->authcid));
	buffer_append_byte(response, '\0');
	buffer_append_bytes(response, buffer_bytes(&client->password));
	client->phase = CLIENT_DONE;
	return 0;
}

static int first_make(struct sasl_client *client, struct buffer *response)
{
	buffer_append_string(&client->gs2_header, "n,");
	if (client->authzid.len > 0) {
		buffer_append_string(&client->gs2_header, "a=");
		scram_name_write(&client->gs2_header, buffer_bytes(&client->authzid));
	}
	buffer_append_byte(&client->gs2_header, ',');
	buffer_append_string(&client->first_bare, "n=");
	scram_name_write(&client->first_bare, buffer_bytes(&client->authcid));
	buffer_append_string(&client->first_bare, ",r=");
	sasl_nonce_append(&client->nonce, client->fixed_nonce);
	buffer_append_bytes(&client->first_bare, buffer_bytes(&client->nonce));
	buffer_append_bytes(response, buffer_bytes(&client->gs2_header));
	buffer_append_bytes(response, buffer_bytes(&client->first_bare));
	client->phase = CLIENT_FINAL;
	return 0;
}

static bool count_parse(struct bytes text, unsigned *count_r)
{
	unsigned count = 0;

	if (text.len == 0 || text.len > 7)
		return false;
	for (; text.len > 0; bytes_skip(&text, 1)) {
		if (text.ptr[0] < '0' || text.ptr[0] > '9')
			return false;
		count = count * 10 + (unsigned)(text.ptr[0] - '0');
	}
	*count_r = count;
	return count >= SCRAM_ITERATION_COUNT_MIN && count <= SCRAM_ITERATION_COUNT_MAX;
}

/* server-first-message: r= s= i=. The nonce must begin with ours and be longer. */
static int challenge_parse(const struct sasl_client *client, struct bytes challenge,
	struct bytes *nonce_r, struct buffer *salt, unsigned *count_r)
{
	struct bytes text;

	if (!scram_attribute_take(&challenge, 'r', nonce_r) ||
		!bytes_start_with(*nonce_r, buffer_bytes(&client->nonce)) ||
		nonce_r->len == client->nonce.len)
		return ERR_INVALID;
	if (!scram_attribute_take(&challenge, 's', &text) || decode_base64(salt, text) < 0 ||
		salt->len == 0 || salt->len > SCRAM_SALT_SIZE_MAX)
		return ERR_INVALID;
	if (!scram_attribute_take(&challenge, 'i', &text) || !count_parse(text, count_r))
		return ERR_INVALID;
	return 0;
}

/* RFC 5802, section 3: ClientProof and, to be compared later, ServerSignature. */
static void proof_make(struct sasl_client *client, struct bytes salt, unsigned count,
	struct bytes message, unsigned char proof_r[SCRAM_KEY_SIZE])
{
	unsigned char key[SCRAM_KEY_SIZE], signature[SCRAM_KEY_SIZE];
	struct scram_keys keys;

	scram_keys_derive(buffer_bytes(&client->password), salt, count, &keys, key);
	scram_hmac(bytes_of(keys.stored_key, SCRAM_KEY_SIZE), message, signature);
	for (size_t i = 0; i < SCRAM_KEY_SIZE; i++)
		proof_r[i] = key[i] ^ signature[i];
	scram_hmac(bytes_of(keys.server_key, SCRAM_KEY_SIZE), message, client->server_signature);
	OPENSSL_cleanse(key, sizeof(key));
}

static int final_make(struct sasl_client *client, struct bytes challenge, struct buffer *response)
{
	struct buffer salt = { 0 }, bare = { 0 }, message = { 0 };
	unsigned char proof[SCRAM_KEY_SIZE];
	struct bytes nonce;
	unsigned count;
	int rc;

	rc = challenge_parse(client, challenge, &nonce, &salt, &count);
	if (rc < 0)
		goto out;
	buffer_append_string(&bare, "c=");
	encode_base64(&bare, buffer_bytes(&client->gs2_header));
	buffer_append_string(&bare, ",r=");
	buffer_append_bytes(&bare, nonce);
	scram_auth_message(
		buffer_bytes(&client->first_bare), challenge, buffer_bytes(&bare), &message);
	proof_make(client, buffer_bytes(&salt), count, buffer_bytes(&message), proof);
	buffer_append_bytes(response, buffer_bytes(&bare));
	buffer_append_string(response, ",p=");
	encode_base64(response, bytes_of(proof, sizeof(proof)));
	client->phase = CLIENT_VERIFY;
out:
	buffer_deinit(&salt);
	buffer_deinit(&bare);
	buffer_deinit(&message);
	return rc;
}

static int server_verify(struct sasl_client *client, struct bytes challenge)
{
	struct buffer signature = { 0 };
	struct bytes text;
	bool is_equal;

	if (scram_attribute_take(&challenge, 'e', &text))
		return ERR_REFUSED;
	if (!scram_attribute_take(&challenge, 'v', &text) || decode_base64(&signature, text) < 0) {
		buffer_deinit(&signature);
		return ERR_INVALID;
	}
	is_equal = signature.len == SCRAM_KEY_SIZE &&
		   CRYPTO_memcmp(signature.data, client->server_signature, SCRAM_KEY_SIZE) == 0;
	buffer_deinit(&signature);
	if (!is_equal)
		return ERR_REFUSED;
	client->phase = CLIENT_DONE;
	return 0;
}

int sasl_client_step(struct sasl_client *client, struct bytes challenge, struct buffer *response)
{
	int rc = ERR_INVALID;

	if (challenge.len > SASL_MESSAGE_SIZE_MAX)
		return ERR_INVALID;
	if (client->phase == CLIENT_FIRST && challenge.len == 0)
		rc = client->is_plain ? plain_make(client, response) : first_make(client, response);
	else if (client->phase == CLIENT_FINAL)
		rc = final_make(client, challenge, response);
	else if (client->phase == CLIENT_VERIFY)
		rc = server_verify(client, challenge);
	if (rc < 0)
		client->phase = CLIENT_FAILED;
	return rc;
}

bool sasl_client_is_done(const struct sasl_client *client)
{
	return client->phase == CLIENT_DONE;
}
