#include "sentry/task/robust_list.h"

#include <linux/futex.h>
#include <sys/syscall.h>

#include <cstdint>
#include <utility>

namespace sentry {
namespace {

constexpr uint64_t kPiBit = 1;  // In pointers to entries: a priority-inheritance futex.

// struct robust_list_head.
struct Head {
  uint64_t next = 0;     // The head's own address when the list is empty.
  int64_t offset = 0;    // From an entry to its futex word.
  uint64_t pending = 0;  // Being locked or unlocked, perhaps not in the list.
};

class Walk {
 public:
  Walk(Task& task, platform::Context& context) : task_(task), context_(context) {}

  void Run(uint64_t address) {
    const auto head = task_.mem().Read(UserPtr<Head>{UserAddr{address}});
    if (!head.ok()) return;
    const uint64_t pending = head->pending & ~kPiBit;
    const auto word = [&](uint64_t entry) { return entry + static_cast<uint64_t>(head->offset); };
    uint64_t entry = head->next;
    uint64_t mark = address;  // Passed before, later and later ones: a list may lead back there.
    for (int i = 0; i < ROBUST_LIST_LIMIT && (entry & ~kPiBit) != address; ++i) {
      const uint64_t at = entry & ~kPiBit;
      // What follows has been given up already; Linux goes round until the limit.
      if (at == mark) break;
      if ((i & (i - 1)) == 0) mark = at;
      // The next first: the lock may be reused as soon as it has been given up.
      const auto next = task_.mem().Read(UserPtr<uint64_t>{UserAddr{at}});
      if (at != pending && !Release(word(at), (entry & kPiBit) != 0, /*pending=*/false)) return;
      if (!next.ok()) return;
      entry = *next;
    }
    if (pending != 0) (void)Release(word(pending), (head->pending & kPiBit) != 0, /*pending=*/true);
  }

 private:
  // False when the walk is to end.
  bool Release(uint64_t address, bool pi, bool pending) {
    if (address % sizeof(uint32_t) != 0) return false;
    const UserPtr<uint32_t> word{UserAddr{address}};
    const auto value = task_.mem().Read(word);
    if (!value.ok()) return false;
    const uint32_t owner = *value & FUTEX_TID_MASK;
    // Unlocked, but the thread may have ended before it woke the next one.
    if (pending && !pi && owner == 0) return Wake(address);
    if (owner != static_cast<uint32_t>(task_.tid())) return true;
    const uint32_t died = (*value & FUTEX_WAITERS) | FUTEX_OWNER_DIED;
    if (!task_.mem().Write(word, died).ok()) return false;
    // Always, since this is no compare-and-swap: a waiter may have announced itself in between.
    return pi || Wake(address);
  }

  bool Wake(uint64_t address) {
    const auto woken = context_.HostCall({.nr = SYS_futex, .args = {address, FUTEX_WAKE, 1}});
    return woken.ok() || woken.error() != Errno(EIO);
  }

  Task& task_;
  platform::Context& context_;
};

}  // namespace

bool HoldsRobustLocks(Task& task) {
  const uint64_t address = task.robust_list();
  if (address == 0) return false;
  const auto head = task.mem().Read(UserPtr<Head>{UserAddr{address}});
  return head.ok() && ((head->next & ~kPiBit) != address || head->pending != 0);
}

void ReleaseRobustLocks(Task& task, platform::Context& context) {
  // Forgotten afterwards: until then the process is not killed from elsewhere.
  const uint64_t head = task.robust_list();
  if (head != 0) Walk(task, context).Run(head);
  task.set_robust_list(0);
}

}  // namespace sentry
