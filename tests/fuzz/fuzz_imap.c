/*
 * An IMAP session with a mailbox of a few messages in memory. The first byte says how the input is
 * cut into pieces, how often the client is slow, and whether the session begins logged in or with
 * INBOX selected; the rest is what the client sends.
 */
#include "fuzz_check.h"
#include "fuzz_session.h"

#include <stdint.h>

#define INPUT_SIZE_MAX 20000

static void begin(struct fuzz_session *session, unsigned mode)
{
	static const char *const steps[] = { "a LOGIN alice secret\r\n",
		"a APPEND INBOX (\\Seen x) {23+}\r\nSubject: a\r\nTo: b\r\n\r\ntext"
		" {87+}\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\none\r\n"
		"--x\r\nSubject: y\r\n\r\ntwo\r\n--x--\r\n {1+}\r\nz\r\n",
		"a CREATE a/b\r\na SUBSCRIBE a\r\na ENABLE QRESYNC\r\n", "a SELECT INBOX\r\n" };

	for (unsigned i = 0; i < mode; i++)
		fuzz_check_answers(fuzz_session_send(session, bytes_of_string(steps[i]), SIZE_MAX));
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct fuzz_server *server;
	struct fuzz_session *session;

	if (size < 1 || size > INPUT_SIZE_MAX)
		return 0;
	server = fuzz_server_new();
	session = fuzz_session_new(server, data[0] / 5 % 3);
	begin(session, data[0] % 5);
	fuzz_check_answers(fuzz_session_send(session, bytes_of(data + 1, size - 1),
		data[0] < 128 ? SIZE_MAX : data[0] % 32 + 1u));
	fuzz_session_free(&session);
	fuzz_server_free(&server);
	return 0;
}
