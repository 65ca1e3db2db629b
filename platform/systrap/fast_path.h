// Patched call sites and mailboxes: calls without a notification. See README.md.
#ifndef PLATFORM_SYSTRAP_FAST_PATH_H_
#define PLATFORM_SYSTRAP_FAST_PATH_H_

#include <time.h>

#include <array>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/functional/function_ref.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/ref.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "platform/api/disposition.h"
#include "platform/api/platform.h"
#include "platform/native/address_space.h"
#include "platform/native/stub.h"
#include "platform/systrap/image_cache.h"
#include "platform/systrap/shared_pool.h"
#include "platform/systrap/site_form.h"
#include "platform/systrap/site_table.h"

namespace platform::systrap {

// The number in a stub of the descriptor by which a mailbox, or a table of sites, is mapped: for that
// time the memory of all of them is open there (PoolUse). Not one that the application is likely to
// map a file by.
inline constexpr int kPoolFd = 1021;

// The memory of all mailboxes. Thread-safe.
class MailboxPool {
 public:
  // Before the sentry's own seccomp program is installed.
  static Result<std::unique_ptr<MailboxPool>> Create();

  Result<size_t> Allocate() { return pool_->Allocate(); }
  // No process has it any more.
  void Free(size_t index);
  native::MailboxPage& at(size_t index) const {
    return *reinterpret_cast<native::MailboxPage*>(pool_->at(index));
  }
  // The same, empty: for another thread.
  native::MailboxPage& Clear(size_t index) ABSL_LOCKS_EXCLUDED(mu_);
  uint64_t offset(size_t index) const { return pool_->offset(index); }
  int fd() const { return pool_->fd(); }
  // How often a stub looks whether somebody takes its call before it gives up, about 20 us: a copy
  // of 64 KiB for another one does not take longer.
  uint64_t Patience() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  explicit MailboxPool(std::unique_ptr<SharedPool> pool) : pool_(std::move(pool)) {}
  const std::unique_ptr<SharedPool> pool_;
  absl::Mutex mu_;  // Leaf.
  uint64_t patience_ ABSL_GUARDED_BY(mu_) = 0;
};

// What has been patched in one address space. Guarded by Systrap::mu().
class Sites : public RefCounted {
 public:
  explicit Sites(MailboxPool* pool) : pool_(pool) {}
  // Runs when no host process has this memory any more: only then may a page serve another one.
  ~Sites() override;

  // A forked child's: its memory holds the same table, but no mailboxes.
  Ref<Sites> Fork() const;

  enum class State : uint8_t { kCold, kPatched, kHopeless };
  struct Site {
    State state = State::kCold;
    uint32_t calls = 0;  // While its threads were busy.
  };
  // By the address behind the instruction; nullptr when too many are known already.
  Site* Find(uint64_t after);

  struct Record {
    uint64_t after = 0;
    uint64_t nr = 0;
    uint8_t displaced = 0;    // Size of the instruction in front of the call that was replaced.
    bool any_number = false;  // That instruction is executed elsewhere, and `nr` means nothing.
    uint64_t step = 0;        // The address of a step, if there is one.
    uint8_t step_size = 0;

    uint64_t start() const { return after - kSyscallSize - displaced; }
  };
  // For a new site; 0 when the table is full. There has to be one.
  size_t AddRecord(const Record& record);
  // Where in a range a step of `size` bytes may lie: beside others, if possible, and otherwise in a
  // page for which `is_free` says so; 0 if there is no room.
  uint64_t FreeStep(const StepRange& range, size_t size,
                    absl::FunctionRef<bool(uint64_t page)> is_free) const;
  // Whether the page at this address has steps, so that it is mapped.
  bool HasStepIn(uint64_t page) const;
  // It could not be made.
  void ForgetStep(size_t record) { records_[record].step = 0; }
  // A file whose code is mapped, to learn from or patched already.
  struct MappedImage {
    Ref<ImageCache::File> file;
    uint64_t start = 0, end = 0;
    uint64_t offset = 0;  // In the file, of `start`.
    Ref<const ImageCache::Copy> copy;
  };
  // Enters the sites of its copy, if it has one: there has to be a table. False when the same
  // file's copy is in use at another address, whose records it would need.
  bool AddImage(MappedImage image);
  // The image of an address behind a call that has not been seen in it yet; nullptr if there is
  // nothing to learn.
  const MappedImage* NewsFrom(uint64_t after);
  // Of an address in a record or in a step; nullptr if there is none.
  const Record* RecordAt(uint64_t address) const;

  Ref<SiteTable> table;   // Once it is mapped.
  bool hopeless = false;  // It cannot be.
  // One thread at a time: the protections of a page are changed and restored.
  bool being_patched = false;

  // The mailbox mapped at a slot.
  std::optional<size_t> MailboxOf(size_t slot) const;
  // Of many threads only so many have one: they stay where they are as long as the memory does.
  bool MayHaveMailbox(size_t slot) const {
    return mailboxes_.size() < kMostMailboxes || mailboxes_.contains(slot);
  }
  void SetMailbox(size_t slot, size_t index) { mailboxes_[slot] = index; }
  // Mapped or not, nobody can say: it is another process's when this memory is gone.
  void Retire(size_t index) { retired_.push_back(index); }

  // A piece of the memory of mailboxes and tables is mapped in one thread while no other one forks
  // or maps anything by the same descriptor: either would have that memory to itself afterwards.
  struct PoolUse {
    bool open = false;  // From when the descriptor is there until no child can inherit.
    int forks = 0;      // Under way.
    std::set<pid_t> same_number;  // May still map a file by kPoolFd, as they have been told to.
  };
  PoolUse pool_use;

 private:
  MailboxPool* const pool_;
  static constexpr size_t kMostImages = 64;
  static constexpr size_t kMostMailboxes = 128;
  absl::flat_hash_map<uint64_t, Site> sites_;
  absl::flat_hash_map<size_t, Record> records_;  // By their place in the table.
  std::vector<MappedImage> images_;
  absl::flat_hash_set<uint64_t> noted_;            // Calls that have been seen in them.
  absl::flat_hash_map<size_t, size_t> mailboxes_;  // By slot.
  std::vector<size_t> retired_;
};

// The extended state that a thread has stored in its mailbox, as it stands in a signal frame.
std::vector<std::byte> SelfFpState(const native::MailboxPage& page);
// Whether it fits.
bool CanStoreFpState();

// The registers that a thread has stored in its mailbox.
Registers SelfRegisters(const native::MailboxPage& page);

// Whether this machine has the instructions that the stub's fast path is made of.
bool CpuHasFastPath();

// CLOCK_MONOTONIC.
inline int64_t MonotonicNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * int64_t{1'000'000'000} + now.tv_nsec;
}

// Keeps what a call has shown, and forgets what it may have changed.
void UpdateLocal(native::Mailbox& box, uint64_t nr, int64_t value);
void ForgetLocal(native::Mailbox& box);

// What the sentry has found but not yet told.
struct MailAnswer {
  int64_t value = 0;
  bool refused = false;
  native::CarriedBuffer::Place carried;  // Bytes of the mailbox's data that go with it.
};
// Data in the mailbox that an unwound call has read, and where it belongs; or the mask that a call
// has replaced.
struct CarriedBack {
  uint64_t address = 0;
  size_t size = 0;
  bool in_part = false;  // Where not all of it finds room, the call tells how much did.
  std::optional<uint64_t> mask;
};
// Puts a thread that was interrupted in the fast path in front of its call or behind it. What is
// returned is still to be copied.
CarriedBack UnwindFastPath(Registers& regs, const Sites& sites, native::MailboxPage* page,
                           const std::optional<MailAnswer>& answer);
// Whether a fault here is the fast path's own, of memory that a call was to read or write.
bool MayFault(uint64_t ip);

}  // namespace platform::systrap

#endif  // PLATFORM_SYSTRAP_FAST_PATH_H_
