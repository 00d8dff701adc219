/*
 * options.c - mount(8) options to a mount_config.
 *
 * One table says for each option how its value is read and where it goes;
 * options of the store are not judged here but collected for store_open.
 * Values come from fstab, a unit file or a command line: they are input, and
 * every one is checked. Nothing here touches the disk or the network.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control.h"
#include "err.h"
#include "hash.h"
#include "mount.h"

#define CACHE_BYTES_DEFAULT (10ull << 30)
#define CACHE_BYTES_MIN (64ull << 20)
#define READAHEAD_KB_DEFAULT 1024
#define NODE_BYTES_MAX 64

enum option_kind {
	OPT_TEXT,       /* char * */
	OPT_PATH,       /* char *, absolute */
	OPT_ON,         /* bool = true; takes no value */
	OPT_OFF,        /* bool = false */
	OPT_SIZE,       /* uint64_t bytes */
	OPT_MS,         /* uint64_t milliseconds; plain numbers are seconds */
	OPT_MS_OR_NONE, /* the same, or "unlimited" = UINT64_MAX */
	OPT_SECONDS,    /* unsigned seconds */
	OPT_NUMBER,     /* unsigned, min..max */
	OPT_KIB,        /* unsigned KiB, given as a size */
	OPT_DURABILITY,
	OPT_STORE,      /* handed on to store_open as it is */
	OPT_STORE_SWITCH, /* the same; by itself it means on */
	OPT_IGNORED,    /* mount(8)'s own business, or says what is so anyway; a value is allowed */
	OPT_REFUSED,
};

struct option {
	const char *name;
	enum option_kind kind;
	size_t offset;
	unsigned min, max;
	const char *why; /* OPT_REFUSED */
};

#define AT(field) offsetof(struct mount_config, field)

static const struct option options[] = {
	{ "cache_dir", OPT_PATH, AT(cache_dir), 0, 0, NULL },
	{ "cache_size", OPT_SIZE, AT(volume.cache_bytes), 0, 0, NULL },
	{ "node", OPT_TEXT, AT(node), 0, 0, NULL },
	{ "durability", OPT_DURABILITY, AT(volume.durability), 0, 0, NULL },
	{ "max_lag", OPT_MS_OR_NONE, AT(volume.max_lag_ms), 0, 0, NULL },
	{ "commit_interval", OPT_MS, AT(volume.commit_interval_ms), 0, 0, NULL },
	{ "outage_timeout", OPT_MS, AT(volume.outage_timeout_ms), 0, 0, NULL },
	{ "uploads", OPT_NUMBER, AT(volume.uploads), 1, 64, NULL },
	{ "checkpoint_size", OPT_SIZE, AT(volume.checkpoint_bytes), 0, 0, NULL },
	{ "df_size", OPT_SIZE, AT(volume.df_bytes), 0, 0, NULL },
	{ "takeover", OPT_ON, AT(takeover), 0, 0, NULL },
	{ "ro", OPT_ON, AT(read_only), 0, 0, NULL },
	{ "rw", OPT_OFF, AT(read_only), 0, 0, NULL },
	{ "allow_other", OPT_ON, AT(allow_other), 0, 0, NULL },
	{ "no_allow_other", OPT_OFF, AT(allow_other), 0, 0, NULL },
	{ "nonempty", OPT_ON, AT(nonempty), 0, 0, NULL },
	{ "noxattr", OPT_ON, AT(no_xattr), 0, 0, NULL },
	{ "xattr", OPT_OFF, AT(no_xattr), 0, 0, NULL },
	{ "database", OPT_ON, AT(database), 0, 0, NULL },
	{ "drain", OPT_ON, AT(drain_on_stop), 0, 0, NULL },
	{ "no_drain", OPT_OFF, AT(drain_on_stop), 0, 0, NULL },
	{ "metrics", OPT_TEXT, AT(metrics), 0, 0, NULL },
	{ "control", OPT_PATH, AT(control_path), 0, 0, NULL },
	{ "log_file", OPT_PATH, AT(log_file), 0, 0, NULL },
	{ "fsname", OPT_TEXT, AT(fsname), 0, 0, NULL },
	{ "io_uring", OPT_ON, AT(io_uring), 0, 0, NULL },
	{ "retry", OPT_SECONDS, AT(retry_s), 0, 0, NULL },
	{ "threads", OPT_NUMBER, AT(threads), 1, 64, NULL },
	{ "readahead", OPT_KIB, AT(readahead_kb), 0, 65536, NULL },
	{ "nosuid", OPT_ON, AT(nosuid), 0, 0, NULL },
	{ "suid", OPT_OFF, AT(nosuid), 0, 0, NULL },
	{ "nodev", OPT_ON, AT(nodev), 0, 0, NULL },
	{ "dev", OPT_OFF, AT(nodev), 0, 0, NULL },
	{ "noexec", OPT_ON, AT(noexec), 0, 0, NULL },
	{ "exec", OPT_OFF, AT(noexec), 0, 0, NULL },

	{ "endpoint", OPT_STORE, 0, 0, 0, NULL },
	{ "region", OPT_STORE, 0, 0, 0, NULL },
	{ "profile", OPT_STORE, 0, 0, 0, NULL },
	{ "ca_bundle", OPT_STORE, 0, 0, 0, NULL },
	{ "sse", OPT_STORE, 0, 0, 0, NULL },
	{ "sse_kms_key_id", OPT_STORE, 0, 0, 0, NULL },
	{ "storage_class", OPT_STORE, 0, 0, 0, NULL },
	{ "checksum", OPT_STORE, 0, 0, 0, NULL },
	{ "connections", OPT_STORE, 0, 0, 0, NULL },
	{ "timeout_ms", OPT_STORE, 0, 0, 0, NULL },
	{ "connect_timeout_ms", OPT_STORE, 0, 0, 0, NULL },
	{ "stall_ms", OPT_STORE, 0, 0, 0, NULL },
	{ "hedge_ms", OPT_STORE, 0, 0, 0, NULL },
	{ "multipart_threshold", OPT_STORE, 0, 0, 0, NULL },
	{ "part_size", OPT_STORE, 0, 0, 0, NULL },
	{ "path_style", OPT_STORE_SWITCH, 0, 0, 0, NULL },
	{ "requester_pays", OPT_STORE_SWITCH, 0, 0, 0, NULL },

	/* Reads are served from the kernel's cache without the daemon's knowledge, so access times do not move by themselves
	 * (utimensat sets them): every mount is as with noatime, and the words about it are accepted for fstab's sake. */
	{ "atime", OPT_IGNORED, 0, 0, 0, NULL },
	{ "noatime", OPT_IGNORED, 0, 0, 0, NULL },
	{ "relatime", OPT_IGNORED, 0, 0, 0, NULL },
	{ "norelatime", OPT_IGNORED, 0, 0, 0, NULL },
	{ "strictatime", OPT_IGNORED, 0, 0, 0, NULL },
	{ "nostrictatime", OPT_IGNORED, 0, 0, 0, NULL },
	{ "lazytime", OPT_IGNORED, 0, 0, 0, NULL },
	{ "nolazytime", OPT_IGNORED, 0, 0, 0, NULL },
	{ "diratime", OPT_IGNORED, 0, 0, 0, NULL },
	{ "nodiratime", OPT_IGNORED, 0, 0, 0, NULL },
	{ "defaults", OPT_IGNORED, 0, 0, 0, NULL },
	{ "default_permissions", OPT_IGNORED, 0, 0, 0, NULL },
	{ "async", OPT_IGNORED, 0, 0, 0, NULL },
	{ "auto", OPT_IGNORED, 0, 0, 0, NULL },
	{ "noauto", OPT_IGNORED, 0, 0, 0, NULL },
	{ "fail", OPT_IGNORED, 0, 0, 0, NULL },
	{ "nofail", OPT_IGNORED, 0, 0, 0, NULL },
	{ "_netdev", OPT_IGNORED, 0, 0, 0, NULL },
	{ "user", OPT_IGNORED, 0, 0, 0, NULL },
	{ "nouser", OPT_IGNORED, 0, 0, 0, NULL },
	{ "users", OPT_IGNORED, 0, 0, 0, NULL },
	{ "nousers", OPT_IGNORED, 0, 0, 0, NULL },
	{ "owner", OPT_IGNORED, 0, 0, 0, NULL },
	{ "noowner", OPT_IGNORED, 0, 0, 0, NULL },
	{ "group", OPT_IGNORED, 0, 0, 0, NULL },
	{ "nogroup", OPT_IGNORED, 0, 0, 0, NULL },
	{ "comment", OPT_IGNORED, 0, 0, 0, NULL },
	{ "silent", OPT_IGNORED, 0, 0, 0, NULL },
	{ "loud", OPT_IGNORED, 0, 0, 0, NULL },

	{ "remount", OPT_REFUSED, 0, 0, 0, "options change with a new mount only: unmount it, and mount it again" },
	{ "sync", OPT_REFUSED, 0, 0, 0, "use fsync, and durability=store for what must be on the store at once" },
	{ "dirsync", OPT_REFUSED, 0, 0, 0, "use fsync on the directory" },
	{ "writeback_cache", OPT_REFUSED, 0, 0, 0,
	  "the kernel's writeback cache would hide writes from the lag limit and put data behind renames" },
};

void mount_config_init(struct mount_config *c)
{
	memset(c, 0, sizeof(*c));
	c->allow_other = geteuid() == 0;
	c->drain_on_stop = true;
	c->readahead_kb = READAHEAD_KB_DEFAULT;
	c->volume.durability = VOLUME_DURABILITY_LOCAL;
	c->volume.max_lag_ms = 5000;
	c->volume.commit_interval_ms = 1000;
	c->volume.cache_bytes = CACHE_BYTES_DEFAULT;
	c->volume.uploads = 4;
	c->volume.checkpoint_bytes = 32u << 20;
}

void mount_config_free(struct mount_config *c)
{
	free(c->address);
	free(c->mountpoint);
	free(c->store_options);
	free(c->cache_dir);
	free(c->node);
	free(c->control_path);
	free(c->metrics);
	free(c->log_file);
	free(c->fsname);
	memset(c, 0, sizeof(*c));
}

/* A decimal number with an optional fraction times the unit that follows; units is pairs of suffix and factor, "" being the default.
 * Integers only: the fraction is taken digit by digit. */
struct unit { const char *suffix; uint64_t factor; };

static int scaled(const char *text, const struct unit *units, size_t count, uint64_t *ret)
{
	uint64_t whole = 0, factor = 0, part = 0, scale = 1;
	const char *p = text;

	if (!isdigit((unsigned char)*p))
		return -EINVAL;
	for (; isdigit((unsigned char)*p); p++)
		if (__builtin_mul_overflow(whole, 10u, &whole) || __builtin_add_overflow(whole, (uint64_t)(*p - '0'), &whole))
			return -ERANGE;
	if (*p == '.') {
		if (!isdigit((unsigned char)*++p))
			return -EINVAL;
		for (; isdigit((unsigned char)*p); p++)
			if (scale < 1000000) {
				part = part * 10 + (uint64_t)(*p - '0');
				scale *= 10;
			}
	}
	for (size_t i = 0; i < count && !factor; i++)
		if (strcasecmp(p, units[i].suffix) == 0)
			factor = units[i].factor;
	if (!factor)
		return -EINVAL;
	if (__builtin_mul_overflow(whole, factor, &whole) || __builtin_mul_overflow(part, factor, &part) ||
	    __builtin_add_overflow(whole, part / scale, &whole))
		return -ERANGE;
	*ret = whole;
	return 0;
}

static int parse_size(const char *text, uint64_t *ret)
{
	static const struct unit units[] = {
		{ "", 1 }, { "K", 1ull << 10 }, { "M", 1ull << 20 }, { "G", 1ull << 30 }, { "T", 1ull << 40 }, { "P", 1ull << 50 },
		{ "KiB", 1ull << 10 }, { "MiB", 1ull << 20 }, { "GiB", 1ull << 30 }, { "TiB", 1ull << 40 }, { "PiB", 1ull << 50 },
	};

	return scaled(text, units, CL_ARRAY_LEN(units), ret);
}

static int parse_ms(const char *text, uint64_t *ret)
{
	static const struct unit units[] = { { "", 1000 }, { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 } };

	return scaled(text, units, CL_ARRAY_LEN(units), ret);
}

static int bad(const char *name, const char *value, const char *expected)
{
	return err_set(ERR_CONFIG, "mount option %s=%s is wrong: %s", name, value, expected);
}

static int set_text(char **field, const char *value)
{
	char *copy = strdup(value);

	if (!copy)
		return -ENOMEM;
	free(*field);
	*field = copy;
	return 0;
}

static int set_number(const struct option *o, unsigned *field, const char *value)
{
	static const struct unit plain[] = { { "", 1 } };
	char expected[80];
	uint64_t x;

	if (scaled(value, plain, 1, &x) < 0 || strchr(value, '.') || x < o->min || x > o->max) {
		snprintf(expected, sizeof(expected), "a whole number from %u to %u belongs there", o->min, o->max);
		return bad(o->name, value, expected);
	}
	*field = (unsigned)x;
	return 0;
}

static int set_seconds(const struct option *o, unsigned *field, const char *value)
{
	uint64_t ms;

	if (parse_ms(value, &ms) < 0 || ms / 1000 > UINT_MAX)
		return bad(o->name, value, "a time such as 90, 2m or 1h belongs there");
	*field = (unsigned)((ms + 999) / 1000);
	return 0;
}

static int set_ms(const struct option *o, uint64_t *field, const char *value)
{
	if (o->kind == OPT_MS_OR_NONE && strcmp(value, "unlimited") == 0) {
		*field = UINT64_MAX;
		return 0;
	}
	if (parse_ms(value, field) < 0)
		return bad(o->name, value, o->kind == OPT_MS_OR_NONE ? "a time such as 5, 500ms or 2m, or \"unlimited\", belongs there"
								       : "a time such as 5, 500ms or 2m belongs there");
	return 0;
}

static int set_size(const struct option *o, void *field, const char *value)
{
	uint64_t x;

	if (parse_size(value, &x) < 0)
		return bad(o->name, value, "a size such as 500M or 20G belongs there");
	if (o->kind == OPT_SIZE) {
		*(uint64_t *)field = x;
		return 0;
	}
	if (x >> 10 < o->min || x >> 10 > o->max)
		return bad(o->name, value, "a size of at most 64M belongs there");
	*(unsigned *)field = (unsigned)(x >> 10);
	return 0;
}

static int set_durability(enum volume_durability *field, const char *value)
{
	if (strcmp(value, "local") == 0)
		*field = VOLUME_DURABILITY_LOCAL;
	else if (strcmp(value, "store") == 0)
		*field = VOLUME_DURABILITY_STORE;
	else
		return bad("durability", value, "\"local\" or \"store\" belongs there");
	return 0;
}

/* Appends "name" or "name=value"; commas inside a value stay escaped, as store_open splits at commas too. */
static int collect(char **list, const char *name, const char *value)
{
	size_t old = *list ? strlen(*list) + 1 : 0;
	size_t need = old + strlen(name) + (value ? 1 + 2 * strlen(value) : 0) + 1;
	char *p = realloc(*list, need), *w;

	if (!p)
		return -ENOMEM;
	*list = p;
	w = p + old;
	if (old)
		w[-1] = ',';
	w = stpcpy(w, name);
	if (value) {
		*w++ = '=';
		for (const char *v = value; *v; v++) {
			if (*v == ',' || *v == '\\')
				*w++ = '\\';
			*w++ = *v;
		}
	}
	*w = '\0';
	return 0;
}

static int apply(struct mount_config *c, const struct option *o, const char *value)
{
	void *field = (char *)c + o->offset;
	bool flag = o->kind == OPT_ON || o->kind == OPT_OFF;

	if (flag && value)
		return err_set(ERR_CONFIG, "mount option %s takes no value", o->name);
	if (!flag && o->kind != OPT_IGNORED && o->kind != OPT_REFUSED && o->kind != OPT_STORE_SWITCH && (!value || !*value))
		return err_set(ERR_CONFIG, "mount option %s needs a value: %s=...", o->name, o->name);
	switch (o->kind) {
	case OPT_PATH:
		if (value[0] != '/')
			return bad(o->name, value, "an absolute path belongs there");
		return set_text(field, value);
	case OPT_TEXT: return set_text(field, value);
	case OPT_ON: *(bool *)field = true; return 0;
	case OPT_OFF: *(bool *)field = false; return 0;
	case OPT_SIZE:
	case OPT_KIB: return set_size(o, field, value);
	case OPT_MS:
	case OPT_MS_OR_NONE: return set_ms(o, field, value);
	case OPT_SECONDS: return set_seconds(o, field, value);
	case OPT_NUMBER: return set_number(o, field, value);
	case OPT_DURABILITY: return set_durability(field, value);
	case OPT_STORE: return collect(&c->store_options, o->name, value);
	case OPT_STORE_SWITCH: return collect(&c->store_options, o->name, value && *value ? value : "on");
	case OPT_IGNORED: return 0;
	case OPT_REFUSED: return err_set(ERR_CONFIG, "mount option %s cannot be had: %s", o->name, o->why);
	}
	return -EINVAL;
}

static int parse_one(struct mount_config *c, char *word)
{
	char *value = strchr(word, '=');

	if (value)
		*value++ = '\0';
	if (strncmp(word, "x-", 2) == 0 || strncmp(word, "X-", 2) == 0)
		return 0;
	for (size_t i = 0; i < CL_ARRAY_LEN(options); i++)
		if (strcmp(word, options[i].name) == 0)
			return apply(c, &options[i], value);
	return err_set(ERR_CONFIG, "there is no mount option \"%s\": see mount.clonefs(8) for the list", word);
}

int mount_options_parse(struct mount_config *c, const char *text)
{
	size_t len = strlen(text), n = 0;
	char *word = malloc(len + 1);
	int rc = 0;

	if (!word)
		return -ENOMEM;
	/* A backslash keeps the comma or backslash after it. */
	for (size_t i = 0; rc == 0 && i <= len; i++) {
		if (text[i] == '\\' && (text[i + 1] == ',' || text[i + 1] == '\\')) {
			word[n++] = text[++i];
		} else if (text[i] == ',' || text[i] == '\0') {
			word[n] = '\0';
			if (n > 0)
				rc = parse_one(c, word);
			n = 0;
		} else {
			word[n++] = text[i];
		}
	}
	free(word);
	return rc;
}

/* ------------------------------------------------------------------ finish */

static int default_node(struct mount_config *c)
{
	char name[NODE_BYTES_MAX + 1];

	if (gethostname(name, sizeof(name)) < 0 || !memchr(name, '\0', sizeof(name)) || !name[0])
		return err_set(ERR_CONFIG, "this machine has no host name of at most %d bytes: give one with -o node=NAME", NODE_BYTES_MAX);
	return set_text(&c->node, name);
}

/* A read-only mount has a directory of its own: the writer's is locked while it serves, and several may look at one volume. */
static int default_cache_dir(struct mount_config *c)
{
	uint64_t volume = hash_xxh3(c->address, strlen(c->address), 0);
	const char *home = getenv("HOME");
	char base[PATH_MAX / 2] = "/var/cache/clonefs", path[PATH_MAX];

	if (geteuid() != 0) {
		if (!home || home[0] != '/' || strlen(home) > sizeof(base) - 32)
			return err_set(ERR_CONFIG, "there is no home directory to cache in: give one with -o cache_dir=DIR");
		snprintf(base, sizeof(base), "%s/.cache/clonefs", home);
	}
	if (c->read_only)
		snprintf(path, sizeof(path), "%s/%016" PRIx64 "-ro-%016" PRIx64, base, volume,
			 hash_xxh3(c->mountpoint, strlen(c->mountpoint), 0));
	else
		snprintf(path, sizeof(path), "%s/%016" PRIx64, base, volume);
	return set_text(&c->cache_dir, path);
}

static int check(const struct mount_config *c)
{
	const struct volume_options *v = &c->volume;

	if (strlen(c->node) > NODE_BYTES_MAX)
		return err_set(ERR_CONFIG, "the node name %s is too long: at most %d bytes, with -o node=NAME", c->node, NODE_BYTES_MAX);
	for (const char *p = c->node; *p; p++)
		if ((unsigned char)*p <= ' ' || *p == '/' || *p == 0x7f)
			return err_set(ERR_CONFIG, "the node name may not hold spaces, slashes or control characters: give another with -o node=NAME");
	if (v->cache_bytes < CACHE_BYTES_MIN)
		return err_set(ERR_CONFIG, "cache_size is too small: at least 64M are needed to hold what the store has not got yet");
	if (v->commit_interval_ms < 10 || v->commit_interval_ms > 3600000)
		return err_set(ERR_CONFIG, "commit_interval must be from 10ms to 1h");
	if (v->max_lag_ms < v->commit_interval_ms)
		return err_set(ERR_CONFIG, "max_lag is shorter than commit_interval: every write would be held; make it at least as long");
	if (v->checkpoint_bytes < (1u << 20))
		return err_set(ERR_CONFIG, "checkpoint_size must be at least 1M");
	if (c->read_only && c->takeover)
		return err_set(ERR_CONFIG, "a read-only mount claims nothing: leave out either ro or takeover");
	return 0;
}

int mount_config_finish(struct mount_config *c)
{
	char path[CONTROL_PATH_MAX];
	int rc = 0;

	if (!c->address || !c->address[0])
		return err_set(ERR_CONFIG, "no store was named: s3://bucket/prefix or file:///path belongs there");
	if (!c->mountpoint || c->mountpoint[0] != '/')
		return err_set(ERR_CONFIG, "the mount point must be an absolute path");
	if (!c->node)
		rc = default_node(c);
	if (!rc && !c->cache_dir)
		rc = default_cache_dir(c);
	if (!rc && !c->control_path) {
		control_default_path(c->mountpoint, path);
		rc = set_text(&c->control_path, path);
	}
	if (!rc && !c->fsname)
		rc = set_text(&c->fsname, c->address);
	return rc ? rc : check(c);
}
