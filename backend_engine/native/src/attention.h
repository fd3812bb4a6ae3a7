// Causal grouped-query attention over pages, for single tokens and chunks alike.
//
// A query vector's context is cut into splits of 256 positions from 0 on, whoever comes with it. Each split gives
// a maximum, a sum of e^(score - maximum) and a weighted sum of values, added up in order of position; splits are
// joined in their order (the online softmax of arXiv 1805.02867). What a split gives does not depend on who
// computes it, so threads may share a context out by splits, and rows may share the keys that a load brings.
// Positions behind the query weigh exactly 0, so it makes no difference whether the masked rest is computed
// (another row of the chunk sees it) or not.
#pragma once
#include <algorithm>
#include <limits>

#include "kv.h"

namespace forebay {

constexpr int kSplitTiles = 16;
constexpr int kSplit = kSplitTiles * kLanes;
// Query vectors that go through a split while it is in the cache.
constexpr int kTaskVectors = 48;
// Tiles of positions, or vectors of dimensions, side by side, and how many tiles ahead is fetched.
constexpr int kSideBySide = 4;

inline int64_t splits_of(int64_t positions) { return (positions + kSplit - 1) / kSplit; }

// Rows in one task; all heads of a group share the keys that a load brings.
inline int64_t rows_per_task(int64_t group) { return group >= kTaskVectors ? 1 : kTaskVectors / group; }

// The softmax of one query vector over the positions that it has been through; `values` [head_dim] are not
// divided by `total` yet.
struct Running {
  float most, total;
  float* values;

  void begin(int64_t dim) {
    most = -std::numeric_limits<float>::infinity();
    total = 0.0f;
    for (int64_t d = 0; d < dim; d += kLanes) store(values + d, zeros());
  }

  // Appends what the split after these gave.
  void join(const Running& split, int64_t dim) {
    const float peak = most > split.most ? most : split.most;
    const float keep = exponential(most - peak), take = exponential(split.most - peak);
    most = peak;
    total = total * keep + split.total * take;
    for (int64_t d = 0; d < dim; d += kLanes) join_values(values + d, load(split.values + d), keep, take);
  }

  void finish(int64_t dim) {
    for (int64_t d = 0; d < dim; d += kLanes) store(values + d, divide(load(values + d), broadcast(total)));
  }

  static void join_values(float* values, F32 split, float keep, float take) {
    store(values, multiply_add(split, broadcast(take), multiply(load(values), broadcast(keep))));
  }
};

template <class Element>
class Attention {
 public:
  Attention(const LayerPages<Element>& pages, const Model& model, const Batch& batch, const float* qkv)
      : pages_(pages),
        model_(model),
        batch_(batch),
        qkv_(qkv),
        group_(model.heads / model.kv_heads),
        q_stride_((model.heads + 2 * model.kv_heads) * model.head_dim) {}

  // Rows [begin, end) of one sequence, with the query heads of `kv_head`, through splits [first, last) of their
  // context. q is scaled already; `running(row, head)` is begun.
  template <class Find>
  void attend(const int64_t* table, int64_t kv_head, int64_t begin, int64_t end, int64_t first, int64_t last,
              Find running) {
    const int64_t longest = batch_.positions[end - 1] + 1, vectors = (end - begin) * group_;
    Split split(*this, table, kv_head, first, longest);
    for (int64_t at = first; at < last; ++at) {
      Split next = at + 1 < last ? Split(*this, table, kv_head, at + 1, longest) : split;
      for (int64_t done = 0; done < vectors;) {
        const auto some = [&]<int Q>() {
          const float* q[Q];
          Running* states[Q];
          int64_t visible[Q];
          for (int i = 0; i < Q; ++i) {
            const int64_t row = begin + (done + i) / group_, head = kv_head * group_ + (done + i) % group_;
            q[i] = qkv_ + row * q_stride_ + head * model_.head_dim;
            states[i] = &running(row, head);
            visible[i] = batch_.positions[row] + 1 - at * kSplit;
          }
          done += Q;
          together<Q>(q, states, visible, split, done < vectors ? split : next);
        };
        const int64_t left = vectors - done;
        if constexpr (kTileQueries >= 6) {
          if (left >= 6) { some.template operator()<6>(); continue; }
        }
        if (left >= 4) some.template operator()<4>();
        else if (left == 3) some.template operator()<3>();
        else if (left == 2) some.template operator()<2>();
        else some.template operator()<1>();
      }
      split = next;
    }
  }

 private:
  using Type = typename Element::Type;

  // Where the keys and values of a split lie, as far as a context of `longest` positions reaches.
  struct Split {
    int64_t tiles[kSplitTiles];
    int64_t head;
    int count = 0;

    Split(const Attention& in, const int64_t* table, int64_t kv_head, int64_t index, int64_t longest)
        : head(kv_head) {
      const int64_t size = in.batch_.block_size;
      for (int64_t at = index * kSplit; count < kSplitTiles && at < longest; at += kLanes)
        tiles[count++] = (table[at / size] * size + at % size) / kLanes;
    }
  };

  template <int Q>
  static constexpr int kWidth = kTileSums / Q > kSideBySide ? kSideBySide : kTileSums / Q;

  const Type* keys(const Split& split, int t) const { return pages_.keys(split.tiles[t], split.head); }
  const Type* values(const Split& split, int t) const { return pages_.values(split.tiles[t], split.head); }

  // Takes Q query vectors through one split; `next` is what comes after it.
  template <int Q>
  void together(const float* const (&q)[Q], Running* const (&running)[Q], const int64_t (&visible)[Q],
                const Split& split, const Split& next) {
    constexpr int W = kWidth<Q>;
    float weights[Q][kSplit], keep[kLanes] = {}, take[kLanes] = {}, totals[Q];
    int t = 0;
    for (; t + W <= split.count; t += W) score<Q, W>(q, split, t, weights);
    for (; t < split.count; ++t) score<Q, 1>(q, split, t, weights);
    for (int i = 0; i < Q; ++i) totals[i] = soften(weights[i], visible[i], split, *running[i], keep[i], take[i]);
    store(keep, exponential(load(keep)));
    store(take, exponential(load(take)));
    for (int i = 0; i < Q; ++i) running[i]->total = running[i]->total * keep[i] + totals[i] * take[i];
    int64_t d = 0;
    for (; d + W * kLanes <= model_.head_dim; d += W * kLanes)
      weigh<Q, W>(weights, split, next, d, running, keep, take);
    for (; d < model_.head_dim; d += kLanes) weigh<Q, 1>(weights, split, next, d, running, keep, take);
  }

  // The scores of W times 16 positions for every query vector.
  template <int Q, int W>
  void score(const float* const (&q)[Q], const Split& split, int t, float (&scores)[Q][kSplit]) {
    const Type *at[W], *ahead[W];
    F32 sums[W][Q];
    for (int w = 0; w < W; ++w) {
      const int after = t + W + w;
      at[w] = keys(split, t + w);
      ahead[w] = after < split.count ? keys(split, after) : values(split, std::min(after - split.count, split.count - 1));
      for (int i = 0; i < Q; ++i) sums[w][i] = zeros();
    }
#pragma GCC unroll 2
    for (int64_t d = 0; d < model_.head_dim; ++d) {
      F32 k[W];
#pragma GCC unroll 4
      for (int w = 0; w < W; ++w) {
        k[w] = Element::load(at[w] + d * kLanes);
        __builtin_prefetch(ahead[w] + d * kLanes, 0, 2);
      }
      // A query's number is used up at once: registers are for sums.
#pragma GCC unroll 16
      for (int i = 0; i < Q; ++i) {
        const F32 x = broadcast(q[i][d]);
#pragma GCC unroll 4
        for (int w = 0; w < W; ++w) sums[w][i] = multiply_add(x, k[w], sums[w][i]);
      }
    }
    for (int w = 0; w < W; ++w) {
      for (int i = 0; i < Q; ++i) {
        if constexpr (Element::kScaled)
          sums[w][i] = multiply(sums[w][i], load(pages_.key_scales(split.tiles[t + w], split.head)));
        store(scores[i] + (t + w) * kLanes, sums[w][i]);
      }
    }
  }

  // Turns one query vector's scores into weights, and returns their sum. What it has so far is to be multiplied by
  // e^keep, and what this split gives by e^take.
  float soften(float* scores, int64_t visible, const Split& split, Running& running, float& keep, float& take) {
    if (visible <= 0) {
      for (int t = 0; t < split.count; ++t) store(scores + t * kLanes, zeros());
      return 0.0f;
    }
    const bool all = visible >= split.count * kLanes;
    const F32 never = broadcast(-std::numeric_limits<float>::infinity());
    F32 peaks = never;
    for (int t = 0; t < split.count; ++t) {
      F32 some = load(scores + t * kLanes);
      if (!all) some = keep_first(some, lanes(visible, t), never);
      peaks = maximum(peaks, some);
    }
    const float peak = largest(peaks), most = running.most > peak ? running.most : peak;
    keep = running.most - most;
    take = peak - most;
    running.most = most;
    F32 sums = zeros();
    for (int t = 0; t < split.count; ++t) {
      F32 weight = exponential(subtract(load(scores + t * kLanes), broadcast(peak)));
      if (!all) weight = keep_first(weight, lanes(visible, t), zeros());
      sums = add(sums, weight);
      if constexpr (Element::kScaled) weight = multiply(weight, load(pages_.value_scales(split.tiles[t], split.head)));
      store(scores + t * kLanes, weight);
    }
    return sum(sums);
  }

  // W times 16 dimensions of values, added up in order of position, and joined to what there is.
  template <int Q, int W>
  void weigh(const float (&weights)[Q][kSplit], const Split& split, const Split& next, int64_t d,
             Running* const (&running)[Q], const float* keep, const float* take) {
    F32 sums[W][Q];
    for (int w = 0; w < W; ++w)
      for (int i = 0; i < Q; ++i) sums[w][i] = zeros();
    for (int t = 0; t < split.count; ++t) {
      const int after = t + kSideBySide;
      const Type* at = values(split, t) + d;
      const Type* ahead = d + (after < split.count            ? values(split, after)
                               : after - split.count < next.count ? keys(next, after - split.count)
                                                                  : values(split, t));
      for (int lane = 0; lane < kLanes; ++lane) {
        F32 v[W];
#pragma GCC unroll 4
        for (int w = 0; w < W; ++w) {
          v[w] = Element::load(at + lane * model_.head_dim + w * kLanes);
          if (w * kLanes * sizeof(Type) % 64 == 0) __builtin_prefetch(ahead + lane * model_.head_dim + w * kLanes, 0, 2);
        }
#pragma GCC unroll 16
        for (int i = 0; i < Q; ++i) {
          const F32 x = broadcast(weights[i][t * kLanes + lane]);
#pragma GCC unroll 4
          for (int w = 0; w < W; ++w) sums[w][i] = multiply_add(x, v[w], sums[w][i]);
        }
      }
    }
    for (int w = 0; w < W; ++w)
      for (int i = 0; i < Q; ++i) Running::join_values(running[i]->values + d + w * kLanes, sums[w][i], keep[i], take[i]);
  }

  static int lanes(int64_t visible, int t) {
    const int64_t count = visible - t * kLanes;
    return count < 0 ? 0 : count > kLanes ? kLanes : static_cast<int>(count);
  }

  LayerPages<Element> pages_;
  const Model& model_;
  const Batch& batch_;
  const float* qkv_;
  int64_t group_, q_stride_;
};

}  // namespace forebay
