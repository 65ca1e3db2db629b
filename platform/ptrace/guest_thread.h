// A guest thread: the state behind platform::Thread, and the sentry thread that traces it.
#ifndef PLATFORM_PTRACE_GUEST_THREAD_H_
#define PLATFORM_PTRACE_GUEST_THREAD_H_

#include <pthread.h>

#include <memory>

#include "absl/synchronization/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "platform/api/platform.h"
#include "platform/ptrace/core.h"
#include "platform/ptrace/host_process.h"
#include "platform/ptrace/tracee.h"

namespace platform::ptrace {

// Shared by its tracer thread and by its handle. The tracer alone uses tracee_ and the other
// members without a guard.
class GuestThread final : public RefCounted {
 public:
  // Creates the tracer thread, which then waits for Trace or Abandon.
  static Result<Ref<GuestThread>> Create(Ref<Core> core, Guest& guest);
  // Host thread `tid`, which waits for a tracer, starts with `registers`.
  void Trace(Ref<HostProcess> process, pid_t tid, const Registers& registers)
      ABSL_LOCKS_EXCLUDED(mu_);
  // There is nothing to trace.
  void Abandon() ABSL_LOCKS_EXCLUDED(mu_);

  // For the handle, see platform::Thread.
  void Start() ABSL_LOCKS_EXCLUDED(mu_);
  void Interrupt() ABSL_LOCKS_EXCLUDED(mu_);
  void KillProcess() ABSL_LOCKS_EXCLUDED(mu_);
  AddressSpace& address_space() const ABSL_LOCKS_EXCLUDED(mu_);
  CpuTimes CpuSplit() ABSL_LOCKS_EXCLUDED(mu_);
  void SetLedger(Ref<UsageLedger> ledger) ABSL_LOCKS_EXCLUDED(mu_);
  Status SetHostLimit(int resource, uint64_t value) ABSL_LOCKS_EXCLUDED(mu_);
  Status SetAffinity(const cpu_set_t& cpus) ABSL_LOCKS_EXCLUDED(mu_);
  int host_tid() const ABSL_LOCKS_EXCLUDED(mu_);
  // No call-back is under way when it returns, and none comes any more.
  void ReleaseGuest() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  friend class GuestContext;

  // What the tracee does next.
  enum class Next : uint8_t {
    kRun,      // The application runs.
    kExecute,  // The host executes the call in whose front it stands.
    kExit,     // The thread ends.
    kDie,      // Its process has been killed.
    kHalt,     // It stands still until its process is killed, which is under way.
  };

  GuestThread(Ref<Core> core, Guest& guest) : core_(std::move(core)), guest_(guest) {}

  static void* TracerMain(void* self);
  void Serve();
  bool Attach();
  void Handle(Tracee::Stop stop);
  void HandleCall();
  void HandleSignal();
  void RunInterrupt();
  void Apply(const Verdict& verdict, const SyscallArgs& call);
  void Obey(const Verdict& verdict, class GuestContext& context);
  void ExecuteApproved(const Verdict& verdict, const SyscallArgs& call);
  // Lets the tracee go on as next_ says. False when it never stops again.
  bool Continue();
  void End();

  // Brackets of a call-back; when the first one refuses there is none, and it has set next_.
  bool EnterGuest() ABSL_LOCKS_EXCLUDED(mu_);
  void LeaveGuest() ABSL_LOCKS_EXCLUDED(mu_);
  // True when an interrupt is due now: it is no longer pending, and a call-back has begun.
  // Otherwise interrupts are sent as signals from here on.
  bool TakeInterruptOrRun() ABSL_LOCKS_EXCLUDED(mu_);
  void MarkRunning() ABSL_LOCKS_EXCLUDED(mu_);

  Result<uint64_t> HostCall(const Context::HostCallRequest& request);
  Result<std::unique_ptr<Thread>> Clone(const CloneRequest& request, Guest& guest);
  Status Exec(class PtraceImage& image);

  const Ref<Core> core_;
  Guest& guest_;           // Used between EnterGuest and LeaveGuest.
  Ref<HostProcess> host_;  // The tracer's copy of process_.
  Tracee tracee_;
  Next next_ = Next::kRun;
  bool rewound_ = false;  // The thread stands in front of a call that was interrupted.

  mutable absl::Mutex mu_;                         // Before HostProcess's.
  Ref<HostProcess> process_ ABSL_GUARDED_BY(mu_);  // Changed by the tracer only.
  pid_t tid_ ABSL_GUARDED_BY(mu_) = 0;
  Registers first_registers_ ABSL_GUARDED_BY(mu_);
  pthread_t tracer_ ABSL_GUARDED_BY(mu_) = {};
  bool released_ ABSL_GUARDED_BY(mu_) = false;  // guest_ is not to be used any more.
  bool abandoned_ ABSL_GUARDED_BY(mu_) = false;
  bool started_ ABSL_GUARDED_BY(mu_) = false;
  bool interrupt_pending_ ABSL_GUARDED_BY(mu_) = false;
  bool running_ ABSL_GUARDED_BY(mu_) = false;  // Outside call-backs and injected calls.
  bool in_guest_ ABSL_GUARDED_BY(mu_) = false;
  bool ended_ ABSL_GUARDED_BY(mu_) = false;  // By kExitThread.
  CpuTimes cpu_before_exec_ ABSL_GUARDED_BY(mu_);
  Ref<UsageLedger> ledger_ ABSL_GUARDED_BY(mu_);
};

// The handle that the sentry owns.
class PtraceThread final : public Thread {
 public:
  explicit PtraceThread(Ref<GuestThread> thread) : thread_(std::move(thread)) {}
  ~PtraceThread() override { thread_->ReleaseGuest(); }

  void Start() override { thread_->Start(); }
  void Interrupt() override { thread_->Interrupt(); }
  void KillProcess() override { thread_->KillProcess(); }
  // Descriptors never stay: the call that wants one has another number put in its argument.
  bool HoldsDescriptor(int) override { return false; }
  AddressSpace& address_space() override { return thread_->address_space(); }
  uint64_t CpuTimeNs() override { return thread_->CpuSplit().total_ns(); }
  CpuTimes CpuSplit() override { return thread_->CpuSplit(); }
  void SetLedger(Ref<UsageLedger> ledger) override { thread_->SetLedger(std::move(ledger)); }
  Status SetHostLimit(int resource, uint64_t value) override {
    return thread_->SetHostLimit(resource, value);
  }
  Status SetAffinity(const cpu_set_t& cpus) override { return thread_->SetAffinity(cpus); }
  int host_tid() const override { return thread_->host_tid(); }

 private:
  const Ref<GuestThread> thread_;
};

}  // namespace platform::ptrace

#endif  // PLATFORM_PTRACE_GUEST_THREAD_H_
