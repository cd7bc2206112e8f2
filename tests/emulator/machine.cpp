// A GPU in software: runs the instructions that ptx.py reads from a kernel's PTX.
//
// Programs run one after another. A warp's 32 lanes share an instruction where they stand at the same
// one, but are threads of their own, as on Volta and later: a group is those that go on together.
// Which group runs next, and where groups part and join, is the schedule's choice.
#include <numeric>
#include <random>
#include <set>

#include "arithmetic.h"
#include "launch.h"

enum State { RUNS, AT_BARRIER, AT_SHUFFLE, ENDED };
struct Group {
  i32 at;
  u32 lanes;
  State state;
};
struct Warp {
  std::vector<u64> registers;
  std::vector<Group> groups;
  u64* of(i32 number) { return &registers[size_t(number) * LANES]; }
};

class Machine {
 public:
  explicit Machine(const Launch& launch)
      : launch(launch), memory(launch.buffers, launch.buffers_count), warps(launch.warps), random(launch.seed) {}

  void run() {
    std::vector<i32> order(launch.programs);
    std::iota(order.begin(), order.end(), 0);
    if (launch.schedule != IN_ORDER) std::shuffle(order.begin(), order.end(), random);
    for (i32 number : order) {
      start(number);
      steps = 0;
      while (advance()) {}
    }
  }

  const Launch& launch;
  Memory memory;

 private:
  std::vector<Warp> warps;
  std::mt19937_64 random;
  i32 program = 0, barriers = 0;
  u64 steps = 0;

  u32 below(u32 limit) { return u32(random() % limit); }
  // Lanes of a warp run in lockstep, unless a branch parts them.
  bool lockstep() const { return launch.schedule == IN_ORDER || launch.schedule == BURSTS; }
  Access access(i32 thread, i32 at) const { return {program, barriers, thread, at}; }

  void start(i32 number) {
    program = number;
    barriers = 0;
    i32 shared = launch.buffers_count - 1;
    std::memset(memory.buffers[shared].data, 0xff, memory.buffers[shared].size);
    memory.forget(shared);
    for (i32 w = 0; w < launch.warps; w++) {
      Warp& warp = warps[w];
      // A register that is read before it is written shows.
      warp.registers.assign(size_t(launch.registers) * LANES, 0xffdeadbeefc0ffeeull);
      for (i32 k = 0; k < launch.constants_count; k++)
        std::fill_n(warp.of(launch.constants[k].slot), LANES, launch.constants[k].value);
      for (i32 lane = 0; lane < LANES; lane++) {
        const i32 values[] = {w * LANES + lane, program, launch.warps * LANES, launch.programs};
        for (i32 k = 0; k < 4; k++)
          if (launch.special[k] >= 0) warp.of(launch.special[k])[lane] = u64(values[k]);
      }
      warp.groups.assign(1, {0, ALL_LANES, RUNS});
      if (launch.schedule == SINGLE) {
        warp.groups.clear();
        for (i32 lane = 0; lane < LANES; lane++) warp.groups.push_back({0, 1u << lane, RUNS});
      }
    }
  }

  // Lets one group run for a while. False when no thread can go on.
  bool advance() {
    struct Choice { i32 warp; size_t group; };
    std::vector<Choice> ready;
    for (i32 w = 0; w < launch.warps; w++) {
      std::vector<Group>& groups = warps[w].groups;
      if (lockstep()) join(groups);
      size_t first = groups.size();
      for (size_t g = 0; g < groups.size(); g++) {
        if (groups[g].state != RUNS) continue;
        if (!lockstep()) ready.push_back({w, g});
        // Those who are behind catch up, and all go on together.
        else if (first == groups.size() || groups[g].at < groups[first].at) first = g;
      }
      if (lockstep() && first < groups.size()) ready.push_back({w, first});
    }
    if (ready.empty()) return pass_barrier();
    Choice chosen = launch.schedule == IN_ORDER ? ready[0] : ready[below(u32(ready.size()))];
    if (launch.schedule == SPLITS) part_or_join(warps[chosen.warp].groups, chosen.group);
    bool whole = warps[chosen.warp].groups.size() == 1;
    u32 burst = lockstep() && !whole ? 1
                : launch.schedule == BURSTS || launch.schedule == SPLITS ? 1 + below(1 + below(400))
                                                                         : ~0u;
    while (burst-- && step(chosen.warp, chosen.group)) {}
    return true;
  }

  static void join(std::vector<Group>& groups) {
    for (size_t i = 0; i < groups.size(); i++)
      for (size_t j = groups.size() - 1; j > i; j--)
        if (groups[j].at == groups[i].at && groups[j].state == groups[i].state) {
          groups[i].lanes |= groups[j].lanes;
          groups.erase(groups.begin() + j);
        }
  }

  void part_or_join(std::vector<Group>& groups, size_t chosen) {
    if (below(3) == 0) {
      u32 kept = groups[chosen].lanes & u32(random());
      if (!kept || kept == groups[chosen].lanes) return;
      groups.push_back({groups[chosen].at, groups[chosen].lanes & ~kept, RUNS});
      groups[chosen].lanes = kept;
      return;
    }
    // Into the chosen one, from behind it alone, so that its number stays.
    for (size_t j = groups.size() - 1; j > chosen; j--)
      if (groups[j].state == RUNS && groups[j].at == groups[chosen].at && below(2)) {
        groups[chosen].lanes |= groups[j].lanes;
        groups.erase(groups.begin() + j);
      }
  }

  // All threads wait or have ended: those at a barrier go on if no other is still to come.
  bool pass_barrier() {
    std::set<i32> where;
    bool ended = false, stuck = false;
    for (i32 w = 0; w < launch.warps; w++)
      for (const Group& group : warps[w].groups) {
        ended |= group.state == ENDED;
        if (group.state == AT_BARRIER) where.insert(group.at);
        if (group.state == AT_SHUFFLE) {
          stuck = true;
          memory.report(NEVER_ENDS, access(w * LANES + __builtin_ctz(group.lanes), group.at));
        }
      }
    if (where.empty() || stuck) return false;
    barriers++;
    for (Warp& warp : warps)
      for (Group& group : warp.groups)
        if (group.state == AT_BARRIER) group = {group.at + 1, group.lanes, RUNS};
    Access here = access(-1, *where.rbegin());
    if (where.size() > 1) memory.report(BARRIERS_DIFFER, here, -1, 0, NO_RACE, *where.begin());
    if (ended) memory.report(BARRIER_MISSED, here);
    return true;
  }

  // One instruction of a group. False if it cannot go on at once.
  bool step(i32 w, size_t g) {
    Warp& warp = warps[w];
    const Group group = warp.groups[g];
    if (++steps > launch.most_steps) return give_up(access(w * LANES + __builtin_ctz(group.lanes), group.at));
    const Instruction& it = launch.code[group.at];
    u32 lanes = group.lanes;
    if (it.predicate >= 0)
      for (i32 lane = 0; lane < LANES; lane++)
        if ((warp.of(it.predicate)[lane] != 0) == (it.negated != 0)) lanes &= ~(1u << lane);
    switch (it.operation) {
      case COMPUTE: compute(warp, it, lanes, w, group.at); break;
      case PARAMETER: {
        u64 value = 0;
        std::memcpy(&value, launch.parameters + it.offset, it.width);
        each(lanes, [&](i32 lane) { warp.of(it.to[0])[lane] = value; });
        break;
      }
      case LOAD:
      case STORE: each(lanes, [&](i32 lane) { move(warp, it, lane, access(w * LANES + lane, group.at)); }); break;
      case BUTTERFLY:
      case INDEXED: return shuffle(warp, g, it);
      default:
        if (lanes) return leave(warp, g, it, lanes, w);
    }
    warp.groups[g].at++;
    return true;
  }

  bool give_up(const Access& here) {
    memory.report(NEVER_ENDS, here);
    for (Warp& warp : warps)
      for (Group& group : warp.groups) group.state = ENDED;
    return false;
  }

  template <class Function>
  static void each(u32 lanes, Function function) {
    for (i32 lane = 0; lane < LANES; lane++)
      if (lanes >> lane & 1) function(lane);
  }

  void compute(Warp& warp, const Instruction& it, u32 lanes, i32 w, i32 at) {
    u64* to = warp.of(it.to[0]);
    const u64* divisor = warp.of(it.from[1]);
    if (it.divides)
      each(lanes, [&](i32 lane) {
        if (!divisor[lane]) memory.report(DIVISION_BY_ZERO, access(w * LANES + lane, at));
      });
    ARITHMETIC[it.computation].compute(to, warp.of(it.from[0]), divisor, warp.of(it.from[2]), lanes);
    if (it.approximate && launch.noise)
      each(lanes, [&](i32 lane) {
        u64 exponent = to[lane] >> 23 & 255;
        if (exponent > 1 && exponent < 254) to[lane] += below(2 * launch.noise + 1) - u64(launch.noise);
      });
  }

  void move(Warp& warp, const Instruction& it, i32 lane, const Access& by) {
    u64 address = warp.of(it.from[0])[lane] + u64(it.offset);
    if (it.shared) address = memory.buffers.back().base + u32(address);
    for (i32 k = 0; k < it.count; k++) {
      u64& value = warp.of(it.to[k])[lane];
      if (it.operation == LOAD) value = memory.load(address, it.width, k, it.width * it.count, by);
      else memory.store(address, it.width, k, it.width * it.count, by, value);
    }
  }

  // Waits until all lanes of the warp are here.
  bool shuffle(Warp& warp, size_t g, const Instruction& it) {
    i32 at = warp.groups[g].at;
    warp.groups[g].state = AT_SHUFFLE;
    u32 here = 0;
    for (const Group& group : warp.groups)
      if (group.state == AT_SHUFFLE && group.at == at) here |= group.lanes;
    if (here != ALL_LANES) return false;
    u64 values[LANES];
    std::copy_n(warp.of(it.from[0]), LANES, values);
    for (i32 lane = 0; lane < LANES; lane++) {
      u32 other = u32(warp.of(it.from[1])[lane]);
      warp.of(it.to[0])[lane] = values[(it.operation == BUTTERFLY ? lane ^ other : other) % LANES];
    }
    for (Group& group : warp.groups)
      if (group.at == at) group = {at + 1, group.lanes, RUNS};
    return true;
  }

  // A branch, a barrier or the end; lanes without its predicate go on.
  bool leave(Warp& warp, size_t g, const Instruction& it, u32 lanes, i32 w) {
    Group& group = warp.groups[g];
    u32 others = group.lanes & ~lanes;
    i32 at = group.at;
    group.lanes = lanes;
    if (it.operation == BRANCH) group.at = it.target;
    else group.state = it.operation == BARRIER ? AT_BARRIER : ENDED;
    if (others) {
      warp.groups.push_back({at + 1, others, RUNS});
      if (it.operation == BRANCH && lockstep()) memory.report(LANES_PART, access(w * LANES + __builtin_ctz(others), at));
    }
    return it.operation == BRANCH && !others;
  }
};

extern "C" int computation(const char* name) {
  int number = 0;
  for (const Arithmetic& one : ARITHMETIC) {
    if (!std::strcmp(one.name, name)) return number;
    number++;
  }
  return -1;
}

extern "C" const char* kind_of_finding(int kind) {
#define X(name, text) text,
  static const char* texts[] = {KINDS(X)};
#undef X
  return texts[kind];
}

// Returns how many kinds of findings there are; the first of them are written.
extern "C" int run(const Launch* launch) {
  Machine machine(*launch);
  machine.run();
  i32 count = 0;
  for (const auto& found : machine.memory.findings)
    if (count++ < launch->most_findings) launch->findings[count - 1] = found.second;
  return count;
}
