/*
 * process.c - limits and flags of a mount's process, and the checks of where
 * it mounts. No state, except the descriptor of the log.
 */
#include "process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon.h"
#include "err.h"
#include "hash.h"
#include "logmsg.h"

#define FS_TYPE "fuse.clonefs"

static void write_proc(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	if (write(fd, text, strlen(text)) < 0)
		logmsg(LOGMSG_DEBUG, "%s: %s", path, strerror(errno));
	close(fd);
}

/* Buffers of objects come and go by the hundred in a second. malloc would map each and give it back, and to fault their pages in anew took a tenth of the
 * CPU time of a cold read. It keeps what is free at the end of an arena instead; there are two arenas, so what it keeps has a bound. */
static void keep_memory(void)
{
	enum { KEPT_BYTES = 32 << 20 };

	if (!mallopt(M_ARENA_MAX, 2) || !mallopt(M_MMAP_THRESHOLD, KEPT_BYTES) || !mallopt(M_TRIM_THRESHOLD, KEPT_BYTES))
		logmsg(LOGMSG_DEBUG, "mallopt took not all that it was told");
}

void process_harden(void)
{
	daemon_harden();
	/* Write-back of mapped pages goes through this process: freeing memory must not make it wait for itself. Threads inherit the flag.
	 * CAP_SYS_RESOURCE is needed for both; without it the machine copes less well when memory is nearly out. */
#ifdef PR_SET_IO_FLUSHER
	if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) < 0)
		logmsg(LOGMSG_DEBUG, "PR_SET_IO_FLUSHER: %s", strerror(errno));
#endif
	/* If it is killed for memory, every process on the mount fails with it. */
	write_proc("/proc/self/oom_score_adj", "-1000");
	keep_memory();
}

int process_make_dirs(const char *path)
{
	char part[PATH_MAX];
	size_t len = strlen(path);

	if (len >= sizeof(part) || path[0] != '/')
		return err_set(-ENAMETOOLONG, "the path %s is too long, or not absolute", path);
	for (size_t i = 1; i <= len; i++) {
		if (path[i] != '/' && path[i] != '\0')
			continue;
		memcpy(part, path, i);
		part[i] = '\0';
		if (mkdir(part, i == len ? 0700 : 0755) < 0 && errno != EEXIST)
			return err_set(-errno, "cannot make the directory %s: %s", part, strerror(errno));
	}
	return 0;
}

/* mountinfo writes space, tab, newline and backslash as \ooo. */
static void unescape(char *s)
{
	char *w = s;

	for (; *s; s++) {
		if (s[0] == '\\' && s[1] && s[2] && s[3]) {
			*w++ = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
			s += 3;
		} else {
			*w++ = *s;
		}
	}
	*w = '\0';
}

/* Is a clonefs mounted right there? (The last line of mountinfo about a place is the topmost mount.) */
static bool is_clonefs_mount(const char *mountpoint)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char *line = NULL, where[PATH_MAX], type[64];
	size_t size = 0;
	bool found = false;

	if (!f)
		return false;
	while (getline(&line, &size, f) > 0) {
		char *dash = strstr(line, " - ");

		if (!dash || sscanf(line, "%*d %*d %*s %*s %4095s", where) != 1 || sscanf(dash, " - %63s", type) != 1)
			continue;
		unescape(where);
		if (strcmp(where, mountpoint) == 0)
			found = strcmp(type, FS_TYPE) == 0;
	}
	free(line);
	fclose(f);
	return found;
}

static int check_empty(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;
	int rc = 0;

	if (!d)
		return err_set(-errno, "cannot read the mount point %s: %s", path, strerror(errno));
	while (!rc && (e = readdir(d)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			rc = err_set(-ENOTEMPTY, "the mount point %s is not empty: what is in it would be hidden. Move it away, or mount with "
				     "-o nonempty", path);
	closedir(d);
	return rc;
}

/* What a killed mount leaves behind: every access says ENOTCONN. Nothing can be in it, so it goes. */
static int detach_dead(const char *path)
{
	if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) < 0)
		return err_set(-errno, "a dead mount is on %s and cannot be removed (%s): run umount -l %s", path, strerror(errno), path);
	logmsg(LOGMSG_NOTICE, "removed the dead mount on %s", path);
	return 0;
}

/* Real paths, so that no symlink hides it. */
static int check_cache_outside(const struct mount_config *c)
{
	char cache[PATH_MAX], mp[PATH_MAX];
	size_t len;

	if (!realpath(c->cache_dir, cache))
		return err_set(-errno, "the cache directory %s: %s", c->cache_dir, strerror(errno));
	if (!realpath(c->mountpoint, mp))
		return err_set(-errno, "the mount point %s: %s", c->mountpoint, strerror(errno));
	len = strlen(mp);
	if (strncmp(cache, mp, len) == 0 && (cache[len] == '/' || cache[len] == '\0' || len == 1))
		return err_set(ERR_CONFIG, "the cache directory %s lies in the mount point %s, so it would have to cache itself: give another with "
			       "-o cache_dir=DIR", cache, mp);
	return 0;
}

int process_check_mountpoint(const struct mount_config *c)
{
	struct stat st;
	int rc;

	if (stat(c->mountpoint, &st) < 0 && errno == ENOTCONN && is_clonefs_mount(c->mountpoint)) {
		rc = detach_dead(c->mountpoint);
		if (rc)
			return rc;
	}
	if (stat(c->mountpoint, &st) < 0)
		return err_set(-errno, errno == ENOENT ? "the mount point %s does not exist (%s): make it with mkdir -p" : "the mount point %s: %s",
			       c->mountpoint, strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return err_set(-ENOTDIR, "the mount point %s is not a directory", c->mountpoint);
	if (is_clonefs_mount(c->mountpoint))
		return err_set(-EBUSY, "%s is in use: a clonefs is mounted there already (clonefs stat %s tells which)", c->mountpoint, c->mountpoint);
	rc = c->nonempty ? 0 : check_empty(c->mountpoint);
	return rc ? rc : check_cache_outside(c);
}

/* The first line of a file, as far as it goes; "" where it cannot be read. */
static void read_line(const char *path, char *ret, size_t cap)
{
	FILE *f = fopen(path, "re");

	if (!f || !fgets(ret, (int)cap, f))
		ret[0] = '\0';
	if (f)
		fclose(f);
	ret[strcspn(ret, "\n")] = '\0';
}

/*
 * An image of a machine has its machine ID, its directories and what is in them; but another board or instance ID. A copy made with cp is another directory: with
 * another inode, born at another time.
 */
void process_machine_id(const char *cache_dir, uint8_t ret[16])
{
	uint8_t h[HASH_BYTES];
	char machine[80], board[80], text[320];
	struct statx st;

	read_line("/etc/machine-id", machine, sizeof machine);
	if (strlen(machine) != 32 && gethostname(machine, sizeof(machine) - 1) < 0)
		machine[0] = '\0';
	read_line("/sys/class/dmi/id/product_uuid", board, sizeof board);
	if (statx(AT_FDCWD, cache_dir, 0, STATX_INO | STATX_BTIME, &st))
		memset(&st, 0, sizeof st);
	if (!(st.stx_mask & STATX_BTIME))
		memset(&st.stx_btime, 0, sizeof st.stx_btime);
	snprintf(text, sizeof text, "%s %s %" PRIu64 " %" PRId64 ".%09" PRIu32, machine, board, (uint64_t)st.stx_ino, (int64_t)st.stx_btime.tv_sec,
		 (uint32_t)st.stx_btime.tv_nsec);
	/* Hashed, as machine-id(5) asks: the ID itself is not to be shown around. */
	hash_blake2b2("clonefs machine", 15, text, strlen(text), h);
	memcpy(ret, h, 16);
}

/* A datagram socket, so that a line is a message; it never blocks: a full syslog loses a line, not the mount. */
static int open_syslog(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = "/dev/log" };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

int process_open_log(const struct mount_config *c, const char *background_dir)
{
	char path[PATH_MAX];
	int fd;

	if (!c->log_file && c->foreground)
		return 0;
	if (!c->log_file) {
		fd = open_syslog();
		if (fd >= 0) {
			logmsg_set_fd(fd);
			return 0;
		}
	}
	snprintf(path, sizeof(path), "%s%s", c->log_file ? c->log_file : background_dir, c->log_file ? "" : "/clonefs.log");
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_set(-errno, "cannot write the log %s: %s", path, strerror(errno));
	logmsg_set_fd(fd);
	return 0;
}
