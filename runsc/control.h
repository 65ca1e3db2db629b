// What the front-end and its two children say to each other, on one SOCK_SEQPACKET pair a child.
#ifndef RUNSC_CONTROL_H_
#define RUNSC_CONTROL_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace runsc {

// To a child.
struct Command {
  enum class Kind : uint32_t {
    kGo = 1,            // The id maps are written: take on the identity and go on.
    kSignalForeground,  // The terminal sent `signal`: for the foreground process group.
    kSignalInit,        // Somebody sent `signal` to the front-end: for the first process.
    // Of containers only.
    kStart,               // Let the first process run.
    kSignalAll,           // `signal` for every process.
    kExec,                // Another process, to be called `id`; with the descriptors kExec* below.
    kSignalExec,          // `signal` for the process that exec called `id`.
    kSignalExecTerminal,  // Likewise for the foreground of the terminal that it began with.
    kLimits,              // Limits have changed: with a memfd of cgroup/shown.h's lines.
    kAddContainer,        // A container of the pod; with the descriptors of oci/pod.h.
    kListProcesses,       // Answered with kListed `id`; with a memfd to write to, see there.
  };
  Kind kind;
  int32_t signal = 0;
  uint32_t id = 0;
};
// The descriptors that come with kExec: a memfd with the process (oci/process_wire.h), then its
// standard descriptors and those to be passed on.
inline constexpr size_t kExecFds = 4;
inline constexpr size_t kMaxCommandFds = 64;

// To the front-end.
struct Report {
  enum class Kind : uint32_t {
    kRunning = 1,  // The program runs; from now on signals are its own.
    kExited,       // `status`: of wait(2).
    kFailed,       // `status`: the exit status to end with; `message` says why.
    // Of containers only.
    kParked,       // Everything is set up; kStart is awaited.
    kExecStarted,  // The process `id` runs; `status`: its pid inside.
    kExecFailed,   // It could not be made; `message` says why.
    kExecExited,   // `status`: of wait(2).
    kListed,  // In the memfd are the pids of the stubs but the first process's, as uint32_t, in
              // the sentry's pid namespace. `status`: how many.
  };
  Kind kind;
  int32_t status = 0;
  uint32_t id = 0;
  char message[512] = {};  // One line, NUL-terminated.
};

// The peer's death is EPIPE when sending and ECONNRESET when receiving. Signals do not interrupt.
// SendCommand does not wait for a child that takes nothing any more, as one that was stopped:
// EAGAIN.
Status SendCommand(int socket, const Command& command, std::span<const int> fds = {});
Result<Command> ReceiveCommand(int socket);
// With the descriptors that came along; without any when there was no room for all of them.
Result<Command> ReceiveCommand(int socket, std::vector<UniqueFd>& fds);
Status SendReport(int socket, const Report& report);
Status SendReport(int socket, Report::Kind kind, int status, const std::string& message = "");
// Does not wait: EAGAIN when there is none.
Result<Report> ReceiveReport(int socket);
// Hands every report that is there to `take`, which may close `socket`. Closes it and returns false
// when the sender is gone: SIGCHLD follows.
template <typename Take>
bool ReceiveReports(UniqueFd& socket, Take take) {
  while (socket.valid()) {
    Result<Report> report = ReceiveReport(socket.get());
    // A sender that ended before it had read all that was sent to it: the host tells of that first,
    // and only once, then hands out what the sender had said (unix_release_sock() of Linux).
    if (!report.ok() && report.error() == Errno(ECONNRESET)) report = ReceiveReport(socket.get());
    if (report.ok()) {
      take(*report);
    } else if (report.error() == Errno(EAGAIN)) {
      return true;
    } else {
      socket.reset();
      return false;
    }
  }
  return true;
}

// The same for other messages of fixed size, whose peer is not a child: with descriptors, of which
// at most kMaxCommandFds arrive. EMSGSIZE for a message of another size.
Status SendWithFds(int socket, std::span<const std::byte> message, std::span<const int> fds,
                   int flags = 0);
Status ReceiveWithFds(int socket, std::span<std::byte> message, std::vector<UniqueFd>& fds,
                      int flags = 0);

}  // namespace runsc

#endif  // RUNSC_CONTROL_H_
