/* doubles.c - the store and the DNS of a simulated cluster. Each call is a place where its process may die, before or behind its effect. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "orbit.h"

enum fate { FATE_WELL, FATE_REFUSED, FATE_UNHEARD, FATE_LATE };

static struct process *of_store(struct store *s)
{
	return CL_CONTAINER_OF(s, struct process, store);
}

/* ---------------------------------------------------------------- what becomes of a call */

static void crash(struct process *p)
{
	note(p->w, "crashes");
	p->crashed = true;
	p->w->crashes++;
}

/* Time passes; true: the process is gone. */
static bool pass(struct process *p)
{
	struct world *w = p->w;
	uint64_t ms = 1 + rng_below(&w->rng, 30);

	w->calls++;
	if (!w->calm && rng_below(&w->rng, 60) == 0)
		ms += rng_below(&w->rng, 4000);
	if (!w->calm && p->id < CONTROLLERS && rng_below(&w->rng, 200) == 0)
		p->frozen_ns = w->now_ns + rng_below(&w->rng, 20 * SECOND);
	if (!p->crashed)
		actor_sleep(actor_self(), ms * MS);
	if (!p->crashed && !w->calm && p->id < PROCESSES - 1 && rng_below(&w->rng, 250) == 0)
		crash(p);
	return p->crashed;
}

/* A PUT is sent again when it had no answer, a swap is not: it takes more of them. */
static enum fate fate_of(struct world *w, bool writes, bool swaps)
{
	size_t x = w->calm ? 1000 : rng_below(&w->rng, swaps ? 30 : 100);

	return x < 2 ? FATE_REFUSED : writes && x < 5 ? FATE_UNHEARD : writes && x < 8 ? FATE_LATE : FATE_WELL;
}

/* An agent's reports are at most this late: the check of who was withdrawn for nothing looks back a bit further. */
static uint64_t lateness(struct world *w, const char *key)
{
	return w->now_ns + (1 + rng_below(&w->rng, strncmp(key, "now/reports/", 12) == 0 ? 20000 : 120000)) * MS;
}

static struct late *late_new(struct world *w, uint64_t at_ns)
{
	struct late *l;

	if (w->late_count == LATE_MAX)
		return NULL;
	l = &w->late[w->late_count++];
	memset(l, 0, sizeof(*l));
	l->at_ns = at_ns;
	l->leaders = w->leaders;
	return l;
}

/* ---------------------------------------------------------------- the store */

static size_t find(const struct world *w, const char *key)
{
	size_t lo = 0, hi = w->object_count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (strcmp(w->objects[mid].key, key) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static struct object *object_of(struct world *w, const char *key)
{
	size_t at = find(w, key);

	return at < w->object_count && strcmp(w->objects[at].key, key) == 0 ? &w->objects[at] : NULL;
}

/* 0 or ERR_PRECONDITION. over 0: no condition. */
static int apply_put(struct world *w, const char *key, const uint8_t *data, size_t len, bool create, uint64_t over)
{
	struct object *o = object_of(w, key);
	size_t at = find(w, key);

	if (w->brk != ORBIT_BREAK_PUT_BLIND && ((create && o) || (over && (!o || o->version != over))))
		return ERR_PRECONDITION;
	check_object(w, key, o, data, len);
	if (!o) {
		if (w->object_count == OBJECTS_MAX)
			abort();
		memmove(&w->objects[at + 1], &w->objects[at], (w->object_count - at) * sizeof(*w->objects));
		o = &w->objects[at];
		memset(o, 0, sizeof(*o));
		snprintf(o->key, sizeof(o->key), "%s", key);
		w->object_count++;
	}
	free(o->data);
	o->data = malloc(len + 1);
	if (!o->data)
		abort();
	memcpy(o->data, data, len);
	o->len = len;
	o->version = ++w->version;
	return 0;
}

static void put(struct process *p, struct store_req *r)
{
	struct world *w = p->w;
	enum fate f = fate_of(w, true, false);
	uint64_t over = r->if_match ? strtoull(r->if_match, NULL, 10) : 0;
	struct late *l;

	r->ambiguous = f != FATE_WELL;
	r->result = ERR_UNAVAILABLE;
	if (f == FATE_LATE && (l = late_new(w, lateness(w, r->key))) != NULL) {
		snprintf(l->key, sizeof(l->key), "%s", r->key);
		l->data = malloc(r->body[0].iov_len + 1);
		if (!l->data)
			abort();
		memcpy(l->data, r->body[0].iov_base, r->body[0].iov_len);
		l->len = r->body[0].iov_len;
		l->create = r->if_none_match;
		l->over = over;
	}
	if (f != FATE_WELL && f != FATE_UNHEARD)
		return;
	r->result = apply_put(w, r->key, r->body[0].iov_base, r->body[0].iov_len, r->if_none_match, over);
	if (f == FATE_UNHEARD)
		r->result = ERR_UNAVAILABLE;
	else if (r->result == 0)
		snprintf(r->etag, sizeof(r->etag), "%llu", (unsigned long long)w->version);
}

static void get(struct process *p, struct store_req *r)
{
	struct object *o = object_of(p->w, r->key);

	if (fate_of(p->w, false, false) != FATE_WELL) {
		r->result = ERR_UNAVAILABLE;
		return;
	}
	r->result = o ? 0 : -ENOENT;
	if (!o)
		return;
	r->data = malloc(o->len + 1);
	if (!r->data)
		abort();
	memcpy(r->data, o->data, o->len);
	r->data_len = r->object_size = o->len;
	snprintf(r->etag, sizeof(r->etag), "%llu", (unsigned long long)o->version);
}

static void list(struct process *p, struct store_req *r)
{
	struct world *w = p->w;

	if (fate_of(w, false, false) != FATE_WELL) {
		r->result = ERR_UNAVAILABLE;
		return;
	}
	r->entries = calloc(w->object_count + 1, sizeof(*r->entries));
	for (size_t i = find(w, r->key); i < w->object_count && strncmp(w->objects[i].key, r->key, strlen(r->key)) == 0; i++) {
		struct store_entry *e = &r->entries[r->entry_count++];

		e->key = strdup(w->objects[i].key);
		snprintf(e->etag, sizeof(e->etag), "%llu", (unsigned long long)w->objects[i].version);
	}
	r->result = 0;
}

static void submit(struct store *s, struct store_req *r)
{
	struct process *p = of_store(s);

	if (pass(p))
		r->result = ERR_CRASHED;
	else if (r->op == STORE_PUT)
		put(p, r);
	else if (r->op == STORE_LIST)
		list(p, r);
	else
		get(p, r);
	if (r->result != ERR_CRASHED && pass(p)) /* the answer comes to nobody */
		r->result = ERR_CRASHED;
	r->done(r);
}

static void wait_none(struct store *s CL_UNUSED, struct store_req *r CL_UNUSED)
{
}

/* ---------------------------------------------------------------- the DNS */

int answers_compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

static int apply_swap(struct world *w, const char *from, const struct answers *to, bool late)
{
	if (w->brk != ORBIT_BREAK_SWAP_BLIND && !(late && w->brk == ORBIT_BREAK_LATE_BLIND) && strcmp(w->dns.token, from) != 0)
		return ERR_PRECONDITION;
	check_swap(w, &w->dns, to, late);
	w->dns = *to;
	w->swaps++;
	note(w, "answers are %s now: %zu%s", to->token, to->count, late ? " (late)" : "");
	return 0;
}

static struct process *of_dns(struct dns *d)
{
	return CL_CONTAINER_OF(d, struct process, dns);
}

static int dns_read(struct dns *d, const char *name CL_UNUSED, uint32_t deadline_ms CL_UNUSED, struct dns_answers *ret)
{
	struct process *p = of_dns(d);
	int rc = pass(p) ? ERR_CRASHED : fate_of(p->w, false, false) != FATE_WELL ? ERR_UNAVAILABLE : 0;

	if (rc)
		return err_set(rc, "the DNS does not answer");
	memset(ret, 0, sizeof(*ret));
	snprintf(ret->token, sizeof(ret->token), "%s", p->w->dns.token);
	ret->addresses = calloc(p->w->dns.count + 1, sizeof(*ret->addresses));
	for (ret->count = 0; ret->count < p->w->dns.count; ret->count++)
		memcpy(ret->addresses[ret->count], p->w->dns.addresses[ret->count], DNS_ADDRESS_MAX);
	if (!pass(p))
		return 0;
	dns_answers_free(ret);
	return ERR_CRASHED;
}

static int dns_change(struct dns *d, const struct dns_change *c, uint32_t deadline_ms CL_UNUSED)
{
	struct process *p = of_dns(d);
	struct answers to = { .count = c->to->count };
	enum fate f;
	struct late *l;
	int rc = ERR_UNAVAILABLE;

	if (pass(p))
		return ERR_CRASHED;
	f = fate_of(p->w, true, true);
	snprintf(to.token, sizeof(to.token), "%s", c->to->token);
	for (size_t i = 0; i < to.count; i++)
		memcpy(to.addresses[i], c->to->addresses[i], DNS_ADDRESS_MAX);
	if (f == FATE_LATE && (l = late_new(p->w, lateness(p->w, ""))) != NULL) {
		l->to = to;
		snprintf(l->from, sizeof(l->from), "%s", c->from->token);
	}
	if (f == FATE_WELL || f == FATE_UNHEARD)
		rc = apply_swap(p->w, c->from->token, &to, false);
	if (f == FATE_UNHEARD)
		rc = ERR_UNAVAILABLE;
	if (pass(p))
		return ERR_CRASHED;
	return rc ? err_set(rc, "the DNS says %s", err_text(rc)) : 0;
}

/* ---------------------------------------------------------------- the rest of what a process has */

static uint64_t env_boot(struct env *e)
{
	return process_now(CL_CONTAINER_OF(e, struct process, env));
}

/* Wall clocks are anything. */
static uint64_t env_real(struct env *e)
{
	return env_boot(e) * 3 % (4000000 * SECOND);
}

static void env_random(struct env *e, void *p, size_t len)
{
	rng_fill(&CL_CONTAINER_OF(e, struct process, env)->w->rng, p, len);
}

static int watch(struct health *h CL_UNUSED, const struct health_target *t CL_UNUSED, size_t count CL_UNUSED)
{
	return 0;
}

static enum cluster_health sees(struct health *h, const char *member, char *ret_why)
{
	struct process *p = CL_CONTAINER_OF(h, struct process, health);
	unsigned m = (unsigned)strtoul(member + 4, NULL, 10);

	*ret_why = '\0';
	if (m >= MEMBERS)
		return CLUSTER_UNKNOWN;
	if (p->w->brk == ORBIT_BREAK_REPORTS_LIE && !p->w->calm && p->w->now_ns > STORM_NS / 2 + WELL_NS)
		return CLUSTER_DOWN;
	return p->w->alive[m] && !p->w->cut[p->id][m] ? CLUSTER_UP : CLUSTER_DOWN;
}

void doubles_open(struct process *p)
{
	p->env = (struct env){ env_boot, env_real, env_random };
	p->store = (struct store){ .kind = "sim", .address = "sim:", .submit = submit, .wait = wait_none };
	p->cluster = (struct cluster){ &p->store, &p->env, 1000 };
	p->dns = (struct dns){ .kind = "sim", .where = "sim:", .exact = true, .read = dns_read, .swap = dns_change };
	p->health = (struct health){ .watch = watch, .sees = sees };
}

void late_land(struct world *w)
{
	for (size_t i = 0; i < w->late_count;) {
		struct late l = w->late[i];
		int rc;

		if (l.at_ns > w->now_ns) {
			i++;
			continue;
		}
		w->late[i] = w->late[--w->late_count];
		rc = l.key[0] ? apply_put(w, l.key, l.data, l.len, l.create, l.over) : apply_swap(w, l.from, &l.to, true);
		w->lates_landed += rc == 0;
		w->lates_past_two += !l.key[0] && w->leaders >= l.leaders + 2;
		note(w, "late: %s %s", l.key[0] ? l.key : l.to.token, rc ? "changes nothing" : "takes effect");
		free(l.data);
	}
}

void doubles_free(struct world *w)
{
	for (size_t i = 0; i < w->object_count; i++)
		free(w->objects[i].data);
	for (size_t i = 0; i < w->late_count; i++)
		free(w->late[i].data);
	free(w->objects);
}
