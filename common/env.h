/*
 * env.h - time and randomness, injected, so that a seeded simulation owns
 * both. Implementations are thread-safe and never fail (the system's random
 * source aborts the program when the kernel has none).
 */
#ifndef CLONELOVE_ENV_H
#define CLONELOVE_ENV_H

#include <stddef.h>
#include <stdint.h>

struct env {
	/* CLOCK_BOOTTIME in ns: goes on through suspend, never backwards. For every interval and lease. */
	uint64_t (*boot_ns)(struct env *e);
	/* CLOCK_REALTIME in ns: may jump. For file times and commit times only. */
	uint64_t (*real_ns)(struct env *e);
	/* Fills p with random bytes fit for identifiers and nonces. */
	void (*random)(struct env *e, void *p, size_t len);
};

/* The real clocks and libsodium's randomness. Static storage. */
struct env *env_system(void);

#endif
