#include "runsc/supervise.h"

#include <poll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runsc/config.h"
#include "runsc/do.h"
#include "runsc/startup_trace.h"

namespace runsc {

namespace {

constexpr int kForwarded[] = {SIGINT,  SIGTERM,  SIGHUP,  SIGQUIT, SIGTSTP,
                              SIGCONT, SIGWINCH, SIGUSR1, SIGUSR2};

// wait(2)'s status as a shell tells it.
int ShellStatus(int wait_status) {
  if (WIFSIGNALED(wait_status)) return 128 + WTERMSIG(wait_status);
  return WEXITSTATUS(wait_status);
}

}  // namespace

std::string DescribeEnd(const char* name, int wait_status) {
  if (WIFSIGNALED(wait_status)) {
    const int sig = WTERMSIG(wait_status);
    return absl::StrCat("the ", name, " was killed by signal ", sig, " (", strsignal(sig), ")");
  }
  return absl::StrCat("the ", name, " ended with status ", WEXITSTATUS(wait_status));
}

Supervisor::Supervisor() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  for (const int sig : kForwarded) sigaddset(&set, sig);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  // An ignored SIGCHLD, which is inherited, would have the children reaped by nobody. Writing the
  // terminal's modes back must not stop us should we be in the background by then.
  signal(SIGCHLD, SIG_DFL);
  signal(SIGTTOU, SIG_IGN);
  signal(SIGPIPE, SIG_IGN);
  signals_ = UniqueFd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO && terminal_ < 0; ++fd) {
    if (tcgetattr(fd, &modes_) == 0) terminal_ = fd;
  }
}

int Supervisor::Run(Sandbox sandbox) {
  sandbox_ = std::move(sandbox);
  while (sandbox_.sentry.pid > 0 || sandbox_.gofer.pid > 0 || sandbox_.network.pid > 0) {
    pollfd fds[] = {{.fd = signals_.get(), .events = POLLIN, .revents = 0},
                    {.fd = sandbox_.sentry.control.get(), .events = POLLIN, .revents = 0},
                    {.fd = sandbox_.gofer.control.get(), .events = POLLIN, .revents = 0},
                    {.fd = sandbox_.network.control.get(), .events = POLLIN, .revents = 0}};
    if (poll(fds, std::size(fds), -1) < 0) continue;
    // Reports first: a child's last words explain its end.
    if (fds[1].revents != 0) OnReports(sandbox_.sentry);
    if (fds[2].revents != 0) OnReports(sandbox_.gofer);
    if (fds[3].revents != 0) OnReports(sandbox_.network);
    if (fds[0].revents != 0) OnSignal();
  }
  return exit_status_.value_or(kExitSetUp);
}

void Supervisor::OnSignal() {
  signalfd_siginfo info;
  while (read(signals_.get(), &info, sizeof(info)) == sizeof(info)) {
    const int sig = static_cast<int>(info.ssi_signo);
    if (sig == SIGCHLD) {
      Reap();
    } else {
      ForwardSignal(sig, info.ssi_code == SI_KERNEL);
    }
  }
}

void Supervisor::ForwardSignal(int sig, bool from_terminal) {
  if (running_) {
    const auto kind = from_terminal ? Command::Kind::kSignalForeground : Command::Kind::kSignalInit;
    // Should the sentry be gone, its end is being dealt with.
    (void)SendCommand(sandbox_.sentry.control.get(), {.kind = kind, .signal = sig});
    return;
  }
  // There is no program yet: what would have ended it ends us.
  const bool ends = sig == SIGINT || sig == SIGTERM || sig == SIGHUP || sig == SIGQUIT;
  if (ends) Finish(128 + sig, "");
}

void Supervisor::OnReports(Child& child) {
  ReceiveReports(child.control, [this](const Report& report) { OnReport(report); });
}

void Supervisor::OnReport(const Report& report) {
  switch (report.kind) {
    case Report::Kind::kRunning:
      running_ = true;
      break;
    case Report::Kind::kExited:
      StartupMark("front-end: program has exited");
      Finish(ShellStatus(report.status), "");
      break;
    case Report::Kind::kFailed:
      Finish(report.status, report.message);
      break;
    default:  // Of containers.
      break;
  }
}

void Supervisor::Reap() {
  for (const auto& [child, name] :
       {std::pair(&sandbox_.sentry, "sentry"), std::pair(&sandbox_.gofer, "gofer"),
        std::pair(&sandbox_.network, "network gofer")}) {
    int wait_status = 0;
    if (child->pid > 0 && waitpid(child->pid, &wait_status, WNOHANG) == child->pid) {
      End(*child, name, wait_status);
    }
  }
}

void Supervisor::End(Child& child, const char* name, int wait_status) {
  child.pid = -1;
  // What was said just before may not have been read yet.
  OnReports(sandbox_.sentry);
  OnReports(sandbox_.gofer);
  OnReports(sandbox_.network);
  // Without its network gofer a sandbox lives on; its calls about the network fail.
  if (&child == &sandbox_.network) return;
  // The gofer ends by itself when the sentry is gone, which knows better what happened.
  if (&child == &sandbox_.gofer && wait_status == 0 && sandbox_.sentry.pid > 0) {
    kill(sandbox_.sentry.pid, SIGKILL);
    return;
  }
  Finish(kExitSetUp, DescribeEnd(name, wait_status));
}

void Supervisor::Finish(int exit_status, const std::string& complaint) {
  if (exit_status_.has_value()) return;
  exit_status_ = exit_status;
  for (const Child* child : {&sandbox_.sentry, &sandbox_.gofer, &sandbox_.network}) {
    if (child->pid > 0) kill(child->pid, SIGKILL);
  }
  if (exit_status == kExitSetUp) RestoreTerminal();
  if (!complaint.empty()) Complain(complaint);
}

void Supervisor::RestoreTerminal() const {
  if (terminal_ >= 0) tcsetattr(terminal_, TCSANOW, &modes_);
}

}  // namespace runsc
