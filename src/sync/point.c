#include "sync/point.h"

#include "base/pack.h"
#include "mail/tables.h"

#define POINT_VERSION 1
#define SORTED_OUT_VERSION 2 /* the same fields */
#define POINT_KEY_SIZE 20

static struct bytes point_key(
	unsigned char at[POINT_KEY_SIZE], uint32_t account, uint64_t peer, uint64_t part)
{
	put_u32(at, account);
	put_u64(at + 4, peer);
	put_u64(at + 12, part);
	return bytes_of(at, part != 0 ? 20 : 12);
}

int point_get_of(struct kv_txn *kv, uint32_t account, uint64_t peer, uint64_t part,
	struct common_point *point_r)
{
	unsigned char key[POINT_KEY_SIZE];
	struct common_point point = { 0 };
	struct bytes value;
	uint8_t version;
	int rc = kv_get(kv, MAIL_TABLE_COMMON, point_key(key, account, peer, part), &value);

	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	if (rc == 0) {
		if (unpack_u8(&value, &version) < 0)
			return ERR_CORRUPT;
		if (version != POINT_VERSION && version != SORTED_OUT_VERSION)
			return ERR_VERSION;
		point.is_sorted_out = version == SORTED_OUT_VERSION;
		if (unpack_varint(&value, &point.mine) < 0 ||
			unpack_varint(&value, &point.theirs) < 0 || value.len != 0)
			return ERR_CORRUPT;
	}
	*point_r = point;
	return 0;
}

int point_get(struct kv_txn *kv, uint32_t account, uint64_t peer, struct common_point *point_r)
{
	return point_get_of(kv, account, peer, 0, point_r);
}

int point_put_of(struct store_write *store, uint32_t account, uint64_t peer, uint64_t part,
	struct common_point point)
{
	unsigned char key[POINT_KEY_SIZE];
	struct common_point saved;
	struct buffer value = { 0 };
	int rc = point_get_of(store_write_kv(store), account, peer, part, &saved);

	if (rc < 0)
		return rc;
	if (!common_point_is_later(point, saved))
		return 0;
	pack_u8(&value, point.is_sorted_out ? SORTED_OUT_VERSION : POINT_VERSION);
	pack_varint(&value, point.mine);
	pack_varint(&value, point.theirs);
	rc = store_put(store, MAIL_TABLE_COMMON, point_key(key, account, peer, part),
		buffer_bytes(&value));
	buffer_deinit(&value);
	return rc;
}

int point_forget_of(struct store_write *store, uint32_t account, uint64_t peer, uint64_t part)
{
	unsigned char key[POINT_KEY_SIZE];
	int rc = store_delete(store, MAIL_TABLE_COMMON, point_key(key, account, peer, part));

	return rc == ERR_NOT_FOUND ? 0 : rc;
}

int point_put(struct store_write *store, uint32_t account, uint64_t peer, struct common_point point)
{
	return point_put_of(store, account, peer, 0, point);
}

struct save_context {
	uint64_t peer;
	struct common_point point;
};

static int save_run(struct account_write *write, void *context)
{
	const struct save_context *save = context;

	return point_put(write->store, write->header.number, save->peer, save->point);
}

int point_save(struct mail *mail, uint32_t account, uint64_t peer, struct common_point point,
	struct error *error)
{
	struct save_context save = { peer, point };
	uint64_t position;

	return mail_node_commit(mail, account, save_run, &save, error, &position);
}
