/*
 * daemon.h - what a process does to itself that serves for long: limits, core
 * dumps, the signals that end it, the word to who started it.
 */
#ifndef CLONELOVE_DAEMON_H
#define CLONELOVE_DAEMON_H

#include <stdbool.h>

/* Before any thread: as many descriptors as there may be, no core dumps, no SIGPIPE. What is not permitted is left as it is. */
void daemon_harden(void);

/*
 * SIGTERM, SIGINT and SIGHUP ask for an end: one such state in a process. open returns a descriptor that is readable once an end was asked for (-errno
 * where none can be had); it is closed by close. Until catch(true) a signal simply ends the process.
 */
int daemon_stop_open(void);
int daemon_stop_catch(bool on);         /* 0 or -errno */
void daemon_stop_wake(void);            /* any thread: asks for an end, or for a look around, without a signal */
unsigned daemon_stop_signals(void);     /* how many there were since open */
void daemon_stop_close(void);

/* Tells the service manager, where one listens (sd_notify(3)'s protocol): "READY=1", "STOPPING=1", "STATUS=...", a line each. */
void daemon_notify(const char *state);

#endif
