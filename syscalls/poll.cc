#include "syscalls/poll.h"

#include <poll.h>

#include <algorithm>
#include <array>
#include <bit>
#include <vector>

#include "sentry/time/clocks.h"
#include "syscalls/common.h"

namespace syscalls {
namespace {

using sentry::Deadline;
using sentry::kRestartBlock;
using sentry::kRestartNoHand;

// What select(2) calls readable, writable and exceptional.
constexpr uint32_t kReadEvents = POLLRDNORM | POLLRDBAND | POLLIN | POLLHUP | POLLERR;
constexpr uint32_t kWriteEvents = POLLWRBAND | POLLWRNORM | POLLOUT | POLLERR;
constexpr uint32_t kExceptEvents = POLLPRI;

struct Interest {
  Ref<File> file;  // Empty: never ready.
  uint32_t events = 0;
  uint32_t ready = 0;
};

// The number of files that are ready.
int Look(std::vector<Interest>& interests) {
  int count = 0;
  for (Interest& interest : interests) {
    if (!interest.file) continue;
    interest.ready = interest.file->Poll() & (interest.events | POLLERR | POLLHUP);
    if (interest.ready != 0) ++count;
  }
  return count;
}

// Waits until one of them is ready: how many, 0 past the deadline, kRestartSys for a signal.
Result<int> WaitForAny(Task& task, std::vector<Interest>& interests, Deadline deadline) {
  int ready = Look(interests);
  if (ready != 0 || deadline.expired()) return ready;
  sentry::Waiter waiter(task);
  for (Interest& interest : interests) {
    if (interest.file) waiter.Watch(*interest.file, interest.events);
  }
  for (;;) {
    for (Interest& interest : interests) {
      if (interest.file) interest.file->ArmHostEvents(interest.events);
    }
    ready = Look(interests);
    if (ready != 0) return ready;
    const Status slept = waiter.Sleep(deadline);
    if (slept.ok()) continue;
    return slept.error() == Errno(ETIMEDOUT) ? Result<int>(0) : slept.error();
  }
}

Deadline AfterMilliseconds(int timeout_ms) {
  if (timeout_ms < 0) return Deadline::Never();
  return Deadline::After(int64_t{timeout_ms} * 1'000'000);
}

int64_t Remaining(Deadline deadline) {
  return std::max<int64_t>(0, deadline.ns - sentry::MonotonicNs());
}

// poll(2) with everything but timeout and mask.
Result<int64_t> DoPoll(Task& task, UserPtr<abi::PollFd> user, uint32_t count, Deadline deadline) {
  if (count > task.Limit(RLIMIT_NOFILE)) return Errno(EINVAL);
  std::vector<abi::PollFd> fds =
      TRY(task.mem().ReadArray(UserPtr<const abi::PollFd>{user.addr}, count));
  std::vector<Interest> interests(count);
  int invalid = 0;
  for (size_t i = 0; i < fds.size(); ++i) {
    fds[i].revents = 0;
    if (fds[i].fd < 0) continue;
    auto file = GetFile(task, Fd{fds[i].fd});
    if (file.ok()) {
      interests[i] = {std::move(*file), static_cast<uint16_t>(fds[i].events), 0};
    } else {
      fds[i].revents = POLLNVAL;
      ++invalid;
    }
  }
  if (invalid != 0) deadline = Deadline{0};
  const int ready = TRY(WaitForAny(task, interests, deadline));
  for (size_t i = 0; i < fds.size(); ++i) {
    if (interests[i].file) fds[i].revents = static_cast<int16_t>(interests[i].ready);
  }
  // Only revents are written, as in Linux, but in one piece.
  TRY(task.mem().WriteArray<abi::PollFd>(user, fds));
  return ready + invalid;
}

Result<int64_t> PollUntil(Task& task, UserPtr<abi::PollFd> fds, uint32_t count,
                          Deadline deadline) {
  Result<int64_t> result = DoPoll(task, fds, count, deadline);
  if (result.ok() || result.error() != sentry::kRestartSys) return result;
  task.restart_block = [fds, count, deadline](Task& self) {
    return ToVerdict(PollUntil(self, fds, count, deadline));
  };
  return kRestartBlock;
}

// Puts a signal mask in force for one call; a signal that ends the call takes the mask's end into
// its own hands.
class MaskDuringCall {
 public:
  explicit MaskDuringCall(Task& task) : task_(task) {}
  Status Set(UserAddr mask, uint64_t size) {
    if (!mask) return kOk;
    task_.SetTemporaryMask(TRY(ReadSignalSet(task_, mask, size)));
    set_ = true;
    return kOk;
  }
  // `interrupted` is what a signal makes of the call.
  template <typename R>
  R Finish(R result, Errno interrupted) {
    if (!result.ok() && result.error() == sentry::kRestartSys) return interrupted;
    if (set_) task_.RestoreTemporaryMask();
    return result;
  }

 private:
  Task& task_;
  bool set_ = false;
};

// Linux tells how much of the timeout is left; that it cannot is no error.
void WriteRemaining(Task& task, UserPtr<abi::Timespec> user, Deadline deadline) {
  if (user) (void)task.mem().Write(user, ToTimespec(Remaining(deadline)));
}

// The three sets of select(2), as bits by descriptor.
class FdSets {
 public:
  static constexpr std::array<uint32_t, 3> kEvents{kReadEvents, kWriteEvents, kExceptEvents};

  Status Read(Task& task, size_t count, const std::array<UserAddr, 3>& user) {
    count_ = count;
    for (size_t i = 0; i < 3; ++i) {
      if (!user[i]) continue;
      sets_[i] = TRY(task.mem().ReadArray(UserPtr<const uint64_t>{user[i]}, words()));
    }
    return kOk;
  }
  Status Write(Task& task, const std::array<UserAddr, 3>& user) const {
    for (size_t i = 0; i < 3; ++i) {
      if (user[i]) TRY(task.mem().WriteArray<uint64_t>(UserPtr<uint64_t>{user[i]}, sets_[i]));
    }
    return kOk;
  }
  size_t count() const { return count_; }
  size_t words() const { return (count_ + 63) / 64; }
  // All events asked for of one descriptor.
  uint32_t Events(size_t fd) const {
    uint32_t events = 0;
    for (size_t i = 0; i < 3; ++i) {
      if (Has(i, fd)) events |= kEvents[i];
    }
    return events;
  }
  // Keeps the bits of what is ready: how many stay.
  int Keep(size_t fd, uint32_t ready) {
    int kept = 0;
    for (size_t i = 0; i < 3; ++i) {
      if (!Has(i, fd)) continue;
      if ((ready & kEvents[i]) != 0) ++kept;
      else sets_[i][fd / 64] &= ~(uint64_t{1} << fd % 64);
    }
    return kept;
  }

 private:
  bool Has(size_t set, size_t fd) const {
    return !sets_[set].empty() && (sets_[set][fd / 64] >> fd % 64 & 1) != 0;
  }
  size_t count_ = 0;
  std::array<std::vector<uint64_t>, 3> sets_;
};

// Bits beyond the descriptor table's size do not count, as in Linux.
size_t ClipToTable(Task& task, int count) {
  const std::vector<Fd> open = task.fds().List();
  const size_t highest = open.empty() ? 0 : static_cast<size_t>(open.back());
  return std::min(static_cast<size_t>(count), std::bit_ceil(std::max<size_t>(highest + 1, 64)));
}

Result<int64_t> DoSelect(Task& task, int count, const std::array<UserAddr, 3>& user,
                         Deadline deadline) {
  if (count < 0) return Errno(EINVAL);
  FdSets sets;
  TRY(sets.Read(task, ClipToTable(task, count), user));
  std::vector<Interest> interests;
  std::vector<size_t> numbers;
  for (size_t fd = 0; fd < sets.count(); ++fd) {
    const uint32_t events = sets.Events(fd);
    if (events == 0) continue;
    interests.push_back({TRY(GetFile(task, Fd{static_cast<int>(fd)})), events, 0});
    numbers.push_back(fd);
  }
  int ready = 0;
  TRY(WaitForAny(task, interests, deadline));
  for (size_t i = 0; i < interests.size(); ++i) ready += sets.Keep(numbers[i], interests[i].ready);
  TRY(sets.Write(task, user));
  return ready;
}

}  // namespace

Result<int64_t> Poll(Task& task, UserPtr<abi::PollFd> fds, uint32_t count, int timeout_ms) {
  return PollUntil(task, fds, count, AfterMilliseconds(timeout_ms));
}

Result<int64_t> Ppoll(Task& task, UserPtr<abi::PollFd> fds, uint32_t count,
                      UserPtr<abi::Timespec> timeout, UserAddr mask, uint64_t mask_size) {
  const Deadline deadline = TRY(ReadDeadline(task, UserPtr<const abi::Timespec>{timeout.addr}));
  MaskDuringCall during(task);
  TRY(during.Set(mask, mask_size));
  auto result = during.Finish(DoPoll(task, fds, count, deadline), kRestartNoHand);
  WriteRemaining(task, timeout, deadline);
  return result;
}

Result<int64_t> Select(Task& task, int count, UserAddr read, UserAddr write, UserAddr except,
                       UserPtr<abi::Timeval> timeout) {
  Deadline deadline;
  if (timeout) {
    abi::Timeval value = TRY(task.mem().Read(timeout));
    if (value.sec < 0 || value.usec < 0) return Errno(EINVAL);
    // Linux normalises here, unlike everywhere else.
    if (__builtin_add_overflow(value.sec, value.usec / 1'000'000, &value.sec)) {
      return Errno(EINVAL);
    }
    value.usec %= 1'000'000;
    deadline = Deadline::After(TRY(ToNanoseconds(value)));
  }
  auto result = DoSelect(task, count, {read, write, except}, deadline);
  if (timeout) (void)task.mem().Write(timeout, ToTimeval(Remaining(deadline)));
  if (!result.ok() && result.error() == sentry::kRestartSys) return kRestartNoHand;
  return result;
}

Result<int64_t> Pselect6(Task& task, int count, UserAddr read, UserAddr write, UserAddr except,
                         UserPtr<abi::Timespec> timeout,
                         UserPtr<const abi::SigsetArgument> user_mask) {
  abi::SigsetArgument mask;
  if (user_mask) mask = TRY(task.mem().Read(user_mask));
  const Deadline deadline = TRY(ReadDeadline(task, UserPtr<const abi::Timespec>{timeout.addr}));
  MaskDuringCall during(task);
  TRY(during.Set(UserAddr{mask.set}, mask.size));
  auto result =
      during.Finish(DoSelect(task, count, {read, write, except}, deadline), kRestartNoHand);
  WriteRemaining(task, timeout, deadline);
  return result;
}

}  // namespace syscalls
