/* test_lead.c - the lease, with a clock of the test's own: who leads, until when, and that no two do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backends.h"
#include "err.h"
#include "lead.h"

#define MS UINT64_C(1000000)
#define LEASE 8000u

struct clock { struct env env; uint64_t now; uint64_t random; };

static uint64_t clock_now(struct env *e)
{
	return CL_CONTAINER_OF(e, struct clock, env)->now;
}

static void clock_random(struct env *e, void *p, size_t len)
{
	struct clock *c = CL_CONTAINER_OF(e, struct clock, env);

	for (size_t i = 0; i < len; i++)
		((uint8_t *)p)[i] = (uint8_t)(++c->random * 0x9e3779b97f4a7c15u >> 56);
}

/* Two processes, each with a clock; one store. */
struct pair { struct store *store; struct clock clock[2]; struct cluster c[2]; struct lead *l[2]; };

static void begin(struct pair *p, const char *rules)
{
	struct store *below;

	memset(p, 0, sizeof(*p));
	assert_int_equal(store_mem_open(1, &below), 0);
	if (!rules)
		p->store = below;
	else
		assert_int_equal(store_fault_open(below, rules, 1, &p->store), 0);
	for (unsigned i = 0; i < 2; i++) {
		p->clock[i] = (struct clock){ { clock_now, clock_now, clock_random }, (1 + 1000 * i) * MS, 1 + (uint64_t)i * 12345 };
		p->c[i] = (struct cluster){ p->store, &p->clock[i].env, 1000 };
		assert_int_equal(lead_new(&p->c[i], i ? "two" : "one", &p->l[i]), 0);
	}
}

static void end(struct pair *p)
{
	lead_free(p->l[0]);
	lead_free(p->l[1]);
	store_close(p->store);
}

static void pass(struct pair *p, uint64_t ms)
{
	p->clock[0].now += ms * MS;
	p->clock[1].now += ms * MS;
}

static uint64_t epoch_of(struct pair *p, int i)
{
	uint64_t epoch;

	return lead_holds(p->l[i], &epoch) ? epoch : 0;
}

static void test_takes_turns(void **state CL_UNUSED)
{
	struct lead_info info;
	struct pair p;

	begin(&p, NULL);
	lead_step(p.l[0], LEASE);
	assert_int_equal(epoch_of(&p, 0), 1);
	for (int i = 0; i < 100; i++) {
		pass(&p, LEASE / 4);
		lead_step(p.l[0], LEASE);
		lead_step(p.l[1], LEASE);
		assert_int_equal(epoch_of(&p, 0), 1);
		assert_int_equal(epoch_of(&p, 1), 0);
	}
	lead_info(p.l[1], &info);
	assert_string_equal(info.holder, "one");
	/* One stops: it knows before two may. */
	for (unsigned ms = 0; epoch_of(&p, 1) == 0; ms += 100) {
		assert_true(ms <= LEASE + 200);
		assert_true(ms < LEASE / 8 * 7 || epoch_of(&p, 0) == 0);
		pass(&p, 100);
		lead_step(p.l[1], LEASE);
		assert_true(epoch_of(&p, 0) == 0 || epoch_of(&p, 1) == 0);
	}
	assert_int_equal(epoch_of(&p, 1), 2);
	/* It is back, and waits like anybody. */
	lead_step(p.l[0], LEASE);
	assert_int_equal(epoch_of(&p, 0), 0);
	end(&p);
}

static void test_release(void **state CL_UNUSED)
{
	struct pair p;

	begin(&p, NULL);
	lead_step(p.l[0], LEASE);
	lead_step(p.l[1], LEASE);
	lead_release(p.l[0]);
	assert_int_equal(epoch_of(&p, 0), 0);
	pass(&p, LEASE / 8);
	lead_step(p.l[1], LEASE);
	assert_int_equal(epoch_of(&p, 1), 2);
	end(&p);
}

/* A store that is away costs the lease, and nobody gets it by that. */
static void test_away(void **state CL_UNUSED)
{
	struct pair p;

	begin(&p, "*:leader:503:after=4:count=40"); /* a claim is a GET and a PUT, and so on */
	lead_step(p.l[0], LEASE);
	assert_int_equal(epoch_of(&p, 0), 1);
	lead_step(p.l[1], LEASE);
	for (unsigned ms = 0; ms < LEASE / 8 * 7; ms += LEASE / 8) {
		pass(&p, LEASE / 8);
		lead_step(p.l[0], LEASE);
		lead_step(p.l[1], LEASE);
		assert_int_equal(epoch_of(&p, 1), 0);
	}
	pass(&p, LEASE / 8);
	assert_int_equal(epoch_of(&p, 0), 0);
	for (int i = 0; i < 60 && !epoch_of(&p, 0) && !epoch_of(&p, 1); i++) {
		pass(&p, LEASE / 8);
		lead_step(p.l[0], LEASE);
		lead_step(p.l[1], LEASE);
	}
	assert_int_equal(epoch_of(&p, 0) + epoch_of(&p, 1), 2); /* one of them, in the next epoch */
	end(&p);
}

/* Beats whose answers are lost are found again. */
static void test_lost(void **state CL_UNUSED)
{
	struct pair p;

	begin(&p, "put:leader:lost-reply:p=0.5, get:leader:503:p=0.2");
	for (int i = 0; i < 40 && !epoch_of(&p, 0); i++) {
		pass(&p, LEASE / 8);
		lead_step(p.l[0], LEASE);
	}
	assert_true(epoch_of(&p, 0));
	for (int i = 0; i < 200; i++) {
		pass(&p, LEASE / 16);
		lead_step(p.l[0], LEASE);
		lead_step(p.l[1], LEASE);
		assert_true(epoch_of(&p, 0) == 0 || epoch_of(&p, 1) == 0);
	}
	assert_true(epoch_of(&p, 0) || epoch_of(&p, 1));
	end(&p);
}

/* What is there and cannot be read is nobody's to take. */
static void test_damaged(void **state CL_UNUSED)
{
	struct lead_info info;
	struct store_req r;
	struct pair p;

	begin(&p, NULL);
	assert_int_equal(store_put(p.store, "leader", "{", 1, false, &r), 0);
	store_req_reset(&r);
	for (int i = 0; i < 30; i++) {
		pass(&p, LEASE);
		lead_step(p.l[0], LEASE);
	}
	assert_int_equal(epoch_of(&p, 0), 0);
	lead_info(p.l[0], &info);
	assert_string_equal(info.error, "leader: no JSON: it ends too soon");
	end(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_takes_turns), cmocka_unit_test(test_release), cmocka_unit_test(test_away), cmocka_unit_test(test_lost), cmocka_unit_test(test_damaged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
