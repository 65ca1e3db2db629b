// How later commands reach a container: a SOCK_SEQPACKET socket in its directory, on which its
// monitor listens. Messages have a fixed size; a peer that sends anything else is dropped.
#ifndef RUNSC_OCI_CHANNEL_H_
#define RUNSC_OCI_CHANNEL_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace runsc::oci {

// To the monitor.
struct Request {
  static constexpr uint32_t kMagic = 0x31515253;
  enum class Kind : uint32_t {
    kStart = 1,     // Let the first process run. kDone.
    kSignal,        // `signal` for the first process. kDone.
    kSignalAll,     // For every process. kDone.
    kDestroy,       // End it all, at once. No answer but the end of the connection.
    kPause,         // Stops sentry and stubs. kDone.
    kResume,        // The opposite. kDone.
    kWait,          // kExited with the first process's wait status.
    kExec,          // Another process; descriptors as control.h's kExec. kStarted, later kExited.
    kExecSignal,    // On the connection of kExec: `signal` for that process. No answer.
    kExecTerminal,  // Likewise for the foreground of its terminal. No answer.
    kLimits,        // With a memfd, for runsc::Command::Kind::kLimits. kDone.
    kList,          // With a memfd, for runsc::Report::Kind::kListed. kDone, with `status`.
    kAddContainer,  // To a pod's sandbox: one more; with descriptors of pod.h. kDone: it is on its
                    // way.
  };
  uint32_t magic = kMagic;
  Kind kind = Kind::kStart;
  int32_t signal = 0;
};

// From the monitor.
struct Reply {
  enum class Kind : uint32_t { kDone = 1, kFailed, kStarted, kExited };
  Kind kind = Kind::kDone;
  int32_t status = 0;      // kExited: as wait(2) reports it.
  char message[512] = {};  // kFailed: one line, NUL-terminated.
};

// The listening socket in `directory`; only this user can connect.
absl::StatusOr<UniqueFd> ListenIn(const std::string& directory);
// NotFound when nobody listens: the monitor is gone.
absl::StatusOr<UniqueFd> ConnectIn(const std::string& directory);

Status SendRequest(int socket, const Request& request, std::span<const int> fds = {});
// Blocks. ECONNRESET when the other side is gone.
Result<Reply> ReceiveReply(int socket);
// For the monitor, which does not block: EAGAIN. EPROTO for what no request is, EMFILE for a
// request whose descriptors it has no room for.
Result<Request> ReceiveRequest(int socket, std::vector<UniqueFd>& fds);
Status SendReply(int socket, Reply::Kind kind, int status, const std::string& message = "");

// One request and its answer, where that is kDone.
absl::Status Ask(const std::string& directory, const Request& request,
                 std::span<const int> fds = {});

}  // namespace runsc::oci

#endif  // RUNSC_OCI_CHANNEL_H_
