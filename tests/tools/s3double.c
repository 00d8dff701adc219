/*
 * s3double.c - a small S3 in memory as a process of its own, for machines that come and go: prints its port, and ends with its standard input.
 * The bucket is "bucket", any key will do.
 */
#include <stdio.h>
#include <unistd.h>

#include "../lib/fake_s3.h"

int main(void)
{
	static struct fake_s3 f;
	char c;

	fake_s3_start(&f);
	printf("%u\n", http_double_port(f.http));
	fflush(stdout);
	while (read(STDIN_FILENO, &c, 1) > 0)
		;
	fake_s3_stop(&f);
	return 0;
}
