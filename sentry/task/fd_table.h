// Descriptors: small numbers for open files. Shared by tasks with CLONE_FILES.
#ifndef SENTRY_TASK_FD_TABLE_H_
#define SENTRY_TASK_FD_TABLE_H_

#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "sentry/fs/file.h"

namespace sentry {

struct FdEntry {
  Ref<File> file;
  bool close_on_exec = false;
  bool reserved = false;  // For a file to come.
};

// Thread-safe. Files are released with no lock held. Closing the last descriptor of a description
// (descriptors in tables and in flight; not mappings) calls File::OnLastClose.
class FdTable : public RefCounted {
 public:
  ~FdTable() override;

  Result<Ref<File>> Get(Fd fd) const;
  Result<FdEntry> GetEntry(Fd fd) const;
  // Installs at the lowest free number >= `from`; EMFILE at `limit` (RLIMIT_NOFILE).
  Result<Fd> Add(Ref<File> file, bool close_on_exec, uint64_t limit, int from = 0);
  // Keeps the number that Add would take for Install, or until Unreserve. Nobody else sees it.
  Result<Fd> Reserve(uint64_t limit);
  void Install(Fd fd, Ref<File> file, bool close_on_exec);
  void Unreserve(Fd fd);
  // dup2: replaces what is at `to`. EBADF when `to` >= `limit`, EBUSY when it is reserved.
  Result<Fd> Replace(Fd to, Ref<File> file, bool close_on_exec, uint64_t limit);
  Result<Ref<File>> Remove(Fd fd);
  Status SetCloseOnExec(Fd fd, bool on);
  // close_range(2): closes, or marks close-on-exec.
  void CloseRange(uint32_t first, uint32_t last, bool only_mark);
  void CloseOnExec();
  void CloseAll();
  Ref<FdTable> Copy() const;
  // Open numbers in rising order, for /proc/PID/fd.
  std::vector<Fd> List() const;

 private:
  void FreeLocked(size_t index) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Result<size_t> FindFreeLocked(uint64_t limit, int from) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  mutable absl::Mutex mu_;  // Leaf.
  std::vector<FdEntry> entries_ ABSL_GUARDED_BY(mu_);
  size_t first_free_ ABSL_GUARDED_BY(mu_) = 0;  // No number below it is free.
};

}  // namespace sentry

#endif  // SENTRY_TASK_FD_TABLE_H_
