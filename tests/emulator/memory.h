// Memory as the threads of a launch use it, and what is wrong with how they do.
//
// Two accesses of one place, one of them a write, are in order only where a barrier of their program
// stands between them. So each place remembers who wrote and read it since the last barrier, and a
// race is found whatever order the threads happened to run in.
#pragma once
#include <cstdint>
#include <cstring>
#include <map>
#include <tuple>
#include <vector>

using i32 = int32_t;
using i64 = int64_t;
using u16 = uint16_t;
using u32 = uint32_t;
using u64 = uint64_t;

constexpr int LANES = 32, MOST_THREADS = 256;
constexpr u32 ALL_LANES = ~0u;

#define KINDS(X)                                                     \
  X(READ_AFTER_WRITE, "read after write without a barrier")          \
  X(WRITE_AFTER_READ, "write after read without a barrier")          \
  X(WRITE_AFTER_WRITE, "write after write without a barrier")        \
  X(OUT_OF_BOUNDS, "access outside of every buffer")                 \
  X(MISALIGNED, "misaligned access")                                 \
  X(UNWRITTEN, "read of what nobody wrote")                          \
  X(INPUT_WRITTEN, "write to an input")                              \
  X(BARRIERS_DIFFER, "threads meet at different barriers")           \
  X(BARRIER_MISSED, "threads have ended while others wait at a barrier") \
  X(NEVER_ENDS, "threads never end")                                 \
  X(LANES_PART, "lanes of a warp part at a branch")                  \
  X(DIVISION_BY_ZERO, "integer division by 0")
enum Kind {
#define X(name, text) name,
  KINDS(X)
#undef X
};

// How far apart the two threads of a race are.
enum Scope { NO_RACE, IN_A_WARP, ACROSS_WARPS, ACROSS_PROGRAMS };

// All findings that are alike are one, with the first one's particulars. -1 is nothing.
struct Finding {
  i32 kind, scope;
  i32 earlier, later;  // instructions, the finding's own being the later
  i32 buffer, earlier_thread, later_thread, program, barriers;
  u64 place, count;
};

struct Buffer {
  u64 base, size;
  unsigned char* data;
  u32* writes;  // of each element, counted
  i32 element, written;  // its bytes; 1 if the kernel fills it, 0 for an input
};

// One element of a buffer that the kernel fills.
struct Cell {
  i32 writer = -1, write_program = -1, write_barriers = 0, write_instruction = -1;
  i32 read_program = -1, read_barriers = 0, read_instruction = -1;
  i32 other_program = -1;  // that read it before
  u64 readers[MOST_THREADS / 64] = {};
};

// The thread that runs, where it is, and how many barriers it has passed.
struct Access {
  i32 program, barriers, thread, instruction;
};

class Memory {
 public:
  Memory(const Buffer* first, int count) : buffers(first, first + count), cells(count) {
    for (int k = 0; k < count; k++)
      if (first[k].written) forget(k);
  }

  void forget(int buffer) {
    cells[buffer].assign((buffers[buffer].size + buffers[buffer].element - 1) / buffers[buffer].element, Cell());
  }

  // `part` is one of the values that an instruction moves, `whole` all the bytes that it moves.
  u64 load(u64 address, int part, int number, int whole, const Access& by) {
    int k = find(address, part, number, whole, by);
    if (k < 0) return ~0ull;
    u64 place = address + number * part - buffers[k].base, value = 0;
    std::memcpy(&value, buffers[k].data + place, part);
    for (Cell* cell : touched(k, place, part)) read(*cell, k, place, by);
    return value;
  }

  void store(u64 address, int part, int number, int whole, const Access& by, u64 value) {
    int k = find(address, part, number, whole, by);
    if (k < 0) return;
    u64 place = address + number * part - buffers[k].base;
    if (!buffers[k].written) return report(INPUT_WRITTEN, by, k, place);
    bool same = !std::memcmp(buffers[k].data + place, &value, part);
    std::memcpy(buffers[k].data + place, &value, part);
    for (Cell* cell : touched(k, place, part)) write(*cell, k, place, by, same);
    for (u64 at = place / buffers[k].element; at <= (place + part - 1) / buffers[k].element; at++)
      buffers[k].writes[at]++;
  }

  void report(Kind kind, const Access& by, i32 buffer = -1, u64 place = 0, Scope scope = NO_RACE,
              i32 earlier = -1, i32 earlier_thread = -1) {
    Finding& found = findings[{kind, scope, earlier, by.instruction, buffer}];
    if (!found.count)
      found = {kind, scope, earlier, by.instruction, buffer, earlier_thread, by.thread, by.program, by.barriers, place, 0};
    found.count++;
  }

  std::vector<Buffer> buffers;
  std::map<std::tuple<i32, i32, i32, i32, i32>, Finding> findings;

 private:
  std::vector<std::vector<Cell>> cells;
  std::vector<Cell*> found_cells;

  // The buffer's number, or -1. Buffers lie 2^40 bytes apart.
  int find(u64 address, int part, int number, int whole, const Access& by) {
    u64 k = (address >> 40) - 1;
    bool inside = k < buffers.size() && address >= buffers[k].base;
    u64 end = address + (number + 1) * part;
    if (!inside || end > buffers[k].base + buffers[k].size) {
      report(OUT_OF_BOUNDS, by, k < buffers.size() ? i32(k) : -1, inside ? address - buffers[k].base : address);
      return -1;
    }
    if (address % whole) report(MISALIGNED, by, i32(k), address - buffers[k].base);
    return int(k);
  }

  const std::vector<Cell*>& touched(int k, u64 place, int bytes) {
    found_cells.clear();
    if (buffers[k].written)
      for (u64 at = place / buffers[k].element; at <= (place + bytes - 1) / buffers[k].element; at++)
        found_cells.push_back(&cells[k][at]);
    return found_cells;
  }

  static Scope between(i32 one, i32 other) {
    return one / LANES == other / LANES ? IN_A_WARP : ACROSS_WARPS;
  }

  void read(Cell& cell, int k, u64 place, const Access& by) {
    if (cell.writer < 0)
      report(UNWRITTEN, by, k, place);
    else if (cell.write_program != by.program)
      report(READ_AFTER_WRITE, by, k, place, ACROSS_PROGRAMS, cell.write_instruction, cell.writer);
    else if (cell.write_barriers == by.barriers && cell.writer != by.thread)
      report(READ_AFTER_WRITE, by, k, place, between(cell.writer, by.thread), cell.write_instruction, cell.writer);
    if (cell.read_program != by.program || cell.read_barriers != by.barriers) {
      if (cell.read_program != by.program) cell.other_program = cell.read_program;
      cell.read_program = by.program;
      cell.read_barriers = by.barriers;
      std::memset(cell.readers, 0, sizeof cell.readers);
    }
    cell.read_instruction = by.instruction;
    cell.readers[by.thread / 64] |= 1ull << by.thread % 64;
  }

  void write(Cell& cell, int k, u64 place, const Access& by, bool same_value) {
    if (cell.writer >= 0 && cell.write_program != by.program) {
      report(WRITE_AFTER_WRITE, by, k, place, ACROSS_PROGRAMS, cell.write_instruction, cell.writer);
    } else if (cell.writer >= 0 && cell.write_barriers == by.barriers && cell.writer != by.thread) {
      // Lanes of a warp may store one value with one instruction: any order gives the same.
      Scope scope = between(cell.writer, by.thread);
      if (scope != IN_A_WARP || cell.write_instruction != by.instruction || !same_value)
        report(WRITE_AFTER_WRITE, by, k, place, scope, cell.write_instruction, cell.writer);
    }
    bool elsewhere = cell.read_program >= 0 && cell.read_program != by.program;
    if (elsewhere || (cell.other_program >= 0 && cell.other_program != by.program))
      report(WRITE_AFTER_READ, by, k, place, ACROSS_PROGRAMS, cell.read_instruction);
    if (cell.read_program == by.program && cell.read_barriers == by.barriers) {
      i32 nearest = -1;
      for (i32 thread = 0; thread < MOST_THREADS; thread++) {
        if (thread == by.thread || !(cell.readers[thread / 64] >> thread % 64 & 1)) continue;
        nearest = thread;
        // Of the two, a race between warps is the worse one.
        if (between(thread, by.thread) == ACROSS_WARPS) break;
      }
      if (nearest >= 0)
        report(WRITE_AFTER_READ, by, k, place, between(nearest, by.thread), cell.read_instruction, nearest);
    }
    cell.writer = by.thread;
    cell.write_program = by.program;
    cell.write_barriers = by.barriers;
    cell.write_instruction = by.instruction;
  }
};
