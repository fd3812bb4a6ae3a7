// The gated half of a feed-forward layer: silu(gate) * up, quantised where it is computed.
#pragma once
#include "elementwise.h"

namespace forebay {

// For a member of a team: `w` holds the rows of gate and then those of up, a multiple of 32 each, so that one
// piece of work, 32 outputs of both, is one block of the quantised result.
inline void gated(Member& me, const Linear& w, const QuantizedRows& x, int64_t rows, QuantizedRows& out) {
  const int64_t panels = out.features / kLanes;
  const int64_t chunks = (rows + kRowsAtOnce - 1) / kRowsAtOnce;
  me.each(out.blocks * chunks, [&](int64_t piece) {
    const int64_t block = piece / chunks, begin = piece % chunks * kRowsAtOnce;
    const int64_t end = begin + kRowsAtOnce < rows ? begin + kRowsAtOnce : rows;
    alignas(64) float both[2][kRowsAtOnce][kBlock];
    for (int side = 0; side < 2; ++side) {
      for (int done = 0; done < kBlock / kLanes; done += kTilePanels) {
        int64_t chosen[kTilePanels];
        for (int p = 0; p < kTilePanels; ++p) chosen[p] = side * panels + block * 2 + done + p;
        const auto keep = [&](int64_t row, int p, F32 y) {
          store(&both[side][row - begin][(done + p) * kLanes], y);
        };
        products(w, chosen, x, begin, end, keep);
      }
    }
    for (int64_t row = begin; row < end; ++row) {
      const float *gate = both[0][row - begin], *up = both[1][row - begin];
      out.quantize_block(row, block, silu_and_multiply(load(gate), load(up)),
                         silu_and_multiply(load(gate + kLanes), load(up + kLanes)));
    }
  });
}

}  // namespace forebay
