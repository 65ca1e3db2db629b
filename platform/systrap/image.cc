#include <linux/prctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <cstring>

#include "platform/native/stub.h"
#include "platform/systrap/context.h"

namespace platform::systrap {

using native::BatchCall;
using native::BatchHeader;
using native::SlotAddress;

namespace {

// Where injected descriptors go in a fresh stub, which has none of its own.
constexpr int kFirstDescriptor = 3;

}  // namespace

StubImage::StubImage(Systrap& platform, Channel& channel, pid_t pid)
    : platform_(platform),
      process_(MakeRef<HostProcess>(
          pid, channel,
          MakeRef<native::NativeAddressSpace>(platform.zygote(), channel.zygote->vdso()),
          MakeRef<Sites>(platform.pool()))),
      waiting_(MakeRef<HostThread>(nullptr)) {
  (void)*process_->space->AllocateSlot();  // Slot 0, mapped by the zygote.
  waiting_->process = process_;
  waiting_->tid = pid;
  waiting_->awaited = true;
  absl::MutexLock lock(&platform_.mu());
  platform_.AddProcess(process_);
  platform_.Register(*waiting_);
}

StubImage::~StubImage() {
  absl::MutexLock lock(&platform_.mu());
  if (released_) return;
  platform_.KillLocked(*process_);
}

Status StubImage::Park() {
  if (notification_ != 0) return kOk;
  const seccomp_notif parked = TRY(platform_.Await(*waiting_));
  if (parked.data.nr != STUB_NOTIFY_CALL || parked.data.args[0] != STUB_EVENT_PARKED) {
    return Errno(EIO);
  }
  notification_ = parked.id;
  return kOk;
}

void StubImage::Map(const Mapping& mapping) {
  if (batch_.size() == native::kMaxBatch) {
    const Status flushed = RunBatch();
    if (!flushed.ok() && error_.code() == 0) error_ = flushed.error();
  }
  uint64_t fd = ~uint64_t{0};
  uint64_t flags = static_cast<uint64_t>(mapping.flags) | MAP_FIXED_NOREPLACE;
  if (mapping.host_fd < 0) {
    flags |= MAP_ANONYMOUS;
  } else {
    const auto known = std::find_if(descriptors_.begin(), descriptors_.end(),
                                    [&](const auto& d) { return d.first == mapping.host_fd; });
    fd = static_cast<uint64_t>(known != descriptors_.end()
                                   ? known->second
                                   : kFirstDescriptor + static_cast<int>(descriptors_.size()));
    if (known == descriptors_.end()) {
      descriptors_.emplace_back(mapping.host_fd, static_cast<int>(fd));
    }
  }
  batch_.push_back({.nr = SYS_mmap,
                    .args = {mapping.addr, mapping.length, static_cast<uint64_t>(mapping.prot),
                             flags, fd, mapping.offset}});
}

bool StubImage::SetBreak(uint64_t start, uint64_t stack_top) {
  const prctl_mm_map map = native::BreakMap(start, stack_top);
  const uint64_t at = SlotAddress(0) + native::kBatchStruct;
  if (!Flush().ok()) return false;
  if (!process_->space->WriteObject(at, map)) return false;
  batch_.push_back({.nr = SYS_prctl, .args = {PR_SET_MM, PR_SET_MM_MAP, at, sizeof(map), 0, 0}});
  const bool set = RunBatch().ok();
  batch_.clear();
  return set;
}

Status StubImage::RunBatch() {
  if (batch_.empty()) return kOk;
  TRY(Park());
  for (const auto& [host, guest] : descriptors_) {
    TRY(process_->channel.listener.Inject(notification_, host, guest));
  }
  for (const auto& [host, guest] : descriptors_) {
    if (batch_.size() == native::kMaxBatch) break;  // Dropped below by close_range.
    batch_.push_back({.nr = SYS_close, .args = {static_cast<uint64_t>(guest)}});
  }
  std::vector<std::byte> bytes(sizeof(BatchHeader) + batch_.size() * sizeof(BatchCall));
  const BatchHeader header{.count = batch_.size()};
  std::memcpy(bytes.data(), &header, sizeof(header));
  std::memcpy(bytes.data() + sizeof(header), batch_.data(), batch_.size() * sizeof(BatchCall));
  batch_.clear();
  if (process_->space->Write(SlotAddress(0), bytes) != bytes.size()) return Errno(EIO);
  process_->channel.listener.Reply(notification_, STUB_COMMAND_BATCH);
  notification_ = 0;
  const seccomp_notif done = TRY(platform_.Await(*waiting_));
  if (done.data.nr != STUB_NOTIFY_CALL || done.data.args[0] != STUB_EVENT_BATCH_DONE) {
    return Errno(EIO);
  }
  notification_ = done.id;
  const int64_t result = static_cast<int64_t>(done.data.args[1]);
  if (result < 0 && result >= -4095) return Errno(static_cast<int>(-result));
  return kOk;
}

Status StubImage::Flush() {
  if (error_.code() != 0) return error_;
  const Status status = RunBatch();
  descriptors_.clear();
  if (!status.ok()) error_ = status.error();
  return status;
}

Result<StubImage::Parked> StubImage::Release() {
  TRY(Flush());
  TRY(Park());
  absl::MutexLock lock(&platform_.mu());
  released_ = true;
  platform_.Unregister(*waiting_);
  waiting_->awaited = false;
  return Parked{process_, notification_};
}

Result<std::unique_ptr<Thread>> StubImage::Start(const Registers& registers, Guest& guest) {
  TRY(Flush());
  TRY(Park());
  const native::UserContext frame = native::MakeFrame(registers, SlotAddress(0));
  if (!process_->space->WriteObject(SlotAddress(0) + STUB_SLOT_FRAME, frame)) return Errno(EIO);
  const Parked parked = TRY(Release());
  auto thread = MakeRef<HostThread>(&guest);
  thread->process = process_;
  thread->tid = process_->pid;
  thread->parked = parked.notification;
  thread->resume_command = STUB_COMMAND_LEAVE_SETUP;
  platform_.StartChannel(process_->channel);
  absl::MutexLock lock(&platform_.mu());
  process_->family = platform_.NewFamilyLocked();
  platform_.Register(*thread);
  return std::unique_ptr<Thread>(std::make_unique<StubThread>(platform_, thread));
}

Result<std::unique_ptr<Image>> Systrap::NewImage() {
  Channel& channel = ChooseChannel();
  const pid_t pid = TRY(channel.zygote->Spawn());
  return std::unique_ptr<Image>(std::make_unique<StubImage>(*this, channel, pid));
}

}  // namespace platform::systrap
