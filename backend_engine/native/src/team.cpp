#include "team.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace forebay {
namespace {

// Turns of waiting awake, some tens of microseconds: longer than a phase is uneven, far shorter than a time
// slice. On a core that is shared, waiting awake any longer takes it from the thread that is waited for.
constexpr int kTurnsAwake = 1000;

void pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

template <class Word>
void wait_while(const std::atomic<Word>& word, Word value) {
  for (int turn = 0; turn < kTurnsAwake; ++turn) {
    if (word.load(std::memory_order_acquire) != value) return;
    pause();
  }
  word.wait(value, std::memory_order_acquire);
}

}  // namespace

Team::Team(int threads) : threads_(threads) {
  for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { work(); });
}

Team::~Team() {
  stopping_ = true;
  runs_.fetch_add(1, std::memory_order_release);
  runs_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void Team::run(const std::function<void(Member&)>& body) {
  body_ = &body;
  first_phase_ = static_cast<uint32_t>(next_.load(std::memory_order_relaxed) >> 32);
  open_.store(true);
  runs_.fetch_add(1, std::memory_order_release);
  runs_.notify_all();
  Member me(*this, first_phase_);
  body(me);
  open_.store(false);
  for (uint32_t inside; (inside = inside_.load()) != 0;) wait_while(inside_, inside);
}

void Team::work() {
  for (uint32_t seen = 0;;) {
    wait_while(runs_, seen);
    seen = runs_.load(std::memory_order_acquire);
    if (stopping_) return;
    inside_.fetch_add(1);
    // Either we see that the run has been closed, or whoever closes it sees us.
    if (open_.load()) {
      Member me(*this, first_phase_);
      (*body_)(me);
    }
    inside_.fetch_sub(1);
    inside_.notify_all();
  }
}

// All pieces are handed out, so the word changes when the phase does.
void Team::wait_for_phase(uint32_t phase) {
  const uint64_t next = next_.load(std::memory_order_acquire);
  if (static_cast<uint32_t>(next >> 32) == phase) wait_while(next_, next);
}

void Team::next_phase(uint32_t phase) {
  done_.store(0, std::memory_order_relaxed);
  next_.store(static_cast<uint64_t>(phase) << 32, std::memory_order_release);
  next_.notify_all();
}

}  // namespace forebay
