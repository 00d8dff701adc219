/*
 * dir_level.c - the sorted names of one big directory, kept from page to page of a listing.
 *
 * Reading and sorting a directory of 100,000 names for each page of 1,000 would make a full listing quadratic. The names are
 * good as long as the directory is the same one with the same change time. File systems stamp changes with a clock that ticks
 * every few milliseconds, so two changes may get the same stamp; therefore only a directory whose last change lies well before
 * the reading is kept: any later change must then get another stamp.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dir.h"

#define QUIET_S 2
#define NAMES_MAX 4000000u

void dir_level_init(struct dir_level *l)
{
	memset(l, 0, sizeof(*l));
	pthread_mutex_init(&l->lock, NULL);
}

static void forget(struct dir_level *l)
{
	while (l->count > 0)
		free(l->name[--l->count]);
	free(l->name);
	free(l->base);
	l->name = NULL;
	l->base = NULL;
}

void dir_level_destroy(struct dir_level *l)
{
	forget(l);
	pthread_mutex_destroy(&l->lock);
}

bool dir_level_quiet(const struct stat *st)
{
	struct timespec now;

	return clock_gettime(CLOCK_REALTIME, &now) == 0 && st->st_ctim.tv_sec < now.tv_sec - QUIET_S;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void dir_level_keep(struct dir_level *l, const char *base, const struct stat *st, char **name, size_t count)
{
	char *copy = count <= NAMES_MAX ? strdup(base) : NULL;

	if (copy == NULL) {
		for (size_t i = 0; i < count; i++)
			free(name[i]);
		free(name);
		return;
	}
	qsort(name, count, sizeof(char *), compare_names);
	pthread_mutex_lock(&l->lock);
	forget(l);
	l->base = copy;
	dir_version_of(st, &l->version);
	l->name = name;
	l->count = count;
	pthread_mutex_unlock(&l->lock);
}

int dir_level_pass(struct dir_level *l, const char *base, const struct stat *st, const char *from,
		   int (*each)(void *user, const char *name), void *user)
{
	struct dir_version v;
	size_t lo = 0, hi;
	int rc = 0;

	dir_version_of(st, &v);
	pthread_mutex_lock(&l->lock);
	if (l->base == NULL || strcmp(l->base, base) != 0 || memcmp(&l->version, &v, sizeof(v)) != 0) {
		pthread_mutex_unlock(&l->lock);
		return -ENOENT;
	}
	for (hi = l->count; lo < hi;) {
		size_t mid = lo + (hi - lo) / 2;

		if (strcmp(l->name[mid], from) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (; lo < l->count && !rc; lo++)
		rc = each(user, l->name[lo]);
	pthread_mutex_unlock(&l->lock);
	return rc < 0 ? rc : 0;
}
