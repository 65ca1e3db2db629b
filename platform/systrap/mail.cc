// Calls and events by mailbox: from there to a call-back and back.
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "platform/systrap/carried.h"
#include "platform/systrap/core.h"

namespace platform::systrap {

using native::Mailbox;

namespace {

SyscallArgs ToArgs(const Mailbox& box) {
  // Copied once: the application can write to it.
  const volatile Mailbox& shared = box;
  SyscallArgs call{.nr = shared.nr, .ip = shared.after};
  for (int i = 0; i < 6; ++i) call.args[i] = shared.args[i];
  return call;
}

}  // namespace

bool Systrap::TryMailbox(const Polled& polled) {
  native::MailboxPage& page = *polled.page;
  HostThread& thread = *polled.thread;
  current_->serves = &thread;
  if (TakeMail(polled, page.event)) {
    const SyscallArgs report = ToArgs(page.event);
    ServeEvent(thread, std::nullopt, std::span(report.args).first<3>());
  } else if (TakeMail(polled, page.self)) {
    ServeSelf(thread, std::nullopt);
  } else if (TakeMail(polled, page.call)) {
    ServeMail(thread, page.call);
  } else {
    return false;
  }
  ServeAll(thread, LeaveCallback(thread));
  KillDoomed(Here());
  Here().serves = nullptr;
  return true;
}

// Begins a call-back for what is in a mailbox, if there is something, and nothing else is under
// way.
bool Systrap::TakeMail(const Polled& polled, Mailbox& box) {
  HostThread& thread = *polled.thread;
  if ((box.state.load(std::memory_order_acquire) & MAILBOX_POSTED) == 0) return false;
  absl::MutexLock lock(&mu_);
  if (thread.mailbox != polled.page || thread.in_callback || thread.awaited || !thread.started ||
      thread.ended || thread.process->killed || thread.guest == nullptr) {
    return false;
  }
  const uint64_t state = box.state.fetch_and(~uint64_t{MAILBOX_POSTED}, std::memory_order_acq_rel);
  if ((state & MAILBOX_POSTED) == 0) return false;
  thread.in_callback = true;
  thread.fresh = true;
  ++thread.process->calls;
  thread.caller = pthread_self();
  thread.in_mail = &box == &polled.page->call && self_interrupts_;
  return true;
}

void Systrap::AnswerEvent(HostThread& thread, Mailbox& box, int command) {
  absl::MutexLock lock(&mu_);
  box.value = static_cast<uint64_t>(command);
  box.state.store(MAILBOX_DONE, std::memory_order_release);
  if (thread.asleep.has_value()) {
    thread.process->channel.listener.Reply(*std::exchange(thread.asleep, std::nullopt), 0);
  }
}

void Systrap::ServeMail(HostThread& thread, Mailbox& box) {
  thread.answer.reset();
  thread.approved.reset();
  const SyscallArgs call = ToArgs(box);
  const volatile uint64_t& posted = box.carried;
  const CarriedPlaces places = CarriedBy(call, posted);
  const Ref<Sites> sites = thread.process->sites;  // So that the page is not another's meanwhile.
  std::optional<native::CarriedBuffer> carried;
  if (places.in.size != 0 || places.out.size != 0) {
    carried.emplace(*thread.process->space, places.in, places.out, thread.mailbox->data);
  }
  // Only a stub that has been tampered with posts anything else.
  const Verdict verdict = IsMailable(dispositions_, call.nr) ? thread.guest->OnSyscall(call)
                                                             : Verdict{.value = -ENOSYS};
  const auto written = carried.has_value() ? carried->written() : native::CarriedBuffer::Place();
  carried.reset();
  FinishMail(thread, box, call, verdict, written);
}

void Systrap::FinishMail(HostThread& thread, Mailbox& box, const SyscallArgs& call,
                         const Verdict& verdict, const native::CarriedBuffer::Place& carried) {
  absl::MutexLock lock(&mu_);
  thread.in_mail = false;
  const bool dozed = std::exchange(thread.dozes, false);
  if (thread.ended) return;
  MailAnswer answer;
  if (verdict.kind == Verdict::Kind::kReturn) {
    answer.value = verdict.value;
    answer.carried = carried;
    Keep(thread, call.nr, verdict);
  } else if (verdict.kind == Verdict::Kind::kContinue && verdict.host_fd < 0) {
    answer.refused = true;
    thread.approved = call;
  } else if (verdict.kind == Verdict::Kind::kContinue) {
    answer.value = -EIO;  // With a descriptor: no such call comes by mailbox.
  } else {
    return;  // The process is going, or gone.
  }
  // The thread must not run on before it has been interrupted: it does that itself, or the signal
  // on its way brings the answer.
  uint64_t state = MAILBOX_DONE | (answer.refused ? MAILBOX_REFUSED : 0);
  if (thread.interrupt_pending) {
    if (!thread.deferred || answer.refused) {
      thread.answer = answer;
      if (std::exchange(thread.deferred, false)) {
        syscall(SYS_tgkill, thread.process->pid, thread.tid, STUB_INTERRUPT_SIGNAL);
      }
      return;
    }
    state |= MAILBOX_INTERRUPT;
  }
  box.value = static_cast<uint64_t>(answer.value);
  box.to = answer.carried.address;
  box.carried = answer.carried.size;
  box.state.store(state, std::memory_order_release);
  if (dozed) syscall(SYS_futex, &box.state, FUTEX_WAKE, 1, nullptr, nullptr, 0);
}

}  // namespace platform::systrap
