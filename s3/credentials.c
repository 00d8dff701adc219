/*
 * credentials.c - the current set, and the thread that renews it.
 *
 * States of the current set: valid; refused (a server said so, or it ran
 * out): then nothing is handed out until a fetch brings a set that differs.
 * A failed fetch leaves the old set in use as long as it is valid, and is
 * tried again after RETRY_S. Only the thread fetches, so one fetch runs at a time.
 */
#include "credentials.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "err.h"
#include "logmsg.h"

enum { AHEAD_S = 300, RETRY_S = 10, RETRY_FIRST_S = 1 };

struct credentials {
	pthread_mutex_t mu;
	pthread_cond_t wake;
	pthread_t thread;
	char *profile, *region, *ca_bundle; /* constant */
	/* under mu */
	struct credentials_set *set;
	uint64_t generation;
	bool opened, refused, fetch_failed, stopping, kicked;
	int error;
	char message[512];
};

struct credentials_set *credentials_set_new(const char *source)
{
	struct credentials_set *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->refs = 1;
	snprintf(s->source, sizeof(s->source), "%s", source);
	return s;
}

void credentials_set_ref(struct credentials_set *s)
{
	__atomic_add_fetch(&s->refs, 1, __ATOMIC_RELAXED);
}

void credentials_set_free(struct credentials_set *s)
{
	if (!s || __atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	secret_free(s->access_key);
	secret_free(s->secret_key);
	secret_free(s->session_token);
	free(s);
}

static bool ran_out(const struct credentials_set *s)
{
	return s->expires_s != 0 && s->expires_s <= (int64_t)time(NULL);
}

static bool same(const struct secret *a, const struct secret *b)
{
	return (!a && !b) || (a && b && a->len == b->len && memcmp(a->text, b->text, a->len) == 0);
}

/* Takes over what a fetch brought. Called with mu held. */
static void install(struct credentials *c, struct credentials_set *s)
{
	if (ran_out(s)) {
		c->fetch_failed = true;
		c->error = ERR_CLOCK_SKEW;
		snprintf(c->message, sizeof(c->message), "the fresh keys of %s have expired already by this machine's clock: set it (timedatectl)",
			 s->source);
		credentials_set_free(s);
		return;
	}
	/* Said once; when it is asked again the server may have come to know them. */
	if (c->refused && !c->fetch_failed && same(s->access_key, c->set->access_key) && same(s->secret_key, c->set->secret_key) &&
	    same(s->session_token, c->set->session_token)) {
		c->fetch_failed = true;
		c->error = ERR_AUTH;
		snprintf(c->message, sizeof(c->message), "%s still gives the keys that the server refused: renew them", s->source);
		credentials_set_free(s);
		return;
	}
	s->generation = ++c->generation;
	credentials_set_free(c->set);
	c->set = s;
	c->refused = c->fetch_failed = false;
}

static void fetch(struct credentials *c)
{
	struct credentials_options o = { c->profile, c->region, c->ca_bundle };
	struct credentials_set *s;
	int rc;

	pthread_mutex_unlock(&c->mu);
	rc = credentials_chain(&o, &s);
	pthread_mutex_lock(&c->mu);
	if (rc == 0) {
		install(c, s);
	} else {
		c->fetch_failed = true;
		c->error = rc;
		snprintf(c->message, sizeof(c->message), "%s", err_last());
	}
	if (c->fetch_failed && c->set)
		logmsg(LOGMSG_WARNING, "cannot renew the S3 credentials: %s", c->message);
}

/* When the thread should fetch next (CLOCK_REALTIME seconds); INT64_MAX: not by itself. */
static int64_t next_fetch(const struct credentials *c, int64_t now, int64_t last)
{
	int64_t at, life;

	if (c->fetch_failed)
		return last + RETRY_S;
	if (c->refused || (c->set->expires_s != 0 && c->set->expires_s <= now))
		return last + RETRY_FIRST_S;
	if (c->set->expires_s == 0)
		return INT64_MAX;
	/* Some minutes ahead; for short-lived keys, at half of what is left, and never in a tight loop. */
	life = c->set->expires_s - last;
	at = life > 2 * AHEAD_S ? c->set->expires_s - AHEAD_S : last + life / 2;
	return at > last + RETRY_FIRST_S ? at : last + RETRY_FIRST_S;
}

static void *renew(void *arg)
{
	struct credentials *c = arg;
	int64_t last;

	pthread_mutex_lock(&c->mu);
	fetch(c);
	last = (int64_t)time(NULL);
	c->opened = true;
	pthread_cond_broadcast(&c->wake);
	if (!c->set)
		c->stopping = true;
	while (!c->stopping) {
		int64_t now = (int64_t)time(NULL), at = next_fetch(c, now, last);

		if (last > now)
			last = now; /* the clock was set back */
		if (at <= now || c->kicked) {
			c->kicked = false;
			fetch(c);
			last = (int64_t)time(NULL);
		} else {
			/* At most a minute, so that a clock that was set is noticed. */
			struct timespec until = { .tv_sec = (time_t)(at - now > 60 ? now + 60 : at) };

			pthread_cond_timedwait(&c->wake, &c->mu, &until);
		}
	}
	pthread_mutex_unlock(&c->mu);
	return NULL;
}

static char *copy(const char *s, int *rc)
{
	char *t = s ? strdup(s) : NULL;

	if (s && !t)
		*rc = -ENOMEM;
	return t;
}

static void free_all(struct credentials *c)
{
	credentials_set_free(c->set);
	pthread_cond_destroy(&c->wake);
	pthread_mutex_destroy(&c->mu);
	free(c->profile);
	free(c->region);
	free(c->ca_bundle);
	free(c);
}

static int start(struct credentials *c)
{
	sigset_t all, old;
	int rc;

	/* A broken pipe under OpenSSL must not end the process. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = -pthread_create(&c->thread, NULL, renew, c);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc != 0)
		return err_set(rc, "cannot start the thread that renews credentials: %s", strerror(-rc));
	pthread_mutex_lock(&c->mu);
	while (!c->opened)
		pthread_cond_wait(&c->wake, &c->mu);
	if (!c->set)
		rc = err_set(c->error, "%s", c->message);
	pthread_mutex_unlock(&c->mu);
	if (rc != 0)
		pthread_join(c->thread, NULL);
	return rc;
}

int credentials_open(const struct credentials_options *o, struct credentials **ret)
{
	struct credentials *c = calloc(1, sizeof(*c));
	int rc = 0;

	if (!c)
		return err_set(-ENOMEM, "out of memory");
	pthread_mutex_init(&c->mu, NULL);
	pthread_cond_init(&c->wake, NULL);
	c->profile = copy(o->profile, &rc);
	c->region = copy(o->region, &rc);
	c->ca_bundle = copy(o->ca_bundle, &rc);
	rc = rc ? err_set(rc, "out of memory") : start(c);
	if (rc != 0) {
		free_all(c);
		return rc;
	}
	*ret = c;
	return 0;
}

void credentials_close(struct credentials *c)
{
	if (!c)
		return;
	pthread_mutex_lock(&c->mu);
	c->stopping = true;
	pthread_cond_signal(&c->wake);
	pthread_mutex_unlock(&c->mu);
	pthread_join(c->thread, NULL);
	free_all(c);
}

int credentials_get(struct credentials *c, struct credentials_set **ret)
{
	int rc = 0;

	pthread_mutex_lock(&c->mu);
	if (!c->refused && !ran_out(c->set)) {
		credentials_set_ref(c->set);
		*ret = c->set;
	} else if (c->fetch_failed) {
		rc = err_set(c->error, "%s", c->message);
	} else {
		rc = -EAGAIN;
		pthread_cond_signal(&c->wake);
	}
	pthread_mutex_unlock(&c->mu);
	return rc;
}

void credentials_refused(struct credentials *c, uint64_t generation)
{
	pthread_mutex_lock(&c->mu);
	if (c->set->generation == generation && !c->refused) {
		c->refused = true;
		c->fetch_failed = false;
		c->kicked = true;
		pthread_cond_signal(&c->wake);
	}
	pthread_mutex_unlock(&c->mu);
}
