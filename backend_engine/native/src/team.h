// A few threads that go through the phases of a step together.
//
// A phase is over when its pieces are done, not when every thread has come by: pieces are handed out one by
// one, and a thread that was late finds the phase over and goes on to the present one. So on cores that are
// shared with other processes nobody waits for a thread that has no core, unless it holds a piece. Who computes
// a piece never changes its bits.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

namespace forebay {

class Team;

// One thread on its way through the phases of one run.
class Member {
 public:
  Member(Team& team, uint32_t phase) : team_(team), phase_(phase) {}

  // Calls `piece(i)` for i in [0, count), each in some thread, and returns when all are done. Every member
  // must come to the same phases in the same order.
  template <class Piece>
  void each(int64_t count, Piece piece);

 private:
  Team& team_;
  uint32_t phase_;
};

class Team {
 public:
  explicit Team(int threads);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int threads() const { return threads_; }

  // Runs `body` in the calling thread, and in as many others as turn up in time; one run at a time.
  void run(const std::function<void(Member&)>& body);

 private:
  friend class Member;

  void work();
  void wait_for_phase(uint32_t phase);
  void next_phase(uint32_t phase);

  const int threads_;
  std::vector<std::thread> workers_;
  const std::function<void(Member&)>* body_ = nullptr;
  uint32_t first_phase_ = 0;
  bool stopping_ = false;
  // The phase in the upper half, the next piece to hand out in the lower: one word, so that nobody can take a
  // piece of one phase for a piece of another.
  alignas(64) std::atomic<uint64_t> next_{0};
  alignas(64) std::atomic<int64_t> done_{0};
  alignas(64) std::atomic<uint32_t> runs_{0};
  // A worker may enter while a run is open, and a run ends when the last has left.
  alignas(64) std::atomic<bool> open_{false};
  std::atomic<uint32_t> inside_{0};
};

template <class Piece>
inline void Member::each(int64_t count, Piece piece) {
  if (count == 0) return;
  const uint32_t phase = phase_++;
  const int64_t grain = count / (8 * team_.threads_) + 1;
  uint64_t next = team_.next_.load(std::memory_order_acquire);
  for (;;) {
    if (static_cast<uint32_t>(next >> 32) != phase) return;
    const int64_t begin = static_cast<int64_t>(next & 0xffffffffu);
    if (begin >= count) break;
    const int64_t end = begin + grain < count ? begin + grain : count;
    if (!team_.next_.compare_exchange_weak(next, next + static_cast<uint64_t>(end - begin), std::memory_order_acq_rel,
                                           std::memory_order_acquire))
      continue;
    for (int64_t i = begin; i < end; ++i) piece(i);
    if (team_.done_.fetch_add(end - begin, std::memory_order_acq_rel) + end - begin == count) {
      team_.next_phase(phase + 1);
      return;
    }
    next = team_.next_.load(std::memory_order_acquire);
  }
  team_.wait_for_phase(phase);
}

}  // namespace forebay
