// A filesystem in memory (tmpfs(5)). Data lies in memfds, so that it can be mapped.
#ifndef SENTRY_FS_TMPFS_TMPFS_H_
#define SENTRY_FS_TMPFS_TMPFS_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/ref.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "sentry/fs/file.h"
#include "sentry/fs/inode.h"

namespace sentry {

struct TmpfsOptions {
  uint64_t size = 0;    // Bytes of data; 0: half of the host's memory, as in Linux.
  uint64_t inodes = 0;  // 0: one for each 4 KiB of `size`, at most a million.
  uint32_t mode = 01777;
  uint32_t uid = 0;
  uint32_t gid = 0;
  // Makes the files that data lie in; memfds when empty. Called with a file's lock held.
  std::function<Result<UniqueFd>()> new_store = {};
};

// What the inodes of one instance share; they hold it. Thread-safe.
class Tmpfs : public RefCounted {
 public:
  using Options = TmpfsOptions;
  // The root directory of a new instance.
  static Ref<Inode> Create(const Options& options = {});

  // From mount(8)'s words; `options` has the defaults. EINVAL for what tmpfs does not know.
  static Result<Options> Parse(const MountOptions& words, Options options);
  // Changes the limits; EINVAL below what is used.
  Status Remount(const MountOptions& words);
  std::string ShowOptions() const;

  // Charges; ENOSPC when there is no more.
  Status TakeInode();
  void ReturnInode() { inodes_used_.fetch_sub(1, std::memory_order_relaxed); }
  // Changes the charge of a file from `before` to `after` bytes, rounded up to pages by the caller.
  Status Charge(uint64_t before, uint64_t after);

  // An empty host file for the data of one file. ENOSPC when there are no more descriptors.
  Result<UniqueFd> NewStore() const;
  // Whether NewStore makes memfds.
  bool in_memory() const { return !options_.new_store; }
  // What the limit leaves, in bytes.
  uint64_t FreeBytes() const {
    const uint64_t used = bytes_used_.load(std::memory_order_relaxed);
    const uint64_t limit = bytes_limit_.load(std::memory_order_relaxed);
    return used < limit ? limit - used : 0;
  }

  // What the data of all instances together take, but for those on files of the host.
  static uint64_t BytesInMemory();

  uint64_t NextIno() { return next_ino_.fetch_add(1, std::memory_order_relaxed); }
  uint64_t dev() const { return dev_; }
  FilesystemStats Stats() const;

 private:
  friend Ref<Tmpfs> NewTmpfs(const Options& options);
  explicit Tmpfs(const Options& options);
  void CountMemory(uint64_t step);  // Modulo 2^64.

  const uint64_t dev_;
  const Options options_;
  std::atomic<uint64_t> bytes_limit_;
  std::atomic<uint64_t> inodes_limit_;
  std::atomic<uint64_t> bytes_used_{0};
  std::atomic<uint64_t> inodes_used_{0};
  std::atomic<uint64_t> next_ino_{1};
};

// memfd_create(2): `flags` are MFD_CLOEXEC (ignored), MFD_ALLOW_SEALING, MFD_NOEXEC_SEAL, MFD_EXEC,
// MFD_HUGETLB with a size; EINVAL for others and names of more than 249 bytes.
Result<Ref<File>> CreateMemfd(std::string_view name, uint32_t flags, uint32_t uid, uint32_t gid);

}  // namespace sentry

#endif  // SENTRY_FS_TMPFS_TMPFS_H_
