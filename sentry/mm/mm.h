// What the sentry remembers of one address space. The host's list of mappings is the truth; here is
// only what the host cannot tell.
#ifndef SENTRY_MM_MM_H_
#define SENTRY_MM_MM_H_

#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "base/ref.h"
#include "platform/api/platform.h"
#include "sentry/fs/file.h"
#include "sentry/mm/memory_policy.h"
#include "sentry/mm/user_memory.h"

namespace sentry {

class Mm;

// What another component keeps for an address space: made at first use, copied by fork, gone with
// it.
class MmExtension {
 public:
  virtual ~MmExtension() = default;
  virtual std::unique_ptr<MmExtension> Fork(Mm& child) = 0;
};

// Shared by tasks with CLONE_VM, replaced by execve, copied by fork. Thread-safe.
class Mm : public RefCounted {
 public:
  // Where the pieces of the program lie (proc_pid_stat(5), prctl_set_mm(2)).
  struct Layout {
    uint64_t start_code = 0, end_code = 0, start_data = 0, end_data = 0;
    uint64_t start_brk = 0, stack_top = 0;
    uint64_t arg_start = 0, arg_end = 0, env_start = 0, env_end = 0;
    uint64_t auxv = 0, auxv_size = 0;
    bool native_brk = false;  // brk(2) is the host's; otherwise the sentry emulates it.
  };

  Mm(Ref<platform::AddressSpace> space, const Layout& layout, Ref<File> executable);

  UserMemory& memory() { return memory_; }
  Layout layout() const ABSL_LOCKS_EXCLUDED(layout_mu_);
  // prctl_set_mm(2): what the application says of itself, from now on.
  void SetLayout(const Layout& layout) ABSL_LOCKS_EXCLUDED(layout_mu_);
  const Ref<File>& executable() const { return executable_; }  // /proc/PID/exe.

  // Whether two tasks have ever had it at once.
  bool ever_shared() const { return shared_.load(std::memory_order_relaxed); }
  void SetShared() { shared_.store(true, std::memory_order_relaxed); }
  // What the application has registered by membarrier(2): bits 1 << MEMBARRIER_CMD_REGISTER_*. The
  // host knows of the platform's registration as well.
  std::atomic<int> membarriers{0};

  // Records that [addr, addr+length) maps `file` from `offset` on; replaces overlapping records.
  // What the application unmaps unasked is found when the record has grown: it holds at most about
  // twice what is mapped. Reads the host's mappings then, so no lock may be held.
  void RecordFile(uint64_t addr, uint64_t length, Ref<File> file, uint64_t offset, bool shared);
  void Forget(uint64_t addr, uint64_t length);
  // What a host mapping of inode `host_ino` is called here. For every file that was mapped, since
  // the host chooses most addresses and unmaps unasked. Bounded: the oldest go first.
  struct MappedFile {
    uint64_t host_dev = 0, host_ino = 0;
    std::string name;
    uint64_t dev = 0, ino = 0;
    bool noexec = false;  // Each time so far through a mount that forbids execution.
  };
  void RecordName(MappedFile file);
  std::vector<MappedFile> Names() const;
  // The first address in [addr, addr+length) that is mapped from a file on a mount that forbids
  // execution, without a hole in front of it. Asks the host if such a file has ever been mapped.
  std::optional<uint64_t> FindNoexec(uint64_t addr, uint64_t length) ABSL_LOCKS_EXCLUDED(mu_);

  // A copy for a forked child.
  Ref<Mm> Fork(Ref<platform::AddressSpace> space) const;

  struct FileRange {
    uint64_t addr = 0, length = 0, offset = 0;
    Ref<File> file;
    bool shared = false;
  };
  std::vector<FileRange> FileRanges() const;

  // What System V shared memory keeps; nullptr without any.
  MmExtension* extension() const;
  // The first one stays: returns it.
  MmExtension& AddExtension(std::unique_ptr<MmExtension> extension);

  // mbind(2). Thread-safe by itself.
  MemoryPolicies& policies() { return policies_; }

 private:
  static constexpr size_t kFirstSweep = 64;

  // Drops the records of which the host knows nothing any more.
  void Sweep() ABSL_LOCKS_EXCLUDED(mu_);

  UserMemory memory_;
  mutable absl::Mutex layout_mu_;  // Leaf.
  Layout layout_ ABSL_GUARDED_BY(layout_mu_);
  const Ref<File> executable_;
  std::atomic<bool> shared_{false};
  std::atomic<bool> has_noexec_{false};  // Of files: see MappedFile.
  MemoryPolicies policies_;
  mutable absl::Mutex mu_;  // Leaf.
  std::map<uint64_t, FileRange> ranges_ ABSL_GUARDED_BY(mu_);
  size_t next_sweep_ ABSL_GUARDED_BY(mu_) = kFirstSweep;  // Records.
  // By device and number on the host, and in the order they came.
  using HostId = std::pair<uint64_t, uint64_t>;
  std::map<HostId, MappedFile> names_ ABSL_GUARDED_BY(mu_);
  std::deque<HostId> names_order_ ABSL_GUARDED_BY(mu_);
  std::unique_ptr<MmExtension> extension_ ABSL_GUARDED_BY(mu_);  // Set once; goes first.
};

}  // namespace sentry

#endif  // SENTRY_MM_MM_H_
