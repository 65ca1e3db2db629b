// A command that waits for its process: hands on signals and the terminal's bytes meanwhile.
#ifndef RUNSC_OCI_FOREGROUND_H_
#define RUNSC_OCI_FOREGROUND_H_

#include <sys/types.h>

#include <memory>
#include <optional>

#include "base/unique_fd.h"
#include "runsc/oci/terminal.h"

namespace runsc::oci {

// One per process, used by its only thread.
class Foreground {
 public:
  // Blocks the signals that are to be handed on.
  Foreground();
  ~Foreground();

  // Until the child `monitor` has ended: its exit status as a shell tells it. `console` is the
  // master of its terminal, if it has one that the caller's is to be connected to.
  int AwaitChild(pid_t monitor, UniqueFd console);
  // Until the process behind a kExec connection has ended.
  int AwaitExec(int connection, UniqueFd console);

 private:
  // What hands a signal on: to the child, or over the connection.
  template <typename Forward, typename Ended>
  int Loop(int watched, UniqueFd console, Forward forward, Ended ended);
  UniqueFd signals_;  // signalfd(2)
};

// In the proxy of a detached exec: the same without a terminal to relay; with `terminal`, a slave,
// what that signals goes to its foreground. Does not return.
[[noreturn]] void RunExecProxy(UniqueFd connection, UniqueFd terminal);

// 128+n for a signal.
int ShellStatusOf(int wait_status);

}  // namespace runsc::oci

#endif  // RUNSC_OCI_FOREGROUND_H_
