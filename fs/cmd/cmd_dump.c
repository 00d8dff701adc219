/*
 * cmd_dump.c - clonefs dump: one object of a volume, readably. It only reads.
 *
 * What kind of object it is follows from its name: the part of the address or
 * path from "volume", "heartbeat", "epochs/", "log/", "manifests/" or "runs/" on.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "commands.h"
#include "err.h"
#include "object.h"
#include "store.h"

enum { OPT_JSON = CMD_LONG(0), OPT_KEY };

static const struct cmd_option options[] = {
	{ 'o', "options", "LIST", "options of the store, as for mount -o" },
	{ OPT_KEY, "key", "KEY", "what the object is, where the name does not say: e.g. log/0000000001/000000000003" },
	{ OPT_JSON, "json", NULL, "print JSON" },
};

static const struct cmd_usage usage = {
	"clonefs dump", "OBJECT", "Prints one object: its address (s3://bucket/prefix/log/0000000001/000000000003) or a local file.", options,
	CL_ARRAY_LEN(options), "Exit codes: 0 printed; 1 failed; 2 wrong call; 5 the store does not answer; 6 the object is corrupt.", CMD_USAGE
};

#define DUMP_MAX (1u << 30)

struct args {
	const char *store_options, *key;
	bool json;
};

static int take(void *user, int letter, const char *arg)
{
	struct args *a = user;

	if (letter == 'o')
		a->store_options = arg;
	else if (letter == OPT_KEY)
		a->key = arg;
	else
		a->json = true;
	return 0;
}

static bool is_key(const char *s)
{
	uint64_t a, b;

	return strcmp(s, "volume") == 0 || strcmp(s, "heartbeat") == 0 || object_parse_claim_key(s, &a) ||
	       object_parse_slot_key(s, &a, &b) || object_parse_manifest_key(s, &a, &b) ||
	       (strncmp(s, "runs/", 5) == 0 && strlen(s) == 37 && strspn(s + 5, "0123456789abcdef") == 32);
}

/* Where in a path or address the key begins; NULL where nothing looks like one. */
static const char *find_key(const char *path)
{
	for (const char *p = path; p; p = strchr(p, '/')) {
		if (*p == '/')
			p++;
		if (is_key(p))
			return p;
	}
	return NULL;
}

static int read_object(const struct args *a, const char *address, const char *key, struct store_req *ret)
{
	char base[2048];
	struct store *s;
	int rc;

	snprintf(base, sizeof(base), "%.*s", (int)(key - address - 1), address);
	rc = store_open(base, a->store_options, &s);
	if (rc)
		return rc;
	rc = store_get(s, key, ret);
	if (rc == -ENOENT)
		rc = err_set(rc, "%s: there is no such object", address);
	else if (rc)
		rc = err_set(rc, "reading %s: %s", address, ret->detail[0] ? ret->detail : err_text(rc));
	store_close(s);
	return rc;
}

static int read_file(const char *path, uint8_t **ret, size_t *ret_len)
{
	FILE *f = fopen(path, "rbe");
	struct stat st;
	int rc = 0;

	*ret = NULL;
	if (!f || fstat(fileno(f), &st)) {
		rc = err_set(-errno, "%s: %s", path, strerror(errno));
	} else if (!S_ISREG(st.st_mode) || st.st_size > DUMP_MAX) {
		rc = err_set(-EINVAL, "%s: not a file that can be an object; name one object", path);
	} else {
		*ret_len = (size_t)st.st_size;
		*ret = malloc(*ret_len + 1);
		if (!*ret)
			rc = -ENOMEM;
		else if (fread(*ret, 1, *ret_len, f) != *ret_len)
			rc = err_set(-EIO, "reading %s: %s", path, ferror(f) ? strerror(errno) : "it is shorter than it was");
	}
	if (f)
		fclose(f);
	return rc;
}

static int print(const char *key, const void *p, size_t len, bool json)
{
	struct buf out = BUF_INIT;
	int rc = object_dump(key, p, len, json, &out);

	/* What could be read is printed also where the rest is corrupt. */
	if (out.len)
		fwrite(out.data, 1, out.len, stdout);
	if (out.len && out.data[out.len - 1] != '\n')
		putchar('\n');
	buf_free(&out);
	return rc;
}

int cmd_dump(int argc, char **argv)
{
	struct args a = { 0 };
	struct progress bar = PROGRESS_INIT;
	struct store_req r = { 0 };
	uint8_t *bytes = NULL;
	size_t len = 0;
	const char *what, *key;
	int code = CMD_USAGE, at = cmd_parse(&usage, argc, argv, take, &a, &code), rc;

	if (at < 0 || cmd_operands(&usage, argc - at, 1, 1, &code))
		return code;
	what = argv[at];
	key = find_key(what);
	if (a.key ? !is_key(a.key) : !key) {
		cmd_complain(usage.program, "%s: not the name of an object of a volume; name one, or say with --key what it is (clonefs stat shows a whole store)",
			     a.key ? a.key : what);
		return CMD_USAGE;
	}
	if (strstr(what, "://")) {
		if (!key || key == what) {
			cmd_complain(usage.program, "%s: names a store, not one object; clonefs stat shows a store", what);
			return CMD_USAGE;
		}
		progress_begin(&bar, "reading from the store", 0);
		rc = read_object(&a, what, key, &r);
		progress_end(&bar);
	} else {
		rc = read_file(what, &bytes, &len);
	}
	if (!rc)
		rc = bytes ? print(a.key ? a.key : key, bytes, len, a.json) : print(a.key ? a.key : key, r.data, r.data_len, a.json);
	code = rc ? cmd_fail(usage.program, rc) : CMD_OK;
	free(bytes);
	store_req_reset(&r);
	return cmd_flush(usage.program, code);
}
