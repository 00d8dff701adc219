/* cmd_pool.c - clonectl pool: what is wanted of pools and members. The leader does it. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "clonectl.h"
#include "err.h"

enum { OPT_ROLE = CMD_LONG(0), OPT_ADDRESS, OPT_HOST, OPT_DNS, OPT_CHECK, OPT_PORT, OPT_PATH, OPT_MIN, OPT_TTL, OPT_REPORTS };

static const struct cmd_option options[] = {
	WHERE_OPTIONS,
	{ OPT_ROLE, "role", "ROLE", "create: whose role it is the pool of; add: the role of a new member" },
	{ OPT_ADDRESS, "address", "IP", "add: the address of a new member" },
	{ OPT_HOST, "host", "NAME", "create: the host name whose answers it keeps, as www.example.org" },
	{ OPT_DNS, "dns", "SECTION", "create: who serves that name, a section [dns SECTION] of clonectl.conf" },
	{ OPT_CHECK, "check", "KIND", "create: how members are checked: tcp, http or https (default http)" },
	{ OPT_PORT, "port", "N", "create: the port that is checked (default 443 for https, else 80)" },
	{ OPT_PATH, "path", "PATH", "create: what is asked for over HTTP (default /)" },
	{ OPT_MIN, "min", "N", "create: the answers are not taken below so many (default 1)" },
	{ OPT_TTL, "ttl", "S", "create: for how many seconds others may keep an answer (default 60)" },
	{ OPT_REPORTS, "reports", "yes|no", "create: members enter only once their own reports say that they are ready (default yes)" },
};

static const struct cmd_usage usage = {
	"clonectl pool", "list|create|add|drain|remove [NAME]", "Lists the pools; makes or changes one; says which members should be in, or out, or away for good.", options,
	CL_ARRAY_LEN(options),
	"create NAME is about a pool, add, drain and remove NAME about a member. This says what is wanted, and returns; the leader does it: clonectl status shows how far.\n"
	"Exit codes: 0 noted; 1 failed; 2 wrong call; 4 no such member, or no cluster; 5 the store does not answer; 6 an object cannot be read.", CMD_USAGE
};

struct args {
	struct where where;
	const char *name, *role, *address, *host, *dns, *check, *path;
	uint64_t port, min, ttl; /* 0: not given */
	int reports;             /* -1: not given */
	enum cluster_wanted wanted;
};

static int take_number(const char *option, const char *arg, uint64_t most, uint64_t *ret)
{
	if (cmd_number(usage.program, option, arg, ret))
		return -1;
	if (*ret >= 1 && *ret <= most)
		return 0;
	cmd_complain(usage.program, "%s is a number from 1 to %" PRIu64, option, most);
	return -1;
}

static int take_flag(const char *arg, int *ret)
{
	if (strcmp(arg, "yes") == 0 || strcmp(arg, "no") == 0) {
		*ret = arg[0] == 'y';
		return 0;
	}
	cmd_complain(usage.program, "--reports is yes or no");
	return -1;
}

static int take(void *user, int letter, const char *arg)
{
	struct args *a = user;

	switch (letter) {
	case OPT_ROLE: a->role = arg; return 0;
	case OPT_ADDRESS: a->address = arg; return 0;
	case OPT_HOST: a->host = arg; return 0;
	case OPT_DNS: a->dns = arg; return 0;
	case OPT_CHECK: a->check = arg; return 0;
	case OPT_PATH: a->path = arg; return 0;
	case OPT_PORT: return take_number("--port", arg, 65535, &a->port);
	case OPT_MIN: return take_number("--min", arg, 1000, &a->min);
	case OPT_TTL: return take_number("--ttl", arg, 86400, &a->ttl);
	case OPT_REPORTS: return take_flag(arg, &a->reports);
	default: return where_take(&a->where, letter, arg);
	}
}

/* ---------------------------------------------------------------- what is wanted */

static int check_of(const char *name)
{
	for (int i = 0; cluster_check_names[i]; i++)
		if (strcmp(cluster_check_names[i], name) == 0)
			return i;
	return -1;
}

static int take_over(const char *what, const char *from, char *to, size_t size)
{
	if (from && strlen(from) >= size)
		return err_set(-EINVAL, "%s is too long", what);
	if (from)
		memcpy(to, from, strlen(from) + 1);
	return 0;
}

static int change_pool(void *user, bool found, void *st)
{
	const struct args *a = user;
	struct cluster_pool *p = st;

	if (!found && (!a->host || !a->role || !a->dns))
		return err_set(-EINVAL, "there is no pool %s yet: a new one takes --host, --role and --dns", a->name);
	if (!found)
		*p = (struct cluster_pool){ .min = 1, .ttl_s = 60, .check = CLUSTER_HTTP, .report = true };
	if (take_over("the name", a->name, p->name, sizeof(p->name)) || take_over("--host", a->host, p->host, sizeof(p->host)) ||
	    take_over("--role", a->role, p->role, sizeof(p->role)) || take_over("--dns", a->dns, p->dns, sizeof(p->dns)) ||
	    take_over("--path", a->path, p->path, sizeof(p->path)))
		return -EINVAL;
	if (a->check)
		p->check = check_of(a->check);
	if (a->port || !found)
		p->port = a->port ? a->port : p->check == CLUSTER_HTTPS ? 443 : 80;
	if (a->min)
		p->min = a->min;
	if (a->ttl)
		p->ttl_s = a->ttl;
	if (a->reports >= 0)
		p->report = a->reports;
	return 0;
}

static int add_member(void *user, bool found, void *st)
{
	const struct args *a = user;
	struct cluster_member *m = st;
	bool new = !found || m->state == CLUSTER_GONE;

	if (new && (!a->role || !a->address))
		return err_set(-ENOENT, "there is no member %s: a new one takes --role and --address", a->name);
	if (!new && m->state == CLUSTER_TERMINATING)
		return err_set(-EBUSY, "%s is being ended, from which nothing returns; add it again once it is gone", a->name);
	if (!new && ((a->role && strcmp(a->role, m->role) != 0) || (a->address && strcmp(a->address, m->address) != 0)))
		return err_set(-EEXIST, "%s is there already as %s at %s: remove it before it is another", a->name, m->role, *m->address ? m->address : "no address");
	if (new)
		*m = (struct cluster_member){ .state = CLUSTER_LIVE };
	if (new && (take_over("the name", a->name, m->name, sizeof(m->name)) || take_over("--role", a->role, m->role, sizeof(m->role)) ||
		    take_over("--address", a->address, m->address, sizeof(m->address))))
		return -EINVAL;
	if (!new && m->wanted == CLUSTER_IN)
		return 1;
	m->wanted = CLUSTER_IN;
	return 0;
}

static int want(void *user, bool found, void *st)
{
	const struct args *a = user;
	struct cluster_member *m = st;

	if (!found)
		return err_set(-ENOENT, "there is no member %s; clonectl status has them", a->name);
	if (m->wanted == (int)a->wanted || m->state == CLUSTER_TERMINATING || m->state == CLUSTER_GONE)
		return 1;
	m->wanted = (int)a->wanted;
	return 0;
}

/* ---------------------------------------------------------------- list */

static int list_one(void *user, const char *name, const char *etag CL_UNUSED)
{
	const struct cluster *c = user;
	struct cluster_pool p;
	struct cluster_version v;
	int rc = cluster_get(c, CLUSTER_POOL, name, &p, &v);

	if (rc)
		return rc == -ENOENT ? 0 : rc;
	cluster_version_free(&v);
	printf("%-16s %s, role %s, at least %" PRIu64 ", TTL %" PRIu64 " s, DNS %s, checked by %s on port %" PRIu64 "%s%s%s\n", p.name, p.host, p.role, p.min, p.ttl_s, p.dns,
	       cluster_check_names[p.check], p.port, p.check == CLUSTER_TCP ? "" : ", ", p.check == CLUSTER_TCP ? "" : *p.path ? p.path : "/",
	       p.report ? "" : "; members need no reports");
	return 0;
}

/* ---------------------------------------------------------------- which of them */

static int act(const struct place *p, const char *verb, struct args *a)
{
	struct cluster_site site;
	struct cluster_version v;
	int rc = cluster_get(&p->cluster, CLUSTER_SITE, "", &site, &v);

	if (rc == -ENOENT)
		return err_set(rc, "%s holds no cluster; clonectl init makes one", p->store->address);
	if (rc)
		return rc;
	cluster_version_free(&v);
	if (strcmp(verb, "list") == 0)
		return cluster_list(&p->cluster, CLUSTER_POOL, list_one, (void *)(uintptr_t)&p->cluster);
	if (strcmp(verb, "create") == 0)
		rc = cluster_change(&p->cluster, CLUSTER_POOL, a->name, change_pool, a, NULL);
	else if (strcmp(verb, "add") == 0)
		rc = cluster_change(&p->cluster, CLUSTER_MEMBER, a->name, add_member, a, NULL);
	else
		rc = cluster_change(&p->cluster, CLUSTER_MEMBER, a->name, want, a, NULL);
	return rc < 0 ? rc : 0;
}

static bool is_verb(const char *verb)
{
	static const char *const all[] = { "list", "create", "add", "drain", "remove" };

	for (size_t i = 0; i < CL_ARRAY_LEN(all); i++)
		if (strcmp(all[i], verb) == 0)
			return true;
	cmd_complain(usage.program, "list, create, add, drain or remove, not %s", verb);
	return false;
}

/* What is wrong is told by the name of its option, before the store is asked. */
static bool is_good(const struct args *a)
{
	const char *bad = a->name && !cluster_is_label(a->name) ? "NAME is a label: 1 to 63 of a-z, 0-9 and -" :
			  a->role && !cluster_is_label(a->role) ? "--role is a label: 1 to 63 of a-z, 0-9 and -" :
			  a->dns && !cluster_is_label(a->dns) ? "--dns is the name of a section, a label: 1 to 63 of a-z, 0-9 and -" :
			  a->address && !dns_is_address(a->address) ? "--address is an IPv4 or IPv6 address in its usual form" :
			  a->host && !dns_is_name(a->host) ? "--host is a host name in lower case, without a dot at its end" :
			  a->check && check_of(a->check) < 0 ? "--check is tcp, http or https" :
			  a->path && a->path[0] != '/' ? "--path begins with a /" : NULL;

	if (bad)
		cmd_complain(usage.program, "%s", bad);
	return !bad;
}

int cmd_pool(int argc, char **argv)
{
	struct args a = { .reports = -1 };
	int code = CMD_USAGE, at = cmd_parse(&usage, argc, argv, take, &a, &code), rc;
	struct place p;

	if (at < 0 || cmd_operands(&usage, argc - at, 1, 2, &code))
		return code;
	if (!is_verb(argv[at]))
		return CMD_USAGE;
	rc = strcmp(argv[at], "list") == 0;
	if (cmd_operands(&usage, argc - at, rc ? 1 : 2, rc ? 1 : 2, &code))
		return code;
	a.name = rc ? NULL : argv[at + 1];
	a.wanted = strcmp(argv[at], "drain") == 0 ? CLUSTER_OUT : CLUSTER_AWAY;
	if (!is_good(&a))
		return CMD_USAGE;
	rc = place_open(&a.where, &p);
	if (rc)
		return cmd_fail(usage.program, rc);
	rc = act(&p, argv[at], &a);
	place_close(&p);
	if (rc) {
		code = cmd_fail(usage.program, rc);
		return rc == -ENOENT ? CMD_NOT_FOUND : code;
	}
	return cmd_flush(usage.program, CMD_OK);
}
