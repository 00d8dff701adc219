/*
 * s3_xml_walk.h - one pass over a document: each element with its text, by
 * local name, with the names of the elements around it. Private to s3_xml*.c.
 */
#ifndef CLONELOVE_S3_XML_WALK_H
#define CLONELOVE_S3_XML_WALK_H

#include <stdbool.h>
#include <stddef.h>

enum { S3_XML_DEPTH = 8, S3_XML_NAME = 64, S3_XML_TEXT = 16384 };

struct s3_xml_walk {
	/* The element `name` (depth 0 = root) ended; `text` (NUL at its end) is its own text when it has no children, else "".
	 * A non-zero return stops the walk and is its result. May change the text in place. */
	int (*end)(void *user, const struct s3_xml_walk *w, unsigned depth, const char *name, char *text, size_t len);
	void *user;
	/* The path down to the element: names[0] is the root. */
	char names[S3_XML_DEPTH][S3_XML_NAME];
};

/* Walks a whole document. Returns 0, what end() returned, ERR_CORRUPT or -ENOMEM. */
int s3_xml_walk(const void *data, size_t len, struct s3_xml_walk *w);

#endif
