// The platform alone: hand-assembled programs, and a guest that records what it is asked.
#include "platform/systrap/systrap.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <map>
#include <memory>
#include <string>

#include "absl/synchronization/notification.h"

namespace platform::systrap {
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
constexpr FilterProgram kFilter = BuildFilter(TestTable());

// Guest programs: position independent, entered at their first byte with a stack.
#define GUEST_PROGRAM(name, text)                                         \
  asm(".section .rodata\n" #name ":\n" text "\n" #name "_end:\n.text\n"); \
  extern "C" const char name[];                                           \
  extern "C" const char name##_end[];

GUEST_PROGRAM(prog_getpid, "mov $39, %eax; syscall; mov %eax, %edi; mov $231, %eax; syscall; ud2")
// A direct mmap, a store into it, then exit_group(the byte stored).
GUEST_PROGRAM(prog_mmap,
              "xor %edi, %edi; mov $4096, %esi; mov $3, %edx; mov $0x22, %r10d; mov $-1, %r8;"
              "xor %r9d, %r9d; mov $9, %eax; syscall; movb $5, (%rax); movzbl (%rax), %edi;"
              "mov $231, %eax; syscall; ud2")
// A file mapping through an injected descriptor, exit_group(its first byte).
GUEST_PROGRAM(prog_file_map,
              "xor %edi, %edi; mov $4096, %esi; mov $1, %edx; mov $2, %r10d; mov $7, %r8d;"
              "xor %r9d, %r9d; mov $9, %eax; syscall; movzbl (%rax), %edi;"
              "mov $231, %eax; syscall; ud2")
// fork: the child exits with 3, the parent with 4.
GUEST_PROGRAM(
    prog_fork,
    "mov $57, %eax; syscall; test %eax, %eax; jz 1f; mov $4, %edi; mov $231, %eax; syscall;"
    "1: mov $3, %edi; mov $231, %eax; syscall; ud2")
// A null read.
GUEST_PROGRAM(prog_fault, "xor %eax, %eax; mov (%rax), %rbx; ud2")
// Spins until interrupted, which sets %ebx to 1.
GUEST_PROGRAM(prog_spin,
              "xor %ebx, %ebx; mov $39, %eax; syscall; 1: test %ebx, %ebx; jz 1b;"
              "mov $9, %edi; mov $231, %eax; syscall; ud2")

class TestGuest : public Guest {
 public:
  TestGuest(Platform& platform, std::string name) : platform_(platform), name_(name) {}

  Verdict OnSyscall(const SyscallArgs& call) override {
    calls[call.nr]++;
    switch (call.nr) {
      case SYS_getpid:
        if (on_getpid) on_getpid();
        return {.value = 42};
      case SYS_mmap:
        return {.kind = Verdict::Kind::kContinue,
                .host_fd = map_fd,
                .guest_fd = static_cast<int>(call.args[4])};
      case SYS_exit_group:
        exit_code = static_cast<int>(call.args[0]);
        thread->KillProcess();
        ended.Notify();
        return {.kind = Verdict::Kind::kGone};
      default:
        return {.value = -ENOSYS};
    }
  }
  Verdict OnContextSyscall(const SyscallArgs& call, Context& context) override {
    calls[call.nr]++;
    if (call.nr == SYS_fork) {
      child = std::make_unique<TestGuest>(platform_, "child");
      CloneRequest request{.registers = context.regs};
      request.registers.rax = 0;
      Result<std::unique_ptr<Thread>> made = context.Clone(request, *child);
      EXPECT_TRUE(made.ok()) << made.error().code();
      if (made.ok()) {
        child->thread = *std::move(made);
        child->thread->Start();
      }
      context.regs.rax = 77;
    }
    return {};
  }
  Verdict OnInterrupt(Context& context, bool) override {
    ++interrupts;
    context.regs.rbx = 1;
    return {};
  }
  Verdict OnFault(const siginfo_t& info, Context& context) override {
    fault_signal = info.si_signo;
    fault_address = reinterpret_cast<uint64_t>(info.si_addr);
    fp_size = (*context.ReadFpState()).size();
    thread->KillProcess();
    ended.Notify();
    return {.kind = Verdict::Kind::kGone};
  }
  void OnHostDeath(int status) override {
    death_status = status;
    ended.Notify();
  }

  Platform& platform_;
  std::string name_;
  std::unique_ptr<Thread> thread;
  std::unique_ptr<TestGuest> child;
  std::map<uint64_t, int> calls;
  std::function<void()> on_getpid;
  int map_fd = -1;
  int exit_code = -1;
  int interrupts = 0;
  int fault_signal = 0;
  uint64_t fault_address = 1;
  size_t fp_size = 0;
  int death_status = -1;
  absl::Notification ended;
};

class SystrapTest : public testing::Test {
 protected:
  void SetUp() override {
    auto created = CreateSystrap({.filter = kFilter});
    ASSERT_TRUE(created.ok()) << created.error().code();
    platform_ = *std::move(created);
    guest_ = std::make_unique<TestGuest>(*platform_, "first");
  }
  void TearDown() override {
    if (platform_ == nullptr) return;
    platform_->Stop();
    if (running_) pthread_join(runner_, nullptr);
    guest_.reset();
    platform_.release();  // Detached workers may still look at it; the process ends soon.
  }

  void RunProgram(const char* begin, const char* end) {
    auto image = platform_->NewImage();
    ASSERT_TRUE(image.ok());
    const int fd = memfd_create("program", MFD_CLOEXEC);
    ASSERT_EQ(write(fd, begin, static_cast<size_t>(end - begin)), end - begin);
    ASSERT_EQ(ftruncate(fd, 4096), 0);
    (*image)->Map({.addr = 0x400000,
                   .length = 4096,
                   .prot = PROT_READ | PROT_EXEC,
                   .flags = MAP_PRIVATE,
                   .host_fd = fd});
    (*image)->Map({.addr = 0x7ffe10000000,
                   .length = 0x10000,
                   .prot = PROT_READ | PROT_WRITE,
                   .flags = MAP_PRIVATE});
    break_set_ = (*image)->SetBreak(0x500000, 0x7ffe10010000);
    const Status flushed = (*image)->Flush();
    ASSERT_TRUE(flushed.ok()) << flushed.error().code();
    auto thread = (*image)->Start({.rip = 0x400000, .rsp = 0x7ffe10010000 - 64}, *guest_);
    ASSERT_TRUE(thread.ok()) << thread.error().code();
    guest_->thread = *std::move(thread);
    close(fd);
    pthread_create(
        &runner_, nullptr,
        [](void* p) -> void* {
          static_cast<Platform*>(p)->Run();
          return nullptr;
        },
        platform_.get());
    running_ = true;
    guest_->thread->Start();
  }
  void AwaitEnd(TestGuest& guest) {
    ASSERT_TRUE(guest.ended.WaitForNotificationWithTimeout(absl::Seconds(10)));
  }
#define RUN(name) RunProgram(name, name##_end)

  std::unique_ptr<Platform> platform_;
  std::unique_ptr<TestGuest> guest_;
  pthread_t runner_{};
  bool running_ = false;
  bool break_set_ = false;
};

TEST_F(SystrapTest, EmulatesACall) {
  RUN(prog_getpid);
  AwaitEnd(*guest_);
  EXPECT_EQ(guest_->exit_code, 42);
  EXPECT_TRUE(break_set_);
}

TEST_F(SystrapTest, LetsTheHostMapMemoryUnasked) {
  RUN(prog_mmap);
  AwaitEnd(*guest_);
  EXPECT_EQ(guest_->exit_code, 5);
  EXPECT_EQ(guest_->calls[SYS_mmap], 0);
}

TEST_F(SystrapTest, InjectsTheDescriptorOfAFileMapping) {
  guest_->map_fd = memfd_create("data", MFD_CLOEXEC);
  ASSERT_EQ(write(guest_->map_fd, "A", 1), 1);
  RUN(prog_file_map);
  AwaitEnd(*guest_);
  EXPECT_EQ(guest_->exit_code, 'A');
  EXPECT_EQ(guest_->calls[SYS_mmap], 1);
  close(guest_->map_fd);
}

TEST_F(SystrapTest, ForksAProcess) {
  RUN(prog_fork);
  AwaitEnd(*guest_);
  EXPECT_EQ(guest_->exit_code, 4);
  ASSERT_NE(guest_->child, nullptr);
  AwaitEnd(*guest_->child);
  EXPECT_EQ(guest_->child->exit_code, 3);
}

TEST_F(SystrapTest, ReportsAFaultWithItsAddressAndVectorState) {
  RUN(prog_fault);
  AwaitEnd(*guest_);
  EXPECT_EQ(guest_->fault_signal, SIGSEGV);
  EXPECT_EQ(guest_->fault_address, 0u);
  EXPECT_GE(guest_->fp_size, 512u);
}

TEST_F(SystrapTest, InterruptsARunningThread) {
  absl::Notification reached;
  guest_->on_getpid = [&] { reached.Notify(); };
  RUN(prog_spin);
  ASSERT_TRUE(reached.WaitForNotificationWithTimeout(absl::Seconds(10)));
  guest_->thread->Interrupt();
  AwaitEnd(*guest_);
  EXPECT_EQ(guest_->exit_code, 9);
  EXPECT_GE(guest_->interrupts, 1);
}

TEST_F(SystrapTest, TellsOfADeathThatIsNotItsOwn) {
  absl::Notification reached;
  guest_->on_getpid = [&] { reached.Notify(); };
  RUN(prog_spin);
  ASSERT_TRUE(reached.WaitForNotificationWithTimeout(absl::Seconds(10)));
  kill(guest_->thread->host_tid(), SIGKILL);
  AwaitEnd(*guest_);
  EXPECT_TRUE(WIFSIGNALED(guest_->death_status));
}

}  // namespace
}  // namespace platform::systrap
