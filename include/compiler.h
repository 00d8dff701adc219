/* compiler.h - the GNU attributes this project uses, behind names (gcc and clang). */
#ifndef CLONELOVE_COMPILER_H
#define CLONELOVE_COMPILER_H

#define CL_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define CL_MUST_CHECK __attribute__((warn_unused_result))
#define CL_UNUSED __attribute__((unused))
#define CL_NORETURN __attribute__((noreturn))
#define CL_CLEANUP(fn) __attribute__((cleanup(fn)))

#define CL_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
/* The struct that holds `member` at address `ptr`. */
#define CL_CONTAINER_OF(ptr, type, member) \
	((type *)(void *)((char *)(ptr) - offsetof(type, member)))

#endif
