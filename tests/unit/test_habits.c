/*
 * test_habits.c - which files are expected to be synced after a write.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "habits.h"

static void learn(struct habits *h, uint64_t ino, unsigned times)
{
	while (times--) {
		(void)habits_wrote(h, ino);
		habits_synced(h, ino);
	}
}

static void test_learned(void **state)
{
	struct habits h = { { 0 } };

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		assert_false(habits_wrote(&h, 7));
		habits_synced(&h, 7);
	}
	for (unsigned i = 0; i < 10; i++) {
		assert_true(habits_wrote(&h, 7));
		habits_synced(&h, 7);
	}
	assert_false(habits_wrote(&h, 8));
}

/* A second write without an fsync between: all is forgotten, and has to be learned again. */
static void test_forgotten(void **state)
{
	struct habits h = { { 0 } };

	(void)state;
	learn(&h, 7, 5);
	assert_true(habits_wrote(&h, 7));
	assert_false(habits_wrote(&h, 7));
	habits_synced(&h, 7);
	assert_false(habits_wrote(&h, 7));
	habits_synced(&h, 7);
	learn(&h, 7, 1);
	assert_true(habits_wrote(&h, 7));
}

/* fsyncs with nothing written teach nothing; two files of one place never take each other's habits. */
static void test_strangers(void **state)
{
	struct habits h = { { 0 } };

	(void)state;
	for (unsigned i = 0; i < 9; i++)
		habits_synced(&h, 7);
	assert_false(habits_wrote(&h, 7));
	learn(&h, 7, 5);
	assert_false(habits_wrote(&h, 7 + HABITS));
	habits_synced(&h, 7);
	assert_false(habits_wrote(&h, 7));
	learn(&h, 9, 4);
	assert_true(habits_wrote(&h, 9));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_learned),
		cmocka_unit_test(test_forgotten),
		cmocka_unit_test(test_strangers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
