#include "fuzz_mailbox.h"

#include "fuzz_check.h"

#define SLOW_MAX 3

static const struct {
	const char *flags;
	const char *date;
	const char *text;
} messages[] = {
	{ "(\\Seen)", "01-Feb-1994 00:00:00 +0000",
		"Date: Mon, 7 Feb 1994 21:52:25 -0800\r\nFrom: Fred <fred@example.org>\r\n"
		"Subject: afternoon meeting\r\nTo: mooch@example.edu\r\n"
		"Message-Id: <B27397-0100000@example.org>\r\n\r\nHello Joe\r\n" },
	{ "()", "05-Feb-1994 12:00:00 -0800", "expunged" },
	{ "(\\Deleted \\Flagged)", "05-Feb-1994 23:30:00 -0800",
		"From: =?ISO-8859-1?Q?Andr=E9?= Pirard <PIRARD@vm1.ulg.ac.be>\r\nCc: a@b, group: "
		"c@d;\r\n"
		"Subject: =?UTF-8?B?Y2Fmw6k=?=\r\n meeting\r\nMIME-Version: 1.0\r\n"
		"Content-Type: text/plain; charset=iso-8859-1\r\n"
		"Content-Transfer-Encoding: quoted-printable\r\n\r\nl'=E9t=E9=\r\n the end\r\n" },
	{ "(\\Answered \\Draft custom $Forwarded)", "01-Jan-2020 00:00:00 +0000",
		"Content-Type: multipart/mixed; boundary=b\r\nSubject: "
		"parts\r\n\r\npreamble\r\n--b\r\n"
		"Content-Type: text/html; charset=utf-8\r\nContent-ID: "
		"<x@y>\r\n\r\n<b>the</b>\r\n--b\r\n"
		"Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n"
		"Content-Type: multipart/alternative; "
		"boundary=bb\r\n\r\n--bb\r\n\r\none\r\n--bb\r\n"
		"Content-Transfer-Encoding: base64\r\n\r\ndHdv\r\n--bb--\r\n--b\r\n"
		"Content-Disposition: attachment; filename=a.txt\r\nContent-Language: en, de\r\n"
		"Content-Type: application/octet-stream\r\n\r\nthree\r\n--b--\r\nepilogue" },
	{ "(\\Seen custom)", "29-Feb-2000 23:59:59 +1400", "\r\n" },
	{ "()", "05-Feb-1994 12:00:00 -0800", "expunged" },
	{ "()", "31-Dec-1999 23:59:59 +0000",
		"no header but this line\nand \xe4 byte\n\n\nbody\n" },
	{ "()", "01-Jan-2038 00:00:00 +0000",
		"Content-Type: message/rfc822\r\nX-Long: a\r\n b\r\n\tc\r\nX-Long: again\r\n\r\n"
		"Content-Type: multipart/digest; boundary=\"x y\"\r\n\r\n--x y\r\n\r\nSubject: "
		"deep\r\n\r\n"
		"text\r\n--x y--\r\n" },
	{ "(\\Seen \\Answered \\Flagged \\Deleted \\Draft)", "02-Feb-1994 00:00:00 +0000",
		"From: a@b\r\nFrom: c@d\r\nReferences: <1@x>\r\n <2@x>\r\nSubject: Re: afternoon "
		"meeting\r\n\r\n.\r\n" },
};

#define APPEND_COUNT (sizeof(messages) / sizeof(messages[0]))

uint32_t fuzz_mailbox_uid(uint32_t number)
{
	static const uint32_t uids[FUZZ_MESSAGE_COUNT] = { 1, 3, 4, 5, 7, 8, 9 };

	FUZZ_CHECK(number >= 1 && number <= FUZZ_MESSAGE_COUNT);
	return uids[number - 1];
}

static void send(struct fuzz_session *session, const char *command)
{
	struct bytes answer = fuzz_session_send(session, bytes_of_string(command), SIZE_MAX);

	fuzz_check_answers(answer);
	FUZZ_CHECK(fuzz_is_ok(answer, "a"));
}

static void fill(struct fuzz_server *server)
{
	struct fuzz_session *session = fuzz_session_new(server, 0);
	struct buffer command = { 0 };

	send(session, "a LOGIN alice secret\r\n");
	for (size_t i = 0; i < APPEND_COUNT; i++) {
		buffer_clear(&command);
		buffer_printf(&command, "a APPEND INBOX %s \"%s\" {%zu+}\r\n%s\r\n",
			messages[i].flags, messages[i].date, strlen(messages[i].text),
			messages[i].text);
		send(session, buffer_string(&command));
	}
	send(session, "a SELECT INBOX\r\n");
	send(session, "a STORE 3,9 -FLAGS.SILENT (\\Deleted)\r\n");
	send(session, "a STORE 2,6 +FLAGS.SILENT (\\Deleted)\r\n");
	send(session, "a EXPUNGE\r\n");
	send(session, "a STORE 2,7 +FLAGS.SILENT (\\Deleted)\r\n");
	buffer_deinit(&command);
	fuzz_session_free(&session);
}

struct fuzz_session *fuzz_mailbox_session(unsigned slow)
{
	static struct fuzz_server *server;
	static struct fuzz_session *sessions[SLOW_MAX + 1];

	FUZZ_CHECK(slow <= SLOW_MAX);
	if (server == NULL) {
		server = fuzz_server_new();
		fill(server);
	}
	/* A client who only sends what is invalid is sent away in the end. */
	if (sessions[slow] != NULL && fuzz_session_is_over(sessions[slow]))
		fuzz_session_free(&sessions[slow]);
	if (sessions[slow] == NULL) {
		sessions[slow] = fuzz_session_new(server, slow);
		send(sessions[slow], "a LOGIN alice secret\r\n");
		send(sessions[slow], "a ENABLE QRESYNC\r\n");
		send(sessions[slow], "a EXAMINE INBOX\r\n");
	}
	return sessions[slow];
}
