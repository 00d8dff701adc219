/* host_diff.c - what differs from a member, for threads other than the core's. */
#include "host_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"

struct host_diff { /* `over` and what came of it are under host.mu once it has ended; before, all is the core's */
	struct host *h;
	char *who;
	struct node_diff *diff;
	bool over;
	struct host_difference *all;
	size_t count, cap;
	struct node_diff_result result;
	int rc;
};

static void each(void *user, const struct node_difference *x)
{
	struct host_diff *d = user;

	if (d->count == HOST_DIFF_MOST || d->rc)
		return;
	if (d->count == d->cap) {
		size_t cap = d->cap ? 2 * d->cap : 64;
		struct host_difference *p = realloc(d->all, cap * sizeof *p);

		if (!p) {
			d->rc = -ENOMEM;
			return;
		}
		d->all = p;
		d->cap = cap;
	}
	d->all[d->count].how = x->how;
	d->all[d->count].path = strndup(x->path, x->len);
	if (!d->all[d->count].path)
		d->rc = -ENOMEM;
	else
		d->count++;
}

static void ended(void *user, int rc, const struct node_diff_result *r)
{
	struct host_diff *d = user;

	d->diff = NULL;
	d->result = *r;
	d->rc = d->rc ? d->rc : rc;
	pthread_mutex_lock(&d->h->mu);
	d->over = true;
	pthread_mutex_unlock(&d->h->mu);
}

static void begin(struct host *h, void *arg)
{
	struct host_diff *d = arg;
	struct node_diff *diff = NULL;
	struct member m;
	int rc = host_members_find(h, d->who, &m);

	if (!rc)
		rc = node_diff_begin(h->node, m.node, each, ended, d, &diff);
	if (rc)
		d->rc = rc;
	else if (!d->over)
		d->diff = diff;
}

static void drop(struct host *h, void *arg)
{
	struct host_diff *d = arg;

	if (d->diff)
		node_diff_drop(h->node, d->diff);
	d->diff = NULL;
}

void host_diff_free(struct host_diff *d)
{
	if (!d)
		return;
	(void)host_ask(d->h, drop, d); /* where the core is over, nothing will be told any more */
	for (size_t i = 0; i < d->count; i++)
		free(d->all[i].path);
	free(d->all);
	free(d->who);
	free(d);
}

static int why(const struct host_diff *d, int rc)
{
	switch (rc) {
	case -ENOENT:
	case -EINVAL:
	case -ENOTUNIQ:
		return host_members_why(rc, d->who);
	case -ENOTCONN:
		return err_set(ERR_UNAVAILABLE, "%s is not up: clonesync peers shows who is", d->who);
	case -EAGAIN:
		return err_set(ERR_UNAVAILABLE, "what is in the directory is still being looked at, or learned what the cluster has: try again when clonesync status says that this is over");
	case -ESTALE:
		return err_set(rc, "it has halted: clonesync status says why");
	case -ECONNRESET:
		return err_set(ERR_UNAVAILABLE, "the connection to %s ended meanwhile: try again", d->who);
	default:
		return err_set(rc, "cannot compare with %s: %s", d->who, err_text(rc));
	}
}

int host_diff_begin(struct host *h, const char *who, struct host_diff **ret)
{
	struct host_diff *d = calloc(1, sizeof *d);
	int rc;

	if (!d)
		return -ENOMEM;
	d->h = h;
	d->who = strdup(who);
	rc = d->who ? host_ask(h, begin, d) : -ENOMEM;
	if (!rc && !host_diff_over(d))
		rc = d->rc;
	if (!rc) {
		*ret = d;
		return 0;
	}
	rc = d->who ? why(d, rc) : rc;
	free(d->who);
	free(d);
	return rc;
}

bool host_diff_over(struct host_diff *d)
{
	bool over;

	pthread_mutex_lock(&d->h->mu);
	over = d->over;
	pthread_mutex_unlock(&d->h->mu);
	return over;
}

int host_diff_result(const struct host_diff *d, struct node_diff_result *ret, const struct host_difference **ret_all, size_t *ret_count)
{
	if (d->rc)
		return why(d, d->rc);
	*ret = d->result;
	*ret_all = d->all;
	*ret_count = d->count;
	return 0;
}
