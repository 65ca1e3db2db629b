#include "sentry/fs/anon/signalfd.h"

#include <sys/signalfd.h>

#include <span>
#include <utility>

#include "absl/strings/str_format.h"
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

SignalFile::SignalFile(Kernel& kernel, SignalSet mask, OpenFlags flags)
    : File(NewAnonInode(), flags), kernel_(kernel), mask_(WithoutUnmaskable(mask).bits()) {}

void SignalFile::set_mask(SignalSet mask) {
  mask_.store(WithoutUnmaskable(mask).bits(), std::memory_order_relaxed);
  kernel_.signal_events().Notify(POLLIN);
}

WaitQueue* SignalFile::wait_queue() { return &kernel_.signal_events(); }

std::string SignalFile::FdInfo() { return absl::StrFormat("sigmask:\t%016x\n", mask().bits()); }

Result<size_t> SignalFile::Read(IoDst& dst) {
  if (dst.remaining() < sizeof(signalfd_siginfo)) return Errno(EINVAL);
  Task* const reader = Task::Current();
  size_t done = 0;
  while (reader != nullptr && dst.remaining() >= sizeof(signalfd_siginfo)) {
    const std::optional<SignalInfo> info = kernel_.TakeSignal(*reader, mask());
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
  Task* const reader = Task::Current();
  if (reader == nullptr) return 0;
  absl::MutexLock lock(&kernel_.mu());
  const SignalSet pending =
      reader->pending_signals().pending() | reader->group().pending.pending();
  return (pending & mask()).empty() ? 0 : POLLIN;
}

Result<Ref<File>> CreateSignalFd(Task& task, SignalSet mask, int flags) {
  if ((flags & ~(SFD_NONBLOCK | SFD_CLOEXEC)) != 0) return Errno(EINVAL);
  return Ref<File>(MakeRef<SignalFile>(task.kernel(), mask,
                                       OpenFlags(O_RDWR | (flags & SFD_NONBLOCK))));
}

}  // namespace sentry
