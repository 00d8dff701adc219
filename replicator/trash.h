/*
 * trash.h - what was taken out of the tree and is kept: which path it had, why it is there, since when; getting it back; how long it stays (DESIGN.md, "The trash").
 *
 * What is in the trash is there under the name of the temp that it left the tree with. What a name is about stands in the notes, a file in the corner that is
 * only appended to: before something is taken out, a note says so. So the path is known whatever comes between, and needs no index. A note of what is not
 * there says nothing. A record that was torn is passed over, whatever is around it counts.
 *
 * Time in the trash is counted by a clock of its own: how long the machine was up, by CLOCK_BOOTTIME, from one note to the next. The wall clock is written down
 * for people, and decides nothing: it may be a year ahead when the machine boots. While a machine is off no time passes; nothing goes too early.
 *
 * Threads: trash_note and trash_tend are the core's jobs', one at a time. trash_list, trash_restore and trash_remove may come from anywhere at any time, from
 * another process too: to the core they are what a user does. All block for disk. 0 or -errno.
 */
#ifndef CLONELOVE_TRASH_H
#define CLONELOVE_TRASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "env.h"
#include "tree.h"

#define TRASH_BOOT_BYTES 16
#define TRASH_KEEP_NS (30ull * 24 * 3600 * 1000000000)   /* what is kept how long, unless told otherwise */
#define TRASH_LEAST_NS (24ull * 3600 * 1000000000)       /* what is younger goes by no limit of size */

enum trash_why {
	TRASH_UNKNOWN,  /* left over; no note is there */
	TRASH_DELETED,  /* a member deleted it */
	TRASH_CONFLICT, /* it lost to a version that did not know of it */
	TRASH_ROT,      /* its content had changed with nobody's doing */
	TRASH_CAUSES
};
extern const char *const trash_why_names[TRASH_CAUSES]; /* "unknown", ... */

struct trash_note {
	const char *name;      /* of the temp; "" = nothing but the time */
	const char *path;      /* "" = unknown */
	enum trash_why why;
	uint64_t wall_us;      /* since 1970, for people */
	uint64_t clock_ns;     /* the trash's clock */
};

struct trash_item {
	struct trash_note note;
	enum entry_kind kind;
	bool carried;          /* kind counts */
	uint64_t size;         /* bytes; 0 of what is no file */
	uint32_t uid, gid;
};

/* --- the clock --- */
struct trash_clock { uint64_t at_ns, boot_ns; }; /* at boot_ns it showed at_ns */
/* As the notes have it. boot: other after each boot of the machine. */
int trash_clock_load(struct tree *t, const uint8_t *boot, uint64_t boot_ns, struct trash_clock *ret);
uint64_t trash_clock_ns(const struct trash_clock *c, uint64_t boot_ns);

/* --- what comes in --- */
/* Before what is named is taken out. sync: durable when it returns; else before it is moved to the trash: tree.sync_notes. */
int trash_note(struct tree *t, const struct trash_note *notes, size_t count, bool sync);

/* --- keeping it --- */
struct trash_rules {
	const uint8_t *boot;           /* TRASH_BOOT_BYTES */
	uint64_t boot_ns, clock_ns, wall_us; /* now */
	uint64_t keep_ns;
	uint64_t most_bytes;           /* 0 = no limit: else the oldest go earlier, none younger than TRASH_LEAST_NS */
};
struct trash_state {
	uint64_t items, bytes;         /* that are left */
	uint64_t removed;
	bool stuck;                    /* something is still in the temps, for want of space: tend it again soon */
};
/*
 * Moves to the trash what is left in the temps (no apply may be under way), notes down what has no note (its time begins now), removes what has been there long enough,
 * shortens the notes, and writes the time down. An error of one item does not keep it from the others; the first is returned. *ret is filled in either way.
 */
int trash_tend(struct tree *t, const struct trash_rules *rules, struct trash_state *ret);

/* --- for users --- */
/* In no order; a non-zero result ends it and is returned. */
typedef int (*trash_visit)(void *user, const struct trash_item *item);
int trash_list(struct tree *t, trash_visit visit, void *user);
/*
 * Back into the tree, durable when it returns: to `to`, NULL = where it was. Missing directories on the way are made. Nothing is overwritten: -EEXIST. -ENOENT: nothing
 * of that name is in the trash; -ENODATA: its path is not known, and none was given; -ENOTDIR, -ELOOP: something on the way is no directory. ret_path:
 * ENTRY_PATH_MAX + 1, where it is now; may be NULL.
 */
int trash_restore(struct tree *t, struct env *env, const char *name, const char *to, char *ret_path);
/* For good, before its time. */
int trash_remove(struct tree *t, const char *name);

#endif
