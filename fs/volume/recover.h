/*
 * recover.h - from the objects of a volume to its state. Used by volume_open,
 * read-only mounts and fsck. Blocking; store calls only; no locks.
 *
 * recover_survey finds out who is who and changes nothing. recover_replay loads
 * the newest checkpoint of the lineage and replays the log behind it into a map, and changes nothing either, so that damage is found before
 * anything is claimed. recover_seal then ends the tip epoch (and every claimed but unopened epoch above it) on behalf of a claim.
 *
 * Errors: ERR_NOT_A_VOLUME, ERR_NEWER_FORMAT, ERR_DAMAGED (names the object that is missing), ERR_CORRUPT (names the one that is bad),
 * ERR_FENCED (another candidate went ahead), the store's. Nothing was changed in the store when one of the first four is returned.
 */
#ifndef CLONELOVE_RECOVER_H
#define CLONELOVE_RECOVER_H

#include "env.h"
#include "kvmap.h"
#include "meta.h"
#include "object.h"
#include "store.h"

struct survey {
	struct superblock sb;
	uint64_t newest_claim;           /* highest claimed epoch, 0 = none */
	struct claim claim;              /* of newest_claim */
	bool has_tip;                    /* an opened epoch exists */
	uint64_t tip_epoch;
	struct object_footer tip_open;   /* its opening record */
	bool has_heartbeat;
	struct heartbeat heartbeat;
	char heartbeat_etag[STORE_ETAG_MAX];
	bool released;                   /* the newest claim's writer said goodbye */
	int64_t age_s;                   /* since the newest sign of life, by the server's clock */
};

struct recovered {
	bool has_tip;
	uint64_t tip_epoch, tip_slot;    /* newest slot that is part of the volume */
	uint8_t tip_hash[HASH_BYTES];
	uint64_t lsn, next_ino, commit_real_ns;
	struct object_footer tip_open;
	uint64_t sealed_slot;            /* with seal: where the tip's seal is */
	bool has_manifest;
	struct manifest manifest;        /* what it started from; caller frees */
	uint64_t replayed_objects, replayed_bytes, loaded_keys, epochs;
};

struct sealer { uint64_t epoch; uint8_t claim_id[ID_BYTES]; };

int recover_survey(struct store *s, struct survey *ret);
/* Loads and replays, read-only. since (may be NULL) collects the net change behind the checkpoint, for the next one. */
int recover_replay(struct store *s, const struct survey *sv, struct meta *meta, struct kvmap *since, struct recovered *ret);
/* After a claim above sv->newest_claim was won: ends every epoch below it, replaying what arrived since recover_replay. -EAGAIN: an
 * epoch above the tip was opened meanwhile; begin again with a survey and a new map, keeping the claim. */
int recover_seal(struct store *s, const struct survey *sv, const struct sealer *sealer, struct meta *meta, struct kvmap *since,
		 struct recovered *io);

/* PUT if-none-match of an object that carries our id, to the end: retries what may be retried, and reads back what is there after a 412 or
 * an ambiguous failure. is_ours compares. Returns 0 (it is there and ours), ERR_PRECONDITION (another's is there), or the store's error. */
int recover_create(struct store *s, const char *key, const struct buf *body,
		   bool (*is_ours)(const uint8_t *p, size_t len, const uint8_t *id), const uint8_t *id);
bool recover_mark_is_ours(const uint8_t *p, size_t len, const uint8_t *put_id);

#endif
