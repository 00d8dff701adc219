/* cmd_init.c - clonectl init: an empty cluster, once. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "clonectl.h"
#include "err.h"

enum { OPT_LEASE = CMD_LONG(0), OPT_REPORT };

static const struct cmd_option options[] = {
	WHERE_OPTIONS,
	{ 'n', "name", "NAME", "what people call it (default: \"site\")" },
	{ OPT_LEASE, "lease", "S", "for how long a leader may be silent before another takes over, in seconds (default 10)" },
	{ OPT_REPORT, "report", "S", "how often members and controllers report, in seconds (default 5)" },
};

static const struct cmd_usage usage = {
	"clonectl init", "[STORE]", "Makes a cluster: an object that says so, in a store that has none yet.", options, CL_ARRAY_LEN(options),
	"The store is tried first: it has to honour conditional writes.\n"
	"Exit codes: 0 made; 1 failed; 2 wrong call; 4 there is a cluster already; 5 the store does not answer.", CMD_USAGE
};

struct args { struct where where; const char *name; uint64_t lease_s, report_s; };

static int take(void *user, int letter, const char *arg)
{
	struct args *a = user;

	switch (letter) {
	case 'n': a->name = arg; return 0;
	case OPT_LEASE: return cmd_number(usage.program, "--lease", arg, &a->lease_s);
	case OPT_REPORT: return cmd_number(usage.program, "--report", arg, &a->report_s);
	default: return where_take(&a->where, letter, arg);
	}
}

static int make(const struct cluster *c, const struct args *a)
{
	struct cluster_site s = { .lease_ms = a->lease_s * 1000, .report_ms = a->report_s * 1000 };
	struct cluster_version v = { .raw = NULL };
	int rc = cluster_probe(c);

	if (rc)
		return rc;
	cluster_new_id(c->env, s.id);
	cluster_now(c->env, s.created);
	snprintf(s.name, sizeof(s.name), "%s", a->name);
	rc = cluster_put(c, CLUSTER_SITE, "", &s, &v);
	cluster_version_free(&v);
	if (rc == ERR_PRECONDITION)
		return err_set(-EEXIST, "there is a cluster already in %s; nothing was changed", c->store->address);
	if (!rc)
		printf("made the cluster %s (%s) in %s\n", s.name, s.id, c->store->address);
	return rc;
}

int cmd_init(int argc, char **argv)
{
	struct args a = { .name = "site", .lease_s = 10, .report_s = 5 };
	int code = CMD_USAGE, at = cmd_parse(&usage, argc, argv, take, &a, &code), rc;
	struct place p;

	if (at < 0 || cmd_operands(&usage, argc - at, 0, 1, &code))
		return code;
	if (a.lease_s < 1 || a.lease_s > 600 || a.report_s < 1 || a.report_s > 60 || strlen(a.name) > 63) {
		cmd_complain(usage.program, "a lease is 1 to 600 seconds, reports come every 1 to 60, a name has up to 63 bytes");
		return CMD_USAGE;
	}
	if (at < argc)
		a.where.store = argv[at];
	rc = place_open(&a.where, &p);
	if (rc)
		return cmd_fail(usage.program, rc);
	rc = make(&p.cluster, &a);
	place_close(&p);
	if (rc == -EEXIST) {
		cmd_fail(usage.program, rc);
		return CMD_NOT_FOUND;
	}
	return rc ? cmd_fail(usage.program, rc) : cmd_flush(usage.program, CMD_OK);
}
