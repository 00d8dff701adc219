/* cmd_drain.c - progress of a drain, as told by the mount. No state beyond the struct. */
#include <string.h>

#include "cmd_drain.h"

void cmd_drain_begin(struct cmd_drain *d, const char *what)
{
	memset(d, 0, sizeof(*d));
	d->bar.fd = -1;
	progress_begin(&d->bar, what, 0);
}

int cmd_drain_line(void *user, const char *line)
{
	struct cmd_drain *d = user;
	struct json_object *o = json_tokener_parse(line), *x;
	uint64_t total = atomic_load(&d->bar.total);

	if (o && json_object_object_get_ex(o, "progress", &x)) {
		d->bytes_left = json_object_get_uint64(x);
		if (d->bytes_left > total)
			atomic_store(&d->bar.total, total = d->bytes_left);
		atomic_store(&d->bar.done, total - d->bytes_left);
		progress_draw(&d->bar);
	}
	if (o && json_object_object_get_ex(o, "pid", &x))
		d->pid = json_object_get_int(x);
	json_object_put(o);
	return 0;
}

void cmd_drain_end(struct cmd_drain *d)
{
	progress_end(&d->bar);
}
