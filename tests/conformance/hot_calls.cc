// Calls that a program makes again and again. A kernel may take short cuts for them (the sandbox
// rewrites their instructions, see platform/systrap/README.md): nothing of that may show.
#include <asm/prctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>

#include <atomic>
#include <thread>

#include "tests/conformance/support.h"

namespace {

// Enough for any short cut to be taken, and little enough for a slow machine.
constexpr int kMany = 4000;

// A call site of the test's own, in the form that compilers and C libraries make.
#define CALL_SITE(name, number)                 \
  extern "C" long name(long a, long b, long c); \
  asm(".text\n.globl " #name "\n" #name         \
      ":\n"                                     \
      "mov $" #number                           \
      ", %eax\n"                                \
      "syscall\n"                               \
      "ret\n"                                   \
      ".size " #name ", . - " #name "\n");
CALL_SITE(site_getppid, 110)
CALL_SITE(site_getpid, 39)
CALL_SITE(site_gettid, 186)
CALL_SITE(site_getuid, 102)
CALL_SITE(site_lseek, 8)
CALL_SITE(site_dup2, 33)
CALL_SITE(site_pread, 17)
CALL_SITE(site_kill, 62)
CALL_SITE(site_fcntl, 72)
CALL_SITE(site_close, 3)
CALL_SITE(site_priority, 146)  // sched_get_priority_max: 99 for SCHED_FIFO, which is 1.

// Makes a call with every register and flag set to known values, and collects what they are
// afterwards: only %rax, %rcx and %r11 may differ.
struct State {
  uint64_t rbx, rdx, rsi, rdi, rbp, r8, r9, r10, r12, r13, r14, r15, flags, rax;
};
extern "C" void site_with_state(const State* in, State* out);
asm(R"(
    .text
    .globl site_with_state
site_with_state:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    push %rsi
    mov %rdi, %rax
    mov 0(%rax), %rbx
    mov 8(%rax), %rdx
    mov 16(%rax), %rsi
    mov 24(%rax), %rdi
    mov 32(%rax), %rbp
    mov 40(%rax), %r8
    mov 48(%rax), %r9
    mov 56(%rax), %r10
    mov 64(%rax), %r12
    mov 72(%rax), %r13
    mov 80(%rax), %r14
    mov 88(%rax), %r15
    movq $0x5a5a5a5a, -8(%rsp)
    movq $0x6b6b6b6b, -128(%rsp)
    mov 96(%rax), %rax
    add $0x7f, %al
    sahf
    mov $146, %eax
    syscall
    mov %rax, %r11
    lahf
    seto %al
    mov -8(%rsp), %rcx
    sub -128(%rsp), %rcx
    cmp $-0x11111111, %rcx
    jne 1f
    mov (%rsp), %rcx
    mov %rbx, 0(%rcx)
    mov %rdx, 8(%rcx)
    mov %rsi, 16(%rcx)
    mov %rdi, 24(%rcx)
    mov %rbp, 32(%rcx)
    mov %r8, 40(%rcx)
    mov %r9, 48(%rcx)
    mov %r10, 56(%rcx)
    mov %r12, 64(%rcx)
    mov %r13, 72(%rcx)
    mov %r14, 80(%rcx)
    mov %r15, 88(%rcx)
    movzwl %ax, %eax
    mov %rax, 96(%rcx)
    mov %r11, 104(%rcx)
1:
    pop %rsi
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret
)");

// SIGALRM at short intervals while it lives.
std::atomic<int> g_alarms;
std::atomic<uint64_t> g_strange_ip;
std::atomic<uint64_t> g_text_start, g_text_end;
extern "C" char __executable_start, etext;

void OnAlarm(int, siginfo_t*, void* context) {
  const auto ip =
      static_cast<uint64_t>(static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP]);
  if (g_text_end != 0 && (ip < g_text_start || ip >= g_text_end)) g_strange_ip = ip;
  g_alarms = g_alarms + 1;
}

class Alarms {
 public:
  explicit Alarms(int flags = SA_RESTART) {
    struct sigaction action = {};
    action.sa_sigaction = OnAlarm;
    action.sa_flags = SA_SIGINFO | flags;
    sigaction(SIGALRM, &action, &old_);
    g_alarms = 0;
    const itimerval often{.it_interval = {0, 1000}, .it_value = {0, 1000}};
    setitimer(ITIMER_REAL, &often, nullptr);
  }
  ~Alarms() {
    const itimerval never{};
    setitimer(ITIMER_REAL, &never, nullptr);
    sigaction(SIGALRM, &old_, nullptr);
  }

 private:
  struct sigaction old_;
};

TEST(HotCalls, ResultsStayRight) {
  UniqueFd file = OpenTemp(0, "0123456789");
  for (int i = 0; i < kMany; ++i) {
    ASSERT_EQ(site_lseek(file.get(), i, SEEK_SET), i);
    ASSERT_EQ(site_getppid(0, 0, 0), getppid());
    ASSERT_EQ(site_priority(SCHED_FIFO, 0, 0), 99);
  }
}

TEST(HotCalls, FailuresStayRight) {
  for (int i = 0; i < kMany; ++i) ASSERT_EQ(site_lseek(-1, i, SEEK_SET), -EBADF);
}

TEST(HotCalls, DataArrives) {
  UniqueFd file = OpenTemp(0, "0123456789");
  for (int i = 0; i < kMany; ++i) {
    char buffer[4] = {};
    register long offset asm("r10") = i % 8;
    asm volatile("" : : "r"(offset));
    ASSERT_EQ(pread(file.get(), buffer, 2, i % 8), 2);
    ASSERT_EQ(buffer[0], '0' + i % 8);
  }
}

TEST(HotCalls, RegistersAndFlagsAreKept) {
  for (int i = 0; i < kMany; ++i) {
    // SF ZF AF PF CF in ah, OF in al; bit 1 always reads as one.
    const uint64_t flags = ((i & 1 ? 0xd7u : 0x02u) << 8) | (i & 2 ? 1u : 0u);
    State in{.rbx = 21,
             .rdx = 2,
             .rsi = 3,
             .rdi = SCHED_FIFO,
             .rbp = 5,
             .r8 = 6,
             .r9 = 7,
             .r10 = 8,
             .r12 = 9,
             .r13 = 10,
             .r14 = 11,
             .r15 = 12,
             .flags = flags};
    State out{};
    site_with_state(&in, &out);
    in.rax = 99;
    ASSERT_EQ(memcmp(&in, &out, sizeof in), 0)
        << "flags " << std::hex << out.flags << " for " << in.flags << " in call " << std::dec << i;
  }
}

TEST(HotCalls, RegistersAreKeptAcrossSignals) {
  Alarms alarms;
  int calls = 0;
  for (; calls < kMany || g_alarms < 20; ++calls) {
    const uint64_t flags = ((calls & 1 ? 0xd7u : 0x02u) << 8) | (calls & 2 ? 1u : 0u);
    State in{.rbx = 21,
             .rdx = 2,
             .rsi = 3,
             .rdi = SCHED_FIFO,
             .rbp = 5,
             .r8 = 6,
             .r9 = 7,
             .r10 = 8,
             .r12 = 9,
             .r13 = 10,
             .r14 = 11,
             .r15 = 12,
             .flags = flags,
             .rax = 99};
    State out{};
    site_with_state(&in, &out);
    ASSERT_EQ(memcmp(&in, &out, sizeof in), 0)
        << "call " << calls << " flags " << std::hex << out.flags;
  }
}

TEST(HotCalls, EachCallIsMadeOnceAcrossSignals) {
  UniqueFd file = OpenTemp();
  Alarms alarms;
  int64_t calls = 0;
  for (; calls < kMany || g_alarms < 20; ++calls) {
    ASSERT_EQ(site_lseek(file.get(), 1, SEEK_CUR), calls + 1);
  }
}

TEST(HotCalls, HandlersSeeOnlyTheProgramsOwnAddresses) {
  g_text_start = reinterpret_cast<uint64_t>(&__executable_start);
  g_strange_ip = 0;
  {
    Alarms alarms;
    // From here to the end of the block through sites of this program only.
    g_text_end = reinterpret_cast<uint64_t>(&etext);
    while (g_alarms < 50) site_priority(SCHED_FIFO, 0, 0);
    g_text_end = 0;
  }
  EXPECT_EQ(g_strange_ip, 0u) << std::hex << g_strange_ip;
}

TEST(HotCalls, SignalToSelfRunsItsHandlerFirst) {
  static std::atomic<int> count;
  count = 0;
  ScopedAction action(SIGUSR1, [](int) { count = count + 1; });
  for (int i = 0; i < kMany / 8; ++i) {
    ASSERT_EQ(site_kill(getpid(), SIGUSR1, 0), 0);
    ASSERT_EQ(count, i + 1);
  }
}

TEST(HotCalls, ForkedChildrenHaveTheirOwnIds) {
  for (int i = 0; i < kMany; ++i) ASSERT_EQ(site_getpid(0, 0, 0), getpid());
  const pid_t parent = getpid();
  const int status = InChild([parent] {
    for (int i = 0; i < kMany; ++i) {
      if (site_getppid(0, 0, 0) != parent) return 1;
      if (site_getpid(0, 0, 0) == parent || site_getpid(0, 0, 0) != getpid()) return 2;
      if (site_gettid(0, 0, 0) != getpid()) return 3;
    }
    return 0;
  });
  EXPECT_EQ(status, 0);
  EXPECT_EQ(site_getpid(0, 0, 0), parent);
}

TEST(HotCalls, ParentsGoOnAfterForkInTheMiddle) {
  UniqueFd file = OpenTemp();
  for (int i = 0; i < 40; ++i) {
    for (int j = 0; j < 50; ++j) ASSERT_EQ(site_lseek(file.get(), j, SEEK_SET), j);
    ASSERT_EQ(InChild([&file] { return site_lseek(file.get(), 0, SEEK_CUR) == 49 ? 0 : 1; }), 0);
  }
}

TEST(HotCalls, ThreadsHaveTheirOwnIds) {
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&wrong] {
      const long mine = site_gettid(0, 0, 0);
      for (int i = 0; i < kMany; ++i) {
        if (site_gettid(0, 0, 0) != mine || site_getpid(0, 0, 0) != getpid()) ++wrong;
      }
      if (mine == getpid()) ++wrong;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST(HotCalls, ManyThreadsThroughOneSite) {
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 6; ++t) {
    threads.emplace_back([&wrong, t] {
      const UniqueFd file = OpenTemp();
      for (int i = 0; i < kMany; ++i) {
        if (site_lseek(file.get(), i + t, SEEK_SET) != i + t) ++wrong;
        if (site_fcntl(file.get(), F_GETFD, 0) < 0) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST(HotCalls, ThreadsComeAndGoBetweenCalls) {
  for (int i = 0; i < 60; ++i) {
    std::atomic<long> tid{0};
    std::thread thread([&tid] {
      for (int j = 0; j < 100; ++j) tid = site_gettid(0, 0, 0);
    });
    thread.join();
    ASSERT_NE(tid, 0);
    ASSERT_NE(tid, site_gettid(0, 0, 0));
  }
}

TEST(HotCalls, IdsChangeAtOnce) {
  if (getuid() != 0) GTEST_SKIP() << "needs root";
  const int status = InChild([] {
    for (int i = 0; i < kMany; ++i) {
      if (site_getuid(0, 0, 0) != 0) return 1;
    }
    if (syscall(SYS_setresuid, 1000, 1000, 0) != 0) return 2;
    if (site_getuid(0, 0, 0) != 1000) return 3;
    if (syscall(SYS_setresuid, 0, 0, 0) != 0) return 4;
    for (int i = 0; i < kMany; ++i) {
      if (site_getuid(0, 0, 0) != 0) return 5;
    }
    return 0;
  });
  EXPECT_EQ(status, 0);
}

TEST(HotCalls, ParentsAreNeverStale) {
  // The child's parent dies while the child asks for it all the time.
  Pipe ready, result;
  const pid_t middle = Start([&] {
    const pid_t self = getpid();
    const pid_t child = fork();
    if (child == 0) {
      for (int i = 0; i < kMany; ++i) {
        if (site_getppid(0, 0, 0) != self) _exit(1);
      }
      Post(ready.write.get());
      while (site_getppid(0, 0, 0) == self) continue;
      Post(result.write.get());
      _exit(0);
    }
    return Await(ready.read.get()) ? 0 : 1;
  });
  EXPECT_EQ(Wait(middle), 0);
  EXPECT_TRUE(Await(result.read.get()));
}

TEST(HotCalls, InterruptedWaitsAreRestarted) {
  Pipe pipe;
  static std::atomic<int> count;
  count = 0;
  struct sigaction action = {};
  action.sa_handler = [](int) { count = count + 1; };
  action.sa_flags = SA_RESTART;
  struct sigaction old;
  sigaction(SIGUSR1, &action, &old);
  const pid_t parent = getpid();
  for (int i = 0; i < 30; ++i) {
    for (int j = 0; j < 60; ++j) ASSERT_GE(site_fcntl(pipe.read.get(), F_GETFL, 0), 0);
    const pid_t child = Start([&] {
      kill(parent, SIGUSR1);
      return Post(pipe.write.get()) ? 0 : 1;
    });
    char byte;
    ASSERT_EQ(read(pipe.read.get(), &byte, 1), 1);
    ASSERT_EQ(Wait(child), 0);
  }
  sigaction(SIGUSR1, &old, nullptr);
  EXPECT_EQ(count, 30);
}

TEST(HotCalls, ClosedFilesWithMappingsToo) {
  // close(2) of a file that was mapped is the host's business as well.
  TempDir dir;
  WriteFile(dir / "file", std::string(4096, 'x'));
  for (int i = 0; i < 200; ++i) {
    const int fd = open((dir / "file").c_str(), O_RDONLY);
    ASSERT_GE(fd, 0);
    void* map = mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
    ASSERT_NE(map, MAP_FAILED);
    ASSERT_EQ(site_close(fd, 0, 0), 0);
    ASSERT_EQ(site_close(fd, 0, 0), -EBADF);
    ASSERT_EQ(*static_cast<char*>(map), 'x');
    munmap(map, 4096);
  }
}

TEST(HotCalls, EachFileIsClosedOnceAcrossSignals) {
  UniqueFd file = OpenTemp(0, std::string(4096, 'x'));
  Alarms alarms;
  for (int calls = 0; calls < kMany || g_alarms < 20; ++calls) {
    const int fd = dup(file.get());
    ASSERT_GE(fd, 0);
    void* map = MAP_FAILED;
    if (calls % 16 == 0) map = mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
    ASSERT_EQ(site_close(fd, 0, 0), 0);
    ASSERT_EQ(site_close(fd, 0, 0), -EBADF);
    if (map != MAP_FAILED) munmap(map, 4096);
  }
}

TEST(HotCalls, SegmentBaseIsTheProgramsOwn) {
  uint64_t base = 1;
  for (int i = 0; i < kMany; ++i) site_priority(SCHED_FIFO, 0, 0);
  ASSERT_EQ(syscall(SYS_arch_prctl, ARCH_GET_GS, &base), 0);
  EXPECT_EQ(base, 0u);
  static uint64_t values[512];
  values[0] = 0x1234;
  ASSERT_EQ(syscall(SYS_arch_prctl, ARCH_SET_GS, values), 0);
  UniqueFd file = OpenTemp();
  for (int i = 0; i < kMany; ++i) {
    ASSERT_EQ(site_lseek(file.get(), i, SEEK_SET), i);
    uint64_t seen;
    asm volatile("movq %%gs:0, %0" : "=r"(seen));
    ASSERT_EQ(seen, 0x1234u);
  }
  ASSERT_EQ(syscall(SYS_arch_prctl, ARCH_GET_GS, &base), 0);
  EXPECT_EQ(base, reinterpret_cast<uint64_t>(values));
  // A thread inherits it.
  uint64_t inherited = 0;
  std::thread([&inherited] { asm volatile("movq %%gs:0, %0" : "=r"(inherited)); }).join();
  EXPECT_EQ(inherited, 0x1234u);
  ASSERT_EQ(syscall(SYS_arch_prctl, ARCH_SET_GS, 0), 0);
  for (int i = 0; i < kMany; ++i) ASSERT_EQ(site_lseek(file.get(), i, SEEK_SET), i);
}

// mov $nr,%eax; syscall; ret
void WriteCode(uint8_t* at, uint32_t nr) {
  const uint8_t code[] = {0xb8, static_cast<uint8_t>(nr), 0, 0, 0, 0x0f, 0x05, 0xc3};
  memcpy(at, code, sizeof code);
}

TEST(HotCalls, CodeThatIsWrittenStaysAsItIs) {
  auto* code = static_cast<uint8_t*>(
      mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(code, MAP_FAILED);
  const auto call = reinterpret_cast<long (*)()>(code);
  for (int round = 0; round < 4; ++round) {
    WriteCode(code, SYS_getppid);
    for (int i = 0; i < kMany / 4; ++i) ASSERT_EQ(call(), getppid());
    const uint8_t expected[] = {0xb8, SYS_getppid, 0, 0, 0, 0x0f, 0x05, 0xc3};
    ASSERT_EQ(memcmp(code, expected, sizeof expected), 0);
    WriteCode(code, SYS_getpid);
    for (int i = 0; i < kMany / 4; ++i) ASSERT_EQ(call(), getpid());
  }
  munmap(code, 4096);
}

TEST(HotCalls, OtherCodeAtTheSameAddress) {
  void* place = nullptr;
  for (const uint32_t nr : {SYS_getppid, SYS_getpid, SYS_getppid}) {
    auto* code =
        static_cast<uint8_t*>(mmap(place, 4096, PROT_READ | PROT_WRITE,
                                   MAP_PRIVATE | MAP_ANONYMOUS | (place ? MAP_FIXED : 0), -1, 0));
    ASSERT_NE(code, MAP_FAILED);
    place = code;
    WriteCode(code, nr);
    ASSERT_EQ(mprotect(code, 4096, PROT_READ | PROT_EXEC), 0);
    const auto call = reinterpret_cast<long (*)()>(code);
    const long expected = nr == SYS_getpid ? getpid() : getppid();
    for (int i = 0; i < kMany; ++i) ASSERT_EQ(call(), expected);
  }
  munmap(place, 4096);
}

TEST(HotCalls, ProtectionsOfCodeStay) {
  auto* code = static_cast<uint8_t*>(
      mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(code, MAP_FAILED);
  WriteCode(code, SYS_getppid);
  ASSERT_EQ(mprotect(code, 4096, PROT_READ | PROT_EXEC), 0);
  const auto call = reinterpret_cast<long (*)()>(code);
  for (int i = 0; i < kMany; ++i) ASSERT_EQ(call(), getppid());
  // Writing to it is still a fault, in a child since that ends it.
  const int status = InChild([code] {
    *const_cast<volatile uint8_t*>(code) = 0;
    return 0;
  });
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV) << status;
  munmap(code, 4096);
}

TEST(HotCalls, ExecutedProgramsStartAfresh) {
  for (int i = 0; i < 20; ++i) {
    for (int j = 0; j < 200; ++j) site_priority(SCHED_FIFO, 0, 0);
    const pid_t child = vfork();
    if (child == 0) {
      execl("/bin/true", "true", nullptr);
      _exit(127);
    }
    ASSERT_EQ(Wait(child), 0);
  }
}

TEST(HotCalls, KilledInTheMiddle) {
  for (int i = 0; i < 20; ++i) {
    Pipe ready;
    const pid_t child = Start([&ready] {
      for (int j = 0; j < 300; ++j) site_priority(SCHED_FIFO, 0, 0);
      Post(ready.write.get());
      for (;;) site_priority(SCHED_FIFO, 0, 0);
      return 0;
    });
    ASSERT_TRUE(Await(ready.read.get()));
    kill(child, SIGKILL);
    const int status = Wait(child);
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  }
}

TEST(HotCalls, StoppedAndContinuedInTheMiddle) {
  Pipe ready;
  const pid_t child = Start([&ready] {
    const UniqueFd file = OpenTemp();
    for (int j = 0; j < kMany; ++j) {
      if (site_lseek(file.get(), 1, SEEK_CUR) != j + 1) return 1;
      if (j == kMany / 4) Post(ready.write.get());
    }
    return 0;
  });
  ASSERT_TRUE(Await(ready.read.get()));
  int status = 0;
  for (int i = 0; i < 10; ++i) {
    kill(child, SIGSTOP);
    ASSERT_EQ(waitpid(child, &status, WUNTRACED), child);
    if (!WIFSTOPPED(status)) break;
    kill(child, SIGCONT);
  }
  if (WIFSTOPPED(status)) status = Wait(child);
  EXPECT_EQ(status, 0);
}

}  // namespace
