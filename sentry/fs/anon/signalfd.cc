#include "sentry/fs/anon/signalfd.h"

#include <sys/signalfd.h>

#include <span>
#include <utility>

#include "sentry/fs/anon/anon_inode.h"
#include "sentry/task/kernel.h"
#include "sentry/task/task.h"

namespace sentry {
namespace {

// signalfd_copyinfo() of the kernel: which fields mean something depends on who sent the signal.
signalfd_siginfo Convert(const SignalInfo& info) {
  signalfd_siginfo out{};
  out.ssi_signo = static_cast<uint32_t>(info.si_signo);
  out.ssi_errno = info.si_errno;
  out.ssi_code = info.si_code;
  if (info.si_code == SI_TIMER) {
    out.ssi_tid = static_cast<uint32_t>(info.si_timerid);
    out.ssi_overrun = static_cast<uint32_t>(info.si_overrun);
  } else {
    out.ssi_pid = static_cast<uint32_t>(info.si_pid);
    out.ssi_uid = info.si_uid;
  }
  if (info.si_signo == SIGCHLD && info.si_code > 0) {
    out.ssi_status = info.si_status;
    out.ssi_utime = static_cast<uint64_t>(info.si_utime);
    out.ssi_stime = static_cast<uint64_t>(info.si_stime);
  } else if (info.si_code < 0) {
    out.ssi_ptr = reinterpret_cast<uint64_t>(info.si_ptr);
    out.ssi_int = info.si_int;
  }
  return out;
}

SignalSet WithoutUnmaskable(SignalSet mask) { return mask & ~SignalSet::Unmaskable(); }

}  // namespace

SignalFile::SignalFile(Ref<ThreadGroup> group, SignalSet mask, OpenFlags flags)
    : File(NewAnonInode(), flags),
      group_(std::move(group)),
      mask_(WithoutUnmaskable(mask).bits()) {}

void SignalFile::set_mask(SignalSet mask) {
  mask_.store(WithoutUnmaskable(mask).bits(), std::memory_order_relaxed);
  group_->signal_events.Notify(POLLIN);
}

// A thread sees its own signals and the process's. When a stranger looks (a child with its parent's
// descriptor) there is no "own", and any thread's count.
bool SignalFile::SeesLocked(const Task& task) const {
  const Task* const reader = Task::Current();
  return reader == nullptr || reader == &task || &reader->group() != group_.get();
}

std::optional<SignalInfo> SignalFile::Take() {
  absl::MutexLock lock(&group_->kernel.mu());
  for (Task* task : group_->tasks) {
    if (!SeesLocked(*task)) continue;
    if (auto info = task->pending_signals().Pop(mask())) return info;
  }
  return group_->pending.Pop(mask());
}

Result<size_t> SignalFile::Read(IoDst& dst) {
  if (dst.remaining() < sizeof(signalfd_siginfo)) return Errno(EINVAL);
  size_t done = 0;
  while (dst.remaining() >= sizeof(signalfd_siginfo)) {
    const std::optional<SignalInfo> info = Take();
    if (!info) break;
    const signalfd_siginfo out = Convert(*info);
    const auto copied = dst.CopyOut(std::as_bytes(std::span(&out, 1)));
    // As in Linux, a signal that cannot be delivered is lost.
    if (!copied.ok() || *copied < sizeof(out)) {
      return done > 0 ? Result<size_t>(done) : Errno(EFAULT);
    }
    done += sizeof(out);
  }
  return done > 0 ? Result<size_t>(done) : Errno(EAGAIN);
}

uint32_t SignalFile::Poll() {
  absl::MutexLock lock(&group_->kernel.mu());
  SignalSet pending = group_->pending.pending();
  for (Task* task : group_->tasks) {
    if (SeesLocked(*task)) pending = pending | task->pending_signals().pending();
  }
  return (pending & mask()).empty() ? 0 : POLLIN | POLLRDNORM;
}

Result<Ref<File>> CreateSignalFd(Task& task, SignalSet mask, int flags) {
  if ((flags & ~(SFD_NONBLOCK | SFD_CLOEXEC)) != 0) return Errno(EINVAL);
  return Ref<File>(MakeRef<SignalFile>(Ref<ThreadGroup>::Share(task.group()), mask,
                                       OpenFlags(O_RDWR | (flags & SFD_NONBLOCK))));
}

}  // namespace sentry
