/* env.c - the real clocks and the system's randomness. Stateless but for libsodium's initialisation. */
#include "env.h"

#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <time.h>

static pthread_once_t init_once = PTHREAD_ONCE_INIT;

static void init(void)
{
	if (sodium_init() < 0)
		abort();
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	/* Fails for a clock the kernel does not know; then no lease could be kept. */
	if (clock_gettime(clock, &t))
		abort();
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static uint64_t system_boot_ns(struct env *e)
{
	(void)e;
	return clock_ns(CLOCK_BOOTTIME);
}

static uint64_t system_real_ns(struct env *e)
{
	(void)e;
	return clock_ns(CLOCK_REALTIME);
}

static void system_random(struct env *e, void *p, size_t len)
{
	(void)e;
	pthread_once(&init_once, init);
	randombytes_buf(p, len);
}

struct env *env_system(void)
{
	static struct env env = { system_boot_ns, system_real_ns, system_random };

	return &env;
}
