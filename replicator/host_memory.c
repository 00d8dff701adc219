/*
 * host_memory.c - memory is given back when it is not needed any more: on the core's thread.
 *
 * What grows with the tree is the index alone, and that lies in a file. Its pages are mapped, and count as this process's memory from when they are touched, though the kernel takes them
 * back when it is short; so now and then they are let go. They stay in the page cache: who touches one again finds it there, for a fault of some hundred nanoseconds.
 */
#include <malloc.h>
#include <sys/resource.h>

#include "host_impl.h"

#define TIDY_NS 10000000000ull
#define FAULTS_FEW 256 /* that there were since: nothing was done that is worth it. A fault maps up to 64 KiB of a file */

void host_bound_memory(void)
{
	(void)mallopt(M_ARENA_MAX, 2); /* what one thread frees another takes */
}

void host_tidy_memory(struct host *h, uint64_t now)
{
	struct rusage u;

	if (now < h->tidy_ns)
		return;
	h->tidy_ns = now + TIDY_NS;
	if (getrusage(RUSAGE_SELF, &u) || u.ru_minflt - h->faults < FAULTS_FEW)
		return;
	index_release(h->index);
	malloc_trim(0);
	(void)getrusage(RUSAGE_SELF, &u);
	h->faults = u.ru_minflt;
}
