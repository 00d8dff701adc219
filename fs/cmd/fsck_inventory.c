/*
 * fsck_inventory.c - what is in the store: superblock, every key, sorted into
 * slots and manifests. Reads only.
 *
 * The listing is taken while a writer may go on: what looks missing is asked for
 * again by name before it is called so.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "fsck.h"

static int read_superblock(struct fsck *k)
{
	struct store_req r;
	bool present;
	int rc = fsck_read(k, "volume", 0, &r, &present);

	if (!rc && !present)
		rc = err_set(ERR_NOT_A_VOLUME, "%s holds no volume; check the address", k->store->address);
	else if (!rc)
		rc = superblock_decode(r.data, r.data_len, &k->sb);
	store_req_reset(&r);
	if (rc == ERR_NEWER_FORMAT)
		return err_set(rc, "%s was written by a newer version of this program; update it", k->store->address);
	if (rc == ERR_CORRUPT) {
		fsck_report(k, FSCK_ERROR, "volume", "the superblock is corrupt; restore this one object from a backup or another version of it");
		return err_set(rc, "%s: without its superblock the volume cannot be checked further", k->store->address);
	}
	return rc;
}

static int add_object(void *user, const struct store_entry *e)
{
	struct fsck *k = user;

	if (k->object_count == k->object_cap) {
		size_t cap = k->object_cap ? k->object_cap * 2 : 4096;
		struct fsck_object *more = realloc(k->objects, cap * sizeof(*more));

		if (!more)
			return -ENOMEM;
		k->objects = more;
		k->object_cap = cap;
	}
	k->objects[k->object_count] = (struct fsck_object){ strdup(e->key), e->size_bytes, e->mtime_s };
	if (!k->objects[k->object_count].key)
		return -ENOMEM;
	k->object_count++;
	progress_add(&k->bar, 1);
	progress_draw(&k->bar);
	return atomic_load(k->stop) ? -EINTR : 0;
}

static bool known_elsewhere(const char *key)
{
	static const char *const prefixes[] = { "volume", "heartbeat", "pins/", "snapshots/", "files/", "probe/", "runs/" };
	uint64_t epoch;

	for (size_t i = 0; i < CL_ARRAY_LEN(prefixes); i++)
		if (strncmp(key, prefixes[i], strlen(prefixes[i])) == 0)
			return true;
	return object_parse_claim_key(key, &epoch);
}

static int sort_out(struct fsck *k)
{
	k->slots = calloc(k->object_count + 1, sizeof(*k->slots));
	k->manifests = calloc(k->object_count + 1, sizeof(*k->manifests));
	if (!k->slots || !k->manifests)
		return -ENOMEM;
	for (size_t i = 0; i < k->object_count; i++) {
		const struct fsck_object *o = &k->objects[i];
		uint64_t epoch, slot;

		if (object_parse_slot_key(o->key, &epoch, &slot))
			k->slots[k->slot_count++] = (struct fsck_slot){ .o = o, .epoch = epoch, .slot = slot };
		else if (object_parse_manifest_key(o->key, &epoch, &slot))
			k->manifests[k->manifest_count++] = (struct fsck_manifest){ .o = o, .epoch = epoch, .slot = slot };
		else if (object_parse_claim_key(o->key, &epoch))
			k->claim_count = epoch > k->claim_count ? epoch : k->claim_count;
		else if (!known_elsewhere(o->key))
			fsck_report(k, FSCK_NOTE, o->key, "not part of a volume; nothing reads it, and nothing deletes it");
	}
	return 0;
}

int fsck_inventory(struct fsck *k)
{
	int rc = read_superblock(k);

	if (rc)
		return rc;
	progress_begin(&k->bar, "listing", 0);
	rc = store_list_all(k->store, "", NULL, add_object, k);
	progress_end(&k->bar);
	if (rc == -EINTR)
		return err_set(rc, "interrupted: the check is not complete");
	if (rc)
		return err_last()[0] ? rc : err_set(rc, "listing %s: %s", k->store->address, err_text(rc));
	return sort_out(k);
}

void fsck_free(struct fsck *k)
{
	for (size_t i = 0; i < k->object_count; i++)
		free(k->objects[i].key);
	for (size_t i = 0; i < k->manifest_count; i++)
		manifest_free(&k->manifests[i].m);
	free(k->objects);
	free(k->slots);
	free(k->manifests);
	free(k->claims);
	json_object_put(k->findings);
	pthread_mutex_destroy(&k->mu);
}
