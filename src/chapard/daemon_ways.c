/*
 * Ways to log in that others decide on: saslauthd, an authorization server, Kerberos.
 */
#include "chapard/daemon_private.h"

#include "base/log.h"
#include "chapard/saslauthd.h"

#include <stdlib.h>
#include <unistd.h>

#define SASLAUTHD_CALL_MAX 16 /* at a time, lest a hanging saslauthd keep all workers */

static int password_check(void *context, struct bytes name, struct bytes password)
{
	struct daemon *daemon = context;
	struct error error = { 0 };
	int rc;

	if (atomic_fetch_add(&daemon->saslauthd_call_count, 1) >= SASLAUTHD_CALL_MAX)
		rc = error_set(&error, ERR_UNAVAILABLE, "too many questions are open already");
	else
		rc = saslauthd_check(daemon->config->login.saslauthd, name, password, &error);
	atomic_fetch_sub(&daemon->saslauthd_call_count, 1);
	if (rc < 0 && rc != ERR_REFUSED)
		log_event(LOG_LEVEL_WARNING, "saslauthd-failed", "error", error_name(rc), "reason",
			error.text, NULL);
	return rc;
}

static int token_check(void *context, struct bytes token, struct buffer *name)
{
	struct daemon *daemon = context;

	return introspection_check(daemon->introspection, token, name);
}

static int tokens_open(struct daemon *daemon, struct sasl_options *options, struct error *error)
{
	const struct config_login *login = &daemon->config->login;
	struct introspection_options introspection = {
		.url = login->token_introspection,
		.client_id = login->token_client,
		.ca_path = login->token_ca_file,
		.cache_s = (unsigned)login->token_cache_s,
		.rules = { login->token_scope, login->token_audience, login->token_name },
	};
	struct buffer secret = { 0 };
	int rc = 0;

	if (login->token_introspection == NULL)
		return 0;
	if (login->token_secret_file != NULL)
		rc = config_secret_read(login->token_secret_file, &secret, error);
	if (rc == 0) {
		introspection.client_secret = buffer_string(&secret);
		daemon->introspection = introspection_new(&introspection);
		options->token_check = token_check;
		options->token_scope = login->token_scope;
	}
	if (secret.data != NULL)
		explicit_bzero(secret.data, secret.room);
	buffer_deinit(&secret);
	return rc;
}

int daemon_ways_open(struct daemon *daemon, struct sasl_options *options, struct error *error)
{
	const struct config_login *login = &daemon->config->login;

	if (login->saslauthd != NULL)
		options->password_check = password_check;
	if (login->gssapi_keytab != NULL) {
		options->gssapi_realm = login->gssapi_realm;
		options->gssapi_host = login->gssapi_host;
	}
	if (login->gssapi_keytab != NULL && login->gssapi_host == NULL) {
		gethostname(daemon->host_name, sizeof(daemon->host_name) - 1);
		options->gssapi_host = daemon->host_name;
	}
	return tokens_open(daemon, options, error);
}

void daemon_ways_close(struct daemon *daemon)
{
	introspection_free(&daemon->introspection);
}

void daemon_ways_environment(const struct config *config)
{
	if (config->login.gssapi_keytab != NULL)
		setenv("KRB5_KTNAME", config->login.gssapi_keytab, 1);
}
