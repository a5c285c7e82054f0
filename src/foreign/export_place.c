#include "foreign/export_place.h"

#include "foreign/eml_write.h"
#include "foreign/maildir_write.h"
#include "foreign/mbox_write.h"

#include <string.h>

static const struct bytes prefixes[] = {
	[EXPORT_MAILDIR] = { (const unsigned char *)"maildir:", 8 },
	[EXPORT_MBOX] = { (const unsigned char *)"mbox:", 5 },
	[EXPORT_EML] = { (const unsigned char *)"eml:", 4 },
};
static const char layout_fs[] = ":LAYOUT=fs";

static bool form_find(struct bytes text, enum export_form *form_r)
{
	for (int i = 0; i <= EXPORT_EML; i++)
		if (bytes_start_with(text, prefixes[i])) {
			*form_r = (enum export_form)i;
			return true;
		}
	return false;
}

bool export_place_is(const char *text)
{
	enum export_form form;

	return form_find(bytes_of_string(text), &form);
}

int export_place_parse(const char *text, struct export_place *place_r, struct error *error)
{
	struct export_place place = { .folder = bytes_of_string(text) };
	size_t layout_len = strlen(layout_fs);

	if (!form_find(place.folder, &place.form))
		return error_set(error, ERR_INVALID, "%.60s is no store that is known", text);
	bytes_skip(&place.folder, prefixes[place.form].len);
	place.is_fs = place.form == EXPORT_MAILDIR && place.folder.len >= layout_len &&
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
	switch (place->form) {
	case EXPORT_MBOX:
		return mbox_write_new(folder);
	case EXPORT_EML:
		return eml_write_new(folder);
	default:
		return maildir_write_new(folder, place->is_fs);
	}
}
