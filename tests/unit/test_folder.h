/*
 * test_folder: folders of tests that are gone when the program ends, also where a test failed and
 * its teardown did not run.
 */
#ifndef CHAPAR_TESTS_TEST_FOLDER_H
#define CHAPAR_TESTS_TEST_FOLDER_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TEST_FOLDER_COUNT_MAX 1000 /* of one program; more are left to the teardowns */

static char test_folders[TEST_FOLDER_COUNT_MAX][64];
static size_t test_folder_count;
static pid_t test_folder_owner; /* a child that ends leaves them to its parent */

static inline void test_folders_remove(void)
{
	for (size_t i = 0; i < test_folder_count && getpid() == test_folder_owner; i++) {
		char command[100];

		if (access(test_folders[i], F_OK) < 0)
			continue;
		snprintf(command, sizeof(command), "rm -rf '%.63s'", test_folders[i]);
		if (system(command) != 0)
			fprintf(stderr, "%s is left\n", test_folders[i]);
	}
}

/* mkdtemp() for `path`, below /tmp. */
static inline char *test_folder_make(char *path)
{
	if (mkdtemp(path) == NULL)
		return NULL;
	if (test_folder_count == 0)
		atexit(test_folders_remove);
	test_folder_owner = getpid();
	if (test_folder_count < TEST_FOLDER_COUNT_MAX)
		snprintf(test_folders[test_folder_count++], sizeof(test_folders[0]), "%s", path);
	return path;
}

#endif
