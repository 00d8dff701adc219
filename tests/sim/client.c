/*
 * client.c - what uses a volume: random operations, each compared with the
 * model as it returns, reads, fsyncs.
 *
 * One operation at a time per session (s->busy), so that an operation's LSN can be told; a call that is held lets the
 * others go on.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "session.h"

#define READ_MAX 200000u

/* --- held calls --- */

static void resume(struct volume_wait *w, int rc)
{
	struct held *h = CL_CONTAINER_OF(w, struct held, w);

	if (h->done) {
		world_violation(h->s->t->w, "V9: a held call was answered twice");
		return;
	}
	h->rc = rc;
	h->done = true;
	h->s->held--;
	if (h->c)
		coro_wake(h->c, 0);
}

/* Not on the stack: the engine of a dying process may look at it after the coroutine is gone. */
struct held *held_new(struct session *s)
{
	struct held *h = world_alloc(s->t->w, sizeof *h);

	h->w.resume = resume;
	h->s = s;
	return h;
}

int held_wait(struct held *h)
{
	h->s->held++;
	while (!h->done) {
		if (h->s->p->dead)
			return ERR_CRASHED;
		h->c = coro_self();
		coro_block();
	}
	return h->rc;
}

/* --- choosing --- */

static void pick_name(struct rng *r, char *out)
{
	snprintf(out, OP_NAME_MAX + 1, "%c%u", "fghx"[rng_below(r, 4)], (unsigned)rng_below(r, 4));
}

static void collect(struct model *m, uint64_t dir, uint64_t *dirs, size_t *nd, uint64_t *files, size_t *nf, size_t max)
{
	struct model_inode *d = model_get(m, dir);

	if (*nd < max)
		dirs[(*nd)++] = dir;
	for (size_t i = 0; i < d->name_count; i++) {
		struct model_inode *c = model_get(m, d->names[i].ino);

		if (S_ISDIR(c->mode))
			collect(m, c->a.ino, dirs, nd, files, nf, max);
		else if (*nf < max)
			files[(*nf)++] = c->a.ino;
	}
}

struct choice { uint64_t dirs[64], files[128]; size_t nd, nf; };

static uint64_t pick_file(struct session *s, struct choice *c, struct rng *r, bool regular)
{
	for (unsigned tries = 0; tries < 8 && c->nf; tries++) {
		uint64_t ino = c->files[rng_below(r, c->nf)];

		if (!regular || S_ISREG(model_get(s->m, ino)->mode))
			return ino;
	}
	return 0;
}

static uint64_t pick_open_or_file(struct session *s, struct choice *c, struct rng *r)
{
	uint64_t ino = s->open_refs[rng_below(r, CL_ARRAY_LEN(s->open_refs))];

	if (ino && rng_permille(r, 300) && S_ISREG(model_get(s->m, ino)->mode))
		return ino;
	return pick_file(s, c, r, true);
}

static uint64_t pick_offset(struct rng *r, const struct model_inode *i)
{
	uint64_t off = rng_permille(r, 20) ? rng_below(r, 1ull << 34) : rng_skewed(r, 0, i->size + 70000);

	switch (rng_below(r, 4)) {
	case 0:
		return off & ~4095ull;
	case 1:
		return off & ~511ull;
	case 2:
		return i->size;
	default:
		return off;
	}
}

static uint64_t pick_length(struct trial *t, struct rng *r)
{
	uint64_t len;

	if (rng_permille(r, t->plan.meddle))
		return rng_range(r, 1, t->plan.max_write);
	len = rng_skewed(r, 1, 70000);
	switch (rng_below(r, 4)) {
	case 0:
		return 16384;
	case 1:
		return (len + 4095) & ~4095ull;
	case 2:
		return (len + 511) & ~511ull;
	default:
		return len;
	}
}

static void choose_data_op(struct session *s, struct choice *c, struct rng *r, struct op *o)
{
	struct model_inode *i, *d;
	unsigned dice = (unsigned)rng_below(r, 100);

	o->ino = pick_open_or_file(s, c, r);
	if (!o->ino) {
		o->kind = OP_CREATE;
		return;
	}
	i = model_get(s->m, o->ino);
	o->off = pick_offset(r, i);
	o->len = pick_length(s->t, r);
	if (dice < 60) {
		o->kind = OP_WRITE;
		o->flags = rng_permille(r, 100);
	} else if (dice < 72) {
		o->kind = OP_TRUNCATE;
		o->len = rng_permille(r, 200) ? 0 : rng_skewed(r, 0, i->size + 20000);
	} else if (dice < 86) {
		static const unsigned modes[] = { 0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
						  FALLOC_FL_ZERO_RANGE, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE };

		o->kind = OP_FALLOCATE;
		o->flags = modes[rng_below(r, CL_ARRAY_LEN(modes))];
	} else {
		o->kind = OP_COPY;
		o->dst = pick_file(s, c, r, true);
		if (!o->dst)
			o->dst = o->ino;
		d = model_get(s->m, o->dst);
		o->off = rng_skewed(r, 0, i->size + 1);
		o->dst_off = pick_offset(r, d);
	}
}

static void choose_op(struct session *s, struct rng *r, struct op *o)
{
	static const enum op_kind name_ops[] = { OP_CREATE, OP_CREATE, OP_CREATE, OP_MKDIR, OP_FIFO, OP_SYMLINK, OP_TMPFILE, OP_LINK, OP_LINK,
						 OP_UNLINK, OP_UNLINK, OP_RMDIR, OP_RENAME, OP_RENAME, OP_RENAME };
	static const unsigned rename_flags[] = { 0, 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE };
	struct choice c = { .nd = 0 };
	unsigned dice = (unsigned)rng_below(r, 100);

	collect(s->m, VOLUME_ROOT_INO, c.dirs, &c.nd, c.files, &c.nf, 64);
	memset(o, 0, sizeof *o);
	o->data_seed = rng_next(r);
	o->mode = (uint32_t)(0600 + rng_below(r, 64));
	if (dice < 60) {
		choose_data_op(s, &c, r, o);
	} else if (dice < 88) {
		o->kind = name_ops[rng_below(r, CL_ARRAY_LEN(name_ops))];
		if (o->kind == OP_TMPFILE && s->open_refs[3])
			o->kind = OP_CREATE;
	} else if (dice < 92) {
		o->kind = rng_permille(r, 500) ? OP_CHMOD : OP_UTIMES;
		o->ino = pick_file(s, &c, r, true);
		if (!o->ino || rng_permille(r, 200))
			o->ino = c.dirs[rng_below(r, c.nd)];
		o->mtime.tv_sec = (time_t)rng_below(r, 1u << 31);
		o->mtime.tv_nsec = (long)rng_below(r, 1000000000);
	} else {
		o->kind = rng_permille(r, 700) ? OP_SETXATTR : OP_REMOVEXATTR;
		o->ino = pick_file(s, &c, r, true);
		if (!o->ino || rng_permille(r, 200))
			o->ino = c.dirs[rng_below(r, c.nd)];
		snprintf(o->name, sizeof o->name, "user.%c", "abcd"[rng_below(r, 4)]);
		o->len = rng_permille(r, 50 + s->t->plan.big_xattrs) ? rng_below(r, 30000) : rng_below(r, 60);
		o->flags = (unsigned)rng_below(r, 3); /* 0, XATTR_CREATE, XATTR_REPLACE */
		return;
	}
	if (o->kind > OP_RENAME)
		return;
	o->dir = c.dirs[rng_below(r, c.nd)];
	o->new_dir = c.dirs[rng_below(r, c.nd)];
	pick_name(r, o->name);
	pick_name(r, o->new_name);
	if (o->kind == OP_LINK) {
		o->ino = pick_file(s, &c, r, false);
		if (s->open_refs[3] && rng_permille(r, 300))
			o->ino = s->open_refs[3]; /* gives a temporary file its name */
		if (!o->ino || (model_get(s->m, o->ino)->nlink == 0 && o->ino != s->open_refs[3]))
			o->kind = OP_CREATE;
	}
	if (o->kind != OP_LINK)
		o->ino = 0;
	o->flags = o->kind == OP_RENAME ? rename_flags[rng_below(r, CL_ARRAY_LEN(rename_flags))] : 0;
}

/* --- doing --- */

static void note_attr(struct session *s, struct op *o, uint64_t ino)
{
	struct volume_attr a;
	int rc;

	if (!ino || o->attr_count == OP_ATTRS_MAX)
		return;
	for (unsigned i = 0; i < o->attr_count; i++)
		if (o->attrs[i].ino == ino)
			return;
	rc = volume_getattr(s->v, ino, &a);
	if (rc == 0)
		o->attrs[o->attr_count++] = a;
}

static int call_name(struct session *s, struct op *o, struct volume_wait *w)
{
	static const uint32_t types[] = { [OP_CREATE] = S_IFREG, [OP_MKDIR] = S_IFDIR, [OP_FIFO] = S_IFIFO };
	const struct volume_cred cred = { .uid = 33, .gid = 33, .umask = 0 };
	struct volume_attr a = { .ino = 0 };
	char target[64];
	size_t len = strlen(o->name);
	int rc;

	switch (o->kind) {
	case OP_CREATE:
	case OP_MKDIR:
	case OP_FIFO:
		rc = volume_mknod(s->v, o->dir, o->name, len, types[o->kind] | o->mode, 0, &cred, &a, w);
		break;
	case OP_SYMLINK:
		op_target(o->data_seed, target);
		rc = volume_symlink(s->v, o->dir, o->name, len, target, strlen(target), &cred, &a, w);
		break;
	case OP_TMPFILE:
		rc = volume_tmpfile(s->v, o->dir, S_IFREG | o->mode, &cred, &a, w);
		break;
	case OP_LINK:
		return volume_link(s->v, o->ino, o->dir, o->name, len, &a, w);
	case OP_UNLINK:
		return volume_unlink(s->v, o->dir, o->name, len, w);
	case OP_RMDIR:
		return volume_rmdir(s->v, o->dir, o->name, len, w);
	default:
		return volume_rename(s->v, o->dir, o->name, len, o->new_dir, o->new_name, strlen(o->new_name), o->flags, w);
	}
	if (rc == 0)
		o->ino = a.ino;
	return rc;
}

static int call_write(struct session *s, struct op *o, struct volume_wait *w)
{
	uint8_t *data = malloc(o->len + 1);
	int rc;

	if (!data)
		abort();
	op_data(o->data_seed, o->len, data);
	rc = volume_write(s->v, o->ino, o->off, data, o->len, o->flags & 1, false, w);
	free(data);
	return rc;
}

static int call_data(struct session *s, struct op *o, struct volume_wait *w)
{
	struct volume_attr a = { .size = o->len, .mode = o->mode, .mtime = o->mtime }, out;
	uint8_t *value;
	int rc;

	switch (o->kind) {
	case OP_WRITE:
		return call_write(s, o, w);
	case OP_TRUNCATE:
		return volume_setattr(s->v, o->ino, VOLUME_SET_SIZE, &a, &out, w);
	case OP_CHMOD:
		return volume_setattr(s->v, o->ino, VOLUME_SET_MODE, &a, &out, w);
	case OP_UTIMES:
		return volume_setattr(s->v, o->ino, VOLUME_SET_MTIME, &a, &out, w);
	case OP_FALLOCATE:
		return volume_fallocate(s->v, o->ino, (int)o->flags, o->off, o->len, w);
	case OP_COPY:
		return volume_copy_range(s->v, o->ino, o->off, o->dst, o->dst_off, o->len, &o->done, w);
	case OP_REMOVEXATTR:
		return volume_removexattr(s->v, o->ino, o->name, w);
	default:
		value = malloc(o->len + 1);
		if (!value)
			abort();
		op_data(o->data_seed, o->len, value);
		rc = volume_setxattr(s->v, o->ino, o->name, value, o->len, (int)o->flags, w);
		free(value);
		return rc;
	}
}

/* Errors that circumstances excuse, whatever the model says. */
static bool excused(struct session *s, int rc)
{
	return s->p->dead || s->stopping || rc == ERR_CRASHED || rc == ERR_FENCED || rc == ERR_READ_ONLY || rc == -ESHUTDOWN ||
	       (rc == -EIO && s->t->plan.outage_timeout_ms);
}

/* Unlinked or replaced while open: what the operation's names meant before it. */
struct touched { uint64_t a, b; };

static struct touched touched_before(struct session *s, const struct op *o)
{
	struct touched t = { 0, 0 };
	struct model_name *n;

	if (o->kind < OP_LINK || o->kind > OP_RENAME)
		return t;
	n = model_lookup(model_get(s->m, o->dir), o->name);
	t.a = n ? n->ino : 0;
	n = o->kind == OP_RENAME ? model_lookup(model_get(s->m, o->new_dir), o->new_name) : NULL;
	t.b = n ? n->ino : 0;
	return t;
}

static void accept(struct session *s, struct op *o, const struct touched *t, const struct volume_status *before)
{
	struct volume_status st;
	char wrong[256], text[400];

	volume_status(s->v, &st);
	o->lsn_before = before->lsn;
	o->lsn_after = st.lsn;
	o->at_ns = s->t->w->now_ns;
	o->id = s->t->next_op_id++;
	note_attr(s, o, o->ino);
	note_attr(s, o, o->kind <= OP_RENAME ? o->dir : o->dst);
	note_attr(s, o, o->kind == OP_RENAME ? o->new_dir : 0);
	note_attr(s, o, t->a);
	note_attr(s, o, t->b);
	model_apply(s->m, o, wrong, sizeof wrong);
	s->t->op_counts[o->kind]++;
	op_print(o, text, sizeof text);
	world_trace(s->t->w, "%s", text);
	if (wrong[0] && !s->p->dead)
		world_violation(s->t->w, "after %s: %s", text, wrong);
	/* An operation that changed nothing has no LSN and no place in the history. */
	if (o->lsn_after > o->lsn_before)
		history_add(&s->h, o);
	if (s->t->w->brk == BREAK_REORDER && s->h.count > s->base + 2 && rng_permille(&s->t->w->rng, 50)) {
		struct op **last = &s->h.ops[s->h.count - 1], *swap = last[0];
		uint64_t lsn = last[-1]->lsn_after;

		last[0] = last[-1];
		last[-1] = swap;
		last[0]->lsn_after = swap->lsn_after;
		swap->lsn_after = lsn;
	}
}

/* One call of an operation. ret_expect: the error that the model asks for. */
static int attempt(struct session *s, struct op *o, struct held *h, int *ret_expect)
{
	struct touched touched;
	struct volume_status before;
	int rc;

	*ret_expect = model_predict(s->m, o);
	touched = touched_before(s, o);
	volume_status(s->v, &before);
	rc = o->kind <= OP_RENAME ? call_name(s, o, &h->w) : call_data(s, o, &h->w);
	if (rc == 0 && *ret_expect == 0) {
		accept(s, o, &touched, &before);
		if (o->kind == OP_TMPFILE)
			s->open_refs[3] = o->ino;
	}
	return rc;
}

/* r: chooses what to do, anew after each wait; NULL: does *o. */
static void mutate(struct session *s, struct rng *r, struct op *o)
{
	struct trial *t = s->t;
	char text[400];
	int rc, expect;

	for (;;) {
		struct held *h;

		while (s->busy && !s->p->dead)
			coro_sleep(100 * SIM_US);
		if (s->p->dead || s->stopping || !s->v)
			return;
		s->busy = true;
		if (r)
			choose_op(s, r, o);
		h = held_new(s);
		rc = attempt(s, o, h, &expect);
		s->busy = false;
		if (rc != ERR_PARKED)
			break;
		rc = held_wait(h);
		if (rc)
			break;
	}
	if (s->p->dead)
		return;
	op_print(o, text, sizeof text);
	if (rc == 0 && expect)
		world_violation(t->w, "%s was allowed; %s was expected", text, strerror(expect));
	else if (rc && !expect && !excused(s, rc))
		world_violation(t->w, "%s failed: %s (%d)", text, err_text(rc), rc);
	if (rc == ERR_FENCED || rc == ERR_READ_ONLY)
		s->failed = true;
}

void client_do(struct session *s, struct op *o)
{
	mutate(s, NULL, o);
}

/* --- reading --- */

static void read_check(struct session *s, struct rng *r)
{
	struct choice c = { .nd = 0 };
	uint8_t *got = malloc(READ_MAX), *want = malloc(READ_MAX);
	uint64_t ino, off, size;
	size_t len = (size_t)rng_skewed(r, 1, READ_MAX), n = 0;
	struct model_inode *i;
	int rc;

	if (!got || !want)
		abort();
	collect(s->m, VOLUME_ROOT_INO, c.dirs, &c.nd, c.files, &c.nf, 64);
	ino = pick_open_or_file(s, &c, r);
	if (!ino)
		goto out;
	off = rng_skewed(r, 0, model_get(s->m, ino)->size + 10);
	for (;;) {
		struct held *h;

		if (s->p->dead || s->stopping)
			goto out;
		h = held_new(s);
		rc = volume_read(s->v, ino, off, len, got, &n, &h->w);
		if (rc != ERR_PARKED)
			break;
		rc = held_wait(h);
		if (rc)
			break;
	}
	i = model_get(s->m, ino);
	if (s->p->dead || !i)
		goto out;
	if (rc) {
		/* An error is allowed to V8, but in a world where nothing was damaged it is a byte lost. */
		if (!excused(s, rc) && rc != -ENOENT && !(rc == ERR_CORRUPT && s->t->plan.weather.get_flip) &&
		    !(s->n->poisoned_live && (rc == -EIO || rc == ERR_CORRUPT)))
			world_violation(s->t->w, "V8: reading inode %" PRIu64 " at %" PRIu64 " failed: %s", ino, off, err_text(rc));
		goto out;
	}
	size = i->size > off ? i->size - off : 0;
	size = size < len ? size : len;
	if (n && s->t->w->brk == BREAK_READ_FLIPS && rng_permille(r, 100))
		got[rng_below(r, n)] ^= 1;
	model_read(i, off, (size_t)size, want);
	if (n != size) {
		world_violation(s->t->w, "V8: reading inode %" PRIu64 " at %" PRIu64 " gave %zu bytes, not %" PRIu64, ino, off, n, size);
	} else if (memcmp(got, want, n) != 0) {
		size_t k = 0;

		while (got[k] == want[k])
			k++;
		world_violation(s->t->w, "V8: inode %" PRIu64 " byte %" PRIu64 " read as %02x, not %02x", ino, off + k, got[k], want[k]);
	}
out:
	free(got);
	free(want);
}

/* --- promises --- */

static void acked(struct session *s, bool store, uint64_t lsn, uint64_t called_ns)
{
	struct world *w = s->t->w;
	bool in_hand = s->p->thawed_at_ns > called_ns && w->now_ns < s->p->thawed_at_ns + 5 * SIM_MS;

	if (store) {
		s->t->acks_store++;
		session_acked_store(s, lsn);
		return;
	}
	s->t->acks_local++;
	/* Without a max_lag there is no lease: the old writer finds out when it meets the seal. */
	if (!s->v) /* closing: what is left is answered, not promised */
		return;
	if (s->superseded_ns && s->t->plan.max_lag_ms != UINT64_MAX && w->now_ns > s->superseded_ns + 2 * SIM_MS && !in_hand) {
		struct volume_status st;

		volume_status(s->v, &st);
		if (st.lsn_store < lsn)
			world_violation(w, "V3: an fsync was acknowledged locally %.3f s after another writer served",
					(double)(w->now_ns - s->superseded_ns) / 1e9);
	}
	if (!in_hand && s->t->plan.max_lag_ms != UINT64_MAX) {
		uint64_t heard = s->epoch < SIMSTORE_EPOCHS ? w->store->last_log_ns[s->epoch] : 0;
		struct volume_status st;

		volume_status(s->v, &st);
		if (heard && st.lsn_store < lsn && w->now_ns > heard + s->t->plan.max_lag_ms * SIM_MS + 2 * SIM_MS)
			world_violation(w, "V3: an fsync was acknowledged locally %.3f s after the store last took an object of epoch %" PRIu64,
					(double)(w->now_ns - heard) / 1e9, s->epoch);
	}
	if (s->acked_local < lsn && !in_hand) {
		s->acked_local = lsn;
		s->acked_local_ns = w->now_ns;
	}
}

void client_sync(struct session *s, bool to_store)
{
	struct trial *t = s->t;
	bool store = t->plan.durability == VOLUME_DURABILITY_STORE || to_store;
	bool only_store = store && t->plan.durability != VOLUME_DURABILITY_STORE;
	uint64_t called = t->w->now_ns;
	struct volume_status st;
	struct held *h;
	int rc;

	volume_status(s->v, &st);
	h = held_new(s);
	rc = only_store ? volume_sync(s->v, &h->w) : volume_fsync(s->v, &h->w);
	if (rc == ERR_PARKED && t->w->brk == BREAK_ACK_EARLY)
		acked(s, store, st.lsn, called);
	if (rc == ERR_PARKED)
		rc = held_wait(h);
	if (s->p->dead)
		return;
	if (rc == 0) {
		acked(s, store, st.lsn, called);
		world_trace(t->w, "fsync (%s) of LSN %" PRIu64 " done after %.3f s", store ? "store" : "local", st.lsn,
			    (double)(t->w->now_ns - called) / 1e9);
	} else if (rc == ERR_PARKED) {
		world_violation(t->w, "fsync was answered with ERR_PARKED");
	} else {
		world_trace(t->w, "fsync failed: %s", err_text(rc));
	}
}

/* --- open files --- */

static void handles(struct session *s, struct rng *r)
{
	struct choice c = { .nd = 0 };
	size_t k = rng_below(r, CL_ARRAY_LEN(s->open_refs));
	uint64_t ino = s->open_refs[k];

	while (s->busy && !s->p->dead)
		coro_sleep(100 * SIM_US);
	if (s->p->dead || s->stopping)
		return;
	ino = s->open_refs[k];
	if (ino) {
		s->open_refs[k] = 0;
		volume_open_unref(s->v, ino);
		return;
	}
	if (k == 3)
		return;
	collect(s->m, VOLUME_ROOT_INO, c.dirs, &c.nd, c.files, &c.nf, 64);
	ino = pick_file(s, &c, r, true);
	if (ino && volume_open_ref(s->v, ino) == 0)
		s->open_refs[k] = ino;
}

void client_run(void *arg)
{
	struct session *s = arg;
	struct rng r = { rng_next(&s->t->w->rng) };

	while (!s->stopping && !s->failed && !s->t->quiet && !s->p->dead && !s->t->w->stopped) {
		unsigned dice = (unsigned)rng_below(&r, 100);

		coro_sleep(rng_skewed(&r, 1, s->t->plan.think_ns));
		if (s->stopping || s->p->dead)
			break;
		if (s->read_only || dice < 12 || rng_permille(&r, s->t->plan.reads))
			read_check(s, &r);
		else if (dice < 28)
			client_sync(s, s->t->plan.durability != VOLUME_DURABILITY_STORE && rng_permille(&r, 150));
		else if (dice < 33)
			handles(s, &r);
		else
			mutate(s, &r, world_alloc(s->t->w, sizeof(struct op)));
		if (dice >= 75 && !s->stopping && !s->p->dead) /* as the mount does where it expects an fsync */
			volume_sync_ahead(s->v);
	}
	s->clients--;
}
