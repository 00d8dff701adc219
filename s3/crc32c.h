/* crc32c.h - CRC-32C (Castagnoli), as S3's x-amz-checksum-crc32c has it. With SSE4.2 where the processor has it. */
#ifndef CLONELOVE_CRC32C_H
#define CLONELOVE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Continues `crc` (0 to begin with) over len bytes. */
uint32_t crc32c(uint32_t crc, const void *p, size_t len);
/* The same by table, on every processor: what the tests compare with. */
uint32_t crc32c_table(uint32_t crc, const void *p, size_t len);

#endif
