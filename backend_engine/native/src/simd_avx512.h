// AVX-512 with VNNI: one register for sixteen lanes.
#pragma once
#include <immintrin.h>

namespace forebay {

// How much is kept in registers: rows by panels of a product, query vectors of attention and sums for them.
constexpr int kTileRows = 6;
constexpr int kTallRows = 11;
constexpr int kTilePanels = 2;
constexpr int kTileQueries = 6;
constexpr int kTileSums = 24;

using F32 = __m512;
using I32 = __m512i;
using Bytes = __m512i;

inline F32 zeros() { return _mm512_setzero_ps(); }
inline F32 broadcast(float x) { return _mm512_set1_ps(x); }
inline F32 load(const float* p) { return _mm512_loadu_ps(p); }
inline void store(float* p, F32 x) { _mm512_storeu_ps(p, x); }
inline F32 add(F32 a, F32 b) { return _mm512_add_ps(a, b); }
inline F32 subtract(F32 a, F32 b) { return _mm512_sub_ps(a, b); }
inline F32 multiply(F32 a, F32 b) { return _mm512_mul_ps(a, b); }
inline F32 divide(F32 a, F32 b) { return _mm512_div_ps(a, b); }
inline F32 multiply_add(F32 a, F32 b, F32 c) { return _mm512_fmadd_ps(a, b, c); }
inline F32 maximum(F32 a, F32 b) { return _mm512_max_ps(a, b); }
inline F32 minimum(F32 a, F32 b) { return _mm512_min_ps(a, b); }
inline F32 magnitude(F32 a) { return _mm512_abs_ps(a); }
inline float first(F32 a) { return _mm512_cvtss_f32(a); }
// The first `count` lanes of `a`, `rest` in the others.
inline F32 keep_first(F32 a, int count, F32 rest) {
  const __mmask16 kept = count >= kLanes ? 0xffff : static_cast<__mmask16>((1u << count) - 1);
  return _mm512_mask_blend_ps(kept, rest, a);
}

inline F32 load_half(const uint16_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline F32 load_bytes(const int8_t* p) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}
inline void store_half(uint16_t* p, F32 x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
}
inline void store_bytes(int8_t* p, I32 x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(x));
}

inline I32 broadcast(int32_t x) { return _mm512_set1_epi32(x); }
inline I32 add(I32 a, I32 b) { return _mm512_add_epi32(a, b); }
inline I32 to_nearest(F32 x) { return _mm512_cvtps_epi32(x); }
inline F32 to_float(I32 x) { return _mm512_cvtepi32_ps(x); }
inline F32 power_of_two(I32 n) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(n, _mm512_set1_epi32(127)), 23));
}

inline float sum(F32 x) {
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
inline float largest(F32 x) { return _mm512_reduce_max_ps(x); }
inline int32_t sum(I32 x) { return _mm512_reduce_add_epi32(x); }

// Sixteen outputs' codes for four inputs; the nibbles of one load serve two groups of four.
inline Bytes load_codes(const uint8_t* p) { return _mm512_loadu_si512(p); }
inline Bytes low_nibbles(Bytes x) { return _mm512_and_si512(x, _mm512_set1_epi8(15)); }
inline Bytes high_nibbles(Bytes x) { return low_nibbles(_mm512_srli_epi16(x, 4)); }
inline I32 dot_nibbles(I32 sums, Bytes codes, int32_t four) {
  return _mm512_dpbusd_epi32(sums, codes, _mm512_set1_epi32(four));
}
// Codes of eight bits are weights + 128. This product takes them as they are, so its sums begin 128 times
// the activations' sum too low.
inline I32 begin_bytes(int32_t activation_sum) { return _mm512_set1_epi32(-128 * activation_sum); }
inline I32 dot_bytes(I32 sums, Bytes codes, int32_t four) {
  return _mm512_dpbusd_epi32(sums, codes, _mm512_set1_epi32(four));
}

}  // namespace forebay
