/*
 * coro.c - coroutines of the simulation: stacks switched with ucontext, told to
 * the address sanitizer where it is on.
 *
 * A coroutine runs until it blocks or ends; the scheduler resumes it by an
 * event. One that belongs to a dead process is killed: its stack is simply never run again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "world.h"

#if defined(__SANITIZE_ADDRESS__)
#define CORO_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CORO_ASAN 1
#endif
#endif
#ifdef CORO_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#define CORO_STACK_BYTES (1u << 20)

struct coro {
	ucontext_t ctx;
	struct coro *next, *prev;
	struct world *w;
	struct proc *proc;
	uint64_t life;
	sim_fn fn;
	void *arg;
	uint8_t *stack;
	bool ended, sleeping, waking;
	unsigned dead_sleeps;   /* times it slept in a dead process */
};

static ucontext_t scheduler;
static struct coro *running;
static struct coro *pool;           /* stacks to use again, of worlds gone by too */
#ifdef CORO_ASAN
static const void *scheduler_stack;
static size_t scheduler_stack_len;
#endif

struct coro *coro_self(void)
{
	return running;
}

struct proc *coro_proc(void)
{
	return running ? running->proc : NULL;
}

struct proc *coro_owner(struct coro *c)
{
	return c->proc;
}

struct coro *coro_next(struct coro *c)
{
	return c->next;
}

uint64_t coro_life(const struct coro *c)
{
	return c->life;
}

static void to_scheduler(struct coro *c)
{
#ifdef CORO_ASAN
	void *fake = NULL;

	__sanitizer_start_switch_fiber(&fake, scheduler_stack, scheduler_stack_len);
#endif
	swapcontext(&c->ctx, &scheduler);
#ifdef CORO_ASAN
	__sanitizer_finish_switch_fiber(fake, &scheduler_stack, &scheduler_stack_len);
#endif
}

static void entry(void)
{
	struct coro *c = running;

#ifdef CORO_ASAN
	__sanitizer_finish_switch_fiber(NULL, &scheduler_stack, &scheduler_stack_len);
#endif
	for (;;) {
		c->fn(c->arg);
		c->ended = true;
		to_scheduler(c);
	}
}

static void release(struct coro *c)
{
	struct world *w = c->w;

	if (c->prev)
		c->prev->next = c->next;
	else
		w->coros = c->next;
	if (c->next)
		c->next->prev = c->prev;
	if (c->proc)
		c->proc->coros--;
	c->proc = NULL;
	c->prev = NULL;
	c->life++;
	c->next = pool;
	pool = c;
}

void coro_resume(struct coro *c)
{
#ifdef CORO_ASAN
	void *fake = NULL;
#endif
	c->sleeping = c->waking = false;
	running = c;
#ifdef CORO_ASAN
	__sanitizer_start_switch_fiber(&fake, c->stack, CORO_STACK_BYTES);
#endif
	swapcontext(&scheduler, &c->ctx);
#ifdef CORO_ASAN
	__sanitizer_finish_switch_fiber(fake, NULL, NULL);
#endif
	running = NULL;
	if (c->ended)
		release(c);
}

static void fresh_context(struct coro *c)
{
#ifdef CORO_ASAN
	__asan_unpoison_memory_region(c->stack, CORO_STACK_BYTES);
#endif
	getcontext(&c->ctx);
	c->ctx.uc_stack.ss_sp = c->stack;
	c->ctx.uc_stack.ss_size = CORO_STACK_BYTES;
	c->ctx.uc_link = NULL;
	makecontext(&c->ctx, entry, 0);
}

static struct coro *coro_make(void)
{
	struct coro *c = calloc(1, sizeof *c);
	uint8_t *p;

	if (!c)
		abort();
	/* One page below the stack is never mapped: an overflow is a crash, not another's bytes. */
	p = mmap(NULL, CORO_STACK_BYTES + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED || mprotect(p, 4096, PROT_NONE) != 0)
		abort();
	c->stack = p + 4096;
	fresh_context(c);
	return c;
}

void coro_run(struct world *w, struct proc *p, sim_fn fn, void *arg)
{
	struct coro *c = pool;

	if (c)
		pool = c->next;
	else
		c = coro_make();
	c->w = w;
	c->proc = p;
	c->fn = fn;
	c->arg = arg;
	c->ended = false;
	c->dead_sleeps = 0;
	if (p)
		p->coros++;
	c->prev = NULL;
	c->next = w->coros;
	if (w->coros)
		w->coros->prev = c;
	w->coros = c;
	coro_resume(c);
}

void coro_block(void)
{
	to_scheduler(running);
}

void coro_wake(struct coro *c, uint64_t delay_ns)
{
	if (c->waking)
		return;
	c->waking = true;
	world_at(c->w, c->proc, delay_ns, 'W', NULL, c);
}

void coro_sleep(uint64_t ns)
{
	struct coro *c = running;

	if (!c) {
		fprintf(stderr, "simulation: the scheduler itself was made to wait (a lock held over an event?)\n");
		abort();
	}
	if (c->proc && c->proc->dead)
		c->dead_sleeps++;
	c->sleeping = true;
	coro_wake(c, ns);
	to_scheduler(c);
}

bool coro_dead_sleeper(struct coro *c)
{
	return c->dead_sleeps > 20 || !c->waking;
}

void coro_kill(struct coro *c)
{
	c->ended = true;
	release(c);
	fresh_context(c);
}

void coro_kill_all(struct world *w)
{
	while (w->coros)
		coro_kill(w->coros);
}
