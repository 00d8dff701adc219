/* step.c - see step.h. One world at a time, used by one thread. */
#include "step.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "rng.h"

#define BEGIN_NS 1000000000000ull
#define STEPS_MAX 20000000ul

static struct job *queue, **queue_end = &queue, *later; /* later: by time */
static uint64_t now_ns = BEGIN_NS, seed;
static unsigned long steps;
static _Thread_local bool stepping; /* this thread has used the world: its waits are ours */

static uint64_t boot_ns(struct env *e)
{
	(void)e;
	return now_ns;
}

static uint64_t real_ns(struct env *e)
{
	(void)e;
	return now_ns + 1700000000000000000ull;
}

static void random_bytes(struct env *e, void *p, size_t len)
{
	uint8_t *b = p;

	(void)e;
	for (size_t i = 0; i < len; i++)
		b[i] = (uint8_t)rng_next(&seed);
}

static void submit(struct exec *x, enum exec_lane lane, struct job *j)
{
	(void)x;
	(void)lane;
	stepping = true;
	j->next = NULL;
	*queue_end = j;
	queue_end = &j->next;
}

static void submit_at(struct exec *x, enum exec_lane lane, uint64_t at_boot_ns, struct job *j)
{
	struct job **p = &later;

	if (at_boot_ns <= now_ns) {
		submit(x, lane, j);
		return;
	}
	stepping = true;
	while (*p && (*p)->at_boot_ns <= at_boot_ns)
		p = &(*p)->next;
	j->at_boot_ns = at_boot_ns;
	j->next = *p;
	*p = j;
}

static bool run_due(void)
{
	struct job *j = queue;

	if (!j)
		return false;
	queue = j->next;
	if (!queue)
		queue_end = &queue;
	j->run(j);
	return true;
}

bool step_once(void)
{
	struct job *j;

	if (++steps > STEPS_MAX) {
		fprintf(stderr, "nothing comes of waiting\n");
		abort();
	}
	now_ns += 1000; /* or whoever looks at the clock only would wait for ever */
	if (run_due())
		return true;
	j = later;
	if (!j) {
		now_ns += 1000000;
		return false;
	}
	later = j->next;
	if (j->at_boot_ns > now_ns)
		now_ns = j->at_boot_ns;
	j->run(j);
	return true;
}

void step_all_due(void)
{
	while (run_due())
		;
}

unsigned long step_count(void)
{
	return steps;
}

void step_reset(void)
{
	if (queue || later)
		abort();
	now_ns = BEGIN_NS;
	seed = 1;
	steps = 0;
}

static void idle(struct exec *x)
{
	(void)x;
	(void)step_once();
}

static struct env the_env = { boot_ns, real_ns, random_bytes };
static struct exec the_exec = { submit, submit_at, idle };

struct env *step_env(void)
{
	return &the_env;
}

struct exec *step_exec(void)
{
	return &the_exec;
}

bool step_is_mine(void)
{
	return stepping;
}

void step_sleep(uint64_t ns)
{
	now_ns += ns;
}

/* --- the store --- */

struct layer { struct store s; struct store *below; };

static void submit_request(struct store *s, struct store_req *r)
{
	struct layer *l = (struct layer *)s;
	void (*done)(struct store_req *) = r->done;
	void *user = r->user;
	bool was = stepping;

	stepping = false; /* the store below has threads of its own, which are waited for */
	(void)store_call(l->below, r);
	stepping = was;
	r->done = done;
	r->user = user;
	done(r);
}

/* Answered long ago. */
static void wait_request(struct store *s, struct store_req *r)
{
	(void)s;
	(void)r;
}

static void counters(struct store *s, struct store_counters *ret)
{
	struct layer *l = (struct layer *)s;

	l->below->counters(l->below, ret);
}

static void close_layer(struct store *s)
{
	free(s);
}

struct store *step_store(struct store *below)
{
	struct layer *l = calloc(1, sizeof *l);

	if (!l)
		return NULL;
	l->s = (struct store){ .kind = "step", .address = "mem://", .submit = submit_request, .wait = wait_request, .counters = counters,
			       .close = close_layer };
	l->below = below;
	return &l->s;
}
