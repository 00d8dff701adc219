/*
 * session.h - the FUSE side of a mount: from the kernel's requests to
 * volume.h and back.
 */
#ifndef CLONELOVE_SESSION_H
#define CLONELOVE_SESSION_H

#include "mount.h"

struct session;

/* Mounts (0 or an error with a message) and starts the workers. v and c are borrowed. When it returns 0 the mount answers. */
int session_start(const struct mount_config *c, struct volume *v, struct session **ret);

/* A descriptor that turns readable when session_tick should run: the connection ended, or a request was interrupted. */
int session_event_fd(const struct session *s);
/* Answers parked requests whose process was killed. Returns true once the connection is gone (unmounted from outside).
 * *ret_again_ms: call again after so long at the latest; -1 = only when the descriptor says so. */
bool session_tick(struct session *s, int *ret_again_ms);

/* Unmounts, by force where processes still use it, and stops the workers. Requests parked in the engine stay
 * parked: volume_close answers them. Blocking; not on a worker. */
void session_stop(struct session *s);
/* After volume_close. NULL is fine. */
void session_free(struct session *s);

#endif
