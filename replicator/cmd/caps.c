/* caps.c - capset(2), prctl(2). No state. */
#include "caps.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "compiler.h"
#include "err.h"

static const struct need { int cap; const char *name; } needs[] = {
	{ CAP_CHOWN, "CAP_CHOWN" },                       /* files get their owners */
	{ CAP_DAC_OVERRIDE, "CAP_DAC_OVERRIDE" },         /* anybody's directories are written in */
	{ CAP_DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH" },   /* anybody's files are read, and watched */
	{ CAP_FOWNER, "CAP_FOWNER" },                     /* times, modes, attributes of anybody's files */
	{ CAP_FSETID, "CAP_FSETID" },                     /* set-group-id bits of others' groups */
	{ CAP_LEASE, "CAP_LEASE" },                       /* does somebody write anybody's file? */
	{ CAP_NET_BIND_SERVICE, "CAP_NET_BIND_SERVICE" }, /* with low_port */
};

/* What is not in keep is out of the bounding set: no program that this process runs could have it either. */
static int bound(uint64_t keep)
{
	for (int c = 0; c < 64; c++) {
		int there = prctl(PR_CAPBSET_READ, c, 0, 0, 0);

		if (there < 0)
			return 0; /* the kernel knows no more */
		if (there && !(keep >> c & 1) && prctl(PR_CAPBSET_DROP, c, 0, 0, 0) && errno != EPERM) /* EPERM: it may not, and then it has not got much */
			return -errno;
	}
	return 0;
}

static void add(char *list, const char *more)
{
	size_t len = strlen(list);

	snprintf(list + len, CAPS_TEXT - len, "%s", more);
}

/* What it is to keep of what it has, and both in words. */
static uint64_t choose(uint64_t has, bool low_port, char *ret)
{
	char lacks[CAPS_TEXT] = "";
	uint64_t keep = 0;

	snprintf(ret, CAPS_TEXT, "of root's rights it keeps");
	for (size_t i = 0; i < CL_ARRAY_LEN(needs); i++) {
		bool there = has >> needs[i].cap & 1;

		if (needs[i].cap == CAP_NET_BIND_SERVICE && !low_port)
			continue;
		if (there)
			keep |= UINT64_C(1) << needs[i].cap;
		add(there ? ret : lacks, " ");
		add(there ? ret : lacks, needs[i].name);
	}
	if (!keep)
		add(ret, " none");
	if (lacks[0]) {
		add(ret, "; it was not given");
		add(ret, lacks);
		add(ret, ", so some of it will fail with files of others");
	}
	return keep;
}

int caps_drop(bool low_port, char *ret)
{
	struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct d[2];
	uint64_t keep;
	int rc;

	ret[0] = '\0';
	if (geteuid() != 0)
		return 0;
	memset(d, 0, sizeof(d));
	if (syscall(SYS_capget, &h, d))
		return err_set(-errno, "cannot read this process' capabilities: %s", strerror(errno));
	keep = choose((uint64_t)d[0].permitted | (uint64_t)d[1].permitted << 32, low_port, ret);
	rc = bound(keep);
	d[0].permitted = d[0].effective = (uint32_t)keep;
	d[1].permitted = d[1].effective = (uint32_t)(keep >> 32);
	d[0].inheritable = d[1].inheritable = 0;
	if (!rc && (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) || syscall(SYS_capset, &h, d) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)))
		rc = -errno;
	return rc ? err_set(rc, "cannot give root's rights up: %s", strerror(-rc)) : 0;
}
