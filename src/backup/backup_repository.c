#include "backup/backup_repository.h"

#include "base/arena.h"
#include "base/encode.h"
#include "base/mem.h"
#include "base/pack.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#define HEAD_MAGIC "CHAPARBU"
#define HEAD_SIZE (8 + 1 + 1 + 16 + BUNDLE_SALT_SIZE + 8 + 8 + BUNDLE_CHECK_SIZE + 32)
/* Read at once around what is wanted, when frames beside each other are read one by one. */
#define NEAR_SIZE (4u * 1024 * 1024)
#define MOVED_COUNT_MAX 10000 /* times that one frame was moved */

/* ---- the head: magic, version, encrypted, id, salt, costs, check, SHA-256 of it all ---- */

static void head_encode(struct id128 id, const struct bundle_head *head, struct buffer *out)
{
	struct guid sum;

	buffer_append_string(out, HEAD_MAGIC);
	pack_u8(out, BACKUP_VERSION);
	pack_u8(out, head->is_encrypted);
	buffer_append(out, id.bytes, sizeof(id.bytes));
	buffer_append(out, head->salt, sizeof(head->salt));
	pack_u64(out, head->operations);
	pack_u64(out, head->memory);
	buffer_append(out, head->check, sizeof(head->check));
	guid_of(buffer_bytes(out), &sum);
	buffer_append(out, sum.bytes, sizeof(sum.bytes));
}

static int head_decode(
	struct bytes in, struct id128 *id_r, struct bundle_head *head_r, struct error *error)
{
	const struct bytes magic = BYTES_LITERAL(HEAD_MAGIC);
	struct bytes whole = in;
	struct guid sum;
	uint8_t version, is_encrypted;

	if (!bytes_start_with(in, magic) || in.len < magic.len + 1)
		return error_set(error, ERR_CORRUPT, "damaged: %s", BACKUP_HEAD_NAME);
	bytes_skip(&in, magic.len);
	(void)unpack_u8(&in, &version);
	if (version != BACKUP_VERSION)
		return error_set(error, ERR_VERSION, "a backup of version %u, not %d", version,
			BACKUP_VERSION);
	if (whole.len != HEAD_SIZE)
		return error_set(error, ERR_CORRUPT, "damaged: %s", BACKUP_HEAD_NAME);
	guid_of(bytes_of(whole.ptr, HEAD_SIZE - sizeof(sum.bytes)), &sum);
	if (memcmp(sum.bytes, whole.ptr + HEAD_SIZE - sizeof(sum.bytes), sizeof(sum.bytes)) != 0)
		return error_set(error, ERR_CORRUPT, "damaged: %s", BACKUP_HEAD_NAME);
	*head_r = (struct bundle_head){ 0 };
	(void)unpack_u8(&in, &is_encrypted);
	head_r->is_encrypted = is_encrypted != 0;
	(void)unpack_raw(&in, id_r->bytes, sizeof(id_r->bytes));
	(void)unpack_raw(&in, head_r->salt, sizeof(head_r->salt));
	(void)unpack_u64(&in, &head_r->operations);
	(void)unpack_u64(&in, &head_r->memory);
	(void)unpack_raw(&in, head_r->check, sizeof(head_r->check));
	return 0;
}

static bool has_secret(const struct bundle_secret *secret)
{
	return secret->passphrase != NULL || secret->key_file != NULL;
}

static int head_make(struct backup_repository *repository, const struct bundle_secret *secret,
	struct error *error)
{
	struct bundle_head head = { 0 };
	struct buffer text = { 0 };
	int rc = 0;

	repository->id = id128_random();
	if (has_secret(secret))
		rc = bundle_key_new(secret, &head, repository->key.bytes, error);
	repository->key.is_encrypted = head.is_encrypted;
	head_encode(repository->id, &head, &text);
	if (rc == 0)
		rc = object_put(repository->store, BACKUP_HEAD_NAME, buffer_bytes(&text), error);
	buffer_deinit(&text);
	return rc;
}

static int head_take(struct backup_repository *repository, struct bytes text,
	const struct backup_repository_options *options, struct error *error)
{
	const struct bundle_secret *secret = &options->secret;
	struct bundle_head head;
	int rc = head_decode(text, &repository->id, &head, error);

	if (rc < 0)
		return rc;
	if (!head.is_encrypted && has_secret(secret))
		return error_set(error, ERR_INVALID, "this backup is not encrypted");
	repository->key.is_encrypted = head.is_encrypted;
	if (head.is_encrypted && !has_secret(secret) && options->needs_secret_r != NULL)
		*options->needs_secret_r = true;
	return head.is_encrypted ? bundle_key_of(secret, &head, repository->key.bytes, error) : 0;
}

static int open_run(struct backup_repository *repository,
	const struct backup_repository_options *options, struct error *error)
{
	struct buffer text = { 0 };
	int rc = object_store_open(
		options->target, options->create, options->way, &repository->store, error);

	if (rc == 0 && options->is_writer)
		rc = object_lock(repository->store, error);
	if (rc == 0)
		rc = object_get(repository->store, BACKUP_HEAD_NAME, 0, 0, &text, error);
	if (rc == 0) {
		rc = head_take(repository, buffer_bytes(&text), options, error);
	} else if (rc == ERR_NOT_FOUND && repository->store != NULL) {
		*error = (struct error){ 0 };
		rc = options->create ? head_make(repository, &options->secret, error)
				     : error_set(error, rc, "there is no backup");
	}
	buffer_deinit(&text);
	return rc < 0 ? error_prefix(error, "%s", options->target) : rc;
}

int backup_repository_open(const struct backup_repository_options *options,
	struct backup_repository **repository_r, struct error *error)
{
	struct backup_repository *repository = mem_zalloc(sizeof(*repository));
	int rc;

	repository->arena = arena_new();
	rc = open_run(repository, options, error);
	if (rc < 0)
		backup_repository_close(&repository);
	else
		*repository_r = repository;
	return rc;
}

void backup_repository_close(struct backup_repository **repository)
{
	if (*repository == NULL)
		return;
	object_store_close(&(*repository)->store);
	sodium_memzero(&(*repository)->key, sizeof((*repository)->key));
	map_deinit(&(*repository)->moved);
	arena_free(&(*repository)->arena);
	buffer_deinit(&(*repository)->near);
	free(*repository);
	*repository = NULL;
}

/* ---- names and places ---- */

static void name_of(const char *folder, struct id128 id, char name_r[OBJECT_NAME_SIZE_MAX + 1])
{
	size_t len = (size_t)snprintf(name_r, OBJECT_NAME_SIZE_MAX + 1, "%s/", folder);

	for (size_t i = 0; i < sizeof(id.bytes); i++)
		snprintf(name_r + len + 2 * i, 3, "%02x", id.bytes[i]);
}

void backup_pack_name(struct id128 pack, char name_r[OBJECT_NAME_SIZE_MAX + 1])
{
	name_of("packs", pack, name_r);
}

int backup_name_id(const char *folder, const char *name, struct id128 *id_r)
{
	struct buffer raw = { 0 };
	size_t len = strlen(folder);
	int rc = ERR_INVALID;

	if (strncmp(name, folder, len) == 0 && name[len] == '/' &&
		decode_hex(&raw, bytes_of_string(name + len + 1)) == 0 &&
		raw.len == sizeof(id_r->bytes)) {
		memcpy(id_r->bytes, raw.data, sizeof(id_r->bytes));
		rc = 0;
	}
	buffer_deinit(&raw);
	return rc;
}

void backup_place_pack(struct buffer *out, const struct backup_place *place)
{
	buffer_append(out, place->pack.bytes, sizeof(place->pack.bytes));
	pack_u32(out, place->offset);
	pack_u32(out, place->size);
}

int backup_place_unpack(struct bytes *in, struct backup_place *place_r)
{
	if (unpack_raw(in, place_r->pack.bytes, sizeof(place_r->pack.bytes)) < 0 ||
		unpack_u32(in, &place_r->offset) < 0 || unpack_u32(in, &place_r->size) < 0)
		return ERR_CORRUPT;
	return place_r->size <= BACKUP_FRAME_SIZE_MAX ? 0 : ERR_CORRUPT;
}

/* ---- reading ---- */

/* The frame's bytes, borrowed until the next call. */
static int bytes_near(struct backup_repository *repository, const struct backup_place *place,
	struct bytes *bytes_r, struct error *error)
{
	char name[OBJECT_NAME_SIZE_MAX + 1];
	uint64_t size = place->size > NEAR_SIZE ? place->size : NEAR_SIZE;
	uint64_t end = (uint64_t)place->offset + place->size;
	bool is_near = id128_equal(repository->near_pack, place->pack) &&
		       place->offset >= repository->near_offset &&
		       end <= repository->near_offset + repository->near.len;
	bool is_next = id128_equal(repository->near_pack, place->pack) &&
		       place->offset >= repository->near_offset;
	int rc = 0;

	if (!is_near) {
		backup_pack_name(place->pack, name);
		buffer_clear(&repository->near);
		repository->near_pack = place->pack;
		repository->near_offset = place->offset;
		repository->get_count++;
		/* Only who reads on is likely to want what follows. */
		rc = repository->store->functions->get(repository->store, name, place->offset,
			is_next ? size : place->size, &repository->near, error);
		if (rc == 0 && repository->near.len < place->size)
			rc = error_set(error, ERR_CORRUPT, "damaged: %s is cut off", name);
		if (rc < 0)
			buffer_clear(&repository->near);
	}
	if (rc == 0)
		*bytes_r =
			bytes_of(repository->near.data + (place->offset - repository->near_offset),
				place->size);
	return rc;
}

int backup_read(struct backup_repository *repository, const struct backup_place *place,
	enum backup_kind kind, struct buffer *data, struct error *error)
{
	struct backup_place at = *place;
	char name[OBJECT_NAME_SIZE_MAX + 1];
	struct bytes bytes = { 0 };
	int found = 0, rc;

	if (backup_place_is_none(place))
		return error_set(error, ERR_NOT_FOUND, "it is not in the backup");
	rc = backup_moved_find(repository, &at, error);
	if (rc == 0)
		rc = bytes_near(repository, &at, &bytes, error);
	backup_pack_name(at.pack, name);
	if (rc == ERR_NOT_FOUND)
		return error_set(error, ERR_CORRUPT, "damaged: %s is missing", name);
	if (rc == 0)
		rc = backup_frame_get(
			&repository->key, name, at.offset, &bytes, &found, data, error);
	if (rc == 0 && (bytes.len > 0 || found != (int)kind))
		rc = error_set(error, ERR_CORRUPT,
			"damaged: %s, the frame at byte %u is not what it should be", name,
			at.offset);
	return rc;
}

int backup_read_body(struct backup_repository *repository, const struct backup_place *place,
	const struct guid *guid, struct buffer *raw, struct error *error)
{
	size_t before = raw->len;
	struct guid sum;
	int rc = backup_read(repository, place, BACKUP_BODY, raw, error);

	if (rc < 0)
		return rc;
	guid_of(bytes_of(raw->data + before, raw->len - before), &sum);
	if (guid_equal(&sum, guid))
		return 0;
	return error_set(error, ERR_CORRUPT, "damaged: a message is not what its GUID says");
}

/* ---- what was moved ---- */

struct backup_moves {
	struct id128 pack;
	struct backup_move *moves; /* in order of offset */
	size_t count;
	bool is_read;
};

int backup_moved_put(struct backup_repository *repository, struct id128 pack,
	const struct backup_move *moves, size_t count, struct error *error)
{
	char name[OBJECT_NAME_SIZE_MAX + 1];
	struct buffer object = { 0 }, data = { 0 };
	int rc;

	name_of("moved", pack, name);
	for (size_t i = 0; i < count; i++) {
		pack_u32(&data, moves[i].offset);
		backup_place_pack(&data, &moves[i].to);
	}
	backup_object_begin(&repository->key, BACKUP_MOVED, &object);
	backup_frame_put(&repository->key, name, BACKUP_MOVES, buffer_bytes(&data), &object);
	rc = object_put(repository->store, name, buffer_bytes(&object), error);
	repository->has_moved = false;
	buffer_deinit(&object);
	buffer_deinit(&data);
	return rc;
}

static int moved_note(void *context, const char *name, uint64_t size)
{
	struct backup_repository *repository = context;
	struct backup_moves *moves = arena_zalloc(repository->arena, sizeof(*moves));

	(void)size;
	if (backup_name_id("moved", name, &moves->pack) < 0)
		return 0;
	map_put(&repository->moved, bytes_of(moves->pack.bytes, sizeof(moves->pack.bytes)), moves);
	return 0;
}

static int moves_decode(
	struct backup_repository *repository, struct backup_moves *moves, struct bytes in)
{
	size_t room = in.len / (4 + sizeof(struct id128) + 8);

	moves->moves = arena_alloc(repository->arena, (room + 1) * sizeof(*moves->moves));
	while (in.len > 0 && moves->count < room) {
		struct backup_move *move = &moves->moves[moves->count];

		if (unpack_u32(&in, &move->offset) < 0 || backup_place_unpack(&in, &move->to) < 0 ||
			(moves->count > 0 && move->offset <= move[-1].offset))
			return ERR_CORRUPT;
		moves->count++;
	}
	return in.len == 0 ? 0 : ERR_CORRUPT;
}

static int moves_read(
	struct backup_repository *repository, struct backup_moves *moves, struct error *error)
{
	char name[OBJECT_NAME_SIZE_MAX + 1];
	struct buffer object = { 0 }, data = { 0 };
	struct bytes in;
	int kind = 0, rc;

	name_of("moved", moves->pack, name);
	rc = object_get(repository->store, name, 0, 0, &object, error);
	in = buffer_bytes(&object);
	if (rc == 0)
		rc = backup_object_head(&repository->key, BACKUP_MOVED, name, &in, error);
	if (rc == 0)
		rc = backup_frame_get(
			&repository->key, name, BACKUP_OBJECT_HEAD_SIZE, &in, &kind, &data, error);
	if (rc == 0 && (in.len > 0 || kind != BACKUP_MOVES ||
			       moves_decode(repository, moves, buffer_bytes(&data)) < 0))
		rc = error_set(error, ERR_CORRUPT, "damaged: %s", name);
	moves->is_read = rc == 0;
	buffer_deinit(&object);
	buffer_deinit(&data);
	return rc;
}

static int moved_list(struct backup_repository *repository, struct error *error)
{
	int rc;

	if (repository->has_moved)
		return 0;
	map_clear(&repository->moved);
	rc = object_list(repository->store, "moved", moved_note, repository, error);
	repository->has_moved = rc == 0;
	return rc;
}

int backup_compare_offsets(const void *a, const void *b)
{
	uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;

	return (left > right) - (left < right);
}

int backup_is_moved(struct backup_repository *repository, struct id128 pack, struct error *error)
{
	struct backup_moves *moves;
	int rc = moved_list(repository, error);

	if (rc < 0)
		return rc;
	moves = map_get(&repository->moved, bytes_of(pack.bytes, sizeof(pack.bytes)));
	if (moves != NULL && !moves->is_read)
		rc = moves_read(repository, moves, error);
	return rc < 0 ? rc : moves != NULL;
}

int backup_moved_step(
	struct backup_repository *repository, struct backup_place *place, struct error *error)
{
	const struct backup_moves *moves;
	const struct backup_move *move;
	int rc = backup_is_moved(repository, place->pack, error);

	if (rc <= 0)
		return rc;
	moves = map_get(&repository->moved, bytes_of(place->pack.bytes, sizeof(place->pack.bytes)));
	move = moves->count == 0 ? NULL
				 : bsearch(&place->offset, moves->moves, moves->count,
					   sizeof(*moves->moves), backup_compare_offsets);
	if (move == NULL)
		return error_set(error, ERR_CORRUPT,
			"damaged: a frame that is wanted was taken away by prune");
	*place = move->to;
	return 1;
}

/* What was moved may have been moved again; each pack is made after the one before. */
int backup_moved_find(
	struct backup_repository *repository, struct backup_place *place, struct error *error)
{
	for (int i = 0; i < MOVED_COUNT_MAX; i++) {
		int rc = backup_moved_step(repository, place, error);

		if (rc <= 0)
			return rc;
	}
	return error_set(error, ERR_CORRUPT, "damaged: what was moved has no end");
}
