#include "encoder.h"

#include <cmath>

#include "exported.h"

namespace forebay {
namespace {

// Queries that share a walk over the keys, and over the values.
constexpr int kQueries = 4;

// max(x, 0) - |x| / 2 * erfc(|x| / sqrt 2), with erfc to 1.5e-7 (Abramowitz and Stegun 7.1.26).
F32 gelu(F32 x) {
  const F32 size = magnitude(x), z = multiply(size, broadcast(0.70710678f));
  const F32 t = divide(broadcast(1.0f), multiply_add(z, broadcast(0.3275911f), broadcast(1.0f)));
  F32 p = broadcast(1.061405429f);
  p = multiply_add(p, t, broadcast(-1.453152027f));
  p = multiply_add(p, t, broadcast(1.421413741f));
  p = multiply_add(p, t, broadcast(-0.284496736f));
  p = multiply_add(p, t, broadcast(0.254829592f));
  const F32 erfc = multiply(multiply(p, t), exponential(subtract(zeros(), multiply(z, z))));
  return subtract(maximum(x, zeros()), multiply(multiply(size, broadcast(0.5f)), erfc));
}


}  // namespace

void Encoder::forward(const EncoderTexts& texts) {
  grow(qkv_, texts.tokens * 3 * model_.hidden);
  grow(attended_, texts.tokens * model_.hidden);
  grow(residual_, texts.tokens * model_.hidden);
  grow(inner_, texts.tokens * model_.inner);
  rows_.reserve(texts.tokens);
  heads_.reserve(texts.tokens);
  inner_rows_.reserve(texts.tokens);
  team_.run([&](Member& me) {
    me.each(texts.texts, [&](int64_t text) { embed(text, texts); });
    for (int64_t at = 0; at < model_.num_layers; ++at) layer(me, model_.layers[at], texts);
    me.each(texts.texts, [&](int64_t text) { pool(text, texts); });
  });
}

void Encoder::embed(int64_t text, const EncoderTexts& texts) {
  const int64_t hidden = model_.hidden, begin = texts.starts[text];
  for (int64_t row = begin; row < texts.starts[text + 1]; ++row) {
    const float *word = model_.words + texts.ids[row] * hidden, *position = model_.positions + (row - begin) * hidden;
    float* state = texts.states + row * hidden;
    for (int64_t i = 0; i < hidden; i += kLanes)
      store(state + i, add(add(load(word + i), load(model_.type + i)), load(position + i)));
    norm(state, model_.norm, model_.norm_bias, state);
    rows_.quantize_row(row, state);
  }
}

// In and out: the states of all tokens, and the same quantised in `rows_`.
void Encoder::layer(Member& me, const EncoderLayer& layer, const EncoderTexts& texts) {
  const int64_t hidden = model_.hidden, rows = texts.tokens;
  linear(me, layer.qkv, rows_, rows, [&](int64_t row, int64_t first, F32 y) {
    store(&qkv_[row * 3 * hidden + first], y);
  });
  me.each(texts.texts * model_.heads, [&](int64_t piece) {
    const int64_t text = piece / model_.heads;
    attend(texts.starts[text], texts.starts[text + 1], piece % model_.heads);
  });
  me.each(rows, [&](int64_t row) { heads_.quantize_row(row, &attended_[row * hidden]); });
  linear(me, layer.output, heads_, rows, [&](int64_t row, int64_t first, F32 y) {
    store(&residual_[row * hidden + first], add(y, load(texts.states + row * hidden + first)));
  });
  me.each(rows, [&](int64_t row) {
    float* state = texts.states + row * hidden;
    norm(&residual_[row * hidden], layer.attention_norm, layer.attention_norm_bias, state);
    rows_.quantize_row(row, state);
  });
  linear(me, layer.up, rows_, rows, [&](int64_t row, int64_t first, F32 y) {
    store(&inner_[row * model_.inner + first], gelu(y));
  });
  me.each(rows, [&](int64_t row) { inner_rows_.quantize_row(row, &inner_[row * model_.inner]); });
  linear(me, layer.down, inner_rows_, rows, [&](int64_t row, int64_t first, F32 y) {
    store(&residual_[row * hidden + first], add(y, load(texts.states + row * hidden + first)));
  });
  me.each(rows, [&](int64_t row) {
    float* state = texts.states + row * hidden;
    norm(&residual_[row * hidden], layer.output_norm, layer.output_norm_bias, state);
    rows_.quantize_row(row, state);
  });
}

// One head of one text, rows [begin, end): softmax(q k^T / sqrt(dim)) v, the keys of a text in order.
void Encoder::attend(int64_t begin, int64_t end, int64_t head) {
  const int64_t hidden = model_.hidden, dim = hidden / model_.heads, width = 3 * hidden, keys = end - begin;
  const int64_t padded = (keys + kLanes - 1) / kLanes * kLanes;
  const float* q = &qkv_[begin * width + head * dim];
  const float *k = q + hidden, *v = k + hidden;
  const F32 scale = broadcast(1.0f / std::sqrt(static_cast<float>(dim)));
  // Sixteen keys side by side, so that a score is a lane and no sum goes across lanes.
  thread_local std::vector<float> turned, scores;
  grow(turned, dim * padded);
  grow(scores, kQueries * padded);
  for (int64_t d = 0; d < dim; ++d) {
    for (int64_t key = 0; key < keys; ++key) turned[d * padded + key] = k[key * width + d];
    for (int64_t key = keys; key < padded; ++key) turned[d * padded + key] = 0.0f;
  }
  for (int64_t first = 0; first < keys; first += kQueries) {
    // Missing queries repeat the last one; their results are not kept.
    const float* query[kQueries];
    for (int r = 0; r < kQueries; ++r) query[r] = q + (first + r < keys ? first + r : keys - 1) * width;
    F32 most[kQueries];
    for (int r = 0; r < kQueries; ++r) most[r] = broadcast(-INFINITY);
    for (int64_t key = 0; key < padded; key += kLanes) {
      F32 sums[kQueries];
      for (int r = 0; r < kQueries; ++r) sums[r] = zeros();
      for (int64_t d = 0; d < dim; ++d) {
        const F32 values = load(&turned[d * padded + key]);
        for (int r = 0; r < kQueries; ++r) sums[r] = multiply_add(broadcast(query[r][d]), values, sums[r]);
      }
      const int count = static_cast<int>(keys - key < kLanes ? keys - key : kLanes);
      for (int r = 0; r < kQueries; ++r) {
        const F32 score = keep_first(multiply(sums[r], scale), count, broadcast(-INFINITY));
        most[r] = maximum(most[r], score);
        store(&scores[r * padded + key], score);
      }
    }
    float total[kQueries];
    for (int r = 0; r < kQueries; ++r) {
      const F32 top = broadcast(largest(most[r]));
      F32 sums = zeros();
      for (int64_t key = 0; key < padded; key += kLanes) {
        const int count = static_cast<int>(keys - key < kLanes ? keys - key : kLanes);
        float* at = &scores[r * padded + key];
        const F32 power = keep_first(exponential(subtract(load(at), top)), count, zeros());
        sums = add(sums, power);
        store(at, power);
      }
      total[r] = sum(sums);
    }
    for (int64_t d = 0; d < dim; d += kLanes) {
      F32 sums[kQueries];
      for (int r = 0; r < kQueries; ++r) sums[r] = zeros();
      for (int64_t key = 0; key < keys; ++key) {
        const F32 values = load(v + key * width + d);
        for (int r = 0; r < kQueries; ++r)
          sums[r] = multiply_add(broadcast(scores[r * padded + key]), values, sums[r]);
      }
      for (int r = 0; r < kQueries && first + r < keys; ++r)
        store(&attended_[(begin + first + r) * hidden + head * dim + d], divide(sums[r], broadcast(total[r])));
    }
  }
}

void Encoder::pool(int64_t text, const EncoderTexts& texts) {
  const int64_t hidden = model_.hidden, begin = texts.starts[text];
  const int64_t end = model_.first_token_pools ? begin + 1 : texts.starts[text + 1];
  const F32 count = broadcast(static_cast<float>(end - begin));
  float* vector = texts.vectors + text * hidden;
  F32 squares = zeros();
  for (int64_t i = 0; i < hidden; i += kLanes) {
    F32 sums = zeros();
    for (int64_t row = begin; row < end; ++row) sums = add(sums, load(texts.states + row * hidden + i));
    const F32 mean = divide(sums, count);
    squares = multiply_add(mean, mean, squares);
    store(vector + i, mean);
  }
  const float length = std::sqrt(sum(squares));
  const F32 divisor = broadcast(length > 1e-12f ? length : 1e-12f);
  for (int64_t i = 0; i < hidden; i += kLanes) store(vector + i, divide(load(vector + i), divisor));
}

// (x - mean) / sqrt(variance + eps) * weight + bias; `out` may be `x`.
void Encoder::norm(const float* x, const float* weight, const float* bias, float* out) const {
  const int64_t size = model_.hidden;
  const float count = static_cast<float>(size);
  F32 sums = zeros(), squares = zeros();
  for (int64_t i = 0; i < size; i += kLanes) sums = add(sums, load(x + i));
  const F32 mean = broadcast(sum(sums) / count);
  for (int64_t i = 0; i < size; i += kLanes) {
    const F32 apart = subtract(load(x + i), mean);
    squares = multiply_add(apart, apart, squares);
  }
  const F32 inverse = broadcast(1.0f / std::sqrt(sum(squares) / count + model_.eps));
  for (int64_t i = 0; i < size; i += kLanes) {
    const F32 apart = multiply(subtract(load(x + i), mean), inverse);
    store(out + i, multiply_add(apart, load(weight + i), load(bias + i)));
  }
}

}  // namespace forebay

using forebay::Encoder;

#pragma GCC visibility push(default)
extern "C" {

void* EXPORTED(encoder_new)(void* team, const EncoderModel* model) {
  return new Encoder(*static_cast<forebay::Team*>(team), *model);
}
void EXPORTED(encoder_delete)(void* encoder) { delete static_cast<Encoder*>(encoder); }
void EXPORTED(encoder_forward)(void* encoder, const EncoderTexts* texts) {
  static_cast<Encoder*>(encoder)->forward(*texts);
}
}
#pragma GCC visibility pop
