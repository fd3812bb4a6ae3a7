// Draws a token from the distribution that a row of logits stands for, cut by top_k, top_p and min_p.
//
// The order of cuts is that of sampling/truncation.py. Only the head of the distribution is sorted: the tokens whose
// weight e^((logit - peak) / temperature) is above a limit, which is lowered until the cut lies in the head.
#pragma once
#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "abi.h"
#include "simd.h"

namespace forebay {

class DrawRow {
 public:
  DrawRow(const Draw& draw, int64_t vocab) : draw_(draw), vocab_(vocab), peak_(peak()) {}

  int64_t token() const { return is_cut() ? from(cut()) : from_all(); }

 private:
  static constexpr int64_t kBlockTokens = 8 * kLanes;
  static constexpr float kNever = -std::numeric_limits<float>::infinity();

  // `level` is (logit - peak) / temperature, so 0 for the likeliest token.
  struct Candidate {
    int64_t token;
    float level;
  };

  static double weight(float level) { return exponential(level); }

  float level(int64_t token) const { return (draw_.logits[token] - peak_) / draw_.temperature; }

  float peak() const {
    F32 peaks = broadcast(kNever);
    int64_t at = 0;
    for (; at + kLanes <= vocab_; at += kLanes) peaks = maximum(load(draw_.logits + at), peaks);
    float most = largest(peaks);
    for (; at < vocab_; ++at) most = std::max(most, draw_.logits[at]);
    return most;
  }

  bool has_k() const { return draw_.top_k > 0 && draw_.top_k < vocab_; }
  bool is_cut() const { return has_k() || draw_.top_p < 1.0 || draw_.min_p > 0.0f; }

  int64_t from(const std::vector<Candidate>& kept) const {
    double total = 0.0;
    for (const Candidate& candidate : kept) total += weight(candidate.level);
    const double point = draw_.point * total;
    double sum = 0.0;
    for (const Candidate& candidate : kept) {
      sum += weight(candidate.level);
      if (sum > point) return candidate.token;
    }
    return kept.empty() ? 0 : kept.back().token;
  }

  // The same for the whole vocabulary: first the block that holds the point, then the token in it.
  int64_t from_all() const {
    std::vector<double> blocks;
    double total = 0.0, sum = 0.0;
    for (int64_t at = 0; at < vocab_; at += kBlockTokens) {
      blocks.push_back(mass(at));
      total += blocks.back();
    }
    const double point = draw_.point * total;
    size_t block = 0;
    while (block + 1 < blocks.size() && sum + blocks[block] <= point) sum += blocks[block++];
    int64_t last = 0;
    const int64_t begin = static_cast<int64_t>(block) * kBlockTokens;
    for (int64_t token = begin; token < std::min(begin + kBlockTokens, vocab_); ++token) {
      if (!(level(token) > kNever)) continue;
      last = token;
      sum += weight(level(token));
      if (sum > point) break;
    }
    return last;
  }

  // The weights of the tokens of one block together.
  double mass(int64_t begin) const {
    const F32 peak = broadcast(peak_), temperature = broadcast(draw_.temperature);
    const int64_t end = std::min(begin + kBlockTokens, vocab_);
    F32 sums = zeros();
    int64_t at = begin;
    for (; at + kLanes <= end; at += kLanes)
      sums = add(sums, exponential(divide(subtract(load(draw_.logits + at), peak), temperature)));
    double total = sum(sums);
    for (; at < end; ++at) total += weight(level(at));
    return total;
  }

  // The tokens whose level is at least `least`, in their order, less those that are forbidden.
  std::vector<Candidate> head(float least) const {
    std::vector<Candidate> found;
    // What no token of sixteen can reach, give or take a rounding, is passed over at once.
    const float limit = std::isinf(least) ? kNever : peak_ + least * draw_.temperature * 1.0001f - 1e-4f * std::abs(peak_);
    int64_t at = 0;
    for (; at + kLanes <= vocab_; at += kLanes)
      if (largest(load(draw_.logits + at)) >= limit) collect(at, at + kLanes, least, found);
    collect(at, vocab_, least, found);
    return found;
  }

  void collect(int64_t begin, int64_t end, float least, std::vector<Candidate>& found) const {
    for (int64_t token = begin; token < end; ++token) {
      const float here = level(token);
      if (here >= least && here > kNever) found.push_back({token, here});
    }
  }

  std::vector<Candidate> cut() const {
    const float floor = draw_.min_p > 0.0f ? std::log(draw_.min_p) : kNever;
    const bool k = has_k();
    if (!k && draw_.top_p >= 1.0) return head(floor);
    double whole = 0.0;
    for (int64_t at = 0; !k && at < vocab_; at += kBlockTokens) whole += mass(at);
    for (float least = -8.0f;; least *= 4.0f) {
      const bool all = least < -1000.0f;
      std::vector<Candidate> found = head(all ? kNever : least);
      std::vector<float> levels(found.size());
      std::transform(found.begin(), found.end(), levels.begin(), [](const Candidate& c) { return c.level; });
      std::sort(levels.begin(), levels.end(), std::greater<float>());
      const size_t most = k ? std::min<size_t>(draw_.top_k, levels.size()) : levels.size();
      const bool has_all_k = k && static_cast<size_t>(draw_.top_k) <= levels.size();
      if (k && !has_all_k && !all) continue;
      double total = whole;
      for (size_t i = 0; k && i < most; ++i) total += weight(levels[i]);
      // The likeliest token stays, whatever rounding says.
      size_t count = 0;
      for (double before = 0.0; count < most && (!count || draw_.top_p >= 1.0 || before < draw_.top_p * total); ++count)
        before += weight(levels[count]);
      if (count == most && !has_all_k && !all) continue;
      const float threshold = count ? std::max(levels[count - 1], floor) : floor;
      std::erase_if(found, [&](const Candidate& c) { return c.level < threshold; });
      return found;
    }
  }

  const Draw& draw_;
  const int64_t vocab_;
  const float peak_;
};

}  // namespace forebay
