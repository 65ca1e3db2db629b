#include "platform/systrap/context.h"

#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cstring>

#include "platform/native/stub.h"

namespace platform::systrap {

using native::BatchCall;
using native::BatchHeader;
using native::SlotAddress;
using native::UserContext;

namespace {

constexpr uint64_t kMachineOffset = offsetof(UserContext, machine);
// What the C library's threads call at least. Who starts threads one after the other is busy,
// though each of them is gone before it could be.
constexpr uint32_t kThreadCalls = 5;

}  // namespace

// What a stub has brought along is as little trusted as its memory.
size_t StubContext::LoadFrameBrought() {
  const uint64_t offset = frame_ - SlotAddress(thread_.slot);
  if (offset < STUB_SLOT_STACK || offset >= STUB_SLOT_USED) return 0;
  const uint64_t size = STUB_SLOT_USED - offset;
  if (size > MAILBOX_FRAME_SIZE) return 0;
  std::memcpy(window_.data(), thread_.mailbox->xstate, std::min(size, window_.size()));
  return std::min(size, window_.size());
}

bool StubContext::Load(bool along) {
  window_size_ = along && thread_.mailbox != nullptr ? LoadFrameBrought() : 0;
  brought_along_ = window_size_ != 0;
  if (!brought_along_) window_size_ = space().Read(frame_, window_);
  if (window_size_ < kMachineOffset + sizeof(machine_)) return false;
  std::memcpy(&machine_, &window_[kMachineOffset], sizeof(machine_));
  native::LoadRegisters(machine_, regs);
  loaded_ = regs;
  return true;
}

void StubContext::Resume() {
  if (exec_done_) {
    const UserContext frame = native::MakeFrame(regs, SlotAddress(0));
    space().WriteObject(frame_, frame);
    listener().Reply(notification_, STUB_COMMAND_LEAVE_SETUP);
    return;
  }
  if (self_ != nullptr) {
    native::StoreRegisters(regs, self_->context);
    // Also where the answer goes by notification: an interrupt on its heels has to see that there
    // are new registers.
    self_->self.state.store(MAILBOX_DONE, std::memory_order_release);
    Answer(STUB_COMMAND_RESUME);
    return;
  }
  if (std::memcmp(&regs, &loaded_, sizeof(regs)) != 0) {
    native::StoreRegisters(regs, machine_);
    if (brought_along_ && mailbox_ != nullptr && thread_.mailbox != nullptr) {
      thread_.mailbox->context = machine_;
      Answer(STUB_COMMAND_STORE);
      return;
    }
    space().WriteObject(frame_ + kMachineOffset, machine_);
  }
  Answer(STUB_COMMAND_RESUME);
}

void StubContext::Answer(int command) {
  if (mailbox_ != nullptr) {
    platform_.AnswerEvent(thread_, *mailbox_, command);
  } else {
    listener().Reply(notification_, command);
  }
}

void StubContext::LoadSelf(native::MailboxPage& page) {
  self_ = &page;
  regs = loaded_ = SelfRegisters(page);
}

Status StubContext::EnsureNotification() {
  if (mailbox_ == nullptr && self_ == nullptr) return kOk;
  // A thread that interrupted itself has no frame yet.
  if (self_ != nullptr) {
    const uint64_t slot = SlotAddress(thread_.slot);
    const std::vector<std::byte> frame = TRY(MakeChildFrame(slot, regs));
    if (space().Write(slot + STUB_SLOT_FRAME, frame) != frame.size()) return Errno(EFAULT);
  }
  SetAwaited(true);
  Answer(STUB_COMMAND_NOTIFY);
  Result<seccomp_notif> next = platform_.Await(thread_);
  // It may just have decided to wait asleep.
  while (next.ok() && next->data.args[0] == STUB_EVENT_MAILBOX) {
    listener().Reply(next->id, 0);
    next = platform_.Await(thread_);
  }
  SetAwaited(false);
  if (!next.ok()) return next.error();
  notification_ = next->id;
  mailbox_ = nullptr;
  if (self_ == nullptr) return kOk;
  self_ = nullptr;
  frame_ = SlotAddress(thread_.slot) + STUB_SLOT_FRAME;
  const Registers now = regs;
  if (!Load()) return Errno(EFAULT);
  regs = now;
  return kOk;
}

std::span<const std::byte> StubContext::LoadedFpState() const {
  const auto window = std::span(window_).first(window_size_);
  if (machine_.fpstate < frame_ || machine_.fpstate - frame_ >= window.size()) return {};
  const auto state = window.subspan(machine_.fpstate - frame_);
  if (state.size() < 512) return {};
  const size_t size = native::FpStateSize(state.first<512>());
  return size <= state.size() ? state.first(size) : std::span<const std::byte>{};
}

Result<std::vector<std::byte>> StubContext::ReadFpState() {
  if (self_ != nullptr) return SelfFpState(*self_);
  if (machine_.fpstate == 0) return std::vector<std::byte>{};
  if (const auto loaded = LoadedFpState(); !loaded.empty()) {
    return std::vector<std::byte>(loaded.begin(), loaded.end());
  }
  // In one copy: what a frame can hold is read at once, and cut to its size.
  std::vector<std::byte> state(native::kMaxFpState);
  const size_t got = space().Read(machine_.fpstate, state);
  if (got < 512) return Errno(EFAULT);
  const size_t size = native::FpStateSize(std::span(state).first<512>());
  if (size > got) return Errno(EFAULT);
  state.resize(size);
  return state;
}

Status StubContext::WriteFpState(std::span<const std::byte> state) {
  if (self_ != nullptr) TRY(EnsureNotification());
  if (state.empty()) {
    machine_.fpstate = 0;     // rt_sigreturn(2) then resets it.
    loaded_.rip = ~regs.rip;  // So that the frame is written back.
    return kOk;
  }
  if (state.size() < 512 || state.size() > native::kMaxFpState) return Errno(EINVAL);
  // The host's own frame has room for what the host's own state needs. A smaller one is marked by
  // its own header, which the host checks again.
  if (machine_.fpstate == 0) {
    machine_.fpstate = SlotAddress(thread_.slot) + native::kFrameFpState;
    loaded_.rip = ~regs.rip;
  }
  // A handler that used no vectors has left them as they were.
  const auto loaded = LoadedFpState();
  if (loaded.size() == state.size() &&
      std::memcmp(loaded.data(), state.data(), state.size()) == 0) {
    return kOk;
  }
  window_size_ = 0;
  if (space().Write(machine_.fpstate, state) != state.size()) return Errno(EFAULT);
  return kOk;
}

// Has the stub make one call. In the copy at STUB_CODE each is reported before it is made, and
// compared, since the application can write to the batch as well.
Result<uint64_t> StubContext::RunCall(uint64_t nr, std::span<const uint64_t, 6> args,
                                      uint64_t mailbox,
                                      const native::NativeAddressSpace::WritePiece& told) {
  struct {
    BatchHeader header;
    BatchCall call;
  } batch;
  batch.header = {.count = 1, .mark = platform_.NewMark()};
  batch.call.nr = nr;
  const bool leaves = (mailbox & ~uint64_t{STUB_CHILD_RUNS}) == 0 && thread_.mailbox != nullptr;
  batch.call.mailbox = mailbox | (leaves ? STUB_MAILBOX_OF_PARENT : 0);
  std::copy(args.begin(), args.end(), batch.call.args);
  TRY(EnsureNotification());
  const native::NativeAddressSpace::WritePiece pieces[] = {
      {.addr = SlotAddress(thread_.slot), .bytes = std::as_bytes(std::span(&batch, 1))}, told};
  if (!space().WriteAll(std::span(pieces).first(told.bytes.empty() ? 1 : 2))) return Errno(EIO);
  const bool forks = nr == SYS_clone && (args[0] & CLONE_THREAD) == 0;
  if (forks) platform_.BeginFork(thread_);
  SetAwaited(true);
  listener().Reply(notification_, STUB_COMMAND_BATCH);
  const Result<uint64_t> result = FollowCall(nr, args, batch.header.mark);
  SetAwaited(false);
  if (forks) platform_.EndFork(thread_);
  return result;
}

void StubContext::SetAwaited(bool awaited) {
  absl::MutexLock lock(&platform_.mu());
  thread_.awaited = awaited;
}

// Nothing that the stub says is believed: the call has to be seen, once (what is only told to have
// been made may be what keeps others apart), and the child of a clone has to be one.
Result<uint64_t> StubContext::FollowCall(uint64_t nr, std::span<const uint64_t, 6> args,
                                         uint64_t mark) {
  bool made = nr == STUB_STORE_CALL;  // Which the host does not see.
  for (;;) {
    const seccomp_notif next = TRY(platform_.Await(thread_));
    const seccomp_data& data = next.data;
    notification_ = next.id;
    if (!native::InStub(data.instruction_pointer, STUB_CODE)) break;
    if (data.nr == STUB_NOTIFY_CALL) {
      if (data.args[0] != STUB_EVENT_BATCH_DONE || !made) break;
      const int64_t result = static_cast<int64_t>(data.args[1]);
      if (result < 0 && result >= -4095) return Errno(static_cast<int>(-result));
      if (nr == SYS_clone && !platform_.IsNewborn(thread_, data.args[1], mark)) break;
      return static_cast<uint64_t>(result);
    }
    const bool same =
        static_cast<uint64_t>(data.nr) == nr && std::equal(args.begin(), args.end(), data.args);
    if (!same || std::exchange(made, true)) break;
    listener().Continue(next.id);
  }
  // The application has tampered with its stub. Its death tells the guests of all its threads.
  absl::MutexLock lock(&platform_.mu());
  if (!thread_.process->killed && !thread_.process->reaped) kill(thread_.process->pid, SIGKILL);
  return Errno(EIO);
}

Result<uint64_t> StubContext::HostCall(const HostCallRequest& request) {
  TRY(EnsureNotification());
  if (request.host_fd >= 0) {
    TRY(listener().Inject(notification_, request.host_fd, request.guest_fd));
  }
  const Result<uint64_t> result = RunCall(request.nr, request.args);
  if (request.host_fd >= 0) {
    const uint64_t args[6] = {static_cast<uint64_t>(request.guest_fd)};
    TRY(RunCall(SYS_close, args));
    absl::MutexLock lock(&platform_.mu());
    thread_.process->descriptors.erase(request.guest_fd);
  }
  return result;
}

Status StubContext::PrepareSlot(native::Slot slot) {
  if (slot.mapped) return kOk;
  const uint64_t args[6] = {SlotAddress(slot.index),
                            STUB_SLOT_USED,
                            PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
                            ~uint64_t{0},
                            0};
  TRY(RunCall(SYS_mmap, args));
  return kOk;
}

native::MailboxPage* StubContext::PrepareMailbox(native::Slot slot) {
  // The first thread in a slot may be one of many that stay.
  if (thread_.mailbox == nullptr || !slot.mapped) return nullptr;
  const Result<native::MailboxPage*> page = platform_.MapMailbox(*this, thread_, slot.index);
  return page.ok() ? *page : nullptr;
}

Result<std::vector<std::byte>> StubContext::MakeChildFrame(uint64_t slot,
                                                           const Registers& registers) {
  UserContext frame = native::MakeFrame(registers, slot);
  const std::vector<std::byte> fp = TRY(ReadFpState());
  // In one copy: the state lies closely above.
  constexpr size_t kStateOffset = native::kFrameFpState - STUB_SLOT_FRAME;
  std::vector<std::byte> bytes(fp.empty() ? sizeof(frame) : kStateOffset + fp.size());
  if (!fp.empty()) {
    constexpr uint64_t kExtended = 1;  // UC_FP_XSTATE
    frame.machine.fpstate = slot + native::kFrameFpState;
    if (fp.size() > 512) frame.flags |= kExtended;
    std::copy(fp.begin(), fp.end(), bytes.begin() + kStateOffset);
  }
  std::memcpy(bytes.data(), &frame, sizeof(frame));
  return bytes;
}

Result<std::unique_ptr<Thread>> StubContext::Clone(const CloneRequest& request, Guest& guest) {
  const bool shares_memory = (request.flags & CLONE_VM) != 0;
  const bool thread = (request.flags & CLONE_THREAD) != 0;
  const bool runs = thread && shares_memory && request.may_run;
  const native::Slot slot =
      shares_memory ? TRY(space().AllocateSlot()) : native::Slot{thread_.slot, true};
  const uint64_t base = SlotAddress(slot.index);

  uint64_t flags = request.flags & (CLONE_SETTLS | CLONE_CHILD_CLEARTID);
  flags |= thread ? CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM
                  : (request.flags & CLONE_VM) | CLONE_PARENT | SIGCHLD;
  const uint64_t args[6] = {flags,       shares_memory ? base + STUB_SLOT_USED - 64 : 0,
                            0,           request.child_tid,
                            request.tls, base + STUB_SLOT_FRAME};
  native::MailboxPage* mailbox = nullptr;
  bool displaced = false;
  {
    absl::MutexLock lock(&platform_.mu());
    displaced = thread_.displaced;
  }
  Result<uint64_t> tid = [&]() -> Result<uint64_t> {
    TRY(PrepareSlot(slot));
    // A forked child has no memory of its parent's mailboxes.
    if (shares_memory) mailbox = PrepareMailbox(slot);
    const std::vector<std::byte> frame = TRY(MakeChildFrame(base, request.registers));
    if (mailbox != nullptr) guest.ShareSignals(&mailbox->call.signals);
    const uint64_t place = mailbox != nullptr ? base + STUB_SLOT_MAILBOX : 0;
    return RunCall(SYS_clone, args, place | (runs ? STUB_CHILD_RUNS : 0),
                   {.addr = base + STUB_SLOT_FRAME, .bytes = frame});
  }();
  if (!tid.ok()) {
    if (mailbox != nullptr) guest.ShareSignals(nullptr);
    // A slot that could not be mapped must not be taken for mapped: it stays in use.
    if (shares_memory && slot.mapped) space().FreeSlot(slot.index);
    return tid.error();
  }

  if (thread) thread_.calls += kThreadCalls;
  auto child = MakeRef<HostThread>(&guest);
  child->tid = static_cast<pid_t>(*tid);
  child->slot = slot.index;
  child->resume_command = STUB_COMMAND_RESUME;
  child->runs = runs;
  child->uses_gs = thread_.uses_gs;
  child->mailbox = mailbox;
  child->busy = thread_.busy;
  absl::MutexLock lock(&platform_.mu());
  child->cpus = thread_.cpus;
  // It has inherited that, too, but nobody looks at its mailbox.
  child->displaced = displaced || thread_.displaced;
  if (child->displaced) platform_.MakeRoomLocked(*child, /*back=*/true);
  if (thread) {
    child->process = thread_.process;
  } else {
    child->process = MakeRef<HostProcess>(
        child->tid, thread_.process->channel,
        shares_memory ? thread_.process->space : space().Fork(slot.index),
        shares_memory ? thread_.process->sites : thread_.process->sites->Fork());
    child->process->descriptors = thread_.process->descriptors;
    child->process->released = thread_.process->released;
    child->process->family = platform_.NewFamilyLocked();
    child->process->parent_family = thread_.process->family;
    platform_.AddProcess(child->process);
    if (child->process->reaped) return Errno(EAGAIN);
  }
  if (thread_.process->killed && thread) return Errno(EIO);
  child->process->slots.insert(slot.index);
  platform_.Register(*child);
  return std::unique_ptr<Thread>(std::make_unique<StubThread>(platform_, child));
}

Status StubContext::Exec(Image& image) {
  StubImage::Parked parked = TRY(static_cast<StubImage&>(image).Release());
  if (thread_.mailbox != nullptr) thread_.guest->ShareSignals(nullptr);
  platform_.StartChannel(parked.process->channel);
  {
    absl::MutexLock lock(&platform_.mu());
    // Of a death before the thread is registered nobody would tell it.
    if (thread_.process->killed || parked.process->reaped) {
      platform_.KillLocked(*parked.process);
      return Errno(EIO);
    }
    platform_.Unregister(thread_);
    platform_.DetachMailboxLocked(thread_);
    thread_.uses_gs = false;
    thread_.process->space->FreeSlot(thread_.slot);
    thread_.process->slots.erase(thread_.slot);
    if (thread_.process->ledger) {
      parked.process->ledger = thread_.process->ledger;
      parked.process->ledger->Open();
      parked.process->before = platform_.CpuSplitLocked(*thread_.process);
    }
    parked.process->family = thread_.process->family;
    parked.process->parent_family = thread_.process->parent_family;
    platform_.KillLocked(*thread_.process);
    thread_.process = parked.process;
    thread_.tid = parked.process->pid;
    thread_.slot = 0;
    thread_.process->slots.insert(thread_.slot);
    thread_.last_reply.valid = false;
    platform_.Register(thread_);
    thread_.mailbox = parked.mailbox;
    if (thread_.interrupt_pending) {
      thread_.interrupt_pending = false;
      platform_.InterruptLocked(thread_);
    }
  }
  if (parked.mailbox != nullptr) thread_.guest->ShareSignals(&parked.mailbox->call.signals);
  notification_ = parked.notification;
  mailbox_ = nullptr;
  self_ = nullptr;
  frame_ = SlotAddress(0) + STUB_SLOT_FRAME;
  exec_done_ = true;
  return kOk;
}

}  // namespace platform::systrap
