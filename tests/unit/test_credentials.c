/*
 * test_credentials.c - the chain of credentials, each source, and their renewal, against fakes of STS, the container's and
 * the instance's services.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/http_double.h"
#include "aws_config.h"
#include "credentials.h"
#include "err.h"
#include "logmsg.h"

static struct http_double *http;
static char dir[64];
static struct {
	pthread_mutex_t mu;
	unsigned requests, tokens, sts;
	int life_s;          /* of what is given out */
	unsigned serial;     /* in the key, grows by one each time */
	unsigned status;     /* other than 200: all fail with it */
	bool no_role;
	char action[64], role[128], identity[128], auth[512], security[64], container_auth[64];
} service = { .mu = PTHREAD_MUTEX_INITIALIZER };

/* --- the fakes --- */

static void expiration(char *ret, size_t size)
{
	time_t t = time(NULL) + service.life_s;

	strftime(ret, size, "%Y-%m-%dT%H:%M:%SZ", gmtime(&t));
}

static void json_keys(struct http_double_reply *reply)
{
	char text[512], when[32];

	expiration(when, sizeof(when));
	snprintf(text, sizeof(text),
		 "{\n \"Code\" : \"Success\",\n \"Type\" : \"AWS-HMAC\", \"Nested\": {\"AccessKeyId\": [\"no\", {}]},\n"
		 " \"AccessKeyId\" : \"KEY%u\", \"SecretAccessKey\" : \"se\\/cret\", \"Token\" : \"tok\\u0065n\", \"Expiration\" : \"%s\"\n}\n",
		 ++service.serial, when);
	http_double_set_body(reply, text);
}

static void copy_header(const struct http_double_request *r, const char *name, char *to, size_t size)
{
	const char *v = http_double_header(r, name);

	snprintf(to, size, "%s", v ? v : "");
}

static void form_value(const char *body, const char *name, char *to, size_t size)
{
	const char *p = strstr(body, name);

	snprintf(to, size, "%.*s", p ? (int)strcspn(p + strlen(name), "&") : 0, p ? p + strlen(name) : "");
}

static void sts(const struct http_double_request *r, struct http_double_reply *reply)
{
	char text[512], when[32];

	service.sts++;
	form_value(r->body, "Action=", service.action, sizeof(service.action));
	form_value(r->body, "RoleArn=", service.role, sizeof(service.role));
	form_value(r->body, "WebIdentityToken=", service.identity, sizeof(service.identity));
	copy_header(r, "authorization", service.auth, sizeof(service.auth));
	copy_header(r, "x-amz-security-token", service.security, sizeof(service.security));
	expiration(when, sizeof(when));
	if (strstr(service.role, "forbidden")) {
		reply->status = 403;
		http_double_set_body(reply, "<ErrorResponse><Error><Code>AccessDenied</Code><Message>not you</Message></Error></ErrorResponse>");
		return;
	}
	snprintf(text, sizeof(text), "<R><Credentials><AccessKeyId>STS%u</AccessKeyId><SecretAccessKey>s</SecretAccessKey>"
		 "<SessionToken>st</SessionToken><Expiration>%s</Expiration></Credentials></R>", ++service.serial, when);
	http_double_set_body(reply, text);
}

static void handle(void *user, const struct http_double_request *r, struct http_double_reply *reply)
{
	const char *token = http_double_header(r, "x-aws-ec2-metadata-token");

	(void)user;
	pthread_mutex_lock(&service.mu);
	service.requests++;
	if (service.status != 200) {
		reply->status = service.status;
	} else if (strcmp(r->url, "/") == 0 && strcmp(r->method, "POST") == 0) {
		sts(r, reply);
	} else if (strcmp(r->url, "/container") == 0) {
		copy_header(r, "authorization", service.container_auth, sizeof(service.container_auth));
		json_keys(reply);
	} else if (strcmp(r->url, "/latest/api/token") == 0 && strcmp(r->method, "PUT") == 0 &&
		   http_double_header(r, "x-aws-ec2-metadata-token-ttl-seconds")) {
		service.tokens++;
		http_double_set_body(reply, "imds-token");
	} else if (!token || strcmp(token, "imds-token") != 0) {
		reply->status = 401;
	} else if (strcmp(r->url, "/latest/meta-data/iam/security-credentials/") == 0 && !service.no_role) {
		http_double_set_body(reply, "my-role\n");
	} else if (strcmp(r->url, "/latest/meta-data/iam/security-credentials/my-role") == 0) {
		json_keys(reply);
	} else {
		reply->status = 404;
	}
	pthread_mutex_unlock(&service.mu);
}

/* --- the scene --- */

static void write_file(const char *name, const char *text)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void set_url(const char *variable, const char *path)
{
	char url[128];

	snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", http_double_port(http), path);
	setenv(variable, url, 1);
}

static void set_path(const char *variable, const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	setenv(variable, path, 1);
}

static int setup(void **state)
{
	static const char *const variables[] = {
		"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ROLE_ARN",
		"AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
		"AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "AWS_EC2_METADATA_DISABLED",
		"AWS_EC2_METADATA_SERVICE_ENDPOINT", "AWS_ENDPOINT_URL",
	};

	(void)state;
	for (size_t i = 0; i < CL_ARRAY_LEN(variables); i++)
		unsetenv(variables[i]);
	snprintf(dir, sizeof(dir), "/tmp/test_credentials.XXXXXX");
	assert_non_null(mkdtemp(dir));
	set_path("AWS_CONFIG_FILE", "config");
	set_path("AWS_SHARED_CREDENTIALS_FILE", "credentials");
	service.requests = service.tokens = service.sts = service.serial = 0;
	service.life_s = 3600;
	service.status = 200;
	service.no_role = false;
	http = http_double_start(handle, NULL);
	set_url("AWS_ENDPOINT_URL_STS", "");
	setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
	return 0;
}

static int teardown(void **state)
{
	static const char *const files[] = { "config", "credentials", "token", "counter" };
	char path[128];

	(void)state;
	http_double_stop(http);
	for (size_t i = 0; i < CL_ARRAY_LEN(files); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, files[i]);
		unlink(path);
	}
	return rmdir(dir);
}

/* Runs the chain; the access key in `want`, or the code and a word of the message. */
static struct credentials_set *good(const char *profile, const char *want)
{
	struct credentials_options o = { profile, "eu-west-1", NULL };
	struct credentials_set *s;

	if (credentials_chain(&o, &s) != 0)
		fail_msg("%s", err_last());
	assert_string_equal(s->access_key->text, want);
	return s;
}

static void bad(const char *profile, int code, const char *word)
{
	struct credentials_options o = { profile, NULL, NULL };
	struct credentials_set *s;

	assert_int_equal(credentials_chain(&o, &s), code);
	if (!strstr(err_last(), word))
		fail_msg("\"%s\" does not speak of %s", err_last(), word);
}

/* --- the environment and the files --- */

static void test_environment(void **state)
{
	struct credentials_set *s;

	(void)state;
	write_file("credentials", "[default]\naws_access_key_id=FILE\naws_secret_access_key=x\n");
	setenv("AWS_ACCESS_KEY_ID", "ENV", 1);
	bad(NULL, ERR_AUTH, "AWS_SECRET_ACCESS_KEY is not");
	setenv("AWS_SECRET_ACCESS_KEY", "secret", 1);
	s = good(NULL, "ENV");
	assert_string_equal(s->secret_key->text, "secret");
	assert_null(s->session_token);
	assert_int_equal(s->expires_s, 0);
	credentials_set_free(s);
	setenv("AWS_SESSION_TOKEN", "tok", 1);
	s = good(NULL, "ENV");
	assert_string_equal(s->session_token->text, "tok");
	credentials_set_free(s);
	credentials_set_free(good("default", "FILE")); /* a profile that was asked for goes first */
	unsetenv("AWS_ACCESS_KEY_ID");
	unsetenv("AWS_SECRET_ACCESS_KEY");
	credentials_set_free(good(NULL, "FILE"));
}

static void test_profiles(void **state)
{
	struct credentials_set *s;

	(void)state;
	write_file("credentials",
		   "# comment\n; another\naws_access_key_id = NOSECTION\n[default]\naws_access_key_id = DEF\r\naws_secret_access_key= a=b/c+d \r\n\n"
		   "[ dev ]\n AWS_ACCESS_KEY_ID = NO\nAWS_Access_Key_Id=DEV # dev\naws_secret_access_key =\tdevsecret\taws\n"
		   "aws_session_token = token;no comment\n[half]\naws_access_key_id = HALF\n[empty]\n");
	write_file("config",
		   "[profile dev]\nregion = eu-north-1\naws_access_key_id = SHADOWED\ns3 =\n  addressing_style = path\n  nested = x\n"
		   "services = here\n[services here]\ns3 =\n  endpoint_url = http://s3\nec2 =\n  endpoint_url = http://ec2\n"
		   "[profile conf]\naws_access_key_id = CONF\naws_secret_access_key = c\n[dev]\nregion = wrong\n[broken\nregion = x\n"
		   "[profile sso]\nsso_session = s\n");
	s = good(NULL, "DEF");
	assert_string_equal(s->secret_key->text, "a=b/c+d");
	credentials_set_free(s);
	setenv("AWS_PROFILE", "dev", 1);
	s = good(NULL, "DEV");
	assert_string_equal(s->secret_key->text, "devsecret\taws");
	assert_string_equal(s->session_token->text, "token;no comment");
	credentials_set_free(s);
	credentials_set_free(good("conf", "CONF"));
	bad("nosuch", ERR_CONFIG, "nosuch");
	bad("half", ERR_AUTH, "aws_secret_access_key");
	bad("empty", ERR_AUTH, "no credentials");
	bad("sso", ERR_CONFIG, "credential_process");
}

static void test_profile_settings(void **state)
{
	struct aws_profiles p;

	(void)state;
	test_profiles(state);
	assert_int_equal(aws_profiles_open("dev", &p), 0);
	assert_string_equal(aws_profiles_get(&p, "dev", "region"), "eu-north-1");
	assert_string_equal(aws_profiles_get(&p, "dev", "s3.addressing_style"), "path");
	assert_string_equal(aws_config_get(p.config, "services here", "s3.endpoint_url"), "http://s3");
	assert_null(aws_profiles_get(&p, "dev", "addressing_style"));
	assert_null(aws_profiles_get(&p, "conf", "region"));
	aws_profiles_close(&p);
}

static void test_process(void **state)
{
	struct credentials_set *s;

	(void)state;
	write_file("config",
		   "[profile p]\ncredential_process = echo '{\"Version\": 1, \"AccessKeyId\": \"PROC\", \"SecretAccessKey\": \"s\"}'\n"
		   "[profile t]\ncredential_process = printf '%s' '{\"AccessKeyId\":\"PT\",\"SecretAccessKey\":\"s\",\"SessionToken\":\"x\","
		   "\"Expiration\":\"2100-01-01T00:00:00Z\"}'\n"
		   "[profile fails]\ncredential_process = exit 3\n[profile junk]\ncredential_process = echo hello\n"
		   "[profile long]\ncredential_process = head -c 100000 /dev/zero\n");
	s = good("p", "PROC");
	assert_int_equal(s->expires_s, 0);
	credentials_set_free(s);
	s = good("t", "PT");
	assert_int_equal(s->expires_s, 4102444800);
	assert_string_equal(s->session_token->text, "x");
	credentials_set_free(s);
	bad("fails", ERR_AUTH, "status 3");
	bad("junk", ERR_AUTH, "understood");
	bad("long", ERR_AUTH, "too large");
}

/* --- services --- */

static void test_web_identity(void **state)
{
	struct credentials_set *s;

	(void)state;
	write_file("token", "ey.to/ken\n");
	set_path("AWS_WEB_IDENTITY_TOKEN_FILE", "token");
	bad(NULL, ERR_AUTH, "AWS_ROLE_ARN");
	setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/r", 1);
	s = good(NULL, "STS1");
	assert_string_equal(service.action, "AssumeRoleWithWebIdentity");
	assert_string_equal(service.role, "arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr");
	assert_string_equal(service.identity, "ey.to%2Fken");
	assert_string_equal(service.auth, ""); /* the token is the proof: nothing is signed */
	assert_in_range(s->expires_s, time(NULL) + 3500, time(NULL) + 3700);
	credentials_set_free(s);
	setenv("AWS_ROLE_ARN", "arn:forbidden", 1);
	bad(NULL, ERR_AUTH, "not you");
	service.status = 503;
	bad(NULL, ERR_UNAVAILABLE, "503");
	set_path("AWS_WEB_IDENTITY_TOKEN_FILE", "missing");
	bad(NULL, ERR_AUTH, "missing");
}

static void test_assume_role(void **state)
{
	(void)state;
	write_file("config",
		   "[profile base]\naws_access_key_id = BASE\naws_secret_access_key = b\naws_session_token = bt\n"
		   "[profile role]\nrole_arn = arn:r\nsource_profile = base\nexternal_id = e/1\n"
		   "[profile chain]\nrole_arn = arn:c\nsource_profile = role\n"
		   "[profile self]\nrole_arn = arn:self\nsource_profile = self\naws_access_key_id = SELF\naws_secret_access_key = s\n"
		   "[profile loop]\nrole_arn = arn:l\nsource_profile = loop2\n[profile loop2]\nrole_arn = arn:l\nsource_profile = loop\n"
		   "[profile env]\nrole_arn = arn:e\ncredential_source = Environment\n"
		   "[profile nothing]\nrole_arn = arn:n\n[profile mfa]\nrole_arn = arn:m\nsource_profile = base\nmfa_serial = 1\n");
	credentials_set_free(good("role", "STS1"));
	assert_string_equal(service.action, "AssumeRole");
	assert_string_equal(service.security, "bt");
	assert_non_null(strstr(service.auth, "Credential=BASE/"));
	assert_non_null(strstr(service.auth, "/eu-west-1/sts/aws4_request"));
	credentials_set_free(good("chain", "STS3"));
	assert_non_null(strstr(service.auth, "Credential=STS2/"));
	credentials_set_free(good("self", "STS4"));
	assert_non_null(strstr(service.auth, "Credential=SELF/"));
	bad("env", ERR_AUTH, "Environment");
	setenv("AWS_ACCESS_KEY_ID", "ENV", 1);
	setenv("AWS_SECRET_ACCESS_KEY", "e", 1);
	credentials_set_free(good("env", "STS5"));
	assert_non_null(strstr(service.auth, "Credential=ENV/"));
	bad("loop", ERR_CONFIG, "circles");
	bad("nothing", ERR_CONFIG, "source_profile");
	bad("mfa", ERR_CONFIG, "mfa_serial");
}

static void test_container(void **state)
{
	struct credentials_set *s;

	(void)state;
	set_url("AWS_CONTAINER_CREDENTIALS_FULL_URI", "/container");
	s = good(NULL, "KEY1");
	assert_string_equal(s->secret_key->text, "se/cret");
	assert_string_equal(s->session_token->text, "token");
	assert_string_equal(service.container_auth, "");
	credentials_set_free(s);
	setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "plain", 1);
	credentials_set_free(good(NULL, "KEY2"));
	assert_string_equal(service.container_auth, "plain");
	write_file("token", "from file\n");
	set_path("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "token"); /* goes first */
	credentials_set_free(good(NULL, "KEY3"));
	assert_string_equal(service.container_auth, "from file");
	service.status = 500;
	bad(NULL, ERR_UNAVAILABLE, "500");
	service.status = 403;
	bad(NULL, ERR_AUTH, "403");
	setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://example.com/container", 1);
	bad(NULL, ERR_CONFIG, "https");
	setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1.example.com/container", 1);
	bad(NULL, ERR_CONFIG, "https");
	setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1@example.com/container", 1);
	bad(NULL, ERR_CONFIG, "https");
}

static void test_instance(void **state)
{
	(void)state;
	set_url("AWS_EC2_METADATA_SERVICE_ENDPOINT", "/");
	bad(NULL, ERR_AUTH, "AWS_ACCESS_KEY_ID"); /* switched off: nothing was asked */
	assert_int_equal(service.requests, 0);
	unsetenv("AWS_EC2_METADATA_DISABLED");
	credentials_set_free(good(NULL, "KEY1"));
	assert_int_equal(service.tokens, 1);
	service.no_role = true;
	bad(NULL, ERR_AUTH, "give the machine a role");
	service.status = 500;
	bad(NULL, ERR_UNAVAILABLE, "500");
}

/* --- renewal --- */

static struct credentials_set *get_soon(struct credentials *c)
{
	struct credentials_set *s;
	int rc = -EAGAIN;

	for (int i = 0; i < 400 && rc == -EAGAIN; i++) {
		rc = credentials_get(c, &s);
		if (rc == -EAGAIN)
			nanosleep(&(struct timespec){ 0, 10000000 }, NULL);
	}
	if (rc != 0)
		fail_msg("%s", err_last());
	return s;
}

static void test_renewal(void **state)
{
	struct credentials_options o = { NULL, NULL, NULL };
	struct credentials_set *s, *held;
	struct credentials *c;
	uint64_t generation;

	(void)state;
	set_url("AWS_CONTAINER_CREDENTIALS_FULL_URI", "/container");
	service.life_s = 4;
	assert_int_equal(credentials_open(&o, &c), 0);
	assert_int_equal(credentials_get(c, &held), 0);
	assert_string_equal(held->access_key->text, "KEY1");
	generation = held->generation;
	service.life_s = 3600;
	/* Renewed before it expires: there is a valid set at every moment. */
	for (int i = 0; i < 60; i++) {
		assert_int_equal(credentials_get(c, &s), 0);
		assert_true(s->expires_s > time(NULL));
		if (i == 59)
			assert_true(s->generation > generation);
		credentials_set_free(s);
		nanosleep(&(struct timespec){ 0, 50000000 }, NULL);
	}
	assert_string_equal(held->access_key->text, "KEY1"); /* what is in use stays */
	credentials_set_free(held);
	/* A server says that it has expired: another one, at once. */
	s = get_soon(c);
	generation = s->generation;
	credentials_set_free(s);
	credentials_refused(c, generation);
	s = get_soon(c);
	assert_true(s->generation > generation);
	/* A late refusal of the old one changes nothing. */
	credentials_refused(c, generation);
	generation = s->generation;
	credentials_set_free(s);
	assert_int_equal(credentials_get(c, &s), 0);
	assert_int_equal(s->generation, generation);
	credentials_set_free(s);
	credentials_close(c);
}

static void test_renewal_fails(void **state)
{
	struct credentials_options o = { NULL, NULL, NULL };
	struct credentials_set *s;
	struct credentials *c;
	int rc = -EAGAIN;

	(void)state;
	setenv("AWS_ACCESS_KEY_ID", "ENV", 1);
	setenv("AWS_SECRET_ACCESS_KEY", "e", 1);
	assert_int_equal(credentials_open(&o, &c), 0);
	assert_int_equal(credentials_get(c, &s), 0);
	credentials_refused(c, s->generation);
	credentials_set_free(s);
	for (int i = 0; i < 400 && rc == -EAGAIN; i++) {
		rc = credentials_get(c, &s);
		nanosleep(&(struct timespec){ 0, 10000000 }, NULL);
	}
	assert_int_equal(rc, ERR_AUTH);
	assert_non_null(strstr(err_last(), "refused"));
	credentials_close(c);
	credentials_close(NULL);
}

/* --- the JSON --- */

static int json(const char *text, const char *name, const char *want)
{
	struct secret *s;
	int rc = aws_json_get(text, strlen(text), name, &s);

	if (rc == 0) {
		assert_string_equal(s->text, want);
		secret_free(s);
	}
	return rc;
}

static void test_json(void **state)
{
	static const char *const bad_json[] = { "", "{", "[]", "{\"a\"}", "{\"a\":\"b\"", "{\"a\":\"b\",}", "{\"a\":\"b\"}x", "{\"a\":\"\\x\"}",
						"{\"a\":\"\\ud800\"}", "{\"a\":\"\\u0000\"}", "{\"a\":\"b\",\"a\":\"c\"}", "{\"a\":\"\n\"}",
						"{\"z\":[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]],\"a\":\"b\"}" };

	(void)state;
	assert_int_equal(json(" { \"x\" : [1, {\"a\": \"no\"}, null], \"a\" : \"y\\\"\\n\\u20ac\" } ", "a", "y\"\n\xe2\x82\xac"), 0);
	assert_int_equal(json("{\"a\":\"\"}", "a", ""), 0);
	assert_int_equal(json("{}", "a", ""), -ENOENT);
	assert_int_equal(json("{\"a\":null,\"b\":-1.5e3,\"c\":true}", "a", ""), -ENOENT);
	for (size_t i = 0; i < CL_ARRAY_LEN(bad_json); i++)
		assert_int_equal(json(bad_json[i], "a", "?"), ERR_CORRUPT);
}

static void test_secret(void **state)
{
	struct secret *s;
	int fds[2];

	(void)state;
	assert_int_equal(secret_read_file("/nonexistent/x", 10, &s), -ENOENT);
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(write(fds[1], "0123456789", 10), 10);
	close(fds[1]);
	assert_int_equal(secret_read_fd(fds[0], 9, &s), -EFBIG);
	close(fds[0]);
	s = secret_new("abc", 3);
	assert_non_null(s);
	assert_int_equal(s->len, 3);
	assert_string_equal(s->text, "abc");
	secret_free(s);
	secret_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_environment, setup, teardown),
		cmocka_unit_test_setup_teardown(test_profiles, setup, teardown),
		cmocka_unit_test_setup_teardown(test_profile_settings, setup, teardown),
		cmocka_unit_test_setup_teardown(test_process, setup, teardown),
		cmocka_unit_test_setup_teardown(test_web_identity, setup, teardown),
		cmocka_unit_test_setup_teardown(test_assume_role, setup, teardown),
		cmocka_unit_test_setup_teardown(test_container, setup, teardown),
		cmocka_unit_test_setup_teardown(test_instance, setup, teardown),
		cmocka_unit_test_setup_teardown(test_renewal, setup, teardown),
		cmocka_unit_test_setup_teardown(test_renewal_fails, setup, teardown),
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_secret),
	};

	logmsg_init("test_credentials", LOGMSG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
