// rt_sigaction(2) asked again and again: what a kernel may tell without a look is never out of
// date.
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <array>
#include <atomic>
#include <cstring>
#include <string>
#include <thread>

#include "tests/conformance/support.h"

namespace {

// Enough for any short cut to be taken.
constexpr int kMany = 2000;

struct KernelAction {
  uint64_t handler, flags, restorer, mask;
  bool operator==(const KernelAction&) const = default;
};
constexpr KernelAction kUntouched{};

// Two forms that C libraries have: the second loads the number earlier.
extern "C" long plain_action(long signal, const void* action, void* old, long size);
extern "C" long other_action(long signal, const void* action, void* old, long size);
// Whether the carry flag and five registers are as before behind the call.
extern "C" long keeps_registers(long signal, void* old);
asm(R"(
    .text
    .globl plain_action, other_action, keeps_registers
plain_action:
    mov %rcx, %r10
    mov $13, %eax
    syscall
    ret
other_action:
    mov %rcx, %r10
    mov $13, %eax
    lea 0(%rsi), %rsi
    lea 1f(%rip), %r9
    syscall
1:  ret
keeps_registers:
    push %rbx
    mov %rsi, %rdx
    mov %rsi, %rbx
    xor %esi, %esi
    mov $8, %r10d
    mov $0x1234, %r8d
    mov $0x5678, %r9d
    stc
    mov $13, %eax
    syscall
    setc %cl
    movzbl %cl, %ecx
    cmp %rbx, %rdx
    jne 2f
    test %rsi, %rsi
    jne 2f
    cmp $8, %r10
    jne 2f
    cmp $0x1234, %r8
    jne 2f
    cmp $0x5678, %r9
    jne 2f
    mov %rcx, %rax
    pop %rbx
    ret
2:  xor %eax, %eax
    pop %rbx
    ret
)");
thread_local int t_calls;
long Action(long signal, const void* action, void* old, long size = 8) {
  return ++t_calls % 3 == 0 ? other_action(signal, action, old, size)
                            : plain_action(signal, action, old, size);
}

KernelAction Ask(int signal) {
  KernelAction old;
  std::memset(&old, 0xff, sizeof(old));
  Action(signal, nullptr, &old);
  return old;
}
long Set(int signal, const KernelAction& action) { return Action(signal, &action, nullptr); }

void Heat() {
  for (int i = 0; i < kMany; ++i) Ask(SIGWINCH);
}

// Others in this program have left something behind, but for their handlers.
class HotActions : public testing::Test {
 protected:
  void SetUp() override {
    for (int signal = 1; signal <= 64; ++signal) {
      const bool library = signal == 32 || signal == 33;
      if (!library && signal != SIGKILL && signal != SIGSTOP) Set(signal, kUntouched);
    }
  }
};

void Nothing(int) {}
KernelAction Handled(uint64_t mask) {
  constexpr uint64_t kRestorer = 0x04000000;
  struct sigaction handler = {};
  handler.sa_handler = Nothing;
  sigaction(SIGIO, &handler, nullptr);  // The C library knows where its handlers return to.
  KernelAction action = Ask(SIGIO);
  Set(SIGIO, kUntouched);
  action.flags |= kRestorer;
  action.mask = mask;
  return action;
}

TEST_F(HotActions, EachSignalsActionIsTold) {
  std::array<KernelAction, 65> model;
  for (int signal = 1; signal <= 64; ++signal) model[signal] = Ask(signal);
  const KernelAction ignored{.handler = 1, .flags = 0, .restorer = 0, .mask = 0};
  const KernelAction handled = Handled(0x200);
  for (int i = 0; i < kMany; ++i) {
    const int changed = 1 + i * 7 % 64;
    const bool library = changed == 32 || changed == 33;
    if (i % 5 == 0 && !library && changed != SIGKILL && changed != SIGSTOP) {
      const KernelAction& next = i % 3 == 0 ? kUntouched : i % 3 == 1 ? ignored : handled;
      KernelAction old;
      ASSERT_EQ(Action(changed, &next, &old), 0);
      ASSERT_EQ(old, model[changed]) << changed;
      model[changed] = next;
    }
    const int asked = 1 + i % 64;
    ASSERT_EQ(Ask(asked), model[asked]) << asked;
    ASSERT_EQ(Ask(changed), model[changed]) << changed;
  }
  SetUp();
}

TEST_F(HotActions, ErrorsStayRight) {
  Heat();
  KernelAction old;
  EXPECT_EQ(Action(0, nullptr, &old), -EINVAL);
  EXPECT_EQ(Action(65, nullptr, &old), -EINVAL);
  EXPECT_EQ(Action(-1, nullptr, &old), -EINVAL);
  EXPECT_EQ(Action(SIGWINCH, nullptr, &old, 4), -EINVAL);
  EXPECT_EQ(Action(SIGWINCH, nullptr, &old, 0x100000008), -EINVAL);
  EXPECT_EQ(Action(SIGKILL, &kUntouched, nullptr), -EINVAL);
  EXPECT_EQ(Action(SIGSTOP, nullptr, &old), 0);
  EXPECT_EQ(Action(SIGWINCH, nullptr, nullptr), 0);
  // The number is an int.
  EXPECT_EQ(Action(0x100000000 + SIGWINCH, nullptr, &old), 0);
  EXPECT_EQ(old, kUntouched);
  EXPECT_EQ(Action(SIGWINCH, nullptr, reinterpret_cast<void*>(8)), -EFAULT);
  EXPECT_EQ(Action(SIGWINCH, nullptr, reinterpret_cast<void*>(0x8000000000000000)), -EFAULT);
  auto* pages = static_cast<char*>(
      mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  mprotect(pages + 4096, 4096, PROT_NONE);
  for (int i = 1; i < 32; ++i) {
    ASSERT_EQ(Action(SIGWINCH, nullptr, pages + 4096 - i), -EFAULT) << i;
  }
  EXPECT_EQ(Action(SIGWINCH, nullptr, pages + 4064), 0);
  mprotect(pages, 4096, PROT_READ);
  EXPECT_EQ(Action(SIGWINCH, nullptr, pages), -EFAULT);
  munmap(pages, 8192);
}

TEST_F(HotActions, RegistersAndFlagsStay) {
  KernelAction old;
  for (int i = 0; i < kMany; ++i) {
    ASSERT_EQ(keeps_registers(1 + i % 64, &old), 1) << i;
  }
}

TEST_F(HotActions, WhatAnotherThreadSetsIsSeenAtOnce) {
  const KernelAction handled = Handled(0x400);
  std::atomic<int> turn{0};
  Heat();
  std::thread setter([&] {
    for (int i = 0; i < kMany; ++i) {
      while (turn != 2 * i) sched_yield();
      Set(SIGUSR2, i % 2 == 0 ? handled : kUntouched);
      turn = 2 * i + 1;
    }
  });
  for (int i = 0; i < kMany; ++i) {
    while (turn != 2 * i + 1) sched_yield();
    EXPECT_EQ(Ask(SIGUSR2), i % 2 == 0 ? handled : kUntouched) << i;
    turn = 2 * i + 2;
  }
  setter.join();
}

TEST_F(HotActions, AnActionForOneSignalEndsWithIt) {
  static std::atomic<int> calls;
  calls = 0;
  struct sigaction once = {};
  once.sa_handler = [](int) { calls = calls + 1; };
  once.sa_flags = SA_RESETHAND | SA_NODEFER;
  for (int i = 0; i < 30; ++i) {
    Heat();
    ASSERT_EQ(sigaction(SIGUSR1, &once, nullptr), 0);
    const KernelAction before = Ask(SIGUSR1);
    ASSERT_NE(before.handler, 0u);
    raise(SIGUSR1);
    KernelAction after = before;
    after.handler = 0;
    ASSERT_EQ(Ask(SIGUSR1), after);
    ASSERT_EQ(calls, i + 1);
    Set(SIGUSR1, kUntouched);
    ASSERT_EQ(Ask(SIGUSR1), kUntouched);
  }
}

TEST_F(HotActions, ChildrenHaveTheirOwn) {
  const KernelAction handled = Handled(0x800);
  Heat();
  for (int i = 0; i < 4; ++i) {
    const KernelAction& mine = i % 2 == 0 ? handled : kUntouched;
    const KernelAction& other = i % 2 == 0 ? kUntouched : handled;
    Set(SIGURG, mine);
    EXPECT_THAT(InChild([&] {
                  CHILD_CHECK(Ask(SIGURG) == mine);
                  Heat();
                  Set(SIGURG, other);
                  CHILD_CHECK(Ask(SIGURG) == other);
                  Heat();
                  CHILD_CHECK(Ask(SIGURG) == other);
                  return 0;
                }),
                Exited(0));
    EXPECT_EQ(Ask(SIGURG), mine);
  }
  Set(SIGURG, kUntouched);
}

constexpr size_t kStack = 256 * 1024;

// With the memory of this process; ends before its parent goes on.
template <typename Body>
int CloneAndWait(int flags, Body body) {
  std::vector<char> stack(kStack);
  const auto run = [](void* argument) { return (*static_cast<Body*>(argument))(); };
  const int child =
      clone(run, stack.data() + kStack, CLONE_VM | CLONE_VFORK | SIGCHLD | flags, &body);
  return Wait(child);
}

TEST_F(HotActions, AChildThatBorrowsTheMemoryHasItsOwn) {
  const KernelAction handled = Handled(0x1000);
  Heat();
  for (int i = 0; i < 50; ++i) {
    static bool right;
    right = false;
    CloneAndWait(0, [&] {
      right = Ask(SIGURG) == kUntouched;
      Set(SIGURG, handled);
      for (int j = 0; j < 100; ++j) right = right && Ask(SIGURG) == handled;
      for (int signal = 40; signal < 64; ++signal) right = right && Ask(signal) == kUntouched;
      return 0;
    });
    ASSERT_TRUE(right);
    ASSERT_EQ(Ask(SIGURG), kUntouched);
  }
}

TEST_F(HotActions, AProcessThatSharesThemChangesBoth) {
  const KernelAction handled = Handled(0x2000);
  Heat();
  for (int i = 0; i < 50; ++i) {
    static bool right;
    CloneAndWait(CLONE_SIGHAND, [&] {
      right = Ask(SIGURG) == kUntouched;
      Set(SIGURG, handled);
      right = right && Ask(SIGURG) == handled;
      return 0;
    });
    ASSERT_TRUE(right);
    ASSERT_EQ(Ask(SIGURG), handled);
    Set(SIGURG, kUntouched);
    ASSERT_EQ(Ask(SIGURG), kUntouched);
  }
}

TEST_F(HotActions, ExecveResetsHandlers) {
  Heat();
  const KernelAction handled = Handled(0);
  const KernelAction ignored{.handler = 1, .flags = 0, .restorer = 0, .mask = 0};
  Set(SIGTTIN, handled);
  Set(SIGTTOU, ignored);
  for (int i = 0; i < 3; ++i) {
    int out[2];
    ASSERT_THAT(pipe(out), Returns(0));
    const pid_t child = fork();
    if (child == 0) {
      dup2(out[1], 1);
      execl("/bin/cat", "cat", "/proc/self/status", nullptr);
      _exit(127);
    }
    close(out[1]);
    std::string status;
    char piece[4096];
    for (ssize_t n; (n = read(out[0], piece, sizeof(piece))) > 0;) status.append(piece, n);
    close(out[0]);
    EXPECT_THAT(Wait(child), Exited(0));
    EXPECT_NE(status.find("SigIgn:\t0000000000200000\nSigCgt:\t0000000000000000\n"),
              std::string::npos)
        << status;
  }
  Set(SIGTTIN, kUntouched);
  Set(SIGTTOU, kUntouched);
}

TEST_F(HotActions, AFilterSeesIt) {
  EXPECT_THAT(InChild([] {
                Heat();
                sock_filter code[] = {
                    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
                    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigaction, 0, 1),
                    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EDOM),
                    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
                };
                const sock_fprog program = {4, code};
                CHILD_CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
                CHILD_CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
                KernelAction old;
                for (int i = 0; i < 100; ++i) {
                  CHILD_CHECK(Action(SIGWINCH, nullptr, &old) == -EDOM);
                }
                return 0;
              }),
              Exited(0));
}

// Whoever asks is interrupted anywhere.
TEST_F(HotActions, SignalsInBetween) {
  static std::atomic<int> count;
  count = 0;
  const int signal = SIGRTMIN + 4;
  ScopedAction action(signal, [](int) { count = count + 1; });
  constexpr int kSent = 1000;
  const pid_t self = getpid();
  const pid_t sender = Start([&] {
    for (int i = 0; i < kSent; ++i) {
      while (sigqueue(self, signal, {}) != 0) CHILD_CHECK(errno == EAGAIN);
    }
    return 0;
  });
  for (int i = 0; count < kSent; ++i) {
    ASSERT_EQ(Ask(36 + i % 20 + (i % 20 >= 2 ? 1 : 0)), kUntouched);
    ASSERT_EQ(keeps_registers(SIGWINCH, nullptr), 1);
  }
  EXPECT_THAT(Wait(sender), Exited(0));
}

}  // namespace
