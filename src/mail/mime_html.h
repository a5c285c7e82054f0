/*
 * mime_html: the words of an HTML text, for previews. It reads any bytes and takes linear time; it
 * is no renderer. Pure; any thread.
 */
#ifndef CHAPAR_MAIL_MIME_HTML_H
#define CHAPAR_MAIL_MIME_HTML_H

#include "base/buffer.h"

/*
 * Appends the text of `html` (UTF-8): a space for each tag that breaks a line or a cell, nothing
 * for others, comments, and what is in head, style, script and title; entities as characters.
 */
void mime_html_text(struct bytes html, struct buffer *out);

#endif
