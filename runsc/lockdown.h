// The steps by which the gofer and the sentry give up what they do not need. Each is called once,
// by the child itself, in the order in which they stand here. Failures name the host call.
#ifndef RUNSC_LOCKDOWN_H_
#define RUNSC_LOCKDOWN_H_

#include <sys/types.h>

#include <cstdint>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/unique_fd.h"

namespace runsc {

// "WHAT: strerror(errno)".
absl::Status HostError(const std::string& what);

// Closes every descriptor but those named.
void CloseAllBut(std::span<const int> keep);

enum class NetworkNamespace { kNew, kKept };
// Enters new mount, ipc, uts and cgroup namespaces, and a network one. The user and pid namespaces
// are made by clone(2) already.
absl::Status EnterNamespaces(NetworkNamespace network);

// Brings the loopback interface of a fresh network namespace up.
absl::Status BringUpLoopback();

// Takes on `uid`:`gid` for good, with the capabilities kept. Requires: mapped.
absl::Status TakeIdentity(uid_t uid, gid_t gid);

// Mounts a new, empty, read-only filesystem over the directory `over`, out of sight of the host.
// A procfs of this pid namespace that shows processes only and is attached nowhere (fsmount(2)).
// Invalid where the host refuses it: then there is no /proc/PID/maps inside.
UniqueFd OpenDetachedProc();

absl::Status MountEmpty(const char* over);
// Makes the filesystem mounted at `mount_point` the root and the working directory, and lets go of
// everything else. What is still open stays usable.
absl::Status PivotTo(const char* mount_point);

// Gives up all capabilities but those in `kept` (bit n for capability n), for this process; and all
// of them for whatever it may execute.
absl::Status DropCapabilities(uint64_t kept = 0);

// Arranges for this process to die with its parent; call after the identity has changed, which
// undoes it. `control` is a socket whose other end only the parent holds.
absl::Status DieWithParent(int control);

// RLIMIT_NOFILE up to the hard limit, and no core dumps (they would hold the application's memory).
absl::Status SetLimits();

}  // namespace runsc

#endif  // RUNSC_LOCKDOWN_H_
