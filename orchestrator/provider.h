/*
 * provider.h - where machines come from, as a table of functions: launch, list, terminate, console, images.
 *
 * A launch has a *token* that is in the member's object before the provider is asked. Two launches with one token are one machine, however often and
 * however late they arrive. A machine's ID is never given to another machine, and terminating what is gone is no error: so each call may be made twice.
 *
 * Threads: one at a time per driver; calls block, but never for longer than their deadline. Results: 0; ERR_UNAVAILABLE: not known, it may take
 * effect, now or later (throttled, no answer): worth trying again; -ENOENT: no such machine; ERR_AUTH, ERR_CONFIG, -ENOSPC (a quota) and others with a
 * message that names what the provider said: nothing was done.
 */
#ifndef CLONELOVE_PROVIDER_H
#define CLONELOVE_PROVIDER_H

#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "conf.h"
#include "env.h"

#define PROVIDER_ID_MAX 128    /* an ID, with its NUL: [A-Za-z0-9._:/-] */
#define PROVIDER_TOKEN_MAX 33  /* 32 hex digits */
#define PROVIDER_USER_DATA_MAX 16384

enum provider_state { PROVIDER_PENDING, PROVIDER_RUNNING, PROVIDER_STOPPING, PROVIDER_GONE };

struct provider_machine {
	char id[PROVIDER_ID_MAX];
	char name[64];                   /* the member's */
	char token[PROVIDER_TOKEN_MAX];  /* of its launch; "" where the provider does not know it any more */
	char address[46];                /* "" while there is none */
	enum provider_state state;
};

struct provider_launch {
	const char *cluster; /* the cluster's ID: machines are tagged with it, and list() gives those */
	const char *name, *role, *token;
	const void *user_data; /* holds an address and a one-time join token, nothing that stays secret */
	size_t user_data_len;  /* <= PROVIDER_USER_DATA_MAX */
};

struct provider_image { char id[PROVIDER_ID_MAX]; char name[128]; int64_t created_s; };

struct provider {
	const char *kind;  /* "local", "ec2", "exec" */
	const char *where; /* for messages; never a secret */
	/* Machine, image, size and the like are settings of the section. *ret: as far as known; its state is PENDING mostly. */
	int (*launch)(struct provider *p, const struct provider_launch *l, uint32_t deadline_ms, struct provider_machine *ret);
	/* All machines with the cluster's tag, those just gone included where the provider still tells; each() until it returns non-zero, which is returned. */
	int (*list)(struct provider *p, const char *cluster, uint32_t deadline_ms, int (*each)(void *user, const struct provider_machine *m), void *user);
	int (*terminate)(struct provider *p, const char *id, uint32_t deadline_ms);
	/* What the machine wrote on its console, the last 64 KiB; any bytes. NULL: the provider has no consoles. */
	int (*console)(struct provider *p, const char *id, uint32_t deadline_ms, struct buf *ret);
	/* Begins an image of a machine; it is listed once it can be launched. NULL (both): there are no images. */
	int (*image_build)(struct provider *p, const char *id, const char *name, uint32_t deadline_ms, struct provider_image *ret);
	int (*image_list)(struct provider *p, uint32_t deadline_ms, int (*each)(void *user, const struct provider_image *i), void *user);
	void (*close)(struct provider *p);
};

/* A driver is a function of this kind. The section is [provider NAME] of clonectl.conf; what the driver does not take from it (conf_take) is an error. */
typedef int provider_driver_open(struct env *env, struct conf_section *s, struct provider **ret);

#endif
