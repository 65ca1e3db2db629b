// The front-end while the sandbox runs: passes signals on, cleans up, and knows how it ended.
#ifndef RUNSC_SUPERVISE_H_
#define RUNSC_SUPERVISE_H_

#include <signal.h>
#include <termios.h>

#include <optional>
#include <string>

#include "base/unique_fd.h"
#include "runsc/control.h"
#include "runsc/launch.h"

namespace runsc {

// For when a process of the sandbox ended that should not have: one line.
std::string DescribeEnd(const char* name, int wait_status);

// One per process, used by its only thread.
class Supervisor {
 public:
  // Blocks the signals that Run waits for, and remembers the terminal's modes.
  Supervisor();

  // Returns the exit status, with every process of the sandbox gone. Sleeps unless something
  // happens.
  int Run(Sandbox sandbox);

 private:
  void OnSignal();
  // Reads what a child has said so far.
  void OnReports(Child& child);
  void OnReport(const Report& report);
  // Reaps the children that have ended; the end of one is the end of the other.
  void Reap();
  void End(Child& child, const char* name, int wait_status);
  // Kills both. What is reported of the sandbox's end from now on is a consequence.
  void Finish(int exit_status, const std::string& complaint);
  void ForwardSignal(int sig, bool from_terminal);
  void RestoreTerminal() const;

  Sandbox sandbox_;
  UniqueFd signals_;  // signalfd(2)
  bool running_ = false;
  std::optional<int> exit_status_;
  int terminal_ = -1;
  termios modes_{};
};

}  // namespace runsc

#endif  // RUNSC_SUPERVISE_H_
