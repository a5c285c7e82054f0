/*
 * config_peer: what a peer's section must hold, be it in the file or given while the daemon runs.
 */
#include "chapard/config_private.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

int config_peer_check(
	const struct config *config, const struct config_peer *peer, struct error *error)
{
	if (strcmp(peer->name, config->node) == 0)
		return error_set(error, ERR_INVALID, "is this node itself");
	if (peer->tls == CONFIG_TLS_NONE && (peer->ca_file != NULL || peer->pin.is_set))
		return error_set(error, ERR_INVALID, "ca-file and pin need tls");
	if (peer->ca_file != NULL && peer->pin.is_set)
		return error_set(error, ERR_INVALID, "give either ca-file or pin");
	if (peer->password_file == NULL && peer->certificate == NULL)
		return error_set(error, ERR_INVALID, "password-file or certificate is missing");
	if (peer->certificate != NULL && peer->tls == CONFIG_TLS_NONE)
		return error_set(error, ERR_INVALID, "certificate needs tls");
	if (peer->key != NULL && peer->certificate == NULL)
		return error_set(error, ERR_INVALID, "key needs certificate");
	if (peer->address.host != NULL && (peer->address.port == 0 || peer->address.host[0] == '*'))
		return error_set(error, ERR_INVALID, "address: nobody can be reached there");
	return 0;
}

static bool is_this_machine(const struct config_address *address)
{
	return address->host == NULL || strcmp(address->host, "localhost") == 0 ||
	       strcmp(address->host, "::1") == 0 || strncmp(address->host, "127.", 4) == 0;
}

int config_origin_check(const struct config_origin *origin, struct error *error)
{
	if (origin->tls == CONFIG_TLS_NONE && !is_this_machine(&origin->address))
		return error_set(error, ERR_INVALID, "tls = none is for this machine only");
	if (origin->tls == CONFIG_TLS_NONE && (origin->ca_file != NULL || origin->pin.is_set))
		return error_set(error, ERR_INVALID, "ca-file and pin need tls");
	if (origin->ca_file != NULL && origin->pin.is_set)
		return error_set(error, ERR_INVALID, "give either ca-file or pin");
	if (origin->address.host != NULL &&
		(origin->address.port == 0 || origin->address.host[0] == '*'))
		return error_set(error, ERR_INVALID, "address: nobody can be reached there");
	return 0;
}

static int word_fill(const struct config_section *section, const struct config *config,
	const char *word, struct config_peer *peer, bool *is_given, struct error *error)
{
	char name[CONFIG_NAME_SIZE_MAX + 1];
	const struct config_key *key = NULL;
	const char *equals = strchr(word, '=');
	size_t index;
	int rc;

	if (equals != NULL && equals - word <= CONFIG_NAME_SIZE_MAX) {
		memcpy(name, word, (size_t)(equals - word));
		name[equals - word] = '\0';
		key = config_key_find(section, name);
	}
	if (key == NULL)
		return error_set(error, ERR_INVALID, "\"%.60s\" is not KEY=VALUE of a peer", word);
	index = (size_t)(key - section->keys);
	if (is_given[index])
		return error_set(error, ERR_INVALID, "%s is given twice", key->name);
	is_given[index] = true;
	rc = config_value_parse(key, equals + 1, config->folder, (char *)peer + key->offset, error);
	return rc < 0 ? error_prefix(error, "%s", key->name) : 0;
}

static int rest_fill(const struct config_section *section, const struct config *config,
	struct config_peer *peer, const bool *is_given, struct error *error)
{
	for (size_t i = 0; i < section->key_count; i++) {
		const struct config_key *key = &section->keys[i];
		int rc = 0;

		if (is_given[i])
			continue;
		if (key->is_required)
			return error_set(error, ERR_INVALID, "%s= is missing", key->name);
		if (key->default_text != NULL)
			rc = config_value_parse(key, key->default_text, config->folder,
				(char *)peer + key->offset, error);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int config_peer_parse(const struct config *config, const char *name, const char *const *words,
	size_t count, struct config_peer **peer_r, struct error *error)
{
	static const struct config_key title_key = { "title", CONFIG_NAME };
	const struct config_section *section = config_section_find("peer");
	bool *is_given = mem_zalloc_array(section->key_count, sizeof(*is_given));
	struct config_peer *peer = mem_zalloc(sizeof(*peer));
	int rc = config_value_parse(&title_key, name, config->folder, &peer->name, error);

	for (size_t i = 0; i < count && rc == 0; i++)
		rc = word_fill(section, config, words[i], peer, is_given, error);
	if (rc == 0)
		rc = rest_fill(section, config, peer, is_given, error);
	if (rc == 0)
		rc = config_peer_check(config, peer, error);
	free(is_given);
	if (rc < 0) {
		config_peer_free(&peer);
		return error_prefix(error, "peer %.64s", name);
	}
	*peer_r = peer;
	return 0;
}

void config_peer_free(struct config_peer **peer)
{
	const struct config_section *section = config_section_find("peer");

	if (*peer == NULL)
		return;
	for (size_t i = 0; i < section->key_count; i++)
		config_value_deinit(&section->keys[i], (char *)*peer + section->keys[i].offset);
	free((*peer)->name);
	free(*peer);
	*peer = NULL;
}
