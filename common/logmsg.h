/*
 * logmsg.h - messages for the operator: stderr for commands, syslog's format
 * with a <priority> prefix when JOURNAL_STREAM is set. Thread-safe. Never pass
 * a secret.
 */
#ifndef CLONELOVE_LOGMSG_H
#define CLONELOVE_LOGMSG_H

#include "compiler.h"

enum logmsg_level { LOGMSG_ERROR, LOGMSG_WARNING, LOGMSG_NOTICE, LOGMSG_INFO, LOGMSG_DEBUG };

/* Messages above `level` are dropped (default LOGMSG_NOTICE). `program` is kept by reference. */
void logmsg_init(const char *program, enum logmsg_level level);
/* Where messages go: a file descriptor (default 2). */
void logmsg_set_fd(int fd);
void logmsg(enum logmsg_level level, const char *fmt, ...) CL_PRINTF(2, 3);

#endif
