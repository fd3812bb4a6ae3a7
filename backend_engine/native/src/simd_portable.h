// Plain C++ for any processor with _Float16; compilers turn the loops into what vectors there are.
#pragma once
#include <cmath>

namespace forebay {

constexpr int kTileRows = 2;
constexpr int kTallRows = 2;
constexpr int kTilePanels = 1;
constexpr int kTileQueries = 4;
constexpr int kTileSums = 4;

struct F32 {
  float lane[kLanes];
};
struct I32 {
  int32_t lane[kLanes];
};
struct Bytes {
  uint8_t byte[4 * kLanes];
};

template <class Result, class Function>
inline Result each_lane(Function function) {
  Result out;
  for (int i = 0; i < kLanes; ++i) out.lane[i] = function(i);
  return out;
}

inline F32 broadcast(float x) {
  return each_lane<F32>([&](int) { return x; });
}
inline F32 zeros() { return broadcast(0.0f); }
inline F32 load(const float* p) {
  return each_lane<F32>([&](int i) { return p[i]; });
}
inline void store(float* p, F32 x) { std::memcpy(p, x.lane, sizeof x.lane); }
inline F32 add(F32 a, F32 b) {
  return each_lane<F32>([&](int i) { return a.lane[i] + b.lane[i]; });
}
inline F32 subtract(F32 a, F32 b) {
  return each_lane<F32>([&](int i) { return a.lane[i] - b.lane[i]; });
}
inline F32 multiply(F32 a, F32 b) {
  return each_lane<F32>([&](int i) { return a.lane[i] * b.lane[i]; });
}
inline F32 divide(F32 a, F32 b) {
  return each_lane<F32>([&](int i) { return a.lane[i] / b.lane[i]; });
}
inline F32 multiply_add(F32 a, F32 b, F32 c) {
  return each_lane<F32>([&](int i) { return std::fma(a.lane[i], b.lane[i], c.lane[i]); });
}
inline F32 maximum(F32 a, F32 b) {
  return each_lane<F32>([&](int i) { return a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]; });
}
inline F32 minimum(F32 a, F32 b) {
  return each_lane<F32>([&](int i) { return a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i]; });
}
inline F32 magnitude(F32 a) {
  return each_lane<F32>([&](int i) { return std::fabs(a.lane[i]); });
}
inline float first(F32 a) { return a.lane[0]; }
inline F32 keep_first(F32 a, int count, F32 rest) {
  return each_lane<F32>([&](int i) { return i < count ? a.lane[i] : rest.lane[i]; });
}

inline F32 load_half(const uint16_t* p) {
  _Float16 half[kLanes];
  std::memcpy(half, p, sizeof half);
  return each_lane<F32>([&](int i) { return static_cast<float>(half[i]); });
}
inline F32 load_bytes(const int8_t* p) {
  return each_lane<F32>([&](int i) { return static_cast<float>(p[i]); });
}
inline void store_half(uint16_t* p, F32 x) {
  _Float16 half[kLanes];
  for (int i = 0; i < kLanes; ++i) half[i] = static_cast<_Float16>(x.lane[i]);
  std::memcpy(p, half, sizeof half);
}
inline void store_bytes(int8_t* p, I32 x) {
  for (int i = 0; i < kLanes; ++i) p[i] = static_cast<int8_t>(x.lane[i]);
}

inline I32 broadcast(int32_t x) {
  return each_lane<I32>([&](int) { return x; });
}
inline I32 add(I32 a, I32 b) {
  return each_lane<I32>([&](int i) { return a.lane[i] + b.lane[i]; });
}
inline I32 to_nearest(F32 x) {
  return each_lane<I32>([&](int i) { return static_cast<int32_t>(std::nearbyint(x.lane[i])); });
}
inline F32 to_float(I32 x) {
  return each_lane<F32>([&](int i) { return static_cast<float>(x.lane[i]); });
}
inline F32 power_of_two(I32 n) {
  return each_lane<F32>([&](int i) {
    const int32_t bits = (n.lane[i] + 127) << 23;
    float out;
    std::memcpy(&out, &bits, sizeof out);
    return out;
  });
}

template <class Vector, class Join>
inline auto halve(Vector x, Join join) {
  for (int half = kLanes / 2; half; half /= 2)
    for (int i = 0; i < half; ++i) x.lane[i] = join(x.lane[i], x.lane[i + half]);
  return x.lane[0];
}
inline float sum(F32 x) {
  return halve(x, [](float a, float b) { return a + b; });
}
inline float largest(F32 x) {
  return halve(x, [](float a, float b) { return a > b ? a : b; });
}
inline int32_t sum(I32 x) {
  return halve(x, [](int32_t a, int32_t b) { return a + b; });
}

inline Bytes load_codes(const uint8_t* p) {
  Bytes out;
  std::memcpy(out.byte, p, sizeof out.byte);
  return out;
}
inline Bytes low_nibbles(Bytes x) {
  for (uint8_t& byte : x.byte) byte &= 15;
  return x;
}
inline Bytes high_nibbles(Bytes x) {
  for (uint8_t& byte : x.byte) byte >>= 4;
  return x;
}
inline I32 dot_nibbles(I32 sums, Bytes codes, int32_t four) {
  int8_t x[4];
  std::memcpy(x, &four, sizeof x);
  for (int i = 0; i < kLanes; ++i)
    for (int k = 0; k < 4; ++k) sums.lane[i] += codes.byte[4 * i + k] * x[k];
  return sums;
}
inline I32 begin_bytes(int32_t activation_sum) { return broadcast(-128 * activation_sum); }
inline I32 dot_bytes(I32 sums, Bytes codes, int32_t four) { return dot_nibbles(sums, codes, four); }

}  // namespace forebay
