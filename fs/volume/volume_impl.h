/*
 * volume_impl.h - struct volume, shared by volume.c, engine.c, commit.c,
 * upload.c, epoch.c, recover.c, adopt.c and checkpoint.c; nobody else.
 *
 * Everything in struct volume is protected by mu unless a comment says
 * otherwise. mu is never held over a call to the store, fdatasync, or a
 * callback of the caller's.
 *
 * A cut goes FROZEN -> BUILT -> SENDING (-> CHECKING | BACKOFF -> SENDING) -> ACKED
 * and leaves the queue, in slot order, when every cut before it has left.
 */
#ifndef CLONELOVE_VOLUME_IMPL_H
#define CLONELOVE_VOLUME_IMPL_H

#include <pthread.h>

#include "engine.h"
#include "env.h"
#include "exec.h"
#include "kvmap.h"
#include "recover.h"
#include "run.h"
#include "store.h"
#include "volume.h"

#define VOLUME_TICK_NS 100000000ull
#define VOLUME_HEARTBEAT_NS 15000000000ull
#define VOLUME_ALIVE_S 45           /* a writer seen within this time is taken for alive */
#define VOLUME_UNSYNCED_MAX 8       /* frozen segments whose fdatasync has not returned: more are not made */
#define VOLUME_MEMORY_CUTS 8        /* queued cuts that keep their data and changes in memory; the rest is read from its file */
#define VOLUME_RETRY_MIN_NS 100000000ull
#define VOLUME_RETRY_MAX_NS 2000000000ull
#define CHECKPOINT_SLOTS_MAX 512    /* log objects to replay, at most about */
#define CHECKPOINT_BACKLOG 4        /* times checkpoint_bytes of changes in memory beside the checkpoint being written: more is not taken */

enum cut_state { CUT_FROZEN, CUT_SENDING, CUT_CHECKING, CUT_BACKOFF, CUT_ACKED };

struct cut {
	struct cut *next;                /* queue, by slot */
	struct volume *v;
	enum cut_state state;
	struct segment *seg;             /* owned reference; NULL = no data and no records */
	struct kvmap *delta;             /* NULL: given back, to be made again from the records (FROZEN only) */
	bool *live;                      /* SEGMENT_GRANULES flags: referred to at the end of the cut */
	uint64_t slot, first_lsn, last_lsn, next_ino, commit_real_ns;
	uint64_t oldest_boot_ns;         /* first record; 0 = none */
	uint64_t bytes;                  /* data and records */
	uint8_t put_id[ID_BYTES];
	uint64_t sent_boot_ns;           /* first submit of the PUT */
	unsigned tries;
	bool synced;                     /* its segment is durable here */
	bool building;                   /* cut_build reads delta and segment without the lock */
	bool sync_failed;                /* ... and never will be: acknowledged through the store only */
	struct object_footer footer;     /* BUILT and later */
	struct object_table *table;
	struct object_pieces object;     /* points into what follows */
	const uint8_t *data;             /* the segment's memory, held; NULL = not */
	uint8_t *loaded;                 /* or its data read back from the file */
	struct store_req req;
	char key[OBJECT_KEY_MAX];
	struct job job;
};

struct wait_queue { struct volume_wait *head, *tail; uint64_t count; };

struct volume {
	struct volume_options o;
	char node[NODE_NAME_MAX + 1];
	char *meta_dir;
	pthread_mutex_t mu;
	enum volume_state state;
	char error[256];
	bool closing, draining;
	unsigned busy;                   /* jobs queued or running and requests under way: close waits for 0 */

	struct superblock sb;
	struct meta *meta;
	struct cache *cache;
	struct orphans *orphans;
	uint64_t next_ino;

	/* the epoch */
	uint64_t epoch;
	uint8_t claim_id[ID_BYTES], log_uuid[ID_BYTES];
	uint64_t fence_lease_ns;         /* UINT64_MAX = none is kept */
	uint64_t lease_boot_ns;          /* submit time of the newest slot in the acknowledged prefix */

	/* the operation under way */
	struct buf rec;
	size_t rec_start;
	bool rec_open, rec_dirty;

	/* the active segment and its cut to be */
	struct segment *active;
	struct kvmap *delta;
	uint32_t granule_live[SEGMENT_GRANULES]; /* bytes referred to, per granule of live_segment */
	uint64_t live_segment;
	uint64_t cut_first_lsn, cut_oldest_boot_ns;
	uint64_t lsn;                    /* last assigned */
	uint64_t last_commit_real_ns;

	/* cuts that the store has not acknowledged, oldest first */
	struct cut *cuts, *cuts_tail;
	unsigned cut_count, unsynced_count;
	uint64_t next_slot;
	uint64_t acked_slot;             /* newest of the prefix */
	uint8_t chain_hash[HASH_BYTES];  /* own_hash of the newest built slot; the build job's */
	bool build_queued, advance_queued;
	bool outage;                     /* the last PUT failed; said once */
	uint64_t fenced_slot;            /* UINT64_MAX, or the slot where another writer's seal is: nothing from there on is sent */
	struct cut *leaving, *leaving_tail; /* acknowledged, to be merged by the advance job */
	struct job build_job, advance_job;

	/* durability */
	uint64_t lsn_local, lsn_store;
	struct disk_file *mark;          /* mark.c's file, or NULL; whoever syncs has it */
	uint64_t mark_lsn;
	int disk_rc;                     /* why the local disk does not take the log at the moment, or 0, */
	const char *disk_what;           /* what it refused (static), */
	char disk_trouble[200];          /* and all that in words */
	uint64_t disk_since_ns;
	bool disk_said, held_said;       /* in the log */
	/* what this node's log had and the volume has not, as found at open; constant */
	uint64_t lost_operations;
	char lost[200];                  /* the same in words; "" = nothing */
	bool syncing;                    /* a thread is in commit.c:sync_pass: a caller of fsync, or EXEC_SYNC's */
	bool sync_again;                 /* another pass was asked for meanwhile */
	bool sync_queued;                /* one is queued on EXEC_SYNC */
	bool sync_all;                   /* closing: the active segment is synced without a waiter, too */
	struct job sync_job;
	struct wait_queue local_waiters, store_waiters, gate_waiters;
	struct wait_queue replies;       /* answered, to be resumed on EXEC_REPLY */
	bool reply_queued;
	struct job reply_job;

	/* time */
	struct job tick_job;
	uint64_t heartbeat_boot_ns;      /* last sign of life we gave */
	char heartbeat_etag[STORE_ETAG_MAX];
	bool heartbeat_busy;
	struct job heartbeat_job;

	/* checkpoints */
	struct kvmap *since;             /* net change since the last checkpoint, at acked_slot; the advance job's */
	uint64_t since_slots;
	uint64_t since_bytes;            /* of memory in since, as last seen */
	struct manifest since_at;        /* where it stands: epoch, slot, lsn, next_ino, commit time, hash; the advance job's */
	struct manifest manifest;        /* the newest; run_count 0 with has_manifest false before the first; the checkpoint job's */
	bool has_manifest;
	struct kvmap *ckpt_delta;        /* being written, or left over from an attempt that failed */
	struct manifest ckpt_next;       /* its place: epoch, slot, lsn, ... */
	bool ckpt_busy;
	uint64_t ckpt_retry_boot_ns;
	struct job ckpt_job;

	/* counters */
	uint64_t objects_put, object_bytes_put, written_bytes, elided_bytes, checkpoints;
};

/* --- engine.c --- */
void engine_sink(struct volume *v, struct meta_sink *ret);
/* v->mu held. Turns the volume read-only for good; waiters are answered by commit_answer. */
void engine_set_failed(struct volume *v, enum volume_state state, const char *why);
static inline uint64_t volume_boot(struct volume *v) { return v->o.env->boot_ns(v->o.env); }
/* v->mu held: counts a job in and queues it. The job ends with volume_job_done (which takes no lock: mu is held by the job). */
void volume_submit(struct volume *v, enum exec_lane lane, struct job *j);

/* --- waiting (commit.c); all with v->mu held; answers go out on EXEC_REPLY, those to a finished sync on the thread that made it --- */
void wait_push(struct volume *v, struct wait_queue *q, struct volume_wait *w, uint64_t lsn);
/* Answers all of q with rc. */
void wait_answer_all(struct volume *v, struct wait_queue *q, int rc);
void commit_reply_run(struct job *j);
bool commit_gate_closed(struct volume *v, const char **ret_why);
/* Freezes the active segment into a cut, even when it is empty (then no segment is used up), and opens the next. */
int commit_cut(struct volume *v);
int commit_new_active(struct volume *v);
void commit_kick_sync(struct volume *v);
/* Answers every waiter whose condition holds; asks for a cut where a lease or a store waiter needs one. */
void commit_answer(struct volume *v);
void commit_sync_run(struct job *j);
void commit_tick_run(struct job *j);
uint64_t commit_lag_ns(struct volume *v);
struct cut *cut_new(struct volume *v);
void cut_free(struct cut *c);
/* Appends a frozen cut to the queue under the next slot; fixes put-ID, slot, commit time. */
void commit_enqueue(struct volume *v, struct cut *c);

/* --- upload.c --- */
void upload_kick(struct volume *v);            /* mu held */
void upload_drop_object(struct cut *c);        /* the object and the data that it is made of; fine where there is none */
void upload_build_run(struct job *j);
void upload_advance_run(struct job *j);

/* --- epoch.c --- */
void epoch_heartbeat_run(struct job *j);
/* Blocking, nothing held: writes the heartbeat object. */
int epoch_heartbeat_write(struct volume *v, enum heartbeat_state state);

/* --- adopt.c: the local log at open, before threads; blocking --- */
/* Reads or makes the file "local": log UUID bound to machine and volume. tip_log_uuid: opener of the tip (NULL = fresh volume). */
int adopt_log_identity(struct volume *v, const uint8_t *tip_log_uuid);
/* Marks acknowledged segments as cache, queues ours that go on after v->lsn as cuts, salvages the rest. Says what was there and is not. */
int adopt_local_log(struct volume *v, bool tip_is_ours);

/* --- mark.c: up to where the local log was durable, for the next mount --- */
/* -ENOENT, ERR_CORRUPT, or what the disk says. */
int mark_read(struct disk *d, uint8_t *ret_log_uuid, uint64_t *ret_lsn);
/* At open: goes on with the file as it is, at lsn; or makes it anew, durable when it returns. */
int mark_take(struct volume *v, uint64_t lsn);
int mark_set(struct volume *v, uint64_t lsn);
/* Everything up to lsn is on the disk, or in the store. Of the sync job, which does not hold mu, before it tells anybody. */
void mark_advance(struct volume *v, uint64_t lsn);
void mark_close(struct volume *v);

/* --- checkpoint.c --- */
void checkpoint_consider(struct volume *v);    /* mu held */
void checkpoint_run(struct job *j);

#endif
