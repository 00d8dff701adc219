/*
 * settings.h - what a clonesync is told, by its configuration file and its command line: clonesync.conf(5).
 */
#ifndef CLONELOVE_SETTINGS_H
#define CLONELOVE_SETTINGS_H

#include "host.h"

#define SETTINGS_FILE "/etc/clonelove/clonesync.conf"

struct settings {
	char *tree, *state_dir, *cluster_key_file, *listen, *address, *name, *metrics, *trash_days, *trash_most_bytes, *missing_percent, *limit_rate, *from, *scrub_rate, *remember_deletions; /* NULL: not set */
	char *peers[HOST_PEERS_MAX];
	unsigned peer_count;
	char *ignore;                  /* all of them, one a line; NULL: nothing is ignored */
};

/* The defaults of those that have one. -ENOMEM: settings_free is to be called all the same. */
int settings_init(struct settings *s);
void settings_free(struct settings *s);
/* By its name in the file; the later one wins, peers and patterns add up (several peers may be in one value). ERR_CONFIG with a message. */
int settings_set(struct settings *s, const char *name, const char *value);
/* 0; -ENOENT and others, ERR_CONFIG with file and line, with a message. */
int settings_load(struct settings *s, const char *path);
/* The file that was named, which must be there; or, path NULL, the usual one, which need not. */
int settings_find(struct settings *s, const char *path);

#endif
