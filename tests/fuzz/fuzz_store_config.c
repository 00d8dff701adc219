/*
 * fuzz_store_config.c - what a store is told from outside: AWS's variables, both of its shared files, options, and the rules of CLONELOVE_FAULTS. What a
 * credential service answers is in fuzz_credentials.
 *
 * Input: lines "NAME=value" of the environment up to an empty line, the options' line, then the configuration file; a line "---" begins the
 * credentials file.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "aws_config.h"
#include "fault.h"
#include "fuzz.h"
#include "s3_config.h"

static const char *const names[] = {
	"AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_CA_BUNDLE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "HOME",
	"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
};

static void clear(void)
{
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		unsetenv(names[i]);
}

static void set(char *line)
{
	char *value = strchr(line, '=');

	if (!value)
		return;
	*value++ = '\0';
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (strcmp(names[i], line) == 0)
			setenv(line, value, 1);
}

/* A file of that content which needs no directory; its path in the variable. */
static int file(const char *variable, const char *text)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);
	char path[64];

	FUZZ_ASSERT(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	setenv(variable, path, 1);
	return fd;
}

static void look(const char *options)
{
	static const char *const keys[] = { "role_arn", "credential_process", "s3.addressing_style", "source_profile", "web_identity_token_file" };
	struct aws_profiles p;
	struct s3_config c;

	if (aws_profiles_open(NULL, &p) == 0) {
		FUZZ_ASSERT(memchr(p.name, '\0', sizeof p.name));
		for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
			const char *v = aws_profiles_get(&p, p.name, keys[i]);

			FUZZ_ASSERT(!v || *v);
		}
		aws_profiles_close(&p);
	}
	if (s3_config_make("s3://bucket/prefix", options, &c) == 0) {
		FUZZ_ASSERT(s3_config_is_region(c.region) && c.host[0] && c.connections >= 1 && c.part_bytes >= 5u << 20);
		FUZZ_ASSERT(memchr(c.host, '\0', sizeof c.host) && memchr(c.ca_bundle, '\0', sizeof c.ca_bundle));
	}
}

static void rules(const char *text)
{
	struct fault_rules *f;
	struct store_req r;
	struct fault hit;

	if (fault_rules_parse(text, 1, &f) != 0)
		return;
	store_req_init(&r, STORE_PUT);
	r.key = "log/0000000001/000000000001";
	for (int i = 0; i < 3; i++)
		fault_rules_choose(f, &r, &hit);
	fault_rules_free(f);
}

/* The line at *at, cut off; NULL at the end. */
static char *line(char **at)
{
	char *p = *at, *nl;

	if (!p)
		return NULL;
	nl = strchr(p, '\n');
	if (nl)
		*nl++ = '\0';
	*at = nl;
	return p;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text, *at, *l, *options, *second = NULL;
	int fds[2];

	if (size > 65536)
		return 0;
	text = calloc(1, size + 1);
	FUZZ_ASSERT(text);
	memcpy(text, data, size);
	clear();
	rules(text);
	at = text;
	while ((l = line(&at)) != NULL && *l)
		set(l);
	options = line(&at);
	if (at && strncmp(at, "---\n", 4) == 0)
		second = at;
	else if (at && (second = strstr(at, "\n---\n")) != NULL)
		second++;
	if (second) {
		*second = '\0';
		second += 4;
	}
	fds[0] = file("AWS_CONFIG_FILE", at ? at : "");
	fds[1] = file("AWS_SHARED_CREDENTIALS_FILE", second ? second : "");
	look(options);
	close(fds[0]);
	close(fds[1]);
	free(text);
	return 0;
}
