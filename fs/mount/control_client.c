/*
 * control_client.c - asks the control socket of a mount.
 *
 * A mount is found by its mount point: the default socket first, then every
 * socket of the default directories, each asked which mount it serves (so a
 * mount that was given a name of its own is found too). Nothing is kept.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <json-c/json.h>

#include "control.h"
#include "ctlsock.h"
#include "err.h"
#include "hash.h"

static const char *control_dir(void)
{
	static char dir[CONTROL_PATH_MAX - 24];
	const char *run = getenv("XDG_RUNTIME_DIR");

	if (geteuid() == 0)
		return "/run/clonefs";
	if (run && run[0] == '/' && strlen(run) < sizeof(dir) - 16)
		snprintf(dir, sizeof(dir), "%s/clonefs", run);
	else
		snprintf(dir, sizeof(dir), CONTROL_TMP_PREFIX "%u", (unsigned)geteuid());
	return dir;
}

void control_default_path(const char *mountpoint, char *ret)
{
	snprintf(ret, CONTROL_PATH_MAX, "%s/%016llx.sock", control_dir(),
		 (unsigned long long)hash_xxh3(mountpoint, strlen(mountpoint), 0));
}

/* Is it the answer of the mount at this mount point? */
static bool names_mount(struct json_object *last, const char *mountpoint)
{
	struct json_object *at; /* NULL: it is null */

	return json_object_object_get_ex(last, "mountpoint", &at) && at && strcmp(json_object_get_string(at), mountpoint) == 0;
}

/* Does the socket at path serve this mount point? */
static bool serves(const char *path, const char *mountpoint)
{
	struct json_object *last = NULL;
	int fd = ctlsock_dial(path);
	bool yes = false;

	if (fd < 0)
		return false;
	if (ctlsock_ask(fd, "{\"do\":\"stat\"}", NULL, NULL, &last) == 0)
		yes = names_mount(last, mountpoint);
	json_object_put(last);
	close(fd);
	return yes;
}

static int find_socket(const char *mountpoint, char *ret)
{
	DIR *d;
	struct dirent *e;
	bool found = false;

	control_default_path(mountpoint, ret);
	if (serves(ret, mountpoint))
		return 0;
	d = opendir(control_dir());
	while (d && !found && (e = readdir(d))) {
		size_t len = strlen(e->d_name);

		if (len < 5 || strcmp(e->d_name + len - 5, ".sock") ||
		    snprintf(ret, CONTROL_PATH_MAX, "%s/%s", control_dir(), e->d_name) >= CONTROL_PATH_MAX)
			continue;
		found = serves(ret, mountpoint);
	}
	if (d)
		closedir(d);
	return found ? 0 : -ENOENT;
}

/* The mount of type fuse.clonefs that holds path, the nearest one; "" where there is none. Fields of mountinfo are octal-escaped. */
static void find_mount(const char *path, char *ret)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char line[8192];

	ret[0] = '\0';
	while (f && fgets(line, sizeof(line), f)) {
		char at[PATH_MAX], *dash = strstr(line, " - "), *p;
		size_t n = 0;

		if (!dash || strncmp(dash + 3, "fuse.clonefs ", 13) || sscanf(line, "%*s %*s %*s %*s %4095s", at) != 1)
			continue;
		for (p = at; *p; p++) {
			unsigned code;

			if (p[0] == '\\' && sscanf(p + 1, "%3o", &code) == 1) {
				at[n++] = (char)code;
				p += 3;
			} else {
				at[n++] = *p;
			}
		}
		at[n] = '\0';
		if (strncmp(path, at, n) == 0 && (path[n] == '\0' || path[n] == '/') && n >= strlen(ret))
			snprintf(ret, PATH_MAX, "%s", at);
	}
	if (f)
		fclose(f);
}

/* From what the user typed to the mount point, without touching a mount that may not answer more than needed. */
static int resolve(const char *typed, char *ret)
{
	char full[PATH_MAX];

	if (!realpath(typed, full)) {
		if (errno != ENOTCONN && errno != EIO && errno != EACCES)
			return err_set(-errno, "%s: %s", typed, strerror(errno));
		snprintf(full, sizeof(full), "%s", typed);
	}
	find_mount(full, ret);
	if (!ret[0])
		return err_set(-ENOENT, "%s is not on a mounted clonefs volume; findmnt -t fuse.clonefs lists those there are", typed);
	return 0;
}

int control_call(const char *typed, const char *request_json, int (*each)(void *user, const char *line), void *user)
{
	char mountpoint[PATH_MAX], path[CONTROL_PATH_MAX];
	struct json_object *last;
	int fd, rc = resolve(typed, mountpoint);

	if (rc)
		return rc;
	if (find_socket(mountpoint, path))
		return err_set(-ECONNREFUSED, "%s: no control socket in %s answers for it; run this as the user who mounted it, and where the "
			       "mount is dead (findmnt shows it) unmount it with umount -l %s", mountpoint, control_dir(), mountpoint);
	fd = ctlsock_dial(path);
	if (fd < 0)
		return err_set(fd, "the control socket %s: %s", path, strerror(-fd));
	rc = ctlsock_ask(fd, request_json, each, user, &last);
	close(fd);
	if (rc)
		return err_set(rc, "the mount at %s went away before it answered (%s); its log says why", mountpoint, err_text(rc));
	rc = ctlsock_result(last, "the mount");
	json_object_put(last);
	return rc;
}
