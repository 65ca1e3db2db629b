// The thread that looks at mailboxes while a core is idle anyway. It stops after tens of
// microseconds without a call, and as soon as it is in the way of others: an idle sandbox costs
// nothing, and a busy machine little.
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <x86intrin.h>

#include <algorithm>

#include "base/log.h"
#include "platform/systrap/core.h"

namespace platform::systrap {

using native::Mailbox;

namespace {

constexpr int64_t kIdleNs = 400'000;
constexpr int64_t kFirstIdleNs = 400'000;  // The call under way when it starts is a slow one.
constexpr int64_t kEagerIdleNs = 2'000'000;
constexpr int64_t kBusyIdleNs = 40'000;  // While others want to run.
// Nothing in the loop takes as long: somebody else has been running on this core. A little of that
// is the host's own business.
constexpr int64_t kGapNs = 30'000;
constexpr int64_t kMostLostNs = 300'000;
constexpr int64_t kMostLostPart = 8;
// A spell that answered fewer calls than this was a mistake.
constexpr int64_t kWorthwhile = 3;
// One that ended because a handler had to wait, or that was in the way of others: unless its calls
// came as fast as this.
constexpr int64_t kQuickNs = 8'000;
constexpr int64_t kFirstPauseNs = 1'000'000;
constexpr int64_t kLongestPauseNs = 64'000'000;
constexpr size_t kMostPolled = 32;
// Two threads with a CPU each and calls by notification, or both on one and this thread on the
// other: the latter pays if there is a call in that time.
constexpr int64_t kContendedNs = 4'000;
// If they wait for each other, what answering takes does not count, since they would not do it
// side by side; and waking one across cores costs more than a notification.
constexpr int64_t kTogetherNs = 8'000;
constexpr int64_t kCallsPerWait = 200;
constexpr int64_t kTrialNs = 1'000'000;
constexpr int64_t kCountNs = 50'000;      // Between looks at who else wants to run,
constexpr int64_t kNextLookNs = 200'000;  // and while there is no spinner because of them.
constexpr int64_t kMemoryNs = 10'000'000;
// Who has not called for so long is not looked at any more.
constexpr int64_t kSilenceNs = 10'000'000;
constexpr int64_t kTidyingNs = 5'000'000;
constexpr uint32_t kTurnsPerLook = 8;
constexpr size_t kIdleStrands = 2;

// Whether something waits to be taken.
bool IsPosted(const native::MailboxPage& page) {
  const auto state = [](const Mailbox& box) { return box.state.load(std::memory_order_relaxed); };
  return ((state(page.call) | state(page.event) | state(page.self)) & MAILBOX_POSTED) != 0;
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
  if (thread.polled || thread.mailbox == nullptr || to_poll_.size() + polled_ >= kMostPolled) {
    return;
  }
  if (!spinning_) {
    const int64_t now = MonotonicNs();
    if (now < spin_not_before_) return;
    // Who runs now goes to sleep when the caller goes on: that one needs a CPU, and so does the
    // spinner.
    if (!eager_ && !fast_path_->run_queue.HasSpare(1)) {
      spin_not_before_ = now + kNextLookNs;
      return;
    }
    if (!spinner_exists_) {
      if (OneCpu()) {
        spin_not_before_ = INT64_MAX;
        return;
      }
      spinner_exists_ = Spawn(&Systrap::SpinnerMain);
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
  MakeRoomLocked(thread, /*back=*/true);
}

Status Systrap::BindLocked(HostThread& thread, const cpu_set_t& cpus) {
  if (sched_setaffinity(thread.tid, sizeof(cpus), &cpus) != 0) return Errno::Last();
  thread.cpus = cpus;
  if (std::exchange(thread.displaced, false)) MakeRoomLocked(thread);
  return kOk;
}

void Systrap::MakeRoomLocked(HostThread& thread, bool back) {
  if (thread.displaced != back || thread.ended) return;
  cpu_set_t cpus = thread.cpus.value_or(spell_cpus_);
  if (!back) {
    CPU_CLR(spinner_cpu_, &cpus);
    if (CPU_COUNT(&cpus) == 0) return;  // It wants to run there and nowhere else.
  }
  thread.displaced = !back;
  sched_setaffinity(thread.tid, sizeof(cpus), &cpus);
}

// By the worker in charge of the thread only: others may be using the pointer.
void Systrap::DetachMailboxLocked(HostThread& thread) {
  StopPollingLocked(thread);
  thread.mailbox = nullptr;
  thread.answer.reset();
  thread.approved.reset();
  thread.patch.reset();
}

void* Systrap::SpinnerMain(void* self) {
  prctl(PR_SET_NAME, "spinner", 0, 0, 0);
  static_cast<Systrap*>(self)->SpinnerLoop();
  return nullptr;
}

void Systrap::SpinnerLoop() {
  const auto owned = std::make_unique<Worker>();  // As in WorkerLoop.
  Worker& worker = *owned;
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
    spell_.allowed = allowed;
    Spin(worker);
  }
}

void Systrap::Spin(Worker& worker) {
  spell_.start = spell_.last_look = spell_.last_call = spell_.next_disturbance = MonotonicNs();
  spell_.start_ticks = spell_.looked_ticks = __rdtsc();
  spell_.next_tidying = spell_.start + kTidyingNs;
  spell_.patience = eager_ ? kEagerIdleNs : kFirstIdleNs;
  worker.strand = NewStrand(idle_strands_);
  if (worker.strand != nullptr) {
    worker.spins = true;
    Fiber::Switch(worker.home, *worker.strand->fiber);
    worker.spins = false;
    idle_strands_.push_back(std::move(worker.strand));
  } else {
    absl::MutexLock lock(&mu_);
    for (const Polled& polled : to_poll_) polled.thread->polled = false;
    to_poll_.clear();
  }
  // Who has posted meanwhile withdraws the call, and makes it in the ordinary way.
  if (!spell_.blocked) HandOn();
  if (idle_strands_.size() > kIdleStrands) idle_strands_.resize(kIdleStrands);
  if (spell_.cpu >= 0) sched_setaffinity(0, sizeof(spell_.allowed), &spell_.allowed);
  absl::MutexLock lock(&mu_);
  spinning_ = false;
  polled_ = 0;
  const int64_t spent = MonotonicNs() - spell_.start;
  // Threads that wait for each other keep the cores busy by themselves.
  const bool slow =
      (spell_.blocked || spell_.contention.passed > 0) && spell_.served * kQuickNs < spell_.idle;
  const bool good = eager_ || (spell_.served >= kWorthwhile && !slow && !spell_.crowded &&
                               !spin_no_more_.load(std::memory_order_relaxed));
  LOG_DEBUG("spinner: %d calls in %d us, %d us idle, %d us lost%s%s%s",
            static_cast<int>(spell_.served), static_cast<int>(spent / 1000),
            static_cast<int>(spell_.idle / 1000), static_cast<int>(spell_.lost / 1000),
            spell_.blocked ? ", a handler waited" : "", spell_.crowded ? ", crowded" : "",
            good ? "" : ", not worth it");
  spin_pause_ = good ? 0 : std::clamp(2 * spin_pause_, kFirstPauseNs, kLongestPauseNs);
  if (spin_not_before_ != INT64_MAX) spin_not_before_ = MonotonicNs() + spin_pause_;
  spell_ = Spell();
}

int Systrap::ChooseCpuLocked() const {
  const auto free = [this](int cpu) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    return CPU_ISSET(cpu, &spell_.allowed) &&
           std::ranges::none_of(spell_.set, [cpu](const Polled& polled) {
             const auto& cpus = polled.thread->cpus;
             return cpus.has_value() && CPU_ISSET(cpu, &*cpus) && CPU_COUNT(&*cpus) == 1;
           });
  };
  if (const int here = sched_getcpu(); here >= 0 && free(here)) return here;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (free(cpu)) return cpu;
  }
  return -1;
}

void Systrap::TakeNewcomers() {
  if (!more_to_poll_.load(std::memory_order_relaxed)) return;
  const int64_t now = MonotonicNs();
  absl::MutexLock lock(&mu_);
  for (Polled& polled : to_poll_) {
    if (polled.thread->mailbox != polled.page || polled.thread->ended) continue;
    polled.page->call.polled.store(native::SlotAddress(polled.thread->slot) + STUB_SLOT_MAILBOX,
                                   std::memory_order_release);
    polled.last_call = now;
    spell_.set.push_back(std::move(polled));
  }
  to_poll_.clear();
  polled_ = spell_.set.size();
  more_to_poll_.store(false, std::memory_order_relaxed);
  spell_.last_look = spell_.last_call = now;
  if (spell_.set.size() < 2) return;
  if (spell_.cpu < 0) {
    spell_.cpu = ChooseCpuLocked();
    if (spell_.cpu < 0) return;
    spinner_cpu_ = spell_.cpu;
    spell_cpus_ = spell_.allowed;
    cpu_set_t own;
    CPU_ZERO(&own);
    CPU_SET(spell_.cpu, &own);
    sched_setaffinity(0, sizeof(own), &own);
  }
  for (const Polled& polled : spell_.set) MakeRoomLocked(*polled.thread);
}

void Systrap::LookAround() {
  TakeNewcomers();
  if (ResumeWaiting()) spell_.any = true;
  // The set may grow meanwhile.
  for (size_t i = 0; i < spell_.set.size(); ++i) {
    if (spell_.set[i].waits || !IsPosted(*spell_.set[i].page)) continue;
    spell_.set[i].last_call = spell_.last_look;
    const Polled polled = spell_.set[i];
    if (!TryMailbox(polled)) continue;
    if (!Here().spins) return;
    spell_.any = true;
    ++spell_.served;
    if (spell_.blocked) return;
  }
  if (++spell_.turns % kTurnsPerLook == 0 || chaos_) Judge(MonotonicNs());
  if (!spell_.any) __builtin_ia32_pause();
  const uint64_t ticks = __rdtsc();
  if (spell_.served == spell_.looked) spell_.idle_ticks += ticks - spell_.looked_ticks;
  spell_.looked = spell_.served;
  spell_.looked_ticks = ticks;
}

void Systrap::Judge(int64_t now) {
  if (chaos_ && now >= spell_.next_disturbance) {
    // Any odd intervals: what counts is where in its code a thread is.
    spell_.next_disturbance = now + 5'000 + static_cast<int64_t>(__rdtsc() % 60'000);
    Disturb(now);
  }
  const int64_t passed = now - spell_.last_look;
  const uint64_t ticks = std::max<uint64_t>(__rdtsc() - spell_.start_ticks, 1);
  const double tick_ns = static_cast<double>(now - spell_.start) / static_cast<double>(ticks);
  const auto idle =
      static_cast<int64_t>(static_cast<double>(std::exchange(spell_.idle_ticks, 0)) * tick_ns);
  spell_.idle += idle;
  if (spell_.any) {
    spell_.last_call = now;
    if (!eager_) spell_.patience = kIdleNs;
  } else if (passed > kGapNs) {
    spell_.lost += passed;
    spell_.crowded = !eager_ && spell_.lost > kMostLostNs + (now - spell_.start) / kMostLostPart;
  }
  if (now >= spell_.next_count) {
    spell_.next_count = now + kCountNs;
    spell_.no_spare = !fast_path_->run_queue.HasSpare(0);
  }
  const auto running = std::ranges::count(spell_.set, false, &Polled::waits);
  if (spell_.no_spare || (spell_.cpu >= 0 && running >= CPU_COUNT(&spell_.allowed))) {
    Contention& all = spell_.contention;
    all.passed += passed;
    all.idle += idle;
    all.calls += spell_.served - spell_.judged;
    all.waits += std::exchange(spell_.resumed, 0);
    const bool together = all.waits * kCallsPerWait >= all.calls;
    const bool pays =
        together ? all.calls * kTogetherNs >= all.idle : all.calls * kContendedNs >= all.passed;
    if (all.passed > kTrialNs && !pays) spell_.crowded = !eager_;
    if (all.passed > kMemoryNs) all = {all.passed / 2, all.idle / 2, all.calls / 2, all.waits / 2};
  }
  spell_.judged = spell_.served;
  const int64_t patience = spell_.no_spare && !eager_ ? kBusyIdleNs : spell_.patience;
  if (now - spell_.last_call > patience || spin_no_more_.load(std::memory_order_relaxed)) {
    spell_.tired = true;
  }
  if (spell_.cpu < 0 && spell_.served == 0 && !spell_.moved &&
      now - spell_.start > kFirstIdleNs / 3) {
    // It may be in the way of the very thread that it waits for.
    KeepAwayFrom(sched_getcpu(), spell_.allowed);
    spell_.moved = true;
  }
  if (now > spell_.next_tidying) TidyUp(now);
  spell_.last_look = now;
  spell_.any = false;
}

// Who is silent, or gone, is not looked at any more: others are to be counted.
void Systrap::TidyUp(int64_t now) {
  spell_.next_tidying = now + kTidyingNs;
  absl::MutexLock lock(&mu_);
  std::erase_if(spell_.set, [&](const Polled& polled) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    HostThread& thread = *polled.thread;
    const bool gone = thread.mailbox != polled.page || thread.ended;
    const bool called = thread.in_callback && !polled.waits;
    if (!gone && (called || now - polled.last_call < kSilenceNs)) return false;
    if (!gone) StopPollingLocked(thread);
    return true;
  });
  polled_ = spell_.set.size();
}

void Systrap::HandOn() {
  int missing = 0;
  {
    absl::MutexLock lock(&mu_);
    for (const Polled& polled : spell_.set) {
      if (polled.thread->mailbox == polled.page) StopPollingLocked(*polled.thread);
    }
    for (std::unique_ptr<Strand>& waiting : spell_.waiting) {
      std::unique_ptr<Strand> ready = ParkLocked(std::move(waiting));
      if (ready != nullptr) missing += QueueLocked(std::move(ready)) ? 1 : 0;
    }
  }
  spell_.waiting.clear();
  for (; missing > 0; --missing) SpawnWorker();
}

// Not who has made no call since: a wait that the host executes begins again with all of its time.
void Systrap::Disturb(int64_t now) {
  absl::MutexLock lock(&mu_);
  for (Polled& polled : spell_.set) {
    if (polled.thread->mailbox != polled.page || polled.last_call < polled.disturbed) continue;
    polled.disturbed = now;
    InterruptLocked(*polled.thread);
  }
}

}  // namespace platform::systrap
