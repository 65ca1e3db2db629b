#include "platform/ptrace/guest_context.h"

#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>

#include "platform/native/fp_state.h"
#include "platform/ptrace/image.h"

namespace platform::ptrace {

Result<std::vector<std::byte>> GuestContext::ReadFpState() {
  return native::ToSignalFrame(TRY(tracee().ReadXstate()));
}

Status GuestContext::WriteFpState(std::span<const std::byte> state) {
  const std::vector<std::byte> current = TRY(tracee().ReadXstate());
  return tracee().WriteXstate(TRY(native::FromSignalFrame(state, current)));
}

Status GuestContext::Exec(Image& image) {
  // Every image that a guest can have comes from this platform.
  return thread_.Exec(static_cast<PtraceImage&>(image));
}

Result<uint64_t> GuestThread::HostCall(const Context::HostCallRequest& request) {
  Tracee::Args args;
  std::copy(std::begin(request.args), std::end(request.args), args.begin());
  if (request.host_fd < 0) return tracee_.Call(request.nr, args);
  return CallWithDescriptor(*core_, tracee_, *host_, request.nr, args, request.host_fd,
                            DescriptorArgument(request.nr));
}

Result<std::unique_ptr<Thread>> GuestThread::Clone(const CloneRequest& request, Guest& guest) {
  const bool thread = (request.flags & CLONE_THREAD) != 0;
  const bool shares_memory = thread || (request.flags & CLONE_VM) != 0;
  uint64_t flags = request.flags & (CLONE_SETTLS | CLONE_CHILD_CLEARTID);
  flags |= thread ? CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM
                  : (request.flags & CLONE_VM) | CLONE_PARENT | SIGCHLD;

  // The tracer first: a host thread that nobody traces could not be ended.
  const Ref<GuestThread> child = TRY(Create(core_, guest));
  auto handle = std::make_unique<PtraceThread>(child);
  Result<uint64_t> tid = Errno(EIO);
  {
    // A forked child inherits no descriptor that is under way. Its stack pointer is the caller's:
    // it goes to wait for its tracer without touching memory.
    absl::MutexLock lock(&core_->channel().mu());
    tid = tracee_.Call(SYS_clone, {flags, 0, 0, request.child_tid, request.tls});
  }
  if (!tid.ok()) {
    child->Abandon();
    return tid.error();
  }
  const pid_t child_tid = static_cast<pid_t>(*tid);
  Ref<HostProcess> process = host_;
  if (thread) {
    process->AddThread(child_tid);
  } else {
    process = MakeRef<HostProcess>(
        child_tid, shares_memory ? Ref<native::NativeAddressSpace>::Share(host_->space())
                                 : host_->space().Fork(/*used_slot=*/0));
  }
  child->Trace(std::move(process), child_tid, request.registers);
  return std::unique_ptr<Thread>(std::move(handle));
}

Status GuestThread::Exec(PtraceImage& image) {
  PtraceImage::Filled filled = TRY(image.Release());
  Ref<HostProcess> old;
  pid_t old_tid;
  {
    absl::MutexLock lock(&mu_);
    if (process_->killed()) {
      filled.process->Kill();
      core_->Bury(filled.process, filled.process->tgid());
      return Errno(EIO);
    }
    old_tid = tid_;
    tid_ = filled.process->tgid();
    old = std::exchange(process_, filled.process);
    const CpuTimes used = old->CpuSplit();
    cpu_before_exec_.user_ns += used.user_ns;
    cpu_before_exec_.system_ns += used.system_ns;
    if (ledger_) process_->SetLedger(ledger_);
  }
  old->Kill();
  host_ = std::move(filled.process);
  tracee_ = std::move(filled.tracee);
  core_->Bury(std::move(old), old_tid);
  return kOk;
}

}  // namespace platform::ptrace
