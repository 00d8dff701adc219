/*
 * cmd_mount.c - clonefs mount, and mount.clonefs as mount(8) calls it.
 *
 * In the background: fork before any thread exists; the parent waits on a pipe
 * for the child's "ready" or its error, prints the error, and exits. The child
 * keeps the parent's stderr and process group until it is ready, so that an
 * interrupt from the keyboard reaches it while it still starts; and when the parent dies
 * before it was told, so does the child: nobody would know of its mount.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "commands.h"
#include "control.h"
#include "err.h"
#include "logmsg.h"
#include "mount.h"

/* mount(8)'s exit codes, which mount.clonefs has */
enum { MOUNT_EX_USAGE = 1, MOUNT_EX_FAIL = 32 };
#define HELPER_RETRY_S 90 /* at boot the network may come up after us */

enum { OPT_TAKEOVER = CMD_LONG(0) };

static const struct cmd_option mount_options[] = {
	{ 'f', "foreground", NULL, "stay in the foreground; end with the mount" },
	{ OPT_TAKEOVER, "takeover", NULL, "take the volume over although its writer was alive a moment ago" },
	{ 'o', "options", "LIST", "comma-separated options; see clonefs(5)" },
};

static const struct cmd_usage mount_usage = {
	"clonefs mount", "STORE DIR", "Mounts the volume at STORE on DIR; returns when it serves.", mount_options,
	CL_ARRAY_LEN(mount_options),
	"Exit codes: 0 mounted; 1 failed; 2 wrong call; 3 the volume has a live writer, or DIR is in use;\n"
	"4 no volume there; 5 the store does not answer; 6 damage.", CMD_USAGE
};

static const struct cmd_option helper_options[] = {
	{ 's', NULL, NULL, "ignore options that are not known" },
	{ 'f', NULL, NULL, "fake: check the options, mount nothing" },
	{ 'n', NULL, NULL, "accepted and ignored (there is no mtab)" },
	{ 'v', NULL, NULL, "say what is done" },
	{ 'N', NULL, "NS", "mount in this mount namespace (a process ID or a file)" },
	{ 'o', NULL, "LIST", "comma-separated options; see clonefs(5)" },
	{ 't', NULL, "TYPE", "the type, as mount(8) passes it; ignored" },
};

static const struct cmd_usage helper_usage = {
	"mount.clonefs", "STORE DIR", "Mounts the volume at STORE on DIR, called by mount(8) for type clonefs.", helper_options,
	CL_ARRAY_LEN(helper_options), "Exit codes, as mount(8) has them: 0 mounted; 1 wrong call; 32 the mount failed.", MOUNT_EX_USAGE
};

struct args {
	const struct cmd_usage *u;
	struct mount_config c;
	char *list; /* every -o, joined: parsed once -s is known */
	bool sloppy, fake, verbose;
	const char *namespace;
};

static int add_list(struct args *a, const char *more)
{
	char *joined;

	if (asprintf(&joined, "%s%s%s", a->list ? a->list : "", a->list ? "," : "", more) < 0) {
		cmd_complain(a->u->program, "no memory");
		return -1;
	}
	free(a->list);
	a->list = joined;
	return 0;
}

static int take_mount(void *user, int letter, const char *arg)
{
	struct args *a = user;

	if (letter == 'f')
		a->c.foreground = true;
	else if (letter == OPT_TAKEOVER)
		a->c.takeover = true;
	else
		return add_list(a, arg);
	return 0;
}

static int take_helper(void *user, int letter, const char *arg)
{
	struct args *a = user;

	if (letter == 's')
		a->sloppy = true;
	else if (letter == 'f')
		a->fake = true;
	else if (letter == 'v')
		a->verbose = true;
	else if (letter == 'N')
		a->namespace = arg;
	else if (letter == 'o')
		return add_list(a, arg);
	return 0;
}

/* One option at a time, leaving out those that are not known. A backslash keeps the comma after it, as in mount_options_parse. */
static int parse_sloppy(struct args *a)
{
	char *one = a->list;
	int rc = 0;

	while (!rc && *one) {
		size_t len = 0;
		char kept;

		while (one[len] && one[len] != ',')
			len += one[len] == '\\' && one[len + 1] ? 2 : 1;
		kept = one[len];
		one[len] = '\0';
		rc = mount_options_parse(&a->c, one);
		if (rc == ERR_CONFIG && strstr(err_last(), "no mount option")) {
			if (a->verbose)
				cmd_complain(a->u->program, "ignored: %s", err_last());
			err_clear();
			rc = 0;
		}
		one[len] = kept;
		one += len + (kept == ',');
	}
	return rc;
}

static int check_mountpoint(const char *typed, char **ret)
{
	struct statfs dead;
	struct stat st, up;
	char *full = realpath(typed, NULL), parent[PATH_MAX];
	int rc = 0;

	if (!full && errno == ENOTCONN)
		return err_set(-EBUSY, "%s: a dead mount is there; take it away with umount -l %s and mount again", typed, typed);
	if (!full)
		return err_set(-errno, "the mount point %s: %s; %s", typed, strerror(errno),
			       errno == ENOENT ? "make it with mkdir -p" : "choose a directory that you may use");
	if (stat(full, &st))
		rc = err_set(-errno, "the mount point %s: %s%s", full, strerror(errno),
			     errno == ENOTCONN ? "; a dead mount is there: umount -l it and mount again" : "");
	else if (statfs(full, &dead) && errno == ENOTCONN) /* attributes may still be in the kernel's cache; this asks the daemon */
		rc = err_set(-EBUSY, "%s: a dead mount is there; take it away with umount -l %s and mount again", full, full);
	else if (!S_ISDIR(st.st_mode))
		rc = err_set(-ENOTDIR, "the mount point %s is not a directory; name one", full);
	if (!rc) {
		snprintf(parent, sizeof(parent), "%s/..", full);
		if (strcmp(full, "/") == 0 || (stat(parent, &up) == 0 && up.st_dev != st.st_dev))
			rc = err_set(-EBUSY, "something is mounted on %s already (findmnt %s shows what); unmount it or choose another directory",
				     full, full);
	}
	if (rc)
		free(full);
	else
		*ret = full;
	return rc;
}

static int enter_namespace(const char *ns)
{
	char path[PATH_MAX];
	bool pid = ns[0] && strspn(ns, "0123456789") == strlen(ns);
	int fd, rc = 0;

	snprintf(path, sizeof(path), pid ? "/proc/%s/ns/mnt" : "%s", ns);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNS))
		rc = err_set(-errno, "entering the mount namespace %s: %s", ns, strerror(errno));
	if (fd >= 0)
		close(fd);
	return rc;
}

/* What the child tells the parent: what it is at (last is false), and once how it ended. Short enough for a pipe to take it whole. */
struct verdict {
	bool last;
	int rc;
	char why[1024];
};

static void child_stage(void *user, const char *what)
{
	int *fd = user;
	struct verdict v = { .last = false };

	snprintf(v.why, sizeof(v.why), "%s", what);
	if (*fd >= 0 && write(*fd, &v, sizeof(v)) != (ssize_t)sizeof(v))
		logmsg(LOGMSG_DEBUG, "the command that mounts does not listen: %s", strerror(errno));
}

static void child_ready(void *user, int rc)
{
	int *fd = user, null;
	struct verdict v = { .last = true, .rc = rc };
	ssize_t n;

	if (rc)
		snprintf(v.why, sizeof(v.why), "%s", err_last());
	prctl(PR_SET_PDEATHSIG, 0);
	n = write(*fd, &v, sizeof(v));
	close(*fd);
	*fd = -1;
	if (rc)
		return;
	if (n != (ssize_t)sizeof(v))
		raise(SIGTERM); /* which by now ends the mount in order */
	setsid();
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int i = 0; null >= 0 && i <= STDERR_FILENO; i++)
		dup2(null, i);
	if (null > STDERR_FILENO)
		close(null);
}

static _Noreturn void run_child(struct args *a, int fd, pid_t parent)
{
	int rc;

	a->c.volume.stage = child_stage;
	a->c.volume.stage_user = &fd;
	if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0)
		rc = err_set(-errno, "PR_SET_PDEATHSIG: %s", strerror(errno));
	else if (getppid() != parent)
		rc = -ECANCELED;
	else if (chdir("/")) /* the caller's directory must stay free to unmount */
		rc = err_set(-errno, "chdir /: %s", strerror(errno));
	else
		rc = mount_serve(&a->c, child_ready, &fd);
	if (fd >= 0 && rc) /* it ended without a word */
		child_ready(&fd, rc);
	_exit(rc ? EXIT_FAILURE : EXIT_SUCCESS);
}

/* The child's last word; whoever looks at a terminal is shown the others. False: it ended without one. */
static bool hear_child(int fd, const char *address, struct verdict *ret)
{
	struct progress bar = PROGRESS_INIT;
	char text[2][512];
	unsigned turn = 0;
	ssize_t n;

	snprintf(text[0], sizeof(text[0]), "mounting %.200s", address);
	progress_begin(&bar, text[0], 0);
	while ((n = read(fd, ret, sizeof(*ret))) < 0 ? errno == EINTR : n == (ssize_t)sizeof(*ret) && !ret->last) {
		if (n < 0)
			continue;
		turn = !turn; /* the other one may be on its way to the terminal */
		snprintf(text[turn], sizeof(text[turn]), "mounting %.200s: %.200s", address, ret->why);
		progress_say(&bar, text[turn]);
	}
	progress_end(&bar);
	return n == (ssize_t)sizeof(*ret);
}

static int wait_child(pid_t pid, int fd, const char *address, const char *mountpoint)
{
	struct verdict v;
	bool heard = hear_child(fd, address, &v);
	int status = 0;

	close(fd);
	if (heard && v.rc == 0)
		return 0;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (heard) {
		v.why[sizeof(v.why) - 1] = '\0';
		return err_set(v.rc, "%s", v.why[0] ? v.why : err_text(v.rc));
	}
	if (WIFSIGNALED(status))
		return err_set(-EIO, "the mount process of %s was killed by signal %d before it served; nothing is mounted", mountpoint,
			       WTERMSIG(status));
	return err_set(-EIO, "the mount process of %s ended before it served; nothing is mounted", mountpoint);
}

static int serve_in_background(struct args *a)
{
	int fds[2];
	pid_t pid, self = getpid();

	if (pipe2(fds, O_CLOEXEC))
		return err_set(-errno, "making a pipe: %s", strerror(errno));
	fflush(NULL);
	pid = fork();
	if (pid < 0) {
		close(fds[0]);
		close(fds[1]);
		return err_set(-errno, "starting the mount process: %s", strerror(errno));
	}
	if (pid == 0) {
		close(fds[0]);
		run_child(a, fds[1], self);
	}
	close(fds[1]);
	return wait_child(pid, fds[0], a->c.address, a->c.mountpoint);
}

/* From the parsed command line to a served mount; 0 or an error with its message. */
static int run(struct args *a, const char *spec, const char *dir)
{
	int rc = a->namespace ? enter_namespace(a->namespace) : 0;

	if (!rc && a->list)
		rc = a->sloppy ? parse_sloppy(a) : mount_options_parse(&a->c, a->list);
	if (!rc && !(a->c.address = strdup(spec)))
		rc = -ENOMEM;
	if (!rc)
		rc = check_mountpoint(dir, &a->c.mountpoint);
	if (!rc)
		rc = mount_config_finish(&a->c);
	if (rc || a->fake)
		return rc;
	rc = control_check(a->c.control_path, a->c.metrics);
	if (rc)
		return rc;
	if (a->verbose)
		cmd_complain(a->u->program, "mounting %s on %s, cache in %s, node %s", spec, a->c.mountpoint, a->c.cache_dir, a->c.node);
	return a->c.foreground ? mount_serve(&a->c, NULL, NULL) : serve_in_background(a);
}

int cmd_mount(int argc, char **argv)
{
	struct args a = { .u = &mount_usage };
	int code = CMD_USAGE, at, rc;

	mount_config_init(&a.c);
	at = cmd_parse(a.u, argc, argv, take_mount, &a, &code);
	if (at >= 0 && cmd_operands(a.u, argc - at, 2, 2, &code) == 0) {
		rc = run(&a, argv[at], argv[at + 1]);
		code = rc ? cmd_fail(a.u->program, rc) : CMD_OK;
	}
	mount_config_free(&a.c);
	free(a.list);
	return code;
}

int cmd_mount_helper(int argc, char **argv)
{
	struct args a = { .u = &helper_usage };
	int code = MOUNT_EX_USAGE, at, rc;

	mount_config_init(&a.c);
	a.c.retry_s = HELPER_RETRY_S;
	at = cmd_parse(a.u, argc, argv, take_helper, &a, &code);
	if (at >= 0 && cmd_operands(a.u, argc - at, 2, 2, &code) == 0) {
		rc = run(&a, argv[at], argv[at + 1]);
		code = rc ? cmd_fail(a.u->program, rc) : CMD_OK;
		if (rc)
			code = rc == ERR_CONFIG ? MOUNT_EX_USAGE : MOUNT_EX_FAIL;
	}
	mount_config_free(&a.c);
	free(a.list);
	return code;
}
