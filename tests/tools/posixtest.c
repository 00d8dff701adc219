/*
 * posixtest.c - asks a file system in over 2,000 assertions whether it is one (see posix/posix.h). The parts are compiled as
 * one unit, so that every program of tests/tools is one source file for make.
 */
#include "posix/main.c"
#include "posix/names.c"
#include "posix/perm.c"
#include "posix/data.c"
#include "posix/attrs.c"
#include "posix/misc.c"
#include "posix/calls.c"
#include "posix/more.c"
#include "posix/sockets.c"
