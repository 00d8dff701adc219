/*
 * adopt.c - the local log at open: what goes on, what is cache, what is salvaged.
 *
 * The file "local" binds the log to this directory, machine and volume (machine_id, process_machine_id): a copied cache directory gets a new
 * log UUID, so its unsent segments are never taken for ours. The same happens when another node has opened the volume since. Where a copy
 * cannot be told (an image on a host that gives machines no ID of their own), it is found out by the LSNs: see `forked`.
 *
 * A segment is acknowledged exactly when the recovered map knows its ID. The others of our log UUID continue the
 * recovered LSN one after another, or are kept in salvage/.
 *
 * Where a record does not hold, the log ends: a crash has torn what nobody was promised, or the disk has damaged what somebody was. It
 * was damage where a later segment was begun (its header is written after all before it was durable), or the mark (mark.c) says that more was
 * durable. Then the prefix is gone on from, as after the loss of the machine; what is left of the rest goes to salvage/, and it is said.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "logmsg.h"
#include "value.h"
#include "volume_impl.h"

#define LOCAL_MAGIC 0x4c4c4f4c434c4c43ull
#define LOCAL_VERSION 1u
#define LOCAL_BYTES (8 + 4 + 3 * ID_BYTES + 8)

struct local { uint8_t volume_uuid[ID_BYTES], log_uuid[ID_BYTES], machine_id[ID_BYTES]; };

static int local_read(struct disk *d, struct local *ret)
{
	uint8_t b[LOCAL_BYTES + 1];
	struct disk_file *f;
	struct cursor c;
	size_t n;
	int rc = d->open(d, "local", DISK_READ, &f);

	if (rc)
		return rc;
	rc = d->pread(f, b, sizeof b, 0, &n);
	d->close(f);
	if (rc)
		return rc;
	if (n != LOCAL_BYTES || get_u64(b + LOCAL_BYTES - 8) != hash_xxh3(b, LOCAL_BYTES - 8, LOCAL_MAGIC))
		return ERR_CORRUPT;
	c = cursor_make(b, LOCAL_BYTES - 8);
	if (cursor_u64(&c) != LOCAL_MAGIC)
		return ERR_CORRUPT;
	if (cursor_u32(&c) > LOCAL_VERSION)
		return ERR_NEWER_FORMAT;
	cursor_copy(&c, ret->volume_uuid, ID_BYTES);
	cursor_copy(&c, ret->log_uuid, ID_BYTES);
	cursor_copy(&c, ret->machine_id, ID_BYTES);
	return cursor_end(&c);
}

static int local_write(struct disk *d, const struct local *l)
{
	struct buf b = BUF_INIT;
	struct disk_file *f;
	int rc;

	buf_u64(&b, LOCAL_MAGIC);
	buf_u32(&b, LOCAL_VERSION);
	buf_bytes(&b, l->volume_uuid, ID_BYTES);
	buf_bytes(&b, l->log_uuid, ID_BYTES);
	buf_bytes(&b, l->machine_id, ID_BYTES);
	if (!b.err)
		buf_u64(&b, hash_xxh3(b.data, b.len, LOCAL_MAGIC));
	rc = b.err;
	if (!rc) {
		(void)d->unlink(d, "local.new");
		rc = d->open(d, "local.new", DISK_WRITE | DISK_CREATE, &f);
	}
	if (!rc) {
		rc = d->pwrite(f, b.data, b.len, 0);
		if (!rc)
			rc = d->sync(f);
		d->close(f);
		if (!rc)
			rc = d->rename(d, "local.new", "local");
		if (!rc)
			rc = d->sync_dir(d, "");
	}
	buf_free(&b);
	return rc ? err_set(rc, "the cache directory cannot be written: %s", err_text(rc)) : 0;
}

int adopt_log_identity(struct volume *v, const uint8_t *tip_log_uuid)
{
	struct local l;
	int rc = local_read(v->o.disk, &l);

	if (rc == ERR_NEWER_FORMAT)
		return err_set(rc, "the cache directory was written by a newer version of clonefs; update this machine");
	if (rc && rc != -ENOENT && rc != ERR_CORRUPT)
		return err_set(rc, "the cache directory cannot be read: %s", err_text(rc));
	if (rc == ERR_CORRUPT)
		logmsg(LOGMSG_ERROR, "%s: the file \"local\" of the cache directory is damaged: whose log is in there cannot be told. What the store has not got of it "
		       "goes to salvage/ (see clonefs salvage). Check that disk", v->o.store->address);
	if (!rc && memcmp(l.volume_uuid, v->sb.volume_uuid, ID_BYTES))
		return err_set(ERR_CONFIG, "the cache directory belongs to another volume; give %s one of its own (cache_dir=)",
			       v->o.store->address);
	if (!rc && memcmp(l.machine_id, v->o.machine_id, ID_BYTES) == 0 &&
	    (!tip_log_uuid || memcmp(l.log_uuid, tip_log_uuid, ID_BYTES) == 0)) {
		memcpy(v->log_uuid, l.log_uuid, ID_BYTES);
		return 0;
	}
	memcpy(l.volume_uuid, v->sb.volume_uuid, ID_BYTES);
	memcpy(l.machine_id, v->o.machine_id, ID_BYTES);
	v->o.env->random(v->o.env, l.log_uuid, ID_BYTES);
	memcpy(v->log_uuid, l.log_uuid, ID_BYTES);
	return local_write(v->o.disk, &l);
}

/* --- segments --- */

struct found { uint64_t id; struct segment *s; int why; }; /* s NULL: its header does not hold, as why says */

struct tail {
	struct volume *v;
	bool ours;             /* the log of the tip is ours: it is gone on from */
	int mark_rc;
	uint8_t mark_log[ID_BYTES];
	uint64_t mark_lsn;     /* that log was durable up to there */
	struct found *found;   /* those with a header first, by LSN */
	size_t count;
	uint64_t reach;        /* newest LSN known to have been in our log */
	uint64_t lost;         /* operations that went to salvage/, or are damaged */
	bool damage;
	bool forked;           /* the volume has others under LSNs of ours that it never got: a copy of this directory has served, and nothing of ours goes on from that */
};

static int note_segment(void *user, uint64_t id, struct segment *s, int why)
{
	struct tail *t = user;
	struct found *more = realloc(t->found, (t->count + 1) * sizeof *more);

	if (!more)
		return -ENOMEM;
	t->found = more;
	more[t->count++] = (struct found){ .id = id, .s = s ? segment_ref(s) : NULL, .why = why };
	return 0;
}

static int by_first_lsn(const void *a, const void *b)
{
	const struct found *x = a, *y = b;
	const struct segment_header *p = x->s ? segment_header(x->s) : NULL, *q = y->s ? segment_header(y->s) : NULL;

	if (!p || !q)
		return (q != NULL) - (p != NULL);
	if (p->first_lsn != q->first_lsn)
		return p->first_lsn < q->first_lsn ? -1 : 1;
	return p->epoch < q->epoch ? -1 : p->epoch > q->epoch;
}

static bool same_log(const uint8_t *a, const uint8_t *b)
{
	return memcmp(a, b, ID_BYTES) == 0;
}

/*
 * Up to which LSN the i-th segment was durable, as far as is known; below its first: nothing is known to have been. One that begins where a
 * later one does was given up by an earlier mount, empty.
 */
static uint64_t owed(const struct tail *t, size_t i)
{
	const struct segment_header *h = segment_header(t->found[i].s), *next;
	size_t j = i + 1;

	while (j < t->count && t->found[j].s && !same_log(segment_header(t->found[j].s)->log_uuid, h->log_uuid))
		j++;
	next = j < t->count && t->found[j].s ? segment_header(t->found[j].s) : NULL;
	if (next)
		return next->first_lsn - 1;
	return !t->mark_rc && same_log(t->mark_log, h->log_uuid) && t->mark_lsn >= h->first_lsn ? t->mark_lsn : h->first_lsn - 1;
}

struct adoption { struct volume *v; struct kvmap *delta; uint64_t first_real_ns; };

/*
 * When that was on the boot clock, which knows nothing of the time before this boot, as far as the other one can be believed: what
 * was not sent when a process died is no younger for that, and holds writers like all that is max_lag old.
 */
static uint64_t boot_time_of(struct volume *v, uint64_t real_ns)
{
	uint64_t now = volume_boot(v), real = v->o.env->real_ns(v->o.env), age = real > real_ns ? real - real_ns : 0;

	return age < now ? now - age : 1;
}

static int replay_record(void *user, struct record *r)
{
	struct adoption *a = user;
	struct volume *v = a->v;
	const uint8_t *key, *val;
	size_t klen, vlen;
	struct value_key k;
	int rc;

	if (r->lsn != v->lsn + 1)
		return ERR_CORRUPT;
	if (!a->first_real_ns)
		a->first_real_ns = r->real_ns;
	while ((rc = record_next(r, &key, &klen, &val, &vlen)) > 0) {
		rc = meta_apply(v->meta, key, klen, val, vlen);
		if (!rc)
			rc = kvmap_set(a->delta, key, klen, val, vlen);
		if (rc)
			return rc;
		if (val && value_key_parse(key, klen, &k) == 0 && k.table == VALUE_INODE && k.a >= v->next_ino)
			v->next_ino = k.a + 1;
	}
	if (!rc)
		rc = meta_step(v->meta);
	v->lsn = r->lsn;
	return rc;
}

/* Replays one segment and queues it as a cut. 1: it held nothing. */
static int adopt_segment(struct volume *v, struct segment *s)
{
	struct adoption a = { .v = v };
	uint64_t first = v->lsn + 1;
	struct cut *c = cut_new(v);
	size_t g;
	int rc = c ? kvmap_new(&c->delta) : -ENOMEM;

	if (rc) {
		cut_free(c);
		return rc;
	}
	a.delta = c->delta;
	memset(v->granule_live, 0, sizeof v->granule_live);
	v->live_segment = segment_header(s)->id;
	rc = segment_replay(s, replay_record, &a);
	if (rc || v->lsn < first) {
		cut_free(c);
		return rc ? rc : 1;
	}
	segment_freeze(s);
	for (g = 0; g < SEGMENT_GRANULES; g++)
		c->live[g] = v->granule_live[g] != 0;
	c->seg = segment_ref(s);
	c->first_lsn = first;
	c->last_lsn = v->lsn;
	c->oldest_boot_ns = boot_time_of(v, a.first_real_ns);
	c->bytes = (uint64_t)segment_data_len(s) + segment_records_len(s);
	cache_adopt_log(v->cache, s);
	commit_enqueue(v, c);
	if (v->cut_count > VOLUME_MEMORY_CUTS) { /* as after a sync: the records have it */
		kvmap_free(c->delta);
		c->delta = NULL;
	}
	return 0;
}

struct count { uint64_t n, last; };

static int count_record(void *user, struct record *r)
{
	struct count *c = user;

	c->n++;
	c->last = r->lsn;
	return 0;
}

static int salvage_segment(struct tail *t, size_t i)
{
	struct volume *v = t->v;
	struct segment *s = t->found[i].s;
	const struct segment_header *h = segment_header(s);
	struct count c = { .last = h->first_lsn - 1 };
	uint64_t end = owed(t, i), missing;
	int rc = segment_salvage(s, count_record, &c);

	if (rc)
		return rc;
	if (t->ours && same_log(h->log_uuid, v->log_uuid) && c.n && h->first_lsn <= v->lsn)
		t->forked = true;
	if (t->ours && !t->forked && same_log(h->log_uuid, v->log_uuid) && end <= v->lsn)
		end = c.last; /* nothing in it */
	if (c.last > end)
		end = c.last;
	if (end < h->first_lsn) { /* nothing in it was ever promised */
		cache_drop(v->cache, h->id);
		return 0;
	}
	missing = end + 1 - h->first_lsn - c.n;
	t->lost += end + 1 - h->first_lsn;
	t->damage |= missing > 0;
	if (t->ours && same_log(h->log_uuid, v->log_uuid) && t->reach < end)
		t->reach = end;
	if (c.n)
		logmsg(LOGMSG_WARNING, "%s: %" PRIu64 " operations that the store never got (segment %016" PRIx64 ") do not belong to the volume "
		       "any more; they are kept in the cache directory's salvage/ (see clonefs salvage)", v->o.store->address, c.n, h->id);
	if (missing)
		logmsg(LOGMSG_ERROR, "%s: %" PRIu64 " operations of segment %016" PRIx64 " cannot be read: the local disk has damaged them",
		       v->o.store->address, missing, h->id);
	rc = cache_salvage(v->cache, s);
	return rc ? err_set(rc, "an unsent segment cannot be moved to salvage/: %s", err_text(rc)) : 0;
}

/* Is there anything in the file behind the prefix that was adopted: intact records, or what may have been one? */
static int look_behind(struct volume *v, struct segment *s, bool *ret)
{
	struct disk *d = v->o.disk;
	struct count c = { 0 };
	char name[SEGMENT_NAME_BYTES];
	struct segment *again;
	struct disk_file *f;
	uint8_t next[8] = { 0 };
	size_t n;
	int rc;

	segment_name(segment_header(s)->id, name);
	rc = d->open(d, name, DISK_READ, &f);
	if (rc)
		return rc;
	rc = d->pread(f, next, sizeof next, SEGMENT_RECORDS_OFFSET + (uint64_t)segment_records_len(s), &n);
	d->close(f);
	if (!rc)
		rc = segment_open_name(d, name, true, &again);
	if (rc)
		return rc;
	rc = segment_salvage(again, count_record, &c);
	segment_unref(again);
	*ret = c.last > v->lsn || get_u64(next) != 0;
	return rc;
}

/* More was durable in it than was adopted: that is kept elsewhere, and its LSNs are given to what comes. A read that goes well later must not
 * bring it back in the place of that. */
static int keep_rest(struct tail *t, size_t i)
{
	struct segment *s = t->found[i].s;
	bool more;
	int rc;

	if (owed(t, i) <= t->v->lsn)
		return 0;
	t->damage = true;
	rc = look_behind(t->v, s, &more);
	if (!rc && more)
		rc = cache_copy_aside(t->v->cache, segment_header(s)->id);
	if (!rc)
		segment_cut_off(s);
	return rc;
}

static int place_segment(struct tail *t, size_t i)
{
	struct volume *v = t->v;
	struct segment *s = t->found[i].s;
	const struct segment_header *h = segment_header(s);
	struct segment_ref ref;
	int rc = meta_segment_get(v->meta, h->id, &ref);

	if (rc == 0) {
		if (ref.data_len)
			cache_log_committed(v->cache, s, &ref);
		else
			cache_drop(v->cache, h->id);
		return 0;
	}
	if (rc != -ENOENT)
		return rc;
	if (!t->ours || !same_log(h->log_uuid, v->log_uuid))
		return salvage_segment(t, i);
	if (owed(t, i) > t->reach)
		t->reach = owed(t, i);
	if (h->first_lsn > 0 && t->reach < h->first_lsn - 1) /* all before it was durable when it was begun */
		t->reach = h->first_lsn - 1;
	if (h->first_lsn != v->lsn + 1 || t->forked)
		return salvage_segment(t, i);
	rc = adopt_segment(v, s);
	return rc == 1 ? salvage_segment(t, i) : rc ? rc : keep_rest(t, i);
}

/* A file whose header does not hold: of cache, of a segment never begun, or of log that is damaged. */
static int place_broken(struct tail *t, const struct found *f)
{
	struct volume *v = t->v;
	struct segment_ref ref;
	int rc = meta_segment_get(v->meta, f->id, &ref);

	if (rc == 0 || (f->why == -ENODATA && !t->damage)) {
		cache_drop(v->cache, f->id);
		return 0;
	}
	if (rc != -ENOENT)
		return rc;
	if (f->why == -EIO)
		return err_set(-EIO, "seg-%016" PRIx64 " of the cache directory cannot be read, and may hold what the store has not got: nothing was changed. "
			       "Mount again where its disk reads it; to go on without it, move that file out of the cache directory", f->id);
	t->damage = true;
	if (!v->lost[0])
		snprintf(v->lost, sizeof v->lost, "the header of seg-%016" PRIx64 " was damaged on the local disk: see the log", f->id);
	logmsg(LOGMSG_ERROR, "%s: the header of seg-%016" PRIx64 " in the cache directory is damaged: what it held, if the store never got it, cannot be read. "
	       "The file is kept in salvage/", v->o.store->address, f->id);
	return cache_set_aside(v->cache, f->id);
}

/* Was more durable in the log than came back? */
static void judge(struct tail *t)
{
	struct volume *v = t->v;
	bool marked = !t->mark_rc && t->mark_lsn > v->lsn;

	if (t->ours && marked && same_log(t->mark_log, v->log_uuid) && t->reach < t->mark_lsn)
		t->reach = t->mark_lsn;
	if (t->forked) {
		if (t->lost)
			snprintf(v->lost, sizeof v->lost, "a copy of this cache directory has served the volume since: %" PRIu64 " operations acknowledged here are not "
				 "part of it: see clonefs salvage", t->lost);
	} else if (t->ours && t->reach > v->lsn) {
		t->damage = true;
		t->lost = t->reach - v->lsn;
		snprintf(v->lost, sizeof v->lost, "the local disk has damaged operations %" PRIu64 " to %" PRIu64 " before the store had them: see the log and clonefs "
			 "salvage", v->lsn + 1, t->reach);
		logmsg(LOGMSG_ERROR, "%s: operations %" PRIu64 " to %" PRIu64 " were durable in the cache directory, the store has not got them, and the local disk "
		       "does not give them back: the volume goes on from before them, as after the loss of the machine. What is left of them is in salvage/ "
		       "(see clonefs salvage). Check that disk", v->o.store->address, v->lsn + 1, t->reach);
	} else if (!t->ours && marked && !same_log(t->mark_log, v->log_uuid) && t->lost == 0) {
		t->damage = true;
		t->lost = t->mark_lsn - v->lsn;
		logmsg(LOGMSG_ERROR, "%s: operations up to %" PRIu64 " were durable in the cache directory, the store has not got them, and they are not there any "
		       "more. Check that disk", v->o.store->address, t->mark_lsn);
	}
	if (t->lost && !v->lost[0])
		snprintf(v->lost, sizeof v->lost, "%" PRIu64 " operations that this node had not sent are not part of the volume: see clonefs salvage", t->lost);
	v->lost_operations = t->lost;
}

/* The mark is gone on from, or made; only here it ever goes back, where LSNs are given out again. */
static int renew_mark(struct tail *t)
{
	struct volume *v = t->v;
	bool own = !t->mark_rc && same_log(t->mark_log, v->log_uuid);
	int rc;

	if (own && t->mark_lsn <= v->lsn && mark_take(v, t->mark_lsn) == 0)
		return 0;
	rc = mark_set(v, own && t->mark_lsn > v->lsn ? v->lsn : v->lsn_store);
	return rc ? err_set(rc, "the cache directory cannot be written: %s", err_text(rc)) : 0;
}

static void doubt(struct tail *t)
{
	bool own = t->count > 0 && (!t->found[0].s || same_log(segment_header(t->found[0].s)->log_uuid, t->v->log_uuid));

	if (!t->ours || !t->mark_rc || (t->mark_rc == -ENOENT && !own))
		return;
	logmsg(LOGMSG_WARNING, "%s: the file \"durable\" of the cache directory is %s: should the local disk have lost the end of the log, it cannot be told",
	       t->v->o.store->address, t->mark_rc == -ENOENT ? "missing" : "damaged");
	snprintf(t->v->lost, sizeof t->v->lost, "the local disk has damaged the file \"durable\": whether the end of the log was lost cannot be told");
}

int adopt_local_log(struct volume *v, bool tip_is_ours)
{
	struct tail t = { .v = v, .ours = tip_is_ours };
	size_t i;
	int rc = cache_scan_log(v->cache, note_segment, &t);

	t.mark_rc = mark_read(v->o.disk, t.mark_log, &t.mark_lsn);
	if (!rc && t.count > 1)
		qsort(t.found, t.count, sizeof *t.found, by_first_lsn);
	if (!rc)
		doubt(&t);
	for (i = 0; !rc && i < t.count && t.found[i].s; i++)
		rc = place_segment(&t, i);
	if (!rc)
		judge(&t);
	for (; !rc && i < t.count; i++)
		rc = place_broken(&t, &t.found[i]);
	if (!rc)
		rc = renew_mark(&t);
	for (i = 0; i < t.count; i++)
		segment_unref(t.found[i].s);
	free(t.found);
	if (rc && !err_last()[0])
		err_set(rc, "%s: the local log cannot be taken up again: %s", v->o.store->address, err_text(rc));
	return rc;
}
