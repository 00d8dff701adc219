/*
 * published.c - gets from a store that may be away. No state but whether it is, and what has to be over before the store is closed.
 */
#include "published.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "logmsg.h"

#define LOOK_MS 10000u
#define PAUSE_NS 30000000000ull
#define PAUSE_MOST_NS 600000000000ull
#define GOOD_NS 5000000000ull /* where one was had so short a time ago, the store is not away */

struct published {
	struct store *store;
	struct env *env;
	pthread_mutex_t mu;            /* of all below */
	pthread_cond_t idle;
	unsigned submitting;           /* calls into the store that have not returned */
	bool cancelled;
	uint64_t good_ns;              /* when one was had last; 0 = never */
	uint64_t until_ns, pause_ns;   /* nothing is asked before; so long is the next pause */
	bool away;                     /* and that was said */
};

struct get {
	struct store_req r;
	struct published *p;
	struct node_published *g;
	void (*done)(void *user, struct node_published *g);
	void *user;
};

int published_new(struct store *s, struct env *env, struct published **ret)
{
	struct published *p = calloc(1, sizeof *p);

	if (!p) {
		store_close(s);
		return -ENOMEM;
	}
	p->store = s;
	p->env = env;
	p->pause_ns = PAUSE_NS;
	pthread_mutex_init(&p->mu, NULL);
	pthread_cond_init(&p->idle, NULL);
	*ret = p;
	return 0;
}

/* Is it the store that failed, and not what one object is, or is called? */
static bool is_away(int rc)
{
	return rc && rc != -ENOENT && rc != -EINVAL && rc != -ENAMETOOLONG && rc != ERR_CORRUPT && rc != -ECANCELED;
}

/* What came of a request. */
static void note(struct published *p, int rc, const char *why)
{
	uint64_t now = p->env->boot_ns(p->env), pause = 0;
	bool back = false;

	pthread_mutex_lock(&p->mu);
	if (rc == 0) {
		back = p->away;
		p->away = false;
		p->good_ns = now;
		p->pause_ns = PAUSE_NS;
	} else if (is_away(rc) && now >= p->until_ns && !(p->good_ns && now - p->good_ns < GOOD_NS)) {
		pause = p->pause_ns;
		p->until_ns = now + pause;
		p->pause_ns = 2 * pause < PAUSE_MOST_NS ? 2 * pause : PAUSE_MOST_NS;
		p->away = true;
	}
	pthread_mutex_unlock(&p->mu);
	if (pause)
		logmsg(LOGMSG_WARNING, "the copy in %s cannot be read: %s; all is asked of the members, and the copy again in %u s", p->store->address, why[0] ? why : err_text(rc),
		       (unsigned)(pause / 1000000000u));
	else if (back)
		logmsg(LOGMSG_NOTICE, "the copy in %s can be read again", p->store->address);
}

static void fail(struct get *k, int rc)
{
	struct node_published *g = k->g;

	g->rc = rc;
	k->done(k->user, g);
	free(k);
}

/* The store's: any thread. */
static void got(struct store_req *r)
{
	struct get *k = r->user;
	struct node_published *g = k->g;

	note(k->p, r->result, r->detail);
	g->rc = r->result;
	if (!g->rc && r->data_len > g->length)
		g->rc = ERR_CORRUPT; /* more than was asked for */
	if (!g->rc) {
		g->bytes = r->data;
		g->len = r->data_len;
		r->data = NULL;
	}
	store_req_reset(r);
	k->done(k->user, g);
	free(k);
}

void published_get(struct published *p, struct node_published *g, void (*done)(void *user, struct node_published *g), void *user)
{
	struct get *k = calloc(1, sizeof *k);
	int rc = 0;

	g->bytes = NULL;
	g->len = 0;
	if (!k) {
		g->rc = -ENOMEM;
		done(user, g);
		return;
	}
	k->p = p;
	k->g = g;
	k->done = done;
	k->user = user;
	store_req_init(&k->r, STORE_GET);
	k->r.key = g->path;
	k->r.range_offset = g->offset;
	k->r.range_length = g->length;
	k->r.deadline_ms = PUBLISHED_DEADLINE_MS;
	k->r.done = got;
	k->r.user = k;
	pthread_mutex_lock(&p->mu);
	if (p->cancelled)
		rc = -ECANCELED;
	else if (p->env->boot_ns(p->env) < p->until_ns)
		rc = ERR_UNAVAILABLE;
	else
		p->submitting++;
	pthread_mutex_unlock(&p->mu);
	if (rc) {
		fail(k, rc);
		return;
	}
	p->store->submit(p->store, &k->r);
	pthread_mutex_lock(&p->mu);
	if (--p->submitting == 0)
		pthread_cond_broadcast(&p->idle);
	pthread_mutex_unlock(&p->mu);
}

/* Can it be read? One key of it tells. */
static void look(struct published *p)
{
	struct store_req r;
	int rc;

	store_req_init(&r, STORE_LIST);
	r.key = "";
	r.max_keys = 1;
	r.deadline_ms = LOOK_MS;
	rc = store_call(p->store, &r);
	note(p, rc, r.detail);
	if (!rc && !r.entry_count)
		logmsg(LOGMSG_WARNING, "there is nothing in the copy in %s: is it the right address?", p->store->address);
	p->good_ns = 0; /* that it can be listed is not that it can be read */
	store_req_reset(&r);
}

int published_open(const char *address, struct env *env, struct published **ret)
{
	struct published *p = NULL;
	struct store *s;
	int rc = store_open(address, NULL, &s);

	if (!rc)
		rc = published_new(s, env, &p);
	if (rc)
		return rc;
	look(p);
	*ret = p;
	return 0;
}

void published_cancel(struct published *p)
{
	struct store *s;

	pthread_mutex_lock(&p->mu);
	p->cancelled = true;
	while (p->submitting)
		pthread_cond_wait(&p->idle, &p->mu);
	s = p->store;
	pthread_mutex_unlock(&p->mu);
	store_close(s); /* those that end now still speak of it */
	p->store = NULL;
}

void published_close(struct published *p)
{
	if (!p)
		return;
	published_cancel(p);
	pthread_cond_destroy(&p->idle);
	pthread_mutex_destroy(&p->mu);
	free(p);
}
