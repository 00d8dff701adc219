/* etag.h - ETags made from content: XXH3-128 in hex. For the backends that give their own. */
#ifndef CLONELOVE_ETAG_H
#define CLONELOVE_ETAG_H

#include <stddef.h>

#define ETAG_HEX 32 /* characters, without the NUL */

struct etag_state;

struct etag_state *etag_begin(void); /* NULL: out of memory */
void etag_add(struct etag_state *st, const void *p, size_t len);
/* ret: ETAG_HEX + 1 bytes. Frees st. */
void etag_end(struct etag_state *st, char *ret);
void etag_free(struct etag_state *st); /* without an answer; NULL is fine */

#endif
