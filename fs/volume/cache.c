/*
 * cache.c - the cache directory: found again at start, log segments, and what
 * the volume says about them.
 *
 * A file is known by its name alone ("seg-<id>"); what it holds is proven when it is read. Spares and half-made
 * copies of an earlier run are removed at start. A file whose header does not hold was never synced (the header is
 * written before anything in it is acknowledged), or was damaged since: that is for the volume to tell.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cache_impl.h"
#include "err.h"
#include "logmsg.h"

#define FREE_CHECK_NS 100000000u
#define COPY_BYTES (1u << 20)

void cache_busy(struct cache *c, int by)
{
	c->busy += (uint64_t)(int64_t)by;
	if (c->busy == 0)
		pthread_cond_broadcast(&c->cond);
}

void cache_unref_locked(struct cache *c)
{
	bool last = --c->refs == 0;
	struct trash *t;

	pthread_mutex_unlock(&c->mu);
	if (!last)
		return;
	while ((t = c->trash)) {
		c->trash = t->next;
		free(t);
	}
	pthread_cond_destroy(&c->cond);
	pthread_mutex_destroy(&c->mu);
	free(c);
}

/* --- open --- */

struct names { char (*names)[SEGMENT_NAME_BYTES]; size_t count, cap; };

static int collect(void *user, const char *name)
{
	struct names *n = user;

	if (strncmp(name, "seg-", 4) != 0 && strncmp(name, "spare-", 6) != 0 && strncmp(name, "tmp-", 4) != 0)
		return 0;
	if (strlen(name) >= SEGMENT_NAME_BYTES)
		return 0;
	if (n->count == n->cap) {
		size_t cap = n->cap ? n->cap * 2 : 64;
		void *p = realloc(n->names, cap * sizeof(*n->names));

		if (!p)
			return -ENOMEM;
		n->names = p;
		n->cap = cap;
	}
	(void)snprintf(n->names[n->count++], SEGMENT_NAME_BYTES, "%s", name);
	return 0;
}

/* "seg-" and exactly 16 lower-case hex digits. */
static bool parse_name(const char *name, uint64_t *ret)
{
	char again[SEGMENT_NAME_BYTES], *end;

	if (strncmp(name, "seg-", 4) != 0)
		return false;
	*ret = strtoull(name + 4, &end, 16);
	segment_name(*ret, again);
	return strcmp(again, name) == 0;
}

/*
 * A file that says it is log, or that cannot be read, is held until cache_scan_log has shown it to the volume: it may be all
 * there is of what an fsync promised. On a read-only mount that is for ever.
 */
static int find_file(struct cache *c, const char *name)
{
	struct segment *s = NULL;
	struct entry *e;
	uint64_t id;
	int rc;

	if (!parse_name(name, &id)) {
		c->used += CACHE_LOG_CHARGE; /* at most */
		if (!c->o.read_only) /* a reader deletes nothing of a writer's, but it counts */
			cache_discard(c, name, NULL, CACHE_LOG_CHARGE);
		return 0;
	}
	e = cache_add(c, id);
	if (!e)
		return -ENOMEM;
	rc = segment_open(c->o.disk, id, &s);
	cache_charge(c, e, rc ? CACHE_LOG_CHARGE : segment_disk_usage(s)); /* unreadable: at most */
	e->held = rc || segment_header(s)->is_log;
	if (!e->held)
		cache_enqueue(c, e);
	segment_unref(s);
	return 0;
}

static int find_files(struct cache *c)
{
	struct names n = { NULL, 0, 0 };
	size_t i;
	int rc = c->o.disk->list(c->o.disk, "", collect, &n);

	for (i = 0; rc == 0 && i < n.count; i++)
		rc = find_file(c, n.names[i]);
	free(n.names);
	return rc;
}

static void free_entries(struct cache *c)
{
	size_t i;

	for (i = 0; i < c->bucket_count; i++) {
		struct entry *e = c->buckets[i], *next;

		for (; e; e = next) {
			next = e->hash_next;
			segment_unref(e->seg);
			free(e);
		}
	}
	free(c->buckets);
	c->buckets = NULL;
	c->bucket_count = c->entry_count = 0;
}

static unsigned spares_for(uint64_t files)
{
	return files >= 4 * CACHE_SPARES_MAX ? CACHE_SPARES_MAX : files >= 8 ? 2 : files >= 3 ? 1 : 0;
}

static struct cache *new_cache(const struct cache_options *o)
{
	struct cache *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->o = *o;
	c->refs = 1;
	pthread_mutex_init(&c->mu, NULL);
	pthread_cond_init(&c->cond, NULL);
	link_init(&c->small.head);
	link_init(&c->main.head);
	link_init(&c->open_lru);
	link_init(&c->idle_lru);
	link_init(&c->fetches);
	link_init(&c->waiting);
	c->spare_job.run = cache_spare_run;
	if (!o->read_only)
		c->spare_max = spares_for(o->budget_bytes / CACHE_LOG_CHARGE);
	return c;
}

int cache_open(const struct cache_options *o, struct cache **ret)
{
	struct cache *c = new_cache(o);
	int rc;

	if (!c)
		return -ENOMEM;
	pthread_mutex_lock(&c->mu);
	rc = find_files(c);
	if (rc) {
		free_entries(c);
		cache_unref_locked(c);
		return err_set(rc, "cannot read the segment files of the cache directory: %s", err_text(rc));
	}
	/* The budget may be smaller than last time. Log is not given up for it: then the excess lasts until the store has it. */
	if (cache_reserve(c, 0))
		logmsg(LOGMSG_WARNING, "the cache directory holds %llu bytes that cannot be given up yet, more than its budget of %llu",
		       (unsigned long long)c->used, (unsigned long long)o->budget_bytes);
	pthread_mutex_unlock(&c->mu);
	*ret = c;
	return 0;
}

void cache_close(struct cache *c)
{
	if (!c)
		return;
	pthread_mutex_lock(&c->mu);
	c->closing = true;
	pthread_mutex_unlock(&c->mu);
	cache_fetch_stop(c);
	pthread_mutex_lock(&c->mu);
	while (c->busy)
		pthread_cond_wait(&c->cond, &c->mu);
	cache_stage_clear(c); /* what the last ones left */
	free_entries(c);
	cache_unref_locked(c);
}

/* --- local log --- */

/* Why a file's header does not hold: -ENODATA where there is none (zeros, or nothing), ERR_CORRUPT, -EIO. */
static int look_at_header(struct cache *c, uint64_t id)
{
	static const uint8_t zero[512];
	struct disk *d = c->o.disk;
	char name[SEGMENT_NAME_BYTES];
	uint8_t head[sizeof(zero)];
	struct disk_file *f;
	size_t n;
	int rc;

	segment_name(id, name);
	rc = d->open(d, name, DISK_READ, &f);
	if (rc)
		return rc;
	rc = d->pread(f, head, sizeof(head), 0, &n);
	d->close(f);
	if (rc)
		return rc;
	return memcmp(head, zero, n) == 0 ? -ENODATA : ERR_CORRUPT;
}

/* Opens the segment of e, which is held and therefore stays. */
static int scan_open(struct cache *c, struct entry *e, struct segment **ret)
{
	struct segment *s;
	int rc;

	pthread_mutex_lock(&c->mu);
	while (e->loading)
		pthread_cond_wait(&c->cond, &c->mu);
	if (e->seg) {
		*ret = segment_ref(e->seg);
		pthread_mutex_unlock(&c->mu);
		return 0;
	}
	e->loading = true;
	pthread_mutex_unlock(&c->mu);
	rc = segment_open(c->o.disk, e->id, &s);
	pthread_mutex_lock(&c->mu);
	e->loading = false;
	if (rc == 0) {
		e->seg = segment_ref(s);
		cache_touch(c, e);
		*ret = s;
	}
	pthread_cond_broadcast(&c->cond);
	pthread_mutex_unlock(&c->mu);
	return rc;
}

static int scan_one(struct cache *c, uint64_t id, cache_found *each, void *user)
{
	struct segment *s = NULL;
	struct entry *e;
	int rc;

	pthread_mutex_lock(&c->mu);
	e = cache_find(c, id);
	if (e && !e->held)
		e = NULL;
	pthread_mutex_unlock(&c->mu);
	if (!e)
		return 0;
	rc = scan_open(c, e, &s);
	if (rc == ERR_CORRUPT)
		rc = look_at_header(c, id);
	if (rc == ERR_CORRUPT || rc == -ENODATA || rc == -EIO)
		return each(user, id, NULL, rc); /* stays held */
	if (rc)
		return err_set(rc, "cannot read seg-%016llx of the cache directory: %s", (unsigned long long)id, err_text(rc));
	rc = each(user, id, s, 0);
	pthread_mutex_lock(&c->mu);
	e = cache_find(c, id);
	if (e && e->held) {
		e->held = false;
		if (!e->log)
			cache_enqueue(c, e); /* while each() kept a reference it stays all the same */
	}
	pthread_mutex_unlock(&c->mu);
	segment_unref(s);
	return rc;
}

int cache_scan_log(struct cache *c, cache_found *each, void *user)
{
	uint64_t *ids;
	size_t n = 0, i;
	int rc = 0;

	pthread_mutex_lock(&c->mu);
	ids = malloc((c->entry_count + 1) * sizeof(*ids));
	for (i = 0; ids && i < c->bucket_count; i++) {
		struct entry *e;

		for (e = c->buckets[i]; e; e = e->hash_next)
			if (e->held)
				ids[n++] = e->id;
	}
	pthread_mutex_unlock(&c->mu);
	if (!ids)
		return -ENOMEM;
	for (i = 0; rc == 0 && i < n; i++)
		rc = scan_one(c, ids[i], each, user);
	free(ids);
	return rc;
}

static void make_log(struct cache *c, struct entry *e)
{
	cache_dequeue(c, e);
	if (e->log)
		return;
	e->log = true;
	c->log_count++;
	c->log_bytes += e->usage_bytes;
}

static void end_log(struct cache *c, struct entry *e)
{
	if (!e->log)
		return;
	e->log = false;
	c->log_count--;
	c->log_bytes -= e->usage_bytes;
}

void cache_adopt_log(struct cache *c, struct segment *s)
{
	struct entry *e;

	pthread_mutex_lock(&c->mu);
	e = cache_find(c, segment_header(s)->id);
	if (e && e->seg == s)
		make_log(c, e);
	pthread_mutex_unlock(&c->mu);
}

static int move_aside(struct cache *c, uint64_t id, char ret_aside[SEGMENT_NAME_BYTES + 16])
{
	char name[SEGMENT_NAME_BYTES];
	struct disk *d = c->o.disk;
	int rc;

	segment_name(id, name);
	(void)snprintf(ret_aside, SEGMENT_NAME_BYTES + 16, "salvage/%s", name);
	rc = d->mkdir(d, "salvage");
	if (rc == 0)
		rc = d->rename(d, name, ret_aside);
	if (rc == 0)
		rc = d->sync_dir(d, "salvage");
	if (rc == 0)
		rc = d->sync_dir(d, "");
	return rc ? err_set(rc, "cannot move %s to salvage/ of the cache directory: %s", name, err_text(rc)) : 0;
}

int cache_salvage(struct cache *c, struct segment *s)
{
	char aside[SEGMENT_NAME_BYTES + 16];
	struct entry *e;
	int rc = move_aside(c, segment_header(s)->id, aside);

	if (rc)
		return rc;
	segment_moved(s, aside);
	pthread_mutex_lock(&c->mu);
	e = cache_find(c, segment_header(s)->id);
	if (e && e->seg == s)
		cache_remove(c, e);
	pthread_mutex_unlock(&c->mu);
	return 0;
}

int cache_set_aside(struct cache *c, uint64_t id)
{
	char aside[SEGMENT_NAME_BYTES + 16];
	struct entry *e;
	int rc = move_aside(c, id, aside);

	if (rc)
		return rc;
	pthread_mutex_lock(&c->mu);
	e = cache_find(c, id);
	if (e)
		cache_remove(c, e);
	pthread_mutex_unlock(&c->mu);
	return 0;
}

static int copy_file(struct disk *d, const char *from, const char *to)
{
	uint8_t *chunk = malloc(COPY_BYTES);
	struct disk_file *f = NULL, *t = NULL;
	uint64_t off;
	size_t n = 0;
	int rc = chunk ? d->open(d, from, DISK_READ, &f) : -ENOMEM;

	(void)d->unlink(d, to); /* of an attempt that was cut short */
	if (rc == 0)
		rc = d->open(d, to, DISK_CREATE, &t);
	for (off = 0; rc == 0 && (off == 0 || n == COPY_BYTES); off += n) {
		rc = d->pread(f, chunk, COPY_BYTES, off, &n);
		if (rc == 0 && n)
			rc = d->pwrite(t, chunk, n, off);
	}
	if (rc == 0)
		rc = d->sync(t);
	if (t)
		d->close(t);
	if (f)
		d->close(f);
	free(chunk);
	return rc;
}

int cache_copy_aside(struct cache *c, uint64_t id)
{
	char name[SEGMENT_NAME_BYTES], aside[SEGMENT_NAME_BYTES + 16];
	struct disk *d = c->o.disk;
	int rc;

	segment_name(id, name);
	(void)snprintf(aside, sizeof(aside), "salvage/%s", name);
	rc = d->mkdir(d, "salvage");
	if (rc == 0)
		rc = copy_file(d, name, aside);
	if (rc == 0)
		rc = d->sync_dir(d, "salvage");
	if (rc == 0)
		rc = d->sync_dir(d, "");
	return rc ? err_set(rc, "cannot copy %s to salvage/ of the cache directory: %s", name, err_text(rc)) : 0;
}

/* A file for the next segment: its charge is on the account when 0 is returned; name is "" for a new file. mu held (drops it). */
static int take_file(struct cache *c, char name[SEGMENT_NAME_BYTES])
{
	static const struct timespec pause = { 0, 2000000 };
	int tries, rc;

	name[0] = '\0';
	for (tries = 0;; tries++) {
		if (c->spare_count) {
			memcpy(name, c->spares[--c->spare_count].name, SEGMENT_NAME_BYTES);
			return 0;
		}
		rc = cache_reserve(c, CACHE_LOG_CHARGE);
		/* What is in the way may only be in use for this moment. */
		if (rc == 0 || tries == 20 || c->log_bytes + CACHE_LOG_CHARGE > c->o.budget_bytes)
			return rc;
		pthread_mutex_unlock(&c->mu);
		(void)nanosleep(&pause, NULL);
		pthread_mutex_lock(&c->mu);
	}
}

/*
 * Takes a file and makes the segment. A spare that is of no use is replaced; where the disk is full before the budget is,
 * cached segments give way one by one. On success CACHE_LOG_CHARGE is reserved. mu held (drops it).
 */
static int create_log(struct cache *c, const struct segment_header *h, struct segment **ret)
{
	char name[SEGMENT_NAME_BYTES], spare[SEGMENT_NAME_BYTES];

	segment_name(h->id, name);
	for (;;) {
		struct entry *victim;
		int rc = take_file(c, spare);

		if (rc)
			return rc;
		pthread_mutex_unlock(&c->mu);
		rc = segment_create(c->o.disk, *spare ? spare : NULL, h, ret);
		pthread_mutex_lock(&c->mu);
		if (rc == 0)
			return 0;
		cache_discard(c, name, *spare ? spare : NULL, CACHE_LOG_CHARGE);
		if (*spare)
			continue;
		victim = rc == -ENOSPC ? cache_victim(c) : NULL;
		if (!victim || cache_evict(c, victim))
			return rc;
	}
}

/* Log files that wait for the store in numbers give back what they do not fill. mu held (drops it). */
static void trim_logs(struct cache *c)
{
	struct link *l, *head = &c->open_lru;
	struct entry *e = NULL;
	uint64_t usage;

	if (c->log_bytes < c->o.budget_bytes / 4)
		return;
	for (l = head->next; l != head && !e; l = l->next) {
		e = CL_CONTAINER_OF(l, struct entry, lru_link);
		if (!e->log || e->usage_bytes != CACHE_LOG_CHARGE || e->pins || !segment_is_frozen(e->seg))
			e = NULL;
	}
	if (!e)
		return;
	e->pins++;
	pthread_mutex_unlock(&c->mu);
	segment_trim(e->seg);
	usage = segment_disk_usage(e->seg);
	pthread_mutex_lock(&c->mu);
	if (!e->gone && usage < CACHE_LOG_CHARGE)
		cache_charge(c, e, usage);
	cache_unpin(c, e);
}

int cache_new_log(struct cache *c, const struct segment_header *h, struct segment **ret)
{
	char name[SEGMENT_NAME_BYTES];
	struct segment *s = NULL;
	struct entry *e = NULL;
	int rc;

	if (c->o.read_only)
		return ERR_READ_ONLY;
	pthread_mutex_lock(&c->mu);
	trim_logs(c);
	rc = create_log(c, h, &s);
	if (rc == 0) {
		e = cache_add(c, h->id);
		rc = e ? 0 : -ENOMEM;
	}
	if (rc == 0) {
		cache_unreserve(c, CACHE_LOG_CHARGE);
		e->seg = s;
		cache_charge(c, e, CACHE_LOG_CHARGE);
		make_log(c, e);
		cache_touch(c, e);
		*ret = segment_ref(s);
	} else if (s) {
		segment_unref(s);
		segment_name(h->id, name);
		cache_discard(c, name, NULL, CACHE_LOG_CHARGE);
	}
	cache_spare_kick(c);
	pthread_mutex_unlock(&c->mu);
	return rc;
}

/* What the disk has free, asked at most ten times a second: this is called for every write. */
static bool disk_has_room(struct cache *c)
{
	uint64_t now = c->o.env->boot_ns(c->o.env);

	if (c->free_checked_ns == 0 || now - c->free_checked_ns >= FREE_CHECK_NS) {
		if (c->o.disk->free_bytes(c->o.disk, &c->free_bytes))
			c->free_bytes = UINT64_MAX; /* not known: the write itself will tell */
		c->free_checked_ns = now;
	}
	return c->free_bytes >= CACHE_LOG_CHARGE || c->small.bytes + c->main.bytes >= CACHE_LOG_CHARGE - c->free_bytes;
}

const char *cache_log_held(struct cache *c)
{
	const char *why = NULL;

	pthread_mutex_lock(&c->mu);
	if (c->spare_count == 0 && c->log_bytes + CACHE_LOG_CHARGE > c->o.budget_bytes)
		why = "the cache directory's budget (cache_size) is full of what the store has not got";
	else if (c->spare_count == 0 && !disk_has_room(c))
		why = "the disk of the cache directory is full: make room on it";
	pthread_mutex_unlock(&c->mu);
	return why;
}

void cache_log_committed(struct cache *c, struct segment *s, const struct segment_ref *ref)
{
	struct entry *e;
	int rc = -ENOENT;

	pthread_mutex_lock(&c->mu);
	e = cache_find(c, ref->id);
	if (e && e->seg == s) {
		end_log(c, e);
		cache_enqueue(c, e);
		cache_touch(c, e); /* whoever sent it had it open */
		rc = c->closing ? -ESHUTDOWN : cache_settle(c, e, false);
	}
	pthread_mutex_unlock(&c->mu);
	if (rc) {
		segment_committed(s);
		segment_drop_memory(s);
	}
}

void cache_drop(struct cache *c, uint64_t id)
{
	struct entry *e;

	pthread_mutex_lock(&c->mu);
	cache_fetch_forget(c, id);
	while ((e = cache_find(c, id)) && (e->dying || e->loading))
		pthread_cond_wait(&c->cond, &c->mu);
	if (e && e->log && e->seg && !c->closing) {
		end_log(c, e);
		cache_enqueue(c, e);
		if (cache_settle(c, e, true))
			cache_unlink(c, e);
	} else if (e) {
		cache_unlink(c, e);
	}
	pthread_mutex_unlock(&c->mu);
}

void cache_status(struct cache *c, struct cache_status *ret)
{
	pthread_mutex_lock(&c->mu);
	ret->used_bytes = c->used;
	ret->budget_bytes = c->o.budget_bytes;
	ret->log_bytes = c->log_bytes;
	ret->hits = atomic_load(&c->hits);
	ret->misses = atomic_load(&c->misses);
	ret->fetched_bytes = c->fetched_bytes;
	ret->evictions = c->evictions;
	ret->repaired = c->repaired;
	pthread_mutex_unlock(&c->mu);
}
