// The tables through which patched sites jump (SITE_TABLE in native/layout.h).
#ifndef PLATFORM_SYSTRAP_SITE_TABLE_H_
#define PLATFORM_SYSTRAP_SITE_TABLE_H_

#include <atomic>
#include <memory>
#include <span>

#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "platform/api/disposition.h"
#include "platform/api/known_errors.h"
#include "platform/native/stub.h"
#include "platform/systrap/shared_pool.h"

namespace platform::systrap {

// Records from here on are a process's own; those in front of them mean the same site of the same
// file in every process that maps its copy (ImageCache).
inline constexpr size_t kFirstOwnSite = 768;
static_assert(kFirstOwnSite > native::kFirstSite && kFirstOwnSite < native::kMaxSites);

// The table of a program and of what it forks: written here, and mapped there from a descriptor
// that can only be read, so that no protection makes it writable. What a process adds for itself
// the others see as well, and do not use. Guarded by Systrap::mu(), but for the errors behind it.
class SiteTable : public KnownErrors {
 public:
  // SITE_MAPPED_SIZE bytes at `memory`; `pool` gets the piece back, if there is one.
  SiteTable(std::byte* memory, const DispositionTable& dispositions, SharedPool* pool = nullptr,
            size_t piece = 0);
  // When no host process has it mapped any more.
  ~SiteTable() override;

  uint64_t offset() const { return pool_ == nullptr ? 0 : pool_->offset(piece_); }
  // A record of the process's own; 0 when there is no room.
  size_t Add();
  // Whether a record is free, or is of this address behind a call: what several processes jump
  // through never comes to mean another one, though only one of them has mapped it so far.
  bool MayHold(size_t index, uint64_t after) const;
  void Write(size_t index, const native::SiteRecord& record);

  // The errors, in error_table.cc.
  void Keep(const KnownError& known) override ABSL_LOCKS_EXCLUDED(errors_mu_);
  void Forget() override;
  void Close() override ABSL_LOCKS_EXCLUDED(errors_mu_);
  bool WantsMany() override;
  bool closed() const { return closed_.load(std::memory_order_relaxed); }

 private:
  std::byte* const memory_;
  SharedPool* const pool_;
  const size_t piece_;
  size_t next_ = kFirstOwnSite;
  absl::flat_hash_map<size_t, uint64_t> written_;  // The addresses, by record.

  std::atomic<uint64_t>& Word(size_t offset) const {
    return *reinterpret_cast<std::atomic<uint64_t>*>(memory_ + offset);
  }
  std::atomic<uint64_t> filled_{0};  // The last generation that many were wanted for.
  std::atomic<int> fillings_{0};
  absl::Mutex errors_mu_;  // Leaf.
  std::atomic<bool> closed_{false};  // Set with errors_mu_ held.
};

// Makes them. Thread-safe.
class SiteTables {
 public:
  // `proc_fd` is a procfs of this pid namespace. Before the sentry's own seccomp program.
  static Result<std::unique_ptr<SiteTables>> Create(int proc_fd,
                                                    const DispositionTable& dispositions);
  Result<Ref<SiteTable>> Make();
  // For stubs: read-only.
  int fd() const { return read_only_.get(); }

 private:
  SiteTables(std::unique_ptr<SharedPool> pool, UniqueFd read_only,
             const DispositionTable& dispositions)
      : pool_(std::move(pool)), read_only_(std::move(read_only)), dispositions_(dispositions) {}
  const std::unique_ptr<SharedPool> pool_;
  const UniqueFd read_only_;
  const DispositionTable dispositions_;
};

}  // namespace platform::systrap

#endif  // PLATFORM_SYSTRAP_SITE_TABLE_H_
