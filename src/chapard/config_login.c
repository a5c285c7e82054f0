/*
 * config_login: what the sections of logins must hold beside their keys' own types.
 */
#include "base/encode.h"
#include "chapard/config_private.h"

#include <ctype.h>
#include <string.h>

/* As `openssl x509 -fingerprint` prints it, or without colons. */
static bool is_pin(const char *text)
{
	static const struct config_key pin_key = { "certificate", CONFIG_PIN };

	return config_value_parse(&pin_key, text, "", NULL, NULL) == 0;
}

int config_sync_user_check(
	const struct config *config, struct config_sync_user *user, struct error *error)
{
	static const struct config_key pin_key = { "certificate", CONFIG_PIN };

	if (user->password_file == NULL && user->certificate == NULL)
		return error_set(error, ERR_INVALID, "password-file or certificate is missing");
	if (user->backup_folder == NULL && user->backup_prune)
		return error_set(error, ERR_INVALID, "backup-prune needs backup-folder");
	if (user->backup_folder != NULL && (user->accounts != NULL || user->mailboxes != NULL ||
						   user->is_read_only || user->no_delete))
		return error_set(error, ERR_INVALID,
			"with backup-folder it has nothing to do with accounts: leave accounts, "
			"mailboxes, read-only and no-delete out");
	if (user->certificate == NULL)
		return 0;
	if (config->tls_certificate == NULL)
		return error_set(error, ERR_INVALID, "certificate needs a tls section");
	if (is_pin(user->certificate))
		return config_value_parse(&pin_key, user->certificate, "", &user->pin, error);
	if (config->login.client_ca == NULL)
		return error_set(error, ERR_INVALID,
			"certificate: a name needs client-ca in a login section");
	return 0;
}

/* Secrets go to https only, or to this machine. */
static bool url_is_safe(const char *url)
{
	static const char *const prefixes[] = { "https://",
		"http://127.0.0.1:", "http://127.0.0.1/", "http://[::1]:", "http://[::1]/",
		"http://localhost:", "http://localhost/" };

	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
		if (strncasecmp(url, prefixes[i], strlen(prefixes[i])) == 0)
			return strchr(url, '@') == NULL;
	return false;
}

/* It is put into JSON for clients: RFC 6749, appendix A.4. */
static bool scope_is_good(const char *scope)
{
	for (; *scope != '\0'; scope++)
		if (*scope < ' ' || *scope > '~' || *scope == '"' || *scope == '\\')
			return false;
	return true;
}

int config_login_check(const struct config *config, struct error *error)
{
	const struct config_login *login = &config->login;

	if (login->client_ca != NULL && config->tls_certificate == NULL)
		return error_set(error, ERR_INVALID, "client-ca needs a tls section");
	if ((login->gssapi_keytab == NULL) != (login->gssapi_realm == NULL))
		return error_set(
			error, ERR_INVALID, "gssapi-keytab and gssapi-realm belong together");
	if ((login->token_client == NULL) != (login->token_secret_file == NULL))
		return error_set(
			error, ERR_INVALID, "token-client and token-secret-file belong together");
	if (login->token_introspection == NULL)
		return login->token_client == NULL && login->token_scope == NULL &&
				       login->token_audience == NULL && login->token_ca_file == NULL
			       ? 0
			       : error_set(error, ERR_INVALID, "token-introspection is missing");
	if (!url_is_safe(login->token_introspection))
		return error_set(error, ERR_INVALID,
			"token-introspection: tokens are shown over https only, or to this "
			"machine, and the client is named by token-client");
	if (login->token_scope != NULL && !scope_is_good(login->token_scope))
		return error_set(error, ERR_INVALID, "token-scope: no scope has such characters");
	return 0;
}

struct password_parameters config_password_parameters(const struct config *config)
{
	struct password_parameters parameters = password_parameters_default();

	if (config->login.scram_sha_1)
		parameters.scram_sha_1_iteration_count = parameters.scram_iteration_count;
	return parameters;
}
