// Threads that take one step together: who does what, and when all are done.

#pragma once

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <sched.h>

#include "decode_lanes.h"

inline void pause_briefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// What all threads of a step share. Each sharing out is followed by a `wait`, which makes the next
// one possible.
class Team {
 public:
  explicit Team(int threads) : threads_(threads) {}

  int threads() const { return threads_; }

  // Until all threads are here. They spin, since what they wait for takes microseconds; but others
  // may be waiting for the processor.
  void wait() {
    const int round = round_.load(std::memory_order_relaxed);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) == threads_ - 1) {
      arrived_.store(0, std::memory_order_relaxed);
      next_.store(0, std::memory_order_relaxed);
      round_.store(round + 1, std::memory_order_release);
      return;
    }
    for (int spins = 0; round_.load(std::memory_order_acquire) == round; spins++)
      if (spins < 20000) pause_briefly();
      else sched_yield();
  }

  // f(from, to) over 0 .. count, in parts that are large at first and small in the end, multiples of
  // `unit`: whoever is free takes the next one.
  template <class F>
  void share(int64_t count, int64_t unit, F f) {
    for (int64_t from = next_.load(std::memory_order_relaxed); from < count;) {
      const int64_t part = round_up(std::max<int64_t>(1, (count - from) / (2 * threads_)), unit);
      const int64_t to = std::min(count, from + part);
      if (!next_.compare_exchange_weak(from, to, std::memory_order_relaxed)) continue;
      f(from, to);
      from = next_.load(std::memory_order_relaxed);
    }
  }

 private:
  const int threads_;
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<int> round_{0};
  alignas(64) std::atomic<int64_t> next_{0};
};

// Memory that grows and is then reused for every call; what is taken is aligned to lines.
class Arena {
 public:
  ~Arena() { free(base_); }

  void reserve(size_t bytes) {
    used_ = 0;
    if (bytes <= size_) return;
    free(base_);
    size_ = round_up(bytes, 2 << 20);
    base_ = static_cast<char*>(aligned_alloc(2 << 20, size_));
    if (!base_) abort();
    memset(base_, 0, size_);
  }

  template <class T>
  T* take(int64_t count) {
    char* at = base_ + used_;
    used_ += round_up(count * sizeof(T), kLine);
    return reinterpret_cast<T*>(at);
  }

  size_t used() const { return used_; }

 private:
  char* base_ = nullptr;
  size_t size_ = 0, used_ = 0;
};
