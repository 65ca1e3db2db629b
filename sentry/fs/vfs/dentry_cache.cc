#include "sentry/fs/vfs/dentry_cache.h"

#include <algorithm>

#include "absl/hash/hash.h"
#include "absl/strings/string_view.h"

namespace sentry {

size_t DentryCache::HashOf(const Dentry* parent, std::string_view name) {
  return absl::HashOf(parent, absl::string_view(name.data(), name.size()));
}

DentryCache::~DentryCache() {
  std::vector<Ref<Dentry>> all;
  {
    absl::MutexLock lock(&internal::tree_mu);
    for (Dentry*& bucket : buckets_) {
      while (bucket != nullptr) all.push_back(Unlink(&bucket));
    }
  }
}

Dentry* DentryCache::Find(const Dentry& parent, std::string_view name) const {
  if (size_ == 0) return nullptr;
  Dentry* dentry = buckets_[HashOf(&parent, name) & (buckets_.size() - 1)];
  while (dentry != nullptr && (dentry->parent_.get() != &parent || dentry->name_text() != name)) {
    dentry = dentry->next_;
  }
  // Reading first keeps the line shared between cores.
  if (dentry != nullptr && !dentry->used_.load(std::memory_order_relaxed)) {
    dentry->used_.store(true, std::memory_order_relaxed);
  }
  return dentry;
}

void DentryCache::Insert(Dentry& dentry, std::vector<Ref<Dentry>>& evicted) {
  // Two names in a bucket on average, at most.
  if (size_ >= 2 * buckets_.size()) Rehash(std::max(2 * buckets_.size(), kLeastBuckets));
  dentry.AddRef();
  dentry.hashed_ = true;
  ++dentry.parent_->children_;
  const size_t hash = HashOf(dentry);
  Dentry*& bucket = buckets_[hash & (buckets_.size() - 1)];
  dentry.next_ = bucket;
  bucket = &dentry;
  ++size_;
  bytes_ += CostOf(dentry);
  Inserted(hash, CostOf(dentry));
  // Two for one brings an overfull cache back; the bound on steps keeps the lock short.
  if (bytes_ > limit_) Shrink(2, 64, evicted);
}

Ref<Dentry> DentryCache::Unlink(Dentry** link) {
  Dentry* const dentry = *link;
  errors_.Changed(*dentry->parent_);
  *link = dentry->next_;
  dentry->next_ = nullptr;
  dentry->hashed_ = false;
  --dentry->parent_->children_;
  --size_;
  bytes_ -= CostOf(*dentry);
  return Ref<Dentry>::Adopt(dentry);
}

Ref<Dentry> DentryCache::Remove(Dentry& dentry) {
  Dentry** link = &buckets_[HashOf(dentry) & (buckets_.size() - 1)];
  while (*link != &dentry) link = &(*link)->next_;
  return Unlink(link);
}

void DentryCache::Shrink(size_t count, size_t steps, std::vector<Ref<Dentry>>& evicted) {
  while (count > 0 && steps > 0 && size_ > 0) {
    hand_ = (hand_ + 1) & (buckets_.size() - 1);
    --steps;
    for (Dentry** link = &buckets_[hand_]; *link != nullptr && count > 0;) {
      Dentry& dentry = **link;
      if (steps > 0) --steps;
      // New references come from the table, under the lock that is held, or from existing ones.
      const bool busy = dentry.ref_count() != 1 || dentry.children_ != 0 || dentry.mounts_ != 0;
      if (busy || dentry.used_.exchange(false, std::memory_order_relaxed)) {
        link = &dentry.next_;
        continue;
      }
      Evicted(dentry);
      evicted.push_back(Unlink(link));
      --count;
    }
  }
}

void DentryCache::Compact() {
  size_t buckets = buckets_.size();
  while (buckets > kLeastBuckets && size_ < buckets / 4) buckets /= 2;
  if (buckets != buckets_.size()) Rehash(buckets);
  ghosts_ = {};
  limit_ = kLeastBytes;
}

void DentryCache::Rehash(size_t buckets) {
  std::vector<Dentry*> old(buckets);
  old.swap(buckets_);
  for (Dentry* dentry : old) {
    while (dentry != nullptr) {
      Dentry* const next = dentry->next_;
      Dentry*& bucket = buckets_[HashOf(*dentry) & (buckets - 1)];
      dentry->next_ = bucket;
      bucket = dentry;
      dentry = next;
    }
  }
  hand_ &= buckets - 1;
}

void DentryCache::Evicted(const Dentry& dentry) {
  if (ghosts_.empty()) ghosts_.resize(kGhosts);
  const size_t hash = HashOf(dentry);
  ghosts_[hash % kGhosts] = GhostOf(hash);
}

void DentryCache::Inserted(size_t hash, size_t cost) {
  if (ghosts_.empty()) return;
  Ghost& ghost = ghosts_[hash % kGhosts];
  if (ghost == GhostOf(hash)) {
    ghost = 0;
    limit_ = std::min(limit_ + 8 * cost, kMostBytes);
  } else {
    limit_ = std::max(limit_ - cost / 2, kLeastBytes);
  }
}

}  // namespace sentry
