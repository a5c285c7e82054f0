/*
 * Any bytes as a bundle, in two ways: as the file itself, of which everything must be found to be
 * damaged unless its guards say otherwise; and as the data of frames that are well guarded (each
 * preceded by its type and two bytes of size), which is what a hostile maker can send. What is
 * found whole must hold together.
 */
#include "fuzz_check.h"
#include "sync/bundle.h"

#include <sys/mman.h>
#include <unistd.h>

static void check_file(const char *path)
{
	static const struct bundle_secret none;
	struct bundle_summary sum = { 0 };
	struct error error = { 0 };
	int rc = bundle_check(path, &none, NULL, NULL, &sum, &error);

	if (rc < 0) {
		FUZZ_CHECK(error.code == rc && error.text[0] != '\0');
		return;
	}
	FUZZ_CHECK(sum.about.node != 0 && sum.changed_count <= sum.account_count);
}

static void as_file(const unsigned char *data, size_t size)
{
	char path[64];
	int fd = memfd_create("bundle", MFD_CLOEXEC);

	FUZZ_CHECK(fd != -1 && write(fd, data, size) == (ssize_t)size);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	check_file(path);
	close(fd);
}

static void as_frames(const unsigned char *data, size_t size)
{
	static const struct bundle_secret none;
	struct bundle_writer *writer;
	struct error error = { 0 };
	char path[64];

	snprintf(path, sizeof(path), "/dev/shm/fuzz-bundle-%d", (int)getpid());
	FUZZ_CHECK(bundle_writer_open(path, &none, &writer, &error) == 0);
	while (size > 3) {
		size_t len = (size_t)data[1] << 8 | data[2];

		len = len < size - 3 ? len : size - 3;
		FUZZ_CHECK(
			bundle_writer_put(writer, data[0], bytes_of(data + 3, len), &error) == 0);
		data += 3 + len;
		size -= 3 + len;
	}
	FUZZ_CHECK(bundle_writer_finish(writer, BYTES_LITERAL("END %(ACCOUNTS 1)"), &error) == 0);
	bundle_writer_free(&writer);
	check_file(path);
	unlink(path);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	as_file(data, size);
	as_frames(data, size);
	return 0;
}
