// Open regular files of tmpfs, and those of memfd_create(2).
#include <linux/memfd.h>
#include <sys/mman.h>

#include <string>
#include <utility>

#include "sentry/fs/tmpfs/tmpfs_inode.h"

namespace sentry {

Ref<Tmpfs> NewTmpfs(const TmpfsOptions& options);

namespace {

class TmpfsFile : public SeekableFile {
 public:
  TmpfsFile(Ref<TmpfsRegular> inode, OpenFlags flags)
      : SeekableFile(inode, flags), regular_(*inode) {}

  Result<size_t> ReadAt(IoDst& dst, int64_t offset) override {
    const size_t done = TRY(data().Read(dst, offset));
    regular_.TouchAccessed(access_time());
    return done;
  }
  Result<size_t> WriteAt(IoSrc& src, int64_t offset) override {
    int64_t end = 0;
    return Store(src, offset, end);
  }
  Result<int64_t> Seek(int64_t offset, int whence) override {
    if (whence != SEEK_DATA && whence != SEEK_HOLE) return SeekableFile::Seek(offset, whence);
    absl::MutexLock lock(&position_mu_);
    const int64_t found = TRY(data().SeekExtent(offset, whence));
    set_position(found);
    return found;
  }
  Status Truncate(uint64_t size) override {
    TRY(data().Truncate(size));
    Modified();
    return kOk;
  }
  Status Allocate(int mode, int64_t offset, int64_t length) override {
    TRY(data().Allocate(mode, offset, length));
    Modified();
    return kOk;
  }
  Status Sync() override { return kOk; }
  Result<int> HostFdForMapping(bool shared_write) override {
    return shared_write ? data().HostFdForSharing() : data().HostFd();
  }
  Result<int> GetSeals() override { return regular_.Seals(); }
  Status AddSeals(int seals) override {
    if (!flags().writable()) return Errno(EPERM);
    return regular_.AddSeals(seals);
  }
  std::string AnonymousName() const override {
    const std::string* name = regular_.memfd_name();
    return name == nullptr ? SeekableFile::AnonymousName() : "/memfd:" + *name + " (deleted)";
  }

 protected:
  Result<size_t> Append(IoSrc& src, int64_t& end) override { return Store(src, kAppend, end); }
  FileData& data() { return regular_.data(); }

 private:
  void Modified() {
    regular_.TouchModified();
    ClearSetId();
  }
  Result<size_t> Store(IoSrc& src, int64_t offset, int64_t& end) {
    const size_t done = TRY(data().Write(src, offset, end));
    if (done != 0) Modified();
    return done;
  }

  TmpfsRegular& regular_;  // Held as inode().
};

// All memfds are on one instance, as on the kernel's internal mount, without a limit of their own.
Tmpfs& MemfdFs() {
  static const Ref<Tmpfs> fs = NewTmpfs({.size = uint64_t{1} << 62, .inodes = uint64_t{1} << 62});
  return *fs;
}

}  // namespace

Result<Ref<File>> TmpfsRegular::Open(OpenFlags flags) {
  return MakeRef<TmpfsFile>(Ref<TmpfsRegular>::Share(*this), flags);
}

Result<int> TmpfsRegular::Seals() {
  if (!memfd_name_) return F_SEAL_SEAL;  // As Linux: tmpfs files count as sealed against sealing.
  const int seals = fcntl(TRY(data_.HostFd()), F_GET_SEALS);
  if (seals < 0) return Errno::Last();
  return seals | (exec_sealed_.load(std::memory_order_relaxed) ? kSealExec : 0);
}

Status TmpfsRegular::AddSeals(int seals) {
  constexpr int kSealFutureWrite = 0x10;
  constexpr int kKnown =
      F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | kSealFutureWrite | kSealExec;
  if ((seals & ~kKnown) != 0) return Errno(EINVAL);
  if (!memfd_name_) return Errno(EPERM);
  // The mode is ours, so this seal is as well; what may be executed is sealed as a whole (W^X).
  const bool exec = (seals & kSealExec) != 0;
  seals &= ~kSealExec;
  if (exec && IsExecutable()) {
    seals |= F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | kSealFutureWrite;
  }
  if (fcntl(TRY(data_.HostFd()), F_ADD_SEALS, seals) != 0) return Errno::Last();
  if (exec) exec_sealed_.store(true, std::memory_order_relaxed);
  return kOk;
}

Status TmpfsRegular::SetAttributes(const AttributeChange& change) {
  if (change.mode && exec_sealed_.load(std::memory_order_relaxed)) {
    const uint32_t mode = TRY(GetAttributes()).mode;
    if (((mode ^ *change.mode) & 0111) != 0) return Errno(EPERM);
  }
  return TmpfsInode::SetAttributes(change);
}

void TmpfsRegular::BecomeMemfd(std::string_view name, UniqueFd memfd, bool exec_sealed) {
  memfd_name_ = std::make_unique<const std::string>(name);
  exec_sealed_.store(exec_sealed, std::memory_order_relaxed);
  data_.Adopt(std::move(memfd));
}

Result<Ref<File>> CreateMemfd(std::string_view name, uint32_t flags, uint32_t uid, uint32_t gid) {
  constexpr uint32_t kNoExecSeal = 8, kExec = 16;  // MFD_*, newer than the build's headers.
  constexpr uint32_t kHugeSize = uint32_t{0x3f} << 26;
  constexpr uint32_t kHost = MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB;
  constexpr size_t kMaxName = 249;
  const uint32_t sizes = (flags & MFD_HUGETLB) != 0 ? kHugeSize : 0;
  if ((flags & ~(kHost | kNoExecSeal | kExec | sizes)) != 0 ||
      (flags & (kNoExecSeal | kExec)) == (kNoExecSeal | kExec) || name.size() > kMaxName) {
    return Errno(EINVAL);
  }
  const bool exec_sealed = (flags & kNoExecSeal) != 0;
  const uint32_t sealing = exec_sealed ? MFD_ALLOW_SEALING : 0;
  UniqueFd memfd(memfd_create("memfd", (flags & (kHost | sizes)) | MFD_CLOEXEC | sealing));
  if (!memfd.valid()) return Errno::Last();
  TRY(MemfdFs().TakeInode());
  const uint32_t mode = exec_sealed ? 0666 : 0777;
  Ref<TmpfsRegular> inode = MakeRef<TmpfsRegular>(
      Ref<Tmpfs>::Share(MemfdFs()), NewNode{.mode = S_IFREG | mode, .uid = uid, .gid = gid});
  inode->BecomeMemfd(name, std::move(memfd), exec_sealed);
  constexpr uint32_t kLargeFile = 0100000;  // glibc's O_LARGEFILE is 0.
  return inode->Open(OpenFlags(O_RDWR | kLargeFile));
}

}  // namespace sentry
