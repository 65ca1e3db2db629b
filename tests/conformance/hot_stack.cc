// sigaltstack(2) and getcpu(2) made again and again at one place: a kernel that takes short cuts
// for them tells of the thread's stack and CPU as they are at that moment.
#include <sched.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <thread>

#include "tests/conformance/support.h"

namespace {

// Enough for any short cut to be taken.
constexpr int kMany = 2000;
constexpr size_t kSize = 64 << 10;

extern "C" long site_sigaltstack(const stack_t* set, stack_t* old);
extern "C" long site_getcpu(unsigned* cpu, unsigned* node, void* unused);
asm(R"(
    .text
    .globl site_sigaltstack, site_getcpu
site_sigaltstack:
    mov $131, %eax
    syscall
    ret
site_getcpu:
    mov $309, %eax
    syscall
    ret
)");

class HotStack : public testing::Test {
 protected:
  void TearDown() override {
    const stack_t off = {nullptr, SS_DISABLE, 0};
    EXPECT_EQ(site_sigaltstack(&off, nullptr), 0);
  }
  static std::array<char, 2 * kSize> memory_;
};
std::array<char, 2 * kSize> HotStack::memory_;

TEST_F(HotStack, IsAlwaysTheLastOne) {
  stack_t last = {nullptr, SS_DISABLE, 0}, old = {};
  for (int i = 0; i < kMany; ++i) {
    const stack_t next = {memory_.data() + i % 16 * 16, 0, kSize + i % 7 * 64};
    ASSERT_EQ(site_sigaltstack(&next, &old), 0);
    ASSERT_EQ(old.ss_sp, last.ss_sp);
    ASSERT_EQ(old.ss_size, last.ss_size);
    ASSERT_EQ(old.ss_flags, last.ss_flags);
    ASSERT_EQ(site_sigaltstack(nullptr, &old), 0);
    ASSERT_EQ(old.ss_sp, next.ss_sp);
    last = next;
  }
}

TEST_F(HotStack, ErrorsChangeNothing) {
  const stack_t stack = {memory_.data(), 0, kSize};
  const stack_t small = {memory_.data(), 0, 100}, odd = {memory_.data(), 4, kSize};
  ASSERT_EQ(site_sigaltstack(&stack, nullptr), 0);
  for (int i = 0; i < kMany; ++i) {
    stack_t now = {};
    ASSERT_EQ(site_sigaltstack(&small, nullptr), -ENOMEM);
    ASSERT_EQ(site_sigaltstack(&odd, nullptr), -EINVAL);
    ASSERT_EQ(site_sigaltstack(reinterpret_cast<stack_t*>(8), nullptr), -EFAULT);
    ASSERT_EQ(site_sigaltstack(nullptr, reinterpret_cast<stack_t*>(8)), -EFAULT);
    ASSERT_EQ(site_sigaltstack(nullptr, &now), 0);
    ASSERT_EQ(now.ss_sp, stack.ss_sp);
    ASSERT_EQ(now.ss_size, kSize);
  }
}

TEST_F(HotStack, MayNotChangeUnderAHandler) {
  static int wrong, runs;
  wrong = runs = 0;
  ScopedAction action(
      SIGUSR1,
      [](int) {
        const stack_t other = {memory_.data() + kSize, 0, kSize};
        for (int i = 0; i < 20; ++i) {
          stack_t now = {};
          wrong += site_sigaltstack(nullptr, &now) != 0 || now.ss_flags != SS_ONSTACK;
          wrong += site_sigaltstack(&other, nullptr) != -EPERM;
        }
        ++runs;
      },
      SA_ONSTACK);
  const stack_t stack = {memory_.data(), 0, kSize};
  ASSERT_EQ(site_sigaltstack(&stack, nullptr), 0);
  for (int i = 0; i < kMany / 20; ++i) {
    raise(SIGUSR1);
    stack_t now = {};
    ASSERT_EQ(site_sigaltstack(nullptr, &now), 0);
    ASSERT_EQ(now.ss_flags, 0) << "back on the ordinary stack";
    ASSERT_EQ(now.ss_sp, stack.ss_sp);
  }
  EXPECT_EQ(runs, kMany / 20);
  EXPECT_EQ(wrong, 0);
}

TEST_F(HotStack, IsTheThreadsOwnAndInherited) {
  const stack_t stack = {memory_.data(), 0, kSize};
  for (int i = 0; i < kMany; ++i) ASSERT_EQ(site_sigaltstack(&stack, nullptr), 0);
  int flags = 0;
  std::thread([&flags] {
    stack_t now = {};
    if (site_sigaltstack(nullptr, &now) == 0) flags = now.ss_flags;
  }).join();
  EXPECT_EQ(flags, SS_DISABLE) << "a new thread has none";
  EXPECT_THAT(InChild([&stack] {
                stack_t now = {};
                CHILD_CHECK(site_sigaltstack(nullptr, &now) == 0);
                CHILD_CHECK(now.ss_sp == stack.ss_sp && now.ss_size == kSize && now.ss_flags == 0);
                return 0;
              }),
              Exited(0));
}

TEST(HotGetcpu, IsWhereTheThreadRuns) {
  EXPECT_THAT(
      InChild([] {
        cpu_set_t all;
        CHILD_CHECK(sched_getaffinity(0, sizeof all, &all) == 0);
        for (int i = 0; i < kMany; ++i) CHILD_CHECK(site_getcpu(nullptr, nullptr, nullptr) == 0);
        for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
          if (!CPU_ISSET(cpu, &all)) continue;
          cpu_set_t one;
          CPU_ZERO(&one);
          CPU_SET(cpu, &one);
          CHILD_CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
          for (int i = 0; i < 100; ++i) {
            unsigned now = ~0u, node = ~0u;
            CHILD_CHECK(site_getcpu(&now, &node, nullptr) == 0);
            CHILD_CHECK(now == static_cast<unsigned>(cpu) && node != ~0u);
          }
        }
        CHILD_CHECK(site_getcpu(reinterpret_cast<unsigned*>(8), nullptr, nullptr) == -EFAULT);
        return 0;
      }),
      Exited(0));
}

}  // namespace
