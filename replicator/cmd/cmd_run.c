/*
 * cmd_run.c - clonesync run: one directory, until a signal ends it.
 *
 * Order: settings, rights, the host (which listens and calls), the control socket and metrics, ready; taken down in the reverse order. A process that is
 * killed at any point leaves what the next one finds and goes on with (DESIGN.md), and a stale socket, which it replaces.
 */
#include <errno.h>
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
#include "run_options.h"

#define LOOK_MS 1000

enum { OPT_METRICS = CMD_LONG(0) };

static const struct cmd_option options[] = {
	RUN_OPTIONS,
	{ OPT_METRICS, "metrics", "WHERE", "serve Prometheus' metrics: unix:/PATH or 127.0.0.1:PORT" },
};

static const struct cmd_usage usage = {
	"clonesync run", "[DIR]", "Keeps DIR the same as the other members of its cluster have it, until it is told to end.", options, CL_ARRAY_LEN(options),
	"It stays in the foreground; SIGTERM, SIGINT and SIGHUP end it in order.\n"
	"Exit codes: 0 ended in order; 1 failed; 2 wrong call, configuration or key file; 3 another clonesync has the state directory; 4 the cluster has forgotten\n"
	"this member.", CMD_USAGE
};

static int take(void *user, int letter, const char *arg)
{
	return letter == OPT_METRICS ? run_override(user, usage.program, "metrics", arg) : run_take(user, usage.program, letter, arg);
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

	stop_fd = run_prepare(s, rights);
	if (stop_fd < 0)
		return stop_fd;
	rc = run_start(s, NULL, &host);
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
	struct run_args a = { .config = NULL };
	struct settings s;
	int code = CMD_USAGE, at = cmd_parse(&usage, argc, argv, take, &a, &code), rc;

	if (at < 0 || cmd_operands(&usage, argc - at, 0, 1, &code))
		return code;
	if (a.verbose)
		logmsg_init("clonesync", LOGMSG_INFO);
	rc = run_settle(&a, argv[at], &s);
	if (!rc)
		rc = run(&s);
	settings_free(&s);
	return rc ? run_fail(usage.program, rc) : CMD_OK;
}
