// Sixteen lanes of fp32 or int32, the same operations in every instruction set.
//
// A kernel written with these gives the same bits everywhere: multiply-adds are fused in all three, sums over
// lanes halve the vector again and again, and the compiler may contract nothing (see build.py).
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace forebay {
constexpr int kLanes = 16;
}

#if defined(__AVX512VNNI__) && defined(__AVX512BW__)
#include "simd_avx512.h"
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#include "simd_avx2.h"
#else
#include "simd_portable.h"
#endif

namespace forebay {

// Four activations as they lie, to be broadcast.
inline int32_t load_four(const int8_t* bytes) {
  int32_t word;
  std::memcpy(&word, bytes, sizeof word);
  return word;
}

// Brings `bytes` bytes, `ahead` bytes after `p`, into the cache: the nearest with `Locality` 3, the next with 2.
template <int Locality>
inline void prefetch(const void* p, int64_t bytes, int64_t ahead = 0) {
  const char* begin = static_cast<const char*>(p) + ahead;
  for (int64_t at = 0; at < bytes; at += 64) __builtin_prefetch(begin + at, 0, Locality);
}

// e^x within 2 units of the last place, for x <= 88; below -87 it stays at the smallest normal number.
// Range reduction by ln 2 in two parts, then a polynomial of degree 6 (Cephes' expf).
inline F32 exponential(F32 x) {
  x = maximum(minimum(x, broadcast(88.0f)), broadcast(-87.0f));
  const I32 n = to_nearest(multiply(x, broadcast(1.44269504f)));
  const F32 turns = to_float(n);
  F32 r = multiply_add(turns, broadcast(-0.693359375f), x);
  r = multiply_add(turns, broadcast(2.12194440e-4f), r);
  F32 p = broadcast(1.9875691500e-4f);
  p = multiply_add(p, r, broadcast(1.3981999507e-3f));
  p = multiply_add(p, r, broadcast(8.3334519073e-3f));
  p = multiply_add(p, r, broadcast(4.1665795894e-2f));
  p = multiply_add(p, r, broadcast(1.6666665459e-1f));
  p = multiply_add(p, r, broadcast(5.0000001201e-1f));
  p = multiply_add(multiply(r, r), p, add(r, broadcast(1.0f)));
  return multiply(p, power_of_two(n));
}

// The same for one number, through the same operations.
inline float exponential(float x) { return first(exponential(broadcast(x))); }

}  // namespace forebay
