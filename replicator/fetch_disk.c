/*
 * fetch_disk.c - a fetch's temp: opened by a job, blocks written by jobs, several of them at once.
 *
 * What is complete waits while a job writes, unless it is enough for another one: so blocks that come fast share a job, and who comes alone does not wait. They keep their places in
 * the window of what is asked for meanwhile: a disk that is slower than the network is not overrun.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "fetch_impl.h"
#include "fetch_part.h"
#include "fetch_peer.h"

#define WRITERS 2u                /* jobs of one fetch that write */
#define WRITE_MOST 8u             /* blocks that one of them compares and writes */
#define FLUSH_BYTES (8u << 20)    /* the disk begins when so much was written: the sync at the end is short then */

struct fetch_job {
	struct node_job j;
	struct fetch *f;
	struct tree_file *file;        /* opening: what was opened. The fetch's own from done on: the core looks at that while this runs */
	int rc;
	struct buf old_list;
	/* writing */
	struct request *q[WRITE_MOST];
	unsigned count;
	bool wrong[WRITE_MOST];        /* it is not what it should be */
	bool flush;
};

void fetch_disk_gone(struct fetch *f)
{
	if (--f->jobs == 0 && f->dropped)
		fetch_free(f);
}

static void job_free(struct node_job *j)
{
	struct fetch_job *k = (struct fetch_job *)(void *)j;

	if (k->file)
		k->f->n->o.tree->close(k->file); /* nobody was told of it */
	fetch_disk_gone(k->f);
	buf_free(&k->old_list);
	free(k);
}

static struct fetch_job *job_new(struct fetch *f, void (*run)(struct node_job *), void (*done)(struct node_job *))
{
	struct fetch_job *k = calloc(1, sizeof *k);

	if (!k)
		return NULL;
	k->j = (struct node_job){ run, done, job_free, NULL };
	k->f = f;
	return k;
}

static void submit(struct fetch_job *k)
{
	k->f->jobs++;
	node_submit(k->f->n, &k->j);
}

/* --- opening, removing --- */

/* Does a file have the right block at its place? piece: has it then. */
static bool has_block(struct fetch *f, struct tree_file *from, uint32_t b, uint8_t *piece)
{
	size_t len = (size_t)fetch_block_len(f, b);
	int64_t got = f->n->o.tree->read(from, piece, len, b * f->block);
	uint8_t h[HASH_BYTES];

	if (got < 0 || (size_t)got != len)
		return false;
	hash_blake2b(piece, len, h);
	return memcmp(h, f->list.data + b * HASH_BYTES, HASH_BYTES) == 0;
}

static void block_there(struct fetch *f, uint32_t b)
{
	f->have[b] = FETCH_THERE;
	f->left--;
}

/* Blocks that our older version has at the same place, if it still has. */
static int copy_blocks(struct fetch *f, struct tree_file *file, const struct buf *old_list)
{
	struct tree_file *old;
	uint8_t *piece;
	int rc = 0;

	if (entry_block_bytes(f->old.size) != f->block || f->n->o.tree->open(f->n->o.tree, f->path, &old))
		return 0;
	piece = malloc((size_t)f->block);
	for (uint32_t b = 0; piece && b < f->count && !rc; b++) {
		size_t at = (size_t)b * HASH_BYTES;

		if (f->have[b] || at + HASH_BYTES > old_list->len || memcmp(old_list->data + at, f->list.data + at, HASH_BYTES) != 0 || !has_block(f, old, b, piece))
			continue;
		rc = f->n->o.tree->write(file, piece, (size_t)fetch_block_len(f, b), b * f->block);
		if (!rc)
			block_there(f, b);
	}
	free(piece);
	f->n->o.tree->close(old);
	return rc;
}

/* What is there without being fetched: of what an earlier start has left a block whose bytes are right; and a hole, where there are to be zeros. */
static void believe_blocks(struct fetch *f, struct tree_file *file, bool fresh)
{
	uint8_t *piece = fresh ? NULL : malloc((size_t)f->block), *zeros = fetch_part_zeros(f->list.data, f->count, f->want.size);
	uint64_t data = fresh ? f->want.size : 0, end = data;

	for (uint32_t b = 0; (piece || fresh) && zeros && b < f->count && !f->n->hurry; b++) {
		uint64_t off = b * f->block;

		if (end <= off && f->n->o.tree->data(file, off, &data, &end))
			break;
		if (data < off + fetch_block_len(f, b) ? has_block(f, file, b, piece) : zeros[b])
			block_there(f, b);
	}
	free(piece);
	free(zeros);
}

static void run_open(struct node_job *j)
{
	struct fetch_job *k = (struct fetch_job *)(void *)j;
	struct fetch *f = k->f;
	struct index_txn *t;
	bool fresh;

	k->rc = f->count < 2 ? -ENOENT : fetch_part_take(f->n->o.tree, f->temp, f->want.size, &k->file);
	fresh = k->rc == -ENOENT;
	if (fresh)
		k->rc = f->n->o.tree->make_file(f->n->o.tree, f->temp, f->want.size, &k->file);
	if (!k->rc && f->count > 1)
		believe_blocks(f, k->file, fresh);
	if (k->rc || !f->has_old || !f->left || f->count < 2)
		return;
	if (index_begin(f->n->o.index, false, &t) == 0) {
		if (index_blocks_get(t, f->old.hash, &k->old_list) == 0)
			k->rc = copy_blocks(f, k->file, &k->old_list);
		index_abort(t);
	}
}

void fetch_disk_ready(struct fetch *f)
{
	if (f->state != FETCH_BLOCKS || f->left || f->jobs)
		return;
	f->n->o.tree->close(f->file);
	f->file = NULL;
	f->state = FETCH_READY;
	node_wait_over(f->n, f->path, strlen(f->path));
	node_want_fetched(f->n, f->path, strlen(f->path));
}

static void run_remove(struct node_job *j)
{
	struct fetch_job *k = (struct fetch_job *)(void *)j;

	k->f->n->o.tree->remove_temp(k->f->n->o.tree, k->f->temp);
}

static void done_remove(struct node_job *j)
{
	struct fetch_job *k = (struct fetch_job *)(void *)j;
	struct node *n = k->f->n;

	node_job_over(n);
	job_free(j);
	node_pump(n);
}

int fetch_disk_remove(struct fetch *f)
{
	struct fetch_job *k = job_new(f, run_remove, done_remove);

	if (!k)
		return -ENOMEM;
	submit(k);
	return 0;
}

static void done_open(struct node_job *j)
{
	struct fetch_job *k = (struct fetch_job *)(void *)j;
	struct fetch *f = k->f;
	struct node *n = f->n;

	node_job_over(n);
	f->file = k->file;
	k->file = NULL;
	if (k->rc)
		fetch_broken(f, k->rc);
	else
		f->state = FETCH_BLOCKS;
	if (!f->dropped && !k->rc)
		fetch_step(f);
	else if (f->dropped && f->file) /* without memory for that the next start removes it */
		(void)fetch_disk_remove(f);
	if (f->jobs == 1) {
		f->jobs = 0;
		fetch_disk_ready(f);
		f->jobs = 1;
	}
	job_free(j);
	node_pump(n);
}

int fetch_disk_open(struct fetch *f)
{
	struct fetch_job *k = job_new(f, run_open, done_open);

	f->state = FETCH_OPENING;
	if (f->count < 2)
		node_temp(f->n, 'f', f->temp);
	else
		fetch_part_name(f->n, f->want.hash, f->temp);
	if (!k)
		return -ENOMEM;
	submit(k);
	return 0;
}

/* --- writing --- */

/* A file of one block has no list: its hash is that of its block's. */
static bool is_right(const struct fetch *f, const struct request *q, const uint8_t *hash)
{
	uint8_t outer[HASH_BYTES];

	if (f->count > 1)
		return memcmp(hash, f->list.data + (size_t)q->block * HASH_BYTES, HASH_BYTES) == 0;
	hash_blake2b(hash, HASH_BYTES, outer);
	return memcmp(outer, f->want.hash, HASH_BYTES) == 0;
}

/* Is each of them what it should be? */
static void compare(struct fetch_job *k)
{
	uint8_t hash[HASH_BYTES];

	for (unsigned i = 0; i < k->count; i++) {
		hash_blake2b(k->q[i]->bytes, (size_t)fetch_block_len(k->f, k->q[i]->block), hash);
		k->wrong[i] = !is_right(k->f, k->q[i], hash);
	}
}

static void run_write(struct node_job *j)
{
	struct fetch_job *k = (struct fetch_job *)(void *)j;
	struct tree *t = k->f->n->o.tree;

	compare(k);
	for (unsigned i = 0; i < k->count && !k->rc; i++)
		if (!k->wrong[i])
			k->rc = t->write(k->f->file, k->q[i]->bytes, (size_t)fetch_block_len(k->f, k->q[i]->block), k->q[i]->block * k->f->block);
	if (!k->rc && k->flush)
		t->begin_sync(k->f->file, 0, k->f->want.size);
}

static void done_write(struct node_job *j)
{
	struct fetch_job *k = (struct fetch_job *)(void *)j;
	struct fetch *f = k->f;
	struct node *n = f->n;

	node_job_over(n);
	f->writers--;
	if (k->rc)
		fetch_broken(f, k->rc);
	for (unsigned i = 0; i < k->count; i++) {
		struct request *q = k->q[i];

		if (!k->rc && q->published)
			fetch_published_judged(f, q->block, !k->wrong[i]);
		if (!k->rc && k->wrong[i]) {
			f->failed |= !q->published;
			f->gone |= q->published ? 0 : fetch_peer_bit(q->slot);
			fetch_unask(f, q->block);
		} else if (!k->rc) {
			f->have[q->block] |= FETCH_THERE;
			f->left--;
			f->stalled_ns = 0;
		}
		fetch_request_free(f, q);
	}
	if (!f->dropped && f->state == FETCH_BLOCKS) {
		fetch_disk_write(f);
		fetch_step(f);
		if (f->jobs == 1) {
			f->jobs = 0;
			fetch_disk_ready(f);
			f->jobs = 1;
		}
	}
	job_free(j);
	node_pump(n);
}

static bool write_some(struct fetch *f)
{
	struct fetch_job *k = job_new(f, run_write, done_write);

	if (!k)
		return false;
	for (struct request *q = f->requests; q && k->count < WRITE_MOST; q = q->next) {
		if (!q->complete || q->in_job)
			continue;
		q->in_job = true;
		k->q[k->count++] = q;
		f->unflushed += fetch_block_len(f, q->block);
	}
	f->complete -= k->count;
	f->writers++;
	k->flush = f->unflushed >= FLUSH_BYTES;
	if (k->flush)
		f->unflushed = 0;
	submit(k);
	return true;
}

void fetch_disk_write(struct fetch *f)
{
	while (f->complete && (!f->writers || (f->writers < WRITERS && f->complete >= WRITE_MOST)))
		if (!write_some(f)) {
			fetch_broken(f, -ENOMEM);
			return;
		}
}
