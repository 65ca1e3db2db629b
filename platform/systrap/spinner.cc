// The thread that looks at mailboxes while a core is idle anyway. It stops after tens of
// microseconds without a call, and as soon as it is in the way of others: an idle sandbox costs
// nothing, and a busy machine little.
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <x86intrin.h>

#include "base/log.h"
#include "platform/systrap/carried.h"
#include "platform/systrap/core.h"

namespace platform::systrap {

using native::Mailbox;

namespace {

constexpr int64_t kIdleNs = 400'000;
constexpr int64_t kFirstIdleNs = 400'000;  // The call under way when it starts is a slow one.
constexpr int64_t kEagerIdleNs = 2'000'000;
// Nothing in the loop takes as long: somebody else has been running on this core. A little of that
// is the host's own business.
constexpr int64_t kGapNs = 30'000;
constexpr int64_t kMostLostNs = 300'000;
constexpr int64_t kMostLostPart = 8;
// A spell that answered fewer calls than this was a mistake.
constexpr uint64_t kWorthwhile = 3;
// One that ended because a handler had to wait: unless its calls came as fast as this.
constexpr int64_t kQuickNs = 8'000;
constexpr int64_t kFirstPauseNs = 1'000'000;
constexpr int64_t kLongestPauseNs = 64'000'000;
constexpr size_t kMostPolled = 16;

SyscallArgs ToArgs(const Mailbox& box) {
  // Copied once: the application can write to it.
  const volatile Mailbox& shared = box;
  SyscallArgs call{.nr = shared.nr, .ip = shared.after};
  for (int i = 0; i < 6; ++i) call.args[i] = shared.args[i];
  return call;
}

bool OneCpu() {
  cpu_set_t cpus;
  return sched_getaffinity(0, sizeof(cpus), &cpus) != 0 || CPU_COUNT(&cpus) < 2;
}

// The scheduler likes to wake a thread beside its waker, which is where the application runs.
void KeepAwayFrom(int cpu, const cpu_set_t& allowed) {
  cpu_set_t others = allowed;
  if (cpu < 0 || cpu >= CPU_SETSIZE || !CPU_ISSET(cpu, &others)) return;
  CPU_CLR(cpu, &others);
  if (CPU_COUNT(&others) > 0) sched_setaffinity(0, sizeof(others), &others);
}

}  // namespace

void Systrap::RequestPollingLocked(HostThread& thread) {
  if (thread.polled || thread.mailbox == nullptr || to_poll_.size() >= kMostPolled) return;
  if (!spinning_) {
    if (MonotonicNs() < spin_not_before_) return;
    if (!spinner_exists_) {
      if (OneCpu()) {
        spin_not_before_ = INT64_MAX;
        return;
      }
      pthread_attr_t attributes;
      pthread_attr_init(&attributes);
      pthread_attr_setstacksize(&attributes, 256 * 1024);
      pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
      pthread_t spinner;
      spinner_exists_ = pthread_create(&spinner, &attributes, &Systrap::SpinnerMain, this) == 0;
      pthread_attr_destroy(&attributes);
      if (!spinner_exists_) {
        spin_not_before_ = INT64_MAX;
        return;
      }
    }
  }
  thread.polled = true;
  busy_cpu_ = sched_getcpu();
  to_poll_.push_back({Ref<HostThread>::Share(thread), thread.mailbox});
  more_to_poll_.store(true, std::memory_order_relaxed);
  if (!spinning_) spinner_wake_.Signal();
}

void Systrap::StopPollingLocked(HostThread& thread) {
  thread.polled = false;
  if (thread.mailbox != nullptr) thread.mailbox->call.polled.store(0, std::memory_order_relaxed);
}

// By the worker in charge of the thread only: others may be using the pointer.
void Systrap::DetachMailboxLocked(HostThread& thread) {
  StopPollingLocked(thread);
  thread.mailbox = nullptr;
  thread.answer.reset();
  thread.approved.reset();
  thread.patch.reset();
}

void Systrap::StopPolling(std::vector<Polled>& set) {
  absl::MutexLock lock(&mu_);
  for (const Polled& polled : set) {
    if (polled.thread->mailbox == polled.page) StopPollingLocked(*polled.thread);
  }
}

void* Systrap::SpinnerMain(void* self) {
  prctl(PR_SET_NAME, "spinner", 0, 0, 0);
  static_cast<Systrap*>(self)->SpinnerLoop();
  return nullptr;
}

void Systrap::SpinnerLoop() {
  Worker worker;
  current_ = &worker;
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) CPU_ZERO(&allowed);
  for (;;) {
    int busy = -1;
    {
      absl::MutexLock lock(&mu_);
      while (to_poll_.empty() && !stopped_) spinner_wake_.Wait(&mu_);
      if (stopped_) return;
      spinning_ = true;
      spin_no_more_.store(false, std::memory_order_relaxed);
      busy = busy_cpu_;
    }
    if (sched_getcpu() == busy) KeepAwayFrom(busy, allowed);
    Spin(worker, allowed);
  }
}

void Systrap::Spin(Worker& worker, const cpu_set_t& allowed) {
  std::vector<Polled> set;
  worker.polled = &set;
  worker.blocked = false;
  uint64_t served = 0;
  int64_t lost = 0;
  const int64_t start = MonotonicNs();
  int64_t last_look = start;
  int64_t last_call = start;
  int64_t next_disturbance = start;
  bool crowded = false;
  bool moved = false;
  int64_t patience = eager_ ? kEagerIdleNs : kFirstIdleNs;
  const auto look = [&] {
    bool any = false;
    for (const Polled& polled : set) {
      if (!TryMailbox(polled)) continue;
      any = true;
      ++served;
      if (worker.blocked) break;
    }
    return any;
  };
  while (!worker.blocked && !crowded && !spin_no_more_.load(std::memory_order_relaxed)) {
    if (more_to_poll_.exchange(false, std::memory_order_relaxed)) {
      absl::MutexLock lock(&mu_);
      for (Polled& polled : to_poll_) {
        if (polled.thread->mailbox != polled.page || polled.thread->ended) continue;
        polled.page->call.polled.store(native::SlotAddress(polled.thread->slot) + STUB_SLOT_MAILBOX,
                                       std::memory_order_release);
        set.push_back(std::move(polled));
      }
      to_poll_.clear();
      last_look = last_call = MonotonicNs();
    }
    const bool any = look();
    const int64_t now = MonotonicNs();
    if (chaos_ && now >= next_disturbance) {
      // Any odd intervals: what counts is where in its code a thread is.
      next_disturbance = now + 5'000 + static_cast<int64_t>(__rdtsc() % 60'000);
      Disturb(set);
    }
    if (any) {
      last_call = now;
      if (!eager_) patience = kIdleNs;
    } else if (now - last_look > kGapNs) {
      lost += now - last_look;
      crowded = !eager_ && lost > kMostLostNs + (now - start) / kMostLostPart;
    }
    if (now - last_call > patience) break;
    if (served == 0 && !moved && now - start > kFirstIdleNs / 3) {
      // It may be in the way of the very thread that it waits for.
      KeepAwayFrom(sched_getcpu(), allowed);
      moved = true;
    }
    last_look = now;
    if (!any) __builtin_ia32_pause();
  }
  // Who has posted meanwhile withdraws the call, and makes it in the ordinary way.
  StopPolling(set);
  worker.polled = nullptr;
  absl::MutexLock lock(&mu_);
  spinning_ = false;
  const int64_t spent = MonotonicNs() - start;
  // Threads that wait for each other keep the cores busy by themselves.
  const bool slow = worker.blocked && static_cast<int64_t>(served) * kQuickNs < spent;
  const bool good = eager_ || (served >= kWorthwhile && !slow && !crowded &&
                               !spin_no_more_.load(std::memory_order_relaxed));
  LOG_DEBUG("spinner: %d calls in %d us, %d us lost%s%s", static_cast<int>(served),
            static_cast<int>(spent / 1000), static_cast<int>(lost / 1000),
            worker.blocked ? ", a handler waited" : "", good ? "" : ", not worth it");
  spin_pause_ = good ? 0 : std::clamp(2 * spin_pause_, kFirstPauseNs, kLongestPauseNs);
  if (spin_not_before_ != INT64_MAX) spin_not_before_ = MonotonicNs() + spin_pause_;
}

void Systrap::Disturb(const std::vector<Polled>& set) {
  absl::MutexLock lock(&mu_);
  for (const Polled& polled : set) {
    if (polled.thread->mailbox == polled.page) InterruptLocked(*polled.thread);
  }
}

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
  while (const auto next = LeaveCallback(thread)) ServeOne(thread, *next);
  KillDoomed(*current_);
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
}

}  // namespace platform::systrap
