/*
 * sasl_private: between the mechanisms, for sasl*.c only.
 */
#ifndef CHAPAR_MAIL_SASL_PRIVATE_H
#define CHAPAR_MAIL_SASL_PRIVATE_H

#include "mail/sasl.h"

#define SCRAM_NONCE_SIZE 24 /* printable bytes of a nonce that we make */

struct sasl_authority {
	struct sasl_options options;
	struct buffer secret;
	char *nonce;
};

struct scram_server {
	struct buffer gs2_header;
	struct buffer client_first_bare;
	struct buffer server_first;
	struct buffer nonce;
	struct scram_keys keys;
	bool is_known;  /* else the keys belong to nobody */
	bool is_proven; /* the client has; we are telling him that we know the password too */
};

struct sasl_server {
	struct sasl_authority *authority;
	const struct sasl_mechanism *mechanism;
	unsigned step_index;
	bool is_over;
	struct buffer authcid, authzid;
	struct scram_server scram;
};

struct sasl_mechanism {
	const char *name;
	bool shows_password;
	enum sasl_step (*step)(
		struct sasl_server *server, struct bytes input, struct buffer *challenge);
};

enum sasl_step sasl_scram_step(
	struct sasl_server *server, struct bytes input, struct buffer *challenge);
void sasl_scram_deinit(struct scram_server *scram);

/* Looks up `name`, or makes up the keys of an account that there is not. */
enum sasl_step sasl_scram_keys(struct sasl_authority *authority, struct bytes name,
	struct scram_keys *keys_r, bool *is_known_r);
/* The salt of an account that there is not. */
void sasl_unknown_salt(
	struct sasl_authority *authority, struct bytes name, unsigned char salt_r[SCRAM_KEY_SIZE]);

/* Puts a fresh nonce, or `fixed` if it is not NULL, at the end of *out. */
void sasl_nonce_append(struct buffer *out, const char *fixed);
/*
 * Takes the attribute `letter` ("n=…") off the front of *in, with the comma that follows. False:
 * there is another one, or none.
 */
bool scram_attribute_take(struct bytes *in, char letter, struct bytes *value_r);
/* Printable ASCII without commas, not empty, and not too long. */
bool scram_nonce_is_good(struct bytes nonce);
/* Appends a name with "=2C" and "=3D" (RFC 5802, section 5.1), or undoes it; ERR_INVALID. */
void scram_name_write(struct buffer *out, struct bytes name);
int scram_name_read(struct buffer *out, struct bytes text);
void scram_auth_message(struct bytes client_first_bare, struct bytes server_first,
	struct bytes client_final_bare, struct buffer *out);

#endif
