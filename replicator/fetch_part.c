/*
 * fetch_part.c - what a fetch of an earlier start has left in the temps.
 *
 * Its name ends with the content that it is of; nothing else is known of it, and nothing in it is believed but what has the right hash.
 */
#include "fetch_part.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "node_impl.h"

#define TAIL_BYTES 16u /* of the content's hash; with the start's own part before it the name has just room for these */
#define TAIL (2 * TAIL_BYTES)
#define KEEP_NS 600000000000ull /* what no fetch has taken up by then goes, if there are still contents wanted */

struct looking { const char *temp, *tail; char found[TREE_TEMP_MAX + 1]; };
struct sweeping { const char *mine; struct buf left; };
struct sweep_job { struct node_job j; struct node *n; char mine[TREE_TEMP_MAX + 1]; int rc; };

void fetch_part_name(struct node *n, const uint8_t *hash, char *ret)
{
	static const char hex[] = "0123456789abcdef";
	size_t at;

	node_temp(n, TREE_TEMP_PART, ret);
	at = strlen(ret);
	if (at + 1 + TAIL > TREE_TEMP_MAX)
		abort();
	ret[at++] = '-';
	for (size_t i = 0; i < TAIL_BYTES; i++) {
		ret[at++] = hex[hash[i] >> 4];
		ret[at++] = hex[hash[i] & 15];
	}
	ret[at] = '\0';
}

/* Of the same start: somebody's, who fetches or applies it. */
static bool same_start(const char *name, const char *temp)
{
	return strncmp(name, temp, (size_t)(strchr(temp + 2, '-') - temp) + 1) == 0;
}

static int note_part(void *user, const char *name, size_t len, const struct tree_stat *st)
{
	struct looking *l = user;

	(void)st;
	if (name[0] == TREE_TEMP_PART && len <= TREE_TEMP_MAX && len > TAIL && memcmp(name + len - TAIL, l->tail, TAIL) == 0 && !same_start(name, l->temp))
		memcpy(l->found, name, len + 1);
	return 0;
}

int fetch_part_take(struct tree *t, const char *temp, uint64_t size, struct tree_file **ret)
{
	struct looking l = { .temp = temp, .tail = temp + strlen(temp) - TAIL };
	int rc = t->list_temps(t, note_part, &l);

	if (rc || !l.found[0])
		return rc ? rc : -ENOENT;
	rc = t->rename_temp(t, l.found, temp);
	if (rc)
		return rc;
	rc = t->reopen_file(t, temp, size, ret);
	if (rc)
		t->remove_temp(t, temp);
	return rc == -EINVAL ? -ENOENT : rc; /* a loss of power made something else of it */
}

/* Of so many zeros. Piece by piece: a block may be hundreds of MB. False: no memory. */
static bool hash_zeros(uint64_t len, uint8_t *ret)
{
	static const uint8_t zeros[65536];
	struct hash_stream *s = hash_stream_new();

	if (!s)
		return false;
	for (uint64_t n; len; len -= n) {
		n = len < sizeof zeros ? len : sizeof zeros;
		hash_stream_add(s, zeros, (size_t)n);
	}
	hash_stream_end(s, ret);
	return true;
}

uint8_t *fetch_part_zeros(const uint8_t *list, uint32_t count, uint64_t size)
{
	uint64_t block = entry_block_bytes(size), last = size - (count - 1) * block;
	uint8_t *ret = calloc(count, 1), h[HASH_BYTES];
	bool any = false;

	if (!ret || !hash_zeros(block, h))
		return ret;
	for (uint32_t b = 0; b < count; b++)
		any |= ret[b] = memcmp(list + b * HASH_BYTES, h, HASH_BYTES) == 0;
	/* Without another there is little to be gained: the rest of a file is less than a block. */
	if (any && last < block && hash_zeros(last, h))
		ret[count - 1] = memcmp(list + (count - 1) * HASH_BYTES, h, HASH_BYTES) == 0;
	return ret;
}

static int note_other(void *user, const char *name, size_t len, const struct tree_stat *st)
{
	struct sweeping *s = user;

	(void)st;
	if (name[0] == TREE_TEMP_PART && !same_start(name, s->mine))
		buf_bytes(&s->left, name, len + 1);
	return s->left.err;
}

static void run(struct node_job *j)
{
	struct sweep_job *k = (struct sweep_job *)(void *)j;
	struct tree *t = k->n->o.tree;
	struct sweeping s = { k->mine, BUF_INIT };

	k->rc = t->list_temps(t, note_other, &s);
	for (size_t at = 0; !k->rc && at < s.left.len; at += strlen((const char *)s.left.data + at) + 1) {
		k->rc = t->remove_temp(t, (const char *)s.left.data + at);
		if (k->rc == -ENOENT)
			k->rc = 0; /* it was taken up after all */
	}
	buf_free(&s.left);
}

static void job_free(struct node_job *j)
{
	free(j);
}

static void done(struct node_job *j)
{
	struct sweep_job *k = (struct sweep_job *)(void *)j;
	struct node *n = k->n;

	node_job_over(n);
	if (k->rc)
		node_failed(n, k->rc); /* the next start tries again */
	job_free(j);
	node_pump(n);
}

void fetch_parts_due(struct node *n)
{
	struct sweep_job *k;

	if (n->parts_swept || (n->wanted && node_now(n) - n->began_ns < KEEP_NS))
		return;
	k = calloc(1, sizeof *k);
	if (!k)
		return;
	n->parts_swept = true;
	node_temp(n, TREE_TEMP_PART, k->mine);
	k->j = (struct node_job){ run, done, job_free, NULL };
	k->n = n;
	node_submit(n, &k->j);
}
