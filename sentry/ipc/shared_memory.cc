#include "sentry/ipc/shared_memory.h"

#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_format.h"
#include "sentry/task/task.h"

namespace sentry {
namespace {

constexpr uint64_t kPage = 4096;

// What the kernel's heuristic overcommit allows at once: all memory there is.
bool Affordable(uint64_t bytes) {
  struct sysinfo info;
  if (sysinfo(&info) != 0) return true;
  return bytes / kPage <= (uint64_t{info.totalram} + info.totalswap) * info.mem_unit / kPage;
}

uint64_t ResidentBytes(const ShmSegment& segment) {
  struct stat stat;
  if (fstat(segment.memfd.get(), &stat) != 0) return 0;
  return static_cast<uint64_t>(stat.st_blocks) * 512;
}

}  // namespace

SharedMemory::Limits SharedMemory::limits() const {
  absl::MutexLock lock(&mu_);
  return limits_;
}

void SharedMemory::set_limits(const Limits& limits) {
  absl::MutexLock lock(&mu_);
  limits_ = limits;
}

// newseg().
Result<SharedMemory::SegmentRef> SharedMemory::Make(const IpcCaller& caller, int32_t key,
                                                    uint64_t size, int flags) {
  if (size == 0 || size > limits_.max) return Errno(EINVAL);
  const uint64_t pages = size / kPage + (size % kPage != 0);
  if (table_.size() >= limits_.mni || pages_ + pages < pages_ || pages_ + pages > limits_.all) {
    return Errno(ENOSPC);
  }
  if (ShmSegment::count.load(std::memory_order_relaxed) >= ShmSegment::kMost) {
    return Errno(ENOSPC);
  }
  if (size > INT64_MAX - kPage) return Errno(EINVAL);
  if ((flags & SHM_NORESERVE) == 0 && !Affordable(size)) return Errno(ENOMEM);
  SegmentRef segment = MakeRef<ShmSegment>();
  segment->perm = IpcPermissions::Of(caller, key, flags);
  segment->key = key;
  segment->size = size;
  segment->memfd = UniqueFd(memfd_create("SYSV", MFD_CLOEXEC));
  if (!segment->memfd.valid()) return Errno::Last();
  struct stat stat;
  if (ftruncate(segment->memfd.get(), static_cast<off_t>(size)) != 0 ||
      fstat(segment->memfd.get(), &stat) != 0) {
    return Errno(ENOMEM);
  }
  segment->host_dev = stat.st_dev;
  segment->host_ino = stat.st_ino;
  segment->ctime = time(nullptr);
  segment->creator = caller.pid;
  pages_ += pages;
  return segment;
}

Result<int> SharedMemory::Get(const IpcCaller& caller, int32_t key, uint64_t size, int flags) {
  SweepNowAndThen();
  const auto large_enough = [size](const ShmSegment& segment) -> Status {
    return segment.size < size ? Status(Errno(EINVAL)) : kOk;
  };
  const auto make = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return Make(caller, key, size, flags);
  };
  const auto get = [&] {
    absl::MutexLock lock(&mu_);
    return IpcGet(table_, caller.creds, key, flags, limits_.mni, large_enough, make);
  };
  const Result<int> id = get();
  if (id.ok() || id.error() != Errno(ENOSPC)) return id;
  // There may be room that nobody has noticed yet.
  Sweep();
  return get();
}

Result<SharedMemory::SegmentRef> SharedMemory::Use(const IpcCaller& caller, int id, uint32_t wanted,
                                                   ShmAttachments& user) {
  SegmentRef segment;
  {
    absl::MutexLock lock(&mu_);
    segment = TRY(table_.Find(id));
  }
  if (DestroyIfUnused(segment)) return Errno(EINVAL);
  absl::MutexLock lock(&mu_);
  if (segment->destroyed) return Errno(EIDRM);
  TRY(segment->perm.Check(caller.creds, wanted));
  ++segment->attaching;
  ++segment->uses;
  segment->users.insert(&user);
  user.segments_.try_emplace(segment.get(), segment);
  return segment;
}

void SharedMemory::Attached(const IpcCaller& caller, ShmSegment& segment, bool mapped) {
  absl::MutexLock lock(&mu_);
  --segment.attaching;
  if (!mapped) return;
  segment.atime = time(nullptr);
  segment.last = caller.pid;
}

Result<SharedMemory::Info> SharedMemory::InfoOf(const SegmentRef& segment) {
  const uint64_t attachments = CountAttachments({segment}).front();
  absl::MutexLock lock(&mu_);
  if (segment->destroyed) return Errno(EINVAL);
  return Info{.perm = segment->perm,
              .size = segment->size,
              .attachments = attachments,
              .atime = segment->atime,
              .dtime = segment->dtime,
              .ctime = segment->ctime,
              .creator = segment->creator,
              .last = segment->last,
              .resident = ResidentBytes(*segment)};
}

Result<SharedMemory::Info> SharedMemory::Stat(const IpcCaller& caller, int id) {
  SegmentRef segment;
  {
    absl::MutexLock lock(&mu_);
    segment = TRY(table_.Find(id));
    TRY(segment->perm.Check(caller.creds, kIpcRead));
  }
  if (DestroyIfUnused(segment)) return Errno(EINVAL);
  return InfoOf(segment);
}

Result<SharedMemory::Info> SharedMemory::StatAt(const IpcCaller& caller, int index, Any any) {
  SegmentRef segment;
  {
    absl::MutexLock lock(&mu_);
    segment = TRY(table_.At(index));
    if (any == Any::kNo) TRY(segment->perm.Check(caller.creds, kIpcRead));
  }
  if (DestroyIfUnused(segment)) return Errno(EINVAL);
  return InfoOf(segment);
}

Status SharedMemory::Set(const IpcCaller& caller, int id, uint32_t uid, uint32_t gid,
                         uint32_t mode) {
  absl::MutexLock lock(&mu_);
  const SegmentRef segment = TRY(table_.Find(id));
  TRY(segment->perm.CheckOwner(caller.creds));
  segment->perm.Set(uid, gid, mode);
  segment->ctime = time(nullptr);
  return kOk;
}

Status SharedMemory::Remove(const IpcCaller& caller, int id) {
  SegmentRef segment;
  {
    absl::MutexLock lock(&mu_);
    segment = TRY(table_.Find(id));
    TRY(segment->perm.CheckOwner(caller.creds));
    // From here nobody finds it by its key; it goes with its last attachment.
    table_.ForgetKey(*segment);
    if ((segment->perm.mode & kDest) == 0) ++doomed_;
    segment->perm.mode |= kDest;
  }
  (void)DestroyIfUnused(segment);
  return kOk;
}

Status SharedMemory::SetLocked(const IpcCaller& caller, int id, bool locked, uint64_t memlock) {
  absl::MutexLock lock(&mu_);
  const SegmentRef segment = TRY(table_.Find(id));
  IpcPermissions& perm = segment->perm;
  if (!caller.creds.HasCapability(CAP_IPC_LOCK)) {
    if (caller.creds.euid != perm.uid && caller.creds.euid != perm.cuid) return Errno(EPERM);
    if (locked && memlock == 0) return Errno(EPERM);
    if (locked && segment->size > memlock) return Errno(ENOMEM);
  }
  perm.mode = locked ? perm.mode | kLocked : perm.mode & ~kLocked;
  return kOk;
}

SharedMemory::Totals SharedMemory::Count() {
  Sweep();
  absl::MutexLock lock(&mu_);
  Totals totals{
      .segments = table_.size(), .highest_index = table_.highest_index(), .pages = pages_};
  for (const auto& [index, segment] : table_.objects()) {
    totals.resident_pages += ResidentBytes(*segment) / kPage;
  }
  return totals;
}

std::string SharedMemory::Table() {
  Sweep();
  Task* const reader = Task::Current();
  std::vector<SegmentRef> segments;
  {
    absl::MutexLock lock(&mu_);
    for (const auto& [index, segment] : table_.objects()) {
      if (reader == nullptr || segment->perm.Check(reader->creds(), kIpcRead).ok()) {
        segments.push_back(segment);
      }
    }
  }
  std::string text =
      "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid"
      "      atime      dtime      ctime                   rss                  swap\n";
  for (const SegmentRef& segment : segments) {
    const Result<Info> info = InfoOf(segment);
    if (!info.ok()) continue;
    const IpcPermissions& p = info->perm;
    absl::StrAppendFormat(
        &text, "%10d %10d  %4o %21u %5u %5u  %5u %5u %5u %5u %5u %10u %10u %10u %21u %21u\n", p.key,
        p.id, p.mode, info->size, info->creator, info->last, info->attachments, p.uid, p.gid,
        p.cuid, p.cgid, info->atime, info->dtime, info->ctime, info->resident, 0);
  }
  return text;
}

}  // namespace sentry
