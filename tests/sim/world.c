/*
 * world.c - the scheduler: a heap of events in virtual time, machines and their
 * processes, the first violation.
 *
 * An event of a frozen process waits until it is thawed; one of a dead process
 * is dropped, except that its coroutines are resumed to unwind (every call they make fails with ERR_CRASHED).
 * Those that would wait for ever are killed. Then the process is reaped: on_dead.
 */
#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "world.h"

const char *const sim_break_names[BREAK_COUNT] = {
	[BREAK_NONE] = "none",
	[BREAK_STORE_OVERWRITES] = "store-overwrites",
	[BREAK_STORE_ACKS_EARLY] = "store-acks-early",
	[BREAK_STORE_LOSES] = "store-loses",
	[BREAK_STORE_STALE_LIST] = "store-stale-list",
	[BREAK_STORE_412_LIES] = "store-412-lies",
	[BREAK_SYNC_LIES] = "sync-lies",
	[BREAK_DIRSYNC_LIES] = "dirsync-lies",
	[BREAK_CLOCK_STOPS] = "clock-stops",
	[BREAK_LOST_REPLY_JOB] = "lost-reply-job",
	[BREAK_ACK_EARLY] = "ack-early",
	[BREAK_READ_FLIPS] = "read-flips",
	[BREAK_REORDER] = "reorder",
	[BREAK_LOSS_UNTOLD] = "loss-untold",
};

/* --- random numbers: splitmix64 (Steele, Lea, Flood 2014) --- */

uint64_t rng_next(struct rng *r)
{
	uint64_t z = (r->s += 0x9e3779b97f4a7c15ull);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

uint64_t rng_below(struct rng *r, uint64_t n)
{
	return n ? rng_next(r) % n : 0;
}

uint64_t rng_range(struct rng *r, uint64_t lo, uint64_t hi)
{
	return lo + rng_below(r, hi - lo + 1);
}

bool rng_permille(struct rng *r, unsigned p)
{
	return rng_below(r, 1000) < p;
}

uint64_t rng_skewed(struct rng *r, uint64_t lo, uint64_t hi)
{
	uint64_t span = hi - lo + 1, bits = 0;

	while (bits < 63 && (1ull << bits) < span)
		bits++;
	span >>= rng_below(r, bits);
	return lo + rng_below(r, span);
}

void rng_fill(struct rng *r, void *p, size_t len)
{
	uint8_t *b = p;

	while (len > 0) {
		uint64_t x = rng_next(r);
		size_t n = len < sizeof x ? len : sizeof x;

		memcpy(b, &x, n);
		b += n;
		len -= n;
	}
}

/* --- the world --- */

struct alloc { struct alloc *next; uint64_t pad; uint8_t data[]; };

void *world_alloc(struct world *w, size_t len)
{
	struct alloc *a = calloc(1, sizeof *a + len);

	if (!a)
		abort();
	a->next = w->allocs;
	w->allocs = a;
	return a->data;
}

int world_new(uint64_t seed, enum sim_break brk, bool verbose, struct world **ret)
{
	struct world *w = calloc(1, sizeof *w);

	if (!w)
		return -1;
	w->seed = seed;
	w->rng.s = seed * 0x2545f4914f6cdd1dull + 0x1234567;
	w->brk = brk;
	w->verbose = verbose;
	w->max_events = 3000000;
	w->now_ns = SIM_S;
	snprintf(w->scratch_dir, sizeof w->scratch_dir, "%s/clonelove-sim.XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	if (!mkdtemp(w->scratch_dir)) {
		perror(w->scratch_dir);
		abort();
	}
	w->store = simstore_new(w);
	*ret = w;
	return 0;
}

static void remove_dir(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		char path[512];

		snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
		if (e->d_name[0] != '.')
			unlink(path);
	}
	if (d)
		closedir(d);
	rmdir(dir);
}

static void remove_scratch(struct world *w)
{
	struct proc *p;

	for (p = w->procs; p; p = p->next)
		remove_dir(p->meta_dir);
	rmdir(w->scratch_dir);
}

void world_free(struct world *w)
{
	struct event *e;
	size_t i;

	if (!w)
		return;
	coro_kill_all(w);
	for (i = 0; i < w->heap_len; i++)
		free(w->heap[i]);
	free(w->heap);
	while ((e = w->free_events)) {
		w->free_events = e->next;
		free(e);
	}
	for (struct proc *p = w->procs; p; p = p->next) {
		while ((e = p->deferred)) {
			p->deferred = e->next;
			free(e);
		}
	}
	simstore_free(w->store);
	for (i = 0; i < w->node_count; i++)
{
		simdisk_free(w->nodes[i]->disk);
		if (w->nodes[i]->image)
			simdisk_free(w->nodes[i]->image);
	}
	remove_scratch(w);
	while (w->allocs) {
		struct alloc *a = w->allocs;

		w->allocs = a->next;
		free(a);
	}
	free(w);
}

void world_hash(struct world *w, uint64_t x)
{
	w->event_hash = (w->event_hash ^ x) * 0x9fb21c651e98df25ull;
	w->event_hash ^= w->event_hash >> 29;
}

void world_trace(struct world *w, const char *fmt, ...)
{
	struct proc *p = coro_proc();
	va_list ap;

	if (!w->verbose)
		return;
	printf("%10.4f ", (double)w->now_ns / 1e9);
	if (p)
		printf("%s/%u ", p->n->name, p->index);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

void world_violation(struct world *w, const char *fmt, ...)
{
	va_list ap;

	if (!w->violation[0]) {
		va_start(ap, fmt);
		vsnprintf(w->violation, sizeof w->violation, fmt, ap);
		va_end(ap);
	}
	w->stopped = true;
	world_trace(w, "VIOLATION: %s", w->violation);
}

void world_stop(struct world *w)
{
	w->stopped = true;
}

/* --- events --- */

static bool before(const struct event *a, const struct event *b)
{
	return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->seq < b->seq;
}

static void heap_push(struct world *w, struct event *e)
{
	size_t i = w->heap_len++;

	if (w->heap_len > w->heap_cap) {
		w->heap_cap = w->heap_cap ? w->heap_cap * 2 : 256;
		w->heap = realloc(w->heap, w->heap_cap * sizeof(*w->heap));
		if (!w->heap)
			abort();
	}
	while (i > 0 && before(e, w->heap[(i - 1) / 2])) {
		w->heap[i] = w->heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	w->heap[i] = e;
}

static struct event *heap_pop(struct world *w)
{
	struct event *top = w->heap[0], *last = w->heap[--w->heap_len];
	size_t i = 0, c;

	while ((c = 2 * i + 1) < w->heap_len) {
		if (c + 1 < w->heap_len && before(w->heap[c + 1], w->heap[c]))
			c++;
		if (!before(w->heap[c], last))
			break;
		w->heap[i] = w->heap[c];
		i = c;
	}
	w->heap[i] = last;
	return top;
}

void world_at(struct world *w, struct proc *p, uint64_t delay_ns, uint32_t label, sim_fn fn, void *arg)
{
	struct event *e;

	if (p && p->dead && fn)
		return;
	e = w->free_events;
	if (e)
		w->free_events = e->next;
	else if (!(e = malloc(sizeof *e)))
		abort();
	memset(e, 0, sizeof *e);
	e->at_ns = w->now_ns + delay_ns;
	e->seq = w->seq++;
	e->proc = p;
	e->label = label;
	e->fn = fn;
	if (fn) {
		e->arg = arg;
	} else {
		e->wake = arg;
		e->wake_life = coro_life(e->wake);
	}
	heap_push(w, e);
}

static void defer(struct proc *p, struct event *e)
{
	e->next = NULL;
	*p->deferred_tail = e;
	p->deferred_tail = &e->next;
}

static void undefer(struct proc *p)
{
	struct event *e = p->deferred, *next;

	p->deferred = NULL;
	p->deferred_tail = &p->deferred;
	for (; e; e = next) {
		next = e->next;
		e->at_ns = p->w->now_ns + rng_below(&p->w->rng, 50 * SIM_US);
		e->seq = p->w->seq++;
		heap_push(p->w, e);
	}
}

static void dispatch(struct world *w, struct event *e)
{
	struct proc *p = e->proc;
	sim_fn fn = e->fn;
	void *arg = e->arg;
	struct coro *wake = e->wake;
	bool live = !wake || coro_life(wake) == e->wake_life;

	if (p && p->frozen && !p->dead) {
		defer(p, e);
		return;
	}
	w->events++;
	world_hash(w, e->at_ns ^ ((uint64_t)e->label << 40) ^ (p ? p->index + 1 : 0));
	e->next = w->free_events;
	w->free_events = e;
	if (wake) {
		if (live)
			coro_resume(wake);
	} else if (!p || !p->dead) {
		coro_run(w, p, fn, arg);
	}
}

/* Lets what still runs of dead processes unwind, kills what never would, and tells their owners. */
static void reap(struct world *w)
{
	struct proc *p;
	struct coro *c, *next;

	for (p = w->procs; p; p = p->next) {
		if (!p->dead || p->reaped)
			continue;
		for (c = w->coros; c && p->coros > 0; c = next) {
			next = coro_next(c);
			if (coro_owner(c) == p && coro_dead_sleeper(c))
				coro_kill(c);
		}
		if (p->coros > 0)
			continue;
		p->reaped = true;
		w->crashes--;
		if (p->on_dead)
			p->on_dead(p);
	}
}

void world_run(struct world *w)
{
	while (!w->stopped) {
		struct event *e;

		if (w->heap_len == 0) {
			world_violation(w, "V9: nothing is left to happen, yet the history has not ended (a deadlock)");
			return;
		}
		if (w->events >= w->max_events) {
			world_violation(w, "V9: %llu events and no end (a livelock)", (unsigned long long)w->events);
			return;
		}
		e = heap_pop(w);
		w->now_ns = e->at_ns > w->now_ns ? e->at_ns : w->now_ns;
		dispatch(w, e);
		if (w->crashes)
			reap(w);
	}
}

/* --- machines --- */

struct node *node_new(struct world *w, uint64_t disk_bytes)
{
	struct node *n = world_alloc(w, sizeof *n);

	if (w->node_count == CL_ARRAY_LEN(w->nodes))
		abort();
	n->w = w;
	n->index = w->node_count;
	w->nodes[w->node_count++] = n;
	snprintf(n->name, sizeof n->name, "node%u", n->index);
	rng_fill(&w->rng, n->machine_id, sizeof n->machine_id);
	n->disk = simdisk_new(w, disk_bytes);
	return n;
}

void node_wipe(struct node *n, uint64_t disk_bytes)
{
	simdisk_free(n->disk);
	n->disk = simdisk_new(n->w, disk_bytes);
	n->disk_generation++;
}

void node_take_image(struct node *n, const struct simdisk *d)
{
	struct simdisk *c = simdisk_copy(d);

	simdisk_free(n->disk);
	n->disk = c;
	n->disk_generation++;
}

struct proc *proc_start(struct node *n)
{
	struct world *w = n->w;
	struct proc *p = world_alloc(w, sizeof *p);

	p->w = w;
	p->n = n;
	p->index = w->proc_count++;
	p->rng.s = rng_next(&w->rng);
	p->deferred_tail = &p->deferred;
	p->next = w->procs;
	w->procs = p;
	n->proc = p;
	snprintf(p->meta_dir, sizeof p->meta_dir, "%s/%u", w->scratch_dir, p->index);
	if (mkdir(p->meta_dir, 0700) != 0) {
		perror(p->meta_dir);
		abort();
	}
	procenv_attach(p);
	simstore_attach(w->store, p);
	simdisk_attach(n->disk, p);
	return p;
}

static void die(struct proc *p)
{
	p->dead = true;
	p->w->crashes++;
	if (p->n->proc == p)
		p->n->proc = NULL;
	simstore_proc_dead(p->w->store, p);
	if (p->frozen) {
		p->frozen = false;
		undefer(p);
	}
}

void proc_crash(struct proc *p, enum crash_kind kind)
{
	if (p->dead)
		return;
	world_trace(p->w, "%s/%u %s after %llu operations", p->n->name, p->index,
		    kind == CRASH_POWER ? "loses power" : "is killed", (unsigned long long)p->ops);
	p->crash_kind = kind;
	die(p);
	if (kind == CRASH_POWER) {
		simdisk_power_loss(p->n->disk);
		p->n->power_lost_ns = p->w->now_ns;
	}
}

void proc_exit(struct proc *p)
{
	if (p->dead)
		return;
	p->exited = true;
	die(p);
}

void proc_freeze(struct proc *p)
{
	if (p->dead || p->frozen)
		return;
	world_trace(p->w, "%s/%u freezes", p->n->name, p->index);
	p->frozen = true;
	p->frozen_at_ns = p->w->now_ns;
}

void proc_thaw(struct proc *p)
{
	if (p->dead || !p->frozen)
		return;
	world_trace(p->w, "%s/%u thaws", p->n->name, p->index);
	p->frozen = false;
	p->thawed_at_ns = p->w->now_ns;
	p->frozen_total_ns += p->w->now_ns - p->frozen_at_ns;
	undefer(p);
}

bool proc_op(struct proc *p, bool *ret_die_after)
{
	*ret_die_after = false;
	if (p->dead)
		return true;
	p->ops++;
	if (p->crash_at && !p->crash_in_sync && p->ops >= p->crash_at) {
		if (rng_permille(&p->w->rng, 500)) {
			*ret_die_after = true;
			return false;
		}
		proc_crash(p, p->crash_kind);
		return true;
	}
	return false;
}

bool proc_sync_op(struct proc *p, bool *ret_die_after)
{
	if (proc_op(p, ret_die_after))
		return true;
	/* In the middle of it: the disk decides what became of what was written. */
	if (p->crash_in_sync && p->crash_at && --p->crash_at == 0)
		*ret_die_after = true;
	return false;
}
