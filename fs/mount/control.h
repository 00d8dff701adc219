/*
 * control.h - the control socket of a mount (as ctlsock.h has them), and the
 * client's side.
 *
 * Requests: {"do":"stat"} {"do":"sync"} {"do":"drain"} {"do":"unmount","drain":bool}. drain and sync send progress lines
 * {"progress":bytes_left} before the last line {"ok":true,...} or {"ok":false,"error":"..."}.
 */
#ifndef CLONELOVE_CONTROL_H
#define CLONELOVE_CONTROL_H

#include "store.h"
#include "volume.h"

#define CONTROL_PATH_MAX 256
#define CONTROL_TMP_PREFIX "/tmp/clonefs-" /* then the user ID: the directory of who has no runtime directory */

struct control;
struct control_options {
	const char *path;       /* socket; its directory is made (0755) */
	const char *metrics;    /* as mount_config; NULL = none */
	const char *address, *mountpoint;
	struct volume *volume;
	struct store *store;
	/* Asks the session to end: unmounts, and drains unless drain is false. Called on a control thread; must not block. */
	void (*stop)(void *user, bool drain);
	void *user;
};

/* Can these sockets be had? Leaves nothing behind. For a mount to ask before it claims the volume: a taken port must not cost another writer
 * its epoch. metrics may be NULL. */
int control_check(const char *path, const char *metrics);

/* Starts its threads (one for control, libmicrohttpd's own for metrics). */
int control_start(const struct control_options *o, struct control **ret);
void control_stop(struct control *c);

/* The default control socket of a mount point (absolute); ret: CONTROL_PATH_MAX bytes. Root: /run/clonefs; others: $XDG_RUNTIME_DIR/clonefs, else
 * /tmp/clonefs-UID. */
void control_default_path(const char *mountpoint, char *ret);

/* Client: the socket of the mount at mountpoint (found through /proc/self/mountinfo and the default path, or the state file beside
 * it); sends a request line, hands each reply line to each(); returns 0 when the last one had "ok":true. */
int control_call(const char *mountpoint, const char *request_json, int (*each)(void *user, const char *line), void *user);

#endif
