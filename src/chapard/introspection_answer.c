#include "chapard/introspection_answer.h"

#include <jansson.h>

/* Whether `list`, words separated by blanks, has the word. */
static bool has_word(const char *list, struct bytes word)
{
	while (*list != '\0') {
		size_t len = strcspn(list, " ");

		if (len > 0 && bytes_equal(bytes_of(list, len), word))
			return true;
		list += len + (list[len] == ' ');
	}
	return false;
}

static int scope_check(const json_t *answer, const char *wanted, struct error *error)
{
	const char *given = json_string_value(json_object_get(answer, "scope"));

	while (wanted != NULL && *wanted != '\0') {
		size_t len = strcspn(wanted, " ");

		if (len > 0 && (given == NULL || !has_word(given, bytes_of(wanted, len))))
			return error_set(error, ERR_REFUSED, "the token lacks scope %.*s",
				len > 64 ? 64 : (int)len, wanted);
		wanted += len + (wanted[len] == ' ');
	}
	return 0;
}

static bool is_string(const json_t *value, const char *wanted)
{
	return json_is_string(value) && json_string_length(value) == strlen(wanted) &&
	       strcmp(json_string_value(value), wanted) == 0;
}

/* RFC 7519, section 4.1.3: one string, or an array of them. */
static int audience_check(const json_t *answer, const char *wanted, struct error *error)
{
	const json_t *given = json_object_get(answer, "aud");

	if (wanted == NULL || is_string(given, wanted))
		return 0;
	for (size_t i = 0; i < json_array_size(given); i++)
		if (is_string(json_array_get(given, i), wanted))
			return 0;
	return error_set(error, ERR_REFUSED, "the token is not meant for us");
}

/* Seconds since 1970, perhaps with a fraction; `none` if the claim is not there. */
static int time_get(const json_t *answer, const char *claim, uint64_t none, uint64_t *time_r,
	struct error *error)
{
	const json_t *value = json_object_get(answer, claim);
	double seconds;

	*time_r = none;
	if (value == NULL)
		return 0;
	seconds = json_number_value(value);
	if (!json_is_number(value) || !(seconds >= 0 && seconds < 1e15))
		return error_set(error, ERR_INVALID, "bad claim %s", claim);
	*time_r = (uint64_t)seconds;
	return 0;
}

static int times_check(
	const json_t *answer, uint64_t now_s, uint64_t *until_s_r, struct error *error)
{
	uint64_t begin_s = 0;
	int rc = time_get(answer, "exp", UINT64_MAX, until_s_r, error);

	if (rc == 0)
		rc = time_get(answer, "nbf", 0, &begin_s, error);
	if (rc < 0)
		return rc;
	if (*until_s_r <= now_s)
		return error_set(error, ERR_REFUSED, "the token has expired");
	if (begin_s > now_s)
		return error_set(error, ERR_REFUSED, "the token is not valid yet");
	return 0;
}

static int name_get(
	const json_t *answer, const char *claim, struct buffer *name, struct error *error)
{
	const json_t *value = json_object_get(answer, claim);
	size_t len = json_string_length(value);

	if (!json_is_string(value) || len == 0 || len > INTROSPECTION_NAME_SIZE_MAX ||
		memchr(json_string_value(value), '\0', len) != NULL)
		return error_set(error, ERR_REFUSED, "the token has no %.64s", claim);
	buffer_append(name, json_string_value(value), len);
	return 0;
}

static int answer_judge(const json_t *answer, const struct introspection_rules *rules,
	uint64_t now_s, struct buffer *name, uint64_t *until_s_r, struct error *error)
{
	const json_t *active = json_object_get(answer, "active");
	int rc;

	if (!json_is_boolean(active))
		return error_set(error, ERR_INVALID, "the answer does not tell \"active\"");
	if (!json_is_true(active))
		return error_set(error, ERR_REFUSED, "the token is not active");
	rc = times_check(answer, now_s, until_s_r, error);
	if (rc == 0)
		rc = scope_check(answer, rules->scope, error);
	if (rc == 0)
		rc = audience_check(answer, rules->audience, error);
	return rc < 0 ? rc : name_get(answer, rules->name_claim, name, error);
}

int introspection_answer(struct bytes json, const struct introspection_rules *rules, uint64_t now_s,
	struct buffer *name, uint64_t *until_s_r, struct error *error)
{
	json_error_t problem;
	json_t *answer;
	int rc;

	if (json.len > INTROSPECTION_ANSWER_SIZE_MAX)
		return error_set(error, ERR_INVALID, "the answer is too long");
	/* A member given twice might be read otherwise by others. */
	answer = json_loadb((const char *)json.ptr, json.len, JSON_REJECT_DUPLICATES, &problem);
	if (!json_is_object(answer))
		rc = error_set(error, ERR_INVALID, "the answer is no JSON object");
	else
		rc = answer_judge(answer, rules, now_s, name, until_s_r, error);
	json_decref(answer);
	return rc;
}
