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

ShmSpaces& AttachmentsOf(Mm& mm) {
  if (MmExtension* const known = mm.extension()) return static_cast<ShmSpaces&>(*known);
  return static_cast<ShmSpaces&>(mm.AddExtension(std::make_unique<ShmSpaces>(mm)));
}

std::shared_ptr<ShmAttachments> ShmSpaces::Of(SharedMemory& table) {
  for (std::shared_ptr<ShmAttachments>& one : All()) {
    if (&one->table() == &table) return std::move(one);
  }
  // Of namespaces that have been left.
  std::vector<std::shared_ptr<ShmAttachments>> unused;  // Dropped without the lock.
  for (std::shared_ptr<ShmAttachments>& one : All()) {
    if (one->table().IsUnused(*one)) unused.push_back(std::move(one));
  }
  auto fresh = std::make_shared<ShmAttachments>(Ref<SharedMemory>::Share(table), mm_, *this);
  absl::MutexLock lock(&mu_);
  std::erase_if(attachments_, [&unused](const auto& one) {
    return std::find(unused.begin(), unused.end(), one) != unused.end();
  });
  attachments_.push_back(fresh);
  return fresh;
}

std::vector<std::shared_ptr<ShmAttachments>> ShmSpaces::All() {
  absl::MutexLock lock(&mu_);
  return attachments_;
}

bool SharedMemory::IsUnused(const ShmAttachments& user) {
  absl::MutexLock lock(&mu_);
  return user.segments_.empty();
}

std::unique_ptr<MmExtension> ShmSpaces::Fork(Mm& child) {
  auto copy = std::make_unique<ShmSpaces>(child);
  for (const std::shared_ptr<ShmAttachments>& one : All()) {
    std::unique_ptr<ShmAttachments> forked = one->Fork(child, *copy);
    absl::MutexLock lock(&copy->mu_);
    copy->attachments_.push_back(std::move(forked));
  }
  return copy;
}

ShmAttachments::ShmAttachments(Ref<SharedMemory> table, Mm& mm, ShmSpaces& spaces)
    : table_(std::move(table)), mm_(mm), spaces_(spaces) {}

ShmAttachments::~ShmAttachments() { table_->Leave(*this); }

std::unique_ptr<ShmAttachments> ShmAttachments::Fork(Mm& child, ShmSpaces& spaces) {
  auto copy = std::make_unique<ShmAttachments>(table_, child, spaces);
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
      segment->last = user.spaces_.last_user();
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

std::vector<uint64_t> SharedMemory::CountAttachments(const std::vector<SegmentRef>& segments) {
  std::map<Mm*, Ref<Mm>> memories;
  std::map<std::pair<uint64_t, uint64_t>, uint64_t> counts;  // By device and inode.
  {
    absl::MutexLock lock(&mu_);
    for (const SegmentRef& segment : segments) {
      counts[{segment->host_dev, segment->host_ino}] = 0;
      for (ShmAttachments* const user : segment->users) {
        if (memories.contains(&user->mm_)) continue;
        // One that is just being destroyed has nothing mapped any more.
        if (user->mm_.TryAddRef()) memories[&user->mm_] = Ref<Mm>::Adopt(&user->mm_);
      }
    }
  }
  for (const auto& [mm, ref] : memories) {
    for (const HostRange& range : RangesOf(*mm)) {
      const auto it = counts.find({range.dev, range.ino});
      if (it != counts.end()) ++it->second;
    }
  }
  std::vector<uint64_t> result;
  result.reserve(segments.size());
  for (const SegmentRef& segment : segments) {
    result.push_back(counts[{segment->host_dev, segment->host_ino}]);
  }
  return result;
}

bool SharedMemory::DestroyIfUnused(const SegmentRef& segment) {
  {
    absl::MutexLock lock(&mu_);
    if (segment->destroyed) return true;
    if ((segment->perm.mode & kDest) == 0) return false;
  }
  DestroyUnused({segment});
  absl::MutexLock lock(&mu_);
  return segment->destroyed;
}

void SharedMemory::DestroyUnused(const std::vector<SegmentRef>& segments) {
  std::vector<uint64_t> uses;
  {
    absl::MutexLock lock(&mu_);
    for (const SegmentRef& segment : segments) uses.push_back(segment->uses);
  }
  const std::vector<uint64_t> counts = CountAttachments(segments);
  absl::MutexLock lock(&mu_);
  for (size_t i = 0; i < segments.size(); ++i) {
    ShmSegment& segment = *segments[i];
    // Whoever attached it meanwhile was not counted.
    if (counts[i] != 0 || segment.attaching != 0 || segment.uses != uses[i]) continue;
    if (segment.destroyed || (segment.perm.mode & kDest) == 0) continue;
    segment.destroyed = true;
    --doomed_;
    pages_ -= (segment.size + 4095) / 4096;
    for (ShmAttachments* const user : segment.users) user->segments_.erase(&segment);
    segment.users.clear();
    (void)table_.Remove(segment);
  }
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
  DestroyUnused(doomed);
  absl::MutexLock lock(&mu_);
  next_sweep_ = std::max(kFirstSweep, 2 * doomed_);
}

void SharedMemory::SweepNowAndThen() {
  {
    absl::MutexLock lock(&mu_);
    if (doomed_ < next_sweep_) return;
  }
  Sweep();
}

void SharedMemory::Close() {
  {
    absl::MutexLock lock(&mu_);
    for (const auto& [index, segment] : table_.objects()) {
      if ((segment->perm.mode & kDest) == 0) ++doomed_;
      segment->perm.mode |= kDest;
    }
  }
  Sweep();
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
