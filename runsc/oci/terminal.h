// Pseudo-terminals of the host for containers, and the caller's own terminal meanwhile.
#ifndef RUNSC_OCI_TERMINAL_H_
#define RUNSC_OCI_TERMINAL_H_

#include <termios.h>

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "runsc/spec/spec.h"

namespace runsc::oci {

struct Pty {
  UniqueFd master, slave;
};
// With `size` if it is given; owned by `uid`.
absl::StatusOr<Pty> OpenPty(const std::optional<spec::ConsoleSize>& size, uid_t uid);

// Sends a terminal's master or a pidfd over the unix socket `path`, as runc does (docs/terminals.md
// there): its name, and the descriptor by SCM_RIGHTS. `flag` is for messages.
absl::Status SendDescriptor(const char* flag, const std::string& path, std::string_view name,
                            int descriptor);

// In the foreground: bytes between the caller's terminal, in raw mode as long as this exists, and
// the master. For one thread.
class Relay {
 public:
  explicit Relay(UniqueFd master);
  ~Relay();
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;

  // What to poll for POLLIN: -1 once there is nothing more to come, and while what came has not
  // been taken.
  int input() const { return input_open_ && pending_.empty() ? 0 : -1; }
  int master() const { return master_.get(); }
  // Whether to poll the master for POLLOUT: a program that does not read fills its line.
  bool has_pending() const { return !pending_.empty(); }
  void OnInput();
  void OnWritable();
  // False when the other side has closed it.
  bool OnOutput();
  // SIGWINCH: the size goes to the master.
  void OnResize();

 private:
  UniqueFd master_;  // Does not block: who waits for it does not hand signals on.
  bool input_open_ = true;
  std::string pending_;           // Of the input.
  std::optional<termios> modes_;  // The caller's, to be restored.
};

}  // namespace runsc::oci

#endif  // RUNSC_OCI_TERMINAL_H_
