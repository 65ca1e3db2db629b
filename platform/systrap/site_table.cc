#include "platform/systrap/site_table.h"

#include <fcntl.h>

#include <cstring>
#include <string>
#include <utility>

#include "platform/systrap/site_form.h"

namespace platform::systrap {

namespace {

constexpr size_t kMostTables = 2048;
// Beside those of SharedPool, and for the same reason.
constexpr int kFirstFd = 1000;

}  // namespace

SiteTable::SiteTable(std::byte* memory, const DispositionTable& dispositions, SharedPool* pool,
                     size_t piece)
    : memory_(memory), pool_(pool), piece_(piece) {
  // The generation goes on from that of the piece's last use.
  const auto head = MakeTableHead(dispositions);
  std::memcpy(memory_, head.data(), SITE_ERRORS_GENERATION);
  std::memset(memory_ + SITE_ERRORS_ANY, 0, sizeof(head) - SITE_ERRORS_ANY);
  SiteTable::Forget();
}

SiteTable::~SiteTable() {
  if (pool_ != nullptr) pool_->Free(piece_);
}

size_t SiteTable::Add() { return next_ < native::kMaxSites ? next_++ : 0; }

bool SiteTable::MayHold(size_t index, uint64_t after) const {
  const auto it = written_.find(index);
  return it == written_.end() || it->second == after;
}

void SiteTable::Write(size_t index, const native::SiteRecord& record) {
  written_[index] = record.after;
  std::memcpy(memory_ + index * SITE_RECORD_SIZE, &record, sizeof(record));
}

Result<std::unique_ptr<SiteTables>> SiteTables::Create(int proc_fd,
                                                       const DispositionTable& dispositions) {
  std::unique_ptr<SharedPool> pool =
      TRY(SharedPool::Create("sites", SITE_MAPPED_SIZE, kMostTables));
  const std::string name = "self/fd/" + std::to_string(pool->fd());
  const UniqueFd low(openat(proc_fd, name.c_str(), O_RDONLY | O_CLOEXEC));
  if (!low.valid()) return Errno::Last();
  UniqueFd fd(fcntl(low.get(), F_DUPFD_CLOEXEC, kFirstFd));
  if (!fd.valid()) return Errno::Last();
  return std::unique_ptr<SiteTables>(new SiteTables(std::move(pool), std::move(fd), dispositions));
}

Result<Ref<SiteTable>> SiteTables::Make() {
  const size_t piece = TRY(pool_->Allocate());
  return MakeRef<SiteTable>(pool_->at(piece), dispositions_, pool_.get(), piece);
}

}  // namespace platform::systrap
