/* fuzz_credentials.c - any bytes as a shared configuration file and as the JSON of a credential service. What STS answers is in fuzz_s3_xml. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "aws_config.h"
#include "credentials_impl.h"
#include "secret.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_json(const uint8_t *data, size_t size, const char *name)
{
	struct secret *s;

	if (aws_json_get((const char *)data, size, name, &s) != 0)
		return;
	if (s->text[s->len] != '\0' || s->len > size)
		abort();
	secret_free(s);
}

/* As the answer of the instance's, a container's service, or of a credential_process. */
static void try_answer(const uint8_t *data, size_t size, const char *token)
{
	struct secret *text = secret_new((const char *)data, size);
	struct credentials_set *s = credentials_set_new("fuzz");

	if (text && s && credentials_from_json("it", text, token, s) == 0 && (!s->access_key || !s->secret_key || s->expires_s < 0))
		abort();
	credentials_set_free(s);
	secret_free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const keys[] = { "aws_access_key_id", "region", "s3.endpoint_url", "a.b" };
	struct secret *text = secret_new((const char *)data, size);
	struct aws_config *c;

	if (!text)
		return 0;
	if (aws_config_parse(text, &c) == 0) {
		for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
			const char *v = aws_config_get(c, "default", keys[i]);

			if (v && strlen(v) > size)
				abort();
		}
		aws_config_free(c);
	}
	try_json(data, size, "AccessKeyId");
	try_json(data, size, "Token");
	try_answer(data, size, "Token");
	try_answer(data, size, "SessionToken");
	return 0;
}
