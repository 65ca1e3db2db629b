// System V semaphores: semget(2), semop(2), semctl(2).
#include <sys/syscall.h>

#include <algorithm>
#include <array>

#include "tests/conformance/ipc_support.h"

namespace {

TEST(Semget, NewSetsAreZeroAndOwned) {
  Sems sems(3, 0640);
  const semid_ds ds = sems.Stat();
  EXPECT_EQ(ds.sem_nsems, 3u);
  EXPECT_EQ(ds.sem_perm.mode, 0640);
  EXPECT_EQ(ds.sem_perm.uid, geteuid());
  EXPECT_EQ(ds.sem_perm.cuid, geteuid());
  EXPECT_EQ(ds.sem_perm.gid, getegid());
  EXPECT_EQ(ds.sem_perm.__key, IPC_PRIVATE);
  EXPECT_EQ(ds.sem_otime, 0);
  EXPECT_NE(ds.sem_ctime, 0);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(sems.Get(i), 0);
}

TEST(Semget, KeysFindTheSameSet) {
  const key_t key = FreshKey();
  EXPECT_THAT(semget(key, 2, 0600), FailsWith(ENOENT));
  const int id = semget(key, 2, 0600 | IPC_CREAT);
  ASSERT_THAT(id, Succeeds());
  EXPECT_THAT(semget(key, 2, 0600 | IPC_CREAT), Returns(id));
  EXPECT_THAT(semget(key, 0, 0), Returns(id));
  EXPECT_THAT(semget(key, 1, 0), Returns(id));
  EXPECT_THAT(semget(key, 2, 0600 | IPC_CREAT | IPC_EXCL), FailsWith(EEXIST));
  EXPECT_THAT(semget(key, 3, 0600), FailsWith(EINVAL));
  EXPECT_THAT(semctl(id, 0, IPC_RMID), Succeeds());
  EXPECT_THAT(semget(key, 2, 0600), FailsWith(ENOENT));
}

TEST(Semget, BadCounts) {
  EXPECT_THAT(semget(IPC_PRIVATE, 0, 0600), FailsWith(EINVAL));
  EXPECT_THAT(semget(IPC_PRIVATE, -1, 0600), FailsWith(EINVAL));
  EXPECT_THAT(semget(IPC_PRIVATE, 32001, 0600), FailsWith(EINVAL));
  EXPECT_THAT(semget(FreshKey(), 0, 0600 | IPC_CREAT), FailsWith(EINVAL));
}

TEST(Semget, PrivateIsAlwaysNew) {
  Sems a(1), b(1);
  EXPECT_NE(a.id(), b.id());
}

TEST(Semget, NumbersAreNotUsedAgainAtOnce) {
  const int first = semget(IPC_PRIVATE, 1, 0600);
  ASSERT_THAT(semctl(first, 0, IPC_RMID), Succeeds());
  Sems second(1);
  EXPECT_NE(second.id(), first);
}

TEST(Semget, RightsOfAnExistingSet) {
  const key_t key = FreshKey();
  const int id = semget(key, 1, 0604 | IPC_CREAT);
  ASSERT_THAT(id, Succeeds());
  EXPECT_THAT(AsNobody([&] {
                CHILD_CHECK(semget(key, 1, 0) == id);
                CHILD_CHECK(semget(key, 1, 0444) == id);
                CHILD_CHECK(ErrnoOf(semget(key, 1, 0600)) == EACCES);
                CHILD_CHECK(ErrnoOf(semget(key, 1, 0222)) == EACCES);
                return 0;
              }),
              Exited(0));
  semctl(id, 0, IPC_RMID);
}

TEST(Semop, AddsAndTakes) {
  Sems sems(2);
  EXPECT_THAT(sems.Op(0, 3), Succeeds());
  EXPECT_EQ(sems.Get(0), 3);
  EXPECT_THAT(sems.Op(0, -2), Succeeds());
  EXPECT_EQ(sems.Get(0), 1);
  EXPECT_EQ(sems.Get(1), 0);
  EXPECT_THAT(sems.Op(1, 0), Succeeds());
}

TEST(Semop, NoWaitWouldBlock) {
  Sems sems(1);
  EXPECT_THAT(sems.Op(0, -1, IPC_NOWAIT), FailsWith(EAGAIN));
  EXPECT_THAT(sems.Op(0, 1), Succeeds());
  EXPECT_THAT(sems.Op(0, 0, IPC_NOWAIT), FailsWith(EAGAIN));
}

TEST(Semop, AllOrNothing) {
  Sems sems(3);
  sems.Set(0, 5);
  sembuf ops[] = {{0, -2, 0}, {1, 4, 0}, {2, -1, IPC_NOWAIT}};
  EXPECT_THAT(semop(sems.id(), ops, 3), FailsWith(EAGAIN));
  EXPECT_EQ(sems.Get(0), 5);
  EXPECT_EQ(sems.Get(1), 0);
  sems.Set(2, 1);
  EXPECT_THAT(semop(sems.id(), ops, 3), Succeeds());
  EXPECT_EQ(sems.Get(0), 3);
  EXPECT_EQ(sems.Get(1), 4);
  EXPECT_EQ(sems.Get(2), 0);
}

TEST(Semop, TheSameSemaphoreTwiceInOneCall) {
  Sems sems(1);
  sembuf ops[] = {{0, 2, 0}, {0, -1, 0}, {0, -1, 0}, {0, 0, IPC_NOWAIT}, {0, 7, 0}};
  EXPECT_THAT(semop(sems.id(), ops, 5), Succeeds());
  EXPECT_EQ(sems.Get(0), 7);
}

TEST(Semop, Errors) {
  Sems sems(2);
  sembuf op = {0, 1, 0};
  EXPECT_THAT(semop(-1, &op, 1), FailsWith(EINVAL));
  EXPECT_THAT(semop(0x7fffffff, &op, 1), FailsWith(EINVAL));
  EXPECT_THAT(semop(sems.id(), &op, 0), FailsWith(EINVAL));
  EXPECT_THAT(semop(sems.id(), reinterpret_cast<sembuf*>(8), 1), FailsWith(EFAULT));
  std::array<sembuf, 501> many;
  many.fill(op);
  EXPECT_THAT(semop(sems.id(), many.data(), 501), FailsWith(E2BIG));
  EXPECT_THAT(semop(sems.id(), many.data(), 500), Succeeds());
  EXPECT_EQ(sems.Get(0), 500);
  EXPECT_THAT(sems.Op(2, 1), FailsWith(EFBIG));
  EXPECT_THAT(sems.Op(0xffff, 1), FailsWith(EFBIG));
}

TEST(Semop, RangeIsKept) {
  Sems sems(1);
  EXPECT_THAT(sems.Set(0, 32767), Succeeds());
  EXPECT_THAT(sems.Op(0, 1), FailsWith(ERANGE));
  EXPECT_EQ(sems.Get(0), 32767);
  EXPECT_THAT(sems.Set(0, 32768), FailsWith(ERANGE));
  EXPECT_THAT(sems.Set(0, -1), FailsWith(ERANGE));
  sembuf ops[] = {{0, -5, 0}, {0, 6, 0}};
  EXPECT_THAT(semop(sems.id(), ops, 2), FailsWith(ERANGE));
  EXPECT_EQ(sems.Get(0), 32767);
}

TEST(Semop, RememberWho) {
  Sems sems(2);
  EXPECT_THAT(semctl(sems.id(), 0, GETPID), Returns(0));
  sems.Op(0, 1);
  EXPECT_THAT(semctl(sems.id(), 0, GETPID), Returns(getpid()));
  EXPECT_THAT(semctl(sems.id(), 1, GETPID), Returns(0));
  const pid_t child = Start([&] { return sems.Op(0, -1); });
  EXPECT_THAT(Wait(child), Exited(0));
  EXPECT_THAT(semctl(sems.id(), 0, GETPID), Returns(child));
  EXPECT_NE(sems.Stat().sem_otime, 0);
}

TEST(Semop, WaitsUntilItGrows) {
  Sems sems(1);
  const pid_t child = Start([&] { return sems.Op(0, -2); });
  ASSERT_TRUE(sems.AwaitWaiting(0, 1));
  EXPECT_THAT(semctl(sems.id(), 0, GETZCNT), Returns(0));
  sems.Op(0, 1);
  EXPECT_THAT(semctl(sems.id(), 0, GETNCNT), Returns(1));
  sems.Op(0, 1);
  EXPECT_THAT(Wait(child), Exited(0));
  EXPECT_EQ(sems.Get(0), 0);
  EXPECT_THAT(semctl(sems.id(), 0, GETNCNT), Returns(0));
}

TEST(Semop, WaitsForZero) {
  Sems sems(1);
  sems.Set(0, 2);
  const pid_t child = Start([&] { return sems.Op(0, 0); });
  ASSERT_TRUE(sems.AwaitWaiting(0, 1, GETZCNT));
  EXPECT_THAT(semctl(sems.id(), 0, GETNCNT), Returns(0));
  sems.Op(0, -1);
  EXPECT_THAT(semctl(sems.id(), 0, GETZCNT), Returns(1));
  sems.Op(0, -1);
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST(Semop, SetvalWakes) {
  Sems sems(1);
  const pid_t child = Start([&] { return sems.Op(0, -5); });
  ASSERT_TRUE(sems.AwaitWaiting(0, 1));
  EXPECT_THAT(sems.Set(0, 6), Succeeds());
  EXPECT_THAT(Wait(child), Exited(0));
  EXPECT_EQ(sems.Get(0), 1);
}

TEST(Semop, SetallWakes) {
  Sems sems(2);
  const pid_t child = Start([&] {
    sembuf ops[] = {{0, -1, 0}, {1, -1, 0}};
    return semop(sems.id(), ops, 2);
  });
  ASSERT_TRUE(sems.AwaitWaiting(0, 1));
  unsigned short values[] = {1, 1};
  EXPECT_THAT(semctl(sems.id(), 0, SETALL, values), Succeeds());
  EXPECT_THAT(Wait(child), Exited(0));
  EXPECT_EQ(sems.Get(0), 0);
  EXPECT_EQ(sems.Get(1), 0);
}

TEST(Semop, OneAfterTheOther) {
  // Each gets his turn exactly once.
  Sems sems(1);
  std::vector<pid_t> children;
  for (int i = 0; i < 5; ++i) children.push_back(Start([&] { return sems.Op(0, -1); }));
  ASSERT_TRUE(sems.AwaitWaiting(0, 5));
  sems.Op(0, 3);
  EXPECT_THAT(semctl(sems.id(), 0, GETNCNT), Returns(2));
  EXPECT_EQ(sems.Get(0), 0);
  sems.Op(0, 2);
  for (const pid_t child : children) EXPECT_THAT(Wait(child), Exited(0));
}

TEST(Semop, FirstComeFirstServed) {
  Sems sems(1);
  Pipe order;
  std::vector<pid_t> children;
  for (char i = 0; i < 3; ++i) {
    children.push_back(Start([&] {
      CHILD_CHECK(sems.Op(0, -1) == 0);
      CHILD_CHECK(write(order.write.get(), &i, 1) == 1);
      return 0;
    }));
    ASSERT_TRUE(sems.AwaitWaiting(0, i + 1));
  }
  for (char i = 0; i < 3; ++i) {
    sems.Op(0, 1);
    char got = -1;
    EXPECT_THAT(read(order.read.get(), &got, 1), Returns(1));
    EXPECT_EQ(got, i);
  }
  for (const pid_t child : children) EXPECT_THAT(Wait(child), Exited(0));
}

TEST(Semop, ALargerWishDoesNotHoldUpASmallerOne) {
  Sems sems(1);
  const pid_t large = Start([&] { return sems.Op(0, -5); });
  ASSERT_TRUE(sems.AwaitWaiting(0, 1));
  const pid_t small = Start([&] { return sems.Op(0, -1); });
  ASSERT_TRUE(sems.AwaitWaiting(0, 2));
  sems.Op(0, 1);
  EXPECT_THAT(Wait(small), Exited(0));
  sems.Op(0, 5);
  EXPECT_THAT(Wait(large), Exited(0));
}

TEST(Semop, WakersCanWakeInTurn) {
  // The first waiter's operation lets the second go on.
  Sems sems(2);
  const pid_t second = Start([&] { return sems.Op(1, -1); });
  ASSERT_TRUE(sems.AwaitWaiting(1, 1));
  const pid_t first = Start([&] {
    sembuf ops[] = {{0, -1, 0}, {1, 1, 0}};
    return semop(sems.id(), ops, 2);
  });
  ASSERT_TRUE(sems.AwaitWaiting(0, 1));
  sems.Op(0, 1);
  EXPECT_THAT(Wait(first), Exited(0));
  EXPECT_THAT(Wait(second), Exited(0));
}

TEST(Semop, RemovalEndsTheWait) {
  Sems sems(1);
  const pid_t child = Start([&] {
    CHILD_CHECK(ErrnoOf(sems.Op(0, -1)) == EIDRM);
    return 0;
  });
  ASSERT_TRUE(sems.AwaitWaiting(0, 1));
  EXPECT_THAT(semctl(sems.id(), 0, IPC_RMID), Succeeds());
  EXPECT_THAT(Wait(child), Exited(0));
  EXPECT_THAT(sems.Op(0, 1), FailsWith(EINVAL));
  EXPECT_THAT(sems.Get(0), FailsWith(EINVAL));
}

TEST(Semop, ASignalEndsTheWaitEvenWithRestart) {
  Sems sems(1);
  const pid_t child = Start([&] {
    ScopedAction action(
        SIGUSR1, [](int) {}, SA_RESTART);
    CHILD_CHECK(ErrnoOf(sems.Op(0, -1)) == EINTR);
    CHILD_CHECK(semctl(sems.id(), 0, GETNCNT) == 0);
    return 0;
  });
  ASSERT_TRUE(sems.AwaitWaiting(0, 1));
  kill(child, SIGUSR1);
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST(Semop, KilledWaitersAreForgotten) {
  Sems sems(1);
  const pid_t child = Start([&] { return sems.Op(0, -1); });
  ASSERT_TRUE(sems.AwaitWaiting(0, 1));
  kill(child, SIGKILL);
  EXPECT_THAT(Wait(child), Killed(SIGKILL));
  EXPECT_TRUE(sems.AwaitWaiting(0, 0));
  sems.Op(0, 1);
  EXPECT_EQ(sems.Get(0), 1);
}

TEST(Semop, NowaitLaterInTheCallWaitsAtTheFirst) {
  // The operation that blocks is the one whose flags count.
  Sems sems(2);
  sembuf ops[] = {{0, -1, 0}, {1, -1, IPC_NOWAIT}};
  const pid_t child = Start([&] {
    CHILD_CHECK(ErrnoOf(semop(sems.id(), ops, 2)) == EAGAIN);
    return 0;
  });
  ASSERT_TRUE(sems.AwaitWaiting(0, 1));
  sems.Op(0, 1);
  EXPECT_THAT(Wait(child), Exited(0));
  EXPECT_EQ(sems.Get(0), 1);
}

TEST(Semtimedop, TimesOut) {
  Sems sems(1);
  sembuf op = {0, -1, 0};
  const timespec soon = {0, 5'000'000};
  EXPECT_THAT(semtimedop(sems.id(), &op, 1, &soon), FailsWith(EAGAIN));
  const timespec now = {0, 0};
  EXPECT_THAT(semtimedop(sems.id(), &op, 1, &now), FailsWith(EAGAIN));
  sems.Op(0, 1);
  EXPECT_THAT(semtimedop(sems.id(), &op, 1, &now), Succeeds());
}

TEST(Semtimedop, BadTimes) {
  Sems sems(1);
  sems.Set(0, 9);
  sembuf op = {0, -1, 0};
  const timespec negative = {-1, 0}, large = {0, 1'000'000'000}, below = {0, -1};
  EXPECT_THAT(semtimedop(sems.id(), &op, 1, &negative), FailsWith(EINVAL));
  EXPECT_THAT(semtimedop(sems.id(), &op, 1, &large), FailsWith(EINVAL));
  EXPECT_THAT(semtimedop(sems.id(), &op, 1, &below), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_semtimedop, sems.id(), &op, 1, 8), FailsWith(EFAULT));
  EXPECT_THAT(semtimedop(sems.id(), &op, 1, nullptr), Succeeds());
  EXPECT_EQ(sems.Get(0), 8);
}

TEST(Semtimedop, IsWokenBeforeTheTime) {
  Sems sems(1);
  const pid_t child = Start([&] {
    sembuf op = {0, -1, 0};
    const timespec bound = {30, 0};
    return semtimedop(sems.id(), &op, 1, &bound);
  });
  ASSERT_TRUE(sems.AwaitWaiting(0, 1));
  sems.Op(0, 1);
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST(Semop, RightsAreChecked) {
  Sems readable(1, 0604), writable(1, 0602), none(1, 0600);
  EXPECT_THAT(AsNobody([&] {
                CHILD_CHECK(ErrnoOf(readable.Op(0, 1)) == EACCES);
                CHILD_CHECK(readable.Op(0, 0) == 0);
                CHILD_CHECK(writable.Op(0, 1) == 0);
                CHILD_CHECK(ErrnoOf(writable.Op(0, 0)) == EACCES);
                CHILD_CHECK(ErrnoOf(none.Op(0, 1)) == EACCES);
                CHILD_CHECK(ErrnoOf(none.Op(1, 1)) == EFBIG);
                return 0;
              }),
              Exited(0));
}

}  // namespace
