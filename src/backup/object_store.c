#include "backup/object_store.h"

#include <stdlib.h>

static bool is_name_byte(char byte)
{
	return (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') || byte == '-';
}

bool object_name_is_valid(const char *name)
{
	size_t len = strlen(name), slash_count = 0;

	if (len == 0 || len > OBJECT_NAME_SIZE_MAX || name[len - 1] == '/')
		return false;
	for (size_t i = 0; i < len; i++) {
		bool is_begin = i == 0 || name[i - 1] == '/';

		if (name[i] == '/' && !is_begin && ++slash_count == 1)
			continue;
		if (!is_name_byte(name[i]) || (is_begin && name[i] == '-'))
			return false;
	}
	return true;
}

static bool is_node(const char *url)
{
	return strncmp(url, "imap://", strlen("imap://")) == 0 ||
	       strncmp(url, "imaps://", strlen("imaps://")) == 0;
}

int object_store_open(const char *url, bool create, const struct object_way *way,
	struct object_store **store_r, struct error *error)
{
	if (strlen(url) > OBJECT_URL_SIZE_MAX)
		return error_set(error, ERR_TOO_LARGE, "the name of a target is too long");
	if (strncmp(url, "s3://", strlen("s3://")) == 0)
		return object_s3_open(url, store_r, error);
	if (is_node(url) && way != NULL)
		return object_node_open(url, way, store_r, error);
	if (strstr(url, "://") != NULL)
		return error_set(error, ERR_INVALID,
			"%.100s: a target is a folder, s3://BUCKET/PREFIX or imaps://USER@HOST/",
			url);
	return object_directory_open(url, create, store_r, error);
}

void object_store_close(struct object_store **store)
{
	struct error ignored = { 0 };

	if (*store == NULL)
		return;
	if ((*store)->own_lock != NULL)
		(void)object_remove(*store, (*store)->own_lock, &ignored);
	free((*store)->own_lock);
	(*store)->functions->close(*store);
	*store = NULL;
}

int object_put(struct object_store *store, const char *name, struct bytes data, struct error *error)
{
	assert(object_name_is_valid(name) && data.len <= OBJECT_SIZE_MAX);
	return store->functions->put(store, name, data, error);
}

int object_get(struct object_store *store, const char *name, uint64_t offset, uint64_t size,
	struct buffer *out, struct error *error)
{
	size_t before = out->len;
	int rc;

	assert(object_name_is_valid(name));
	if (size > OBJECT_SIZE_MAX)
		return error_set(error, ERR_TOO_LARGE, "%s: more than an object holds", name);
	rc = store->functions->get(store, name, offset, size, out, error);
	if (rc == 0 && size > 0 && out->len - before != size)
		rc = error_set(error, ERR_CORRUPT, "damaged: %s is too short", name);
	return rc;
}

int object_list(struct object_store *store, const char *folder, object_function *function,
	void *context, struct error *error)
{
	return store->functions->list(store, folder, function, context, error);
}

int object_remove(struct object_store *store, const char *name, struct error *error)
{
	assert(object_name_is_valid(name));
	return store->functions->remove(store, name, error);
}
