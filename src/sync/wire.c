#include "sync/wire.h"

#include "base/encode.h"
#include "base/pack.h"

#include <inttypes.h>
#include <stdio.h>

void wire_put_stamp(struct dlist_writer *writer, struct stamp stamp)
{
	char text[48];

	snprintf(text, sizeof(text), "%" PRIu64 ".%016" PRIx64, stamp.modseq, stamp.node);
	dlist_put_atom(writer, text);
}

void wire_put_stamp_of(struct dlist_writer *writer, const char *key, struct stamp stamp)
{
	dlist_put_atom(writer, key);
	wire_put_stamp(writer, stamp);
}

void wire_put_id_of(struct dlist_writer *writer, const char *key, struct id128 id)
{
	dlist_put_hex_of(writer, key, bytes_of(id.bytes, sizeof(id.bytes)));
}

void wire_put_digest(struct dlist_writer *writer, struct digest digest)
{
	unsigned char raw[16];

	put_u64(raw, digest.high);
	put_u64(raw + 8, digest.low);
	dlist_put_hex(writer, bytes_of(raw, sizeof(raw)));
}

void wire_put_digest_of(struct dlist_writer *writer, const char *key, struct digest digest)
{
	dlist_put_atom(writer, key);
	wire_put_digest(writer, digest);
}

void wire_put_node_of(struct dlist_writer *writer, const char *key, uint64_t node)
{
	unsigned char raw[8];

	put_u64(raw, node);
	dlist_put_hex_of(writer, key, bytes_of(raw, sizeof(raw)));
}

static int hex_digit(int byte)
{
	if (byte >= '0' && byte <= '9')
		return byte - '0';
	return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* Exactly `size` bytes. */
static int read_hex(struct bytes text, unsigned char *raw, size_t size)
{
	if (text.len != 2 * size)
		return ERR_INVALID;
	for (size_t i = 0; i < size; i++) {
		int high = hex_digit(text.ptr[2 * i]), low = hex_digit(text.ptr[2 * i + 1]);

		if (high < 0 || low < 0)
			return ERR_INVALID;
		raw[i] = (unsigned char)(high << 4 | low);
	}
	return 0;
}

static int value_hex(const struct dlist *value, unsigned char *raw, size_t size)
{
	struct bytes text;

	return dlist_text(value, &text) < 0 ? ERR_INVALID : read_hex(text, raw, size);
}

int wire_stamp(const struct dlist *value, struct stamp *stamp_r)
{
	struct dlist number = { .kind = DLIST_ATOM };
	unsigned char raw[8];
	struct bytes text;
	size_t dot;

	if (dlist_text(value, &text) < 0)
		return ERR_INVALID;
	dot = bytes_find(text, '.');
	if (dot == text.len)
		return ERR_INVALID;
	number.text = bytes_take(&text, dot);
	bytes_skip(&text, 1);
	if (dlist_number(&number, MODSEQ_MAX, &stamp_r->modseq) < 0 ||
		read_hex(text, raw, sizeof(raw)) < 0)
		return ERR_INVALID;
	stamp_r->node = get_u64(raw);
	return 0;
}

int wire_id(const struct dlist *value, struct id128 *id_r)
{
	return value_hex(value, id_r->bytes, sizeof(id_r->bytes));
}

int wire_guid(const struct dlist *value, struct guid *guid_r)
{
	return value_hex(value, guid_r->bytes, sizeof(guid_r->bytes));
}

int wire_digest(const struct dlist *value, struct digest *digest_r)
{
	unsigned char raw[16];

	if (value_hex(value, raw, sizeof(raw)) < 0)
		return ERR_INVALID;
	digest_r->high = get_u64(raw);
	digest_r->low = get_u64(raw + 8);
	return 0;
}

int wire_get_id(const struct dlist *map, const char *key, struct id128 *id_r)
{
	const struct dlist *value = dlist_get(map, key);

	return value == NULL ? ERR_NOT_FOUND : wire_id(value, id_r);
}

int wire_get_digest(const struct dlist *map, const char *key, struct digest *digest_r)
{
	const struct dlist *value = dlist_get(map, key);

	return value == NULL ? ERR_NOT_FOUND : wire_digest(value, digest_r);
}

int wire_get_node(const struct dlist *map, const char *key, uint64_t *node_r)
{
	const struct dlist *value = dlist_get(map, key);
	unsigned char raw[8];

	if (value == NULL)
		return ERR_NOT_FOUND;
	if (value_hex(value, raw, sizeof(raw)) < 0)
		return ERR_INVALID;
	*node_r = get_u64(raw);
	return 0;
}

int wire_parse(struct bytes text, struct arena *arena, struct bytes *verb_r,
	const struct dlist **map_r, struct error *error)
{
	return wire_parse_at_most(text, arena, DLIST_VALUE_COUNT_MAX, verb_r, map_r, error);
}

int wire_parse_at_most(struct bytes text, struct arena *arena, size_t value_count_max,
	struct bytes *verb_r, const struct dlist **map_r, struct error *error)
{
	static const struct dlist empty = { .kind = DLIST_MAP };
	const struct dlist *verb, *map = &empty;
	int rc = dlist_parse(&text, arena, &verb, error);

	if (rc < 0)
		return rc;
	if (verb->kind != DLIST_ATOM)
		return error_set(error, ERR_INVALID, "a verb was expected");
	if (text.len > 0) {
		rc = dlist_parse_at_most(&text, arena, value_count_max, &map, error);
		if (rc < 0)
			return rc;
		if (map->kind != DLIST_MAP || text.len > 0)
			return error_set(
				error, ERR_INVALID, "after the verb, one map %%(...) was expected");
	}
	*verb_r = verb->text;
	*map_r = map;
	return 0;
}

struct dlist_writer wire_begin(struct buffer *out, enum dlist_side side, const char *verb)
{
	struct dlist_writer writer = dlist_writer(out, side);

	dlist_put_atom(&writer, verb);
	dlist_begin_map(&writer);
	return writer;
}

static const struct code_name {
	int code;
	const char *name;
} code_names[] = {
	{ ERR_IO, "IO" },
	{ ERR_FULL, "FULL" },
	{ ERR_CORRUPT, "CORRUPT" },
	{ ERR_VERSION, "VERSION" },
	{ ERR_NOT_FOUND, "NOTFOUND" },
	{ ERR_EXISTS, "EXISTS" },
	{ ERR_INVALID, "INVALID" },
	{ ERR_TOO_LARGE, "TOOLARGE" },
	{ ERR_ILLEGAL, "ILLEGAL" },
	{ ERR_CHANGED, "CHANGED" },
	{ ERR_REFUSED, "REFUSED" },
	{ ERR_TIMEOUT, "TIMEOUT" },
	{ ERR_CLOSED, "CLOSED" },
	{ ERR_UNAVAILABLE, "UNAVAILABLE" },
	{ ERR_OVERQUOTA, "OVERQUOTA" },
	{ ERR_REPLICA, "REPLICA" },
};
#define CODE_COUNT (sizeof(code_names) / sizeof(code_names[0]))

void wire_put_error(struct buffer *answer, int code, const char *text, uint64_t away)
{
	struct dlist_writer writer = wire_begin(answer, DLIST_ANSWER, "ERROR");
	const char *name = "IO";

	for (size_t i = 0; i < CODE_COUNT; i++)
		if (code_names[i].code == code)
			name = code_names[i].name;
	dlist_put_atom(&writer, "CODE");
	dlist_put_atom(&writer, name);
	dlist_put_text_of(&writer, "TEXT", bytes_of_string(text));
	if (away != 0)
		wire_put_node_of(&writer, "AWAY", away);
	dlist_end_map(&writer);
}

int wire_error(const struct dlist *map, struct error *error)
{
	struct bytes name, text = BYTES_LITERAL("no reason given");
	int code = ERR_INVALID;

	if (dlist_get_text(map, "CODE", &name) == 0)
		for (size_t i = 0; i < CODE_COUNT; i++)
			if (bytes_equal_string(name, code_names[i].name))
				code = code_names[i].code;
	(void)dlist_get_text(map, "TEXT", &text);
	return error_set(error, code, "the peer says: %.*s", BYTES_ARGS(text));
}

int wire_answer(struct bytes text, struct arena *arena, struct bytes *verb_r,
	const struct dlist **map_r, struct error *error)
{
	int rc = wire_parse(text, arena, verb_r, map_r, error);

	return rc == 0 && bytes_equal_string(*verb_r, "ERROR") ? wire_error(*map_r, error) : rc;
}

int wire_answer_as(struct bytes text, const char *asked, const char *verb, struct arena *arena,
	const struct dlist **map_r, struct error *error)
{
	struct bytes came;
	int rc = wire_answer(text, arena, &came, map_r, error);

	return rc == 0 && !bytes_equal_string(came, verb) ? wire_unanswered(asked, error) : rc;
}

int wire_unanswered(const char *asked, struct error *error)
{
	return error_set(error, ERR_INVALID, "%s was not answered", asked);
}
