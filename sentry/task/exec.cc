#include "sentry/task/exec.h"

#include <sys/personality.h>

#include <array>
#include <cstring>
#include <utility>

#include "sentry/loader/read.h"
#include "sentry/task/robust_list.h"
#include "sentry/task/task_builder.h"
#include "sentry/time/process_timers.h"

namespace sentry {

std::string CommOf(const std::string& path);  // init.cc

namespace {

constexpr uint32_t kSecbitNoRoot = 1, kSecbitKeepCaps = 16;

// The capability part: uid 0 has all of them, in root's name.
void Recompute(Credentials& creds, const Credentials& before, FileCapabilities file, bool set_id) {
  const bool root_rules = (creds.securebits & kSecbitNoRoot) == 0;
  if (root_rules && (creds.euid == 0 || creds.uid == 0)) {
    file.inheritable = file.permitted = Credentials::kAllCapabilities;
    file.effective = creds.euid == 0;
  }
  if (set_id || file.effective || file.permitted != 0) creds.ambient = 0;
  creds.permitted =
      (before.inheritable & file.inheritable) | (file.permitted & creds.bounding) | creds.ambient;
  creds.effective = file.effective ? creds.permitted : creds.ambient;
}

// security.capability of a program: struct vfs_cap_data of include/uapi/linux/capability.h. Nothing
// for a file without it, or with one that makes no sense.
FileCapabilities ReadFileCapabilities(Inode& inode) {
  constexpr uint32_t kRevisionMask = 0xff000000, kEffective = 1;
  constexpr uint32_t kRevision1 = 0x01000000, kRevision2 = 0x02000000, kRevision3 = 0x03000000;
  const Result<std::string> value = inode.GetXattr("security.capability");
  std::array<uint32_t, 6> words{};  // Magic, permitted, inheritable, their upper halves, root's id.
  if (!value.ok() || value->size() > sizeof(words)) return {};
  std::memcpy(words.data(), value->data(), value->size());
  const uint32_t revision = words[0] & kRevisionMask;
  const size_t size = revision == kRevision1   ? 12
                      : revision == kRevision2 ? 20
                      : revision == kRevision3 ? 24
                                               : 0;
  if (size != value->size()) return {};
  FileCapabilities file{.permitted = words[1], .inheritable = words[2]};
  if (revision != kRevision1) {
    file.permitted |= uint64_t{words[3]} << 32;
    file.inheritable |= uint64_t{words[4]} << 32;
  }
  if (revision == kRevision3 && words[5] != 0) return {};  // Another user namespace's.
  file.permitted &= Credentials::kAllCapabilities;
  file.inheritable &= Credentials::kAllCapabilities;
  file.effective = (words[0] & kEffective) != 0;
  return file;
}

// Those of the program that count for this caller. Root has all of them anyway: not asked for.
FileCapabilities CapabilitiesOf(const Program& program, const Credentials& creds) {
  const bool root = creds.euid == 0 && creds.uid == 0 && (creds.securebits & kSecbitNoRoot) == 0;
  if (root || program.nosuid || creds.no_new_privs) return {};
  return ReadFileCapabilities(program.file->inode());
}

}  // namespace

Credentials CredentialsAfterExec(const Credentials& before, const Attributes& file,
                                 const FileCapabilities& capabilities, bool nosuid, bool* secure) {
  Credentials creds = before;
  if (!nosuid && !before.no_new_privs) {
    if ((file.mode & S_ISUID) != 0) creds.euid = file.uid;
    // Without group execution the bit means mandatory locking.
    if ((file.mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP)) creds.egid = file.gid;
  }
  const bool set_id = creds.euid != before.euid || creds.egid != before.egid;
  creds.suid = creds.fsuid = creds.euid;
  creds.sgid = creds.fsgid = creds.egid;
  creds.securebits &= ~kSecbitKeepCaps;
  Recompute(creds, before, capabilities, set_id);
  *secure = set_id || creds.euid != creds.uid || creds.egid != creds.gid ||
            (creds.uid != 0 && (creds.permitted & ~creds.ambient) != 0);
  return creds;
}

Result<ExecCredentials> CredentialsFor(const Program& program, const Credentials& before) {
  ExecCredentials after;
  const FileCapabilities capabilities = CapabilitiesOf(program, before);
  after.creds =
      CredentialsAfterExec(before, program.attributes, capabilities, program.nosuid, &after.secure);
  if (capabilities.effective && (capabilities.permitted & ~after.creds.permitted) != 0) {
    return Errno(EPERM);
  }
  return after;
}

Status CheckExecutable(Task& task, const ExecArgs& args) {
  Attributes attributes;
  bool nosuid = false;
  TRY(OpenExecutable(task.kernel().vfs(), args.walk, args.path, args.options, &attributes,
                     &nosuid));
  return kOk;
}

Status ExecTask(Task& task, platform::Context& context, ExecArgs args) {
  return TaskBuilder::Exec(task, context, std::move(args));
}

Status TaskBuilder::Exec(Task& task, platform::Context& context, ExecArgs args) {
  Kernel& kernel = task.kernel();
  const Program program = TRY(FindProgram(kernel.vfs(), {.walk = args.walk,
                                                         .interpreters = task.walk_context(),
                                                         .path = args.path,
                                                         .options = args.options,
                                                         .exec_name = args.exec_name,
                                                         .name_vanishes = args.close_on_exec_dirfd,
                                                         .argv = std::move(args.argv)}));
  const auto [creds, secure] = TRY(CredentialsFor(program, task.creds()));
  LoadRequest request{.walk = task.walk_context(),
                      .envp = std::move(args.envp),
                      .exec_name = args.exec_name,
                      .creds = creds,
                      .secure = secure,
                      .stack_limit = task.Limit(RLIMIT_STACK)};
  {
    absl::MutexLock lock(&kernel.mu());
    request.host_group = task.group().host_group;
    request.randomize = (task.group().personality & ADDR_NO_RANDOMIZE) == 0;
    request.read_implies_exec = (task.group().personality & READ_IMPLIES_EXEC) != 0;
  }
  LoadedProgram loaded = TRY(LoadProgram(kernel.platform(), kernel.vfs(), program, request));
  // Up to here nothing has happened to the task. From here there is no way back.
  Status replaced = EndOtherTasks(task);
  if (replaced.ok()) {
    if (HoldsRobustLocks(task)) ReleaseRobustLocks(task, context);
    task.set_robust_list(0);
    kernel.pi_futexes().OwnerDied(task, /*ends=*/false);
    context.regs = loaded.registers;
    replaced = context.Exec(*loaded.image);
  }
  {
    absl::MutexLock lock(&kernel.mu());
    if (task.group().exec_task == &task) task.group().exec_task = nullptr;
    kernel.exec_done_.SignalAll();
  }
  if (!replaced.ok()) {
    kernel.ExitGroup(task, SIGKILL);
    return kRestartNoIntr;
  }
  TakeLeadership(task);
  std::vector<Task::Grave> ended;
  {
    absl::MutexLock lock(&kernel.mu());
    task.comm = CommOf(args.exec_name);
    ended.swap(task.exec_graves_);
  }
  Commit(task, std::move(loaded), creds, secure);
  return kOk;
}

Status TaskBuilder::EndOtherTasks(Task& task) {
  Kernel& kernel = task.kernel();
  ThreadGroup& group = task.group();
  bool killed = false;
  {
    absl::MutexLock lock(&kernel.mu());
    // The usual case waits for nobody, and nobody has to be called to take this worker's place.
    if (group.tasks.size() == 1 && !task.killed() && group.exec_task == nullptr) {
      group.exec_task = &task;
      return kOk;
    }
  }
  kernel.platform().EnterBlocking();
  {
    AfterUnlock after(kernel);
    absl::MutexLock lock(&kernel.mu());
    // Another one's execve ends this task instead.
    if (!task.killed() && group.exec_task == nullptr) {
      group.exec_task = &task;
      for (Task* other : group.tasks) {
        if (other != &task) kernel.KillTaskLocked(*other, after);
      }
    }
  }
  {
    absl::MutexLock lock(&kernel.mu());
    while (group.tasks.size() > 1 && !task.killed()) task.state_cv_.Wait(&kernel.mu());
    killed = task.killed();
  }
  kernel.platform().LeaveBlocking();
  if (killed) return kRestartNoIntr;
  return kOk;
}

void TaskBuilder::TakeLeadership(Task& task) {
  Kernel& kernel = task.kernel();
  ThreadGroup& group = task.group();
  Ref<Task> old_leader;  // Released with no lock held.
  absl::MutexLock lock(&kernel.mu());
  if (group.leader == &task) return;
  const auto own = kernel.tasks_.find(task.tid_);
  if (own == kernel.tasks_.end()) return;
  Ref<Task> self = std::move(own->second);
  kernel.tasks_.erase(own);
  task.tid_ = group.id;
  old_leader = std::exchange(kernel.tasks_[group.id], std::move(self));
  group.leader = &task;
  --group.charged_tasks;
  group.control_group->UnchargeTasks(1);
}

void TaskBuilder::Commit(Task& task, LoadedProgram program, const Credentials& creds, bool secure) {
  Kernel& kernel = task.kernel();
  ThreadGroup& group = task.group();
  if (task.fds_->ref_count() > 1) task.UnshareFds();
  std::shared_ptr<ProcessTimers> timers;
  {
    absl::MutexLock lock(&task.refs_mu_);
    std::swap(task.mm_, program.mm);
  }
  task.signal_stack = SignalStack{};
  task.clear_child_tid = 0;
  task.clear_child_tid_due = false;
  task.set_robust_list(0);
  task.restart_block = nullptr;
  {
    absl::MutexLock lock(&kernel.mu());
    // A vfork parent may share the actions.
    Ref<SignalHandlers> handlers = MakeRef<SignalHandlers>();
    for (size_t sig = 1; sig <= kSignalCount; ++sig) {
      const SignalAction& old = group.handlers->actions[sig];
      if (old.handler == reinterpret_cast<uint64_t>(SIG_IGN)) {
        handlers->actions[sig].handler = old.handler;
      }
    }
    std::swap(group.handlers, handlers);
    task.PublishActionsLocked();
    group.has_execed = true;
    group.exit_signal = SIGCHLD;
    group.dumpable = secure ? 0 : 1;
    if (secure) task.pdeath_signal = 0;
    timers = group.timers;
    for (int resource = 0; resource < static_cast<int>(RLIM_NLIMITS); ++resource) {
      if ((group.host_limits >> resource & 1) == 0) continue;
      task.SetHostLimitLocked(resource, group.limits[static_cast<size_t>(resource)].rlim_cur);
    }
    if (task.affinity.has_value()) task.SetAffinityLocked(*task.affinity);
    kernel.WakeVforkParentLocked(task);
  }
  // Last: whoever waits for these to close finds a process that has executed.
  task.set_creds(creds);
  task.fds_->CloseOnExec();
  if (timers) timers->OnExec();
  // A SIGKILL may have hit the old process while the new one took its place.
  absl::MutexLock lock(&kernel.mu());
  if (task.killed() && task.thread_) task.thread_->KillProcess();
}

}  // namespace sentry
