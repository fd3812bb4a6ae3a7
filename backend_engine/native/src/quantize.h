// Rows of activations in blocks of 32: bytes, and what a product needs to know of each block.
#pragma once
#include <vector>

#include "simd.h"

namespace forebay {

constexpr int kBlock = 32;

// x ≈ code * scale with scale = absmax / 127 of the block, so an outlier coarsens its 31 neighbours only.
struct QuantizedRows {
  const int64_t features, blocks;
  std::vector<int8_t> codes;       // [rows, blocks, 32]
  std::vector<float> scales;       // [rows, blocks]
  std::vector<int32_t> sums;       // [rows, blocks], of the codes
  std::vector<float> scaled_sums;  // [rows, blocks], scale * sum

  explicit QuantizedRows(int64_t features_) : features(features_), blocks((features_ + kBlock - 1) / kBlock) {}

  void reserve(int64_t rows) {
    const size_t count = static_cast<size_t>(rows * blocks);
    if (scales.size() >= count) return;
    codes.resize(count * kBlock);
    scales.resize(count);
    sums.resize(count);
    scaled_sums.resize(count);
  }

  void quantize_block(int64_t row, int64_t block, F32 low, F32 high) {
    const int64_t at = row * blocks + block;
    const float most = largest(maximum(magnitude(low), magnitude(high)));
    const F32 inverse = broadcast(most > 0.0f ? 127.0f / most : 0.0f);
    const I32 a = to_nearest(multiply(low, inverse)), b = to_nearest(multiply(high, inverse));
    store_bytes(&codes[at * kBlock], a);
    store_bytes(&codes[at * kBlock + kLanes], b);
    scales[at] = most / 127.0f;
    sums[at] = sum(add(a, b));
    scaled_sums[at] = scales[at] * static_cast<float>(sums[at]);
  }

  // `x` [features]; what is missing of the last block counts as zeros.
  void quantize_row(int64_t row, const float* x) {
    const int64_t whole = features / kBlock;
    for (int64_t block = 0; block < whole; ++block)
      quantize_block(row, block, load(x + block * kBlock), load(x + block * kBlock + kLanes));
    if (whole == blocks) return;
    float last[kBlock] = {};
    std::memcpy(last, x + whole * kBlock, static_cast<size_t>(features - whole * kBlock) * sizeof(float));
    quantize_block(row, whole, load(last), load(last + kLanes));
  }
};

}  // namespace forebay
