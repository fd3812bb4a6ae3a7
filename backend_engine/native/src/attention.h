// Causal grouped-query attention over pages, for single tokens and chunks alike.
//
// A query vector goes through its context in tiles of 64 positions from 0 on, whoever comes with it: scores,
// the running maximum, e^(score - maximum), and the weighted sum of values in order of position (the online
// softmax of arXiv 1805.02867). Positions behind the query weigh exactly 0, so it makes no difference whether a
// tile's masked rest is computed (another row of the chunk sees it) or not.
#pragma once
#include <limits>

#include "kv.h"

namespace forebay {

constexpr int kTileVectors = 4;
constexpr int kTilePositions = kTileVectors * kLanes;

// Query vectors of one KV head in one task; all heads of a group share the keys that a load brings.
inline int64_t rows_per_task(int64_t group) { return group >= kTileQueries ? 1 : kTileQueries / group; }

template <class Element>
class Attention {
 public:
  Attention(const LayerPages<Element>& pages, const Model& model, const Batch& batch, const float* qkv, float* out)
      : pages_(pages),
        model_(model),
        batch_(batch),
        qkv_(qkv),
        out_(out),
        group_(model.heads / model.kv_heads),
        q_stride_((model.heads + 2 * model.kv_heads) * model.head_dim),
        out_stride_(model.heads * model.head_dim) {}

  // Rows [begin, end) of `sequence`, with the query heads of `kv_head`; q is scaled already.
  void attend(int64_t sequence, int64_t kv_head, int64_t begin, int64_t end) {
    const int64_t last = batch_.query_starts[sequence + 1];
    const int64_t first_position = batch_.context_lengths[sequence] - last;
    const int64_t* table = batch_.block_tables + sequence * batch_.table_width;
    const int64_t vectors = (end - begin) * group_;
    for (int64_t done = 0; done < vectors;) {
      const int64_t left = vectors - done;
      const auto some = [&]<int Q>() {
        const float* q[Q];
        float* out[Q];
        int64_t visible[Q];
        for (int i = 0; i < Q; ++i) {
          const int64_t row = begin + (done + i) / group_, head = kv_head * group_ + (done + i) % group_;
          q[i] = qkv_ + row * q_stride_ + head * model_.head_dim;
          out[i] = out_ + row * out_stride_ + head * model_.head_dim;
          visible[i] = first_position + row + 1;
        }
        together<Q>(q, out, visible, kv_head, table);
        done += Q;
      };
      if constexpr (kTileQueries >= 12) {
        if (left >= 12) { some.template operator()<12>(); continue; }
        if (left >= 6) { some.template operator()<6>(); continue; }
      }
      if (left >= 4) some.template operator()<4>();
      else if (left == 3) some.template operator()<3>();
      else if (left == 2) some.template operator()<2>();
      else some.template operator()<1>();
    }
  }

 private:
  int64_t tile_of(const int64_t* table, int64_t position) const {
    return (table[position / batch_.block_size] * batch_.block_size + position % batch_.block_size) / kLanes;
  }

  template <int Q>
  void together(const float* const (&q)[Q], float* const (&out)[Q], const int64_t (&visible)[Q], int64_t head,
                const int64_t* table) {
    // Few query vectors are too few sums at a time to keep the multipliers busy.
    constexpr int W = kTileQueries / Q > kTileVectors ? kTileVectors : kTileQueries / Q;
    const int64_t dim = model_.head_dim, longest = visible[Q - 1];
    float most[Q], total[Q], weights[Q][kTilePositions];
    for (int i = 0; i < Q; ++i) {
      most[i] = -std::numeric_limits<float>::infinity();
      total[i] = 0.0f;
      for (int64_t d = 0; d < dim; d += kLanes) store(out[i] + d, zeros());
    }
    for (int64_t start = 0; start < longest; start += kTilePositions) {
      int64_t tiles[kTileVectors];
      int count = 0;
      for (; count < kTileVectors && start + count * kLanes < longest; ++count)
        tiles[count] = tile_of(table, start + count * kLanes);
      // Scores hide the latency of this tile's values, and what follows that of the next one's keys.
      const int64_t bytes = kLanes * dim * static_cast<int64_t>(sizeof(typename Element::Type));
      for (int t = 0; t < count; ++t) prefetch<2>(pages_.values(tiles[t], head), bytes);
      int t = 0;
      for (; t + W <= count; t += W) score<Q, W>(q, tiles, head, t, weights);
      for (; t < count; ++t) score<Q, 1>(q, tiles, head, t, weights);
      for (int64_t at = start + kTilePositions; at < longest && at < start + 2 * kTilePositions; at += kLanes)
        prefetch<2>(pages_.keys(tile_of(table, at), head), bytes);
      for (int i = 0; i < Q; ++i)
        soften(weights[i], count, visible[i] - start, tiles, head, most[i], total[i], out[i]);
      int64_t d = 0;
      for (; d + W * kLanes <= dim; d += W * kLanes) weigh<Q, W>(weights, tiles, count, head, d, out);
      for (; d < dim; d += kLanes) weigh<Q, 1>(weights, tiles, count, head, d, out);
    }
    for (int i = 0; i < Q; ++i)
      for (int64_t d = 0; d < dim; d += kLanes) store(out[i] + d, divide(load(out[i] + d), broadcast(total[i])));
  }

  // The scores of W times 16 positions for every query vector.
  template <int Q, int W>
  void score(const float* const (&q)[Q], const int64_t* tiles, int64_t head, int t, float (&scores)[Q][kTilePositions]) {
    const typename Element::Type* keys[W];
    F32 sums[W][Q];
    for (int w = 0; w < W; ++w) {
      keys[w] = pages_.keys(tiles[t + w], head);
      for (int i = 0; i < Q; ++i) sums[w][i] = zeros();
    }
    for (int64_t d = 0; d < model_.head_dim; ++d) {
#pragma GCC unroll 4
      for (int w = 0; w < W; ++w) {
        const F32 k = Element::load(keys[w] + d * kLanes);
#pragma GCC unroll 16
        for (int i = 0; i < Q; ++i) sums[w][i] = multiply_add(broadcast(q[i][d]), k, sums[w][i]);
      }
    }
    for (int w = 0; w < W; ++w) {
      for (int i = 0; i < Q; ++i) {
        if constexpr (Element::kScaled)
          sums[w][i] = multiply(sums[w][i], load(pages_.key_scales(tiles[t + w], head)));
        store(scores[i] + (t + w) * kLanes, sums[w][i]);
      }
    }
  }

  // Turns one query vector's scores into weights, and brings what it has so far to the new maximum.
  void soften(float* scores, int count, int64_t visible, const int64_t* tiles, int64_t head, float& most, float& total,
              float* out) {
    if (visible <= 0) {
      for (int t = 0; t < count; ++t) store(scores + t * kLanes, zeros());
      return;
    }
    const F32 never = broadcast(-std::numeric_limits<float>::infinity());
    F32 peak = never;
    for (int t = 0; t < count; ++t)
      peak = maximum(peak, keep_first(load(scores + t * kLanes), lanes(visible, t), never));
    const float before = most;
    most = largest(maximum(peak, broadcast(before)));
    F32 sums = zeros();
    for (int t = 0; t < count; ++t) {
      F32 weight = exponential(subtract(load(scores + t * kLanes), broadcast(most)));
      weight = keep_first(weight, lanes(visible, t), zeros());
      sums = add(sums, weight);
      if constexpr (Element::kScaled) weight = multiply(weight, load(pages_.value_scales(tiles[t], head)));
      store(scores + t * kLanes, weight);
    }
    // Nothing has been summed before the first tile.
    const float shrink = before == most ? 1.0f : exponential(before - most);
    total = total * shrink + sum(sums);
    if (shrink != 1.0f)
      for (int64_t d = 0; d < model_.head_dim; d += kLanes)
        store(out + d, multiply(load(out + d), broadcast(shrink)));
  }

  // W times 16 dimensions of values, added up in order of position.
  template <int Q, int W>
  void weigh(const float (&weights)[Q][kTilePositions], const int64_t* tiles, int count, int64_t head, int64_t d,
             float* const (&out)[Q]) {
    F32 sums[W][Q];
    for (int w = 0; w < W; ++w)
      for (int i = 0; i < Q; ++i) sums[w][i] = load(out[i] + d + w * kLanes);
    for (int t = 0; t < count; ++t) {
      const auto* values = pages_.values(tiles[t], head) + d;
      for (int lane = 0; lane < kLanes; ++lane) {
#pragma GCC unroll 4
        for (int w = 0; w < W; ++w) {
          const F32 v = Element::load(values + lane * model_.head_dim + w * kLanes);
#pragma GCC unroll 16
          for (int i = 0; i < Q; ++i)
            sums[w][i] = multiply_add(broadcast(weights[i][t * kLanes + lane]), v, sums[w][i]);
        }
      }
    }
    for (int w = 0; w < W; ++w)
      for (int i = 0; i < Q; ++i) store(out[i] + d + w * kLanes, sums[w][i]);
  }

  static int lanes(int64_t visible, int t) {
    const int64_t count = visible - t * kLanes;
    return count < 0 ? 0 : count > kLanes ? kLanes : static_cast<int>(count);
  }

  LayerPages<Element> pages_;
  const Model& model_;
  const Batch& batch_;
  const float* qkv_;
  float* out_;
  int64_t group_, q_stride_, out_stride_;
};

}  // namespace forebay
