/*
 * cmd_join.c - clonesync join: an empty directory becomes what the cluster has, and only then it is said to be.
 *
 * It is a member while it runs, as clonesync run is, and goes in order when it is done; run goes on with what it left. What it comes from are all members that are up, the near ones
 * first (fetch.c), and before them a published copy where one is named (published.h): of that contents alone. Done is: in sync as a cut (everything the members knew when that was asked is on the disk), and then the indexes compared with each of them, and nothing differs: the
 * roots are equal, as of one moment. A file in the state directory says that a join is under way: with it, and only with it, a directory may have something in it, and the join goes on.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "caps.h"
#include "clonesync.h"
#include "daemon.h"
#include "env.h"
#include "err.h"
#include "logmsg.h"
#include "published.h"
#include "run_options.h"
#include "tree.h"

#define LOOK_MS 200
#define SAY_NS 10000000000ull     /* between two lines of a log */
#define RATE_NS 5000000000ull     /* over which a rate is taken */
#define MARK "joining"

enum { OPT_TIMEOUT = CMD_LONG(0), OPT_JSON, OPT_FROM };

static const struct cmd_option options[] = {
	RUN_OPTIONS,
	{ OPT_FROM, "from", "ADDRESS", "a copy of the directory, s3://bucket[/prefix] or file:///path: what is right of it is not asked of the members" },
	{ OPT_TIMEOUT, "timeout", "S", "give up after so many seconds; the same call goes on with it" },
	{ OPT_JSON, "json", NULL, "print JSON in the end" },
};

static const struct cmd_usage usage = {
	"clonesync join", "[DIR]", "Fills DIR, which is empty, with what the cluster has, from all members that are up, the near ones first; and returns when it is the same as theirs.", options,
	CL_ARRAY_LEN(options), "Then clonesync run goes on from there. What was begun and did not end goes on with the same call.\n"
	"Exit codes: 0 it is the same; 1 failed; 2 wrong call, configuration or key file; 3 another clonesync has the state directory; 4 the directory is not empty, or the\n"
	"cluster has forgotten this member; 5 not in time.", CMD_USAGE
};

struct args { struct run_args run; uint64_t timeout_s; bool timeout, json; };

static int take(void *user, int letter, const char *arg)
{
	struct args *a = user;

	if (letter == OPT_JSON)
		a->json = true;
	else if (letter == OPT_FROM)
		return run_override(&a->run, usage.program, "from", arg);
	else if (letter == OPT_TIMEOUT)
		return a->timeout = true, cmd_number(usage.program, "--timeout", arg, &a->timeout_s);
	else
		return run_take(&a->run, usage.program, letter, arg);
	return 0;
}

static uint64_t now_ns(void)
{
	return env_system()->boot_ns(env_system());
}

/* --- the directory, before --- */

/* Something of a user's in it: -ENOTEMPTY. */
static int check_empty(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	int rc = 0;

	if (!d)
		return err_set(-errno, "cannot open %s: %s", dir, strerror(errno));
	errno = 0;
	while (!rc && (e = readdir(d)))
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, "..") && strcmp(e->d_name, TREE_CORNER) && strcmp(e->d_name, "lost+found"))
			rc = err_set(-ENOTEMPTY, "%s is not empty (%s): join fills an empty directory. clonesync run takes one as it is: what others have otherwise goes to its trash", dir, e->d_name);
	if (!rc && errno)
		rc = err_set(-errno, "cannot read %s: %s", dir, strerror(errno));
	closedir(d);
	return rc;
}

static void mark_path(const struct settings *s, char *ret, size_t cap)
{
	snprintf(ret, cap, "%s/" MARK, s->state_dir);
}

static int put_mark(const struct settings *s)
{
	char path[4096];
	int fd, rc = 0;

	mark_path(s, path, sizeof path);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || fsync(fd))
		rc = err_set(-errno, "cannot write %s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return rc;
}

/* --- how far it is --- */

struct seen { uint64_t at_ns, bytes; }; /* all bytes that came */

struct join {
	const struct args *a;
	struct host *host;
	struct published *published;   /* NULL: none */
	bool copied;                   /* there is one */
	int stop_fd;
	uint64_t begun_ns, said_ns;
	struct seen past[2];           /* the rate is over the time since the older one */
	struct node_status status;
	struct progress bar;
	char said[2][200];
	unsigned turn, members;
};

static uint64_t came(const struct node_status *s)
{
	return s->fetched_bytes + s->published_bytes;
}

static const char *left_text(const struct join *j, char *ret, size_t cap)
{
	const struct seen *since = &j->past[0];
	const struct node_status *s = &j->status;
	double passed = (double)(now_ns() - since->at_ns) / 1e9, rate = passed > 0 ? (double)(came(s) - since->bytes) / passed : 0;
	char bytes[CMD_TEXT], copy[CMD_TEXT], a_second[CMD_TEXT], left[CMD_TEXT], time[CMD_TEXT];

	snprintf(ret, cap, "joining: %" PRIu64 " of %" PRIu64 " paths, %s%s%s%s, %s/s, %s left, %s", s->records - s->wanted, s->records, cmd_bytes(came(s), bytes),
		 j->copied ? " (" : "", j->copied ? cmd_bytes(s->published_bytes, copy) : "", j->copied ? " of the copy)" : "", cmd_bytes((uint64_t)rate, a_second),
		 cmd_bytes(s->wanted_bytes, left), rate >= 1 && s->wanted ? cmd_seconds((double)s->wanted_bytes / rate, time) : "?");
	return ret;
}

static void show(struct join *j, const char *why)
{
	uint64_t now = now_ns();
	char *text = j->said[j->turn = !j->turn]; /* the other one may be on its way to the terminal */

	host_status(j->host, &j->status);
	if (now - j->past[1].at_ns >= RATE_NS) {
		j->past[0] = j->past[1];
		j->past[1] = (struct seen){ now, came(&j->status) };
	}
	if (j->status.records && !j->status.joining)
		left_text(j, text, sizeof j->said[0]);
	else
		snprintf(text, sizeof j->said[0], "joining: %s", why);
	progress_say(&j->bar, text);
	progress_draw(&j->bar);
	if (j->bar.tty || now - j->said_ns < SAY_NS)
		return;
	j->said_ns = now;
	logmsg(LOGMSG_NOTICE, "%s", text);
}

/* A moment passes. 0; -EINTR: an end was asked for; -ETIMEDOUT. */
static int moment(struct join *j, int ms, const char *why)
{
	struct pollfd p = { .fd = j->stop_fd, .events = POLLIN };

	(void)poll(&p, 1, ms);
	if (daemon_stop_signals())
		return err_set(-EINTR, "interrupted: the same call goes on with it");
	if (j->a->timeout && now_ns() - j->begun_ns >= j->a->timeout_s * 1000000000u)
		return err_set(-ETIMEDOUT, "not the same in time (%s): the same call goes on with it", why);
	return 0;
}

/* --- is it the same? --- */

/* Everything that the members knew at the call is here. *ret_members: those who were asked. */
static int sync_once(struct join *j)
{
	char why[256] = "beginning";
	struct host_sync *s;
	int rc = host_sync_begin(j->host, &s);

	if (rc)
		return rc;
	while (!rc && !host_sync_over(s, &j->members, why, sizeof why)) {
		show(j, why);
		rc = moment(j, LOOK_MS, why);
	}
	host_sync_free(s);
	return rc;
}

/* 1: nothing differs from this member; 0: something does, or it went. */
static int same_as(struct join *j, const char *who)
{
	const struct host_difference *all;
	struct node_diff_result r;
	struct host_diff *d;
	size_t count;
	int rc = host_diff_begin(j->host, who, &d);

	if (rc)
		return rc == ERR_UNAVAILABLE || rc == -ENOENT ? 0 : rc;
	while (!rc && !host_diff_over(d))
		rc = moment(j, 5, "comparing with the members");
	if (!rc)
		rc = host_diff_result(d, &r, &all, &count);
	if (rc == ERR_UNAVAILABLE)
		rc = 0;
	else if (!rc)
		rc = !r.differing && !r.here;
	host_diff_free(d);
	return rc;
}

static int same_as_all(struct join *j)
{
	struct host_member *all;
	char key[2 * FRAME_NODE_BYTES + 1];
	unsigned asked = 0;
	size_t count;
	int rc = host_members(j->host, &all, &count), same = 1;

	if (rc)
		return rc;
	for (size_t i = 0; i < count && same == 1; i++) {
		if (all[i].self || !all[i].up || all[i].m.forgotten)
			continue;
		asked++;
		same = same_as(j, cmd_hex(all[i].m.node, sizeof all[i].m.node, key));
	}
	free(all);
	j->members = asked;
	return same == 1 && !asked ? 0 : same;
}

static int go(struct join *j)
{
	int rc = 0;

	while (!rc) {
		j->members = 0;
		rc = sync_once(j);
		if (!rc && j->members) /* nobody was asked: it does not know of anybody yet */
			rc = same_as_all(j);
		if (!rc) {
			show(j, "waiting for the members");
			rc = moment(j, LOOK_MS, "the members change what they have");
		}
	}
	return rc < 0 ? rc : 0;
}

/* --- the command --- */

static int done(const struct join *j)
{
	char root[40], bytes[CMD_TEXT], copy[CMD_TEXT], time[CMD_TEXT];
	struct json_object *o;
	double took = (double)(now_ns() - j->begun_ns) / 1e9;

	snprintf(root, sizeof root, "%016" PRIx64 "%016" PRIx64, j->status.root.hi, j->status.root.lo);
	if (!j->a->json) {
		printf("the same as %u other members: %" PRIu64 " paths, %s came%s%s%s in %s, root %s\n", j->members, j->status.records, cmd_bytes(came(&j->status), bytes),
		       j->copied ? ", " : "", j->copied ? cmd_bytes(j->status.published_bytes, copy) : "", j->copied ? " of it of the copy," : "", cmd_seconds(took, time), root);
		return cmd_flush(usage.program, CMD_OK);
	}
	o = json_object_new_object();
	if (o) {
		json_object_object_add(o, "root", json_object_new_string(root));
		json_object_object_add(o, "members", json_object_new_int((int)j->members));
		json_object_object_add(o, "records", json_object_new_uint64(j->status.records));
		json_object_object_add(o, "fetched_bytes", json_object_new_uint64(j->status.fetched_bytes));
		json_object_object_add(o, "copy_bytes", json_object_new_uint64(j->status.published_bytes));
		json_object_object_add(o, "seconds", json_object_new_double(took));
	}
	return cmd_print_json(usage.program, o);
}

/* The copy, if one is named. That it is not there keeps nobody from joining. */
static int open_copy(const struct settings *s, struct join *j)
{
	int rc = s->from ? published_open(s->from, env_system(), &j->published) : 0;

	if (!rc || rc == ERR_CONFIG || rc == -ENOMEM)
		return rc;
	logmsg(LOGMSG_WARNING, "%s; all is asked of the members", err_last());
	return 0;
}

/* *ret_code: once it is the same. */
static int join(const struct settings *s, const struct args *a, int *ret_code)
{
	struct join j = { .a = a, .bar = PROGRESS_INIT };
	char rights[CAPS_TEXT], mark[4096];
	int rc;

	mark_path(s, mark, sizeof mark);
	if (access(mark, F_OK) != 0 && (rc = check_empty(s->tree)))
		return rc;
	j.stop_fd = run_prepare(s, rights);
	if (j.stop_fd < 0)
		return j.stop_fd;
	j.begun_ns = j.said_ns = now_ns();
	j.past[0] = j.past[1] = (struct seen){ j.begun_ns, 0 };
	rc = open_copy(s, &j);
	j.copied = j.published != NULL;
	if (!rc)
		rc = run_start(s, j.published, &j.host);
	if (!rc && host_paused(j.host)) /* by a run of before: to join is to go on */
		rc = host_pause(j.host, false);
	if (!rc)
		rc = put_mark(s);
	if (!rc)
		rc = daemon_stop_catch(true);
	progress_begin(&j.bar, "joining", 0);
	if (!rc)
		rc = go(&j);
	progress_end(&j.bar);
	if (!rc)
		host_status(j.host, &j.status);
	host_stop(j.host);
	published_close(j.published);
	daemon_stop_catch(false);
	daemon_stop_close();
	if (!rc && unlink(mark))
		rc = err_set(-errno, "cannot remove %s: %s", mark, strerror(errno));
	if (!rc)
		*ret_code = done(&j);
	return rc;
}

int cmd_join(int argc, char **argv)
{
	struct args a = { .run = { .config = NULL } };
	struct settings s;
	int code = CMD_USAGE, at = cmd_parse(&usage, argc, argv, take, &a, &code), rc;

	if (at < 0 || cmd_operands(&usage, argc - at, 0, 1, &code))
		return code;
	if (a.run.verbose)
		logmsg_init("clonesync", LOGMSG_INFO);
	rc = run_settle(&a.run, argv[at], &s);
	if (!rc && !s.peer_count)
		rc = err_set(ERR_CONFIG, "join whom? Name a member with --peer; a first member is started with clonesync run");
	if (!rc)
		rc = join(&s, &a, &code);
	settings_free(&s);
	if (!rc)
		return code;
	code = run_fail(usage.program, rc);
	return rc == -ENOTEMPTY ? CMD_NOT_FOUND : rc == -ETIMEDOUT ? CMD_UNAVAILABLE : code;
}
