/*
 * health.c - the checks, by one libcurl multi handle on one thread.
 *
 * The thread owns the curl handles and the array `running`; what others ask for or learn is under the lock: the targets as they are to be, and what is
 * thought of each. A target that is no longer wanted has its check dropped at the thread's next turn.
 */
#include "health.h"

#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compiler.h"
#include "env.h"
#include "err.h"
#include "secret.h"

#define DOWN_AFTER 3
#define UP_AFTER 2
#define TURN_MS 200

struct one {
	struct health_target target;
	enum cluster_health health;
	int in_a_row;
	char why[sizeof(((struct cluster_sight *)0)->why)];
	uint64_t next_ns;
	/* the thread's own */
	CURL *curl;
	struct curl_slist *to;
	char error[CURL_ERROR_SIZE];
	bool wanted; /* under the lock */
};

struct checks {
	struct health health;
	pthread_t thread;
	CURLM *multi;
	atomic_bool ending;
	pthread_mutex_t lock; /* guards what follows, and the fields of each but the thread's own */
	struct one **all;
	size_t count;
};

static struct checks *of(struct health *h)
{
	return CL_CONTAINER_OF(h, struct checks, health);
}

enum cluster_health health_judge(enum cluster_health before, bool good, int *in_a_row)
{
	if (good)
		*in_a_row = *in_a_row < 0 ? *in_a_row - (*in_a_row > -UP_AFTER) : -1;
	else
		*in_a_row = *in_a_row > 0 ? *in_a_row + (*in_a_row < DOWN_AFTER) : 1;
	return *in_a_row >= DOWN_AFTER ? CLUSTER_DOWN : *in_a_row <= -UP_AFTER ? CLUSTER_UP : before;
}

static uint64_t now_ns(void)
{
	return env_system()->boot_ns(env_system());
}

static size_t drop_body(char *p CL_UNUSED, size_t size, size_t n, void *user CL_UNUSED)
{
	return size * n;
}

static void end_one(struct checks *c, struct one *o)
{
	if (!o->curl)
		return;
	curl_multi_remove_handle(c->multi, o->curl);
	curl_easy_cleanup(o->curl);
	curl_slist_free_all(o->to);
	o->curl = NULL;
	o->to = NULL;
}

/* The name is the pool's; the connection goes to the member's address. */
static bool begin_one(struct checks *c, struct one *o)
{
	const struct health_target *t = &o->target;
	bool six = strchr(t->address, ':') != NULL;
	char url[sizeof(t->host) + sizeof(t->path) + 32], to[sizeof(t->address) + 32];

	snprintf(url, sizeof(url), "%s://%s:%u%s", t->check == CLUSTER_HTTPS ? "https" : "http", t->host, t->port, t->check == CLUSTER_TCP ? "" : *t->path ? t->path : "/");
	snprintf(to, sizeof(to), six ? "::[%s]:%u" : "::%s:%u", t->address, t->port);
	o->error[0] = '\0';
	o->to = curl_slist_append(NULL, to);
	o->curl = o->to ? curl_easy_init() : NULL;
	if (!o->curl || curl_easy_setopt(o->curl, CURLOPT_URL, url) || curl_easy_setopt(o->curl, CURLOPT_CONNECT_TO, o->to) ||
	    curl_easy_setopt(o->curl, CURLOPT_TIMEOUT_MS, (long)HEALTH_TIMEOUT_MS) || curl_easy_setopt(o->curl, CURLOPT_NOSIGNAL, 1L) ||
	    curl_easy_setopt(o->curl, CURLOPT_PROXY, "") || curl_easy_setopt(o->curl, CURLOPT_WRITEFUNCTION, drop_body) ||
	    curl_easy_setopt(o->curl, CURLOPT_CONNECT_ONLY, t->check == CLUSTER_TCP ? 1L : 0L) || curl_easy_setopt(o->curl, CURLOPT_FRESH_CONNECT, 1L) ||
	    curl_easy_setopt(o->curl, CURLOPT_FORBID_REUSE, 1L) || curl_easy_setopt(o->curl, CURLOPT_USERAGENT, "clonectl") ||
	    curl_easy_setopt(o->curl, CURLOPT_ERRORBUFFER, o->error) || curl_easy_setopt(o->curl, CURLOPT_PRIVATE, o) || curl_multi_add_handle(c->multi, o->curl)) {
		curl_easy_cleanup(o->curl);
		curl_slist_free_all(o->to);
		o->curl = NULL;
		o->to = NULL;
		return false; /* no memory, which passes */
	}
	return true;
}

static void finish_one(struct checks *c, struct one *o, CURLcode code)
{
	char why[sizeof(o->why)] = "";
	long status = 0;

	curl_easy_getinfo(o->curl, CURLINFO_RESPONSE_CODE, &status);
	if (code != CURLE_OK)
		snprintf(why, sizeof(why), "%.120s", o->error[0] ? o->error : curl_easy_strerror(code));
	else if (o->target.check != CLUSTER_TCP && (status < 200 || status >= 400))
		snprintf(why, sizeof(why), "HTTP status %ld", status);
	end_one(c, o);
	pthread_mutex_lock(&c->lock);
	o->health = health_judge(o->health, !*why, &o->in_a_row);
	snprintf(o->why, sizeof(o->why), "%s", why);
	pthread_mutex_unlock(&c->lock);
}

/* What is due begins, what is not wanted any more goes. */
static void begin_due(struct checks *c)
{
	uint64_t now = now_ns();
	size_t kept = 0;

	pthread_mutex_lock(&c->lock);
	for (size_t i = 0; i < c->count; i++) {
		struct one *o = c->all[i];

		if (!o->wanted) {
			end_one(c, o);
			free(o);
			continue;
		}
		c->all[kept++] = o;
		if (!o->curl && now >= o->next_ns && begin_one(c, o))
			o->next_ns = now + HEALTH_EVERY_MS * UINT64_C(1000000);
	}
	c->count = kept;
	pthread_mutex_unlock(&c->lock);
}

static void *run(void *user)
{
	struct checks *c = user;
	int running, left;

	while (!c->ending) {
		CURLMsg *m;

		begin_due(c);
		curl_multi_perform(c->multi, &running);
		while ((m = curl_multi_info_read(c->multi, &left)) != NULL) {
			struct one *o = NULL;

			if (m->msg == CURLMSG_DONE && curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&o) == CURLE_OK && o)
				finish_one(c, o, m->data.result);
		}
		curl_multi_poll(c->multi, NULL, 0, TURN_MS, NULL);
	}
	return NULL;
}

static bool same(const struct health_target *a, const struct health_target *b)
{
	return strcmp(a->member, b->member) == 0 && strcmp(a->address, b->address) == 0 && strcmp(a->host, b->host) == 0 && strcmp(a->path, b->path) == 0 &&
	       a->port == b->port && a->check == b->check;
}

static struct one *find(struct checks *c, size_t count, const struct health_target *t)
{
	for (size_t i = 0; i < count; i++)
		if (same(&c->all[i]->target, t))
			return c->all[i];
	return NULL;
}

static int checks_watch(struct health *h, const struct health_target *t, size_t count)
{
	struct checks *c = of(h);
	struct one **all;
	size_t before;
	int rc = 0;

	pthread_mutex_lock(&c->lock);
	before = c->count;
	all = realloc(c->all, (before + count + 1) * sizeof(struct one *));
	if (!all) {
		pthread_mutex_unlock(&c->lock);
		return -ENOMEM;
	}
	c->all = all;
	for (size_t i = 0; i < before; i++)
		all[i]->wanted = false;
	for (size_t i = 0; i < count; i++) {
		struct one *o = i < before && same(&all[i]->target, &t[i]) ? all[i] : find(c, before, &t[i]);

		if (!o && (o = calloc(1, sizeof(*o))) != NULL) {
			o->target = t[i];
			all[c->count++] = o;
		}
		if (o)
			o->wanted = true;
		else
			rc = -ENOMEM;
	}
	pthread_mutex_unlock(&c->lock);
	return rc;
}

static enum cluster_health checks_see(struct health *h, const char *member, char *ret_why)
{
	struct checks *c = of(h);
	enum cluster_health health = CLUSTER_UNKNOWN;

	*ret_why = '\0';
	pthread_mutex_lock(&c->lock);
	for (size_t i = 0; i < c->count; i++) {
		struct one *o = c->all[i];

		if (!o->wanted || strcmp(o->target.member, member) != 0)
			continue;
		health = o->health;
		snprintf(ret_why, sizeof(o->why), "%s", health == CLUSTER_UP ? "" : o->why);
		break;
	}
	pthread_mutex_unlock(&c->lock);
	return health;
}

static void checks_close(struct health *h)
{
	struct checks *c = of(h);

	c->ending = true;
	curl_multi_wakeup(c->multi);
	pthread_join(c->thread, NULL);
	for (size_t i = 0; i < c->count; i++) {
		end_one(c, c->all[i]);
		free(c->all[i]);
	}
	free(c->all);
	curl_multi_cleanup(c->multi);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

int health_open(struct health **ret)
{
	struct checks *c;
	int rc = secret_curl_init();

	if (rc)
		return rc;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->health = (struct health){ checks_watch, checks_see, checks_close };
	c->multi = curl_multi_init();
	if (!c->multi) {
		free(c);
		return -ENOMEM;
	}
	pthread_mutex_init(&c->lock, NULL);
	rc = pthread_create(&c->thread, NULL, run, c);
	if (rc) {
		pthread_mutex_destroy(&c->lock);
		curl_multi_cleanup(c->multi);
		free(c);
		return err_set(-rc, "no thread for the checks: %s", strerror(rc));
	}
	*ret = &c->health;
	return 0;
}

void health_close(struct health *h)
{
	if (h)
		h->close(h);
}
