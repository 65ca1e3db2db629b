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
    if (!flags().has(O_NOATIME)) regular_.TouchAccessed();
    return done;
  }
  Result<size_t> WriteAt(IoSrc& src, int64_t offset) override {
    int64_t end = 0;
    return Store(src, flags().has(O_APPEND) ? kAppend : offset, end);
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
  Result<int> HostFdForMapping(bool shared_write) override { return data().HostFd(); }
  // As Linux: tmpfs files count as sealed against sealing.
  Result<int> GetSeals() override { return F_SEAL_SEAL; }
  Status AddSeals(int seals) override { return Errno(EPERM); }

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

class MemfdFile final : public TmpfsFile {
 public:
  MemfdFile(Ref<TmpfsRegular> inode, std::string_view name)
      : TmpfsFile(std::move(inode), OpenFlags(O_RDWR)), name_(name) {}

  Result<int> GetSeals() override {
    const int seals = fcntl(TRY(data().HostFd()), F_GET_SEALS);
    if (seals < 0) return Errno::Last();
    return seals;
  }
  Status AddSeals(int seals) override {
    if (fcntl(TRY(data().HostFd()), F_ADD_SEALS, seals) != 0) return Errno::Last();
    return kOk;
  }
  std::string AnonymousName() const override { return "/memfd:" + name_ + " (deleted)"; }

 private:
  const std::string name_;
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

Result<Ref<File>> CreateMemfd(std::string_view name, uint32_t flags, uint32_t uid, uint32_t gid) {
  constexpr uint32_t kNoExecSeal = 8, kExec = 16;  // MFD_*, newer than the build's headers.
  constexpr size_t kMaxName = 249;
  if ((flags & ~(MFD_CLOEXEC | MFD_ALLOW_SEALING | kNoExecSeal | kExec)) != 0 ||
      (flags & (kNoExecSeal | kExec)) == (kNoExecSeal | kExec) || name.size() > kMaxName) {
    return Errno(EINVAL);
  }
  UniqueFd memfd(memfd_create("memfd", flags | MFD_CLOEXEC));
  if (!memfd.valid()) return Errno::Last();
  TRY(MemfdFs().TakeInode());
  const uint32_t mode = (flags & kNoExecSeal) != 0 ? 0666 : 0777;
  Ref<TmpfsRegular> inode = MakeRef<TmpfsRegular>(
      Ref<Tmpfs>::Share(MemfdFs()), NewNode{.mode = S_IFREG | mode, .uid = uid, .gid = gid});
  inode->data().Adopt(std::move(memfd));
  return MakeRef<MemfdFile>(std::move(inode), name);
}

}  // namespace sentry
