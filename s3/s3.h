/* s3.h - what the S3 backend offers beside the table of store.h. For tests and set-up tools. */
#ifndef CLONELOVE_S3_H
#define CLONELOVE_S3_H

struct store;

/* Creates the bucket of a store opened by store_s3_open. Blocking. 0 also when it is already ours; else an error with a message. */
int s3_create_bucket(struct store *s);

#endif
