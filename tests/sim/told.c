/*
 * told.c - logmsg for the simulation: what a process says goes to stderr where that is wanted, and it is remembered for its machine
 * when the operator was told of a loss.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "logmsg.h"
#include "world.h"

static enum logmsg_level shown = LOGMSG_NOTICE;
static int fd = 2;

void logmsg_init(const char *program, enum logmsg_level level)
{
	(void)program;
	shown = level;
}

void logmsg_set_fd(int to)
{
	fd = to;
}

void logmsg(enum logmsg_level level, const char *fmt, ...)
{
	struct proc *p = coro_proc();
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (level <= shown)
		dprintf(fd, "sim: %s\n", text);
	if (p && level <= LOGMSG_WARNING && p->w->brk != BREAK_LOSS_UNTOLD && (strstr(text, "salvage/") || strstr(text, "\"durable\"")))
		p->n->told_ns = p->w->now_ns;
}
