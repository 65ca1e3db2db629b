#include "sentry/fs/anon/epoll.h"

#include <limits>
#include <span>
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
Result<std::vector<EpollFile::Report>> Collect(Task& task, EpollFile& epoll, size_t max,
                                               Deadline deadline) {
  const auto empty = [](const auto& r) { return !r.ok() && r.error() == Errno(EAGAIN); };
  auto events = epoll.Collect(max);
  if (!empty(events)) return events;
  if (deadline.expired()) return std::vector<EpollFile::Report>();
  sentry::Waiter waiter(task);
  waiter.Watch(epoll, POLLIN, sentry::WaitQueue::Turn::kExclusive);
  for (;;) {
    events = epoll.Collect(max);
    if (!empty(events)) return events;
    if (waiter.Rearm()) continue;
    const Status slept = waiter.Sleep(deadline);
    if (slept.ok()) continue;
    if (slept.error() == Errno(ETIMEDOUT)) return std::vector<EpollFile::Report>();
    return slept.error();
  }
}

Result<int64_t> Wait(Task& task, Fd fd, UserPtr<abi::EpollEvent> user, int max, Deadline deadline) {
  constexpr int kMaxEvents = std::numeric_limits<int>::max() / sizeof(abi::EpollEvent);
  if (max <= 0 || max > kMaxEvents) return Errno(EINVAL);
  const Ref<EpollFile> epoll = TRY(GetEpoll(task, fd));
  const auto reports = TRY(Collect(task, *epoll, static_cast<size_t>(max), deadline));
  std::vector<abi::EpollEvent> events;
  events.reserve(reports.size());
  for (const EpollFile::Report& report : reports) {
    events.push_back({report.event.events, report.event.data.u64});
  }
  const size_t bytes = task.mem().WriteSome(user.addr, std::as_bytes(std::span(events)));
  const size_t told = bytes / sizeof(abi::EpollEvent);
  if (told == events.size()) return static_cast<int64_t>(told);
  // What could not be told is not lost.
  epoll->PutBack(std::span(reports).subspan(told));
  return told != 0 ? Result<int64_t>(static_cast<int64_t>(told)) : Errno(EFAULT);
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
  return task.AddFd(TRY(sentry::CreateEpoll(flags)), (flags & EPOLL_CLOEXEC) != 0);
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
  const Ref<File> epoll = TRY(GetFile(task, epoll_fd));
  Ref<File> file = TRY(GetFile(task, fd));
  return sentry::EpollControl(*epoll, operation, fd, std::move(file), event);
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
  return WaitMasked(task, epoll_fd, events, max, TRY(ReadDeadline(task, timeout)), mask, mask_size);
}

}  // namespace syscalls
