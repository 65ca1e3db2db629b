#include "sentry/fs/tmpfs/tmpfs.h"

#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <utility>

#include "sentry/fs/tmpfs/tmpfs_inode.h"

namespace sentry {

namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kMaxInodes = 1'000'000;

uint64_t NextDev() {
  static std::atomic<unsigned> next{0x40};
  return makedev(0, next.fetch_add(1, std::memory_order_relaxed));
}

uint64_t HalfOfMemory() {
  struct sysinfo info;
  if (sysinfo(&info) != 0) return uint64_t{1} << 30;
  return uint64_t{info.totalram} * info.mem_unit / 2;
}

}  // namespace

Tmpfs::Tmpfs(const Options& options)
    : dev_(NextDev()),
      bytes_limit_(options.size != 0 ? options.size : HalfOfMemory()),
      inodes_limit_(options.inodes != 0
                        ? options.inodes
                        : std::clamp<uint64_t>(bytes_limit_ / kPage, 1024, kMaxInodes)) {}

Ref<Tmpfs> NewTmpfs(const TmpfsOptions& options) { return Ref<Tmpfs>::Adopt(new Tmpfs(options)); }

Ref<Inode> Tmpfs::Create(const Options& options) {
  Ref<Tmpfs> fs = NewTmpfs(options);
  fs->inodes_used_.store(1, std::memory_order_relaxed);
  const NewNode node{
      .mode = S_IFDIR | (options.mode & 07777), .uid = options.uid, .gid = options.gid};
  Ref<TmpfsDirectory> root = MakeRef<TmpfsDirectory>(std::move(fs), node);
  root->ChangeLinks(1);
  return root;
}

Status Tmpfs::TakeInode() {
  if (inodes_used_.fetch_add(1, std::memory_order_relaxed) < inodes_limit_) return kOk;
  ReturnInode();
  return Errno(ENOSPC);
}

Status Tmpfs::Charge(uint64_t before, uint64_t after) {
  if (after <= before) {
    bytes_used_.fetch_sub(before - after, std::memory_order_relaxed);
    return kOk;
  }
  const uint64_t more = after - before;
  const uint64_t used = bytes_used_.fetch_add(more, std::memory_order_relaxed);
  if (more <= bytes_limit_ && used <= bytes_limit_ - more) return kOk;
  bytes_used_.fetch_sub(more, std::memory_order_relaxed);
  return Errno(ENOSPC);
}

FilesystemStats Tmpfs::Stats() const {
  const uint64_t bytes = std::min(bytes_used_.load(std::memory_order_relaxed), bytes_limit_);
  const uint64_t inodes = std::min(inodes_used_.load(std::memory_order_relaxed), inodes_limit_);
  const uint64_t free = (bytes_limit_ - bytes) / kPage;
  return {.type = TMPFS_MAGIC,
          .bsize = kPage,
          .blocks = bytes_limit_ / kPage,
          .bfree = free,
          .bavail = free,
          .files = inodes_limit_,
          .ffree = inodes_limit_ - inodes};
}

}  // namespace sentry
