#include "sentry/task/signal.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <iterator>
#include <utility>

namespace sentry {
namespace {

// Signals that a fault of the thread itself causes: they go before others (signal(7)).
constexpr SignalSet kSynchronous = SignalSet::Of(SIGSEGV) | SignalSet::Of(SIGBUS) |
                                   SignalSet::Of(SIGILL) | SignalSet::Of(SIGTRAP) |
                                   SignalSet::Of(SIGFPE) | SignalSet::Of(SIGSYS);
constexpr int kFirstRealTime = 32;

}  // namespace

SignalInfo MakeSignalInfo(int sig, int code, int32_t sender_pid, uint32_t sender_uid) {
  SignalInfo info;
  std::memset(&info, 0, sizeof(info));
  info.si_signo = sig;
  info.si_code = code;
  info.si_pid = sender_pid;
  info.si_uid = sender_uid;
  return info;
}

SignalInfo MakeKernelSignalInfo(int sig) { return MakeSignalInfo(sig, SI_KERNEL, 0, 0); }

bool SignalQueue::Push(const SignalInfo& info, SignalCharge charge) {
  const int sig = info.si_signo;
  if (sig < kFirstRealTime && pending_.has(sig)) return false;
  pending_.Add(sig);
  entries_.push_back({info, std::move(charge)});
  return true;
}

std::optional<SignalInfo> SignalQueue::Pop(SignalSet allowed) {
  SignalSet ready = pending_ & allowed;
  if (ready.empty()) return std::nullopt;
  if (!(ready & kSynchronous).empty()) ready = ready & kSynchronous;
  const int sig = std::countr_zero(ready.bits()) + 1;
  std::optional<SignalInfo> found;
  bool more = false;
  for (auto it = entries_.begin(); it != entries_.end();) {
    if (it->info.si_signo != sig) {
      ++it;
    } else if (!found.has_value()) {
      found = it->info;
      it = entries_.erase(it);
    } else {
      more = true;
      break;
    }
  }
  if (!more) pending_.Remove(sig);
  // See PushBare.
  if (!found.has_value()) found = MakeSignalInfo(sig, SI_USER, 0, 0);
  return found;
}

void SignalQueue::DiscardTimer(int timer_id) {
  const auto sent_by = [timer_id](const Entry& entry) {
    return entry.info.si_code == SI_TIMER && entry.info.si_timerid == timer_id;
  };
  const auto it = std::find_if(entries_.begin(), entries_.end(), sent_by);
  if (it == entries_.end()) return;
  const int sig = it->info.si_signo;
  entries_.erase(it);
  const bool more = std::any_of(entries_.begin(), entries_.end(),
                                [sig](const Entry& entry) { return entry.info.si_signo == sig; });
  if (!more) pending_.Remove(sig);
}

void SignalQueue::Discard(SignalSet set) {
  if ((pending_ & set).empty()) return;
  std::erase_if(entries_, [set](const Entry& entry) { return set.has(entry.info.si_signo); });
  pending_ = pending_ & ~set;
}

void SignalQueue::Clear() {
  entries_.clear();
  pending_ = SignalSet();
}

DefaultAction DefaultActionOf(int sig) {
  switch (sig) {
    case SIGCHLD:
    case SIGURG:
    case SIGWINCH:
      return DefaultAction::kIgnore;
    case SIGCONT:
      return DefaultAction::kContinue;
    case SIGSTOP:
    case SIGTSTP:
    case SIGTTIN:
    case SIGTTOU:
      return DefaultAction::kStop;
    case SIGQUIT:
    case SIGILL:
    case SIGTRAP:
    case SIGABRT:
    case SIGBUS:
    case SIGFPE:
    case SIGSEGV:
    case SIGXCPU:
    case SIGXFSZ:
    case SIGSYS:
      return DefaultAction::kCore;
    default:
      return DefaultAction::kTerminate;
  }
}

}  // namespace sentry
