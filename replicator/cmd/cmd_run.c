/*
 * cmd_run.c - clonesync run: one directory, until a signal ends it.
 *
 * Order: settings, rights, the host (which listens and calls), the control socket and metrics, ready; taken down in the reverse order. A process that is
 * killed at any point leaves what the next one finds and goes on with (DESIGN.md), and a stale socket, which it replaces.
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "answer.h"
#include "caps.h"
#include "clonesync.h"
#include "daemon.h"
#include "err.h"
#include "logmsg.h"
#include "metrics.h"

#define LOOK_MS 1000
#define OVERRIDES_MAX 128u

enum { OPT_METRICS = CMD_LONG(0), OPT_LIMIT_RATE };

static const struct cmd_option options[] = {
	{ 'c', "config", "FILE", "the configuration (default /etc/clonelove/clonesync.conf, where no DIR is given)" },
	{ 'k', "cluster-key-file", "FILE", "the cluster's key, as keygen makes it (default /etc/clonelove/cluster.key)" },
	{ 's', "state-dir", "DIR", "what this member remembers (default /var/lib/clonesync); not within the directory" },
	{ 'l', "listen", "ADDR:PORT", "where peers call; without it, it only calls them" },
	{ 'a', "address", "HOST:PORT", "where the others call this one (default: where it listens, as its first peer sees it)" },
	{ 'p', "peer", "HOST:PORT", "another member, from which it learns the rest; may be given again. None: the first member" },
	{ 'n', "name", "NAME", "what operators read, on every member (default: the host name)" },
	{ OPT_METRICS, "metrics", "WHERE", "serve Prometheus' metrics: unix:/PATH or 127.0.0.1:PORT" },
	{ OPT_LIMIT_RATE, "limit-rate", "RATE", "send at most so many bytes of files a second, as 500K, 20M; to all members together" },
	{ 'v', "verbose", NULL, "say more" },
};

static const struct cmd_usage usage = {
	"clonesync run", "[DIR]", "Keeps DIR the same as the other members of its cluster have it, until it is told to end.", options, CL_ARRAY_LEN(options),
	"It stays in the foreground; SIGTERM, SIGINT and SIGHUP end it in order.\n"
	"Exit codes: 0 ended in order; 1 failed; 2 wrong call, configuration or key file; 3 another clonesync has the state directory; 4 the cluster has forgotten\n"
	"this member.", CMD_USAGE
};

struct args {
	const char *config;
	const char *names[OVERRIDES_MAX], *values[OVERRIDES_MAX]; /* the command line, which wins over the file */
	unsigned count;
	bool verbose;
};

static int take(void *user, int letter, const char *arg)
{
	struct args *a = user;
	const char *name = letter == 'k' ? "cluster_key_file" : letter == 's' ? "state_dir" : letter == 'l' ? "listen" : letter == 'a' ? "address" :
			   letter == 'p' ? "peer" : letter == 'n' ? "name" : letter == OPT_LIMIT_RATE ? "limit_rate" : "metrics";

	if (letter == 'v') {
		a->verbose = true;
	} else if (letter == 'c') {
		a->config = arg;
	} else if (a->count == OVERRIDES_MAX) {
		cmd_complain(usage.program, "more than %u options", OVERRIDES_MAX);
		return -1;
	} else {
		a->names[a->count] = name;
		a->values[a->count++] = arg;
	}
	return 0;
}

/* The file, then the command line over it; dir: NULL = as the file says. */
static int settle(const struct args *a, const char *dir, struct settings *s)
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
static int rate(const char *text, uint64_t *ret)
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
		return err_set(ERR_CONFIG, "limit_rate is a number of bytes a second, with K, M or G behind it for more, not %s", text);
	*ret = n << shift;
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
		rc = rate(s->limit_rate, &o->limit_rate);
	o->trash_keep_ns = days * 24 * 3600 * 1000000000;
	o->missing_percent = (unsigned)percent;
	return rc;
}

static int start_host(const struct settings *s, struct host **ret)
{
	struct host_options o = {
		.dir = s->tree, .state_dir = s->state_dir, .cluster_key_file = s->cluster_key_file, .listen = s->listen,
		.peers = (const char *const *)s->peers, .peer_count = s->peer_count, .name = s->name, .address = s->address,
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

/* What an operator should know of is said when it changes. */
struct said { char state[32]; int error; uint64_t alerts; };

static void say(const struct snapshot *s, struct said *d)
{
	char status[256];

	if (s->node.alerts > d->alerts)
		logmsg(LOGMSG_ERROR, "two nodes have used one identity: is a state directory a copy of another's? Each member needs its own");
	if (s->node.error && s->node.error != d->error && !s->node.halted)
		logmsg(LOGMSG_ERROR, "%s: it is tried again", err_text(s->node.error));
	if (strcmp(s->state, d->state) != 0) {
		logmsg(s->node.halted ? LOGMSG_ERROR : LOGMSG_NOTICE, "%s", s->behind[0] ? s->behind : "in sync");
		snprintf(status, sizeof(status), "STATUS=%s", s->behind[0] ? s->behind : "in sync");
		daemon_notify(status);
	}
	d->alerts = s->node.alerts;
	d->error = s->node.error;
	snprintf(d->state, sizeof(d->state), "%s", s->state);
}

static void serve(struct answer *a, int stop_fd)
{
	struct pollfd p = { .fd = stop_fd, .events = POLLIN };
	struct said said = { "", 0, 0 };
	struct snapshot s;

	while (daemon_stop_signals() == 0) {
		answer_snapshot(a, &s);
		say(&s, &said);
		if (poll(&p, 1, LOOK_MS) < 0 && errno != EINTR)
			sleep(1); /* no memory, which passes */
	}
}

static int run(const struct settings *s)
{
	struct host *host = NULL;
	struct answer *answer = NULL;
	char rights[CAPS_TEXT];
	int stop_fd, rc;

	daemon_harden();
	rc = caps_drop(is_low_port(s->listen), rights);
	if (rc)
		return rc;
	stop_fd = daemon_stop_open();
	if (stop_fd < 0)
		return stop_fd;
	rc = start_host(s, &host);
	if (!rc)
		rc = daemon_stop_catch(true);
	if (!rc)
		rc = answer_start(host, s, &answer);
	if (!rc) {
		logmsg(LOGMSG_NOTICE, host_port(host) ? "keeps %s, listens on port %u" : "keeps %s, only calls others", s->tree, host_port(host));
		if (rights[0])
			logmsg(LOGMSG_NOTICE, "%s", rights);
		daemon_notify("READY=1");
		serve(answer, stop_fd);
		logmsg(LOGMSG_NOTICE, "asked to end");
		daemon_notify("STOPPING=1");
	}
	answer_stop(answer);
	host_stop(host);
	daemon_stop_catch(false);
	daemon_stop_close();
	return rc;
}

int cmd_run(int argc, char **argv)
{
	struct args a = { .config = NULL };
	struct settings s;
	int code = CMD_USAGE, at = cmd_parse(&usage, argc, argv, take, &a, &code), rc;

	if (at < 0 || cmd_operands(&usage, argc - at, 0, 1, &code))
		return code;
	if (a.verbose)
		logmsg_init("clonesync", LOGMSG_INFO);
	rc = settle(&a, argv[at], &s);
	if (!rc)
		rc = run(&s);
	settings_free(&s);
	if (rc == -EKEYREJECTED) {
		cmd_fail(usage.program, rc);
		return CMD_NOT_FOUND;
	}
	return rc ? cmd_fail(usage.program, rc) : CMD_OK;
}
