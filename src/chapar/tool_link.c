#include "chapar/tool_link.h"

#include "base/mem.h"
#include "chapar/clone_url.h"
#include "chapar/tool_password.h"
#include "chapard/channel_link.h"
#include "chapard/config.h"

#include <stdlib.h>

#define PASSWORD_VARIABLE "CHAPAR_PASSWORD"

struct tool_link {
	struct net_client *client;
	struct channel_link *link;
};

static int link_ask(
	void *context, struct bytes request, struct bytes *answer_r, struct error *error)
{
	struct tool_link *link = context;
	int rc = channel_link_request(link->link, request, error);

	if (rc == 0)
		rc = channel_link_flush(link->link, error);
	return rc < 0 ? rc : channel_link_answer(link->link, answer_r, error);
}

struct tool_login tool_login_of(const struct tool_options *options)
{
	return (struct tool_login){ .password_file = options->password_file,
		.variable = PASSWORD_VARIABLE,
		.ca_file = options->ca_file,
		.pin = options->pin,
		.is_without_tls = options->is_without_tls };
}

static int url_take(const char *text, struct clone_url *url_r, struct error *error)
{
	int rc = clone_url_parse(text, url_r, error);

	if (rc == 0 && url_r->user[0] == '\0')
		rc = error_set(error, ERR_INVALID, "say as whom: imaps://USER@HOST/");
	return rc;
}

static int password_take(const struct clone_url *url, const struct tool_login *login,
	struct buffer *password, struct error *error)
{
	const char *variable = getenv(login->variable);
	struct buffer question = { 0 };
	int rc;

	if (login->password_file != NULL && strcmp(login->password_file, "-") == 0)
		return password_read("-", password, error);
	if (login->password_file != NULL)
		return config_secret_read(login->password_file, password, error);
	if (variable != NULL && variable[0] != '\0') {
		buffer_append_string(password, variable);
		return 0;
	}
	buffer_printf(&question, "Password of %s at %s", url->user, url->host);
	rc = password_ask(buffer_string(&question), password, error);
	buffer_deinit(&question);
	return rc;
}

int tool_login_password(const char *url_text, const struct tool_login *login,
	struct buffer *password, struct error *error)
{
	struct clone_url url;
	int rc = url_take(url_text, &url, error);

	return rc < 0 ? rc : password_take(&url, login, password, error);
}

int tool_link_open(const char *url_text, const struct tool_login *login,
	const struct sync_self *self, struct tool_link **link_r, struct backup_source *source_r,
	struct error *error)
{
	struct tool_link *link = mem_zalloc(sizeof(*link));
	struct buffer password = { 0 };
	struct clone_url url;
	struct config_pin pin = { 0 };
	struct channel_link_options link_options = { .self = self };
	int rc = url_take(url_text, &url, error);

	if (rc == 0 && login->pin != NULL)
		rc = config_pin_parse(login->pin, &pin, error);
	if (rc == 0 && login->password.len > 0)
		buffer_append_bytes(&password, login->password);
	else if (rc == 0)
		rc = password_take(&url, login, &password, error);
	if (rc == 0) {
		link_options.host = url.host;
		link_options.port = url.port;
		link_options.user = url.user;
		link_options.password = buffer_string(&password);
		link_options.tls = login->is_without_tls ? CHANNEL_TLS_NONE
				   : url.is_implicit_tls ? CHANNEL_TLS_IMPLICIT
							 : CHANNEL_TLS_START;
		link_options.tls_options.verify = pin.is_set ? NET_VERIFY_PIN : NET_VERIFY_CA;
		link_options.tls_options.ca_path = login->ca_file;
		memcpy(link_options.tls_options.pin, pin.bytes, NET_PIN_SIZE);
		link->client = net_client_new();
		*source_r = (struct backup_source){ .ask = link_ask, .context = link };
		rc = channel_link_open(
			&link_options, NULL, link->client, &link->link, &source_r->peer, error);
	}
	if (password.data != NULL)
		explicit_bzero(password.data, password.room);
	buffer_deinit(&password);
	if (rc < 0)
		tool_link_close(&link);
	else
		*link_r = link;
	return rc;
}

void tool_link_close(struct tool_link **link)
{
	if (*link == NULL)
		return;
	channel_link_close(&(*link)->link);
	net_client_free(&(*link)->client);
	free(*link);
	*link = NULL;
}
