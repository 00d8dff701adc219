/*
 * node_intent.c - what applying was about to do, in the index before it does it, until the index was told what became of it.
 *
 * An intent that is over goes in the transaction that says what lies there, and with it alone: if that fails, the look that follows needs it, to tell what we did from what
 * somebody did.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "node_impl.h"

int node_intents_put(struct node *n, struct index_txn *t)
{
	struct buf b = BUF_INIT;
	uint32_t count = 0;
	int rc;

	for (const struct pathmap_item *i = n->intents.first; i; i = i->next)
		count += !((const struct intent *)(const void *)i)->over;
	buf_u32(&b, count);
	for (struct pathmap_item *i = n->intents.first; i; i = i->next) {
		if (((struct intent *)(void *)i)->over)
			continue;
		buf_str16(&b, i->path, i->len);
		entry_encode(&((struct intent *)(void *)i)->entry, &b);
		buf_u8(&b, ((struct intent *)(void *)i)->in_place);
		if (((struct intent *)(void *)i)->in_place)
			entry_encode(&((struct intent *)(void *)i)->from, &b);
	}
	rc = b.err ? b.err : index_value_put(t, NODE_VALUE_INTENTS, b.data, b.len);
	buf_free(&b);
	return rc;
}

static void free_intent(struct intent *i)
{
	if (!i)
		return;
	entry_free(&i->entry);
	entry_free(&i->from);
	free(i);
}

void node_intents_end(struct node *n, bool committed)
{
	for (struct pathmap_item *i = n->intents.first, *next; i; i = next) {
		struct intent *x = (struct intent *)(void *)i;

		next = i->next;
		if (x->over && committed) {
			pathmap_remove(&n->intents, i);
			free_intent(x);
		} else {
			x->over = false;
		}
	}
}

int node_intent(struct node *n, const char *path, const struct entry *e, const struct entry *from)
{
	struct intent *i = calloc(1, sizeof *i);
	int rc = i ? entry_copy(e, &i->entry) : -ENOMEM;

	if (!rc && from) {
		i->in_place = true;
		rc = entry_copy(from, &i->from);
	}
	node_intent_drop(n, path);
	if (!rc)
		rc = pathmap_add(&n->intents, path, strlen(path), &i->at);
	if (rc)
		free_intent(i);
	else
		n->intent_news = true;
	return rc;
}

void node_intent_over(struct node *n, const char *path)
{
	struct pathmap_item *i = pathmap_get(&n->intents, path, strlen(path));

	if (!i)
		return;
	((struct intent *)(void *)i)->over = true;
	n->intent_news = true;
}

void node_intent_drop(struct node *n, const char *path)
{
	struct pathmap_item *i = pathmap_get(&n->intents, path, strlen(path));

	if (!i)
		return;
	pathmap_remove(&n->intents, i);
	free_intent((struct intent *)(void *)i);
	n->intent_news = true;
}

int node_intents_get(struct node *n, struct index_txn *t)
{
	struct buf b = BUF_INIT;
	struct cursor c;
	uint32_t count;
	int rc = index_value_get(t, NODE_VALUE_INTENTS, &b);

	c = cursor_make(b.data, b.len);
	count = rc ? 0 : cursor_u32(&c);
	if (rc == -ENOENT)
		rc = 0;
	for (uint32_t k = 0; !rc && k < count; k++) {
		struct intent *i = calloc(1, sizeof *i);
		size_t len;
		const char *path = (const char *)cursor_str16(&c, &len);

		rc = i ? path ? entry_decode(&c, &i->entry) : ERR_CORRUPT : -ENOMEM;
		if (!rc && (i->in_place = cursor_u8(&c)))
			rc = entry_decode(&c, &i->from);
		if (!rc)
			rc = c.err ? c.err : pathmap_add(&n->intents, path, len, &i->at);
		if (rc)
			free_intent(i);
	}
	buf_free(&b);
	return rc;
}

void node_intents_free(struct node *n)
{
	while (n->intents.first) {
		struct intent *x = (struct intent *)(void *)n->intents.first;

		pathmap_remove(&n->intents, &x->at);
		free_intent(x);
	}
	pathmap_free(&n->intents);
}
