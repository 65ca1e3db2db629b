#include "sentry/fs/vfs/dentry_cache.h"

namespace sentry {

DentryCache::~DentryCache() {
  std::vector<Ref<Dentry>> all;
  {
    absl::MutexLock lock(&internal::tree_mu);
    while (!names_.empty()) all.push_back(Remove(**names_.begin()));
  }
}

Dentry* DentryCache::Find(const Dentry& parent, std::string_view name) const {
  const auto it = names_.find(Key{&parent, name});
  if (it == names_.end()) return nullptr;
  Dentry* dentry = *it;
  // Reading first keeps the line shared between cores.
  if (!dentry->used_.load(std::memory_order_relaxed)) {
    dentry->used_.store(true, std::memory_order_relaxed);
  }
  return dentry;
}

void DentryCache::Insert(Dentry& dentry, std::vector<Ref<Dentry>>& evicted) {
  dentry.AddRef();
  dentry.hashed_ = true;
  ++dentry.parent_->children_;
  names_.insert(&dentry);
  if (hand_ == nullptr) {
    dentry.next_ = dentry.previous_ = hand_ = &dentry;
  } else {
    // Just behind the hand: the last to be looked at.
    dentry.next_ = hand_;
    dentry.previous_ = hand_->previous_;
    dentry.previous_->next_ = &dentry;
    hand_->previous_ = &dentry;
  }
  // Two for one brings an overfull cache back; the bound on steps keeps the lock short.
  if (names_.size() > kCapacity) Shrink(2, 64, evicted);
}

Ref<Dentry> DentryCache::Remove(Dentry& dentry) {
  names_.erase(&dentry);
  dentry.hashed_ = false;
  --dentry.parent_->children_;
  if (dentry.next_ == &dentry) {
    hand_ = nullptr;
  } else {
    if (hand_ == &dentry) hand_ = dentry.next_;
    dentry.previous_->next_ = dentry.next_;
    dentry.next_->previous_ = dentry.previous_;
  }
  dentry.next_ = dentry.previous_ = nullptr;
  return Ref<Dentry>::Adopt(&dentry);
}

void DentryCache::Shrink(size_t count, size_t steps, std::vector<Ref<Dentry>>& evicted) {
  for (; count != 0 && steps != 0 && hand_ != nullptr; --steps) {
    Dentry* dentry = hand_;
    hand_ = dentry->next_;
    // New references come from the table, under the lock that is held, or from existing ones.
    if (dentry->ref_count() != 1 || dentry->children_ != 0 || dentry->mounts_ != 0) continue;
    if (dentry->used_.exchange(false, std::memory_order_relaxed)) continue;
    evicted.push_back(Remove(*dentry));
    --count;
  }
}

}  // namespace sentry
