#include "sentry/task/fd_table.h"

#include <algorithm>

namespace sentry {
namespace {

// Nobody gets a larger table, whatever the limits say (fs.nr_open).
constexpr uint64_t kMaxDescriptors = 1 << 20;

// What leaves a table: dropped once no lock is held.
void Drop(Ref<File> file) {
  if (file) file->DropDescriptor();
}

}  // namespace

FdTable::~FdTable() { CloseAll(); }

Result<Ref<File>> FdTable::Get(Fd fd) const {
  absl::MutexLock lock(&mu_);
  const auto index = static_cast<uint32_t>(fd);
  if (index >= entries_.size() || !entries_[index].file) return Errno(EBADF);
  return entries_[index].file;
}

Result<FdEntry> FdTable::GetEntry(Fd fd) const {
  absl::MutexLock lock(&mu_);
  const auto index = static_cast<uint32_t>(fd);
  if (index >= entries_.size() || !entries_[index].file) return Errno(EBADF);
  return entries_[index];
}

void FdTable::FreeLocked(size_t index) { first_free_ = std::min(first_free_, index); }

// The caller takes it: there is an entry at it.
Result<size_t> FdTable::FindFreeLocked(uint64_t limit, int from) {
  limit = std::min(limit, kMaxDescriptors);
  if (from < 0 || static_cast<uint64_t>(from) >= limit) return Errno(EMFILE);
  size_t index = std::max<size_t>(from, first_free_);
  if (index <= entries_.size()) {
    const auto free = std::find_if(entries_.begin() + static_cast<ptrdiff_t>(index), entries_.end(),
                                   [](const FdEntry& e) { return !e.file && !e.reserved; });
    index = static_cast<size_t>(free - entries_.begin());
  }
  if (index >= limit) return Errno(EMFILE);
  if (index >= entries_.size()) entries_.resize(index + 1);
  if (static_cast<size_t>(from) <= first_free_) first_free_ = index + 1;
  return index;
}

Result<Fd> FdTable::Add(Ref<File> file, bool close_on_exec, uint64_t limit, int from) {
  absl::MutexLock lock(&mu_);
  const size_t index = TRY(FindFreeLocked(limit, from));
  file->AddDescriptor();
  entries_[index] = {std::move(file), close_on_exec};
  return Fd{static_cast<int>(index)};
}

Result<Fd> FdTable::Reserve(uint64_t limit) {
  absl::MutexLock lock(&mu_);
  const size_t index = TRY(FindFreeLocked(limit, 0));
  entries_[index].reserved = true;
  return Fd{static_cast<int>(index)};
}

void FdTable::Install(Fd fd, Ref<File> file, bool close_on_exec) {
  absl::MutexLock lock(&mu_);
  file->AddDescriptor();
  entries_[static_cast<uint32_t>(fd)] = {std::move(file), close_on_exec};
}

void FdTable::Unreserve(Fd fd) {
  absl::MutexLock lock(&mu_);
  entries_[static_cast<uint32_t>(fd)] = {};
  FreeLocked(static_cast<uint32_t>(fd));
}

Result<Fd> FdTable::Replace(Fd to, Ref<File> file, bool close_on_exec, uint64_t limit) {
  const auto index = static_cast<uint32_t>(to);
  if (index >= std::min(limit, kMaxDescriptors)) return Errno(EBADF);
  Ref<File> replaced;
  {
    absl::MutexLock lock(&mu_);
    if (index >= entries_.size()) entries_.resize(index + 1);
    if (entries_[index].reserved) return Errno(EBUSY);
    file->AddDescriptor();
    replaced = std::exchange(entries_[index].file, std::move(file));
    entries_[index].close_on_exec = close_on_exec;
  }
  Drop(std::move(replaced));
  return to;
}

Result<Ref<File>> FdTable::Remove(Fd fd) {
  Ref<File> removed;
  {
    absl::MutexLock lock(&mu_);
    const auto index = static_cast<uint32_t>(fd);
    if (index >= entries_.size() || !entries_[index].file) return Errno(EBADF);
    removed = std::exchange(entries_[index], {}).file;
    FreeLocked(index);
  }
  removed->DropDescriptor();
  return removed;
}

Status FdTable::SetCloseOnExec(Fd fd, bool on) {
  absl::MutexLock lock(&mu_);
  const auto index = static_cast<uint32_t>(fd);
  if (index >= entries_.size() || !entries_[index].file) return Errno(EBADF);
  entries_[index].close_on_exec = on;
  return kOk;
}

void FdTable::CloseRange(uint32_t first, uint32_t last, bool only_mark) {
  std::vector<Ref<File>> closed;
  {
    absl::MutexLock lock(&mu_);
    for (size_t i = first; i <= last && i < entries_.size(); ++i) {
      if (!entries_[i].file) continue;
      if (only_mark) {
        entries_[i].close_on_exec = true;
      } else {
        closed.push_back(std::exchange(entries_[i], {}).file);
        FreeLocked(i);
      }
    }
  }
  for (Ref<File>& file : closed) Drop(std::move(file));
}

void FdTable::CloseOnExec() {
  std::vector<Ref<File>> closed;
  {
    absl::MutexLock lock(&mu_);
    for (size_t i = 0; i < entries_.size(); ++i) {
      if (!entries_[i].file || !entries_[i].close_on_exec) continue;
      closed.push_back(std::exchange(entries_[i], {}).file);
      FreeLocked(i);
    }
  }
  for (Ref<File>& file : closed) Drop(std::move(file));
}

void FdTable::CloseAll() { CloseRange(0, UINT32_MAX, /*only_mark=*/false); }

Ref<FdTable> FdTable::Copy() const {
  Ref<FdTable> copy = MakeRef<FdTable>();
  absl::MutexLock lock(&mu_);
  absl::MutexLock copy_lock(&copy->mu_);
  copy->entries_ = entries_;
  for (const FdEntry& entry : entries_) {
    if (entry.file) entry.file->AddDescriptor();
  }
  copy->first_free_ = 0;
  for (FdEntry& entry : copy->entries_) entry.reserved = false;
  return copy;
}

std::vector<Fd> FdTable::List() const {
  absl::MutexLock lock(&mu_);
  std::vector<Fd> open;
  for (size_t i = 0; i < entries_.size(); ++i) {
    if (entries_[i].file) open.push_back(Fd{static_cast<int>(i)});
  }
  return open;
}

}  // namespace sentry
