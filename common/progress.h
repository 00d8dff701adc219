/*
 * progress.h - what goes on, shown to who looks at a terminal.
 */
#ifndef CLONELOVE_PROGRESS_H
#define CLONELOVE_PROGRESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * A line on stderr where that is a terminal: what goes on, a bar where the total is known, and for how long; else silent. It is drawn each second,
 * whatever its owner does meanwhile. fd >= 0: lines "stage done total" there too, as fsck(8)'s -C has it. One at a time in a process.
 */
struct progress {
	const char *what;
	int stage, fd;
	bool tty, drawn;
	_Atomic uint64_t done, total; /* total 0: not known */
	uint64_t begun_ns, drawn_ns;
};
#define PROGRESS_INIT { .fd = -1 }
void progress_begin(struct progress *p, const char *what, uint64_t total);
void progress_add(struct progress *p, uint64_t n); /* any thread */
void progress_draw(struct progress *p);            /* any thread; cheap to call often */
void progress_say(struct progress *p, const char *what); /* another `what`, borrowed, from here on */
void progress_hide(struct progress *p);            /* any thread: something is to be printed */
void progress_end(struct progress *p);

#endif
