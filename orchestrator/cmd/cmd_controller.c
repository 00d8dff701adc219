/*
 * cmd_controller.c - clonectl controller: rounds, until a signal ends it.
 *
 * Two threads of its own: rounds on this one, the lease on another, so that a slow DNS server does not cost it; and that of the checks. A process that is
 * killed at any point leaves what the next leader goes on from; one that ends in order gives the lease back.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clonectl.h"
#include "controller.h"
#include "daemon.h"
#include "err.h"
#include "logmsg.h"

#define UNWELL_NS UINT64_C(200000000)

static const struct cmd_option options[] = { WHERE_OPTIONS };

static const struct cmd_usage usage = {
	"clonectl controller", "", "Checks the members, reports what it sees and, while it leads, keeps the pools' answers.", options, CL_ARRAY_LEN(options),
	"Any number may run; one of them leads. It stays in the foreground; SIGTERM, SIGINT and SIGHUP end it in order.\n"
	"Exit codes: 0 ended in order; 1 failed; 2 wrong call or configuration; 4 the store holds no cluster.", CMD_USAGE
};

struct driver { const char *name; struct dns *dns; };

struct serving {
	struct place place;
	struct driver *drivers;
	size_t driver_count;
	struct health *health;
	struct lead *lead;
	struct controller *controller;
	int stop_fd;

	pthread_t thread;
	bool have_thread;
	_Atomic uint64_t lease_ms;
	atomic_bool well; /* the last round was one: who cannot decide lets the lease go */
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool ending; /* under the lock */
};

static struct dns *find_dns(void *user, const char *section)
{
	struct serving *s = user;

	for (size_t i = 0; i < s->driver_count; i++)
		if (strcmp(s->drivers[i].name, section) == 0)
			return s->drivers[i].dns;
	err_set(ERR_CONFIG, "there is no section [dns %s] in this controller's configuration", section);
	return NULL;
}

static int open_drivers(struct serving *s)
{
	struct dns_context x = { s->place.store, s->place.cluster.env };
	int rc = 0;

	s->drivers = calloc(s->place.conf.count + 1, sizeof(*s->drivers));
	if (!s->drivers)
		return -ENOMEM;
	for (size_t i = 0; i < s->place.conf.count && !rc; i++) {
		struct conf_section *section = &s->place.conf.sections[i];

		if (strcmp(section->kind, "dns") != 0)
			continue;
		rc = dns_open(&x, section, &s->drivers[s->driver_count].dns);
		if (!rc)
			s->drivers[s->driver_count++].name = section->name;
	}
	return rc;
}

static void *run_lease(void *user)
{
	struct serving *s = user;

	pthread_mutex_lock(&s->lock);
	while (!s->ending) {
		struct timespec at;
		uint64_t next, now, wait_ns;

		pthread_mutex_unlock(&s->lock);
		now = s->place.cluster.env->boot_ns(s->place.cluster.env);
		next = s->well ? lead_step(s->lead, s->lease_ms) : now + UNWELL_NS;
		now = s->place.cluster.env->boot_ns(s->place.cluster.env);
		wait_ns = next > now ? next - now : 1000000;
		clock_gettime(CLOCK_MONOTONIC, &at);
		wait_ns += (uint64_t)at.tv_nsec;
		at.tv_sec += (time_t)(wait_ns / 1000000000);
		at.tv_nsec = (long)(wait_ns % 1000000000);
		pthread_mutex_lock(&s->lock);
		while (!s->ending && pthread_cond_timedwait(&s->wake, &s->lock, &at) == 0)
			;
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

static int start_lease(struct serving *s)
{
	pthread_condattr_t a;
	int rc;

	pthread_condattr_init(&a);
	pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
	pthread_cond_init(&s->wake, &a);
	pthread_condattr_destroy(&a);
	pthread_mutex_init(&s->lock, NULL);
	rc = pthread_create(&s->thread, NULL, run_lease, s);
	s->have_thread = rc == 0;
	return rc ? err_set(-rc, "no thread for the lease: %s", strerror(rc)) : 0;
}

static void stop_lease(struct serving *s)
{
	if (!s->have_thread)
		return;
	pthread_mutex_lock(&s->lock);
	s->ending = true;
	pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
	pthread_cond_destroy(&s->wake);
	pthread_mutex_destroy(&s->lock);
	lead_release(s->lead);
}

/* What an operator should know of is said when it changes. */
struct said { bool leads; uint64_t epoch; char holder[CLUSTER_LABEL_MAX], error[512]; };

static void say(struct serving *s, int rc, struct said *d)
{
	struct lead_info i;
	char error[sizeof(d->error)];

	lead_info(s->lead, &i);
	snprintf(error, sizeof(error), "%.511s", rc ? (*err_last() ? err_last() : err_text(rc)) : i.error);
	if (*error && strcmp(error, d->error) != 0)
		logmsg(LOGMSG_WARNING, "%s; it is tried again", error);
	else if (!*error && *d->error)
		logmsg(LOGMSG_NOTICE, "well again");
	if (i.holds != d->leads || i.epoch != d->epoch || strcmp(i.holder, d->holder) != 0) {
		char status[CLUSTER_LABEL_MAX + 80];

		snprintf(status, sizeof(status), "STATUS=%s %s, epoch %llu", i.holds ? "leads as" : "stands by for", *i.holder ? i.holder : "nobody", (unsigned long long)i.epoch);
		logmsg(LOGMSG_NOTICE, "%s", status + strlen("STATUS="));
		daemon_notify(status);
	}
	d->leads = i.holds;
	d->epoch = i.epoch;
	memcpy(d->holder, i.holder, sizeof(d->holder));
	memcpy(d->error, error, sizeof(error));
}

static int serve(struct serving *s)
{
	struct pollfd p = { .fd = s->stop_fd, .events = POLLIN };
	struct said said = { .error = "" };
	bool ready = false;

	while (daemon_stop_signals() == 0) {
		uint64_t lease_ms = s->lease_ms;
		int rc;

		err_clear();
		rc = controller_round(s->controller, &lease_ms);
		s->lease_ms = lease_ms;
		s->well = rc == 0;
		if (!ready && (rc == -ENOENT || rc == ERR_AUTH || rc == ERR_NO_BUCKET))
			return rc; /* what waiting does not put right */
		if (!ready && !rc) {
			rc = start_lease(s);
			if (rc)
				return rc;
			ready = true;
			daemon_notify("READY=1");
		}
		say(s, rc, &said);
		if (poll(&p, 1, CONTROLLER_EVERY_MS) < 0 && errno != EINTR)
			return -errno;
	}
	logmsg(LOGMSG_NOTICE, "asked to end");
	daemon_notify("STOPPING=1");
	return 0;
}

static int start(struct serving *s)
{
	struct controller_options o = { .cluster = &s->place.cluster, .name = s->place.name, .host = s->place.host, .dns = find_dns, .user = s };
	int rc = open_drivers(s);

	if (!rc)
		rc = health_open(&s->health);
	if (!rc)
		rc = lead_new(&s->place.cluster, s->place.name, &s->lead);
	o.lead = s->lead;
	o.health = s->health;
	return rc ? rc : controller_new(&o, &s->controller);
}

static int run(const struct where *w)
{
	struct serving s = { .lease_ms = 10000 };
	int rc = place_open(w, &s.place);

	if (rc)
		return rc;
	s.place.cluster.deadline_ms = 2000;
	s.stop_fd = daemon_stop_open();
	rc = s.stop_fd < 0 ? s.stop_fd : daemon_stop_catch(true);
	if (!rc)
		rc = start(&s);
	if (!rc)
		rc = serve(&s);
	stop_lease(&s);
	controller_free(s.controller);
	lead_free(s.lead);
	health_close(s.health);
	for (size_t i = 0; i < s.driver_count; i++)
		dns_close(s.drivers[i].dns);
	free(s.drivers);
	place_close(&s.place);
	daemon_stop_catch(false);
	daemon_stop_close();
	return rc;
}

int cmd_controller(int argc, char **argv)
{
	struct where w = { .config = NULL };
	int code = CMD_USAGE, at = cmd_parse(&usage, argc, argv, where_take, &w, &code), rc;

	if (at < 0 || cmd_operands(&usage, argc - at, 0, 0, &code))
		return code;
	logmsg_init("clonectl", LOGMSG_NOTICE);
	daemon_harden();
	rc = run(&w);
	if (!rc)
		return CMD_OK;
	code = cmd_fail(usage.program, rc);
	return rc == -ENOENT ? CMD_NOT_FOUND : code;
}
