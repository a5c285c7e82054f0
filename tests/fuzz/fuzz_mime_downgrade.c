/*
 * The surrogate of a message (RFC 6858): it has no UTF-8 left in any header, the same parts as the
 * message, each body that is no message octet by octet, and does not grow beyond what is promised.
 * There is one exactly if a header has UTF-8, and none of the surrogate itself.
 */
#include "fuzz_check.h"

#include "mail/mime_downgrade.h"
#include "mime_invariants.h"

#define INPUT_SIZE_MAX 60000

/*
 * A field that is left out may be the one that begins a part's structure, or a parameter that was
 * cut may now be seen; so parts are compared as long as both sides agree on what a part is.
 */
static void check_bodies(struct bytes before, const struct mime_part *a, struct bytes after,
	const struct mime_part *b)
{
	const struct mime_part *left = a->children, *right = b->children;

	if (a->kind != b->kind || a->child_count != b->child_count)
		return;
	if (a->kind == MIME_LEAF)
		FUZZ_CHECK(bytes_equal(mime_part_body(a, before), mime_part_body(b, after)));
	for (; left != NULL && right != NULL; left = left->next, right = right->next)
		check_bodies(before, left, after, right);
}

static bool has_utf8_header(struct bytes message, struct arena *arena)
{
	return mime_has_utf8_header(message, mime_structure_parse(message, arena));
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct bytes message = bytes_of(data, size), surrogate;
	const struct mime_part *root;
	struct buffer out = { NULL, 0, 0 };
	struct arena *arena;
	bool is_made;

	if (size > INPUT_SIZE_MAX)
		return 0;
	arena = arena_new();
	root = mime_structure_parse(message, arena);
	is_made = mime_downgrade(message, root, &out);
	FUZZ_CHECK(is_made == mime_has_utf8_header(message, root));
	FUZZ_CHECK(is_made || out.len == 0);
	if (is_made) {
		surrogate = buffer_bytes(&out);
		FUZZ_CHECK(out.len <= size + MIME_DOWNGRADE_GROWTH_MAX);
		FUZZ_CHECK(!has_utf8_header(surrogate, arena));
		check_bodies(message, root, surrogate, mime_structure_parse(surrogate, arena));
		mime_invariants_check(surrogate);
	}
	buffer_deinit(&out);
	arena_free(&arena);
	return 0;
}
