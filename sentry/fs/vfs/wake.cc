#include "sentry/fs/wake.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

namespace sentry {
namespace {

struct PutOff {
  int depth = 0;
  size_t count = 0;
  std::array<std::atomic<uint32_t>*, 16> words;  // More are woken at once.
};
thread_local PutOff put_off;
thread_local int stays = 0;

void WakeNow(std::atomic<uint32_t>* word) {
  syscall(SYS_futex, word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, nullptr, nullptr, 0);
}

}  // namespace

void SleepOn(std::atomic<uint32_t>& word, uint32_t expected, int64_t deadline_ns) {
  timespec until{};
  until.tv_sec = deadline_ns / 1'000'000'000;
  until.tv_nsec = deadline_ns % 1'000'000'000;
  syscall(SYS_futex, &word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, expected,
          deadline_ns == INT64_MAX ? nullptr : &until, nullptr, FUTEX_BITSET_MATCH_ANY);
}

void WakeSleeper(std::atomic<uint32_t>& word) {
  if (put_off.depth == 0 || put_off.count == put_off.words.size()) {
    WakeNow(&word);
  } else {
    put_off.words[put_off.count++] = &word;
  }
}

WakesAfter::WakesAfter() { ++put_off.depth; }

WakesAfter::~WakesAfter() {
  if (--put_off.depth > 0) return;
  while (put_off.count > 0) WakeNow(put_off.words[--put_off.count]);
}

StaysOnThread::StaysOnThread() { ++stays; }
StaysOnThread::~StaysOnThread() { --stays; }
bool MayLeaveThread() { return stays == 0 && put_off.depth == 0; }

}  // namespace sentry
