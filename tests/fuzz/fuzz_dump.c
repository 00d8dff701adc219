/* fuzz_dump.c - clonefs dump of anything: text without control characters, or JSON that parses. The first byte chooses the name. */
#include <json-c/json.h>

#include "fuzz.h"
#include "object.h"

static const char *const keys[] = {
	"volume", "epochs/0000000007", "heartbeat", "manifests/0000000003/000000000044", "log/0000000007/000000000008",
	"log/0000000007/000000000000", "runs/000102030405060708090a0b0c0d0e0f", "no/such/object",
};

/* A cut around these bytes: the first 64 are its data, the rest its run, which may be anything. */
static uint8_t *make_cut(uint8_t *p, size_t *io_size)
{
	static struct object_table t;
	size_t data_len = *io_size < 64 ? *io_size : 64;
	struct object_footer f = { .type = OBJECT_CUT, .epoch = 7, .slot = 8, .first_lsn = 1, .segment_id = 3, .data_len = (uint32_t)data_len };
	struct buf out = BUF_INIT;

	fuzz_fix_run(p + data_len, *io_size - data_len);
	FUZZ_ASSERT(object_encode_cut(&f, p, NULL, p + data_len, *io_size - data_len, 0, &t, &out) == 0);
	free(p);
	*io_size = out.len;
	p = fuzz_copy(out.data, out.len);
	buf_free(&out);
	return p;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf text = BUF_INIT, json = BUF_INIT;
	uint8_t *p;
	const char *key;
	int rc;

	if (size < 1)
		return 0;
	key = keys[data[0] / 2 % 8];
	p = fuzz_copy(data + 1, --size);
	if ((data[0] & 1) && key[0] == 'r')
		fuzz_fix_run(p, size);
	else if ((data[0] & 1) && key == keys[4])
		p = make_cut(p, &size);
	else if (data[0] & 1)
		fuzz_fix_frame(p, size);
	rc = object_dump(key, p, size, false, &text);
	FUZZ_ASSERT(object_dump(key, p, size, true, &json) == rc);
	if (rc) {
		FUZZ_ASSERT(text.len == 0 && json.len == 0);
	} else {
		for (size_t i = 0; i < text.len; i++)
			FUZZ_ASSERT((text.data[i] >= 0x20 || text.data[i] == '\n') && text.data[i] != 0x7f);
		buf_u8(&json, 0);
		json_object *o = json_tokener_parse((const char *)json.data);

		FUZZ_ASSERT(o != NULL && json_object_is_type(o, json_type_object));
		json_object_put(o);
	}
	buf_free(&text);
	buf_free(&json);
	free(p);
	return 0;
}
