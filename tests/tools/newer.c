/*
 * newer.c - turns a superblock into one of the next format version, checksum
 * and all, as a newer program would write it: newer FILE. For tests.
 */
#include <stdio.h>
#include <stdlib.h>

#include "hash.h"

#define AT_VERSION 8

int main(int argc, char **argv)
{
	uint8_t b[65536];
	size_t len;
	FILE *f = argc == 2 ? fopen(argv[1], "r+b") : NULL;

	if (!f) {
		perror(argc == 2 ? argv[1] : "Usage: newer FILE");
		return 2;
	}
	len = fread(b, 1, sizeof(b), f);
	if (len <= AT_VERSION + HASH_BYTES)
		return 1;
	b[AT_VERSION]++;
	hash_blake2b(b, len - HASH_BYTES, b + len - HASH_BYTES);
	rewind(f);
	if (fwrite(b, 1, len, f) != len || fclose(f))
		return 1;
	return 0;
}
