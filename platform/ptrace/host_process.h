// A stub process as the sentry sees it, for as long as anything refers to it.
#ifndef PLATFORM_PTRACE_HOST_PROCESS_H_
#define PLATFORM_PTRACE_HOST_PROCESS_H_

#include <sched.h>
#include <sys/types.h>

#include <cstdint>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "platform/api/usage.h"
#include "platform/native/address_space.h"
#include "platform/ptrace/tracee.h"

namespace platform::ptrace {

// Shared by the tracers of its threads. Thread-safe; nothing but AwaitKilled blocks. No signal goes
// to a number that may have been used again, because numbers are given back to the host only in
// here.
class HostProcess final : public RefCounted {
 public:
  HostProcess(pid_t tgid, Ref<native::NativeAddressSpace> space);

  native::NativeAddressSpace& space() const { return *space_; }
  pid_t tgid() const { return tgid_; }

  // True once the sentry has killed it.
  bool killed() const ABSL_LOCKS_EXCLUDED(mu_);
  void Kill() ABSL_LOCKS_EXCLUDED(mu_);
  void AwaitKilled() ABSL_LOCKS_EXCLUDED(mu_);
  // STUB_INTERRUPT_SIGNAL to one of its threads.
  void Interrupt(pid_t tid) ABSL_LOCKS_EXCLUDED(mu_);

  // See platform::Thread::SetAffinity.
  Status SetAffinity(pid_t tid, const cpu_set_t& cpus) ABSL_LOCKS_EXCLUDED(mu_);

  void AddThread(pid_t tid) ABSL_LOCKS_EXCLUDED(mu_);
  // Collects the thread and its wait status if it is dead by now. False while it is not.
  bool TryReap(pid_t tid, int* status = nullptr) ABSL_LOCKS_EXCLUDED(mu_);
  // It is about to end by itself and not to be read through any more.
  void RemoveThread(pid_t tid) ABSL_LOCKS_EXCLUDED(mu_);

  // Tracee::ReadException on one of its threads, in the place for signal frames that they share.
  Result<Exception> ReadException(Tracee& tracee) ABSL_LOCKS_EXCLUDED(frame_mu_);

  // CPU time of all its threads together. The last one known after its end.
  CpuTimes CpuSplit() ABSL_LOCKS_EXCLUDED(mu_);
  // Where its accounts go when it is reaped.
  void SetLedger(Ref<UsageLedger> ledger) ABSL_LOCKS_EXCLUDED(mu_);
  // See platform::Thread::SetHostLimit.
  Status SetLimit(int resource, uint64_t value) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  void RemoveLocked(pid_t tid) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const pid_t tgid_;
  const Ref<native::NativeAddressSpace> space_;
  absl::Mutex frame_mu_;    // The stub's memory at the top of slot 0. Taken first.
  mutable absl::Mutex mu_;  // Taken last, but for the address space's.
  std::vector<pid_t> tids_ ABSL_GUARDED_BY(mu_);
  bool killed_ ABSL_GUARDED_BY(mu_) = false;
  bool leader_reaped_ ABSL_GUARDED_BY(mu_) = false;
  CpuTimes cpu_ ABSL_GUARDED_BY(mu_);
  Ref<UsageLedger> ledger_ ABSL_GUARDED_BY(mu_);
};

}  // namespace platform::ptrace

#endif  // PLATFORM_PTRACE_HOST_PROCESS_H_
