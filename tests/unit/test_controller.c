/* test_controller.c - rounds on a store in memory, with a clock and sights of the test's own: who is admitted, what a damaged object changes, a thousand members. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "backends.h"
#include "controller.h"
#include "err.h"
#include "logmsg.h"

#define SECOND UINT64_C(1000000000)
#define ID "0123456789abcdef0123456789abcdef"

struct bed {
	struct store *store;
	struct env env;
	struct cluster cluster;
	uint64_t now_ns;
	struct health health;
	struct dns *dns;
	struct lead *lead;
	struct controller *controller;
};

static struct bed *bed; /* of the test that runs */

static uint64_t now(struct env *e CL_UNUSED)
{
	return bed->now_ns;
}

static void randomly(struct env *e CL_UNUSED, void *p, size_t len)
{
	env_system()->random(env_system(), p, len);
}

static int watch(struct health *h CL_UNUSED, const struct health_target *t CL_UNUSED, size_t count CL_UNUSED)
{
	return 0;
}

static enum cluster_health sees(struct health *h CL_UNUSED, const char *member CL_UNUSED, char *ret_why)
{
	*ret_why = '\0';
	return CLUSTER_UP;
}

static struct dns *find_dns(void *user CL_UNUSED, const char *section)
{
	return strcmp(section, "main") == 0 ? bed->dns : NULL;
}

static void put(enum cluster_kind kind, const char *name, const void *st)
{
	struct cluster_version v;
	void *old = calloc(1, cluster_bytes(kind));

	assert_non_null(old);
	if (cluster_get(&bed->cluster, kind, name, old, &v) == 0)
		cluster_free(kind, old);
	free(old);
	assert_int_equal(cluster_put(&bed->cluster, kind, name, st, &v), 0);
	cluster_version_free(&v);
}

static void put_site(const char *revision, const char *next)
{
	struct cluster_site s = { .id = ID, .name = "test", .created = "then", .lease_ms = 600000, .report_ms = 5000 };

	snprintf(s.revision, sizeof(s.revision), "%s", revision);
	snprintf(s.revision_next, sizeof(s.revision_next), "%s", next);
	put(CLUSTER_SITE, "", &s);
}

static void put_member(unsigned n)
{
	struct cluster_member m = { .role = "web", .state = CLUSTER_LIVE };

	snprintf(m.name, sizeof(m.name), "web-%u", n);
	snprintf(m.address, sizeof(m.address), "10.0.%u.%u", n / 256, n % 256);
	put(CLUSTER_MEMBER, m.name, &m);
}

static void put_report(unsigned n, bool in_sync, const char *revision, unsigned others)
{
	struct cluster_report r = { .process = ID, .seq = 1, .ready = true, .in_sync = in_sync };

	snprintf(r.name, sizeof(r.name), "web-%u", n);
	snprintf(r.revision, sizeof(r.revision), "%s", revision);
	r.sees = calloc(others + 1, sizeof(*r.sees));
	assert_non_null(r.sees);
	for (unsigned i = 1; i <= others; i++) {
		snprintf(r.sees[r.see_count].member, sizeof(r.sees->member), "web-%u", (n + i) % 1000);
		r.sees[r.see_count++].up = true;
	}
	put(CLUSTER_REPORT, r.name, &r);
	cluster_free(CLUSTER_REPORT, &r);
}

static int set_up(void **state CL_UNUSED)
{
	struct cluster_pool pool = { .name = "www", .host = "www.example.org", .role = "web", .dns = "main", .min = 1, .ttl_s = 5, .port = 80, .check = CLUSTER_HTTP, .report = true };
	struct controller_options o = { .name = "c-1", .host = "", .dns = find_dns };
	struct dns_context x;
	struct conf_section s = { .path = "x.conf" };

	bed = calloc(1, sizeof(*bed));
	assert_non_null(bed);
	logmsg_init("test", LOGMSG_ERROR);
	assert_int_equal(store_mem_open(1, &bed->store), 0);
	bed->now_ns = SECOND;
	bed->env = (struct env){ now, now, randomly };
	bed->cluster = (struct cluster){ bed->store, &bed->env, 0 };
	bed->health = (struct health){ watch, sees, NULL };
	x = (struct dns_context){ bed->store, &bed->env };
	assert_int_equal(dns_store_open(&x, &s, &bed->dns), 0);
	assert_int_equal(lead_new(&bed->cluster, "c-1", &bed->lead), 0);
	o.cluster = &bed->cluster;
	o.health = &bed->health;
	o.lead = bed->lead;
	assert_int_equal(controller_new(&o, &bed->controller), 0);
	put_site("", "");
	put(CLUSTER_POOL, "www", &pool);
	lead_step(bed->lead, 600000);
	return 0;
}

static int tear_down(void **state CL_UNUSED)
{
	controller_free(bed->controller);
	lead_free(bed->lead);
	dns_close(bed->dns);
	store_close(bed->store);
	free(bed);
	return 0;
}

static void round_of(void)
{
	uint64_t lease_ms;

	bed->now_ns += 2 * SECOND;
	assert_int_equal(controller_round(bed->controller, &lease_ms), 0);
}

static size_t answers(void)
{
	struct dns_answers a;
	size_t n;

	assert_int_equal(bed->dns->read(bed->dns, "www.example.org", 1000, &a), 0);
	n = a.count;
	dns_answers_free(&a);
	return n;
}

/* What `view` says of a member. */
static void expect_why(const char *name, const char *why)
{
	struct cluster_version version;
	struct cluster_view v;
	bool found = false;

	assert_int_equal(cluster_get(&bed->cluster, CLUSTER_VIEW, "", &v, &version), 0);
	for (size_t i = 0; i < v.member_count; i++) {
		if (strcmp(v.members[i].name, name) != 0)
			continue;
		assert_string_equal(v.members[i].why, why);
		found = true;
	}
	assert_true(found);
	cluster_free(CLUSTER_VIEW, &v);
	cluster_version_free(&version);
}

static void test_admission(void **state CL_UNUSED)
{
	put_site("r2", "");
	put_member(1);
	round_of();
	expect_why("web-1", "it has not reported");
	put_report(1, true, "r2", 0);
	round_of();
	expect_why("web-1", "its report is not fresh"); /* it may be years old: nobody has seen it change */
	put_report(1, false, "r2", 0);
	round_of();
	expect_why("web-1", "it is not in sync yet");
	put_report(1, true, "r1", 0);
	round_of();
	expect_why("web-1", "its revision is not the cluster's");
	assert_int_equal(answers(), 0);
	put_site("r2", "r1"); /* a deploy goes on */
	round_of();
	assert_int_equal(answers(), 1);
	/* Admission governs entry only. */
	put_site("r3", "");
	put_report(1, false, "r1", 0);
	round_of();
	bed->now_ns += 100 * SECOND;
	round_of();
	assert_int_equal(answers(), 1);
}

/* What cannot be read changes nothing, and is named. */
static void test_damaged(void **state CL_UNUSED)
{
	struct cluster_version version;
	struct cluster_view v;
	struct store_req r;

	for (unsigned n = 1; n <= 2; n++) {
		put_member(n);
		put_report(n, true, "", 0);
	}
	round_of();
	for (unsigned n = 1; n <= 2; n++)
		put_report(n, true, "", 0);
	round_of();
	assert_int_equal(answers(), 2);
	assert_int_equal(store_put(bed->store, "now/members/web-1", "{}", 2, false, &r), 0);
	store_req_reset(&r);
	round_of();
	round_of();
	assert_int_equal(answers(), 2);
	assert_int_equal(cluster_get(&bed->cluster, CLUSTER_VIEW, "", &v, &version), 0);
	assert_true(v.problem_count >= 1);
	assert_string_equal(v.problems[0].on, "web-1");
	assert_string_equal(v.problems[0].text, "now/members/web-1: kind: not \"member\"; nothing is changed by it until it is mended");
	cluster_free(CLUSTER_VIEW, &v);
	cluster_version_free(&version);
}

/* A thousand, each seen by five others: the processor time of a round in which nothing has changed, and of one in which all is planned anew. */
static void test_thousand(void **state CL_UNUSED)
{
	struct timespec a, b;
	double ms;

	for (unsigned n = 0; n < 1000; n++) {
		put_member(n);
		put_report(n, true, "", 5);
	}
	round_of();
	for (unsigned n = 0; n < 1000; n++)
		put_report(n, true, "", 5);
	round_of();
	assert_int_equal(answers(), 1000);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
	round_of();
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
	ms = (double)(b.tv_sec - a.tv_sec) * 1e3 + (double)(b.tv_nsec - a.tv_nsec) / 1e6;
	print_message("# a round with 1000 members: %.1f ms of processor time\n", ms);
	assert_true(ms < 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_admission, set_up, tear_down), cmocka_unit_test_setup_teardown(test_damaged, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_thousand, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
