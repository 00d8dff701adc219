/* test_rate.c - the token bucket: never more than it says over any time, and never less than what is asked for while that is within it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../lib/rng.h"
#include "rate.h"

#define S 1000000000ull

static void no_limit(void **state)
{
	struct rate r;

	(void)state;
	rate_init(&r, 0, 5 * S);
	for (int i = 0; i < 5; i++) {
		assert_true(rate_ready(&r, 5 * S));
		rate_took(&r, UINT64_MAX);
	}
	assert_int_equal(rate_ready_at(&r), 0);
}

/* Whoever sends as soon as he may sends what the rate says, within one piece and the burst, whatever rate, pieces and the moments he looks. */
static void as_much_as_it_says(void **state)
{
	static const uint64_t rates[] = { 1, 7, 1000, 123457, 10u << 20, 10ull << 30 };
	uint64_t rnd = 5;

	(void)state;
	for (size_t i = 0; i < sizeof rates / sizeof *rates; i++)
		for (unsigned way = 0; way < 3; way++) {
			uint64_t now = 77 * S, began = now, sent = 0, most = way == 0 ? 1 : way == 1 ? 65536 : 1 << 20, burst = rates[i] / 5 + 1, end = began + 400 * S;
			struct rate r;

			rate_init(&r, rates[i], now);
			for (unsigned steps = 0; now < end && steps < 20000; steps++) {
				uint64_t piece = 1 + rng_below(&rnd, most);

				if (rate_ready(&r, now)) {
					rate_took(&r, piece);
					sent += piece;
				} else { /* when it says, or looking a little earlier again and again */
					uint64_t at = rate_ready_at(&r);

					assert_true(at > now);
					now = rng_below(&rnd, 3) ? at : now + 1 + rng_below(&rnd, at - now);
				}
				assert_true((double)sent <= (double)(now - began) / S * (double)rates[i] + (double)burst + (double)most + 1);
			}
			if (now > began + S)
				assert_true((double)sent + (double)most + 2 >= (double)(now - began) / S * (double)rates[i] * 0.999);
		}
}

/* A long pause fills it once, not more; a clock that stands still or goes back fills nothing. */
static void pauses(void **state)
{
	struct rate r;

	(void)state;
	rate_init(&r, 1000, 0);
	rate_took(&r, 200);
	assert_false(rate_ready(&r, 0));
	assert_true(rate_ready(&r, 1000 * S));
	rate_took(&r, 200);
	assert_false(rate_ready(&r, 1000 * S));
	assert_false(rate_ready(&r, 1));
	rate_took(&r, 5000);
	assert_false(rate_ready(&r, 1005 * S - 1));
	assert_true(rate_ready(&r, 1005 * S + S / 500));
	rate_took(&r, 1 << 20);
	rate_gave_back(&r, 1 << 20);
	assert_true(rate_ready(&r, 1005 * S + S / 500));
	assert_true(rate_ready(&r, UINT64_MAX));
	rate_init(&r, UINT64_MAX, 0);
	assert_true(rate_ready(&r, UINT64_MAX - 1));
	rate_took(&r, UINT64_MAX);
	assert_true(rate_ready_at(&r) > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(no_limit), cmocka_unit_test(as_much_as_it_says), cmocka_unit_test(pauses) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
