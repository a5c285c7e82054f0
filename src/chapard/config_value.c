/*
 * config_value: the values of configuration keys, one function for each type. Texts come from the
 * file, so all are checked for form and bounds here and nowhere else.
 */
#include "base/encode.h"
#include "base/mem.h"
#include "chapard/config_private.h"
#include "sync/account_filter.h"

#include <ctype.h>
#include <stdlib.h>

#define NUMBER_SIZE_MAX 20 /* bytes of a number's text */

static int name_check(const char *text, struct error *error)
{
	size_t len = strlen(text);

	if (len == 0 || len > CONFIG_NAME_SIZE_MAX)
		return error_set(
			error, ERR_INVALID, "a name has 1 to %d characters", CONFIG_NAME_SIZE_MAX);
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)text[i]) && strchr(".-_", text[i]) == NULL)
			return error_set(error, ERR_INVALID,
				"a name has letters, digits, '.', '-' and '_' only");
	return 0;
}

static int string_check(const char *text, size_t size_max, struct error *error)
{
	size_t len = strlen(text);

	if (len == 0)
		return error_set(error, ERR_INVALID, "must not be empty");
	if (len > size_max)
		return error_set(error, ERR_INVALID, "is longer than %zu bytes", size_max);
	for (size_t i = 0; i < len; i++)
		if (iscntrl((unsigned char)text[i]))
			return error_set(error, ERR_INVALID, "holds a control character");
	return 0;
}

static void string_store(void *field, const char *text)
{
	if (field != NULL)
		*(char **)field = mem_strdup(text);
}

static char *path_absolute(const char *text, const char *folder)
{
	struct buffer path = { 0 };
	char *copy;

	if (text[0] != '/')
		buffer_printf(&path, "%s/", folder);
	buffer_append_string(&path, text);
	copy = mem_strdup(buffer_string(&path));
	buffer_deinit(&path);
	return copy;
}

static int path_parse(const char *text, const char *folder, void *field, struct error *error)
{
	int rc = string_check(text, CONFIG_PATH_SIZE_MAX, error);

	if (rc == 0 && field != NULL)
		*(char **)field = path_absolute(text, folder);
	return rc;
}

static uint64_t unit_factor(char unit)
{
	switch (unit) {
	case '\0':
		return 1;
	case 'K':
		return UINT64_C(1) << 10;
	case 'M':
		return UINT64_C(1) << 20;
	case 'G':
		return UINT64_C(1) << 30;
	default:
		return 0;
	}
}

static int number_parse(
	const struct config_key *key, const char *text, void *field, struct error *error)
{
	size_t digits = strspn(text, "0123456789");
	uint64_t factor =
		text[digits] == '\0' || text[digits + 1] == '\0' ? unit_factor(text[digits]) : 0;
	uint64_t number = 0;

	if (digits == 0 || strlen(text) > NUMBER_SIZE_MAX || factor == 0)
		return error_set(error, ERR_INVALID, "\"%.40s\" is not a number", text);
	for (size_t i = 0; i < digits; i++) {
		uint64_t digit = (uint64_t)(text[i] - '0');

		if (number > (UINT64_MAX - digit) / 10)
			return error_set(error, ERR_INVALID, "\"%.40s\" is too large", text);
		number = number * 10 + digit;
	}
	if (number > key->maximum / factor || number * factor < key->minimum)
		return error_set(error, ERR_INVALID, "\"%.40s\" is not between %llu and %llu", text,
			(unsigned long long)key->minimum, (unsigned long long)key->maximum);
	if (field != NULL)
		*(uint64_t *)field = number * factor;
	return 0;
}

static int bool_parse(const char *text, void *field, struct error *error)
{
	bool is_true = strcmp(text, "true") == 0;

	if (!is_true && strcmp(text, "false") != 0)
		return error_set(error, ERR_INVALID, "\"%.40s\" is neither true nor false", text);
	if (field != NULL)
		*(bool *)field = is_true;
	return 0;
}

static int choice_parse(
	const struct config_key *key, const char *text, void *field, struct error *error)
{
	const char *choice = key->choices;

	for (int index = 0; *choice != '\0'; index++) {
		size_t len = strcspn(choice, "|");

		if (strlen(text) == len && strncmp(choice, text, len) == 0) {
			if (field != NULL)
				*(int *)field = index;
			return 0;
		}
		choice += len + (choice[len] == '|');
	}
	return error_set(error, ERR_INVALID, "\"%.40s\" is none of %s", text, key->choices);
}

static int port_parse(const char *text, uint16_t *port_r, struct error *error)
{
	static const struct config_key port_key = { "port", CONFIG_NUMBER, .maximum = UINT16_MAX };
	uint64_t port;
	int rc = number_parse(&port_key, text, &port, error);

	if (rc == 0)
		*port_r = (uint16_t)port;
	return rc;
}

/* Splits "HOST:PORT" and "[IPV6]:PORT". */
static int host_parse(const char *text, struct config_address *address_r, struct error *error)
{
	const char *colon = strrchr(text, ':');
	size_t host_len = colon == NULL ? 0 : (size_t)(colon - text);
	int rc;

	if (host_len == 0)
		return error_set(
			error, ERR_INVALID, "\"%.100s\" is neither HOST:PORT nor unix:PATH", text);
	rc = port_parse(colon + 1, &address_r->port, error);
	if (rc < 0)
		return rc;
	if (text[0] == '[' && text[host_len - 1] == ']' && host_len > 2) {
		text++;
		host_len -= 2;
	} else if (memchr(text, ':', host_len) != NULL || text[0] == '[') {
		return error_set(
			error, ERR_INVALID, "an IPv6 address is written as [ADDRESS]:PORT");
	}
	address_r->host = mem_dup(text, host_len + 1);
	address_r->host[host_len] = '\0';
	return 0;
}

static void address_deinit(struct config_address *address)
{
	free(address->text);
	free(address->host);
	free(address->path);
	*address = (struct config_address){ 0 };
}

static int address_parse(const char *text, const char *folder, void *field, struct error *error)
{
	struct config_address address = { 0 };
	int rc = string_check(text, CONFIG_PATH_SIZE_MAX, error);

	if (rc == 0 && strncmp(text, "unix:", 5) == 0) {
		address.path = path_absolute(text + 5, folder);
		if (text[5] == '\0' || strlen(address.path) > CONFIG_SOCKET_PATH_SIZE_MAX)
			rc = error_set(error, ERR_INVALID, "the path of a socket has 1 to %d bytes",
				CONFIG_SOCKET_PATH_SIZE_MAX);
	} else if (rc == 0) {
		rc = host_parse(text, &address, error);
	}
	if (rc == 0 && field != NULL) {
		address.text = mem_strdup(text);
		*(struct config_address *)field = address;
	} else {
		address_deinit(&address);
	}
	return rc;
}

int config_pin_parse(const char *text, struct config_pin *pin_r, struct error *error)
{
	struct buffer digits = { 0 }, bytes = { 0 };
	struct config_pin pin = { .is_set = true };
	int rc;

	/* `openssl x509 -fingerprint` prints capitals and colons. */
	for (size_t i = 0; text[i] != '\0' && i <= 3 * sizeof(pin.bytes); i++)
		if (text[i] != ':')
			buffer_append_byte(&digits, tolower((unsigned char)text[i]));
	rc = decode_hex(&bytes, buffer_bytes(&digits));
	if (rc < 0 || bytes.len != sizeof(pin.bytes))
		rc = error_set(error, ERR_INVALID, "a pin is 64 hexadecimal digits");
	else
		memcpy(pin.bytes, bytes.data, sizeof(pin.bytes));
	if (rc == 0 && pin_r != NULL)
		*pin_r = pin;
	buffer_deinit(&digits);
	buffer_deinit(&bytes);
	return rc;
}

int config_value_parse(const struct config_key *key, const char *text, const char *folder,
	void *field, struct error *error)
{
	int rc = 0;

	switch (key->type) {
	case CONFIG_NAME:
		rc = name_check(text, error);
		if (rc == 0)
			string_store(field, text);
		return rc;
	case CONFIG_STRING:
		rc = string_check(text, CONFIG_NAME_SIZE_MAX, error);
		if (rc == 0)
			string_store(field, text);
		return rc;
	case CONFIG_TEXT:
		rc = string_check(text, CONFIG_TEXT_SIZE_MAX, error);
		if (rc == 0)
			string_store(field, text);
		return rc;
	case CONFIG_PATH:
		return path_parse(text, folder, field, error);
	case CONFIG_NUMBER:
		return number_parse(key, text, field, error);
	case CONFIG_BOOL:
		return bool_parse(text, field, error);
	case CONFIG_CHOICE:
		return choice_parse(key, text, field, error);
	case CONFIG_ADDRESS:
		return address_parse(text, folder, field, error);
	case CONFIG_PIN:
		return config_pin_parse(text, field, error);
	case CONFIG_PATTERNS:
		rc = account_filter_check(text, error);
		if (rc == 0)
			string_store(field, text);
		return rc;
	case CONFIG_MAILBOX_PATTERNS:
		rc = mailbox_filter_check(text, error);
		if (rc == 0)
			string_store(field, text);
		return rc;
	case CONFIG_MEMBERS:
		rc = config_members_check(text, error);
		if (rc == 0)
			string_store(field, text);
		return rc;
	case CONFIG_LEVEL:
		rc = string_check(text, CONFIG_NAME_SIZE_MAX, error);
		if (rc == 0)
			rc = config_level_check(text, error);
		if (rc == 0)
			string_store(field, text);
		return rc;
	}
	return rc;
}

void config_value_deinit(const struct config_key *key, void *field)
{
	switch (key->type) {
	case CONFIG_NAME:
	case CONFIG_STRING:
	case CONFIG_TEXT:
	case CONFIG_PATH:
	case CONFIG_PATTERNS:
	case CONFIG_MAILBOX_PATTERNS:
	case CONFIG_MEMBERS:
	case CONFIG_LEVEL:
		free(*(char **)field);
		*(char **)field = NULL;
		break;
	case CONFIG_ADDRESS:
		address_deinit(field);
		break;
	default:
		break;
	}
}
