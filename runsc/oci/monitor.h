// The process that stands for a container outside: the parent of its gofer and sentry, whose pid is
// the container's, and which ends as the first process does.
#ifndef RUNSC_OCI_MONITOR_H_
#define RUNSC_OCI_MONITOR_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "runsc/config.h"

namespace runsc::oci {

struct MonitorStart {
  const Config& config;   // With a container. Its standard descriptors are the process's.
  UniqueFd listener;      // channel.h
  UniqueFd creator;       // SOCK_SEQPACKET, to `create`.
  std::string directory;  // Of the container in the store.
  UniqueFd terminal;      // The slave of the container's pseudo-terminal, if it has one.
  // Runs first of all in the monitor: control groups, namespaces.
  absl::Status (*enter)(const Config& config, const std::string& directory) = nullptr;
};

// What the monitor tells `create` once.
struct Birth {
  int32_t failed = 0;  // Then `message` says why, and the monitor is about to end.
  int32_t sentry = 0, gofer = 0, network = 0;  // Host pids; the last may be missing.
  char message[512] = {};
};

// In `create`: forks the monitor, which waits for Proceed. Its pid.
absl::StatusOr<pid_t> ForkMonitor(MonitorStart start);
// Its control group is there to be entered.
absl::Status Proceed(int monitor);
// Waits until the container is set up.
absl::StatusOr<Birth> AwaitBirth(int monitor);
// Lets the monitor outlive `create`. One that has not heard this ends with `create`.
absl::Status Release(int monitor);

}  // namespace runsc::oci

#endif  // RUNSC_OCI_MONITOR_H_
