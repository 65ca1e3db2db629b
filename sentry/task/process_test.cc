// The process tree on a platform without guests: clone, exit, wait, signals, restarts.
#include <elf.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cstring>
#include <functional>
#include <thread>

#include "sentry/fs/tmpfs/tmpfs.h"
#include "sentry/task/clone.h"
#include "sentry/task/exec.h"
#include "sentry/task/fake_platform.h"
#include "sentry/task/job_control.h"
#include "sentry/task/kernel.h"
#include "sentry/task/restart.h"
#include "sentry/task/wait.h"

namespace sentry {
namespace {

using platform::Verdict;

std::vector<std::byte> SmallProgram() {
  Elf64_Ehdr head{};
  std::memcpy(head.e_ident, ELFMAG, SELFMAG);
  head.e_ident[EI_CLASS] = ELFCLASS64;
  head.e_type = ET_EXEC;
  head.e_machine = EM_X86_64;
  head.e_entry = 0x400100;
  head.e_phoff = sizeof(head);
  head.e_phentsize = sizeof(Elf64_Phdr);
  head.e_phnum = 1;
  const Elf64_Phdr load = {.p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_vaddr = 0x400000,
                           .p_filesz = 0x200, .p_memsz = 0x200, .p_align = 4096};
  std::vector<std::byte> file(0x200);
  std::memcpy(file.data(), &head, sizeof(head));
  std::memcpy(file.data() + sizeof(head), &load, sizeof(load));
  return file;
}

class ProcessTest : public testing::Test {
 protected:
  void SetUp() override {
    const Path root = kernel_.vfs().MountRoot(Tmpfs::Create(), "tmpfs", "none", 0);
    const Credentials creds = Credentials::ForUser(0, 0);
    const WalkContext walk{.root = root, .start = root, .creds = creds, .umask = 0};
    WriteProgram(walk);
    const Status created = kernel_.CreateInit({.argv = {"prog"},
                                               .path = "/prog",
                                               .root = root,
                                               .cwd = root,
                                               .creds = creds});
    ASSERT_TRUE(created.ok()) << created.error().code();
    init_ = kernel_.FindTask(1);
    ASSERT_TRUE(init_);
  }

  // And closes it: what is open for writing cannot be executed.
  void WriteProgram(const WalkContext& walk) {
    const auto file = kernel_.vfs().Open(walk, "/prog", OpenFlags(O_CREAT | O_WRONLY), 0755);
    ASSERT_TRUE(file.ok());
    const auto program = SmallProgram();
    IoSrc source{std::span<const std::byte>(program)};
    ASSERT_TRUE((*file)->Write(source).ok());
  }

  fake::FakeThread& ThreadOf(Task& task) { return static_cast<fake::FakeThread&>(task.thread()); }

  Ref<Task> Clone(Task& parent, uint64_t flags = 0, int exit_signal = SIGCHLD) {
    fake::FakeContext context(platform_, parent.thread());
    const auto pid = CloneTask(parent, context, {.flags = flags, .exit_signal = exit_signal});
    EXPECT_TRUE(pid.ok());
    return kernel_.FindTask(*pid);
  }

  // A call of the task that `body` carries out.
  template <typename Body>
  Verdict Call(Task& task, Body body) {
    dispatcher_.run = [&](Task& t) { return body(t); };
    return task.OnSyscall({.nr = SYS_getpid});
  }

  void Exit(Task& task, int code) {
    Call(task, [code](Task& t) -> Verdict {
      t.kernel().ExitGroup(t, code << 8);
      return {.kind = Verdict::Kind::kGone};
    });
  }

  Result<WaitReport> Wait(Task& task, int options = WEXITED | WNOHANG) {
    return WaitForChild(task, {.options = options});
  }

  struct Dispatcher final : SyscallDispatcher {
    Verdict Dispatch(Task& task, const platform::SyscallArgs&, platform::Context*) override {
      return run(task);
    }
    std::function<Verdict(Task&)> run;
  };

  fake::FakePlatform platform_;
  Dispatcher dispatcher_;
  Kernel kernel_{platform_, dispatcher_, {}};
  Ref<Task> init_;
};

TEST_F(ProcessTest, InitRunsAndEnds) {
  EXPECT_TRUE(ThreadOf(*init_).started);
  EXPECT_EQ(init_->tgid(), 1);
  EXPECT_EQ(init_->comm, "prog");
  Exit(*init_, 3);
  EXPECT_TRUE(platform_.stopped);
  EXPECT_EQ(kernel_.Run(), 3 << 8);
}

TEST_F(ProcessTest, ExitIsReportedOnce) {
  const Ref<Task> child = Clone(*init_);
  EXPECT_EQ(Wait(*init_)->pid, 0);
  Exit(*child, 7);
  EXPECT_TRUE(kernel_.FindGroup(child->tgid())->zombie);
  EXPECT_TRUE(init_->group().pending.pending().empty());  // SIGCHLD is ignored by default.
  EXPECT_EQ(Wait(*init_, WEXITED | WNOHANG | WNOWAIT)->status, 7 << 8);
  const auto report = Wait(*init_);
  EXPECT_EQ(report->pid, child->tgid());
  EXPECT_EQ(report->status, 7 << 8);
  EXPECT_EQ(Wait(*init_).error(), Errno(ECHILD));
  EXPECT_FALSE(kernel_.FindTask(report->pid));
}

TEST_F(ProcessTest, IgnoredSigchldReapsAtOnce) {
  {
    absl::MutexLock lock(&kernel_.mu());
    init_->group().handlers->actions[SIGCHLD].handler = 1;
  }
  const Ref<Task> child = Clone(*init_);
  Exit(*child, 0);
  EXPECT_EQ(Wait(*init_).error(), Errno(ECHILD));
}

TEST_F(ProcessTest, OrphansGoToTheSubreaper) {
  const Ref<Task> parent = Clone(*init_);
  const Ref<Task> middle = Clone(*parent);
  const Ref<Task> child = Clone(*middle);
  {
    absl::MutexLock lock(&kernel_.mu());
    parent->group().child_subreaper = true;
  }
  Exit(*child, 1);
  Exit(*middle, 2);
  EXPECT_EQ(child->group().parent, &parent->group());
  int statuses = 0;
  for (int i = 0; i < 2; ++i) statuses += Wait(*parent)->status >> 8;
  EXPECT_EQ(statuses, 3);
}

TEST_F(ProcessTest, ThreadsEndBeforeTheirProcess) {
  const Ref<Task> leader = Clone(*init_);
  constexpr uint64_t kThread = CLONE_VM | CLONE_SIGHAND | CLONE_THREAD | CLONE_FILES | CLONE_FS;
  const Ref<Task> thread = Clone(*leader, kThread);
  const Verdict verdict = Call(*leader, [](Task& t) -> Verdict {
    t.kernel().ExitTask(t, 5 << 8);
    return {.kind = Verdict::Kind::kExitThread};
  });
  EXPECT_EQ(verdict.kind, Verdict::Kind::kExitThread);
  EXPECT_EQ(Wait(*init_)->pid, 0);
  Call(*thread, [](Task& t) -> Verdict {
    t.kernel().ExitTask(t, 6 << 8);
    return {.kind = Verdict::Kind::kExitThread};
  });
  EXPECT_EQ(Wait(*init_)->status, 6 << 8);  // The last one's.
}

TEST_F(ProcessTest, SigkillEndsAProcessThatDoesNothing) {
  const Ref<Task> child = Clone(*init_);
  ASSERT_TRUE(kernel_.Kill(*init_, child->tid(), MakeKernelSignalInfo(SIGKILL)).ok());
  EXPECT_EQ(Wait(*init_)->status, SIGKILL);
  // Its platform thread comes too late.
  EXPECT_EQ(Call(*child, [](Task&) { return Verdict{}; }).kind, Verdict::Kind::kGone);
}

TEST_F(ProcessTest, StopAndContinueAreReported) {
  const Ref<Task> child = Clone(*init_);
  kernel_.SendTo(child->group(), MakeKernelSignalInfo(SIGSTOP));
  EXPECT_GT(ThreadOf(*child).interrupts, 0);
  std::thread stopped([&] {
    fake::FakeContext context(platform_, child->thread());
    child->OnInterrupt(context, false);
  });
  Result<WaitReport> report = WaitReport{};
  while (report.ok() && report->pid == 0) report = Wait(*init_, WSTOPPED | WNOHANG);
  EXPECT_EQ(report->status, SIGSTOP << 8 | 0x7f);
  EXPECT_EQ(Wait(*init_, WSTOPPED | WNOHANG)->pid, 0);
  kernel_.SendTo(child->group(), MakeKernelSignalInfo(SIGCONT));
  stopped.join();
  EXPECT_EQ(Wait(*init_, WCONTINUED | WNOHANG)->status, 0xffff);
}

class RestartTest : public ProcessTest {
 protected:
  // The registers after a call that answered `code` and a signal with a handler of these flags.
  platform::Registers Run(Errno code, bool handler, uint64_t flags, bool restartable = false) {
    constexpr uint64_t kSaRestorer = 0x04000000;
    if (handler) {
      absl::MutexLock lock(&kernel_.mu());
      init_->group().handlers->actions[SIGUSR1] = {
          .handler = 0x4000, .flags = kSaRestorer | flags, .restorer = 0x5000};
    }
    fake::FakeContext context(platform_, init_->thread());
    static_cast<fake::FakeAddressSpace&>(init_->thread().address_space()).Map(0x10000, 0x10000);
    context.regs.rip = 0x1002;
    context.regs.rsp = 0x1f000;
    if (code.code() != 0) {
      const Verdict verdict = Call(*init_, [code](Task&) { return Verdict{.value = -code.code()}; });
      context.regs.rax = static_cast<uint64_t>(verdict.value);
    } else {
      context.regs.rax = SYS_futex;
      context.regs.rip = 0x1000;
    }
    if (handler) kernel_.SendTo(init_->group(), MakeKernelSignalInfo(SIGUSR1));
    init_->OnInterrupt(context, restartable);
    if (handler) {
      EXPECT_EQ(context.regs.rip, 0x4000u);
      // What the handler will come back to: rip and rax of the saved context.
      UserMemory& memory = init_->mem();
      const uint64_t saved = context.regs.rdx + 40;
      platform::Registers back;
      back.rax = *memory.Read(UserPtr<const uint64_t>{UserAddr{saved + 13 * 8}});
      back.rip = *memory.Read(UserPtr<const uint64_t>{UserAddr{saved + 16 * 8}});
      init_->SetSignalMask({});
      return back;
    }
    return context.regs;
  }
  void ExpectRestart(const platform::Registers& regs, uint64_t nr) {
    EXPECT_EQ(regs.rip, 0x1000u);
    EXPECT_EQ(regs.rax, nr);
  }
  void ExpectEintr(const platform::Registers& regs) {
    EXPECT_EQ(regs.rip, 0x1002u);
    EXPECT_EQ(static_cast<int64_t>(regs.rax), -EINTR);
  }
};

TEST_F(RestartTest, FollowsTheRules) {
  ExpectRestart(Run(kRestartSys, false, 0), SYS_getpid);
  ExpectEintr(Run(kRestartSys, true, 0));
  ExpectRestart(Run(kRestartSys, true, SA_RESTART), SYS_getpid);
  ExpectRestart(Run(kRestartNoIntr, true, 0), SYS_getpid);
  ExpectRestart(Run(kRestartNoHand, false, 0), SYS_getpid);
  ExpectEintr(Run(kRestartNoHand, true, SA_RESTART));
  ExpectRestart(Run(kRestartBlock, false, 0), SYS_restart_syscall);
  ExpectEintr(Run(kRestartBlock, true, SA_RESTART));
}

TEST_F(RestartTest, HostCallsStandInFrontOfTheirInstruction) {
  ExpectRestart(Run(Errno(0), false, 0, true), SYS_futex);
  ExpectRestart(Run(Errno(0), true, SA_RESTART, true), SYS_futex);
  ExpectEintr(Run(Errno(0), true, 0, true));
}

TEST_F(ProcessTest, JobControlFollowsTheRules) {
  const Ref<Task> child = Clone(*init_);
  EXPECT_EQ(SetSession(*init_).error(), Errno(EPERM));
  EXPECT_TRUE(SetProcessGroup(*init_, child->tid(), 0).ok());
  EXPECT_EQ(*GetProcessGroup(*init_, child->tid()), child->tid());
  EXPECT_EQ(SetSession(*child).error(), Errno(EPERM));  // Leads its group.
  EXPECT_EQ(SetProcessGroup(*child, 0, 77).error(), Errno(EPERM));
  EXPECT_TRUE(SetProcessGroup(*child, 0, 1).ok());
  EXPECT_EQ(*SetSession(*child), child->tid());
  EXPECT_EQ(*GetSession(*init_, child->tid()), child->tid());
  EXPECT_EQ(SetProcessGroup(*init_, child->tid(), 0).error(), Errno(EPERM));
}

TEST_F(ProcessTest, ExecFromAThreadTakesTheLeadersPlace) {
  const Ref<Task> leader = Clone(*init_);
  constexpr uint64_t kThread = CLONE_VM | CLONE_SIGHAND | CLONE_THREAD | CLONE_FILES | CLONE_FS;
  const Ref<Task> thread = Clone(*leader, kThread);
  const Pid tgid = leader->tgid(), tid = thread->tid();
  Call(*thread, [&](Task& task) -> Verdict {
    fake::FakeContext context(platform_, task.thread());
    const Status status = ExecTask(
        task, context,
        {.walk = task.walk_context(), .path = "/prog", .exec_name = "/prog", .argv = {"x"}});
    EXPECT_TRUE(status.ok());
    EXPECT_EQ(context.regs.rip, 0x400100u);
    return {};
  });
  EXPECT_EQ(thread->tid(), tgid);
  EXPECT_EQ(kernel_.FindTask(tgid), thread);
  EXPECT_FALSE(kernel_.FindTask(tid));
  EXPECT_EQ(thread->group().tasks.size(), 1u);
  Exit(*thread, 4);
  EXPECT_EQ(Wait(*init_)->status, 4 << 8);
}

TEST(CredentialsAfterExec, SetUserIdBits) {
  Attributes file{.mode = S_IFREG | S_ISUID | 0755, .uid = 0};
  bool secure = false;
  const Credentials user = Credentials::ForUser(1000, 1000);
  Credentials after = CredentialsAfterExec(user, file, {}, false, &secure);
  EXPECT_EQ(after.euid, 0u);
  EXPECT_EQ(after.effective, Credentials::kAllCapabilities);
  EXPECT_TRUE(secure);
  after = CredentialsAfterExec(user, file, {}, /*nosuid=*/true, &secure);
  EXPECT_EQ(after.euid, 1000u);
  EXPECT_EQ(after.effective, 0u);
  EXPECT_FALSE(secure);
}

}  // namespace
}  // namespace sentry
