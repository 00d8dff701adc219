/* test_text.c - what of a text a terminal is shown. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "text.h"

static const struct { const char *text, *shown; bool utf8; } cases[] = {
	{ "", "", true },
	{ "plain name.txt", "plain name.txt", true },
	{ "gr\303\274\303\237e \342\202\254 \360\237\230\200", "gr\303\274\303\237e \342\202\254 \360\237\230\200", true },
	{ "a\nb\tc\033[2J\177", "a\\012b\\011c\\033[2J\\177", true },
	{ "back\\slash", "back\\134slash", true },
	{ "\2335m", "\\2335m", false },                   /* CSI as one byte */
	{ "\302\2335m", "\\302\\2335m", true },           /* and in UTF-8 */
	{ "\302\237\302\240", "\\302\\237\302\240", true },
	{ "\342\200\256gpj.exe", "\\342\\200\\256gpj.exe", true }, /* turned round */
	{ "\342\201\246x\342\200\250", "\\342\\201\\246x\\342\\200\\250", true },
	{ "\300\257", "\\300\\257", false },              /* not the shortest form */
	{ "\340\200\257", "\\340\\200\\257", false },
	{ "\355\240\200", "\\355\\240\\200", false },     /* a surrogate */
	{ "\364\220\200\200", "\\364\\220\\200\\200", false },
	{ "\303", "\\303", false },                       /* cut off */
	{ "\360\237\230", "\\360\\237\\230", false },
	{ "\377\376", "\\377\\376", false },
};

static void shown(void **state)
{
	char b[100];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		assert_string_equal(text_shown(cases[i].text, b, sizeof b), cases[i].shown);
		assert_int_equal(text_is_utf8(cases[i].text), cases[i].utf8);
	}
	for (size_t cap = 1; cap < 12; cap++) { /* never half of anything */
		memset(b, 'x', sizeof b);
		text_shown("a\303\274\033b", b, cap);
		assert_true(strlen(b) < cap && strncmp("a\303\274\\033b", b, strlen(b)) == 0);
		assert_true(strlen(b) == 0 || strlen(b) == 1 || strlen(b) == 3 || strlen(b) == 7 || strlen(b) == 8);
		assert_int_equal(b[cap], 'x');
	}
}

/* Whatever the bytes: what is left can be shown, and what could be shown before is still there. */
static void cleaned(void **state)
{
	char b[100];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		strcpy(b, cases[i].text);
		text_clean(b, '?');
		assert_int_equal(strlen(b), strlen(cases[i].text));
		for (size_t n, at = 0; b[at]; at += n) {
			n = text_char(b + at);
			assert_true(n > 0);
		}
	}
	strcpy(b, "x\033\302\233y\303\274");
	text_clean(b, '?');
	assert_string_equal(b, "x???y\303\274");
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(shown), cmocka_unit_test(cleaned) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
