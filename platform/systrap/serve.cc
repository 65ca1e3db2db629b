// From a notification to a call-back and back.
#include <linux/futex.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "base/log.h"
#include "platform/native/stub.h"
#include "platform/systrap/context.h"
#include "platform/systrap/core.h"

namespace platform::systrap {
namespace {

SyscallArgs ToArgs(const seccomp_data& data) {
  SyscallArgs call{.nr = static_cast<uint32_t>(data.nr), .ip = data.instruction_pointer};
  for (int i = 0; i < 6; ++i) call.args[i] = data.args[i];
  return call;
}

// The sentry's last answer to a thread.
struct Answer {
  uint64_t ip = 0;
  int64_t value = 0;
};

constexpr uint16_t kSyscallCode = 0x050f;

enum class Wait : uint8_t {
  kNone,
  kInFront,  // Without a timeout, or not begun.
  kCutShort,
};

// Whether the thread was interrupted in a wait that the host executed. Puts it in front of the
// instruction, where the host has left one without a timeout; one with a timeout it has ended with
// EINTR, because a handler runs, the stub's. Such a wait is told by %rcx, which the host makes the
// address behind the call: whoever has been told EINTR here goes on with another %rcx, so that the
// next interrupt, which may come before it has run on (behind rt_sigreturn(2), too), does not take
// it for a wait once more.
Wait InterruptedWait(native::NativeAddressSpace& space, const Answer& last, Registers& regs) {
  constexpr uint64_t kFutexWaitv = 449, kFutexWait = 455;
  uint16_t code = 0;
  if (regs.rax == SYS_futex || regs.rax == kFutexWaitv || regs.rax == kFutexWait) {
    return space.ReadObject(regs.rip, code) && code == kSyscallCode ? Wait::kInFront : Wait::kNone;
  }
  if (static_cast<int64_t>(regs.rax) != -EINTR || regs.rcx != regs.rip) return Wait::kNone;
  regs.rcx = 0;
  const uint64_t command = regs.rsi & static_cast<uint64_t>(FUTEX_CMD_MASK) & 0xffffffff;
  if (regs.r10 == 0 || (command != FUTEX_WAIT && command != FUTEX_WAIT_BITSET) ||
      (last.ip == regs.rip && last.value == -EINTR)) {
    return Wait::kNone;
  }
  if (!space.ReadObject(regs.rip - kSyscallSize, code) || code != kSyscallCode) return Wait::kNone;
  regs.rip -= kSyscallSize;
  regs.rax = SYS_futex;
  return Wait::kCutShort;
}

// Of the stub in which the thread is now.
const Listener& ListenerOf(const HostThread& thread) { return thread.process->channel.listener; }

// What a signal leaves behind of an interrupted call with the number -1, which the host takes for
// no call at all: a code that is meant for itself (ERESTARTSYS to ERESTART_RESTARTBLOCK).
bool IsRestartCode(native::NativeAddressSpace& space, const Registers& regs) {
  constexpr int64_t kFirst = -516, kLast = -512;
  const auto value = static_cast<int64_t>(regs.rax);
  uint16_t code = 0;
  return value >= kFirst && value <= kLast && space.ReadObject(regs.rip - kSyscallSize, code) &&
         code == kSyscallCode;
}

SyscallArgs ToArgs(const Registers& r) {
  return {.nr = r.rax, .args = {r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9}, .ip = r.rip};
}

}  // namespace

void Systrap::InterruptLocked(HostThread& thread) {
  if (thread.ended || thread.process->killed) return;
  if (thread.interrupt_pending) {
    // A stub that does not take what was deferred is made to.
    if (!thread.deferred || thread.in_callback) return;
    thread.deferred = false;
  } else {
    thread.interrupt_pending = true;
    if (thread.in_mail || thread.in_self) {
      thread.deferred = true;
      return;
    }
  }
  syscall(SYS_tgkill, thread.process->pid, thread.tid, STUB_INTERRUPT_SIGNAL);
}

void Systrap::ResumeIfReadyLocked(HostThread& thread) {
  if (!thread.start_requested || !thread.parked.has_value() || thread.started) return;
  thread.started = true;
  thread.process->channel.listener.Reply(*thread.parked, thread.resume_command);
  thread.parked.reset();
}

Ref<HostThread> Systrap::Route(Channel& channel, const seccomp_notif& notification) {
  absl::MutexLock lock(&mu_);
  const auto it = threads_.find(static_cast<pid_t>(notification.pid));
  if (it == threads_.end()) {
    unclaimed_[static_cast<pid_t>(notification.pid)] = {&channel, notification};
    return nullptr;
  }
  HostThread& thread = *it->second;
  auto& same_number = thread.process->sites->pool_use.same_number;
  if (!same_number.empty()) same_number.erase(thread.tid);
  if (thread.in_callback && !thread.awaited) {
    // It has given up waiting for the answer in its mailbox, or a signal has interrupted that; or
    // the answer to its last notification was quicker than the end of the call-back.
    const bool asleep = native::InStub(notification.data.instruction_pointer, STUB_CODE) &&
                        notification.data.nr == STUB_NOTIFY_CALL &&
                        notification.data.args[0] == STUB_EVENT_MAILBOX;
    if (asleep) {
      thread.asleep = notification.id;
    } else {
      thread.late = notification;
    }
    return nullptr;
  }
  if (thread.awaited) {
    thread.inbox = notification;
    thread.arrived.Signal();
    return nullptr;
  }
  if (!thread.started && thread.runs) {
    thread.early = notification;
    return nullptr;
  }
  if (!thread.started) {
    thread.parked = notification.id;
    ResumeIfReadyLocked(thread);
    return nullptr;
  }
  if (thread.process->killed || thread.ended) return nullptr;
  thread.in_callback = true;
  thread.fresh = true;
  thread.caller = pthread_self();
  ++thread.process->calls;
  return it->second;
}

void Systrap::Serve(Channel& channel, const seccomp_notif& notification) {
  const Ref<HostThread> thread = Route(channel, notification);
  if (!thread) return;
  current_->serves = thread.get();
  ServeAll(*thread, notification);
  // If it has waited, perhaps on another thread.
  Here().serves = nullptr;
  KillDoomed(Here());
}

void Systrap::ServeAll(HostThread& thread, std::optional<seccomp_notif> notification) {
  while (notification.has_value()) {
    if (ServeOne(thread, *notification)) return;
    notification = LeaveCallback(thread);
  }
}

bool Systrap::ServeOne(HostThread& thread, const seccomp_notif& notification) {
  if (!native::InStub(notification.data.instruction_pointer, STUB_CODE)) {
    return ServeSyscall(thread, notification);
  }
  if (notification.data.nr == STUB_NOTIFY_CALL) {
    const SyscallArgs report = ToArgs(notification.data);
    ServeEvent(thread, notification.id, std::span(report.args).first<3>());
  } else {
    // An application that jumped into the stub.
    ListenerOf(thread).Reply(notification.id, -EPERM);
  }
  return false;
}

std::optional<seccomp_notif> Systrap::LeaveCallback(HostThread& thread) {
  absl::MutexLock lock(&mu_);
  if (thread.asleep.has_value()) {
    ListenerOf(thread).Reply(*std::exchange(thread.asleep, std::nullopt), 0);
  }
  auto next = std::exchange(thread.late, std::nullopt);
  if (next.has_value() && !thread.ended && !thread.process->killed) {
    thread.fresh = true;
    return next;
  }
  EndCallbackLocked(thread);
  return std::nullopt;
}

void Systrap::EndCallbackLocked(HostThread& thread) {
  thread.fresh = true;
  thread.in_callback = false;
  thread.idle.SignalAll();
}

bool Systrap::ServeSyscall(HostThread& thread, const seccomp_notif& notification) {
  const SyscallArgs call = ToArgs(notification.data);
  // What was allowed by mailbox has to be the same call; what is another is judged anew.
  const auto approved = std::exchange(thread.approved, std::nullopt);
  if (approved.has_value() && *approved == call) {
    return FinishSyscall(thread, notification, {.kind = Verdict::Kind::kContinue});
  }
  const Verdict verdict = thread.guest->OnSyscall(call);
  if (pool() != nullptr) {
    if (verdict.kind == Verdict::Kind::kReturn && thread.mailbox != nullptr) {
      absl::MutexLock lock(&mu_);
      Keep(thread, call.nr, verdict);
    }
    if (verdict.kind == Verdict::Kind::kReturn) Observe(thread, call);
  }
  return FinishSyscall(thread, notification, verdict);
}

void Systrap::Keep(HostThread& thread, uint64_t nr, const Verdict& verdict) {
  if (!thread.fresh || !verdict.may_keep || thread.mailbox == nullptr) return;
  UpdateLocal(thread.mailbox->call, nr, verdict.value);
}

bool Systrap::FinishSyscall(HostThread& thread, const seccomp_notif& notification,
                            const Verdict& verdict) {
  switch (verdict.kind) {
    case Verdict::Kind::kGone:
      return false;
    case Verdict::Kind::kExitThread:
      EndThread(thread);
      ListenerOf(thread).Continue(notification.id);
      return false;
    case Verdict::Kind::kContinue:
      DropReleased(*thread.process, notification.id);
      if (verdict.host_fd >= 0) {
        const Status injected = InjectFor(thread, notification, verdict);
        if (!injected.ok()) {
          ListenerOf(thread).Reply(notification.id, -injected.error().code());
          return false;
        }
      } else if (notification.data.nr == SYS_close) {
        absl::MutexLock lock(&mu_);
        thread.process->descriptors.erase(static_cast<int>(notification.data.args[0]));
      } else if (notification.data.nr == SYS_arch_prctl &&
                 AnswerSegmentBase(thread, notification)) {
        return false;
      }
      ListenerOf(thread).Continue(notification.id);
      return false;
    case Verdict::Kind::kReturn: {
      const Listener& listener = ListenerOf(thread);
      bool left = false;
      {
        absl::MutexLock lock(&mu_);
        thread.last_reply = {.valid = thread.interrupt_pending,
                             .ip = notification.data.instruction_pointer,
                             .nr = static_cast<uint32_t>(notification.data.nr),
                             .value = verdict.value};
        // On this core the thread goes on at once, and this one after it: its next call may be in
        // the mailbox by then, where a call-back that is not over would keep it from being taken.
        left = !thread.late.has_value() && !thread.asleep.has_value();
        if (left) EndCallbackLocked(thread);
      }
      listener.Reply(notification.id, verdict.value);
      return left;
    }
  }
  return false;
}

Status Systrap::InjectFor(HostThread& thread, const seccomp_notif& notification,
                          const Verdict& verdict) {
  const auto* args = notification.data.args;
  Ref<const ImageCache::Copy> copy;
  int host_fd = verdict.host_fd;
  if (verdict.guest_fd == kPoolFd) BeginMappingByPoolFd(thread);
  // Elsewhere the address is not known yet.
  const bool code = notification.data.nr == SYS_mmap && (args[2] & PROT_EXEC) != 0 &&
                    (args[3] & (MAP_TYPE | MAP_FIXED)) == (MAP_PRIVATE | MAP_FIXED);
  if (code && pool() != nullptr) {
    host_fd = MapExecutable(*thread.process->sites, host_fd, args[0], args[1], args[5], copy);
  }
  return Inject(thread, notification.id, host_fd, verdict.guest_fd);
}

// Injecting costs as much as a whole notification: the thread is woken to install the descriptor.
// What maps a library maps the same descriptor several times.
Status Systrap::Inject(HostThread& thread, uint64_t id, int host_fd, int guest_fd) {
  const std::optional<native::HostFileId> file = native::IdentifyHostFile(host_fd);
  HostProcess& process = *thread.process;
  bool alone = false;
  {
    absl::MutexLock lock(&mu_);
    // Of several threads one may be about to close it, as it has been told to.
    alone = process.space->ThreadCount() <= 1;
    const auto known = process.descriptors.find(guest_fd);
    if (alone && file.has_value() && known != process.descriptors.end() && known->second == file) {
      return kOk;
    }
  }
  TRY(process.channel.listener.Inject(id, host_fd, guest_fd));
  absl::MutexLock lock(&mu_);
  process.descriptors[guest_fd] = alone ? file : std::nullopt;
  return kOk;
}

void Systrap::DropReleased(HostProcess& process, uint64_t id) {
  std::set<int> released;
  {
    absl::MutexLock lock(&mu_);
    if (process.released.empty()) return;
    released.swap(process.released);
    for (const int fd : released) {
      if (const auto it = process.descriptors.find(fd); it != process.descriptors.end()) {
        it->second.reset();
      }
    }
  }
  // The numbers stay in the set: the stub goes on to hold something there, which close(2) ends.
  for (const int fd : released) {
    (void)process.channel.listener.Inject(id, nothing_.get(), fd);
  }
}

bool Systrap::AwaitsAnswer(HostThread& thread) {
  absl::MutexLock lock(&mu_);
  if (thread.mailbox == nullptr || thread.interrupt_pending) return false;
  const native::MailboxPage& page = *thread.mailbox;
  const uint64_t states = page.call.state.load() | page.event.state.load() | page.self.state.load();
  return (states & MAILBOX_DONE) == 0;
}

void Systrap::CopyCarried(HostThread& thread, Registers& regs, const CarriedBack& back) {
  if (back.mask.has_value()) {
    // As Linux: the mask has been changed.
    if (!thread.process->space->WriteObject(back.address, *back.mask)) {
      regs.rax = static_cast<uint64_t>(-int64_t{EFAULT});
    }
    return;
  }
  const auto data = std::as_bytes(std::span(thread.mailbox->data)).first(back.size);
  const size_t written = thread.process->space->Write(back.address, data);
  // Somebody has taken the memory away meanwhile.
  if (written < back.size) {
    const bool in_part = back.in_part && written > 0;
    regs.rax = in_part ? written : static_cast<uint64_t>(-int64_t{EFAULT});
  }
}

void Systrap::EndTampered(HostThread& thread) {
  {
    absl::MutexLock lock(&mu_);
    KillLocked(*thread.process);
  }
  thread.guest->OnHostDeath(SIGSEGV);
}

void Systrap::ServeEvent(HostThread& thread, std::optional<uint64_t> notification,
                         std::span<const uint64_t, 3> args) {
  native::Mailbox* box =
      notification.has_value() || thread.mailbox == nullptr ? nullptr : &thread.mailbox->event;
  StubContext context(*this, thread, notification.value_or(0), box, args[2]);
  siginfo_t info{};
  int event = static_cast<int>(args[0]);
  if (event == STUB_EVENT_MAILBOX) {
    // Nothing is being handled any more: the answer is there, or an interrupt brings it.
    if (!AwaitsAnswer(thread)) {
      if (notification.has_value()) ListenerOf(thread).Reply(*notification, 0);
      return;
    }
    // The application has written to the mailbox, and would wait for ever.
    EndTampered(thread);
    return;
  }
  if (event == STUB_EVENT_SELF) {
    ServeSelf(thread, notification);
    return;
  }
  bool fault =
      event == SIGSEGV || event == SIGBUS || event == SIGFPE || event == SIGILL || event == SIGTRAP;
  if (!context.Load(/*along=*/box != nullptr && event == SIGSYS) ||
      (fault && !thread.process->space->ReadObject(args[1], info))) {
    // The guest has overwritten its own stub's frame, or forged an event.
    EndTampered(thread);
    return;
  }
  std::optional<Sites::Record> patch;
  if (pool() != nullptr) {
    Count(thread);
    const bool own_fault = fault && MayFault(context.regs.rip);
    CarriedBack back;
    {
      absl::MutexLock lock(&mu_);
      back = UnwindFastPath(context.regs, *thread.process->sites, thread.mailbox,
                            std::exchange(thread.answer, std::nullopt));
      // Memory that a call was to read or write is not there. The call is made again in the
      // ordinary way; what may have been deferred until it was done is not lost.
      if (own_fault && !MayFault(context.regs.rip)) {
        fault = false;
        event = STUB_INTERRUPT_SIGNAL;
      }
      if (event == STUB_INTERRUPT_SIGNAL) patch = std::exchange(thread.patch, std::nullopt);
    }
    if (back.size != 0) CopyCarried(thread, context.regs, back);
  }
  if (patch.has_value()) Patch(context, thread, *patch);
  Verdict verdict;
  if (event == SIGSYS) {
    verdict = thread.guest->OnContextSyscall(ToArgs(context.regs), context);
  } else if (event == STUB_INTERRUPT_SIGNAL) {
    Answer last_reply;
    {
      absl::MutexLock lock(&mu_);
      thread.interrupt_pending = false;
      thread.deferred = false;
      // A host that lost the answer has put the thread back in front of the call.
      const auto& last = thread.last_reply;
      if (last.valid && context.regs.rip == last.ip - 2 && context.regs.rax == last.nr) {
        context.regs.rip = last.ip;
        context.regs.rax = static_cast<uint64_t>(last.value);
      }
      thread.last_reply.valid = false;
      last_reply = {.ip = last.ip, .value = last.value};
    }
    if (IsRestartCode(*thread.process->space, context.regs)) {
      context.regs.rax = static_cast<uint64_t>(-int64_t{ENOSYS});
    }
    const Wait wait = InterruptedWait(*thread.process->space, last_reply, context.regs);
    context.cut_short = wait == Wait::kCutShort;
    verdict = thread.guest->OnInterrupt(context, wait != Wait::kNone);
  } else if (fault) {
    verdict = thread.guest->OnFault(info, context);
  } else {
    context.Resume();  // A forged event: nothing to report.
    return;
  }
  FinishContext(thread, context, verdict);
}

void Systrap::ServeSelf(HostThread& thread, std::optional<uint64_t> notification) {
  native::MailboxPage* page = thread.mailbox;
  if (page == nullptr || !self_interrupts_) {
    // Forged: no answer has asked for it.
    if (notification.has_value()) ListenerOf(thread).Reply(*notification, STUB_COMMAND_RESUME);
    return;
  }
  StubContext context(*this, thread, notification.value_or(0),
                      notification.has_value() ? nullptr : &page->self, 0);
  context.LoadSelf(*page);
  std::optional<Sites::Record> patch;
  {
    absl::MutexLock lock(&mu_);
    thread.interrupt_pending = false;
    thread.deferred = false;
    thread.in_self = true;
    patch = std::exchange(thread.patch, std::nullopt);
  }
  Count(thread);
  if (patch.has_value()) Patch(context, thread, *patch);
  FinishContext(thread, context, thread.guest->OnInterrupt(context, false));
  LeaveSelf(thread);
}

void Systrap::LeaveSelf(HostThread& thread) {
  absl::MutexLock lock(&mu_);
  thread.in_self = false;
  if (!thread.deferred || thread.ended || thread.process->killed) return;
  thread.deferred = false;
  syscall(SYS_tgkill, thread.process->pid, thread.tid, STUB_INTERRUPT_SIGNAL);
}

void Systrap::FinishContext(HostThread& thread, StubContext& context, const Verdict& verdict) {
  if (context.exec_done()) {
    // The new process is started even if it is to be killed at once: the order does not matter.
    context.Resume();
    thread.process->channel.zygote->Prepare();
    return;
  }
  switch (verdict.kind) {
    case Verdict::Kind::kReturn:
    case Verdict::Kind::kContinue:
      context.Resume();
      return;
    case Verdict::Kind::kExitThread: {
      // Not by exit(2), which only ordinary calls lead to: the thread ends with its process.
      absl::MutexLock lock(&mu_);
      thread.ended = true;
      Unregister(thread);
      return;
    }
    case Verdict::Kind::kGone:
      return;
  }
}

}  // namespace platform::systrap
