/*
 * host_pause.c - a pause, kept by a mark in the state directory, so that it is one after a restart, or a loss of power, as well: whoever pauses a member does not expect it to
 * talk again because the machine was booted. The mark is durable before the pause is said to be one, and gone for good before its end is.
 */
#include "host_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "err.h"
#include "logmsg.h"

#define MARK "paused"

static int change_mark(int dir, bool pause)
{
	int fd = pause ? openat(dir, MARK, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600) : -1;

	if (pause ? fd < 0 : unlinkat(dir, MARK, 0) && errno != ENOENT)
		return -errno;
	if (fd >= 0)
		close(fd);
	return fsync(dir) ? -errno : 0;
}

int host_pause(struct host *h, bool pause)
{
	int dir = open(h->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = dir < 0 ? -errno : change_mark(dir, pause);

	if (dir >= 0)
		close(dir);
	logmsg(LOGMSG_NOTICE, pause ? "paused" : "goes on after a pause");
	link_hub_pause(h->hub, pause);
	if (!rc)
		return 0;
	err_set(rc, pause ? "it is paused now, but will not be after a restart: cannot make %s/" MARK ": %s" : "it goes on now, but will be paused after a restart: cannot remove %s/" MARK ": %s",
		h->state_dir, strerror(-rc));
	logmsg(LOGMSG_ERROR, "%s", err_last());
	return rc;
}

bool host_paused(struct host *h)
{
	return link_hub_paused(h->hub);
}

bool host_was_paused(const char *state_dir)
{
	char path[HOST_STATE_DIR_MAX + 32];

	snprintf(path, sizeof path, "%s/" MARK, state_dir);
	if (access(path, F_OK)) /* what cannot be looked at could not have been made */
		return false;
	logmsg(LOGMSG_NOTICE, "paused, as it was before it ended: clonesync resume goes on");
	return true;
}
