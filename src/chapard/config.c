/*
 * config: reads the file with libconfuse. libconfuse does the syntax (comments, quoting, sections,
 * what is unknown) and the line numbers; all values are strings to it, and checked by
 * config_value.c as they are met.
 *
 * Everything is parsed twice: libconfuse calls value_check() while it knows the line, and
 * config_fill() then stores the values, which can no longer be wrong.
 */
#include "chapard/config.h"

#include "base/log.h"
#include "base/mem.h"
#include "chapard/config_private.h"

#include <confuse.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_SIZE_MAX (1024 * 1024) /* bytes */
#define KEY_COUNT_MAX 64            /* of one section */
#define FLAG_GIVEN (1 << 30)        /* of an option: a bit that libconfuse leaves alone */

static_assert((int)LOG_LEVEL_DEBUG == 0 && (int)LOG_LEVEL_ERROR == 3,
	"the choices of log-level are in order");

/* libconfuse's callbacks have no context argument; only set while config_load() parses. */
static _Thread_local struct error *parse_error;

static void error_report(cfg_t *cfg, const char *format, va_list args)
{
	struct buffer text = { 0 };

	buffer_vprintf(&text, format, args);
	/* The first is the cause; libconfuse may add what follows from it. */
	if (parse_error->code == 0)
		error_set(parse_error, ERR_INVALID, "%s:%d: %s",
			cfg != NULL && cfg->filename != NULL ? cfg->filename : "configuration",
			cfg != NULL ? cfg->line : 0, buffer_string(&text));
	buffer_deinit(&text);
}

const struct config_section *config_section_find(const char *name)
{
	for (size_t i = 1; i < CONFIG_SECTION_COUNT; i++)
		if (strcmp(config_sections[i].name, name) == 0)
			return &config_sections[i];
	return &config_sections[0];
}

const struct config_key *config_key_find(const struct config_section *section, const char *name)
{
	for (size_t i = 0; i < section->key_count; i++)
		if (strcmp(section->keys[i].name, name) == 0)
			return &section->keys[i];
	return NULL;
}

static int value_check(cfg_t *cfg, cfg_opt_t *opt, const char *value, void *result)
{
	const struct config_key *key = config_key_find(config_section_find(cfg->name), opt->name);
	struct error error = { 0 };

	assert(key != NULL);
	if ((opt->flags & FLAG_GIVEN) != 0) {
		cfg_error(cfg, "%s is given twice", opt->name);
		return -1;
	}
	opt->flags |= FLAG_GIVEN;
	if (config_value_parse(key, value, "", NULL, &error) < 0) {
		cfg_error(cfg, "%s: %s", opt->name, error.text);
		return -1;
	}
	*(const char **)result = value;
	return 0;
}

static void options_of_keys(
	const struct config_section *section, cfg_opt_t options[KEY_COUNT_MAX + 1])
{
	assert(section->key_count <= KEY_COUNT_MAX);
	for (size_t i = 0; i < section->key_count; i++)
		options[i] = (cfg_opt_t)CFG_STR_CB(
			section->keys[i].name, NULL, CFGF_NODEFAULT, value_check);
	options[section->key_count] = (cfg_opt_t)CFG_END();
}

static cfg_t *parser_new(void)
{
	cfg_opt_t section_options[CONFIG_SECTION_COUNT][KEY_COUNT_MAX + 1];
	cfg_opt_t options[KEY_COUNT_MAX + CONFIG_SECTION_COUNT];
	size_t count = config_sections[0].key_count;
	cfg_t *cfg;

	options_of_keys(&config_sections[0], options);
	for (size_t i = 1; i < CONFIG_SECTION_COUNT; i++) {
		const struct config_section *section = &config_sections[i];
		cfg_flag_t flags = section->item_size > 0
					   ? CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES
					   : CFGF_MULTI;

		options_of_keys(section, section_options[i]);
		options[count++] = (cfg_opt_t)CFG_SEC(section->name, section_options[i], flags);
	}
	options[count] = (cfg_opt_t)CFG_END();
	cfg = cfg_init(options, CFGF_NONE);
	if (cfg == NULL)
		abort(); /* memory is out: see base/mem.h */
	cfg_set_error_function(cfg, error_report);
	return cfg;
}

/* `item`: struct config or an item of a titled section. */
static int section_fill(const struct config_section *section, cfg_t *cfg, const char *folder,
	void *item, struct error *error)
{
	for (size_t i = 0; i < section->key_count; i++) {
		const struct config_key *key = &section->keys[i];
		const char *text = cfg_getstr(cfg, key->name);
		int rc;

		if (text == NULL && key->is_required)
			return error_set(error, ERR_INVALID, "%s:%d: %s%s%s%s%s is missing",
				cfg->filename, cfg->line, section->name,
				*section->name != '\0' ? " " : "",
				section->item_size > 0 ? cfg_title(cfg) : "",
				section->item_size > 0 ? ": " : "", key->name);
		if (text == NULL)
			text = key->default_text;
		if (text == NULL)
			continue;
		rc = config_value_parse(key, text, folder, (char *)item + key->offset, error);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int item_fill(const struct config_section *section, cfg_t *cfg, const char *folder,
	void *item, struct error *error)
{
	static const struct config_key title_key = { "title", CONFIG_NAME };
	int rc;

	if (section->item_size > 0) {
		rc = config_value_parse(&title_key, cfg_title(cfg), folder, item, error);
		if (rc < 0)
			return error_prefix(
				error, "%s:%d: %s", cfg->filename, cfg->line, section->name);
	}
	return section_fill(section, cfg, folder, item, error);
}

static int sections_fill(const struct config_section *section, cfg_t *cfg, struct config *config,
	struct error *error)
{
	size_t count = cfg_size(cfg, section->name),
	       count_max = section->item_size > 0 ? section->count_max : 1;
	char *items = (char *)config;
	int rc = 0;

	if (count == 0 && section->is_required)
		return error_set(error, ERR_INVALID, "%s: a section \"%s\" is missing",
			cfg->filename, section->name);
	if (count > count_max)
		return error_set(error, ERR_INVALID, "%s:%d: more than %zu sections \"%s\"",
			cfg->filename, cfg_getnsec(cfg, section->name, (unsigned)count_max)->line,
			count_max, section->name);
	if (section->item_size > 0) {
		items = mem_zalloc_array(count + 1, section->item_size);
		*(void **)((char *)config + section->items_offset) = items;
		*(size_t *)((char *)config + section->count_offset) = count;
	}
	for (size_t i = 0; i < count && rc == 0; i++)
		rc = item_fill(section, cfg_getnsec(cfg, section->name, (unsigned)i),
			config->folder, items + i * section->item_size, error);
	return rc;
}

/* What the title of a listener says where its keys are silent. */
static int listener_complete(
	struct config *config, struct config_listener *listener, cfg_t *cfg, struct error *error)
{
	bool is_imaps = strcmp(listener->name, "imaps") == 0;

	if (cfg_getstr(cfg, "protocol") == NULL) {
		if (is_imaps || strcmp(listener->name, "imap") == 0)
			listener->protocol = CONFIG_PROTOCOL_IMAP;
		else if (strcmp(listener->name, "lmtp") == 0)
			listener->protocol = CONFIG_PROTOCOL_LMTP;
		else
			return error_set(error, ERR_INVALID,
				"%s:%d: listen %s: protocol is missing", cfg->filename, cfg->line,
				listener->name);
	}
	if (cfg_getstr(cfg, "tls") == NULL) {
		if (is_imaps)
			listener->tls = CONFIG_TLS_IMPLICIT;
		else if (config->tls_certificate != NULL && listener->address.host != NULL)
			listener->tls = CONFIG_TLS_START;
	}
	if (listener->tls != CONFIG_TLS_NONE && config->tls_certificate == NULL)
		return error_set(error, ERR_INVALID, "%s:%d: listen %s: TLS needs a tls section",
			cfg->filename, cfg->line, listener->name);
	return 0;
}

static int peer_check(const struct config *config, const struct config_peer *peer, cfg_t *cfg,
	struct error *error)
{
	int rc = config_peer_check(config, peer, error);

	return rc < 0 ? error_prefix(error, "%s:%d: peer %s", cfg->filename, cfg->line, peer->name)
		      : 0;
}

static int sync_user_check(
	const struct config *config, struct config_sync_user *user, cfg_t *cfg, struct error *error)
{
	int rc = config_sync_user_check(config, user, error);

	return rc < 0 ? error_prefix(
				error, "%s:%d: sync-user %s", cfg->filename, cfg->line, user->name)
		      : 0;
}

static int login_check(const struct config *config, cfg_t *cfg, struct error *error)
{
	int rc = config_login_check(config, error);

	return rc < 0 ? error_prefix(error, "%s:%d: login", cfg->filename, cfg->line) : 0;
}

static int origin_check(const struct config *config, cfg_t *cfg, struct error *error)
{
	int rc = config_origin_check(&config->origin, error);

	return rc < 0 ? error_prefix(error, "%s:%d: origin", cfg->filename, cfg->line) : 0;
}

/* The store's folder holds a UNIX socket. */
static int store_check(const struct config *config, cfg_t *cfg, struct error *error)
{
	size_t size_max = CONFIG_SOCKET_PATH_SIZE_MAX - strlen("/" CONFIG_CONTROL_SOCKET_NAME);

	if (strlen(config->store_path) <= size_max)
		return 0;
	return error_set(error, ERR_INVALID, "%s:%d: store path: longer than %zu bytes",
		cfg->filename, cfg->line, size_max);
}

/* A name must not be in both namespaces. */
static int prefixes_check(const struct config *config, cfg_t *cfg, struct error *error)
{
	if (strcasecmp(config->other_users_prefix, config->shared_prefix) != 0)
		return 0;
	return error_set(error, ERR_INVALID,
		"%s: other-users-prefix and shared-prefix are the same", cfg->filename);
}

static int config_fill(struct config *config, cfg_t *cfg, struct error *error)
{
	int rc = section_fill(&config_sections[0], cfg, config->folder, config, error);

	for (size_t i = 1; i < CONFIG_SECTION_COUNT && rc == 0; i++)
		rc = sections_fill(&config_sections[i], cfg, config, error);
	if (rc == 0)
		rc = store_check(config, cfg_getsec(cfg, "store"), error);
	if (rc == 0)
		rc = prefixes_check(config, cfg, error);
	for (size_t i = 0; i < config->listener_count && rc == 0; i++)
		rc = listener_complete(config, &config->listeners[i],
			cfg_getnsec(cfg, "listen", (unsigned)i), error);
	for (size_t i = 0; i < config->sync_user_count && rc == 0; i++)
		rc = sync_user_check(config, &config->sync_users[i],
			cfg_getnsec(cfg, "sync-user", (unsigned)i), error);
	if (rc == 0 && cfg_size(cfg, "login") > 0)
		rc = login_check(config, cfg_getsec(cfg, "login"), error);
	if (rc == 0 && cfg_size(cfg, "origin") > 0)
		rc = origin_check(config, cfg_getsec(cfg, "origin"), error);
	for (size_t i = 0; i < config->peer_count && rc == 0; i++)
		rc = peer_check(
			config, &config->peers[i], cfg_getnsec(cfg, "peer", (unsigned)i), error);
	return rc;
}

/* Makes file and folder absolute, and checks that the file can be read and is of decent size. */
static int file_find(const char *file, struct config *config, struct error *error)
{
	char path[PATH_MAX];
	struct stat info;
	const char *slash;

	if (realpath(file, path) == NULL)
		return error_set_errno(
			error, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, errno, "%s", file);
	if (stat(path, &info) != 0 || access(path, R_OK) != 0)
		return error_set_errno(error, ERR_IO, errno, "%s", file);
	if (!S_ISREG(info.st_mode) || info.st_size > FILE_SIZE_MAX)
		return error_set(error, ERR_INVALID, "%s: not a file of up to %d bytes", file,
			FILE_SIZE_MAX);
	config->file = mem_strdup(path);
	slash = strrchr(path, '/');
	config->folder = mem_dup(path, (size_t)(slash - path) + 1);
	config->folder[slash - path] = '\0';
	return 0;
}

int config_load(const char *file, struct config **config_r, struct error *error)
{
	struct config *config = mem_zalloc(sizeof(*config));
	struct error first = { 0 };
	cfg_t *cfg = parser_new();
	int rc;

	rc = file_find(file, config, &first);
	if (rc < 0)
		goto out;
	parse_error = &first;
	rc = cfg_parse(cfg, config->file);
	parse_error = NULL;
	if (rc != CFG_SUCCESS) {
		rc = first.code != 0 ? first.code
				     : error_set(&first, ERR_IO, "%s: cannot be read", file);
		goto out;
	}
	rc = config_fill(config, cfg, &first);
	if (rc < 0)
		goto out;
	*config_r = config;
	config = NULL;
out:
	if (rc < 0 && error != NULL)
		*error = first;
	cfg_free(cfg);
	config_free(&config);
	return rc;
}

void config_node_name(const struct config *config, struct node_name *name_r)
{
	*name_r = (struct node_name){ 0 };
	snprintf(name_r->name, sizeof(name_r->name), "%s", config->node);
	if (config->client_host != NULL)
		snprintf(name_r->host, sizeof(name_r->host), "%s", config->client_host);
}

static void section_deinit(const struct config_section *section, struct config *config)
{
	char *items = (char *)config;
	size_t count = 1;

	if (section->item_size > 0) {
		items = *(char **)((char *)config + section->items_offset);
		count = *(size_t *)((char *)config + section->count_offset);
	}
	for (size_t i = 0; i < count; i++) {
		char *item = items + i * section->item_size;

		if (section->item_size > 0)
			free(*(char **)item);
		for (size_t k = 0; k < section->key_count; k++)
			config_value_deinit(&section->keys[k], item + section->keys[k].offset);
	}
	if (section->item_size > 0)
		free(items);
}

void config_free(struct config **config)
{
	if (*config == NULL)
		return;
	for (size_t i = 0; i < CONFIG_SECTION_COUNT; i++)
		section_deinit(&config_sections[i], *config);
	free((*config)->file);
	free((*config)->folder);
	free(*config);
	*config = NULL;
}

static int secret_check(const char *file, struct buffer *secret, struct error *error)
{
	if (secret->len > CONFIG_SECRET_SIZE_MAX)
		return error_set(error, ERR_INVALID, "%s: longer than %d bytes", file,
			CONFIG_SECRET_SIZE_MAX);
	if (secret->len > 0 && secret->data[secret->len - 1] == '\n')
		secret->data[--secret->len] = '\0';
	if (secret->len > 0 && secret->data[secret->len - 1] == '\r')
		secret->data[--secret->len] = '\0';
	if (secret->len == 0)
		return error_set(error, ERR_INVALID, "%s: empty", file);
	for (size_t i = 0; i < secret->len; i++)
		if (secret->data[i] < ' ')
			return error_set(error, ERR_INVALID, "%s: more than one line", file);
	return 0;
}

int config_secret_read(const char *file, struct buffer *secret, struct error *error)
{
	unsigned char
		text[CONFIG_SECRET_SIZE_MAX + 3]; /* room for CRLF, and for one byte too many */
	struct stat info;
	ssize_t size;
	int fd, rc = 0;

	fd = open(file, O_RDONLY | O_CLOEXEC);
	if (fd == -1)
		return error_set_errno(
			error, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, errno, "%s", file);
	buffer_clear(secret);
	size = fstat(fd, &info) == 0 ? read(fd, text, sizeof(text)) : -1;
	if (size < 0)
		rc = error_set_errno(error, ERR_IO, errno, "%s", file);
	else if ((info.st_mode & (S_IRWXO | S_IWGRP)) != 0)
		rc = error_set(
			error, ERR_REFUSED, "%s: other users have access to it (chmod 600)", file);
	else
		buffer_append(secret, text, (size_t)size);
	if (rc == 0)
		rc = secret_check(file, secret, error);
	explicit_bzero(text, sizeof(text));
	close(fd);
	return rc;
}

static void key_help(const struct config_key *key, FILE *out)
{
	static const char *const type_names[] = { "NAME", "STRING", "TEXT", "PATH", "NUMBER",
		"true|false", "", "ADDRESS", "HEX", "PATTERNS", "NAMES", "STRING" };

	fprintf(out, "  %s = %s", key->name,
		key->type == CONFIG_CHOICE ? key->choices : type_names[key->type]);
	if (key->type == CONFIG_NUMBER)
		fprintf(out, " (%llu to %llu)", (unsigned long long)key->minimum,
			(unsigned long long)key->maximum);
	if (key->is_required)
		fputs(" (required)", out);
	if (key->default_text != NULL)
		fprintf(out, " (default %s)", key->default_text);
	fprintf(out, "\n      %s\n", key->help);
}

void config_help(FILE *out)
{
	for (size_t i = 0; i < CONFIG_SECTION_COUNT; i++) {
		const struct config_section *section = &config_sections[i];

		if (section->name[0] != '\0')
			fprintf(out, "\n%s%s { }%s\n", section->name,
				section->item_size > 0 ? " TITLE" : "",
				section->is_required ? " (required)" : "");
		fprintf(out, "  %s\n\n", section->help);
		for (size_t k = 0; k < section->key_count; k++)
			key_help(&section->keys[k], out);
	}
}
