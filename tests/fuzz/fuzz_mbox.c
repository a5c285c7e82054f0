/*
 * Files of the mbox family, line by line: the input is taken as a line "From ", as a header, and as
 * a message. What is restored is never longer, and restoring it again takes no field away.
 */
#include "fuzz_check.h"

#include "foreign/mbox_parse.h"

#define INPUT_SIZE_MAX 65536

static bool has_fields(struct bytes text)
{
	struct mbox_header header;
	size_t end = text.len;

	/* Only the header counts; it may have no field left. */
	if (bytes_peek(text) == '\n')
		end = 0;
	for (size_t i = 0; i + 1 < text.len && end == text.len; i++)
		if (text.ptr[i] == '\n' && (text.ptr[i + 1] == '\n' || text.ptr[i + 1] == '\r'))
			end = i + 1;
	mbox_header_parse(bytes_of(text.ptr, end), &header);
	return header.uid != 0 || header.uidvalidity != 0 || header.has_length ||
	       header.is_internal || header.is_seen;
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct bytes in = bytes_of(data, size);
	struct buffer once = { 0 }, again = { 0 };
	struct mbox_header header;
	int64_t date = 0;
	int32_t zone = 0;

	if (size > INPUT_SIZE_MAX)
		return 0;
	if (mbox_from_line(in, &date, &zone)) {
		FUZZ_CHECK(bytes_start_with(in, BYTES_LITERAL("From ")));
		FUZZ_CHECK(zone > -24 * 60 && zone < 24 * 60 && date > -86400);
	}
	mbox_header_parse(in, &header);
	FUZZ_CHECK(header.keywords.len <= in.len);
	mbox_message_restore(in, true, &once);
	FUZZ_CHECK(once.len <= in.len);
	if (bytes_find(in, '\r') == in.len && bytes_peek(in) != '\n')
		FUZZ_CHECK(!has_fields(buffer_bytes(&once)));
	mbox_message_restore(buffer_bytes(&once), false, &again);
	FUZZ_CHECK(bytes_equal(buffer_bytes(&once), buffer_bytes(&again)));
	buffer_deinit(&once);
	buffer_deinit(&again);
	return 0;
}
