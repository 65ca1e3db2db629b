#include "sentry/fs/tmpfs/file_data.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "sentry/mm/io_buffer.h"

namespace sentry {

namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kMaxSize = INT64_MAX;  // s_maxbytes of tmpfs.

uint64_t RoundUp(uint64_t bytes) { return (bytes + kPage - 1) & ~(kPage - 1); }

}  // namespace

FileData::~FileData() ABSL_NO_THREAD_SAFETY_ANALYSIS { (void)fs_.Charge(charged_, 0); }

void FileData::Adopt(UniqueFd memfd) {
  absl::MutexLock lock(&mu_);
  memfd_ = std::move(memfd);
  host_fd_.store(memfd_.get(), std::memory_order_release);
}

uint64_t FileData::blocks() {
  absl::MutexLock lock(&mu_);
  if (!memfd_.valid()) return RoundUp(small_.size()) / 512;
  struct stat stat;
  return fstat(memfd_.get(), &stat) == 0 ? static_cast<uint64_t>(stat.st_blocks) : 0;
}

Result<size_t> FileData::Read(IoDst& dst, int64_t offset) {
  if (offset < 0) return Errno(EINVAL);
  size_t done = 0;
  while (dst.remaining() != 0) {
    IoBuffer buffer(dst.remaining());
    size_t got = 0;
    const int fd = host_fd_.load(std::memory_order_acquire);
    const uint64_t at = static_cast<uint64_t>(offset) + done;
    if (at > kMaxSize) break;
    if (fd >= 0) {
      const ssize_t n =
          pread(fd, buffer.bytes().data(), buffer.bytes().size(), static_cast<off_t>(at));
      if (n < 0) return done != 0 ? Result<size_t>(done) : Errno::Last();
      got = static_cast<size_t>(n);
    } else {
      absl::MutexLock lock(&mu_);
      if (memfd_.valid()) continue;
      if (at < small_.size()) {
        got = std::min<size_t>(small_.size() - at, buffer.bytes().size());
        memcpy(buffer.bytes().data(), small_.data() + at, got);
      }
    }
    if (got == 0) break;
    const Result<size_t> copied = dst.CopyOut(buffer.bytes().first(got));
    if (!copied.ok()) return done != 0 ? Result<size_t>(done) : copied;
    done += *copied;
    if (*copied < got || got < buffer.bytes().size()) break;
  }
  return done;
}

Result<size_t> FileData::Write(IoSrc& src, int64_t offset, int64_t& end) {
  const bool append = offset == SeekableFile::kAppend;
  if (offset < 0 && !append) return Errno(EINVAL);
  size_t done = 0;
  end = append ? static_cast<int64_t>(size()) : offset;
  while (src.remaining() != 0) {
    IoBuffer buffer(src.remaining());
    const Result<size_t> copied = src.CopyIn(buffer.bytes());
    if (!copied.ok()) return done != 0 ? Result<size_t>(done) : copied;
    Result<size_t> stored = size_t{0};
    {
      absl::MutexLock lock(&mu_);
      // Only the first piece of an append looks for the end: the rest belongs behind it.
      if (append && done == 0) end = static_cast<int64_t>(size());
      stored = StoreLocked(buffer.bytes().first(*copied), static_cast<uint64_t>(end));
    }
    const size_t count = stored.ok() ? *stored : 0;
    src.Unread(*copied - count);
    done += count;
    end += static_cast<int64_t>(count);
    if (!stored.ok() && done == 0) return stored;
    if (count < *copied || *copied < buffer.bytes().size()) break;
  }
  return done;
}

Result<size_t> FileData::StoreLocked(std::span<const std::byte> bytes, uint64_t offset) {
  if (offset >= kMaxSize) return Errno(EFBIG);
  bytes = bytes.first(std::min<uint64_t>(bytes.size(), kMaxSize - offset));
  const uint64_t end = offset + bytes.size();
  if (!memfd_.valid() && end <= kSmall) {
    if (end > small_.size()) {
      TRY(fs_.Charge(charged_, RoundUp(end)));
      charged_ = RoundUp(end);
      small_.resize(end);
      size_.store(end, std::memory_order_release);
    }
    memcpy(small_.data() + offset, bytes.data(), bytes.size());
    return bytes.size();
  }
  TRY(MoveToMemfdLocked());
  // What a write adds at most; RechargeLocked corrects it to what it really added.
  const bool grows = end > RoundUp(size());
  uint64_t most = charged_ + RoundUp(bytes.size()) + kPage;
  if (grows) {
    if (!fs_.Charge(charged_, most).ok()) {
      // What is left, and the rest of the last page, which has been paid for.
      const uint64_t free = fs_.FreeBytes();
      const uint64_t rest = offset < RoundUp(size()) ? RoundUp(offset) - offset : 0;
      bytes = bytes.first(std::min<uint64_t>(bytes.size(), free / kPage * kPage + rest));
      if (bytes.empty()) return Errno(ENOSPC);
      most = charged_ + free / kPage * kPage;
      TRY(fs_.Charge(charged_, most));
    }
    charged_ = most;
  }
  const ssize_t n = pwrite(memfd_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
  const Errno error = Errno::Last();
  if (n > 0 && offset + static_cast<uint64_t>(n) > size()) {
    size_.store(offset + static_cast<uint64_t>(n), std::memory_order_release);
  }
  if (grows) RechargeLocked();
  if (n < 0) return error;
  return static_cast<size_t>(n);
}

Status FileData::MoveToMemfdLocked() {
  if (memfd_.valid()) return kOk;
  UniqueFd memfd = TRY(fs_.NewStore());
  if (!small_.empty() &&
      pwrite(memfd.get(), small_.data(), small_.size(), 0) != static_cast<ssize_t>(small_.size())) {
    return Errno(ENOSPC);
  }
  memfd_ = std::move(memfd);
  small_ = std::string();
  host_fd_.store(memfd_.get(), std::memory_order_release);
  return kOk;
}

void FileData::RechargeLocked() {
  struct stat stat;
  if (fstat(memfd_.get(), &stat) != 0) return;
  const uint64_t used = static_cast<uint64_t>(stat.st_blocks) * 512;
  // More than allowed only through mappings, which nobody asks us about.
  if (fs_.Charge(charged_, used).ok()) charged_ = used;
}

Status FileData::Truncate(uint64_t size) {
  if (size > kMaxSize) return Errno(EINVAL);
  absl::MutexLock lock(&mu_);
  if (!memfd_.valid() && size <= kSmall) {
    TRY(fs_.Charge(charged_, RoundUp(size)));
    charged_ = RoundUp(size);
    small_.resize(size);
    size_.store(size, std::memory_order_release);
    return kOk;
  }
  TRY(MoveToMemfdLocked());
  if (ftruncate(memfd_.get(), static_cast<off_t>(size)) != 0) return Errno::Last();
  const bool shrinks = size < size_.load(std::memory_order_relaxed);
  size_.store(size, std::memory_order_release);
  if (shrinks) RechargeLocked();
  return kOk;
}

Status FileData::Allocate(int mode, int64_t offset, int64_t length) {
  if (offset < 0 || length <= 0) return Errno(EINVAL);
  // What tmpfs knows.
  if ((mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE)) != 0) return Errno(EOPNOTSUPP);
  int64_t end = 0;
  if (__builtin_add_overflow(offset, length, &end)) return Errno(EFBIG);
  absl::MutexLock lock(&mu_);
  TRY(MoveToMemfdLocked());
  const bool adds = (mode & FALLOC_FL_PUNCH_HOLE) == 0;
  if (adds) {
    const uint64_t most = charged_ + RoundUp(static_cast<uint64_t>(length)) + kPage;
    TRY(fs_.Charge(charged_, most));
    charged_ = most;
  }
  const bool failed = fallocate(memfd_.get(), mode, offset, length) != 0;
  const Errno error = Errno::Last();
  if (!failed && adds && (mode & FALLOC_FL_KEEP_SIZE) == 0 &&
      static_cast<uint64_t>(end) > size_.load(std::memory_order_relaxed)) {
    size_.store(static_cast<uint64_t>(end), std::memory_order_release);
  }
  RechargeLocked();
  if (failed) return error;
  return kOk;
}

Result<int64_t> FileData::SeekExtent(int64_t offset, int whence) {
  absl::MutexLock lock(&mu_);
  const int64_t size = static_cast<int64_t>(size_.load(std::memory_order_relaxed));
  if (offset < 0 || offset >= size) return Errno(ENXIO);
  if (!memfd_.valid()) return whence == SEEK_DATA ? offset : size;
  const off_t found = lseek(memfd_.get(), offset, whence);
  if (found < 0) return Errno::Last();
  return found;
}

Result<int> FileData::HostFd() {
  absl::MutexLock lock(&mu_);
  TRY(MoveToMemfdLocked());
  return memfd_.get();
}

}  // namespace sentry
