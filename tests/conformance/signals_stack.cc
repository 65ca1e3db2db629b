// Alternate stacks, flags of handlers, nested frames with the whole register state: sigaltstack(2),
// sigaction(2).
#include <immintrin.h>
#include <setjmp.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include <memory>

#include "tests/conformance/support.h"

#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1U << 31)
#endif

namespace {

constexpr int kSaUnsupported = 0x400, kSaExposeTagBits = 0x800;
volatile sig_atomic_t g_count;
void Count(int) { g_count = g_count + 1; }

struct KernelAction {
  void* handler;
  unsigned long flags;
  void* restorer;
  unsigned long mask;
};

class SignalStacks : public testing::Test {
 protected:
  void SetUp() override {
    g_count = 0;
    stack_ = static_cast<char*>(mmap(nullptr, kSize, PROT_READ | PROT_WRITE,
                                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  }
  void TearDown() override {
    const stack_t off = {nullptr, SS_DISABLE, 0};
    sigaltstack(&off, nullptr);
    munmap(stack_, kSize);
  }
  void Enable(int flags = 0) {
    const stack_t stack = {stack_, flags, kSize};
    ASSERT_THAT(sigaltstack(&stack, nullptr), Returns(0));
  }
  static constexpr size_t kSize = 256 << 10;
  static char* stack_;
};
char* SignalStacks::stack_;

TEST_F(SignalStacks, Errors) {
  stack_t now = {}, stack = {stack_, 0, 100};
  EXPECT_THAT(sigaltstack(&stack, nullptr), FailsWith(ENOMEM));
  stack = {stack_, 4, kSize};
  EXPECT_THAT(sigaltstack(&stack, nullptr), FailsWith(EINVAL));
  stack = {stack_, SS_ONSTACK | SS_DISABLE, kSize};
  EXPECT_THAT(sigaltstack(&stack, nullptr), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_sigaltstack, 8, nullptr), FailsWith(EFAULT));
  EXPECT_THAT(syscall(SYS_sigaltstack, nullptr, 8), FailsWith(EFAULT));
  EXPECT_THAT(sigaltstack(nullptr, &now), Returns(0));
  EXPECT_EQ(now.ss_flags, SS_DISABLE);
}

TEST_F(SignalStacks, OnStackAsAFlagIsTaken) {
  stack_t stack = {stack_, SS_ONSTACK, kSize}, now = {};
  EXPECT_THAT(sigaltstack(&stack, nullptr), Returns(0));
  EXPECT_THAT(sigaltstack(nullptr, &now), Returns(0));
  EXPECT_EQ(now.ss_flags, 0);
  EXPECT_EQ(now.ss_sp, stack_);
  EXPECT_EQ(now.ss_size, kSize);
}

TEST_F(SignalStacks, DisablingForgetsBaseAndSize) {
  Enable();
  stack_t off = {stack_, SS_DISABLE, kSize}, now = {};
  EXPECT_THAT(sigaltstack(&off, &now), Returns(0));
  EXPECT_EQ(now.ss_size, kSize);
  EXPECT_THAT(sigaltstack(nullptr, &now), Returns(0));
  EXPECT_EQ(now.ss_flags, SS_DISABLE);
  EXPECT_EQ(now.ss_size, 0u);
  EXPECT_EQ(now.ss_sp, nullptr);
}

stack_t g_inside;
int g_set_inside;
TEST_F(SignalStacks, ActiveInsideAndNotToBeChanged) {
  Enable();
  ScopedAction action(SIGUSR1, [](int) {
    sigaltstack(nullptr, &g_inside);
    const stack_t other = {stack_, 0, kSize / 2};
    g_set_inside = sigaltstack(&other, nullptr) == 0 ? 0 : errno;
  }, SA_ONSTACK);
  raise(SIGUSR1);
  EXPECT_EQ(g_inside.ss_flags, SS_ONSTACK);
  EXPECT_EQ(g_inside.ss_sp, stack_);
  EXPECT_EQ(g_set_inside, EPERM);
}

TEST_F(SignalStacks, AutoDisarm) {
  Enable(static_cast<int>(SS_AUTODISARM));
  static char* inside;
  ScopedAction action(SIGUSR1, [](int) {
    inside = static_cast<char*>(__builtin_frame_address(0));
    sigaltstack(nullptr, &g_inside);
    const stack_t other = {stack_, 0, kSize / 2};
    g_set_inside = sigaltstack(&other, nullptr) == 0 ? 0 : errno;
  }, SA_ONSTACK);
  raise(SIGUSR1);
  EXPECT_GE(inside, stack_);
  EXPECT_LT(inside, stack_ + kSize);
  EXPECT_EQ(g_inside.ss_flags, SS_DISABLE);
  EXPECT_EQ(g_set_inside, 0) << "it may be changed while in use";
  stack_t now = {};
  EXPECT_THAT(sigaltstack(nullptr, &now), Returns(0));
  EXPECT_EQ(static_cast<unsigned>(now.ss_flags), SS_AUTODISARM) << "the return brings it back";
  EXPECT_EQ(now.ss_size, kSize);
}

TEST_F(SignalStacks, AutoDisarmWithDisable) {
  stack_t off = {nullptr, static_cast<int>(SS_AUTODISARM | SS_DISABLE), 0}, now = {};
  EXPECT_THAT(sigaltstack(&off, nullptr), Returns(0));
  EXPECT_THAT(sigaltstack(nullptr, &now), Returns(0));
  EXPECT_EQ(static_cast<unsigned>(now.ss_flags), SS_AUTODISARM | SS_DISABLE);
}

TEST_F(SignalStacks, NestedHandlersStayOnIt) {
  Enable();
  static char *outer, *inner;
  ScopedAction second(SIGUSR2, [](int) {
    inner = static_cast<char*>(__builtin_frame_address(0));
  }, SA_ONSTACK);
  ScopedAction first(SIGUSR1, [](int) {
    outer = static_cast<char*>(__builtin_frame_address(0));
    raise(SIGUSR2);
  }, SA_ONSTACK);
  raise(SIGUSR1);
  EXPECT_LT(inner, outer) << "further down, not from the top again";
  EXPECT_GE(inner, stack_);
}

TEST_F(SignalStacks, FrameSaysWhichStackWasSet) {
  Enable();
  static ucontext_t context;
  ScopedAction action(SIGUSR1, [](int, siginfo_t*, void* uc) {
    memcpy(&context, uc, sizeof(context) - sizeof(context.__ssp) - sizeof(context.__fpregs_mem));
  }, SA_ONSTACK | SA_SIGINFO);
  raise(SIGUSR1);
  EXPECT_EQ(context.uc_stack.ss_sp, stack_);
  EXPECT_EQ(context.uc_stack.ss_size, kSize);
  EXPECT_EQ(context.uc_stack.ss_flags, 0);
}

TEST_F(SignalStacks, TooSmallForTheFrameKills) {
  EXPECT_THAT(InChild([] {
    const stack_t stack = {stack_, 0, 2048};
    CHILD_CHECK(sigaltstack(&stack, nullptr) == 0);
    ScopedAction action(SIGUSR1, Count, SA_ONSTACK);
    if (getauxval(AT_MINSIGSTKSZ) <= 2048) return 139;  // It would fit.
    raise(SIGUSR1);
    return 0;
  }), testing::AnyOf(Killed(SIGSEGV), Exited(139)));
}

TEST_F(SignalStacks, MinimumSizeInTheAuxiliaryVector) {
  const unsigned long needed = getauxval(AT_MINSIGSTKSZ);
  EXPECT_GE(needed, 1024u);
  const stack_t stack = {stack_, 0, needed + 4096};
  ASSERT_THAT(sigaltstack(&stack, nullptr), Returns(0));
  ScopedAction action(SIGUSR1, Count, SA_ONSTACK);
  raise(SIGUSR1);
  EXPECT_EQ(g_count, 1);
}

TEST_F(SignalStacks, ForkKeepsItAndExecDropsIt) {
  Enable();
  EXPECT_THAT(InChild([] {
    stack_t now = {};
    sigaltstack(nullptr, &now);
    return now.ss_size == kSize ? 0 : 1;
  }), Exited(0));
}

TEST_F(SignalStacks, JumpingOutLeavesItUsable) {
  Enable();
  static sigjmp_buf back;
  ScopedAction action(SIGUSR1, [](int) { siglongjmp(back, 1); }, SA_ONSTACK);
  static int i;
  for (i = 0; i < 3; ++i) {
    if (sigsetjmp(back, 1) == 0) {
      raise(SIGUSR1);
      ADD_FAILURE() << "raise returned";
    }
    stack_t now = {};
    sigaltstack(nullptr, &now);
    EXPECT_EQ(now.ss_flags, 0);
  }
}

TEST(HandlerFlags, UnknownOnesAreCleared) {
  // How a program finds out what the kernel knows: SA_UNSUPPORTED is never there on return.
  KernelAction old, wanted = {reinterpret_cast<void*>(+Count),
                              0x04000000ul | kSaUnsupported | kSaExposeTagBits | 0x10000ul, nullptr, 0};
  struct sigaction before;
  sigaction(SIGUSR1, nullptr, &before);
  ASSERT_THAT(syscall(SYS_rt_sigaction, SIGUSR1, &wanted, nullptr, 8), Returns(0));
  ASSERT_THAT(syscall(SYS_rt_sigaction, SIGUSR1, nullptr, &old, 8), Returns(0));
  EXPECT_EQ(old.flags & kSaUnsupported, 0u);
  EXPECT_EQ(old.flags & 0x10000, 0u);
  EXPECT_EQ(old.flags & kSaExposeTagBits, static_cast<unsigned long>(kSaExposeTagBits));
  sigaction(SIGUSR1, &before, nullptr);
}

TEST(HandlerFlags, AllKnownOnesComeBack) {
  const unsigned long all = SA_NOCLDSTOP | SA_NOCLDWAIT | SA_SIGINFO | SA_ONSTACK | SA_RESTART |
                            SA_NODEFER | SA_RESETHAND | 0x04000000;
  KernelAction old, wanted = {reinterpret_cast<void*>(+Count), all, nullptr, ~0ul};
  struct sigaction before;
  sigaction(SIGUSR1, nullptr, &before);
  ASSERT_THAT(syscall(SYS_rt_sigaction, SIGUSR1, &wanted, nullptr, 8), Returns(0));
  ASSERT_THAT(syscall(SYS_rt_sigaction, SIGUSR1, nullptr, &old, 8), Returns(0));
  EXPECT_EQ(old.flags, all);
  EXPECT_EQ(old.mask, ~0ul & ~(1ul << (SIGKILL - 1)) & ~(1ul << (SIGSTOP - 1)));
  sigaction(SIGUSR1, &before, nullptr);
}

TEST(HandlerFlags, OldOneIsWrittenEvenWhenItFaultsLate) {
  EXPECT_THAT(syscall(SYS_rt_sigaction, SIGUSR1, nullptr, 8, 8), FailsWith(EFAULT));
  EXPECT_THAT(syscall(SYS_rt_sigaction, 0, nullptr, nullptr, 8), FailsWith(EINVAL));
  KernelAction old;
  EXPECT_THAT(syscall(SYS_rt_sigaction, SIGKILL, nullptr, &old, 8), Returns(0)) << "asking is fine";
}

TEST(HandlerFlags, ResetHandWithSiginfoAndNoDefer) {
  EXPECT_THAT(InChild([] {
    static volatile sig_atomic_t depth;
    struct sigaction action = {};
    action.sa_flags = static_cast<int>(SA_RESETHAND | SA_NODEFER | SA_SIGINFO);
    action.sa_sigaction = [](int, siginfo_t*, void*) {
      depth = depth + 1;
      if (depth == 1) raise(SIGUSR1);  // The default action by now.
    };
    sigaction(SIGUSR1, &action, nullptr);
    raise(SIGUSR1);
    return 0;
  }), Killed(SIGUSR1));
}

TEST(HandlerFlags, NoChildWaitLeavesNoZombie) {
  g_count = 0;
  ScopedAction action(SIGCHLD, Count, SA_NOCLDWAIT);
  const pid_t child = Start([] { return 0; });
  EXPECT_THAT(waitpid(child, nullptr, 0), FailsWith(ECHILD));
  EXPECT_TRUE(Eventually([] { return g_count == 1; })) << "Linux sends the signal all the same";
}

TEST(HandlerFlags, NoChildStopCoversContinueToo) {
  g_count = 0;
  ScopedAction action(SIGCHLD, Count, SA_NOCLDSTOP);
  const pid_t child = Start([] {
    for (;;) pause();
    return 0;
  });
  kill(child, SIGSTOP);
  EXPECT_THAT(Wait(child, WUNTRACED), Stopped(SIGSTOP));
  kill(child, SIGCONT);
  EXPECT_TRUE(WIFCONTINUED(Wait(child, WCONTINUED)));
  EXPECT_EQ(g_count, 0);
  kill(child, SIGKILL);
  EXPECT_THAT(Wait(child), Killed(SIGKILL));
  EXPECT_TRUE(Eventually([] { return g_count == 1; }));
}

// The signal goes to the thread itself, by a plain call: nothing else touches the registers.
long RaisePlain(int signal) {
  long result;
  asm volatile("syscall"
               : "=a"(result)
               : "a"(SYS_tgkill), "D"(getpid()), "S"(gettid()), "d"(signal)
               : "rcx", "r11", "memory");
  return result;
}

TEST(VectorState, Ymm) {
  if (!__builtin_cpu_supports("avx")) GTEST_SKIP() << "no AVX";
  ScopedAction action(SIGUSR1, [](int) { asm volatile("vxorps %%ymm5,%%ymm5,%%ymm5\n" ::: "xmm5"); });
  alignas(32) uint64_t in[4] = {1, 2, 3, 4}, out[4] = {};
  const long pid = getpid(), tid = gettid();
  long result = SYS_tgkill;
  asm volatile("vmovdqu (%1), %%ymm5\n syscall\n vmovdqu %%ymm5, (%2)\n"
               : "+a"(result)
               : "r"(in), "r"(out), "D"(pid), "S"(tid), "d"(SIGUSR1)
               : "rcx", "r11", "xmm5", "memory");
  for (int i = 0; i < 4; ++i) EXPECT_EQ(out[i], in[i]) << i;
}

__attribute__((target("avx512f"))) void CheckZmm() {
  alignas(64) uint64_t in[8] = {1, 2, 3, 4, 5, 6, 7, 8}, out[8] = {};
  const long pid = getpid(), tid = gettid();
  long result = SYS_tgkill;
  uint16_t mask = 0xbeef, mask_out = 0;
  asm volatile(
      "kmovw %[m], %%k3\n vmovdqu64 (%[in]), %%zmm29\n syscall\n vmovdqu64 %%zmm29, (%[out])\n"
      "kmovw %%k3, %k[mo]\n"
      : "+a"(result), [mo] "=&b"(mask_out)
      : [in] "r"(in), [out] "r"(out), "D"(pid), "S"(tid), "d"(SIGUSR1), [m] "r"(uint32_t{mask})
      : "rcx", "r11", "xmm29", "k3", "memory");
  for (int i = 0; i < 8; ++i) EXPECT_EQ(out[i], in[i]) << i;
  EXPECT_EQ(mask_out, mask);
}

TEST(VectorState, ZmmAndMasks) {
  if (!__builtin_cpu_supports("avx512f")) GTEST_SKIP() << "no AVX-512";
  ScopedAction action(SIGUSR1, [](int) {
    asm volatile("vpxorq %%zmm29,%%zmm29,%%zmm29\n kxorw %%k3,%%k3,%%k3\n" ::: "memory");
  });
  CheckZmm();
}

struct FpState {
  uint16_t cwd, swd;
  uint32_t magic, extended_size;
  uint64_t features;
  uint32_t xstate_size, magic_behind;
  uint64_t header;
};
FpState g_fp;

void RecordFpState(int, siginfo_t*, void* uc) {
  const auto* bytes =
      reinterpret_cast<const char*>(static_cast<ucontext_t*>(uc)->uc_mcontext.fpregs);
  memcpy(&g_fp.cwd, bytes, 2);
  memcpy(&g_fp.magic, bytes + 464, 4);
  memcpy(&g_fp.extended_size, bytes + 468, 4);
  memcpy(&g_fp.features, bytes + 472, 8);
  memcpy(&g_fp.xstate_size, bytes + 480, 4);
  memcpy(&g_fp.magic_behind, bytes + g_fp.xstate_size, 4);
  memcpy(&g_fp.header, bytes + 512, 8);
}

TEST(VectorState, ExtendedStateInTheFrame) {
  ScopedAction action(SIGUSR1, RecordFpState);
  RaisePlain(SIGUSR1);
  EXPECT_EQ(g_fp.magic, 0x46505853u);
  EXPECT_EQ(g_fp.magic_behind, 0x46505845u);
  EXPECT_EQ(g_fp.extended_size, g_fp.xstate_size + 4);
  EXPECT_GE(g_fp.xstate_size, 576u);
  EXPECT_EQ(g_fp.features & 3, 3u) << "x87 and SSE";
  if (__builtin_cpu_supports("avx512f")) {
    EXPECT_EQ(g_fp.features & 0xe0, 0xe0u);
  }
  EXPECT_EQ(g_fp.cwd, 0x37f);
}

TEST(VectorState, HandlerStartsWithUsableFloatingPoint) {
  static volatile double result;
  ScopedAction action(SIGUSR1, [](int) {
    volatile double a = 1.5;
    result = a * 2;
  });
  RaisePlain(SIGUSR1);
  EXPECT_EQ(result, 3.0);
}

TEST(VectorState, HandlerMayChangeASavedRegister) {
  ScopedAction action(SIGUSR1, [](int, siginfo_t*, void* uc) {
    auto* fp = static_cast<ucontext_t*>(uc)->uc_mcontext.fpregs;
    fp->_xmm[6].element[0] = 0x12345678;
    // The instruction set may have left SSE in its initial state.
    uint64_t header;
    memcpy(&header, reinterpret_cast<char*>(fp) + 512, 8);
    header |= 2;
    memcpy(reinterpret_cast<char*>(fp) + 512, &header, 8);
  });
  uint32_t out[4] = {}, in[4] = {1, 2, 3, 4};
  const long pid = getpid(), tid = gettid();
  long result = SYS_tgkill;
  asm volatile("movdqu (%1), %%xmm6\n syscall\n movdqu %%xmm6, (%2)\n"
               : "+a"(result)
               : "r"(in), "r"(out), "D"(pid), "S"(tid), "d"(SIGUSR1)
               : "rcx", "r11", "xmm6", "memory");
  EXPECT_EQ(out[0], 0x12345678u);
  EXPECT_EQ(out[1], 2u);
}

TEST(NestedFrames, EachKeepsItsOwnState) {
  static volatile int depth;
  depth = 0;
  ScopedAction action(SIGUSR1, [](int) {
    depth = depth + 1;
    const int mine = depth;
    double value = mine * 1.25;
    asm volatile("" : "+x"(value));
    if (mine < 20) RaisePlain(SIGUSR1);
    asm volatile("" : "+x"(value));
    if (value != mine * 1.25) abort();
  }, SA_NODEFER);
  RaisePlain(SIGUSR1);
  EXPECT_EQ(depth, 20);
}

TEST(NestedFrames, ContextHoldsTheInterruptedMask) {
  static sigset_t outer, inner;
  ScopedAction second(SIGUSR2, [](int, siginfo_t*, void* uc) {
    inner = static_cast<ucontext_t*>(uc)->uc_sigmask;
  });
  ScopedAction first(SIGUSR1, [](int, siginfo_t*, void* uc) {
    outer = static_cast<ucontext_t*>(uc)->uc_sigmask;
    raise(SIGUSR2);
  });
  raise(SIGUSR1);
  EXPECT_EQ(sigismember(&outer, SIGUSR1), 0);
  EXPECT_EQ(sigismember(&inner, SIGUSR1), 1);
}

TEST(NestedFrames, SigsuspendsFrameHoldsTheMaskBefore) {
  static sigset_t saved;
  ScopedAction action(SIGUSR1, [](int, siginfo_t*, void* uc) {
    saved = static_cast<ucontext_t*>(uc)->uc_sigmask;
  });
  ScopedBlock block({SIGUSR1, SIGHUP});
  kill(getpid(), SIGUSR1);
  const sigset_t during = SetOf({SIGUSR2});
  EXPECT_THAT(sigsuspend(&during), FailsWith(EINTR));
  EXPECT_EQ(sigismember(&saved, SIGUSR1), 1);
  EXPECT_EQ(sigismember(&saved, SIGHUP), 1);
  EXPECT_EQ(sigismember(&saved, SIGUSR2), 0);
}

}  // namespace
