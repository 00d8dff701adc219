/* host_sync.c - asking whether this node is in sync, for threads other than the core's. */
#include "host_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "err.h"

struct host_sync { /* `over` and `members` are under host.mu, the rest is the core's, or its asker's while the core is asked */
	struct host *h;
	struct node_cut *cut;
	bool over;
	unsigned members;
	enum node_cut_phase phase;
	struct node_status status;
	int rc;
};

static void ended(void *user, const uint8_t (*nodes)[FRAME_NODE_BYTES], unsigned count)
{
	struct host_sync *s = user;

	(void)nodes;
	s->cut = NULL;
	pthread_mutex_lock(&s->h->mu);
	s->over = true;
	s->members = count;
	pthread_mutex_unlock(&s->h->mu);
}

static void begin(struct host *h, void *arg)
{
	struct host_sync *s = arg;
	struct node_cut *cut = NULL;

	s->rc = node_cut_begin(h->node, ended, s, &cut);
	if (!s->rc && !s->over) /* else it is gone */
		s->cut = cut;
}

static void look(struct host *h, void *arg)
{
	struct host_sync *s = arg;

	node_status(h->node, &s->status);
	if (s->cut)
		s->phase = node_cut_phase(h->node, s->cut);
}

static void drop(struct host *h, void *arg)
{
	struct host_sync *s = arg;

	if (s->cut)
		node_cut_drop(h->node, s->cut);
	s->cut = NULL;
}

int host_sync_begin(struct host *h, struct host_sync **ret)
{
	struct host_sync *s = calloc(1, sizeof *s);
	int rc;

	if (!s)
		return -ENOMEM;
	s->h = h;
	rc = host_ask(h, begin, s);
	if (!rc)
		rc = s->rc;
	if (rc) {
		free(s);
		return err_set(rc, rc == -EBUSY ? "too many wait for this member to be in sync: try again later" : "cannot ask the members: %s", err_text(rc));
	}
	*ret = s;
	return 0;
}

static void say_why(const struct host_sync *s, char *ret, size_t cap)
{
	const struct node_status *t = &s->status;

	if (t->missing)
		snprintf(ret, cap, "halted: %" PRIu64 " of %" PRIu64 " paths are missing at once; clonesync missing --deleted %08" PRIx32 " or --restore %08" PRIx32 " goes on", t->missing,
			 t->missing_of, t->question, t->question);
	else if (t->halted)
		snprintf(ret, cap, "halted: the directory is not there any more, or another one is");
	else if (t->forgotten)
		snprintf(ret, cap, "forgotten: the cluster does not count this member any more; it can join again as a new one");
	else if (t->scanning)
		snprintf(ret, cap, "looking at what is in the directory");
	else if (t->members && !t->peers)
		snprintf(ret, cap, "none of the other members can be reached (there are %" PRIu64 ")", t->members);
	else if (t->joining)
		snprintf(ret, cap, "joining: learning what the cluster has");
	else if (s->phase == NODE_CUT_WAITING)
		snprintf(ret, cap, "waiting a moment for members that do not answer: %" PRIu64 " of %" PRIu64 " are up", t->peers, t->members);
	else if (s->phase == NODE_CUT_HOLDING)
		snprintf(ret, cap, "%" PRIu64 " files are still to come", t->wanted);
	else
		snprintf(ret, cap, "asking the members what they know: %" PRIu64 " are up, %" PRIu64 " compared with", t->peers, t->compared);
}

bool host_sync_over(struct host_sync *s, unsigned *ret_members, char *ret_why, size_t cap)
{
	bool over;

	if (host_ask(s->h, look, s)) {
		snprintf(ret_why, cap, "this member stops");
		return false;
	}
	pthread_mutex_lock(&s->h->mu);
	over = s->over;
	*ret_members = over ? s->members : 0;
	pthread_mutex_unlock(&s->h->mu);
	ret_why[0] = '\0';
	if (!over)
		say_why(s, ret_why, cap);
	return over;
}

void host_sync_free(struct host_sync *s)
{
	if (!s)
		return;
	(void)host_ask(s->h, drop, s); /* where the core is over, nothing will be told any more */
	free(s);
}
