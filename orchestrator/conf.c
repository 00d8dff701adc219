/* conf.c - the configuration file, by inih: sections and settings as they stand, judged by whoever takes them. */
#include "conf.h"

#include <errno.h>
#include <ini.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "err.h"

#define FILE_MAX 65536
#define SECTIONS_MAX 100u
#define SETTINGS_MAX 100u

/* Lines are counted as they are read: inih's handler is not told which it is. within: the last piece read was not the end of its line. */
struct reading { struct conf *c; FILE *f; int line, rc, rc_line; bool within; };

static int wrong_line(struct reading *r, const char *why)
{
	r->rc = err_set(ERR_CONFIG, "%s, line %d: %s", r->c->path, r->line, why);
	r->rc_line = r->line;
	return 0; /* inih's: the line is bad */
}

static int no_memory(struct reading *r)
{
	r->rc = -ENOMEM;
	return 0;
}

/* "KIND" or "KIND NAME", one blank between. */
static struct conf_section *section_of(struct reading *r, const char *title)
{
	const char *blank = strchr(title, ' '), *name = blank ? blank + 1 : "";
	char *kind = strndup(title, blank ? (size_t)(blank - title) : strlen(title));
	struct conf_section *s;

	if (!kind) {
		no_memory(r);
		return NULL;
	}
	s = conf_find(r->c, kind, name);
	if (s) {
		free(kind);
		if (s == &r->c->sections[r->c->count - 1])
			return s;
		wrong_line(r, "this section was there before");
		return NULL;
	}
	if (!*kind || (blank && (!*name || strchr(name, ' ')))) {
		free(kind);
		wrong_line(r, "a section is [KIND] or [KIND NAME]");
		return NULL;
	}
	s = r->c->count < SECTIONS_MAX ? realloc(r->c->sections, (r->c->count + 1) * sizeof(*s)) : NULL;
	if (!s) {
		free(kind);
		if (r->c->count < SECTIONS_MAX)
			no_memory(r);
		else
			wrong_line(r, "too many sections");
		return NULL;
	}
	r->c->sections = s;
	s += r->c->count++;
	*s = (struct conf_section){ .kind = kind, .name = strdup(name), .path = r->c->path, .line = r->line };
	if (s->name)
		return s;
	no_memory(r);
	return NULL;
}

static int take_line(void *user, const char *title, const char *name, const char *value)
{
	struct reading *r = user;
	struct conf_section *s;
	struct conf_setting *t;

	if (r->rc)
		return 1; /* the first one counts */
	if (!*title)
		return wrong_line(r, "a setting stands in a section, as [clonectl]");
	s = section_of(r, title);
	if (!s)
		return 0;
	if (!value || !*value)
		return wrong_line(r, "a setting without a value");
	for (size_t i = 0; i < s->count; i++)
		if (strcmp(s->settings[i].name, name) == 0)
			return wrong_line(r, "this setting was there before");
	if (s->count == SETTINGS_MAX)
		return wrong_line(r, "too many settings in one section");
	t = realloc(s->settings, (s->count + 1) * sizeof(*t));
	if (!t)
		return no_memory(r);
	s->settings = t;
	t += s->count++;
	*t = (struct conf_setting){ .name = strdup(name), .value = strdup(value), .line = r->line };
	return t->name && t->value ? 1 : no_memory(r);
}

static char *next_line(char *buf, int size, void *user)
{
	struct reading *r = user;
	char *p = fgets(buf, size, r->f);

	if (p && !r->within)
		r->line++;
	r->within = p && !strchr(p, '\n');
	return p;
}

int conf_read(FILE *f, const char *path, struct conf *ret)
{
	struct conf c = { .path = strdup(path) };
	struct reading r = { .c = &c, .f = f };
	struct stat st;
	int line;

	if (!c.path)
		return -ENOMEM;
	if (fstat(fileno(f), &st) == 0 && S_ISREG(st.st_mode) && st.st_size > FILE_MAX) {
		r.rc = err_set(ERR_CONFIG, "%s: longer than %d bytes", path, FILE_MAX);
	} else {
		line = ini_parse_stream(next_line, &r, take_line, &r);
		if (line > 0 && (!r.rc || line < r.rc_line)) /* inih goes on behind what it does not understand */
			r.rc = err_set(ERR_CONFIG, "%s, line %d: neither [SECTION] nor NAME = VALUE", path, line);
		else if (line < 0 && !r.rc)
			r.rc = -ENOMEM;
	}
	if (!r.rc && ferror(f))
		r.rc = err_set(-EIO, "%s: cannot be read", path);
	if (r.rc)
		conf_free(&c);
	else
		*ret = c;
	return r.rc;
}

int conf_load(const char *path, struct conf *ret)
{
	FILE *f = fopen(path, "re");
	int rc;

	if (!f)
		return err_set(-errno, "cannot open the configuration %s: %s", path, strerror(errno));
	rc = conf_read(f, path, ret);
	fclose(f);
	return rc;
}

void conf_free(struct conf *c)
{
	for (size_t i = 0; i < c->count; i++) {
		struct conf_section *s = &c->sections[i];

		for (size_t j = 0; j < s->count; j++) {
			free(s->settings[j].name);
			free(s->settings[j].value);
		}
		free(s->settings);
		free(s->kind);
		free(s->name);
	}
	free(c->sections);
	free(c->path);
	*c = (struct conf){ 0 };
}

struct conf_section *conf_find(const struct conf *c, const char *kind, const char *name)
{
	for (size_t i = 0; i < c->count; i++)
		if (strcmp(c->sections[i].kind, kind) == 0 && strcmp(c->sections[i].name, name) == 0)
			return &c->sections[i];
	return NULL;
}

static struct conf_setting *setting(const struct conf_section *s, const char *name)
{
	for (size_t i = 0; i < s->count; i++)
		if (strcmp(s->settings[i].name, name) == 0)
			return &s->settings[i];
	return NULL;
}

const char *conf_take(struct conf_section *s, const char *name)
{
	struct conf_setting *t = setting(s, name);

	if (!t)
		return NULL;
	t->taken = true;
	return t->value;
}

int conf_wrong(const struct conf_section *s, const char *name, const char *why)
{
	const struct conf_setting *t = setting(s, name);

	return err_set(ERR_CONFIG, "%s, line %d: [%s%s%s] %s: %s", s->path, t ? t->line : s->line, s->kind, *s->name ? " " : "", s->name, name, why);
}

int conf_take_number(struct conf_section *s, const char *name, uint64_t least, uint64_t most, uint64_t *ret)
{
	const char *text = conf_take(s, name);
	char *end, why[96];
	uint64_t n;

	if (!text)
		return 0;
	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno || *end || *text < '0' || *text > '9' || n < least || n > most) {
		snprintf(why, sizeof(why), "a number from %" PRIu64 " to %" PRIu64, least, most);
		return conf_wrong(s, name, why);
	}
	*ret = n;
	return 0;
}

int conf_finish(const struct conf_section *s, const char *known)
{
	char why[256];

	for (size_t i = 0; i < s->count; i++) {
		if (s->settings[i].taken)
			continue;
		snprintf(why, sizeof(why), "no such setting; there are: %s", known);
		return conf_wrong(s, s->settings[i].name, why);
	}
	return 0;
}
