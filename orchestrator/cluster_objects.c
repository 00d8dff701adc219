/* cluster_objects.c - the tables of FORMAT.md, and objects to and from bytes. */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster.h"
#include "compiler.h"
#include "err.h"
#include "fields.h"

#define FORMAT 1
#define SMALL_MAX 65536u
#define LARGE_MAX 1048576u

const char *const cluster_wanted_names[] = { "in", "out", "gone", NULL };
const char *const cluster_state_names[] = { "launching", "live", "drained", "terminating", "gone", NULL };
const char *const cluster_check_names[] = { "tcp", "http", "https", NULL };
const char *const cluster_step_names[] = { "waiting", "running", "done", "failed", NULL };
const char *const cluster_health_names[] = { "unknown", "up", "down", NULL };
const char *const cluster_result_names[] = { "begun", "done", "failed", "unknown", NULL };

static bool is_path(const char *s)
{
	if (*s != '/')
		return false;
	while (*s > 0x20 && *s < 0x7f)
		s++;
	return !*s;
}

#define TEXT(st, m, c) { .name = #m, .type = FIELD_TEXT, .at = offsetof(struct st, m), .size = sizeof(((struct st *)0)->m), .check = (c) }
#define TEXT_O(st, m, c) { .name = #m, .type = FIELD_TEXT, .at = offsetof(struct st, m), .size = sizeof(((struct st *)0)->m), .check = (c), .optional = true }
#define NUMBER(st, m, lo, hi) { .name = #m, .type = FIELD_NUMBER, .at = offsetof(struct st, m), .least = (lo), .most = (hi) }
#define NUMBER_O(st, m, lo, hi, d) { .name = #m, .type = FIELD_NUMBER, .at = offsetof(struct st, m), .least = (lo), .most = (hi), .optional = true, .standard = (d) }
#define BOOL(st, m) { .name = #m, .type = FIELD_BOOL, .at = offsetof(struct st, m) }
#define BOOL_O(st, m, d) { .name = #m, .type = FIELD_BOOL, .at = offsetof(struct st, m), .optional = true, .standard = (d) }
#define CHOICE(st, m, c) { .name = #m, .type = FIELD_CHOICE, .at = offsetof(struct st, m), .choices = (c) }
#define LIST(st, m, n, hi, e) { .name = #m, .type = FIELD_LIST, .at = offsetof(struct st, m), .count_at = offsetof(struct st, n), .most = (hi), .element = (e), .optional = true }
#define FIELDS(st, table) { table, CL_ARRAY_LEN(table), sizeof(struct st) }

static const struct field site[] = {
	TEXT(cluster_site, id, cluster_is_id), TEXT(cluster_site, name, NULL), TEXT(cluster_site, created, NULL),
	NUMBER_O(cluster_site, lease_ms, 1000, 600000, 10000), NUMBER_O(cluster_site, report_ms, 500, 60000, 5000),
	TEXT_O(cluster_site, revision, NULL), TEXT_O(cluster_site, revision_next, NULL),
};
static const struct field leader[] = {
	NUMBER(cluster_leader, epoch, 1, FIELDS_NUMBER_MAX), NUMBER(cluster_leader, beat, 0, FIELDS_NUMBER_MAX),
	NUMBER(cluster_leader, lease_ms, 1000, 600000), TEXT(cluster_leader, holder, cluster_is_label), TEXT(cluster_leader, process, cluster_is_id),
	BOOL_O(cluster_leader, released, false),
};
static const struct field member[] = {
	TEXT(cluster_member, name, cluster_is_label), TEXT(cluster_member, role, cluster_is_label), TEXT_O(cluster_member, address, dns_is_address),
	CHOICE(cluster_member, wanted, cluster_wanted_names), CHOICE(cluster_member, state, cluster_state_names),
	TEXT_O(cluster_member, provider, cluster_is_label), TEXT_O(cluster_member, instance, NULL), TEXT_O(cluster_member, launch, cluster_is_id),
	NUMBER_O(cluster_member, epoch, 0, FIELDS_NUMBER_MAX, 0),
};
static const struct field pool[] = {
	TEXT(cluster_pool, name, cluster_is_label), TEXT(cluster_pool, host, dns_is_name), TEXT(cluster_pool, role, cluster_is_label), TEXT(cluster_pool, dns, cluster_is_label),
	TEXT_O(cluster_pool, path, is_path), NUMBER_O(cluster_pool, min, 1, 1000, 1), NUMBER_O(cluster_pool, ttl_s, 1, 86400, 60), NUMBER(cluster_pool, port, 1, 65535),
	CHOICE(cluster_pool, check, cluster_check_names), BOOL_O(cluster_pool, report, true),
};
static const struct field step[] = {
	TEXT(cluster_step, name, cluster_is_label), TEXT_O(cluster_step, error, NULL), CHOICE(cluster_step, state, cluster_step_names),
	NUMBER_O(cluster_step, took_ms, 0, FIELDS_NUMBER_MAX, 0),
};
static const struct fields step_fields = FIELDS(cluster_step, step);
static const struct field sight[] = { TEXT(cluster_sight, member, cluster_is_label), TEXT_O(cluster_sight, why, NULL), BOOL(cluster_sight, up) };
static const struct fields sight_fields = FIELDS(cluster_sight, sight);
static const struct field report[] = {
	TEXT(cluster_report, name, cluster_is_label), TEXT(cluster_report, process, cluster_is_id), TEXT_O(cluster_report, host, cluster_is_label),
	NUMBER(cluster_report, seq, 1, FIELDS_NUMBER_MAX), BOOL_O(cluster_report, ready, false), BOOL_O(cluster_report, in_sync, false),
	TEXT_O(cluster_report, revision, NULL), TEXT_O(cluster_report, tree, NULL), LIST(cluster_report, steps, step_count, 32, &step_fields),
	LIST(cluster_report, sees, see_count, CLUSTER_LIST_MAX, &sight_fields),
};
static const struct field view_member[] = {
	TEXT(cluster_view_member, name, cluster_is_label), TEXT(cluster_view_member, pool, cluster_is_label), TEXT_O(cluster_view_member, why, NULL),
	BOOL(cluster_view_member, in), CHOICE(cluster_view_member, health, cluster_health_names),
};
static const struct fields view_member_fields = FIELDS(cluster_view_member, view_member);
static const struct field problem[] = { TEXT(cluster_problem, on, NULL), TEXT(cluster_problem, text, NULL) };
static const struct fields problem_fields = FIELDS(cluster_problem, problem);
static const struct field view[] = {
	NUMBER(cluster_view, epoch, 1, FIELDS_NUMBER_MAX), TEXT(cluster_view, at, NULL),
	LIST(cluster_view, members, member_count, CLUSTER_LIST_MAX, &view_member_fields), LIST(cluster_view, problems, problem_count, CLUSTER_LIST_MAX, &problem_fields),
};
static const struct field decision[] = {
	NUMBER(cluster_decision, epoch, 1, FIELDS_NUMBER_MAX), NUMBER(cluster_decision, serial, 1, FIELDS_NUMBER_MAX), TEXT(cluster_decision, at, NULL),
	TEXT(cluster_decision, leader, cluster_is_label), TEXT(cluster_decision, what, cluster_is_label), TEXT(cluster_decision, on, NULL), TEXT(cluster_decision, why, NULL),
	TEXT_O(cluster_decision, detail, NULL), CHOICE(cluster_decision, result, cluster_result_names),
};
static const struct field address[] = { TEXT(cluster_address, address, dns_is_address) };
static const struct fields address_fields = FIELDS(cluster_address, address);
static const struct field answers[] = {
	TEXT(cluster_answers, host, dns_is_name), TEXT(cluster_answers, token, dns_is_token), NUMBER(cluster_answers, ttl_s, 1, 86400),
	LIST(cluster_answers, addresses, count, DNS_ANSWERS_MAX, &address_fields),
};

/* named: the struct begins with a name that must be the key's; by_name: the name's place. */
static const struct kind { const char *name, *dir; struct fields fields; uint32_t bytes_max; size_t name_at; bool named; } kinds[CLUSTER_KINDS] = {
	[CLUSTER_SITE] = { "site", "now/site", FIELDS(cluster_site, site), SMALL_MAX, 0, false },
	[CLUSTER_LEADER] = { "leader", "leader", FIELDS(cluster_leader, leader), SMALL_MAX, 0, false },
	[CLUSTER_VIEW] = { "view", "view", FIELDS(cluster_view, view), LARGE_MAX, 0, false },
	[CLUSTER_MEMBER] = { "member", "now/members/", FIELDS(cluster_member, member), SMALL_MAX, offsetof(struct cluster_member, name), true },
	[CLUSTER_POOL] = { "pool", "now/pools/", FIELDS(cluster_pool, pool), SMALL_MAX, offsetof(struct cluster_pool, name), true },
	[CLUSTER_REPORT] = { "report", "now/reports/", FIELDS(cluster_report, report), LARGE_MAX, offsetof(struct cluster_report, name), true },
	[CLUSTER_DECISION] = { "decision", "decisions/", FIELDS(cluster_decision, decision), SMALL_MAX, 0, false },
	[CLUSTER_ANSWERS] = { "answers", "answers/", FIELDS(cluster_answers, answers), SMALL_MAX, offsetof(struct cluster_answers, host), true },
};

bool cluster_is_label(const char *s)
{
	size_t len = strlen(s);

	return len > 0 && len < CLUSTER_LABEL_MAX && strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == len && s[0] != '-' && s[len - 1] != '-';
}

bool cluster_is_id(const char *s)
{
	return strlen(s) == CLUSTER_ID_MAX - 1 && strspn(s, "0123456789abcdef") == CLUSTER_ID_MAX - 1;
}

const char *cluster_decision_name(uint64_t epoch, uint64_t serial, char *ret)
{
	snprintf(ret, CLUSTER_NAME_MAX, "%010" PRIu64 "/%010" PRIu64, epoch, serial);
	return ret;
}

const char *cluster_key(enum cluster_kind kind, const char *name, char *ret)
{
	snprintf(ret, CLUSTER_KEY_MAX, "%s%s", kinds[kind].dir, name);
	return ret;
}

void cluster_free(enum cluster_kind kind, void *st)
{
	fields_free(&kinds[kind].fields, st);
}

/* Is the object what its key says? */
static int check_name(enum cluster_kind kind, const char *name, const void *st)
{
	const struct cluster_decision *d = st;
	char made[CLUSTER_NAME_MAX];

	if (kinds[kind].named && strcmp((const char *)st + kinds[kind].name_at, name) != 0)
		return err_set(ERR_CORRUPT, kind == CLUSTER_ANSWERS ? "host: not the key's" : "name: not the key's");
	if (kind == CLUSTER_DECISION && strcmp(cluster_decision_name(d->epoch, d->serial, made), name) != 0)
		return err_set(ERR_CORRUPT, "epoch, serial: not the key's");
	return 0;
}

static int decode(enum cluster_kind kind, const char *name, struct json_object *o, void *ret)
{
	struct json_object *x;
	int rc;

	if (!json_object_object_get_ex(o, "kind", &x) || !json_object_is_type(x, json_type_string) || strcmp(json_object_get_string(x), kinds[kind].name) != 0)
		return err_set(ERR_CORRUPT, "kind: not \"%s\"", kinds[kind].name);
	if (!json_object_object_get_ex(o, "format", &x) || !json_object_is_type(x, json_type_int) || json_object_get_int64(x) < 1)
		return err_set(ERR_CORRUPT, "format: not a number from 1");
	if (json_object_get_int64(x) > FORMAT)
		return err_set(ERR_NEWER_FORMAT, "format %" PRId64 ": written by a newer clonectl; update this one", json_object_get_int64(x));
	if (!json_object_object_get_ex(o, "put", &x) || !json_object_is_type(x, json_type_string) || !cluster_is_id(json_object_get_string(x)))
		return err_set(ERR_CORRUPT, "put: not 32 hex digits");
	rc = fields_decode(&kinds[kind].fields, o, ret);
	if (rc)
		return rc;
	rc = check_name(kind, name, ret);
	if (rc)
		cluster_free(kind, ret);
	return rc;
}

static int name_error(int rc, enum cluster_kind kind, const char *name)
{
	char key[CLUSTER_KEY_MAX];

	return rc == ERR_CORRUPT || rc == ERR_NEWER_FORMAT ? err_set(rc, "%s: %s", cluster_key(kind, name, key), err_last()) : rc;
}

int cluster_decode(enum cluster_kind kind, const char *name, const void *p, size_t len, void *ret, struct json_object **ret_raw)
{
	struct json_object *o = NULL;
	int rc = len > kinds[kind].bytes_max ? err_set(ERR_CORRUPT, "longer than %" PRIu32 " bytes", kinds[kind].bytes_max) : fields_parse(p, len, &o);

	if (!rc)
		rc = decode(kind, name, o, ret);
	if (rc)
		json_object_put(o);
	else
		*ret_raw = o;
	return name_error(rc, kind, name);
}

static int add(struct json_object *o, const char *name, struct json_object *x)
{
	if (x && json_object_object_add(o, name, x) == 0)
		return 0;
	json_object_put(x);
	return -ENOMEM;
}

/* What is written must be what a reader takes: the same decoder judges it. */
static int encode(enum cluster_kind kind, const char *name, const void *st, const char *put, struct json_object *o)
{
	size_t len;
	void *again;
	int rc = add(o, "kind", json_object_new_string(kinds[kind].name));

	if (!rc)
		rc = add(o, "format", json_object_new_int(FORMAT));
	if (!rc)
		rc = add(o, "put", json_object_new_string(put));
	if (!rc)
		rc = fields_encode(&kinds[kind].fields, st, o);
	if (rc)
		return rc;
	if (!json_object_to_json_string_length(o, JSON_C_TO_STRING_PLAIN, &len))
		return -ENOMEM;
	if (len > kinds[kind].bytes_max)
		return err_set(ERR_CORRUPT, "longer than %" PRIu32 " bytes", kinds[kind].bytes_max);
	again = malloc(kinds[kind].fields.bytes);
	if (!again)
		return -ENOMEM;
	rc = decode(kind, name, o, again);
	if (!rc)
		cluster_free(kind, again);
	free(again);
	return rc;
}

int cluster_encode(enum cluster_kind kind, const char *name, const void *st, struct json_object *raw, const char *put, struct json_object **ret)
{
	struct json_object *o = NULL;
	int rc = 0;

	if (!raw)
		o = json_object_new_object();
	else if (json_object_deep_copy(raw, &o, NULL) != 0)
		o = NULL;
	if (!o)
		return -ENOMEM;
	rc = encode(kind, name, st, put, o);
	if (rc)
		json_object_put(o);
	else
		*ret = o;
	return name_error(rc, kind, name);
}

size_t cluster_bytes(enum cluster_kind kind)
{
	return kinds[kind].fields.bytes;
}
