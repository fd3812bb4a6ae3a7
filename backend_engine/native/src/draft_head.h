// A draft head: from the target's features to the next tokens, one after another, in one call.
//
// The state of a row begins as a product of its normed features. Each token adds a product of its normed
// embedding and a gated feed-forward layer; a head over the draft vocabulary reads the normed state, and the
// likeliest token goes in next.
#pragma once
#include <vector>

#include "buffer.h"
#include "gated.h"

namespace forebay {

class DraftHead {
 public:
  // `team` and what `model` points to must live as long as this.
  DraftHead(Team& team, const DraftModel& model);

  void draft(const DraftBatch& batch);

 private:
  void begin(Member& me, const DraftBatch& batch);
  void advance(Member& me, const DraftBatch& batch, int64_t depth);
  void choose(const DraftBatch& batch, int64_t depth, int64_t at);
  void keep_sure(const DraftBatch& batch, int64_t depth);
  void reserve(const DraftBatch& batch);

  Team& team_;
  const DraftModel model_;
  const std::vector<float> ones_;
  // The rows that get a token at each depth. Each list is written once in a run: a late thread may still read it.
  std::vector<std::vector<int64_t>> active_;
  std::vector<float> state_, normed_, tapped_normed_, logits_, confidence_;
  QuantizedRows tapped_, stream_, inner_;
};

}  // namespace forebay
