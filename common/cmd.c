/*
 * cmd.c - option tables, messages and figures for the commands.
 *
 * No state but the process's own stdout and stderr.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cmd.h"
#include "err.h"
#include "text.h"

#define OPTIONS_MAX 24
#define LETTER_HELP 'h'

static void print_option(const struct cmd_option *o)
{
	char left[64], arg[32] = "";

	if (o->arg)
		snprintf(arg, sizeof(arg), "%s%s", o->arg[0] == '[' ? "" : " ", o->arg);
	if (o->letter < 256 && o->name)
		snprintf(left, sizeof(left), "-%c, --%s%s", o->letter, o->name, arg);
	else if (o->letter < 256)
		snprintf(left, sizeof(left), "-%c%s", o->letter, arg);
	else
		snprintf(left, sizeof(left), "    --%s%s", o->name, arg);
	printf("  %-26s %s\n", left, o->help);
}

static void print_help(const struct cmd_usage *u)
{
	static const struct cmd_option help = { LETTER_HELP, "help", NULL, "print this and exit" };

	printf("Usage: %s%s %s\n%s\n\nOptions:\n", u->program, u->option_count ? " [OPTION]..." : "", u->operands, u->purpose);
	for (size_t i = 0; i < u->option_count; i++)
		print_option(&u->options[i]);
	print_option(&help);
	if (u->notes)
		printf("\n%s\n", u->notes);
}

static size_t build_short(const struct cmd_usage *u, char *shorts)
{
	size_t n = 0;

	shorts[n++] = ':'; /* messages are ours */
	for (size_t i = 0; i < u->option_count; i++) {
		const struct cmd_option *o = &u->options[i];

		if (o->letter >= 256)
			continue;
		shorts[n++] = (char)o->letter;
		if (o->arg)
			shorts[n++] = ':';
		if (o->arg && o->arg[0] == '[')
			shorts[n++] = ':';
	}
	shorts[n++] = LETTER_HELP;
	shorts[n] = '\0';
	return n;
}

static void build_long(const struct cmd_usage *u, struct option *longs)
{
	size_t n = 0;

	for (size_t i = 0; i < u->option_count; i++) {
		const struct cmd_option *o = &u->options[i];

		if (!o->name)
			continue;
		longs[n].name = o->name;
		longs[n].has_arg = !o->arg ? no_argument : o->arg[0] == '[' ? optional_argument : required_argument;
		longs[n].flag = NULL;
		longs[n].val = o->letter;
		n++;
	}
	longs[n++] = (struct option){ "help", no_argument, NULL, LETTER_HELP };
	memset(&longs[n], 0, sizeof(longs[n]));
}

int cmd_parse(const struct cmd_usage *u, int argc, char **argv, int (*take)(void *user, int letter, const char *arg), void *user,
	      int *ret_exit)
{
	struct option longs[OPTIONS_MAX + 2];
	char shorts[OPTIONS_MAX * 3 + 4];
	int c;

	if (u->option_count > OPTIONS_MAX)
		abort(); /* a table of this program, not input */
	build_short(u, shorts);
	build_long(u, longs);
	optind = 0; /* from the beginning, whatever an earlier call left half read */
	opterr = 0;
	while ((c = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
		*ret_exit = u->usage_exit;
		if (c == LETTER_HELP) {
			print_help(u);
			*ret_exit = cmd_flush(u->program, CMD_OK);
			return -1;
		}
		if (c == '?' || c == ':') {
			cmd_complain(u->program, "%s: %s; see %s --help", argv[optind - 1],
				     c == '?' ? "unknown option" : "the option needs an argument", u->program);
			return -1;
		}
		if (take(user, c, optarg))
			return -1;
	}
	return optind;
}

int cmd_operands(const struct cmd_usage *u, int given, int min, int max, int *ret_exit)
{
	if (given >= min && given <= max)
		return 0;
	cmd_complain(u->program, "%s: expected %s; see %s --help", given < min ? "too few arguments" : "too many arguments",
		     u->operands, u->program);
	*ret_exit = u->usage_exit;
	return -1;
}

void cmd_complain(const char *program, const char *fmt, ...)
{
	char line[1536];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	text_clean(line, ' '); /* one line, whatever a server put into its message */
	fprintf(stderr, "%s: %s\n", program, line);
}

int cmd_exit_code(int rc)
{
	switch (rc) {
	case 0:
		return CMD_OK;
	case ERR_VOLUME_BUSY:
	case ERR_FENCED:
	case -EBUSY:
		return CMD_BUSY;
	case ERR_NOT_A_VOLUME:
	case ERR_VOLUME_EXISTS:
		return CMD_NOT_FOUND;
	case ERR_UNAVAILABLE:
		return CMD_UNAVAILABLE;
	case ERR_DAMAGED:
	case ERR_CORRUPT:
		return CMD_DAMAGED;
	case ERR_CONFIG:
		return CMD_USAGE;
	default:
		return CMD_FAILED;
	}
}

int cmd_fail(const char *program, int rc)
{
	cmd_complain(program, "%s", err_last()[0] ? err_last() : err_text(rc));
	return cmd_exit_code(rc);
}

const char *cmd_bytes(uint64_t bytes, char *ret)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double x = (double)bytes;
	size_t u = 0;

	while (x >= 1024 && u + 1 < CL_ARRAY_LEN(units)) {
		x /= 1024;
		u++;
	}
	snprintf(ret, CMD_TEXT, u == 0 || x >= 100 ? "%.0f %s" : "%.1f %s", x, units[u]);
	return ret;
}

const char *cmd_seconds(double s, char *ret)
{
	if (s < 60)
		snprintf(ret, CMD_TEXT, "%.1f s", s);
	else if (s < 3600)
		snprintf(ret, CMD_TEXT, "%d m %02d s", (int)(s / 60), (int)s % 60);
	else if (s < 86400)
		snprintf(ret, CMD_TEXT, "%d h %02d m", (int)(s / 3600), (int)(s / 60) % 60);
	else
		snprintf(ret, CMD_TEXT, "%.0f days", s / 86400);
	return ret;
}

const char *cmd_hex(const uint8_t *p, size_t len, char *ret)
{
	for (size_t i = 0; i < len; i++)
		sprintf(ret + 2 * i, "%02x", p[i]);
	ret[2 * len] = '\0';
	return ret;
}

const char *cmd_time(uint64_t real_ns, char *ret)
{
	time_t t = (time_t)(real_ns / 1000000000u);
	struct tm tm;

	if (!gmtime_r(&t, &tm) || !strftime(ret, CMD_TEXT, "%Y-%m-%dT%H:%M:%SZ", &tm))
		snprintf(ret, CMD_TEXT, "%" PRIu64 " ns", real_ns);
	return ret;
}

int cmd_number(const char *program, const char *option, const char *text, uint64_t *ret)
{
	char *end;

	errno = 0;
	*ret = strtoull(text, &end, 10);
	if (errno || end == text || *end || text[0] == '-') {
		cmd_complain(program, "%s %s: not a number", option, text);
		return -1;
	}
	return 0;
}

int cmd_flush(const char *program, int code)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return code;
	cmd_complain(program, "writing to standard output: %s; the output is incomplete", strerror(errno));
	return code ? code : CMD_FAILED;
}

int cmd_print_json(const char *program, struct json_object *o)
{
	const char *text = o ? json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED |
							      JSON_C_TO_STRING_NOSLASHESCAPE) : NULL;
	int code = CMD_OK;

	if (!text) {
		cmd_complain(program, "no memory for the answer");
		code = CMD_FAILED;
	} else {
		puts(text);
	}
	json_object_put(o);
	return cmd_flush(program, code);
}
