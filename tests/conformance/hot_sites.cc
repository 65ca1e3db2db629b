// Call instructions in other surroundings than a C library's wrappers: the number comes from
// somewhere, and any instruction may stand in front.
#include <linux/futex.h>
#include <setjmp.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "tests/conformance/support.h"

namespace {

constexpr int kMany = 800;

// long name(long nr, long a, long b, long c): `front` has to leave the number in %rax.
#define SITE(name, front)                                              \
  extern "C" long name(long nr, long a, long b, long c);               \
  asm(".text\n.balign 64\n.globl " #name "\n" #name                    \
      ":\n.cfi_startproc\n"                                            \
      "push %rbx\n.cfi_adjust_cfa_offset 8\n.cfi_rel_offset %rbx, 0\n" \
      "mov %rdi, %rax\nmov %rdi, %rbx\nmov %rdi, -16(%rsp)\n"          \
      "mov %rsi, %rdi\nmov %rdx, %rsi\nmov %rcx, %rdx\n"               \
      "lea -16(%rsp), %r8\nxor %r10d, %r10d\n" front                   \
      "\nsyscall\n"                                                    \
      "pop %rbx\n.cfi_adjust_cfa_offset -8\nret\n.cfi_endproc\n"       \
      ".size " #name ", . - " #name "\n");
SITE(site_move, "mov %rbx, %rax")              // 3 bytes
SITE(site_short_move, "mov %ebx, %eax")        // 2 bytes
SITE(site_load, "mov -16(%rsp), %rax")         // 5 bytes
SITE(site_load_narrow, "mov -16(%rsp), %eax")  // 4 bytes
SITE(site_load_absolute, "mov -16(%rsp,%r10,1), %rax")
SITE(site_indirect, "mov (%r8), %rax")
SITE(site_address, "lea 0(,%rbx,1), %rax")  // 8 bytes
SITE(site_push, "push %rbx\npop %rax")      // 1 byte: no room.
SITE(site_nop, "nopw 0x0(%rax,%rax,1)")     // With a prefix.
SITE(site_relative, "mov g_hot_number(%rip), %rax")
SITE(site_branch, "test %rax, %rax\njs 1f\n1:")
SITE(site_arithmetic, "add $0x01020304, %rax\nsub $0x01020304, %rax")
extern "C" {
long g_hot_number;
// As Go's runtime calls: internal/runtime/syscall.Syscall6.
long site_go(long nr, long a, long b, long c);
// As musl's cancellation points: src/thread/x86_64/syscall_cp.s.
long site_musl(long nr, long a, long b, long c);
// Whoever enters at the call itself has loaded everything already.
long site_entered(long nr, long a, long b, long c);
long site_entered_behind(long nr, long a, long b, long c);
// One whose instruction in front contains another one, which is jumped to.
long site_hidden(long nr, long a, long b, long c);
}
asm(R"(
    .text
    .balign 64
site_go:
    push %rbx
    mov %rdi, %rax
    mov %rsi, %rbx
    mov %rcx, %rdi
    mov %rdx, %rcx
    mov %rsi, %r10
    mov %rdi, %rdx
    mov %rcx, %rsi
    mov %rbx, %rdi
    syscall
    cmp $0xfffffffffffff001, %rax
    jbe 1f
    nop
1:  pop %rbx
    ret
    .balign 64
site_musl:
    mov %rdi, %r11
    mov %rdi, %rax
    mov %rsi, %rdi
    mov %rdx, %rsi
    mov %rcx, %rdx
    mov %r8, %r10
    mov %r9, %r8
    mov %r11, -8(%rsp)
    syscall
    ret
    .balign 64
site_entered:
    mov %rdi, %r9
    mov %rsi, %rdi
    mov %rdx, %rsi
    mov %rcx, %rdx
    mov %r9, %rax
1:  syscall
    ret
    .balign 64
site_entered_behind:
    mov %rdi, %rax
    mov %rsi, %rdi
    mov %rdx, %rsi
    mov %rcx, %rdx
    mov $1, %r9d
    jmp 1b
    .balign 64
site_hidden:
    mov %rdi, %rax
    mov %rsi, %rdi
    mov %rdx, %rsi
    mov %rcx, %rdx
    test $1, %al
    jnz 2f
1:  mov $0x90909090, %r9d
    syscall
    ret
2:  jmp 1b + 2
)");

using Call = long (*)(long, long, long, long);
struct Form {
  const char* name;
  Call call;
};
const Form kForms[] = {
    {"move", site_move},
    {"short move", site_short_move},
    {"load", site_load},
    {"narrow load", site_load_narrow},
    {"absolute load", site_load_absolute},
    {"indirect", site_indirect},
    {"address", site_address},
    {"push", site_push},
    {"nop", site_nop},
    {"branch", site_branch},
    {"arithmetic", site_arithmetic},
    {"go", site_go},
    {"musl", site_musl},
    {"entered", site_entered},
    {"glibc",
     [](long nr, long a, long b, long c) {
       const long result = syscall(nr, a, b, c);
       return result == -1 ? -long{errno} : result;
     }},
};

class HotSites : public testing::TestWithParam<Form> {
 protected:
  static long Do(long nr, long a = 0, long b = 0, long c = 0) {
    return GetParam().call(nr, a, b, c);
  }
};

INSTANTIATE_TEST_SUITE_P(Forms, HotSites, testing::ValuesIn(kForms),
                         [](const testing::TestParamInfo<Form>& info) {
                           std::string name = info.param.name;
                           std::replace(name.begin(), name.end(), ' ', '_');
                           return name;
                         });

TEST_P(HotSites, ResultsStayRight) {
  UniqueFd file = OpenTemp(0, "0123456789");
  for (int i = 0; i < kMany; ++i) {
    ASSERT_EQ(Do(SYS_lseek, file.get(), i, SEEK_SET), i);
    ASSERT_EQ(Do(SYS_lseek, -1, i, SEEK_SET), -EBADF);
  }
}

TEST_P(HotSites, EachNumberIsItself) {
  UniqueFd file = OpenTemp(0, "0123456789");
  static uint32_t word;
  for (int i = 0; i < kMany / 4; ++i) {
    ASSERT_EQ(Do(SYS_getpid), getpid());
    ASSERT_EQ(Do(SYS_gettid), gettid());
    ASSERT_EQ(Do(SYS_getppid), getppid());
    ASSERT_EQ(Do(SYS_getuid), static_cast<long>(getuid()));
    ASSERT_EQ(Do(SYS_lseek, file.get(), i, SEEK_SET), i);
    // What the kernel proper may execute by itself.
    ASSERT_EQ(Do(SYS_futex, reinterpret_cast<long>(&word), FUTEX_WAKE, 1), 0);
    ASSERT_EQ(Do(SYS_madvise, 1, 4096, MADV_NORMAL), -EINVAL);
    // And what there is not.
    ASSERT_EQ(Do(511), -ENOSYS);
    ASSERT_EQ(Do(512), -ENOSYS);
    ASSERT_EQ(Do(100'000), -ENOSYS);
    ASSERT_EQ(Do(-1), -ENOSYS);
  }
}

TEST_P(HotSites, DataArrives) {
  UniqueFd file = OpenTemp();
  const std::string data = "some bytes";
  for (int i = 0; i < kMany / 4; ++i) {
    char buffer[16] = {};
    ASSERT_EQ(Do(SYS_lseek, file.get(), 0, SEEK_SET), 0);
    ASSERT_EQ(Do(SYS_write, file.get(), reinterpret_cast<long>(data.data()),
                 static_cast<long>(data.size())),
              static_cast<long>(data.size()));
    ASSERT_EQ(Do(SYS_lseek, file.get(), 5, SEEK_SET), 5);
    ASSERT_EQ(Do(SYS_read, file.get(), reinterpret_cast<long>(buffer), sizeof buffer), 5);
    ASSERT_STREQ(buffer, "bytes");
    ASSERT_EQ(Do(SYS_read, file.get(), 16, 5), 0);  // At the end: nobody looks at the address.
    ASSERT_EQ(Do(SYS_write, file.get(), 16, 5), -EFAULT);
  }
}

TEST_P(HotSites, EachCallIsMadeOnceAcrossSignals) {
  UniqueFd file = OpenTemp();
  static std::atomic<int> alarms;
  alarms = 0;
  ScopedAction action(SIGALRM, [](int) { alarms = alarms + 1; });
  const itimerval often{.it_interval = {0, 1000}, .it_value = {0, 1000}}, never{};
  setitimer(ITIMER_REAL, &often, nullptr);
  for (int64_t calls = 0; calls < kMany || alarms < 20; ++calls) {
    if (Do(SYS_lseek, file.get(), 1, SEEK_CUR) == calls + 1) continue;
    ADD_FAILURE() << "call " << calls;
    break;
  }
  setitimer(ITIMER_REAL, &never, nullptr);
}

TEST_P(HotSites, SignalToSelfRunsItsHandlerFirst) {
  static std::atomic<int> count;
  count = 0;
  ScopedAction action(SIGUSR1, [](int) { count = count + 1; });
  for (int i = 0; i < kMany / 8; ++i) {
    ASSERT_EQ(Do(SYS_kill, getpid(), SIGUSR1), 0);
    ASSERT_EQ(count, i + 1);
  }
}

TEST_P(HotSites, ThreadsRunThroughIt) {
  const Call call = GetParam().call;
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&wrong, call, t] {
      const UniqueFd file = OpenTemp();
      const long mine = gettid();
      for (int i = 0; i < kMany / 2; ++i) {
        if (call(SYS_lseek, file.get(), i + t, SEEK_SET) != i + t) ++wrong;
        if (call(SYS_gettid, 0, 0, 0) != mine) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST_P(HotSites, ForkedChildrenHaveTheirOwnIds) {
  for (int i = 0; i < kMany / 4; ++i) ASSERT_EQ(Do(SYS_getpid), getpid());
  const pid_t parent = getpid();
  const int status = InChild([parent] {
    for (int i = 0; i < kMany / 4; ++i) {
      if (Do(SYS_getppid) != parent || Do(SYS_getpid) == parent) return 1;
    }
    return 0;
  });
  EXPECT_EQ(status, 0);
}

TEST(HotSitesEntered, AtTheCallItself) {
  UniqueFd file = OpenTemp();
  for (int i = 0; i < kMany; ++i) {
    ASSERT_EQ(site_entered(SYS_lseek, file.get(), i, SEEK_SET), i);
    ASSERT_EQ(site_entered_behind(SYS_lseek, file.get(), i + 1, SEEK_SET), i + 1);
  }
}

TEST(HotSitesEntered, InTheMidstOfTheInstructionInFront) {
  UniqueFd file = OpenTemp();
  for (int i = 0; i < kMany; ++i) {
    ASSERT_EQ(site_hidden(SYS_fcntl, file.get(), F_GETFD, 0), 0);
    ASSERT_EQ(site_hidden(SYS_dup2, file.get(), file.get(), 0), file.get());
  }
}

TEST(HotSitesRelative, DataBesideTheCodeIsFound) {
  UniqueFd file = OpenTemp();
  for (int i = 0; i < kMany; ++i) {
    g_hot_number = i % 2 == 0 ? SYS_lseek : SYS_getppid;
    ASSERT_EQ(site_relative(0, file.get(), i, SEEK_SET), i % 2 == 0 ? i : getppid());
  }
}

// The instruction in front of the call may fault: the handler sees where, and can repair it.
std::atomic<uint64_t> g_fault_ip;
long g_number_behind_fault;
void OnFault(int, siginfo_t*, void* context) {
  auto& regs = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  g_fault_ip = static_cast<uint64_t>(regs[REG_RIP]);
  regs[REG_R8] = reinterpret_cast<greg_t>(&g_number_behind_fault);
}
extern "C" long site_faulting(long address, long a, long b, long c);
extern "C" const char site_faulting_load[];
asm(R"(
    .text
    .balign 64
site_faulting:
    push %rbx
    mov %rdi, %r8
    mov %rsi, %rdi
    mov %rdx, %rsi
    mov %rcx, %rdx
site_faulting_load:
    mov (%r8), %rax
    syscall
    pop %rbx
    ret
)");

TEST(HotSitesFaulting, TheInstructionInFrontIsWhereItWas) {
  UniqueFd file = OpenTemp();
  struct sigaction action = {}, old;
  action.sa_sigaction = OnFault;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGSEGV, &action, &old);
  g_number_behind_fault = SYS_lseek;
  const long number = SYS_lseek;
  for (int i = 0; i < kMany; ++i) {
    const bool faults = i % 64 == 63;
    g_fault_ip = 0;
    ASSERT_EQ(site_faulting(faults ? 8 : reinterpret_cast<long>(&number), file.get(), i, SEEK_SET),
              i);
    ASSERT_EQ(g_fault_ip, faults ? reinterpret_cast<uint64_t>(site_faulting_load) : 0u);
  }
  sigaction(SIGSEGV, &old, nullptr);
}

// Handlers that never return: by longjmp, or by a C++ exception through the interrupted call.
class HotSitesLeft : public HotSites {};
INSTANTIATE_TEST_SUITE_P(Forms, HotSitesLeft, testing::ValuesIn(kForms),
                         [](const testing::TestParamInfo<Form>& info) {
                           std::string name = info.param.name;
                           std::replace(name.begin(), name.end(), ' ', '_');
                           return name;
                         });

TEST_P(HotSitesLeft, ByALongJump) {
  static sigjmp_buf out;
  UniqueFd file = OpenTemp();
  ScopedAction action(SIGALRM, [](int) { siglongjmp(out, 1); });
  static int i;  // Kept across the jump.
  for (i = 0; i < 40; ++i) {
    if (sigsetjmp(out, 1) == 0) {
      const itimerval soon{.it_interval = {}, .it_value = {0, 200 + 37 * i}};
      setitimer(ITIMER_REAL, &soon, nullptr);
      for (;;) Do(SYS_lseek, file.get(), 7, SEEK_SET);
    }
    ASSERT_EQ(Do(SYS_lseek, file.get(), i, SEEK_SET), i);
  }
}

TEST(HotSitesMusl, AnotherCLibraryWorks) {
  const std::string program = std::string(CONFORMANCE_HELPERS) + "/musl_calls";
  if (access(program.c_str(), X_OK) != 0) GTEST_SKIP() << "needs musl-gcc to be built";
  const int status = InChild([&program] {
    execl(program.c_str(), "musl_calls", nullptr);
    return 127;
  });
  EXPECT_EQ(status, 0);
}

}  // namespace
