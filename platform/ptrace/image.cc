#include "platform/ptrace/image.h"

#include <linux/prctl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <algorithm>
#include <utility>

#include "platform/native/fp_state.h"
#include "platform/native/stub.h"
#include "platform/ptrace/guest_thread.h"

namespace platform::ptrace {
namespace {

// In a stub that is being filled: behind the batch.
constexpr uint64_t kReceiveBuffer = native::SlotAddress(0) + STUB_SLOT_FRAME;

}  // namespace

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
  Add(SYS_close_range, {0, kept - 1});
  Add(SYS_close_range, {kept + 1, ~uint32_t{0}});
  // Until now it had the sentry's.
  const std::vector<std::byte> xstate = TRY(tracee_.ReadXstate());
  return tracee_.WriteXstate(TRY(native::FromSignalFrame({}, xstate)));
}

void PtraceImage::Add(uint64_t nr, const Tracee::Args& args) {
  native::BatchCall call{.nr = nr};
  std::copy(args.begin(), args.end(), call.args);
  batch_.push_back(call);
}

void PtraceImage::Add(const Mapping& m) {
  if (m.host_fd >= 0 && m.host_fd != received_) {
    if (received_ >= 0) Add(SYS_close, {kReceived});
    const uint64_t channel = static_cast<uint64_t>(core_->channel().stub_end());
    Add(SYS_recvmsg, {channel, kReceiveBuffer, MSG_DONTWAIT});
    to_send_.push_back(m.host_fd);
    received_ = m.host_fd;
  }
  Add(SYS_mmap, {m.addr, m.length, static_cast<uint64_t>(m.prot),
                 static_cast<uint64_t>(m.flags) | MAP_FIXED_NOREPLACE |
                     (m.host_fd < 0 ? uint64_t{MAP_ANONYMOUS} : 0),
                 m.host_fd < 0 ? ~uint64_t{0} : kReceived, m.offset});
}

// Nobody else receives meanwhile, so that the descriptors come in their order.
Status PtraceImage::RunBatch() {
  if (received_ >= 0) Add(SYS_close, {kReceived});
  received_ = -1;
  const std::vector<native::BatchCall> batch = std::exchange(batch_, {});
  const std::vector<int> to_send = std::exchange(to_send_, {});
  if (batch.empty()) return kOk;
  DescriptorChannel& channel = core_->channel();
  absl::MutexLock lock(&channel.mu());
  if (!to_send.empty() &&
      !process_->space().WriteObject(kReceiveBuffer, ReceiveBuffer::At(kReceiveBuffer))) {
    return Errno(EIO);
  }
  Status sent = kOk;
  for (const int fd : to_send) {
    if (sent.ok()) sent = channel.Send(fd);
  }
  const Result<uint64_t> result =
      sent.ok() ? tracee_.RunBatch(process_->space(), batch) : Result<uint64_t>(sent.error());
  if (!to_send.empty()) channel.Drain();
  return result.ok() ? Status(kOk) : result.error();
}

Status PtraceImage::Flush() {
  // As few descriptors at a time as any host lets wait in a socket (net.unix.max_dgram_qlen).
  constexpr size_t kMostSent = 8, kMostCalls = native::kMaxBatch - 4;
  for (const Mapping& mapping : queue_) {
    if (error_.code() != 0) break;
    Add(mapping);
    if (to_send_.size() < kMostSent && batch_.size() < kMostCalls) continue;
    if (const Status status = RunBatch(); !status.ok()) error_ = status.error();
  }
  queue_.clear();
  if (error_.code() == 0) {
    if (const Status status = RunBatch(); !status.ok()) error_ = status.error();
  }
  return error_.code() == 0 ? Status(kOk) : error_;
}

Status PtraceImage::JoinGroups(std::span<const int> files) {
  TRY(RunBatch());
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
