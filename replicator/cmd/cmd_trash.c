/*
 * cmd_trash.c - clonesync trash list, restore, purge; and clonesync missing.
 *
 * The trash is read and changed where it lies, in the directory: no clonesync has to run. One that runs takes what is restored for what it is, a change of a user.
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clonesync.h"
#include "env.h"
#include "err.h"
#include "settings.h"
#include "text.h"
#include "trash.h"

enum { OPT_TO = CMD_LONG(0), OPT_ALL };

static const struct cmd_option options[] = {
	{ 'c', "config", "FILE", "the configuration file that names the directory (default /etc/clonelove/clonesync.conf)" },
	{ 'd', "dir", "DIR", "the directory, whatever a configuration file says" },
	ASK_OPTION_JSON,
	{ OPT_TO, "to", "PATH", "restore: to this path within the directory" },
	{ OPT_ALL, "all", NULL, "purge: everything" },
};

static const struct cmd_usage usage = {
	"clonesync trash", "list|restore|purge [ITEM...]", "Lists what was deleted by other members, or lost a conflict; gets it back; removes it for good.", options,
	CL_ARRAY_LEN(options),
	"An ITEM is the name that the list begins with. Nothing is ever overwritten by restoring.\nExit codes: 0 done; 1 failed; 2 wrong call; 4 no such item, or no trash.", CMD_USAGE
};

struct args { const char *config, *dir, *to; bool json, all; };

static int take(void *user, int letter, const char *arg)
{
	struct args *a = user;

	switch (letter) {
	case 'c': a->config = arg; break;
	case 'd': a->dir = arg; break;
	case OPT_TO: a->to = arg; break;
	case OPT_ALL: a->all = true; break;
	default: a->json = true; break;
	}
	return 0;
}

static int fail(int rc)
{
	int code = cmd_fail(usage.program, rc);

	return rc == -ENOENT ? CMD_NOT_FOUND : code;
}

/* ret_dir: PATH_MAX, without links. */
static int open_tree(const struct args *a, char *ret_dir, struct tree **ret)
{
	struct settings s;
	int rc = settings_init(&s);

	if (!rc && !a->dir)
		rc = settings_find(&s, a->config);
	if (!rc && !a->dir && !s.tree)
		rc = err_set(ERR_CONFIG, "which directory? Name it with --dir, or as tree in %s", a->config ? a->config : SETTINGS_FILE);
	if (!rc && !realpath(a->dir ? a->dir : s.tree, ret_dir))
		rc = err_set(-errno, "the directory %s: %s", a->dir ? a->dir : s.tree, strerror(errno));
	settings_free(&s);
	return rc ? rc : tree_posix_look(ret_dir, ret);
}

/* --- list --- */

struct listed { struct trash_item item; char *name, *path; };
struct listing { struct listed *all; size_t count, cap; };

static int keep(void *user, const struct trash_item *item)
{
	struct listing *l = user;
	struct listed *x;

	if (l->count == l->cap) {
		size_t cap = l->cap ? 2 * l->cap : 64;
		struct listed *p = realloc(l->all, cap * sizeof *p);

		if (!p)
			return -ENOMEM;
		l->all = p;
		l->cap = cap;
	}
	x = &l->all[l->count];
	*x = (struct listed){ *item, strdup(item->note.name), strdup(item->note.path) };
	l->count++;
	return x->name && x->path ? 0 : -ENOMEM;
}

static void listing_free(struct listing *l)
{
	for (size_t i = 0; i < l->count; i++) {
		free(l->all[i].name);
		free(l->all[i].path);
	}
	free(l->all);
}

static int newest_first(const void *a, const void *b)
{
	const struct listed *x = a, *y = b;

	return x->item.note.wall_us > y->item.note.wall_us ? -1 : x->item.note.wall_us < y->item.note.wall_us ? 1 : strcmp(x->name, y->name);
}

static const char *kind_of(const struct trash_item *i)
{
	return !i->carried ? "other" : i->kind == ENTRY_DIR ? "directory" : i->kind == ENTRY_SYMLINK ? "symlink" : "file";
}

static struct json_object *item_json(const struct listed *x)
{
	struct json_object *o = json_object_new_object();
	size_t len = strlen(x->path);
	char *hex = malloc(2 * len + 1), when[CMD_TEXT];

	if (!o || !hex) {
		json_object_put(o);
		free(hex);
		return NULL;
	}
	json_object_object_add(o, "item", json_object_new_string(x->name));
	/* JSON has no other bytes than UTF-8's; the hexadecimal digits are always the path. */
	json_object_object_add(o, "path", x->path[0] && text_is_utf8(x->path) ? json_object_new_string(x->path) : NULL);
	json_object_object_add(o, "path_hex", json_object_new_string(cmd_hex((const uint8_t *)x->path, len, hex)));
	json_object_object_add(o, "why", json_object_new_string(trash_why_names[x->item.note.why]));
	json_object_object_add(o, "when", json_object_new_string(cmd_time(x->item.note.wall_us * 1000, when)));
	json_object_object_add(o, "kind", json_object_new_string(kind_of(&x->item)));
	json_object_object_add(o, "bytes", json_object_new_uint64(x->item.size));
	free(hex);
	return o;
}

/* One line, whatever bytes the path has. */
static void print_item(const struct listed *x)
{
	char when[CMD_TEXT], bytes[CMD_TEXT], path[4 * ENTRY_PATH_MAX + 8];

	printf("%s %s %-9s %-9s %10s %s\n", x->name, cmd_time(x->item.note.wall_us * 1000, when), trash_why_names[x->item.note.why], kind_of(&x->item),
	       cmd_bytes(x->item.size, bytes), x->path[0] ? text_shown(x->path, path, sizeof path) : "(where it was is not known)");
}

static int list(struct tree *t, const struct args *a)
{
	struct json_object *all = a->json ? json_object_new_array() : NULL;
	struct listing l = { NULL, 0, 0 };
	int rc = trash_list(t, keep, &l);

	if (!rc && a->json && !all)
		rc = -ENOMEM;
	if (!rc && l.count)
		qsort(l.all, l.count, sizeof *l.all, newest_first);
	for (size_t i = 0; !rc && i < l.count; i++) {
		if (!a->json)
			print_item(&l.all[i]);
		else if (json_object_array_add(all, item_json(&l.all[i])))
			rc = -ENOMEM;
	}
	listing_free(&l);
	if (rc) {
		json_object_put(all);
		return fail(rc);
	}
	return a->json ? cmd_print_json(usage.program, all) : cmd_flush(usage.program, CMD_OK);
}

/* --- restore, purge --- */

/* The path within the directory, however it was given. */
static const char *within(const char *dir, const char *path)
{
	size_t n = strlen(dir);

	return strncmp(path, dir, n) == 0 && path[n] == '/' ? path + n + 1 : path;
}

static int restore(struct tree *t, const char *item, const char *to)
{
	char path[ENTRY_PATH_MAX + 1], shown[4 * ENTRY_PATH_MAX + 8];
	int rc = trash_restore(t, env_system(), item, to, path);

	switch (rc) {
	case 0:
		puts(text_shown(path, shown, sizeof shown));
		return 0;
	case -ENOENT: return err_set(rc, "there is no %s in the trash: clonesync trash list shows what is there", item);
	case -ENODATA: return err_set(rc, "it is not known where %s was: say where it is to go, with --to PATH", item);
	case -EEXIST: return err_set(rc, "there is something at the path of %s, which is left alone: move it away, or use --to PATH", item);
	case -ENOTDIR:
	case -ELOOP: return err_set(rc, "something on the way to the path of %s is no directory: move it away, or use --to PATH", item);
	case -EINVAL: return err_set(rc, "%s is no path within the directory", to);
	default: return err_set(rc, "%s cannot be restored: %s", item, err_text(rc));
	}
}

static int purge(struct tree *t, const char *item)
{
	int rc = trash_remove(t, item);

	return rc == -ENOENT || rc == -EINVAL ? err_set(-ENOENT, "there is no %s in the trash: clonesync trash list shows what is there", item) :
	       rc ? err_set(rc, "%s cannot be removed: %s", item, err_text(rc)) : 0;
}

static int purge_all(struct tree *t)
{
	struct listing l = { NULL, 0, 0 };
	int rc = trash_list(t, keep, &l);

	for (size_t i = 0; !rc && i < l.count; i++)
		rc = trash_remove(t, l.all[i].name);
	listing_free(&l);
	return rc;
}

static int wrong(const char *what)
{
	cmd_complain(usage.program, "%s", what);
	return CMD_USAGE;
}

static int each(struct tree *t, const struct args *a, const char *dir, bool back, int count, char **items)
{
	int code = CMD_OK;

	for (int i = 0; i < count; i++) {
		int rc = back ? restore(t, items[i], a->to ? within(dir, a->to) : NULL) : purge(t, items[i]);

		if (rc)
			code = fail(rc);
	}
	return cmd_flush(usage.program, code);
}

int cmd_trash(int argc, char **argv)
{
	struct args a = { .config = NULL };
	char dir[PATH_MAX];
	struct tree *t;
	const char *what;
	int code = CMD_USAGE, at = cmd_parse(&usage, argc, argv, take, &a, &code), rc;
	bool lists, back, removes;

	if (at < 0 || cmd_operands(&usage, argc - at, 1, INT_MAX, &code))
		return code;
	what = argv[at++];
	lists = strcmp(what, "list") == 0;
	back = strcmp(what, "restore") == 0;
	removes = strcmp(what, "purge") == 0;
	if (!lists && !back && !removes)
		return wrong("it lists, restores and purges: list, restore ITEM or purge ITEM");
	if ((lists && at < argc) || (a.all && at < argc))
		return wrong("no item goes with list and --all");
	if ((back || (removes && !a.all)) && at == argc)
		return wrong("which item? clonesync trash list shows them");
	if ((a.json && !lists) || (a.all && !removes) || (a.to && !back))
		return wrong("--json is for list, --to for restore, --all for purge");
	if (a.to && argc - at > 1)
		return wrong("only one item can go to a path");
	rc = open_tree(&a, dir, &t);
	if (rc)
		return fail(rc);
	if (lists) {
		code = list(t, &a);
	} else if (a.all) {
		rc = purge_all(t);
		code = rc ? fail(rc) : CMD_OK;
	} else {
		code = each(t, &a, dir, back, argc - at, argv + at);
	}
	t->free(t);
	return code;
}

/* --- missing --- */

enum { OPT_DELETED = CMD_LONG(0), OPT_RESTORE };

static const struct cmd_option missing_options[] = {
	{ OPT_DELETED, "deleted", NULL, "it was deleted, on purpose: the others are told so" },
	{ OPT_RESTORE, "restore", NULL, "it is wanted again, from the others" },
	ASK_OPTIONS,
};

static const struct cmd_usage missing_usage = {
	"clonesync missing", "--deleted|--restore QUESTION", "Tells a clonesync that halted because much of the directory is missing what to make of that; it goes on. The number of the QUESTION is in clonesync status.", missing_options,
	CL_ARRAY_LEN(missing_options), "Exit codes: 0 told; 1 failed, or it has not halted for that; 2 wrong call; 4 none runs.", CMD_USAGE
};

struct missing { struct ask_where w; bool deleted, restore; }; /* w first */

static int take_missing(void *user, int letter, const char *arg)
{
	struct missing *m = user;

	if (letter != OPT_DELETED && letter != OPT_RESTORE)
		return ask_take(user, letter, arg);
	m->deleted |= letter == OPT_DELETED;
	m->restore |= letter == OPT_RESTORE;
	return 0;
}

int cmd_missing(int argc, char **argv)
{
	struct missing m = { .w = { .state_dir = NULL } };
	struct json_object *o;
	int code = CMD_USAGE, at = cmd_parse(&missing_usage, argc, argv, take_missing, &m, &code), rc;
	char request[80];

	if (at < 0)
		return code;
	if (m.deleted == m.restore) {
		cmd_complain(missing_usage.program, "was it --deleted, or is it to be had again (--restore)?");
		return CMD_USAGE;
	}
	if (cmd_operands(&missing_usage, argc - at, 1, 1, &code))
		return code;
	if (strlen(argv[at]) != 8 || strspn(argv[at], "0123456789abcdef") != 8) {
		cmd_complain(missing_usage.program, "'%s' is not the number of a question: clonesync status has it, eight digits of 0-9a-f", argv[at]);
		return CMD_USAGE;
	}
	snprintf(request, sizeof(request), "{\"do\":\"missing\",\"question\":\"%s\",\"deleted\":%s}", argv[at], m.deleted ? "true" : "false");
	rc = ask(&m.w, request, NULL, NULL, &o);
	if (rc)
		return ask_fail(missing_usage.program, rc);
	json_object_put(o);
	return CMD_OK;
}
