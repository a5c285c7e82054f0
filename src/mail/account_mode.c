#include "mail/account_mode.h"

#include "base/pack.h"
#include "mail/mail.h"
#include "mail/mail_private.h"

#include <stdio.h>

#define MODE_KEY "master"
#define MODE_VERSION 1

static void mode_encode(struct buffer *out, const struct account_mode *mode)
{
	pack_u8(out, MODE_VERSION);
	pack_u64(out, mode->master);
	pack_bytes(out, bytes_of_string(mode->node.name));
	pack_bytes(out, bytes_of_string(mode->node.host));
}

static int mode_decode(struct bytes in, struct account_mode *mode)
{
	struct bytes name, host;
	uint8_t version;

	if (unpack_u8(&in, &version) < 0)
		return ERR_CORRUPT;
	if (version != MODE_VERSION)
		return ERR_VERSION;
	if (unpack_u64(&in, &mode->master) < 0 || unpack_bytes(&in, &name) < 0 ||
		unpack_bytes(&in, &host) < 0 || in.len != 0 || name.len > NODE_NAME_SIZE_MAX ||
		host.len > NODE_HOST_SIZE_MAX)
		return ERR_CORRUPT;
	snprintf(mode->node.name, sizeof(mode->node.name), "%.*s", BYTES_ARGS(name));
	snprintf(mode->node.host, sizeof(mode->node.host), "%.*s", BYTES_ARGS(host));
	return 0;
}

int account_mode_get(struct kv_txn *kv, uint32_t account, struct account_mode *mode_r)
{
	struct account_mode mode = { 0 };
	struct register_record record;
	struct arena *arena = arena_new();
	int rc = account_get_register(kv, account, RECORD_ACCOUNT, (struct id128){ { 0 } },
		BYTES_LITERAL(MODE_KEY), arena, &record);

	if (rc == 0) {
		mode.since = record.stamp;
		mode.has_master = record.is_set;
		if (record.is_set)
			rc = mode_decode(record.value, &mode);
	}
	arena_free(&arena);
	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	*mode_r = mode;
	return 0;
}

int account_mode_refuse(const struct account_mode *mode, struct error *error)
{
	char id[17];

	snprintf(id, sizeof(id), "%016llx", (unsigned long long)mode->master);
	return error_set(error, ERR_REPLICA, "%s%schanges are made on node %s; this is a replica",
		mode->node.host, mode->node.host[0] != '\0' ? ": " : "",
		mode->node.name[0] != '\0' ? mode->node.name : id);
}

struct bytes account_mode_host(const struct error *error)
{
	struct bytes text = bytes_of_string(error->text);
	size_t colon = bytes_find(text, ':');

	return error->code == ERR_REPLICA && colon < text.len ? bytes_take(&text, colon)
							      : bytes_of(NULL, 0);
}

int account_mode_check(struct account_write *write, struct error *error)
{
	struct account_mode mode;
	int rc = account_mode_get(write->kv, write->header.number, &mode);

	if (rc == 0 && account_mode_is_replica(&mode, write->node))
		rc = account_mode_refuse(&mode, error);
	return rc;
}

static int mode_run(struct account_write *write, void *context)
{
	const struct account_mode *mode = context;
	struct buffer value = { 0 };
	int rc;

	if (mode->has_master)
		mode_encode(&value, mode);
	rc = register_write(write, RECORD_ACCOUNT, BYTES_LITERAL(MODE_KEY), mode->has_master,
		buffer_bytes(&value));
	buffer_deinit(&value);
	return rc;
}

int mail_mode_set(
	struct mail *mail, uint32_t account, const struct account_mode *mode, struct error *error)
{
	struct account_mode copy = *mode;

	return mail_node_commit(mail, account, mode_run, &copy, error, NULL);
}

int mail_mode_set_own(struct mail *mail, uint32_t account, struct error *error)
{
	struct account_mode mode = {
		.has_master = true, .master = mail_node(mail), .node = *mail_node_name(mail)
	};

	return mail_mode_set(mail, account, &mode, error);
}
