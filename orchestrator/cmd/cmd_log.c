/* cmd_log.c - clonectl log: the decisions, oldest first. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clonectl.h"
#include "err.h"
#include "text.h"

enum { OPT_JSON = CMD_LONG(0) };

static const struct cmd_option options[] = {
	WHERE_OPTIONS,
	{ 'n', "lines", "N", "the last N (default 20; 0: all)" },
	{ OPT_JSON, "json", NULL, "print JSON: a list of the objects" },
};

static const struct cmd_usage usage = {
	"clonectl log", "", "Shows what the leaders decided, each decision with its reason and how it ended.", options, CL_ARRAY_LEN(options),
	"\"interrupted\": its leader stopped leading before it wrote how it ended; the next one began anew.\n"
	"Exit codes: 0 shown; 1 failed; 2 wrong call; 5 the store does not answer; 6 an object cannot be read.", CMD_USAGE
};

struct args { struct where where; uint64_t lines; bool json; };

static int take(void *user, int letter, const char *arg)
{
	struct args *a = user;

	if (letter == 'n')
		return cmd_number(usage.program, "--lines", arg, &a->lines);
	if (letter != OPT_JSON)
		return where_take(&a->where, letter, arg);
	a->json = true;
	return 0;
}

/* The last names of a listing, as a ring; most 0: all. */
struct names { char (*all)[CLUSTER_NAME_MAX]; size_t count, cap, most; };

static int keep(void *user, const char *name, const char *etag CL_UNUSED)
{
	struct names *n = user;
	size_t at = n->most ? n->count % n->most : n->count;

	if (at >= n->cap) {
		size_t cap = n->cap ? 2 * n->cap : 64;
		void *all = realloc(n->all, cap * sizeof(*n->all));

		if (!all)
			return -ENOMEM;
		n->all = all;
		n->cap = cap;
	}
	snprintf(n->all[at], sizeof(n->all[0]), "%s", name);
	n->count++;
	return 0;
}

static const char *result_of(const struct cluster_decision *d, uint64_t epoch)
{
	return d->result == CLUSTER_BEGUN && d->epoch < epoch ? "interrupted" : cluster_result_names[d->result];
}

static void print_one(const struct cluster_decision *d, uint64_t epoch)
{
	char why[2048], on[512], at[128], detail[1024];

	printf("%s  %s %" PRIu64 ".%" PRIu64 "  %s %s: %s  [%s]", text_shown(d->at, at, sizeof(at)), d->leader, d->epoch, d->serial, d->what, text_shown(d->on, on, sizeof(on)),
	       text_shown(d->why, why, sizeof(why)), result_of(d, epoch));
	if (d->detail[0])
		printf(" %s", text_shown(d->detail, detail, sizeof(detail)));
	putchar('\n');
}

static int show_one(const struct cluster *c, const char *name, uint64_t epoch, struct json_object *list)
{
	struct cluster_decision d;
	struct cluster_version v;
	int rc = cluster_get(c, CLUSTER_DECISION, name, &d, &v);

	if (rc == -ENOENT)
		return 0;
	if (rc)
		return rc;
	if (!list) {
		print_one(&d, epoch);
	} else if (json_object_array_add(list, v.raw) == 0) {
		json_object_object_add(v.raw, "result", json_object_new_string(result_of(&d, epoch)));
		json_object_object_del(v.raw, "put");
		v.raw = NULL;
	} else {
		rc = -ENOMEM;
	}
	cluster_version_free(&v);
	return rc;
}

static int show(const struct cluster *c, const struct args *a, struct json_object *list)
{
	struct names n = { .most = a->lines };
	struct cluster_leader l = { .epoch = 0 };
	struct cluster_version v;
	size_t kept;
	int rc = cluster_get(c, CLUSTER_LEADER, "", &l, &v);

	cluster_version_free(&v);
	if (rc == -ENOENT)
		rc = 0;
	if (!rc)
		rc = cluster_list(c, CLUSTER_DECISION, keep, &n);
	kept = n.most && n.count > n.most ? n.most : n.count;
	for (size_t i = 0; i < kept && !rc; i++)
		rc = show_one(c, n.all[n.count > kept ? (n.count + i) % kept : i], l.epoch, list);
	free(n.all);
	return rc;
}

int cmd_log(int argc, char **argv)
{
	struct args a = { .lines = 20 };
	int code = CMD_USAGE, at = cmd_parse(&usage, argc, argv, take, &a, &code), rc;
	struct json_object *list;
	struct place p;

	if (at < 0 || cmd_operands(&usage, argc - at, 0, 0, &code))
		return code;
	rc = place_open(&a.where, &p);
	if (rc)
		return cmd_fail(usage.program, rc);
	list = a.json ? json_object_new_array() : NULL;
	rc = a.json && !list ? -ENOMEM : show(&p.cluster, &a, list);
	place_close(&p);
	if (rc) {
		json_object_put(list);
		return cmd_fail(usage.program, rc);
	}
	return a.json ? cmd_print_json(usage.program, list) : cmd_flush(usage.program, CMD_OK);
}
