// Listings of directories that do not change, kept for the next time.
#ifndef SENTRY_FS_OVERLAY_LISTING_H_
#define SENTRY_FS_OVERLAY_LISTING_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/lru_cache.h"
#include "sentry/fs/types.h"

namespace sentry {

// The names of a directory but "." and "..", by index. About 15 bytes an entry and the name.
class Listing {
 public:
  void Add(const DirEntry& entry);
  size_t size() const { return offsets_.size(); }
  // Requires: index < size(). Everything but the position.
  void Get(size_t index, DirEntry& entry) const;
  // With what keeping it costs.
  size_t bytes() const {
    return packed_.capacity() + offsets_.capacity() * sizeof(uint32_t) + sizeof(*this) + 128;
  }
  void Finish() {
    packed_.shrink_to_fit();
    offsets_.shrink_to_fit();
  }

 private:
  static constexpr size_t kHeadSize = 10;  // Inode number, type, size of the name, which follows.
  std::string packed_;
  std::vector<uint32_t> offsets_;
};

// The listings used last, by any identity of the directory that is taken out before it is used
// again.
using ListingCache = LruCache<const void*, std::shared_ptr<const Listing>>;
inline constexpr size_t kMostListedBytes = 4 << 20;

}  // namespace sentry

#endif  // SENTRY_FS_OVERLAY_LISTING_H_
