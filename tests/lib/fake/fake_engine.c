/* fake_engine.c - see fake_engine.h. Included by a test, not compiled alone. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fake_engine.h"
#include "err.h"
#include "meta_impl.h"
#include "record.h"

#include "../../../fs/volume/ns_acl.c"
#include "../../../fs/volume/ns_ahead.c"
#include "../../../fs/volume/ns_dir.c"
#include "../../../fs/volume/ns_fragment.c"
#include "../../../fs/volume/ns_inode.c"
#include "../../../fs/volume/ns_name.c"
#include "../../../fs/volume/ns_orphan.c"
#include "../../../fs/volume/ns_read.c"
#include "../../../fs/volume/ns_rename.c"
#include "../../../fs/volume/ns_write.c"
#include "../../../fs/volume/ns_xattr.c"

#define DIE(...) do { fprintf(stderr, "fake engine: " __VA_ARGS__); fputc('\n', stderr); abort(); } while (0)

struct volume {
	struct fake_options o;
	struct meta *meta;
	struct orphans *orphans;
	struct exec exec;
	struct job *jobs;
	char dir[64];
	struct fake_segment *segments;
	size_t count, cap;
	uint64_t next_ino, now_ns, next_segment;
	bool locked, open, dirty, wrote;
	size_t begun_bytes, record_bytes;
	unsigned park;
	struct volume_wait *gate, *fetches;
	void (*hook)(struct volume *v, void *user);
	void *hook_user;
	struct buf changes;   /* klen, vlen + 1 or 0 = delete, key, value */
	struct fake_stats stats;
};

/* --- the map's sink --- */

static int fake_change(void *user, const uint8_t *key, size_t klen, const uint8_t *val, size_t vlen)
{
	struct volume *v = user;

	if (!v->open)
		DIE("a change outside of an operation");
	v->dirty = true;
	v->record_bytes += klen + vlen + 8;
	if (!v->o.keep_changes)
		return 0;
	buf_u32(&v->changes, (uint32_t)klen);
	buf_u32(&v->changes, val ? (uint32_t)vlen + 1 : 0);
	buf_bytes(&v->changes, key, klen);
	if (val)
		buf_bytes(&v->changes, val, vlen);
	return v->changes.err;
}

static struct fake_segment *fake_segment(struct volume *v, uint64_t id)
{
	for (size_t i = v->count; i-- > 0;)
		if (v->segments[i].id == id)
			return &v->segments[i];
	return NULL;
}

static void fake_live(void *user, uint64_t segment, uint32_t logical, uint32_t len, int sign)
{
	struct volume *v = user;
	struct fake_segment *s = fake_segment(v, segment);

	if (!s || logical + (uint64_t)len > s->len)
		DIE("live bytes of nothing: segment %" PRIu64 " %u+%u", segment, logical, len);
	while (len) {
		uint32_t g = logical / GRANULE_BYTES, n = GRANULE_BYTES - logical % GRANULE_BYTES;

		if (n > len)
			n = len;
		s->refs[g] += sign > 0 ? (int32_t)n : -(int32_t)n;
		if (s->refs[g] < 0)
			DIE("fewer than no references to segment %" PRIu64, segment);
		logical += n;
		len -= n;
	}
}

/* --- operations --- */

void fake_lock(struct volume *v)
{
	if (v->locked)
		DIE("locked twice");
	v->locked = true;
}

int fake_unlock(struct volume *v, int rc)
{
	if (!v->locked || v->open)
		DIE("unlocked without a lock");
	v->locked = false;
	return rc;
}

static int fake_active_room(struct volume *v, size_t bytes)
{
	struct fake_segment *s = v->count ? &v->segments[v->count - 1] : NULL;

	if (s && s->len + bytes + 2 * GRANULE_BYTES <= SEGMENT_DATA_MAX)
		return 0;
	if (v->count == v->cap) {
		v->cap = v->cap ? v->cap * 2 : 8;
		v->segments = realloc(v->segments, v->cap * sizeof *v->segments);
		if (!v->segments)
			DIE("no memory");
	}
	s = &v->segments[v->count++];
	*s = (struct fake_segment){ .id = v->next_segment++, .data = calloc(1, SEGMENT_DATA_MAX), .refs = calloc(SEGMENT_GRANULES, sizeof(int32_t)) };
	if (!s->data || !s->refs)
		DIE("no memory");
	return 0;
}

int fake_begin(struct volume *v, size_t data_bytes, struct volume_wait *w)
{
	if (data_bytes > VOLUME_WRITE_MAX)
		return -EINVAL;
	if (v->stats.failed)
		return ERR_READ_ONLY;
	if (v->park) {
		if (!w)
			return -EAGAIN;
		v->park--;
		v->stats.parked++;
		w->next = v->gate;
		v->gate = w;
		return ERR_PARKED;
	}
	fake_lock(v);
	v->open = true;
	v->dirty = v->wrote = false;
	v->begun_bytes = data_bytes;
	v->record_bytes = 64;
	return fake_active_room(v, data_bytes);
}

static void fake_end(struct volume *v)
{
	if (!v->open || !v->locked)
		DIE("ended what was not begun");
	v->open = v->locked = false;
}

int fake_abort(struct volume *v, int rc)
{
	fake_end(v);
	if (v->dirty)
		DIE("aborted after a change (%s)", err_text(rc));
	return rc;
}

int fake_commit(struct volume *v)
{
	int rc;

	if (!v->dirty)
		return fake_abort(v, 0);
	if (v->record_bytes > RECORD_MAX_BYTES)
		DIE("a record of %zu bytes", v->record_bytes);
	if (v->record_bytes > v->stats.record_bytes_max)
		v->stats.record_bytes_max = v->record_bytes;
	v->stats.records++;
	rc = meta_step(v->meta);
	if (rc)
		return fake_fail(v, rc, "step");
	fake_end(v);
	return 0;
}

int fake_fail(struct volume *v, int rc, const char *what)
{
	fprintf(stderr, "fake engine: %s: %s\n", what, err_text(rc));
	fake_end(v);
	v->stats.failed = true;
	return rc;
}

struct meta *fake_meta(struct volume *v)
{
	if (!v->locked)
		DIE("the map without the lock");
	return v->meta;
}

struct cache *fake_cache(struct volume *v)
{
	return (struct cache *)(void *)v;
}

uint64_t fake_new_ino(struct volume *v)
{
	return v->next_ino++;
}

void fake_now(struct volume *v, struct timespec *ret)
{
	ret->tv_sec = (time_t)(v->now_ns / 1000000000u);
	ret->tv_nsec = (long)(v->now_ns % 1000000000u);
}

int fake_data(struct volume *v, const void *buf, size_t len, uint64_t *ret_segment, uint32_t *ret_logical)
{
	struct fake_segment *s = &v->segments[v->count - 1];
	uint32_t at = (s->len + 7) & ~7u;

	if (!v->open || v->dirty || v->wrote || len == 0 || len > v->begun_bytes)
		DIE("data at the wrong time, or too much");
	v->wrote = true;
	if (len >= GRANULE_BYTES || at % GRANULE_BYTES + len > GRANULE_BYTES)
		at = (at + GRANULE_BYTES - 1) & ~(GRANULE_BYTES - 1);
	memcpy(s->data + at, buf, len);
	s->len = at + (uint32_t)len;
	v->stats.data_bytes += len;
	*ret_segment = s->id;
	*ret_logical = at;
	return 0;
}

int fake_segment_ref(struct volume *v, uint64_t id, struct segment_ref *ret)
{
	if (!v->locked)
		DIE("a segment's ref without the lock");
	*ret = (struct segment_ref){ .id = id };
	return 0;
}

struct orphans *fake_orphans(struct volume *v)
{
	return v->orphans;
}

/* --- reading --- */

int fake_cache_read(struct cache *c, const struct segment_ref *ref, uint32_t logical, uint32_t len, void *buf, struct volume_wait *w)
{
	struct volume *v = (struct volume *)(void *)c;
	struct fake_segment *s;

	if (v->locked)
		DIE("reading under the lock");
	v->stats.reads++;
	if (v->hook) {
		void (*hook)(struct volume *, void *) = v->hook;

		v->hook = NULL;
		hook(v, v->hook_user);
	}
	s = fake_segment(v, ref->id);
	if (!s || s->damaged)
		return ERR_DAMAGED;
	if (logical + (uint64_t)len > s->len)
		DIE("reading beyond a segment");
	if (s->absent) {
		if (!w)
			return -EAGAIN;
		v->stats.parked++;
		w->next = v->fetches;
		v->fetches = w;
		return ERR_PARKED;
	}
	memcpy(buf, s->data + logical, len);
	return 0;
}

void fake_cache_prefetch(struct cache *c, const struct segment_ref *ref, uint32_t logical, uint32_t len)
{
	struct volume *v = (struct volume *)(void *)c;

	if (v->locked || !fake_segment(v, ref->id) || logical + (uint64_t)len > SEGMENT_DATA_MAX)
		DIE("a bad prefetch");
	v->stats.prefetches++;
	v->stats.prefetched_bytes += len;
}

/* --- what tests do to it --- */

static void fake_answer(struct volume_wait **list, int rc)
{
	struct volume_wait *w = *list, *next;

	*list = NULL;
	for (; w; w = next) {
		next = w->next;
		w->resume(w, rc);
	}
}

void fake_park(struct volume *v, unsigned n)
{
	v->park = n;
}

void fake_release(struct volume *v, int rc)
{
	v->park = 0;
	fake_answer(&v->gate, rc);
}

void fake_evict(struct volume *v)
{
	for (size_t i = 0; i < v->count; i++)
		v->segments[i].absent = true;
}

void fake_arrive(struct volume *v)
{
	for (size_t i = 0; i < v->count; i++)
		v->segments[i].absent = false;
	fake_answer(&v->fetches, 0);
}

void fake_on_read(struct volume *v, void (*hook)(struct volume *v, void *user), void *user)
{
	v->hook = hook;
	v->hook_user = user;
}

void fake_damage(struct volume *v, uint64_t segment, bool damaged)
{
	for (size_t i = 0; i < v->count; i++)
		if (segment == 0 || v->segments[i].id == segment)
			v->segments[i].damaged = damaged;
}

void fake_set_time(struct volume *v, uint64_t ns)
{
	v->now_ns = ns;
}

const struct fake_stats *fake_stats(const struct volume *v)
{
	return &v->stats;
}

static void fake_submit(struct exec *x, enum exec_lane lane, struct job *j)
{
	struct volume *v = CL_CONTAINER_OF(x, struct volume, exec);

	(void)lane;
	j->next = v->jobs;
	v->jobs = j;
}

void fake_run(struct volume *v)
{
	while (v->jobs) {
		struct job *j = v->jobs;

		v->jobs = j->next;
		j->run(j);
	}
}

/* --- open, close --- */

static int fake_root(struct volume *v)
{
	struct inode root = { .a = { .ino = VOLUME_ROOT_INO, .mode = 040755, .nlink = 2 }, .parent = VOLUME_ROOT_INO };
	int rc = fake_begin(v, 0, NULL);

	if (!rc)
		rc = meta_inode_put(v->meta, &root);
	return rc ? rc : fake_commit(v);
}

int fake_open(const struct fake_options *o, struct volume **ret)
{
	struct volume *v = calloc(1, sizeof *v);
	struct meta_sink sink = { .change = fake_change, .live = fake_live, .user = v };
	int rc;

	if (!v)
		return -ENOMEM;
	v->o = *o;
	v->exec.submit = fake_submit;
	v->next_ino = VOLUME_ROOT_INO + 1;
	v->next_segment = 1000;
	v->now_ns = 1000000000;
	snprintf(v->dir, sizeof v->dir, "/tmp/clonelove-ns-XXXXXX");
	if (!mkdtemp(v->dir))
		DIE("no temporary directory");
	rc = meta_open(v->dir, 0, &sink, &v->meta);
	if (!rc)
		rc = orphans_new(v, &v->exec, &v->orphans);
	if (!rc && o->name_hash_mask)
		v->meta->name_hash_mask = o->name_hash_mask;
	if (!rc)
		rc = fake_root(v);
	if (rc)
		DIE("cannot open: %s", err_text(rc));
	*ret = v;
	return 0;
}

void fake_close(struct volume *v)
{
	orphans_stop(v->orphans);
	orphans_free(v->orphans);
	fake_answer(&v->gate, -ESHUTDOWN);
	fake_run(v);
	meta_close(v->meta);
	rmdir(v->dir);
	for (size_t i = 0; i < v->count; i++) {
		free(v->segments[i].data);
		free(v->segments[i].refs);
	}
	free(v->segments);
	buf_free(&v->changes);
	free(v);
}

/* --- checking --- */

static void fake_report(void *user, const char *line)
{
	(void)user;
	fprintf(stderr, "check: %s\n", line);
}

struct fake_dump { struct buf b; };

static int fake_dump_each(void *user, const uint8_t *key, size_t klen, const uint8_t *val, size_t vlen)
{
	struct fake_dump *d = user;

	buf_u32(&d->b, (uint32_t)klen);
	buf_u32(&d->b, (uint32_t)vlen);
	buf_bytes(&d->b, key, klen);
	buf_bytes(&d->b, val, vlen);
	return d->b.err;
}

static int fake_replay(struct volume *v, struct meta *to)
{
	struct cursor c = cursor_make(v->changes.data, v->changes.len);

	while (cursor_left(&c)) {
		uint32_t klen = cursor_u32(&c), vlen = cursor_u32(&c);
		const uint8_t *key = cursor_view(&c, klen);
		const uint8_t *val = vlen ? cursor_view(&c, vlen - 1) : NULL;
		int rc = c.err ? c.err : meta_apply(to, key, klen, val, vlen ? vlen - 1 : 0);

		if (!rc)
			rc = meta_step(to);
		if (rc)
			return rc;
	}
	return 0;
}

/* The changes, replayed, make the same map; and the accounts agree. */
int fake_check_replay(struct volume *v)
{
	struct fake_dump a = { BUF_INIT }, b = { BUF_INIT };
	struct meta_sink none = { .change = NULL };
	struct meta *copy;
	char dir[80];
	int wrong = 0;

	snprintf(dir, sizeof dir, "%s-copy", v->dir);
	if (mkdir(dir, 0700) || meta_open(dir, 0, &none, &copy))
		DIE("cannot make the copy");
	if (fake_replay(v, copy) || meta_walk(v->meta, 0, fake_dump_each, &a) || meta_walk(copy, 0, fake_dump_each, &b))
		DIE("cannot replay");
	if (a.b.len != b.b.len || memcmp(a.b.data, b.b.data, a.b.len)) {
		fprintf(stderr, "check: the changes make another map\n");
		wrong++;
	}
	if (meta_live_bytes(copy) != meta_live_bytes(v->meta) || meta_inode_count(copy) != meta_inode_count(v->meta)) {
		fprintf(stderr, "check: the changes make other sums\n");
		wrong++;
	}
	buf_free(&a.b);
	buf_free(&b.b);
	meta_close(copy);
	rmdir(dir);
	return wrong;
}

static int fake_count_extent(void *user, const uint8_t *key, size_t klen, const uint8_t *val, size_t vlen)
{
	uint64_t *sum = user;
	struct value_key k;
	struct extent e;

	if (value_key_parse(key, klen, &k) || value_extent_decode(k.a, k.b, val, vlen, &e))
		DIE("a bad extent");
	*sum += e.len;
	return 0;
}

int fake_check(struct volume *v)
{
	uint64_t live = 0, extents = 0;
	int wrong = meta_check(v->meta, fake_report, NULL);

	if (v->locked || v->stats.failed) {
		fprintf(stderr, "check: the lock is held, or the volume has failed\n");
		wrong++;
	}
	for (size_t i = 0; i < v->count; i++)
		for (size_t g = 0; g < SEGMENT_GRANULES; g++)
			live += (uint64_t)v->segments[i].refs[g];
	if (meta_walk(v->meta, VALUE_EXTENT, fake_count_extent, &extents))
		DIE("cannot walk");
	if (live != extents || live != meta_live_bytes(v->meta)) {
		fprintf(stderr, "check: %" PRIu64 " live bytes told, %" PRIu64 " in extents, %" PRIu64 " counted\n", live, extents, meta_live_bytes(v->meta));
		wrong++;
	}
	return wrong;
}
