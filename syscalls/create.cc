#include "syscalls/create.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

#include "sentry/fs/anon/eventfd.h"
#include "sentry/fs/anon/signalfd.h"
#include "sentry/fs/anon/timerfd.h"
#include "sentry/fs/pipe/pipe.h"
#include "sentry/fs/tmpfs/tmpfs.h"
#include "syscalls/common.h"
#include "syscalls/convert.h"

namespace syscalls {

using sentry::FileCast;

Status Pipe2(Task& task, UserPtr<std::array<int, 2>> out, uint32_t flags) {
  constexpr uint32_t kKnown = O_CLOEXEC | O_NONBLOCK | O_DIRECT;
  if ((flags & ~kKnown) != 0) return Errno(EINVAL);
  auto ends = TRY(sentry::CreatePipe(OpenFlags(flags).Without(O_CLOEXEC)));
  const bool close_on_exec = (flags & O_CLOEXEC) != 0;
  const Fd reader = TRY(task.AddFd(std::move(ends.first), close_on_exec));
  Result<Fd> writer = task.AddFd(std::move(ends.second), close_on_exec);
  Status written = Errno(EMFILE);
  if (writer.ok()) {
    written = task.mem().Write(
        out, std::array<int, 2>{static_cast<int>(reader), static_cast<int>(*writer)});
  }
  if (!written.ok()) {
    (void)task.fds().Remove(reader);
    if (writer.ok()) (void)task.fds().Remove(*writer);
  }
  return written;
}

Status Pipe(Task& task, UserPtr<std::array<int, 2>> fds) { return Pipe2(task, fds, 0); }

Result<Fd> Eventfd2(Task& task, uint32_t count, int flags) {
  return task.AddFd(TRY(sentry::CreateEventFd(count, flags)), (flags & EFD_CLOEXEC) != 0);
}

Result<Fd> Eventfd(Task& task, uint32_t count) { return Eventfd2(task, count, 0); }

Result<Fd> MemfdCreate(Task& task, UserCString user_name, uint32_t flags) {
  constexpr size_t kMaxName = 255 - 6;  // NAME_MAX without "memfd:".
  Result<std::string> name = task.mem().ReadString(user_name, kMaxName + 1);
  if (!name.ok()) {
    return name.error() == Errno(ENAMETOOLONG) ? Errno(EINVAL) : name.error();
  }
  Ref<File> file = TRY(
      sentry::CreateMemfd(*name, flags, task.creds().fsuid, task.creds().fsgid));
  return task.AddFd(std::move(file), (flags & MFD_CLOEXEC) != 0);
}

Result<Fd> Signalfd4(Task& task, Fd fd, UserAddr user_mask, uint64_t size, int flags) {
  if ((flags & ~(SFD_CLOEXEC | SFD_NONBLOCK)) != 0) return Errno(EINVAL);
  const sentry::SignalSet mask =
      TRY(ReadSignalSet(task, user_mask, size)) & ~sentry::SignalSet::Unmaskable();
  if (static_cast<int>(fd) == -1) {
    return task.AddFd(TRY(sentry::CreateSignalFd(task, mask, flags)), (flags & SFD_CLOEXEC) != 0);
  }
  const Ref<File> file = TRY(GetFile(task, fd));
  auto* signals = FileCast<sentry::SignalFile>(*file);
  if (signals == nullptr) return Errno(EINVAL);
  signals->set_mask(mask);
  return fd;
}

Result<Fd> Signalfd(Task& task, Fd fd, UserAddr mask, uint64_t size) {
  return Signalfd4(task, fd, mask, size, 0);
}

Result<Fd> TimerfdCreate(Task& task, int clock, int flags) {
  return task.AddFd(TRY(sentry::CreateTimerFd(sentry::ClockId{clock}, flags)),
                    (flags & TFD_CLOEXEC) != 0);
}

Status TimerfdSettime(Task& task, Fd fd, int flags, UserPtr<const abi::Itimerspec> user,
                      UserPtr<abi::Itimerspec> old) {
  const abi::Itimerspec value = TRY(task.mem().Read(user));
  if ((flags & ~(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET)) != 0) return Errno(EINVAL);
  const Ref<File> file = TRY(GetFile(task, fd));
  auto* timer = FileCast<sentry::TimerFile>(*file);
  if (timer == nullptr) return Errno(EINVAL);
  const itimerspec before = TRY(timer->SetTime(flags, ToHost(value)));
  return old ? task.mem().Write(old, FromHost(before)) : Status(kOk);
}

Status TimerfdGettime(Task& task, Fd fd, UserPtr<abi::Itimerspec> out) {
  const Ref<File> file = TRY(GetFile(task, fd));
  auto* timer = FileCast<sentry::TimerFile>(*file);
  if (timer == nullptr) return Errno(EINVAL);
  return task.mem().Write(out, FromHost(timer->GetTime()));
}

}  // namespace syscalls
