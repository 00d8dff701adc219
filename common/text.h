/*
 * text.h - text that others have chosen (names of files, of members), for a terminal or a log. Pure functions.
 *
 * A terminal obeys control characters: those below 0x20, 0x7f, and also U+0080 to U+009F, as UTF-8 or, on old ones, as single bytes. Marks that turn the
 * direction of writing show a name as another. None of them is shown.
 */
#ifndef CLONELOVE_TEXT_H
#define CLONELOVE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes (1 to 4) of the character at p that can be shown as it is; 0: the byte there is of none. p: not at the NUL. */
size_t text_char(const char *p);
/* Is it UTF-8 (RFC 3629), whatever it says? */
bool text_is_utf8(const char *text);
/* Each byte that cannot be shown becomes `with`. */
void text_clean(char *text, char with);
/* Such bytes, and backslashes, as \ooo: one text for each. Cut where it does not fit. Returns ret. */
const char *text_shown(const char *text, char *ret, size_t cap);

#endif
