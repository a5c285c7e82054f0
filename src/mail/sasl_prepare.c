#include "mail/sasl_prepare.h"

#include "base/error.h"
#include "mail/mime_charset.h"

#include <openssl/crypto.h>
#include <unicode/usprep.h>
#include <unicode/ustring.h>

/* Normalisation can lengthen: of all characters U+FDFA most, to 18. */
#define UNITS_MAX (SASL_PREPARE_SIZE_MAX * 6)

/* SASLprep leaves printable ASCII alone. */
static bool is_plain(struct bytes in)
{
	for (size_t i = 0; i < in.len; i++)
		if (in.ptr[i] < 0x20 || in.ptr[i] > 0x7e)
			return false;
	return true;
}

/* From `wide` to *out; the buffers are the caller's, who wipes them. */
static int profile_apply(const UChar *wide, int32_t wide_len, UChar *done, struct buffer *out)
{
	UErrorCode status = U_ZERO_ERROR;
	UStringPrepProfile *profile = usprep_openByType(USPREP_RFC4013_SASLPREP, &status);
	int32_t done_len, len = 0;

	if (U_FAILURE(status))
		return ERR_INVALID;
	done_len = usprep_prepare(
		profile, wide, wide_len, done, UNITS_MAX, USPREP_ALLOW_UNASSIGNED, NULL, &status);
	usprep_close(profile);
	if (U_FAILURE(status) || done_len == 0)
		return ERR_INVALID;
	buffer_reserve(out, (size_t)done_len * 3);
	u_strToUTF8((char *)out->data + out->len, done_len * 3, &len, done, done_len, &status);
	if (U_FAILURE(status))
		return ERR_INVALID;
	out->len += (size_t)len;
	return 0;
}

int sasl_prepare(struct bytes in, struct buffer *out)
{
	UChar wide[SASL_PREPARE_SIZE_MAX], done[UNITS_MAX];
	UErrorCode status = U_ZERO_ERROR;
	int32_t wide_len = 0;
	int rc;

	if (in.len == 0 || in.len > SASL_PREPARE_SIZE_MAX)
		return ERR_INVALID;
	if (is_plain(in)) {
		buffer_append_bytes(out, in);
		return 0;
	}
	if (!mime_utf8_is_valid(in))
		return ERR_INVALID;
	u_strFromUTF8(wide, SASL_PREPARE_SIZE_MAX, &wide_len, (const char *)in.ptr, (int32_t)in.len,
		&status);
	if (U_FAILURE(status))
		return ERR_INVALID;
	rc = profile_apply(wide, wide_len, done, out);
	OPENSSL_cleanse(wide, sizeof(wide));
	OPENSSL_cleanse(done, sizeof(done));
	return rc;
}
