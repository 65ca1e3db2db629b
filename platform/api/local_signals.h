// The signal mask of a thread that changes it without asking, and what it may know of its actions.
#ifndef PLATFORM_API_LOCAL_SIGNALS_H_
#define PLATFORM_API_LOCAL_SIGNALS_H_

#include <atomic>
#include <cstdint>

namespace platform {

// Memory shared with the thread, which changes `mask` and looks at `pending` behind that; whoever
// sends a signal writes `pending` first and looks at `mask` then. Both with sequential consistency:
// one of them sees the other. Nothing in here is trusted: a thread may block what it likes.
struct LocalSignals {
  std::atomic<uint64_t> mask{0};
  // Not 0 while signals wait, for this thread or its process, or while rt_sigprocmask(2) is not the
  // thread's own business for another reason: it then asks, as ever.
  std::atomic<uint64_t> pending{0};
  // Signal n is bit n-1: those whose action is all zeroes, SIG_DFL without flags. The thread itself
  // tells rt_sigaction(2) of them, as long as nothing is pending. Who sets an action of the process
  // clears its bit before the call returns.
  std::atomic<uint64_t> untouched{0};
  // What set_robust_list(2) has told, which is the thread's own business under the same condition.
  std::atomic<uint64_t> robust_list{0};
};

}  // namespace platform

#endif  // PLATFORM_API_LOCAL_SIGNALS_H_
