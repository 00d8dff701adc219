/*
 * replay_main.c - runs files, and the files of directories, through a fuzz target: corpora and findings, with any compiler.
 *
 * Usage: replay_<target> PATH... Fails when a file cannot be read, or when there was none at all.
 */
#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

#include "fuzz.h"

static int replay_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	struct buf b = BUF_INIT;
	uint8_t chunk[65536];
	size_t n;
	int rc = 0;

	if (!f) {
		perror(path);
		return -1;
	}
	while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0)
		buf_bytes(&b, chunk, n);
	if (ferror(f) || b.err) {
		fprintf(stderr, "%s: cannot be read\n", path);
		rc = -1;
	}
	fclose(f);
	if (!rc)
		LLVMFuzzerTestOneInput(b.len ? b.data : chunk, b.len);
	buf_free(&b);
	return rc;
}

static int replay(const char *path, unsigned long *count)
{
	struct stat st;
	struct dirent *e;
	DIR *d;
	int rc = 0;

	if (stat(path, &st) != 0) {
		perror(path);
		return -1;
	}
	if (!S_ISDIR(st.st_mode)) {
		++*count;
		return replay_file(path);
	}
	d = opendir(path);
	if (!d) {
		perror(path);
		return -1;
	}
	while (!rc && (e = readdir(d)) != NULL) {
		char below[4096];

		if (e->d_name[0] == '.')
			continue;
		if (snprintf(below, sizeof(below), "%s/%s", path, e->d_name) >= (int)sizeof(below))
			rc = -1;
		else
			rc = replay(below, count);
	}
	closedir(d);
	return rc;
}

int main(int argc, char **argv)
{
	unsigned long count = 0;

	for (int i = 1; i < argc; i++)
		if (replay(argv[i], &count) != 0)
			return 1;
	printf("%lu inputs\n", count);
	return count ? 0 : 1;
}
