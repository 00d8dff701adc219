/*
 * treetest.c - random operations of several processes on two directory trees that must stay the same (see tree/tree.h). The parts
 * are compiled as one unit, so that every program of tests/tools is one source file for make.
 */
#include "tree/main.c"
#include "tree/names.c"
#include "tree/files.c"
#include "tree/compare.c"
