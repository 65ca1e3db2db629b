// Open regular files of an overlay: those of the layer that has the data.
#include <utility>

#include "sentry/fs/overlay/overlay_inode.h"

namespace sentry {

namespace {

// Has the position and the flags; shows the overlay's inode. One opened for reading before the file
// was copied up goes on reading the lower file.
class OverlayFile final : public SeekableFile {
 public:
  OverlayFile(Ref<OverlayRegular> inode, OpenFlags flags, Ref<File> inner)
      : SeekableFile(std::move(inode), flags), inner_(std::move(inner)) {}

  Result<size_t> ReadAt(IoDst& dst, int64_t offset) override {
    if (dst.remaining() == 0) return size_t{0};  // No access, unlike on a tmpfs.
    const bool keeps = access_time() == AccessTime::kKept;
    const OpenFlags inner = inner_->flags();
    if (keeps != inner.has(O_NOATIME)) {
      inner_->SetStatusFlags(keeps ? inner.With(O_NOATIME) : inner.Without(O_NOATIME));
    }
    return inner_->ReadAt(dst, offset);
  }
  Result<size_t> WriteAt(IoSrc& src, int64_t offset) override {
    const size_t done = TRY(inner_->WriteAt(src, flags().has(O_APPEND) ? kAppend : offset));
    ClearSetId();
    return done;
  }
  Result<int64_t> Seek(int64_t offset, int whence) override {
    if (whence == SEEK_SET || whence == SEEK_CUR) return SeekableFile::Seek(offset, whence);
    absl::MutexLock lock(&position_mu_);
    const int64_t target = TRY(inner_->Seek(offset, whence));
    set_position(target);
    return target;
  }
  Status Truncate(uint64_t size) override {
    TRY(inner_->Truncate(size));
    ClearSetId();
    return kOk;
  }
  Status Allocate(int mode, int64_t offset, int64_t length) override {
    return inner_->Allocate(mode, offset, length);
  }
  Status Sync() override { return kOk; }  // Nothing outlives the sandbox.
  Result<int> HostFdForMapping(bool shared_write) override {
    return inner_->HostFdForMapping(shared_write);
  }

 protected:
  Result<size_t> Append(IoSrc& src, int64_t& end) override {
    inner_->SetStatusFlags(flags());
    const size_t done = TRY(inner_->Write(src));
    end = TRY(inner_->Seek(0, SEEK_CUR));
    ClearSetId();
    return done;
  }

 private:
  const Ref<File> inner_;
};

}  // namespace

Result<Ref<File>> OverlayRegular::Open(OpenFlags flags) {
  if (flags.writable()) TRY(EnsureData(UINT64_MAX));
  // Reading leaves no trace in the tree below.
  Ref<File> inner =
      TRY(data_in_upper() ? upper()->Open(flags) : lower()->Open(flags.With(O_NOATIME)));
  return MakeRef<OverlayFile>(Ref<OverlayRegular>::Share(*this), flags, std::move(inner));
}

}  // namespace sentry
