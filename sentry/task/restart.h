// Results that never reach the application: how an interrupted call goes on (signal(7)).
#ifndef SENTRY_TASK_RESTART_H_
#define SENTRY_TASK_RESTART_H_

#include "base/result.h"

namespace sentry {

// The values of include/linux/errno.h.
inline constexpr Errno kRestartSys{512};         // Restart unless a handler without SA_RESTART runs.
inline constexpr Errno kRestartNoIntr{513};      // Restart always.
inline constexpr Errno kRestartNoHand{514};      // Restart unless any handler runs.
inline constexpr Errno kRestartBlock{516};       // Go on through restart_syscall(2).

constexpr bool IsRestart(int code) { return code >= 512 && code <= 516; }

}  // namespace sentry

#endif  // SENTRY_TASK_RESTART_H_
