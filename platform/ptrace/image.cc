#include "platform/ptrace/image.h"

#include <linux/prctl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "platform/native/fp_state.h"
#include "platform/native/stub.h"
#include "platform/ptrace/guest_thread.h"

namespace platform::ptrace {

Result<std::unique_ptr<Image>> PtraceImage::Create(Ref<Core> core) {
  const pid_t pid = TRY(core->zygote().Spawn());
  core->zygote().Prepare();
  auto space = MakeRef<native::NativeAddressSpace>(core->zygote());
  (void)space->AllocateSlot();  // Slot 0, which the zygote has mapped; there is no need for others.
  std::unique_ptr<PtraceImage> image(
      new PtraceImage(core, MakeRef<HostProcess>(pid, std::move(space))));
  TRY(image->tracee_.Attach(pid));
  TRY(image->Prepare());
  return std::unique_ptr<Image>(std::move(image));
}

PtraceImage::~PtraceImage() {
  if (released_) return;
  process_->Kill();
  core_->Bury(process_, process_->tgid());
}

Status PtraceImage::Prepare() {
  // The stub may have been stopped before it closed the zygote's socket. Only the channel stays.
  const uint64_t kept = static_cast<uint64_t>(core_->channel().stub_end());
  TRY(tracee_.Call(SYS_close_range, {0, kept - 1}));
  TRY(tracee_.Call(SYS_close_range, {kept + 1, ~uint32_t{0}}));
  // Until now it had the sentry's.
  const std::vector<std::byte> xstate = TRY(tracee_.ReadXstate());
  return tracee_.WriteXstate(TRY(native::FromSignalFrame({}, xstate)));
}

Status PtraceImage::Execute(const Mapping& m) {
  Tracee::Args args = {m.addr,
                       m.length,
                       static_cast<uint64_t>(m.prot),
                       static_cast<uint64_t>(m.flags) | MAP_FIXED_NOREPLACE,
                       ~uint64_t{0},
                       m.offset};
  if (m.host_fd < 0) args[3] |= MAP_ANONYMOUS;
  const uint64_t mapped = m.host_fd < 0
                              ? TRY(tracee_.Call(SYS_mmap, args))
                              : TRY(CallWithDescriptor(*core_, tracee_, *process_, SYS_mmap, args,
                                                       m.host_fd, DescriptorArgument(SYS_mmap)));
  // Hosts before Linux 4.17 take the address for a hint.
  return mapped == m.addr ? Status(kOk) : Errno(EEXIST);
}

Status PtraceImage::Flush() {
  for (const Mapping& mapping : queue_) {
    if (error_.code() != 0) break;
    const Status status = Execute(mapping);
    if (!status.ok()) error_ = status.error();
  }
  queue_.clear();
  return error_.code() == 0 ? Status(kOk) : error_;
}

Status PtraceImage::JoinGroups(std::span<const int> files) {
  const uint64_t at = native::SlotAddress(0) + native::kBatchStruct;
  if (!process_->space().WriteObject(at, '0')) return Errno(EIO);
  for (const int file : files) {
    TRY(CallWithDescriptor(*core_, tracee_, *process_, SYS_write, {0, at, 1}, file,
                           DescriptorArgument(SYS_write)));
  }
  return kOk;
}

bool PtraceImage::SetBreak(uint64_t start, uint64_t stack_top) {
  if (!Flush().ok()) return false;
  const prctl_mm_map map = native::BreakMap(start, stack_top);
  const uint64_t at = native::SlotAddress(0) + native::kBatchStruct;
  if (!process_->space().WriteObject(at, map)) return false;
  return tracee_.Call(SYS_prctl, {PR_SET_MM, PR_SET_MM_MAP, at, sizeof(map)}).ok();
}

Ref<AddressSpace> PtraceImage::address_space() {
  return Ref<AddressSpace>(Ref<native::NativeAddressSpace>::Share(process_->space()));
}

Result<PtraceImage::Filled> PtraceImage::Release() {
  if (released_ || !pthread_equal(owner_, pthread_self())) return Errno(EIO);
  TRY(Flush());
  // Replaced and not unmapped: nothing may ever be mapped where the filter allows every call.
  TRY(tracee_.Call(SYS_mmap,
                   {STUB_SETUP, STUB_CODE_SIZE, PROT_NONE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, ~uint64_t{0}, 0}));
  tracee_.UnblockSignals();
  released_ = true;
  return Filled{process_, std::move(tracee_)};
}

Result<std::unique_ptr<Thread>> PtraceImage::Start(const Registers& registers, Guest& guest) {
  const Ref<GuestThread> thread = TRY(GuestThread::Create(core_, guest));
  auto handle = std::make_unique<PtraceThread>(thread);
  Result<Filled> filled = Release();
  if (!filled.ok()) {
    thread->Abandon();
    return filled.error();
  }
  filled->tracee.Detach();
  thread->Trace(filled->process, filled->process->tgid(), registers);
  return std::unique_ptr<Thread>(std::move(handle));
}

}  // namespace platform::ptrace
