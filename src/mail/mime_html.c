#include "mail/mime_html.h"

#include "mail/mime_charset.h"

#include <ctype.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define ENTITY_SIZE_MAX 10 /* bytes of a name or number */

/* Of HTML 4: the characters 160 to 255 in order, then others that mail uses. */
static const char *const latin_entities[96] = { "nbsp", "iexcl", "cent", "pound", "curren", "yen",
	"brvbar", "sect", "uml", "copy", "ordf", "laquo", "not", "shy", "reg", "macr", "deg",
	"plusmn", "sup2", "sup3", "acute", "micro", "para", "middot", "cedil", "sup1", "ordm",
	"raquo", "frac14", "frac12", "frac34", "iquest", "Agrave", "Aacute", "Acirc", "Atilde",
	"Auml", "Aring", "AElig", "Ccedil", "Egrave", "Eacute", "Ecirc", "Euml", "Igrave", "Iacute",
	"Icirc", "Iuml", "ETH", "Ntilde", "Ograve", "Oacute", "Ocirc", "Otilde", "Ouml", "times",
	"Oslash", "Ugrave", "Uacute", "Ucirc", "Uuml", "Yacute", "THORN", "szlig", "agrave",
	"aacute", "acirc", "atilde", "auml", "aring", "aelig", "ccedil", "egrave", "eacute",
	"ecirc", "euml", "igrave", "iacute", "icirc", "iuml", "eth", "ntilde", "ograve", "oacute",
	"ocirc", "otilde", "ouml", "divide", "oslash", "ugrave", "uacute", "ucirc", "uuml",
	"yacute", "thorn", "yuml" };

static const struct {
	const char *name;
	int character;
} other_entities[] = { { "amp", '&' }, { "lt", '<' }, { "gt", '>' }, { "quot", '"' },
	{ "apos", '\'' }, { "OElig", 0x152 }, { "oelig", 0x153 }, { "Scaron", 0x160 },
	{ "scaron", 0x161 }, { "Yuml", 0x178 }, { "circ", 0x2c6 }, { "tilde", 0x2dc },
	{ "ensp", 0x2002 }, { "emsp", 0x2003 }, { "thinsp", 0x2009 }, { "zwnj", 0x200c },
	{ "zwj", 0x200d }, { "lrm", 0x200e }, { "rlm", 0x200f }, { "ndash", 0x2013 },
	{ "mdash", 0x2014 }, { "lsquo", 0x2018 }, { "rsquo", 0x2019 }, { "sbquo", 0x201a },
	{ "ldquo", 0x201c }, { "rdquo", 0x201d }, { "bdquo", 0x201e }, { "dagger", 0x2020 },
	{ "bull", 0x2022 }, { "hellip", 0x2026 }, { "permil", 0x2030 }, { "lsaquo", 0x2039 },
	{ "rsaquo", 0x203a }, { "euro", 0x20ac }, { "trade", 0x2122 }, { "larr", 0x2190 },
	{ "uarr", 0x2191 }, { "rarr", 0x2192 }, { "darr", 0x2193 }, { "minus", 0x2212 } };

/* What stands in these is not text of the message. */
static const char *const hidden[] = { "head", "style", "script", "title", "template", "noscript" };

/* Tags within a line; any other parts words. */
static const char *const inline_tags[] = { "a", "abbr", "acronym", "b", "bdo", "big", "cite",
	"code", "del", "dfn", "em", "font", "i", "ins", "kbd", "o:p", "q", "s", "small", "span",
	"strike", "strong", "sub", "sup", "tt", "u", "var", "wbr" };

static bool name_is_any(struct bytes name, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (bytes_equal_string_nocase(name, names[i]))
			return true;
	}
	return false;
}

static int number_of(struct bytes text)
{
	int base = 10, number = 0;

	if (text.len > 0 && (text.ptr[0] | 0x20) == 'x') {
		base = 16;
		bytes_skip(&text, 1);
	}
	if (text.len == 0)
		return -1;
	for (; text.len > 0; bytes_skip(&text, 1)) {
		int byte = text.ptr[0] | 0x20;
		int digit = isdigit(text.ptr[0]) ? text.ptr[0] - '0'
			    : byte >= 'a'        ? byte - 'a' + 10
						 : base;

		if (digit >= base || number > 0x10ffff)
			return -1;
		number = number * base + digit;
	}
	return number == 0 || number > 0x10ffff || (number >= 0xd800 && number <= 0xdfff) ? -1
											  : number;
}

/* The character of an entity's name or number; -1 if it is not known. */
static int entity_character(struct bytes name)
{
	if (bytes_peek(name) == '#') {
		bytes_skip(&name, 1);
		return number_of(name);
	}
	for (size_t i = 0; i < COUNT(other_entities); i++) {
		if (bytes_equal_string(name, other_entities[i].name))
			return other_entities[i].character;
	}
	for (size_t i = 0; i < COUNT(latin_entities); i++) {
		if (bytes_equal_string(name, latin_entities[i]))
			return 160 + (int)i;
	}
	return -1;
}

/* "&name;", which *html begins with; an ampersand that begins no entity is itself. */
static void entity_take(struct bytes *html, struct buffer *out)
{
	struct bytes rest = *html;
	size_t size = 0;
	int character;

	bytes_skip(&rest, 1);
	while (size < rest.len && size < ENTITY_SIZE_MAX &&
		(isalnum(rest.ptr[size]) || rest.ptr[size] == '#'))
		size++;
	character = entity_character(bytes_take(&rest, size));
	if (character < 0) {
		buffer_append_byte(out, '&');
		bytes_skip(html, 1);
		return;
	}
	if (bytes_peek(rest) == ';')
		bytes_skip(&rest, 1);
	mime_utf8_append(out, character);
	*html = rest;
}

static void skip_past(struct bytes *html, struct bytes end)
{
	const unsigned char *found =
		html->len < end.len ? NULL : memmem(html->ptr, html->len, end.ptr, end.len);

	bytes_skip(html, found == NULL ? html->len : (size_t)(found - html->ptr) + end.len);
}

/* To behind ">", past quoted attribute values. */
static void skip_attributes(struct bytes *html)
{
	bool is_value = false;

	while (html->len > 0) {
		int byte = bytes_take(html, 1).ptr[0];

		if (byte == '>')
			return;
		if (is_value && (byte == '"' || byte == '\''))
			bytes_skip(html, bytes_find(*html, byte));
		is_value = byte == '=' || (is_value && isspace(byte));
	}
}

/* Past all up to the end tag of `name`. */
static void skip_element(struct bytes *html, struct bytes name)
{
	while (html->len > 0) {
		skip_past(html, BYTES_LITERAL("</"));
		if (html->len > name.len &&
			bytes_equal_nocase(bytes_of(html->ptr, name.len), name) &&
			!isalnum(html->ptr[name.len])) {
			skip_attributes(html);
			return;
		}
	}
}

/* "<...", which *html begins with. */
static void tag_take(struct bytes *html, struct buffer *out)
{
	size_t size = 0;
	bool is_end;
	struct bytes name;

	bytes_skip(html, 1);
	if (bytes_start_with(*html, BYTES_LITERAL("!--"))) {
		skip_past(html, BYTES_LITERAL("-->"));
		return;
	}
	is_end = bytes_peek(*html) == '/';
	if (is_end)
		bytes_skip(html, 1);
	while (size < html->len && (isalnum(html->ptr[size]) || html->ptr[size] == ':'))
		size++;
	name = bytes_take(html, size);
	if (name.len == 0 && !is_end && bytes_peek(*html) != '!' && bytes_peek(*html) != '?') {
		buffer_append_byte(out, '<');
		return;
	}
	skip_attributes(html);
	if (!is_end && name_is_any(name, hidden, COUNT(hidden)))
		skip_element(html, name);
	if (!name_is_any(name, inline_tags, COUNT(inline_tags)))
		buffer_append_byte(out, ' ');
}

void mime_html_text(struct bytes html, struct buffer *out)
{
	while (html.len > 0) {
		size_t size = 0;

		while (size < html.len && html.ptr[size] != '<' && html.ptr[size] != '&')
			size++;
		buffer_append_bytes(out, bytes_take(&html, size));
		if (bytes_peek(html) == '<')
			tag_take(&html, out);
		else if (html.len > 0)
			entity_take(&html, out);
	}
}
