/* etag.c - ETags made from content. An ETag compares contents here, it proves nothing to an adversary: 128 fast bits do. */
#include "etag.h"

#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

struct etag_state *etag_begin(void)
{
	XXH3_state_t *st = XXH3_createState();

	if (st != NULL)
		XXH3_128bits_reset(st);
	return (struct etag_state *)st;
}

void etag_add(struct etag_state *st, const void *p, size_t len)
{
	if (len > 0 && XXH3_128bits_update((XXH3_state_t *)st, p, len) != XXH_OK)
		abort(); /* cannot happen: st and p are there */
}

void etag_end(struct etag_state *st, char *ret)
{
	XXH128_hash_t h = XXH3_128bits_digest((XXH3_state_t *)st);

	snprintf(ret, ETAG_HEX + 1, "%016llx%016llx", (unsigned long long)h.high64, (unsigned long long)h.low64);
	etag_free(st);
}

void etag_free(struct etag_state *st)
{
	XXH3_freeState((XXH3_state_t *)st);
}
