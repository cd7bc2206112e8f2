// What a lane computes: PTX's names, and expressions of its operands a, b and c.
//
// A register is 64 bits; what is narrower stands in its lower part, with zeros above. Approximate
// instructions are computed exactly, or off by a few units in the last place if the launch says so.
#pragma once
#include <algorithm>
#include <cmath>

#include "memory.h"

using Computation = void (*)(u64* to, const u64* a, const u64* b, const u64* c, u32 lanes);
struct Arithmetic {
  const char* name;
  Computation compute;
};

static inline i32 s(u64 bits) { return i32(bits); }
static inline u32 w(u64 bits) { return u32(bits); }
static inline i64 l(u64 bits) { return i64(bits); }
static inline float f(u64 bits) {
  u32 low = u32(bits);
  float value;
  std::memcpy(&value, &low, 4);
  return value;
}
static inline u64 bits(float value) {
  u32 found;
  std::memcpy(&found, &value, 4);
  return found;
}

static inline float flushed(float value) { return std::fpclassify(value) == FP_SUBNORMAL ? std::copysign(0.0f, value) : value; }
static inline bool unordered(float one, float other) { return std::isnan(one) || std::isnan(other); }
// PTX's minimum and maximum leave out a NaN; with .NaN they keep it.
static inline float least(float one, float other) { return std::fmin(one, other); }
static inline float most(float one, float other) { return std::fmax(one, other); }
static inline float nan_or(float one, float other, float value) { return unordered(one, other) ? std::nanf("") : value; }

static inline float of_half(u64 half) {
  u32 exponent = half >> 10 & 31, fraction = half & 1023;
  float size = exponent == 31 ? (fraction ? std::nanf("") : INFINITY)
               : exponent     ? std::ldexp(float(1024 + fraction), int(exponent) - 25)
                              : std::ldexp(float(fraction), -24);
  return half >> 15 & 1 ? -size : size;
}
// Rounded to the nearest, ties to even, by the machine's own rounding of a sum.
static inline u64 to_half(float value) {
  u64 sign = bits(value) >> 16 & 0x8000;
  float size = std::fabs(value);
  if (std::isnan(value)) return 0x7fff;
  if (size >= 65520.0f) return sign | 0x7c00;
  if (size < 6.103515625e-5f) return sign | u64(std::nearbyint(std::ldexp(size, 24)));
  int exponent;
  float fraction = std::frexp(size, &exponent);  // in [0.5, 1)
  // A fraction that is rounded up to 2048 goes on into the exponent, as it should.
  u64 digits = u64(std::nearbyint(std::ldexp(fraction, 11)));
  return sign | ((u64(exponent + 13) << 10) + digits);
}
static inline u64 to_bfloat16(float value) {
  if (std::isnan(value)) return 0x7fff;
  u64 whole = bits(value);
  return (whole + 0x7fff + (whole >> 16 & 1)) >> 16;
}

#define LANE_BY_LANE(expression)                                            \
  [](u64* to, const u64* A, const u64* B, const u64* C, u32 lanes) {        \
    for (int lane = 0; lane < LANES; lane++)                                \
      if (lanes >> lane & 1) {                                              \
        const u64 a = A[lane], b = B[lane], c = C[lane];                    \
        (void)a, (void)b, (void)c;                                          \
        to[lane] = (expression);                                            \
      }                                                                     \
  }
#define OP64(name, expression) {name, LANE_BY_LANE(u64(expression))},
#define OP32(name, expression) OP64(name, u32(expression))
#define OP16(name, expression) OP64(name, u16(expression))
#define REAL(name, expression) OP64(name, bits(expression))
#define COMPARED(type, as)                            \
  OP64("setp.eq." type, as(a) == as(b))               \
  OP64("setp.ne." type, as(a) != as(b))               \
  OP64("setp.lt." type, as(a) < as(b))                \
  OP64("setp.le." type, as(a) <= as(b))               \
  OP64("setp.gt." type, as(a) > as(b))                \
  OP64("setp.ge." type, as(a) >= as(b))

// By 0, PTX leaves the result open; Machine reports it.
static inline i64 quotient(i64 one, i64 other) { return !other ? -1 : other == -1 ? i64(0 - u64(one)) : one / other; }
static inline i64 rest(i64 one, i64 other) { return !other || other == -1 ? 0 : one % other; }
static inline u32 field(u32 from, u32 first, u32 count) { return u32(u64(from) >> first & ((1ull << std::min(count, 32u)) - 1)); }

static const Arithmetic ARITHMETIC[] = {
    REAL("add.f32", f(a) + f(b))
    REAL("sub.f32", f(a) - f(b))
    REAL("mul.f32", f(a) * f(b))
    REAL("fma.rn.f32", std::fma(f(a), f(b), f(c)))
    REAL("div.full.f32", f(a) / f(b))
    REAL("div.rn.f32", f(a) / f(b))
    REAL("rcp.rn.f32", 1.0f / f(a))
    REAL("sqrt.rn.f32", std::sqrt(f(a)))
    REAL("sqrt.approx.ftz.f32", flushed(std::sqrt(flushed(f(a)))))
    OP32("neg.f32", w(a) ^ 0x80000000u)
    OP32("abs.f32", w(a) & 0x7fffffffu)
    REAL("min.f32", least(f(a), f(b)))
    REAL("max.f32", most(f(a), f(b)))
    REAL("min.NaN.f32", nan_or(f(a), f(b), least(f(a), f(b))))
    REAL("max.NaN.f32", nan_or(f(a), f(b), most(f(a), f(b))))
    REAL("cvt.f32.f16", of_half(a))
    OP32("cvt.f32.bf16", w(a) << 16)
    OP16("cvt.rn.f16.f32", to_half(f(a)))
    OP16("cvt.rn.bf16.f32", to_bfloat16(f(a)))
    REAL("cvt.rn.f32.s32", float(s(a)))

    OP16("and.b16", a & b)
    OP16("or.b16", a | b)
    OP16("xor.b16", a ^ b)
    OP16("not.b16", ~a)
    OP16("add.s16", a + b)
    OP16("sub.s16", a - b)
    OP16("mul.lo.s16", a * b)
    OP16("shl.b16", w(b) > 15 ? 0 : a << w(b))
    OP16("shr.u16", w(b) > 15 ? 0 : u16(a) >> w(b))
    OP32("cvt.u32.u16", u16(a))
    OP16("cvt.u16.u32", a)

    OP32("add.s32", w(a) + w(b))
    OP32("sub.s32", w(a) - w(b))
    OP32("mul.lo.s32", w(a) * w(b))
    OP32("mad.lo.s32", w(a) * w(b) + w(c))
    OP32("div.s32", quotient(s(a), s(b)))
    OP32("div.u32", quotient(w(a), w(b)))
    OP32("rem.s32", rest(s(a), s(b)))
    OP32("rem.u32", rest(w(a), w(b)))
    OP32("min.s32", std::min(s(a), s(b)))
    OP32("max.s32", std::max(s(a), s(b)))
    OP32("min.u32", std::min(w(a), w(b)))
    OP32("max.u32", std::max(w(a), w(b)))
    OP32("min.relu.s32", std::max(0, std::min(s(a), s(b))))
    OP32("neg.s32", 0 - w(a))
    OP32("abs.s32", s(a) < 0 ? 0 - w(a) : w(a))
    OP32("not.b32", ~w(a))
    OP32("and.b32", w(a) & w(b))
    OP32("or.b32", w(a) | w(b))
    OP32("xor.b32", w(a) ^ w(b))
    OP32("bfe.u32", field(w(a), std::min(w(b) & 255, 32u), w(c) & 255))
    OP32("shl.b32", w(b) > 31 ? 0 : w(a) << w(b))
    OP32("shr.u32", w(b) > 31 ? 0 : w(a) >> w(b))
    OP32("shr.s32", s(a) >> std::min(w(b), 31u))

    OP64("add.s64", a + b)
    OP64("sub.s64", a - b)
    OP64("mul.lo.s64", a * b)
    OP64("mad.lo.s64", a * b + c)
    OP64("mul.wide.s32", i64(s(a)) * s(b))
    OP64("mul.wide.u32", u64(w(a)) * w(b))
    OP64("mad.wide.s32", i64(s(a)) * s(b) + l(c))
    OP64("mad.wide.u32", u64(w(a)) * w(b) + c)
    OP64("div.s64", quotient(l(a), l(b)))
    OP64("div.u64", b ? a / b : ~0ull)
    OP64("rem.s64", rest(l(a), l(b)))
    OP64("rem.u64", b ? a % b : 0)
    OP64("min.s64", std::min(l(a), l(b)))
    OP64("max.s64", std::max(l(a), l(b)))
    OP64("neg.s64", 0 - a)
    OP64("abs.s64", l(a) < 0 ? 0 - a : a)
    OP64("not.b64", ~a)
    OP64("and.b64", a & b)
    OP64("or.b64", a | b)
    OP64("xor.b64", a ^ b)
    OP64("shl.b64", w(b) > 63 ? 0 : a << w(b))
    OP64("shr.u64", w(b) > 63 ? 0 : a >> w(b))
    OP64("shr.s64", l(a) >> std::min(w(b), 63u))
    OP64("cvt.s64.s32", i64(s(a)))
    OP64("cvt.u64.u32", w(a))
    OP32("cvt.u32.u64", a)

    OP16("mov.b16", a)
    OP32("mov.b32", a)
    OP64("mov.b64", a)
    OP64("mov.pred", a != 0)
    // How the parser writes a move between a register and the parts of it.
    OP32("join.b16", u16(a) | u32(u16(b)) << 16)
    OP64("join.b32", w(a) | u64(w(b)) << 32)
    OP16("low.b16", a)
    OP16("high.b16", a >> 16)
    OP32("low.b32", a)
    OP32("high.b32", a >> 32)
    OP16("selp.b16", c ? a : b)
    OP32("selp.b32", c ? a : b)
    OP64("selp.b64", c ? a : b)

    OP64("and.pred", a & b)
    OP64("or.pred", a | b)
    OP64("xor.pred", a ^ b)
    OP64("not.pred", !a)
    COMPARED("s32", s)
    COMPARED("u32", w)
    COMPARED("b32", w)
    COMPARED("s64", l)
    COMPARED("u64", u64)
    COMPARED("b64", u64)
    COMPARED("s16", int16_t)
    COMPARED("u16", u16)
    COMPARED("b16", u16)
    OP64("setp.eq.f32", f(a) == f(b))
    OP64("setp.ne.f32", !unordered(f(a), f(b)) && f(a) != f(b))
    OP64("setp.lt.f32", f(a) < f(b))
    OP64("setp.le.f32", f(a) <= f(b))
    OP64("setp.gt.f32", f(a) > f(b))
    OP64("setp.ge.f32", f(a) >= f(b))
    OP64("setp.equ.f32", !(f(a) < f(b) || f(a) > f(b)))
    OP64("setp.neu.f32", f(a) != f(b))
    OP64("setp.ltu.f32", !(f(a) >= f(b)))
    OP64("setp.leu.f32", !(f(a) > f(b)))
    OP64("setp.gtu.f32", !(f(a) <= f(b)))
    OP64("setp.geu.f32", !(f(a) < f(b)))
    OP64("setp.num.f32", !unordered(f(a), f(b)))
    OP64("setp.nan.f32", unordered(f(a), f(b)))
};
