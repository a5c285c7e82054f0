#include "chapard/foreign_source.h"

#include "base/encode.h"
#include "foreign/imap_source.h"
#include "foreign/maildir_read.h"
#include "foreign/mbox_read.h"
#include "foreign/sieve_read.h"

#include <stdlib.h>

struct words {
	const char *const *list;
	size_t count;
};

/* The value of KEY=VALUE, or NULL. */
static const char *value_of(const struct words *words, const char *key)
{
	size_t len = strlen(key);

	for (size_t i = 0; i < words->count; i++)
		if (strncmp(words->list[i], key, len) == 0 && words->list[i][len] == '=')
			return words->list[i] + len + 1;
	return NULL;
}

static int path_check(const char *path, struct error *error)
{
	if (path[0] != '/')
		return error_set(error, ERR_INVALID, "%.100s is no absolute path", path);
	return 0;
}

/* ---- IMAP ---- */

static bool is_loopback(const char *host)
{
	return strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0 ||
	       strcmp(host, "localhost") == 0;
}

static int tls_parse(
	const struct words *words, struct imap_link_options *options, struct error *error)
{
	static const char *const names[] = { "implicit", "start", "none" };
	const char *tls = value_of(words, "tls"), *pin = value_of(words, "pin");
	struct buffer bytes = { 0 };
	size_t i = 0;
	int rc = 0;

	while (i < sizeof(names) / sizeof(names[0]) && (tls == NULL || strcmp(names[i], tls) != 0))
		i++;
	if (i == sizeof(names) / sizeof(names[0]))
		return error_set(error, ERR_INVALID, "tls= is missing");
	options->tls = (enum imap_link_tls)i;
	if (options->tls == LINK_TLS_NONE && !is_loopback(options->host))
		return error_set(error, ERR_INVALID,
			"without TLS only to this machine: others could read the password");
	options->tls_options.ca_path = value_of(words, "ca-file");
	if (pin == NULL)
		return 0;
	options->tls_options.verify = NET_VERIFY_PIN;
	rc = decode_hex(&bytes, bytes_of_string(pin));
	if (rc < 0 || bytes.len != NET_PIN_SIZE)
		rc = error_set(
			error, ERR_INVALID, "a pin has %d hexadecimal digits", 2 * NET_PIN_SIZE);
	else
		memcpy(options->tls_options.pin, bytes.data, NET_PIN_SIZE);
	buffer_deinit(&bytes);
	return rc;
}

static int imap_new(const struct words *words, struct source **source_r, struct error *error)
{
	const char *port = value_of(words, "port");
	struct imap_link_options options = { .host = value_of(words, "host"),
		.user = value_of(words, "user"),
		.login = value_of(words, "login"),
		.password = value_of(words, "password"),
		.token = value_of(words, "token") };
	long number = port != NULL ? strtol(port, NULL, 10) : 0;
	int rc;

	if (options.host == NULL || options.user == NULL ||
		(options.password == NULL && options.token == NULL) || number < 1 ||
		number > UINT16_MAX)
		return error_set(error, ERR_INVALID, "host=, port=, user= or password= is missing");
	options.port = (uint16_t)number;
	rc = tls_parse(words, &options, error);
	if (rc == 0)
		*source_r = imap_source_new(&options);
	return rc;
}

int foreign_source_new(const char *text, const char *const *list, size_t count,
	struct source **source_r, struct error *error)
{
	static const struct {
		const char *prefix;
		struct source *(*new)(const char *path);
	} kinds[] = {
		{ "maildir:", maildir_read_new },
		{ "mbox:", mbox_read_new },
		{ "sieve:", sieve_read_new },
	};
	struct words words = { list, count };

	if (strcmp(text, "imap:") == 0)
		return imap_new(&words, source_r, error);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		size_t len = strlen(kinds[i].prefix);

		if (strncmp(text, kinds[i].prefix, len) != 0)
			continue;
		if (path_check(text + len, error) < 0)
			return ERR_INVALID;
		*source_r = kinds[i].new(text + len);
		return 0;
	}
	return error_set(error, ERR_INVALID, "%.60s is no store that is known", text);
}
