// futex(2) and what its cases share: raw calls, words in shared memory.
#ifndef TESTS_CONFORMANCE_FUTEX_SUPPORT_H_
#define TESTS_CONFORMANCE_FUTEX_SUPPORT_H_

#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

#include <atomic>
#include <memory>
#include <vector>

#include "tests/conformance/support.h"

#ifndef FUTEX_LOCK_PI2
#define FUTEX_LOCK_PI2 13
#endif

namespace conformance {

using Word = std::atomic<uint32_t>;

inline long Futex(Word* word, int op, uint32_t value, const timespec* timeout = nullptr,
                  Word* second = nullptr, uint32_t third = 0) {
  return syscall(SYS_futex, word, op, value, timeout, second, third);
}
// FUTEX_REQUEUE and its like have a count where the others have the timeout.
inline const timespec* Count(uintptr_t n) { return reinterpret_cast<const timespec*>(n); }

// A page of words that children share, unmapped at the end.
class SharedPage {
 public:
  SharedPage()
      : at_(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) {
    EXPECT_THAT(at_, Succeeds());
  }
  SharedPage(const SharedPage&) = delete;
  ~SharedPage() { munmap(at_, 4096); }
  Word* words() const { return static_cast<Word*>(at_); }
  template <typename T>
  T* as(size_t offset = 0) const {
    return reinterpret_cast<T*>(static_cast<char*>(at_) + offset);
  }

 private:
  void* at_;
};

inline timespec At(clockid_t clock, int64_t ms_from_now) {
  timespec at;
  clock_gettime(clock, &at);
  at.tv_sec += ms_from_now / 1000;
  at.tv_nsec += ms_from_now % 1000 * 1'000'000;
  if (at.tv_nsec >= 1'000'000'000) at.tv_sec += 1, at.tv_nsec -= 1'000'000'000;
  return at;
}

inline Word* Unaligned(Word* word) {
  return reinterpret_cast<Word*>(reinterpret_cast<char*>(word) + 2);
}
inline Word* NoMemory() { return reinterpret_cast<Word*>(8); }

}  // namespace conformance

#endif  // TESTS_CONFORMANCE_FUTEX_SUPPORT_H_
