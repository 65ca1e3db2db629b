#include "sentry/fs/vfs/path_errors.h"

#include <algorithm>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "absl/hash/hash.h"
#include "sentry/fs/vfs.h"
#include "sentry/fs/vfs/dentry_cache.h"
#include "sentry/fs/vfs/mount_table.h"

namespace sentry {

size_t PathErrors::BitOf(const Dentry& directory) { return absl::HashOf(&directory) % kBits; }

void PathErrors::Keep(const Ref<platform::KnownErrors>& program, const Path& root,
                      const platform::KnownError& known,
                      std::span<const Dentry* const> directories) {
  Ref<platform::KnownErrors> displaced;
  absl::MutexLock lock(&mu_);
  auto it = std::ranges::find_if(
      programs_, [&](const Program& other) { return other.errors.get() == program.get(); });
  if (it == programs_.end()) {
    if (programs_.size() == kMostPrograms) {
      programs_.front().errors->Forget();
      displaced = std::move(programs_.front().errors);
      programs_.erase(programs_.begin());
    }
    it = programs_.insert(programs_.end(), Program{program, root.mount.get(), root.dentry.get()});
    any_.store(true, std::memory_order_relaxed);
  }
  if (it->mount != root.mount.get() || it->dentry != root.dentry.get()) {
    program->Close();
    return;
  }
  for (const Dentry* directory : directories) {
    const size_t bit = BitOf(*directory);
    it->directories[bit / 64] |= uint64_t{1} << bit % 64;
  }
  program->Keep(known);
}

void PathErrors::Changed(const Dentry& directory) { ForgetIf(&directory); }

void PathErrors::MountsChanged() { ForgetIf(nullptr); }

void PathErrors::ForgetIf(const Dentry* directory) {
  // Who sets it holds internal::tree_mu, too.
  if (!any_.load(std::memory_order_relaxed)) return;
  const size_t bit = directory != nullptr ? BitOf(*directory) : 0;
  absl::MutexLock lock(&mu_);
  std::erase_if(programs_, [&](const Program& program) {
    const bool searched = (program.directories[bit / 64] >> bit % 64 & 1) != 0;
    if (directory != nullptr && !searched) return false;
    program.errors->Forget();
    return true;
  });
  any_.store(!programs_.empty(), std::memory_order_relaxed);
}

// A walk that only goes where the cache knows everything and anybody may search, so that it ends
// the same for all who start at this root.
bool Vfs::KeepError(const Ref<platform::KnownErrors>& program, const Path& root,
                    const platform::KnownError& known) {
  absl::InlinedVector<const Dentry*, 16> directories;
  std::string_view rest = known.path;
  if (!rest.starts_with('/') || !root.mount || !root.dentry) return false;
  absl::ReaderMutexLock lock(&internal::tree_mu);
  const Mount* mount = root.mount.get();
  const Dentry* dentry = root.dentry.get();
  for (;;) {
    rest.remove_prefix(std::min(rest.find_first_not_of('/'), rest.size()));
    if (rest.empty()) break;
    const std::string_view name = rest.substr(0, rest.find('/'));
    rest.remove_prefix(name.size());
    if (!dentry->is_directory() || !dentry->caches_lookups_ || name == ".." ||
        !dentry->inode().AnyoneMaySearch()) {
      return false;
    }
    if (name == ".") continue;
    directories.push_back(dentry);
    dentry = names_->Find(*dentry, name);
    if (dentry == nullptr) return false;
    if (dentry->negative()) {
      if (known.error == -ENOENT) errors_->Keep(program, root, known, directories);
      return known.error == -ENOENT;
    }
    if (dentry->type() == S_IFLNK) return false;
    while (dentry->mounts_ != 0) {
      const Mount* const mounted = MountedOn(*mount, *dentry);
      if (mounted == nullptr) break;
      mount = mounted;
      dentry = mounted->root_.get();
    }
  }
  // It is there: only that it is no symbolic link can be kept.
  const bool slash = known.path.ends_with('/') && !dentry->is_directory();
  if (known.error != -EINVAL || slash) return false;
  errors_->Keep(program, root, known, directories);
  return true;
}

void Vfs::ForgetErrorsBelow(const Dentry& directory) {
  absl::WriterMutexLock lock(&internal::tree_mu);
  errors_->Changed(directory);
}

}  // namespace sentry
