// The thread that looks at mailboxes while a core is idle anyway. It stops after tens of
// microseconds without a call, and as soon as it is in the way of others: an idle sandbox costs
// nothing, and a busy machine little.
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <time.h>
#include <x86intrin.h>

#include "base/log.h"
#include "platform/systrap/core.h"

namespace platform::systrap {

using native::Mailbox;

namespace {

constexpr int64_t kIdleNs = 50'000;
constexpr int64_t kEagerIdleNs = 2'000'000;
// Nothing in the loop takes as long: somebody else has been running on this core. A little of that
// is the host's own business.
constexpr int64_t kGapNs = 30'000;
constexpr int64_t kMostLostNs = 300'000;
constexpr int64_t kMostLostPart = 8;
// A spell that answered fewer calls than this was a mistake.
constexpr uint64_t kWorthwhile = 128;
constexpr int64_t kFirstPauseNs = 4'000'000;
constexpr int64_t kLongestPauseNs = 512'000'000;
constexpr size_t kMostPolled = 16;

int64_t Now() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * int64_t{1'000'000'000} + now.tv_nsec;
}

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

}  // namespace

void Systrap::RequestPollingLocked(HostThread& thread) {
  if (thread.polled || thread.mailbox == nullptr || to_poll_.size() >= kMostPolled) return;
  if (!spinning_) {
    if (Now() < spin_not_before_) return;
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
  thread.missed = 0;
  thread.polled = true;
  to_poll_.push_back({Ref<HostThread>::Share(thread), thread.mailbox});
  more_to_poll_.store(true, std::memory_order_relaxed);
  if (!spinning_) spinner_wake_.Signal();
}

void Systrap::StopPollingLocked(HostThread& thread) {
  thread.polled = false;
  if (thread.mailbox != nullptr) thread.mailbox->polled.store(0, std::memory_order_relaxed);
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
    if (polled.thread->mailbox == polled.box) StopPollingLocked(*polled.thread);
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
  for (;;) {
    {
      absl::MutexLock lock(&mu_);
      while (to_poll_.empty() && !stopped_) spinner_wake_.Wait(&mu_);
      if (stopped_) return;
      spinning_ = true;
      spin_no_more_.store(false, std::memory_order_relaxed);
    }
    Spin(worker);
  }
}

void Systrap::Spin(Worker& worker) {
  std::vector<Polled> set;
  worker.polled = &set;
  worker.blocked = false;
  uint64_t served = 0;
  int64_t lost = 0;
  const int64_t start = Now();
  int64_t last_look = start;
  int64_t last_call = start;
  bool crowded = false;
  const int64_t patience = eager_ ? kEagerIdleNs : kIdleNs;
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
        if (polled.thread->mailbox != polled.box || polled.thread->ended) continue;
        polled.box->polled.store(native::SlotAddress(polled.thread->slot) + STUB_SLOT_MAILBOX,
                                 std::memory_order_release);
        set.push_back(std::move(polled));
      }
      to_poll_.clear();
      last_look = last_call = Now();
    }
    const bool any = look();
    const int64_t now = Now();
    if (any) {
      last_call = now;
    } else if (now - last_look > kGapNs) {
      lost += now - last_look;
      crowded = !eager_ && lost > kMostLostNs + (now - start) / kMostLostPart;
    }
    if (now - last_call > patience) break;
    last_look = now;
    if (!any) __builtin_ia32_pause();
  }
  // Who has posted meanwhile withdraws the call, and makes it in the ordinary way.
  StopPolling(set);
  worker.polled = nullptr;
  absl::MutexLock lock(&mu_);
  spinning_ = false;
  const bool good = eager_ || (served >= kWorthwhile && !crowded &&
                               !spin_no_more_.load(std::memory_order_relaxed));
  spin_pause_ = good ? 0 : std::clamp(2 * spin_pause_, kFirstPauseNs, kLongestPauseNs);
  if (spin_not_before_ != INT64_MAX) spin_not_before_ = Now() + spin_pause_;
}

bool Systrap::TryMailbox(const Polled& polled) {
  Mailbox& box = *polled.box;
  if ((box.state.load(std::memory_order_acquire) & MAILBOX_POSTED) == 0) return false;
  HostThread& thread = *polled.thread;
  {
    absl::MutexLock lock(&mu_);
    if (thread.mailbox != &box || thread.in_callback || thread.awaited || !thread.started ||
        thread.ended || thread.process->killed || thread.guest == nullptr) {
      return false;
    }
    const uint64_t state =
        box.state.fetch_and(~uint64_t{MAILBOX_POSTED}, std::memory_order_acq_rel);
    if ((state & MAILBOX_POSTED) == 0) return false;
    thread.in_callback = true;
    thread.caller = pthread_self();
    thread.answer.reset();
    thread.approved.reset();
  }
  const SyscallArgs call = ToArgs(box);
  // Only a stub that has been tampered with posts anything else.
  const Verdict verdict = IsMailable(dispositions_, call.nr) ? thread.guest->OnSyscall(call)
                                                             : Verdict{.value = -ENOSYS};
  FinishMail(thread, box, call, verdict);
  while (const auto next = LeaveCallback(thread)) ServeOne(thread, *next);
  return true;
}

void Systrap::FinishMail(HostThread& thread, Mailbox& box, const SyscallArgs& call,
                         const Verdict& verdict) {
  absl::MutexLock lock(&mu_);
  if (thread.mailbox != &box || thread.ended) return;
  MailAnswer answer;
  if (verdict.kind == Verdict::Kind::kReturn) {
    answer.value = verdict.value;
    UpdateLocal(box, call.nr, verdict.value);
  } else if (verdict.kind == Verdict::Kind::kContinue && verdict.host_fd < 0) {
    answer.refused = true;
    thread.approved = call;
  } else if (verdict.kind == Verdict::Kind::kContinue) {
    answer.value = -EIO;  // With a descriptor: no such call comes by mailbox.
  } else {
    return;  // The process is going, or gone.
  }
  // The thread must not run on before it has been interrupted: the interrupt brings the answer.
  if (thread.interrupt_pending) {
    thread.answer = answer;
    return;
  }
  box.value = static_cast<uint64_t>(answer.value);
  box.state.store(MAILBOX_DONE | (answer.refused ? uint64_t{MAILBOX_REFUSED} : 0),
                  std::memory_order_release);
}

}  // namespace platform::systrap
