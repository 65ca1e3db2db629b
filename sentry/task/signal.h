// Signals: sets, actions and queued instances. See signal(7).
#ifndef SENTRY_TASK_SIGNAL_H_
#define SENTRY_TASK_SIGNAL_H_

#include <signal.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <utility>

namespace sentry {

inline constexpr int kSignalCount = 64;

// A kernel sigset_t: signal n is bit n-1.
class SignalSet {
 public:
  constexpr SignalSet() = default;
  constexpr explicit SignalSet(uint64_t bits) : bits_(bits) {}
  static constexpr SignalSet Of(int sig) { return SignalSet(uint64_t{1} << (sig - 1)); }
  constexpr uint64_t bits() const { return bits_; }
  constexpr bool has(int sig) const { return (bits_ >> (sig - 1) & 1) != 0; }
  constexpr void Add(int sig) { bits_ |= Of(sig).bits_; }
  constexpr void Remove(int sig) { bits_ &= ~Of(sig).bits_; }
  constexpr SignalSet operator|(SignalSet o) const { return SignalSet(bits_ | o.bits_); }
  constexpr SignalSet operator&(SignalSet o) const { return SignalSet(bits_ & o.bits_); }
  constexpr SignalSet operator~() const { return SignalSet(~bits_); }
  constexpr bool empty() const { return bits_ == 0; }
  constexpr bool operator==(const SignalSet&) const = default;
  // SIGKILL and SIGSTOP, which no mask holds back.
  static constexpr SignalSet Unmaskable() {
    return SignalSet::Of(SIGKILL) | SignalSet::Of(SIGSTOP);
  }

 private:
  uint64_t bits_ = 0;
};

// struct kernel_sigaction of x86-64, as rt_sigaction(2) copies it.
struct SignalAction {
  uint64_t handler = 0;  // SIG_DFL, SIG_IGN or an address.
  uint64_t flags = 0;    // SA_*.
  uint64_t restorer = 0;
  uint64_t mask = 0;
  bool operator==(const SignalAction&) const = default;
};
static_assert(sizeof(SignalAction) == 32);

// An alternate stack (sigaltstack(2)).
struct SignalStack {
  uint64_t base = 0;
  int32_t flags = SS_DISABLE;
  uint32_t padding = 0;
  uint64_t size = 0;
};
static_assert(sizeof(SignalStack) == 24);

// The 128 bytes of a siginfo_t; every byte is set.
using SignalInfo = siginfo_t;
SignalInfo MakeSignalInfo(int sig, int code, int32_t sender_pid, uint32_t sender_uid);
SignalInfo MakeKernelSignalInfo(int sig);

// How many signals are queued to a user's processes, and POSIX timers of theirs that may queue one:
// what RLIMIT_SIGPENDING bounds. Grows under Kernel::mu().
struct UserSignals {
  std::atomic<uint64_t> queued{0};
};

// One queued signal's share of that count, given back at its end. Empty for signals that do not count.
class SignalCharge {
 public:
  SignalCharge() = default;
  explicit SignalCharge(std::shared_ptr<UserSignals> user) : user_(std::move(user)) {
    ++user_->queued;
  }
  SignalCharge(SignalCharge&& other) noexcept : user_(std::move(other.user_)) {}
  SignalCharge& operator=(SignalCharge&& other) noexcept {
    user_.swap(other.user_);
    return *this;
  }
  ~SignalCharge() {
    if (user_ != nullptr) --user_->queued;
  }

 private:
  std::shared_ptr<UserSignals> user_;
};

// Pending signals of one task or of a thread group. Guarded by the owner's lock.
class SignalQueue {
 public:
  // Standard signals are queued once, real-time ones (>= 32) each time. False when it was merged.
  bool Push(const SignalInfo& info, SignalCharge charge = {});
  // Without room for what comes along: the signal is pending once, as if from nobody.
  void PushBare(int sig) { pending_.Add(sig); }
  // Takes the first deliverable one, lowest number first (synchronous faults before others).
  std::optional<SignalInfo> Pop(SignalSet allowed);
  SignalSet pending() const { return pending_; }
  size_t size() const { return entries_.size(); }
  // Adds to the overrun count of a queued signal of POSIX timer `timer_id`; false when there is none.
  bool AddTimerOverrun(int timer_id, int count) {
    for (Entry& entry : entries_) {
      SignalInfo& info = entry.info;
      if (info.si_code != SI_TIMER || info.si_timerid != timer_id) continue;
      info.si_overrun = count > INT32_MAX - info.si_overrun ? INT32_MAX : info.si_overrun + count;
      return true;
    }
    return false;
  }
  // Takes back what a POSIX timer has queued.
  void DiscardTimer(int timer_id);
  void Discard(SignalSet set);
  void Clear();

 private:
  struct Entry {
    SignalInfo info;
    SignalCharge charge;
  };
  std::list<Entry> entries_;
  SignalSet pending_;
};

enum class DefaultAction : uint8_t { kTerminate, kCore, kIgnore, kStop, kContinue };
DefaultAction DefaultActionOf(int sig);
inline constexpr SignalSet kStopSignals = SignalSet::Of(SIGSTOP) | SignalSet::Of(SIGTSTP) |
                                          SignalSet::Of(SIGTTIN) | SignalSet::Of(SIGTTOU);
inline constexpr bool IsSignal(int sig) { return sig >= 1 && sig <= kSignalCount; }

}  // namespace sentry

#endif  // SENTRY_TASK_SIGNAL_H_
