// What was used last, up to a given cost.
#ifndef BASE_LRU_CACHE_H_
#define BASE_LRU_CACHE_H_

#include <cstddef>
#include <list>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"

// Values that are cheap to copy (references), each at a cost that the caller knows, for instance in
// bytes; the least recently used go when the sum exceeds the limit. Thread-safe; values are
// destroyed without the lock.
template <typename Key, typename Value>
class LruCache {
 public:
  explicit LruCache(size_t limit) : limit_(limit) {}

  // An empty value if it is not there.
  Value Find(const Key& key) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    const auto it = by_key_.find(key);
    if (it == by_key_.end()) return Value();
    entries_.splice(entries_.begin(), entries_, it->second);
    return it->second->value;
  }
  // Takes it out.
  Value Take(const Key& key) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    const auto it = by_key_.find(key);
    return it == by_key_.end() ? Value() : RemoveLocked(it->second);
  }
  // Replaces what is there. Ignored if it alone takes more than half of the limit.
  void Insert(const Key& key, Value value, size_t cost) ABSL_LOCKS_EXCLUDED(mu_) {
    if (cost > limit_ / 2) return;
    std::vector<Value> dropped;
    absl::MutexLock lock(&mu_);
    const auto known = by_key_.find(key);
    if (known != by_key_.end()) dropped.push_back(RemoveLocked(known->second));
    entries_.push_front({key, std::move(value), cost});
    by_key_[key] = entries_.begin();
    cost_ += cost;
    while (cost_ > limit_) dropped.push_back(RemoveLocked(std::prev(entries_.end())));
  }
  void Clear() ABSL_LOCKS_EXCLUDED(mu_) {
    std::list<Entry> dropped;
    absl::MutexLock lock(&mu_);
    dropped.swap(entries_);
    by_key_.clear();
    cost_ = 0;
  }
  size_t cost() const ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    return cost_;
  }

 private:
  struct Entry {
    Key key;
    Value value;
    size_t cost;
  };
  Value RemoveLocked(typename std::list<Entry>::iterator it) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    Value value = std::move(it->value);
    cost_ -= it->cost;
    by_key_.erase(it->key);
    entries_.erase(it);
    return value;
  }

  const size_t limit_;
  mutable absl::Mutex mu_;                         // Leaf.
  std::list<Entry> entries_ ABSL_GUARDED_BY(mu_);  // The last used in front.
  absl::flat_hash_map<Key, typename std::list<Entry>::iterator> by_key_ ABSL_GUARDED_BY(mu_);
  size_t cost_ ABSL_GUARDED_BY(mu_) = 0;
};

#endif  // BASE_LRU_CACHE_H_
