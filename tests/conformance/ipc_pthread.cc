// Locks of the C library between processes, in System V segments, in files of /dev/shm and in
// anonymous shared memory; named semaphores.
#include <pthread.h>
#include <semaphore.h>
#include <sys/mman.h>

#include <atomic>
#include <new>

#include "tests/conformance/ipc_support.h"

namespace {

constexpr size_t kSize = 8192;

struct Shared {
  pthread_mutex_t mutex;
  pthread_cond_t cond;
  pthread_barrier_t barrier;
  pthread_rwlock_t rwlock;
  pthread_spinlock_t spin;
  sem_t semaphore;
  int value;
  std::atomic<int> stage;
};

// Memory of one kind that two processes attach at different addresses.
enum class Kind { kSystemV, kFile, kAnonymous };

class Locks : public testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    shared_ = static_cast<Shared*>(Map());
    ASSERT_NE(shared_, nullptr);
    new (shared_) Shared{};
  }
  void TearDown() override {
    if (id_ >= 0) shmctl(id_, IPC_RMID, nullptr);
    if (!name_.empty()) shm_unlink(name_.c_str());
  }
  // Once more, for a child: another mapping of the same memory, where there can be one.
  Shared* Again() { return GetParam() == Kind::kAnonymous ? shared_ : static_cast<Shared*>(Map()); }

  void InitMutex(int type = PTHREAD_MUTEX_NORMAL, int robust = PTHREAD_MUTEX_STALLED,
                 int protocol = PTHREAD_PRIO_NONE) {
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_settype(&attr, type);
    pthread_mutexattr_setrobust(&attr, robust);
    pthread_mutexattr_setprotocol(&attr, protocol);
    ASSERT_EQ(pthread_mutex_init(&shared_->mutex, &attr), 0);
  }

  Shared* shared_ = nullptr;

 private:
  void* Map() {
    void* p = MAP_FAILED;
    if (GetParam() == Kind::kSystemV) {
      if (id_ < 0) id_ = shmget(IPC_PRIVATE, kSize, 0600);
      p = shmat(id_, nullptr, 0);
    } else if (GetParam() == Kind::kFile) {
      if (name_.empty()) name_ = "/conformance." + std::to_string(getpid());
      UniqueFd fd(shm_open(name_.c_str(), O_RDWR | O_CREAT, 0600));
      if (ftruncate(fd.get(), kSize) != 0) return nullptr;
      p = mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
    } else {
      p = mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    }
    return p == MAP_FAILED ? nullptr : p;
  }
  int id_ = -1;
  std::string name_;
};

INSTANTIATE_TEST_SUITE_P(Memory, Locks,
                         testing::Values(Kind::kSystemV, Kind::kFile, Kind::kAnonymous));

TEST_P(Locks, AMutexExcludes) {
  InitMutex();
  constexpr int kRounds = 2000;
  const auto count = [&](Shared* s) {
    for (int i = 0; i < kRounds; ++i) {
      CHILD_CHECK(pthread_mutex_lock(&s->mutex) == 0);
      const int seen = s->value;
      if (i % 100 == 0) sched_yield();
      s->value = seen + 1;
      CHILD_CHECK(pthread_mutex_unlock(&s->mutex) == 0);
    }
    return 0;
  };
  std::vector<pid_t> children;
  for (int i = 0; i < 3; ++i) children.push_back(Start([&] { return count(Again()); }));
  for (const pid_t child : children) EXPECT_THAT(Wait(child), Exited(0));
  EXPECT_EQ(shared_->value, 3 * kRounds);
}

TEST_P(Locks, AHeldMutexMakesOthersWait) {
  InitMutex();
  ASSERT_EQ(pthread_mutex_lock(&shared_->mutex), 0);
  const pid_t child = Start([&] {
    Shared* s = Again();
    CHILD_CHECK(pthread_mutex_trylock(&s->mutex) == EBUSY);
    CHILD_CHECK(pthread_mutex_lock(&s->mutex) == 0);
    CHILD_CHECK(s->value == 42);
    return pthread_mutex_unlock(&s->mutex);
  });
  EXPECT_TRUE(WaitForState(child, 'S'));
  shared_->value = 42;
  EXPECT_EQ(pthread_mutex_unlock(&shared_->mutex), 0);
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST_P(Locks, ARobustMutexTellsOfADeadOwner) {
  InitMutex(PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_ROBUST);
  EXPECT_THAT(InChild([&] { return pthread_mutex_lock(&Again()->mutex); }), Exited(0));
  EXPECT_EQ(pthread_mutex_lock(&shared_->mutex), EOWNERDEAD);
  EXPECT_EQ(pthread_mutex_consistent(&shared_->mutex), 0);
  EXPECT_EQ(pthread_mutex_unlock(&shared_->mutex), 0);
  EXPECT_EQ(pthread_mutex_lock(&shared_->mutex), 0);
  EXPECT_EQ(pthread_mutex_unlock(&shared_->mutex), 0);
}

TEST_P(Locks, ARobustMutexOfAKilledOwnerWakesAWaiter) {
  InitMutex(PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_ROBUST);
  const pid_t owner = Start([&] {
    Shared* s = Again();
    CHILD_CHECK(pthread_mutex_lock(&s->mutex) == 0);
    s->stage = 1;
    pause();
    return 0;
  });
  EXPECT_TRUE(Eventually([&] { return shared_->stage == 1; }));
  const pid_t waiter =
      Start([&] { return pthread_mutex_lock(&Again()->mutex) == EOWNERDEAD ? 0 : 1; });
  EXPECT_TRUE(WaitForState(waiter, 'S'));
  kill(owner, SIGKILL);
  EXPECT_THAT(Wait(owner), Killed(SIGKILL));
  EXPECT_THAT(Wait(waiter), Exited(0));
}

TEST_P(Locks, PriorityInheritance) {
  InitMutex(PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_STALLED, PTHREAD_PRIO_INHERIT);
  ASSERT_EQ(pthread_mutex_lock(&shared_->mutex), 0);
  const pid_t child = Start([&] {
    Shared* s = Again();
    CHILD_CHECK(pthread_mutex_lock(&s->mutex) == 0);
    CHILD_CHECK(s->value == 7);
    return pthread_mutex_unlock(&s->mutex);
  });
  EXPECT_TRUE(WaitForState(child, 'S'));
  shared_->value = 7;
  EXPECT_EQ(pthread_mutex_unlock(&shared_->mutex), 0);
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST_P(Locks, RobustWithPriorityInheritance) {
  InitMutex(PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_ROBUST, PTHREAD_PRIO_INHERIT);
  EXPECT_THAT(InChild([&] { return pthread_mutex_lock(&Again()->mutex); }), Exited(0));
  EXPECT_EQ(pthread_mutex_lock(&shared_->mutex), EOWNERDEAD);
  EXPECT_EQ(pthread_mutex_consistent(&shared_->mutex), 0);
  EXPECT_EQ(pthread_mutex_unlock(&shared_->mutex), 0);
}

TEST_P(Locks, ConditionVariables) {
  InitMutex();
  pthread_condattr_t attr;
  pthread_condattr_init(&attr);
  pthread_condattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
  ASSERT_EQ(pthread_cond_init(&shared_->cond, &attr), 0);
  const pid_t child = Start([&] {
    Shared* s = Again();
    pthread_mutex_lock(&s->mutex);
    while (s->value != 1) pthread_cond_wait(&s->cond, &s->mutex);
    s->value = 2;
    pthread_cond_broadcast(&s->cond);
    return pthread_mutex_unlock(&s->mutex);
  });
  pthread_mutex_lock(&shared_->mutex);
  shared_->value = 1;
  pthread_cond_broadcast(&shared_->cond);
  while (shared_->value != 2) pthread_cond_wait(&shared_->cond, &shared_->mutex);
  pthread_mutex_unlock(&shared_->mutex);
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST_P(Locks, Barriers) {
  pthread_barrierattr_t attr;
  pthread_barrierattr_init(&attr);
  pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
  ASSERT_EQ(pthread_barrier_init(&shared_->barrier, &attr, 3), 0);
  std::vector<pid_t> children;
  for (int i = 0; i < 2; ++i) {
    children.push_back(Start([&] {
      Shared* s = Again();
      s->stage.fetch_add(1);
      pthread_barrier_wait(&s->barrier);
      CHILD_CHECK(s->stage == 3);
      return 0;
    }));
  }
  shared_->stage.fetch_add(1);
  pthread_barrier_wait(&shared_->barrier);
  EXPECT_EQ(shared_->stage, 3);
  for (const pid_t child : children) EXPECT_THAT(Wait(child), Exited(0));
}

TEST_P(Locks, ReadersAndWriters) {
  pthread_rwlockattr_t attr;
  pthread_rwlockattr_init(&attr);
  pthread_rwlockattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
  ASSERT_EQ(pthread_rwlock_init(&shared_->rwlock, &attr), 0);
  ASSERT_EQ(pthread_rwlock_rdlock(&shared_->rwlock), 0);
  const pid_t child = Start([&] {
    Shared* s = Again();
    CHILD_CHECK(pthread_rwlock_tryrdlock(&s->rwlock) == 0);
    CHILD_CHECK(pthread_rwlock_unlock(&s->rwlock) == 0);
    CHILD_CHECK(pthread_rwlock_trywrlock(&s->rwlock) == EBUSY);
    CHILD_CHECK(pthread_rwlock_wrlock(&s->rwlock) == 0);
    return pthread_rwlock_unlock(&s->rwlock);
  });
  EXPECT_TRUE(WaitForState(child, 'S'));
  EXPECT_EQ(pthread_rwlock_unlock(&shared_->rwlock), 0);
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST_P(Locks, UnnamedSemaphores) {
  ASSERT_EQ(sem_init(&shared_->semaphore, 1, 0), 0);
  const pid_t child = Start([&] { return sem_wait(&Again()->semaphore); });
  EXPECT_TRUE(WaitForState(child, 'S'));
  EXPECT_EQ(sem_post(&shared_->semaphore), 0);
  EXPECT_THAT(Wait(child), Exited(0));
  EXPECT_THAT(sem_trywait(&shared_->semaphore), FailsWith(EAGAIN));
}

TEST(NamedSemaphore, BetweenProcesses) {
  const std::string name = "/conformance.sem." + std::to_string(getpid());
  EXPECT_EQ(sem_open(name.c_str(), 0), SEM_FAILED);
  sem_t* const semaphore = sem_open(name.c_str(), O_CREAT | O_EXCL, 0600, 1);
  ASSERT_NE(semaphore, SEM_FAILED);
  EXPECT_EQ(sem_open(name.c_str(), O_CREAT | O_EXCL, 0600, 1), SEM_FAILED);
  const pid_t child = Start([&] {
    sem_t* own = sem_open(name.c_str(), 0);
    CHILD_CHECK(own != SEM_FAILED);
    CHILD_CHECK(sem_wait(own) == 0);
    CHILD_CHECK(sem_wait(own) == 0);
    return 0;
  });
  EXPECT_TRUE(WaitForState(child, 'S'));
  sem_post(semaphore);
  EXPECT_THAT(Wait(child), Exited(0));
  int value = -1;
  EXPECT_EQ(sem_getvalue(semaphore, &value), 0);
  EXPECT_EQ(value, 0);
  timespec past = {1, 0};
  EXPECT_THAT(sem_timedwait(semaphore, &past), FailsWith(ETIMEDOUT));
  sem_close(semaphore);
  EXPECT_EQ(sem_unlink(name.c_str()), 0);
  EXPECT_THAT(sem_unlink(name.c_str()), FailsWith(ENOENT));
}

}  // namespace
