/*
 * export_place: where an export writes to, as operators name it: "maildir:DIR",
 * "maildir:DIR:LAYOUT=fs", "mbox:DIR" or "eml:DIR".
 */
#ifndef CHAPAR_FOREIGN_EXPORT_PLACE_H
#define CHAPAR_FOREIGN_EXPORT_PLACE_H

#include "foreign/export.h"

struct export_place {
	struct bytes folder; /* borrows from the text */
	enum export_form { EXPORT_MAILDIR, EXPORT_MBOX, EXPORT_EML } form;
	bool is_fs;
};

/* Whether `text` begins as one does. */
bool export_place_is(const char *text);
/* ERR_INVALID: it is none, or names no folder. */
int export_place_parse(const char *text, struct export_place *place_r, struct error *error);
/* A target of that kind in `folder`. Does no I/O yet. */
struct target *export_place_target(const struct export_place *place, const char *folder);

#endif
