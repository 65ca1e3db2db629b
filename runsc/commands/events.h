// `events`: figures of a container at intervals, and when it runs out of memory.
#ifndef RUNSC_COMMANDS_EVENTS_H_
#define RUNSC_COMMANDS_EVENTS_H_

#include <functional>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "runsc/cgroup/host.h"

namespace runsc {

struct EventsRequest {
  std::string id;
  bool once = false;  // --stats
  absl::Duration interval = absl::Seconds(5);
};

// `events [--stats] [--interval 5s] ID`
absl::StatusOr<EventsRequest> ParseEvents(std::span<char* const> args);

// Prints lines of JSON: the figures once, or at each interval and every out-of-memory kill, until
// the container is not running any more. `exited` becomes readable when its process ends; -1 for
// none, then `running` is asked at every interval.
absl::Status FollowEvents(const EventsRequest& request, const cgroup::Placement& placement,
                          int exited, const std::function<bool()>& running);

}  // namespace runsc

#endif  // RUNSC_COMMANDS_EVENTS_H_
