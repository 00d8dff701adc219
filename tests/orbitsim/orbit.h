/*
 * orbit.h - a cluster's controllers, agents, operator, store and DNS in one process, and what a seed makes happen to them. The same seed gives the same
 * history.
 *
 *   actors.c   threads of which one runs at a time, and virtual time
 *   doubles.c  the store and the DNS: each call may be slow, lose its answer, take effect much later, or be the last one before a crash
 *   roles.c    what controllers, agents and the operator do: the project's own code
 *   history.c  what happens, and what has to be so all the time and at the end
 *
 * Real are: the lease, the rounds, the plan, the objects and their compare-and-swap. Doubles: the store below them, the DNS, the checks, the clocks.
 */
#ifndef CLONELOVE_ORBIT_H
#define CLONELOVE_ORBIT_H

#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cluster.h"
#include "compiler.h"
#include "controller.h"
#include "../lib/rng.h"

#define CONTROLLERS 3u
#define MEMBERS 4u
#define PROCESSES (CONTROLLERS + MEMBERS + 1u) /* the last one is the operator's */
#define ACTORS (2u * CONTROLLERS + MEMBERS + 1u)
#define OBJECTS_MAX 4096u
#define LATE_MAX 256u
#define MS UINT64_C(1000000)
#define SECOND (1000 * MS)
#define NEVER UINT64_MAX

#define STORM_NS (240 * SECOND)
#define CALM_NS (180 * SECOND) /* longer than anything can be late */
#define WELL_NS (45 * SECOND)

#define LEASE_MS 4000u
#define REPORT_MS 2000u
#define TTL_S 2u
#define HOST "www.example.org"

/* Lies of the world, that the checks must find out. */
enum orbit_break {
	ORBIT_BREAK_NONE,
	ORBIT_BREAK_SWAP_BLIND,   /* the DNS takes a change whatever token it was made on */
	ORBIT_BREAK_PUT_BLIND,    /* the store takes a PUT whatever it is to be over */
	ORBIT_BREAK_CLOCK_FAST,   /* one controller's clock runs at twice the speed */
	ORBIT_BREAK_REPORTS_LIE,  /* whoever looks sees all down, from some time in the storm's second half on */
	ORBIT_BREAK_LATE_BLIND,   /* a change that comes late is taken whatever its token */
	ORBIT_BREAK_COUNT
};
extern const char *const orbit_break_names[ORBIT_BREAK_COUNT];

struct world;

struct process {
	struct world *w;
	unsigned id;
	bool crashed;              /* its calls fail from here on, its actors unwind */
	bool up;                   /* an incarnation runs */
	uint64_t starts_ns;        /* when the next one begins */
	uint64_t frozen_ns;        /* until then nothing of it runs */
	uint64_t boot_ns;          /* its clock: boot_ns + time * rate / 1000 */
	unsigned rate;
	struct env env;
	struct store store;
	struct cluster cluster;
	struct dns dns;
	struct health health;
	char name[16];
	/* a controller's incarnation */
	struct lead *lead;
	struct controller *controller;
	uint64_t lease_ms;
	bool lease_runs;           /* the lease's actor is within lead_step */
};

struct actor {
	struct world *w;
	struct process *p;
	void (*run)(struct actor *a);
	pthread_t thread;
	sem_t go;
	uint64_t wake_ns;
	bool over;
};

struct object { char key[CLUSTER_KEY_MAX]; uint8_t *data; size_t len; uint64_t version; };

struct answers { char token[DNS_TOKEN_MAX]; char addresses[32][DNS_ADDRESS_MAX]; size_t count; };

/* What takes effect later than its caller knows. */
struct late {
	uint64_t at_ns;
	char key[CLUSTER_KEY_MAX]; /* "": a swap */
	uint8_t *data;
	size_t len;
	bool create;
	uint64_t over;
	char from[DNS_TOKEN_MAX];
	struct answers to;
	uint64_t leaders;          /* how many had led when it was sent */
};

struct world {
	uint64_t seed, rng, now_ns;
	enum orbit_break brk;
	bool trace, ending;
	sem_t turn;
	struct actor actors[ACTORS];
	struct process processes[PROCESSES];

	struct object *objects;
	size_t object_count;
	uint64_t version;
	struct answers dns;
	struct late late[LATE_MAX];
	size_t late_count;

	bool calm;                     /* the end: nothing goes wrong any more */
	bool alive[MEMBERS];
	bool cut[PROCESSES][MEMBERS];  /* an observer does not reach a member */
	uint64_t trouble_ns;           /* when something last was wrong with members, or between them */
	uint64_t wished_ns[MEMBERS];   /* when the operator last wished something of one */
	unsigned min;
	uint64_t swaps, crashes, lates_landed, lates_past_two, leaders; /* past_two: came behind two changes of leader */
	uint64_t calls;
	char violation[512];
};

/* --- actors.c --- */
void actors_start(struct world *w);
void actors_run(struct world *w, uint64_t until_ns, void (*between)(struct world *w)); /* between: before each step */
void actors_stop(struct world *w);
void actor_sleep(struct actor *a, uint64_t ns); /* lets the world go on */
struct actor *actor_self(void);
uint64_t process_now(const struct process *p);
void note(struct world *w, const char *fmt, ...) CL_PRINTF(2, 3);    /* of the trace */
void violate(struct world *w, const char *fmt, ...) CL_PRINTF(2, 3); /* the first one counts */

/* --- doubles.c --- */
void doubles_open(struct process *p);
void late_land(struct world *w); /* what is due takes effect */
void doubles_free(struct world *w);
int answers_compare(const void *a, const void *b);

/* --- roles.c --- */
void run_rounds(struct actor *a);
void run_lease(struct actor *a);
void run_agent(struct actor *a);
void run_operator(struct actor *a);
void roles_found(struct world *w); /* the cluster, as it is at the beginning */

/* --- history.c: what is looked at when something takes effect --- */
void check_object(struct world *w, const char *key, const struct object *before, const uint8_t *data, size_t len);
void check_swap(struct world *w, const struct answers *before, const struct answers *after, bool late);
/* 0: nothing was violated. */
int history_run(uint64_t seed, enum orbit_break brk, bool trace, struct world *ret_counts);

#endif
