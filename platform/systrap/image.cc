#include <asm/prctl.h>
#include <linux/prctl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cstring>

#include "base/host_cpus.h"
#include "platform/native/stub.h"
#include "platform/systrap/context.h"

namespace platform::systrap {

using native::BatchCall;
using native::BatchHeader;
using native::SlotAddress;

namespace {

// Where injected descriptors go in a fresh stub, which has none of its own.
constexpr int kFirstDescriptor = 3;
// Left in a batch for what AddFastPath and the end of RunBatch add.
constexpr size_t kReserved = 8;

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
  if (batch_.size() + kReserved == native::kMaxBatch) {
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
  const BatchCall call{.nr = SYS_prctl, .args = {PR_SET_MM, PR_SET_MM_MAP, at, sizeof(map), 0, 0}};
  const bool known = platform_.places_breaks();
  if (!known && !Flush().ok()) return false;
  if (!process_->space->WriteObject(at, map)) return false;
  batch_.push_back(call);
  if (known) return true;
  // A host that cannot is no reason to fail.
  const bool set = RunBatch().ok();
  batch_.clear();
  if (set) platform_.SetPlacesBreaks();
  return set;
}

// A mailbox and the table of sites from the start, where that is likely to be of use.
void StubImage::AddFastPath() {
  if (std::exchange(filled_, true) || platform_.pool() == nullptr) return;
  // Its own mappings come before those of its interpreter.
  if (!descriptors_.empty()) {
    Ref<ImageCache::File> program = platform_.FindProgram(descriptors_.front().first);
    absl::MutexLock lock(&platform_.mu());
    process_->program = std::move(program);
  }
  if (!platform_.BirthsPatched(process_->program.get())) return;
  const bool taken = std::any_of(batch_.begin(), batch_.end(), [](const BatchCall& call) {
    return call.nr == SYS_mmap && call.args[0] < SITE_TABLE + SITE_MAPPED_SIZE &&
           call.args[0] + call.args[1] > SITE_TABLE;
  });
  if (taken) return;
  Result<Ref<SiteTable>> table = platform_.tables().Make();
  if (!table.ok()) return;
  const Result<size_t> mailbox = platform_.pool()->Allocate();
  if (!mailbox.ok()) return;
  const uint64_t slot = SlotAddress(0);
  const uint64_t address = slot + STUB_SLOT_MAILBOX;
  batch_.push_back({.nr = SYS_mmap,
                    .args = {SITE_TABLE, SITE_MAPPED_SIZE, PROT_READ | PROT_EXEC,
                             MAP_SHARED | MAP_FIXED_NOREPLACE,
                             static_cast<uint64_t>(platform_.tables().fd()), (*table)->offset()}});
  batch_.push_back({.nr = SYS_mmap,
                    .args = {address, STUB_MAILBOX_SIZE, PROT_READ | PROT_WRITE,
                             MAP_SHARED | MAP_FIXED, static_cast<uint64_t>(platform_.pool()->fd()),
                             platform_.pool()->offset(*mailbox)}});
  // A forked child must not share it.
  batch_.push_back({.nr = SYS_madvise, .args = {address, STUB_MAILBOX_SIZE, MADV_DONTFORK}});
  batch_.push_back({.nr = SYS_arch_prctl, .args = {ARCH_SET_GS, address}});
  batch_.push_back({.nr = STUB_STORE_CALL, .args = {slot + STUB_SLOT_HAS_MAILBOX, 1, 2}});
  mailbox_ = &platform_.pool()->Clear(*mailbox);
  absl::MutexLock lock(&platform_.mu());
  process_->born_patched = true;
  process_->sites->table = *std::move(table);
  process_->sites->SetMailbox(0, *mailbox);
}

// Where copies of files with patched calls are to be mapped instead: they, until that is done.
std::vector<Ref<const ImageCache::Copy>> StubImage::SubstituteCopies() {
  std::vector<Ref<const ImageCache::Copy>> copies;
  if (platform_.pool() == nullptr) return copies;
  for (BatchCall& call : batch_) {
    if (call.nr != SYS_mmap || (call.args[2] & PROT_EXEC) == 0 ||
        (call.args[3] & (MAP_TYPE | MAP_ANONYMOUS)) != MAP_PRIVATE) {
      continue;
    }
    const auto file =
        std::find_if(descriptors_.begin(), descriptors_.end(), [&](const auto& descriptor) {
          return static_cast<uint64_t>(descriptor.second) == call.args[4];
        });
    if (file == descriptors_.end()) continue;
    Ref<const ImageCache::Copy> copy;
    const int host_fd = platform_.MapExecutable(*process_->sites, file->first, call.args[0],
                                                call.args[1], call.args[5], copy);
    if (!copy) continue;
    call.args[4] = kFirstDescriptor + descriptors_.size();
    descriptors_.emplace_back(host_fd, static_cast<int>(call.args[4]));
    copies.push_back(std::move(copy));
  }
  return copies;
}

// The stub was forked wherever there was room, and is woken where it was last: for each descriptor
// and each batch this thread would sleep until another core has woken up.
void StubImage::Bind() {
  if (bound_ || HostCpuCount() < 2) return;
  const int cpu = sched_getcpu();
  if (cpu < 0 || cpu >= CPU_SETSIZE) return;
  cpu_set_t here;
  CPU_ZERO(&here);
  CPU_SET(cpu, &here);
  bound_ = sched_setaffinity(process_->pid, sizeof(here), &here) == 0;
}

void StubImage::Unbind() {
  if (!std::exchange(bound_, false)) return;
  sched_setaffinity(process_->pid, sizeof(cpu_set_t), &HostCpus());
}

Status StubImage::RunBatch() {
  if (batch_.empty()) return kOk;
  TRY(Park());
  Bind();
  AddFastPath();
  const auto copies = SubstituteCopies();
  for (const auto& [host, guest] : descriptors_) {
    TRY(process_->channel.listener.Inject(notification_, host, guest));
  }
  // Those of the zygote as well.
  const bool first = !std::exchange(closed_, true);
  if (first || !descriptors_.empty()) {
    batch_.push_back({.nr = SYS_close_range, .args = {kFirstDescriptor, ~uint32_t{0}, 0}});
  }
  const BatchHeader header{.count = batch_.size()};
  const auto head = std::as_bytes(std::span(&header, 1));
  const auto calls = std::as_bytes(std::span(batch_));
  std::vector<std::byte> bytes(head.begin(), head.end());
  bytes.insert(bytes.end(), calls.begin(), calls.end());
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

Status StubImage::JoinGroups(std::span<const int> files) {
  TRY(Flush());
  const uint64_t at = SlotAddress(0) + native::kBatchStruct;
  if (!process_->space->WriteObject(at, '0')) return Errno(EIO);
  for (const int file : files) {
    const int guest = kFirstDescriptor + static_cast<int>(descriptors_.size());
    descriptors_.emplace_back(file, guest);
    batch_.push_back({.nr = SYS_write, .args = {static_cast<uint64_t>(guest), at, 1}});
    if (descriptors_.size() < native::kMaxBatch / 2) continue;
    TRY(Flush());
    if (!process_->space->WriteObject(at, '0')) return Errno(EIO);
  }
  return Flush();
}

Result<StubImage::Parked> StubImage::Release() {
  TRY(Flush());
  TRY(Park());
  Unbind();
  absl::MutexLock lock(&platform_.mu());
  released_ = true;
  platform_.Unregister(*waiting_);
  waiting_->awaited = false;
  return Parked{process_, notification_, mailbox_};
}

Result<std::unique_ptr<Thread>> StubImage::Start(const Registers& registers, Guest& guest) {
  TRY(Flush());
  TRY(Park());
  const native::UserContext frame = native::MakeFrame(registers, SlotAddress(0));
  if (!process_->space->WriteObject(SlotAddress(0) + STUB_SLOT_FRAME, frame)) return Errno(EIO);
  const Parked parked = TRY(Release());
  process_->channel.zygote->Prepare();
  auto thread = MakeRef<HostThread>(&guest);
  thread->process = process_;
  thread->tid = process_->pid;
  thread->parked = parked.notification;
  thread->resume_command = STUB_COMMAND_LEAVE_SETUP;
  thread->mailbox = parked.mailbox;
  if (parked.mailbox != nullptr) guest.ShareSignals(&parked.mailbox->call.signals);
  platform_.StartChannel(process_->channel);
  absl::MutexLock lock(&platform_.mu());
  process_->family = platform_.NewFamilyLocked();
  process_->slots.insert(thread->slot);
  platform_.Register(*thread);
  return std::unique_ptr<Thread>(std::make_unique<StubThread>(platform_, thread));
}

Result<std::unique_ptr<Image>> Systrap::NewImage() {
  Channel& channel = ChooseChannel();
  const pid_t pid = TRY(channel.zygote->Spawn());
  return std::unique_ptr<Image>(std::make_unique<StubImage>(*this, channel, pid));
}

}  // namespace platform::systrap
