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
  NeverMapLocked();  // A writable mapping would keep it from being sealed; its pages may be huge.
}

uint64_t FileData::blocks() {
  absl::MutexLock lock(&mu_);
  if (!memfd_.valid()) return RoundUp(small_.size()) / 512;
  struct stat stat;
  return fstat(memfd_.get(), &stat) == 0 ? static_cast<uint64_t>(stat.st_blocks) : 0;
}

Result<size_t> FileData::Read(IoDst& dst, int64_t offset) {
  if (offset < 0) return Errno(EINVAL);
  Result<size_t> in_place = size_t{0};
  const auto fill = [&](std::span<std::byte> to) {
    in_place = Load(to, static_cast<uint64_t>(offset));
    return in_place.ok() ? static_cast<ssize_t>(*in_place) : ssize_t{0};
  };
  if (dst.FillInPlace(fill)) return in_place;
  size_t done = 0;
  while (dst.remaining() != 0) {
    const uint64_t at = static_cast<uint64_t>(offset) + done;
    if (dst.remaining() > kStraight) {
      const Piece piece = MappedPiece(at, dst.remaining());
      const size_t copied = dst.CopyOutMapped(piece.bytes);
      done += copied;
      if (copied != 0) continue;
    }
    [[gnu::uninitialized]] IoBuffer buffer(dst.remaining());
    const Result<size_t> got = Load(buffer.bytes(), at);
    if (!got.ok()) return done != 0 ? Result<size_t>(done) : got;
    if (*got == 0) break;
    const Result<size_t> copied = dst.CopyOut(buffer.bytes().first(*got));
    if (!copied.ok()) return done != 0 ? Result<size_t>(done) : copied;
    done += *copied;
    if (*copied < *got || *got < buffer.bytes().size()) break;
  }
  return done;
}

Result<size_t> FileData::Load(std::span<std::byte> into, uint64_t at) {
  if (at > kMaxSize) return size_t{0};
  if (host_fd_.load(std::memory_order_acquire) < 0) {
    absl::ReaderMutexLock lock(&mu_);
    if (!memfd_.valid()) {
      if (at >= small_.size()) return size_t{0};
      into = into.first(std::min<size_t>(small_.size() - at, into.size()));
      memcpy(into.data(), small_.data() + at, into.size());
      return into.size();
    }
  }
  if (const size_t read = ReadWindow(into, at); read != 0) return read;
  const int fd = host_fd_.load(std::memory_order_acquire);
  const ssize_t n = pread(fd, into.data(), into.size(), static_cast<off_t>(at));
  if (n < 0) return Errno::Last();
  return static_cast<size_t>(n);
}

FileData::Piece FileData::MappedPiece(uint64_t at, size_t size) {
  if (windowed_.load(std::memory_order_acquire) != Windowed::kMapped) return {};
  {
    absl::ReaderMutexLock lock(&mu_);
    if (at >= dense_) return {};
    const std::span<std::byte> bytes = WindowLocked(at, size);
    if (!bytes.empty()) return {window_, bytes};
  }
  absl::MutexLock lock(&mu_);
  MapWindowLocked();
  return {window_, WindowLocked(at, size)};
}

Result<size_t> FileData::Write(IoSrc& src, int64_t offset, int64_t& end) {
  const bool append = offset == SeekableFile::kAppend;
  if (offset < 0 && !append) return Errno(EINVAL);
  size_t done = 0;
  end = append ? static_cast<int64_t>(size()) : offset;
  while (src.remaining() != 0) {
    if (!append && src.remaining() > kStraight) {
      const size_t stored = StoreStraight(src, end);
      done += stored;
      end += static_cast<int64_t>(stored);
      if (stored != 0) continue;
    }
    [[gnu::uninitialized]] IoBuffer buffer(src.remaining());
    const Result<size_t> copied = src.CopyIn(buffer.bytes());
    if (!copied.ok()) return done != 0 ? Result<size_t>(done) : copied;
    Result<size_t> stored = size_t{0};
    {
      absl::MutexLock writing(&writing_mu_);
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

size_t FileData::StoreStraight(IoSrc& src, int64_t offset) {
  absl::MutexLock writing(&writing_mu_);
  // Not what lies behind the end: the last piece of a write that adds to the file.
  const Piece piece = MappedPiece(static_cast<uint64_t>(offset), src.remaining());
  return piece.bytes.size() < src.remaining() ? 0 : src.CopyInMapped(piece.bytes);
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
  if (end <= dense_ && IsWarm(bytes.size())) {
    MapWindowLocked();
    const std::span<std::byte> window = WindowLocked(offset, bytes.size());
    memcpy(window.data(), bytes.data(), window.size());
    if (!window.empty()) return window.size();
  }
  return StoreInMemfdLocked(bytes, offset);
}

Result<size_t> FileData::StoreInMemfdLocked(std::span<const std::byte> bytes, uint64_t offset) {
  const uint64_t end = offset + bytes.size();
  const uint64_t before = charged_;
  // All that changes is what is added at the end.
  const bool known = dense_ == size() && offset <= RoundUp(dense_) && !allocated_behind_;
  const uint64_t pages_before = RoundUp(size());
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
  const uint64_t behind = offset + static_cast<uint64_t>(std::max<ssize_t>(n, 0));
  if (n > 0 && offset <= RoundUp(dense_)) dense_ = std::max(dense_, behind);
  if (n > 0 && behind > size()) size_.store(behind, std::memory_order_release);
  if (grows && known && n >= 0) {
    const uint64_t used = before + RoundUp(size()) - pages_before;
    if (fs_.Charge(charged_, used).ok()) charged_ = used;
  } else if (grows) {
    RechargeLocked();
  }
  if (n < 0) return error;
  return static_cast<size_t>(n);
}

bool FileData::IsWarm(size_t bytes) {
  const Windowed windowed = windowed_.load(std::memory_order_acquire);
  if (windowed != Windowed::kNotYet) return windowed == Windowed::kMapped;
  constexpr uint64_t kLeast = 16;  // Mapping costs as much as so many small reads.
  const uint32_t more = static_cast<uint32_t>(RoundUp(bytes) / kPage);
  const uint64_t used = pages_used_.fetch_add(more, std::memory_order_relaxed) + more;
  return used > size() / kPage * 2 + kLeast;
}

std::span<std::byte> FileData::WindowLocked(uint64_t at, size_t size) const {
  if (window_ == nullptr || at >= dense_) return {};
  if (size > dense_ - at) {
    if (dense_ != this->size()) return {};
    size = dense_ - at;
  }
  const std::span<std::byte> bytes = window_->bytes();
  if (at + size > bytes.size()) return {};
  return bytes.subspan(at, size);
}

void FileData::MapWindowLocked() {
  if (windowed_.load(std::memory_order_relaxed) == Windowed::kNever || !memfd_.valid()) return;
  if (window_ == nullptr) {
    window_ = FileWindow::Map(memfd_.get(), dense_, FileWindow::For::kWriting);
    if (window_ == nullptr) return NeverMapLocked();
    windowed_.store(Windowed::kMapped, std::memory_order_release);
  } else if (window_->bytes().size() < dense_) {
    if (window_.use_count() > 1) {  // Somebody copies: it must stay where it is.
      window_ = FileWindow::Map(memfd_.get(), dense_, FileWindow::For::kWriting);
      if (window_ == nullptr) NeverMapLocked();
    } else if (!window_->Grow(dense_)) {
      NeverMapLocked();
    }
  }
}

void FileData::NeverMapLocked() {
  window_ = nullptr;
  windowed_.store(Windowed::kNever, std::memory_order_release);
}

size_t FileData::ReadWindow(std::span<std::byte> into, uint64_t at) {
  if (!IsWarm(into.size())) return 0;
  const auto copy = [into](std::span<const std::byte> from) {
    memcpy(into.data(), from.data(), from.size());
    return from.size();
  };
  {
    absl::ReaderMutexLock lock(&mu_);
    const std::span<std::byte> window = WindowLocked(at, into.size());
    if (!window.empty()) return copy(window);
    if (at >= dense_) return 0;
  }
  absl::MutexLock lock(&mu_);
  MapWindowLocked();
  return copy(WindowLocked(at, into.size()));
}

Status FileData::MoveToMemfdLocked() {
  if (memfd_.valid()) return kOk;
  UniqueFd memfd = TRY(fs_.NewStore());
  if (!small_.empty() &&
      pwrite(memfd.get(), small_.data(), small_.size(), 0) != static_cast<ssize_t>(small_.size())) {
    return Errno(ENOSPC);
  }
  memfd_ = std::move(memfd);
  dense_ = small_.size();
  if (!fs_.in_memory()) NeverMapLocked();  // An error of the host's disk would be SIGBUS.
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
  dense_ = std::min(dense_, size);
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
  const bool keeps_size = (mode & FALLOC_FL_KEEP_SIZE) != 0;
  if (adds && keeps_size) allocated_behind_ = true;
  if (adds && !keeps_size && !failed && static_cast<uint64_t>(offset) <= dense_) {
    dense_ = std::max(dense_, static_cast<uint64_t>(end));
  }
  if (!adds) dense_ = std::min(dense_, static_cast<uint64_t>(offset) / kPage * kPage);
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

Result<int> FileData::HostFdForSharing() {
  absl::MutexLock lock(&mu_);
  TRY(MoveToMemfdLocked());
  NeverMapLocked();
  return memfd_.get();
}

}  // namespace sentry
