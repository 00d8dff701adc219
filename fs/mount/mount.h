/*
 * mount.h - one mounted volume as a process: options, everything it opens, the
 * FUSE session, the control socket and the metrics endpoint.
 *
 * mount_serve owns the order: store, cache directory (lock), executor, volume,
 * FUSE session, control; and takes them down in the reverse order on
 * unmount, SIGTERM, SIGINT or SIGHUP.
 */
#ifndef CLONELOVE_MOUNT_H
#define CLONELOVE_MOUNT_H

#include "volume.h"

struct mount_config {
	char *address;          /* store address */
	char *mountpoint;       /* absolute */
	char *store_options;    /* for store_open; NULL = none */
	char *cache_dir;        /* absolute; default /var/cache/clonefs/<hash of the address> */
	char *node;             /* default: the host name */
	char *control_path;     /* unix socket; default /run/clonefs/<hash of the mount point>.sock */
	char *metrics;          /* "unix:PATH" or "127.0.0.1:PORT" or NULL */
	char *log_file;         /* NULL = stderr while in the foreground, else syslog */
	char *fsname;           /* what /proc/mounts shows; default the address */
	bool foreground, read_only, takeover, allow_other, nosuid, nodev, noexec, database;
	bool nonempty;          /* mount over a directory that is not empty */
	bool no_xattr;          /* no extended attributes and ACLs here: the kernel then sends no message for each name to ask for them */
	bool io_uring;          /* FUSE over io_uring where kernel and libfuse offer it */
	bool drain_on_stop;     /* SIGTERM and unmount drain to the store (default true) */
	unsigned threads;       /* FUSE workers; 0 = chosen */
	unsigned readahead_kb;  /* the kernel's readahead on this mount */
	unsigned retry_s;       /* keep trying to reach the store for this long (boot; 0 = once) */
	struct volume_options volume; /* plain values, and stage; other pointers are filled in by mount_serve */
};

void mount_config_init(struct mount_config *c);
void mount_config_free(struct mount_config *c);
/*
 * Parses comma-separated mount(8) options (may be called several times; later ones win). A backslash keeps the comma after it.
 *
 * Its own: cache_dir= cache_size= node= durability= max_lag= commit_interval= uploads= outage_timeout= checkpoint_size= df_size= takeover ro rw
 * allow_other no_allow_other nonempty noxattr xattr database drain no_drain metrics= control= log_file= fsname= io_uring retry= threads= readahead=
 * nosuid suid nodev dev noexec exec.
 * mount(8)'s (_netdev, nofail, noauto, user=, defaults, x-*, noatime, relatime, ...) are known and ignored. The store's (endpoint=, region=,
 * profile=, ...) are collected for store_open. An unknown one, or one that cannot be had: ERR_CONFIG with a message that names it. Sizes take K M G T P,
 * times ms s m h (plain numbers are seconds).
 */
int mount_options_parse(struct mount_config *c, const char *options);
/* Fills in what is still unset (node, cache_dir, control_path, fsname) and checks that the whole makes sense. */
int mount_config_finish(struct mount_config *c);

/*
 * Daemonising is the caller's: fork before this call (nothing here has started a thread yet), let the child call mount_serve and tell the
 * parent through a pipe what ready() said, and point the child's stdin, stdout and stderr at /dev/null from within ready(): until then
 * messages go to the terminal; afterwards to log_file, or to syslog when that is NULL. The parent exits with what the pipe brought.
 * While it serves, SIGTERM, SIGINT and SIGHUP are handled: the first ends the mount in order, a second one stops the draining.
 *
 * Serves until unmounted. Blocking. ready (may be NULL) is called once: ready(user, 0) when the mount answers, or with the error
 * (err_last has the message) when it never will. Returns what ended it: 0 = unmounted and (where asked) drained.
 */
int mount_serve(const struct mount_config *c, void (*ready)(void *user, int rc), void *user);

#endif
