#include "sentry/fs/dentry.h"

#include <utility>

#include "sentry/fs/notify.h"

namespace sentry {

namespace {

int NextMountId() {
  static std::atomic<int> next{1};
  return next.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace

Dentry::Dentry(Ref<Dentry> parent, std::string_view name, Ref<Inode> inode, uint32_t mode)
    : type_(static_cast<uint8_t>((mode & S_IFMT) >> 12)),
      caches_lookups_(inode.get() == nullptr || inode->CachesLookups()),
      inode_(std::move(inode)),
      parent_(std::move(parent)),
      name_(name) {}

// Drops the chain of parents without recursion: an application chooses its length. Nobody else can
// see a parent to which this is the only reference: it is not in the table, which would hold it.
Dentry::~Dentry() ABSL_NO_THREAD_SAFETY_ANALYSIS {
  Ref<Dentry> parent = std::move(parent_);
  while (parent && parent->ref_count() == 1) {
    Ref<Dentry> next = std::move(parent->parent_);
    parent = std::move(next);
  }
}

Ref<Dentry> Dentry::parent() const {
  absl::ReaderMutexLock lock(&internal::tree_mu);
  return parent_ ? parent_ : Ref<Dentry>::Share(*const_cast<Dentry*>(this));
}

std::string Dentry::name() const {
  absl::ReaderMutexLock lock(&internal::tree_mu);
  return name_;
}

bool Dentry::IsAncestorOf(const Dentry& other) const {
  absl::ReaderMutexLock lock(&internal::tree_mu);
  return IsAncestorOfLocked(other);
}

bool Dentry::IsAncestorOfLocked(const Dentry& other) const {
  const Dentry* dentry = &other;
  while (dentry != nullptr && dentry != this) dentry = dentry->parent_.get();
  return dentry == this;
}

bool Dentry::unhashed() const {
  absl::ReaderMutexLock lock(&internal::tree_mu);
  return deleted_;
}

Superblock::Superblock(Ref<Dentry> root, std::string fs_type, uint64_t dev)
    : root_(std::move(root)), fs_type_(std::move(fs_type)), dev_(dev) {}

Superblock::~Superblock() {
  if (notify::AnyMarks()) notify::Table::Get().Unmounted(*this);
}

Mount::Mount(Ref<Superblock> superblock, Ref<Dentry> root, std::string source, uint64_t flags)
    : superblock_(std::move(superblock)),
      root_(std::move(root)),
      source_(std::move(source)),
      flags_(flags & kFlags),
      id_(NextMountId()) {}

}  // namespace sentry
