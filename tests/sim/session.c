/*
 * session.c - a process with a volume: opening, checking what it shows against
 * what was promised, clients, closing.
 *
 * States of a session: opening -> opened -> (stopping -> closed) | dead. A dead one is abandoned when nothing of
 * its process runs any more.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine.h"
#include "object.h"
#include "session.h"

/* --- the tree of a volume against a model --- */

struct listing { struct volume_dirent *e; size_t count, cap; };

static int add_entry(void *user, const struct volume_dirent *e, const struct volume_attr *attr)
{
	struct listing *l = user;

	(void)attr;
	if (!strcmp(e->name, ".") || !strcmp(e->name, ".."))
		return 0;
	if (l->count == l->cap) {
		l->cap = l->cap ? l->cap * 2 : 16;
		l->e = realloc(l->e, l->cap * sizeof(*l->e));
		if (!l->e)
			abort();
	}
	l->e[l->count++] = *e;
	return 0;
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool attr_differs(const struct volume_attr *a, const struct volume_attr *b, char *diff, size_t cap)
{
	const char *what = NULL;

	if (a->mode != b->mode || a->uid != b->uid || a->gid != b->gid || a->rdev != b->rdev)
		what = "mode or owner";
	else if (a->nlink != b->nlink)
		what = "links";
	else if (a->size != b->size)
		what = "size";
	else if (a->allocated_bytes != b->allocated_bytes)
		what = "allocated bytes";
	else if (a->change != b->change)
		what = "change counter";
	else if (!same_time(&a->mtime, &b->mtime) || !same_time(&a->ctime, &b->ctime) || !same_time(&a->btime, &b->btime))
		what = "times";
	if (what)
		snprintf(diff, cap, "inode %" PRIu64 ": %s differ (mode %o/%o, links %u/%u, size %" PRIu64 "/%" PRIu64
			 ", change %" PRIu64 "/%" PRIu64 ")",
			 b->ino, what, a->mode, b->mode, a->nlink, b->nlink, a->size, b->size, a->change, b->change);
	return what != NULL;
}

static int read_all(struct session *s, uint64_t ino, uint64_t off, size_t len, uint8_t *out)
{
	size_t n = 0;
	int rc;

	for (;;) {
		struct held *h;

		if (s->p->dead)
			return ERR_CRASHED;
		h = held_new(s);
		rc = volume_read(s->v, ino, off, len, out, &n, &h->w);
		if (rc != ERR_PARKED)
			break;
		rc = held_wait(h);
		if (rc)
			break;
	}
	if (!rc && n != len)
		rc = 1;
	return rc;
}

/* Where there is data at or after off, by either account. */
static uint64_t next_data(struct session *s, const struct model_inode *i, uint64_t off)
{
	uint64_t mine = i->size, theirs;
	size_t lo = 0, hi = i->page_count;

	while (lo < hi) { /* the first page that ends after off */
		size_t mid = (lo + hi) / 2;

		if ((i->pages[mid].index + 1) * MODEL_PAGE_BYTES <= off)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo < i->page_count)
		mine = i->pages[lo].index * MODEL_PAGE_BYTES > off ? i->pages[lo].index * MODEL_PAGE_BYTES : off;
	if (volume_seek(s->v, i->a.ino, off, SEEK_DATA, &theirs) == 0 && theirs < mine)
		mine = theirs;
	return mine;
}

/* Contents: wherever model or volume have data, and the byte before the end. */
static int compare_bytes(struct session *s, const struct model_inode *i, char *diff, size_t cap)
{
	enum { CHUNK = 65536 };
	uint8_t *got = malloc(CHUNK), *want = malloc(CHUNK);
	uint64_t off = 0;
	int rc = 0;

	if (!got || !want)
		abort();
	while (!rc && off < i->size) {
		size_t len;

		off = next_data(s, i, off);
		if (off >= i->size)
			off = i->size - 1;
		len = i->size - off < CHUNK ? (size_t)(i->size - off) : CHUNK;
		rc = read_all(s, i->a.ino, off, len, got);
		model_read(i, off, len, want);
		if (rc == 1 || (!rc && memcmp(got, want, len) != 0)) {
			size_t k = 0;

			while (k + 1 < len && got[k] == want[k])
				k++;
			snprintf(diff, cap, "inode %" PRIu64 ": byte %" PRIu64 " of %" PRIu64 " is %02x, not %02x%s", i->a.ino, off + k, i->size,
				 got[k], want[k], rc == 1 ? " (and the read was short)" : "");
			rc = 1;
		} else if (rc) {
			snprintf(diff, cap, "inode %" PRIu64 ": reading at %" PRIu64 " failed: %s", i->a.ino, off, err_text(rc));
		}
		off += len;
	}
	free(got);
	free(want);
	return rc;
}

static int compare_xattrs(struct session *s, const struct model_inode *i, char *diff, size_t cap)
{
	char list[4096];
	uint8_t value[65536], want[65536];
	size_t len = 0, count = 0, n;
	int rc = volume_listxattr(s->v, i->a.ino, list, sizeof list, &len);

	if (rc) {
		snprintf(diff, cap, "inode %" PRIu64 ": listxattr failed: %s", i->a.ino, err_text(rc));
		return rc;
	}
	for (size_t at = 0; at < len; at += strlen(list + at) + 1)
		count++;
	if (count != i->xattr_count) {
		snprintf(diff, cap, "inode %" PRIu64 ": %zu xattrs, not %zu", i->a.ino, count, i->xattr_count);
		return 1;
	}
	for (size_t k = 0; k < i->xattr_count; k++) {
		const struct model_xattr *x = &i->xattrs[k];

		rc = volume_getxattr(s->v, i->a.ino, x->name, value, sizeof value, &n);
		op_data(x->seed, x->len, want);
		if (rc || n != x->len || memcmp(value, want, n) != 0) {
			snprintf(diff, cap, "inode %" PRIu64 ": xattr %s differs (%s)", i->a.ino, x->name, err_text(rc));
			return rc ? rc : 1;
		}
	}
	return 0;
}

static int compare_dir(struct session *s, struct model *m, const struct model_inode *i, char *diff, size_t cap);

static int compare_inode(struct session *s, struct model *m, const struct model_inode *i, char *diff, size_t cap)
{
	char target[VOLUME_SYMLINK_MAX + 1];
	struct volume_attr a;
	int rc = volume_getattr(s->v, i->a.ino, &a);

	if (rc) {
		snprintf(diff, cap, "inode %" PRIu64 " is not there: %s", i->a.ino, err_text(rc));
		return 1;
	}
	/* The root is as the format made it until an operation touches it. */
	if (!i->a.mode && (a.mode != i->mode || a.change != 0)) {
		snprintf(diff, cap, "inode %" PRIu64 " was touched (mode %o, change %" PRIu64 ")", i->a.ino, a.mode, a.change);
		return 1;
	}
	if (i->a.mode && attr_differs(&a, &i->a, diff, cap))
		return 1;
	if (S_ISLNK(i->mode)) {
		rc = volume_readlink(s->v, i->a.ino, target);
		if (rc || strcmp(target, i->target) != 0) {
			snprintf(diff, cap, "inode %" PRIu64 ": link target differs", i->a.ino);
			return 1;
		}
	}
	rc = S_ISREG(i->mode) || S_ISDIR(i->mode) ? compare_xattrs(s, i, diff, cap) : 0;
	if (!rc && S_ISREG(i->mode))
		rc = compare_bytes(s, i, diff, cap);
	if (!rc && S_ISDIR(i->mode))
		rc = compare_dir(s, m, i, diff, cap);
	return rc;
}

static int compare_dir(struct session *s, struct model *m, const struct model_inode *i, char *diff, size_t cap)
{
	struct listing l = { 0 };
	int rc = volume_readdir(s->v, i->a.ino, 0, false, add_entry, &l);

	if (!rc && l.count != i->name_count) {
		snprintf(diff, cap, "directory %" PRIu64 " has %zu names, not %zu", i->a.ino, l.count, i->name_count);
		rc = 1;
	}
	for (size_t k = 0; !rc && k < i->name_count; k++) {
		const struct model_name *n = &i->names[k];
		size_t j = 0;

		while (j < l.count && strcmp(l.e[j].name, n->name) != 0)
			j++;
		if (j == l.count || l.e[j].ino != n->ino) {
			snprintf(diff, cap, "directory %" PRIu64 ": name %s %s", i->a.ino, n->name, j == l.count ? "is missing" : "means another inode");
			rc = 1;
		} else {
			rc = compare_inode(s, m, model_get(m, n->ino), diff, cap);
		}
	}
	free(l.e);
	return rc;
}

int compare_tree(struct session *s, struct model *m, char *diff, size_t cap)
{
	diff[0] = '\0';
	return compare_inode(s, m, model_get(m, VOLUME_ROOT_INO), diff, cap);
}

/* --- which prefix is it --- */

static bool same_prefix(const struct history *a, size_t n, const struct history *b, size_t k)
{
	return n == k && (n == 0 || memcmp(a->ops, b->ops, n * sizeof(*a->ops)) == 0);
}

static size_t common(const struct history *a, const struct history *b, size_t nb)
{
	size_t n = 0;

	while (n < a->count && n < nb && a->ops[n] == b->ops[n])
		n++;
	return n;
}

/* Did any other machine open the volume between old and s? Then old's unsent tail is not s's. */
static bool opened_between(struct trial *t, const struct session *old, const struct session *s)
{
	for (struct session *o = t->sessions; o; o = o->next)
		/* One that began earlier may have opened later, or may have died without ever saying so. */
		if (o != s && o != old && !o->read_only && (o->index > old->index || !o->opened || o->epoch > old->epoch) &&
		    (o->n != old->n || o->disk_generation != old->disk_generation))
			return true;
	return false;
}

/* What the store had acknowledged: to a writer, everything so far; to a reader, what was before it began to open. */
static uint64_t promised(const struct session *s, const struct session *old)
{
	uint64_t lsn = 0;

	if (!s->read_only)
		return old->acked_store;
	for (size_t i = 0; i < old->ack_count; i++)
		if (old->acks[i].at_ns <= s->open_called_ns && old->acks[i].lsn > lsn)
			lsn = old->acks[i].lsn;
	return lsn;
}

/*
 * A disk that was damaged may cost what the store has not got, but not without a word to the operator, after it was promised. Where
 * the power went too, the damaged end of a log cannot be told from one that was being written.
 */
static bool excused_loss(const struct session *s, const struct session *old)
{
	return s->n->poisoned && (s->n->told_ns > old->acked_local_ns || s->n->power_lost_ns > old->acked_local_ns);
}

static bool holds_acked(struct session *s, const struct session *old, const struct history *h, size_t count, char *why, size_t cap)
{
	size_t same = common(&old->h, h, count), need = history_upto(&old->h, promised(s, old));
	const char *rule = "V1: an fsync that the store had acknowledged";

	if (same >= need && !s->read_only && old->n == s->n && old->disk_generation == s->disk_generation &&
	    !opened_between(s->t, old, s) && !excused_loss(s, old)) {
		need = history_upto(&old->h, old->acked_local);
		rule = "V5: an fsync acknowledged on this very disk";
	}
	if (same >= need)
		return true;
	snprintf(why, cap, "%s is lost: session %u had %zu operations (LSN %" PRIu64 ") promised, only %zu of them are part of "
		 "what LSN %" PRIu64 " shows",
		 rule, old->index, need, need ? old->h.ops[need - 1]->lsn_after : 0, same, count ? h->ops[count - 1]->lsn_after : 0);
	return false;
}

static bool holds_lag(struct session *s, const struct session *old, const struct history *h, size_t count, char *why, size_t cap)
{
	size_t same = common(&old->h, h, count), first = same > old->base ? same : old->base, last;
	uint64_t limit = s->t->plan.max_lag_ms;

	if (limit == UINT64_MAX || old->read_only)
		return true;
	for (last = old->h.count; last > first && old->h.ops[last - 1]->at_ns > s->open_called_ns; last--)
		;
	if (last <= first || old->h.ops[last - 1]->at_ns - old->h.ops[first]->at_ns <= limit * SIM_MS)
		return true;
	snprintf(why, cap, "V1: %.3f s of accepted writing of session %u are missing; max_lag is %" PRIu64 " ms",
		 (double)(old->h.ops[last - 1]->at_ns - old->h.ops[first]->at_ns) / 1e9, old->index, limit);
	return false;
}

static bool promises_hold(struct session *s, const struct history *h, size_t count, char *why, size_t cap)
{
	for (struct session *old = s->t->sessions; old; old = old->next)
		if (old != s && old->opened && !old->read_only && (s->read_only || old->epoch < s->epoch) &&
		    (!holds_acked(s, old, h, count, why, cap) || !holds_lag(s, old, h, count, why, cap)))
			return false;
	return true;
}

static void take_history(struct session *s, const struct history *h, size_t count)
{
	struct history copy = { 0 };

	history_copy(&copy, h, count);
	history_free(&s->h);
	s->h = copy;
	s->base = count;
	model_free(s->m);
	s->m = history_fold(&s->h, count);
	model_prune(s->m);
}

/* --- which one is it --- */

#define REAPED_MAX 16u /* LSNs that may have gone to reaping what was open and nameless */

struct search {
	struct session *s;
	uint64_t low, high;              /* LSN of the opening record; LSN now */
	struct { const struct history *h; size_t count; } tried[512];
	size_t tried_count;
	char diff[400], why[300];        /* why the first, and the first that matched, would not do */
};

/* What LSN the store alone had when s opened: its opening record says so. */
static uint64_t recovered_lsn(struct session *s, uint64_t lsn)
{
	const struct simobject *o;
	struct object_footer f;
	char key[OBJECT_KEY_MAX];

	object_key_slot(s->epoch, 0, key);
	o = s->read_only ? NULL : simstore_find(s->t->w->store, key);
	if (!o || object_decode_footer(o->blob->data, o->blob->len, o->blob->len, &f) != 0)
		return lsn;
	return f.last_lsn < lsn ? f.last_lsn : lsn;
}

static bool was_tried(struct search *q, const struct history *h, size_t count)
{
	for (size_t k = 0; k < q->tried_count; k++)
		if (same_prefix(q->tried[k].h, q->tried[k].count, h, count))
			return true;
	if (q->tried_count < CL_ARRAY_LEN(q->tried)) {
		q->tried[q->tried_count].h = h;
		q->tried[q->tried_count++].count = count;
	}
	return false;
}

/* 1: it is this prefix, or the search is over. */
static int try_prefix(struct search *q, const struct history *h, size_t count, struct model *m)
{
	char d[300];
	unsigned tries;
	int rc;

	if (was_tried(q, h, count) || m->impossible)
		return 0;
	/* Bits that flip on the way, or a store away for longer than a read waits, may make an error of one; the next one tells more. */
	for (tries = 0, rc = -1; rc < 0 && tries < 8 && !q->s->p->dead; tries++) {
		rc = compare_tree(q->s, m, d, sizeof d);
		if (!q->s->t->w->store->weather.get_flip && !q->s->t->plan.outage_timeout_ms)
			break;
	}
	if (rc == ERR_CRASHED || q->s->p->dead)
		return 1;
	if (rc) {
		if (count || !q->diff[0])
			snprintf(q->diff, sizeof q->diff, "%s (with %zu operations of %zu)", d, count, h->count);
		return 0;
	}
	if (!promises_hold(q->s, h, count, q->why, sizeof q->why))
		return 0;
	take_history(q->s, h, count);
	return 1;
}

/*
 * First exactly what the LSN says. But writers get LSNs of their own, reaping: so the operations shown may be somewhat fewer, both below
 * the LSN recovered and, where an unsent tail was adopted, below the LSN now. From few to many: what leaves no trace in the tree
 * is taken for lost, unless it was promised.
 */
static int try_history(struct search *q, const struct history *h, bool exact)
{
	size_t low = history_upto(h, q->low), high = history_upto(h, q->high), k = low > REAPED_MAX ? low - REAPED_MAX : 0;
	struct model *m;
	char wrong[256];
	int rc = 0;

	/* An operation during which others got LSNs too: its own is not known exactly. */
	if (high < h->count && h->ops[high]->lsn_before < q->high)
		high++;
	if (exact)
		k = low;
	m = history_fold(h, k);
	for (;; k++) {
		if (k <= low || k + REAPED_MAX >= high)
			rc = try_prefix(q, h, k, m);
		if (rc || exact || k == high)
			break;
		model_apply(m, h->ops[k], wrong, sizeof wrong);
	}
	model_free(m);
	return rc;
}

void session_verify(struct session *s)
{
	static const struct history empty = { NULL, 0, 0 };
	struct search *q = calloc(1, sizeof *q);
	struct volume_status st;
	int found = 0;

	if (!q)
		abort();
	volume_status(s->v, &st);
	s->lsn_open = st.lsn;
	s->epoch = st.epoch;
	q->s = s;
	q->low = recovered_lsn(s, st.lsn);
	q->high = st.lsn;
	for (unsigned exact = 2; exact-- > 0;)
		for (struct session *o = s->t->sessions; o && !found; o = o->next)
			if (o != s && o->opened)
				found = try_history(q, &o->h, exact);
	if (!found)
		found = try_history(q, &empty, true);
	if (found)
		s->t->verified++;
	else
		world_violation(s->t->w, "%s opened on %s (session %u, epoch %" PRIu64 ", LSN %" PRIu64 "): %s%s",
				s->read_only ? "read-only" : "volume", s->n->name, s->index, st.epoch, st.lsn,
				q->why[0] ? q->why : "V1: not the fold of any prefix: ", q->why[0] ? "" : q->diff);
	free(q);
}

/* --- the life of a session --- */

void session_acked_store(struct session *s, uint64_t lsn)
{
	if (s->acked_store >= lsn)
		return;
	s->acked_store = lsn;
	if (s->ack_count == s->ack_cap) {
		s->ack_cap = s->ack_cap ? s->ack_cap * 2 : 16;
		s->acks = realloc(s->acks, s->ack_cap * sizeof(*s->acks));
		if (!s->acks)
			abort();
	}
	s->acks[s->ack_count++] = (struct ack){ s->t->w->now_ns, lsn };
}

static void gone(struct proc *p)
{
	struct session *s = p->user;

	if (!s || !s->v)
		return;
	if (volume_abandon)
		volume_abandon(s->v);
	s->v = NULL;
}

static bool open_may_fail(const struct session *s, int rc)
{
	switch (rc) {
	case ERR_VOLUME_BUSY:
	case ERR_FENCED:
	case ERR_UNAVAILABLE:
	case ERR_CRASHED:
	case ERR_AUTH: /* when the store refuses */
	case ERR_CLOCK_SKEW:
		return true;
	case ERR_CORRUPT:
		return s->t->plan.weather.get_error || s->t->plan.weather.get_flip || s->n->poisoned_live;
	case -ENOENT: /* a file went after it was listed */
		return s->n->poisoned_live;
	case -EIO:
	case -ENOSPC:
		return s->t->plan.disk_fault > 0;
	default:
		return false;
	}
}

static void superseded(struct session *s)
{
	for (struct session *o = s->t->sessions; o; o = o->next)
		if (o != s && !o->read_only && o->opened && !o->superseded_ns && o->index < s->index)
			o->superseded_ns = s->t->w->now_ns;
}

static void check_epoch(struct session *s)
{
	for (struct session *o = s->t->sessions; o; o = o->next)
		if (o != s && o->opened && !o->read_only && !s->read_only && o->epoch == s->epoch)
			world_violation(s->t->w, "V3: epoch %" PRIu64 " has two writers, sessions %u and %u", s->epoch, o->index, s->index);
}

static uint64_t cache_bytes_used(const struct session *s)
{
	return simdisk_used_by(s->n->disk, "seg-") + simdisk_used_by(s->n->disk, "spare");
}

/* Where power loss brought deleted files back, a mount may find more than its budget, and must not give up log for it. */
static void check_budget(struct session *s)
{
	uint64_t used = cache_bytes_used(s), budget = s->t->plan.cache_bytes;

	if (used < s->used_open)
		s->used_open = used;
	if (used > budget && used > s->used_open)
		world_violation(s->t->w, "V9: the cache directory uses %" PRIu64 " bytes of a budget of %" PRIu64, used, budget);
}

static int progress(void *user, uint64_t left)
{
	struct session *s = user;

	(void)left;
	return s->p->dead ? 1 : 0;
}

static void close_it(struct session *s)
{
	struct volume *v = s->v;
	bool drain = s->close_drain;
	uint64_t lsn;
	struct volume_status st;
	int rc;

	volume_status(v, &st);
	lsn = st.lsn;
	s->stopping = true;
	s->v = NULL; /* dying half-way through leaves it to nobody */
	world_trace(s->t->w, "closing session %u (%s)", s->index, drain ? "drain" : "no drain");
	rc = volume_close(v, drain, progress, s);
	if (s->p->dead)
		return;
	s->clean = rc == 0;
	if (rc == 0 && !s->read_only && drain)
		session_acked_store(s, lsn);
	world_trace(s->t->w, "session %u closed: %s", s->index, err_text(rc));
	while (s->clients && !s->p->dead)
		coro_sleep(SIM_MS);
	s->closed = true;
	proc_exit(s->p);
}

static void run(void *arg)
{
	struct session *s = arg;
	struct trial *t = s->t;
	struct volume_options o = t->base_options;
	int rc;

	o.store = &s->p->store;
	o.disk = &s->p->disk;
	o.env = &s->p->env;
	o.exec = &s->p->exec;
	o.meta_dir = s->p->meta_dir;
	o.node = s->n->name;
	memcpy(o.machine_id, s->n->machine_id, sizeof o.machine_id);
	o.read_only = s->read_only;
	o.takeover = s->takeover;
	s->open_called_ns = t->w->now_ns;
	s->used_open = cache_bytes_used(s);
	rc = volume_open(&o, &s->v);
	if (rc)
		s->v = NULL;
	world_trace(t->w, "session %u: open%s%s: %s %s", s->index, s->read_only ? " read-only" : "", s->takeover ? " takeover" : "",
		    err_text(rc), rc ? err_last() : "");
	if (rc) {
		if (!s->p->dead && !open_may_fail(s, rc))
			world_violation(t->w, "opening failed: %s (%s)", err_text(rc), err_last());
		s->open_rc = rc;
		s->failed = true;
		proc_exit(s->p);
		return;
	}
	s->opening = false;
	if (s->p->dead)
		return;
	s->opened_ns = t->w->now_ns;
	if (!s->read_only)
		superseded(s);
	session_verify(s);
	if (s->p->dead || t->w->stopped)
		return;
	check_epoch(s);
	s->opened = true;
	t->opens++;
	s->clients = t->quiet ? 0 : s->read_only ? 1 : t->plan.clients;
	for (unsigned i = 0; i < s->clients; i++)
		world_at(t->w, s->p, rng_below(&t->w->rng, SIM_MS), 'C', t->client ? t->client : client_run, s);
	while (!s->stopping && !s->p->dead && !t->w->stopped) {
		check_budget(s);
		coro_sleep(20 * SIM_MS);
	}
	if (!s->p->dead && !t->w->stopped)
		close_it(s);
}

struct session *session_start(struct trial *t, struct node *n, bool read_only, bool takeover)
{
	struct session *s = world_alloc(t->w, sizeof *s);

	s->t = t;
	s->n = n;
	s->p = proc_start(n);
	s->p->user = s;
	s->p->on_dead = gone;
	s->disk_generation = n->disk_generation;
	s->index = t->session_count++;
	s->read_only = read_only;
	s->takeover = takeover;
	s->opening = true;
	s->m = model_new();
	s->next = t->sessions;
	t->sessions = s;
	world_at(t->w, s->p, 0, 'O', run, s);
	return s;
}

void session_close(struct session *s, bool drain)
{
	if (s->stopping)
		return;
	s->close_drain = drain;
	s->stopping = true;
}
