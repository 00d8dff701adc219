/*
 * lookups.c - the kernel's lookup counts: hash tables with open addressing,
 * one lock per shard, so that workers seldom meet.
 *
 * Invariant: an entry exists while the kernel may name its inode (count > 0); held says that one open reference of the
 * engine belongs to the entry. Nothing is on disk: a crash ends the connection, and with it all that is counted here.
 */
#include "lookups.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "logmsg.h"

#define SHARDS 64u
#define SLOTS_MIN 64u

#define COUNT_MAX ((1ull << 40) - 1)
#define TOLD_SEVERAL ((1u << 23) - 1)
#define PID_MAX (1u << 22) /* Linux has no more */

/* ino 0 = empty. Deletion moves later entries back, so there are no tombstones. told: 0, the one thread, or TOLD_SEVERAL. */
struct slot { uint64_t ino, count : 40, told : 23, held : 1; };

struct shard {
	pthread_mutex_t mu;
	struct slot *slots;
	size_t size, used; /* size: a power of two */
};

struct lookups {
	struct volume *v;
	struct shard shards[SHARDS];
};

static uint64_t mix(uint64_t x)
{
	x ^= x >> 32;
	x *= 0x9e3779b97f4a7c15ull;
	return x ^ x >> 29;
}

static struct shard *shard_of(struct lookups *l, uint64_t ino)
{
	return &l->shards[mix(ino) % SHARDS];
}

static size_t home(const struct shard *s, uint64_t ino)
{
	return (size_t)(mix(ino) / SHARDS) & (s->size - 1);
}

/* The entry of ino, or the empty slot where it would go. */
static struct slot *find(struct shard *s, uint64_t ino)
{
	size_t i = home(s, ino);

	while (s->slots[i].ino && s->slots[i].ino != ino)
		i = (i + 1) & (s->size - 1);
	return &s->slots[i];
}

static int resize(struct shard *s, size_t size)
{
	struct slot *old = s->slots, *fresh = calloc(size, sizeof(*fresh));
	size_t old_size = s->size;

	if (!fresh)
		return -ENOMEM;
	s->slots = fresh;
	s->size = size;
	for (size_t i = 0; i < old_size; i++)
		if (old[i].ino)
			*find(s, old[i].ino) = old[i];
	free(old);
	return 0;
}

static void erase(struct shard *s, struct slot *gone)
{
	size_t mask = s->size - 1, hole = (size_t)(gone - s->slots);

	for (size_t i = (hole + 1) & mask; s->slots[i].ino; i = (i + 1) & mask)
		/* Whoever would be found from its home only across the hole moves into it. */
		if (((i - home(s, s->slots[i].ino)) & mask) >= ((i - hole) & mask)) {
			s->slots[hole] = s->slots[i];
			hole = i;
		}
	s->slots[hole] = (struct slot){ 0 };
	s->used--;
	if (s->size > SLOTS_MIN && s->used < s->size / 8)
		(void)resize(s, s->size / 2); /* no memory: it stays as large as it is */
}

int lookups_new(struct volume *v, struct lookups **ret)
{
	struct lookups *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->v = v;
	for (size_t i = 0; i < SHARDS; i++) {
		pthread_mutex_init(&l->shards[i].mu, NULL);
		if (resize(&l->shards[i], SLOTS_MIN) < 0) {
			lookups_free(l);
			return -ENOMEM;
		}
	}
	*ret = l;
	return 0;
}

void lookups_free(struct lookups *l)
{
	if (!l)
		return;
	for (size_t i = 0; i < SHARDS; i++)
		free(l->shards[i].slots);
	free(l);
}

static int add(struct lookups *l, uint64_t ino, bool held)
{
	struct shard *s = shard_of(l, ino);
	struct slot *e;
	int rc = 0;

	pthread_mutex_lock(&s->mu);
	if (s->used >= s->size / 4 * 3)
		rc = resize(s, s->size * 2);
	if (!rc) {
		e = find(s, ino);
		if (!e->ino) {
			*e = (struct slot){ .ino = ino };
			s->used++;
		}
		e->count++;
		e->held |= held;
	}
	pthread_mutex_unlock(&s->mu);
	return rc;
}

int lookups_add(struct lookups *l, uint64_t ino)
{
	return add(l, ino, false);
}

int lookups_add_held(struct lookups *l, uint64_t ino)
{
	return add(l, ino, true);
}

int lookups_hold(struct lookups *l, uint64_t ino)
{
	struct shard *s = shard_of(l, ino);
	struct slot *e;
	bool wanted;
	int rc;

	pthread_mutex_lock(&s->mu);
	e = find(s, ino);
	wanted = e->ino && !e->held;
	if (wanted)
		e->held = 1;
	pthread_mutex_unlock(&s->mu);
	if (!wanted)
		return 0;
	/* Between the two no FORGET can end the entry: the kernel pins the inode of the name it asks us to remove. */
	rc = volume_open_ref(l->v, ino);
	if (rc == 0)
		return 0;
	pthread_mutex_lock(&s->mu);
	e = find(s, ino);
	if (e->ino)
		e->held = 0;
	pthread_mutex_unlock(&s->mu);
	return rc;
}

void lookups_told(struct lookups *l, uint64_t ino, uint32_t pid)
{
	struct shard *s = shard_of(l, ino);
	struct slot *e;

	pthread_mutex_lock(&s->mu);
	e = find(s, ino);
	if (e->ino)
		e->told = pid == 0 || pid > PID_MAX || (e->told != 0 && e->told != pid) ? TOLD_SEVERAL : pid & TOLD_SEVERAL;
	pthread_mutex_unlock(&s->mu);
}

bool lookups_told_others(struct lookups *l, uint64_t ino, uint32_t pid)
{
	struct shard *s = shard_of(l, ino);
	struct slot *e;
	bool others;

	pthread_mutex_lock(&s->mu);
	e = find(s, ino);
	others = e->ino && e->told != 0 && e->told != pid;
	if (e->ino)
		e->told = 0;
	pthread_mutex_unlock(&s->mu);
	return others;
}

void lookups_forget(struct lookups *l, uint64_t ino, uint64_t count)
{
	struct shard *s = shard_of(l, ino);
	bool unref = false, wrong = false;
	struct slot *e;

	pthread_mutex_lock(&s->mu);
	e = find(s, ino);
	if (e->ino) {
		wrong = e->count < count;
		if (e->count <= count) {
			unref = e->held;
			erase(s, e);
		} else {
			e->count = (e->count - count) & COUNT_MAX;
		}
	}
	pthread_mutex_unlock(&s->mu);
	if (wrong)
		logmsg(LOGMSG_WARNING, "the kernel forgot inode %llu more often than it was told of it", (unsigned long long)ino);
	if (unref)
		volume_open_unref(l->v, ino);
}

uint64_t lookups_count(struct lookups *l)
{
	uint64_t n = 0;

	for (size_t i = 0; i < SHARDS; i++) {
		pthread_mutex_lock(&l->shards[i].mu);
		n += l->shards[i].used;
		pthread_mutex_unlock(&l->shards[i].mu);
	}
	return n;
}
