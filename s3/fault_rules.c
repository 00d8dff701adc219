/*
 * fault_rules.c - the text of rules, and which of them hits a request.
 *
 * The rules are fixed after parsing, but for their counters and the random state, which the mutex guards.
 */
#include "fault.h"

#include <errno.h>
#include <fnmatch.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compiler.h"
#include "err.h"

#define RULES_MAX 64
#define RULE_BYTES 256
#define LATE_MS 1000

#define OP(op) (1u << (op))
#define OPS_WRITE (OP(STORE_PUT) | OP(STORE_DELETE) | OP(STORE_COPY))
#define OPS_READ (OP(STORE_GET) | OP(STORE_HEAD) | OP(STORE_LIST))
#define OPS_ALL (OPS_READ | OPS_WRITE)

static const struct op_name {
	const char *name;
	unsigned ops;
} op_names[] = {
	{ "put", OP(STORE_PUT) }, { "get", OP(STORE_GET) }, { "head", OP(STORE_HEAD) }, { "list", OP(STORE_LIST) },
	{ "delete", OP(STORE_DELETE) }, { "copy", OP(STORE_COPY) }, { "read", OPS_READ }, { "write", OPS_WRITE }, { "*", OPS_ALL },
};

static const struct fault_name {
	const char *name;
	enum fault_kind kind;
	int result;
	bool ambiguous;
	bool conditional; /* of PUTs, only those on a condition */
	unsigned ops;     /* what it can happen to */
	const char *detail;
} fault_names[] = {
	{ "503", FAULT_REFUSE, ERR_UNAVAILABLE, true, false, OPS_ALL, "503 SlowDown (injected)" },
	{ "500", FAULT_REFUSE, ERR_UNAVAILABLE, true, false, OPS_ALL, "500 InternalError (injected)" },
	{ "conflict409", FAULT_REFUSE, ERR_UNAVAILABLE, true, true, OP(STORE_PUT), "409 ConditionalRequestConflict (injected)" },
	{ "200-error-body", FAULT_REFUSE, ERR_UNAVAILABLE, true, false, OPS_WRITE, "200 with an error in its body (injected)" },
	{ "lost-reply", FAULT_LOST_REPLY, ERR_UNAVAILABLE, true, false, OPS_ALL, "the reply was lost (injected)" },
	{ "late", FAULT_LATE, ERR_UNAVAILABLE, true, false, OPS_WRITE, "no answer in time; it takes effect later (injected)" },
	{ "412-after-success", FAULT_412_AFTER_SUCCESS, ERR_PRECONDITION, true, true, OP(STORE_PUT),
	  "412 after one's own success (injected)" },
	{ "stall", FAULT_STALL, ERR_UNAVAILABLE, true, false, OPS_ALL, "no answer in time (injected)" },
	{ "short", FAULT_SHORT, ERR_UNAVAILABLE, false, false, OP(STORE_GET), "the body ended too soon (injected)" },
	{ "truncate", FAULT_TRUNCATE, 0, false, false, OP(STORE_GET), "" },
	{ "corrupt", FAULT_CORRUPT, 0, false, false, OP(STORE_GET), "" },
	{ "partial", FAULT_PARTIAL, ERR_UNAVAILABLE, true, false, OP(STORE_DELETE), "some keys were not deleted (injected)" },
	{ "404", FAULT_REFUSE, -ENOENT, false, false, OP(STORE_GET) | OP(STORE_HEAD) | OP(STORE_COPY), "404 NoSuchKey (injected)" },
	{ "auth", FAULT_REFUSE, ERR_AUTH, false, false, OPS_ALL, "403 InvalidAccessKeyId (injected)" },
	{ "no-bucket", FAULT_REFUSE, ERR_NO_BUCKET, false, false, OPS_ALL, "404 NoSuchBucket (injected)" },
	{ "clock-skew", FAULT_REFUSE, ERR_CLOCK_SKEW, false, false, OPS_ALL, "403 RequestTimeTooSkewed (injected)" },
	{ "no-space", FAULT_REFUSE, -ENOSPC, false, false, OPS_WRITE, "507 no space (injected)" },
	{ "unsupported", FAULT_REFUSE, ERR_UNSUPPORTED, false, false, OPS_ALL, "501 NotImplemented (injected)" },
	{ "canceled", FAULT_REFUSE, -ECANCELED, true, false, OPS_ALL, "canceled (injected)" },
};

struct rule {
	unsigned ops;
	char pattern[RULE_BYTES];
	const struct fault_name *fault; /* NULL: only a delay */
	bool has_delay;
	uint64_t delay_ms, after, count, seen, fired;
	double p;
};

struct fault_rules {
	pthread_mutex_t lock; /* guards seen and fired of the rules, and state */
	uint64_t state;
	size_t count;
	struct rule rules[RULES_MAX];
};

/* SplitMix64 (Steele, Lea, Flood 2014). */
static uint64_t next_random(struct fault_rules *f)
{
	uint64_t z = f->state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static bool parse_number(const char *text, uint64_t *ret)
{
	char *end;

	if (text[0] < '0' || text[0] > '9')
		return false;
	errno = 0;
	*ret = strtoull(text, &end, 10);
	return *end == '\0' && errno == 0;
}

static bool parse_probability(const char *text, double *ret)
{
	char *end;

	*ret = strtod(text, &end);
	return end != text && *end == '\0' && *ret >= 0 && *ret <= 1;
}

static bool parse_part(struct rule *r, const char *part)
{
	if (strncmp(part, "p=", 2) == 0)
		return parse_probability(part + 2, &r->p);
	if (strncmp(part, "after=", 6) == 0)
		return parse_number(part + 6, &r->after);
	if (strncmp(part, "count=", 6) == 0)
		return parse_number(part + 6, &r->count);
	if (strncmp(part, "delay=", 6) == 0) {
		r->has_delay = true;
		return parse_number(part + 6, &r->delay_ms);
	}
	if (r->fault != NULL)
		return false; /* one rule, one fault */
	for (size_t i = 0; i < CL_ARRAY_LEN(fault_names); i++)
		if (strcmp(fault_names[i].name, part) == 0)
			r->fault = &fault_names[i];
	return r->fault != NULL;
}

static int parse_rule(struct rule *r, char *text)
{
	char *save = NULL, *op = strtok_r(text, ":", &save), *pattern = strtok_r(NULL, ":", &save), *part;

	*r = (struct rule){ .p = 1, .count = UINT64_MAX };
	for (size_t i = 0; op != NULL && i < CL_ARRAY_LEN(op_names); i++)
		if (strcmp(op_names[i].name, op) == 0)
			r->ops = op_names[i].ops;
	if (r->ops == 0)
		return err_set(ERR_CONFIG, "fault rule: \"%s\" is no operation", op != NULL ? op : "");
	if (pattern == NULL)
		return err_set(ERR_CONFIG, "fault rule \"%s\": a pattern and a fault must follow (put:log/*:503)", op);
	snprintf(r->pattern, sizeof(r->pattern), "%s", pattern);
	while ((part = strtok_r(NULL, ":", &save)) != NULL)
		if (!parse_part(r, part))
			return err_set(ERR_CONFIG, "fault rule \"%s:%s\": cannot understand \"%s\"", op, pattern, part);
	if (r->fault == NULL && !r->has_delay)
		return err_set(ERR_CONFIG, "fault rule \"%s:%s\" names no fault", op, pattern);
	if (r->fault != NULL && (r->fault->ops & r->ops) == 0)
		return err_set(ERR_CONFIG, "fault rule \"%s:%s\": %s cannot happen to it", op, pattern, r->fault->name);
	return 0;
}

static int parse_item(struct fault_rules *f, char *item)
{
	if (strncmp(item, "seed=", 5) == 0) {
		if (!parse_number(item + 5, &f->state))
			return err_set(ERR_CONFIG, "fault rules: \"%s\" is no seed", item);
		return 0;
	}
	if (f->count == RULES_MAX)
		return err_set(ERR_CONFIG, "more than %d fault rules", RULES_MAX);
	return parse_rule(&f->rules[f->count++], item);
}

int fault_rules_parse(const char *text, uint64_t seed, struct fault_rules **ret)
{
	struct fault_rules *f = calloc(1, sizeof(*f));
	int rc = 0;

	if (f == NULL)
		return err_set(-ENOMEM, "fault rules: out of memory");
	pthread_mutex_init(&f->lock, NULL);
	f->state = seed;
	while (!rc && *(text += strspn(text, ";, \t\r\n")) != '\0') {
		size_t len = strcspn(text, ";, \t\r\n");
		char item[RULE_BYTES];

		if (len >= sizeof(item)) {
			rc = err_set(ERR_CONFIG, "fault rule \"%.30s...\" is too long", text);
			break;
		}
		memcpy(item, text, len);
		item[len] = '\0';
		rc = parse_item(f, item);
		text += len;
	}
	if (rc) {
		fault_rules_free(f);
		return rc;
	}
	*ret = f;
	return 0;
}

void fault_rules_free(struct fault_rules *f)
{
	if (f == NULL)
		return;
	pthread_mutex_destroy(&f->lock);
	free(f);
}

static bool matches(const struct rule *rule, const struct store_req *r)
{
	unsigned ops = rule->ops & (rule->fault != NULL ? rule->fault->ops : OPS_ALL);

	if (!(ops & OP(r->op)))
		return false;
	if (rule->fault != NULL && rule->fault->conditional && !r->if_none_match && r->if_match == NULL)
		return false;
	if (r->op != STORE_DELETE)
		return r->key != NULL && fnmatch(rule->pattern, r->key, 0) == 0;
	for (size_t i = 0; r->keys != NULL && i < r->key_count; i++)
		if (fnmatch(rule->pattern, r->keys[i], 0) == 0)
			return true;
	return false;
}

/* Whether a rule that matches fires this time. Lock held. */
static bool fires(struct fault_rules *f, struct rule *rule)
{
	if (rule->seen++ < rule->after || rule->fired >= rule->count)
		return false;
	if (rule->p < 1 && (double)(next_random(f) >> 11) * 0x1p-53 >= rule->p)
		return false;
	rule->fired++;
	return true;
}

void fault_rules_choose(struct fault_rules *f, const struct store_req *r, struct fault *ret)
{
	*ret = (struct fault){ .kind = FAULT_NONE, .detail = "" };
	pthread_mutex_lock(&f->lock);
	for (size_t i = 0; i < f->count && ret->kind == FAULT_NONE; i++) {
		struct rule *rule = &f->rules[i];

		if (!matches(rule, r) || !fires(f, rule))
			continue;
		ret->delay_ms += rule->delay_ms;
		if (rule->fault == NULL)
			continue;
		ret->kind = rule->fault->kind;
		ret->result = rule->fault->result;
		ret->ambiguous = rule->fault->ambiguous && (OPS_WRITE & OP(r->op));
		ret->detail = rule->fault->detail;
		ret->random = next_random(f);
		if (ret->kind == FAULT_LATE && !rule->has_delay)
			ret->delay_ms += LATE_MS;
	}
	pthread_mutex_unlock(&f->lock);
}
