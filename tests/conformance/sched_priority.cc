// Nice values, I/O priorities, memory barriers, restartable sequences.
#include <linux/membarrier.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/rseq.h>

#include "tests/conformance/futex_support.h"

namespace {

constexpr pid_t kNobody = 0x3ffffff0;

void BecomeNobody() { CHILD_CHECK(setgid(65534) == 0 && setuid(65534) == 0); }
void Limit(int resource, rlim_t value) {
  const rlimit limit = {value, value};
  CHILD_CHECK(setrlimit(static_cast<__rlimit_resource>(resource), &limit) == 0);
}

class NiceValue : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Nice, NiceValue, testing::Values(-20, -1, 0, 1, 19));

TEST_P(NiceValue, IsSetAndReported) {
  EXPECT_THAT(InChild([] {
                CHILD_CHECK(setpriority(PRIO_PROCESS, 0, GetParam()) == 0);
                errno = 0;
                CHILD_CHECK(getpriority(PRIO_PROCESS, 0) == GetParam() && errno == 0);
                CHILD_CHECK(syscall(SYS_getpriority, PRIO_PROCESS, 0) == 20 - GetParam());
                return 0;
              }),
              Exited(0));
}

TEST(Nice, IsClipped) {
  EXPECT_THAT(InChild([] {
                CHILD_CHECK(setpriority(PRIO_PROCESS, 0, 100) == 0);
                CHILD_CHECK(getpriority(PRIO_PROCESS, 0) == 19);
                CHILD_CHECK(setpriority(PRIO_PROCESS, 0, -100) == 0);
                CHILD_CHECK(getpriority(PRIO_PROCESS, 0) == -20);
                return 0;
              }),
              Exited(0));
}

TEST(Nice, Errors) {
  EXPECT_THAT(setpriority(static_cast<__priority_which>(3), 0, 0), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_getpriority, 3, 0), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_getpriority, -1, 0), FailsWith(EINVAL));
  EXPECT_THAT(setpriority(PRIO_PROCESS, kNobody, 0), FailsWith(ESRCH));
  EXPECT_THAT(syscall(SYS_getpriority, PRIO_PROCESS, kNobody), FailsWith(ESRCH));
  EXPECT_THAT(syscall(SYS_getpriority, PRIO_PGRP, kNobody), FailsWith(ESRCH));
  EXPECT_THAT(syscall(SYS_getpriority, PRIO_USER, kNobody), FailsWith(ESRCH));
}

TEST(Nice, IsInherited) {
  EXPECT_THAT(InChild([] {
                CHILD_CHECK(setpriority(PRIO_PROCESS, 0, 4) == 0);
                return InChild([] { return getpriority(PRIO_PROCESS, 0); }) == 4 << 8 ? 0 : 1;
              }),
              Exited(0));
}

TEST(Nice, SurvivesExec) {
  EXPECT_THAT(InChild([] {
                CHILD_CHECK(setpriority(PRIO_PROCESS, 0, 6) == 0);
                execl("/bin/sh", "sh", "-c", "exit $(nice)", nullptr);
                return 99;
              }),
              Exited(6));
}

TEST(Nice, IsAThreads) {
  Pipe gate;
  Thread other([&] { Await(gate.read.get()); });
  EXPECT_THAT(setpriority(PRIO_PROCESS, other.tid(), 3), Returns(0));
  EXPECT_EQ(getpriority(PRIO_PROCESS, other.tid()), 3);
  EXPECT_EQ(getpriority(PRIO_PROCESS, 0), 0);
  Post(gate.write.get());
}

TEST(Nice, OfAProcessGroup) {
  EXPECT_THAT(InChild([] {
                CHILD_CHECK(setpgid(0, 0) == 0);
                Pipe gate;
                const pid_t child = Start([&] { return Await(gate.read.get()) ? 0 : 1; });
                CHILD_CHECK(setpriority(PRIO_PGRP, 0, 5) == 0);
                CHILD_CHECK(getpriority(PRIO_PROCESS, child) == 5);
                CHILD_CHECK(setpriority(PRIO_PROCESS, child, 2) == 0);
                CHILD_CHECK(getpriority(PRIO_PGRP, getpid()) == 2);  // The highest priority.
                Post(gate.write.get());
                const int status = Wait(child);
                return WIFEXITED(status) ? WEXITSTATUS(status) : 2;
              }),
              Exited(0));
}

TEST(Nice, OfAUser) {
  EXPECT_THAT(InChild([] {
                CHILD_CHECK(setresuid(54321, 54321, 0) == 0);
                CHILD_CHECK(setpriority(PRIO_USER, 54321, 8) == 0);
                CHILD_CHECK(getpriority(PRIO_USER, 0) == 8);
                CHILD_CHECK(getpriority(PRIO_PROCESS, 0) == 8);
                return 0;
              }),
              Exited(0));
}

TEST(Nice, LoweringWantsRights) {
  EXPECT_THAT(InChild([] {
                Limit(RLIMIT_NICE, 0);
                BecomeNobody();
                CHILD_CHECK(setpriority(PRIO_PROCESS, 0, 5) == 0);
                CHILD_CHECK(setpriority(PRIO_PROCESS, 0, 4) == -1 && errno == EACCES);
                CHILD_CHECK(nice(-1) == -1 && errno == EPERM);
                CHILD_CHECK(setpriority(PRIO_PROCESS, 0, 5) == 0);
                return 0;
              }),
              Exited(0));
}

TEST(Nice, TheLimitAllowsSome) {
  EXPECT_THAT(InChild([] {
                const rlimit down_to_2 = {18, 18};
                if (setrlimit(RLIMIT_NICE, &down_to_2) != 0)
                  return 0;  // Not even root may raise it.
                BecomeNobody();
                CHILD_CHECK(setpriority(PRIO_PROCESS, 0, 10) == 0);
                CHILD_CHECK(setpriority(PRIO_PROCESS, 0, 2) == 0);
                CHILD_CHECK(setpriority(PRIO_PROCESS, 0, 1) == -1 && errno == EACCES);
                return 0;
              }),
              Exited(0));
}

TEST(Nice, AnotherUsersProcess) {
  EXPECT_THAT(InChild([] {
                const pid_t parent = getppid();
                BecomeNobody();
                CHILD_CHECK(setpriority(PRIO_PROCESS, parent, 10) == -1 && errno == EPERM);
                return 0;
              }),
              Exited(0));
}

constexpr int kProcess = 1, kGroup = 2;
constexpr int Value(int io_class, int level) { return io_class << 13 | level; }
long IoSet(int which, int who, int value) { return syscall(SYS_ioprio_set, which, who, value); }
long IoGet(int which, int who) { return syscall(SYS_ioprio_get, which, who); }

class IoPriority : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(IoPriority, IoPriority,
                         testing::Values(Value(1, 0), Value(1, 7), Value(2, 0), Value(2, 4),
                                         Value(2, 7), Value(3, 0), Value(0, 0)));

TEST_P(IoPriority, IsSetAndReported) {
  EXPECT_THAT(InChild([] {
                CHILD_CHECK(IoSet(kProcess, 0, GetParam()) == 0);
                CHILD_CHECK(IoGet(kProcess, 0) == GetParam());
                CHILD_CHECK(IoGet(kProcess, getpid()) == GetParam());
                return 0;
              }),
              Exited(0));
}

TEST_P(IoPriority, IsInherited) {
  EXPECT_THAT(InChild([] {
                CHILD_CHECK(IoSet(kProcess, 0, GetParam()) == 0);
                const int status = InChild([] { return IoGet(kProcess, 0) == GetParam() ? 0 : 1; });
                return WIFEXITED(status) ? WEXITSTATUS(status) : 2;
              }),
              Exited(0));
}

TEST(IoPriority, Errors) {
  EXPECT_THAT(IoSet(kProcess, 0, Value(0, 1)), FailsWith(EINVAL));
  EXPECT_THAT(IoSet(kProcess, 0, Value(4, 0)), FailsWith(EINVAL));
  EXPECT_THAT(IoSet(kProcess, 0, Value(7, 0)), FailsWith(EINVAL));
  EXPECT_THAT(IoSet(0, 0, Value(2, 0)), FailsWith(EINVAL));
  EXPECT_THAT(IoSet(4, 0, Value(2, 0)), FailsWith(EINVAL));
  EXPECT_THAT(IoSet(kProcess, kNobody, Value(2, 0)), FailsWith(ESRCH));
  EXPECT_THAT(IoGet(0, 0), FailsWith(EINVAL));
  EXPECT_THAT(IoGet(4, 0), FailsWith(EINVAL));
  EXPECT_THAT(IoGet(kProcess, kNobody), FailsWith(ESRCH));
  EXPECT_THAT(IoGet(kGroup, kNobody), FailsWith(ESRCH));
}

TEST(IoPriority, OfAGroupTheBest) {
  EXPECT_THAT(InChild([] {
                CHILD_CHECK(setpgid(0, 0) == 0);
                CHILD_CHECK(IoGet(kGroup, 0) == Value(2, 4));  // By the nice value.
                CHILD_CHECK(IoSet(kGroup, 0, Value(2, 6)) == 0);
                CHILD_CHECK(IoGet(kGroup, 0) == Value(2, 6));
                return 0;
              }),
              Exited(0));
}

TEST(IoPriority, Rights) {
  EXPECT_THAT(InChild([] {
                const pid_t parent = getppid();
                BecomeNobody();
                CHILD_CHECK(IoSet(kProcess, 0, Value(1, 0)) == -1 && errno == EPERM);
                CHILD_CHECK(IoSet(kProcess, parent, Value(2, 0)) == -1 && errno == EPERM);
                CHILD_CHECK(IoSet(kProcess, 0, Value(2, 0)) == 0);
                return 0;
              }),
              Exited(0));
}

long Membarrier(int command, unsigned flags = 0, int cpu = 0) {
  return syscall(SYS_membarrier, command, flags, cpu);
}
constexpr int kGetRegistrations = 1 << 9;

TEST(Membarrier, QueryTellsTheCommands) {
  const long commands = Membarrier(MEMBARRIER_CMD_QUERY);
  EXPECT_GT(commands, 0);
  EXPECT_NE(commands & MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0);
  EXPECT_NE(commands & MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0);
}

TEST(Membarrier, Errors) {
  EXPECT_THAT(Membarrier(1 << 20), FailsWith(EINVAL));
  EXPECT_THAT(Membarrier(-1), FailsWith(EINVAL));
  EXPECT_THAT(Membarrier(MEMBARRIER_CMD_QUERY, 1), FailsWith(EINVAL));
  EXPECT_THAT(Membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED, 1), FailsWith(EINVAL));
}

struct Expedited {
  const char* name;
  int registers, command;
};
class MembarrierKind : public testing::TestWithParam<Expedited> {};
INSTANTIATE_TEST_SUITE_P(
    Membarrier, MembarrierKind,
    testing::Values(Expedited{"Private", MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED,
                              MEMBARRIER_CMD_PRIVATE_EXPEDITED},
                    Expedited{"SyncCore", MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE,
                              MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE},
                    Expedited{"Rseq", MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ,
                              MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ}),
    [](const auto& info) { return std::string(info.param.name); });

TEST_P(MembarrierKind, WantsRegistration) {
  EXPECT_THAT(InChild([] {
                CHILD_CHECK(Membarrier(GetParam().command) == -1 && errno == EPERM);
                CHILD_CHECK(Membarrier(GetParam().registers) == 0);
                CHILD_CHECK(Membarrier(GetParam().command) == 0);
                CHILD_CHECK((Membarrier(kGetRegistrations) & GetParam().registers) != 0);
                return 0;
              }),
              Exited(0));
}

TEST_P(MembarrierKind, RegistrationGoesWithExec) {
  EXPECT_THAT(InChild([] {
                CHILD_CHECK(Membarrier(GetParam().registers) == 0);
                const std::string code = "exit(syscall(324, " + std::to_string(GetParam().command) +
                                         ", 0, 0) == -1 ? 0 : 1)";
                execl("/usr/bin/perl", "perl", "-e", code.c_str(), nullptr);
                return 9;
              }),
              Exited(0));
}

TEST(Membarrier, Global) {
  EXPECT_THAT(Membarrier(MEMBARRIER_CMD_GLOBAL), Returns(0));
  EXPECT_THAT(Membarrier(MEMBARRIER_CMD_GLOBAL_EXPEDITED), Returns(0));
}

// A thread whose C library has let go of its own area.
struct alignas(32) Area {
  uint32_t cpu_id_start = 0;
  uint32_t cpu_id = static_cast<uint32_t>(RSEQ_CPU_ID_UNINITIALIZED);
  uint64_t critical = 0;
  uint32_t flags = 0;
  uint32_t node_id = 0, mm_cid = 0;
};
constexpr uint32_t kSignature = 0x53053053;
long Rseq(Area* area, uint32_t size, int flags, uint32_t signature) {
  return syscall(SYS_rseq, area, size, flags, signature);
}
// In a child made without the C library's fork, after its registration has been taken back.
template <typename Body>
void WithoutRseq(Body body) {
  std::thread([&] {
    if (__rseq_size != 0) {
      auto* own =
          reinterpret_cast<Area*>(static_cast<char*>(__builtin_thread_pointer()) + __rseq_offset);
      ASSERT_THAT(Rseq(own, 32, RSEQ_FLAG_UNREGISTER, kSignature), Returns(0));
    }
    body();
  }).join();
}

TEST(RseqCall, RegistersAndKeepsTheCpu) {
  WithoutRseq([] {
    static Area area;
    area = Area();
    EXPECT_THAT(Rseq(&area, 32, 0, kSignature), Returns(0));
    EXPECT_LT(area.cpu_id, 4096u);
    EXPECT_EQ(area.cpu_id, area.cpu_id_start);
    EXPECT_THAT(Rseq(&area, 32, RSEQ_FLAG_UNREGISTER, kSignature), Returns(0));
    EXPECT_EQ(area.cpu_id, static_cast<uint32_t>(RSEQ_CPU_ID_UNINITIALIZED));
  });
}

TEST(RseqCall, FollowsTheThread) {
  WithoutRseq([] {
    static Area area;
    area = Area();
    ASSERT_THAT(Rseq(&area, 32, 0, kSignature), Returns(0));
    cpu_set_t all;
    EXPECT_THAT(sched_getaffinity(0, sizeof all, &all), Returns(0));
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (!CPU_ISSET(cpu, &all)) continue;
      cpu_set_t one;
      CPU_ZERO(&one);
      CPU_SET(cpu, &one);
      EXPECT_THAT(sched_setaffinity(0, sizeof one, &one), Returns(0));
      EXPECT_EQ(static_cast<volatile uint32_t&>(area.cpu_id), static_cast<uint32_t>(cpu));
    }
    EXPECT_THAT(Rseq(&area, 32, RSEQ_FLAG_UNREGISTER, kSignature), Returns(0));
  });
}

TEST(RseqCall, Errors) {
  WithoutRseq([] {
    static Area area, other;
    area = Area();
    EXPECT_THAT(Rseq(&area, 32, 2, kSignature), FailsWith(EINVAL));
    EXPECT_THAT(Rseq(&area, 16, 0, kSignature), FailsWith(EINVAL));
    EXPECT_THAT(
        Rseq(reinterpret_cast<Area*>(reinterpret_cast<char*>(&area) + 4), 32, 0, kSignature),
        FailsWith(EINVAL));
    EXPECT_THAT(Rseq(&area, 32, RSEQ_FLAG_UNREGISTER, kSignature), FailsWith(EINVAL));
    ASSERT_THAT(Rseq(&area, 32, 0, kSignature), Returns(0));
    EXPECT_THAT(Rseq(&area, 32, 0, kSignature), FailsWith(EBUSY));
    EXPECT_THAT(Rseq(&area, 32, 0, kSignature + 1), FailsWith(EPERM));
    EXPECT_THAT(Rseq(&other, 32, 0, kSignature), FailsWith(EINVAL));
    EXPECT_THAT(Rseq(&area, 32, RSEQ_FLAG_UNREGISTER, kSignature + 1), FailsWith(EPERM));
    EXPECT_THAT(Rseq(&area, 32, RSEQ_FLAG_UNREGISTER, kSignature), Returns(0));
  });
}

TEST(RseqCall, IsInheritedByFork) {
  WithoutRseq([] {
    static Area area;
    area = Area();
    ASSERT_THAT(Rseq(&area, 32, 0, kSignature), Returns(0));
    const pid_t child = static_cast<pid_t>(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
    if (child == 0) _exit(Rseq(&area, 32, 0, kSignature) == -1 && errno == EBUSY ? 0 : 1);
    EXPECT_THAT(Wait(child), Exited(0));
    EXPECT_THAT(Rseq(&area, 32, RSEQ_FLAG_UNREGISTER, kSignature), Returns(0));
  });
}

TEST(RseqCall, SignalHandlersRunWithIt) {
  WithoutRseq([] {
    static Area area;
    area = Area();
    ASSERT_THAT(Rseq(&area, 32, 0, kSignature), Returns(0));
    static volatile int taken;
    taken = 0;
    ScopedAction action(SIGUSR1, [](int) { taken = taken + 1; });
    for (int i = 0; i < 20; ++i) syscall(SYS_tgkill, getpid(), gettid(), SIGUSR1);
    EXPECT_EQ(taken, 20);
    EXPECT_LT(area.cpu_id, 4096u);
    EXPECT_THAT(Rseq(&area, 32, RSEQ_FLAG_UNREGISTER, kSignature), Returns(0));
  });
}

TEST(RseqCall, AnInterruptedSequenceIsAborted) {
  // Spins inside a critical section until a signal comes: its abort handler has to be taken.
  WithoutRseq([] {
    static Area area;
    area = Area();
    ASSERT_THAT(Rseq(&area, 32, 0, kSignature), Returns(0));
    // Where it goes on behind the handler is not in there any more.
    static std::atomic<uintptr_t> begin, end;
    static std::atomic<bool> inside;
    begin = end = 0;
    inside = false;
    ScopedAction action(SIGUSR1, [](int, siginfo_t*, void* context) {
      const auto at =
          static_cast<uintptr_t>(static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP]);
      if (at >= begin && at < end) inside = true;
    });
    const pid_t tid = gettid(), pid = getpid();
    std::atomic<bool> done = false;
    std::thread sender([&] {
      while (!done) {
        syscall(SYS_tgkill, pid, tid, SIGUSR1);
        sched_yield();
      }
    });
    long aborted = 0;
    asm volatile(
        ".pushsection __rseq_cs, \"aw\"\n"
        ".balign 32\n"
        "3: .long 0, 0\n"
        ".quad 1f, 2f - 1f, 4f\n"
        ".popsection\n"
        "leaq 2f(%%rip), %%rax\n"
        "movq %%rax, %[end]\n"
        "leaq 1f(%%rip), %%rax\n"
        "movq %%rax, %[begin]\n"
        "leaq 3b(%%rip), %%rax\n"
        "movq %%rax, 8(%[area])\n"
        "1:\n"
        "5: pause\n"
        "jmp 5b\n"
        "2:\n"
        ".byte 0x0f, 0xb9, 0x3d\n"
        ".long 0x53053053\n"
        "4:\n"
        "movq $1, %[aborted]\n"
        : [aborted] "+r"(aborted), [begin] "=m"(begin), [end] "=m"(end)
        : [area] "r"(&area)
        : "rax", "memory");
    done = true;
    sender.join();
    EXPECT_EQ(aborted, 1);
    EXPECT_FALSE(inside);
    EXPECT_THAT(Rseq(&area, 32, RSEQ_FLAG_UNREGISTER, kSignature), Returns(0));
  });
}

}  // namespace
