// A text encoder of the BERT family: one call computes a batch of texts, from token ids to unit vectors.
//
// Every row goes through the same operations in the same order whatever its neighbours are, and attention stays
// within a text, so a text's vector is the same bits alone, in any batch and on any number of threads.
#pragma once
#include <vector>

#include "buffer.h"
#include "linear.h"

extern "C" {

// All linear layers have eight bits and a bias. Norm weights and biases are fp32 [hidden].
struct EncoderLayer {
  Linear qkv, output, up, down;
  const float *attention_norm, *attention_norm_bias, *output_norm, *output_norm_bias;
};

// Tables are fp32 [ids, hidden]; `type` is the row of the first token type. Mirrored in encoder.py.
struct EncoderModel {
  int64_t hidden, inner, heads, num_layers, first_token_pools;
  float eps;
  const EncoderLayer* layers;
  const float *words, *positions, *type, *norm, *norm_bias;
};

// starts: [texts + 1] into ids [tokens]; states: [tokens, hidden]; vectors: [texts, hidden].
struct EncoderTexts {
  int64_t texts, tokens;
  const int64_t* starts;
  const int32_t* ids;
  float *states, *vectors;
};
}

namespace forebay {

class Encoder {
 public:
  // `team` and what `model` points to must live as long as this.
  Encoder(Team& team, const EncoderModel& model)
      : team_(team), model_(model), rows_(model.hidden), heads_(model.hidden), inner_rows_(model.inner) {}

  void forward(const EncoderTexts& texts);

 private:
  void embed(int64_t text, const EncoderTexts& texts);
  void layer(Member& me, const EncoderLayer& layer, const EncoderTexts& texts);
  void attend(int64_t begin, int64_t end, int64_t head);
  void pool(int64_t text, const EncoderTexts& texts);
  void norm(const float* x, const float* weight, const float* bias, float* out) const;

  Team& team_;
  const EncoderModel model_;
  std::vector<float> qkv_, attended_, inner_, residual_;
  QuantizedRows rows_, heads_, inner_rows_;
};

}  // namespace forebay
