/*
 * run_options.c - from the command line and the configuration to a host. No state.
 */
#include "run_options.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "caps.h"
#include "daemon.h"
#include "err.h"
#include "logmsg.h"
#include "metrics.h"

int run_override(struct run_args *a, const char *program, const char *name, const char *value)
{
	if (a->count == RUN_OVERRIDES_MAX) {
		cmd_complain(program, "more than %u options", RUN_OVERRIDES_MAX);
		return -1;
	}
	a->names[a->count] = name;
	a->values[a->count++] = value;
	return 0;
}

int run_take(struct run_args *a, const char *program, int letter, const char *arg)
{
	if (letter == 'v')
		a->verbose = true;
	else if (letter == 'c')
		a->config = arg;
	else
		return run_override(a, program, letter == 'k' ? "cluster_key_file" : letter == 's' ? "state_dir" : letter == 'l' ? "listen" : letter == 'a' ? "address" :
				    letter == 'p' ? "peer" : letter == 'n' ? "name" : letter == RUN_IGNORE ? "ignore" : letter == RUN_SCRUB_RATE ? "scrub_rate" : letter == RUN_REMEMBER ? "remember_deletions" : "limit_rate", arg);
	return 0;
}

int run_settle(const struct run_args *a, const char *dir, struct settings *s)
{
	char full[PATH_MAX];
	int rc = settings_init(s);

	if (!rc && (a->config || !dir))
		rc = settings_find(s, a->config);
	for (unsigned i = 0; !rc && i < a->count; i++)
		rc = settings_set(s, a->names[i], a->values[i]);
	if (!rc && dir)
		rc = settings_set(s, "tree", dir);
	if (rc)
		return rc;
	if (!s->tree)
		return err_set(ERR_CONFIG, "which directory? Name it on the command line, or as tree in %s", a->config ? a->config : SETTINGS_FILE);
	if (!realpath(s->tree, full))
		return err_set(-errno, "the directory %s: %s", s->tree, strerror(errno));
	if (!s->listen && !s->peer_count)
		return err_set(ERR_CONFIG, "neither --listen nor --peer: nobody could ever be reached");
	return settings_set(s, "tree", full);
}

static bool is_low_port(const char *listen)
{
	const char *colon = listen ? strrchr(listen, ':') : NULL;
	unsigned long port = colon ? strtoul(colon + 1, NULL, 10) : 0;

	return port > 0 && port < 1024;
}

static int number(const char *name, const char *text, uint64_t least, uint64_t most, uint64_t *ret)
{
	char *end;

	if (!text)
		return 0;
	errno = 0;
	*ret = strtoull(text, &end, 10);
	if (errno || *end || *text < '0' || *text > '9' || *ret < least || *ret > most)
		return err_set(ERR_CONFIG, "%s is a number from %" PRIu64 " to %" PRIu64 ", not %s", name, least, most, text);
	return 0;
}

/* Bytes, with K, M or G behind them for 1024, its square, its cube. */
static int rate(const char *name, const char *text, uint64_t *ret)
{
	static const char units[] = "KMG";
	const char *p = text, *unit;
	unsigned shift = 0;
	uint64_t n = 0;

	if (!text)
		return 0;
	for (; *p >= '0' && *p <= '9' && n < UINT64_MAX / 100; p++)
		n = 10 * n + (uint64_t)(*p - '0');
	unit = p != text && *p ? strchr(units, *p) : NULL;
	if (unit) {
		shift = 10 * (unsigned)(unit - units + 1);
		p++;
	}
	if (p == text || *p || !n || n > UINT64_MAX >> 20 >> shift)
		return err_set(ERR_CONFIG, "%s is a number of bytes a second, with K, M or G behind it for more, not %s", name, text);
	*ret = n << shift;
	return 0;
}

/* Hours, days or weeks. Not less than a day: the age goes by clocks, of which some may be hours off. */
static int age(const char *name, const char *text, uint64_t *ret_ns)
{
	static const struct { char unit; uint64_t hours; } units[] = { { 'h', 1 }, { 'd', 24 }, { 'w', 7 * 24 } };
	const uint64_t most = 100 * 366 * 24, hour_ns = 3600 * UINT64_C(1000000000);
	const char *p = text;
	uint64_t n = 0, hours = 0;

	if (!text)
		return 0;
	for (; *p >= '0' && *p <= '9' && n <= most; p++)
		n = 10 * n + (uint64_t)(*p - '0');
	for (size_t i = 0; i < CL_ARRAY_LEN(units) && p != text && *p; i++)
		if (*p == units[i].unit && !p[1])
			hours = n * units[i].hours;
	if (hours < 24 || hours > most)
		return err_set(ERR_CONFIG, "%s is a number with h, d or w behind it, from 1d to 36600d (clocks may be hours off), not %s", name, text);
	*ret_ns = hours * hour_ns;
	return 0;
}

static int set_limits(const struct settings *s, struct host_options *o)
{
	uint64_t days = 0, percent = 0;
	int rc = number("trash_days", s->trash_days, 1, 36500, &days);

	if (!rc)
		rc = number("trash_most_bytes", s->trash_most_bytes, 1, UINT64_MAX - 1, &o->trash_most_bytes);
	if (!rc)
		rc = number("missing_percent", s->missing_percent, 1, 101, &percent);
	if (!rc)
		rc = rate("limit_rate", s->limit_rate, &o->limit_rate);
	if (s->scrub_rate && strcmp(s->scrub_rate, "off") == 0)
		o->scrub_off = true;
	else if (!rc)
		rc = rate("scrub_rate", s->scrub_rate, &o->scrub_rate);
	if (!rc)
		rc = age("remember_deletions", s->remember_deletions, &o->tombs_keep_ns);
	o->trash_keep_ns = days * 24 * 3600 * 1000000000;
	o->missing_percent = (unsigned)percent;
	return rc;
}

/* A frame has up to a megabyte, and there are hundreds in a second. malloc would map each and give it back; to fault its pages in anew took more of the time of sending a big file
 * than all that is done with them. It keeps what is free at the end of an arena instead; there are two arenas, so what it keeps has a bound. */
static void keep_memory(void)
{
	enum { KEPT_BYTES = 16 << 20, GROW_BYTES = 1 << 20 };

	if (!mallopt(M_ARENA_MAX, 2) || !mallopt(M_MMAP_THRESHOLD, KEPT_BYTES) || !mallopt(M_TRIM_THRESHOLD, KEPT_BYTES) || !mallopt(M_TOP_PAD, GROW_BYTES))
		logmsg(LOGMSG_DEBUG, "mallopt took not all that it was told");
}

int run_prepare(const struct settings *s, char *ret_rights)
{
	int rc;

	daemon_harden();
	keep_memory();
	rc = caps_drop(is_low_port(s->listen), ret_rights);
	return rc ? rc : daemon_stop_open();
}

int run_start(const struct settings *s, struct published *published, struct host **ret)
{
	struct host_options o = {
		.dir = s->tree, .state_dir = s->state_dir, .cluster_key_file = s->cluster_key_file, .listen = s->listen,
		.peers = (const char *const *)s->peers, .peer_count = s->peer_count, .name = s->name, .address = s->address, .ignore = s->ignore, .published = published,
	};
	struct progress bar = PROGRESS_INIT;
	int rc = set_limits(s, &o);

	if (!rc && s->metrics) /* here, before anything is made */
		rc = metrics_check(s->metrics);
	if (rc)
		return rc;
	progress_begin(&bar, "beginning to watch the directory", 0);
	rc = host_start(&o, ret);
	progress_end(&bar);
	return rc;
}

int run_fail(const char *program, int rc)
{
	int code = cmd_fail(program, rc);

	return rc == -EKEYREJECTED ? CMD_NOT_FOUND : code;
}
