/* test_conf.c - clonectl.conf: what is read, and what is said of what is wrong, with its line. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "conf.h"
#include "err.h"

static int read_text(const char *text, struct conf *ret)
{
	FILE *f = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
	int rc;

	assert_non_null(f);
	rc = conf_read(f, "x.conf", ret);
	fclose(f);
	return rc;
}

static void test_read(void **state CL_UNUSED)
{
	struct conf c;
	struct conf_section *s;
	uint64_t n = 7;

	assert_int_equal(read_text("# a comment\n[clonectl]\nstore = file:///srv/x\n\n[dns main]\ndriver = store\nport = 53\n[dns b]\ndriver=store\n", &c), 0);
	assert_int_equal(c.count, 3);
	assert_string_equal(conf_take(conf_find(&c, "clonectl", ""), "store"), "file:///srv/x");
	assert_null(conf_find(&c, "dns", ""));
	s = conf_find(&c, "dns", "main");
	assert_non_null(s);
	assert_int_equal(conf_take_number(s, "port", 1, 65535, &n), 0);
	assert_int_equal(n, 53);
	assert_int_equal(conf_take_number(s, "none", 1, 2, &n), 0);
	assert_int_equal(n, 53);
	assert_int_equal(conf_take_number(s, "port", 1, 52, &n), ERR_CONFIG);
	assert_string_equal(err_last(), "x.conf, line 7: [dns main] port: a number from 1 to 52");
	assert_int_equal(conf_finish(s, "driver, port"), ERR_CONFIG);
	assert_string_equal(err_last(), "x.conf, line 6: [dns main] driver: no such setting; there are: driver, port");
	assert_string_equal(conf_take(s, "driver"), "store");
	assert_int_equal(conf_finish(s, "driver, port"), 0);
	conf_free(&c);
}

static void test_wrong(void **state CL_UNUSED)
{
	static const struct { const char *text, *why; } bad[] = {
		{ "store = x\n", "x.conf, line 1: a setting stands in a section, as [clonectl]" },
		{ "[a]\nx = 1\nx = 2\n", "x.conf, line 3: this setting was there before" },
		{ "[a]\nx = 1\n[b]\ny = 1\n[a]\nz = 1\n", "x.conf, line 6: this section was there before" },
		{ "[a]\n\nwhat\n", "x.conf, line 3: neither [SECTION] nor NAME = VALUE" },
		{ "[a\nx = 1\n", "x.conf, line 1: neither [SECTION] nor NAME = VALUE" },
		{ "[a]\nx =\n", "x.conf, line 2: a setting without a value" },
		{ "[a b c]\nx = 1\n", "x.conf, line 2: a section is [KIND] or [KIND NAME]" },
	};
	struct conf c;

	for (size_t i = 0; i < CL_ARRAY_LEN(bad); i++) {
		assert_int_equal(read_text(bad[i].text, &c), ERR_CONFIG);
		assert_string_equal(err_last(), bad[i].why);
	}
	assert_int_equal(conf_load("/nowhere/x.conf", &c), -ENOENT);
}

static void test_bounds(void **state CL_UNUSED)
{
	char *text = malloc(8192), *p = text;
	struct conf c;

	assert_non_null(text);
	for (int i = 0; i < 101; i++)
		p += sprintf(p, "[s %d]\nx = 1\n", i);
	assert_int_equal(read_text(text, &c), ERR_CONFIG);
	assert_string_equal(err_last(), "x.conf, line 202: too many sections");
	p = text + sprintf(text, "[s]\n");
	for (int i = 0; i < 101; i++)
		p += sprintf(p, "x%d = 1\n", i);
	assert_int_equal(read_text(text, &c), ERR_CONFIG);
	assert_string_equal(err_last(), "x.conf, line 102: too many settings in one section");
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_read), cmocka_unit_test(test_wrong), cmocka_unit_test(test_bounds) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
