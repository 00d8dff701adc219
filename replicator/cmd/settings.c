/* settings.c - the configuration file, by inih. */
#include "settings.h"

#include <errno.h>
#include <ini.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "err.h"
#include "ignore.h"

#define BETWEEN_PEERS " \t,"

static const struct setting { const char *name; size_t at; } known[] = {
	{ "tree", offsetof(struct settings, tree) },
	{ "state_dir", offsetof(struct settings, state_dir) },
	{ "cluster_key_file", offsetof(struct settings, cluster_key_file) },
	{ "listen", offsetof(struct settings, listen) },
	{ "address", offsetof(struct settings, address) },
	{ "peer", SIZE_MAX },
	{ "name", offsetof(struct settings, name) },
	{ "metrics", offsetof(struct settings, metrics) },
	{ "trash_days", offsetof(struct settings, trash_days) },
	{ "trash_most_bytes", offsetof(struct settings, trash_most_bytes) },
	{ "missing_percent", offsetof(struct settings, missing_percent) },
	{ "limit_rate", offsetof(struct settings, limit_rate) },
	{ "from", offsetof(struct settings, from) },
	{ "scrub_rate", offsetof(struct settings, scrub_rate) },
	{ "remember_deletions", offsetof(struct settings, remember_deletions) },
	{ "ignore", SIZE_MAX },
};

static int add_peers(struct settings *s, const char *value)
{
	char *list = strdup(value), *rest = list, *one;
	int rc = list ? 0 : -ENOMEM;

	while (!rc && (one = strsep(&rest, BETWEEN_PEERS))) {
		if (!*one)
			continue;
		if (s->peer_count == HOST_PEERS_MAX)
			rc = err_set(ERR_CONFIG, "more than %u peers", HOST_PEERS_MAX);
		else if (!(s->peers[s->peer_count] = strdup(one)))
			rc = -ENOMEM;
		else
			s->peer_count++;
	}
	free(list);
	return rc;
}

/* One pattern, that says something by itself: what is wrong with it is told where it stands. */
static int add_pattern(struct settings *s, const char *value)
{
	struct ignore *g = NULL;
	char *all;
	int rc = strchr(value, '\n') ? err_set(ERR_CONFIG, "ignore is one pattern, not several lines") : ignore_parse("ignore", value, strlen(value), &g);

	if (!rc && ignore_is_empty(g))
		rc = err_set(ERR_CONFIG, "ignore = %s ignores nothing; where a name begins with # or !, put a \\ before that", value);
	else if (!rc && ignore_needs_kind(g))
		rc = err_set(ERR_CONFIG, "ignore = %s would keep directories alone; what is ignored goes by the path: leave out the last /", value);
	ignore_free(g);
	if (rc)
		return rc;
	if (asprintf(&all, "%s%s\n", s->ignore ? s->ignore : "", value) < 0)
		return -ENOMEM;
	free(s->ignore);
	s->ignore = all;
	return 0;
}

int settings_set(struct settings *s, const char *name, const char *value)
{
	for (size_t i = 0; i < CL_ARRAY_LEN(known); i++) {
		char **at, *copy;

		if (strcmp(known[i].name, name) != 0)
			continue;
		if (!*value)
			return err_set(ERR_CONFIG, "%s has no value", name);
		if (known[i].at == SIZE_MAX)
			return strcmp(name, "peer") == 0 ? add_peers(s, value) : add_pattern(s, value);
		copy = strdup(value);
		if (!copy)
			return -ENOMEM;
		at = (char **)(void *)((char *)s + known[i].at);
		free(*at);
		*at = copy;
		return 0;
	}
	return err_set(ERR_CONFIG, "there is no setting %s; clonesync.conf(5) has them", name);
}

int settings_init(struct settings *s)
{
	char host[256] = "";
	int rc;

	memset(s, 0, sizeof(*s));
	rc = settings_set(s, "state_dir", "/var/lib/clonesync");
	if (!rc)
		rc = settings_set(s, "cluster_key_file", "/etc/clonelove/cluster.key");
	if (!rc && gethostname(host, sizeof(host) - 1) == 0 && host[0])
		rc = settings_set(s, "name", host);
	return rc;
}

void settings_free(struct settings *s)
{
	for (size_t i = 0; i < CL_ARRAY_LEN(known); i++)
		if (known[i].at != SIZE_MAX)
			free(*(char **)(void *)((char *)s + known[i].at));
	free(s->ignore);
	while (s->peer_count)
		free(s->peers[--s->peer_count]);
}

struct reading { struct settings *s; int rc; };

/* inih's: 1 = the line is good. */
static int take_line(void *user, const char *section, const char *name, const char *value)
{
	struct reading *r = user;

	if (r->rc)
		return 1; /* the first one counts */
	if (*section && strcmp(section, "clonesync") != 0)
		r->rc = err_set(ERR_CONFIG, "there is no section [%s]; [clonesync] is the only one", section);
	else
		r->rc = settings_set(r->s, name, value ? value : "");
	return r->rc == 0;
}

int settings_load(struct settings *s, const char *path)
{
	struct reading r = { s, 0 };
	char why[512];
	int line;
	FILE *f = fopen(path, "re");

	if (!f)
		return err_set(-errno, "cannot open the configuration %s: %s", path, strerror(errno));
	line = ini_parse_file(f, take_line, &r);
	fclose(f);
	if (line == 0)
		return r.rc;
	if (r.rc && r.rc != ERR_CONFIG)
		return r.rc;
	snprintf(why, sizeof(why), "%s", r.rc ? err_last() : "this is neither NAME = VALUE nor [clonesync]");
	return err_set(ERR_CONFIG, "%s, line %d: %s", path, line, why);
}

int settings_find(struct settings *s, const char *path)
{
	if (path)
		return settings_load(s, path);
	return access(SETTINGS_FILE, F_OK) == 0 ? settings_load(s, SETTINGS_FILE) : 0;
}
