/*
 * run_options.h - what clonesync run and clonesync join share: their options, settings out of file and command line, a host out of these.
 */
#ifndef CLONELOVE_RUN_OPTIONS_H
#define CLONELOVE_RUN_OPTIONS_H

#include "cmd.h"
#include "host.h"
#include "settings.h"

#define RUN_OVERRIDES_MAX 128u

enum { RUN_LIMIT_RATE = CMD_LONG(200), RUN_IGNORE = CMD_LONG(201), RUN_SCRUB_RATE = CMD_LONG(202), RUN_REMEMBER = CMD_LONG(203) };

#define RUN_OPTIONS \
	{ 'c', "config", "FILE", "the configuration (default /etc/clonelove/clonesync.conf, where no DIR is given)" }, \
	{ 'k', "cluster-key-file", "FILE", "the cluster's key, as keygen makes it (default /etc/clonelove/cluster.key)" }, \
	{ 's', "state-dir", "DIR", "what this member remembers (default /var/lib/clonesync); not within the directory" }, \
	{ 'l', "listen", "ADDR:PORT", "where peers call; without it, it only calls them" }, \
	{ 'a', "address", "HOST:PORT", "where the others call this one (default: where it listens, as its first peer sees it)" }, \
	{ 'p', "peer", "HOST:PORT", "another member, from which it learns the rest; may be given again. None: the first member" }, \
	{ 'n', "name", "NAME", "what operators read, on every member (default: the host name)" }, \
	{ RUN_LIMIT_RATE, "limit-rate", "RATE", "send at most so many bytes of files a second, as 500K, 20M; to all members together" }, \
	{ RUN_SCRUB_RATE, "scrub-rate", "RATE", "read so many bytes a second again, once a week, to find what has rotted (default 4M; on clonefs off); off: only when asked" }, \
	{ RUN_REMEMBER, "remember-deletions", "AGE", "forget no deletion that is younger, as 12d, 8w, 36h (default 30d, at least 1d)" }, \
	{ RUN_IGNORE, "ignore", "PATTERN", "leave alone what this matches, in gitignore's syntax; may be given again" }, \
	{ 'v', "verbose", NULL, "say more" }

struct run_args {
	const char *config;
	const char *names[RUN_OVERRIDES_MAX], *values[RUN_OVERRIDES_MAX]; /* the command line, which wins over the file */
	unsigned count;
	bool verbose;
};

/* Takes one of the options above, for cmd_parse. 0; -1: a wrong call, said. */
int run_take(struct run_args *a, const char *program, int letter, const char *arg);
/* An option of one's own that is a setting. */
int run_override(struct run_args *a, const char *program, const char *name, const char *value);
/* The file, then the command line over it; dir: NULL = as the file says. settings_free is to be called all the same. */
int run_settle(const struct run_args *a, const char *dir, struct settings *s);
/* What a process does to itself before its first thread: rights (caps.h has the text's size), signals. The descriptor that is readable once an end was asked for, or an error. */
int run_prepare(const struct settings *s, char *ret_rights);
/* Starts it, what was prepared is ready; shown on a terminal. published: host.h's. */
int run_start(const struct settings *s, struct published *published, struct host **ret);
/* Exit code of a failure, said: 4 where the cluster has forgotten this member. */
int run_fail(const char *program, int rc);

#endif
