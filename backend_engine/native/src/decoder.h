// A decoder of the Llama family: one call computes one step, from token ids to logits.
#pragma once
#include <vector>

#include "attention.h"
#include "gated.h"

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

  // A piece of attention: some rows of one sequence.
  struct Span {
    int64_t sequence, begin, end;
  };

  Team& team_;
  const Model model_;
  const std::vector<Layer> layers_;
  std::vector<Span> spans_;
  std::vector<float> hidden_, qkv_, attended_, normed_;
  QuantizedRows stream_, heads_, inner_;
};

}  // namespace forebay
