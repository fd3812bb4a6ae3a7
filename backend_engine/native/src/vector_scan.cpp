// The nearest of some rows of a table of fp16 vectors.
#include "exported.h"
#include "simd.h"

namespace forebay {
namespace {

constexpr int kRowsAtOnce = 4;
// Rows are anywhere in the table, so the processor cannot guess the next one.
constexpr int64_t kRowsAhead = 8;

struct Table {
  const uint16_t* const* chunks;
  const int64_t* const* tags;
  int64_t chunk_bits, dim;

  int64_t within(int32_t at) const { return at & ((int64_t{1} << chunk_bits) - 1); }
  const uint16_t* row(int32_t at) const { return chunks[at >> chunk_bits] + within(at) * dim; }
  int64_t tag(int32_t at) const { return tags[at >> chunk_bits][within(at)]; }
};

// The `k` greatest scores so far, descending; equal ones in the order in which they came.
struct Best {
  int64_t k, found = 0;
  int32_t* rows;
  float* scores;

  void offer(int32_t row, float score) {
    if (found == k && !(score > scores[k - 1])) return;
    int64_t at = found < k ? found++ : k - 1;
    for (; at > 0 && score > scores[at - 1]; --at) {
      scores[at] = scores[at - 1];
      rows[at] = rows[at - 1];
    }
    scores[at] = score;
    rows[at] = row;
  }
};

}  // namespace
}  // namespace forebay

#pragma GCC visibility push(default)
extern "C" {

// `chunks` and `tags`: tables of 2^chunk_bits rows of `dim` fp16 values, `dim` a multiple of 16, and of one tag each.
// Writes at most `k` of those of `rows` [count] that have the tag `tag`, and their inner products with fp32 `query`
// [dim], the greatest first, and returns how many.
int64_t EXPORTED(vector_scan)(const uint16_t* const* chunks, const int64_t* const* tags, int64_t chunk_bits,
                              int64_t dim, const int32_t* rows, int64_t count, int64_t tag, const float* query,
                              int64_t k, int32_t* best_rows, float* best_scores) {
  using namespace forebay;
  const Table table{chunks, tags, chunk_bits, dim};
  Best best{k, 0, best_rows, best_scores};
  for (int64_t first = 0; first < count; first += kRowsAtOnce) {
    const int taken = static_cast<int>(count - first < kRowsAtOnce ? count - first : kRowsAtOnce);
    const uint16_t* vectors[kRowsAtOnce];
    F32 sums[kRowsAtOnce];
    for (int r = 0; r < kRowsAtOnce; ++r) {
      vectors[r] = table.row(rows[first + (r < taken ? r : 0)]);
      sums[r] = zeros();
      const int64_t ahead = first + kRowsAhead + r;
      if (ahead < count) prefetch<2>(table.row(rows[ahead]), dim * 2);
    }
    for (int64_t i = 0; i < dim; i += kLanes) {
      const F32 q = load(query + i);
#pragma GCC unroll 4
      for (int r = 0; r < kRowsAtOnce; ++r) sums[r] = multiply_add(load_half(vectors[r] + i), q, sums[r]);
    }
    for (int r = 0; r < taken; ++r)
      if (table.tag(rows[first + r]) == tag) best.offer(rows[first + r], sum(sums[r]));
  }
  return best.found;
}
}
#pragma GCC visibility pop
