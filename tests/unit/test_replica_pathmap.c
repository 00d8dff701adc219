/* test_replica_pathmap.c - things by path, against a plain list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/rng.h"
#include "pathmap.h"

#define PATHS 300u

static void against_a_list(void **state)
{
	static struct pathmap_item items[PATHS];
	struct pathmap m = PATHMAP_INIT;
	unsigned order[PATHS], count = 0;
	uint64_t r = 7;
	char p[32];

	(void)state;
	for (int i = 0; i < 20000; i++) {
		unsigned n = (unsigned)rng_below(&r, PATHS), k = 0;
		size_t len = (size_t)sprintf(p, "%s%u", n % 3 ? "d/" : "", n);

		if (n == 0)
			len = 0; /* the root */
		while (k < count && order[k] != n)
			k++;
		assert_ptr_equal(pathmap_get(&m, p, len), k < count ? &items[n] : NULL);
		if (k == count) {
			assert_int_equal(pathmap_add(&m, p, len, &items[n]), 0);
			order[count++] = n;
		} else if (rng_below(&r, 2)) {
			pathmap_remove(&m, &items[n]);
			memmove(order + k, order + k + 1, (--count - k) * sizeof order[0]);
		}
		assert_int_equal(m.count, count);
		k = 0;
		for (struct pathmap_item *x = m.first; x && i % 100 == 0; x = x->next, k++)
			assert_ptr_equal(x, &items[order[k]]);
	}
	while (m.first)
		pathmap_remove(&m, m.first);
	assert_null(m.last);
	pathmap_free(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(against_a_list) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
