#include "chapard/saslauthd.h"

#include "base/buffer.h"
#include "net/net_client.h"

#include <string.h>

#define ANSWER_SIZE_MAX 1024 /* bytes; saslauthd's own limit */

static void field_write(struct buffer *out, struct bytes field)
{
	buffer_append_byte(out, (int)(field.len >> 8));
	buffer_append_byte(out, (int)(field.len & 0xff));
	buffer_append_bytes(out, field);
}

static int answer_read(struct net_client *client, struct error *error)
{
	struct buffer answer = { 0 };
	size_t size = 0;
	int rc = net_client_read(client, 2, &answer, SASLAUTHD_TIMEOUT_MS, error);

	if (rc == 0) {
		size = (size_t)answer.data[0] << 8 | answer.data[1];
		buffer_clear(&answer);
		if (size < 2 || size > ANSWER_SIZE_MAX)
			rc = error_set(error, ERR_INVALID, "not saslauthd's answer");
	}
	if (rc == 0)
		rc = net_client_read(client, size, &answer, SASLAUTHD_TIMEOUT_MS, error);
	if (rc == 0 && bytes_start_with(buffer_bytes(&answer), BYTES_LITERAL("NO")))
		rc = ERR_REFUSED;
	else if (rc == 0 && !bytes_start_with(buffer_bytes(&answer), BYTES_LITERAL("OK")))
		rc = error_set(error, ERR_INVALID, "not saslauthd's answer");
	buffer_deinit(&answer);
	return rc;
}

int saslauthd_check(
	const char *socket_path, struct bytes name, struct bytes password, struct error *error)
{
	struct net_client *client = net_client_new();
	struct buffer request = { 0 };
	int rc;

	/* A NUL would end the field early for whoever reads it as a C string. */
	if (bytes_find(name, '\0') != name.len || bytes_find(password, '\0') != password.len ||
		name.len > UINT16_MAX || password.len > UINT16_MAX) {
		net_client_free(&client);
		return ERR_REFUSED;
	}
	buffer_reserve(&request, name.len + password.len + 64);
	field_write(&request, name);
	field_write(&request, password);
	field_write(&request, BYTES_LITERAL(SASLAUTHD_SERVICE));
	field_write(&request, BYTES_LITERAL(""));
	if (net_client_connect(client, socket_path, 0, SASLAUTHD_TIMEOUT_MS, error) < 0)
		rc = ERR_UNAVAILABLE;
	else
		rc = net_client_write(client, buffer_bytes(&request), SASLAUTHD_TIMEOUT_MS, error);
	if (rc == 0)
		rc = answer_read(client, error);
	explicit_bzero(request.data, request.room);
	buffer_deinit(&request);
	net_client_free(&client);
	return rc == 0 || rc == ERR_REFUSED ? rc : ERR_UNAVAILABLE;
}
