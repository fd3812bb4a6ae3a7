// The largest output of a linear layer, found without keeping the outputs.
#pragma once
#include <algorithm>
#include <limits>

#include "linear.h"

namespace forebay {

// Of each panel of sixteen outputs only the largest is kept; the panel that has the largest of all is computed
// once more to tell which of the sixteen it is.
class LargestOutput {
 public:
  void reserve(const Linear& w, int64_t rows) {
    panels_ = panels_of(w);
    if (peaks_.size() < static_cast<size_t>(rows * panels_)) peaks_.resize(static_cast<size_t>(rows * panels_));
  }

  // Takes note of the outputs of `row` from `first` on.
  void see(const Linear& w, int64_t row, int64_t first, F32 y) {
    peaks_[row * panels_ + first / kLanes] = largest(inside(w, first, y));
  }

  // Which output of `row` is the largest, the first of equals. All of them have been seen.
  int64_t find(const Linear& w, const QuantizedRows& x, int64_t row) const {
    const float* peaks = &peaks_[row * panels_];
    const int64_t panel = std::max_element(peaks, peaks + panels_) - peaks, first = panel * kLanes;
    const F32 y = w.bits == 4 ? one_panel<FourBits>(w, x, row, panel) : one_panel<EightBits>(w, x, row, panel);
    float lanes[kLanes];
    store(lanes, inside(w, first, y));
    return first + (std::max_element(lanes, lanes + kLanes) - lanes);
  }

 private:
  static F32 inside(const Linear& w, int64_t first, F32 y) {
    const int64_t left = w.out_features - first;
    if (left >= kLanes) return y;
    return keep_first(y, static_cast<int>(left), broadcast(-std::numeric_limits<float>::infinity()));
  }

  int64_t panels_ = 0;
  std::vector<float> peaks_;  // [rows, panels]
};

}  // namespace forebay
