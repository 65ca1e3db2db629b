// Priority-inheritance futexes: FUTEX_LOCK_PI and its relatives.
#include <pthread.h>
#include <signal.h>

#include "tests/conformance/futex_support.h"

namespace {

uint32_t Tid() { return static_cast<uint32_t>(gettid()); }

// A lock that another thread holds in the word until released.
class Owner {
 public:
  explicit Owner(Word* word)
      : word_(word), thread_([this] {
          locked_ = Futex(word_, FUTEX_LOCK_PI, 0) == 0 ? 1 : -1;
          Await(gate_.read.get());
          if (unlock_) Futex(word_, FUTEX_UNLOCK_PI, 0);
        }) {
    EXPECT_TRUE(Eventually([this] { return locked_ != 0; }));
    EXPECT_EQ(locked_, 1);
  }
  ~Owner() { Release(); }
  void Release(bool unlock = true) {
    if (released_) return;
    released_ = true;
    unlock_ = unlock;
    Post(gate_.write.get());
    thread_.Join();
  }
  uint32_t tid() const { return static_cast<uint32_t>(thread_.tid()); }

 private:
  Word* word_;
  std::atomic<int> locked_ = 0;
  bool released_ = false;
  std::atomic<bool> unlock_ = true;
  Pipe gate_;
  Thread thread_;
};

TEST(PiFutex, TakesAFreeLock) {
  Word word = 0;
  EXPECT_THAT(Futex(&word, FUTEX_LOCK_PI, 0), Returns(0));
  EXPECT_EQ(word, Tid());
  EXPECT_THAT(Futex(&word, FUTEX_UNLOCK_PI, 0), Returns(0));
  EXPECT_EQ(word, 0u);
}

TEST(PiFutex, TakesAFreeLockPrivately) {
  Word word = 0;
  EXPECT_THAT(Futex(&word, FUTEX_LOCK_PI_PRIVATE, 0), Returns(0));
  EXPECT_EQ(word, Tid());
  EXPECT_THAT(Futex(&word, FUTEX_UNLOCK_PI_PRIVATE, 0), Returns(0));
  EXPECT_EQ(word, 0u);
}

TEST(PiFutex, Lock2TakesAFreeLock) {
  Word word = 0;
  EXPECT_THAT(Futex(&word, FUTEX_LOCK_PI2, 0), Returns(0));
  EXPECT_EQ(word, Tid());
  EXPECT_THAT(Futex(&word, FUTEX_UNLOCK_PI, 0), Returns(0));
}

TEST(PiFutex, TrylockTakesAFreeLock) {
  Word word = 0;
  EXPECT_THAT(Futex(&word, FUTEX_TRYLOCK_PI, 0), Returns(0));
  EXPECT_EQ(word, Tid());
}

TEST(PiFutex, AnUnlockFromUserSpaceIsSeen) {
  Word word = Tid();  // As an atomic exchange takes it.
  EXPECT_THAT(Futex(&word, FUTEX_UNLOCK_PI, 0), Returns(0));
  EXPECT_EQ(word, 0u);
}

TEST(PiFutex, OwnLockIsADeadlock) {
  Word word = Tid();
  EXPECT_THAT(Futex(&word, FUTEX_LOCK_PI, 0), FailsWith(EDEADLK));
  EXPECT_THAT(Futex(&word, FUTEX_LOCK_PI2, 0), FailsWith(EDEADLK));
  EXPECT_THAT(Futex(&word, FUTEX_TRYLOCK_PI, 0), FailsWith(EDEADLK));
}

TEST(PiFutex, OnlyTheOwnerUnlocks) {
  Word word = 0;
  EXPECT_THAT(Futex(&word, FUTEX_UNLOCK_PI, 0), FailsWith(EPERM));
  Owner owner(&word);
  EXPECT_EQ(word, owner.tid());
  EXPECT_THAT(Futex(&word, FUTEX_UNLOCK_PI, 0), FailsWith(EPERM));
}

TEST(PiFutex, OwnerMustExist) {
  Word word = 0x3ffffff0;  // Above any pid.
  EXPECT_THAT(Futex(&word, FUTEX_LOCK_PI, 0), FailsWith(ESRCH));
  EXPECT_THAT(Futex(&word, FUTEX_TRYLOCK_PI, 0), FailsWith(ESRCH));
}

TEST(PiFutex, TrylockOfAHeldLock) {
  Word word = 0;
  Owner owner(&word);
  EXPECT_THAT(Futex(&word, FUTEX_TRYLOCK_PI, 0), FailsWith(EAGAIN));
}

TEST(PiFutex, TimeIsAbsoluteRealTime) {
  Word word = 0;
  Owner owner(&word);
  const timespec until = At(CLOCK_REALTIME, 30);
  EXPECT_THAT(Futex(&word, FUTEX_LOCK_PI, 0, &until), FailsWith(ETIMEDOUT));
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  EXPECT_TRUE(now.tv_sec > until.tv_sec ||
              (now.tv_sec == until.tv_sec && now.tv_nsec >= until.tv_nsec));
}

TEST(PiFutex, Lock2HasAbsoluteMonotonicTime) {
  Word word = 0;
  Owner owner(&word);
  const timespec until = At(CLOCK_MONOTONIC, 30);
  EXPECT_THAT(Futex(&word, FUTEX_LOCK_PI2, 0, &until), FailsWith(ETIMEDOUT));
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  EXPECT_TRUE(now.tv_sec > until.tv_sec ||
              (now.tv_sec == until.tv_sec && now.tv_nsec >= until.tv_nsec));
}

TEST(PiFutex, UnlockHandsOver) {
  Word word = 0;
  ASSERT_THAT(Futex(&word, FUTEX_LOCK_PI, 0), Returns(0));
  std::atomic<int> result = -1;
  std::atomic<uint32_t> seen = 0;
  Thread waiter([&] {
    result = static_cast<int>(Futex(&word, FUTEX_LOCK_PI, 0));
    seen = word.load();
    Futex(&word, FUTEX_UNLOCK_PI, 0);
  });
  EXPECT_TRUE(Eventually([&] { return (word & FUTEX_WAITERS) != 0; }));
  EXPECT_EQ(word, Tid() | FUTEX_WAITERS);
  EXPECT_TRUE(waiter.AwaitSleep());
  EXPECT_THAT(Futex(&word, FUTEX_UNLOCK_PI, 0), Returns(0));
  waiter.Join();
  EXPECT_EQ(result, 0);
  EXPECT_EQ(seen & FUTEX_TID_MASK, static_cast<uint32_t>(waiter.tid()));
  EXPECT_EQ(word & ~FUTEX_WAITERS, 0u);
}

TEST(PiFutex, HandsOverInOrder) {
  Word word = 0;
  ASSERT_THAT(Futex(&word, FUTEX_LOCK_PI, 0), Returns(0));
  std::vector<pid_t> order;
  std::vector<std::unique_ptr<Thread>> waiters;
  for (int i = 0; i < 4; ++i) {
    waiters.push_back(std::make_unique<Thread>([&] {
      if (Futex(&word, FUTEX_LOCK_PI, 0) != 0) return;
      order.push_back(gettid());
      Futex(&word, FUTEX_UNLOCK_PI, 0);
    }));
    EXPECT_TRUE(Eventually([&] { return (word & FUTEX_WAITERS) != 0; }));
    EXPECT_TRUE(waiters.back()->AwaitSleep());
  }
  EXPECT_THAT(Futex(&word, FUTEX_UNLOCK_PI, 0), Returns(0));
  for (const auto& waiter : waiters) waiter->Join();
  std::vector<pid_t> expected;
  for (const auto& waiter : waiters) expected.push_back(waiter->tid());
  EXPECT_EQ(order, expected);
}

TEST(PiFutex, ExcludesUnderContention) {
  Word word = 0;
  int counter = 0;
  const auto work = [&] {
    for (int i = 0; i < 200; ++i) {
      uint32_t free = 0;
      if (!word.compare_exchange_strong(free, Tid())) Futex(&word, FUTEX_LOCK_PI_PRIVATE, 0);
      ++counter;
      uint32_t own = Tid();
      if (!word.compare_exchange_strong(own, 0)) Futex(&word, FUTEX_UNLOCK_PI_PRIVATE, 0);
    }
  };
  { Thread a(work), b(work), c(work); }
  EXPECT_EQ(counter, 600);
  EXPECT_EQ(word, 0u);
}

TEST(PiFutex, CyclesAreDeadlocks) {
  Word first = 0, second = 0;
  ASSERT_THAT(Futex(&first, FUTEX_LOCK_PI, 0), Returns(0));
  std::atomic<int> result = -1;
  Thread other([&] {
    Futex(&second, FUTEX_LOCK_PI, 0);
    result = static_cast<int>(Futex(&first, FUTEX_LOCK_PI, 0));
    Futex(&first, FUTEX_UNLOCK_PI, 0);
    Futex(&second, FUTEX_UNLOCK_PI, 0);
  });
  EXPECT_TRUE(Eventually([&] { return (first & FUTEX_WAITERS) != 0; }));
  EXPECT_TRUE(other.AwaitSleep());
  EXPECT_THAT(Futex(&second, FUTEX_LOCK_PI, 0), FailsWith(EDEADLK));
  EXPECT_THAT(Futex(&first, FUTEX_UNLOCK_PI, 0), Returns(0));
  other.Join();
  EXPECT_EQ(result, 0);
}

TEST(PiFutex, SignalsDoNotEndTheWait) {
  ScopedAction action(SIGUSR1, [](int) {});
  Word word = 0;
  ASSERT_THAT(Futex(&word, FUTEX_LOCK_PI, 0), Returns(0));
  std::atomic<int> result = -1;
  Thread waiter([&] {
    result = static_cast<int>(Futex(&word, FUTEX_LOCK_PI, 0));
    Futex(&word, FUTEX_UNLOCK_PI, 0);
  });
  EXPECT_TRUE(Eventually([&] { return (word & FUTEX_WAITERS) != 0; }));
  EXPECT_TRUE(waiter.AwaitSleep());
  EXPECT_THAT(syscall(SYS_tgkill, getpid(), waiter.tid(), SIGUSR1), Returns(0));
  EXPECT_TRUE(waiter.AwaitSleep());
  EXPECT_EQ(result, -1);
  EXPECT_THAT(Futex(&word, FUTEX_UNLOCK_PI, 0), Returns(0));
  waiter.Join();
  EXPECT_EQ(result, 0);
}

TEST(PiFutex, ADeadOwnerLeavesItsMark) {
  Word word = 0;
  auto owner = std::make_unique<Owner>(&word);
  std::atomic<int> result = -1;
  std::atomic<uint32_t> seen = 0;
  Thread waiter([&] {
    result = static_cast<int>(Futex(&word, FUTEX_LOCK_PI, 0));
    seen = word.load();
  });
  EXPECT_TRUE(Eventually([&] { return (word & FUTEX_WAITERS) != 0; }));
  EXPECT_TRUE(waiter.AwaitSleep());
  owner->Release(/*unlock=*/false);
  waiter.Join();
  EXPECT_EQ(result, 0);
  EXPECT_EQ(seen & FUTEX_TID_MASK, static_cast<uint32_t>(waiter.tid()));
  EXPECT_NE(seen & FUTEX_OWNER_DIED, 0u);
}

TEST(PiFutex, TheMarkOfADeadOwnerIsKept) {
  Word word = FUTEX_OWNER_DIED;
  EXPECT_THAT(Futex(&word, FUTEX_LOCK_PI, 0), Returns(0));
  EXPECT_EQ(word, Tid() | FUTEX_OWNER_DIED);
}

TEST(PiFutex, AcrossProcesses) {
  SharedPage page;
  Word* word = page.words();
  ASSERT_THAT(Futex(word, FUTEX_LOCK_PI, 0), Returns(0));
  const pid_t child = Start([&] {
    CHILD_CHECK(Futex(word, FUTEX_LOCK_PI, 0) == 0);
    CHILD_CHECK((*word & FUTEX_TID_MASK) == static_cast<uint32_t>(getpid()));
    CHILD_CHECK(Futex(word, FUTEX_UNLOCK_PI, 0) == 0);
    return 0;
  });
  EXPECT_TRUE(Eventually([&] { return (*word & FUTEX_WAITERS) != 0; }));
  EXPECT_TRUE(WaitForState(child, 'S'));
  EXPECT_THAT(Futex(word, FUTEX_UNLOCK_PI, 0), Returns(0));
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST(PiFutex, AcrossMappingsOfOneMemfd) {
  const UniqueFd fd(memfd_create("words", MFD_CLOEXEC));
  ASSERT_THAT(ftruncate(fd.get(), 4096), Returns(0));
  auto* a =
      static_cast<Word*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0));
  auto* b =
      static_cast<Word*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0));
  ASSERT_THAT(Futex(a, FUTEX_LOCK_PI, 0), Returns(0));
  std::atomic<int> result = -1;
  Thread waiter([&] { result = static_cast<int>(Futex(b, FUTEX_LOCK_PI, 0)); });
  EXPECT_TRUE(Eventually([&] { return (*a & FUTEX_WAITERS) != 0; }));
  EXPECT_TRUE(waiter.AwaitSleep());
  EXPECT_THAT(Futex(a, FUTEX_UNLOCK_PI, 0), Returns(0));
  waiter.Join();
  EXPECT_EQ(result, 0);
  munmap(a, 4096);
  munmap(b, 4096);
}

TEST(PiFutex, KilledOwnerInAnotherProcess) {
  SharedPage page;
  Word* word = page.words();
  Pipe held, never;
  const pid_t child = Start([&] {
    CHILD_CHECK(Futex(word, FUTEX_LOCK_PI, 0) == 0);
    Post(held.write.get());
    Await(never.read.get());
    return 0;
  });
  ASSERT_TRUE(Await(held.read.get()));
  std::atomic<int> result = -1;
  Thread waiter([&] { result = static_cast<int>(Futex(word, FUTEX_LOCK_PI, 0)); });
  EXPECT_TRUE(Eventually([&] { return (*word & FUTEX_WAITERS) != 0; }));
  EXPECT_TRUE(waiter.AwaitSleep());
  EXPECT_THAT(kill(child, SIGKILL), Returns(0));
  waiter.Join();
  EXPECT_EQ(result, 0);
  EXPECT_EQ(*word & FUTEX_TID_MASK, static_cast<uint32_t>(waiter.tid()));
  EXPECT_NE(*word & FUTEX_OWNER_DIED, 0u);
  EXPECT_THAT(Wait(child), Killed(SIGKILL));
}

// FUTEX_WAIT_REQUEUE_PI and FUTEX_CMP_REQUEUE_PI: a condition and its lock.
TEST(RequeuePi, Errors) {
  Word condition = 0, lock = 0;
  EXPECT_THAT(Futex(&condition, FUTEX_WAIT_REQUEUE_PI, 0, nullptr, &condition, ~0u),
              FailsWith(EINVAL));
  EXPECT_THAT(Futex(&condition, FUTEX_WAIT_REQUEUE_PI, 1, nullptr, &lock, ~0u), FailsWith(EAGAIN));
  EXPECT_THAT(Futex(&condition, FUTEX_CMP_REQUEUE_PI, 1, Count(1), &condition, 0),
              FailsWith(EINVAL));
  EXPECT_THAT(Futex(&condition, FUTEX_CMP_REQUEUE_PI, 2, Count(1), &lock, 0), FailsWith(EINVAL));
  EXPECT_THAT(Futex(&condition, FUTEX_CMP_REQUEUE_PI, 0, Count(1), &lock, 0), FailsWith(EINVAL));
  EXPECT_THAT(Futex(&condition, FUTEX_CMP_REQUEUE_PI, 1, Count(1), &lock, 1), FailsWith(EAGAIN));
}

TEST(RequeuePi, NobodyWaits) {
  Word condition = 0, lock = 0;
  EXPECT_THAT(Futex(&condition, FUTEX_CMP_REQUEUE_PI, 1, Count(1), &lock, 0), Returns(0));
  EXPECT_EQ(lock, 0u);
}

TEST(RequeuePi, TimesOut) {
  Word condition = 0, lock = 0;
  const timespec until = At(CLOCK_MONOTONIC, 20);
  EXPECT_THAT(Futex(&condition, FUTEX_WAIT_REQUEUE_PI, 0, &until, &lock, ~0u),
              FailsWith(ETIMEDOUT));
}

TEST(RequeuePi, WakesWithTheFreeLock) {
  Word condition = 0, lock = 0;
  std::atomic<int> result = -1;
  std::atomic<uint32_t> seen = 0;
  Thread waiter([&] {
    result = static_cast<int>(Futex(&condition, FUTEX_WAIT_REQUEUE_PI, 0, nullptr, &lock, ~0u));
    seen = lock.load();
    Futex(&lock, FUTEX_UNLOCK_PI, 0);
  });
  long moved = 0;
  EXPECT_TRUE(Eventually([&] {
    moved = Futex(&condition, FUTEX_CMP_REQUEUE_PI, 1, Count(INT32_MAX), &lock, 0);
    return moved != 0;
  }));
  EXPECT_EQ(moved, 1);
  waiter.Join();
  EXPECT_EQ(result, 0);
  EXPECT_EQ(seen & FUTEX_TID_MASK, static_cast<uint32_t>(waiter.tid()));
}

TEST(RequeuePi, MovesToAHeldLock) {
  Word condition = 0, lock = 0;
  ASSERT_THAT(Futex(&lock, FUTEX_LOCK_PI, 0), Returns(0));
  std::atomic<int> woken = 0;
  std::vector<std::unique_ptr<Thread>> waiters;
  for (int i = 0; i < 3; ++i) {
    waiters.push_back(std::make_unique<Thread>([&] {
      if (Futex(&condition, FUTEX_WAIT_REQUEUE_PI, 0, nullptr, &lock, ~0u) == 0) ++woken;
      Futex(&lock, FUTEX_UNLOCK_PI, 0);
    }));
  }
  for (const auto& waiter : waiters) EXPECT_TRUE(waiter->AwaitSleep());
  long moved = 0;
  EXPECT_TRUE(Eventually([&] {
    moved += Futex(&condition, FUTEX_CMP_REQUEUE_PI, 1, Count(INT32_MAX), &lock, 0);
    return moved == 3;
  }));
  EXPECT_EQ(woken, 0);
  EXPECT_EQ(lock, Tid() | FUTEX_WAITERS);
  EXPECT_THAT(Futex(&lock, FUTEX_UNLOCK_PI, 0), Returns(0));
  for (const auto& waiter : waiters) waiter->Join();
  EXPECT_EQ(woken, 3);
}

TEST(RequeuePi, OnlyToTheLockThatTheWaiterNamed) {
  Word condition = 0, lock = 0, other = 0;
  Thread waiter([&] {
    Futex(&condition, FUTEX_WAIT_REQUEUE_PI, 0, nullptr, &lock, ~0u);
    Futex(&lock, FUTEX_UNLOCK_PI, 0);
  });
  EXPECT_TRUE(waiter.AwaitSleep());
  EXPECT_TRUE(Eventually([&] {
    return Futex(&condition, FUTEX_CMP_REQUEUE_PI, 1, Count(0), &other, 0) == -1 && errno == EINVAL;
  }));
  EXPECT_THAT(Futex(&condition, FUTEX_CMP_REQUEUE_PI, 1, Count(0), &lock, 0), Returns(1));
}

TEST(RequeuePi, TimesOutOnTheLock) {
  Word condition = 0, lock = 0;
  ASSERT_THAT(Futex(&lock, FUTEX_LOCK_PI, 0), Returns(0));
  std::atomic<int> error = 0;
  Thread waiter([&] {
    const timespec until = At(CLOCK_MONOTONIC, 300);
    error = Futex(&condition, FUTEX_WAIT_REQUEUE_PI, 0, &until, &lock, ~0u) == 0 ? -1 : errno;
  });
  EXPECT_TRUE(waiter.AwaitSleep());
  EXPECT_TRUE(Eventually([&] {
    return Futex(&condition, FUTEX_CMP_REQUEUE_PI, 1, Count(1), &lock, 0) == 1 || error != 0;
  }));
  waiter.Join();
  EXPECT_EQ(error, ETIMEDOUT);
  EXPECT_THAT(Futex(&lock, FUTEX_UNLOCK_PI, 0), Returns(0));
}

// The same through the C library.
class PiMutex : public testing::Test {
 protected:
  void Init(pthread_mutex_t* mutex, bool shared, bool robust) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    EXPECT_EQ(pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT), 0);
    if (shared) pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    if (robust) pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    EXPECT_EQ(pthread_mutex_init(mutex, &attributes), 0);
    pthread_mutexattr_destroy(&attributes);
  }
};

TEST_F(PiMutex, Excludes) {
  pthread_mutex_t mutex;
  Init(&mutex, false, false);
  int counter = 0;
  const auto work = [&] {
    for (int i = 0; i < 200; ++i) {
      pthread_mutex_lock(&mutex);
      ++counter;
      pthread_mutex_unlock(&mutex);
    }
  };
  { Thread a(work), b(work), c(work); }
  EXPECT_EQ(counter, 600);
}

TEST_F(PiMutex, TimesOut) {
  pthread_mutex_t mutex;
  Init(&mutex, false, false);
  pthread_mutex_lock(&mutex);
  Thread([&] {
    const timespec real = At(CLOCK_REALTIME, 10), monotonic = At(CLOCK_MONOTONIC, 10);
    EXPECT_EQ(pthread_mutex_timedlock(&mutex, &real), ETIMEDOUT);
    EXPECT_EQ(pthread_mutex_clocklock(&mutex, CLOCK_MONOTONIC, &monotonic), ETIMEDOUT);
    EXPECT_EQ(pthread_mutex_trylock(&mutex), EBUSY);
  }).Join();
  EXPECT_EQ(pthread_mutex_unlock(&mutex), 0);
}

TEST_F(PiMutex, WithACondition) {
  pthread_mutex_t mutex;
  Init(&mutex, false, false);
  pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
  bool ready = false;
  Thread waiter([&] {
    pthread_mutex_lock(&mutex);
    while (!ready) pthread_cond_wait(&condition, &mutex);
    pthread_mutex_unlock(&mutex);
  });
  pthread_mutex_lock(&mutex);
  ready = true;
  pthread_cond_broadcast(&condition);
  pthread_mutex_unlock(&mutex);
  waiter.Join();
}

TEST_F(PiMutex, RobustOwnerExits) {
  SharedPage page;
  auto* mutex = page.as<pthread_mutex_t>();
  Init(mutex, true, true);
  EXPECT_THAT(InChild([&] { return pthread_mutex_lock(mutex); }), Exited(0));
  EXPECT_EQ(pthread_mutex_lock(mutex), EOWNERDEAD);
  EXPECT_EQ(pthread_mutex_consistent(mutex), 0);
  EXPECT_EQ(pthread_mutex_unlock(mutex), 0);
  EXPECT_EQ(pthread_mutex_lock(mutex), 0);
}

TEST_F(PiMutex, RobustOwnerIsKilledWhileOthersWait) {
  SharedPage page;
  auto* mutex = page.as<pthread_mutex_t>();
  Init(mutex, true, true);
  Pipe held, never;
  const pid_t child = Start([&] {
    CHILD_CHECK(pthread_mutex_lock(mutex) == 0);
    Post(held.write.get());
    Await(never.read.get());
    return 0;
  });
  ASSERT_TRUE(Await(held.read.get()));
  std::atomic<int> result = -1;
  Thread waiter([&] { result = pthread_mutex_lock(mutex); });
  EXPECT_TRUE(waiter.AwaitSleep());
  EXPECT_THAT(kill(child, SIGKILL), Returns(0));
  waiter.Join();
  EXPECT_EQ(result, EOWNERDEAD);
  EXPECT_THAT(Wait(child), Killed(SIGKILL));
}

}  // namespace
