/* annotation_private: the keys of annotations, for annotation*.c only. */
#ifndef CHAPAR_MAIL_ANNOTATION_PRIVATE_H
#define CHAPAR_MAIL_ANNOTATION_PRIVATE_H

#include "mail/annotation.h"

#include "base/pack.h"

#define ANNOTATION_MESSAGE_LETTER 'm'

/* Each builds a key in `at` and returns it. */
struct bytes metadata_key(
	unsigned char at[REGISTER_KEY_SIZE_MAX], enum annotation_scope scope, struct bytes entry);
struct bytes message_annotation_key(unsigned char at[REGISTER_KEY_SIZE_MAX], struct stamp instance,
	enum annotation_scope scope, struct bytes entry);

#endif
