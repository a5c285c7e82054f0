#include "foreign/export_place.h"

#include "foreign/maildir_write.h"
#include "foreign/mbox_write.h"

#include <string.h>

static const char maildir_prefix[] = "maildir:", mbox_prefix[] = "mbox:";
static const char layout_fs[] = ":LAYOUT=fs";

static bool begins_with(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool export_place_is(const char *text)
{
	return begins_with(text, maildir_prefix) || begins_with(text, mbox_prefix);
}

int export_place_parse(const char *text, struct export_place *place_r, struct error *error)
{
	struct export_place place = { .folder = bytes_of_string(text) };
	size_t layout_len = strlen(layout_fs);

	if (!export_place_is(text))
		return error_set(error, ERR_INVALID, "%.60s is no store that is known", text);
	place.is_mbox = begins_with(text, mbox_prefix);
	bytes_skip(&place.folder, strlen(place.is_mbox ? mbox_prefix : maildir_prefix));
	place.is_fs = !place.is_mbox && place.folder.len >= layout_len &&
		      strcmp(text + strlen(text) - layout_len, layout_fs) == 0;
	if (place.is_fs)
		place.folder.len -= layout_len;
	if (place.folder.len == 0)
		return error_set(error, ERR_INVALID, "%.60s names no folder", text);
	*place_r = place;
	return 0;
}

struct target *export_place_target(const struct export_place *place, const char *folder)
{
	return place->is_mbox ? mbox_write_new(folder) : maildir_write_new(folder, place->is_fs);
}
