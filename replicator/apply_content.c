/*
 * apply_content.c - where the content of a file comes from that is made in the corner.
 */
#include "apply_content.h"

#include <errno.h>
#include <string.h>

#include "err.h"
#include "examine.h"

/* What is a hole stays one. */
static int copy_content(struct tree *t, struct apply_item *i, struct tree_file *to)
{
	uint64_t data, end = 0, size = i->want->size;
	struct tree_file *from;
	int rc = t->open(t, i->copy_from, &from);

	if (rc)
		return rc;
	while (!rc && end < size && (rc = t->data(from, end, &data, &end)) == 0 && data < size && data < end)
		rc = t->copy(to, from, data, (end < size ? end : size) - data);
	t->close(from);
	return rc;
}

static int check_content(struct tree *t, struct apply_item *i)
{
	uint8_t hash[HASH_BYTES];
	struct buf list = BUF_INIT;
	struct tree_file *f;
	int rc = t->open_temp(t, i->made, &f);

	if (rc)
		return rc;
	rc = examine_hash(t, f, i->want->size, false, NULL, hash, &list);
	t->close(f);
	buf_free(&list);
	return rc ? rc : memcmp(hash, i->want->hash, HASH_BYTES) == 0 ? 0 : -EILSEQ;
}

/* Of one block at most (FRAME_CONTENT_MAX): its hash is that of its block's. */
static bool right_bytes(const struct apply_item *i)
{
	uint8_t list[HASH_BYTES], hash[HASH_BYTES];

	hash_blake2b(i->bytes, (size_t)i->want->size, list);
	hash_blake2b(list, i->want->size ? HASH_BYTES : 0, hash);
	return memcmp(hash, i->want->hash, HASH_BYTES) == 0;
}

/* The temp with a file's content. What came from a peer was checked when it came. */
int apply_content(struct tree *t, struct apply_item *i)
{
	struct tree_file *f;
	int rc;

	if (i->ready[0])
		return t->rename_temp(t, i->ready, i->made);
	if (i->bytes && !right_bytes(i))
		return -EILSEQ;
	rc = t->make_file(t, i->made, i->want->size, &f);
	if (rc)
		return rc;
	if (i->bytes)
		rc = i->want->size ? t->write(f, i->bytes, (size_t)i->want->size, 0) : 0;
	else if (i->copy_from)
		rc = copy_content(t, i, f);
	t->close(f);
	if (!rc && i->copy_from)
		rc = check_content(t, i);
	if (rc && (i->copy_from || rc == -EILSEQ) && rc != ERR_CRASHED && rc != -ENOSPC) {
		t->remove_temp(t, i->made);
		return -EILSEQ;
	}
	return rc;
}
