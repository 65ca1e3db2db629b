#include "sentry/fs/tmpfs/tmpfs_inode.h"

#include <linux/xattr.h>

#include <utility>

namespace sentry {

TmpfsInode::TmpfsInode(Ref<Tmpfs> fs, const NewNode& node)
    : fs_(std::move(fs)),
      ino_(fs_->NextIno()),
      rdev_(node.rdev),
      mode_(node.mode),
      uid_(node.uid),
      gid_(node.gid),
      atime_(FileTime()),
      mtime_(atime_),
      ctime_(atime_),
      btime_(atime_) {}

Result<Attributes> TmpfsInode::GetAttributes() {
  Attributes a;
  a.dev = fs_->dev();
  a.ino = ino_;
  a.rdev = rdev_;
  a.size = Size();
  a.blocks = Blocks();
  a.mode = mode_.load(std::memory_order_relaxed);
  a.btime = btime_;
  absl::MutexLock lock(&mu_);
  a.nlink = nlink_;
  a.uid = uid_;
  a.gid = gid_;
  a.atime = atime_;
  a.mtime = mtime_;
  a.ctime = ctime_;
  return a;
}

Status TmpfsInode::SetAttributes(const AttributeChange& change) {
  if (change.size) TRY(SetSize(*change.size));
  absl::MutexLock lock(&mu_);
  ctime_ = FileTime();
  if (change.size) mtime_ = ctime_;
  if (change.mode) {
    const uint32_t type = mode_.load(std::memory_order_relaxed) & S_IFMT;
    mode_.store(type | (*change.mode & 07777), std::memory_order_relaxed);
  }
  if (change.uid) uid_ = *change.uid;
  if (change.gid) gid_ = *change.gid;
  if (change.atime) atime_ = *change.atime;
  if (change.mtime) mtime_ = *change.mtime;
  return kOk;
}

void TmpfsInode::ChangeLinks(int by) {
  absl::MutexLock lock(&mu_);
  nlink_ = static_cast<uint32_t>(static_cast<int>(nlink_) + by);
  ctime_ = FileTime();
}

void TmpfsInode::TouchAccessed(File::AccessTime how) {
  if (how == File::AccessTime::kKept) return;
  constexpr int64_t kDay = 24 * 60 * 60;
  const timespec now = FileTime();
  absl::MutexLock lock(&mu_);
  const auto later = [](const timespec& a, const timespec& b) {
    return a.tv_sec != b.tv_sec ? a.tv_sec > b.tv_sec : a.tv_nsec > b.tv_nsec;
  };
  // relatime, as Linux mounts by default.
  if (how == File::AccessTime::kRelative && later(atime_, mtime_) && later(atime_, ctime_) &&
      now.tv_sec - atime_.tv_sec < kDay)
    return;
  atime_ = now;
}

void TmpfsInode::TouchModified() {
  absl::MutexLock lock(&mu_);
  mtime_ = ctime_ = FileTime();
}

Result<std::string> TmpfsInode::GetXattr(std::string_view name) {
  absl::MutexLock lock(&mu_);
  if (xattrs_ == nullptr) return Errno(ENODATA);
  const auto it = xattrs_->find(name);
  if (it == xattrs_->end()) return Errno(ENODATA);
  return it->second;
}

Status TmpfsInode::SetXattr(std::string_view name, std::string_view value, int flags) {
  if (name.starts_with(XATTR_SYSTEM_PREFIX)) return Errno(EOPNOTSUPP);
  absl::MutexLock lock(&mu_);
  if (xattrs_ == nullptr) xattrs_ = std::make_unique<Xattrs>();
  const auto it = xattrs_->find(name);
  if (it == xattrs_->end() && (flags & XATTR_REPLACE) != 0) return Errno(ENODATA);
  if (it != xattrs_->end() && (flags & XATTR_CREATE) != 0) return Errno(EEXIST);
  size_t bytes = name.size() + value.size();
  for (const auto& [other, content] : *xattrs_) {
    if (other != name) bytes += other.size() + content.size();
  }
  if (bytes > kMaxXattrBytes) return Errno(ENOSPC);
  if (it == xattrs_->end()) {
    xattrs_->emplace(name, value);
  } else {
    it->second = value;
  }
  ctime_ = FileTime();
  return kOk;
}

Status TmpfsInode::RemoveXattr(std::string_view name) {
  if (name.starts_with(XATTR_SYSTEM_PREFIX)) return Errno(EOPNOTSUPP);
  absl::MutexLock lock(&mu_);
  if (xattrs_ == nullptr) return Errno(ENODATA);
  const auto it = xattrs_->find(name);
  if (it == xattrs_->end()) return Errno(ENODATA);
  xattrs_->erase(it);
  ctime_ = FileTime();
  return kOk;
}

Result<std::vector<std::string>> TmpfsInode::ListXattr() {
  std::vector<std::string> names;
  absl::MutexLock lock(&mu_);
  if (xattrs_ == nullptr) return names;
  for (const auto& [name, value] : *xattrs_) names.push_back(name);
  return names;
}

}  // namespace sentry
