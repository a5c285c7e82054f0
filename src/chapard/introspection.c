#include "chapard/introspection.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/pack.h"
#include "base/random.h"
#include "mail/password.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define PLACE_COUNT 4096u
#define STATUS_OK 200

/* A token that was good. The token itself is not kept, only a MAC of it under a key of our own. */
struct place {
	unsigned char mac[SCRAM_KEY_SIZE];
	uint64_t until_ms; /* monotonic; 0: empty */
	char *name;
};

struct introspection {
	char *url, *client_id, *client_secret, *ca_path, *scope, *audience, *name_claim;
	uint64_t cache_ms;
	struct introspection_rules rules;
	atomic_uint call_count; /* questions being asked now */
	unsigned char key[SCRAM_KEY_SIZE];
	pthread_mutex_t mutex; /* for the places */
	struct place places[PLACE_COUNT];
};

static char *string_copy(const char *text)
{
	return text != NULL ? mem_strdup(text) : NULL;
}

struct introspection *introspection_new(const struct introspection_options *options)
{
	struct introspection *introspection = mem_zalloc(sizeof(*introspection));

	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		abort(); /* memory is out: see base/mem.h */
	introspection->url = mem_strdup(options->url);
	introspection->client_id = string_copy(options->client_id);
	introspection->client_secret = string_copy(options->client_secret);
	introspection->ca_path = string_copy(options->ca_path);
	introspection->scope = string_copy(options->rules.scope);
	introspection->audience = string_copy(options->rules.audience);
	introspection->name_claim = mem_strdup(options->rules.name_claim);
	introspection->rules = (struct introspection_rules){ introspection->scope,
		introspection->audience, introspection->name_claim };
	introspection->cache_ms = options->cache_s * 1000ull;
	random_bytes(introspection->key, sizeof(introspection->key));
	pthread_mutex_init(&introspection->mutex, NULL);
	return introspection;
}

void introspection_free(struct introspection **introspection)
{
	struct introspection *old = *introspection;

	*introspection = NULL;
	if (old == NULL)
		return;
	for (size_t i = 0; i < PLACE_COUNT; i++)
		free(old->places[i].name);
	pthread_mutex_destroy(&old->mutex);
	if (old->client_secret != NULL)
		explicit_bzero(old->client_secret, strlen(old->client_secret));
	free(old->url);
	free(old->client_id);
	free(old->client_secret);
	free(old->ca_path);
	free(old->scope);
	free(old->audience);
	free(old->name_claim);
	free(old);
	curl_global_cleanup();
}

/* ---- What is remembered ---- */

static struct place *place_of(struct introspection *introspection, struct bytes token,
	unsigned char mac_r[SCRAM_KEY_SIZE])
{
	password_hmac(bytes_of(introspection->key, sizeof(introspection->key)), token, mac_r);
	return &introspection->places[get_u64(mac_r) % PLACE_COUNT];
}

static bool recall(struct introspection *introspection, struct bytes token, struct buffer *name)
{
	unsigned char mac[SCRAM_KEY_SIZE];
	struct place *place = place_of(introspection, token, mac);
	bool is_found;

	pthread_mutex_lock(&introspection->mutex);
	is_found =
		place->until_ms > clock_monotonic_ms() && memcmp(place->mac, mac, sizeof(mac)) == 0;
	if (is_found)
		buffer_append_string(name, place->name);
	pthread_mutex_unlock(&introspection->mutex);
	return is_found;
}

/* `life_s`: how long the token is still good. */
static void remember(
	struct introspection *introspection, struct bytes token, const char *name, uint64_t life_s)
{
	unsigned char mac[SCRAM_KEY_SIZE];
	struct place *place = place_of(introspection, token, mac);
	uint64_t life_ms = introspection->cache_ms;

	if (life_s < life_ms / 1000)
		life_ms = life_s * 1000;
	if (life_ms == 0)
		return;
	pthread_mutex_lock(&introspection->mutex);
	free(place->name);
	place->name = mem_strdup(name);
	memcpy(place->mac, mac, sizeof(mac));
	place->until_ms = clock_monotonic_ms() + life_ms;
	pthread_mutex_unlock(&introspection->mutex);
}

/* ---- Asking ---- */

static size_t body_take(char *data, size_t size, size_t count, void *context)
{
	struct buffer *body = context;

	if (body->len + size * count > INTROSPECTION_ANSWER_SIZE_MAX)
		return 0; /* ends the transfer with an error */
	buffer_append(body, data, size * count);
	return size * count;
}

/* Appends `text` as application/x-www-form-urlencoded has it. */
static void form_write(struct buffer *out, struct bytes text)
{
	static const char plain[] = "-._~";

	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = text.ptr[i], letter = c | 0x20;

		if ((c >= '0' && c <= '9') || (letter >= 'a' && letter <= 'z') ||
			(c != '\0' && strchr(plain, c) != NULL))
			buffer_append_byte(out, c);
		else
			buffer_printf(out, "%%%02X", c);
	}
}

/* RFC 6749, section 2.3.1: both are form-encoded before they become user and password. */
static void client_set(const struct introspection *introspection, CURL *curl)
{
	struct buffer id = { 0 }, secret = { 0 };

	if (introspection->client_id == NULL)
		return;
	form_write(&id, bytes_of_string(introspection->client_id));
	form_write(&secret,
		bytes_of_string(
			introspection->client_secret != NULL ? introspection->client_secret : ""));
	curl_easy_setopt(curl, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
	curl_easy_setopt(curl, CURLOPT_USERNAME, buffer_string(&id));
	curl_easy_setopt(curl, CURLOPT_PASSWORD, buffer_string(&secret));
	if (secret.data != NULL)
		explicit_bzero(secret.data, secret.room);
	buffer_deinit(&id);
	buffer_deinit(&secret);
}

/* `form` and `body` stay the caller's and must outlive the transfer. */
static void transfer_set(const struct introspection *introspection, CURL *curl,
	const struct buffer *form, struct curl_slist *headers, struct buffer *body)
{
	curl_easy_setopt(curl, CURLOPT_URL, introspection->url);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)INTROSPECTION_TIMEOUT_MS);
	curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, buffer_string(form));
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, body_take);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, body);
	if (introspection->ca_path != NULL)
		curl_easy_setopt(curl, CURLOPT_CAINFO, introspection->ca_path);
	client_set(introspection, curl);
}

static int transfer_run(CURL *curl, struct error *error)
{
	CURLcode code = curl_easy_perform(curl);
	long status = 0;

	if (code != CURLE_OK)
		return error_set(error, ERR_UNAVAILABLE, "%s", curl_easy_strerror(code));
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	if (status != STATUS_OK)
		return error_set(error, ERR_UNAVAILABLE, "the answer has status %ld", status);
	return 0;
}

static int fetch(const struct introspection *introspection, struct bytes token, struct buffer *body,
	struct error *error)
{
	struct curl_slist *headers = curl_slist_append(NULL, "Accept: application/json");
	struct buffer form = { 0 };
	CURL *curl = curl_easy_init();
	int rc;

	if (curl == NULL || headers == NULL)
		abort(); /* memory is out */
	buffer_append_string(&form, "token=");
	form_write(&form, token);
	buffer_append_string(&form, "&token_type_hint=access_token");
	transfer_set(introspection, curl, &form, headers, body);
	rc = transfer_run(curl, error);
	curl_easy_cleanup(curl);
	curl_slist_free_all(headers);
	explicit_bzero(form.data, form.room);
	buffer_deinit(&form);
	return rc;
}

static int ask(struct introspection *introspection, struct bytes token, struct buffer *name,
	struct error *error)
{
	uint64_t now_s = clock_now_ms(clock_system()) / 1000, until_s;
	struct buffer body = { 0 };
	int rc = fetch(introspection, token, &body, error);

	if (rc == 0)
		rc = introspection_answer(
			buffer_bytes(&body), &introspection->rules, now_s, name, &until_s, error);
	if (rc == 0)
		remember(introspection, token, buffer_string(name), until_s - now_s);
	buffer_deinit(&body);
	return rc;
}

int introspection_check(
	struct introspection *introspection, struct bytes token, struct buffer *name)
{
	struct buffer found = { 0 };
	struct error error = { 0 };
	int rc = 0;

	if (recall(introspection, token, name))
		return 0;
	if (atomic_fetch_add(&introspection->call_count, 1) >= INTROSPECTION_CALL_MAX)
		rc = error_set(&error, ERR_UNAVAILABLE, "too many questions are open already");
	if (rc == 0)
		rc = ask(introspection, token, &found, &error);
	atomic_fetch_sub(&introspection->call_count, 1);
	if (rc == 0)
		buffer_append_bytes(name, buffer_bytes(&found));
	else
		log_event(rc == ERR_REFUSED ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING, "token-refused",
			"error", error_name(rc), "reason", error.text, NULL);
	buffer_deinit(&found);
	return rc == 0 || rc == ERR_REFUSED ? rc : ERR_UNAVAILABLE;
}
