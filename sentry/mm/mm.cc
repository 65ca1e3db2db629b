#include "sentry/mm/mm.h"

#include <algorithm>
#include <set>
#include <utility>

#include "sentry/mm/host_maps.h"

namespace sentry {

namespace {

using Ranges = std::map<uint64_t, Mm::FileRange>;

// The part of `range` from `begin` to `end`, which lie in it.
Mm::FileRange Slice(const Mm::FileRange& range, uint64_t begin, uint64_t end) {
  Mm::FileRange slice = range;
  slice.addr = begin;
  slice.length = end - begin;
  slice.offset += begin - range.addr;
  return slice;
}

// Cuts [addr, addr+length) out of `ranges`. What fell out goes to `dropped`, whose files are
// released without a lock.
void Cut(Ranges& ranges, uint64_t addr, uint64_t length, std::vector<Mm::FileRange>& dropped) {
  const uint64_t end = addr + length < addr ? UINT64_MAX : addr + length;
  auto it = ranges.upper_bound(addr);
  if (it != ranges.begin()) --it;
  while (it != ranges.end() && it->first < end) {
    const uint64_t range_end = it->second.addr + it->second.length;
    if (range_end <= addr) {
      ++it;
      continue;
    }
    Mm::FileRange range = std::move(it->second);
    it = ranges.erase(it);
    if (range.addr < addr) ranges[range.addr] = Slice(range, range.addr, addr);
    if (range_end > end) ranges[end] = Slice(range, end, range_end);
    dropped.push_back(std::move(range));
  }
}

}  // namespace

Mm::Mm(Ref<platform::AddressSpace> space, const Layout& layout, Ref<File> executable)
    : memory_(std::move(space)), layout_(layout), executable_(std::move(executable)) {}

void Mm::RecordFile(uint64_t addr, uint64_t length, Ref<File> file, uint64_t offset, bool shared) {
  std::vector<FileRange> dropped;
  {
    absl::MutexLock lock(&mu_);
    Cut(ranges_, addr, length, dropped);
    ranges_[addr] = FileRange{.addr = addr,
                              .length = length,
                              .offset = offset,
                              .file = std::move(file),
                              .shared = shared};
    if (ranges_.size() < next_sweep_) return;
  }
  Sweep();
}

void Mm::Sweep() {
  const Result<std::string> text = memory_.space().HostMaps();
  const std::vector<HostRange> host = text.ok() ? ParseHostMaps(*text) : std::vector<HostRange>();
  std::vector<FileRange> dropped;
  absl::MutexLock lock(&mu_);
  for (auto it = ranges_.begin(); text.ok() && it != ranges_.end();) {
    const uint64_t begin = it->second.addr, end = begin + it->second.length;
    auto at = std::upper_bound(host.begin(), host.end(), begin,
                               [](uint64_t addr, const HostRange& r) { return addr < r.end; });
    while (at != host.end() && at->begin < end && at->ino == 0) ++at;
    if (at != host.end() && at->begin < end) {
      ++it;
      continue;
    }
    dropped.push_back(std::move(it->second));
    it = ranges_.erase(it);
  }
  next_sweep_ = std::max(kFirstSweep, 2 * ranges_.size());
}

void Mm::Forget(uint64_t addr, uint64_t length) {
  std::vector<FileRange> dropped;
  absl::MutexLock lock(&mu_);
  Cut(ranges_, addr, length, dropped);
}

void Mm::RecordName(MappedFile file) {
  constexpr size_t kMostNames = 4096;
  const HostId id(file.host_dev, file.host_ino);
  if (file.noexec) has_noexec_.store(true, std::memory_order_relaxed);
  absl::MutexLock lock(&mu_);
  if (const auto known = names_.find(id); known != names_.end()) {
    file.noexec = file.noexec && known->second.noexec;
  }
  const auto [it, added] = names_.insert_or_assign(id, std::move(file));
  if (!added) return;
  names_order_.push_back(id);
  if (names_order_.size() <= kMostNames) return;
  names_.erase(names_order_.front());
  names_order_.pop_front();
}

std::optional<uint64_t> Mm::FindNoexec(uint64_t addr, uint64_t length) {
  if (!has_noexec_.load(std::memory_order_relaxed)) return std::nullopt;
  const Result<std::string> text = memory_.space().HostMaps();
  if (!text.ok()) return std::nullopt;
  std::set<uint64_t> refused;
  {
    absl::MutexLock lock(&mu_);
    for (const auto& [id, file] : names_) {
      if (file.noexec) refused.insert(file.host_ino);
    }
    // The host's list names some devices otherwise than stat(2) does, so a number is all there is:
    // one that two files have is in doubt nobody's.
    for (const auto& [id, file] : names_) {
      if (!file.noexec) refused.erase(file.host_ino);
    }
  }
  const uint64_t end = addr + length;
  for (const HostRange& range : ParseHostMaps(*text)) {
    if (range.end <= addr) continue;
    if (range.begin > addr || addr >= end) return std::nullopt;
    if (range.ino != 0 && refused.contains(range.ino)) return addr;
    addr = range.end;
  }
  return std::nullopt;
}

std::vector<Mm::MappedFile> Mm::Names() const {
  std::vector<MappedFile> names;
  absl::MutexLock lock(&mu_);
  names.reserve(names_.size());
  for (const auto& [id, file] : names_) names.push_back(file);
  return names;
}

Mm::Layout Mm::layout() const {
  absl::MutexLock lock(&layout_mu_);
  return layout_;
}

void Mm::SetLayout(const Layout& layout) {
  absl::MutexLock lock(&layout_mu_);
  layout_ = layout;
}

Ref<Mm> Mm::Fork(Ref<platform::AddressSpace> space) const {
  Ref<Mm> child = MakeRef<Mm>(std::move(space), layout(), executable_);
  if (MmExtension* const own = extension()) (void)child->AddExtension(own->Fork(*child));
  absl::MutexLock lock(&mu_);
  absl::MutexLock child_lock(&child->mu_);
  child->membarriers = membarriers.load();
  child->has_noexec_ = has_noexec_.load();
  child->ranges_ = ranges_;
  child->policies_.CopyFrom(policies_);
  child->names_ = names_;
  child->names_order_ = names_order_;
  return child;
}

MmExtension* Mm::extension() const {
  absl::MutexLock lock(&mu_);
  return extension_.get();
}

MmExtension& Mm::AddExtension(std::unique_ptr<MmExtension> extension) {
  absl::MutexLock lock(&mu_);
  if (!extension_) extension_ = std::move(extension);
  return *extension_;
}

std::vector<Mm::FileRange> Mm::FileRanges() const {
  absl::MutexLock lock(&mu_);
  std::vector<FileRange> ranges;
  ranges.reserve(ranges_.size());
  for (const auto& [addr, range] : ranges_) ranges.push_back(range);
  return ranges;
}

}  // namespace sentry
