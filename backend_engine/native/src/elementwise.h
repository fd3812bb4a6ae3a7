// What happens to a row between products: RMSNorm, rotary embedding, gated activation, embedding lookup.
#pragma once
#include <cmath>

#include "linear.h"

namespace forebay {

// x / sqrt(mean(x²) + eps) * weight, for `size` a multiple of 16; `out` may be `x`.
inline void rms_norm(const float* x, const float* weight, float eps, int64_t size, float* out) {
  F32 squares = zeros();
  for (int64_t i = 0; i < size; i += kLanes) squares = multiply_add(load(x + i), load(x + i), squares);
  const F32 inverse = broadcast(1.0f / std::sqrt(sum(squares) / static_cast<float>(size) + eps));
  for (int64_t i = 0; i < size; i += kLanes)
    store(out + i, multiply(multiply(load(x + i), inverse), load(weight + i)));
}

// Turns the pairs (x[i], x[i + size / 2]) by the angles of `cos` and `sin` [size / 2], and multiplies by `scale`.
inline void rotate(float* x, const float* cos, const float* sin, int64_t size, float scale) {
  const int64_t half = size / 2;
  for (int64_t i = 0; i < half; ++i) {
    const float a = x[i], b = x[half + i];
    x[i] = (a * cos[i] - b * sin[i]) * scale;
    x[half + i] = (b * cos[i] + a * sin[i]) * scale;
  }
}

// gate * sigmoid(gate) * up.
inline F32 silu_and_multiply(F32 gate, F32 up) {
  const F32 one = broadcast(1.0f);
  const F32 sigmoid = divide(one, add(one, exponential(subtract(zeros(), gate))));
  return multiply(multiply(gate, sigmoid), up);
}

// One row of a table of eight bits, packed as a linear layer is.
inline void embedding_row(const Linear& table, int64_t token, float* out) {
  const int64_t blocks = table.in_features / kBlock, panel = token / kLanes, lane = token % kLanes;
  for (int64_t block = 0; block < blocks; ++block) {
    const uint8_t* codes = table.codes + (panel * blocks + block) * EightBits::kBytes + lane * 4;
    float scales[kLanes];
    store(scales, load_half(table.scales + (panel * blocks + block) * kLanes));
    for (int i = 0; i < kBlock; ++i)
      out[block * kBlock + i] = static_cast<float>(codes[i / 4 * 4 * kLanes + i % 4] - 128) * scales[lane];
  }
}

}  // namespace forebay
