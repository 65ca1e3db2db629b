#include "sentry/tty/read_rules.h"

#include <optional>

#include "sentry/task/task.h"
#include "sentry/task/waiter.h"

namespace sentry {

ReadRules ReadRules::Of(const Termios& termios) {
  constexpr int64_t kTenth = 100'000'000;
  ReadRules rules;
  if ((termios.lflag & ICANON) != 0) return rules;
  const int64_t time = termios.cc[VTIME] * kTenth;
  rules.minimum = termios.cc[VMIN];
  if (rules.minimum == 0)
    rules.whole_ns = time;
  else if (time != 0)
    rules.between_ns = time;
  return rules;
}

Result<size_t> ReadByRules(Task& task, File& file, const ReadRules& rules, IoDst& dst,
                           const std::function<Result<size_t>()>& attempt) {
  size_t total = 0;
  const auto end_with = [&total](Errno error) -> Result<size_t> {
    if (total > 0) return total;
    return error;
  };
  Deadline deadline = rules.whole_ns >= 0 ? Deadline::After(rules.whole_ns) : Deadline::Never();
  std::optional<Waiter> waiter;
  for (;;) {
    const Result<size_t> got = attempt();
    if (got.ok()) {
      total += *got;
      if (*got == 0 || total >= rules.minimum || dst.remaining() == 0) return total;
      if (rules.between_ns >= 0) deadline = Deadline::After(rules.between_ns);
      continue;
    }
    if (got.error() != Errno(EAGAIN)) return end_with(got.error());
    if (deadline.expired()) return total;
    if (file.nonblocking()) return end_with(Errno(EAGAIN));
    if (!waiter) {
      waiter.emplace(task);  // Registers first: no lost wake-up.
      waiter->Watch(file, POLLIN);
      continue;
    }
    file.ArmHostEvents(POLLIN);
    const Status slept = waiter->Sleep(deadline);
    if (!slept.ok() && slept.error() != Errno(ETIMEDOUT)) return end_with(slept.error());
  }
}

}  // namespace sentry
