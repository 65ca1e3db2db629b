// How long a read of a terminal waits: VMIN and VTIME of termios(3).
#ifndef SENTRY_TTY_READ_RULES_H_
#define SENTRY_TTY_READ_RULES_H_

#include <cstddef>
#include <cstdint>
#include <functional>

#include "base/result.h"
#include "sentry/fs/file.h"
#include "sentry/tty/termios.h"

namespace sentry {

class Task;

struct ReadRules {
  size_t minimum = 1;       // Bytes; whatever one attempt gives is enough when it is 0 or 1.
  int64_t whole_ns = -1;    // For the first byte; -1: any time, 0: only what is there.
  int64_t between_ns = -1;  // For each byte after the first.

  static ReadRules Of(const Termios& termios);
};

// Runs `attempt` (bytes, 0 at the end of file, EAGAIN for nothing yet) until the rules are met,
// `dst` is full or a signal arrives; what has been read by then counts. EAGAIN for nonblocking
// files.
Result<size_t> ReadByRules(Task& task, File& file, const ReadRules& rules, IoDst& dst,
                           const std::function<Result<size_t>()>& attempt);

}  // namespace sentry

#endif  // SENTRY_TTY_READ_RULES_H_
