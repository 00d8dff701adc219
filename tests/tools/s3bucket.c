/* s3bucket.c - makes a bucket: s3bucket s3://NAME. The server and the keys come from AWS's environment variables. For tests. */
#include <stdio.h>

#include "err.h"
#include "s3.h"
#include "store.h"

int main(int argc, char **argv)
{
	struct store *s;
	int rc;

	if (argc != 2) {
		fprintf(stderr, "Usage: s3bucket s3://NAME\n");
		return 2;
	}
	rc = store_open(argv[1], NULL, &s);
	if (!rc) {
		rc = s3_create_bucket(s);
		store_close(s);
	}
	if (rc)
		fprintf(stderr, "s3bucket: %s\n", err_last()[0] ? err_last() : err_text(rc));
	return rc ? 1 : 0;
}
