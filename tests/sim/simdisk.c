/*
 * simdisk.c - the disk of a simulated machine: what processes see, and what of
 * it would survive the loss of power.
 *
 * A file keeps its pages as they are now and, for pages written since the last sync,
 * as they are on the platter, with a log of the writes between. Power loss replays a random subset of
 * that log onto the platter, sector by sector. A failed fdatasync does the same and forgets the log: the
 * pages look clean, but are not (as Linux has it). Names work likewise: a directory remembers what each name
 * meant when it was last synced, and after power loss each changed name means either; or only the
 * first few changes happened, as on a journalled file system.
 *
 * A process that is killed loses nothing.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "simdisk_impl.h"


/* --- inodes --- */

struct inode_sim *simdisk_inode_new(struct simdisk *d)
{
	struct inode_sim *i = calloc(1, sizeof *i);

	if (!i)
		abort();
	i->pages = calloc(SIMDISK_FILE_PAGES, sizeof(*i->pages));
	i->platter = calloc(SIMDISK_FILE_PAGES, sizeof(*i->platter));
	i->on_platter = calloc(SIMDISK_FILE_PAGES, 1);
	i->reserved = calloc(SIMDISK_FILE_PAGES, 1);
	if (!i->pages || !i->platter || !i->on_platter || !i->reserved)
		abort();
	i->log_tail = &i->log;
	i->next_all = d->inodes;
	d->inodes = i;
	return i;
}

static void log_free(struct inode_sim *i)
{
	struct pending *q;

	while ((q = i->log)) {
		i->log = q->next;
		free(q);
	}
	i->log_tail = &i->log;
}

static void inode_free(struct inode_sim *i)
{
	for (size_t k = 0; k < SIMDISK_FILE_PAGES; k++) {
		free(i->pages[k]);
		free(i->platter[k]);
	}
	free(i->pages);
	free(i->platter);
	free(i->on_platter);
	free(i->reserved);
	log_free(i);
	free(i);
}

/* Space of what has no name and is open nowhere comes back; the inode itself stays until nothing durable names it. */
void simdisk_inode_maybe_free(struct simdisk *d, struct inode_sim *i)
{
	struct inode_sim **at;
	struct name *n;

	if (i->names || i->opens)
		return;
	for (n = d->names; n; n = n->next)
		if (n->durable == i || n->now == i)
			return;
	for (struct change *c = d->changes; c; c = c->next)
		if (c->a_now == i || c->b_now == i)
			return;
	for (at = &d->inodes; *at && *at != i; at = &(*at)->next_all)
		;
	if (*at)
		*at = i->next_all;
	d->used_pages -= i->used_pages;
	inode_free(i);
}

void simdisk_sweep(struct simdisk *d)
{
	struct inode_sim *i, *next;

	for (i = d->inodes; i; i = next) {
		next = i->next_all;
		simdisk_inode_maybe_free(d, i);
	}
}

/* Keeps the page as the platter has it, before its first change since then. */
void simdisk_keep_platter(struct inode_sim *i, size_t k)
{
	if (i->on_platter[k])
		return;
	i->on_platter[k] = 1;
	if (!i->pages[k])
		return;
	i->platter[k] = malloc(SIMDISK_PAGE);
	if (!i->platter[k])
		abort();
	memcpy(i->platter[k], i->pages[k], SIMDISK_PAGE);
}

static uint8_t *page_for_write(struct simdisk *d, struct inode_sim *i, size_t k)
{
	if (!i->pages[k]) {
		i->pages[k] = calloc(1, SIMDISK_PAGE);
		if (!i->pages[k])
			abort();
		if (!i->reserved[k]) {
			i->used_pages++;
			d->used_pages++;
		}
	}
	return i->pages[k];
}

bool simdisk_has_space(const struct simdisk *d, const struct inode_sim *i, uint64_t off, uint64_t len)
{
	uint64_t need = 0;

	for (uint64_t k = off / SIMDISK_PAGE; k <= (off + len - 1) / SIMDISK_PAGE; k++)
		if (!i->pages[k] && !i->reserved[k])
			need++;
	return (d->used_pages + need) * SIMDISK_PAGE <= d->capacity || need == 0;
}

/* Bytes onto the platter: sectors for which keep() says so. */
static void platter_apply(struct simdisk *d, struct inode_sim *i, const struct pending *q, unsigned mode)
{
	uint64_t at = q->off, end = q->off + q->len;
	const uint8_t *from = q->data;

	if (q->truncate) {
		if (mode == 0 || (mode == 2 && rng_permille(&d->w->rng, 500)))
			i->platter_size = q->off;
		return;
	}
	while (at < end) {
		uint64_t stop = (at / SIMDISK_SECTOR + 1) * SIMDISK_SECTOR < end ? (at / SIMDISK_SECTOR + 1) * SIMDISK_SECTOR : end;
		size_t n = (size_t)(stop - at), k = (size_t)(at / SIMDISK_PAGE);

		if (mode == 0 || (mode == 2 && rng_permille(&d->w->rng, 500))) {
			if (!i->platter[k]) {
				i->platter[k] = calloc(1, SIMDISK_PAGE);
				if (!i->platter[k])
					abort();
			}
			memcpy(i->platter[k] + at % SIMDISK_PAGE, from, n);
			if (i->platter_size < stop)
				i->platter_size = stop;
		}
		from += n;
		at = stop;
	}
}

/* A random subset of the log reaches the platter: each write whole, torn or not at all. */
void simdisk_lose(struct simdisk *d, struct inode_sim *i)
{
	unsigned whole = (unsigned)rng_below(&d->w->rng, 1001);

	for (struct pending *q = i->log; q; q = q->next) {
		unsigned mode = rng_permille(&d->w->rng, whole) ? 0 : rng_permille(&d->w->rng, 300) ? 2 : 1;

		platter_apply(d, i, q, mode);
	}
	log_free(i);
}

void simdisk_write_now(struct simdisk *d, struct inode_sim *i, const uint8_t *from, size_t len, uint64_t off)
{
	struct pending *q = malloc(sizeof *q + len);
	size_t done = 0;

	if (!q)
		abort();
	q->next = NULL;
	q->seq = ++d->write_seq;
	q->off = off;
	q->len = len;
	q->truncate = false;
	memcpy(q->data, from, len);
	*i->log_tail = q;
	i->log_tail = &q->next;
	i->dirty = true;
	while (done < len) {
		uint64_t at = off + done;
		size_t n = SIMDISK_PAGE - at % SIMDISK_PAGE, k = (size_t)(at / SIMDISK_PAGE);

		if (n > len - done)
			n = len - done;
		simdisk_keep_platter(i, k);
		memcpy(page_for_write(d, i, k) + at % SIMDISK_PAGE, from + done, n);
		done += n;
	}
	if (off + len > i->size)
		i->size = off + len;
}

void simdisk_recount(struct simdisk *d, struct inode_sim *i)
{
	d->used_pages -= i->used_pages;
	i->used_pages = 0;
	for (size_t k = 0; k < SIMDISK_FILE_PAGES; k++)
		if (i->pages[k] || i->reserved[k])
			i->used_pages++;
	d->used_pages += i->used_pages;
}

/* From now on the pages are what the platter has. */
void simdisk_pages_from_platter(struct simdisk *d, struct inode_sim *i)
{
	for (size_t k = 0; k < SIMDISK_FILE_PAGES; k++) {
		if (!i->on_platter[k])
			continue;
		free(i->pages[k]);
		i->pages[k] = i->platter[k];
		i->platter[k] = NULL;
		i->on_platter[k] = 0;
	}
	i->size = i->platter_size;
	i->dirty = i->lying = false;
	simdisk_recount(d, i);
}

/* Writes up to number `until`; what came after it stays at risk. */
void simdisk_inode_sync_prefix(struct simdisk *d, struct inode_sim *i, uint64_t until, uint64_t size)
{
	struct pending *q;

	while ((q = i->log) && q->seq <= until) {
		platter_apply(d, i, q, 0);
		i->log = q->next;
		free(q);
	}
	if (!i->log)
		i->log_tail = &i->log;
	if (i->platter_size < size)
		i->platter_size = size;
}

void simdisk_inode_sync(struct simdisk *d, struct inode_sim *i)
{
	if (i->lying) {
		for (struct pending *q = i->log; q; q = q->next)
			platter_apply(d, i, q, 0);
	} else {
		for (size_t k = 0; k < SIMDISK_FILE_PAGES && i->dirty; k++) {
			free(i->platter[k]);
			i->platter[k] = NULL;
			i->on_platter[k] = 0;
		}
		i->platter_size = i->size;
		i->dirty = false;
	}
	log_free(i);
}

/* --- names --- */

struct name *simdisk_name_get(struct simdisk *d, const char *text)
{
	struct name *n;

	for (n = d->names; n; n = n->next)
		if (!strcmp(n->text, text))
			return n;
	n = calloc(1, sizeof *n);
	if (!n || strlen(text) >= sizeof n->text)
		abort();
	snprintf(n->text, sizeof n->text, "%s", text);
	n->next = d->names;
	d->names = n;
	return n;
}

void simdisk_note_change(struct simdisk *d, struct name *a, struct name *b)
{
	struct change *c = calloc(1, sizeof *c);

	if (!c)
		abort();
	c->a = a;
	c->b = b;
	c->a_now = a->now;
	c->b_now = b ? b->now : NULL;
	*d->changes_tail = c;
	d->changes_tail = &c->next;
}

static void changes_free(struct simdisk *d)
{
	struct change *c;

	while ((c = d->changes)) {
		d->changes = c->next;
		free(c);
	}
	d->changes_tail = &d->changes;
}

bool simdisk_in_dir(const char *name, const char *dir)
{
	const char *slash = strchr(name, '/');

	if (!dir[0])
		return !slash;
	return slash && (size_t)(slash - name) == strlen(dir) && !strncmp(name, dir, strlen(dir));
}

static struct name *durable_name(struct simdisk *d, const struct inode_sim *i, const struct name *but)
{
	for (struct name *n = d->names; n; n = n->next)
		if (n != but && n->durable == i)
			return n;
	return NULL;
}

/* Each changed name means the old or the new, but a rename happens or does not: what had a safe name has exactly one. */
static void lose_names_any(struct simdisk *d)
{
	struct name *n;

	for (n = d->names; n; n = n->next)
		if (n->durable)
			n->durable->was_safe = true;
	for (n = d->names; n; n = n->next)
		if (n->now != n->durable && rng_permille(&d->w->rng, 500))
			n->durable = n->now;
	for (n = d->names; n; n = n->next) {
		struct name *other;

		if (!n->now)
			continue;
		if (n->now->was_safe && !durable_name(d, n->now, NULL))
			n->durable = n->now;
		if (n->durable == n->now && (other = durable_name(d, n->now, n)))
			other->durable = other->now;
	}
	for (struct inode_sim *i = d->inodes; i; i = i->next_all)
		i->was_safe = false;
}

static void lose_names(struct simdisk *d)
{
	struct rng *r = &d->w->rng;
	struct name *n;

	if (rng_permille(r, 500)) { /* a journal: the first few changes happened */
		size_t count = 0, keep, k = 0;
		struct change *c;

		for (c = d->changes; c; c = c->next)
			count++;
		keep = (size_t)rng_below(r, count + 1);
		for (c = d->changes; c && k < keep; c = c->next, k++) {
			c->a->durable = c->a_now;
			if (c->b)
				c->b->durable = c->b_now;
		}
	} else {
		lose_names_any(d);
	}
	for (n = d->names; n; n = n->next) {
		if (n->now)
			n->now->names--;
		n->now = n->durable;
		if (n->now)
			n->now->names++;
	}
	changes_free(d);
}

/* --- the machine --- */

struct simdisk *simdisk_new(struct world *w, uint64_t capacity_bytes)
{
	struct simdisk *d = calloc(1, sizeof *d);

	if (!d)
		abort();
	d->w = w;
	d->capacity = capacity_bytes;
	d->changes_tail = &d->changes;
	return d;
}

void simdisk_free(struct simdisk *d)
{
	struct inode_sim *i;
	struct name *n;

	changes_free(d);
	while ((i = d->inodes)) {
		d->inodes = i->next_all;
		inode_free(i);
	}
	while ((n = d->names)) {
		d->names = n->next;
		free(n);
	}
	free(d);
}

/* An image of the disk: what a snapshot or a clone of the machine would have. Everything in it is safe. */
struct simdisk *simdisk_copy(const struct simdisk *d)
{
	struct simdisk *c = simdisk_new(d->w, d->capacity);

	for (const struct name *n = d->names; n; n = n->next) {
		struct name *m;

		if (!n->now)
			continue;
		m = simdisk_name_get(c, n->text);
		m->now = m->durable = simdisk_inode_new(c);
		m->now->names = 1;
		m->now->size = m->now->platter_size = n->now->size;
		memcpy(m->now->reserved, n->now->reserved, SIMDISK_FILE_PAGES);
		for (size_t k = 0; k < SIMDISK_FILE_PAGES; k++) {
			if (!n->now->pages[k])
				continue;
			m->now->pages[k] = malloc(SIMDISK_PAGE);
			if (!m->now->pages[k])
				abort();
			memcpy(m->now->pages[k], n->now->pages[k], SIMDISK_PAGE);
		}
		simdisk_recount(c, m->now);
	}
	return c;
}

void simdisk_power_loss(struct simdisk *d)
{
	struct inode_sim *i;

	for (i = d->inodes; i; i = i->next_all) {
		simdisk_lose(d, i);
		simdisk_pages_from_platter(d, i);
	}
	lose_names(d);
}

void simdisk_set_faults(struct simdisk *d, const struct simdisk_faults *f)
{
	d->faults = *f;
}

void simdisk_set_capacity(struct simdisk *d, uint64_t bytes)
{
	d->capacity = bytes;
}

uint64_t simdisk_used(struct simdisk *d)
{
	return d->used_pages * SIMDISK_PAGE;
}

uint64_t simdisk_used_by(struct simdisk *d, const char *prefix)
{
	uint64_t sum = 0;

	for (struct name *n = d->names; n; n = n->next)
		if (n->now && !strncmp(n->text, prefix, strlen(prefix)))
			sum += n->now->used_pages * SIMDISK_PAGE;
	return sum;
}

bool simdisk_rot(struct simdisk *d, const char *name, uint64_t off)
{
	struct name *n = simdisk_name_get(d, name);
	size_t k = (size_t)(off / SIMDISK_PAGE);
	uint8_t bit = (uint8_t)(1u << (off & 7));

	if (!n->now || off >= n->now->size || !n->now->pages[k])
		return false;
	n->now->pages[k][off % SIMDISK_PAGE] ^= bit;
	if (n->now->on_platter[k] && n->now->platter[k])
		n->now->platter[k][off % SIMDISK_PAGE] ^= bit;
	return true;
}

const char *simdisk_name(struct simdisk *d, size_t i)
{
	for (struct name *n = d->names; n; n = n->next)
		if (n->now && i-- == 0)
			return n->text;
	return NULL;
}

