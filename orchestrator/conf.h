/*
 * conf.h - clonectl.conf: sections "[KIND NAME]" ("[clonectl]" has no name) of settings "NAME = VALUE", each with the line it stands on, so that
 * whoever reads a setting can say where it is wrong. A setting is taken by whoever knows it; what nobody took is an error. conf(5): clonectl.conf.
 *
 * Single-threaded use.
 */
#ifndef CLONELOVE_CONF_H
#define CLONELOVE_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct conf_setting { char *name, *value; int line; bool taken; };

struct conf_section {
	char *kind, *name; /* name: "" where there is none */
	const char *path;  /* the file's */
	int line;
	struct conf_setting *settings;
	size_t count;
};

struct conf {
	char *path;
	struct conf_section *sections;
	size_t count;
};

/* 0; -ENOENT and others, ERR_CONFIG with file and line, with a message. At most 64 KiB, 100 sections, 100 settings in each; a setting or a section twice is an error. */
int conf_load(const char *path, struct conf *ret);
/* The same from an open file; path is for messages. */
int conf_read(FILE *f, const char *path, struct conf *ret);
void conf_free(struct conf *c);

/* NULL: there is none. name: "" for the section without one. */
struct conf_section *conf_find(const struct conf *c, const char *kind, const char *name);
/* The value, which is now known to be known; NULL where it is not set. */
const char *conf_take(struct conf_section *s, const char *name);
/* 0 and *ret unchanged where it is not set; ERR_CONFIG where it is no number from least to most. */
int conf_take_number(struct conf_section *s, const char *name, uint64_t least, uint64_t most, uint64_t *ret);
/* ERR_CONFIG "FILE, line N: [KIND NAME] NAME: why". */
int conf_wrong(const struct conf_section *s, const char *name, const char *why);
/* ERR_CONFIG where a setting was taken by nobody. known: for the message, "driver, server, key". */
int conf_finish(const struct conf_section *s, const char *known);

#endif
