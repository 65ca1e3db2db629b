#include "runsc/commands/events.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "runsc/cgroup/manager.h"
#include "runsc/cgroup/stats.h"
#include "runsc/commands/options.h"

namespace runsc {

namespace {

bool Print(const std::string& text) {
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t written = write(STDOUT_FILENO, text.data() + done, text.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    done += static_cast<size_t>(written);
  }
  return true;
}

void Drain(int fd) {
  char buffer[4096];
  while (read(fd, buffer, sizeof(buffer)) > 0) {
  }
}

}  // namespace

absl::StatusOr<EventsRequest> ParseEvents(std::span<char* const> args) {
  constexpr OptionName kNames[] = {{"stats", nullptr, false}, {"interval", nullptr, true}};
  const absl::StatusOr<Options> options = ParseOptions("events", kNames, args);
  if (!options.ok()) return options.status();
  if (options->others.size() != 1)
    return absl::InvalidArgumentError("events: wants one container id");
  EventsRequest request = {.id = options->others[0], .once = options->Has("stats")};
  if (options->Has("interval") &&
      (!absl::ParseDuration(options->Get("interval"), &request.interval) ||
       request.interval < absl::Milliseconds(1))) {
    return absl::InvalidArgumentError(
        absl::StrCat("events: --interval: ", options->Get("interval"), " is no duration above 0"));
  }
  return request;
}

absl::Status FollowEvents(const EventsRequest& request, const cgroup::Placement& placement,
                          int exited, const std::function<bool()>& running) {
  if (request.once) {
    if (!Print(cgroup::StatsEvent(placement, request.id)))
      return absl::ErrnoToStatus(errno, "write");
    return absl::OkStatus();
  }
  const cgroup::Manager manager(placement);
  const absl::StatusOr<UniqueFd> oom = manager.WatchOom();
  uint64_t kills = manager.OomKills();
  absl::Time next = absl::Now() + request.interval;
  while (running()) {
    pollfd fds[2] = {{oom.ok() ? oom->get() : -1, POLLIN, 0}, {exited, POLLIN, 0}};
    const int64_t wait = absl::ToInt64Milliseconds(next - absl::Now()) + 1;
    const int ready = poll(fds, 2, static_cast<int>(std::clamp<int64_t>(wait, 0, INT32_MAX)));
    if (ready < 0 && errno != EINTR) return absl::ErrnoToStatus(errno, "poll");
    if (fds[0].revents != 0) Drain(fds[0].fd);
    const uint64_t now = manager.OomKills();
    // The group may be gone with the container, and its count with it.
    if (now > kills && !Print(cgroup::OomEvent(request.id))) break;
    kills = std::max(kills, now);
    if (fds[1].revents != 0) break;
    if (absl::Now() < next) continue;
    if (!Print(cgroup::StatsEvent(placement, request.id))) break;
    next += request.interval;
  }
  return absl::OkStatus();
}

}  // namespace runsc
