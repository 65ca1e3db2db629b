#include "sentry/task/kernel.h"

#include <sched.h>
#include <sys/resource.h>
#include <time.h>

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "sentry/ipc/namespace.h"
#include "sentry/loader/loader.h"
#include "sentry/net/namespace.h"
#include "sentry/task/namespaces.h"
#include "sentry/task/task_builder.h"

namespace sentry {
namespace {

// pid_max of 64-bit Linux; numbers below kFirstPid are not used again after the first round.
constexpr Pid kPidMax = 4194304, kFirstPid = 300;

// The address space of tasks that have exited.
class NoMemory final : public platform::AddressSpace {
 public:
  size_t Read(uint64_t, std::span<std::byte>) override { return 0; }
  size_t Write(uint64_t, std::span<const std::byte>) override { return 0; }
  uint64_t user_end() const override { return 0; }
  uint64_t vdso() const override { return 0; }
  Result<std::string> HostMaps() override { return std::string(); }
};

// The foreground of a terminal, and for SIGHUP the leader of its session. False when there was
// nobody.
bool SignalHolders(Kernel& kernel, Terminal& terminal, int sig) {
  Pid foreground = 0, session = 0;
  {
    absl::MutexLock lock(&kernel.mu());
    foreground = terminal.foreground;
    if (terminal.session) session = terminal.session->id;
  }
  const SignalInfo info = MakeKernelSignalInfo(sig);
  const bool sent = foreground != 0 && kernel.SendToProcessGroup(foreground, info).ok();
  if (sig != SIGHUP || session == foreground) return sent;
  // The leader hears of a lost line (tty_signal_session_leader() of Linux): a shell whose child has
  // not got so far as to die of it would wait for that child.
  const Ref<ThreadGroup> leader = kernel.FindGroup(session);
  if (leader) kernel.SendTo(*leader, info);
  return sent || leader;
}

}  // namespace

Kernel::Kernel(platform::Platform& platform, SyscallDispatcher& dispatcher, Options options)
    : platform_(platform),
      dispatcher_(dispatcher),
      options_(std::move(options)),
      no_memory_(MakeRef<Mm>(MakeRef<NoMemory>(), Mm::Layout{}, Ref<File>())),
      namespaces_(MakeRef<Namespaces>(
          MakeRef<UtsNamespace>(
              Namespace::FirstIno(NamespaceKind::kUts),
              UtsNamespace::Names{.host = options_.hostname, .domain = options_.domainname}),
          MakeRef<IpcNamespace>(Namespace::FirstIno(NamespaceKind::kIpc)), nullptr)),
      control_group_(ControlGroup::CreateRoot()) {}

Kernel::~Kernel() {
  // Tasks that have ended may still lie in somebody's grave: they must not keep mounts of a Vfs
  // that is going.
  if (no_place_) no_place_->EnterMounts(nullptr, {}, {});
}

IpcNamespace& Kernel::ipc() const { return namespaces_->ipc(); }
NetworkNamespace& Kernel::network() const { return namespaces_->network(); }

void Kernel::set_network(Ref<NetworkNamespace> network) {
  namespaces_ = namespaces_->Enter(*network);
}

void Kernel::JoinNamespaces(const Kernel& other, uint64_t which) {
  namespaces_ = namespaces_->Enter(*other.namespaces_, which & Namespaces::kFlags);
}

void Kernel::LimitTasks(size_t most) {
  control_group_->SetLimits({.tasks = most == 0 ? ControlGroup::kNoLimit : most});
}

Ref<ControlGroup> Kernel::ControlGroupOf(const ThreadGroup& group) {
  absl::MutexLock lock(&mu_);
  return group.control_group;
}

Status Kernel::EnterControlGroup(Pid tid, const Ref<ControlGroup>& to) {
  Ref<ControlGroup> old;  // Released without the lock.
  absl::MutexLock lock(&mu_);
  Task* const task = FindTaskLocked(tid);
  if (task == nullptr) return Errno(ESRCH);
  ThreadGroup& group = task->group();
  if (group.zombie || group.control_group == to) return kOk;
  TRY(ControlGroup::Move(*group.control_group, *to, group.charged_tasks));
  old = std::exchange(group.control_group, to);
  return kOk;
}

std::vector<Ref<ThreadGroup>> Kernel::MembersOf(const ControlGroup& of, Reach reach) {
  std::vector<Ref<ThreadGroup>> members;
  {
    absl::MutexLock lock(&mu_);
    for (const auto& [id, group] : groups_) {
      const ControlGroup& its = *group->control_group;
      if (group->zombie) continue;
      if (&its == &of || (reach == Reach::kSubtree && its.IsWithin(of))) members.push_back(group);
    }
  }
  std::sort(members.begin(), members.end(),
            [](const auto& a, const auto& b) { return a->id < b->id; });
  return members;
}

Ref<Task> Kernel::FindTask(Pid tid) {
  absl::MutexLock lock(&mu_);
  Task* task = FindTaskLocked(tid);
  return task == nullptr ? Ref<Task>() : Ref<Task>::Share(*task);
}

Ref<ThreadGroup> Kernel::FindGroup(Pid tgid) {
  absl::MutexLock lock(&mu_);
  ThreadGroup* group = FindGroupLocked(tgid);
  return group == nullptr ? Ref<ThreadGroup>() : Ref<ThreadGroup>::Share(*group);
}

Task* Kernel::FindTaskLocked(Pid tid) const {
  const auto it = tasks_.find(tid);
  return it == tasks_.end() ? nullptr : it->second.get();
}

ThreadGroup* Kernel::FindGroupLocked(Pid tgid) const {
  const auto it = groups_.find(tgid);
  return it == groups_.end() ? nullptr : it->second.get();
}

std::vector<Ref<ThreadGroup>> Kernel::AllGroups() {
  std::vector<Ref<ThreadGroup>> all;
  {
    absl::MutexLock lock(&mu_);
    all.reserve(groups_.size());
    for (const auto& [id, group] : groups_) all.push_back(group);
  }
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a->id < b->id; });
  return all;
}

Ref<ThreadGroup> Kernel::init() const {
  absl::MutexLock lock(&mu_);
  return init_;
}

Result<Credentials> Kernel::CredentialsOf(Pid tid) {
  absl::MutexLock lock(&mu_);
  const Task* task = FindTaskLocked(tid);
  if (task == nullptr) return Errno(ESRCH);
  return task->creds_;
}

// A number stays taken while a process group or session has it as its name.
bool Kernel::IsPidTakenLocked(Pid pid) const {
  if (tasks_.contains(pid) || groups_.contains(pid)) return true;
  return std::any_of(groups_.begin(), groups_.end(), [pid](const auto& entry) {
    const ThreadGroup& group = *entry.second;
    return group.group == pid || (group.session && group.session->id == pid);
  });
}

Pid Kernel::AllocatePidLocked() {
  for (;;) {
    last_pid_ = last_pid_ + 1 < kPidMax ? last_pid_ + 1 : kFirstPid;
    if (!IsPidTakenLocked(last_pid_)) return last_pid_;
  }
}

Result<Pid> Kernel::ClaimPidLocked(Pid pid) {
  if (pid < 1 || pid >= kPidMax) return Errno(EINVAL);
  if (IsPidTakenLocked(pid)) return Errno(EEXIST);
  return pid;
}

Result<Ref<Task>> Kernel::PrepareProcess(const InitProcess& init) {
  return TaskBuilder::Prepare(*this, init);
}

void Kernel::StartProcess(Task& task) { TaskBuilder::Start(task); }

Status Kernel::CreateInit(const InitProcess& init) {
  StartProcess(*TRY(PrepareProcess(init)));
  return kOk;
}

int Kernel::Run() {
  platform_.Run();
  AfterUnlock after(*this);
  absl::MutexLock lock(&mu_);
  ended_ = true;
  const int status = init_ ? init_->exit_status : 0;
  std::vector<ThreadGroup*> left;
  for (const auto& [id, group] : groups_) {
    if (!group->zombie) left.push_back(group.get());
  }
  for (ThreadGroup* group : left) {
    group->host_gone = true;  // Nobody serves call-backs any more.
    BeginGroupExitLocked(*group, SIGKILL, after);
  }
  return status;
}

void Kernel::SignalForeground(int sig) {
  Ref<Terminal> console;
  {
    absl::MutexLock lock(&mu_);
    console = console_;
  }
  if (!console || !SignalHolders(*this, *console, sig)) SignalInit(sig);
}

void Kernel::SignalInit(int sig) {
  const Ref<ThreadGroup> target = init();
  if (target) SendTo(*target, MakeKernelSignalInfo(sig));
}

void Kernel::SignalForegroundOf(Terminal& terminal, ThreadGroup& process, int sig) {
  if (!SignalHolders(*this, terminal, sig)) SendTo(process, MakeKernelSignalInfo(sig));
}

void Kernel::SignalAll(int sig, uint32_t container) {
  for (const Ref<ThreadGroup>& group : AllGroups()) {
    if (group->container == container) SendTo(*group, MakeKernelSignalInfo(sig));
  }
}

AfterUnlock::~AfterUnlock() {
  for (const Ref<Task>& task : dead_) kernel_.FinishTask(*task, from_);
  for (const auto& call : calls_) call();
}

}  // namespace sentry
