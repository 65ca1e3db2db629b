#include "sentry/task/task.h"

#include <sys/syscall.h>

#include <algorithm>
#include <atomic>
#include <iterator>
#include <utility>
#include <vector>

#include "sentry/ipc/semaphores.h"
#include "sentry/task/kernel.h"
#include "sentry/task/namespaces.h"
#include "sentry/task/restart.h"
#include "sentry/task/robust_list.h"
#include "sentry/task/timed_wait.h"

namespace sentry {
namespace {

// Threads whose last call-back ran on this host thread. The next call-back here proves that it has
// returned: only then may they be destroyed. Not when it is the task's own: a stub that does not
// keep to its part, or one that dies just now, may be reported once more after its task has ended.
struct Grave {
  Ref<Task> task;
  std::unique_ptr<platform::Thread> thread;  // Destroyed before the guest it calls.
};

// Moves all graves out but those of `caller`, whose call-back is beginning.
std::vector<Grave> TakeOthers(std::vector<Grave>& graves, const Task& caller) {
  const auto own = std::partition(graves.begin(), graves.end(), [&caller](const Grave& grave) {
    return grave.task.get() == &caller;
  });
  std::vector<Grave> others(std::make_move_iterator(own), std::make_move_iterator(graves.end()));
  graves.erase(own, graves.end());
  return others;
}

thread_local std::vector<Grave> t_graves;
thread_local Task* t_current = nullptr;

// Those that ended in OnHostDeath, which may come on a host thread that never runs a call-back: the
// next call-back anywhere destroys them.
class SharedGraves {
 public:
  void Add(Grave grave) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    graves_.push_back(std::move(grave));
    any_.store(true, std::memory_order_release);
  }
  void Clear(const Task& caller) ABSL_LOCKS_EXCLUDED(mu_) {
    if (!any_.load(std::memory_order_acquire)) return;
    std::vector<Grave> cleared;  // Destroyed with no lock held.
    absl::MutexLock lock(&mu_);
    cleared = TakeOthers(graves_, caller);
    any_.store(!graves_.empty(), std::memory_order_release);
  }

 private:
  absl::Mutex mu_;
  std::atomic<bool> any_{false};
  std::vector<Grave> graves_ ABSL_GUARDED_BY(mu_);
};

SharedGraves& Shared() {
  static auto& graves = *new SharedGraves;
  return graves;
}

}  // namespace

void BuryThread(Ref<Task> task, std::unique_ptr<platform::Thread> thread, Kernel::From from) {
  Grave grave{std::move(task), std::move(thread)};
  if (from == Kernel::From::kHostDeath) {
    Shared().Add(std::move(grave));
  } else {
    t_graves.push_back(std::move(grave));
  }
}

Task::Task(Kernel& kernel, Ref<ThreadGroup> group, Pid tid)
    : kernel_(kernel), group_(std::move(group)), tid_(tid), sleeper_(kernel.platform()) {}

Task::~Task() = default;

Task* Task::Current() { return t_current; }
void Task::SetCurrent(Task* task) { t_current = task; }

Pid Task::tgid() const { return group_->id; }
Vfs& Task::vfs() const { return kernel_.vfs(); }

Ref<FdTable> Task::fds_ref() const {
  absl::MutexLock lock(&refs_mu_);
  return fds_;
}

Ref<FsContext> Task::fs_ref() const {
  absl::MutexLock lock(&refs_mu_);
  return fs_;
}

Ref<const Namespaces> Task::namespaces_ref() const {
  absl::MutexLock lock(&refs_mu_);
  return namespaces_;
}

void Task::EnterNamespaces(Ref<const Namespaces> namespaces) {
  // The old ones are released by the parameter, with no lock held.
  absl::MutexLock lock(&refs_mu_);
  std::swap(namespaces_, namespaces);
}

Ref<Mm> Task::mm_ref() const {
  absl::MutexLock lock(&refs_mu_);
  return mm_;
}

void Task::UnshareFds() {
  Ref<FdTable> copy = fds_->Copy();
  absl::MutexLock lock(&refs_mu_);
  std::swap(fds_, copy);
}

void Task::UnshareFs() {
  Ref<FsContext> copy = fs_->Copy();
  absl::MutexLock lock(&refs_mu_);
  std::swap(fs_, copy);
}

using HostFile = platform::AddressSpace::HostFile;

char Task::State() const {
  if (this == Current()) return 'R';
  int host_tid = 0;
  {
    absl::MutexLock lock(&kernel_.mu());
    if (!thread_) return 'Z';
    if (parked_) return 'T';
    if (vfork_waiting_) return 'D';
    if (group_->stopped && group_->stop_complete) return 'T';
    if (sleeper_.asleep()) return 'S';
    if ((life_.load() & kInCallback) != 0) return 'R';
    host_tid = thread_->host_tid();
  }
  // The only calls in which the host lets a thread sleep: futex, futex_waitv and futex_wait. Who is
  // stopped in front of one of them, or sleeps for another one, is on its way to a call-back.
  const Ref<Mm> mm = mm_ref();
  platform::AddressSpace& space = mm->memory().space();
  const Result<std::string> where = space.HostProc(HostFile::kWaitChannel, host_tid);
  if (where.ok() && *where != "0") return where->starts_with("futex") ? 'S' : 'R';
  const Result<std::string> call = space.HostProc(HostFile::kSyscall, host_tid);
  // Without an answer it is taken to sleep, as most threads do.
  if (!call.ok()) return 'S';
  const long nr = strtol(call->c_str(), nullptr, 10);
  constexpr long kFutexWaitv = 449, kFutexWait = 455;
  return nr == SYS_futex || nr == kFutexWaitv || nr == kFutexWait ? 'S' : 'R';
}

uint64_t Task::ThreadCpuNs() const {
  int host_tid = 0;
  bool alone = false;
  {
    absl::MutexLock lock(&kernel_.mu());
    if (!thread_) return 0;
    alone = group_->tasks.size() == 1 && !group_->lost_threads;
    if (alone) return CpuSplitLocked().total_ns();
    host_tid = thread_->host_tid();
  }
  // The host has no clock for another process's thread, but a file: nanoseconds run, waited,
  // slices.
  const Result<std::string> text =
      mm_ref()->memory().space().HostProc(HostFile::kSchedstat, host_tid);
  if (!text.ok()) return CpuTimeNs();
  return strtoull(text->c_str(), nullptr, 10);
}

uint64_t Task::CpuTimeNs() const {
  absl::MutexLock lock(&kernel_.mu());
  return CpuTimeNsLocked();
}

void Task::set_creds(Credentials creds) {
  absl::MutexLock lock(&kernel_.mu());
  std::swap(creds_, creds);
  group_->uid = creds_.uid;
  // commit_creds() of Linux: whoever becomes another one is not to be looked into by his equals.
  const bool other = creds.euid != creds_.euid || creds.egid != creds_.egid ||
                     creds.fsuid != creds_.fsuid || creds.fsgid != creds_.fsgid ||
                     (creds_.permitted & ~creds.permitted) != 0;
  if (!other) return;
  group_->dumpable = 0;
  pdeath_signal = 0;
}

WalkContext Task::walk_context() const {
  return {.root = fs_->root(),
          .start = fs_->cwd(),
          .creds = creds_,
          .umask = fs_->umask(),
          .task = const_cast<Task*>(this)};
}

Result<WalkContext> Task::walk_context(Fd dirfd) const {
  WalkContext context = walk_context();
  if (dirfd == kAtFdCwd) return context;
  const Ref<File> file = TRY(fds_->Get(dirfd));
  if (!file->path().dentry) return Errno(ENOTDIR);
  context.start = file->path();
  return context;
}

uint64_t Task::Limit(int resource) const {
  return group_->limits.Soft(static_cast<size_t>(resource));
}

namespace {

// The lowest free number is taken first, so the table is not full before the highest one is.
Result<Fd> NoteHighest(platform::Thread& thread, Result<Fd> taken, uint64_t limit) {
  if (taken.ok() && static_cast<uint64_t>(*taken) + 1 < limit) return taken;
  if (const Ref<platform::KnownErrors> errors = thread.known_errors()) errors->Close();
  return taken;
}

}  // namespace

Result<Fd> Task::AddFd(Ref<File> file, bool close_on_exec, int from) {
  const uint64_t limit = Limit(RLIMIT_NOFILE);
  return NoteHighest(thread(), fds().Add(std::move(file), close_on_exec, limit, from), limit);
}

Result<Fd> Task::ReplaceFd(Fd to, Ref<File> file, bool close_on_exec) {
  const uint64_t limit = Limit(RLIMIT_NOFILE);
  return NoteHighest(thread(), fds().Replace(to, std::move(file), close_on_exec, limit), limit);
}

Result<Fd> Task::ReserveFd() {
  const uint64_t limit = Limit(RLIMIT_NOFILE);
  return NoteHighest(thread(), fds().Reserve(limit), limit);
}

bool Task::MayLackFds() const {
  const uint64_t limit = Limit(RLIMIT_NOFILE);
  return limit == 0 || fds().Get(Fd{static_cast<int>(limit - 1)}).ok();
}

void Task::SetSignalMask(SignalSet mask) {
  absl::MutexLock lock(&kernel_.mu());
  StoreSignalMask(mask & ~SignalSet::Unmaskable());
  PublishPendingLocked();
  kernel_.RecheckSignalsLocked(*this);
}

void Task::StoreSignalMask(SignalSet mask) {
  platform::LocalSignals* local = local_signals_.load(std::memory_order_acquire);
  (local != nullptr ? local->mask : mask_).store(mask.bits());
}

void Task::PublishPendingLocked() {
  platform::LocalSignals* local = local_signals_.load(std::memory_order_acquire);
  if (local == nullptr) return;
  const bool asks = filters_local_calls_.load(std::memory_order_acquire) ||
                    !(pending_.pending() | group_->pending.pending()).empty();
  local->pending.store(asks ? 1 : 0);
}

SignalSet SignalHandlers::Untouched() const {
  SignalSet untouched;
  for (int sig = 1; sig <= kSignalCount; ++sig) {
    if (actions[static_cast<size_t>(sig)] == SignalAction{}) untouched.Add(sig);
  }
  return untouched;
}

// Threads are told of the actions of their own process only: of one that shares them nobody here
// would know whom else to tell.
void Task::PublishActionsLocked() {
  platform::LocalSignals* local = local_signals_.load(std::memory_order_acquire);
  if (local == nullptr) return;
  const SignalHandlers& handlers = *group_->handlers;
  local->untouched.store(handlers.shared ? 0 : handlers.Untouched().bits());
}

void Task::ShareSignals(platform::LocalSignals* signals) {
  absl::MutexLock lock(&kernel_.mu());
  if (killed()) signals = nullptr;  // It may have ended.
  const SignalSet mask = signal_mask();
  const uint64_t robust = robust_list();
  (signals != nullptr ? signals->mask : mask_).store(mask.bits());
  (signals != nullptr ? signals->robust_list : robust_list_).store(robust);
  local_signals_.store(signals, std::memory_order_release);
  PublishActionsLocked();
  PublishPendingLocked();
}

void Task::SetTemporaryMask(SignalSet mask) {
  saved_mask_ = signal_mask();
  SetSignalMask(mask);
}

void Task::RestoreTemporaryMask() {
  if (!saved_mask_.has_value()) return;
  SetSignalMask(*std::exchange(saved_mask_, std::nullopt));
}

bool Task::Enter() {
  if (!t_graves.empty()) TakeOthers(t_graves, *this).clear();
  Shared().Clear(*this);
  // Killed before: whoever did it finishes the task, and nothing of it may be touched.
  uint32_t life = life_.load();
  do {
    if ((life & kKilled) != 0) return false;
  } while (!life_.compare_exchange_weak(life, life | kInCallback));
  t_current = this;
  return true;
}

platform::Verdict Task::Leave(platform::Verdict verdict, platform::Context* context) {
  t_current = nullptr;
  // Looked at first: when it is killed after this, whoever does it sees no call-back or awaits one.
  if (killed() && !ReleaseLocksAtEnd(context)) {
    return {.kind = platform::Verdict::Kind::kReturn, .value = -EINTR};
  }
  // Not killed: from here on somebody else may end the task at any time.
  uint32_t before = life_.load();
  do {
    if ((before & kKilled) != 0 && robust_list() != 0 && !ReleaseLocksAtEnd(context)) {
      return {.kind = platform::Verdict::Kind::kReturn, .value = -EINTR};
    }
  } while (!life_.compare_exchange_weak(before, before & ~kInCallback));
  if ((before & kKilled) == 0) return verdict;
  const bool finish = (before & kStarting) == 0;
  const bool own_end = verdict.kind == platform::Verdict::Kind::kExitThread;
  Kernel& kernel = kernel_;
  const Ref<ThreadGroup> group = group_;
  if (finish) kernel.FinishTask(*this, Kernel::From::kCallback);
  if (own_end) return verdict;
  kernel.AwaitExec(*group);
  return {.kind = platform::Verdict::Kind::kGone};
}

bool Task::ReleaseLocksAtEnd(platform::Context* context) {
  if (!HoldsRobustLocks(*this)) {
    set_robust_list(0);
    return true;
  }
  if (context == nullptr && AwaitCallback()) return false;
  if (context != nullptr) ReleaseRobustLocks(*this, *context);
  set_robust_list(0);
  return true;
}

bool Task::AwaitCallback() {
  absl::MutexLock lock(&kernel_.mu());
  if (group_->host_gone || !thread_) return false;
  life_.fetch_or(kAwaited);
  life_.fetch_and(~kInCallback);
  thread_->Interrupt();
  return true;
}

// "Gone" lets the platform end the process. While another task executes a new program in it, that
// would be too early.
platform::Verdict Task::Gone(platform::Context* context) {
  const Ref<ThreadGroup> group = group_;
  Kernel& kernel = kernel_;
  if ((life_.fetch_and(~kAwaited) & kAwaited) != 0) {
    if (!ReleaseLocksAtEnd(context)) {
      return {.kind = platform::Verdict::Kind::kReturn, .value = -EINTR};
    }
    kernel.FinishTask(*this, Kernel::From::kCallback);
  }
  kernel.AwaitExec(*group);
  return {.kind = platform::Verdict::Kind::kGone};
}

Ref<SeccompFilters> Task::seccomp_ref() const {
  absl::MutexLock lock(&refs_mu_);
  return seccomp_;
}

namespace {

// Calls that the platform answers without asking. A filter that lets them pass in any case, as
// Docker's does, misses nothing.
bool FiltersLocalCalls(const SeccompFilters& filters) {
  constexpr int kLocal[] = {SYS_getpid,         SYS_gettid,      SYS_getppid, SYS_getpgrp,
                            SYS_getuid,         SYS_geteuid,     SYS_getgid,  SYS_getegid,
                            SYS_rt_sigprocmask, SYS_rt_sigaction};
  return !std::ranges::all_of(
      kLocal, [&](int nr) { return filters.AlwaysAllow(static_cast<uint64_t>(nr)); });
}

}  // namespace

void Task::set_seccomp(Ref<SeccompFilters> filters, bool strict) {
  absl::MutexLock lock(&refs_mu_);
  has_seccomp_.store(static_cast<bool>(filters), std::memory_order_release);
  filters_local_calls_.store(filters && FiltersLocalCalls(*filters), std::memory_order_release);
  seccomp_strict_.store(strict, std::memory_order_relaxed);
  PublishPendingLocked();
  ForgetAnswersLocked();
  std::swap(seccomp_, filters);
}

platform::Verdict Task::OnSyscall(const platform::SyscallArgs& call) {
  if (!Enter()) return Gone();
  if (mapping_fd.valid()) [[unlikely]]
    mapping_fd.reset();
  platform::Verdict verdict =
      FilterRestart(kernel_.dispatcher().Dispatch(*this, call, nullptr), call);
  verdict.may_keep = !filters_local_calls_.load(std::memory_order_acquire);
  return Leave(verdict);
}

platform::Verdict Task::OnContextSyscall(const platform::SyscallArgs& call,
                                         platform::Context& context) {
  if (!Enter()) return Gone(&context);
  platform::Verdict verdict = kernel_.dispatcher().Dispatch(*this, call, &context);
  // rt_sigreturn answers with whatever rax was when the signal came: not a result of its own.
  if (call.nr != SYS_rt_sigreturn) verdict = FilterRestart(verdict, call);
  if (verdict.kind == platform::Verdict::Kind::kReturn) {
    context.regs.rax = static_cast<uint64_t>(verdict.value);
  }
  return Leave(verdict, &context);
}

platform::Verdict Task::FilterRestart(platform::Verdict verdict,
                                      const platform::SyscallArgs& call) {
  restart_code_ = 0;
  if (verdict.kind != platform::Verdict::Kind::kReturn) return verdict;
  const int64_t code = -verdict.value;
  // The sleeper is woken before the thread is interrupted: it must not run on in between.
  if (code == EINTR && sleeper_.interrupted()) thread_->Interrupt();
  if (code < 512 || code > 516 || !IsRestart(static_cast<int>(code))) return verdict;
  restart_code_ = static_cast<int>(code);
  restart_nr_ = call.nr;
  // An OnInterrupt has to follow, whatever woke the call.
  thread_->Interrupt();
  verdict.value = -EINTR;
  return verdict;
}

void Task::ApplyRestart(platform::Registers& regs, bool restartable, const SignalAction* action) {
  constexpr uint64_t kSyscallSize = 2;
  const bool restart_flag = action == nullptr || (action->flags & SA_RESTART) != 0;
  const int code = std::exchange(restart_code_, 0);
  if (code == 0) {
    // In front of a futex wait that the host executed; with a timeout Linux never restarts it
    // behind a handler.
    const bool timed = regs.rax == SYS_futex && regs.r10 != 0;
    if (!restartable || action == nullptr || (restart_flag && !timed)) return;
    regs.rip += kSyscallSize;
    regs.rax = static_cast<uint64_t>(-int64_t{EINTR});
    return;
  }
  const bool eintr =
      action != nullptr && (code == kRestartNoHand.code() || code == kRestartBlock.code() ||
                            (code == kRestartSys.code() && !restart_flag));
  if (eintr) return;  // Which rax says already.
  regs.rip -= kSyscallSize;
  regs.rax = code == kRestartBlock.code() ? SYS_restart_syscall : restart_nr_;
}

platform::Verdict Task::OnInterrupt(platform::Context& context, bool restartable_syscall) {
  if (!Enter()) return Gone(&context);
  sleeper_.ClearInterrupt();  // First: what is sent from now on interrupts again.
  // An exit that came to have its locks released, which takes a context; it is made again.
  if (restart_code_ == kRestartNoIntr.code() &&
      (restart_nr_ == SYS_exit || restart_nr_ == SYS_exit_group)) {
    ReleaseRobustLocks(*this, context);
  }
  if (deferred_call && restart_code_ == kRestartNoIntr.code()) RunDeferredCall(context);
  DeliverSignals(context, restartable_syscall);
  return Leave({}, &context);
}

Status Task::TellClearChildTid(platform::Context& context) {
  if (!clear_child_tid_due) return kOk;
  (void)TRY(context.HostCall({.nr = SYS_set_tid_address, .args = {clear_child_tid}}));
  clear_child_tid_due = false;
  return kOk;
}

void Task::RunDeferredCall(platform::Context& context) {
  const auto call = std::exchange(deferred_call, nullptr);
  const platform::Verdict verdict =
      FilterRestart(call(*this, context), {.nr = restart_nr_, .args = {}, .ip = 0});
  context.regs.rax = static_cast<uint64_t>(verdict.value);
}

platform::Verdict Task::OnFault(const siginfo_t& info, platform::Context& context) {
  if (!Enter()) return Gone(&context);
  restart_code_ = 0;
  sleeper_.ClearInterrupt();
  ForceSignal(info);
  DeliverSignals(context, /*restartable=*/false);
  return Leave({}, &context);
}

void Task::OnHostDeath(int wait_status) {
  AfterUnlock after(kernel_, Kernel::From::kHostDeath);
  absl::MutexLock lock(&kernel_.mu());
  group_->host_gone = true;
  const int signal = wait_status & 0x7f;
  kernel_.BeginGroupExitLocked(*group_, signal != 0 ? signal : wait_status, after);
  // It may have been ending already; who waits for its death learns of it.
  kernel_.KillHostLocked(*group_);
  // Call-backs that were awaited do not come.
  for (Task* task : group_->tasks) {
    if ((task->life_.fetch_and(~kAwaited) & kAwaited) != 0) after.Finish(Ref<Task>::Share(*task));
  }
}

}  // namespace sentry
