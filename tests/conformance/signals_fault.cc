// Faults in detail: what siginfo and the machine context say, and what an unhandled one does.
#include <fenv.h>
#include <setjmp.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "tests/conformance/support.h"

namespace {

sigjmp_buf g_jump;
siginfo_t g_info;
greg_t g_registers[NGREG];

void Escape(int, siginfo_t* info, void* context) {
  g_info = *info;
  memcpy(g_registers, static_cast<ucontext_t*>(context)->uc_mcontext.gregs, sizeof g_registers);
  siglongjmp(g_jump, 1);
}

template <typename Body>
bool Faults(int signal, Body body) {
  memset(&g_info, 0, sizeof g_info);
  ScopedAction action(signal, Escape);
  if (sigsetjmp(g_jump, 1) != 0) return true;
  body();
  return false;
}

// Bits of the page fault's error code.
constexpr greg_t kPresent = 1, kWrite = 2, kUser = 4, kFetch = 16;
greg_t PageError() { return g_registers[REG_ERR] & (kPresent | kWrite | kUser | kFetch); }

class Mapping {
 public:
  Mapping(int prot, size_t size = 4096, int fd = -1)
      : size_(size),
        at_(static_cast<char*>(mmap(nullptr, size, prot,
                                    fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED, fd, 0))) {}
  ~Mapping() { munmap(at_, size_); }
  volatile char* at() const { return at_; }

 private:
  size_t size_;
  char* at_;
};

TEST(FaultDetails, ReadOfNothing) {
  EXPECT_TRUE(Faults(SIGSEGV, [] { (void)*reinterpret_cast<volatile char*>(0x1239); }));
  EXPECT_EQ(g_info.si_code, SEGV_MAPERR);
  EXPECT_EQ(g_info.si_errno, 0);
  EXPECT_EQ(g_info.si_addr, reinterpret_cast<void*>(0x1239));
  EXPECT_EQ(PageError(), kUser);
  EXPECT_EQ(g_registers[REG_TRAPNO], 14);
  EXPECT_EQ(g_registers[REG_CR2], 0x1239);
}

TEST(FaultDetails, WriteToNothing) {
  EXPECT_TRUE(Faults(SIGSEGV, [] { *reinterpret_cast<volatile char*>(0x1239) = 1; }));
  EXPECT_EQ(g_info.si_code, SEGV_MAPERR);
  EXPECT_EQ(PageError(), kUser | kWrite);
}

TEST(FaultDetails, CallOfNothing) {
  EXPECT_TRUE(Faults(SIGSEGV, [] { reinterpret_cast<void (*)()>(0x1000)(); }));
  EXPECT_EQ(g_info.si_code, SEGV_MAPERR);
  EXPECT_EQ(PageError() & kUser, kUser);
  EXPECT_EQ(PageError() & kWrite, 0);
  EXPECT_EQ(g_registers[REG_RIP], 0x1000);
}

TEST(FaultDetails, WriteToAReadOnlyPage) {
  Mapping page(PROT_READ);
  (void)page.at()[8];
  EXPECT_TRUE(Faults(SIGSEGV, [&] { page.at()[8] = 1; }));
  EXPECT_EQ(g_info.si_code, SEGV_ACCERR);
  EXPECT_EQ(g_info.si_addr, const_cast<char*>(page.at() + 8));
  EXPECT_EQ(PageError() & (kUser | kWrite), kUser | kWrite);
}

TEST(FaultDetails, ReadOfAPageWithoutAccess) {
  Mapping page(PROT_NONE);
  EXPECT_TRUE(Faults(SIGSEGV, [&] { (void)page.at()[5]; }));
  EXPECT_EQ(g_info.si_code, SEGV_ACCERR);
  EXPECT_EQ(PageError() & (kUser | kWrite), kUser);
}

TEST(FaultDetails, FetchFromData) {
  Mapping page(PROT_READ | PROT_WRITE);
  page.at()[0] = '\xc3';
  EXPECT_TRUE(Faults(SIGSEGV, [&] {
    reinterpret_cast<void (*)()>(reinterpret_cast<uintptr_t>(page.at()))();
  }));
  EXPECT_EQ(g_info.si_code, SEGV_ACCERR);
  EXPECT_EQ(g_info.si_addr, const_cast<char*>(page.at()));
  EXPECT_EQ(PageError() & (kUser | kWrite), kUser);
}

TEST(FaultDetails, NonCanonicalHasNoAddress) {
  EXPECT_TRUE(Faults(SIGSEGV, [] { (void)*reinterpret_cast<volatile char*>(0x8000'0000'0000'0000u); }));
  EXPECT_EQ(g_info.si_code, SI_KERNEL);
  EXPECT_EQ(g_info.si_addr, nullptr);
  EXPECT_EQ(g_registers[REG_TRAPNO], 13);
  EXPECT_EQ(g_registers[REG_ERR], 0);
}

TEST(FaultDetails, KernelHalfIsNotMapped) {
  EXPECT_TRUE(Faults(SIGSEGV, [] { (void)*reinterpret_cast<volatile char*>(0xffff'8000'0000'0000u); }));
  EXPECT_EQ(g_info.si_code, SEGV_MAPERR);
}

TEST(FaultDetails, Privileged) {
  EXPECT_TRUE(Faults(SIGSEGV, [] { asm volatile("cli"); }));
  EXPECT_EQ(g_info.si_code, SI_KERNEL);
  EXPECT_EQ(g_registers[REG_TRAPNO], 13);
  EXPECT_TRUE(Faults(SIGSEGV, [] { asm volatile("rdmsr" ::: "eax", "ecx", "edx"); }));
  EXPECT_EQ(g_info.si_code, SI_KERNEL);
}

TEST(FaultDetails, InterruptInstruction) {
  EXPECT_TRUE(Faults(SIGSEGV, [] { asm volatile("int $0x20"); }));
  EXPECT_EQ(g_info.si_code, SI_KERNEL);
  EXPECT_EQ(g_registers[REG_TRAPNO], 13);
  EXPECT_EQ(g_registers[REG_ERR], 0x20 * 8 + 2);
}

TEST(FaultDetails, ReadBeyondTheEndOfAFile) {
  UniqueFd fd = OpenTemp(0, "x");
  Mapping map(PROT_READ, 3 * 4096, fd.get());
  EXPECT_TRUE(Faults(SIGBUS, [&] { (void)map.at()[2 * 4096 + 3]; }));
  EXPECT_EQ(g_info.si_code, BUS_ADRERR);
  EXPECT_EQ(g_info.si_addr, const_cast<char*>(map.at()) + 2 * 4096 + 3);
  EXPECT_EQ(PageError() & kWrite, 0);
}

TEST(FaultDetails, TruncatedUnderTheMapping) {
  UniqueFd fd = OpenTemp();
  ASSERT_THAT(ftruncate(fd.get(), 8192), Returns(0));
  Mapping map(PROT_READ | PROT_WRITE, 8192, fd.get());
  map.at()[5000] = 1;
  ASSERT_THAT(ftruncate(fd.get(), 100), Returns(0));
  EXPECT_TRUE(Faults(SIGBUS, [&] { map.at()[5000] = 2; }));
  EXPECT_EQ(g_info.si_code, BUS_ADRERR);
  ASSERT_THAT(ftruncate(fd.get(), 8192), Returns(0));
  EXPECT_FALSE(Faults(SIGBUS, [&] { map.at()[5000] = 3; }));
}

TEST(FaultDetails, AlignmentCheck) {
  // With the AC flag a misaligned access is SIGBUS. The handler starts with the flag still set.
  static volatile int code;
  static volatile greg_t trap;
  ScopedAction action(SIGBUS, [](int, siginfo_t* info, void* uc) {
    asm volatile("pushfq\n andl $~0x40000, (%%rsp)\n popfq" ::: "memory", "cc");
    code = info->si_code;
    auto* registers = static_cast<ucontext_t*>(uc)->uc_mcontext.gregs;
    trap = registers[REG_TRAPNO];
    registers[REG_EFL] &= ~0x40000;
  });
  alignas(8) static char bytes[16];
  asm volatile(
      "pushfq\n orl $0x40000, (%%rsp)\n popfq\n"
      "movl 1(%0), %%eax\n"
      : : "r"(bytes) : "rax", "memory", "cc");
  EXPECT_EQ(code, BUS_ADRALN);
  EXPECT_EQ(trap, 17);
}

TEST(FaultDetails, DivisionOverflow) {
  EXPECT_TRUE(Faults(SIGFPE, [] {
    asm volatile("mov $0x80000000,%%eax; cltd; mov $-1,%%ecx; idiv %%ecx" ::: "eax", "ecx", "edx");
  }));
  EXPECT_EQ(g_info.si_code, FPE_INTDIV);
  EXPECT_EQ(g_registers[REG_TRAPNO], 0);
  EXPECT_EQ(g_info.si_addr, reinterpret_cast<void*>(g_registers[REG_RIP]));
}

TEST(FaultDetails, FloatingPointByMxcsr) {
  struct Case {
    uint32_t unmasked;
    double a, b;
    int code;
  };
  for (const Case& c : {Case{0x200, 1.0, 0.0, FPE_FLTDIV}, Case{0x80, 0.0, 0.0, FPE_FLTINV},
                        Case{0x400, 1e308, 1e-10, FPE_FLTOVF}, Case{0x1000, 1.0, 3.0, FPE_FLTRES}}) {
    EXPECT_TRUE(Faults(SIGFPE, [&] {
      const uint32_t mxcsr = 0x1f80 & ~c.unmasked;
      double a = c.a;
      asm volatile("ldmxcsr %1\n divsd %2, %0" : "+x"(a) : "m"(mxcsr), "m"(c.b));
    })) << c.code;
    EXPECT_EQ(g_info.si_code, c.code);
    EXPECT_EQ(g_registers[REG_TRAPNO], 19);
  }
  const uint32_t usual = 0x1f80;
  asm volatile("ldmxcsr %0" : : "m"(usual));
}

TEST(FaultDetails, FloatingPointByX87) {
  EXPECT_TRUE(Faults(SIGFPE, [] {
    const uint16_t control = 0x37f & ~4;  // Division by zero.
    asm volatile("fldcw %0\n fld1\n fldz\n fdivrp\n fwait" : : "m"(control));
  }));
  asm volatile("fninit");
  EXPECT_EQ(g_info.si_code, FPE_FLTDIV);
  EXPECT_EQ(g_registers[REG_TRAPNO], 16);
}

TEST(FaultDetails, UndefinedInstruction) {
  EXPECT_TRUE(Faults(SIGILL, [] { asm volatile(".byte 0x0f, 0x0b"); }));
  EXPECT_EQ(g_info.si_code, ILL_ILLOPN);
  EXPECT_EQ(g_registers[REG_TRAPNO], 6);
  EXPECT_EQ(g_info.si_addr, reinterpret_cast<void*>(g_registers[REG_RIP]));
}

TEST(FaultDetails, BreakpointStandsBehindTheInstruction) {
  EXPECT_TRUE(Faults(SIGTRAP, [] { asm volatile(".globl the_breakpoint\nthe_breakpoint: int3"); }));
  extern char the_breakpoint[] asm("the_breakpoint");
  EXPECT_EQ(g_info.si_code, SI_KERNEL);
  EXPECT_EQ(g_registers[REG_TRAPNO], 3);
  EXPECT_EQ(g_registers[REG_RIP], reinterpret_cast<greg_t>(the_breakpoint) + 1);
}

TEST(FaultDetails, SingleStep) {
  static volatile int steps;
  static int codes, traps;
  steps = 0;
  codes = traps = 0;
  ScopedAction action(SIGTRAP, [](int, siginfo_t* info, void* uc) {
    steps = steps + 1;
    codes = info->si_code;
    auto* registers = static_cast<ucontext_t*>(uc)->uc_mcontext.gregs;
    traps = static_cast<int>(registers[REG_TRAPNO]);
    if (steps == 3) registers[REG_EFL] &= ~0x100;
  });
  asm volatile("pushfq\n orl $0x100, (%%rsp)\n popfq\n nop\n nop\n nop\n nop\n nop"
               ::: "memory", "cc");
  EXPECT_EQ(steps, 3);
  EXPECT_EQ(codes, TRAP_TRACE);
  EXPECT_EQ(traps, 1);
}

TEST(FaultDetails, StepFlagIsOffInsideTheHandler) {
  static volatile int steps;
  static greg_t inside;
  steps = 0;
  ScopedAction action(SIGTRAP, [](int, siginfo_t*, void* uc) {
    steps = steps + 1;
    asm volatile("pushfq\n pop %0" : "=r"(inside));
    static_cast<ucontext_t*>(uc)->uc_mcontext.gregs[REG_EFL] &= ~0x100;
  });
  asm volatile("pushfq\n orl $0x100, (%%rsp)\n popfq\n nop\n nop" ::: "memory", "cc");
  EXPECT_EQ(steps, 1);
  EXPECT_EQ(inside & 0x100, 0);
}

TEST(FaultDetails, BoundAndOverflowChecksOfLibraries) {
  // SIGABRT of abort(3) comes from tgkill, also when it is blocked.
  EXPECT_THAT(InChild([] {
    ScopedBlock block({SIGABRT});
    abort();
    return 0;
  }), Killed(SIGABRT));
}

TEST(FaultDeath, EachKillsByItsSignal) {
  EXPECT_THAT(InChild([] { asm volatile("xor %%ecx,%%ecx; idiv %%ecx" ::: "ecx", "eax", "edx"); return 0; }),
              Killed(SIGFPE));
  EXPECT_THAT(InChild([] { asm volatile("int3"); return 0; }), Killed(SIGTRAP));
  EXPECT_THAT(InChild([] { asm volatile("hlt"); return 0; }), Killed(SIGSEGV));
  UniqueFd fd = OpenTemp(0, "x");
  EXPECT_THAT(InChild([&] {
    Mapping map(PROT_READ, 8192, fd.get());
    return map.at()[4096];
  }), Killed(SIGBUS));
}

TEST(FaultDeath, NoCoreWithoutALimit) {
  // RLIMIT_CORE is 0: no core, and the status says so.
  for (const int signal : {SIGQUIT, SIGILL, SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGTRAP, SIGSYS,
                           SIGXCPU, SIGXFSZ}) {
    const int status = InChild([&] {
      const rlimit none = {0, 0};
      setrlimit(RLIMIT_CORE, &none);
      kill(getpid(), signal);
      return 0;
    });
    EXPECT_THAT(status, Killed(signal));
    EXPECT_FALSE(WCOREDUMP(status)) << signal;
  }
}

TEST(FaultDeath, DefaultActionOfEachSignal) {
  for (int signal = 1; signal <= 64; ++signal) {
    if (signal == 32 || signal == 33) continue;  // glibc's own.
    const bool ignored = signal == SIGCHLD || signal == SIGURG || signal == SIGWINCH || signal == SIGCONT;
    const bool stops = signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU;
    if (stops) continue;  // Other cases.
    const int status = InChild([&] {
      const rlimit none = {0, 0};
      setrlimit(RLIMIT_CORE, &none);
      ::signal(signal, SIG_DFL);
      kill(getpid(), signal);
      return 42;
    });
    if (ignored) {
      EXPECT_THAT(status, Exited(42)) << signal;
    } else {
      EXPECT_THAT(status, Killed(signal));
    }
  }
}

TEST(FaultDeath, InAHandlersOwnFault) {
  EXPECT_THAT(InChild([] {
    ScopedAction action(SIGSEGV, [](int) { *reinterpret_cast<volatile int*>(8) = 1; });
    *reinterpret_cast<volatile int*>(16) = 1;
    return 0;
  }), Killed(SIGSEGV));
}

TEST(FaultDeath, NestsWithNoDefer) {
  static volatile int depth;
  depth = 0;
  static sigjmp_buf back;
  ScopedAction action(SIGSEGV, [](int) {
    depth = depth + 1;
    if (depth == 5) siglongjmp(back, 1);
    *reinterpret_cast<volatile int*>(8) = 1;
  }, SA_NODEFER);
  if (sigsetjmp(back, 1) == 0) *reinterpret_cast<volatile int*>(16) = 1;
  EXPECT_EQ(depth, 5);
}

TEST(FaultDeath, OverflowOfTheStackWithoutAlternate) {
  EXPECT_THAT(InChild([] {
    const rlimit small = {1 << 20, 1 << 20};
    setrlimit(RLIMIT_STACK, &small);
    struct Deep {
      static int Down(int n) {
        volatile char space[4096];
        space[0] = static_cast<char>(n);
        return n < 0 ? 0 : Down(n + 1) + space[0];
      }
    };
    ScopedAction action(SIGSEGV, [](int) { _exit(1); });
    return Deep::Down(0);
  }), Killed(SIGSEGV));
}

TEST(FaultDeath, SentSegvLooksLikeAnyOther) {
  // kill(2) with SIGSEGV: SI_USER, may be blocked and ignored.
  ScopedAction ignore(SIGSEGV, SIG_IGN);
  EXPECT_THAT(kill(getpid(), SIGSEGV), Returns(0));
  ScopedBlock block({SIGBUS});
  EXPECT_THAT(kill(getpid(), SIGBUS), Returns(0));
  const sigset_t set = SetOf({SIGBUS});
  siginfo_t info;
  const timespec none = {};
  EXPECT_THAT(sigtimedwait(&set, &info, &none), Returns(SIGBUS));
  EXPECT_EQ(info.si_code, SI_USER);
}

}  // namespace
