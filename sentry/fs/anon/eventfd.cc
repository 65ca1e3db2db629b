#include "sentry/fs/anon/eventfd.h"

#include <sys/eventfd.h>

#include <atomic>
#include <span>
#include <utility>

#include "absl/strings/str_format.h"
#include "sentry/fs/anon/anon_inode.h"

namespace sentry {
namespace {

constexpr uint64_t kMaxCount = UINT64_MAX - 1;
std::atomic<uint32_t> g_next_id{0};

}  // namespace

EventFile::EventFile(uint64_t count, Mode mode, OpenFlags flags)
    : File(NewAnonInode(), flags), mode_(mode), id_(g_next_id++), count_(count) {}

std::string EventFile::FdInfo() {
  absl::MutexLock lock(&mu_);
  return absl::StrFormat("eventfd-count: %16x\neventfd-id: %d\neventfd-semaphore: %d\n", count_,
                         id_, mode_ == Mode::kSemaphore ? 1 : 0);
}

Result<size_t> EventFile::Read(IoDst& dst) {
  if (dst.remaining() < sizeof(uint64_t)) return Errno(EINVAL);
  const uint64_t count = TRY(Take());
  // As in Linux, a count that cannot be delivered is lost.
  const size_t copied = TRY(dst.CopyOut(std::as_bytes(std::span(&count, 1))));
  return copied == sizeof(count) ? Result<size_t>(copied) : Errno(EFAULT);
}

Result<size_t> EventFile::Write(IoSrc& src) {
  uint64_t value = 0;
  if (src.remaining() != sizeof(value)) return Errno(EINVAL);  // As since Linux 6.9.
  const size_t copied = TRY(src.CopyIn(std::as_writable_bytes(std::span(&value, 1))));
  if (copied < sizeof(value)) return Errno(EFAULT);
  const Status put = Put(value);
  if (put.ok()) return sizeof(value);
  src.Unread(sizeof(value));
  return put.error();
}

Result<uint64_t> EventFile::Take() {
  uint64_t taken;
  {
    absl::MutexLock lock(&mu_);
    if (count_ == 0) return Errno(EAGAIN);
    taken = mode_ == Mode::kSemaphore ? 1 : count_;
    count_ -= taken;
  }
  queue_.Notify(POLLOUT | POLLWRNORM);
  return taken;
}

Status EventFile::Put(uint64_t value) {
  if (value == UINT64_MAX) return Errno(EINVAL);
  {
    absl::MutexLock lock(&mu_);
    if (value > kMaxCount - count_) return Errno(EAGAIN);
    count_ += value;
  }
  queue_.Notify(POLLIN | POLLRDNORM);
  return kOk;
}

uint32_t EventFile::Poll() {
  absl::MutexLock lock(&mu_);
  uint32_t events = 0;
  if (count_ > 0) events |= POLLIN;  // And no POLLRDNORM, in Linux, either.
  if (count_ < kMaxCount) events |= POLLOUT;
  return events;
}

Result<Ref<File>> CreateEventFd(uint32_t count, int flags) {
  if ((flags & ~(EFD_SEMAPHORE | EFD_NONBLOCK | EFD_CLOEXEC)) != 0) return Errno(EINVAL);
  const auto mode =
      (flags & EFD_SEMAPHORE) != 0 ? EventFile::Mode::kSemaphore : EventFile::Mode::kCounter;
  const OpenFlags open(O_RDWR | (flags & EFD_NONBLOCK));
  return Ref<File>(MakeRef<EventFile>(count, mode, open));
}

}  // namespace sentry
