/*
 * syncworld.h - a cluster in one thread: machines with trees, indexes and clocks, links between them, users who change files, and what a seed makes happen to all
 * of it. The same seed gives the same history.
 *
 *   simtree*.c   the tree of a machine: what was not synced may be lost, calls may fail, the process may die at each of them, users act between them
 *   syncworld.c  machines, processes, links, the scheduler
 *   user.c       users, and the ledger of what they wrote
 *   history.c    what happens to the machines
 *   check.c      what has to be so afterwards
 *   scenes.c     single histories, told step by step; scenes_ignore.c: of what is ignored; scenes_restored.c: of what comes back; scenes_clock.c: of clocks; scenes_rot.c: of what changes with nobody's doing
 *   sweep.c      single doings, and each call that they lead to fails in turn
 *   copy.c       a published copy that some of them begin with
 *   cut.c        what has to be so when a node says that it is in sync
 */
#ifndef CLONELOVE_SYNCWORLD_H
#define CLONELOVE_SYNCWORLD_H

#include <stdarg.h>
#include <stdio.h>

#include "compiler.h"
#include "admit.h"
#include "ignore.h"
#include "node.h"
#include "../lib/rng.h"

#define NODES_MAX 7u
#define FORGETS_MAX 256u
#define TICK_NS 4000000ull     /* the clock that times of files come from */
#define PAST_MOST 24u          /* states of the names that a power loss may go back to */
#define SIM_ATTRS 2u
#define SIM_OWNERS 5u          /* names that there are: u0.. and g0.. */
#define CORNER_TMP TREE_CORNER "/tmp/"
#define CORNER_TRASH TREE_CORNER "/trash/"

/* Lies of the world, that the checks must find out. */
enum sync_break {
	SYNC_BREAK_NONE,
	SYNC_BREAK_SYNC_LIES,      /* what was synced is lost all the same */
	SYNC_BREAK_EXCHANGE_LOSES, /* what an exchange displaces is gone: as a plain rename would have it */
	SYNC_BREAK_TRASH_LOSES,
	SYNC_BREAK_QUIET_LIES,     /* nobody ever seems to be writing */
	SYNC_BREAK_FRAME_LOST,     /* a frame does not arrive, and the link stays up */
	SYNC_BREAK_EVENT_LOST,     /* a change is not told of, and the loss neither */
	SYNC_BREAK_STAT_OLD,       /* a user's overwriting does not show in the times */
	SYNC_BREAK_TEMP_REMOVED,   /* what was being displaced when the process died is thrown away */
	SYNC_BREAK_WRITE_TORN,     /* half of what is written is something else, after it was checked */
	SYNC_BREAK_DRESS_HALF,     /* setting metadata leaves out some, and says that it was done */
	SYNC_BREAK_NOTE_LOST,      /* what was noted about the trash is not there */
	SYNC_BREAK_MISSING_ASKED,  /* whoever is asked about a tree that vanished says that all of it was deleted */
	SYNC_BREAK_BOOT_JUMPS,     /* the clock that never jumps does */
	SYNC_BREAK_BROKEN_TRUSTED, /* what a peer says behind a frame that was not taken in is believed */
	SYNC_BREAK_DISPLACED_OLD,  /* what was displaced looks as it did before it was */
	SYNC_BREAK_RULES_UNHEARD,  /* a process is not told what its machine ignores */
	SYNC_BREAK_COUNT
};
extern const char *const sync_break_names[SYNC_BREAK_COUNT];

struct inode_meta { uint16_t mode; uint32_t uid, gid, attrs[SIM_ATTRS]; int64_t mtime_ns; };

struct inode {
	struct inode *all;         /* of the world */
	uint64_t id;
	enum entry_kind kind;
	uint8_t *data;
	size_t len;
	uint16_t mode;
	uint32_t uid, gid;
	uint32_t attrs[SIM_ATTRS]; /* the values of its xattrs; 0 = it has none of this name */
	bool meddled;              /* a user changed its metadata while they were being set */
	bool unseen;               /* a user changed its metadata, and the process has not looked at it by a path since; */
	struct inode_meta seen;    /* as that saw them last */
	int64_t mtime_ns, ctime_ns;
	char *target;
	unsigned writers;          /* users who have it open */
	bool leased, broken;
	bool dirty;                /* not as it was synced */
	uint8_t *synced;
	size_t synced_len;
	int64_t synced_mtime_ns;
	bool unreadable;           /* its disk cannot read it */
	uint32_t half;             /* the token that is being written into it */
};

struct name {
	const char *path;
	struct inode *in;
	const char *was_at;        /* in the corner: the path that a node took it from, */
	uint64_t taken_ns;         /* and when */
	bool unnoted;              /* a loss of power may have taken the note of that */
};
struct names { struct name *all; size_t count, cap; };

struct world;
struct machine;

struct sim_tree {
	struct tree t;             /* first */
	struct machine *m;
	struct names now;
	struct names past[PAST_MOST]; /* since the last sync of any directory */
	size_t past_count;
	uint8_t token[TREE_TOKEN_BYTES];
	bool has_token;
	bool missing;              /* the root is not there */
	bool emptied;              /* all that was in it vanished, and nobody did that; */
	bool restoring;            /* its process was told so, and may die before it has dealt with that */
	struct buf notes;          /* about the trash; */
	size_t notes_synced;       /* so much of them is durable */
	bool acting;               /* users act: calls are theirs */
};

struct sim_event { struct sim_event *next; bool deep, writing; char path[]; };
struct sim_frame { struct sim_frame *next; size_t len; uint8_t bytes[]; };

struct sim_link {              /* one end */
	struct machine *m, *other;
	struct node_peer *peer;    /* NULL: down */
	struct sim_frame *in, **in_end;
	bool closing;
	uint8_t key[32];           /* the other's, when it came up */
	uint64_t again_ns;         /* refused: not tried before */
};

struct seen { char *path; struct entry e; }; /* what a machine held when it was asked */
struct sim_cut {
	struct node_cut *cut;      /* NULL: none is under way */
	struct seen *seen[NODES_MAX]; /* of those that were up, */
	size_t count[NODES_MAX];
	unsigned up;               /* and stayed so */
	uint64_t ended;            /* how many have */
};

struct sim_differ {
	unsigned running;          /* diffs, of its process */
	bool at_rest;              /* nothing may differ */
	uint64_t ended, told;      /* with an answer; paths */
};

enum rules { RULES_NONE, RULES_F, RULES_G_D, RULES_ROOT_A, RULES_KEPT, RULES_IN_A, RULES_ALL_BUT, RULES_DEEP, RULES_COUNT }; /* rules.c has them */

struct machine {
	struct world *w;
	unsigned number;
	struct env env;            /* its clocks and randomness */
	int64_t skew_ns;
	uint8_t key[32], boot[16];
	char address[4];
	uint64_t booted_ns;        /* its boot clock begins there */
	uint64_t rng;
	uint32_t owners;           /* the number of its first owner: every disk has numbers of its own */
	unsigned renamed;          /* a bit for each owner and group that has another name there */
	struct sim_tree tree;
	/* the process; NULL = not running */
	struct node *node;
	struct index *index;
	struct node_host host;
	bool crashed;
	uint64_t die_at;           /* calls to the tree until it dies; 0 = not */
	uint64_t fail_at;          /* until one fails; */
	uint64_t commit_at;        /* commits of its index until one does */
	struct node_job *todo, *over;
	uint64_t list_ns;          /* so long it takes to look through a directory: */
	bool sure;                 /* its index does not fail: an operator waits for it */
	bool listed;               /* the job that runs did, */
	struct node_job *slow;     /* and ends... */
	uint64_t slow_ns;          /* ...then */
	struct sim_event *events, **events_end;
	uint64_t alarm_ns;
	bool due;
	unsigned turn;             /* so much of what it is told is one turn still; 0 = not in a turn */
	struct sim_link links[NODES_MAX];
	unsigned cut;              /* a bit for each machine it cannot reach, */
	unsigned seeds;            /* that its configuration names, */
	unsigned calls;            /* that it calls: by address, which is the number; whoever is there now */
	struct admit *admit;       /* the process's, as all of these */
	enum rules rules, next_rules; /* what it ignores; what it will from its next start on */
	bool absent;               /* not there yet */
	bool outcast;              /* it was told that it is forgotten */
	bool began_joining;        /* this process did */
	char dir[128];
	uint64_t started_ns;
	struct sim_cut sync;
	struct sim_differ differ;
};

struct token {                 /* a content that a user wrote */
	size_t len;
	unsigned maker;
	bool closed, released;     /* released: a user replaced or deleted it, or it was only where a disk lost it */
	bool restored;             /* a user got it back from a trash */
	bool touched;              /* by more than its making and one deletion */
	bool vanished;             /* from a machine's tree, and others had it in theirs; no user touched it since */
	bool hidden;               /* it was written where its maker's machine ignores it, and is there at most */
	int deleted_by;            /* machine + 1; the deletion is... */
	bool firm;                 /* ...known to be noted there */
	char deleted_at[64];
};

struct sim_object { const char *path; uint8_t *data; size_t len; int rc; };

struct forget {                /* a membership that was ended */
	uint8_t key[32];
	unsigned known;            /* a bit for each machine that has it in its index; none: lost with a disk */
};

struct world {
	uint64_t seed, rng, now_ns, steps, hash;
	enum sync_break brk;
	bool trace, faults, users; /* users act; disks fail */
	bool peace;                /* nothing happens to machines, disks and links */
	int64_t *dir_times;        /* all that users' doings gave to directories */
	size_t dir_time_count, dir_time_cap;
	bool dirs_ended;           /* a directory was removed, moved or replaced: it may have been made again by a node */
	bool rules;                /* machines ignore this and that */
	bool one_size;             /* all contents are as long */
	unsigned meta_permille;    /* so much of what users do is about metadata alone */
	unsigned user_permille;    /* between two calls of a process to its tree */
	uint64_t keep_ns;          /* how long the trash is kept */
	unsigned missing_percent;  /* over 100: nodes never halt for what is missing */
	uint64_t hash_apart;       /* files of so many bytes are read apart; 0 = far more than there are */
	unsigned batch;            /* paths that nodes put in place by one job; 0 = far more than there are */
	size_t want_keep;          /* paths that nodes keep of what is wanted; 0 = far more than there are */
	unsigned fetch_most;       /* files that they fetch at a time; 0 = far more than there are */
	size_t inline_most;        /* bytes of announced contents that nodes keep; 0 = far more than there are */
	size_t context_keep, known_keep; /* 0: as many as usual */
	uint64_t tombs_ns;         /* how long deletions are remembered at the least; 0 = for longer than any history */
	uint64_t scrub_rate, scrub_every_ns; /* 0: what is held is not read again */
	uint64_t rots, reads_failed, rot_told[NODE_ROT_KEPT + 1];
	unsigned count;
	struct machine m[NODES_MAX];
	struct inode *inodes;
	uint64_t inode_ids;
	char **interned;
	size_t interned_count;
	struct token *tokens;      /* 1.. */
	uint32_t token_count, token_cap;
	struct content { uint64_t hash, from_ns; } *contents; /* all that was ever whole somewhere by a user's doing, or left by a power loss; */
	                           /* or half written, and taken when it had been open for ever */
	size_t content_count, content_cap;
	uint64_t *metas;           /* all metadata of files that users ever left, hashed */
	size_t meta_count, meta_cap;
	uint64_t user_ops, user_ops_most, purged, restored, emptied, tombs_gone;
	bool copies;               /* some machines get contents from a published copy */
	const struct sim_object *objects; /* what is in it, in scenes; the last one has no path. NULL: as it happens */
	uint64_t copied, copy_gets; /* bytes that came from there, of processes that are gone; how often it was asked */
	struct forget forgets[FORGETS_MAX];
	size_t forget_count;
	char violation[512];
	char dir[64];
};

/* --- syncworld.c --- */
void world_say(struct world *w, const char *fmt, ...) CL_PRINTF(2, 3);
void world_violation(struct world *w, const char *fmt, ...) CL_PRINTF(2, 3); /* the first is kept */
uint64_t world_random(struct world *w, uint64_t n);
bool world_chance(struct world *w, unsigned permille);
void machine_init(struct world *w, unsigned number);
void machine_boot(struct machine *m);            /* starts the process */
void machine_new_key(struct machine *m);
void world_unforget(struct machine *m);          /* its index is not what it was */
bool world_owns(const struct world *w, const uint8_t *key); /* some machine has this key */
void machine_forget(struct machine *m, const uint8_t *key); /* its operator says that this member is gone */
void machine_rejoin(struct machine *m);          /* its operator makes a forgotten one new */
void machine_kill(struct machine *m);            /* the process is gone; the machine is not */
void machine_stop(struct machine *m);            /* in order, if it is idle: else it is killed */
void machine_power_loss(struct machine *m);
void machine_reset(struct machine *m);           /* the machine boots: another boot, its clock begins anew */
void machine_event(struct machine *m, const char *path, bool deep, bool writing);
void machine_forget_index(struct machine *m);
bool machine_idle(const struct machine *m);
/* --- simindex.c --- */
void simindex_init(struct world *w);             /* commits of its machines fail from now on, while disks do; NULL: no more */
void simindex_copy(const char *from, const char *to);
void machine_index_path(const struct machine *m, const char *name, char *ret, size_t cap);
void machine_copy_index(const struct machine *from, struct machine *to, const char *name);
void world_cut(struct world *w, unsigned a, unsigned b, bool cut);
bool world_step(struct world *w);                /* false: nothing to do but wait for the next alarm, and there is none */
void world_init(struct world *w, uint64_t seed, enum sync_break brk, bool trace);
void world_free(struct world *w);

/* --- cut.c --- */
void cut_begin(struct machine *m);               /* asks it to be in sync; judged when it says that it is */
void cut_link_down(struct machine *m, unsigned other);
void cut_drop(struct machine *m);

/* --- differ.c --- */
unsigned differ_begin(struct machine *m, bool at_rest); /* asks it what differs from each other; how many it can ask */
void differ_drop(struct machine *m);

/* --- simtree.c --- */
void simtree_init(struct sim_tree *s, struct machine *m);
void simtree_open(struct sim_tree *s);           /* as tree_posix_open leaves it: no temps but parts */
void simtree_power_loss(struct sim_tree *s);
void simtree_clear(struct sim_tree *s);
void simtree_copy(const struct sim_tree *from, struct sim_tree *to);
void simtree_free(struct sim_tree *s);
struct inode *simtree_find(const struct sim_tree *s, const char *path);
/* What users do; 0 or -errno. */
int simtree_user_put(struct sim_tree *s, const char *path, struct inode *in); /* replaces a file */
int simtree_user_link(struct sim_tree *s, const char *path, struct inode *in);
int simtree_user_remove(struct sim_tree *s, const char *path);
int simtree_user_rename(struct sim_tree *s, const char *from, const char *to);
struct inode *simtree_inode(struct sim_tree *s, enum entry_kind kind);
void simtree_touch(struct sim_tree *s, struct inode *in, bool mtime);
/* Whom a number means on whatever machine: a name is the same everywhere, its number is not. */
uint32_t simtree_owner(uint32_t id);
/* Has machine m a name for it? */
bool simtree_owner_named(const struct machine *m, uint32_t id);
void simtree_names_copy(const struct names *from, struct names *to);
bool simtree_is_dir(const struct sim_tree *s, const char *path); /* "" too */
bool simtree_is_left(const char *path); /* a temp that may hold somebody's edit */

/* --- user.c --- */
void user_act(struct machine *m);
void user_some_path(struct world *w, bool dir, char *ret); /* one of the few there are */
uint32_t user_put(struct machine *m, const char *path, size_t len); /* puts a new file there; its token */
void user_dir(struct machine *m, const char *path);
uint32_t user_write(struct machine *m, const char *path); /* into the file that is there, by this name */
void user_mode(struct machine *m, const char *path, unsigned mode);
uint32_t user_open(struct machine *m, const char *path); /* writes half of something new into it, and has it open; its token, 0: it cannot be opened now */
void user_link(struct machine *m, const char *to, const char *from);
void user_remove(struct machine *m, const char *path); /* a file, an empty directory */
void user_owner(struct machine *m, const char *path, uint32_t id);
void user_finish(struct machine *m);             /* what is half written is written to its end */
uint32_t token_of(struct world *w, const struct inode *in); /* 0: none */
void ledger_content(struct world *w, const uint8_t *data, size_t len, uint64_t after_ns);
bool ledger_knows(const struct world *w, const uint8_t *data, size_t len);
/* The metadata that a file has now are somebody's doing. */
void ledger_meta(struct world *w, const struct inode *in);
/* Something new is at a path: should it be lost for good, what was there before it may be there again, a deleted file too. */
void ledger_new_at(struct world *w, const char *path);
void ledger_dir_time(struct world *w, int64_t mtime_ns);
bool ledger_knows_meta(const struct world *w, const struct inode *in);
/* Before and after a disk loses something: what is nowhere any more is nobody's fault. */
uint8_t *ledger_before(struct world *w, const struct machine *m);
void ledger_after(struct machine *m, uint8_t *before);
void ledger_firm(struct machine *m);             /* its deletions are in its index */
void ledger_unfirm(struct machine *m, bool all);
/* Its tree comes without what was known of it: what was deleted so long ago that the deletion was forgotten may come back. */
void ledger_stale(struct machine *m);
enum has { HAS_CARRIED, HAS_TREE, HAS_TRASH }; /* in its tree, not ignored there; in its tree; or the trash */
bool machine_has(struct machine *m, uint32_t token, enum has where);

void ledger_vanish(struct machine *m);           /* all of what is in its tree is about to */
bool machine_go_on(struct machine *m);           /* if it halted for what is missing, somebody looks, and tells it */

/* --- user_trash.c --- */
void user_trash(struct machine *m);

/* --- copy.c --- */
void copy_boot(struct machine *m);               /* for the process that starts */

/* --- rules.c --- */
const struct ignore *rules_boot(struct machine *m); /* for the process that starts */
bool machine_ignores(const struct machine *m, const char *path);
void rules_copied(struct world *w);              /* a tree is on another machine, or back from a backup, made with other rules perhaps */
void rules_removed(struct machine *m, uint32_t token); /* its user is about to remove it, from an ignored path, where its only name is */
/* A name is about to go. What was written by it may not have been noticed: a later scan finds it by the others. */
void rules_lost_name(struct sim_tree *s, const char *path);
void rules_judge_touch(struct sim_tree *s, const char *path); /* a process is about to change something there */
void check_rules(struct world *w);

/* --- history.c --- */
struct history_result { char violation[512]; uint64_t hash, steps, user_ops, crashes, virtual_ms, purged, restored, emptied, tombs_gone, copied; };
void world_rest(struct world *w);                /* everything has to come to rest */
int history_run(uint64_t seed, enum sync_break brk, bool trace, struct history_result *ret);

/* --- scenes_rot.c --- */
void rot_file(struct machine *m, const char *path); /* a byte of it is another, and nothing shows that */
void rot_told(struct node_host *h, const char *path, enum node_rot what); /* node_host's */

/* --- sweep.c --- */
size_t sweep_count(void);
void sweep_name(size_t number, char *ret, size_t cap);
void sweep(struct world *w, size_t number);

/* --- scenes.c --- */
int scenes_run(bool trace);                      /* 0: all are as they have to be */
int sweeps_run(uint64_t seed, const char *only, bool trace); /* the same of the sweeps that have this in their names; the seed decides the order of what happens */

/* --- check.c --- */
void check_end(struct world *w);
void check_lost(struct machine *m, const char *path); /* it gives up what that was to have */
void check_forgotten(struct world *w);           /* deletions that were due to be forgotten are */

#endif
