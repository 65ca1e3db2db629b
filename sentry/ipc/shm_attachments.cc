// Who has which segment mapped, and what becomes of segments that nobody has.
#include <time.h>

#include <algorithm>
#include <memory>

#include "sentry/ipc/shared_memory.h"
#include "sentry/mm/host_maps.h"

namespace sentry {
namespace {

bool Maps(const HostRange& range, const ShmSegment& segment) {
  return range.ino == segment.host_ino && range.dev == segment.host_dev;
}

std::vector<HostRange> RangesOf(Mm& mm) {
  const Result<std::string> text = mm.memory().space().HostMaps();
  return text.ok() ? ParseHostMaps(*text) : std::vector<HostRange>();
}

}  // namespace

ShmAttachments& AttachmentsOf(Mm& mm, SharedMemory& table) {
  if (MmExtension* const known = mm.extension()) return static_cast<ShmAttachments&>(*known);
  return static_cast<ShmAttachments&>(
      mm.AddExtension(std::make_unique<ShmAttachments>(Ref<SharedMemory>::Share(table), mm)));
}

ShmAttachments::ShmAttachments(Ref<SharedMemory> table, Mm& mm)
    : table_(std::move(table)), mm_(mm) {}

ShmAttachments::~ShmAttachments() { table_->Leave(*this); }

std::unique_ptr<MmExtension> ShmAttachments::Fork(Mm& child) {
  auto copy = std::make_unique<ShmAttachments>(table_, child);
  table_->Inherit(*this, *copy);
  return copy;
}

void SharedMemory::Inherit(ShmAttachments& from, ShmAttachments& to) {
  absl::MutexLock lock(&mu_);
  to.segments_ = from.segments_;
  for (const auto& [segment, ref] : to.segments_) segment->users.insert(&to);
}

void SharedMemory::Leave(ShmAttachments& user) {
  std::map<ShmSegment*, SegmentRef> segments;
  {
    absl::MutexLock lock(&mu_);
    segments.swap(user.segments_);
    for (const auto& [segment, ref] : segments) {
      segment->users.erase(&user);
      segment->dtime = time(nullptr);
      segment->last = user.last_user_.load(std::memory_order_relaxed);
    }
  }
  // Those that others may have are looked at when somebody asks: the end of a process is no time to
  // read everybody's mappings.
  for (const auto& [segment, ref] : segments) {
    {
      absl::MutexLock lock(&mu_);
      if (!segment->users.empty()) continue;
    }
    (void)DestroyIfUnused(ref);
  }
}

uint64_t SharedMemory::CountAttachments(const SegmentRef& segment) {
  std::vector<Ref<Mm>> memories;
  {
    absl::MutexLock lock(&mu_);
    for (ShmAttachments* const user : segment->users) {
      // One that is just being destroyed has nothing mapped any more.
      if (user->mm_.TryAddRef()) memories.push_back(Ref<Mm>::Adopt(&user->mm_));
    }
  }
  uint64_t count = 0;
  for (const Ref<Mm>& mm : memories) {
    const std::vector<HostRange> ranges = RangesOf(*mm);
    count += static_cast<uint64_t>(std::count_if(
        ranges.begin(), ranges.end(), [&](const HostRange& r) { return Maps(r, *segment); }));
  }
  return count;
}

bool SharedMemory::DestroyIfUnused(const SegmentRef& segment) {
  {
    absl::MutexLock lock(&mu_);
    if (segment->destroyed) return true;
    if ((segment->perm.mode & kDest) == 0) return false;
  }
  if (CountAttachments(segment) != 0) return false;
  absl::MutexLock lock(&mu_);
  if (segment->destroyed) return true;
  if (segment->attaching != 0) return false;
  segment->destroyed = true;
  --doomed_;
  pages_ -= (segment->size + 4095) / 4096;
  for (ShmAttachments* const user : segment->users) user->segments_.erase(segment.get());
  segment->users.clear();
  (void)table_.Remove(*segment);
  return true;
}

void SharedMemory::Sweep() {
  std::vector<SegmentRef> doomed;
  {
    absl::MutexLock lock(&mu_);
    if (doomed_ == 0) return;
    for (const auto& [index, segment] : table_.objects()) {
      if ((segment->perm.mode & kDest) != 0) doomed.push_back(segment);
    }
  }
  for (const SegmentRef& segment : doomed) (void)DestroyIfUnused(segment);
}

// ksys_shmdt(): the first mapping that lies where the segment's start would be at `addr`, and what
// else of that segment lies likewise behind it.
Result<SharedMemory::Detachment> SharedMemory::FindAttachment(ShmAttachments& user, uint64_t addr) {
  std::vector<SegmentRef> segments;
  {
    absl::MutexLock lock(&mu_);
    for (const auto& [segment, ref] : user.segments_) segments.push_back(ref);
  }
  if (segments.empty()) return Errno(EINVAL);
  Detachment found;
  for (const HostRange& range : RangesOf(user.mm_)) {
    if (range.begin < addr || range.begin - addr != range.offset) continue;
    if (!found.segment) {
      const auto it = std::find_if(segments.begin(), segments.end(),
                                   [&](const SegmentRef& s) { return Maps(range, *s); });
      if (it == segments.end()) continue;
      found.segment = *it;
    }
    if (!Maps(range, *found.segment)) continue;
    if (range.end - addr > (found.segment->size + 4095) / 4096 * 4096) continue;
    found.pieces.push_back({range.begin, range.end});
  }
  if (found.pieces.empty()) return Errno(EINVAL);
  return found;
}

void SharedMemory::Detached(const IpcCaller& caller, ShmAttachments& user,
                            const SegmentRef& segment) {
  const std::vector<HostRange> ranges = RangesOf(user.mm_);
  const bool still = std::any_of(ranges.begin(), ranges.end(),
                                 [&](const HostRange& r) { return Maps(r, *segment); });
  {
    absl::MutexLock lock(&mu_);
    segment->dtime = time(nullptr);
    segment->last = caller.pid;
    if (!still) {
      segment->users.erase(&user);
      user.segments_.erase(segment.get());
    }
  }
  (void)DestroyIfUnused(segment);
}

}  // namespace sentry
