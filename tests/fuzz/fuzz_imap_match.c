/* LIST patterns: the input is a pattern, a line feed and a name; imap_match() must say what a plain
 * recursive matcher says. */
#include "fuzz_check.h"

#include "imap/imap_match.h"

#include <ctype.h>

#define PATTERN_SIZE_MAX 64 /* the plain matcher's memory is the product of both */
#define NAME_SIZE_MAX 64

struct reference {
	struct bytes pattern, name;
	bool ignores_case;
	signed char known[PATTERN_SIZE_MAX + 1][NAME_SIZE_MAX + 1]; /* 1 yes, -1 no, 0 not yet */
};

static bool same(const struct reference *reference, int a, int b)
{
	return a == b ||
	       (reference->ignores_case && a < 0x80 && b < 0x80 && tolower(a) == tolower(b));
}

/* RFC 3501, 6.3.8, read word by word. */
static bool matches(struct reference *reference, size_t p, size_t n)
{
	struct bytes pattern = reference->pattern, name = reference->name;
	bool found;

	if (reference->known[p][n] != 0)
		return reference->known[p][n] > 0;
	if (p == pattern.len)
		found = n == name.len;
	else if (pattern.ptr[p] == '*')
		found = matches(reference, p + 1, n) ||
			(n < name.len && matches(reference, p, n + 1));
	else if (pattern.ptr[p] == '%')
		found = matches(reference, p + 1, n) ||
			(n < name.len && name.ptr[n] != '/' && matches(reference, p, n + 1));
	else
		found = n < name.len && same(reference, pattern.ptr[p], name.ptr[n]) &&
			matches(reference, p + 1, n + 1);
	reference->known[p][n] = found ? 1 : -1;
	return found;
}

/* Wildcards next to each other: "**" is "*", "%*" and "*%" are "*", "%%" is "%". */
static struct bytes simplified(struct bytes pattern, unsigned char *room)
{
	size_t size = 0;

	for (size_t i = 0; i < pattern.len; i++) {
		int byte = pattern.ptr[i], last = size > 0 ? room[size - 1] : -1;

		if ((last == '*' || last == '%') && (byte == '*' || byte == '%'))
			room[size - 1] = byte == '*' ? '*' : room[size - 1];
		else
			room[size++] = (unsigned char)byte;
	}
	return bytes_of(room, size);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct bytes pattern = bytes_of(data, size), name;
	unsigned char room[PATTERN_SIZE_MAX];
	struct reference reference = { .ignores_case = false };
	bool found;

	name = pattern;
	pattern = bytes_take(&name, bytes_find(name, '\n'));
	if (name.len > 0)
		bytes_skip(&name, 1);
	found = imap_match(pattern, name); /* of any size */
	if (pattern.len > PATTERN_SIZE_MAX || name.len > NAME_SIZE_MAX)
		return 0;
	reference.pattern = pattern;
	reference.name = name;
	reference.ignores_case = bytes_equal_string(name, "INBOX");
	FUZZ_CHECK(found == matches(&reference, 0, 0));
	FUZZ_CHECK(found == imap_match(simplified(pattern, room), name));
	if (bytes_find(name, '*') == name.len && bytes_find(name, '%') == name.len)
		FUZZ_CHECK(imap_match(name, name));
	return 0;
}
