// What the front-end and its two children say to each other, on one SOCK_SEQPACKET pair a child.
#ifndef RUNSC_CONTROL_H_
#define RUNSC_CONTROL_H_

#include <cstdint>
#include <string>

#include "base/result.h"

namespace runsc {

// To a child.
struct Command {
  enum class Kind : uint32_t {
    kGo = 1,            // The id maps are written: take on the identity and go on.
    kSignalForeground,  // The terminal sent `signal`: for the foreground process group.
    kSignalInit,        // Somebody sent `signal` to the front-end: for the first process.
  };
  Kind kind;
  int32_t signal = 0;
};

// To the front-end.
struct Report {
  enum class Kind : uint32_t {
    kRunning = 1,  // The program runs; from now on signals are its own.
    kExited,       // `status`: of wait(2).
    kFailed,       // `status`: the exit status to end with; `message` says why.
  };
  Kind kind;
  int32_t status = 0;
  char message[512] = {};  // One line, NUL-terminated.
};

// The peer's death is EPIPE when sending and ECONNRESET when receiving. Signals do not interrupt.
Status SendCommand(int socket, const Command& command);
Result<Command> ReceiveCommand(int socket);
Status SendReport(int socket, Report::Kind kind, int status, const std::string& message = "");
// Does not wait: EAGAIN when there is none.
Result<Report> ReceiveReport(int socket);

}  // namespace runsc

#endif  // RUNSC_CONTROL_H_
