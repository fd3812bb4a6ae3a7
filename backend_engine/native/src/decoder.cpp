#include "decoder.h"

namespace forebay {
namespace {

// With fewer pieces of attention than this for each thread, contexts are shared out by splits; and if one piece is
// more than such a part of what each thread has to do, or the others would wait for whoever has it.
constexpr int64_t kPiecesEnough = 8, kLargestPart = 4;

}  // namespace

void Decoder::forward(const Pages& pages, const Batch& batch) {
  reserve(batch);
  team_.run([&](Member& me) {
    switch (pages.bits) {
      case 8: step<ByteElement>(me, pages, batch); break;
      case 16: step<HalfElement>(me, pages, batch); break;
      default: step<FloatElement>(me, pages, batch); break;
    }
  });
}

// Everything below runs in all threads of the team; they share work, and wait for it to be done, in `each`.

template <class Element>
void Decoder::step(Member& me, const Pages& pages, const Batch& batch) {
  const int64_t hidden = model_.hidden;
  me.each(batch.tokens, [&](int64_t row) {
    embedding_row(model_.embedding, batch.token_ids[row], &hidden_[row * hidden]);
  });
  int64_t tap = 0;
  for (int64_t at = 0; at < model_.num_layers; ++at) {
    attend(me, LayerPages<Element>(pages, model_, at), layers_[at], batch);
    feed_forward(me, layers_[at], batch.tokens);
    if (batch.features && tap < model_.num_taps && model_.taps[tap] == at + 1) keep_features(me, batch, tap++);
  }
  logits(me, batch);
}

void Decoder::keep_features(Member& me, const Batch& batch, int64_t tap) {
  const int64_t hidden = model_.hidden;
  me.each(batch.rows, [&](int64_t row) {
    std::memcpy(batch.features + (row * model_.num_taps + tap) * hidden, &hidden_[batch.logit_rows[row] * hidden],
                static_cast<size_t>(hidden) * sizeof(float));
  });
}

template <class Element>
void Decoder::attend(Member& me, LayerPages<Element> pages, const Layer& layer, const Batch& batch) {
  const int64_t hidden = model_.hidden, dim = model_.head_dim, q_width = model_.heads * dim;
  const int64_t kv_width = model_.kv_heads * dim, width = q_width + 2 * kv_width, half = dim / 2;
  me.each(batch.tokens, [&](int64_t row) {
    rms_norm(&hidden_[row * hidden], layer.attention_norm, model_.eps, hidden, &normed_[row * hidden]);
    stream_.quantize_row(row, &normed_[row * hidden]);
  });
  linear(me, layer.qkv, stream_, batch.tokens,
         [&](int64_t row, int64_t first, F32 y) { store_outputs(&qkv_[row * width], first, width, y); });
  const float softmax_scale = 1.0f / std::sqrt(static_cast<float>(dim));
  me.each(batch.tokens, [&](int64_t row) {
    const float *cos = model_.cos + batch.positions[row] * half, *sin = model_.sin + batch.positions[row] * half;
    float *q = &qkv_[row * width], *k = q + q_width, *v = k + kv_width;
    for (int64_t head = 0; head < model_.heads; ++head) {
      if (layer.q_norm) rms_norm(q + head * dim, layer.q_norm, model_.eps, dim, q + head * dim);
      rotate(q + head * dim, cos, sin, dim, softmax_scale);
    }
    for (int64_t head = 0; head < model_.kv_heads; ++head) {
      if (layer.k_norm) rms_norm(k + head * dim, layer.k_norm, model_.eps, dim, k + head * dim);
      rotate(k + head * dim, cos, sin, dim, 1.0f);
      pages.write(batch.slots[row], head, k + head * dim, v + head * dim);
    }
  });
  Attention<Element> attention(pages, model_, batch, qkv_.data());
  const bool in_parts = !parts_.empty();
  const int64_t group = model_.heads / model_.kv_heads;
  me.each(static_cast<int64_t>(spans_.size()) * model_.kv_heads, [&](int64_t piece) {
    const Span& span = spans_[piece / model_.kv_heads];
    const int64_t kv_head = piece % model_.kv_heads;
    const auto each_state = [&](auto use) {
      for (int64_t row = span.begin; row < span.end; ++row)
        for (int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head)
          use(in_parts ? part(row, head, span.first) : state(row, head));
    };
    each_state([&](Running& running) { running.begin(dim); });
    attention.attend(span.table, kv_head, span.begin, span.end, span.first, span.last,
                     [&](int64_t row, int64_t head) -> Running& {
                       return in_parts ? part(row, head, span.first) : state(row, head);
                     });
    if (!in_parts) each_state([&](Running& running) { running.finish(dim); });
  });
  me.each(batch.tokens, [&](int64_t row) {
    for (int64_t head = 0; in_parts && head < model_.heads; ++head) {
      Running& whole = state(row, head);
      whole.begin(dim);
      for (int64_t split = 0; split < splits_of(batch.positions[row] + 1); ++split) whole.join(part(row, head, split), dim);
      whole.finish(dim);
    }
    heads_.quantize_row(row, &attended_[row * q_width]);
  });
  linear(me, layer.output, heads_, batch.tokens, [&](int64_t row, int64_t first, F32 y) {
    float* residual = &hidden_[row * hidden + first];
    store(residual, add(load(residual), y));
  });
}

void Decoder::feed_forward(Member& me, const Layer& layer, int64_t rows) {
  const int64_t hidden = model_.hidden;
  me.each(rows, [&](int64_t row) {
    rms_norm(&hidden_[row * hidden], layer.mlp_norm, model_.eps, hidden, &normed_[row * hidden]);
    stream_.quantize_row(row, &normed_[row * hidden]);
  });
  gated(me, layer.gate_up, stream_, rows, inner_);
  linear(me, layer.down, inner_, rows, [&](int64_t row, int64_t first, F32 y) {
    float* residual = &hidden_[row * hidden + first];
    store(residual, add(load(residual), y));
  });
}

void Decoder::logits(Member& me, const Batch& batch) {
  const int64_t hidden = model_.hidden, vocab = model_.head.out_features;
  me.each(batch.rows, [&](int64_t row) {
    rms_norm(&hidden_[batch.logit_rows[row] * hidden], model_.norm, model_.eps, hidden, &normed_[row * hidden]);
    stream_.quantize_row(row, &normed_[row * hidden]);
  });
  linear(me, model_.head, stream_, batch.rows, [&](int64_t row, int64_t first, F32 y) {
    if (batch.logit_places[row] >= 0) store_outputs(batch.logits + batch.logit_places[row] * vocab, first, vocab, y);
    if (batch.best) best_.see(model_.head, row, first, y);
  });
  if (batch.best) me.each(batch.rows, [&](int64_t row) { batch.best[row] = best_.find(model_.head, stream_, row); });
}

void Decoder::reserve(const Batch& batch) {
  const int64_t rows = batch.tokens, q_width = model_.heads * model_.head_dim;
  grow(hidden_, rows * model_.hidden);
  grow(normed_, rows * model_.hidden);
  grow(attended_, rows * q_width);
  grow(qkv_, rows * (q_width + 2 * model_.kv_heads * model_.head_dim));
  stream_.reserve(rows);
  heads_.reserve(rows);
  inner_.reserve(rows);
  best_.reserve(model_.head, batch.rows);
  plan_attention(batch);
}

void Decoder::plan_attention(const Batch& batch) {
  const int64_t heads = model_.heads, dim = model_.head_dim;
  const int64_t most = rows_per_task(heads / model_.kv_heads);
  spans_.clear();
  int64_t work = 0, largest = 0;
  for (int64_t sequence = 0; sequence < batch.sequences; ++sequence) {
    const int64_t end = batch.query_starts[sequence + 1];
    for (int64_t row = batch.query_starts[sequence]; row < end; row += most) {
      const int64_t behind = row + most < end ? row + most : end;
      const int64_t* table = batch.block_tables + sequence * batch.table_width;
      spans_.push_back({table, row, behind, 0, splits_of(batch.positions[behind - 1] + 1)});
      const int64_t scores = (behind - row) * (batch.positions[behind - 1] + 1);
      work += scores * model_.kv_heads;
      largest = scores > largest ? scores : largest;
    }
  }
  states_.resize(static_cast<size_t>(batch.tokens * heads));
  for (int64_t at = 0; at < batch.tokens * heads; ++at) states_[at].values = &attended_[at * dim];
  parts_.clear();
  const bool enough = static_cast<int64_t>(spans_.size()) * model_.kv_heads >= kPiecesEnough * team_.threads();
  if (team_.threads() == 1 || (enough && largest * kLargestPart * team_.threads() <= work)) return;
  first_part_.assign(1, 0);
  std::vector<Span> whole;
  whole.swap(spans_);
  for (const Span& span : whole) {
    for (int64_t row = span.begin; row < span.end; ++row)
      first_part_.push_back(first_part_.back() + heads * span.last);
    for (int64_t split = 0; split < span.last; ++split)
      spans_.push_back({span.table, span.begin, span.end, split, split + 1});
  }
  parts_.resize(static_cast<size_t>(first_part_.back()));
  grow(part_values_, first_part_.back() * dim);
  for (size_t at = 0; at < parts_.size(); ++at) parts_[at].values = &part_values_[at * dim];
}

}  // namespace forebay
