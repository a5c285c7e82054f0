/* The input is a message; after it, everything mime_*.h offers is asked about it. */
#include "mail/mime_charset.h"
#include "mail/mime_envelope.h"
#include "mail/mime_html.h"
#include "mail/mime_section.h"
#include "mail/mime_sort.h"
#include "mail/mime_subject.h"
#include "mail/mime_summary.h"
#include "mail/mime_text.h"
#include "mime_invariants.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes input = bytes_of(data, size);
	struct arena *arena = arena_new();
	struct buffer out = { 0 };
	struct mime_section section;
	struct mime_summary summary;
	struct mime_needle needle;
	struct mime_sort sort;
	struct bytes ids = input;
	int64_t seconds;
	int32_t zone;

	mime_invariants_check(input);
	(void)mime_date_parse(input, &seconds, &zone);
	(void)mime_section_parse(input, arena, &section);
	(void)mime_summary_open(input, &summary);
	mime_header_decode(input, &out);
	if (!mime_utf8_is_valid(buffer_bytes(&out)))
		abort();
	buffer_clear(&out);
	if (mime_base_subject(input, &out).is_decoded && !mime_utf8_is_valid(buffer_bytes(&out)))
		abort();
	buffer_clear(&out);
	mime_casemap(input, &out);
	if (!mime_utf8_is_valid(buffer_bytes(&out)))
		abort();
	mime_html_text(input, &out);
	mime_params_decode(input, &out);
	while (mime_message_id_next(&ids, &out))
		;
	(void)mime_sort_open(input, &sort);
	if (mime_needle_init(&needle, input, BYTES_LITERAL("utf-8")) == 0)
		mime_needle_deinit(&needle);
	buffer_deinit(&out);
	arena_free(&arena);
	return 0;
}
