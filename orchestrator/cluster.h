/*
 * cluster.h - the cluster's objects (FORMAT.md): what they hold, and reading, changing and listing them in a store.
 *
 * An object is written only over the version that was read, or where there was none: a compare-and-swap. What cannot be decoded is an error that
 * names object and field, and is not written over. Sizes are bounded both ways.
 *
 * Threads: a struct cluster may be shared, its calls block (up to deadline_ms for each request, of which a put makes up to six). Errors have messages.
 */
#ifndef CLONELOVE_CLUSTER_H
#define CLONELOVE_CLUSTER_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dns.h"
#include "env.h"
#include "store.h"

#define CLUSTER_LABEL_MAX 64 /* with its NUL, as all of these */
#define CLUSTER_ID_MAX 33
#define CLUSTER_TIME_MAX 40
#define CLUSTER_NAME_MAX (DNS_NAME_MAX + 2) /* what an object is called within its kind */
#define CLUSTER_KEY_MAX (CLUSTER_NAME_MAX + 16)
#define CLUSTER_LIST_MAX 1000 /* members, pools, reports; elements of a list */

enum cluster_kind {
	CLUSTER_SITE, CLUSTER_LEADER, CLUSTER_VIEW, /* one each; their name is "" */
	CLUSTER_MEMBER, CLUSTER_POOL, CLUSTER_REPORT, /* by label */
	CLUSTER_DECISION, /* by cluster_decision_name */
	CLUSTER_ANSWERS,  /* by host name */
	CLUSTER_KINDS
};

struct cluster_site {
	char id[CLUSTER_ID_MAX], name[64], created[CLUSTER_TIME_MAX];
	uint64_t lease_ms, report_ms;
	char revision[128], revision_next[128];
};

struct cluster_leader {
	uint64_t epoch, beat, lease_ms;
	char holder[CLUSTER_LABEL_MAX], process[CLUSTER_ID_MAX];
	bool released;
};

enum cluster_wanted { CLUSTER_IN, CLUSTER_OUT, CLUSTER_AWAY }; /* "in", "out", "gone" */
enum cluster_state { CLUSTER_LAUNCHING, CLUSTER_LIVE, CLUSTER_DRAINED, CLUSTER_TERMINATING, CLUSTER_GONE };
extern const char *const cluster_wanted_names[], *const cluster_state_names[];

struct cluster_member {
	char name[CLUSTER_LABEL_MAX], role[CLUSTER_LABEL_MAX], address[DNS_ADDRESS_MAX];
	int wanted, state; /* enum cluster_wanted, cluster_state */
	char provider[CLUSTER_LABEL_MAX], instance[128], launch[CLUSTER_ID_MAX];
	uint64_t epoch;
};

enum cluster_check { CLUSTER_TCP, CLUSTER_HTTP, CLUSTER_HTTPS };
extern const char *const cluster_check_names[];

struct cluster_pool {
	char name[CLUSTER_LABEL_MAX], host[DNS_NAME_MAX], role[CLUSTER_LABEL_MAX], dns[CLUSTER_LABEL_MAX], path[256];
	uint64_t min, ttl_s, port;
	int check; /* enum cluster_check */
	bool report;
};

enum cluster_step_state { CLUSTER_WAITING, CLUSTER_RUNNING, CLUSTER_DONE, CLUSTER_FAILED };
extern const char *const cluster_step_names[];
struct cluster_step { char name[CLUSTER_LABEL_MAX], error[256]; int state; uint64_t took_ms; };
struct cluster_sight { char member[CLUSTER_LABEL_MAX], why[128]; bool up; };

struct cluster_report {
	char name[CLUSTER_LABEL_MAX], process[CLUSTER_ID_MAX], host[CLUSTER_LABEL_MAX];
	uint64_t seq;
	bool ready, in_sync;
	char revision[128], tree[65];
	struct cluster_step *steps;
	size_t step_count;
	struct cluster_sight *sees;
	size_t see_count;
};

enum cluster_health { CLUSTER_UNKNOWN, CLUSTER_UP, CLUSTER_DOWN };
extern const char *const cluster_health_names[];
struct cluster_view_member { char name[CLUSTER_LABEL_MAX], pool[CLUSTER_LABEL_MAX], why[128]; bool in; int health; };
struct cluster_problem { char on[128], text[512]; };

struct cluster_view {
	uint64_t epoch;
	char at[CLUSTER_TIME_MAX];
	struct cluster_view_member *members;
	size_t member_count;
	struct cluster_problem *problems;
	size_t problem_count;
};

enum cluster_result { CLUSTER_BEGUN, CLUSTER_ENDED, CLUSTER_REFUSED, CLUSTER_NOT_KNOWN }; /* "begun", "done", "failed", "unknown" */
extern const char *const cluster_result_names[];

struct cluster_decision {
	uint64_t epoch, serial;
	char at[CLUSTER_TIME_MAX], leader[CLUSTER_LABEL_MAX], what[CLUSTER_LABEL_MAX], on[128], why[1024], detail[512];
	int result;
};

struct cluster_address { char address[DNS_ADDRESS_MAX]; };
struct cluster_answers {
	char host[DNS_NAME_MAX], token[DNS_TOKEN_MAX];
	uint64_t ttl_s;
	struct cluster_address *addresses;
	size_t count;
};

struct cluster {
	struct store *store; /* borrowed */
	struct env *env;
	uint64_t deadline_ms; /* of one request; 0: the store's */
};

/* What was read of an object, and is to be written over. All zero: there was none. */
struct cluster_version { char etag[STORE_ETAG_MAX]; struct json_object *raw; };
void cluster_version_free(struct cluster_version *v); /* and leaves it zero */

bool cluster_is_label(const char *text);
bool cluster_is_id(const char *text); /* 32 lower-case hex digits */
void cluster_new_id(struct env *env, char *ret);  /* CLUSTER_ID_MAX */
void cluster_now(struct env *env, char *ret);     /* CLUSTER_TIME_MAX; for people */
const char *cluster_decision_name(uint64_t epoch, uint64_t serial, char *ret); /* CLUSTER_NAME_MAX */
const char *cluster_key(enum cluster_kind kind, const char *name, char *ret);  /* CLUSTER_KEY_MAX */

size_t cluster_bytes(enum cluster_kind kind); /* sizeof its struct */
/* st is the struct of that kind throughout; a decoded one is to be freed with cluster_free (which leaves no lists). */
void cluster_free(enum cluster_kind kind, void *st);
/* Bytes of an object. 0; ERR_CORRUPT or ERR_NEWER_FORMAT "KEY: FIELD: why"; *ret_raw is the caller's to put. */
int cluster_decode(enum cluster_kind kind, const char *name, const void *p, size_t len, void *ret, struct json_object **ret_raw);
/* Onto raw (NULL: nothing): a new json_object with all that raw has and the struct's fields; put: 32 hex digits. ERR_CORRUPT where it would not decode. */
int cluster_encode(enum cluster_kind kind, const char *name, const void *st, struct json_object *raw, const char *put, struct json_object **ret);

/* Does the store honour both conditions, If-None-Match and If-Match? 0, ERR_NO_FENCING, or the store's error; keys under "probe/" are made and removed. */
int cluster_probe(const struct cluster *c);
/* 0; -ENOENT (ret_v is zero; nothing in ret to be freed); others. */
int cluster_get(const struct cluster *c, enum cluster_kind kind, const char *name, void *ret, struct cluster_version *ret_v);
/*
 * Writes over v, and makes v what was written. ERR_PRECONDITION: somebody else's was there instead, v is of no use any more (ours may have been there
 * before it). ERR_UNAVAILABLE: not known, it may take effect later.
 */
int cluster_put(const struct cluster *c, enum cluster_kind kind, const char *name, const void *st, struct cluster_version *v);
/*
 * Reads, has change() change it, writes, and begins anew where somebody was faster, up to eight times (then ERR_PRECONDITION). found: whether there
 * is one (else st is zero). change() returns 0 to have it written, a positive number where there is nothing to do (which is returned), or an error; it
 * may be called again on what itself has made. ret (may be NULL): what is there then, to be freed; only on 0 and positive, and there zero if none was found.
 */
int cluster_change(const struct cluster *c, enum cluster_kind kind, const char *name, int (*change)(void *user, bool found, void *st), void *user, void *ret);
/* One listing of all that decisions depend on: site, members, pools, reports; what else is there is left out. As cluster_list. */
int cluster_list_now(const struct cluster *c, int (*each)(void *user, enum cluster_kind kind, const char *name, const char *etag), void *user);
/* The names of all objects of a kind, in order, with their ETags ("" where a listing has none). each() until it returns non-zero, which is returned. */
int cluster_list(const struct cluster *c, enum cluster_kind kind, int (*each)(void *user, const char *name, const char *etag), void *user);

#endif
