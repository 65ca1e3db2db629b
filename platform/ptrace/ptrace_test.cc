// The platform alone: hand-assembled programs, and a guest that does what each test says.
#include "platform/ptrace/ptrace.h"

#include <dirent.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "base/unique_fd.h"
#include "platform/native/layout.h"

namespace platform::ptrace {
namespace {

constexpr DispositionTable TestTable() {
  DispositionTable table{};
  for (const int nr :
       {SYS_mmap, SYS_mprotect, SYS_munmap, SYS_brk, SYS_madvise, SYS_futex, SYS_sched_yield}) {
    table[static_cast<size_t>(nr)] = Disposition::kDirect;
  }
  for (const int nr : {SYS_clone, SYS_fork, SYS_execve, SYS_rt_sigreturn, SYS_set_tid_address}) {
    table[static_cast<size_t>(nr)] = Disposition::kContext;
  }
  return table;
}

// Guest programs: position independent, entered at their first byte, with %rsp a stack and %rbx the
// address of a page of data.
#define GUEST_PROGRAM(name, text)                                                   \
  asm(".pushsection .rodata\n" #name ":\n" text "\n" #name "_end:\n.popsection\n"); \
  extern "C" const char name[];                                                     \
  extern "C" const char name##_end[];

#define EXIT_GROUP "mov $231, %eax; syscall; ud2;"

GUEST_PROGRAM(getpid_program, "mov $39, %eax; syscall; mov %eax, %edi;" EXIT_GROUP)
// A direct mmap and a store into it; exits with the byte stored.
GUEST_PROGRAM(
    mmap_program,
    "xor %edi, %edi; mov $4096, %esi; mov $3, %edx; mov $0x22, %r10d; mov $-1, %r8;"
    "xor %r9d, %r9d; mov $9, %eax; syscall; movb $5, (%rax); movzbl (%rax), %edi;" EXIT_GROUP)
// brk(0), brk(+4096), a store; exits with 6.
GUEST_PROGRAM(
    brk_program,
    "xor %edi, %edi; mov $12, %eax; syscall; lea 4096(%rax), %rdi; mov $12, %eax; syscall;"
    "movb $6, -1(%rax); movzbl -1(%rax), %edi;" EXIT_GROUP)
// Maps descriptor 7 twice; exits with the sum of the first bytes.
GUEST_PROGRAM(file_map_program,
              "1: xor %edi, %edi; mov $4096, %esi; mov $1, %edx; mov $2, %r10d; mov $7, %r8d;"
              "xor %r9d, %r9d; mov $9, %eax; syscall; cmp $7, %r8d; jne 2f;"
              "movzbl (%rax), %eax; add %eax, %ebp; inc %r12d; cmp $2, %r12d; jne 1b;"
              "mov %ebp, %edi;" EXIT_GROUP "2: mov $99, %edi;" EXIT_GROUP)
// fork: the child writes to its copy of the data page and exits with 3; the parent says getpid and
// exits with what its own page holds.
GUEST_PROGRAM(fork_program,
              "mov $57, %eax; syscall; test %eax, %eax; jz 1f; mov $39, %eax; syscall;"
              "mov (%rbx), %edi;" EXIT_GROUP "1: movl $9, (%rbx); mov $3, %edi;" EXIT_GROUP)
// clone of a thread, which sets (%rbx) and exits; the parent waits on the futex at 8(%rbx) until
// the host has cleared it.
GUEST_PROGRAM(
    thread_program,
    "movl $1, 8(%rbx); mov $56, %eax; syscall; test %eax, %eax; jz 1f;"
    "2: lea 8(%rbx), %rdi; xor %esi, %esi; mov $1, %edx; xor %r10d, %r10d; mov $202, %eax;"
    "syscall; cmpl $0, 8(%rbx); jne 2b; mov (%rbx), %edi;" EXIT_GROUP
    "1: movl $12, (%rbx); xor %edi, %edi; mov $60, %eax; syscall; ud2")
GUEST_PROGRAM(fault_program, "xor %eax, %eax; mov 8(%rax), %rcx; ud2; mov $8, %edi;" EXIT_GROUP)
// Spins until an interrupt sets %ecx.
GUEST_PROGRAM(
    spin_program,
    "mov $39, %eax; syscall; xor %ecx, %ecx; 1: test %ecx, %ecx; jz 1b; mov $9, %edi;" EXIT_GROUP)
// futex(FUTEX_WAIT) for a value that never changes; exits with -result.
GUEST_PROGRAM(futex_program,
              "mov $39, %eax; syscall; mov %rbx, %rdi; xor %esi, %esi; xor %edx, %edx;"
              "xor %r10d, %r10d; mov $202, %eax; syscall; mov %eax, %edi; neg %edi;" EXIT_GROUP)
// rax after getpid and the value of r12 that the interrupt set; exits with their sum.
GUEST_PROGRAM(
    interrupted_call_program,
    "xor %r12d, %r12d; mov $39, %eax; syscall; add %r12d, %eax; mov %eax, %edi;" EXIT_GROUP)
GUEST_PROGRAM(exec_program, "mov $59, %eax; syscall; mov $98, %edi;" EXIT_GROUP)
// int $0x80 with the number of a call that exists there; exits with -result.
GUEST_PROGRAM(int80_program, "mov $20, %eax; int $0x80; mov %eax, %edi; neg %edi;" EXIT_GROUP)
// A store to ymm0 and, in set_tid_address, whatever the guest does with it; exits with its low
// byte.
GUEST_PROGRAM(
    xmm_program,
    "mov $0x2a, %eax; movq %rax, %xmm0; mov $218, %eax; syscall; movq %xmm0, %rdi;" EXIT_GROUP)
// Jumps to the address in %rbp with exit_group's number in %eax.
GUEST_PROGRAM(jump_program, "mov $231, %eax; mov $7, %edi; jmp *%rbp")

constexpr uint64_t kCode = 0x400000, kData = 0x500000, kStack = 0x600000, kBreak = 0x700000;

class TestGuest final : public Guest {
 public:
  ~TestGuest() override {
    if (thread) thread->KillProcess();
    thread.reset();  // Waits for the call-back that ended the test.
  }

  Verdict OnSyscall(const SyscallArgs& call) override {
    if (call.nr == SYS_exit_group) return Finish(static_cast<int>(call.args[0]));
    if (call.nr == SYS_exit) {
      Done(0);
      return {.kind = Verdict::Kind::kExitThread};
    }
    return on_call ? on_call(call) : Verdict{.value = -ENOSYS};
  }
  Verdict OnContextSyscall(const SyscallArgs& call, Context& context) override {
    context.regs.rax = static_cast<uint64_t>(-ENOSYS);
    return on_context ? on_context(call, context) : Verdict{};
  }
  Verdict OnInterrupt(Context& context, bool restartable) override {
    ++interrupts;
    return on_interrupt ? on_interrupt(context, restartable) : Verdict{};
  }
  Verdict OnFault(const siginfo_t& info, Context& context) override {
    return on_fault ? on_fault(info, context) : Finish(128 + info.si_signo);
  }
  void OnHostDeath(int status) override { Done(1000 + status); }

  Verdict Finish(int code) {
    thread->KillProcess();
    Done(code);
    return {.kind = Verdict::Kind::kGone};
  }
  void Done(int value) {
    absl::MutexLock lock(&mu_);
    result_ = value;
    done_ = true;
  }
  int Wait() {
    absl::MutexLock lock(&mu_);
    EXPECT_TRUE(mu_.AwaitWithTimeout(absl::Condition(&done_), absl::Seconds(20)));
    return result_;
  }

  // On a busy machine the program may not have come to where an interrupt has an effect.
  int InterruptUntilDone() {
    for (int i = 0; i < 1000; ++i) {
      {
        absl::MutexLock lock(&mu_);
        if (mu_.AwaitWithTimeout(absl::Condition(&done_), absl::Milliseconds(20))) break;
      }
      thread->Interrupt();
    }
    return Wait();
  }

  std::unique_ptr<Thread> thread;
  std::atomic<int> interrupts{0};
  std::function<Verdict(const SyscallArgs&)> on_call;
  std::function<Verdict(const SyscallArgs&, Context&)> on_context;
  std::function<Verdict(Context&, bool)> on_interrupt;
  std::function<Verdict(const siginfo_t&, Context&)> on_fault;

 private:
  absl::Mutex mu_;
  bool done_ ABSL_GUARDED_BY(mu_) = false;
  int result_ ABSL_GUARDED_BY(mu_) = -1;
};

class PtraceTest : public testing::Test {
 protected:
  void SetUp() override {
    static constexpr DispositionTable kTable = TestTable();
    Result<std::unique_ptr<Platform>> made = CreatePtrace({.dispositions = kTable});
    ASSERT_TRUE(made.ok()) << strerror(made.error().code());
    platform_ = *std::move(made);
    runner_ = std::thread([this] { platform_->Run(); });
  }
  void TearDown() override {
    if (platform_) platform_->Stop();
    if (runner_.joinable()) runner_.join();
    platform_.reset();
    // Tracers outlive their threads' handles: the last of them ends the zygote and the stub that it
    // made ahead, which this process would leave behind.
    siginfo_t info;
    while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) == 0) sched_yield();
  }

  std::unique_ptr<Image> Fill(const char* begin, const char* end) {
    Result<std::unique_ptr<Image>> image = platform_->NewImage();
    EXPECT_TRUE(image.ok()) << strerror(image.error().code());
    if (!image.ok()) return nullptr;
    const auto map = [&](uint64_t addr, int prot) {
      (*image)->Map({.addr = addr, .length = 0x10000, .prot = prot, .flags = MAP_PRIVATE});
    };
    map(kCode, PROT_READ | PROT_WRITE | PROT_EXEC);
    map(kData, PROT_READ | PROT_WRITE);
    map(kStack - 0x10000, PROT_READ | PROT_WRITE);
    EXPECT_TRUE((*image)->Flush().ok());
    const auto code = std::as_bytes(std::span(begin, end));
    EXPECT_EQ((*image)->address_space()->Write(kCode, code), code.size());
    return *std::move(image);
  }
  static Registers FirstRegisters() {
    Registers regs;
    regs.rip = kCode;
    regs.rsp = kStack - 64;
    regs.rbx = kData;
    return regs;
  }
  void Load(const char* begin, const char* end, TestGuest& guest,
            const Registers& regs = FirstRegisters()) {
    const std::unique_ptr<Image> image = Fill(begin, end);
    ASSERT_NE(image, nullptr);
    Result<std::unique_ptr<Thread>> thread = image->Start(regs, guest);
    ASSERT_TRUE(thread.ok()) << strerror(thread.error().code());
    guest.thread = *std::move(thread);
  }
  int Run(const char* begin, const char* end, TestGuest& guest) {
    Load(begin, end, guest);
    if (!guest.thread) return -1;
    guest.thread->Start();
    return guest.Wait();
  }

  std::unique_ptr<Platform> platform_;
  std::thread runner_;
};

#define PROGRAM(name) name, name##_end

TEST_F(PtraceTest, AnswersCalls) {
  TestGuest guest;
  guest.on_call = [](const SyscallArgs& call) -> Verdict {
    EXPECT_EQ(call.nr, uint64_t{SYS_getpid});
    EXPECT_EQ(call.ip, kCode + 7);
    return {.value = 42};
  };
  EXPECT_EQ(Run(PROGRAM(getpid_program), guest), 42);
}

TEST_F(PtraceTest, HostExecutesDirectCalls) {
  TestGuest guest;
  EXPECT_EQ(Run(PROGRAM(mmap_program), guest), 5);
}

TEST_F(PtraceTest, BreakIsTheHosts) {
  TestGuest guest;
  const std::unique_ptr<Image> image = Fill(PROGRAM(brk_program));
  if (!image->SetBreak(kBreak, kStack)) GTEST_SKIP() << "no PR_SET_MM_MAP";
  guest.thread = *image->Start(FirstRegisters(), guest);
  guest.thread->Start();
  EXPECT_EQ(guest.Wait(), 6);
}

TEST_F(PtraceTest, MapsDonatedDescriptors) {
  const UniqueFd file(memfd_create("file", MFD_CLOEXEC));
  ASSERT_EQ(write(file.get(), "\x15", 1), 1);
  TestGuest guest;
  int asked = 0;
  guest.on_call = [&](const SyscallArgs& call) -> Verdict {
    ++asked;
    EXPECT_EQ(call.args[4], 7u);
    return {.kind = Verdict::Kind::kContinue, .host_fd = file.get(), .guest_fd = 7};
  };
  EXPECT_EQ(Run(PROGRAM(file_map_program), guest), 0x2a);
  EXPECT_EQ(asked, 2);
  EXPECT_FALSE(guest.thread->HoldsDescriptor(7));
}

TEST_F(PtraceTest, ImageMapsFiles) {
  const UniqueFd file(memfd_create("file", MFD_CLOEXEC));
  ASSERT_EQ(ftruncate(file.get(), 0x2000), 0);
  ASSERT_EQ(pwrite(file.get(), "abc", 3, 0x1000), 3);
  const std::unique_ptr<Image> image = Fill(PROGRAM(getpid_program));
  image->Map({.addr = 0x800000,
              .length = 0x1000,
              .prot = PROT_READ,
              .flags = MAP_PRIVATE,
              .host_fd = file.get(),
              .offset = 0x1000});
  ASSERT_TRUE(image->Flush().ok());
  char text[3];
  EXPECT_EQ(image->address_space()->Read(0x800000, std::as_writable_bytes(std::span(text))), 3u);
  EXPECT_EQ(std::string_view(text, 3), "abc");
  // What is in use is not given twice, and the image is then of no use.
  image->Map({.addr = kData, .length = 0x1000, .prot = PROT_READ, .flags = MAP_PRIVATE});
  EXPECT_EQ(image->Flush().error(), Errno(EEXIST));
  TestGuest guest;
  EXPECT_EQ(image->Start(FirstRegisters(), guest).error(), Errno(EEXIST));
}

TEST_F(PtraceTest, ForkCopiesMemory) {
  TestGuest parent, child;
  parent.on_context = [&](const SyscallArgs&, Context& context) -> Verdict {
    CloneRequest request{.registers = context.regs};
    request.registers.rax = 0;
    Result<std::unique_ptr<Thread>> made = context.Clone(request, child);
    EXPECT_TRUE(made.ok());
    if (!made.ok()) return parent.Finish(-1);
    child.thread = *std::move(made);
    child.thread->Start();
    context.regs.rax = 77;
    return {};
  };
  parent.on_call = [&](const SyscallArgs&) -> Verdict {
    EXPECT_EQ(child.Wait(), 3);
    return {.value = 1};
  };
  EXPECT_EQ(Run(PROGRAM(fork_program), parent), 0);
  EXPECT_NE(&child.thread->address_space(), &parent.thread->address_space());
}

TEST_F(PtraceTest, ThreadsShareMemoryAndClearTheirNumber) {
  TestGuest parent, child;
  parent.on_context = [&](const SyscallArgs& call, Context& context) -> Verdict {
    EXPECT_EQ(call.nr, uint64_t{SYS_clone});
    CloneRequest request{.flags = CLONE_VM | CLONE_THREAD | CLONE_CHILD_CLEARTID,
                         .child_tid = kData + 8,
                         .registers = context.regs};
    request.registers.rax = 0;
    request.registers.rsp = kStack - 0x8000;
    child.thread = *context.Clone(request, child);
    child.thread->Start();
    context.regs.rax = 78;
    return {};
  };
  EXPECT_EQ(Run(PROGRAM(thread_program), parent), 12);
  EXPECT_EQ(child.Wait(), 0);
}

TEST_F(PtraceTest, ReportsFaults) {
  TestGuest guest;
  std::vector<int> signals;
  guest.on_fault = [&](const siginfo_t& info, Context& context) -> Verdict {
    signals.push_back(info.si_signo);
    if (info.si_signo == SIGSEGV) {
      EXPECT_EQ(info.si_addr, reinterpret_cast<void*>(8));
      EXPECT_EQ(context.regs.cr2, 8u);
      EXPECT_EQ(context.regs.trapno, 14u);
      context.regs.rip += 4;
    } else {
      context.regs.rip += 2;
    }
    return {};
  };
  EXPECT_EQ(Run(PROGRAM(fault_program), guest), 8);
  EXPECT_EQ(signals, (std::vector<int>{SIGSEGV, SIGILL}));
}

TEST_F(PtraceTest, InterruptsARunningThread) {
  TestGuest guest;
  guest.on_call = [&](const SyscallArgs&) -> Verdict { return {}; };
  guest.on_interrupt = [](Context& context, bool restartable) -> Verdict {
    EXPECT_FALSE(restartable);
    context.regs.rcx = 1;
    return {};
  };
  Load(PROGRAM(spin_program), guest);
  guest.thread->Start();
  EXPECT_EQ(guest.InterruptUntilDone(), 9);
  EXPECT_GE(guest.interrupts, 1);
}

TEST_F(PtraceTest, InterruptDuringACallComesAfterIt) {
  TestGuest guest;
  guest.on_call = [&](const SyscallArgs&) -> Verdict {
    guest.thread->Interrupt();
    return {.value = 20};
  };
  guest.on_interrupt = [](Context& context, bool restartable) -> Verdict {
    EXPECT_EQ(context.regs.rax, 20u);
    EXPECT_FALSE(restartable);
    context.regs.r12 = 3;
    return {};
  };
  EXPECT_EQ(Run(PROGRAM(interrupted_call_program), guest), 23);
  EXPECT_EQ(guest.interrupts, 1);
}

TEST_F(PtraceTest, InterruptedFutexIsRestarted) {
  TestGuest guest;
  guest.on_call = [](const SyscallArgs&) -> Verdict { return {}; };
  int waits = 0;
  guest.on_interrupt = [&](Context& context, bool restartable) -> Verdict {
    if (!restartable) return {};  // Not there yet.
    EXPECT_EQ(context.regs.rax, uint64_t{SYS_futex});
    uint16_t code = 0;
    guest.thread->address_space().Read(context.regs.rip,
                                       std::as_writable_bytes(std::span(&code, 1)));
    EXPECT_EQ(code, 0x050f);
    if (++waits < 3) return {};  // It goes on waiting.
    context.regs.rip += 2;
    context.regs.rax = static_cast<uint64_t>(-EINTR);
    return {};
  };
  Load(PROGRAM(futex_program), guest);
  guest.thread->Start();
  EXPECT_EQ(guest.InterruptUntilDone(), EINTR);
}

TEST_F(PtraceTest, ExecReplacesTheProcess) {
  TestGuest guest;
  pid_t before = 0;
  guest.on_context = [&](const SyscallArgs&, Context& context) -> Verdict {
    before = guest.thread->host_tid();
    const std::unique_ptr<Image> image = Fill(PROGRAM(getpid_program));
    EXPECT_TRUE(context.Exec(*image).ok());
    context.regs = FirstRegisters();
    return {};
  };
  guest.on_call = [&](const SyscallArgs&) -> Verdict {
    EXPECT_NE(guest.thread->host_tid(), before);
    return {.value = 55};
  };
  EXPECT_EQ(Run(PROGRAM(exec_program), guest), 55);
}

TEST_F(PtraceTest, HostCallsLeaveTheRegistersAlone) {
  TestGuest guest;
  guest.on_context = [&](const SyscallArgs&, Context& context) -> Verdict {
    EXPECT_TRUE(context.HostCall({.nr = SYS_arch_prctl, .args = {0x1002, kData}}).ok());
    EXPECT_EQ(context.HostCall({.nr = SYS_munmap, .args = {1, 1}}).error(), Errno(EINVAL));
    EXPECT_EQ(*context.HostCall({.nr = SYS_arch_prctl, .args = {0x1003, kData + 16}}), 0u);
    uint64_t base = 0;
    guest.thread->address_space().Read(kData + 16, std::as_writable_bytes(std::span(&base, 1)));
    EXPECT_EQ(base, kData);
    context.regs.rax = 0;
    return {};
  };
  EXPECT_EQ(Run(PROGRAM(xmm_program), guest), 0x2a);
}

TEST_F(PtraceTest, FpStateCanBeReadAndWritten) {
  TestGuest guest;
  guest.on_context = [&](const SyscallArgs&, Context& context) -> Verdict {
    Result<std::vector<std::byte>> state = context.ReadFpState();
    EXPECT_TRUE(state.ok());
    EXPECT_EQ(static_cast<int>((*state)[160]), 0x2a);
    EXPECT_TRUE(context.WriteFpState({}).ok());
    EXPECT_EQ(static_cast<int>((*context.ReadFpState())[160]), 0);
    (*state)[160] = std::byte{0x3b};
    EXPECT_TRUE(context.WriteFpState(*state).ok());
    (*state)[27] = std::byte{0xff};  // Reserved bits of MXCSR.
    EXPECT_EQ(context.WriteFpState(*state).error(), Errno(EINVAL));
    return {};
  };
  EXPECT_EQ(Run(PROGRAM(xmm_program), guest), 0x3b);
}

TEST_F(PtraceTest, OtherArchitecturesHaveNoCalls) {
  TestGuest guest;
  const int result = Run(PROGRAM(int80_program), guest);
  EXPECT_TRUE(result == ENOSYS || result == 128 + SIGSEGV) << result;
}

TEST_F(PtraceTest, TheStubGivesAnApplicationNoPower) {
  for (const uint64_t target : {uint64_t{STUB_CODE}, uint64_t{STUB_SETUP}}) {
    // Every place where a call instruction could be.
    for (uint64_t offset = 0; offset < 64; offset += 9) {
      TestGuest guest;
      guest.on_context = [&](const SyscallArgs&, Context&) { return guest.Finish(77); };
      guest.on_call = [&](const SyscallArgs&) { return guest.Finish(78); };
      Registers regs = FirstRegisters();
      regs.rbp = target + offset;
      Load(PROGRAM(jump_program), guest, regs);
      guest.thread->Start();
      const int result = guest.Wait();
      if (target == STUB_SETUP) {
        EXPECT_EQ(result, 128 + SIGSEGV);
      }
      EXPECT_LT(result, 1000) << "died";
    }
  }
}

// Until a guest that spins has run so much longer: it is at it, whatever else the machine does.
bool AwaitCpuTime(TestGuest& guest, uint64_t more_ns) {
  const uint64_t enough = guest.thread->CpuTimeNs() + more_ns;
  for (int i = 0; i < 30'000; ++i) {
    if (guest.thread->CpuTimeNs() >= enough) return true;
    usleep(1'000);
  }
  return false;
}

TEST_F(PtraceTest, ReportsAKilledProcess) {
  TestGuest guest;
  guest.on_call = [](const SyscallArgs&) -> Verdict { return {}; };
  Load(PROGRAM(spin_program), guest);
  guest.thread->Start();
  ASSERT_TRUE(AwaitCpuTime(guest, 100'000));
  kill(guest.thread->host_tid(), SIGKILL);
  EXPECT_EQ(guest.Wait(), 1000 + SIGKILL);
}

TEST_F(PtraceTest, HostSignalsChangeNothing) {
  TestGuest guest;
  guest.on_call = [](const SyscallArgs&) -> Verdict { return {}; };
  guest.on_interrupt = [](Context& context, bool) -> Verdict {
    context.regs.rcx = 1;
    return {};
  };
  Load(PROGRAM(spin_program), guest);
  guest.thread->Start();
  ASSERT_TRUE(AwaitCpuTime(guest, 100'000));
  for (const int signal : {SIGTERM, SIGSTOP, SIGCONT, SIGSEGV, SIGUSR1, STUB_INTERRUPT_SIGNAL}) {
    kill(guest.thread->host_tid(), signal);
    EXPECT_TRUE(AwaitCpuTime(guest, 100'000)) << signal;
  }
  EXPECT_EQ(guest.interrupts, 0);
  EXPECT_EQ(guest.InterruptUntilDone(), 9);
}

TEST_F(PtraceTest, AnUnstartedThreadEndsWithItsHandle) {
  {
    TestGuest guest;
    Load(PROGRAM(getpid_program), guest);
    const std::unique_ptr<Image> dropped = Fill(PROGRAM(getpid_program));
  }
  TestGuest guest;
  guest.on_call = [](const SyscallArgs&) -> Verdict { return {.value = 1}; };
  EXPECT_EQ(Run(PROGRAM(getpid_program), guest), 1);
}

TEST_F(PtraceTest, CpuTimeGrows) {
  TestGuest guest;
  guest.on_call = [](const SyscallArgs&) -> Verdict { return {}; };
  Load(PROGRAM(spin_program), guest);
  guest.thread->Start();
  EXPECT_TRUE(AwaitCpuTime(guest, 5'000'000));
  guest.on_interrupt = [](Context& context, bool) -> Verdict {
    context.regs.rcx = 1;
    return {};
  };
  EXPECT_EQ(guest.InterruptUntilDone(), 9);
}

size_t Entries(const char* directory) {
  size_t count = 0;
  DIR* dir = opendir(directory);
  while (readdir(dir) != nullptr) ++count;
  closedir(dir);
  return count;
}

bool HasChildren() {
  siginfo_t info{};
  return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) == 0;
}

template <typename Condition>
bool Eventually(Condition condition) {
  for (int i = 0; i < 3'000; ++i) {
    if (condition()) return true;
    usleep(10'000);
  }
  return false;
}

TEST(PtraceLeaks, NoProcessThreadOrDescriptorStays) {
  // What earlier tests have killed may still be dying. The host tells of neither ends nor threads.
  ASSERT_TRUE(Eventually([] { return !HasChildren(); }));
  const size_t threads = Entries("/proc/self/task");
  const size_t descriptors = Entries("/proc/self/fd");
  static constexpr DispositionTable kTable = TestTable();
  for (int i = 0; i < 3; ++i) {
    const std::unique_ptr<Platform> platform = *CreatePtrace({.dispositions = kTable});
    TestGuest guest;
    const std::unique_ptr<Image> image = *platform->NewImage();
    image->Map({.addr = kCode, .length = 0x1000, .prot = PROT_READ, .flags = MAP_PRIVATE});
    guest.thread = *image->Start({.rip = kCode}, guest);
    guest.thread->Start();  // Faults at once: there is no such instruction … or no right to it.
    EXPECT_EQ(guest.Wait(), 128 + SIGSEGV);
  }
  EXPECT_TRUE(Eventually([&] { return Entries("/proc/self/task") == threads; }));
  EXPECT_TRUE(Eventually([&] { return Entries("/proc/self/fd") == descriptors; }));
  EXPECT_FALSE(HasChildren());
}

}  // namespace
}  // namespace platform::ptrace
