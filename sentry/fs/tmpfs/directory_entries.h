// The names in a directory that lives in memory.
#ifndef SENTRY_FS_TMPFS_DIRECTORY_ENTRIES_H_
#define SENTRY_FS_TMPFS_DIRECTORY_ENTRIES_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "sentry/fs/inode.h"

namespace sentry {

// Names with their inodes, found by name or by cookie. Cookies rise with each insertion, so that a
// listing goes on in the right place whatever was added or removed meanwhile. Guarded by its owner.
class DirectoryEntries {
 public:
  // 0, 1 and 2 are positions of "." and ".." and behind them.
  static constexpr int64_t kFirstCookie = 2;

  struct Entry {
    std::string name;
    Ref<Inode> inode;  // The owner may give an empty one a meaning.
    uint8_t type = 0;  // DT_*.
    uint64_t ino = 0;
  };
  using Map = std::map<int64_t, Entry>;

  Entry* Find(std::string_view name) {
    const auto it = by_name_.find(name);
    return it == by_name_.end() ? nullptr : &it->second->second;
  }
  // Requires: the name is not there.
  void Insert(Entry entry) {
    const auto it = by_cookie_.emplace_hint(by_cookie_.end(), next_++, std::move(entry));
    by_name_.emplace(it->second.name, it);
  }
  // The inode of the name that is gone. Requires: the name is there.
  Ref<Inode> Erase(std::string_view name) {
    const auto found = by_name_.find(name);
    const auto it = found->second;
    by_name_.erase(found);
    Ref<Inode> inode = std::move(it->second.inode);
    by_cookie_.erase(it);
    return inode;
  }
  const Map& by_cookie() const { return by_cookie_; }
  size_t size() const { return by_cookie_.size(); }
  bool empty() const { return by_cookie_.empty(); }

  // For Inode::TakeChildren.
  void TakeAll(std::vector<Ref<Inode>>& inodes) {
    for (auto& [cookie, entry] : by_cookie_) {
      if (entry.inode) inodes.push_back(std::move(entry.inode));
    }
    by_name_.clear();
    by_cookie_.clear();
  }

 private:
  Map by_cookie_;
  absl::flat_hash_map<std::string_view, Map::iterator> by_name_;  // Views into by_cookie_.
  int64_t next_ = kFirstCookie;
};

// Releases inodes, of which some may be the last to hold deep trees, without recursion.
inline void ReleaseTrees(std::vector<Ref<Inode>> inodes) {
  while (!inodes.empty()) {
    const Ref<Inode> inode = std::move(inodes.back());
    inodes.pop_back();
    if (inode->ref_count() == 1) inode->TakeChildren(inodes);
  }
}

}  // namespace sentry

#endif  // SENTRY_FS_TMPFS_DIRECTORY_ENTRIES_H_
