#include "sentry/fs/anon/epoll.h"

#include <limits>
#include <vector>

#include "syscalls/common.h"
#include "syscalls/poll.h"

namespace syscalls {
namespace {

using sentry::Deadline;
using sentry::EpollFile;
using sentry::FileCast;

Result<Ref<EpollFile>> GetEpoll(Task& task, Fd fd) {
  const Ref<File> file = TRY(GetFile(task, fd));
  auto* epoll = FileCast<EpollFile>(*file);
  if (epoll == nullptr) return Errno(EINVAL);
  return Ref<EpollFile>::Share(*epoll);
}

// The events that are ready, empty past the deadline. kRestartSys for a signal.
Result<std::vector<epoll_event>> Collect(Task& task, EpollFile& epoll, size_t max,
                                         Deadline deadline) {
  const auto empty = [](const auto& r) { return !r.ok() && r.error() == Errno(EAGAIN); };
  auto events = epoll.Collect(max);
  if (!empty(events)) return events;
  if (deadline.expired()) return std::vector<epoll_event>();
  sentry::Waiter waiter(task);
  waiter.Watch(epoll, POLLIN);
  for (;;) {
    events = epoll.Collect(max);
    if (!empty(events)) return events;
    const Status slept = waiter.Sleep(deadline);
    if (slept.ok()) continue;
    if (slept.error() == Errno(ETIMEDOUT)) return std::vector<epoll_event>();
    return slept.error();
  }
}

Result<int64_t> Wait(Task& task, Fd fd, UserPtr<abi::EpollEvent> user, int max,
                     Deadline deadline) {
  constexpr int kMaxEvents = std::numeric_limits<int>::max() / sizeof(abi::EpollEvent);
  if (max <= 0 || max > kMaxEvents) return Errno(EINVAL);
  const Ref<EpollFile> epoll = TRY(GetEpoll(task, fd));
  std::vector<abi::EpollEvent> events;
  for (const epoll_event& event : TRY(Collect(task, *epoll, static_cast<size_t>(max), deadline))) {
    events.push_back({event.events, event.data.u64});
  }
  TRY(task.mem().WriteArray<abi::EpollEvent>(user, events));
  return static_cast<int64_t>(events.size());
}

// With a signal mask for the time of the call. epoll_wait(2) is never restarted.
Result<int64_t> WaitMasked(Task& task, Fd fd, UserPtr<abi::EpollEvent> user, int max,
                           Deadline deadline, UserAddr mask, uint64_t mask_size) {
  if (mask) task.SetTemporaryMask(TRY(ReadSignalSet(task, mask, mask_size)));
  Result<int64_t> result = Wait(task, fd, user, max, deadline);
  if (!result.ok() && result.error() == sentry::kRestartSys) return Errno(EINTR);
  if (mask) task.RestoreTemporaryMask();
  return result;
}

Deadline AfterMilliseconds(int timeout_ms) {
  if (timeout_ms < 0) return Deadline::Never();
  return Deadline::After(int64_t{timeout_ms} * 1'000'000);
}

}  // namespace

Result<Fd> EpollCreate1(Task& task, int flags) {
  return AddFile(task, TRY(sentry::CreateEpoll(flags)), (flags & EPOLL_CLOEXEC) != 0);
}

Result<Fd> EpollCreate(Task& task, int size) {
  if (size <= 0) return Errno(EINVAL);
  return EpollCreate1(task, 0);
}

Status EpollCtl(Task& task, Fd epoll_fd, int operation, Fd fd,
                UserPtr<const abi::EpollEvent> user) {
  epoll_event event{};
  if (operation != EPOLL_CTL_DEL) {
    const abi::EpollEvent given = TRY(task.mem().Read(user));
    event.events = given.events;
    event.data.u64 = given.data;
  }
  const Ref<File> epoll_file = TRY(GetFile(task, epoll_fd));
  Ref<File> file = TRY(GetFile(task, fd));
  if (epoll_file == file) return Errno(EINVAL);
  auto* epoll = FileCast<EpollFile>(*epoll_file);
  if (epoll == nullptr) return Errno(EINVAL);
  switch (operation) {
    case EPOLL_CTL_ADD:
      return epoll->Add(fd, std::move(file), event);
    case EPOLL_CTL_MOD:
      return epoll->Modify(fd, *file, event);
    case EPOLL_CTL_DEL:
      return epoll->Delete(fd, *file);
    default:
      return Errno(EINVAL);
  }
}

Result<int64_t> EpollPwait(Task& task, Fd epoll_fd, UserPtr<abi::EpollEvent> events, int max,
                           int timeout_ms, UserAddr mask, uint64_t mask_size) {
  return WaitMasked(task, epoll_fd, events, max, AfterMilliseconds(timeout_ms), mask, mask_size);
}

Result<int64_t> EpollWait(Task& task, Fd epoll_fd, UserPtr<abi::EpollEvent> events, int max,
                          int timeout_ms) {
  return EpollPwait(task, epoll_fd, events, max, timeout_ms, UserAddr{}, 0);
}

Result<int64_t> EpollPwait2(Task& task, Fd epoll_fd, UserPtr<abi::EpollEvent> events, int max,
                            UserPtr<const abi::Timespec> timeout, UserAddr mask,
                            uint64_t mask_size) {
  return WaitMasked(task, epoll_fd, events, max, TRY(ReadDeadline(task, timeout)), mask,
                    mask_size);
}

}  // namespace syscalls
