/*
 * cmd_keygen.c - clonesync keygen: a fresh key, to standard output or a file of its own. It replaces no file.
 */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "clonesync.h"
#include "err.h"
#include "keys.h"

static const struct cmd_option options[] = {
	{ 'o', "output", "FILE", "write it to a new file that only its owner can read" },
};

static const struct cmd_usage usage = {
	"clonesync keygen", "", "Makes a key; every member of a cluster has the same one, as its cluster_key_file.", options, CL_ARRAY_LEN(options),
	"Whoever has the key can read and change the directory on every member.\nExit codes: 0 made; 1 failed; 2 wrong call.", CMD_USAGE
};

static int take(void *user, int letter CL_UNUSED, const char *arg)
{
	*(const char **)user = arg;
	return 0;
}

static int write_new(const char *path, const char *text)
{
	size_t len = strlen(text);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600), rc = 0;

	if (fd < 0 && errno == EEXIST)
		return err_set(-EEXIST, "%s is there already, and a key that is lost cannot be made again: name another file", path);
	if (fd < 0)
		return err_set(-errno, "cannot make %s: %s", path, strerror(errno));
	errno = ENOSPC; /* of a write that is short */
	if (write(fd, text, len) != (ssize_t)len || fsync(fd))
		rc = err_set(-errno, "cannot write %s: %s", path, strerror(errno));
	close(fd);
	if (rc)
		unlink(path);
	return rc;
}

int cmd_keygen(int argc, char **argv)
{
	char key[KEY_TEXT_BYTES + 1];
	const char *path = NULL;
	int code = CMD_USAGE, at = cmd_parse(&usage, argc, argv, take, &path, &code), rc;

	if (at < 0 || cmd_operands(&usage, argc - at, 0, 0, &code))
		return code;
	keys_generate(key);
	strcat(key, "\n");
	if (!path) {
		fputs(key, stdout);
		code = cmd_flush(usage.program, CMD_OK);
	} else {
		rc = write_new(path, key);
		code = rc ? cmd_fail(usage.program, rc) : CMD_OK;
	}
	sodium_memzero(key, sizeof(key));
	return code;
}
