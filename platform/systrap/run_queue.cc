#include "platform/systrap/run_queue.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <string_view>

namespace platform::systrap {

RunQueue::RunQueue(int proc_fd) {
  // Beside those of SharedPool, and for the same reason.
  constexpr int kFirstFd = 1000;
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) return;
  if (CPU_COUNT(&allowed) != sysconf(_SC_NPROCESSORS_ONLN)) return;
  const UniqueFd low(openat(proc_fd, "loadavg", O_RDONLY | O_CLOEXEC));
  if (!low.valid()) return;
  loadavg_ = UniqueFd(fcntl(low.get(), F_DUPFD_CLOEXEC, kFirstFd));
  cpus_ = CPU_COUNT(&allowed);
}

// "0.64 1.32 1.18 1/86 25241": the fourth number.
bool RunQueue::HasSpare(int cpus) const {
  if (!loadavg_.valid()) return true;
  char text[64];
  const ssize_t size = pread(loadavg_.get(), text, sizeof(text), 0);
  std::string_view rest(text, static_cast<size_t>(std::max<ssize_t>(size, 0)));
  for (int i = 0; i < 3; ++i) {
    const size_t space = rest.find(' ');
    if (space == std::string_view::npos) return true;
    rest.remove_prefix(space + 1);
  }
  int running = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), running);
  return error != std::errc() || running + cpus <= cpus_;
}

}  // namespace platform::systrap
