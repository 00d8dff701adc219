/*
 * init.c - the first process of the guest of tests/lib/vm.sh: loads the modules it was given, brings the network up, mounts the disk, and starts /work, whose
 * words are those of the kernel's command line, which become the environment; REPORT is added to them, the device that leads outside. Static, so that it needs
 * nothing but the kernel.
 *
 * Says what it does on the console; when something fails, the machine goes off in good order.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void off(const char *what)
{
	printf("guest: %s failed: %s\n", what, strerror(errno));
	fflush(stdout);
	sync();
	reboot(RB_POWER_OFF);
	_exit(1);
}

/* A module may need another that comes later: around until nothing more can be loaded. */
static void load_modules(void)
{
	glob_t g;
	bool more = true;

	if (glob("/modules/*", 0, NULL, &g))
		return;
	while (more) {
		more = false;
		for (size_t i = 0; i < g.gl_pathc; i++) {
			int fd = open(g.gl_pathv[i], O_RDONLY | O_CLOEXEC);

			if (fd < 0)
				continue;
			if (syscall(SYS_finit_module, fd, "", 0) == 0) {
				unlink(g.gl_pathv[i]);
				more = true;
			}
			close(fd);
		}
	}
	globfree(&g);
}

static void up(const char *interface, const char *address)
{
	struct ifreq r;
	struct sockaddr_in a = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	memset(&r, 0, sizeof(r));
	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", interface);
	a.sin_addr.s_addr = inet_addr(address);
	memcpy(&r.ifr_addr, &a, sizeof(a));
	if (fd < 0 || ioctl(fd, SIOCSIFADDR, &r))
		off(interface);
	a.sin_addr.s_addr = inet_addr("255.255.255.0");
	memcpy(&r.ifr_netmask, &a, sizeof(a));
	if (ioctl(fd, SIOCSIFNETMASK, &r) || ioctl(fd, SIOCGIFFLAGS, &r))
		off(interface);
	r.ifr_flags |= IFF_UP;
	if (ioctl(fd, SIOCSIFFLAGS, &r))
		off(interface);
	close(fd);
}

/* The path that matches, as soon as there is one. Where a device stands among the others is the kernel's business (the first port of a console is
 * vport0p1 where the console is virtio0, vport2p1 where it is virtio2). */
static void wait_for(const char *pattern, char *ret, size_t size)
{
	glob_t g;

	for (unsigned n = 0; n < 500; n++) {
		if (glob(pattern, 0, NULL, &g) == 0) {
			snprintf(ret, size, "%s", g.gl_pathv[0]);
			globfree(&g);
			return;
		}
		usleep(20000);
	}
	errno = ENOENT;
	off(pattern);
}

int main(void)
{
	char path[64];

	setvbuf(stdout, NULL, _IOLBF, 0);
	mount("proc", "/proc", "proc", 0, NULL);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
	mount("dev", "/dev", "devtmpfs", 0, NULL);
	if (symlink("/proc/self/fd", "/dev/fd")) /* bash asks for it */
		off("/dev/fd");
	puts("guest: up");
	if (getenv("PROBE"))
		off("nothing");
	load_modules();
	up("lo", "127.0.0.1");
	up("eth0", "10.0.2.15");
	wait_for("/dev/vda", path, sizeof(path));
	if (mount(path, "/disk", "ext4", 0, NULL))
		off("mounting the disk");
	mkdir("/disk/cache", 0700);
	wait_for("/dev/vport*p1", path, sizeof(path));
	setenv("REPORT", path, 1);
	puts("guest: ready");
	if (fork() == 0) {
		execl("/bin/bash", "bash", "/work", NULL);
		_exit(127);
	}
	while (wait(NULL) > 0 || errno != ECHILD) /* processes that go to the background become children of this one, and stay */
		;
	off("staying up");
}
