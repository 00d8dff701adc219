/*
 * cmd_format.c - clonefs format: an empty volume at an address.
 *
 * The superblock is created only where there is none, so that a crash or a
 * second call never harms a volume.
 */
#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "env.h"
#include "err.h"
#include "store.h"
#include "volume.h"

enum { OPT_UNSAFE = CMD_LONG(0), OPT_COMPRESS, OPT_JSON, OPT_OWNER, OPT_MODE };

static const struct cmd_option options[] = {
	{ 'o', "options", "LIST", "options of the store, as for mount -o (endpoint=, region=, profile=, ...)" },
	{ OPT_COMPRESS, "compress", "LEVEL", "zstd level of the data, 1 to 19; 0 = none (default 3)" },
	{ OPT_OWNER, "owner", "USER[:GROUP]", "owner of the root directory, names or numbers (default root; GROUP: the user's)" },
	{ OPT_MODE, "mode", "OCTAL", "its permissions (default 755)" },
	{ OPT_UNSAFE, "unsafe-no-fencing", NULL, "accept a store without conditional writes: two writers can then destroy the volume" },
	{ OPT_JSON, "json", NULL, "print the result as JSON" },
};

static const struct cmd_usage usage = {
	"clonefs format", "STORE", "Makes an empty volume at STORE (s3://bucket/prefix or file:///path).", options, CL_ARRAY_LEN(options),
	"Exit codes: 0 made; 1 failed; 2 wrong call; 4 there is a volume already; 5 the store does not answer.", CMD_USAGE
};

struct args {
	const char *store_options;
	uint64_t compress;
	bool unsafe, json;
	uint32_t uid, gid, mode;
};

/* A number in base, all of text, up to max. */
static bool number(const char *text, int base, uint64_t max, uint32_t *ret)
{
	char *end;
	unsigned long long x;

	errno = 0;
	x = strtoull(text, &end, base);
	if (*text < '0' || *text > '9' || *end || errno || x > max)
		return false;
	*ret = (uint32_t)x;
	return true;
}

/* A name first: one may look like a number. */
static int take_owner(struct args *a, const char *arg)
{
	const char *colon = strchr(arg, ':'), *group = colon ? colon + 1 : NULL;
	size_t len = colon ? (size_t)(colon - arg) : strlen(arg);
	const struct passwd *u;
	const struct group *g;
	char user[256];

	if (len == 0 || len >= sizeof(user) || (group && !*group)) {
		cmd_complain(usage.program, "--owner %s: say USER or USER:GROUP", arg);
		return -1;
	}
	memcpy(user, arg, len);
	user[len] = '\0';
	u = getpwnam(user);
	if (u) {
		a->uid = u->pw_uid;
		a->gid = u->pw_gid;
	} else if (number(user, 10, UINT32_MAX - 1u, &a->uid)) {
		u = getpwuid(a->uid);
		a->gid = u ? u->pw_gid : a->uid;
	} else {
		cmd_complain(usage.program, "--owner %s: there is no user %s here", arg, user);
		return -1;
	}
	if (!group)
		return 0;
	g = getgrnam(group);
	if (g)
		a->gid = g->gr_gid;
	else if (!number(group, 10, UINT32_MAX - 1u, &a->gid)) {
		cmd_complain(usage.program, "--owner %s: there is no group %s here", arg, group);
		return -1;
	}
	return 0;
}

static int take(void *user, int letter, const char *arg)
{
	struct args *a = user;

	switch (letter) {
	case 'o':
		a->store_options = arg;
		return 0;
	case OPT_COMPRESS:
		if (cmd_number(usage.program, "--compress", arg, &a->compress))
			return -1;
		if (a->compress <= 19)
			return 0;
		cmd_complain(usage.program, "--compress %s: choose 0 to 19", arg);
		return -1;
	case OPT_UNSAFE:
		a->unsafe = true;
		return 0;
	case OPT_OWNER:
		return take_owner(a, arg);
	case OPT_MODE:
		if (number(arg, 8, 07777, &a->mode) && a->mode)
			return 0;
		cmd_complain(usage.program, "--mode %s: say permissions in octal, such as 750", arg);
		return -1;
	case OPT_JSON:
		a->json = true;
		return 0;
	default:
		return -1;
	}
}

int cmd_format(int argc, char **argv)
{
	struct args a = { .compress = 3 };
	struct progress bar = PROGRESS_INIT;
	struct store *s = NULL;
	int code = CMD_USAGE, at = cmd_parse(&usage, argc, argv, take, &a, &code), rc;

	if (at < 0 || cmd_operands(&usage, argc - at, 1, 1, &code))
		return code;
	progress_begin(&bar, "making a volume", 0);
	rc = store_open(argv[at], a.store_options, &s);
	if (!rc)
		rc = volume_format_for(s, env_system(), a.unsafe, (int)a.compress, a.uid, a.gid, a.mode);
	progress_end(&bar);
	code = rc ? cmd_fail(usage.program, rc) : CMD_OK;
	store_close(s);
	if (code)
		return code;
	if (a.json) {
		struct json_object *o = json_object_new_object();

		json_object_object_add(o, "address", json_object_new_string(argv[at]));
		json_object_object_add(o, "compress", json_object_new_uint64(a.compress));
		json_object_object_add(o, "fencing", json_object_new_boolean(!a.unsafe));
		return cmd_print_json(usage.program, o);
	}
	printf("An empty volume is at %s. Mount it: clonefs mount %s DIR\n", argv[at], argv[at]);
	return cmd_flush(usage.program, CMD_OK);
}
