/*
 * node_hash.c - contents that take long to read are read apart, so that a big file holds up nobody else: a job that changes nothing and decides nothing. What it found out is
 * used by the next look at the path, if that finds the very file that was read; else it is read again.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "node_impl.h"

#define AT_A_TIME 2u               /* jobs: the others are for whoever is not so big */
#define KEEP_NS 60000000000ull     /* what nobody asked for */

struct hashing {
	struct pathmap_item at;        /* first */
	bool running;
	uint64_t over_ns;
	struct examine_hashed h;
};

struct hash_job {
	struct node_job j;
	struct node *n;
	char *path;
	struct examine_hashed h;
	int rc;
};

static void forget(struct node *n, struct hashing *k)
{
	pathmap_remove(&n->hashed, &k->at);
	examine_hashed_free(&k->h);
	free(k);
}

static void job_free(struct node_job *j)
{
	struct hash_job *k = (struct hash_job *)(void *)j;

	examine_hashed_free(&k->h);
	free(k->path);
	free(k);
}

static void run(struct node_job *j)
{
	struct hash_job *k = (struct hash_job *)(void *)j;

	k->rc = examine_apart(k->n->o.tree, k->n->o.env, k->path, &k->n->hurry, &k->h);
}

static void done(struct node_job *j)
{
	struct hash_job *k = (struct hash_job *)(void *)j;
	struct node *n = k->n;
	struct hashing *x = (struct hashing *)(void *)pathmap_get(&n->hashed, k->path, strlen(k->path));
	struct dirty *d;

	node_job_over(n);
	n->hashing--;
	if (k->rc) { /* the look says what is wrong, or begins again */
		forget(n, x);
	} else {
		x->running = false;
		x->over_ns = node_now(n);
		x->h = k->h;
		k->h.blocks = (struct buf)BUF_INIT;
	}
	if (node_look(n, k->path, strlen(k->path), false, false, k->rc ? NODE_AGAIN_NS : 0))
		node_failed(n, -ENOMEM);
	d = (struct dirty *)(void *)pathmap_get(&n->dirty, k->path, strlen(k->path));
	if (k->rc && d && !d->since_ns)
		d->since_ns = node_now(n);
	job_free(j);
	node_pump(n);
}

static void drop_old(struct node *n)
{
	uint64_t now = node_now(n);

	for (struct pathmap_item *i = n->hashed.first, *next; i; i = next) {
		struct hashing *k = (struct hashing *)(void *)i;

		next = i->next;
		if (!k->running && now - k->over_ns >= KEEP_NS)
			forget(n, k);
	}
}

int node_hash_apart(struct node *n, const char *path, size_t len)
{
	struct hashing *x = (struct hashing *)(void *)pathmap_get(&n->hashed, path, len);
	struct hash_job *k;

	drop_old(n);
	if (x && x->running)
		return 0; /* it is looked at when that is over */
	if (n->hashing >= AT_A_TIME)
		return node_look(n, path, len, false, false, NODE_AGAIN_NS);
	if (x)
		forget(n, x);
	x = calloc(1, sizeof *x);
	k = calloc(1, sizeof *k);
	if (k)
		k->path = strndup(path, len);
	if (!x || !k || !k->path || pathmap_add(&n->hashed, path, len, &x->at)) {
		free(x);
		if (k)
			job_free(&k->j);
		return -ENOMEM;
	}
	x->running = true;
	k->j = (struct node_job){ run, done, job_free, NULL };
	k->n = n;
	n->hashing++;
	node_submit(n, &k->j);
	return 0;
}

int node_hash_give(struct node *n, const char *path, size_t len, struct examine_hashed *h)
{
	struct hashing *x;

	drop_old(n);
	x = (struct hashing *)(void *)pathmap_get(&n->hashed, path, len);
	if (x && x->running) /* it is being read just now: that will do */
		return 0;
	if (x)
		forget(n, x);
	x = calloc(1, sizeof *x);
	if (!x || pathmap_add(&n->hashed, path, len, &x->at)) {
		free(x);
		return -ENOMEM;
	}
	x->over_ns = node_now(n);
	x->h = *h;
	h->blocks = (struct buf)BUF_INIT;
	return 0;
}

bool node_hash_take(struct node *n, const char *path, size_t len, struct examine_hashed *ret)
{
	struct hashing *x = (struct hashing *)(void *)pathmap_get(&n->hashed, path, len);

	if (!x || x->running)
		return false;
	*ret = x->h;
	x->h.blocks = (struct buf)BUF_INIT;
	forget(n, x);
	return true;
}

void node_hash_free(struct node *n)
{
	while (n->hashed.first)
		forget(n, (struct hashing *)(void *)n->hashed.first);
	pathmap_free(&n->hashed);
}
