// rt_sigprocmask(2), getppid(2) and getpgrp(2) made again and again: what a kernel may answer
// without a look is never out of date, and no signal gets lost or comes where it is blocked.
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>

#include <atomic>
#include <thread>

#include "tests/conformance/support.h"

namespace {

// Enough for any short cut to be taken.
constexpr int kMany = 4000;

// Two forms that the C library has: the second loads the number earlier.
extern "C" long plain_mask(long how, const void* set, void* old, long size);
extern "C" long other_mask(long how, const void* set, void* old, long size);
asm(R"(
    .text
    .globl plain_mask, other_mask
plain_mask:
    mov %rcx, %r10
    mov $14, %eax
    syscall
    ret
other_mask:
    mov %rcx, %r10
    mov $14, %eax
    lea 0(%rsi), %rsi
    lea 1f(%rip), %r9
    syscall
1:  ret
)");
thread_local int t_calls;
long site_mask(long how, const void* set, void* old, long size) {
  return ++t_calls % 3 == 0 ? other_mask(how, set, old, size) : plain_mask(how, set, old, size);
}

constexpr uint64_t Bit(int signal) { return uint64_t{1} << (signal - 1); }
constexpr uint64_t kNever = Bit(SIGKILL) | Bit(SIGSTOP);

uint64_t Mask() {
  uint64_t mask = 0;
  site_mask(SIG_BLOCK, nullptr, &mask, 8);
  return mask;
}
void SetMask(uint64_t mask) { site_mask(SIG_SETMASK, &mask, nullptr, 8); }
uint64_t BlockedInStatus() {
  const std::string status = ReadFile("/proc/thread-self/status");
  const size_t at = status.find("SigBlk:\t");
  return at == std::string::npos ? ~0ul : std::stoull(status.substr(at + 8, 16), nullptr, 16);
}

void Heat() {
  const uint64_t set = Bit(SIGUSR2);
  for (int i = 0; i < kMany; ++i) {
    site_mask(SIG_BLOCK, &set, nullptr, 8);
    site_mask(SIG_UNBLOCK, &set, nullptr, 8);
  }
}

std::atomic<int> g_count;
void Count(int) { g_count = g_count + 1; }

TEST(HotMask, OldAndNewAreRight) {
  const uint64_t start = Mask();
  uint64_t model = start;
  for (int i = 0; i < kMany; ++i) {
    const uint64_t set = (i * 0x9e3779b97f4a7c15ull) & ~(Bit(SIGALRM) | Bit(SIGSEGV));
    uint64_t old = 1;
    const int how = i % 3;
    ASSERT_EQ(site_mask(how, &set, &old, 8), 0);
    ASSERT_EQ(old, model) << i;
    model = how == SIG_BLOCK ? model | set : how == SIG_UNBLOCK ? model & ~set : set;
    model &= ~kNever;
    ASSERT_EQ(Mask(), model) << i;
    if (i % 500 == 0) {
      ASSERT_EQ(BlockedInStatus(), model);
    }
  }
  SetMask(start);
}

TEST(HotMask, SetAndOldMayBeOne) {
  SetMask(0);
  for (int i = 0; i < kMany; ++i) {
    uint64_t both = Bit(SIGUSR1);
    ASSERT_EQ(site_mask(SIG_SETMASK, &both, &both, 8), 0);
    ASSERT_EQ(both, 0u);
    ASSERT_EQ(site_mask(SIG_SETMASK, &both, &both, 8), 0);
    ASSERT_EQ(both, Bit(SIGUSR1));
  }
}

TEST(HotMask, ErrorsStayRight) {
  Heat();
  const uint64_t start = Mask();
  uint64_t set = Bit(SIGUSR1);
  EXPECT_EQ(site_mask(3, &set, nullptr, 8), -EINVAL);
  EXPECT_EQ(site_mask(-1, &set, nullptr, 8), -EINVAL);
  EXPECT_EQ(site_mask(SIG_BLOCK, &set, nullptr, 4), -EINVAL);
  EXPECT_EQ(site_mask(SIG_BLOCK, &set, nullptr, 0x100000008), -EINVAL);
  EXPECT_EQ(site_mask(SIG_BLOCK, reinterpret_cast<void*>(8), nullptr, 8), -EFAULT);
  EXPECT_EQ(Mask(), start);
  // What cannot be told has been done all the same.
  EXPECT_EQ(site_mask(SIG_BLOCK, &set, reinterpret_cast<void*>(8), 8), -EFAULT);
  EXPECT_EQ(Mask(), start | set);
  EXPECT_EQ(site_mask(7, nullptr, &set, 8), 0);
  EXPECT_EQ(set, start | Bit(SIGUSR1));
  SetMask(start);
  // Half of it there, and the last bytes of a page.
  auto* pages = static_cast<char*>(
      mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  mprotect(pages + 4096, 4096, PROT_NONE);
  EXPECT_EQ(site_mask(SIG_BLOCK, pages + 4092, nullptr, 8), -EFAULT);
  EXPECT_EQ(site_mask(SIG_BLOCK, pages + 4088, pages + 4088, 8), 0);
  EXPECT_EQ(site_mask(SIG_BLOCK, &set, pages + 4090, 8), -EFAULT);
  mprotect(pages, 4096, PROT_READ);
  EXPECT_EQ(site_mask(SIG_SETMASK, &start, pages, 8), -EFAULT);
  EXPECT_EQ(Mask(), start);
  munmap(pages, 8192);
}

TEST(HotMask, APendingSignalComesBeforeTheCallReturns) {
  ScopedAction action(SIGUSR1, Count);
  g_count = 0;
  const uint64_t set = Bit(SIGUSR1);
  Heat();
  for (int i = 0; i < kMany / 4; ++i) {
    site_mask(SIG_BLOCK, &set, nullptr, 8);
    kill(getpid(), SIGUSR1);
    ASSERT_EQ(g_count, i);
    site_mask(SIG_UNBLOCK, &set, nullptr, 8);
    ASSERT_EQ(g_count, i + 1);
  }
}

TEST(HotMask, TheHandlersMaskAndItsEnd) {
  static uint64_t inside;
  struct sigaction action = {}, old;
  action.sa_sigaction = [](int, siginfo_t*, void* context) {
    inside = Mask();
    const uint64_t set = Bit(SIGHUP);
    site_mask(SIG_BLOCK, &set, nullptr, 8);  // Ends with the handler.
    sigaddset(&static_cast<ucontext_t*>(context)->uc_sigmask, SIGWINCH);
  };
  action.sa_flags = SA_SIGINFO;
  sigaddset(&action.sa_mask, SIGUSR2);
  sigaction(SIGUSR1, &action, &old);
  Heat();
  for (int i = 0; i < kMany / 8; ++i) {
    SetMask(Bit(SIGTTIN));
    raise(SIGUSR1);
    ASSERT_EQ(inside, Bit(SIGTTIN) | Bit(SIGUSR1) | Bit(SIGUSR2));
    ASSERT_EQ(Mask(), Bit(SIGTTIN) | Bit(SIGWINCH));
  }
  SetMask(0);
  sigaction(SIGUSR1, &old, nullptr);
}

// Another process sends, as fast as it can; each signal is queued.
TEST(HotMask, NoneIsLostAndNoneComesWhileBlocked) {
  static std::atomic<bool> blocked, wrong;
  const int signal = SIGRTMIN + 1;
  ScopedAction action(signal, [](int) {
    if (blocked) wrong = true;
    g_count = g_count + 1;
  });
  g_count = 0;
  wrong = false;
  const uint64_t set = Bit(signal);
  constexpr int kSent = 3000;
  const pid_t self = getpid();
  const pid_t sender = Start([&] {
    for (int i = 0; i < kSent; ++i) {
      while (sigqueue(self, signal, {}) != 0) CHILD_CHECK(errno == EAGAIN);
    }
    return 0;
  });
  for (int i = 0; g_count < kSent; ++i) {
    uint64_t old = 1;
    ASSERT_EQ(site_mask(SIG_BLOCK, &set, &old, 8), 0);
    blocked = true;
    ASSERT_EQ(old, 0u);
    for (int j = 0; j < i % 64; ++j) asm volatile("pause");
    blocked = false;
    ASSERT_EQ(site_mask(SIG_UNBLOCK, &set, &old, 8), 0);
    ASSERT_EQ(old, set);
  }
  EXPECT_FALSE(wrong);
  EXPECT_THAT(Wait(sender), Exited(0));
}

// What one thread blocks is taken by the other, whichever that is at the moment.
TEST(HotMask, AProcessesSignalFindsTheThreadThatTakesIt) {
  const int signal = SIGRTMIN + 2;
  ScopedAction action(signal, Count);
  g_count = 0;
  const uint64_t set = Bit(signal);
  std::atomic<bool> stop{false};
  std::atomic<int> turn{0};
  const auto toggle = [&](int self) {
    while (!stop) {
      // At least one of the two has it unblocked at any time.
      while (turn != self && !stop) sched_yield();
      for (int i = 0; i < 50; ++i) {
        site_mask(SIG_BLOCK, &set, nullptr, 8);
        site_mask(SIG_UNBLOCK, &set, nullptr, 8);
      }
      turn = 1 - self;
    }
  };
  std::thread other([&] { toggle(1); });
  std::thread sender([&] {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, nullptr);
    for (int i = 0; i < 500; ++i) {
      while (sigqueue(getpid(), signal, {}) != 0) {
      }
      while (g_count <= i) sched_yield();  // Each comes, although nobody asks for it.
    }
    stop = true;
  });
  toggle(0);
  sender.join();
  other.join();
  EXPECT_EQ(g_count, 500);
}

TEST(HotMask, OneForAThreadWaitsForIt) {
  const int signal = SIGRTMIN + 3;
  static std::atomic<int> taker;
  ScopedAction action(signal, [](int) {
    taker = static_cast<int>(syscall(SYS_gettid));
    g_count = g_count + 1;
  });
  g_count = 0;
  const uint64_t set = Bit(signal);
  std::atomic<int> tid{0}, ready{0}, sent{0};
  std::thread blocked([&] {
    Heat();
    tid = static_cast<int>(syscall(SYS_gettid));
    for (int i = 0; i < 200; ++i) {
      site_mask(SIG_BLOCK, &set, nullptr, 8);
      ready = i + 1;
      while (sent <= i) sched_yield();
      EXPECT_EQ(g_count, i);
      site_mask(SIG_UNBLOCK, &set, nullptr, 8);
      EXPECT_EQ(g_count, i + 1);
      EXPECT_EQ(taker, tid);
    }
  });
  for (int i = 0; i < 200; ++i) {
    while (ready <= i) sched_yield();
    EXPECT_THAT(syscall(SYS_tgkill, getpid(), tid.load(), signal), Returns(0));
    sent = i + 1;
  }
  blocked.join();
}

TEST(HotMask, ChildrenAndThreadsInheritIt) {
  Heat();
  const uint64_t set = Bit(SIGTTOU) | Bit(SIGURG);
  for (int i = 0; i < 4; ++i) {
    SetMask(i % 2 == 0 ? set : 0);
    const uint64_t expected = i % 2 == 0 ? set : 0;
    EXPECT_THAT(InChild([&] {
                  CHILD_CHECK(Mask() == expected);
                  Heat();
                  CHILD_CHECK(Mask() == expected);
                  return 0;
                }),
                Exited(0));
    std::thread([&] {
      EXPECT_EQ(Mask(), expected);
      Heat();
      EXPECT_EQ(Mask(), expected);
      SetMask(Bit(SIGHUP));
    }).join();
    EXPECT_EQ(Mask(), expected);
    const pid_t child = fork();
    if (child == 0) {
      execl("/bin/grep", "grep", "-q", i % 2 == 0 ? "SigBlk:.0000000000600000" : "SigBlk:.0*$",
            "/proc/self/status", nullptr);
      _exit(127);
    }
    EXPECT_THAT(Wait(child), Exited(0));
  }
  SetMask(0);
}

TEST(HotMask, TemporaryMasksEnd) {
  ScopedAction action(SIGUSR1, Count);
  g_count = 0;
  const uint64_t set = Bit(SIGUSR1);
  sigset_t none;
  sigemptyset(&none);
  Heat();
  for (int i = 0; i < 300; ++i) {
    site_mask(SIG_BLOCK, &set, nullptr, 8);
    kill(getpid(), SIGUSR1);
    ASSERT_THAT(sigsuspend(&none), FailsWith(EINTR));
    ASSERT_EQ(g_count, i + 1);
    ASSERT_EQ(Mask(), set);
    site_mask(SIG_UNBLOCK, &set, nullptr, 8);
  }
}

TEST(HotMask, WaitersSeeWhatIsBlocked) {
  const uint64_t set = Bit(SIGUSR1);
  sigset_t wanted;
  sigemptyset(&wanted);
  sigaddset(&wanted, SIGUSR1);
  ScopedAction action(SIGUSR1, Count);
  g_count = 0;
  Heat();
  for (int i = 0; i < 300; ++i) {
    site_mask(SIG_BLOCK, &set, nullptr, 8);
    kill(getpid(), SIGUSR1);
    const timespec now = {};
    ASSERT_EQ(sigtimedwait(&wanted, nullptr, &now), SIGUSR1);
    site_mask(SIG_UNBLOCK, &set, nullptr, 8);
    ASSERT_EQ(g_count, 0);
  }
}

// Makes a call fail with EPERM from now on.
bool Forbid(int number) {
  sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(number), 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{.len = std::size(code), .filter = code};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0;
}

TEST(HotMask, FiltersSeeTheCalls) {
  EXPECT_THAT(InChild([] {
                Heat();
                CHILD_CHECK(Forbid(SYS_rt_sigprocmask));
                const uint64_t set = Bit(SIGUSR1);
                for (int i = 0; i < kMany; ++i) {
                  CHILD_CHECK(site_mask(SIG_BLOCK, &set, nullptr, 8) == -EPERM);
                }
                return 0;
              }),
              Exited(0));
  EXPECT_THAT(InChild([] {
                const long self = syscall(SYS_getpid);
                for (int i = 0; i < kMany; ++i) CHILD_CHECK(getpid() == self && getuid() + 1 > 0);
                CHILD_CHECK(Forbid(SYS_getpid));
                for (int i = 0; i < kMany; ++i) {
                  CHILD_CHECK(getpid() == -EPERM);  // As the kernel says it.
                }
                return 0;
              }),
              Exited(0));
}

TEST(HotMask, ProcessGroupsAreNeverStale) {
  Pipe ready, changed;
  const pid_t child = Start([&] {
    for (int round = 0; round < 4; ++round) {
      const pid_t group = getpgrp();
      for (int i = 0; i < kMany; ++i) CHILD_CHECK(getpgrp() == group);
      Post(ready.write.get());
      CHILD_CHECK(Await(changed.read.get()));
      CHILD_CHECK(getpgrp() == (round % 2 == 0 ? getpid() : getppid()));
    }
    // Its own doing.
    for (int i = 0; i < kMany; ++i) CHILD_CHECK(getpgrp() == getppid());
    CHILD_CHECK(setpgid(0, 0) == 0 && getpgrp() == getpid());
    CHILD_CHECK(setpgid(0, getppid()) == 0 && getpgrp() == getppid());
    for (int i = 0; i < kMany; ++i) CHILD_CHECK(getpgrp() == getppid());
    CHILD_CHECK(setsid() == getpid() && getpgrp() == getpid());
    return 0;
  });
  const bool leads = getpgrp() == getpid() || setpgid(0, 0) == 0;
  ASSERT_TRUE(leads);
  for (int round = 0; round < 4; ++round) {
    ASSERT_TRUE(Await(ready.read.get()));
    ASSERT_THAT(setpgid(child, round % 2 == 0 ? child : getpid()), Returns(0));
    Post(changed.write.get());
  }
  EXPECT_THAT(Wait(child), Exited(0));
}

}  // namespace
