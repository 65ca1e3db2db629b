// futex_waitv(2), and futex_wake, futex_wait and futex_requeue of Linux 6.7.
#include <signal.h>
#include <sys/wait.h>

#include "tests/conformance/futex_support.h"

namespace {

constexpr long kWaitv = 449, kWake = 454, kWait = 455, kRequeue = 456;
constexpr uint32_t kSize32 = 2, kPrivate = 128;

struct Waitv {
  uint64_t value;
  uint64_t address;
  uint32_t flags;
  uint32_t reserved;
};
Waitv On(Word* word, uint32_t value, uint32_t flags = kSize32 | kPrivate) {
  return {value, reinterpret_cast<uint64_t>(word), flags, 0};
}
long WaitForAny(Waitv* waiters, unsigned count, const timespec* until = nullptr,
                clockid_t clock = CLOCK_MONOTONIC, unsigned flags = 0) {
  return syscall(kWaitv, waiters, count, flags, until, clock);
}
long Wake(Word* word, int count, unsigned long mask = ~0u, unsigned flags = kSize32 | kPrivate) {
  return syscall(kWake, word, mask, count, flags);
}
long WaitOn(Word* word, unsigned long value, unsigned long mask = ~0u,
            unsigned flags = kSize32 | kPrivate, const timespec* until = nullptr,
            clockid_t clock = CLOCK_MONOTONIC) {
  return syscall(kWait, word, value, mask, flags, until, clock);
}
long Requeue(Waitv* pair, int wake, int move, unsigned flags = 0) {
  return syscall(kRequeue, pair, flags, wake, move);
}

TEST(FutexWaitv, Errors) {
  Word word = 0;
  Waitv one = On(&word, 0);
  EXPECT_THAT(WaitForAny(&one, 0), FailsWith(EINVAL));
  EXPECT_THAT(WaitForAny(&one, 129), FailsWith(EINVAL));
  EXPECT_THAT(WaitForAny(nullptr, 1), FailsWith(EINVAL));
  EXPECT_THAT(WaitForAny(&one, 1, nullptr, CLOCK_MONOTONIC, 1), FailsWith(EINVAL));
  EXPECT_THAT(WaitForAny(reinterpret_cast<Waitv*>(8), 1), FailsWith(EFAULT));
}

TEST(FutexWaitv, BadElements) {
  Word word = 0;
  Waitv size = On(&word, 0, kPrivate);  // FUTEX2_SIZE_U8.
  EXPECT_THAT(WaitForAny(&size, 1), FailsWith(EINVAL));
  Waitv flags = On(&word, 0, 0x40 | kSize32);
  EXPECT_THAT(WaitForAny(&flags, 1), FailsWith(EINVAL));
  Waitv reserved = On(&word, 0);
  reserved.reserved = 1;
  EXPECT_THAT(WaitForAny(&reserved, 1), FailsWith(EINVAL));
  Waitv unaligned = On(Unaligned(&word), 0);
  EXPECT_THAT(WaitForAny(&unaligned, 1), FailsWith(EINVAL));
  Waitv nowhere = On(NoMemory(), 0);
  EXPECT_THAT(WaitForAny(&nowhere, 1), FailsWith(EFAULT));
}

TEST(FutexWaitv, BadClockAndTime) {
  Word word = 0;
  Waitv one = On(&word, 0);
  const timespec past = {0, 1}, bad = {0, -1};
  EXPECT_THAT(WaitForAny(&one, 1, &past, CLOCK_BOOTTIME), FailsWith(EINVAL));
  EXPECT_THAT(WaitForAny(&one, 1, &bad), FailsWith(EINVAL));
  EXPECT_THAT(WaitForAny(&one, 1, reinterpret_cast<timespec*>(8)), FailsWith(EFAULT));
}

TEST(FutexWaitv, AValueDiffers) {
  Word words[2] = {0, 1};
  Waitv waiters[] = {On(&words[0], 0), On(&words[1], 0)};
  EXPECT_THAT(WaitForAny(waiters, 2), FailsWith(EAGAIN));
}

TEST(FutexWaitv, TimesOut) {
  Word words[2] = {};
  Waitv waiters[] = {On(&words[0], 0), On(&words[1], 0)};
  const timespec monotonic = At(CLOCK_MONOTONIC, 10), real = At(CLOCK_REALTIME, 10);
  EXPECT_THAT(WaitForAny(waiters, 2, &monotonic), FailsWith(ETIMEDOUT));
  EXPECT_THAT(WaitForAny(waiters, 2, &real, CLOCK_REALTIME), FailsWith(ETIMEDOUT));
}

class WaitvIndex : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Futex, WaitvIndex, testing::Values(0, 1, 5, 63, 127));

TEST_P(WaitvIndex, TellsWhichWasWoken) {
  static Word words[128];
  std::vector<Waitv> waiters;
  for (Word& word : words) waiters.push_back(On(&word, 0));
  std::atomic<long> result = -2;
  Thread thread([&] { result = WaitForAny(waiters.data(), 128); });
  const int index = GetParam();
  EXPECT_TRUE(Eventually([&] { return Futex(&words[index], FUTEX_WAKE_PRIVATE, 1) == 1; }));
  thread.Join();
  EXPECT_EQ(result, index);
}

TEST(FutexWaitv, SharedBetweenProcesses) {
  SharedPage page;
  const pid_t child = Start([&] {
    Waitv waiters[] = {On(&page.words()[0], 0, kSize32), On(&page.words()[1], 0, kSize32)};
    return WaitForAny(waiters, 2) == 1 ? 0 : 1;
  });
  EXPECT_TRUE(Eventually([&] { return Futex(&page.words()[1], FUTEX_WAKE, 1) == 1; }));
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST(FutexWaitv, InterruptedByAHandler) {
  ScopedAction action(SIGUSR1, [](int) {});
  Word word = 0;
  std::atomic<int> error = 0;
  Thread thread([&] {
    Waitv one = On(&word, 0);
    error = WaitForAny(&one, 1) == -1 ? errno : -1;
  });
  EXPECT_TRUE(thread.AwaitSleep());
  EXPECT_THAT(syscall(SYS_tgkill, getpid(), thread.tid(), SIGUSR1), Returns(0));
  thread.Join();
  EXPECT_EQ(error, EINTR);
}

TEST(Futex2, WakeErrors) {
  Word word = 0;
  EXPECT_THAT(Wake(&word, 1, ~0u, 0x40), FailsWith(EINVAL));
  EXPECT_THAT(Wake(&word, 1, ~0u, kPrivate), FailsWith(EINVAL));  // 8 bits wide.
  EXPECT_THAT(Wake(&word, 1, 0), FailsWith(EINVAL));
  EXPECT_THAT(Wake(Unaligned(&word), 1), FailsWith(EINVAL));
  EXPECT_THAT(Wake(NoMemory(), 1, ~0u, kSize32), FailsWith(EFAULT));
}

TEST(Futex2, WakeOfNobody) {
  Word word = 0;
  EXPECT_THAT(Wake(&word, 10), Returns(0));
}

TEST(Futex2, WaitErrors) {
  Word word = 0;
  const timespec bad = {0, -1}, past = {0, 1};
  EXPECT_THAT(WaitOn(&word, 1), FailsWith(EAGAIN));
  EXPECT_THAT(WaitOn(&word, 0, 0), FailsWith(EINVAL));
  EXPECT_THAT(WaitOn(&word, 0, ~0u, 0x40 | kSize32), FailsWith(EINVAL));
  EXPECT_THAT(WaitOn(&word, 1ul << 32), FailsWith(EINVAL));
  EXPECT_THAT(WaitOn(&word, 0, ~0u, kSize32, &bad), FailsWith(EINVAL));
  EXPECT_THAT(WaitOn(&word, 0, ~0u, kSize32, &past, CLOCK_BOOTTIME), FailsWith(EINVAL));
}

TEST(Futex2, WaitTimesOut) {
  Word word = 0;
  const timespec until = At(CLOCK_MONOTONIC, 10);
  EXPECT_THAT(WaitOn(&word, 0, ~0u, kSize32 | kPrivate, &until), FailsWith(ETIMEDOUT));
}

TEST(Futex2, WakeMeetsWait) {
  Word word = 0;
  std::atomic<long> result = -2;
  Thread thread([&] { result = WaitOn(&word, 0, 1); });
  EXPECT_TRUE(thread.AwaitSleep());
  EXPECT_THAT(Wake(&word, 1, 2), Returns(0));
  EXPECT_TRUE(Eventually([&] { return Wake(&word, 1, 1) == 1; }));
  thread.Join();
  EXPECT_EQ(result, 0);
}

TEST(Futex2, WakeMeetsTheOldWait) {
  Word word = 0;
  Thread thread([&] { Futex(&word, FUTEX_WAIT_PRIVATE, 0); });
  EXPECT_TRUE(Eventually([&] { return Wake(&word, 1) == 1; }));
}

TEST(Futex2, RequeueErrors) {
  Word first = 0, second = 0;
  Waitv pair[] = {On(&first, 0), On(&second, 0)};
  EXPECT_THAT(Requeue(pair, 1, 1, 1), FailsWith(EINVAL));
  EXPECT_THAT(Requeue(nullptr, 1, 1), FailsWith(EINVAL));
  EXPECT_THAT(Requeue(pair, -1, 1), FailsWith(EINVAL));
  pair[0].value = 1;
  EXPECT_THAT(Requeue(pair, 1, 1), FailsWith(EAGAIN));
}

TEST(Futex2, RequeueMovesSleepers) {
  Word first = 0, second = 0;
  Thread a([&] { WaitOn(&first, 0); });
  Thread b([&] { WaitOn(&first, 0); });
  EXPECT_TRUE(a.AwaitSleep() && b.AwaitSleep());
  // Nobody waits at the second but who has been moved. (A wait that something interrupts goes on at
  // the first one: see below.)
  Waitv pair[] = {On(&first, 0), On(&second, 0)};
  long woken = 0;
  EXPECT_TRUE(Eventually([&] {
    EXPECT_THAT(Requeue(pair, 0, 10), Succeeds());
    woken += Wake(&second, 10);
    return woken == 2;
  }));
}

// Who has been moved and is stopped begins anew where he began, as Linux restarts the call.
TEST(Futex2, AStopUndoesARequeue) {
  SharedPage page;
  Word *first = &page.words()[0], *second = &page.words()[1];
  const pid_t child = Start([&] { return WaitOn(first, 0, ~0u, kSize32) == 0 ? 0 : 1; });
  Waitv pair[] = {On(first, 0, kSize32), On(second, 0, kSize32)};
  ASSERT_TRUE(Eventually([&] { return Requeue(pair, 0, 1) == 1; }));
  ASSERT_THAT(kill(child, SIGSTOP), Returns(0));
  int status = 0;
  ASSERT_THAT(waitpid(child, &status, WUNTRACED), Returns(child));
  EXPECT_THAT(Wake(second, 1, ~0u, kSize32), Returns(0));
  ASSERT_THAT(kill(child, SIGCONT), Returns(0));
  EXPECT_TRUE(Eventually([&] { return Wake(first, 1, ~0u, kSize32) == 1; }));
  EXPECT_THAT(Wait(child), Exited(0));
}

}  // namespace
