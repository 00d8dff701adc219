/*
 * node_impl.h - the inside of the core: node.c (start, jobs, time), node_intent.c (what applying is about to do), node_version.c (versions), node_change.c (changes of records), node_members.c (who there is), node_context.c (what is known), node_ignore.c (ignored paths), node_cut.c (being in sync), node_tombs.c (forgetting deletions), node_scrub.c (reading again), node_rot.c (rot), node_join.c (the end of joining), node_announce.c (contents that were announced),
 * node_look.c (examining), node_want.c (what is wanted, applying), node_time.c (times of directories), node_trash.c (the trash), node_missing.c (R5), node_kept.c (fetched, not in place),
 * fetch.c (contents from peers), serve.c (contents for peers), exchange.c (indexes). All of it on the core's thread but the run() of jobs.
 */
#ifndef CLONELOVE_NODE_IMPL_H
#define CLONELOVE_NODE_IMPL_H

#include "apply.h"
#include "examine.h"
#include "exchange.h"
#include "fetch.h"
#include "fetch_part.h"
#include "node.h"
#include "pathmap.h"
#include "rate.h"

#define NODE_BATCH 256u                /* paths of one job: so many share a sync and a transaction */
#define NODE_SOON_NS 5000000ull        /* what is wanted and cannot be had is tried again; each time after twice as long */
#define NODE_AGAIN_NS 50000000ull      /* a busy file, a failed call: looked at again */
#define NODE_AGAIN_MOST_NS 2000000000ull
#define NODE_LAZY_NS 100000000ull      /* what others told, told on */
#define NODE_WRITING_NS 500000000ull   /* what was written to and not closed */
#define NODE_DEFER_NS 30000000000ull   /* a file that is open for ever is taken after this */
#define NODE_INLINE_MOST (32u << 20)   /* bytes of announced contents kept until they are applied */
#define NODE_WANT_KEEP 65536u          /* paths of what is wanted that are kept by path, of each kind */
#define NODE_CONTEXT_MOST (VECTOR_MAX - 64u) /* elements that peers may bring ours to: it has to be written, and told, with those of our own starts */
#define NODE_HEARD_MOST (4 * VECTOR_MAX) /* of what a peer has said that it knows, retired or not */
#define NODE_HASH_APART (8u << 20)     /* bytes of a file that is read by a job of its own */
#define NODE_INLINE_KEEP_NS 30000000000ull /* what nobody wanted for so long goes when there is no room */

enum node_missing { MISSING_ASK, MISSING_DELETED, MISSING_RESTORE };

struct dirty { /* a path to look at */
	struct pathmap_item at;        /* first */
	uint64_t due_ns, since_ns;     /* since: when it was first found busy, or could not be read; 0 */
	bool deep, hash;
	bool glance;                   /* it is ignored: only to see whether it is another name of something that is not */
	bool name;                     /* because another name of it is looked at */
	bool first;                    /* the first scan is to look at it */
	bool held;                     /* it is gone, and nobody is told yet (node_missing.c) */
	bool failed;                   /* it could not be looked at: tried again */
	bool inside;                   /* it is in a directory that is not known of, and that has to be looked at first */
	bool told;                     /* the watcher said so: if it is gone, it went just now */
	enum node_missing word;        /* what an operator said, who was asked about this path; ASK: nobody was */
};

struct wait { /* a wanted path that is not tried before its time */
	struct pathmap_item at;
	uint64_t due_ns, pause_ns;
	bool failed;                   /* it was tried, and an error came of it */
	bool kept;                     /* it is rotten, and no member has it: that was said */
	bool no_copy;                  /* a copy here had other content than thought: fetch it */
	uint64_t gone_ns;              /* since when every member says that it does not hold it; 0 */
	uint64_t open_ns;              /* since when it waits for what has not been heard of; 0 */
};

struct intent { /* an entry that is being put in place, or may have been */
	struct pathmap_item at;
	struct entry entry;
	bool in_place;                 /* by changing the metadata of what lies there, */
	struct entry from;             /* which was this */
	bool over;                     /* the transaction that is open says so: gone once that is committed */
};

struct announced { /* a content that came with its announcement */
	struct pathmap_item at;        /* first; by its hash. There may be several of one hash, for several paths */
	uint64_t since_ns;
	uint32_t len;
	uint8_t bytes[];
};

struct node_peer {
	struct node_peer *next;
	struct node *node;
	void *link;
	uint8_t key[FRAME_NODE_BYTES], incarnation[INCARNATION_BYTES];
	bool joining, joined;          /* so it said; that it is over, while we were comparing */
	bool scanned;                  /* it has looked through its tree since it began: it asks for sums only then */
	uint64_t wall_us, wall_at_ns;  /* its wall clock, and when it showed that, by our boot clock: ours may jump */
	uint64_t clock_again_ns;       /* it is asked anew then */
	uint64_t sent;                 /* all of our index up to this position went to it, or was there before it came */
	bool sending;                  /* a job makes the next piece */
	struct buf leaves;             /* that it has asked for, and that are not being sent: u16 each */
	bool answering;                /* a job makes the next of them */
	struct buf cuts;               /* asked for, and not answered: u64 request, u64 position that is to be sent first */
	bool marked, remark;           /* a mark went out for `sent` and our context; remark: not the one that is being made */
	/* our comparing of its index with ours */
	bool comparing, compared;
	uint64_t asked;                /* answers that are still to come */
	unsigned told_leaves;          /* of them are here, and not merged yet */
	struct vector context;         /* its own, when comparing began */
	struct vector early;           /* of marks that came before comparing was over: believed then, if it was the first time; said to be known by the peer, every time */
	struct vector known;           /* as it said since it came up; another process with its key may know less */
	uint8_t odd[SUM_LEAVES / 8];   /* leaves with unversioned entries, as it began: asked for in any case */
	unsigned gets;                 /* of fetches, that it has not answered */
	uint64_t get_ns;               /* how long it takes for one of them, about: fetch.c. 0: not known */
	struct node_diff *diff;        /* rides on comparing; NULL */
	bool for_diff;                 /* which goes on for that alone: it was compared before */
	unsigned slot;                 /* a bit of fetches' masks */
	bool broken;                   /* a frame of it was not taken in: what follows must not be believed. It is on its way down */
	bool down;                     /* freed once nothing refers to it */
	unsigned refs;
};

struct node {
	struct node_options o;
	struct node_peer *peers;
	struct told *told;             /* records that are not merged yet (exchange.c), */
	size_t told_bytes;             /* and what they take */
	struct pathmap dirty, waits, intents;
	/* node_choose.c */
	struct pathmap fresh;          /* wanted since a moment ago, and perhaps to be had now; */
	struct pathmap early;          /* for longer; */
	struct pathmap fresh_dirs;     /* directories of either, which come first: others wait for them */
	struct pathmap fetched;        /* their contents are here */
	struct pathmap fetchable[2];   /* to be fetched once fewer are: big ones, small ones */
	bool unfetched;                /* not all of these are kept by path */
	bool parts_swept;              /* what fetches of earlier starts have left */
	bool scan_wanted;              /* all that is wanted is to be gone through */
	bool scanning_wanted;          /* it is being, from want_at on */
	struct index_at want_at;
	uint64_t want_scan_ns;         /* not before */
	struct pathmap announced;
	struct pathmap hashed;         /* node_hash.c */
	struct pathmap kept;           /* node_kept.c, */
	uint64_t kept_swept;           /* at this position of the index all were wanted */
	unsigned hashing;
	size_t announced_bytes;
	struct fetches *fetches;
	uint8_t incarnation[INCARNATION_BYTES], session[FRAME_ID_BYTES];
	struct vector context;         /* with the index's table of what was retired: what we know (node_context.c) */
	bool any_retired;
	uint64_t retire_ns, retire_pause_ns; /* not tried again before, nor so soon after */
	struct members members;
	char name[FRAME_NAME_MAX + 1], address[FRAME_NAME_MAX + 1]; /* ours */
	bool forgotten;
	uint64_t self_again_ns;        /* our record is not written anew before; 0 = at once */
	bool self_late;                /* it is to be, then */
	struct rate rate;              /* of contents that go out */
	struct serve_job *serve_first, **serve_end; /* what was asked for, and waits for its turn by that */
	struct node_cut *cuts;
	struct node_diff *diffs;
	struct heard *heard;           /* the contexts of members, as they said last */
	uint64_t floor;                /* stamps that are given are later */
	uint64_t tombs_ns, tombs_after; /* when the next tombstones are looked for, behind which position */
	uint64_t tombs_gone;
	bool tombs_job;
	uint64_t cut_requests;
	uint64_t unheard_ns, unheard_last_ns; /* when something first could not be decided for want of a member that has looked through its tree; when last */
	uint64_t join_again_ns;        /* who was heard is to be compared with again; 0 = nobody */
	bool adopting;                 /* what has no version gets one: of the leaves that this peer was asked for, NULL: all; */
	struct node_peer *adopt_from;
	uint64_t adopt_after;          /* it goes on behind this position; */
	bool adopt_left;               /* and of other leaves there was some */
	uint64_t began_ns, lost_ns;    /* when this process began; when a peer went down last */
	bool context_news, intent_news; /* not in the index yet */
	/*
	 * What others told, and what came of it here, may be told a little later: those who told it tell it to the others as well, and who has said by then that it knows of it is
	 * not told again. Where not everybody sees everybody it takes that much longer.
	 */
	uint64_t eager;                /* up to this position all is told at once */
	uint64_t lazy_ns;              /* since when something waits; 0 = nothing does */
	bool lazy;                     /* what is being noted may wait */
	uint64_t position, wanted;     /* of the index: its last position, how many records are not held */
	uint64_t temps;
	unsigned jobs;                 /* under way, of any kind */
	bool tree_job;                 /* one that looks at the tree or changes it */
	bool applying;                 /* one that changes it */
	bool running, stopping, joining, halted;
	bool has_joined;               /* since it started */
	atomic_bool hurry;             /* stopping, for jobs: reading a big file ends */
	bool power;                    /* the machine was reset since: what differs from the index is not believed. Until the first scan is over */
	bool scanning;                 /* the first scan is not over */
	bool look_first;               /* what is to be looked at is so for the first scan */
	uint64_t first_left;           /* paths that it has to look at yet */
	size_t list_most;              /* directories that the next job may list, */
	unsigned unlisted;             /* and jobs since one did (node_look.c) */
	bool pumping, again, turn;     /* turn: nothing is started before its end */
	bool looked;                   /* the last job looked: now it is the turn of one that applies, if there is one */
	bool untimed;                  /* directories have another time than they should */
	uint64_t times_ns;             /* when to look after them again */
	uint64_t wake_ns;
	uint64_t alerts;
	uint64_t fetched_bytes, published_bytes;
	int error;                     /* the last; 0: all that failed has been done since */
	uint64_t error_ns;             /* when that was */
	/* node_missing.c */
	uint32_t question;             /* that was asked at the last halt; other than all before */
	uint64_t scan_us, seen_us;     /* the wall clock when this process began to look through the tree; when that did which was the last to get through */
	bool look_held;                /* what is being looked at was held back, */
	bool look_told;                /* was told of by the watcher, */
	enum node_missing look_word;   /* and this was said about it, */
	bool turned;                   /* this process began with other rules about what is ignored */
	bool look_stale;               /* and what is being looked at was left out until this process began */
	struct ignore *ignored;        /* the rules before; NULL: none, */
	bool ignored_any;              /* or any: they are not known */
	bool look_alone;               /* nothing else is to be looked at, nothing else was found gone with it */
	bool releasing;                /* what is held back may go */
	bool halted_missing;
	uint64_t held;                 /* of the dirty ones, how many are */
	uint64_t gone, window_ns;      /* deletions that went out since then */
	uint64_t moved;                /* so many of those that are held back lie elsewhere now */
	uint64_t gone_ns, held_ns;     /* when the last was found that is held, and the first */
	uint64_t census, census_ns;    /* how much there was, when it was counted */
	uint64_t missing_count, missing_of;
	struct scrub *scrub;           /* node_scrub.c */
	struct trash_clock trash_clock;
	struct trash_state trash;      /* when it was last tended */
	uint64_t tend_ns, tend_pause_ns; /* when it is to be tended again; after a failure, in so long */
	bool tend_left;                /* something may not be in the trash yet, or tending failed */
};

/* --- node.c --- */
uint64_t node_now(const struct node *n);
void node_submit(struct node *n, struct node_job *j);
void node_job_over(struct node *n);    /* first thing in done() */
void node_pump(struct node *n);        /* starts what can be started */
void node_wake(struct node *n, uint64_t at_ns);
void node_temp(struct node *n, char kind, char *ret); /* TREE_TEMP_MAX + 1 */
void node_failed(struct node *n, int rc);
struct dirty *node_dirty_add(struct node *n, const char *path, size_t len); /* it is not among them yet; NULL: no memory */
int node_look(struct node *n, const char *path, size_t len, bool deep, bool hash, uint64_t after_ns);
struct wait *node_wait(struct node *n, const char *path, size_t len, uint64_t after_ns); /* NULL without memory */
void node_wait_over(struct node *n, const char *path, size_t len);
void node_waits_over(struct node *n);  /* all of them */

/* --- node_join.c --- */
#define NODE_VALUE_JOINING "joining"
/* The index of p was compared with ours to the end. */
void node_heard(struct node *n, struct node_peer *p);
void node_join_go_on(struct node *n);
void node_join_peer_down(struct node *n, const struct node_peer *p);

/* --- node_intent.c --- */
#define NODE_VALUE_INTENTS "applying"
int node_intent(struct node *n, const char *path, const struct entry *e, const struct entry *from); /* from: NULL = not in place */
void node_intent_over(struct node *n, const char *path); /* in a transaction that ends in node_commit: if that fails, it goes on */
void node_intent_drop(struct node *n, const char *path); /* nothing was begun */
int node_intents_get(struct node *n, struct index_txn *t);
int node_intents_put(struct node *n, struct index_txn *t);
void node_intents_end(struct node *n, bool committed); /* those that are over go, or go on */
void node_intents_free(struct node *n);

/* --- node_version.c --- */
/* Gives e the next version, as a change that knows of a and b (either may be NULL). */
int node_version(struct node *n, struct index_txn *t, struct entry *e, const struct entry *a, const struct entry *b);
/* The same. later: a stamp that the new one is behind of. made_us: when it was made, by our clock, if that was before now. */
int node_version_behind(struct node *n, struct index_txn *t, struct entry *e, const struct entry *a, const struct entry *b, uint64_t later, uint64_t made_us);
int node_tombstone(const struct entry *e, struct entry *ret); /* without version */
/* Wall clocks of peers. */
void node_clock_heard(struct node *n, struct node_peer *p, uint64_t wall_us); /* it shows that now */
uint64_t node_clock_us(const struct node *n, const struct node_peer *p);      /* so that shows now */
void node_clocks_due(struct node *n);  /* asks those that were not heard of for long */
uint64_t node_clocks_alarm(const struct node *n);

/* --- node_change.c --- */
void node_unversion(struct entry *e); /* as if it had never been given one */
/* What lies on the disk by this record: NULL = nothing; a held tombstone is nothing. */
const struct entry *node_on_disk(const struct index_record *r);
bool node_live(const struct index_record *r); /* a live entry is known */
/* e lies on the disk now, put there by us. */
int node_applied(struct node *n, struct index_txn *t, const char *path, size_t len, struct index_record *r, struct entry *e, const struct index_stat *st);
/* A peer's entry. *ret_wanted: it is the newest now, and not held. */
int node_merge(struct node *n, struct index_txn *t, const char *path, size_t len, const struct entry *e, bool *ret_wanted);
/* A change that is decided here, not found on the disk: e (without version) becomes the newest of the path, knowing all that r knows. *r is stored. */
int node_decide_over(struct node *n, struct index_txn *t, const char *path, size_t len, struct index_record *r, struct entry *e,
		     const struct entry *over); /* knowing `over`, and being later than it, in place of the newest */
int node_decide(struct node *n, struct index_txn *t, const char *path, size_t len, struct index_record *r, struct entry *e);
/* What was found at a path (node_look.c). */
/* Files that had this inode, other than path, are looked at if they did not have this stat (NULL: in any case): what is done by one name is done by all. */
int node_look_at_links(struct node *n, struct index_txn *t, const char *path, uint64_t ino, const struct index_stat *st);
int node_found(struct node *n, struct index_txn *t, const char *path, struct examine_result *x);
/* A file that may be torn, and cannot be looked at now: nothing is believed to be there until it is. What is found then does not claim to know of what the record says. */
int node_doubt(struct index_txn *t, const char *path);
/* Commits with the context and the intents, if rc is 0, else aborts; then our position is that of the index. */
int node_commit(struct node *n, struct index_txn *t, int rc);

/* --- node_members.c --- */
int node_members_load(struct node *n, struct index_txn *t); /* and our own record in them; -EKEYREJECTED */
int node_members_send(struct node *n, struct node_peer *p);
int node_members_take(struct node *n, struct node_peer *p, const struct frame *f);
void node_members_due(struct node *n);  /* what was put off */
unsigned node_others(const struct node *n);
/* Are all others up, and (compared) their indexes compared with ours? */
bool node_all_up(const struct node *n, bool compared);
/*
 * Has everybody said all that there is to say? All others are up and compared, and each knows what is in its own tree: none joins, none is still scanning after its start. Only then
 * may something be concluded from what nobody has. What is to be concluded waits meanwhile, and status.unheard_s tells of it.
 */
bool node_all_heard(struct node *n);
/* Frames to a peer; b is freed. */
int exchange_send(struct node *n, struct node_peer *p, struct buf *b);

/* --- node_context.c --- */
int node_context_load(struct node *n, struct index_txn *t);
/* Is this change known here? */
bool node_covers(struct node *n, struct index_txn *t, const struct dot *d);
bool node_knows(struct node *n, const struct dot *d); /* the same outside of a transaction */
/* What a peer said is joined to *v. -EPERM, and nothing was: that has more elements then than there can be, it is to be dropped. */
int node_context_add(struct vector *v, const struct vector *said, size_t most);
/* What of a context is not known here. Beside no write transaction of another thread; *ret was initialised. */
int node_context_lacks(struct node *n, const struct vector *context, struct vector *ret);
void node_context_due(struct node *n);  /* cuts it, where it is long */
void node_cut_known(const struct node *n, struct vector *known, const struct dot *own, const struct entry *a, const struct entry *b);

/* --- node_ignore.c --- */
int node_ignore_load(struct node *n, struct index_txn *t); /* with everything else loaded, before anything is looked at */
int node_ignore_looked(struct node *n, struct index_txn *t); /* the first scan is over */
/* Was it left out until this process began, as far as is known? While the first scan goes on: then all that was has been looked at. */
bool node_was_ignored(const struct node *n, const char *path, size_t len);
int node_glance(struct node *n, const char *path, size_t len, uint64_t after_ns); /* something was done at an ignored path */
int node_glanced(struct node *n, struct index_txn *t, const char *path, const struct tree_stat *st); /* NULL: nothing is there */
/* A listing of a directory shows nothing but what is ignored, or not carried. */
int node_found_kept(struct node *n, struct index_txn *t, const char *path);

/* --- node_cut.c --- */
void node_cuts_go_on(struct node *n);
uint64_t node_cuts_alarm(const struct node *n);
void node_cuts_peer_down(struct node *n, const struct node_peer *p);
/* It is gone from the disk, and wanted again: whoever waits to be in sync waits for it. */
int node_cuts_lost(struct node *n, const char *path, size_t len, const struct index_record *r);
/* What was asked and may be answered now is. */
void node_cuts_answer(struct node *n, struct node_peer *p);
int node_cut_asked(struct node *n, struct node_peer *p, const struct frame *f);
int node_cut_answered(struct node *n, struct node_peer *p, const struct frame *f);
void node_cuts_free(struct node *n);

/* --- node_diff.c --- */
int node_diff_leaf(struct node *n, struct node_peer *p, const struct frame *f); /* a leaf's frame, before it is merged */
int node_diff_context(struct node_peer *p);                 /* p->context is what it knew when comparing began */
void node_diff_compared(struct node *n, struct node_peer *p);
bool node_diff_cut(struct node *n, const struct node_peer *p, const struct frame_cut *cut); /* false: not one of a diff's */
void node_diff_down(struct node *n, struct node_peer *p);
void node_diffs_free(struct node *n);

/* --- node_tombs.c --- */
int node_tombs_load(struct node *n, struct index_txn *t);
void node_tombs_due(struct node *n);
int node_tombs_heard(struct node *n, const uint8_t *node, const struct vector *context); /* what it says that it knows */
void node_tombs_unheard(struct node *n, const uint8_t *node);
bool node_tombs_needless(struct node *n, struct index_txn *t, const struct entry *e); /* where there is no record */
bool node_tombs_covered_by(const struct node *n, const uint8_t *node, const struct dot *d);
void node_tombs_free(struct node *n);

/* --- node_look.c --- */
bool node_start_look(struct node *n);  /* a job was started */

/* --- node_time.c --- */
/* Is what a directory's time is on the disk somebody's doing, and not ours or of a past that is not believed? */
bool node_time_counts(struct node *n, const char *path);
/* The directory of this record has this stat: a time that is news is taken. Was it? r->stat is the one before. */
bool node_note_time(struct node *n, const char *path, struct index_record *r, const struct index_stat *st);
/* A name came or went: whoever did that gave the directory a new time. */
int node_look_at_parent(struct node *n, const char *path);
/* An item of apply, done or not: what it did to the time of the directory it is in. */
int node_time_applied(struct node *n, struct index_txn *t, const struct apply_item *i);
bool node_start_times(struct node *n); /* a job was started */

/* --- node_want.c --- */
bool node_start_apply(struct node *n);

/* --- node_hash.c --- */
/* The content at path is read by a job of its own, and then it is looked at again. */
int node_hash_apart(struct node *n, const char *path, size_t len);
int node_hash_give(struct node *n, const char *path, size_t len, struct examine_hashed *h); /* as if it had been; its blocks are taken */
bool node_hash_take(struct node *n, const char *path, size_t len, struct examine_hashed *ret); /* the caller's then; false: there is none */
void node_hash_free(struct node *n);

/* --- node_kept.c --- */
/* A temp with the content of e, checked, which could not be put at path yet: it is node's from now on. */
void node_keep(struct node *n, const char *path, const struct entry *e, const char *temp);
bool node_kept_take(struct node *n, const char *path, const struct entry *e, char *ret_temp); /* the caller's then (TREE_TEMP_MAX + 1); false: there is none */
void node_kept_sweep(struct node *n);  /* drops what is not wanted any more */
void node_remove_temp(struct node *n, const char *temp); /* by a job; without memory for that the next start does it */
void node_kept_free(struct node *n);   /* the temps stay */

/* --- node_choose.c --- */
/* It may be possible to have it now. r: what is wanted, or NULL: not known. */
void node_want_news(struct node *n, const char *path, size_t len, const struct index_record *r); /* it has come just now */
void node_want_soon(struct node *n, const char *path, size_t len, const struct index_record *r); /* it was tried before */
void node_want_fetched(struct node *n, const char *path, size_t len);
void node_want_fetch(struct node *n, const char *path, size_t len, bool small); /* it is to be fetched, and too many are */
int node_want_below(struct node *n, struct index_txn *t, const char *path, size_t len); /* a directory is there now */
/* What may be possible to have now, one after the other, until `try` says that it is enough, or fails. */
enum { NODE_LATER, NODE_CHOSEN, NODE_ENOUGH };
typedef int (*node_try)(void *user, const char *path, size_t len);
bool node_any_candidates(const struct node *n); /* false: it would find nothing to try */
int node_candidates(struct node *n, struct index_txn *t, node_try try, void *user);
void node_choose_free(struct node *n); /* nothing is wanted */

/* --- node_announce.c --- */
void node_announce(struct node *n, const uint8_t *hash, const uint8_t *bytes, uint32_t len);
struct announced *node_announced_take(struct node *n, const struct entry *e); /* free() it; NULL: there is none */
void node_announced_free(struct node *n);

/* --- node_missing.c --- */
/* A path is gone: DELETED: say so; RESTORE: it is wanted again; ASK: it is dirty again, and held back. */
enum node_missing node_missing(struct node *n, const char *path);
int node_hold(struct node *n, const char *path); /* it is looked at again once it is judged what is missing */
bool node_look_is_due(const struct node *n);
bool node_is_held(struct node *n, const char *path, size_t len);
void node_judge_missing(struct node *n);
uint64_t node_judge_at(const struct node *n); /* UINT64_MAX: not */
/* The path that is being looked at is to be looked at again: what was said of it goes on being so. */
void node_look_again(struct node *n, const char *path, size_t len);

/* --- node_scrub.c --- */
int node_scrub_load(struct node *n, struct index_txn *t);
void node_scrub_due(struct node *n);
uint64_t node_scrub_alarm(const struct node *n); /* UINT64_MAX: not */
void node_scrub_rotten(struct node *n, const char *path);   /* it is found, and marked */
void node_scrub_restored(struct node *n, const char *path);
void node_scrub_end(struct node *n);   /* where it is, for the next start */
void node_scrub_free(struct node *n);

/* --- node_rot.c --- */
/* Is what was found at the path of this record nobody's doing? Before r->young is that of what was found. */
bool node_is_rot(const struct node *n, const struct index_record *r, const struct examine_result *x);
int node_rot(struct node *n, struct index_txn *t, const char *path, struct index_record *r, struct examine_result *x); /* then that is noted, for all names of it */

/* --- node_trash.c --- */
bool node_start_tend(struct node *n);  /* a job was started */
void node_tend_first(struct node *n);  /* at the start */
void node_tend_soon(struct node *n);   /* something may be left in the temps */

/* --- serve.c --- */
int serve_get(struct node *n, struct node_peer *p, const struct frame *f);
void serve_due(struct node *n);        /* what may go out now by the limit */
uint64_t serve_alarm(const struct node *n); /* UINT64_MAX: not */
void serve_free(struct node *n);       /* what waits is dropped, before the peers are freed */

#endif
