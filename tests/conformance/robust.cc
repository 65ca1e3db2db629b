// Robust futexes: get_robust_list(2), and what the kernel does with the locks of who dies, however.
#include <pthread.h>
#include <sys/prctl.h>

#include <thread>

#include "tests/conformance/futex_support.h"

namespace {

struct Head {
  void* next;
  long offset;
  void* pending;
};
struct Entry {
  void* next = nullptr;
  Word word = 0;
};
constexpr long kWordOffset = offsetof(Entry, word);

long SetList(Head* head, size_t size = sizeof(Head)) {
  return syscall(SYS_set_robust_list, head, size);
}
uint32_t Tid() { return static_cast<uint32_t>(gettid()); }

TEST(RobustList, SizeMustFit) {
  Head head = {&head, kWordOffset, nullptr};
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(SetList(&head, 23) == -1 && errno == EINVAL);
                CHILD_CHECK(SetList(&head, 0) == -1 && errno == EINVAL);
                CHILD_CHECK(SetList(&head) == 0);
                CHILD_CHECK(SetList(nullptr) == 0);
                return 0;
              }),
              Exited(0));
}

TEST(RobustList, GetReturnsWhatWasSet) {
  static Head head = {&head, kWordOffset, nullptr};
  EXPECT_THAT(InChild([] {
                Head* got = nullptr;
                size_t size = 0;
                CHILD_CHECK(SetList(&head) == 0);
                CHILD_CHECK(syscall(SYS_get_robust_list, 0, &got, &size) == 0);
                CHILD_CHECK(got == &head && size == sizeof(Head));
                got = nullptr;
                CHILD_CHECK(syscall(SYS_get_robust_list, getpid(), &got, &size) == 0);
                CHILD_CHECK(got == &head);
                return 0;
              }),
              Exited(0));
}

TEST(RobustList, GetErrors) {
  Head* head;
  size_t size;
  EXPECT_THAT(syscall(SYS_get_robust_list, 0x3ffffff0, &head, &size), FailsWith(ESRCH));
  EXPECT_THAT(syscall(SYS_get_robust_list, 0, nullptr, &size), FailsWith(EFAULT));
  EXPECT_THAT(syscall(SYS_get_robust_list, 0, &head, nullptr), FailsWith(EFAULT));
}

TEST(RobustList, GetOfAnotherUsersProcess) {
  EXPECT_THAT(InChild([] {
                Head* head;
                size_t size;
                const pid_t parent = getppid();
                CHILD_CHECK(syscall(SYS_get_robust_list, parent, &head, &size) == 0);
                CHILD_CHECK(setgid(65534) == 0 && setuid(65534) == 0);
                CHILD_CHECK(syscall(SYS_get_robust_list, parent, &head, &size) == -1);
                CHILD_CHECK(errno == EPERM);
                return 0;
              }),
              Exited(0));
}

TEST(RobustList, AThreadHasItsOwn) {
  Head* main = nullptr;
  Head* other = nullptr;
  size_t size;
  EXPECT_THAT(syscall(SYS_get_robust_list, 0, &main, &size), Returns(0));
  Thread([&] { syscall(SYS_get_robust_list, 0, &other, &size); }).Join();
  EXPECT_NE(main, nullptr);
  EXPECT_NE(other, nullptr);
  EXPECT_NE(main, other);
}

TEST(RobustList, AForkedChildHasNone) {
  // glibc registers it anew in the child; clone(2) shows the kernel's rule.
  const pid_t child = static_cast<pid_t>(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
  if (child == 0) {
    Head* head = reinterpret_cast<Head*>(1);
    size_t size;
    _exit(syscall(SYS_get_robust_list, 0, &head, &size) == 0 && head == nullptr ? 0 : 1);
  }
  EXPECT_THAT(Wait(child), Exited(0));
}

// What a process holds when it dies, in memory that it shares with the test.
struct Shared {
  Head head;
  Entry entries[4];
  Word ready;
};

enum class Death { kExit, kExitGroup, kKill, kTerm, kFault, kExec, kThreadExit, kOtherExitGroup };
struct How {
  const char* name;
  Death death;
};

class RobustDeath : public testing::TestWithParam<How> {
 protected:
  static void Hold(Shared* shared, int count) {
    Head& head = shared->head;
    head = {&head, kWordOffset, nullptr};
    void** link = &head.next;
    for (int i = 0; i < count; ++i) {
      shared->entries[i].word = Tid();
      *link = &shared->entries[i];
      link = &shared->entries[i].next;
    }
    *link = &head;
    CHILD_CHECK(SetList(&head) == 0);
  }
  [[noreturn]] static void Sleep() {
    for (;;) pause();
  }
  // In the child, with its locks held.
  static void Die(Shared* shared, int count) {
    switch (GetParam().death) {
      case Death::kExit:
        Hold(shared, count);
        syscall(SYS_exit, 0);
        break;
      case Death::kExitGroup:
        Hold(shared, count);
        _exit(0);
      case Death::kKill:
      case Death::kTerm:
        Hold(shared, count);
        shared->ready = 1;
        Sleep();
      case Death::kFault:
        Hold(shared, count);
        *reinterpret_cast<volatile int*>(8) = 1;
        break;
      case Death::kExec:
        Hold(shared, count);
        execl("/bin/true", "true", nullptr);
        break;
      case Death::kThreadExit:
        std::thread([=] {
          Hold(shared, count);
          syscall(SYS_exit, 0);
        }).detach();
        while (shared->entries[0].word == 0 || (shared->entries[0].word & FUTEX_TID_MASK) != 0) {
          sched_yield();
        }
        _exit(0);
      case Death::kOtherExitGroup:
        std::thread([=] {
          Hold(shared, count);
          shared->ready = 1;
          for (;;) {
          }
        }).detach();
        while (shared->ready == 0) sched_yield();
        _exit(0);
    }
    _exit(9);
  }
  void Run(Shared* shared, int count) {
    const pid_t child = Start([&]() -> int {
      Die(shared, count);
      return 9;
    });
    if (GetParam().death == Death::kKill || GetParam().death == Death::kTerm) {
      EXPECT_TRUE(Eventually([&] { return shared->ready == 1; }));
      kill(child, GetParam().death == Death::kKill ? SIGKILL : SIGTERM);
    }
    int status = Wait(child);
    EXPECT_FALSE(WIFEXITED(status) && WEXITSTATUS(status) == 9);
  }
};
INSTANTIATE_TEST_SUITE_P(Robust, RobustDeath,
                         testing::Values(How{"Exit", Death::kExit},
                                         How{"ExitGroup", Death::kExitGroup},
                                         How{"Sigkill", Death::kKill}, How{"Sigterm", Death::kTerm},
                                         How{"Fault", Death::kFault}, How{"Exec", Death::kExec},
                                         How{"ThreadExit", Death::kThreadExit},
                                         How{"ExitGroupOfAnotherThread", Death::kOtherExitGroup}),
                         [](const auto& info) { return std::string(info.param.name); });

TEST_P(RobustDeath, MarksEachLock) {
  SharedPage page;
  auto* shared = page.as<Shared>();
  Run(shared, 4);
  for (const Entry& entry : shared->entries) EXPECT_EQ(entry.word, uint32_t{FUTEX_OWNER_DIED});
}

TEST_P(RobustDeath, WakesAWaiter) {
  SharedPage page;
  auto* shared = page.as<Shared>();
  std::atomic<bool> seen = false;
  Thread waiter([&] {
    Word& word = shared->entries[0].word;
    while ((word & FUTEX_OWNER_DIED) == 0) {
      uint32_t value = word;
      if ((value & FUTEX_TID_MASK) == 0) {
        sched_yield();
        continue;
      }
      if (!word.compare_exchange_strong(value, value | FUTEX_WAITERS)) continue;
      Futex(&word, FUTEX_WAIT, value | FUTEX_WAITERS);
    }
    seen = true;
  });
  Run(shared, 1);
  waiter.Join();
  EXPECT_TRUE(seen);
  EXPECT_EQ(shared->entries[0].word & FUTEX_TID_MASK, 0u);
}

class RobustWalk : public testing::Test {
 protected:
  // Dies with what `body` has prepared.
  template <typename Body>
  void Exit(Body body) {
    EXPECT_THAT(InChild([&] {
                  Head& head = shared()->head;
                  head = {&head, kWordOffset, nullptr};
                  body();
                  CHILD_CHECK(SetList(&head) == 0);
                  return 0;
                }),
                Exited(0));
  }
  Shared* shared() { return page_.as<Shared>(); }
  Entry& entry(int i) { return shared()->entries[i]; }
  SharedPage page_;
};

TEST_F(RobustWalk, OnlyOwnLocks) {
  entry(0).word = 0x1234567;
  Exit([&] {
    shared()->head.next = &entry(0);
    entry(0).next = &entry(1);
    entry(1).word = Tid();
    entry(1).next = &shared()->head;
  });
  EXPECT_EQ(entry(0).word, 0x1234567u);
  EXPECT_EQ(entry(1).word, uint32_t{FUTEX_OWNER_DIED});
}

TEST_F(RobustWalk, KeepsTheWaitersBit) {
  Exit([&] {
    shared()->head.next = &entry(0);
    entry(0).word = Tid() | FUTEX_WAITERS;
    entry(0).next = &shared()->head;
  });
  EXPECT_EQ(entry(0).word, uint32_t{FUTEX_OWNER_DIED} | FUTEX_WAITERS);
}

TEST_F(RobustWalk, ThePendingLock) {
  Exit([&] {
    entry(0).word = Tid();
    shared()->head.pending = &entry(0);
  });
  EXPECT_EQ(entry(0).word, uint32_t{FUTEX_OWNER_DIED});
}

TEST_F(RobustWalk, PendingInTheListIsDoneOnce) {
  Exit([&] {
    entry(0).word = Tid();
    entry(0).next = &shared()->head;
    shared()->head.next = &entry(0);
    shared()->head.pending = &entry(0);
  });
  EXPECT_EQ(entry(0).word, uint32_t{FUTEX_OWNER_DIED});
}

TEST_F(RobustWalk, PendingUnlockWakes) {
  // Unlocked already, and died before the wake: somebody waits for the word that is 0 now.
  Word& word = entry(0).word;
  word = 7;
  Thread waiter([&] { Futex(&word, FUTEX_WAIT, 7); });
  EXPECT_TRUE(waiter.AwaitSleep());
  word = 0;
  Exit([&] { shared()->head.pending = &entry(0); });
  waiter.Join();
  EXPECT_EQ(word, 0u);
}

TEST_F(RobustWalk, EndsAtABadPointer) {
  Exit([&] {
    shared()->head.next = &entry(0);
    entry(0).word = Tid();
    entry(0).next = reinterpret_cast<void*>(8);
  });
  EXPECT_EQ(entry(0).word, uint32_t{FUTEX_OWNER_DIED});
}

TEST_F(RobustWalk, ACircleEnds) {
  Exit([&] {
    shared()->head.next = &entry(0);
    entry(0).word = Tid();
    entry(0).next = &entry(1);
    entry(1).word = Tid();
    entry(1).next = &entry(0);
  });
  EXPECT_EQ(entry(1).word, uint32_t{FUTEX_OWNER_DIED});
}

// Behind entries that are not part of it, as when a list is given a second head.
TEST_F(RobustWalk, LocksOfACircleThatBeginsLaterAreGivenUp) {
  for (int back = 0; back < 3; ++back) {
    Exit([&] {
      shared()->head.next = &entry(0);
      for (int i = 0; i < 3; ++i) {
        entry(i).word = Tid();
        entry(i).next = &entry(i < 2 ? i + 1 : back);
      }
    });
    for (int i = 0; i < 3; ++i) EXPECT_EQ(entry(i).word, uint32_t{FUTEX_OWNER_DIED}) << back;
  }
}

TEST_F(RobustWalk, ManyThreadsWithACircle) {
  static Head head;
  head = {&entry(0), kWordOffset, nullptr};
  entry(0).next = &entry(0);
  for (int i = 0; i < 200; ++i) {
    std::thread([&] { EXPECT_THAT(SetList(&head), Returns(0)); }).join();
  }
}

TEST_F(RobustWalk, AnUnreadableHeadIsHarmless) {
  EXPECT_THAT(InChild([] { return SetList(reinterpret_cast<Head*>(8)) == 0 ? 0 : 1; }), Exited(0));
}

// The C library's robust mutexes.
class RobustMutex : public testing::Test {
 protected:
  RobustMutex() : mutex(page_.as<pthread_mutex_t>()) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
  }
  SharedPage page_;
  pthread_mutex_t* const mutex;
};

TEST_F(RobustMutex, NotRecoverableWithoutConsistency) {
  EXPECT_THAT(InChild([&] { return pthread_mutex_lock(mutex); }), Exited(0));
  EXPECT_EQ(pthread_mutex_lock(mutex), EOWNERDEAD);
  EXPECT_EQ(pthread_mutex_unlock(mutex), 0);
  EXPECT_EQ(pthread_mutex_lock(mutex), ENOTRECOVERABLE);
}

TEST_F(RobustMutex, KilledWhileItWorks) {
  // The victim locks and unlocks without a pause; whatever it was doing, the lock comes back.
  for (int round = 0; round < 25; ++round) {
    auto* ready = page_.as<Word>(1024);
    *ready = 0;
    const pid_t child = Start([&]() -> int {
      *ready = 1;
      for (;;) {
        if (pthread_mutex_lock(mutex) == EOWNERDEAD) pthread_mutex_consistent(mutex);
        pthread_mutex_unlock(mutex);
      }
    });
    EXPECT_TRUE(Eventually([&] { return *ready == 1; }));
    for (int i = 0; i < round * 2000; ++i) {
      asm volatile("");
    }
    kill(child, SIGKILL);
    const timespec until = At(CLOCK_REALTIME, 5000);
    const int result = pthread_mutex_timedlock(mutex, &until);
    EXPECT_TRUE(result == 0 || result == EOWNERDEAD) << result;
    if (result == EOWNERDEAD) pthread_mutex_consistent(mutex);
    pthread_mutex_unlock(mutex);
    EXPECT_THAT(Wait(child), Killed(SIGKILL));
  }
}

TEST_F(RobustMutex, OfAThreadThatEnds) {
  Thread([&] { pthread_mutex_lock(mutex); }).Join();
  EXPECT_EQ(pthread_mutex_lock(mutex), EOWNERDEAD);
  EXPECT_EQ(pthread_mutex_consistent(mutex), 0);
  EXPECT_EQ(pthread_mutex_unlock(mutex), 0);
}

TEST_F(RobustMutex, KilledInAWaitForAnother) {
  Pipe held, never;
  const pid_t child = Start([&] {
    CHILD_CHECK(pthread_mutex_lock(mutex) == 0);
    Post(held.write.get());
    Word word = 0;
    Futex(&word, FUTEX_WAIT, 0);
    return 0;
  });
  ASSERT_TRUE(Await(held.read.get()));
  EXPECT_TRUE(WaitForState(child, 'S'));
  EXPECT_THAT(kill(child, SIGKILL), Returns(0));
  EXPECT_EQ(pthread_mutex_lock(mutex), EOWNERDEAD);
  EXPECT_THAT(Wait(child), Killed(SIGKILL));
}

TEST_F(RobustMutex, KilledWhileStopped) {
  Pipe held, never;
  const pid_t child = Start([&] {
    CHILD_CHECK(pthread_mutex_lock(mutex) == 0);
    Post(held.write.get());
    for (;;) pause();
    return 0;
  });
  ASSERT_TRUE(Await(held.read.get()));
  EXPECT_THAT(kill(child, SIGSTOP), Returns(0));
  EXPECT_THAT(Wait(child, WUNTRACED), Stopped(SIGSTOP));
  EXPECT_THAT(kill(child, SIGKILL), Returns(0));
  EXPECT_EQ(pthread_mutex_lock(mutex), EOWNERDEAD);
  EXPECT_THAT(Wait(child), Killed(SIGKILL));
}

}  // namespace
