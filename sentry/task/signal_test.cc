#include "sentry/task/signal.h"

#include <gtest/gtest.h>

#include "sentry/task/fake_platform.h"
#include "sentry/task/signal_frame.h"

namespace sentry {
namespace {

TEST(SignalQueue, TakesLowestFirstAndFaultsBeforeAll) {
  SignalQueue queue;
  for (const int sig : {SIGTERM, SIGHUP, 40, SIGSEGV, 34}) {
    queue.Push(MakeSignalInfo(sig, SI_USER, 1, 0));
  }
  const SignalSet all = ~SignalSet();
  std::vector<int> order;
  while (const auto info = queue.Pop(all)) order.push_back(info->si_signo);
  EXPECT_EQ(order, (std::vector<int>{SIGSEGV, SIGHUP, SIGTERM, 34, 40}));
  EXPECT_TRUE(queue.pending().empty());
}

TEST(SignalQueue, QueuesRealTimeSignalsEachTime) {
  SignalQueue queue;
  EXPECT_TRUE(queue.Push(MakeSignalInfo(SIGUSR1, SI_USER, 1, 0)));
  EXPECT_FALSE(queue.Push(MakeSignalInfo(SIGUSR1, SI_USER, 2, 0)));
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(queue.Push(MakeSignalInfo(35, SI_QUEUE, i, 0)));
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(queue.pending().has(35));
    EXPECT_EQ(queue.Pop(SignalSet::Of(35))->si_pid, i);
  }
  EXPECT_FALSE(queue.pending().has(35));
  EXPECT_FALSE(queue.Pop(SignalSet::Of(SIGHUP)).has_value());
  EXPECT_EQ(queue.Pop(SignalSet::Of(SIGUSR1))->si_pid, 1);
}

TEST(SignalQueue, DiscardsSets) {
  SignalQueue queue;
  for (const int sig : {SIGTSTP, SIGSTOP, SIGINT}) queue.Push(MakeKernelSignalInfo(sig));
  queue.Discard(kStopSignals);
  EXPECT_EQ(queue.pending(), SignalSet::Of(SIGINT));
  EXPECT_EQ(queue.size(), 1u);
}

class NoGuest final : public platform::Guest {
  platform::Verdict OnSyscall(const platform::SyscallArgs&) override { return {}; }
  platform::Verdict OnContextSyscall(const platform::SyscallArgs&, platform::Context&) override {
    return {};
  }
  platform::Verdict OnInterrupt(platform::Context&, bool) override { return {}; }
  platform::Verdict OnFault(const siginfo_t&, platform::Context&) override { return {}; }
  void OnHostDeath(int) override {}
};

class SignalFrameTest : public testing::Test {
 protected:
  static constexpr uint64_t kStack = 0x100000, kSize = 0x10000;
  static constexpr uint64_t kSaRestorer = 0x04000000;

  SignalFrameTest() { space_->Map(kStack, kSize); }

  Ref<fake::FakeAddressSpace> space_ = MakeRef<fake::FakeAddressSpace>();
  NoGuest guest_;
  fake::FakePlatform platform_;
  fake::FakeThread thread_{space_, guest_};
  fake::FakeContext context_{platform_, thread_};
  UserMemory memory_{space_};
  SignalAction action_{.handler = 0x4000, .flags = kSaRestorer, .restorer = 0x5000};
};

TEST_F(SignalFrameTest, GoesThereAndBack) {
  context_.regs.rsp = kStack + 0x8000;
  context_.regs.rip = 0x1234;
  context_.regs.rbx = 77;
  context_.regs.eflags = 0x202 | 0x400;
  context_.fp_state.assign(832, std::byte{0});
  const uint32_t software[2] = {0x46505853, 832};
  std::memcpy(&context_.fp_state[464], software, sizeof(software));
  context_.fp_state[100] = std::byte{9};
  const platform::Registers before = context_.regs;
  SignalStack stack;
  const SignalSet mask = SignalSet::Of(SIGINT);
  ASSERT_TRUE(PushSignalFrame(memory_, context_, MakeSignalInfo(SIGUSR1, SI_USER, 5, 6), action_,
                              mask, stack)
                  .ok());
  EXPECT_EQ(context_.regs.rip, 0x4000u);
  EXPECT_EQ(context_.regs.rdi, uint64_t{SIGUSR1});
  EXPECT_EQ((context_.regs.rsp + 8) % 16, 0u);
  EXPECT_LE(context_.regs.rsp, before.rsp - 128 - 832 - 440);
  EXPECT_EQ(context_.regs.eflags & 0x400, 0u);
  EXPECT_EQ(*memory_.Read(UserPtr<const uint64_t>{UserAddr{context_.regs.rsp}}), 0x5000u);
  EXPECT_EQ(memory_.Read(UserPtr<const siginfo_t>{UserAddr{context_.regs.rsi}})->si_pid, 5);

  context_.fp_state.clear();
  context_.regs.rsp += 8;  // The handler's return.
  const auto restored = PopSignalFrame(memory_, context_);
  ASSERT_TRUE(restored.ok());
  EXPECT_EQ(restored->mask, mask);
  EXPECT_EQ(context_.regs.rip, before.rip);
  EXPECT_EQ(context_.regs.rsp, before.rsp);
  EXPECT_EQ(context_.regs.rbx, 77u);
  EXPECT_EQ(context_.regs.eflags, before.eflags);
  ASSERT_EQ(context_.fp_state.size(), 832u);
  EXPECT_EQ(context_.fp_state[100], std::byte{9});
}

TEST_F(SignalFrameTest, UsesTheAlternateStackAndItsBounds) {
  context_.regs.rsp = 0x10;  // Nothing is there.
  SignalStack stack{.base = kStack, .flags = 0, .size = kSize};
  const SignalInfo info = MakeKernelSignalInfo(SIGSEGV);
  EXPECT_FALSE(PushSignalFrame(memory_, context_, info, action_, {}, stack).ok());
  action_.flags |= SA_ONSTACK;
  ASSERT_TRUE(PushSignalFrame(memory_, context_, info, action_, {}, stack).ok());
  EXPECT_TRUE(OnSignalStack(stack, context_.regs.rsp));
  // Nested handlers use it up until there is no room.
  int nested = 0;
  while (PushSignalFrame(memory_, context_, info, action_, {}, stack).ok()) ++nested;
  EXPECT_GT(nested, 10);
  EXPECT_LT(nested, 100);
}

TEST_F(SignalFrameTest, WantsARestorer) {
  context_.regs.rsp = kStack + 0x8000;
  action_.flags = 0;
  SignalStack stack;
  EXPECT_FALSE(
      PushSignalFrame(memory_, context_, MakeKernelSignalInfo(SIGUSR1), action_, {}, stack).ok());
}

}  // namespace
}  // namespace sentry
