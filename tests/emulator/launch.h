// What machine.py hands over: a launch, in the layout of its structures there.
#pragma once
#include "memory.h"

enum Operation { COMPUTE, PARAMETER, LOAD, STORE, BRANCH, BARRIER, BUTTERFLY, INDEXED, EXIT };
enum Schedule {
  IN_ORDER,  // each warp in turn, until it waits
  BURSTS,    // a random warp for some instructions
  SPLITS,    // the same, and lanes of a warp part and join at any instruction
  SINGLE,    // a random thread, until it waits
};

struct Instruction {
  i32 operation, computation;
  i32 predicate, negated;  // register or -1
  i32 to[4], from[3];      // registers; `to` are also the values that are stored
  i32 target;              // of a branch
  i32 width, count;        // bytes of a value and number of values of a load or store
  i32 shared, approximate, divides;
  i64 offset;
};

struct Constant {
  u64 value;
  i32 slot;
};

struct Launch {
  const Instruction* code;
  i32 instructions, registers;
  const unsigned char* parameters;
  const Constant* constants;
  i32 constants_count;
  const i32* special;  // registers of the thread, the program, threads and programs, or -1
  const Buffer* buffers;  // the last is the shared memory of a program
  i32 buffers_count, warps, programs, schedule;
  u64 seed, most_steps;
  i32 noise;  // most units in the last place that an approximate result is off by
  Finding* findings;
  i32 most_findings;
};
