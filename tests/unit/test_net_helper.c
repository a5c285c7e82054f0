#include "test_net_helper.h"
#include "test_folder.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void certificate_write(const char *path, X509 *certificate)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_int_equal(PEM_write_X509(file, certificate), 1);
	fclose(file);
}

static void key_write(const char *path, EVP_PKEY *key)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_int_equal(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL), 1);
	fclose(file);
}

void test_files_renew(struct test_files *files)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *certificate = X509_new();
	X509_NAME *name = X509_get_subject_name(certificate);
	X509_EXTENSION *names;

	ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
	X509_set_version(certificate, 2);
	X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
	X509_gmtime_adj(X509_getm_notAfter(certificate), 86400);
	X509_set_pubkey(certificate, key);
	X509_NAME_add_entry_by_txt(
		name, "CN", MBSTRING_ASC, (const unsigned char *)"localhost", -1, -1, 0);
	X509_set_issuer_name(certificate, name);
	names = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1");
	X509_add_ext(certificate, names, -1);
	X509_EXTENSION_free(names);
	assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
	certificate_write(files->certificate_path, certificate);
	key_write(files->key_path, key);
	X509_free(certificate);
	EVP_PKEY_free(key);
}

void test_files_make(struct test_files *files)
{
	snprintf(files->directory, sizeof(files->directory), "/tmp/chapar-test-net-XXXXXX");
	assert_non_null(test_folder_make(files->directory));
	snprintf(files->certificate_path, sizeof(files->certificate_path), "%s/certificate.pem",
		files->directory);
	snprintf(files->key_path, sizeof(files->key_path), "%s/key.pem", files->directory);
	snprintf(files->socket_path, sizeof(files->socket_path), "%s/socket", files->directory);
	test_files_renew(files);
}

void test_files_remove(struct test_files *files)
{
	unlink(files->certificate_path);
	unlink(files->key_path);
	unlink(files->socket_path);
	assert_int_equal(rmdir(files->directory), 0);
}

struct net_client *test_connect(uint16_t port)
{
	struct net_client *client = net_client_new();
	struct error error = { 0 };

	if (net_client_connect(client, "127.0.0.1", port, HELPER_TIMEOUT_MS, &error) < 0)
		fail_msg("%s", error.text);
	return client;
}

void test_send(struct net_client *client, const char *text)
{
	struct error error = { 0 };

	if (net_client_write(client, bytes_of_string(text), HELPER_TIMEOUT_MS, &error) < 0)
		fail_msg("%s", error.text);
}

static struct bytes line_read(struct net_client *client, const char *expected)
{
	struct error error = { 0 };
	struct bytes line;

	if (net_client_read_line(client, 100000, &line, HELPER_TIMEOUT_MS, &error) < 0)
		fail_msg("instead of \"%s\": %s", expected, error.text);
	return line;
}

void test_expect(struct net_client *client, const char *expected)
{
	struct bytes line = line_read(client, expected);

	if (!bytes_equal_string(line, expected))
		fail_msg("\"%.*s\" instead of \"%s\"", BYTES_ARGS(line), expected);
}

void test_expect_start(struct net_client *client, const char *expected)
{
	struct bytes line = line_read(client, expected);

	if (!bytes_start_with(line, bytes_of_string(expected)))
		fail_msg("\"%.*s\" instead of \"%s…\"", BYTES_ARGS(line), expected);
}

void test_expect_end(struct net_client *client)
{
	struct bytes line;
	int rc = net_client_read_line(client, 100000, &line, HELPER_TIMEOUT_MS, NULL);

	if (rc == 0)
		fail_msg("\"%.*s\" instead of the end", BYTES_ARGS(line));
	assert_true(rc == ERR_CLOSED || rc == ERR_IO);
}

void test_start_tls(struct net_client *client)
{
	struct net_client_tls tls = { .verify = NET_VERIFY_NONE };
	struct error error = { 0 };

	if (net_client_start_tls(client, &tls, HELPER_TIMEOUT_MS, &error) < 0)
		fail_msg("%s", error.text);
}
