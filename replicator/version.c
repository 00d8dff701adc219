/*
 * version.c - vectors as sorted arrays: a path has two or three elements, a context as many as the cluster ever had incarnations.
 */
#include "version.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"

bool dot_equal(const struct dot *a, const struct dot *b)
{
	return a->seq == b->seq && memcmp(a->inc, b->inc, INCARNATION_BYTES) == 0;
}

int dot_compare(const struct dot *a, const struct dot *b)
{
	int c = memcmp(a->inc, b->inc, INCARNATION_BYTES);

	return c ? c : a->seq < b->seq ? -1 : a->seq > b->seq;
}

void vector_free(struct vector *v)
{
	free(v->dots);
	memset(v, 0, sizeof *v);
}

static int reserve(struct vector *v, size_t count)
{
	struct dot *p;

	if (count <= v->cap)
		return 0;
	p = realloc(v->dots, count * sizeof *p);
	if (!p)
		return -ENOMEM;
	v->dots = p;
	v->cap = count;
	return 0;
}

int vector_copy(const struct vector *from, struct vector *to)
{
	int rc = reserve(to, from->count);

	if (rc)
		return rc;
	if (from->count)
		memcpy(to->dots, from->dots, from->count * sizeof *from->dots);
	to->count = from->count;
	return 0;
}

/* Where inc is, or would be; *ret_found says which. */
static size_t place(const struct vector *v, const uint8_t *inc, bool *ret_found)
{
	size_t lo = 0, hi = v->count;

	*ret_found = false;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int c = memcmp(v->dots[mid].inc, inc, INCARNATION_BYTES);

		if (c == 0) {
			*ret_found = true;
			return mid;
		}
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

uint64_t vector_get(const struct vector *v, const uint8_t *inc)
{
	bool found;
	size_t at = place(v, inc, &found);

	return found ? v->dots[at].seq : 0;
}

int vector_raise(struct vector *v, const struct dot *d)
{
	bool found;
	size_t at = place(v, d->inc, &found);
	int rc;

	if (found) {
		if (v->dots[at].seq < d->seq)
			v->dots[at].seq = d->seq;
		return 0;
	}
	if (d->seq == 0)
		return 0;
	rc = reserve(v, v->count + 1);
	if (rc)
		return rc;
	memmove(v->dots + at + 1, v->dots + at, (v->count - at) * sizeof *v->dots);
	v->dots[at] = *d;
	v->count++;
	return 0;
}

int vector_join(struct vector *v, const struct vector *other)
{
	return vector_join_within(v, other, SIZE_MAX);
}

int vector_join_within(struct vector *v, const struct vector *other, size_t most)
{
	struct vector sum = VECTOR_INIT;
	size_t i = 0, k = 0;
	int rc;

	if (vector_includes(v, other))
		return 0;
	rc = reserve(&sum, v->count + other->count);
	if (rc)
		return rc;
	while (i < v->count || k < other->count) {
		int c = i == v->count ? 1 : k == other->count ? -1 : memcmp(v->dots[i].inc, other->dots[k].inc, INCARNATION_BYTES);

		if (c < 0) {
			sum.dots[sum.count++] = v->dots[i++];
		} else if (c > 0) {
			sum.dots[sum.count++] = other->dots[k++];
		} else {
			sum.dots[sum.count++] = v->dots[i].seq > other->dots[k].seq ? v->dots[i] : other->dots[k];
			i++;
			k++;
		}
	}
	if (sum.count > most) {
		vector_free(&sum);
		return -E2BIG;
	}
	free(v->dots);
	*v = sum;
	return 0;
}

bool vector_covers(const struct vector *v, const struct dot *d)
{
	return d->seq == 0 || vector_get(v, d->inc) >= d->seq;
}

bool vector_includes(const struct vector *v, const struct vector *other)
{
	for (size_t i = 0; i < other->count; i++)
		if (!vector_covers(v, &other->dots[i]))
			return false;
	return true;
}

void vector_drop(struct vector *v, const uint8_t *inc)
{
	bool found;
	size_t at = place(v, inc, &found);

	if (!found)
		return;
	memmove(v->dots + at, v->dots + at + 1, (v->count - at - 1) * sizeof *v->dots);
	v->count--;
}

void vector_encode(const struct vector *v, struct buf *out)
{
	if (v->count > VECTOR_MAX) {
		out->err = out->err ? out->err : -EINVAL;
		return;
	}
	buf_u16(out, (uint16_t)v->count);
	for (size_t i = 0; i < v->count; i++) {
		buf_bytes(out, v->dots[i].inc, INCARNATION_BYTES);
		buf_u64(out, v->dots[i].seq);
	}
}

void vector_decode(struct cursor *c, struct vector *ret)
{
	size_t count = cursor_u16(c);

	ret->count = 0;
	if (count > VECTOR_MAX || count * (INCARNATION_BYTES + 8) > cursor_left(c)) {
		c->err = ERR_CORRUPT;
		return;
	}
	if (reserve(ret, count)) {
		c->err = -ENOMEM;
		return;
	}
	for (size_t i = 0; i < count; i++) {
		struct dot *d = &ret->dots[i];

		cursor_copy(c, d->inc, INCARNATION_BYTES);
		d->seq = cursor_u64(c);
		if (d->seq == 0 || (i > 0 && memcmp(d[-1].inc, d->inc, INCARNATION_BYTES) >= 0))
			c->err = ERR_CORRUPT;
	}
	if (!c->err)
		ret->count = count;
}
