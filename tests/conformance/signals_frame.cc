// Signal frames: faults, machine state in the context, alternate stacks, vector registers.
#include <immintrin.h>
#include <setjmp.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "tests/conformance/support.h"

namespace {

sigjmp_buf g_jump;
siginfo_t g_info;
ucontext_t g_context;

void Escape(int, siginfo_t* info, void* context) {
  g_info = *info;
  g_context = *static_cast<ucontext_t*>(context);
  siglongjmp(g_jump, 1);
}

// Runs `body`, which must raise `signal`, and leaves what the handler saw in g_info.
template <typename Body>
bool Faults(int signal, Body body) {
  memset(&g_info, 0, sizeof g_info);
  ScopedAction action(signal, Escape);
  if (sigsetjmp(g_jump, 1) != 0) return true;
  body();
  return false;
}

uint64_t Address() { return reinterpret_cast<uint64_t>(g_info.si_addr); }

TEST(Fault, UnmappedAddress) {
  EXPECT_TRUE(Faults(SIGSEGV, [] { *reinterpret_cast<volatile int*>(0x1238) = 1; }));
  EXPECT_EQ(g_info.si_signo, SIGSEGV);
  EXPECT_EQ(g_info.si_code, SEGV_MAPERR);
  EXPECT_EQ(Address(), 0x1238u);
  EXPECT_EQ(g_context.uc_mcontext.gregs[REG_TRAPNO], 14);
  EXPECT_EQ(g_context.uc_mcontext.gregs[REG_CR2], 0x1238);
  EXPECT_EQ(g_context.uc_mcontext.gregs[REG_ERR] & 2, 2) << "a write";
}

TEST(Fault, ProtectedPage) {
  void* page = mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_THAT(page, Succeeds());
  EXPECT_TRUE(Faults(SIGSEGV, [&] { *static_cast<volatile char*>(page) = 1; }));
  EXPECT_EQ(g_info.si_code, SEGV_ACCERR);
  EXPECT_EQ(g_info.si_addr, page);
  munmap(page, 4096);
}

TEST(Fault, ExecutingData) {
  void* page = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_THAT(page, Succeeds());
  EXPECT_TRUE(Faults(SIGSEGV, [&] { reinterpret_cast<void (*)()>(page)(); }));
  EXPECT_EQ(g_info.si_code, SEGV_ACCERR);
  EXPECT_EQ(g_context.uc_mcontext.gregs[REG_RIP], reinterpret_cast<greg_t>(page));
  munmap(page, 4096);
}

TEST(Fault, NonCanonicalAddress) {
  EXPECT_TRUE(Faults(SIGSEGV, [] {
    *reinterpret_cast<volatile int*>(0x8000'0000'0000'0000u) = 1;
  }));
  EXPECT_EQ(g_info.si_code, SI_KERNEL);
  EXPECT_EQ(Address(), 0u);
}

TEST(Fault, DivideByZero) {
  EXPECT_TRUE(Faults(SIGFPE, [] { asm volatile("xor %%ecx,%%ecx; mov $1,%%eax; cltd; idiv %%ecx"
                                               ::: "eax", "ecx", "edx"); }));
  EXPECT_EQ(g_info.si_code, FPE_INTDIV);
  EXPECT_EQ(Address(), static_cast<uint64_t>(g_context.uc_mcontext.gregs[REG_RIP]));
}

TEST(Fault, IllegalInstruction) {
  EXPECT_TRUE(Faults(SIGILL, [] { asm volatile("ud2"); }));
  EXPECT_EQ(g_info.si_code, ILL_ILLOPN);
  EXPECT_EQ(Address(), static_cast<uint64_t>(g_context.uc_mcontext.gregs[REG_RIP]));
}

TEST(Fault, Breakpoint) {
  EXPECT_TRUE(Faults(SIGTRAP, [] { asm volatile("int3"); }));
  EXPECT_EQ(g_info.si_code, SI_KERNEL);
}

TEST(Fault, PrivilegedInstruction) {
  EXPECT_TRUE(Faults(SIGSEGV, [] { asm volatile("hlt"); }));
  EXPECT_EQ(g_info.si_code, SI_KERNEL);
}

TEST(Fault, BeyondTheEndOfAFile) {
  UniqueFd fd = OpenTemp(0, "short");
  auto* map = static_cast<volatile char*>(
      mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0));
  ASSERT_THAT(const_cast<char*>(map), Succeeds());
  EXPECT_EQ(map[4], 't');
  EXPECT_EQ(map[4095], 0);
  EXPECT_TRUE(Faults(SIGBUS, [&] { map[4096] = 1; }));
  EXPECT_EQ(g_info.si_code, BUS_ADRERR);
  EXPECT_EQ(g_info.si_addr, const_cast<char*>(map) + 4096);
  munmap(const_cast<char*>(map), 8192);
}

TEST(Fault, WithoutAHandlerItKills) {
  EXPECT_THAT(InChild([] {
    *reinterpret_cast<volatile int*>(8) = 1;
    return 0;
  }), Killed(SIGSEGV));
  EXPECT_THAT(InChild([] {
    asm volatile("ud2");
    return 0;
  }), Killed(SIGILL));
}

TEST(Fault, IgnoringOrBlockingItDoesNotHelp) {
  EXPECT_THAT(InChild([] {
    signal(SIGSEGV, SIG_IGN);
    *reinterpret_cast<volatile int*>(8) = 1;
    return 0;
  }), Killed(SIGSEGV));
  EXPECT_THAT(InChild([] {
    signal(SIGSEGV, [](int) { _exit(1); });
    ScopedBlock block({SIGSEGV});
    *reinterpret_cast<volatile int*>(8) = 1;
    return 0;
  }), Killed(SIGSEGV));
}

char* g_guarded;
TEST(Fault, HandlerRepairsAndTheInstructionRepeats) {
  g_guarded = static_cast<char*>(
      mmap(nullptr, 4096 * 64, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  ASSERT_THAT(g_guarded, Succeeds());
  static volatile int faults;
  faults = 0;
  ScopedAction action(SIGSEGV, [](int, siginfo_t* info, void*) {
    faults = faults + 1;
    const auto page = reinterpret_cast<uintptr_t>(info->si_addr) & ~4095ul;
    mprotect(reinterpret_cast<void*>(page), 4096, PROT_READ | PROT_WRITE);
  });
  for (int i = 0; i < 64; ++i) g_guarded[i * 4096 + i] = static_cast<char>(i);
  EXPECT_EQ(faults, 64);
  for (int i = 0; i < 64; ++i) EXPECT_EQ(g_guarded[i * 4096 + i], i);
  munmap(g_guarded, 4096 * 64);
}

TEST(Context, HandlerMayChangeRegisters) {
  // Skips the two bytes of ud2 and gives rax a value.
  ScopedAction action(SIGILL, [](int, siginfo_t*, void* context) {
    auto* registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
    registers[REG_RIP] += 2;
    registers[REG_RAX] = 0x1122334455667788;
  });
  uint64_t rax = 0, rbx = 0;
  asm volatile("mov $0x55, %%rbx; xor %%eax, %%eax; ud2; mov %%rbx, %1"
               : "=a"(rax), "=r"(rbx) : : "rbx", "cc");
  EXPECT_EQ(rax, 0x1122334455667788u);
  EXPECT_EQ(rbx, 0x55u);
}

TEST(Context, AllRegistersComeBack) {
  ScopedAction action(SIGUSR1, [](int) {
    asm volatile("xor %%rax,%%rax; mov %%rax,%%rdx; mov %%rax,%%r8; mov %%rax,%%r9; mov %%rax,%%r10"
                 ::: "rax", "rdx", "r8", "r9", "r10");
  });
  const long pid = getpid(), tid = gettid();
  uint64_t in[8] = {1, 2, 3, 4, 5, 6, 7, 8}, out[8] = {};
  register long nr asm("rax") = SYS_tgkill;
  register uint64_t r8 asm("r8") = in[0];
  register uint64_t r9 asm("r9") = in[1];
  register uint64_t r10 asm("r10") = in[2];
  register uint64_t r12 asm("r12") = in[3];
  register uint64_t r13 asm("r13") = in[4];
  register uint64_t r14 asm("r14") = in[5];
  register uint64_t r15 asm("r15") = in[6];
  asm volatile("syscall"
               : "+r"(nr), "+r"(r8), "+r"(r9), "+r"(r10), "+r"(r12), "+r"(r13), "+r"(r14), "+r"(r15)
               : "D"(pid), "S"(tid), "d"(static_cast<long>(SIGUSR1))
               : "rcx", "r11", "memory");
  const long result = nr;
  out[0] = r8, out[1] = r9, out[2] = r10, out[3] = r12, out[4] = r13, out[5] = r14, out[6] = r15;
  EXPECT_EQ(result, 0);
  for (int i = 0; i < 7; ++i) EXPECT_EQ(out[i], in[i]) << i;
}

TEST(Context, RedZoneIsSkipped) {
  ScopedAction action(SIGUSR1, [](int) {
    volatile char stack[512];
    memset(const_cast<char*>(stack), 0xee, sizeof stack);
  });
  uint64_t value = 0;
  asm volatile(
      "movq $0x7777, -128(%%rsp)\n"
      "syscall\n"
      "movq -128(%%rsp), %0"
      : "=r"(value)
      : "a"(static_cast<long>(SYS_tgkill)), "D"(static_cast<long>(getpid())),
        "S"(static_cast<long>(gettid())), "d"(static_cast<long>(SIGUSR1))
      : "rcx", "r11", "memory");
  EXPECT_EQ(value, 0x7777u);
}

TEST(Context, FlagsComeBackAndDirectionIsClearInside) {
  static volatile uint64_t flags_inside;
  ScopedAction action(SIGUSR1, [](int) {
    uint64_t flags;
    asm volatile("pushfq; pop %0" : "=r"(flags));
    flags_inside = flags;
  });
  uint64_t flags = 0;
  asm volatile("std; syscall; pushfq; cld; pop %0"
               : "=r"(flags)
               : "a"(static_cast<long>(SYS_tgkill)), "D"(static_cast<long>(getpid())),
                 "S"(static_cast<long>(gettid())), "d"(static_cast<long>(SIGUSR1))
               : "rcx", "r11", "memory", "cc");
  EXPECT_EQ(flags & 0x400, 0x400u);
  EXPECT_EQ(flags_inside & 0x400, 0u);
}

__attribute__((target("avx2"))) void ClobberVectors(int) {
  asm volatile(
      "vpcmpeqd %%ymm0,%%ymm0,%%ymm0; vmovdqa %%ymm0,%%ymm1; vmovdqa %%ymm0,%%ymm7;"
      "vmovdqa %%ymm0,%%ymm15" ::: "xmm0", "xmm1", "xmm7", "xmm15");
}

__attribute__((target("avx2"))) void VectorsAcross(uint8_t* in, uint8_t* out) {
  asm volatile(
      "vmovdqu (%[in]),%%ymm0; vmovdqu 32(%[in]),%%ymm7; vmovdqu 64(%[in]),%%ymm15;"
      "syscall;"
      "vmovdqu %%ymm0,(%[out]); vmovdqu %%ymm7,32(%[out]); vmovdqu %%ymm15,64(%[out]); vzeroupper"
      :
      : [in] "r"(in), [out] "r"(out), "a"(static_cast<long>(SYS_tgkill)),
        "D"(static_cast<long>(getpid())), "S"(static_cast<long>(gettid())),
        "d"(static_cast<long>(SIGUSR1))
      : "rcx", "r11", "memory", "xmm0", "xmm7", "xmm15");
}

TEST(Context, VectorRegistersComeBack) {
  if (!__builtin_cpu_supports("avx2")) GTEST_SKIP();
  ScopedAction action(SIGUSR1, ClobberVectors);
  uint8_t in[96], out[96] = {};
  for (int i = 0; i < 96; ++i) in[i] = static_cast<uint8_t>(i * 7 + 1);
  VectorsAcross(in, out);
  EXPECT_EQ(memcmp(in, out, sizeof in), 0);
}

TEST(Context, RoundingModeComesBack) {
  ScopedAction action(SIGUSR1, [](int) { _mm_setcsr(_MM_MASK_MASK); });
  const unsigned before = _mm_getcsr();
  _mm_setcsr(_MM_MASK_MASK | _MM_ROUND_UP);
  raise(SIGUSR1);
  const unsigned after = _mm_getcsr();
  _mm_setcsr(before);
  EXPECT_EQ(after, static_cast<unsigned>(_MM_MASK_MASK | _MM_ROUND_UP));
}

TEST(Context, MaskInTheFrameIsTheOneRestored) {
  ScopedAction action(SIGUSR1, [](int, siginfo_t*, void* context) {
    sigaddset(&static_cast<ucontext_t*>(context)->uc_sigmask, SIGHUP);
  });
  sigset_t old, now;
  sigprocmask(SIG_BLOCK, nullptr, &old);
  raise(SIGUSR1);
  sigprocmask(SIG_SETMASK, &old, &now);
  EXPECT_EQ(sigismember(&now, SIGHUP), 1);
}

class AlternateStack : public testing::Test {
 protected:
  static constexpr size_t kSize = 64 << 10;
  void SetUp() override {
    base_ = static_cast<char*>(mmap(nullptr, kSize, PROT_READ | PROT_WRITE,
                                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    const stack_t stack = {base_, 0, kSize};
    ASSERT_THAT(sigaltstack(&stack, nullptr), Returns(0));
  }
  void TearDown() override {
    const stack_t off = {nullptr, SS_DISABLE, 0};
    EXPECT_THAT(sigaltstack(&off, nullptr), Returns(0));
    munmap(base_, kSize);
  }
  bool Holds(const void* p) const { return p >= base_ && p < base_ + kSize; }
  char* base_ = nullptr;
};

const void* volatile g_frame;
volatile int g_stack_flags;
void RecordStack(int) {
  int here;
  g_frame = &here;
  asm volatile("" : : "r"(&here) : "memory");
  stack_t now;
  sigaltstack(nullptr, &now);
  g_stack_flags = now.ss_flags;
}

TEST_F(AlternateStack, IsUsedOnlyWhenAsked) {
  {
    ScopedAction action(SIGUSR1, RecordStack);
    raise(SIGUSR1);
    EXPECT_FALSE(Holds(const_cast<const void*>(g_frame)));
    EXPECT_EQ(g_stack_flags, 0);
  }
  ScopedAction action(SIGUSR1, RecordStack, SA_ONSTACK);
  raise(SIGUSR1);
  EXPECT_TRUE(Holds(const_cast<const void*>(g_frame)));
  EXPECT_EQ(g_stack_flags, SS_ONSTACK);
}

TEST_F(AlternateStack, ReadBack) {
  stack_t now = {};
  EXPECT_THAT(sigaltstack(nullptr, &now), Returns(0));
  EXPECT_EQ(now.ss_sp, base_);
  EXPECT_EQ(now.ss_size, kSize);
  EXPECT_EQ(now.ss_flags, 0);
  const stack_t tiny = {base_, 0, 100}, odd = {base_, 77, kSize};
  EXPECT_THAT(sigaltstack(&tiny, nullptr), FailsWith(ENOMEM));
  EXPECT_THAT(sigaltstack(&odd, nullptr), FailsWith(EINVAL));
}

TEST_F(AlternateStack, CannotChangeWhileInUse) {
  static volatile int error;
  ScopedAction action(SIGUSR1, [](int) {
    const stack_t off = {nullptr, SS_DISABLE, 0};
    error = sigaltstack(&off, nullptr) == 0 ? 0 : errno;
  }, SA_ONSTACK);
  raise(SIGUSR1);
  EXPECT_EQ(error, EPERM);
}

TEST_F(AlternateStack, CatchesAStackOverflow) {
  const int status = InChild([] {
    ScopedAction action(SIGSEGV, [](int) { _exit(33); }, SA_ONSTACK);
    // A stack pointer below every mapping: the handler has only the other stack to run on.
    asm volatile("mov $4096, %%rsp; push %%rax" ::: "memory");
    return 0;
  });
  EXPECT_THAT(status, Exited(33));
}

TEST(Frame, NoRoomForItKills) {
  EXPECT_THAT(InChild([] {
    ScopedAction action(SIGSEGV, [](int) { _exit(1); });
    asm volatile("mov $4096, %%rsp; push %%rax" ::: "memory");
    return 0;
  }), Killed(SIGSEGV));
}

TEST(Frame, StackIsAligned) {
  static volatile uint64_t entry;
  ScopedAction action(SIGUSR1, [](int) {
    entry = reinterpret_cast<uint64_t>(__builtin_frame_address(0));
  });
  raise(SIGUSR1);
  EXPECT_EQ(entry % 16, 0u);
}

TEST(Sigreturn, GarbageFrameKills) {
  EXPECT_THAT(InChild([] {
    asm volatile("mov $64, %%rsp; mov $15, %%eax; syscall" ::: "memory");
    return 0;
  }), Killed(SIGSEGV));
}

}  // namespace
