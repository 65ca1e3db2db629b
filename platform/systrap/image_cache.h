// Copies of executable files in which calls are patched already, so that a fresh process of a known
// program starts patched.
#ifndef PLATFORM_SYSTRAP_IMAGE_CACHE_H_
#define PLATFORM_SYSTRAP_IMAGE_CACHE_H_

#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "platform/systrap/site_form.h"

namespace platform::systrap {

// Which calls a file makes is learnt from the processes that map it; once several have, its code is
// copied into a sealed memfd, with those sites patched of which the jump is the same at every
// address (SiteForm::Jump::kTable). The file itself stays what every other mapping and read shows.
// Thread-safe.
class ImageCache {
 public:
  struct Site {
    uint64_t after = 0;  // Offset in the file of the instruction behind the call.
    uint64_t nr = 0;
    size_t record = 0;  // Its place in every process's table.
    SiteForm form;
  };
  // Of the code between two offsets of a file, at the same offsets.
  struct Copy : RefCounted {
    UniqueFd fd;
    uint64_t start = 0;
    uint64_t end = 0;
    std::vector<Site> sites;
  };
  // A file as it is at a time: one that has changed since is another.
  struct File;

  // Nothing for what is not a regular file.
  Ref<File> Find(int host_fd) ABSL_LOCKS_EXCLUDED(mu_);
  // A call has come from it, with the instruction at offset `after` behind it.
  void Note(File& file, uint64_t after, uint64_t nr) ABSL_LOCKS_EXCLUDED(mu_);
  // For a mapping of `length` bytes at `offset`, or nothing. Makes the copy when that pays: some
  // milliseconds for each few megabytes.
  Ref<const Copy> CopyFor(File& file, int host_fd, uint64_t offset, uint64_t length)
      ABSL_LOCKS_EXCLUDED(mu_);
  // A process of this program is gone after so many calls that the sentry has seen. `patched`: it
  // was born with patched calls, some of which nobody has seen.
  void NoteCalls(File& program, uint64_t calls, bool patched) ABSL_LOCKS_EXCLUDED(mu_);
  // Whether the next one is to be born with patched calls: unless those before made too few for it.
  bool Pays(const File& program) const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Key {
    uint64_t dev = 0, ino = 0, size = 0;
    int64_t mtime = 0, ctime = 0;  // Nanoseconds.
    bool operator==(const Key&) const = default;
    template <typename H>
    friend H AbslHashValue(H h, const Key& k) {
      return H::combine(std::move(h), k.dev, k.ino, k.size, k.mtime, k.ctime);
    }
  };
  static constexpr size_t kMostFiles = 64;
  static constexpr size_t kMostSites = 256;                  // Of one file.
  static constexpr uint64_t kMostBytes = uint64_t{8} << 20;  // Of one copy.
  static constexpr uint64_t kMostInAll = uint64_t{32} << 20;

  using Noted = std::vector<std::pair<uint64_t, uint64_t>>;
  Result<Ref<Copy>> Make(File& file, int host_fd, uint64_t offset, uint64_t length,
                         const Noted& noted) ABSL_LOCKS_EXCLUDED(mu_);
  // The same for all copies of the file; 0 when there are no more.
  size_t RecordOf(File& file, uint64_t after) ABSL_LOCKS_EXCLUDED(mu_);

  mutable absl::Mutex mu_;  // Leaf.
  absl::flat_hash_map<Key, Ref<File>> files_ ABSL_GUARDED_BY(mu_);
  uint64_t clock_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t bytes_ ABSL_GUARDED_BY(mu_) = 0;  // Copied, ever: what is still mapped is not known.
  size_t next_record_ ABSL_GUARDED_BY(mu_) = native::kFirstSite;
};

struct ImageCache::File : RefCounted {
  explicit File(const Key& key) : key(key) {}
  const Key key;
  // Guarded by ImageCache::mu_.
  uint64_t used = 0;
  absl::flat_hash_map<uint64_t, uint64_t> noted;  // The number of the call, by offset.
  absl::flat_hash_map<uint64_t, size_t> records;  // By offset, of those that are patched.
  size_t built = 0;                               // Of these were known when the copy was made.
  uint32_t mappings = 0;                          // Since then.
  uint32_t copies = 0;
  bool busy = false;  // Being copied.
  // A moving average, times 8, of the calls of those that executed it; nothing while none is gone.
  std::optional<uint64_t> calls;
  Ref<const Copy> copy;
};

}  // namespace platform::systrap

#endif  // PLATFORM_SYSTRAP_IMAGE_CACHE_H_
