/*
 * Numbers are drawn in a fixed order, one statement each: two draws among the arguments of one call
 * would make the bytes depend on the compiler.
 */
#include "generate.h"

#include "base/random.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define COUNT_OF(array) (sizeof(array) / sizeof(*(array)))

static const char *const words[] = { "the", "of", "and", "to", "in", "is", "that", "for", "it",
	"was", "on", "are", "as", "with", "they", "at", "be", "this", "from", "have", "or", "by",
	"one", "had", "not", "but", "what", "all", "were", "when", "we", "there", "can", "an",
	"your", "which", "their", "said", "if", "do", "will", "each", "about", "how", "up", "out",
	"them", "then", "she", "many", "some", "so", "these", "would", "other", "into", "has",
	"more", "her", "two", "like", "him", "see", "time", "could", "no", "make", "than", "first",
	"been", "its", "who", "now", "people", "my", "made", "over", "did", "down", "only", "way",
	"find", "use", "may", "water", "long", "little", "very", "after", "words", "called", "just",
	"where", "most", "know", "get", "through", "back", "much", "before", "meeting", "invoice",
	"project", "schedule", "quarter", "budget", "review", "contract", "delivery", "customer",
	"server", "release", "deadline", "question", "attached", "please", "regards", "thanks",
	"monday", "tuesday", "report", "update", "draft", "version", "office", "travel", "hotel",
	"flight", "booking", "payment", "account", "number", "summary", "minutes", "agenda",
	"proposal", "feedback", "design", "network", "storage", "replica", "mailbox", "message",
	"folder", "backup", "restore", "kernel", "package", "patch", "testing", "coverage",
	"r\xc3\xa9sum\xc3\xa9", "caf\xc3\xa9", "na\xc3\xafve", "Z\xc3\xbcrich",
	"K\303\270benhavn" };

static const char *const first_names[] = { "Anna", "Bj\xc3\xb6rn", "Carla", "David", "Elif",
	"Fran\xc3\xa7ois", "Grace", "Hiroshi", "Ines", "Jo\xc3\xa3o", "Katrin", "Liam",
	"Mar\303\255a", "Nadia", "Olaf", "Priya" };

static const char *const last_names[] = { "Andersson", "Baker", "Chen", "Dubois", "Eriksen",
	"Fischer", "Garc\303\255a", "Hansen", "Ivanova", "Jones", "Kowalski", "L\xc3\xb6we",
	"M\xc3\xbcller", "Novak", "Okafor", "Petrov" };

static const char *const html_tags[] = { "<p>", "</p>", "<br>", "<b>", "</b>",
	"<span style=3D\"color:#333\">", "</span>", "<a href=3D\"https://www.example/x\">",
	"</a>" };

static const char base64_digits[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* One message in the making. */
struct draft {
	struct buffer *out;
	struct random random;
	uint64_t seed;
	uint64_t index;
	const char *tag;
	char date[64];
	char boundary[40];
};

static unsigned draw(struct draft *draft, unsigned limit)
{
	return (unsigned)random_below(&draft->random, limit);
}

static double draw_fraction(struct draft *draft)
{
	return (double)(random_next(&draft->random) >> 11) * (1.0 / 9007199254740992.0);
}

static double draw_normal(struct draft *draft)
{
	double u = draw_fraction(draft), v = draw_fraction(draft);

	if (u < 1e-12)
		u = 1e-12;
	return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

static size_t draw_size(struct draft *draft, const char *size)
{
	unsigned count = 1, chosen;

	if (size == NULL || strcmp(size, "mix") == 0) {
		double value = exp(log(9000) + 0.95 * draw_normal(draft));

		return value < 2000 ? 2000 : value > 80000 ? 80000 : (size_t)value;
	}
	for (const char *at = size; *at != '\0'; at++)
		count += *at == ',';
	for (chosen = draw(draft, count); chosen > 0; chosen--)
		size = strchr(size, ',') + 1;
	return (size_t)atol(size);
}

static bool is_ascii(const char *text)
{
	for (; *text != '\0'; text++) {
		if ((*text & 0x80) != 0)
			return false;
	}
	return true;
}

/* RFC 2047. */
static void put_encoded_word(struct buffer *out, const char *text)
{
	size_t len = strlen(text);

	buffer_append_string(out, "=?UTF-8?B?");
	for (size_t i = 0; i < len; i += 3) {
		unsigned char in[3] = { 0 };
		unsigned value;

		for (size_t k = 0; k < 3 && i + k < len; k++)
			in[k] = (unsigned char)text[i + k];
		value = (unsigned)in[0] << 16 | (unsigned)in[1] << 8 | in[2];
		buffer_append_byte(out, base64_digits[value >> 18]);
		buffer_append_byte(out, base64_digits[value >> 12 & 63]);
		buffer_append_byte(out, i + 1 < len ? base64_digits[value >> 6 & 63] : '=');
		buffer_append_byte(out, i + 2 < len ? base64_digits[value & 63] : '=');
	}
	buffer_append_string(out, "?=");
}

static void put_address(struct draft *draft)
{
	const char *first = first_names[draw(draft, COUNT_OF(first_names))];
	const char *last = last_names[draw(draft, COUNT_OF(last_names))];
	unsigned domain, person;
	char name[80];

	snprintf(name, sizeof(name), "%s %s", first, last);
	if (is_ascii(name))
		buffer_printf(draft->out, "\"%s\"", name);
	else
		put_encoded_word(draft->out, name);
	domain = draw(draft, 40);
	person = draw(draft, 900);
	buffer_printf(draft->out, " <p%u@dom%u.example>", person, domain);
}

/* The quoted-printable form of `word` in text_r; returns its length. */
static size_t quote_word(const char *word, char text_r[64])
{
	size_t len = 0;

	for (; *word != '\0'; word++) {
		if ((*word & 0x80) != 0)
			len += (size_t)sprintf(text_r + len, "=%02X", (unsigned char)*word);
		else
			text_r[len++] = *word;
	}
	return len;
}

/* At least `want` bytes of quoted-printable words in lines of at most 76 columns. */
static void put_text(struct draft *draft, size_t want, bool is_html)
{
	struct buffer *out = draft->out;
	size_t start = out->len, column = 0;

	while (out->len - start < want) {
		char quoted[64];
		size_t len;

		if (is_html && draw(draft, 14) == 0) {
			const char *tag = html_tags[draw(draft, COUNT_OF(html_tags))];

			if (column + strlen(tag) > 74) {
				buffer_append_string(out, "=\r\n");
				column = 0;
			}
			buffer_append_string(out, tag);
			column += strlen(tag);
			continue;
		}
		len = quote_word(words[draw(draft, COUNT_OF(words))], quoted);
		if (column + len + 1 > 74) {
			buffer_append_string(out, draw(draft, 8) == 0 ? "\r\n" : "=\r\n");
			column = 0;
		}
		buffer_append(out, quoted, len);
		buffer_append_byte(out, ' ');
		column += len + 1;
		if (draw(draft, 60) == 0) {
			buffer_append_string(out, "\r\n\r\n");
			column = 0;
		}
	}
	buffer_append_string(out, "\r\n");
}

/* About `want` bytes of base64 in lines of 76. */
static void put_base64(struct draft *draft, size_t want)
{
	for (size_t lines = want / 78 + 1; lines > 0; lines--) {
		unsigned char *line = buffer_extend(draft->out, 78);

		for (int k = 0; k < 76; k += 4) {
			uint64_t value = random_next(&draft->random);

			line[k] = (unsigned char)base64_digits[value & 63];
			line[k + 1] = (unsigned char)base64_digits[value >> 6 & 63];
			line[k + 2] = (unsigned char)base64_digits[value >> 12 & 63];
			line[k + 3] = (unsigned char)base64_digits[value >> 18 & 63];
		}
		memcpy(line + 76, "\r\n", 2);
	}
}

static void set_date(struct draft *draft)
{
	static const char *const days[] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
	static const char *const months[] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul",
		"Aug", "Sep", "Oct", "Nov", "Dec" };
	time_t when = 1700000000 + (time_t)(draft->index * 631 % 60000000);
	struct tm tm;

	gmtime_r(&when, &tm);
	snprintf(draft->date, sizeof(draft->date), "%s, %d %s %d %02d:%02d:%02d +0000",
		days[tm.tm_wday], tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour,
		tm.tm_min, tm.tm_sec);
}

static void put_received(struct draft *draft, unsigned hop)
{
	uint64_t id = random_next(&draft->random) & 0xffffffffffffull;
	unsigned host = draw(draft, 250), claimed = draw(draft, 40), domain = draw(draft, 40);

	buffer_printf(draft->out,
		"Received: from mx%u.dom%u.example (mx%u.dom%u.example [192.0.2.%u])\r\n"
		"\tby relay%u.example with ESMTPS id %012llx\r\n"
		"\t(version=TLSv1.3 cipher=TLS_AES_256_GCM_SHA384 bits=256/256);\r\n\t%s\r\n",
		hop, domain, hop, claimed, host, hop, (unsigned long long)id, draft->date);
}

static void put_signature(struct draft *draft)
{
	struct buffer *out = draft->out;

	buffer_append_string(out,
		"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=dom.example; s=s1;\r\n"
		"\th=from:to:subject:date:message-id; bh=");
	for (int i = 0; i < 43; i++)
		buffer_append_byte(out, base64_digits[draw(draft, 62)]);
	buffer_append_string(out, "=;\r\n\tb=");
	for (int line = 0; line < 3; line++) {
		for (int i = 0; i < 64; i++)
			buffer_append_byte(out, base64_digits[draw(draft, 62)]);
		buffer_append_string(out, "\r\n\t ");
	}
	buffer_append_string(out, "AA==\r\n");
}

static void put_subject(struct draft *draft)
{
	struct buffer *out = draft->out;
	unsigned count = 3 + draw(draft, 6);

	buffer_append_string(out, "Subject: ");
	if (draft->tag != NULL)
		buffer_printf(out, "%s ", draft->tag);
	if (draw(draft, 3) == 0)
		buffer_append_string(out, "Re: ");
	if (draft->index % 97 == 0)
		buffer_append_string(out, "xylophone "); /* what the search benchmark looks for */
	for (unsigned i = 0; i < count; i++) {
		const char *word = words[draw(draft, COUNT_OF(words))];

		if (is_ascii(word))
			buffer_append_string(out, word);
		else
			put_encoded_word(out, word);
		if (i + 1 < count)
			buffer_append_byte(out, ' ');
	}
	buffer_append_string(out, "\r\n");
}

static void put_thread(struct draft *draft)
{
	unsigned long long seed = draft->seed;
	unsigned second = draw(draft, 5000), first = draw(draft, 5000), reply = draw(draft, 5000);

	buffer_printf(draft->out,
		"In-Reply-To: <m.%llx.%u@bench.example>\r\n"
		"References: <m.%llx.%u@bench.example>\r\n\t<m.%llx.%u@bench.example>\r\n",
		seed, reply, seed, first, seed, second);
}

static void put_header(struct draft *draft)
{
	struct buffer *out = draft->out;
	unsigned domain = draw(draft, 40), person = draw(draft, 900), hops;

	buffer_printf(out, "Return-Path: <p%u@dom%u.example>\r\n", person, domain);
	hops = 2 + draw(draft, 3);
	for (unsigned hop = 0; hop < hops; hop++)
		put_received(draft, hop);
	put_signature(draft);
	buffer_append_string(out, "From: ");
	put_address(draft);
	buffer_append_string(out, "\r\nTo: ");
	put_address(draft);
	for (unsigned more = draw(draft, 3); more > 0; more--) {
		buffer_append_string(out, ",\r\n\t");
		put_address(draft);
	}
	if (draw(draft, 4) == 0) {
		buffer_append_string(out, "\r\nCc: ");
		put_address(draft);
	}
	buffer_append_string(out, "\r\n");
	put_subject(draft);
	buffer_printf(out, "Date: %s\r\nMessage-ID: <%s.%llx.%llu@bench.example>\r\n", draft->date,
		draft->tag != NULL ? draft->tag : "m", (unsigned long long)draft->seed,
		(unsigned long long)draft->index);
	if (draw(draft, 2) != 0)
		put_thread(draft);
	if (draw(draft, 5) == 0)
		buffer_printf(out,
			"List-Id: <list%u.lists.example>\r\n"
			"List-Unsubscribe: <mailto:list-leave@lists.example>\r\n"
			"Precedence: list\r\n",
			draw(draft, 9));
	buffer_append_string(out, "User-Agent: Mozilla Thunderbird\r\nMIME-Version: 1.0\r\n");
}

static void put_attachment(struct draft *draft, size_t size)
{
	static const char *const types[] = { "application/pdf", "image/png", "image/jpeg",
		"application/vnd.openxmlformats-officedocument.wordprocessingml.document" };
	static const char *const endings[] = { "pdf", "png", "jpg", "docx" };
	unsigned kind = draw(draft, COUNT_OF(types));
	unsigned file_name = draw(draft, 999), name = draw(draft, 999);

	buffer_printf(draft->out,
		"--%s\r\nContent-Type: %s;\r\n name=\"file%u.%s\"\r\n"
		"Content-Transfer-Encoding: base64\r\n"
		"Content-Disposition: attachment; filename=\"file%u.%s\"\r\n\r\n",
		draft->boundary, types[kind], name, endings[kind], file_name, endings[kind]);
	put_base64(draft, size);
}

/* text/plain and text/html of the same, `text_size` and `html_size` bytes. */
static void put_alternative(
	struct draft *draft, const char *opening, size_t text_size, size_t html_size)
{
	struct buffer *out = draft->out;
	const char *boundary = draft->boundary;

	buffer_printf(out,
		"Content-Type: multipart/alternative;\r\n boundary=\"alt%s\"\r\n\r\n--alt%s\r\n"
		"Content-Type: text/plain; charset=UTF-8\r\n"
		"Content-Transfer-Encoding: quoted-printable\r\n\r\n%s",
		boundary, boundary, opening);
	put_text(draft, text_size, false);
	buffer_printf(out,
		"--alt%s\r\nContent-Type: text/html; charset=UTF-8\r\n"
		"Content-Transfer-Encoding: quoted-printable\r\n\r\n<html><body>\r\n",
		boundary);
	put_text(draft, html_size, true);
	buffer_printf(out, "</body></html>\r\n--alt%s--\r\n", boundary);
}

/* The body, about `room` bytes: plain text, two alternatives, or these with attachments. */
static void put_body(struct draft *draft, unsigned kind, size_t room)
{
	struct buffer *out = draft->out;
	const char *opening =
		draft->index % 101 == 0 ? "A quixotic plan was set out here.\r\n" : "";
	unsigned attachments;
	size_t text_size, html_size;

	if (kind < 2) {
		buffer_printf(out,
			"Content-Type: text/plain; charset=UTF-8; format=flowed\r\n"
			"Content-Transfer-Encoding: quoted-printable\r\n\r\n%s",
			opening);
		put_text(draft, room, false);
		return;
	}
	attachments = kind >= 7 ? 1 + draw(draft, 2) : 0;
	text_size = attachments == 0 ? room / 3 : room / 4 < 3000 ? room / 4 : 3000;
	html_size = attachments == 0 ? room - text_size : text_size * 2;
	if (attachments > 0) {
		buffer_printf(out,
			"Content-Type: multipart/mixed; boundary=\"%s\"\r\n\r\n"
			"This is a multi-part message in MIME format.\r\n--%s\r\n",
			draft->boundary, draft->boundary);
		if (text_size + html_size > room)
			html_size = room - text_size;
	}
	put_alternative(draft, opening, text_size, html_size);
	for (unsigned i = 0; i < attachments; i++)
		put_attachment(draft, room > text_size + html_size
					      ? (room - text_size - html_size) / attachments
					      : 100);
	if (attachments > 0)
		buffer_printf(out, "--%s--\r\n", draft->boundary);
}

void generate_message(
	struct buffer *out, uint64_t seed, uint64_t index, const char *size, const char *tag)
{
	struct draft draft = { .out = out, .seed = seed, .index = index, .tag = tag };
	unsigned kind;
	size_t want;

	draft.random.state = seed * 1000003u + index * 7919u + 17;
	random_next(&draft.random);
	want = draw_size(&draft, size);
	buffer_clear(out);
	set_date(&draft);
	put_header(&draft);
	kind = draw(&draft, 10);
	snprintf(draft.boundary, sizeof(draft.boundary), "=_b%016llx",
		(unsigned long long)random_next(&draft.random));
	put_body(&draft, kind, want > out->len + 300 ? want - out->len - 300 : 300);
}
