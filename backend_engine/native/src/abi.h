// What Python hands over: plain structs of pointers and 64-bit integers, mirrored in abi.py.
#pragma once
#include <cstdint>

extern "C" {

// See linear.h for the layout. `bias` is null or fp32, padded with zeros to whole panels.
struct Linear {
  int64_t in_features, out_features, bits;
  const uint8_t* codes;
  const uint16_t* scales;
  const float* bias;
};

// Norm weights are fp32 [hidden], those of q and k [head_dim] or null.
struct Layer {
  const float* attention_norm;
  Linear qkv;
  const float* q_norm;
  const float* k_norm;
  Linear output;
  const float* mlp_norm;
  Linear gate_up;
  Linear down;
};

struct Model {
  int64_t hidden, inner, heads, kv_heads, head_dim, num_layers;
  float eps;
  const Layer* layers;
  const float* norm;
  Linear embedding, head;
  const float* cos;  // [positions, head_dim / 2]
  const float* sin;
};

// Pages of all layers; see kv.h. Scales are null unless `bits` is 8.
struct Pages {
  int64_t slots, bits;
  void* k;
  void* v;
  float* k_scales;
  float* v_scales;
};

// One step; see batch.py. For the tokens at `logit_rows`: `best` [rows] is where each one's likeliest token goes,
// and `logit_places` [rows] says which row of `logits`, fp32 [.., vocab], is for its logits: none if negative.
struct Batch {
  int64_t tokens, sequences, table_width, block_size, rows;
  const int64_t *token_ids, *positions, *slots, *query_starts, *context_lengths, *block_tables, *logit_rows, *logit_places;
  int64_t* best;
  float* logits;
};

// How a token is drawn from a row of logits [vocab]; see sampling/params.py. `point` is in [0, 1).
struct Draw {
  const float* logits;
  int64_t top_k;
  double top_p, point;
  float temperature, min_p;
};
}
