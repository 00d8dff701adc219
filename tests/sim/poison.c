/*
 * poison.c - what a bad disk, or a careless hand, does to the files of a cache directory: bits flip, ranges are zeroed, exchanged or
 * replaced, files are cut short, exchanged or gone. Current bytes and platter alike: no sync was wrong, and none mends it.
 */
#include <stdlib.h>
#include <string.h>

#include "segment.h"
#include "simdisk_impl.h"

#define RANGE_MAX 65536u

static void set_page(uint8_t **pages, size_t k, size_t at, const uint8_t *from, size_t n)
{
	if (!pages[k]) {
		pages[k] = calloc(1, SIMDISK_PAGE);
		if (!pages[k])
			abort();
	}
	memcpy(pages[k] + at, from, n);
}

static void set_bytes(struct simdisk *d, struct inode_sim *i, uint64_t off, const uint8_t *from, size_t len)
{
	while (len > 0) {
		size_t k = (size_t)(off / SIMDISK_PAGE), at = (size_t)(off % SIMDISK_PAGE), n = SIMDISK_PAGE - at < len ? SIMDISK_PAGE - at : len;

		set_page(i->pages, k, at, from, n);
		if (i->on_platter[k])
			set_page(i->platter, k, at, from, n);
		off += n;
		from += n;
		len -= n;
	}
	simdisk_recount(d, i);
}

static void get_bytes(const struct inode_sim *i, uint64_t off, uint8_t *to, size_t len)
{
	for (size_t done = 0; done < len; done++, off++) {
		const uint8_t *page = i->pages[off / SIMDISK_PAGE];

		to[done] = page ? page[off % SIMDISK_PAGE] : 0;
	}
}

static void cut_short(struct simdisk *d, struct inode_sim *i, uint64_t size)
{
	for (size_t k = (size_t)((size + SIMDISK_PAGE - 1) / SIMDISK_PAGE); k < SIMDISK_FILE_PAGES; k++) {
		free(i->pages[k]);
		free(i->platter[k]);
		i->pages[k] = i->platter[k] = NULL;
		i->reserved[k] = 0;
	}
	if (size % SIMDISK_PAGE && i->pages[size / SIMDISK_PAGE])
		memset(i->pages[size / SIMDISK_PAGE] + size % SIMDISK_PAGE, 0, SIMDISK_PAGE - size % SIMDISK_PAGE);
	i->size = i->platter_size = size;
	simdisk_recount(d, i);
}

/* Log that the store may not have: it is what most depends on. */
static bool is_log(const struct inode_sim *i)
{
	uint8_t page[2048];

	get_bytes(i, 0, page, sizeof page);
	return memcmp(page, "CLVSEGMT", 8) == 0 && page[12] == 1 && memcmp(page + 1024, "CLVACKED", 8) != 0;
}

static struct name *pick(struct simdisk *d, struct rng *r)
{
	bool log = rng_permille(r, 600), small = !log && rng_permille(r, 150);
	struct name *found = NULL;
	uint64_t seen = 0;

	for (struct name *n = d->names; n; n = n->next) {
		bool seg = !strncmp(n->text, "seg-", 4);

		if (!n->now || strchr(n->text, '/') || (small ? seg : !seg) || (log && !is_log(n->now)))
			continue;
		if (rng_below(r, ++seen) == 0)
			found = n;
	}
	return found;
}

static uint64_t pick_offset(struct rng *r, const struct inode_sim *i)
{
	static const uint64_t parts[] = { 0, SEGMENT_TABLE_OFFSET, SEGMENT_RECORDS_OFFSET, SEGMENT_RECORDS_OFFSET, SEGMENT_RECORDS_OFFSET, SEGMENT_DATA_OFFSET,
					  SEGMENT_DATA_OFFSET };
	uint64_t off = parts[rng_below(r, CL_ARRAY_LEN(parts))];

	if (i->size < SEGMENT_DATA_OFFSET)
		return rng_below(r, i->size + 1);
	off += off ? rng_skewed(r, 0, 100000) : rng_below(r, 200);
	return rng_permille(r, 300) ? off & ~4095ull : off;
}

static void damage_bytes(struct simdisk *d, struct rng *r, struct inode_sim *i, struct inode_sim *other)
{
	static uint8_t a[RANGE_MAX], b[RANGE_MAX];
	uint64_t off = pick_offset(r, i), from = pick_offset(r, other);
	size_t len = (size_t)rng_skewed(r, 1, RANGE_MAX);

	if (off >= i->size)
		return;
	if (len > i->size - off)
		len = (size_t)(i->size - off);
	get_bytes(i, off, a, len);
	switch (rng_below(r, 4)) {
	case 0:
		for (unsigned k = 0; k < 3; k++)
			a[rng_skewed(r, 0, len - 1)] ^= (uint8_t)(1u << rng_below(r, 8));
		break;
	case 1:
		memset(a, 0, len);
		break;
	case 2:
		rng_fill(r, a, len);
		break;
	default:
		if (from + len > other->size || other == i)
			return;
		get_bytes(other, from, b, len);
		set_bytes(d, other, from, a, len);
		memcpy(a, b, len);
	}
	set_bytes(d, i, off, a, len);
}

static void mean(struct name *n, struct inode_sim *i)
{
	n->now = n->durable = i;
}

const char *simdisk_poison(struct simdisk *d, struct rng *r)
{
	struct name *n = pick(d, r), *o = pick(d, r);
	struct inode_sim *i;

	if (!n || !o)
		return NULL;
	i = n->now;
	switch (rng_below(r, 12)) {
	case 0:
		cut_short(d, i, rng_permille(r, 300) ? 0 : rng_below(r, i->size + 1));
		break;
	case 1:
		if (n == o || n->durable != i || o->durable != o->now)
			return NULL;
		mean(n, o->now);
		mean(o, i);
		break;
	case 2:
		if (n->durable != i)
			return NULL;
		mean(n, NULL);
		i->names--;
		simdisk_note_change(d, n, NULL);
		break;
	default:
		damage_bytes(d, r, i, o->now);
	}
	return n->text;
}
