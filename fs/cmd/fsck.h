/*
 * fsck.h - the parts of fsck.clonefs.
 *
 * fsck_inventory lists the store; fsck_chain reads every claim, mark and footer
 * and walks the lineage by itself (an independent check of what recovery would
 * do); fsck_runs checks manifests and run parts; fsck_map builds the map and
 * checks it and every segment in it; fsck_data reads all data (--deep);
 * fsck_repair deletes what nothing refers to.
 *
 * A finding is an ERROR (bytes are missing or wrong, or an invariant is broken)
 * or a NOTE (garbage, harmless). Functions return 0 when they could look,
 * whatever they found, or an operational error with its message.
 */
#ifndef CLONELOVE_FSCK_H
#define CLONELOVE_FSCK_H

#include <pthread.h>

#include "cmd.h"
#include "meta.h"
#include "object.h"
#include "store.h"

struct fsck_object {      /* one listed key */
	char *key;
	uint64_t size_bytes;
	int64_t mtime_s;
};

struct fsck_slot {        /* one object under log/ */
	const struct fsck_object *o;
	uint64_t epoch, slot;
	bool readable;    /* f is valid */
	bool lineage;     /* it is part of the volume's history (seals and what lies above them are not) */
	bool seal_of_lineage;
	struct object_footer f;
};

struct fsck_manifest {
	const struct fsck_object *o;
	uint64_t epoch, slot;
	bool readable, lineage;
	struct manifest m;
};


struct fsck {
	struct store *store;
	bool deep, repair, quiet;
	unsigned width;               /* requests at a time */
	struct progress bar;
	const atomic_bool *stop;      /* the user's interrupt */

	pthread_mutex_t mu;           /* findings */
	uint64_t errors, notes, repaired;
	struct json_object *findings; /* NULL = print them as they come */

	struct superblock sb;
	struct fsck_object *objects;  /* sorted by key */
	size_t object_count, object_cap;
	struct claim *claims;         /* [epoch - 1]; epoch 0 in it = unreadable or missing */
	uint64_t claim_count;         /* the highest claimed epoch */
	struct fsck_slot *slots;      /* sorted */
	size_t slot_count;
	struct fsck_manifest *manifests; /* sorted */
	size_t manifest_count;
	bool has_tip;
	uint64_t tip_epoch, tip_slot, tip_lsn;
	bool has_heartbeat;
	struct heartbeat heartbeat;
	int64_t sign_of_life_s, store_time_s; /* the server's clock */
	bool live;                    /* a writer shows signs of life */
	uint64_t inodes, data_bytes, segments, bytes_read;
};

enum fsck_kind { FSCK_NOTE, FSCK_ERROR, FSCK_REPAIRED };
/* Records one finding about an object ("" = the volume). Any thread. */
void fsck_report(struct fsck *k, enum fsck_kind kind, const char *object, const char *fmt, ...) CL_PRINTF(4, 5);

/* Runs work(k, i) for i in 0..count-1 on k->width threads, with the bar; ends early, with the first error, when one returns non-zero or
 * the user interrupts (-EINTR). Messages of err_set are carried over to the caller's thread. */
int fsck_parallel(struct fsck *k, const char *what, size_t count, int (*work)(struct fsck *k, size_t i));

/* Reads an object, whole or its last `suffix` bytes (0 = whole). *ret_present is false where it is missing (no error then). */
int fsck_read(struct fsck *k, const char *key, uint64_t suffix, struct store_req *ret, bool *ret_present);
const struct fsck_object *fsck_find(const struct fsck *k, const char *key); /* in the inventory */
struct fsck_slot *fsck_find_slot(const struct fsck *k, uint64_t epoch, uint64_t slot);

int fsck_inventory(struct fsck *k); /* ERR_NOT_A_VOLUME, ERR_NEWER_FORMAT: no volume to check */
int fsck_chain(struct fsck *k);
int fsck_runs(struct fsck *k);
int fsck_map(struct fsck *k, struct meta **ret); /* *ret NULL where it cannot be built (an error was reported) */
int fsck_data(struct fsck *k, struct meta *m);
int fsck_garbage(struct fsck *k);
void fsck_free(struct fsck *k);

#endif
