// futex(2): what mutexes, joins and semaphores stand on.
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <atomic>
#include <thread>

#include "tests/conformance/support.h"

namespace {

using Word = std::atomic<uint32_t>;

long Futex(Word* word, int op, uint32_t value, const timespec* timeout = nullptr,
           Word* second = nullptr, uint32_t third = 0) {
  return syscall(SYS_futex, word, op, value, timeout, second, third);
}
// FUTEX_REQUEUE has a count where the others have the timeout.
const timespec* Count(uintptr_t n) { return reinterpret_cast<const timespec*>(n); }

Word* SharedWords() {
  void* at = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  EXPECT_THAT(at, Succeeds());
  return static_cast<Word*>(at);
}

TEST(Futex, ValueMustMatch) {
  Word word = 5;
  EXPECT_THAT(Futex(&word, FUTEX_WAIT, 4), FailsWith(EAGAIN));
  EXPECT_THAT(Futex(&word, FUTEX_WAIT_PRIVATE, 4), FailsWith(EAGAIN));
  EXPECT_THAT(Futex(&word, FUTEX_WAKE, 1), Returns(0));
}

TEST(Futex, Errors) {
  alignas(8) Word words[2] = {};
  Word* odd = reinterpret_cast<Word*>(reinterpret_cast<char*>(words) + 1);
  EXPECT_THAT(Futex(odd, FUTEX_WAIT, 0), FailsWith(EINVAL));
  EXPECT_THAT(Futex(reinterpret_cast<Word*>(8), FUTEX_WAIT, 0), FailsWith(EFAULT));
  EXPECT_THAT(Futex(words, 77, 0), FailsWith(ENOSYS));
  const timespec bad = {0, 1'000'000'000};
  EXPECT_THAT(Futex(words, FUTEX_WAIT, 0, &bad), FailsWith(EINVAL));
  EXPECT_THAT(Futex(words, FUTEX_WAIT_BITSET, 0, nullptr, nullptr, 0), FailsWith(EINVAL));
}

TEST(Futex, RelativeTimeout) {
  Word word = 0;
  const timespec brief = {0, 30'000'000};
  const int64_t begin = NowMs();
  EXPECT_THAT(Futex(&word, FUTEX_WAIT, 0, &brief), FailsWith(ETIMEDOUT));
  EXPECT_GE(NowMs() - begin, 29);
}

// A wait that goes on behind a stop goes on for what is left of its time: who begins anew each time
// never comes to its end.
TEST(Futex, RelativeTimeoutGoesOnBehindAStop) {
  const pid_t child = Start([] {
    Word word = 0;
    const timespec brief = {0, 300'000'000};
    const bool timed_out = Futex(&word, FUTEX_WAIT_PRIVATE, 0, &brief) == -1 && errno == ETIMEDOUT;
    return timed_out ? 7 : 1;
  });
  int status = 0;
  pid_t ended = 0;
  for (const int64_t end = NowMs() + 20'000; NowMs() < end;) {
    // Once it waits again, or has ended.
    ASSERT_TRUE(Eventually([&] { return strchr("SZ", StateOf(child)) != nullptr; }));
    ASSERT_THAT(kill(child, SIGSTOP), Returns(0));
    ended = waitpid(child, &status, WUNTRACED);
    if (ended == child && !WIFSTOPPED(status)) break;
    ASSERT_THAT(kill(child, SIGCONT), Returns(0));
    ended = 0;
  }
  if (ended == 0) kill(child, SIGKILL), waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 7) << status;
}

TEST(Futex, RelativeTimeoutEndsWithAHandlerWhateverItsFlags) {
  for (const int flags : {0, SA_RESTART}) {
    ScopedAction action(
        SIGUSR1, [](int) {}, flags);
    Word word = 0;
    std::atomic<int> error = 0;
    Thread thread([&] {
      const timespec long_time = {100, 0};
      error = Futex(&word, FUTEX_WAIT_PRIVATE, 0, &long_time) == -1 ? errno : -1;
    });
    EXPECT_TRUE(thread.AwaitSleep());
    EXPECT_THAT(syscall(SYS_tgkill, getpid(), thread.tid(), SIGUSR1), Returns(0));
    thread.Join();
    EXPECT_EQ(error, EINTR);
  }
}

// The same call again and again, each with all of its time.
TEST(Futex, RelativeTimeoutsInARow) {
  Word word = 0;
  const timespec brief = {0, 5'000'000};
  for (int i = 0; i < 10; ++i) {
    const int64_t begin = NowMs();
    EXPECT_THAT(Futex(&word, FUTEX_WAIT_PRIVATE, 0, &brief), FailsWith(ETIMEDOUT));
    EXPECT_GE(NowMs() - begin, 4);
  }
  const timespec bad = {0, 1'000'000'000}, negative = {-1, 0};
  EXPECT_THAT(Futex(&word, FUTEX_WAIT, 0, &bad), FailsWith(EINVAL));
  EXPECT_THAT(Futex(&word, FUTEX_WAIT, 0, &negative), FailsWith(EINVAL));
  EXPECT_THAT(Futex(&word, FUTEX_WAIT, 0, reinterpret_cast<timespec*>(8)), FailsWith(EFAULT));
  EXPECT_THAT(Futex(&word, FUTEX_WAIT, 1, &brief), FailsWith(EAGAIN));
}

TEST(Futex, AbsoluteTimeout) {
  Word word = 0;
  timespec until;
  clock_gettime(CLOCK_MONOTONIC, &until);
  EXPECT_THAT(Futex(&word, FUTEX_WAIT_BITSET, 0, &until, nullptr, ~0u), FailsWith(ETIMEDOUT));
  clock_gettime(CLOCK_REALTIME, &until);
  EXPECT_THAT(Futex(&word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 0, &until, nullptr, ~0u),
              FailsWith(ETIMEDOUT));
}

class Waiters {
 public:
  Waiters(Word* word, int count, uint32_t bits = ~0u) {
    for (int i = 0; i < count; ++i) {
      threads_.emplace_back([=, this] {
        if (Futex(word, FUTEX_WAIT_BITSET, 0, nullptr, nullptr, bits) == 0) ++woken_;
      });
    }
  }
  ~Waiters() {
    for (std::thread& thread : threads_) thread.join();
  }
  int woken() const { return woken_; }

 private:
  std::atomic<int> woken_ = 0;
  std::vector<std::thread> threads_;
};

// Wakes until `expected` threads have been woken in all: they may not have slept yet.
int WakeAll(Word* word, int expected, uint32_t bits = ~0u) {
  int woken = 0;
  Eventually([&] {
    woken += static_cast<int>(Futex(word, FUTEX_WAKE_BITSET, expected - woken, nullptr, nullptr, bits));
    return woken == expected;
  });
  return woken;
}

TEST(Futex, WakesAsManyAsAsked) {
  Word word = 0;
  Waiters waiters(&word, 3);
  EXPECT_EQ(WakeAll(&word, 1), 1);
  EXPECT_TRUE(Eventually([&] { return waiters.woken() == 1; }));
  EXPECT_EQ(WakeAll(&word, 2), 2);
  EXPECT_TRUE(Eventually([&] { return waiters.woken() == 3; }));
}

TEST(Futex, BitsetsSelect) {
  Word word = 0;
  Waiters odd(&word, 1, 1), even(&word, 1, 2);
  EXPECT_EQ(WakeAll(&word, 1, 2), 1);
  EXPECT_TRUE(Eventually([&] { return even.woken() == 1; }));
  EXPECT_EQ(odd.woken(), 0);
  EXPECT_EQ(WakeAll(&word, 1, 1), 1);
}

TEST(Futex, RequeueMovesSleepers) {
  Word first = 0, second = 0;
  Waiters waiters(&first, 2);
  int moved = 0;
  EXPECT_TRUE(Eventually([&] {
    moved += static_cast<int>(Futex(&first, FUTEX_REQUEUE, 0, Count(10), &second));
    return moved == 2;
  }));
  EXPECT_THAT(Futex(&first, FUTEX_WAKE, 10), Returns(0));
  EXPECT_THAT(Futex(&second, FUTEX_WAKE, 10), Returns(2));
}

TEST(Futex, CompareRequeue) {
  Word first = 3, second = 0;
  EXPECT_THAT(Futex(&first, FUTEX_CMP_REQUEUE, 0, Count(1), &second, 4), FailsWith(EAGAIN));
  EXPECT_THAT(Futex(&first, FUTEX_CMP_REQUEUE, 0, Count(1), &second, 3), Returns(0));
}

TEST(Futex, AcrossProcesses) {
  Word* word = SharedWords();
  const pid_t child = Start([&] { return Futex(word, FUTEX_WAIT, 0) == 0 ? 0 : 1; });
  EXPECT_EQ(WakeAll(word, 1), 1);
  EXPECT_THAT(Wait(child), Exited(0));
  munmap(word, 4096);
}

TEST(Futex, AcrossMappingsOfOneFile) {
  UniqueFd fd = OpenTemp();
  ASSERT_THAT(ftruncate(fd.get(), 4096), Returns(0));
  void* a = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  void* b = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  {
    Waiters waiters(static_cast<Word*>(a), 1);
    EXPECT_EQ(WakeAll(static_cast<Word*>(b), 1), 1);
  }
  munmap(a, 4096);
  munmap(b, 4096);
}

TEST(Futex, InterruptedByASignal) {
  ScopedAction action(SIGUSR1, [](int) {});
  Word word = 0;
  std::atomic<pid_t> tid = 0;
  std::atomic<int> error = 0;
  std::thread waiter([&] {
    tid = gettid();
    const timespec bound = {10, 0};
    error = Futex(&word, FUTEX_WAIT, 0, &bound) == 0 ? 0 : errno;
  });
  EXPECT_TRUE(Eventually([&] { return tid != 0 && StateOf(tid) == 'S'; }));
  EXPECT_TRUE(Eventually([&] {
    syscall(SYS_tgkill, getpid(), tid.load(), SIGUSR1);
    return error != 0;
  }));
  waiter.join();
  EXPECT_EQ(error, EINTR);
}

TEST(Futex, RobustListMarksADeadOwner) {
  auto* mutex = reinterpret_cast<pthread_mutex_t*>(SharedWords());
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  pthread_mutex_init(mutex, &attributes);
  EXPECT_THAT(InChild([&] { return pthread_mutex_lock(mutex); }), Exited(0));
  EXPECT_EQ(pthread_mutex_lock(mutex), EOWNERDEAD);
  EXPECT_EQ(pthread_mutex_consistent(mutex), 0);
  EXPECT_EQ(pthread_mutex_unlock(mutex), 0);
  munmap(mutex, 4096);
}

}  // namespace
