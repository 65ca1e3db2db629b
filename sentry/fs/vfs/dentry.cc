#include "sentry/fs/dentry.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "sentry/fs/handles.h"
#include "sentry/fs/notify.h"

namespace sentry {

namespace {

int NextMountId() {
  static std::atomic<int> next{1};
  return next.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace

Ref<Dentry> Dentry::Make(Ref<Dentry> parent, std::string_view name, Ref<Inode> inode,
                         uint32_t mode) {
  const size_t rounded = (name.size() + kRoomUnit - 1) / kRoomUnit * kRoomUnit;
  const size_t room = std::clamp(rounded, kLeastRoom, kMostRoom);
  void* const memory = Slab::Allocate(sizeof(Dentry) - kLeastRoom + room);
  return Ref<Dentry>::Adopt(::new (memory)
                                Dentry(std::move(parent), name, std::move(inode), mode, room));
}

// Nobody else has it yet.
Dentry::Dentry(Ref<Dentry> parent, std::string_view name, Ref<Inode> inode, uint32_t mode,
               size_t room) ABSL_NO_THREAD_SAFETY_ANALYSIS
    : type_(static_cast<uint8_t>((mode & S_IFMT) >> 12)),
      caches_lookups_(inode.get() == nullptr || inode->CachesLookups()),
      room_(static_cast<uint8_t>(room / kRoomUnit)),
      inode_(std::move(inode)),
      parent_(std::move(parent)) {
  SetName(name);
}

std::string_view Dentry::name_text() const {
  const char* text = &name_[0];
  if (elsewhere_) std::memcpy(&text, name_, sizeof(text));
  return {text, name_size_};
}

void Dentry::SetName(std::string_view name) {
  FreeName();
  name = name.substr(0, UINT16_MAX);  // Only what is shown of files without a name is as long.
  char* text = &name_[0];
  if (name.size() > size_t{room_} * kRoomUnit) {
    text = new char[name.size()];
    std::memcpy(name_, &text, sizeof(text));
    elsewhere_ = true;
  }
  std::memcpy(text, name.data(), name.size());
  name_size_ = static_cast<uint16_t>(name.size());
}

void Dentry::FreeName() {
  if (!elsewhere_) return;
  char* text = nullptr;
  std::memcpy(&text, name_, sizeof(text));
  delete[] text;
  elsewhere_ = false;
}

// Drops the chain of parents without recursion: an application chooses its length. Nobody else can
// see a parent to which this is the only reference: it is not in the table, which would hold it.
Dentry::~Dentry() ABSL_NO_THREAD_SAFETY_ANALYSIS {
  FreeName();
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
  return std::string(name_text());
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
  HandleTable::Get().Unmounted(*this);
}

Mount::Mount(Ref<Superblock> superblock, Ref<Dentry> root, std::string source, uint64_t flags)
    : superblock_(std::move(superblock)),
      root_(std::move(root)),
      source_(std::move(source)),
      flags_(flags & kFlags),
      id_(NextMountId()) {}

}  // namespace sentry
