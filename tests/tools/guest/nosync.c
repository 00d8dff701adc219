/*
 * nosync.c - for LD_PRELOAD: a clonefs that says that it synced, and did not. With it a test of power loss must fail.
 */
#include <unistd.h>

int fdatasync(int fd)
{
	(void)fd;
	return 0;
}

int fsync(int fd)
{
	(void)fd;
	return 0;
}
