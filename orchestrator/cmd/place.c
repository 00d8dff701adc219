/* place.c - from the command line and the configuration to a cluster's store. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "clonectl.h"
#include "err.h"

int where_take(void *user, int letter, const char *arg)
{
	struct where *w = user;

	if (letter == 'c')
		w->config = arg;
	else
		w->store = arg;
	return 0;
}

/* "ctl-" and the host name up to its first dot, as a label: a member may have the host's name itself. "controller" where it gives none. */
static void name_host(char *ret)
{
	size_t n = strlen(strcpy(ret, "ctl-"));

	ret[CLUSTER_LABEL_MAX - 1] = '\0';
	if (gethostname(ret + n, CLUSTER_LABEL_MAX - 1 - n) != 0)
		ret[n] = '\0';
	for (; ret[n] && ret[n] != '.'; n++)
		ret[n] = (char)tolower((unsigned char)ret[n]);
	ret[n] = '\0';
	if (!cluster_is_label(ret))
		snprintf(ret, CLUSTER_LABEL_MAX, "controller");
}

struct own { const char *store, *store_options, *name, *host; };

static const struct setting { const char *name; size_t at; } known[] = {
	{ "store", offsetof(struct own, store) },
	{ "store_options", offsetof(struct own, store_options) },
	{ "name", offsetof(struct own, name) },
	{ "host", offsetof(struct own, host) },
};

static int read_own(struct conf *c, struct own *ret)
{
	struct conf_section *s = conf_find(c, "clonectl", "");

	*ret = (struct own){ .store = NULL };
	for (size_t i = 0; s && i < CL_ARRAY_LEN(known); i++)
		*(const char **)(void *)((char *)ret + known[i].at) = conf_take(s, known[i].name);
	if (!s)
		return 0;
	if (ret->name && !cluster_is_label(ret->name))
		return conf_wrong(s, "name", "a label: 1 to 63 of a-z, 0-9 and -");
	if (ret->host && !cluster_is_label(ret->host))
		return conf_wrong(s, "host", "a member's name, a label: 1 to 63 of a-z, 0-9 and -");
	return conf_finish(s, "store, store_options, name, host");
}

static int check_sections(const struct conf *c)
{
	for (size_t i = 0; i < c->count; i++) {
		const struct conf_section *s = &c->sections[i];

		if (strcmp(s->kind, "clonectl") == 0 && !*s->name)
			continue;
		if (strcmp(s->kind, "dns") != 0)
			return err_set(ERR_CONFIG, "%s, line %d: there is no section [%s%s%s]; there are [clonectl] and [dns NAME]", s->path, s->line, s->kind, *s->name ? " " : "", s->name);
		if (!cluster_is_label(s->name))
			return err_set(ERR_CONFIG, "%s, line %d: [dns %s]: the name is a label, 1 to 63 of a-z, 0-9 and -", s->path, s->line, s->name);
	}
	return 0;
}

int place_open(const struct where *w, struct place *ret)
{
	struct own own = { .store = NULL };
	int rc = 0;

	memset(ret, 0, sizeof(*ret));
	if (w->config || access(CLONECTL_CONF, F_OK) == 0)
		rc = conf_load(w->config ? w->config : CLONECTL_CONF, &ret->conf);
	if (rc)
		return rc;
	rc = check_sections(&ret->conf);
	if (!rc)
		rc = read_own(&ret->conf, &own);
	if (!rc && !w->store && !own.store)
		rc = err_set(ERR_CONFIG, "which cluster? Name its store with --store, or as store in [clonectl] of %s", w->config ? w->config : CLONECTL_CONF);
	if (!rc)
		rc = store_open(w->store ? w->store : own.store, own.store_options, &ret->store);
	if (rc) {
		conf_free(&ret->conf);
		return rc;
	}
	name_host(ret->host_name);
	ret->name = own.name ? own.name : ret->host_name;
	ret->host = own.host ? own.host : "";
	ret->cluster = (struct cluster){ ret->store, env_system(), 5000 };
	return 0;
}

void place_close(struct place *p)
{
	store_close(p->store);
	conf_free(&p->conf);
}
