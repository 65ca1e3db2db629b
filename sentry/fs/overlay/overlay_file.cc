// Open regular files of the overlay that a sandbox runs on.
#include <utility>

#include "sentry/fs/overlay/layered_file.h"
#include "sentry/fs/overlay/overlay_inode.h"

namespace sentry {

namespace {

class OverlayFile final : public LayeredFile {
 public:
  using LayeredFile::LayeredFile;
  Status Sync() override { return kOk; }  // Nothing outlives the sandbox.
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
