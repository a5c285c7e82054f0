#include "imap/imap_match.h"

/*
 * All positions in the pattern at which the name so far may stand are followed at once, as a set,
 * so that no pattern takes more than pattern x name steps. A position that stands at a wildcard
 * includes the one behind it.
 */
struct positions {
	bool at[IMAP_PATTERN_SIZE_MAX + 1];
};

static bool is_wildcard(int byte)
{
	return byte == '*' || byte == '%';
}

/* A wildcard may also stand for nothing. */
static void pass_wildcards(struct bytes pattern, struct positions *positions)
{
	for (size_t i = 0; i < pattern.len; i++) {
		if (positions->at[i] && is_wildcard(pattern.ptr[i]))
			positions->at[i + 1] = true;
	}
}

static void step(struct bytes pattern, int byte, const struct positions *from, struct positions *to)
{
	memset(to->at, 0, pattern.len + 1);
	for (size_t i = 0; i < pattern.len; i++) {
		if (!from->at[i])
			continue;
		if (is_wildcard(pattern.ptr[i]))
			to->at[i] = to->at[i] || pattern.ptr[i] == '*' || byte != '/';
		else if (pattern.ptr[i] == byte)
			to->at[i + 1] = true;
	}
	pass_wildcards(pattern, to);
}

static bool match_exact(struct bytes pattern, struct bytes name)
{
	struct positions positions[2];
	unsigned now = 0;

	if (pattern.len > IMAP_PATTERN_SIZE_MAX)
		return false;
	memset(positions[now].at, 0, pattern.len + 1);
	positions[now].at[0] = true;
	pass_wildcards(pattern, &positions[now]);
	for (size_t i = 0; i < name.len; i++, now = 1 - now)
		step(pattern, name.ptr[i], &positions[now], &positions[1 - now]);
	return positions[now].at[pattern.len];
}

bool imap_match(struct bytes pattern, struct bytes name)
{
	unsigned char upper[IMAP_PATTERN_SIZE_MAX];

	if (match_exact(pattern, name))
		return true;
	if (!bytes_equal_string(name, "INBOX") || pattern.len > sizeof(upper))
		return false;
	for (size_t i = 0; i < pattern.len; i++) {
		int byte = pattern.ptr[i];

		upper[i] = (unsigned char)(byte >= 'a' && byte <= 'z' ? byte - 'a' + 'A' : byte);
	}
	return match_exact(bytes_of(upper, pattern.len), name);
}
