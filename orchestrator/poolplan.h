/*
 * poolplan.h - who should be in a name's answers (DESIGN.md, "The pool's plan"). Pure functions: no clock, no store, no DNS.
 *
 * Properties (tests/unit/test_poolplan.c, on generated states): no plan empties the answers, none takes them below the minimum; whoever
 * leaves is dead or not wanted, whoever enters is admitted; a plan's result, planned again, is the same.
 */
#ifndef CLONELOVE_POOLPLAN_H
#define CLONELOVE_POOLPLAN_H

#include <stdbool.h>
#include <stddef.h>

#include "dns.h"

enum poolplan_sight { POOLPLAN_UNKNOWN, POOLPLAN_UP, POOLPLAN_DOWN };

struct poolplan_member {
	const char *name, *address;  /* the address is one */
	bool wanted;                 /* live, and wanted in */
	const char *unproven;        /* NULL: it has proven itself; else why not yet */
	enum poolplan_sight leader;  /* as the leader sees it */
	unsigned others_up, others_down; /* other observers with fresh reports, not on its machine */
};

struct poolplan_in {
	const struct poolplan_member *members; /* in any order */
	size_t count;
	const struct dns_answers *answers;
	size_t min;        /* 0 counts as 1 */
	bool settled;      /* the answers' token is the leader's own, and it has seen it confirmed */
};

enum poolplan_verb {
	POOLPLAN_IN,      /* in the answers, and stays */
	POOLPLAN_OUT,     /* not in, and stays out: why */
	POOLPLAN_ADD,
	POOLPLAN_REMOVE,
	POOLPLAN_HELD,    /* would be removed, but for the minimum */
	POOLPLAN_DOUBTED, /* stays; the leader sees it down, and that is not enough: why */
	POOLPLAN_FOREIGN, /* an address that no member has; name "" */
	POOLPLAN_DOUBLE,  /* its address is another's as well; goes by both */
};

struct poolplan_line { const char *name, *address, *why; enum poolplan_verb verb; }; /* views of what was given, and static texts */

struct poolplan {
	bool change;            /* the answers are to be swapped: others, or the same to settle the name */
	struct dns_answers to;  /* with no token yet; as they are where nothing changes */
	struct poolplan_line *lines; /* one for each member, by name, then one for each foreign address */
	size_t line_count;
	size_t added, removed, held;
};

/* 0 or -ENOMEM. */
int poolplan_make(const struct poolplan_in *in, struct poolplan *ret);
void poolplan_free(struct poolplan *p);

#endif
