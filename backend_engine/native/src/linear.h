// Products of quantised rows with weights of four or eight bits, in blocks of 32 inputs.
//
// A block's sum is an integer; blocks are added up in fp32, in order: y += (sum * scale_x) * scale_w, and for
// four bits y += scaled_sum_x * minimum_w. Each output is its own lane, so tiles of any size give the same bits.
//
// Weights lie in panels of 16 outputs. codes: [panels, blocks, 8, 16, 4] bytes; with four bits
// [panels, blocks, 4, 16, 4], where the low nibbles are the first half of the block. scales, fp16:
// [panels, blocks, 16]; with four bits [panels, blocks, 2, 16], the minimum after the scale.
#pragma once
#include "abi.h"
#include "quantize.h"
#include "team.h"

namespace forebay {

struct FourBits {
  static constexpr int kBytes = kBlock * kLanes / 2;
  static constexpr int kScaleValues = 2 * kLanes;

  static I32 begin(int32_t) { return broadcast(0); }

  template <int R, int P>
  static void block(const uint8_t* const (&codes)[P], const int8_t* const (&x)[R], I32 (&sums)[R][P]) {
#pragma GCC unroll 4
    for (int group = 0; group < 4; ++group) {
      Bytes low[P], high[P];
#pragma GCC unroll 4
      for (int p = 0; p < P; ++p) {
        const Bytes both = load_codes(codes[p] + group * 4 * kLanes);
        low[p] = low_nibbles(both);
        high[p] = high_nibbles(both);
      }
#pragma GCC unroll 12
      for (int r = 0; r < R; ++r) {
        const int32_t first = load_four(x[r] + group * 4), second = load_four(x[r] + kBlock / 2 + group * 4);
#pragma GCC unroll 4
        for (int p = 0; p < P; ++p) {
          sums[r][p] = dot_nibbles(sums[r][p], low[p], first);
          sums[r][p] = dot_nibbles(sums[r][p], high[p], second);
        }
      }
    }
  }

  struct Scales {
    F32 scale, minimum;
    explicit Scales(const uint16_t* p) : scale(load_half(p)), minimum(load_half(p + kLanes)) {}
    F32 finish(F32 y, F32 sum, float scaled_sum) const {
      return multiply_add(broadcast(scaled_sum), minimum, multiply_add(sum, scale, y));
    }
  };
};

struct EightBits {
  static constexpr int kBytes = kBlock * kLanes;
  static constexpr int kScaleValues = kLanes;

  static I32 begin(int32_t activation_sum) { return begin_bytes(activation_sum); }

  template <int R, int P>
  static void block(const uint8_t* const (&codes)[P], const int8_t* const (&x)[R], I32 (&sums)[R][P]) {
#pragma GCC unroll 12
    for (int group = 0; group < 8; ++group) {
      Bytes weights[P];
#pragma GCC unroll 4
      for (int p = 0; p < P; ++p) weights[p] = load_codes(codes[p] + group * 4 * kLanes);
#pragma GCC unroll 12
      for (int r = 0; r < R; ++r) {
        const int32_t four = load_four(x[r] + group * 4);
#pragma GCC unroll 4
        for (int p = 0; p < P; ++p) sums[r][p] = dot_bytes(sums[r][p], weights[p], four);
      }
    }
  }

  struct Scales {
    F32 scale;
    explicit Scales(const uint16_t* p) : scale(load_half(p)) {}
    F32 finish(F32 y, F32 sum, float) const { return multiply_add(sum, scale, y); }
  };
};

// Bytes of codes, and of scales, that are fetched before they are needed.
constexpr int kCodesAhead = 4096, kScalesAhead = 1024;

// R rows by P panels, kept in registers over the whole sum. `fetch_ahead` brings the panels after these nearer,
// which the first of many rows should do.
template <class Format, int R, int P>
inline void tile(const Linear& w, const int64_t (&panels)[P], const QuantizedRows& x, int64_t row, F32 (&y)[R][P], 
                 bool fetch_ahead) {
  const int8_t* activations[R];
  for (int r = 0; r < R; ++r) activations[r] = x.codes.data() + (row + r) * x.blocks * kBlock;
  const uint8_t* codes[P];
  const uint16_t* scales[P];
  for (int p = 0; p < P; ++p) {
    codes[p] = w.codes + panels[p] * x.blocks * Format::kBytes;
    scales[p] = w.scales + panels[p] * x.blocks * Format::kScaleValues;
    for (int r = 0; r < R; ++r) y[r][p] = zeros();
  }
  for (int64_t block = 0; block < x.blocks; ++block) {
    // A single row is as fast as memory is. Panels lie one behind the other, so this reaches into the next.
    if constexpr (R == 1 && P == 1) {
      prefetch<3>(codes[0], Format::kBytes, kCodesAhead);
      prefetch<3>(scales[0], 2 * Format::kScaleValues, kScalesAhead);
    } else if (fetch_ahead) {
      for (int p = 0; p < P; ++p) {
        prefetch<2>(codes[p], Format::kBytes, P * x.blocks * Format::kBytes);
        prefetch<2>(scales[p], 2 * Format::kScaleValues, P * x.blocks * 2 * Format::kScaleValues);
      }
    }
    I32 sums[R][P];
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int p = 0; p < P; ++p) sums[r][p] = Format::begin(x.sums[(row + r) * x.blocks + block]);
    Format::template block<R, P>(codes, activations, sums);
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) {
      const typename Format::Scales weights(scales[p]);
#pragma GCC unroll 12
      for (int r = 0; r < R; ++r) {
        const int64_t at = (row + r) * x.blocks + block;
        const F32 sum = multiply(to_float(sums[r][p]), broadcast(x.scales[at]));
        y[r][p] = weights.finish(y[r][p], sum, x.scaled_sums[at]);
      }
    }
    for (int r = 0; r < R; ++r) activations[r] += kBlock;
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) {
      codes[p] += Format::kBytes;
      scales[p] += Format::kScaleValues;
    }
  }
}

// Calls `use(row, p, y)` with sixteen outputs of panels[p] for each row of [begin, end).
template <class Format, int P, class Use>
inline void tiles(const Linear& w, const int64_t (&panels)[P], const QuantizedRows& x, int64_t begin, int64_t end,
                  Use use) {
  const auto one = [&]<int R>(int64_t row) {
    F32 y[R][P];
    tile<Format, R, P>(w, panels, x, row, y, row == begin);
    for (int r = 0; r < R; ++r)
      for (int p = 0; p < P; ++p) use(row + r, p, y[r][p]);
  };
  if constexpr (kTallRows > kTileRows) {
    // A few more rows than a tile holds go by one panel at a time: two tiles would take each weight apart twice.
    const auto tall = [&]<int R>() {
      for (int p = 0; p < P; ++p) {
        const int64_t panel[1] = {panels[p]};
        F32 y[R][1];
        tile<Format, R, 1>(w, panel, x, begin, y, true);
        for (int r = 0; r < R; ++r) use(begin + r, p, y[r][0]);
      }
    };
    switch (end - begin) {
      case 7: return tall.template operator()<7>();
      case 8: return tall.template operator()<8>();
      case 9: return tall.template operator()<9>();
      case 10: return tall.template operator()<10>();
      case 11: return tall.template operator()<11>();
    }
  }
  // Rows are shared out evenly: 14 are 5, 5 and 4, because 6, 6 and 2 would leave half the registers idle.
  int64_t left = (end - begin + kTileRows - 1) / kTileRows;
  for (int64_t row = begin; row < end; --left) {
    const int64_t count = (end - row + left - 1) / left;
    switch (count) {
      case 1: one.template operator()<1>(row); break;
      case 2: one.template operator()<2>(row); break;
      case 3: if constexpr (kTileRows >= 3) one.template operator()<3>(row); break;
      case 4: if constexpr (kTileRows >= 4) one.template operator()<4>(row); break;
      case 5: if constexpr (kTileRows >= 5) one.template operator()<5>(row); break;
      default: if constexpr (kTileRows >= 6) one.template operator()<6>(row); break;
    }
    row += count;
  }
}

template <class Format, int P, class Use>
inline void products_of(const Linear& w, const int64_t (&panels)[P], const QuantizedRows& x, int64_t begin, int64_t end,
                        Use use) {
  if (end - begin > 1) {
    tiles<Format, P>(w, panels, x, begin, end, use);
    return;
  }
  // A single row goes panel by panel, so that memory is read in order.
  for (int p = 0; p < P; ++p) {
    const int64_t panel[1] = {panels[p]};
    F32 y[1][1];
    tile<Format, 1, 1>(w, panel, x, begin, y, true);
    use(begin, p, y[0][0]);
  }
}

template <int P, class Use>
inline void products(const Linear& w, const int64_t (&panels)[P], const QuantizedRows& x, int64_t begin, int64_t end,
                     Use use) {
  if (w.bits == 4)
    products_of<FourBits, P>(w, panels, x, begin, end, use);
  else
    products_of<EightBits, P>(w, panels, x, begin, end, use);
}

// A thread takes so many rows of a product at once; enough that weights come from memory once in a while only.
constexpr int64_t kRowsAtOnce = 24 * kTileRows;

inline int64_t panels_of(const Linear& w) { return (w.out_features + kLanes - 1) / kLanes; }

// For a member of a team: y = x W^T + b, sixteen outputs at a time to `use(row, first_output, y)`.
template <class Use>
inline void linear(Member& me, const Linear& w, const QuantizedRows& x, int64_t rows, Use use) {
  const int64_t panels = panels_of(w), groups = (panels + kTilePanels - 1) / kTilePanels;
  const int64_t chunks = (rows + kRowsAtOnce - 1) / kRowsAtOnce;
  me.each(groups * chunks, [&](int64_t piece) {
    const int64_t group = piece / chunks, begin = piece % chunks * kRowsAtOnce;
    const int64_t end = begin + kRowsAtOnce < rows ? begin + kRowsAtOnce : rows;
    int64_t chosen[kTilePanels];
    // An odd last panel is computed twice over and used once.
    for (int p = 0; p < kTilePanels; ++p) {
      const int64_t panel = group * kTilePanels + p;
      chosen[p] = panel < panels ? panel : panels - 1;
    }
    const auto keep = [&](int64_t row, int p, F32 y) {
      const int64_t panel = group * kTilePanels + p;
      if (panel >= panels) return;
      if (w.bias) y = add(y, load(w.bias + panel * kLanes));
      use(row, panel * kLanes, y);
    };
    products(w, chosen, x, begin, end, keep);
  });
}

// Sixteen outputs of one row, the same bits as in any product.
template <class Format>
inline F32 one_panel(const Linear& w, const QuantizedRows& x, int64_t row, int64_t panel) {
  const int64_t panels[1] = {panel};
  F32 y[1][1];
  tile<Format, 1, 1>(w, panels, x, row, y, false);
  return w.bias ? add(y[0][0], load(w.bias + panel * kLanes)) : y[0][0];
}

// Stores what of sixteen outputs is inside [0, features).
inline void store_outputs(float* y, int64_t first, int64_t features, F32 values) {
  if (first + kLanes <= features) {
    store(y + first, values);
    return;
  }
  float lanes[kLanes];
  store(lanes, values);
  std::memcpy(y + first, lanes, static_cast<size_t>(features - first) * sizeof(float));
}

}  // namespace forebay
