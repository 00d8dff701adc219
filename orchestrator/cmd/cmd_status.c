/* cmd_status.c - clonectl status: one screen, from the store alone. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "clonectl.h"
#include "daemon.h"
#include "err.h"
#include "status.h"
#include "text.h"

#define WATCH_MS 2000

enum { OPT_JSON = CMD_LONG(0) };

static const struct cmd_option options[] = {
	WHERE_OPTIONS,
	{ 'w', "watch", NULL, "show it again every two seconds, until it is interrupted" },
	{ OPT_JSON, "json", NULL, "print JSON" },
};

static const struct cmd_usage usage = {
	"clonectl status", "", "Shows the members, the pools, who leads, and what is wrong.", options, CL_ARRAY_LEN(options),
	"It reads the store; no controller is asked. Ages are by the store's clock.\n"
	"Exit codes: 0 shown; 1 failed; 2 wrong call; 4 the store holds no cluster; 5 it does not answer; 6 an object cannot be read.", CMD_USAGE
};

struct args { struct where where; bool json, watch; };

static int take(void *user, int letter, const char *arg)
{
	struct args *a = user;

	if (letter == 'w')
		a->watch = true;
	else if (letter == OPT_JSON)
		a->json = true;
	else
		return where_take(&a->where, letter, arg);
	return 0;
}

/* For a terminal, which texts that others have chosen must not drive. */
struct shown { char text[2048]; };

static const char *show(const char *text, struct shown *s)
{
	return text_shown(text, s->text, sizeof(s->text));
}

static void print_leader(const struct status *s)
{
	char age[CMD_TEXT];

	if (!s->leader.epoch)
		printf("leader     nobody yet: start clonectl controller\n");
	else if (s->leader.released)
		printf("leader     nobody: %s, the last one (epoch %" PRIu64 "), has ended; start clonectl controller\n", s->leader.holder, s->leader.epoch);
	else if (s->leader_age_s * 1000 > (int64_t)(2 * s->leader.lease_ms))
		printf("leader     nobody: %s (epoch %" PRIu64 ") was last heard %s ago; start clonectl controller\n", s->leader.holder, s->leader.epoch,
		       cmd_seconds((double)s->leader_age_s, age));
	else
		printf("leader     %s, epoch %" PRIu64 ", last heard %" PRId64 " s ago\n", s->leader.holder, s->leader.epoch, s->leader_age_s);
}

static void print_pool(const struct status *s, const struct cluster_pool *p)
{
	unsigned in = 0, all = 0;

	for (size_t i = 0; i < s->view.member_count; i++) {
		if (strcmp(s->view.members[i].pool, p->name) != 0)
			continue;
		all++;
		in += s->view.members[i].in;
	}
	printf("pool       %s: %s, %u of %u members in, at least %" PRIu64 ", TTL %" PRIu64 " s, DNS %s\n", p->name, p->host, in, all, p->min, p->ttl_s, p->dns);
}

/* As the last leader saw it in the first of its pools. */
static const struct cluster_view_member *seen_of(const struct status *s, const char *name)
{
	for (size_t i = 0; i < s->view.member_count; i++)
		if (strcmp(s->view.members[i].name, name) == 0)
			return &s->view.members[i];
	return NULL;
}

static void print_steps(const struct cluster_report *r)
{
	struct shown e;

	for (size_t i = 0; i < r->step_count; i++)
		printf("           %-16s %-8s %6.1f s%s%s\n", r->steps[i].name, cluster_step_names[r->steps[i].state], (double)r->steps[i].took_ms / 1e3,
		       r->steps[i].error[0] ? "  " : "", show(r->steps[i].error, &e));
}

static void print_member(const struct status *s, const struct cluster_member *m)
{
	const struct cluster_view_member *v = seen_of(s, m->name);
	const struct view_object *r = view_find(&s->now, CLUSTER_REPORT, m->name);
	int64_t age = status_report_age(s, m->name);
	struct shown why;

	printf("%-16s %-10s %-15s %-11s %-6s %-4s %-7s ", m->name, m->role, *m->address ? m->address : "-", cluster_state_names[m->state],
	       cluster_wanted_names[m->wanted], v ? (v->in ? "in" : "out") : "-", v ? cluster_health_names[v->health] : "-");
	if (age < 0)
		printf("no report");
	else
		printf("%" PRId64 " s ago", age);
	if (r && r->readable)
		printf(", %s%s%s%s", r->u.report.ready ? "ready" : "not ready", r->u.report.in_sync ? ", in sync" : "", *r->u.report.revision ? ", " : "", show(r->u.report.revision, &why));
	putchar('\n');
	if (v && v->why[0])
		printf("           %s\n", show(v->why, &why));
	if (r && r->readable && !r->u.report.ready)
		print_steps(&r->u.report);
}

void status_print(const struct cluster *c, const struct status *s)
{
	const struct view_object *site = view_find(&s->now, CLUSTER_SITE, "");
	bool head = false;
	struct shown on, text;

	if (site->readable)
		printf("cluster    %s (%.8s) in %s\n", show(site->u.site.name, &text), site->u.site.id, c->store->address);
	print_leader(s);
	for (size_t i = 0; i < s->now.count; i++)
		if (s->now.objects[i]->kind == CLUSTER_POOL && s->now.objects[i]->readable)
			print_pool(s, &s->now.objects[i]->u.pool);
	for (size_t i = 0; i < s->now.count; i++) {
		if (s->now.objects[i]->kind != CLUSTER_MEMBER || !s->now.objects[i]->readable)
			continue;
		if (!head)
			printf("\n%-16s %-10s %-15s %-11s %-6s %-4s %-7s %s\n", "MEMBER", "ROLE", "ADDRESS", "STATE", "WANTED", "POOL", "HEALTH", "REPORT");
		head = true;
		print_member(s, &s->now.objects[i]->u.member);
	}
	for (size_t i = 0; i < s->now.count; i++)
		if (!s->now.objects[i]->readable)
			printf("\nunreadable %s\n", show(s->now.objects[i]->error, &text));
	if (s->view.problem_count)
		printf("\nWHAT IS WRONG (as %s had it)\n", show(s->view.at, &text));
	for (size_t i = 0; i < s->view.problem_count; i++)
		printf("%-16s %s\n", show(s->view.problems[i].on, &on), show(s->view.problems[i].text, &text));
}

static int show_once(const struct cluster *c, const struct args *a)
{
	struct status s;
	struct json_object *o = NULL;
	int rc = status_read(c, &s);

	if (!rc && a->json && !(o = status_json(&s)))
		rc = -ENOMEM;
	if (!rc && a->watch && !a->json && isatty(STDOUT_FILENO))
		printf("\033[H\033[2J");
	if (!rc && a->json)
		rc = cmd_print_json(usage.program, o) == CMD_OK ? 0 : -EIO;
	else if (!rc)
		status_print(c, &s);
	status_free(&s);
	return rc;
}

/* Until a signal comes, or nobody reads. */
static int watch(const struct cluster *c, const struct args *a)
{
	struct pollfd p = { .fd = daemon_stop_open(), .events = POLLIN };
	int rc = p.fd < 0 ? p.fd : daemon_stop_catch(true);

	while (!rc && daemon_stop_signals() == 0) {
		rc = show_once(c, a);
		if (rc == ERR_UNAVAILABLE) { /* it may be back */
			cmd_fail(usage.program, rc);
			rc = 0;
		}
		if (!rc && cmd_flush(usage.program, CMD_OK) != CMD_OK)
			rc = -EPIPE;
		if (!rc)
			poll(&p, 1, WATCH_MS);
	}
	daemon_stop_catch(false);
	daemon_stop_close();
	return rc;
}

int cmd_status(int argc, char **argv)
{
	struct args a = { .json = false };
	int code = CMD_USAGE, at = cmd_parse(&usage, argc, argv, take, &a, &code), rc;
	struct place p;

	if (at < 0 || cmd_operands(&usage, argc - at, 0, 0, &code))
		return code;
	rc = place_open(&a.where, &p);
	if (rc)
		return cmd_fail(usage.program, rc);
	rc = a.watch ? watch(&p.cluster, &a) : show_once(&p.cluster, &a);
	place_close(&p);
	if (rc) {
		code = cmd_fail(usage.program, rc);
		return rc == -ENOENT ? CMD_NOT_FOUND : code;
	}
	return cmd_flush(usage.program, CMD_OK);
}
