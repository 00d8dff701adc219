/*
 * lead.c - the lease.
 *
 * States: standing by (what was seen, and since when it is unchanged), and holding (until a deadline that counts from before the last beat was sent). What
 * other threads ask for is under the lock; all else is the stepping thread's. A beat or claim of which nobody knows whether it was written is looked for
 * at the next step: an object with our process in it is ours to claim again at once, under a new epoch.
 */
#include "lead.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"

#define MS UINT64_C(1000000)

struct lead {
	const struct cluster *cluster;
	char holder[CLUSTER_LABEL_MAX], process[CLUSTER_ID_MAX];
	struct cluster_leader now;        /* as last read or written */
	struct cluster_version version;
	char seen[STORE_ETAG_MAX];        /* standing by: the ETag that is there */
	uint64_t seen_ns, next_beat_ns;
	bool unsure;                      /* holding: the last beat had no answer */

	pthread_mutex_t lock; /* guards what follows */
	bool holding;
	uint64_t epoch, until_ns;
	struct lead_info info;
};

static uint64_t now_ns(struct lead *l)
{
	return l->cluster->env->boot_ns(l->cluster->env);
}

int lead_new(const struct cluster *c, const char *holder, struct lead **ret)
{
	struct lead *l = calloc(1, sizeof(*l));
	int rc = l ? pthread_mutex_init(&l->lock, NULL) : ENOMEM;

	if (rc) {
		free(l);
		return -rc;
	}
	l->cluster = c;
	snprintf(l->holder, sizeof(l->holder), "%s", holder);
	cluster_new_id(c->env, l->process);
	*ret = l;
	return 0;
}

void lead_free(struct lead *l)
{
	if (!l)
		return;
	cluster_version_free(&l->version);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

/* until_ns 0: not holding. */
static void publish(struct lead *l, uint64_t until_ns, int rc)
{
	pthread_mutex_lock(&l->lock);
	l->holding = until_ns != 0;
	l->until_ns = until_ns;
	l->epoch = l->now.epoch;
	l->info.epoch = l->now.epoch;
	snprintf(l->info.holder, sizeof(l->info.holder), "%s", l->now.holder);
	snprintf(l->info.error, sizeof(l->info.error), "%.255s", rc == 0 ? "" : *err_last() ? err_last() : err_text(rc));
	pthread_mutex_unlock(&l->lock);
}

/* Writes what the lease is to be over what was read. On 0 it is ours until some time after `sent`. */
static int write_lease(struct lead *l, const struct cluster_leader *to, uint64_t sent)
{
	int rc = cluster_put(l->cluster, CLUSTER_LEADER, "", to, &l->version);
	uint64_t lease_ns = to->lease_ms * MS;

	if (rc)
		return rc;
	l->now = *to;
	l->unsure = false;
	l->next_beat_ns = sent + lease_ns / 4;
	publish(l, to->released ? 0 : sent + lease_ns / 8 * 7, 0);
	return 0;
}

/* Reads the lease into now and version. -ENOENT: now is zero. */
static int look(struct lead *l)
{
	struct cluster_version v;
	struct cluster_leader x;
	int rc = cluster_get(l->cluster, CLUSTER_LEADER, "", &x, &v);

	if (rc && rc != -ENOENT)
		return rc;
	if (rc)
		memset(&x, 0, sizeof(x));
	cluster_version_free(&l->version);
	l->version = v;
	l->now = x;
	return rc;
}

static uint64_t stand_by(struct lead *l, uint64_t lease_ms)
{
	uint64_t begun = now_ns(l), now, wait_ns = lease_ms * MS / 8;
	struct cluster_leader to = { .lease_ms = lease_ms };
	int rc = look(l);

	now = now_ns(l);
	if (rc && rc != -ENOENT) {
		l->seen[0] = '\0'; /* what was unchanged is to be seen so all the time */
		publish(l, 0, rc);
		return now + wait_ns;
	}
	if (!rc && strcmp(l->seen, l->version.etag) != 0) {
		snprintf(l->seen, sizeof(l->seen), "%s", l->version.etag);
		l->seen_ns = now;
	}
	publish(l, 0, 0);
	if (!rc && !l->now.released && strcmp(l->now.process, l->process) != 0 && begun < l->seen_ns + l->now.lease_ms * MS)
		return now + wait_ns;
	to.epoch = l->now.epoch + 1;
	snprintf(to.holder, sizeof(to.holder), "%s", l->holder);
	snprintf(to.process, sizeof(to.process), "%s", l->process);
	rc = write_lease(l, &to, now);
	if (!rc)
		return l->next_beat_ns;
	l->seen[0] = '\0';
	publish(l, 0, rc == ERR_PRECONDITION ? 0 : rc);
	return now + wait_ns;
}

/* 0: still ours. */
static int give_beat(struct lead *l, uint64_t lease_ms, uint64_t now)
{
	uint64_t epoch = l->now.epoch;
	struct cluster_leader to;

	if (l->unsure) {
		int rc = look(l);

		if (rc && rc != -ENOENT)
			return rc;
		if (rc || l->now.epoch != epoch || strcmp(l->now.process, l->process) != 0)
			return err_set(ERR_PRECONDITION, "the lease is another's now");
		l->unsure = false;
	}
	to = l->now;
	to.beat++;
	to.lease_ms = lease_ms;
	return write_lease(l, &to, now);
}

static uint64_t hold(struct lead *l, uint64_t lease_ms)
{
	uint64_t now = now_ns(l), until = l->until_ns; /* only this thread writes it */
	int rc;

	if (now < until && now < l->next_beat_ns)
		return l->next_beat_ns;
	rc = now < until ? give_beat(l, lease_ms, now) : err_set(ERR_PRECONDITION, "the lease was not renewed in time");
	if (!rc)
		return l->next_beat_ns;
	now = now_ns(l);
	if (rc == ERR_PRECONDITION || now >= until) {
		l->seen[0] = '\0';
		publish(l, 0, rc);
		return now;
	}
	l->unsure = true;
	publish(l, until, rc);
	return now + lease_ms * MS / 16;
}

uint64_t lead_step(struct lead *l, uint64_t lease_ms)
{
	return l->holding ? hold(l, lease_ms) : stand_by(l, lease_ms);
}

void lead_release(struct lead *l)
{
	struct cluster_leader to = l->now;

	if (!l->holding)
		return;
	to.released = true;
	to.beat++;
	publish(l, 0, 0);
	(void)write_lease(l, &to, now_ns(l)); /* if not, it runs out */
}

bool lead_holds(struct lead *l, uint64_t *ret_epoch)
{
	uint64_t now = now_ns(l);
	bool holds;

	pthread_mutex_lock(&l->lock);
	holds = l->holding && now < l->until_ns;
	*ret_epoch = l->epoch;
	pthread_mutex_unlock(&l->lock);
	return holds;
}

void lead_info(struct lead *l, struct lead_info *ret)
{
	uint64_t now = now_ns(l);

	pthread_mutex_lock(&l->lock);
	*ret = l->info;
	ret->holds = l->holding && now < l->until_ns;
	pthread_mutex_unlock(&l->lock);
}
