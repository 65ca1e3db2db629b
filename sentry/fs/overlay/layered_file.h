// Open regular files of overlays: those of the layer that has the data.
#ifndef SENTRY_FS_OVERLAY_LAYERED_FILE_H_
#define SENTRY_FS_OVERLAY_LAYERED_FILE_H_

#include <atomic>
#include <utility>

#include "sentry/fs/file.h"

namespace sentry {

// Has the position and the flags; shows the overlay's inode.
class LayeredFile : public SeekableFile {
 public:
  LayeredFile(Ref<Inode> inode, OpenFlags flags, Ref<File> inner)
      : SeekableFile(std::move(inode), flags), first_(std::move(inner)), inner_(first_.get()) {}

  Result<size_t> ReadAt(IoDst& dst, int64_t offset) override {
    if (dst.remaining() == 0) return size_t{0};  // No access, unlike on a tmpfs.
    const bool keeps = access_time() == AccessTime::kKept;
    const OpenFlags had = inner().flags();
    if (keeps != had.has(O_NOATIME)) {
      inner().SetStatusFlags(keeps ? had.With(O_NOATIME) : had.Without(O_NOATIME));
    }
    return inner().ReadAt(dst, offset);
  }
  Result<size_t> WriteAt(IoSrc& src, int64_t offset) override {
    const size_t done = TRY(inner().WriteAt(src, offset));
    ClearSetId();
    return done;
  }
  Result<int64_t> Seek(int64_t offset, int whence) override {
    if (whence == SEEK_SET || whence == SEEK_CUR) return SeekableFile::Seek(offset, whence);
    absl::MutexLock lock(&position_mu_);
    const int64_t target = TRY(inner().Seek(offset, whence));
    set_position(target);
    return target;
  }
  Status Truncate(uint64_t size) override {
    TRY(inner().Truncate(size));
    ClearSetId();
    return kOk;
  }
  Status Allocate(int mode, int64_t offset, int64_t length) override {
    return inner().Allocate(mode, offset, length);
  }
  Status Sync() override { return inner().Sync(); }
  Result<int> HostFdForMapping(bool shared_write) override {
    return inner().HostFdForMapping(shared_write);
  }

 protected:
  Result<size_t> Append(IoSrc& src, int64_t& end) override {
    inner().SetStatusFlags(flags());
    const size_t done = TRY(inner().Write(src));
    end = TRY(inner().Seek(0, SEEK_CUR));
    ClearSetId();
    return done;
  }

  // Once.
  void ReplaceInner(Ref<File> file) {
    second_ = std::move(file);
    inner_.store(second_.get(), std::memory_order_release);
  }

 private:
  File& inner() const { return *inner_.load(std::memory_order_acquire); }

  const Ref<File> first_;
  Ref<File> second_;
  std::atomic<File*> inner_;  // One of both.
};

}  // namespace sentry

#endif  // SENTRY_FS_OVERLAY_LAYERED_FILE_H_
