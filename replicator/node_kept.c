/*
 * node_kept.c - contents that were fetched, and could not be put in their place: somebody has open what lies there, or the disk refused. They are kept for when it is
 * tried again. Of so many at most: the others are fetched again, each time after a longer pause.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "node_impl.h"

#define KEPT_MOST 32u

struct kept {
	struct pathmap_item at;        /* first */
	uint64_t size;
	uint8_t hash[HASH_BYTES];
	char temp[TREE_TEMP_MAX + 1];
};

struct remove_job {
	struct node_job j;
	struct node *n;
	char temp[TREE_TEMP_MAX + 1];
};

static void run(struct node_job *j)
{
	struct remove_job *k = (struct remove_job *)(void *)j;

	k->n->o.tree->remove_temp(k->n->o.tree, k->temp);
}

static void job_free(struct node_job *j)
{
	free(j);
}

static void done(struct node_job *j)
{
	struct node *n = ((struct remove_job *)(void *)j)->n;

	node_job_over(n);
	job_free(j);
	node_pump(n);
}

void node_remove_temp(struct node *n, const char *temp)
{
	struct remove_job *k = calloc(1, sizeof *k);

	if (!k)
		return;
	k->j = (struct node_job){ run, done, job_free, NULL };
	k->n = n;
	strcpy(k->temp, temp);
	node_submit(n, &k->j);
}

static void forget(struct node *n, struct kept *k)
{
	pathmap_remove(&n->kept, &k->at);
	free(k);
}

void node_keep(struct node *n, const char *path, const struct entry *e, const char *temp)
{
	struct kept *k = n->kept.count < KEPT_MOST && !pathmap_get(&n->kept, path, strlen(path)) ? calloc(1, sizeof *k) : NULL;

	if (!k || pathmap_add(&n->kept, path, strlen(path), &k->at)) {
		free(k);
		node_remove_temp(n, temp);
		return;
	}
	k->size = e->size;
	memcpy(k->hash, e->hash, HASH_BYTES);
	strcpy(k->temp, temp);
}

bool node_kept_take(struct node *n, const char *path, const struct entry *e, char *ret_temp)
{
	struct kept *k = (struct kept *)(void *)pathmap_get(&n->kept, path, strlen(path));
	bool same = k && k->size == e->size && memcmp(k->hash, e->hash, HASH_BYTES) == 0;

	if (same)
		memcpy(ret_temp, k->temp, sizeof k->temp);
	else if (k)
		node_remove_temp(n, k->temp);
	if (k)
		forget(n, k);
	return same;
}

void node_kept_sweep(struct node *n)
{
	struct index_record r;
	struct index_txn *t;

	if (!n->kept.count || n->kept_swept == n->position || index_begin(n->o.index, false, &t))
		return;
	n->kept_swept = n->position;
	index_record_init(&r);
	for (struct kept *k = (struct kept *)(void *)n->kept.first, *next; k; k = next) {
		next = (struct kept *)(void *)k->at.next;
		if (index_get(t, k->at.path, k->at.len, &r) == 0 && !r.held && !r.left_out && !r.known.deleted && r.known.kind == ENTRY_FILE && r.known.size == k->size &&
		    memcmp(r.known.hash, k->hash, HASH_BYTES) == 0)
			continue;
		node_remove_temp(n, k->temp);
		forget(n, k);
	}
	index_record_free(&r);
	index_abort(t);
}

void node_kept_free(struct node *n)
{
	while (n->kept.first)
		forget(n, (struct kept *)(void *)n->kept.first);
	pathmap_free(&n->kept);
}
