#include "syscalls/overlay_mount.h"

#include <sys/mount.h>

#include <utility>

#include "sentry/fs/overlayfs/overlayfs.h"
#include "syscalls/common.h"
#include "syscalls/mount.h"

namespace syscalls {
namespace {

using sentry::MountNamespace;
using sentry::OverlayfsLayers;

Result<Path> FindDirectory(Task& task, const std::string& name) {
  Path path = TRY(task.vfs().Walk(task.walk_context(), name, {}));
  if (!path.dentry->is_directory()) return Errno(EINVAL);
  return path;
}

bool Overlap(const Path& a, const Path& b) {
  return a.dentry->IsAncestorOf(*b.dentry) || b.dentry->IsAncestorOf(*a.dentry);
}

// A mount of its own for a layer, without what is mounted on it: nobody can take it away. It shows
// the whole of `path`'s, as Linux lets the upper and the working directory share one.
Result<Ref<sentry::Mount>> CloneMount(Task& task, const Path& path, OverlayfsLayers& layers) {
  const Ref<MountNamespace> ns = TRY(MountsOf(task));
  Ref<MountNamespace> holder;
  Path clone = TRY(task.vfs().CloneDetached(*ns, {path.mount, path.mount->root()},
                                            /*recursive=*/false, holder, /*is_private=*/true));
  layers.holders.push_back(std::move(holder));
  return std::move(clone.mount);
}

Status AddUpper(Task& task, const sentry::OverlayfsOptions& options, OverlayfsLayers& layers) {
  const Path upper = TRY(FindDirectory(task, options.upper));
  const Path work = TRY(FindDirectory(task, options.work));
  if (upper.mount->read_only()) return Errno(EINVAL);
  if (upper.mount != work.mount || Overlap(upper, work)) return Errno(EINVAL);
  const Ref<sentry::Mount> mount = TRY(CloneMount(task, upper, layers));
  layers.upper = Path{mount, upper.dentry};
  layers.work = Path{mount, work.dentry};
  return kOk;
}

Status AddLower(Task& task, const sentry::OverlayfsOptions& options, OverlayfsLayers& layers) {
  for (const std::string& name : options.lower) {
    const Path lower = TRY(FindDirectory(task, name));
    const Ref<sentry::Mount> mount = TRY(CloneMount(task, lower, layers));
    mount->set_flags(mount->flags() | MS_RDONLY | MS_NOATIME);
    layers.lower.push_back({mount, lower.dentry});
  }
  return kOk;
}

// ovl_check_layer() of Linux: a lower layer lies in no other. The upper one may lie in a lower one.
Status CheckOverlaps(const OverlayfsLayers& layers) {
  const auto within = [](const Path& lower, const Path& other) {
    return other.dentry->IsAncestorOf(*lower.dentry);
  };
  for (size_t i = 0; i < layers.lower.size(); ++i) {
    const Path& lower = layers.lower[i];
    if (layers.upper && within(lower, *layers.upper)) return Errno(ELOOP);
    if (layers.work && within(lower, *layers.work)) return Errno(ELOOP);
    for (size_t j = 0; j < layers.lower.size(); ++j) {
      if (i != j && within(lower, layers.lower[j])) return Errno(ELOOP);
    }
  }
  return kOk;
}

}  // namespace

Result<Ref<sentry::Inode>> CreateOverlay(const FilesystemRequest& request) {
  const sentry::OverlayfsOptions options = TRY(sentry::ParseOverlayfsOptions(request.options));
  OverlayfsLayers layers;
  layers.user_xattr = options.user_xattr;
  layers.shown = options.shown;
  TRY(AddLower(request.task, options, layers));
  if (!options.upper.empty()) TRY(AddUpper(request.task, options, layers));
  TRY(CheckOverlaps(layers));
  return sentry::CreateOverlayfs(request.task.vfs(), request.creds, std::move(layers));
}

}  // namespace syscalls
