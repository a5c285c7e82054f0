/*
 * corpus_main: runs a fuzz target over the files of folders, without a fuzzer: each must be taken
 * without a complaint. An empty or missing folder is a failure.
 */
#include "fuzz_check.h"

#include <dirent.h>
#include <string.h>
#include <unistd.h>

#define INPUT_SIZE_MAX (1024 * 1024)

/* Exactly as large as the file, so that the address sanitizer sees a read past the end. */
static unsigned char *file_read(const char *path, size_t *size_r)
{
	FILE *file = fopen(path, "rb");
	unsigned char *whole, *exact;

	if (file == NULL)
		return NULL;
	whole = malloc(INPUT_SIZE_MAX);
	*size_r = fread(whole, 1, INPUT_SIZE_MAX, file);
	fclose(file);
	exact = malloc(*size_r > 0 ? *size_r : 1);
	memcpy(exact, whole, *size_r);
	free(whole);
	return exact;
}

static int file_run(const char *folder, const char *name)
{
	char path[4096];
	unsigned char *data;
	size_t size;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	data = file_read(path, &size);
	if (data == NULL)
		return -1;
	/* The last line tells which input it was if the target ends the process. */
	fprintf(stderr, "%s\n", path);
	LLVMFuzzerTestOneInput(data, size);
	free(data);
	return 0;
}

int main(int argument_count, char **arguments)
{
	unsigned count = 0;

	for (int i = 1; i < argument_count; i++) {
		DIR *folder = opendir(arguments[i]);
		struct dirent *entry;

		if (folder == NULL) {
			perror(arguments[i]);
			return 1;
		}
		while ((entry = readdir(folder)) != NULL) {
			if (entry->d_name[0] == '.')
				continue;
			if (file_run(arguments[i], entry->d_name) < 0) {
				perror(entry->d_name);
				return 1;
			}
			count++;
		}
		closedir(folder);
	}
	printf("%u inputs\n", count);
	return count > 0 ? 0 : 1;
}
