#include "chapard/foreign_source.h"

#include "foreign/maildir_read.h"

static int path_check(const char *path, struct error *error)
{
	if (path[0] != '/')
		return error_set(error, ERR_INVALID, "%.100s is no absolute path", path);
	return 0;
}

int foreign_source_new(const char *text, const char *const *words, size_t count,
	struct source **source_r, struct error *error)
{
	static const struct {
		const char *prefix;
		struct source *(*new)(const char *path);
	} kinds[] = {
		{ "maildir:", maildir_read_new },
	};

	(void)words;
	(void)count;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		size_t len = strlen(kinds[i].prefix);

		if (strncmp(text, kinds[i].prefix, len) != 0)
			continue;
		if (path_check(text + len, error) < 0)
			return ERR_INVALID;
		*source_r = kinds[i].new(text + len);
		return 0;
	}
	return error_set(error, ERR_INVALID, "%.60s is no store that is known", text);
}
