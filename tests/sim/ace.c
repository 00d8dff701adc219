/*
 * ace.c - every short workload there is, over a few names, each with a crash: what CrashMonkey's ACE makes of "most crash bugs need three operations
 * and a few files" (Mohan et al., "Finding Crash-Consistency Bugs with Bounded Black-Box Crash Testing", OSDI 2018).
 *
 * A workload begins with the same small synced tree, does one to three operations of the table, and an fsync after each of those that its pattern
 * names. Then the power goes: behind the last operation (with the shorter workloads that is behind every persistence point of the longer
 * ones), or at a disk operation on the way. The machine comes back on the same disk, and session_verify demands what was fsynced, and a prefix.
 * Some fsyncs are syncs to the store, and some pauses let a cut be made and sent, as the seed has it.
 *
 * Workloads follow each other in one world until it is full (a batch), and a batch takes them from all over the space, so that any part of the batches
 * is a fair sample. An fsync of a directory is the same call of the engine as one of a file.
 */
#include <inttypes.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "session.h"

#define OPS_MAX 3u
#define BATCH_RUNS 48u
#define STRIDE 1000003u /* prime, and no divisor of any count of workloads */

struct act { enum op_kind kind; const char *path, *to; unsigned flags; uint64_t off, len, dst_off; };

/* The tree at the beginning: A/foo (10000 bytes, an xattr), B/bar (5000 bytes), C empty. */
static const struct act base[] = {
	{ OP_MKDIR, "A", NULL, 0, 0, 0, 0 }, { OP_MKDIR, "B", NULL, 0, 0, 0, 0 }, { OP_MKDIR, "C", NULL, 0, 0, 0, 0 },
	{ OP_CREATE, "A/foo", NULL, 0, 0, 0, 0 }, { OP_WRITE, "A/foo", NULL, 0, 0, 10000, 0 }, { OP_SETXATTR, "A/foo", "user.a", 0, 0, 20, 0 },
	{ OP_CREATE, "B/bar", NULL, 0, 0, 0, 0 }, { OP_WRITE, "B/bar", NULL, 0, 0, 5000, 0 },
};

#define PUNCH (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)
static const struct act acts[] = {
	{ OP_CREATE, "A/bar", NULL, 0, 0, 0, 0 }, { OP_CREATE, "B/foo", NULL, 0, 0, 0, 0 }, { OP_MKDIR, "A/D", NULL, 0, 0, 0, 0 },
	{ OP_MKDIR, "A/bar", NULL, 0, 0, 0, 0 }, { OP_RMDIR, "C", NULL, 0, 0, 0, 0 }, { OP_RMDIR, "A/D", NULL, 0, 0, 0, 0 },
	{ OP_SYMLINK, "A/bar", NULL, 0, 0, 0, 0 },
	{ OP_LINK, "A/foo", "A/bar", 0, 0, 0, 0 }, { OP_LINK, "A/foo", "B/foo", 0, 0, 0, 0 }, { OP_LINK, "B/bar", "A/bar", 0, 0, 0, 0 },
	{ OP_UNLINK, "A/foo", NULL, 0, 0, 0, 0 }, { OP_UNLINK, "A/bar", NULL, 0, 0, 0, 0 }, { OP_UNLINK, "B/bar", NULL, 0, 0, 0, 0 },
	{ OP_UNLINK, "B/foo", NULL, 0, 0, 0, 0 },
	{ OP_RENAME, "A/foo", "A/bar", 0, 0, 0, 0 }, { OP_RENAME, "A/bar", "A/foo", 0, 0, 0, 0 }, { OP_RENAME, "A/foo", "B/foo", 0, 0, 0, 0 },
	{ OP_RENAME, "A/foo", "B/bar", 0, 0, 0, 0 }, { OP_RENAME, "B/bar", "A/foo", 0, 0, 0, 0 }, { OP_RENAME, "A/bar", "B/bar", 0, 0, 0, 0 },
	{ OP_RENAME, "A/foo", "B/bar", RENAME_EXCHANGE, 0, 0, 0 }, { OP_RENAME, "A", "B", RENAME_EXCHANGE, 0, 0, 0 },
	{ OP_RENAME, "C", "A/D", 0, 0, 0, 0 }, { OP_RENAME, "B", "C", 0, 0, 0, 0 }, { OP_RENAME, "A", "C/A", 0, 0, 0, 0 },
	{ OP_RENAME, "A", "D", 0, 0, 0, 0 }, { OP_RENAME, "D/foo", "B/foo", 0, 0, 0, 0 },
	{ OP_WRITE, "A/foo", NULL, 1, 0, 4096, 0 }, { OP_WRITE, "A/foo", NULL, 1, 0, 100, 0 }, { OP_WRITE, "A/foo", NULL, 0, 0, 4096, 0 },
	{ OP_WRITE, "A/foo", NULL, 0, 3000, 3000, 0 }, { OP_WRITE, "A/foo", NULL, 0, 40000, 5000, 0 }, { OP_WRITE, "A/bar", NULL, 0, 0, 6000, 0 },
	{ OP_WRITE, "B/bar", NULL, 0, 1000, 2000, 0 }, { OP_WRITE, "B/bar", NULL, 1, 0, 70000, 0 }, { OP_WRITE, "D/foo", NULL, 1, 0, 500, 0 },
	{ OP_TRUNCATE, "A/foo", NULL, 0, 0, 0, 0 }, { OP_TRUNCATE, "A/foo", NULL, 0, 0, 5000, 0 }, { OP_TRUNCATE, "A/foo", NULL, 0, 0, 30000, 0 },
	{ OP_TRUNCATE, "B/bar", NULL, 0, 0, 4096, 0 }, { OP_TRUNCATE, "A/bar", NULL, 0, 0, 0, 0 },
	{ OP_FALLOCATE, "A/foo", NULL, PUNCH, 4096, 4096, 0 }, { OP_FALLOCATE, "A/foo", NULL, PUNCH, 100, 9000, 0 },
	{ OP_FALLOCATE, "A/foo", NULL, FALLOC_FL_ZERO_RANGE, 8000, 8000, 0 }, { OP_FALLOCATE, "A/foo", NULL, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 8000, 8000, 0 },
	{ OP_FALLOCATE, "A/foo", NULL, 0, 12000, 8000, 0 }, { OP_FALLOCATE, "A/foo", NULL, FALLOC_FL_KEEP_SIZE, 12000, 8000, 0 },
	{ OP_SETXATTR, "A/foo", "user.a", 0, 0, 40, 0 }, { OP_SETXATTR, "A/foo", "user.b", 0, 0, 5000, 0 }, { OP_SETXATTR, "A", "user.a", 0, 0, 10, 0 },
	{ OP_REMOVEXATTR, "A/foo", "user.a", 0, 0, 0, 0 },
	{ OP_COPY, "A/foo", "B/bar", 0, 0, 8192, 4096 }, { OP_COPY, "B/bar", "A/foo", 0, 100, 3000, 9000 }, { OP_COPY, "A/foo", "A/bar", 0, 0, 10000, 0 },
	{ OP_CHMOD, "A/foo", NULL, 0, 0, 0, 0 }, { OP_UTIMES, "A/foo", NULL, 0, 0, 0, 0 },
};
#define ACTS CL_ARRAY_LEN(acts)

struct run {
	unsigned count, act[OPS_MAX];
	unsigned syncs;   /* bit i: an fsync behind operation i */
	bool midway;      /* dies on the way */
};

struct ace {
	bool three;
	struct run now, last; /* last: its crash is examined as the next one begins */
	unsigned runs;
	bool idle;            /* the last opening: nothing to do */
};

/* --- the space of workloads --- */

static uint64_t power(uint64_t n, unsigned k)
{
	return k ? n * power(n, k - 1) : 1;
}

/* Workloads of n operations: which, the pattern of fsyncs, where it dies. */
static uint64_t space(unsigned n)
{
	return power(ACTS, n) * power(2, n) * 2;
}

static uint64_t space_of(bool three)
{
	return three ? space(3) : space(1) + space(2);
}

static bool is_ace(const char *scenario, bool *ret_three)
{
	*ret_three = scenario && !strcmp(scenario, "ace3");
	return *ret_three || (scenario && !strcmp(scenario, "ace2"));
}

uint64_t ace_batches(const char *scenario)
{
	bool three;

	return is_ace(scenario, &three) ? (space_of(three) + BATCH_RUNS - 1) / BATCH_RUNS : 0;
}

static void decode(bool three, uint64_t n, struct run *r)
{
	r->count = three ? 3 : n < space(1) ? 1 : 2;
	if (r->count == 2)
		n -= space(1);
	r->midway = n % 2;
	n /= 2;
	r->syncs = (unsigned)(n % power(2, r->count));
	n /= power(2, r->count);
	for (unsigned i = 0; i < r->count; i++, n /= ACTS)
		r->act[i] = (unsigned)(n % ACTS);
}

/* --- one operation --- */

static struct model_inode *walk(struct model *m, const char *path, size_t len)
{
	struct model_inode *i = model_get(m, VOLUME_ROOT_INO);
	char name[OP_NAME_MAX + 1];

	for (const char *end = path + len; i && path < end;) {
		size_t n = strcspn(path, "/");
		struct model_name *e;

		n = n < (size_t)(end - path) ? n : (size_t)(end - path);
		snprintf(name, sizeof name, "%.*s", (int)n, path);
		e = model_lookup(i, name);
		i = e ? model_get(m, e->ino) : NULL;
		path += path + n < end ? n + 1 : n;
	}
	return i;
}

/* The directory of a path, and its last name. */
static uint64_t parent_of(struct model *m, const char *path, char *name)
{
	const char *slash = strrchr(path, '/');
	struct model_inode *dir = walk(m, path, slash ? (size_t)(slash - path) : 0);

	snprintf(name, OP_NAME_MAX + 1, "%s", slash ? slash + 1 : path);
	return dir ? dir->a.ino : 0;
}

static uint64_t inode_of(struct model *m, const char *path)
{
	struct model_inode *i = walk(m, path, strlen(path));

	return i ? i->a.ino : 0;
}

/* What the act means in this tree; false where it cannot be done. */
static bool aim(struct model *m, const struct act *a, unsigned nth, struct op *o)
{
	memset(o, 0, sizeof *o);
	o->kind = a->kind;
	o->flags = a->flags;
	o->off = a->off;
	o->len = a->len;
	o->dst_off = a->dst_off;
	o->done = a->len;
	o->data_seed = 8 * nth + 5;
	o->mode = 0640;
	o->mtime.tv_sec = 1000000000 + nth;
	if (a->kind == OP_LINK) {
		o->ino = inode_of(m, a->path);
		o->dir = parent_of(m, a->to, o->name);
	} else if (a->kind <= OP_RENAME) {
		o->dir = parent_of(m, a->path, o->name);
		if (a->kind == OP_RENAME)
			o->new_dir = parent_of(m, a->to, o->new_name);
	} else {
		o->ino = inode_of(m, a->path);
		if (a->kind == OP_COPY)
			o->dst = inode_of(m, a->to);
		else if (a->to)
			snprintf(o->name, sizeof o->name, "%s", a->to);
	}
	if ((a->kind <= OP_RENAME ? !o->dir : !o->ino) || (a->kind == OP_LINK && !o->ino) || (a->kind == OP_RENAME && !o->new_dir))
		return false;
	if (a->kind > OP_RENAME && a->kind <= OP_COPY && (model_get(m, o->ino)->mode & S_IFMT) != S_IFREG)
		return false;
	if (a->kind == OP_COPY && (!o->dst || (model_get(m, o->dst)->mode & S_IFMT) != S_IFREG))
		return false;
	return model_predict(m, o) == 0;
}

static bool imagine(struct model *m, const struct act *a, unsigned nth)
{
	struct op o;
	char wrong[256];

	if (!aim(m, a, nth, &o))
		return false;
	if (o.kind <= OP_TMPFILE)
		o.ino = 100 + nth;
	model_apply(m, &o, wrong, sizeof wrong);
	return true;
}

/* Can it be done, operation after operation? */
static bool makes_sense(const struct run *r)
{
	struct model *m = model_new();
	unsigned nth = 0;
	bool ok = true;

	for (unsigned i = 0; i < CL_ARRAY_LEN(base) && ok; i++)
		ok = imagine(m, &base[i], nth++);
	for (unsigned i = 0; i < r->count && ok; i++)
		ok = imagine(m, &acts[r->act[i]], nth++);
	model_free(m);
	return ok;
}

/* --- a workload --- */

static void act_out(struct session *s, const struct act *a, unsigned nth)
{
	struct op *o = world_alloc(s->t->w, sizeof *o);

	if (s->p->dead || !s->v || s->t->w->stopped)
		return;
	if (aim(s->m, a, nth, o))
		client_do(s, o);
	else if (!s->p->dead)
		world_violation(s->t->w, "%s %s cannot be done; an operation before it has not happened", op_names[a->kind], a->path);
}

static void clear(struct session *s, uint64_t dir)
{
	struct model_inode *d;

	while (!s->p->dead && !s->t->w->stopped && (d = model_get(s->m, dir))->name_count) {
		struct op *o = world_alloc(s->t->w, sizeof *o);
		struct model_inode *i = model_get(s->m, d->names[0].ino);

		snprintf(o->name, sizeof o->name, "%s", d->names[0].name);
		o->kind = OP_UNLINK;
		o->dir = dir;
		if ((i->mode & S_IFMT) == S_IFDIR) {
			o->kind = OP_RMDIR;
			clear(s, i->a.ino);
		}
		client_do(s, o);
	}
}

static void work(void *arg)
{
	struct session *s = arg;
	struct world *w = s->t->w;
	struct ace *a = s->t->user;
	struct rng *r = &w->rng;
	unsigned nth = 0;
	uint64_t began;

	s->p->crash_at = 0;
	if (a->idle)
		goto out;
	clear(s, VOLUME_ROOT_INO);
	for (unsigned i = 0; i < CL_ARRAY_LEN(base); i++)
		act_out(s, &base[i], nth++);
	client_sync(s, rng_permille(r, 300));
	if (s->p->dead || w->stopped)
		goto out;
	if (rng_permille(r, 300)) /* what loses its last name is still in use */
		volume_open_ref(s->v, inode_of(s->m, "A/foo"));
	began = s->p->ops;
	s->p->crash_kind = CRASH_POWER;
	if (a->now.midway)
		s->p->crash_at = began + 1 + rng_below(r, 3 + 5 * a->now.count);
	for (unsigned i = 0; i < a->now.count && !s->p->dead && !w->stopped; i++) {
		act_out(s, &acts[a->now.act[i]], nth++);
		if (rng_permille(r, 60))
			coro_sleep(1200 * SIM_MS); /* a cut is made, and sent or under way */
		if (!s->p->dead && !w->stopped && (a->now.syncs >> i & 1))
			client_sync(s, rng_permille(r, 120));
	}
	world_trace(w, "the workload took %" PRIu64 " operations of the disk and store", s->p->ops - began);
	if (!w->stopped)
		proc_crash(s->p, CRASH_POWER);
out:
	s->clients--;
}

static void describe(const struct run *r, char *out, size_t cap)
{
	size_t n = 0;

	for (unsigned i = 0; i < r->count && n < cap; i++) {
		const struct act *a = &acts[r->act[i]];

		n += (size_t)snprintf(out + n, cap - n, "%s%s %s%s%s", i ? "; " : "", op_names[a->kind], a->path, a->to ? " " : "", a->to ? a->to : "");
		if (n < cap && a->len)
			n += (size_t)snprintf(out + n, cap - n, " %" PRIu64 "+%" PRIu64, a->off, a->len);
		if (n < cap && (r->syncs >> i & 1))
			n += (size_t)snprintf(out + n, cap - n, "; fsync");
	}
	if (n < cap)
		snprintf(out + n, cap - n, "%s", r->midway ? " (dies on the way)" : "");
}

void ace_explain(const struct trial *t, char *out, size_t cap)
{
	const struct ace *a = t->user;
	char last[300] = "nothing", now[300];

	if (a->runs > 1)
		describe(&a->last, last, sizeof last);
	describe(&a->now, now, sizeof now);
	snprintf(out, cap, " [workload: %s | the one before: %s]", now, last);
}

/* --- a batch --- */

void ace_prepare(struct trial *t, const char *scenario)
{
	struct ace *a = world_alloc(t->w, sizeof *a);

	is_ace(scenario, &a->three);
	t->user = a;
	t->client = work;
	t->plan = (struct plan){
		.scenario = scenario, .nodes = 1, .clients = 1, .durability = VOLUME_DURABILITY_LOCAL, .max_lag_ms = 5000, .commit_interval_ms = 1000,
		.checkpoint_bytes = rng_permille(&t->w->rng, 500) ? 32u << 20 : 4000, .cache_bytes = 200u << 20, .disk_bytes = 1ull << 30, .uploads = 4,
	};
}

/* The machine comes up and does its work; now and then the power goes while it comes up, and it has to try again. */
static void begin(struct trial *t)
{
	struct ace *a = t->user;
	struct session *s;

	do {
		s = session_start(t, t->w->nodes[0], false, false);
		if (rng_permille(&t->w->rng, 100)) {
			s->p->crash_at = rng_range(&t->w->rng, 1, 120);
			s->p->crash_kind = CRASH_POWER;
		}
		while (!s->p->dead && !t->w->stopped && !(s->opened && a->idle))
			coro_sleep(20 * SIM_MS);
	} while (!t->w->stopped && !s->opened && (!s->open_rc || s->open_rc == ERR_CRASHED));
	if (!s->opened && !t->w->stopped)
		world_violation(t->w, "the machine cannot come back: %s", err_text(s->open_rc));
}

void ace_direct(void *arg)
{
	struct trial *t = arg;
	struct ace *a = t->user;
	uint64_t all = space_of(a->three), from = t->w->seed * BATCH_RUNS;

	node_new(t->w, t->plan.disk_bytes);
	if (!scenario_format(t))
		return;
	for (uint64_t n = from; n < from + BATCH_RUNS && n < all && !t->w->stopped; n++) {
		struct run r;
		char text[300];

		decode(a->three, n * STRIDE % all, &r);
		if (!makes_sense(&r))
			continue;
		a->last = a->now;
		a->now = r;
		a->runs++;
		describe(&r, text, sizeof text);
		world_trace(t->w, "--- %s", text);
		begin(t);
	}
	a->last = a->now;
	a->idle = true;
	if (!t->w->stopped)
		begin(t);
	if (!t->w->stopped)
		trial_check_end(t);
	world_stop(t->w);
}
