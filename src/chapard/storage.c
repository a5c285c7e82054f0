#include "chapard/storage.h"

static struct store_options options_of(const struct config *config)
{
	return (struct store_options){
		.path = config->store_path,
		.create = true,
		.compression = (int)config->store_compression,
	};
}

/* Texts of the store name files inside of it, or nothing. */
static int store_prefix(const struct config *config, int rc, struct error *error)
{
	if (error != NULL && error->code == 0)
		error_set(error, rc, "%s", error_name(rc));
	if (error != NULL && strstr(error->text, config->store_path) == NULL)
		error_prefix(error, "store %s", config->store_path);
	return rc;
}

int storage_open(const struct config *config, struct store **store_r, struct error *error)
{
	struct store_options options = options_of(config);
	int rc = store_open(&options, error, store_r);

	return rc < 0 ? store_prefix(config, rc, error) : 0;
}

int storage_rebuild(const struct config *config, bool skips_damage, struct error *error,
	uint64_t *commit_count_r)
{
	struct store_options options = options_of(config);
	int rc;

	options.create = false;
	options.skip_damage = skips_damage;
	rc = store_rebuild(&options, error, commit_count_r);
	return rc < 0 ? store_prefix(config, rc, error) : 0;
}
