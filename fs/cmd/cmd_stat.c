/*
 * cmd_stat.c - clonefs stat: of a mount (through its control socket) or of a
 * store (stat_store.c). Both become one JSON object first; the text is printed from
 * it, so that the two can never disagree.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cmd_stat.h"
#include "commands.h"
#include "control.h"
#include "err.h"

#define SETTLED_S 60

enum { OPT_JSON = CMD_LONG(0), OPT_PRICE, OPT_GET, OPT_QUICK };

static const struct cmd_option options[] = {
	{ 'o', "options", "LIST", "options of the store, as for mount -o" },
	{ OPT_JSON, "json", NULL, "print JSON" },
	{ OPT_GET, "get", "NAME", "print this one value of the JSON only, e.g. lag_seconds" },
	{ OPT_QUICK, "quick", NULL, "of a store: do not list and count its objects" },
	{ OPT_PRICE, "price", "LIST", "US dollars: put=,get= for 1000 requests, storage= for a GiB a month (default AWS S3, us-east-1)" },
};

static const struct cmd_usage usage = {
	"clonefs stat", "STORE|DIR", "Shows a volume in a store, or the mount at DIR: writer, epoch, lag, cache, requests, cost.", options,
	CL_ARRAY_LEN(options), "Exit codes: 0 printed; 1 failed; 2 wrong call; 4 no volume there; 5 the store does not answer; 6 damage.",
	CMD_USAGE
};

struct args {
	const char *store_options, *get;
	bool json, quick;
	struct price price;
};

static int take(void *user, int letter, const char *arg)
{
	struct args *a = user;

	switch (letter) {
	case 'o':
		a->store_options = arg;
		return 0;
	case OPT_JSON:
		a->json = true;
		return 0;
	case OPT_GET:
		a->get = arg;
		return 0;
	case OPT_QUICK:
		a->quick = true;
		return 0;
	default:
		if (price_parse(arg, &a->price) == 0)
			return 0;
		cmd_complain(usage.program, "%s", err_last());
		return -1;
	}
}

/* ------------------------------------------------------------- of a mount */

static int keep_line(void *user, const char *line)
{
	struct json_object **o = user;

	json_object_put(*o);
	*o = json_tokener_parse(line);
	return *o ? 0 : err_set(-EPROTO, "the mount's answer is not JSON; are clonefs and the mount of one version?");
}

static uint64_t get_u64(struct json_object *o, const char *name)
{
	struct json_object *x;

	return json_object_object_get_ex(o, name, &x) ? json_object_get_uint64(x) : 0;
}

static double get_double(struct json_object *o, const char *name)
{
	struct json_object *x;

	return json_object_object_get_ex(o, name, &x) ? json_object_get_double(x) : 0;
}

static const char *get_text(struct json_object *o, const char *name)
{
	struct json_object *x;

	return json_object_object_get_ex(o, name, &x) && x ? json_object_get_string(x) : "";
}

static void count_requests(struct json_object *o, uint64_t *ret)
{
	static const char *const names[STORE_OPS] = { "put", "get", "head", "list", "delete", "copy" };
	struct json_object *all, *one;

	for (int op = 0; op < STORE_OPS; op++)
		ret[op] = json_object_object_get_ex(o, "requests", &all) && json_object_object_get_ex(all, names[op], &one) ?
				  get_u64(one, "requests") : 0;
}

static int stat_mount(const struct args *a, const char *dir, struct json_object **ret)
{
	struct progress bar = PROGRESS_INIT;
	struct json_object *o = NULL;
	uint64_t requests[STORE_OPS];
	int rc;

	progress_begin(&bar, "asking the mount", 0);
	rc = control_call(dir, "{\"do\":\"stat\"}", keep_line, &o);
	progress_end(&bar);
	if (rc) {
		json_object_put(o);
		return rc;
	}
	json_object_object_del(o, "ok");
	count_requests(o, requests);
	/* What a mount asks at its start says nothing about its month. */
	if (get_double(o, "uptime_seconds") < SETTLED_S)
		json_object_object_add(o, "requests_usd_month", NULL);
	else
		stat_add_dollars(o, "requests_usd_month", price_requests(&a->price, requests, get_double(o, "uptime_seconds")));
	stat_add_dollars(o, "storage_usd_month", price_storage(&a->price, get_u64(o, "segment_bytes")));
	*ret = o;
	return 0;
}

void stat_add_dollars(struct json_object *o, const char *name, double x)
{
	char text[32];

	snprintf(text, sizeof(text), "%.2f", x);
	json_object_object_add(o, name, json_object_new_double_s(x, text));
}

/* ------------------------------------------------------------------- text */

static void print_requests(struct json_object *o)
{
	uint64_t n[STORE_OPS];

	count_requests(o, n);
	printf("requests   %" PRIu64 " put, %" PRIu64 " get, %" PRIu64 " head, %" PRIu64 " list, %" PRIu64 " delete\n", n[STORE_PUT], n[STORE_GET],
	       n[STORE_HEAD], n[STORE_LIST], n[STORE_DELETE]);
}

static void print_mount(struct json_object *o)
{
	char b[6][CMD_TEXT];
	uint64_t hits = get_u64(o, "cache_hits"), misses = get_u64(o, "cache_misses");

	printf("volume     %s (%s)\n", get_text(o, "address"), get_text(o, "uuid"));
	printf("mounted    %s, process %" PRIu64 ", for %s\n", get_text(o, "mountpoint"), get_u64(o, "pid"),
	       cmd_seconds(get_double(o, "uptime_seconds"), b[0]));
	printf("state      %s%s%s\n", get_text(o, "state"), get_text(o, "error")[0] ? ": " : "", get_text(o, "error"));
	printf("writer     %s, epoch %" PRIu64 ", slot %" PRIu64 "\n", get_text(o, "node"), get_u64(o, "epoch"), get_u64(o, "slot"));
	printf("lag        %.3f s, %s not in the store; lease %.1f s old\n", get_double(o, "lag_seconds"), cmd_bytes(get_u64(o, "lag_bytes"), b[1]),
	       get_double(o, "lease_age_seconds"));
	printf("waiting    %" PRIu64 " requests\n", get_u64(o, "parked"));
	printf("cache      %s of %s, %.1f %% of reads\n", cmd_bytes(get_u64(o, "cache_used_bytes"), b[2]),
	       cmd_bytes(get_u64(o, "cache_budget_bytes"), b[3]), hits + misses ? 100.0 * (double)hits / (double)(hits + misses) : 100.0);
	printf("holds      %" PRIu64 " inodes, %s in files, %s in %" PRIu64 " segments\n", get_u64(o, "inodes"),
	       cmd_bytes(get_u64(o, "data_bytes"), b[4]), cmd_bytes(get_u64(o, "segment_bytes"), b[5]), get_u64(o, "segments"));
	printf("written    %s, sent %s", cmd_bytes(get_u64(o, "written_bytes"), b[0]), cmd_bytes(get_u64(o, "object_bytes_put"), b[1]));
	printf(" in %" PRIu64 " objects, %s never needed sending\n", get_u64(o, "objects_put"), cmd_bytes(get_u64(o, "elided_bytes"), b[2]));
	print_requests(o);
	if (get_double(o, "uptime_seconds") < SETTLED_S)
		printf("cost       about $%.2f a month for storage; for requests it can be told after a minute\n", get_double(o, "storage_usd_month"));
	else
		printf("cost       about $%.2f a month for requests at this rate, $%.2f for storage\n", get_double(o, "requests_usd_month"),
		       get_double(o, "storage_usd_month"));
}

static void print_store(struct json_object *o)
{
	char b[2][CMD_TEXT];
	struct json_object *x;

	printf("volume     %s (%s), made %s\n", get_text(o, "address"), get_text(o, "uuid"), get_text(o, "created"));
	if (json_object_object_get_ex(o, "node", &x)) {
		printf("writer     %s, epoch %" PRIu64 ", slot %" PRIu64 ", since %s\n", get_text(o, "node"), get_u64(o, "epoch"),
		       get_u64(o, "slot"), get_text(o, "claimed"));
		printf("last sign  %s ago: %s\n", cmd_seconds(get_double(o, "heartbeat_age_seconds"), b[0]), get_text(o, "writer_state"));
	} else {
		printf("writer     none yet\n");
	}
	if (json_object_object_get_ex(o, "objects", &x)) {
		printf("objects    %" PRIu64 ", %s: %" PRIu64 " of the log, %" PRIu64 " checkpoints\n", get_u64(o, "objects"),
		       cmd_bytes(get_u64(o, "object_bytes"), b[1]), get_u64(o, "log_objects"), get_u64(o, "manifests"));
		printf("cost       about $%.2f a month for storage; the mount's own stat adds its requests\n", get_double(o, "storage_usd_month"));
	}
}

/* "cache_used_bytes" or "requests.put.requests" */
static int print_one(struct json_object *o, const char *name)
{
	const char *p = name;
	bool there = *p;

	while (there && *p) {
		size_t len = strcspn(p, ".");
		char part[64];

		snprintf(part, sizeof(part), "%.*s", (int)len, p);
		there = json_object_is_type(o, json_type_object) && json_object_object_get_ex(o, part, &o);
		p += len + (p[len] == '.');
	}
	if (!there) {
		cmd_complain(usage.program, "--get %s: no such value; --json shows them all", name);
		return CMD_USAGE;
	}
	puts(o ? json_object_get_string(o) : "null");
	return cmd_flush(usage.program, CMD_OK);
}

int cmd_stat(int argc, char **argv)
{
	struct args a = { .price = PRICE_DEFAULT };
	struct json_object *o = NULL;
	int code = CMD_USAGE, at = cmd_parse(&usage, argc, argv, take, &a, &code), rc;
	bool store;

	if (at < 0 || cmd_operands(&usage, argc - at, 1, 1, &code))
		return code;
	store = strstr(argv[at], "://");
	rc = store ? stat_store(argv[at], a.store_options, a.quick, &a.price, &o) : stat_mount(&a, argv[at], &o);
	if (rc)
		return cmd_fail(usage.program, rc);
	if (a.json)
		return cmd_print_json(usage.program, o);
	if (a.get) {
		code = print_one(o, a.get);
	} else {
		(store ? print_store : print_mount)(o);
		code = cmd_flush(usage.program, CMD_OK);
	}
	json_object_put(o);
	return code;
}
