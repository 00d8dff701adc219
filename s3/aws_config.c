/* aws_config.c - the INI dialect of AWS's shared files. Parsed in place: entries point into the secret text. */
#include "aws_config.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "secret.h"

enum { CONFIG_FILE_MAX = 1 << 20 };

struct entry {
	const char *section, *parent, *key, *value; /* parent: NULL at the first level */
};

struct aws_config {
	struct secret *text;
	struct entry *entries; /* a section's header is an entry without a key */
	size_t count, cap;
};

static int add(struct aws_config *c, struct entry e)
{
	if (c->count == c->cap) {
		size_t cap = c->cap ? 2 * c->cap : 32;
		struct entry *more = reallocarray(c->entries, cap, sizeof(*more));

		if (!more)
			return -ENOMEM;
		c->entries = more;
		c->cap = cap;
	}
	c->entries[c->count++] = e;
	return 0;
}

static int blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v';
}

static char *trim(char *s)
{
	char *end = s + strlen(s);

	while (blank(*s))
		s++;
	while (end > s && blank(end[-1]))
		end--;
	*end = '\0';
	return s;
}

/* "[ profile  dev ]" becomes "profile dev". */
static char *section_name(char *line)
{
	char *end = strchr(line, ']'), *out, *p;

	if (!end)
		return NULL;
	*end = '\0';
	line = trim(line + 1);
	for (out = p = line; *p; p++)
		if (!blank(*p))
			*out++ = *p;
		else if (!blank(p[1]))
			*out++ = ' ';
	*out = '\0';
	return line;
}

/* A '#' or ';' behind a blank begins a comment. */
static void cut_comment(char *value)
{
	for (char *p = value; *p; p++)
		if ((*p == '#' || *p == ';') && p > value && blank(p[-1])) {
			*p = '\0';
			return;
		}
}

static int property(struct aws_config *c, const char *section, const char **parent, char *line, int indented)
{
	char *eq = strchr(line, '='), *key;

	if (!eq)
		return 0;
	*eq = '\0';
	key = trim(line);
	cut_comment(eq + 1);
	eq = trim(eq + 1);
	for (char *k = key; *k; k++)
		*k = (char)tolower((unsigned char)*k);
	if (!*key)
		return 0;
	if (indented)
		return *parent ? add(c, (struct entry){ section, *parent, key, eq }) : 0; /* else: the goes-on of a value */
	*parent = *eq ? NULL : key;
	return add(c, (struct entry){ section, NULL, key, eq });
}

int aws_config_parse(struct secret *text, struct aws_config **ret)
{
	struct aws_config *c = calloc(1, sizeof(*c));
	const char *section = NULL, *parent = NULL;
	char *line, *next;
	int rc = 0;

	if (!c) {
		secret_free(text);
		return -ENOMEM;
	}
	c->text = text;
	for (line = text->text; rc == 0 && line; line = next) {
		int indented = blank(*line);
		char *start;

		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		start = trim(line);
		if (!*start || *start == '#' || *start == ';')
			continue;
		if (*start == '[' && !indented) {
			section = section_name(start);
			parent = NULL;
			if (section)
				rc = add(c, (struct entry){ section, NULL, NULL, NULL });
		} else if (section) {
			rc = property(c, section, &parent, start, indented);
		}
	}
	if (rc != 0) {
		aws_config_free(c);
		return rc;
	}
	*ret = c;
	return 0;
}

void aws_config_free(struct aws_config *c)
{
	if (!c)
		return;
	free(c->entries);
	secret_free(c->text);
	free(c);
}

const char *aws_config_get(const struct aws_config *c, const char *section, const char *key)
{
	const char *dot = strchr(key, '.');
	size_t parent_len = dot ? (size_t)(dot - key) : 0;

	for (size_t i = c ? c->count : 0; i-- > 0;) {
		const struct entry *e = &c->entries[i];

		if (!e->key || strcmp(e->section, section) != 0)
			continue;
		if (!dot && !e->parent && strcmp(e->key, key) == 0)
			return e->value;
		if (dot && e->parent && strlen(e->parent) == parent_len && memcmp(e->parent, key, parent_len) == 0 &&
		    strcmp(e->key, dot + 1) == 0)
			return e->value;
	}
	return NULL;
}

static int has_section(const struct aws_config *c, const char *section)
{
	for (size_t i = 0; c && i < c->count; i++)
		if (strcmp(c->entries[i].section, section) == 0)
			return 1;
	return 0;
}

/* --- the two files --- */

static int read_file(const char *path, struct aws_config **ret)
{
	struct secret *text;
	int rc = secret_read_file(path, CONFIG_FILE_MAX, &text);

	if (rc == -ENOENT || rc == -ENOTDIR)
		return 0;
	if (rc == 0)
		rc = aws_config_parse(text, ret);
	if (rc != 0)
		return err_set(rc, "cannot read %s: %s", path, rc == -EFBIG ? "it is larger than 1 MiB" : strerror(-rc));
	return 0;
}

static void set_path(const char *variable, const char *file, char *ret, size_t size)
{
	const char *path = getenv(variable), *home = getenv("HOME");

	if (path && path[0] == '~' && path[1] == '/')
		snprintf(ret, size, "%s%s", home ? home : "", path + 1);
	else if (path && *path)
		snprintf(ret, size, "%s", path);
	else
		snprintf(ret, size, "%s/.aws/%s", home && *home ? home : "/root", file);
}

int aws_profiles_open(const char *profile, struct aws_profiles *ret)
{
	struct aws_profiles p = { .named = 1 };
	int rc;

	if (!profile || !*profile)
		profile = getenv("AWS_PROFILE");
	if (!profile || !*profile) {
		profile = "default";
		p.named = 0;
	}
	if (strlen(profile) >= sizeof(p.name))
		return err_set(ERR_CONFIG, "the profile's name %.40s... is too long", profile);
	strcpy(p.name, profile);
	set_path("AWS_CONFIG_FILE", "config", p.config_path, sizeof(p.config_path));
	set_path("AWS_SHARED_CREDENTIALS_FILE", "credentials", p.credentials_path, sizeof(p.credentials_path));
	rc = read_file(p.config_path, &p.config);
	if (rc == 0)
		rc = read_file(p.credentials_path, &p.credentials);
	if (rc == 0 && p.named && !aws_profiles_exists(&p, p.name))
		rc = err_set(ERR_CONFIG, "there is no profile %s in %s or %s: set AWS_PROFILE to one that is there", p.name,
			     p.config_path, p.credentials_path);
	if (rc != 0)
		aws_profiles_close(&p);
	else
		*ret = p;
	return rc;
}

void aws_profiles_close(struct aws_profiles *p)
{
	aws_config_free(p->config);
	aws_config_free(p->credentials);
	p->config = p->credentials = NULL;
}

static int config_section(const struct aws_profiles *p, const char *profile, char *ret, size_t size)
{
	snprintf(ret, size, "profile %s", profile);
	if (!has_section(p->config, ret) && strcmp(profile, "default") == 0)
		snprintf(ret, size, "default");
	return has_section(p->config, ret);
}

int aws_profiles_exists(const struct aws_profiles *p, const char *profile)
{
	char section[160];

	return has_section(p->credentials, profile) || config_section(p, profile, section, sizeof(section));
}

const char *aws_profiles_get(const struct aws_profiles *p, const char *profile, const char *key)
{
	const char *value = aws_config_get(p->credentials, profile, key);
	char section[160];

	if (!value && config_section(p, profile, section, sizeof(section)))
		value = aws_config_get(p->config, section, key);
	return value && *value ? value : NULL;
}
