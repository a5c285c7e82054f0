/*
 * config_private: the table of keys and sections, for config*.c only.
 */
#ifndef CHAPAR_CHAPARD_CONFIG_PRIVATE_H
#define CHAPAR_CHAPARD_CONFIG_PRIVATE_H

#include "chapard/config.h"

/* What the field at a key's offset is. */
enum config_type {
	CONFIG_NAME,     /* char *: letters, digits, '.', '-', '_'; up to CONFIG_NAME_SIZE_MAX */
	CONFIG_STRING,   /* char *: not empty, no control characters */
	CONFIG_TEXT,     /* char *: likewise, up to CONFIG_TEXT_SIZE_MAX */
	CONFIG_PATH,     /* char *: made absolute */
	CONFIG_NUMBER,   /* uint64_t: decimal, with K, M or G for powers of 1024 */
	CONFIG_BOOL,     /* bool: true or false */
	CONFIG_CHOICE,   /* int: index of the word in `choices` */
	CONFIG_ADDRESS,  /* struct config_address */
	CONFIG_PIN,      /* struct config_pin: 64 hexadecimal digits */
	CONFIG_PATTERNS, /* char *: sync/account_filter.h, of accounts ... */
	CONFIG_MAILBOX_PATTERNS, /* ... and of mailboxes */
	CONFIG_MEMBERS,          /* char *: user names, separated by blanks or commas */
	CONFIG_LEVEL             /* char *: one level of a mailbox name */
};

struct config_key {
	const char *name;
	enum config_type type;
	size_t offset; /* of the field in the section's struct */
	bool is_required;
	const char *default_text;  /* NULL: none, the field stays zero */
	uint64_t minimum, maximum; /* of a number */
	const char *choices;       /* of a choice, in the order of its values, separated by '|' */
	const char *help;          /* one sentence */
};

/*
 * A section without a title has its fields in struct config itself. One with a title may come
 * several times: its items are an array in struct config, and each begins with its title (a
 * CONFIG_NAME).
 */
struct config_section {
	const char *name; /* "": the top of the file */
	const struct config_key *keys;
	size_t key_count;
	size_t item_size; /* 0: no title */
	size_t items_offset, count_offset;
	size_t count_max;
	bool is_required; /* at least once */
	const char *help;
};

#define CONFIG_SECTION_COUNT 10
/* The top of the file first. */
extern const struct config_section config_sections[CONFIG_SECTION_COUNT];

const struct config_section *config_section_find(const char *name);
const struct config_key *config_key_find(const struct config_section *section, const char *name);
/* What a section must hold beside its keys' own types; the texts in *error name no file or line. */
int config_peer_check(
	const struct config *config, const struct config_peer *peer, struct error *error);
int config_sync_user_check(
	const struct config *config, struct config_sync_user *user, struct error *error);
int config_login_check(const struct config *config, struct error *error);
int config_origin_check(const struct config_origin *origin, struct error *error);

/* CONFIG_MEMBERS and CONFIG_LEVEL; the texts as with config_value_parse(). */
int config_members_check(const char *text, struct error *error);
int config_level_check(const char *text, struct error *error);

/*
 * Checks `text` by the key's type and bounds and, if `field` is not NULL, stores the value there
 * (strings are allocated). ERR_INVALID with the reason, which does not name file or key.
 */
int config_value_parse(const struct config_key *key, const char *text, const char *folder,
	void *field, struct error *error);
/* Frees what config_value_parse() allocated. */
void config_value_deinit(const struct config_key *key, void *field);

#endif
