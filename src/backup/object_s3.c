/*
 * A backup in a bucket of an S3 server. libcurl signs the requests (AWS Signature Version 4) and
 * carries them; who we are, and where the server is, is told by the variables that all S3 programs
 * read. Requests that fail for a while are tried again.
 */
#include "backup/object_store.h"

#include "backup/s3_listing.h"
#include "base/hash.h"
#include "base/mem.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CONNECT_TIMEOUT_S 20L
#define STALL_S 120L /* without a byte moved */
#define TRY_COUNT 5
#define REGION_DEFAULT "us-east-1"
#define LIST_SIZE_MAX (16u * 1024 * 1024) /* bytes of one page */

struct object_s3 {
	struct object_store base;
	CURL *curl;
	struct buffer url;       /* of the bucket */
	struct buffer prefix;    /* of our names in it, with the slash at its end, or empty */
	struct buffer signature; /* provider, region and service */
	struct buffer login;     /* key id and secret */
	char *token;             /* of a session, or NULL */
};

struct request {
	const char *method;
	struct buffer url;
	struct bytes body;
	uint64_t offset, size; /* of a range; size 0: none */
	size_t answer_max;
	struct buffer *answer;
	size_t answer_begin;
	long status;
};

/* ---- one request ---- */

static size_t answer_take(char *data, size_t size, size_t count, void *context)
{
	struct request *request = context;

	if (request->answer->len - request->answer_begin + size * count > request->answer_max)
		return 0;
	buffer_append(request->answer, data, size * count);
	return size * count;
}

static void sum_header(struct bytes body, struct buffer *header)
{
	struct guid sum;

	guid_of(body, &sum);
	buffer_append_string(header, "x-amz-content-sha256: ");
	for (size_t i = 0; i < sizeof(sum.bytes); i++)
		buffer_printf(header, "%02x", sum.bytes[i]);
}

/* All of these are signed, so none may be here that is not sent (as "Expect:", to take it out). */
static struct curl_slist *headers_make(const struct object_s3 *s3, const struct request *request)
{
	struct curl_slist *headers = NULL;
	struct buffer text = { 0 };

	sum_header(request->body, &text);
	headers = curl_slist_append(headers, buffer_string(&text));
	headers = curl_slist_append(headers, "Content-Type: application/octet-stream");
	if (s3->token != NULL) {
		buffer_clear(&text);
		buffer_printf(&text, "x-amz-security-token: %s", s3->token);
		headers = curl_slist_append(headers, buffer_string(&text));
	}
	buffer_deinit(&text);
	return headers;
}

static CURLcode request_run(struct object_s3 *s3, struct request *request)
{
	struct curl_slist *headers = headers_make(s3, request);
	CURL *curl = s3->curl;
	char range[64];
	CURLcode code;

	curl_easy_reset(curl); /* connections stay */
	curl_easy_setopt(curl, CURLOPT_URL, buffer_string(&request->url));
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, CONNECT_TIMEOUT_S);
	curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
	curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, STALL_S);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, answer_take);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, request);
	curl_easy_setopt(curl, CURLOPT_AWS_SIGV4, buffer_string(&s3->signature));
	curl_easy_setopt(curl, CURLOPT_USERPWD, buffer_string(&s3->login));
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	if (strcmp(request->method, "PUT") == 0) {
		curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.len);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS,
			request->body.len > 0 ? (const char *)request->body.ptr : "");
	}
	if (request->size > 0) {
		snprintf(range, sizeof(range), "%llu-%llu", (unsigned long long)request->offset,
			(unsigned long long)(request->offset + request->size - 1));
		curl_easy_setopt(curl, CURLOPT_RANGE, range);
	}
	code = curl_easy_perform(curl);
	request->status = 0;
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &request->status);
	curl_slist_free_all(headers);
	return code;
}

static bool is_passing(CURLcode code, long status)
{
	return code == CURLE_COULDNT_CONNECT || code == CURLE_OPERATION_TIMEDOUT ||
	       code == CURLE_SEND_ERROR || code == CURLE_RECV_ERROR || code == CURLE_GOT_NOTHING ||
	       code == CURLE_PARTIAL_FILE || status == 429 || status >= 500;
}

static int answer_judge(struct request *request, CURLcode code, struct error *error)
{
	struct bytes text = bytes_of(request->answer->data + request->answer_begin,
		request->answer->len - request->answer_begin);
	struct s3_listing told = { 0 };

	if (code == CURLE_WRITE_ERROR)
		return error_set(error, ERR_TOO_LARGE, "the S3 server answers with too much");
	if (code != CURLE_OK)
		return error_set(
			error, ERR_UNAVAILABLE, "the S3 server: %s", curl_easy_strerror(code));
	if (request->status >= 200 && request->status < 300)
		return 0;
	if (request->answer->data != NULL)
		(void)s3_listing_read(text, &told, NULL, NULL);
	return error_set(error,
		request->status == 404                             ? ERR_NOT_FOUND
		: request->status == 403 || request->status == 401 ? ERR_REFUSED
		: request->status == 416                           ? ERR_CORRUPT
								   : ERR_UNAVAILABLE,
		"the S3 server answers %ld %.100s", request->status, told.code);
}

/* Appends the answer, of whatever status, to request->answer; only a good one stays there. */
static int request_ask(struct object_s3 *s3, struct request *request, struct error *error)
{
	CURLcode code = CURLE_OK;
	int rc;

	request->answer_begin = request->answer->len;
	for (unsigned i = 0; i < TRY_COUNT; i++) {
		if (i > 0)
			usleep((200u << i) * 1000u);
		buffer_truncate(request->answer, request->answer_begin);
		code = request_run(s3, request);
		if (!is_passing(code, request->status))
			break;
	}
	rc = answer_judge(request, code, error);
	if (rc < 0)
		buffer_truncate(request->answer, request->answer_begin);
	buffer_deinit(&request->url);
	return rc;
}

static void url_of(const struct object_s3 *s3, const char *name, struct buffer *url)
{
	buffer_append_bytes(url, buffer_bytes(&s3->url));
	buffer_printf(url, "/%s%s", buffer_string(&s3->prefix), name);
}

/* ---- what an object store does ---- */

static int s3_put(
	struct object_store *store, const char *name, struct bytes data, struct error *error)
{
	struct object_s3 *s3 = (struct object_s3 *)store;
	struct buffer answer = { 0 };
	struct request request = {
		.method = "PUT", .body = data, .answer = &answer, .answer_max = LIST_SIZE_MAX
	};
	int rc;

	url_of(s3, name, &request.url);
	rc = request_ask(s3, &request, error);
	buffer_deinit(&answer);
	return rc;
}

/* A server that does not know ranges sends all. */
static void range_cut(const struct request *request)
{
	struct buffer *answer = request->answer;
	size_t len = answer->len - request->answer_begin;
	size_t offset = request->offset < len ? (size_t)request->offset : len;
	size_t size = request->size < len - offset ? (size_t)request->size : len - offset;

	if (request->size == 0 || request->status != 200)
		return;
	memmove(answer->data + request->answer_begin, answer->data + request->answer_begin + offset,
		size);
	buffer_truncate(answer, request->answer_begin + size);
}

static int s3_get(struct object_store *store, const char *name, uint64_t offset, uint64_t size,
	struct buffer *out, struct error *error)
{
	struct object_s3 *s3 = (struct object_s3 *)store;
	struct request request = { .method = "GET",
		.offset = offset,
		.size = size,
		.answer = out,
		.answer_max = OBJECT_SIZE_MAX };
	int rc;

	url_of(s3, name, &request.url);
	rc = request_ask(s3, &request, error);
	if (rc == 0)
		range_cut(&request);
	return rc < 0 ? error_prefix(error, "%s", name) : 0;
}

static int s3_remove(struct object_store *store, const char *name, struct error *error)
{
	struct object_s3 *s3 = (struct object_s3 *)store;
	struct buffer answer = { 0 };
	struct request request = {
		.method = "DELETE", .answer = &answer, .answer_max = LIST_SIZE_MAX
	};
	int rc;

	url_of(s3, name, &request.url);
	rc = request_ask(s3, &request, error);
	buffer_deinit(&answer);
	if (rc == ERR_NOT_FOUND) {
		*error = (struct error){ 0 };
		rc = 0;
	}
	return rc;
}

struct listing {
	const struct object_s3 *s3;
	object_function *function;
	void *context;
};

static int key_tell(void *context, const char *key, uint64_t size)
{
	const struct listing *listing = context;
	size_t len = listing->s3->prefix.len;

	if (strncmp(key, buffer_string(&listing->s3->prefix), len) != 0 ||
		!object_name_is_valid(key + len))
		return 0;
	return listing->function(listing->context, key + len, size);
}

/* As a value in the query, in the one form that is signed. */
static void value_encode(struct buffer *out, const char *text)
{
	for (; *text != '\0'; text++)
		if ((*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z') ||
			(*text >= '0' && *text <= '9') || strchr("-._~", *text) != NULL)
			buffer_append_byte(out, *text);
		else
			buffer_printf(out, "%%%02X", (unsigned char)*text);
}

static int s3_list(struct object_store *store, const char *folder, object_function *function,
	void *context, struct error *error)
{
	struct object_s3 *s3 = (struct object_s3 *)store;
	struct listing listing = { s3, function, context };
	struct s3_listing page = { 0 };
	struct buffer answer = { 0 };
	int rc;

	do {
		struct request request = {
			.method = "GET", .answer = &answer, .answer_max = LIST_SIZE_MAX
		};

		buffer_clear(&answer);
		buffer_append_bytes(&request.url, buffer_bytes(&s3->url));
		buffer_append_string(&request.url, "?");
		if (page.token[0] != '\0') {
			buffer_append_string(&request.url, "continuation-token=");
			value_encode(&request.url, page.token);
			buffer_append_string(&request.url, "&");
		}
		buffer_append_string(&request.url, "list-type=2&prefix=");
		value_encode(&request.url, buffer_string(&s3->prefix));
		value_encode(&request.url, folder);
		value_encode(&request.url, "/");
		rc = request_ask(s3, &request, error);
		if (rc == 0)
			rc = s3_listing_read(buffer_bytes(&answer), &page, key_tell, &listing);
		if (rc == ERR_INVALID && error->code == 0)
			error_set(error, rc, "the S3 server gives a listing that is no XML");
	} while (rc == 0 && page.is_truncated && page.token[0] != '\0');
	buffer_deinit(&answer);
	return rc;
}

static void s3_close(struct object_store *store)
{
	struct object_s3 *s3 = (struct object_s3 *)store;

	if (s3->curl != NULL)
		curl_easy_cleanup(s3->curl);
	if (s3->login.data != NULL)
		explicit_bzero(s3->login.data, s3->login.room);
	buffer_deinit(&s3->url);
	buffer_deinit(&s3->prefix);
	buffer_deinit(&s3->signature);
	buffer_deinit(&s3->login);
	free(s3->token);
	free(s3);
	curl_global_cleanup();
}

static const struct object_store_functions functions = { s3_put, s3_get, s3_list, s3_remove, NULL,
	s3_close };

/* ---- where it is, and who we are ---- */

static const char *variable(const char *name, const char *other)
{
	const char *value = getenv(name);

	if ((value == NULL || value[0] == '\0') && other != NULL)
		value = getenv(other);
	return value != NULL && value[0] != '\0' ? value : NULL;
}

static bool is_bucket_name(struct bytes text)
{
	for (size_t i = 0; i < text.len; i++)
		if (strchr("abcdefghijklmnopqrstuvwxyz0123456789.-", text.ptr[i]) == NULL)
			return false;
	return text.len >= 3 && text.len <= 63;
}

static bool is_prefix(struct bytes text)
{
	for (size_t i = 0; i < text.len; i++) {
		int byte = text.ptr[i];

		if (!((byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
			    (byte >= '0' && byte <= '9') ||
			    (i > 0 && strchr("-._/", byte) != NULL)))
			return false;
	}
	return true;
}

static int url_parse(struct object_s3 *s3, const char *url, struct error *error)
{
	const char *region = variable("AWS_REGION", "AWS_DEFAULT_REGION");
	const char *endpoint = variable("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL");
	struct bytes rest = bytes_of_string(url + strlen("s3://"));
	struct bytes bucket = bytes_take(&rest, bytes_find(rest, '/'));

	region = region != NULL ? region : REGION_DEFAULT;
	if (rest.len > 0)
		bytes_skip(&rest, 1);
	while (rest.len > 0 && rest.ptr[rest.len - 1] == '/')
		rest.len--;
	if (!is_bucket_name(bucket) || !is_prefix(rest))
		return error_set(
			error, ERR_INVALID, "%.100s: not of the form s3://BUCKET/PREFIX", url);
	if (endpoint != NULL)
		buffer_append_string(&s3->url, endpoint);
	else
		buffer_printf(&s3->url, "https://s3.%s.amazonaws.com", region);
	while (s3->url.len > 0 && s3->url.data[s3->url.len - 1] == '/')
		buffer_truncate(&s3->url, s3->url.len - 1);
	buffer_append_byte(&s3->url, '/');
	buffer_append_bytes(&s3->url, bucket);
	if (rest.len > 0) {
		buffer_append_bytes(&s3->prefix, rest);
		buffer_append_byte(&s3->prefix, '/');
	}
	buffer_printf(&s3->signature, "aws:amz:%s:s3", region);
	return 0;
}

static int login_take(struct object_s3 *s3, struct error *error)
{
	const char *id = variable("AWS_ACCESS_KEY_ID", NULL);
	const char *secret = variable("AWS_SECRET_ACCESS_KEY", NULL);
	const char *token = variable("AWS_SESSION_TOKEN", NULL);

	if (id == NULL || secret == NULL)
		return error_set(error, ERR_INVALID,
			"AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY must be set for an S3 server");
	buffer_printf(&s3->login, "%s:%s", id, secret);
	s3->token = token != NULL ? mem_strdup(token) : NULL;
	return 0;
}

int object_s3_open(const char *url, struct object_store **store_r, struct error *error)
{
	struct object_s3 *s3 = mem_zalloc(sizeof(*s3));
	int rc;

	curl_global_init(CURL_GLOBAL_DEFAULT);
	s3->base.functions = &functions;
	s3->curl = curl_easy_init();
	rc = s3->curl == NULL ? error_set(error, ERR_UNAVAILABLE, "libcurl does not start") : 0;
	if (rc == 0)
		rc = url_parse(s3, url, error);
	if (rc == 0)
		rc = login_take(s3, error);
	if (rc < 0)
		s3_close(&s3->base);
	else
		*store_r = &s3->base;
	return rc;
}
