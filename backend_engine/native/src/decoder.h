// A decoder of the Llama family: one call computes one step, from token ids to logits.
#pragma once
#include <vector>

#include "attention.h"
#include "buffer.h"
#include "gated.h"
#include "largest_output.h"

namespace forebay {

class Decoder {
 public:
  // `team` and what `model` points to must live as long as this.
  Decoder(Team& team, const Model& model)
      : team_(team),
        model_(model),
        layers_(model.layers, model.layers + model.num_layers),
        stream_(model.hidden),
        heads_(model.heads * model.head_dim),
        inner_(model.inner) {}

  void forward(const Pages& pages, const Batch& batch);

 private:
  template <class Element>
  void step(Member& me, const Pages& pages, const Batch& batch);
  template <class Element>
  void attend(Member& me, LayerPages<Element> pages, const Layer& layer, const Batch& batch);
  void feed_forward(Member& me, const Layer& layer, int64_t rows);
  void keep_features(Member& me, const Batch& batch, int64_t tap);
  void logits(Member& me, const Batch& batch);
  void reserve(const Batch& batch);
  void plan_attention(const Batch& batch);

  // A piece of attention: rows [begin, end) of one sequence, through splits [first, last) of their context.
  struct Span {
    const int64_t* table;
    int64_t begin, end, first, last;
  };

  // The state of a query vector, or that of its part `split` where a context is shared out by splits.
  Running& state(int64_t row, int64_t head) { return states_[row * model_.heads + head]; }
  Running& part(int64_t row, int64_t head, int64_t split) { return parts_[first_part_[row] + head * parts_of(row) + split]; }
  int64_t parts_of(int64_t row) const { return (first_part_[row + 1] - first_part_[row]) / model_.heads; }

  Team& team_;
  const Model model_;
  const std::vector<Layer> layers_;
  std::vector<Span> spans_;
  std::vector<Running> states_, parts_;
  std::vector<int64_t> first_part_;  // of each row, and their number
  std::vector<float> hidden_, qkv_, attended_, normed_, part_values_;
  QuantizedRows stream_, heads_, inner_;
  LargestOutput best_;
};

}  // namespace forebay
