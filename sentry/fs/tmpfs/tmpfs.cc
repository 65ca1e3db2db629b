#include "sentry/fs/tmpfs/tmpfs.h"

#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
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

uint64_t DefaultInodes(uint64_t bytes) {
  return std::clamp<uint64_t>(bytes / kPage, 1024, kMaxInodes);
}

std::atomic<uint64_t> bytes_in_memory{0};  // Of all of them.

}  // namespace

uint64_t Tmpfs::BytesInMemory() { return bytes_in_memory.load(std::memory_order_relaxed); }

void Tmpfs::CountMemory(uint64_t step) {
  if (!options_.new_store) bytes_in_memory.fetch_add(step, std::memory_order_relaxed);
}

Tmpfs::Tmpfs(const Options& options)
    : dev_(NextDev()),
      options_(options),
      bytes_limit_(options.size != 0 ? options.size : HalfOfMemory()),
      inodes_limit_(options.inodes != 0 ? options.inodes : DefaultInodes(HalfOfMemory())) {}

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
  if (inodes_used_.fetch_add(1, std::memory_order_relaxed) < inodes_limit_.load()) return kOk;
  ReturnInode();
  return Errno(ENOSPC);
}

Result<UniqueFd> Tmpfs::NewStore() const {
  Errno error(0);
  if (options_.new_store) {
    Result<UniqueFd> store = options_.new_store();
    if (store.ok()) return store;
    error = store.error();
  } else {
    UniqueFd store(memfd_create("tmpfs", MFD_CLOEXEC));
    if (store.valid()) return store;
    error = Errno::Last();
  }
  // No descriptors left is as good as no room left.
  return error == Errno(EMFILE) || error == Errno(ENFILE) ? Errno(ENOSPC) : error;
}

Status Tmpfs::Charge(uint64_t before, uint64_t after) {
  if (after <= before) {
    bytes_used_.fetch_sub(before - after, std::memory_order_relaxed);
    CountMemory(after - before);
    return kOk;
  }
  const uint64_t more = after - before;
  const uint64_t used = bytes_used_.fetch_add(more, std::memory_order_relaxed);
  const uint64_t limit = bytes_limit_.load(std::memory_order_relaxed);
  if (more <= limit && used <= limit - more) {
    CountMemory(more);
    return kOk;
  }
  bytes_used_.fetch_sub(more, std::memory_order_relaxed);
  return Errno(ENOSPC);
}

Result<TmpfsOptions> Tmpfs::Parse(const MountOptions& words, Options options) {
  // Without meaning where nothing is swapped and no page is huge.
  constexpr std::string_view kIgnored[] = {"huge", "mpol", "noswap", "inode64", "inode32"};
  for (const MountOption& word : words) {
    if (word.name == "size") {
      options.size = TRY(ParseMountSize(word, 2 * HalfOfMemory()));
      if (options.size > UINT64_MAX - (kPage - 1)) return Errno(EINVAL);
      options.size = (options.size + kPage - 1) / kPage * kPage;
    } else if (word.name == "nr_blocks") {
      const uint64_t blocks = TRY(ParseMountSize(word));
      if (blocks > UINT64_MAX / kPage) return Errno(EINVAL);
      options.size = blocks * kPage;
    } else if (word.name == "nr_inodes") {
      options.inodes = TRY(ParseMountSize(word));
    } else if (word.name == "mode") {
      options.mode = TRY(ParseMountNumber(word, 8)) & 07777;
    } else if (word.name == "uid") {
      options.uid = TRY(ParseMountNumber(word, 10));
    } else if (word.name == "gid") {
      options.gid = TRY(ParseMountNumber(word, 10));
    } else if (std::find(std::begin(kIgnored), std::end(kIgnored), word.name) ==
               std::end(kIgnored)) {
      return Errno(EINVAL);
    }
  }
  return options;
}

Status Tmpfs::Remount(const MountOptions& words) {
  const Options options = TRY(Parse(words, {}));
  if (options.size != 0 && options.size < bytes_used_.load()) return Errno(EINVAL);
  if (options.inodes != 0 && options.inodes < inodes_used_.load()) return Errno(EINVAL);
  if (options.size != 0) bytes_limit_.store(options.size);
  if (options.inodes != 0) inodes_limit_.store(options.inodes);
  return kOk;
}

std::string Tmpfs::ShowOptions() const {
  std::string text;
  const uint64_t bytes = bytes_limit_.load(), inodes = inodes_limit_.load();
  if (bytes != HalfOfMemory()) absl::StrAppend(&text, ",size=", bytes / 1024, "k");
  if (inodes != DefaultInodes(HalfOfMemory())) absl::StrAppend(&text, ",nr_inodes=", inodes);
  if (options_.mode != 01777) absl::StrAppendFormat(&text, ",mode=%03o", options_.mode);
  if (options_.uid != 0) absl::StrAppend(&text, ",uid=", options_.uid);
  if (options_.gid != 0) absl::StrAppend(&text, ",gid=", options_.gid);
  return text;
}

FilesystemStats Tmpfs::Stats() const {
  const uint64_t bytes_limit = bytes_limit_.load(std::memory_order_relaxed);
  const uint64_t inodes_limit = inodes_limit_.load(std::memory_order_relaxed);
  const uint64_t bytes = std::min(bytes_used_.load(std::memory_order_relaxed), bytes_limit);
  const uint64_t inodes = std::min(inodes_used_.load(std::memory_order_relaxed), inodes_limit);
  const uint64_t free = (bytes_limit - bytes) / kPage;
  return {.type = TMPFS_MAGIC,
          .bsize = kPage,
          .blocks = bytes_limit / kPage,
          .bfree = free,
          .bavail = free,
          .files = inodes_limit,
          .ffree = inodes_limit - inodes};
}

}  // namespace sentry
