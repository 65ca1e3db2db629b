#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "sentry/fs/goferfs/gofer_inode.h"
#include "sentry/fs/host/host_sync.h"
#include "sentry/mm/io_buffer.h"

namespace sentry {

namespace {

// Reads and writes go to the host's file directly.
class GoferFile final : public SeekableFile {
 public:
  GoferFile(Ref<GoferRegular> inode, OpenFlags flags, Ref<HostDescriptor> host)
      : SeekableFile(inode, flags), regular_(*inode), host_(std::move(host)) {}

  Result<size_t> ReadAt(IoDst& dst, int64_t offset) override;
  Result<size_t> WriteAt(IoSrc& src, int64_t offset) override;
  Result<int64_t> Seek(int64_t offset, int whence) override;
  Status Truncate(uint64_t size) override {
    return Changed(ftruncate(fd(), static_cast<off_t>(size)));
  }
  Status Allocate(int mode, int64_t offset, int64_t length) override {
    return Changed(fallocate(fd(), mode, offset, length));
  }
  Status Sync() override { return SyncOnHost(fd()); }
  Result<int> HostFdForMapping(bool shared_write) override {
    if (shared_write) regular_.DistrustAttributes();
    return fd();
  }

 protected:
  Result<size_t> Append(IoSrc& src, int64_t& end) override;

 private:
  int fd() const { return host_->get(); }
  Status Changed(int result) {
    if (result != 0) return Errno::Last();
    regular_.InvalidateAttributes();
    ClearSetId();
    return kOk;
  }
  Result<int64_t> HostSize() {
    struct stat stat;
    if (fstat(fd(), &stat) != 0) return Errno::Last();
    return stat.st_size;
  }
  Result<size_t> Store(IoSrc& src, int64_t offset);
  // What a large read gets without a copy of the sentry's own; 0: pread(2) tells.
  size_t ReadStraight(IoDst& dst, int64_t offset);

  GoferRegular& regular_;           // Held as inode().
  const Ref<HostDescriptor> host_;  // Others may use it as well.
};

Result<size_t> GoferFile::ReadAt(IoDst& dst, int64_t offset) {
  if (offset < 0) return Errno(EINVAL);
  Result<size_t> direct = size_t{0};
  const auto fill = [&](std::span<std::byte> to) {
    const ssize_t n = pread(fd(), to.data(), to.size(), offset);
    direct = n < 0 ? Result<size_t>(Errno::Last()) : static_cast<size_t>(n);
    return n;
  };
  if (dst.FillInPlace(fill)) return direct;
  size_t done = 0;
  while (dst.remaining() != 0) {
    const size_t straight = ReadStraight(dst, offset + static_cast<int64_t>(done));
    done += straight;
    if (straight != 0) continue;
    [[gnu::uninitialized]] IoBuffer buffer(dst.remaining());
    const size_t want = buffer.bytes().size();
    const ssize_t n = pread(fd(), buffer.bytes().data(), want, offset + static_cast<int64_t>(done));
    if (n < 0 && done == 0) return Errno::Last();
    if (n <= 0) break;
    const size_t got = static_cast<size_t>(n);
    const Result<size_t> copied = dst.CopyOut(buffer.bytes().first(got));
    if (!copied.ok()) return done != 0 ? Result<size_t>(done) : copied;
    done += *copied;
    if (*copied < got || got < want) break;
  }
  return done;
}

size_t GoferFile::ReadStraight(IoDst& dst, int64_t offset) {
  if (dst.remaining() < HostDescriptor::kLarge || !host_->IsMapped(dst.remaining())) return 0;
  const Result<int64_t> size = HostSize();
  if (!size.ok() || offset >= *size) return 0;
  const auto window = host_->Window(static_cast<uint64_t>(*size));
  if (window == nullptr) return 0;
  const int64_t count = std::min<int64_t>(static_cast<int64_t>(dst.remaining()), *size - offset);
  return dst.CopyOutMapped(
      window->bytes().subspan(static_cast<size_t>(offset), static_cast<size_t>(count)));
}

Result<size_t> GoferFile::WriteAt(IoSrc& src, int64_t offset) {
  int64_t end = 0;
  if (offset == kAppend) return Append(src, end);
  if (offset < 0) return Errno(EINVAL);
  return Store(src, offset);
}

Result<size_t> GoferFile::Append(IoSrc& src, int64_t& end) {
  absl::MutexLock lock(&regular_.append_mu());
  end = TRY(HostSize());
  const size_t done = TRY(Store(src, end));
  end += static_cast<int64_t>(done);
  return done;
}

Result<size_t> GoferFile::Store(IoSrc& src, int64_t offset) {
  size_t done = 0;
  while (src.remaining() != 0) {
    [[gnu::uninitialized]] IoBuffer buffer(src.remaining());
    const Result<size_t> copied = src.CopyIn(buffer.bytes());
    if (!copied.ok()) return done != 0 ? Result<size_t>(done) : copied;
    const ssize_t n =
        pwrite(fd(), buffer.bytes().data(), *copied, offset + static_cast<int64_t>(done));
    const Errno error = Errno::Last();
    const size_t stored = n > 0 ? static_cast<size_t>(n) : 0;
    src.Unread(*copied - stored);
    done += stored;
    if (n < 0 && done == 0) return error;
    regular_.InvalidateAttributes();
    ClearSetId();
    if (stored < *copied || *copied < buffer.bytes().size()) break;
  }
  return done;
}

Result<int64_t> GoferFile::Seek(int64_t offset, int whence) {
  if (whence == SEEK_SET || whence == SEEK_CUR) return SeekableFile::Seek(offset, whence);
  absl::MutexLock lock(&position_mu_);
  int64_t target = 0;
  if (whence == SEEK_END) {
    if (__builtin_add_overflow(TRY(HostSize()), offset, &target)) return Errno(EOVERFLOW);
    if (target < 0) return Errno(EINVAL);
  } else {
    if (whence != SEEK_DATA && whence != SEEK_HOLE) return Errno(EINVAL);
    // The host's position of the descriptor means nothing to us: reads and writes name theirs.
    target = lseek(fd(), offset, whence);
    if (target < 0) return Errno::Last();
  }
  set_position(target);
  return target;
}

}  // namespace

Result<UniqueFd> GoferRegular::OpenOnHost(OpenFlags flags) {
  UniqueFd created = tree().TakeCreated(*this);
  // What a file without write permission is mapped from must not be writable.
  if (created.valid() && (flags.raw() & O_ACCMODE) == O_RDWR) return created;
  const int access = flags.writable() ? static_cast<int>(flags.raw() & O_ACCMODE) : O_RDONLY;
  // Mapping a file that may be written needs reading, too.
  Result<UniqueFd> opened = Errno(EACCES);
  // For the owner only.
  if (flags.has(O_NOATIME)) opened = client().Open(node(), access | O_NOATIME);
  if (!opened.ok() && access == O_WRONLY) opened = client().Open(node(), O_RDWR);
  if (!opened.ok()) opened = client().Open(node(), access);
  // The mode given at creation may forbid it; the creator goes on all the same.
  if (!opened.ok() && created.valid()) return created;
  return opened;
}

Result<Ref<File>> GoferRegular::Open(OpenFlags flags) {
  // The overlay's: reading what does not change, and leaving no trace.
  const bool keeps = !tree().shared() && !flags.writable() && flags.has(O_NOATIME);
  Ref<HostDescriptor> host;
  if (keeps) host = tree().open_files().Find(this);
  if (!host) {
    host = MakeRef<HostDescriptor>(TRY(OpenOnHost(flags)));
    if (keeps) tree().open_files().Insert(this, host, 1);
  }
  return MakeRef<GoferFile>(Ref<GoferRegular>::Share(*this), flags, std::move(host));
}

}  // namespace sentry
