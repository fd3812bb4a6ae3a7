#include "draft_head.h"

namespace forebay {

DraftHead::DraftHead(Team& team, const DraftModel& model)
    : team_(team),
      model_(model),
      ones_(static_cast<size_t>(model.hidden), 1.0f),
      tapped_(model.num_taps * model.hidden),
      stream_(model.hidden),
      inner_(model.inner) {}

void DraftHead::draft(const DraftBatch& batch) {
  reserve(batch);
  team_.run([&](Member& me) {
    begin(me, batch);
    for (int64_t depth = 0; depth < batch.most; ++depth) {
      if (active_[depth].empty()) return;
      advance(me, batch, depth);
    }
  });
}

// As in the decoder, the rest runs in all threads of the team but for what `each` calls.

void DraftHead::begin(Member& me, const DraftBatch& batch) {
  const int64_t hidden = model_.hidden, width = model_.num_taps * hidden;
  me.each(batch.rows, [&](int64_t row) {
    float* normed = &tapped_normed_[row * width];
    for (int64_t tap = 0; tap < model_.num_taps; ++tap)
      rms_norm(batch.features + row * width + tap * hidden, model_.feature_norm + tap * hidden, model_.eps, hidden,
               normed + tap * hidden);
    tapped_.quantize_row(row, normed);
  });
  linear(me, model_.features, tapped_, batch.rows,
         [&](int64_t row, int64_t first, F32 y) { store(&state_[row * hidden + first], y); });
}

void DraftHead::advance(Member& me, const DraftBatch& batch, int64_t depth) {
  const std::vector<int64_t>& rows = active_[depth];
  const int64_t count = static_cast<int64_t>(rows.size()), hidden = model_.hidden;
  const auto add_to_state = [&](int64_t at, int64_t first, F32 y) {
    float* state = &state_[rows[at] * hidden + first];
    store(state, add(load(state), y));
  };
  const auto norm_state = [&](const float* weight) {
    me.each(count, [&](int64_t at) {
      rms_norm(&state_[rows[at] * hidden], weight, model_.eps, hidden, &normed_[at * hidden]);
      stream_.quantize_row(at, &normed_[at * hidden]);
    });
  };
  me.each(count, [&](int64_t at) {
    const int64_t row = rows[at], token = depth ? batch.tokens[row * batch.most + depth - 1] : batch.last_tokens[row];
    float* embedded = &normed_[at * hidden];
    embedding_row(model_.embedding, token, embedded);
    rms_norm(embedded, ones_.data(), model_.eps, hidden, embedded);
    stream_.quantize_row(at, embedded);
  });
  linear(me, model_.token, stream_, count, add_to_state);
  norm_state(model_.mlp_norm);
  gated(me, model_.gate_up, stream_, count, inner_);
  linear(me, model_.down, inner_, count, add_to_state);
  norm_state(model_.norm);
  linear(me, model_.head, stream_, count, [&](int64_t at, int64_t first, F32 y) {
    store(&logits_[at * model_.head.out_features + first], y);
  });
  me.each(count, [&](int64_t at) { choose(batch, depth, at); });
  me.each(1, [&](int64_t) { keep_sure(batch, depth); });
}

// The likeliest token, and its share of the draft vocabulary.
void DraftHead::choose(const DraftBatch& batch, int64_t depth, int64_t at) {
  const int64_t vocabulary = model_.head.out_features, row = active_[depth][at];
  const float* logits = &logits_[at * vocabulary];
  F32 most = load(logits);
  for (int64_t i = kLanes; i < vocabulary; i += kLanes) most = maximum(most, load(logits + i));
  const float best = largest(most);
  F32 shares = zeros();
  for (int64_t i = 0; i < vocabulary; i += kLanes)
    shares = add(shares, exponential(subtract(load(logits + i), broadcast(best))));
  int64_t chosen = 0;
  while (chosen < vocabulary - 1 && logits[chosen] != best) ++chosen;
  const float share = 1.0f / sum(shares);
  confidence_[row] *= share;
  batch.tokens[row * batch.most + depth] = model_.token_ids[chosen];
  batch.shares[row * batch.most + depth] = share;
}

// A draft ends before the token with which all of it becomes too unlikely, and at its limit.
void DraftHead::keep_sure(const DraftBatch& batch, int64_t depth) {
  for (const int64_t row : active_[depth]) {
    if (confidence_[row] < batch.least_confidence) continue;
    batch.lengths[row] = depth + 1;
    if (depth + 1 < batch.limits[row]) active_[depth + 1].push_back(row);
  }
}

void DraftHead::reserve(const DraftBatch& batch) {
  const int64_t rows = batch.rows;
  grow(state_, rows * model_.hidden);
  grow(normed_, rows * model_.hidden);
  grow(tapped_normed_, rows * model_.num_taps * model_.hidden);
  grow(logits_, rows * model_.head.out_features);
  tapped_.reserve(rows);
  stream_.reserve(rows);
  inner_.reserve(rows);
  confidence_.assign(static_cast<size_t>(rows), 1.0f);
  // One list more than there are depths: the last depth fills it, if a limit is beyond `most`.
  active_.assign(static_cast<size_t>(batch.most) + 1, {});
  for (int64_t row = 0; row < rows; ++row) {
    batch.lengths[row] = 0;
    if (batch.limits[row] > 0) active_[0].push_back(row);
  }
}

}  // namespace forebay
