/* admit.c - keys that are not let in, and the processes that were heard of each key. */
#include "admit.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define PROCESSES 4u               /* of a key that are remembered, the last one first */
#define HEARD_MAX (2 * MEMBERS_ADMIT_MAX)

struct heard {
	uint8_t node[FRAME_NODE_BYTES];
	uint8_t incarnations[PROCESSES][INCARNATION_BYTES];
	unsigned count;
	unsigned up;               /* links */
	uint64_t down_ns;          /* when the last one went down */
	uint64_t bad_ns;           /* not let in before; 0 = it did no wrong */
	uint64_t used;             /* the one that was not for longest gives up its place */
};

struct admit {
	struct env *env;
	pthread_mutex_t mu;        /* all below */
	struct members known;
	struct heard heard[HEARD_MAX];
	size_t heard_count;
	uint64_t used;
};

int admit_new(struct env *env, struct admit **ret)
{
	struct admit *a = calloc(1, sizeof *a);

	if (!a)
		return -ENOMEM;
	a->env = env;
	pthread_mutex_init(&a->mu, NULL);
	*ret = a;
	return 0;
}

void admit_free(struct admit *a)
{
	if (!a)
		return;
	members_free(&a->known);
	pthread_mutex_destroy(&a->mu);
	free(a);
}

int admit_know(struct admit *a, const struct members *s)
{
	struct members copy = MEMBERS_INIT, old;
	bool changed;
	int rc = 0;

	for (size_t i = 0; i < s->count && !rc; i++)
		rc = members_merge(&copy, &s->all[i], &changed);
	if (rc) {
		members_free(&copy);
		return rc;
	}
	pthread_mutex_lock(&a->mu);
	old = a->known;
	a->known = copy;
	pthread_mutex_unlock(&a->mu);
	members_free(&old);
	return 0;
}

static struct heard *heard_of(struct admit *a, const uint8_t *node)
{
	struct heard *h = NULL;

	for (size_t i = 0; i < a->heard_count; i++)
		if (memcmp(a->heard[i].node, node, FRAME_NODE_BYTES) == 0)
			return &a->heard[i];
	if (a->heard_count < HEARD_MAX) {
		h = &a->heard[a->heard_count++];
	} else {
		h = &a->heard[0];
		for (size_t i = 1; i < HEARD_MAX; i++)
			if (a->heard[i].used < h->used)
				h = &a->heard[i];
	}
	memset(h, 0, sizeof *h);
	memcpy(h->node, node, FRAME_NODE_BYTES);
	return h;
}

/* Has this process been followed by another with the same key? */
static bool is_twin(struct admit *a, const struct frame_hello *hello)
{
	struct heard *h = heard_of(a, hello->node);
	unsigned at = 0;

	h->used = ++a->used;
	while (at < h->count && memcmp(h->incarnations[at], hello->incarnation, INCARNATION_BYTES) != 0)
		at++;
	if (at && at < h->count && (h->up || a->env->boot_ns(a->env) - h->down_ns < ADMIT_TWIN_S * 1000000000ull))
		return true;
	if (at == h->count && h->count < PROCESSES)
		h->count++;
	memmove(h->incarnations[1], h->incarnations[0], (at < h->count ? at : h->count - 1) * INCARNATION_BYTES);
	memcpy(h->incarnations[0], hello->incarnation, INCARNATION_BYTES);
	return false;
}

void admit_up(struct admit *a, const uint8_t *node)
{
	pthread_mutex_lock(&a->mu);
	heard_of(a, node)->up++;
	pthread_mutex_unlock(&a->mu);
}

void admit_down(struct admit *a, const uint8_t *node)
{
	struct heard *h;

	pthread_mutex_lock(&a->mu);
	h = heard_of(a, node);
	h->up -= h->up > 0;
	h->down_ns = a->env->boot_ns(a->env);
	pthread_mutex_unlock(&a->mu);
}

void admit_bad(struct admit *a, const uint8_t *node)
{
	pthread_mutex_lock(&a->mu);
	heard_of(a, node)->bad_ns = a->env->boot_ns(a->env) + ADMIT_BAD_S * 1000000000ull;
	pthread_mutex_unlock(&a->mu);
}

const char *admit_judge(struct admit *a, const struct frame_hello *h, bool *ret_twin)
{
	const struct member *m;
	const char *no = NULL;

	*ret_twin = false;
	pthread_mutex_lock(&a->mu);
	m = members_get(&a->known, h->node);
	if (m && m->forgotten) {
		no = "the cluster has forgotten this node: to join again as a new one, stop it, move its state directory and what is in its tree away, and start it";
	} else if (!m && members_live(&a->known) >= MEMBERS_ADMIT_MAX) {
		no = "the cluster has as many members as it can: forget one that is gone (clonesync forget)";
	} else if (heard_of(a, h->node)->bad_ns > a->env->boot_ns(a->env)) {
		no = "it sent what no member may send (the log of who refuses it says what): it is let in again after a minute; update it, or look for who has its key";
	} else if (is_twin(a, h)) {
		*ret_twin = true;
		no = "another process with this node's key is running: a copy of its state directory. Stop one of the two, move its state directory away, and start it";
	}
	pthread_mutex_unlock(&a->mu);
	return no;
}
