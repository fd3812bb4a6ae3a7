// The paged keys and values of one layer, in tiles of 16 consecutive slots.
//
// Slot s is lane s % 16 of tile s / 16. A key tile is transposed, [head_dim, 16], so that one load brings 16
// positions; a value tile is [16, head_dim]. With 8 bits each vector has a scale of its own: absmax / 127.
#pragma once
#include <cmath>

#include "abi.h"
#include "simd.h"

namespace forebay {

struct HalfElement {
  using Type = uint16_t;
  static constexpr bool kScaled = false;
  static F32 load(const Type* p) { return load_half(p); }
};

struct ByteElement {
  using Type = int8_t;
  static constexpr bool kScaled = true;
  static F32 load(const Type* p) { return load_bytes(p); }
};

struct FloatElement {
  using Type = float;
  static constexpr bool kScaled = false;
  static F32 load(const Type* p) { return forebay::load(p); }
};

template <class Element>
class LayerPages {
 public:
  using Type = typename Element::Type;

  LayerPages(const Pages& pages, const Model& model, int64_t layer)
      : heads_(model.kv_heads), dim_(model.head_dim) {
    const int64_t vectors = layer * pages.slots * heads_;
    k_ = static_cast<Type*>(pages.k) + vectors * dim_;
    v_ = static_cast<Type*>(pages.v) + vectors * dim_;
    k_scales_ = Element::kScaled ? pages.k_scales + vectors : nullptr;
    v_scales_ = Element::kScaled ? pages.v_scales + vectors : nullptr;
  }

  const Type* keys(int64_t tile, int64_t head) const { return k_ + (tile * heads_ + head) * kLanes * dim_; }
  const Type* values(int64_t tile, int64_t head) const { return v_ + (tile * heads_ + head) * kLanes * dim_; }
  const float* key_scales(int64_t tile, int64_t head) const { return k_scales_ + (tile * heads_ + head) * kLanes; }
  const float* value_scales(int64_t tile, int64_t head) const { return v_scales_ + (tile * heads_ + head) * kLanes; }

  // Stores one token's `k` and `v` [head_dim] of one head.
  void write(int64_t slot, int64_t head, const float* k, const float* v) {
    const int64_t tile = slot / kLanes, lane = slot % kLanes, at = tile * heads_ + head;
    store_vector(k_ + at * kLanes * dim_ + lane, kLanes, k, k_scales_ + at * kLanes + lane);
    store_vector(v_ + (at * kLanes + lane) * dim_, 1, v, v_scales_ + at * kLanes + lane);
  }

 private:
  void store_vector(Type* out, int64_t stride, const float* x, float* scale) {
    if constexpr (Element::kScaled) {
      F32 most = zeros();
      for (int64_t d = 0; d < dim_; d += kLanes) most = maximum(most, magnitude(load(x + d)));
      const float size = largest(most);
      *scale = size / 127.0f;
      const F32 inverse = broadcast(size > 0.0f ? 127.0f / size : 0.0f);
      for (int64_t d = 0; d < dim_; d += kLanes) {
        Type lanes[kLanes];
        store_bytes(lanes, to_nearest(multiply(load(x + d), inverse)));
        for (int i = 0; i < kLanes; ++i) out[(d + i) * stride] = lanes[i];
      }
    } else if constexpr (sizeof(Type) == 2) {
      // An infinity would turn a masked position's 0 * V into NaN.
      const F32 most = broadcast(65504.0f), least = broadcast(-65504.0f);
      for (int64_t d = 0; d < dim_; d += kLanes) {
        Type lanes[kLanes];
        store_half(lanes, minimum(maximum(load(x + d), least), most));
        for (int i = 0; i < kLanes; ++i) out[(d + i) * stride] = lanes[i];
      }
    } else {
      for (int64_t d = 0; d < dim_; ++d) out[d * stride] = x[d];
    }
  }

  int64_t heads_, dim_;
  Type *k_, *v_;
  float *k_scales_, *v_scales_;
};

}  // namespace forebay
