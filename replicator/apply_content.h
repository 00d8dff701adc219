/* apply_content.h - the content of a file that is being made (apply.c's own). */
#ifndef CLONELOVE_APPLY_CONTENT_H
#define CLONELOVE_APPLY_CONTENT_H

#include "apply.h"

/* The temp i->made with the item's content, neither dressed nor synced. -EILSEQ: what was to be had here is not that content, and the temp is gone. Other errors: it may be there. */
int apply_content(struct tree *t, struct apply_item *i);

#endif
