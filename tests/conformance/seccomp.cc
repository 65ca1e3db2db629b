// seccomp(2): filters of a program's own, in child processes that they may kill.
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/conformance/support.h"

namespace {

constexpr uint32_t kNr = offsetof(seccomp_data, nr);
constexpr uint32_t Arg(int index) {
  return static_cast<uint32_t>(offsetof(seccomp_data, args)) + 8 * static_cast<uint32_t>(index);
}

// A call that no library makes, for filters to act on.
constexpr int kCall = SYS_getpriority;
long MakeCall(long a = 0, long b = 0) { return syscall(kCall, a, b); }

// `action` for kCall, everything else allowed.
std::vector<sock_filter> OnCall(uint32_t action) {
  return {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kNr), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kCall, 0, 1),
          BPF_STMT(BPF_RET | BPF_K, action), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
}

// 0, or the errno.
int Install(std::vector<sock_filter> code, unsigned flags = 0) {
  const sock_fprog program{static_cast<unsigned short>(code.size()), code.data()};
  const long result = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
  return result < 0 ? errno : static_cast<int>(result);
}

// The wait status of a child that may filter itself without privileges, and ends with `body`'s
// result.
template <typename Body>
int InFiltered(Body body) {
  return InChild([&] {
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    return body();
  });
}

void ExpectExit(int status, int code) { EXPECT_THAT(status, Exited(code)); }
void ExpectSignal(int status, int sig) { EXPECT_THAT(status, Killed(sig)); }
void ExpectSigsys(int status) { ExpectSignal(status, SIGSYS); }

std::string StatusField(const char* name) {
  std::istringstream file(ReadFile("/proc/self/status"));
  for (std::string line; std::getline(file, line);) {
    if (line.rfind(std::string(name) + ":\t", 0) == 0) return line.substr(strlen(name) + 2);
  }
  return "";
}

TEST(Seccomp, AnErrnoIsTheAnswer) {
  ExpectExit(InFiltered([] {
               if (int error = Install(OnCall(SECCOMP_RET_ERRNO | ENOSPC)); error != 0)
                 return error;
               errno = 0;
               if (MakeCall() != -1) return 100;
               return errno == ENOSPC ? 0 : errno;
             }),
             0);
}

TEST(Seccomp, AnErrnoOfZeroIsSuccess) {
  ExpectExit(InFiltered([] {
               if (int error = Install(OnCall(SECCOMP_RET_ERRNO)); error != 0) return error;
               return MakeCall() == 0 ? 0 : 100;
             }),
             0);
}

TEST(Seccomp, AnErrnoIsAtMostMaxErrno) {
  ExpectExit(InFiltered([] {
               if (int error = Install(OnCall(SECCOMP_RET_ERRNO | 0xffff)); error != 0)
                 return error;
               return MakeCall() == -1 && errno == 4095 ? 0 : 100;
             }),
             0);
}

TEST(Seccomp, AKillEndsTheProcessWithSigsys) {
  for (const uint32_t action : {SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_KILL_THREAD}) {
    ExpectSigsys(InFiltered([action] {
      if (Install(OnCall(action)) != 0) return 1;
      MakeCall();
      return 2;
    }));
  }
}

TEST(Seccomp, AKillOfAThreadLeavesTheOthers) {
  ExpectExit(InFiltered([] {
               std::atomic<bool> before{false};
               std::atomic<bool> after{false};
               std::thread victim([&] {
                 if (Install(OnCall(SECCOMP_RET_KILL_THREAD)) != 0) return;
                 before = true;
                 MakeCall();
                 after = true;
               });
               victim.join();  // The host wakes joiners when it clears the thread's id.
               return before && !after ? 0 : 1;
             }),
             0);
}

TEST(Seccomp, ATraceWithoutTracerIsEnosys) {
  ExpectExit(InFiltered([] {
               if (int error = Install(OnCall(SECCOMP_RET_TRACE | 7)); error != 0) return error;
               return MakeCall() == -1 && errno == ENOSYS ? 0 : 100;
             }),
             0);
}

TEST(Seccomp, LogAllows) {
  ExpectExit(InFiltered([] {
               if (int error = Install(OnCall(SECCOMP_RET_LOG)); error != 0) return error;
               return MakeCall() > 0 ? 0 : 100;
             }),
             0);
}

volatile sig_atomic_t g_code, g_call, g_errno, g_arch_fits, g_rax_fits;
void OnSigsys(int, siginfo_t* info, void* context) {
  g_code = info->si_code;
  g_call = info->si_syscall;
  g_errno = info->si_errno;
  g_arch_fits = info->si_arch == AUDIT_ARCH_X86_64;
  auto* const registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  g_rax_fits = registers[REG_RAX] == kCall;
  registers[REG_RAX] = 77;
}

TEST(Seccomp, ATrapIsSigsysWithTheCall) {
  ExpectExit(InFiltered([] {
               struct sigaction action {};
               action.sa_sigaction = OnSigsys;
               action.sa_flags = SA_SIGINFO;
               sigaction(SIGSYS, &action, nullptr);
               if (int error = Install(OnCall(SECCOMP_RET_TRAP | 42)); error != 0) return error;
               if (MakeCall() != 77) return 100;
               if (g_code != 1 || g_call != kCall || g_errno != 42) return 101;
               return g_arch_fits && g_rax_fits ? 0 : 102;
             }),
             0);
}

TEST(Seccomp, ATrapCannotBeBlocked) {
  ExpectSigsys(InFiltered([] {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGSYS);
    sigprocmask(SIG_BLOCK, &set, nullptr);
    if (Install(OnCall(SECCOMP_RET_TRAP)) != 0) return 1;
    MakeCall();
    return 2;
  }));
}

TEST(Seccomp, ArgumentsAreSeen) {
  ExpectExit(InFiltered([] {
               const std::vector<sock_filter> code = {
                   BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kNr),
                   BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kCall, 0, 5),
                   BPF_STMT(BPF_LD | BPF_W | BPF_ABS, Arg(1)),
                   BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x1234, 0, 3),
                   BPF_STMT(BPF_LD | BPF_W | BPF_ABS, Arg(1) + 4),
                   BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x56, 0, 1),
                   BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | E2BIG),
                   BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
               if (int error = Install(code); error != 0) return error;
               if (MakeCall(0, 0x5600001234) != -1 || errno != E2BIG) return 100;
               if (MakeCall(0, 0x1234) == -1 && errno == E2BIG) return 101;
               return 0;
             }),
             0);
}

TEST(Seccomp, ScratchMemoryAndArithmeticWork) {
  ExpectExit(InFiltered([] {
               // M[3] = a; x = M[3]; a = ((a + x) * 3 - x) ^ 5 …: compared with what C computes.
               const auto expected = static_cast<uint32_t>(((kCall + kCall) * 3 - kCall) ^ 5) >> 2;
               const std::vector<sock_filter> code = {
                   BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kNr),
                   BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kCall, 1, 0),
                   BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
                   BPF_STMT(BPF_ST, 3),
                   BPF_STMT(BPF_LDX | BPF_MEM, 3),
                   BPF_STMT(BPF_ALU | BPF_ADD | BPF_X, 0),
                   BPF_STMT(BPF_ALU | BPF_MUL | BPF_K, 3),
                   BPF_STMT(BPF_ALU | BPF_SUB | BPF_X, 0),
                   BPF_STMT(BPF_ALU | BPF_XOR | BPF_K, 5),
                   BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, 2),
                   BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, expected, 0, 1),
                   BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EXDEV),
                   BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EDOM)};
               if (int error = Install(code); error != 0) return error;
               return MakeCall() == -1 && errno == EXDEV ? 0 : 100;
             }),
             0);
}

// It returns 0 there and then, which is SECCOMP_RET_KILL_THREAD.
TEST(Seccomp, AProgramThatDividesByNothingKills) {
  EXPECT_THAT(InFiltered([] {
                const std::vector<sock_filter> code = {
                    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kNr),
                    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kCall, 1, 0),
                    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
                    BPF_STMT(BPF_LDX | BPF_IMM, 0),
                    BPF_STMT(BPF_ALU | BPF_DIV | BPF_X, 0),
                    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
                if (int error = Install(code); error != 0) return error;
                MakeCall();
                return 0;
              }),
              Killed(SIGSYS));
}

TEST(Seccomp, TheStricterOfTwoFiltersCounts) {
  ExpectExit(InFiltered([] {
               if (int error = Install(OnCall(SECCOMP_RET_ERRNO | EXDEV)); error != 0) return error;
               if (int error = Install(OnCall(SECCOMP_RET_LOG)); error != 0) return error;
               if (MakeCall() != -1 || errno != EXDEV) return 100;
               // Of two alike the later one's data.
               if (int error = Install(OnCall(SECCOMP_RET_ERRNO | EDOM)); error != 0) return error;
               return MakeCall() == -1 && errno == EDOM ? 0 : 101;
             }),
             0);
}

TEST(Seccomp, ChildrenAndProgramsInherit) {
  ExpectExit(InFiltered([] {
               if (int error = Install(OnCall(SECCOMP_RET_ERRNO | EXDEV)); error != 0) return error;
               return InChild([] { return MakeCall() == -1 && errno == EXDEV ? 0 : 1; });
             }),
             0);
}

TEST(Seccomp, TsyncCoversOtherThreads) {
  ExpectExit(InFiltered([] {
               std::atomic<int> step{0};
               std::atomic<int> seen{0};
               std::thread other([&] {
                 step = 1;
                 step.notify_all();
                 step.wait(1);
                 seen = MakeCall() == -1 ? errno : 0;
               });
               step.wait(0);
               const int error =
                   Install(OnCall(SECCOMP_RET_ERRNO | EXDEV), SECCOMP_FILTER_FLAG_TSYNC);
               step = 2;
               step.notify_all();
               other.join();
               if (error != 0) return 100;
               return seen == EXDEV ? 0 : 101;
             }),
             0);
}

// What no_new_privs is to another thread before and after this one, with it or without, has
// installed a filter for all. Without it that takes CAP_SYS_ADMIN.
void ExpectNoNewPrivsAfterTsync(bool own) {
  if (geteuid() != 0) GTEST_SKIP() << "this takes CAP_SYS_ADMIN";
  const pid_t pid = fork();
  if (pid == 0) {
    std::atomic<int> step{0}, before{-1}, after{-1};
    std::thread other([&] {
      before = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
      step = 1;
      step.notify_all();
      step.wait(1);
      after = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
    });
    step.wait(0);
    if (own && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) _exit(99);
    const int error = Install(OnCall(SECCOMP_RET_ERRNO | EXDEV), SECCOMP_FILTER_FLAG_TSYNC);
    step = 2;
    step.notify_all();
    other.join();
    if (error != 0) _exit(100);
    _exit(before == 0 && after == (own ? 1 : 0) ? 0 : 101);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  ExpectExit(status, 0);
}

TEST(Seccomp, TsyncPassesNoNewPrivsOn) { ExpectNoNewPrivsAfterTsync(true); }
TEST(Seccomp, TsyncWithoutNoNewPrivsPassesNoneOn) { ExpectNoNewPrivsAfterTsync(false); }

TEST(Seccomp, WithoutPrivilegesNoNewPrivsIsNeeded) {
  ExpectExit(InChild([] {
               if (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0) return 99;
               return Install(OnCall(SECCOMP_RET_ALLOW));
             }),
             EACCES);
}

TEST(Seccomp, BadProgramsAreRefused) {
  const std::vector<std::vector<sock_filter>> bad = {
      {},
      // The last does not return.
      {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kNr)},
      // A load that is odd, and one behind the data.
      {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 2), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)},
      {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, sizeof(seccomp_data)),
       BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)},
      // Other sizes.
      {BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)},
      // A jump to behind the end.
      {BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)},
      {BPF_STMT(BPF_JMP | BPF_JA, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)},
      // Division by zero, a shift too far, memory that is not there or not written.
      {BPF_STMT(BPF_ALU | BPF_DIV | BPF_K, 0), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)},
      {BPF_STMT(BPF_ALU | BPF_LSH | BPF_K, 32), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)},
      {BPF_STMT(BPF_ST, 16), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)},
      {BPF_STMT(BPF_LD | BPF_MEM, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)},
  };
  for (size_t i = 0; i < bad.size(); ++i) {
    ExpectExit(InFiltered([&bad, i] { return Install(bad[i]); }), EINVAL);
  }
  ExpectExit(InFiltered([] {
               return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, nullptr) < 0 ? errno : 0;
             }),
             EFAULT);
  ExpectExit(InFiltered([] { return Install(OnCall(SECCOMP_RET_ALLOW), 1u << 30); }), EINVAL);
}

TEST(Seccomp, ActionsThatAreAvailable) {
  for (const uint32_t action :
       {SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_KILL_THREAD, SECCOMP_RET_TRAP, SECCOMP_RET_ERRNO,
        SECCOMP_RET_TRACE, SECCOMP_RET_LOG, SECCOMP_RET_ALLOW}) {
    EXPECT_EQ(syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action), 0) << action;
  }
  const uint32_t unknown = 0x12340000;
  EXPECT_EQ(syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &unknown), -1);
  EXPECT_EQ(errno, EOPNOTSUPP);
  EXPECT_EQ(syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 1, &unknown), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, nullptr), -1);
  EXPECT_EQ(errno, EFAULT);
  EXPECT_EQ(syscall(SYS_seccomp, 99, 0, nullptr), -1);
  EXPECT_EQ(errno, EINVAL);
}

TEST(Seccomp, NotificationSizes) {
  seccomp_notif_sizes sizes{};
  ASSERT_EQ(syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes), 0);
  EXPECT_EQ(sizes.seccomp_notif, sizeof(seccomp_notif));
  EXPECT_EQ(sizes.seccomp_notif_resp, sizeof(seccomp_notif_resp));
  EXPECT_EQ(sizes.seccomp_data, sizeof(seccomp_data));
}

TEST(Seccomp, StrictModeKillsWhatIsNotAllowed) {
  const int status = InFiltered([] {
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0) return 1;
    syscall(SYS_getppid);
    return 2;
  });
  ExpectSignal(status, SIGKILL);  // Not SIGSYS, as filters do.
}

TEST(Seccomp, StrictModeLeavesReadWriteAndExit) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const int status = InFiltered([&ends] {
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0) return 1;
    char byte = 'x';
    if (write(ends[1], &byte, 1) != 1 || read(ends[0], &byte, 1) != 1) byte = 0;
    syscall(SYS_exit, byte == 'x' ? 5 : 6);
    return 2;
  });
  ExpectExit(status, 5);
  close(ends[0]);
  close(ends[1]);
}

TEST(Seccomp, PrctlTellsTheMode) {
  EXPECT_EQ(StatusField("Seccomp"), std::to_string(prctl(PR_GET_SECCOMP)));
  ExpectExit(InFiltered([] {
               const std::string before = StatusField("Seccomp_filters");
               if (int error = Install(OnCall(SECCOMP_RET_ALLOW)); error != 0) return error;
               if (prctl(PR_GET_SECCOMP) != 2 || StatusField("Seccomp") != "2") return 100;
               return StatusField("Seccomp_filters") == std::to_string(std::stoi(before) + 1) ? 0
                                                                                              : 101;
             }),
             0);
}

TEST(Seccomp, ByPrctl) {
  ExpectExit(InFiltered([] {
               std::vector<sock_filter> code = OnCall(SECCOMP_RET_ERRNO | EXDEV);
               const sock_fprog program{static_cast<unsigned short>(code.size()), code.data()};
               if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) return errno;
               return MakeCall() == -1 && errno == EXDEV ? 0 : 100;
             }),
             0);
  ExpectExit(InFiltered([] { return prctl(PR_SET_SECCOMP, 9, 0, 0, 0) == -1 ? errno : 0; }),
             EINVAL);
}

}  // namespace
