#include "sentry/fs/overlay/overlay_inode.h"

#include <linux/magic.h>
#include <sys/sysmacros.h>

#include <utility>

#include "sentry/fs/overlay/copy_up.h"

namespace sentry {

namespace {

// New files get numbers that no host filesystem hands out.
constexpr uint64_t kFirstIno = uint64_t{1} << 50;

uint32_t NextDev() {
  static std::atomic<unsigned> next{0x400};
  return static_cast<uint32_t>(makedev(0, next.fetch_add(1, std::memory_order_relaxed)));
}

Ref<OverlayInode> MakeInode(Ref<OverlayTree> tree, Ref<Inode> lower, Ref<Inode> upper,
                            const OverlayInode::Identity& identity) {
  switch (identity.type) {
    case S_IFREG:
      return MakeRef<OverlayRegular>(std::move(tree), std::move(lower), std::move(upper), identity);
    case S_IFDIR:
      return MakeRef<OverlayDirectory>(std::move(tree), std::move(lower), std::move(upper),
                                       identity);
    default:
      return MakeRef<OverlayInode>(std::move(tree), std::move(lower), std::move(upper), identity);
  }
}

}  // namespace

Result<Ref<Inode>> Overlay::Create(Ref<Inode> lower, Ref<Inode> upper) {
  const Attributes attributes = TRY(lower->GetAttributes());
  const Ref<OverlayTree> tree = MakeRef<OverlayTree>(std::move(upper), attributes.dev);
  Ref<OverlayInode> root = TRY(tree->ForLower(std::move(lower)));
  tree->set_root(*root);
  return root;
}

OverlayTree::OverlayTree(Ref<Inode> upper, uint64_t lower_dev)
    : upper_(std::move(upper)), lower_dev_(lower_dev), dev_(NextDev()), next_ino_(kFirstIno) {
  devs_[0].store(dev_, std::memory_order_relaxed);
}

uint8_t OverlayTree::IndexOf(uint32_t dev) {
  if (dev == dev_) return 0;
  absl::MutexLock lock(&dev_mu_);
  size_t index = 0;
  while (index < dev_count_ && this->dev(static_cast<uint8_t>(index)) != dev) ++index;
  if (index == devs_.size()) return static_cast<uint8_t>(index - 1);
  if (index == dev_count_) {
    devs_[index].store(dev, std::memory_order_relaxed);
    ++dev_count_;
  }
  return static_cast<uint8_t>(index);
}

Result<Ref<OverlayInode>> OverlayTree::ForLower(Ref<Inode> lower) {
  const Attributes attributes = TRY(lower->GetAttributes());
  absl::MutexLock lock(&mu_);
  const Inode* const key = lower.get();
  const auto known = by_lower_.find(key);
  if (known != by_lower_.end()) {
    if ((*known)->TryAddRef()) return Ref<OverlayInode>::Adopt(*known);
    by_lower_.erase(known);  // Its destructor is under way.
  }
  const uint32_t dev = attributes.dev == lower_dev_ ? dev_ : static_cast<uint32_t>(attributes.dev);
  Ref<OverlayInode> inode =
      MakeInode(Ref<OverlayTree>::Share(*this), std::move(lower), {},
                {.ino = attributes.ino, .dev = dev, .type = attributes.mode & S_IFMT});
  by_lower_.insert(inode.get());
  return inode;
}

Ref<OverlayInode> OverlayTree::ForNew(Ref<Inode> upper, uint32_t mode, uint32_t dev) {
  const uint64_t ino = next_ino_.fetch_add(1, std::memory_order_relaxed);
  return MakeInode(Ref<OverlayTree>::Share(*this), {}, std::move(upper),
                   {.ino = ino, .dev = dev, .type = mode & S_IFMT});
}

void OverlayTree::Pin(OverlayInode& inode) {
  if (IsRoot(inode)) return;
  absl::MutexLock lock(&mu_);
  pinned_.try_emplace(&inode, Ref<OverlayInode>::Share(inode));
}

void OverlayTree::Unpin(const OverlayInode& inode) {
  Ref<OverlayInode> released;
  absl::MutexLock lock(&mu_);
  const auto it = pinned_.find(&inode);
  if (it == pinned_.end()) return;
  released = std::move(it->second);
  pinned_.erase(it);
}

void OverlayTree::UnpinAll() {
  std::vector<Ref<Inode>> released;
  {
    absl::MutexLock lock(&mu_);
    for (auto& [inode, ref] : pinned_) released.push_back(std::move(ref));
    pinned_.clear();
  }
  ReleaseTrees(std::move(released));
}

const Inode* OverlayTree::KeyOf(const OverlayInode* inode) { return inode->lower(); }

void OverlayTree::Drop(const OverlayInode& inode) {
  absl::MutexLock lock(&mu_);
  const auto it = by_lower_.find(KeyOf(&inode));
  if (it != by_lower_.end() && *it == &inode) by_lower_.erase(it);
}

OverlayInode::OverlayInode(Ref<OverlayTree> tree, Ref<Inode> lower, Ref<Inode> upper,
                           const Identity& identity)
    : data_in_upper_(lower.get() == nullptr),
      type_(static_cast<uint8_t>((identity.type & S_IFMT) >> 12)),
      dev_index_(tree->IndexOf(identity.dev)),
      tree_(std::move(tree)),
      lower_(std::move(lower)),
      ino_(identity.ino),
      upper_(upper.Leak()) {}

OverlayInode::~OverlayInode() {
  if (lower_) tree_->Drop(*this);
  if (Inode* const upper = upper_.load(std::memory_order_relaxed)) upper->Release();
}

uint32_t OverlayInode::links() const {
  int64_t base = 0;
  if (lower_) {
    const Result<Attributes> attributes = lower_->GetAttributes();
    base = attributes.ok() ? attributes->nlink : 1;
    // Some filesystems do not count subdirectories; then nor do we.
    if (is_directory() && base < 2) return links_.load() < 0 ? 0 : 1;
  }
  return static_cast<uint32_t>(std::max<int64_t>(base + links_.load(), 0));
}

void OverlayInode::ChangeLinks(int by) {
  links_.fetch_add(by);
  if (!lower_) return;
  if (links() == 0) {
    tree_->Unpin(*this);
  } else {
    tree_->Pin(*this);
  }
}

void OverlayInode::TouchStatus() {
  if (upper() == nullptr && links() == 0) return;
  if (EnsureUpper().ok()) (void)upper()->SetAttributes({});
}

void OverlayInode::ChangeSubdirectories(int by) {
  if (lower_) {
    const Result<Attributes> attributes = lower_->GetAttributes();
    if (!attributes.ok() || attributes->nlink < 2) return;
  }
  ChangeLinks(by);
}

Result<Attributes> OverlayInode::GetAttributes() {
  Inode* const upper = this->upper();
  Attributes attributes = TRY((upper != nullptr ? *upper : *lower_).GetAttributes());
  attributes.dev = dev();
  attributes.ino = ino_;
  if (upper == nullptr && links_.load() == 0) return attributes;
  attributes.nlink = links();
  if (!data_in_upper() && type() == S_IFREG) {
    const Attributes below = TRY(lower_->GetAttributes());
    attributes.size = below.size;
    attributes.blocks = below.blocks;
  }
  return attributes;
}

Status OverlayInode::SetAttributes(const AttributeChange& change) {
  TRY(EnsureUpper());
  if (change.size) TRY(EnsureData(*change.size));
  return upper()->SetAttributes(change);
}

Status OverlayInode::SetXattr(std::string_view name, std::string_view value, int flags) {
  TRY(EnsureUpper());
  return upper()->SetXattr(name, value, flags);
}

Status OverlayInode::RemoveXattr(std::string_view name) {
  TRY(EnsureUpper());
  return upper()->RemoveXattr(name);
}

Result<FilesystemStats> OverlayInode::StatFs() {
  FilesystemStats stats = TRY(tree_->upper().StatFs());
  stats.type = OVERLAYFS_SUPER_MAGIC;
  return stats;
}

Status OverlayInode::EnsureUpper() {
  if (upper() != nullptr) return kOk;
  absl::MutexLock lock(&copy_mu());
  return EnsureUpperLocked();
}

Status OverlayInode::EnsureUpperLocked() {
  if (upper() != nullptr) return kOk;
  Ref<Inode> copy = TRY(CopyAttributesUp(*lower_, tree_->upper()));
  upper_.store(copy.Leak(), std::memory_order_release);
  if (links() != 0) tree_->Pin(*this);
  return kOk;
}

Status OverlayInode::EnsureData(uint64_t size) {
  if (data_in_upper() || type() != S_IFREG) return kOk;
  absl::MutexLock lock(&copy_mu());
  if (data_in_upper()) return kOk;
  TRY(EnsureUpperLocked());
  TRY(CopyDataUp(*lower_, *upper(), size));
  data_in_upper_.store(true, std::memory_order_release);
  return kOk;
}

}  // namespace sentry
