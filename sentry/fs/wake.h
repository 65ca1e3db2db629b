// Waking host threads that sleep on a word of ours, with no lock held.
#ifndef SENTRY_FS_WAKE_H_
#define SENTRY_FS_WAKE_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace sentry {

// Until `*word` is no longer `expected`, somebody calls WakeSleeper, or CLOCK_MONOTONIC reaches
// `deadline_ns` (INT64_MAX: never). May return for no reason.
void SleepOn(std::atomic<uint32_t>& word, uint32_t expected, int64_t deadline_ns);

// Wakes the thread that sleeps on `word`, whose value has changed; put off while there is a
// WakesAfter. Of a word that is gone meanwhile only the address is used.
void WakeSleeper(std::atomic<uint32_t>& word);

// Puts the wake-ups of this thread off to the end of its life, or to that of the outermost: who is
// woken under a lock runs at once, on the same core, and goes back to sleep for that lock. Declare
// it in front of the lock.
class WakesAfter {
 public:
  WakesAfter();
  ~WakesAfter();
  WakesAfter(const WakesAfter&) = delete;
};

// While one lives, a wait keeps its thread (platform::BlockingHooks::Park would let others use it,
// or go on with another one): for who keeps something in a variable of the thread.
class StaysOnThread {
 public:
  StaysOnThread();
  ~StaysOnThread();
  StaysOnThread(const StaysOnThread&) = delete;
};
bool MayLeaveThread();

}  // namespace sentry

#endif  // SENTRY_FS_WAKE_H_
