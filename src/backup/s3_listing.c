#include "backup/s3_listing.h"

#include <expat.h>
#include <stdio.h>
#include <stdlib.h>

struct reading {
	XML_Parser parser;
	struct s3_listing *listing;
	s3_key_function *function;
	void *context;
	char text[S3_TEXT_SIZE_MAX + 1], key[S3_TEXT_SIZE_MAX + 1];
	size_t len;
	uint64_t size;
	int rc;
};

static void stop(struct reading *reading, int rc)
{
	reading->rc = rc;
	(void)XML_StopParser(reading->parser, XML_FALSE);
}

static void element_begin(void *context, const XML_Char *name, const XML_Char **attributes)
{
	struct reading *reading = context;

	(void)attributes;
	reading->len = 0;
	reading->text[0] = '\0';
	if (strcmp(name, "Contents") == 0) {
		reading->key[0] = '\0';
		reading->size = 0;
	}
}

static void element_end(void *context, const XML_Char *name)
{
	struct reading *reading = context;
	struct s3_listing *listing = reading->listing;
	int rc = 0;

	if (strcmp(name, "Key") == 0)
		memcpy(reading->key, reading->text, sizeof(reading->key));
	else if (strcmp(name, "Size") == 0)
		reading->size = strtoull(reading->text, NULL, 10);
	else if (strcmp(name, "NextContinuationToken") == 0)
		memcpy(listing->token, reading->text, sizeof(listing->token));
	else if (strcmp(name, "IsTruncated") == 0)
		listing->is_truncated = strcmp(reading->text, "true") == 0;
	else if (strcmp(name, "Code") == 0)
		memcpy(listing->code, reading->text, sizeof(listing->code));
	else if (strcmp(name, "Contents") == 0 && reading->function != NULL)
		rc = reading->function(reading->context, reading->key, reading->size);
	if (rc != 0)
		stop(reading, rc);
}

static void text_take(void *context, const XML_Char *text, int len)
{
	struct reading *reading = context;

	if (reading->len + (size_t)len > S3_TEXT_SIZE_MAX) {
		stop(reading, ERR_INVALID);
		return;
	}
	memcpy(reading->text + reading->len, text, (size_t)len);
	reading->len += (size_t)len;
	reading->text[reading->len] = '\0';
}

int s3_listing_read(
	struct bytes xml, struct s3_listing *listing_r, s3_key_function *function, void *context)
{
	struct reading reading = { .listing = listing_r, .function = function, .context = context };
	bool is_whole;

	*listing_r = (struct s3_listing){ 0 };
	if (xml.len > INT32_MAX)
		return ERR_INVALID;
	reading.parser = XML_ParserCreate(NULL);
	if (reading.parser == NULL)
		return ERR_UNAVAILABLE;
	XML_SetUserData(reading.parser, &reading);
	XML_SetElementHandler(reading.parser, element_begin, element_end);
	XML_SetCharacterDataHandler(reading.parser, text_take);
	is_whole =
		XML_Parse(reading.parser, (const char *)xml.ptr, (int)xml.len, 1) == XML_STATUS_OK;
	XML_ParserFree(reading.parser);
	if (reading.rc != 0)
		return reading.rc;
	return is_whole ? 0 : ERR_INVALID;
}
