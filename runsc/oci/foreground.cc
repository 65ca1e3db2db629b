#include "runsc/oci/foreground.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "runsc/config.h"
#include "runsc/lockdown.h"
#include "runsc/oci/channel.h"

namespace runsc::oci {

namespace {

// All that can be: the pid of the process is what its callers send signals to.
UniqueFd TakeSignals() {
  sigset_t all;
  sigfillset(&all);
  for (const int sig : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTSTP, SIGTTIN, SIGTTOU}) {
    sigdelset(&all, sig);
  }
  sigprocmask(SIG_SETMASK, &all, nullptr);
  // An ignored SIGCHLD, which is inherited, would have the child reaped by nobody.
  signal(SIGCHLD, SIG_DFL);
  return UniqueFd(signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK));
}

// The end of the process behind a connection, if it has come.
std::optional<int> ReadEnd(int connection) {
  const Result<Reply> reply = ReceiveReply(connection);
  if (!reply.ok()) return SIGKILL;
  if (reply->kind == Reply::Kind::kExited) return reply->status;
  return std::nullopt;
}

void Forward(int connection, const signalfd_siginfo& info, bool has_terminal) {
  const bool from_terminal = has_terminal && info.ssi_code == SI_KERNEL;
  (void)SendRequest(connection, {.kind = from_terminal ? Request::Kind::kExecTerminal
                                                       : Request::Kind::kExecSignal,
                                 .signal = static_cast<int32_t>(info.ssi_signo)});
}

}  // namespace

int ShellStatusOf(int wait_status) {
  return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

Foreground::Foreground() : signals_(TakeSignals()) {}
Foreground::~Foreground() = default;

template <typename Forward, typename Ended>
int Foreground::Loop(int watched, UniqueFd console, Forward forward, Ended ended) {
  std::optional<Relay> relay;
  if (console.valid()) relay.emplace(std::move(console));
  std::optional<int> status;
  // With a terminal until its last byte: whoever has it open may outlive the process.
  bool output = relay.has_value();
  while (!status.has_value() || output) {
    pollfd fds[] = {{.fd = signals_.get(), .events = POLLIN},
                    {.fd = status.has_value() ? -1 : watched, .events = POLLIN},
                    {.fd = relay && !status ? relay->input() : -1, .events = POLLIN},
                    {.fd = output ? relay->master() : -1,
                     .events = static_cast<short>(
                         POLLIN | (output && !status && relay->has_pending() ? POLLOUT : 0))}};
    // After the end what is in the line already comes at once.
    const int ready = poll(fds, std::size(fds), status.has_value() ? 0 : -1);
    if (ready == 0) break;
    if (ready < 0) continue;
    if ((fds[3].revents & POLLOUT) != 0) relay->OnWritable();
    if ((fds[3].revents & ~POLLOUT) != 0) output = relay->OnOutput();
    if (fds[2].revents != 0) relay->OnInput();
    if (fds[1].revents != 0) status = ended();
    signalfd_siginfo info;
    while (fds[0].revents != 0 && read(signals_.get(), &info, sizeof(info)) == sizeof(info)) {
      if (info.ssi_signo == SIGCHLD) {
        if (!status.has_value()) status = ended();
      } else if (info.ssi_signo == SIGWINCH && relay) {
        relay->OnResize();
      } else {
        forward(info);
      }
    }
  }
  return ShellStatusOf(*status);
}

int Foreground::AwaitChild(pid_t monitor, UniqueFd console) {
  const auto ended = [monitor]() -> std::optional<int> {
    int status = 0;
    if (waitpid(monitor, &status, WNOHANG) != monitor) return std::nullopt;
    return status;
  };
  const auto forward = [monitor](const signalfd_siginfo& info) {
    kill(monitor, static_cast<int>(info.ssi_signo));
  };
  // It may have ended before its SIGCHLD could be waited for.
  return Loop(-1, std::move(console), forward, ended);
}

int Foreground::AwaitExec(int connection, UniqueFd console) {
  const auto ended = [connection] { return ReadEnd(connection); };
  const auto forward = [connection](const signalfd_siginfo& info) {
    Forward(connection, info, /*has_terminal=*/false);
  };
  return Loop(connection, std::move(console), forward, ended);
}

void RunExecProxy(UniqueFd connection, UniqueFd terminal) {
  prctl(PR_SET_NAME, "sandbox-exec", 0, 0, 0);
  setsid();
  const bool has_terminal = terminal.valid();
  if (has_terminal) ioctl(terminal.get(), TIOCSCTTY, 0);
  terminal.reset();
  const int keep[] = {connection.get()};
  CloseAllBut(keep);
  // Descriptors that somebody opens later are not to be taken for the standard ones.
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0) _exit(kExitSetUp);
  }
  const UniqueFd signals = TakeSignals();
  for (;;) {
    pollfd fds[] = {{.fd = signals.get(), .events = POLLIN},
                    {.fd = connection.get(), .events = POLLIN}};
    if (poll(fds, std::size(fds), -1) < 0) continue;
    if (fds[1].revents != 0) {
      const std::optional<int> status = ReadEnd(connection.get());
      if (status.has_value()) _exit(ShellStatusOf(*status));
    }
    signalfd_siginfo info;
    while (fds[0].revents != 0 && read(signals.get(), &info, sizeof(info)) == sizeof(info)) {
      Forward(connection.get(), info, has_terminal);
    }
  }
}

}  // namespace runsc::oci
