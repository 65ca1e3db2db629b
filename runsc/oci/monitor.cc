#include "runsc/oci/monitor.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "runsc/control.h"
#include "runsc/launch.h"
#include "runsc/lockdown.h"
#include "runsc/oci/channel.h"
#include "runsc/oci/container.h"
#include "runsc/oci/freeze.h"
#include "runsc/oci/groups.h"
#include "runsc/oci/pod.h"
#include "runsc/oci/title.h"
#include "runsc/supervise.h"

namespace runsc::oci {

namespace {

constexpr char kProceed = 'p', kReleased = 'r';
constexpr size_t kMaxClients = 1000;

// A command at the other end of a connection.
struct Client {
  UniqueFd socket;
  bool waits = false;    // kWait
  uint32_t exec_id = 0;  // kExec
  bool gone = false;
};

class Monitor {
 public:
  explicit Monitor(MonitorStart start) : start_(std::move(start)) {}

  [[noreturn]] void Run() {
    TakeSession();
    BlockSignals();
    char word = 0;
    if (recv(start_.creator.get(), &word, sizeof(word), 0) != sizeof(word)) _exit(kExitSetUp);
    // Before the control group, which may forbid all devices.
    const UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
    absl::Status status =
        null.valid() ? start_.enter(start_.config, start_.directory) : HostError("/dev/null");
    if (status.ok()) {
      absl::StatusOr<Sandbox> sandbox =
          in_pod() ? LaunchInPod(start_.config, start_.directory) : Launch(start_.config);
      status = sandbox.status();
      if (sandbox.ok()) sandbox_ = *std::move(sandbox);
    }
    if (!status.ok()) Finish(kExitSetUp << 8, std::string(status.message()));
    LetGoOfStdio(null.get());
    while (!finished_ || sandbox_.sentry.pid > 0 || sandbox_.gofer.pid > 0 ||
           sandbox_.network.pid > 0) {
      Turn();
    }
    // Who asks at this very moment is told as well.
    Accept();
    for (const auto& client : clients_) OnClient(*client);
    TellEnd();
    _exit(WIFSIGNALED(wait_status_) ? 128 + WTERMSIG(wait_status_) : WEXITSTATUS(wait_status_));
  }

 private:
  // A session of its own, with the container's terminal: what the terminal signals comes here.
  void TakeSession() {
    prctl(PR_SET_NAME, "sandbox", 0, 0, 0);
    ShowArguments(start_.config.container->spec.process->args);
    setsid();
    if (!start_.terminal.valid()) return;
    ioctl(start_.terminal.get(), TIOCSCTTY, 0);
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) dup2(start_.terminal.get(), fd);
    start_.terminal.reset();
  }

  void BlockSignals() {
    sigset_t all;
    sigfillset(&all);
    for (const int sig : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT}) sigdelset(&all, sig);
    sigprocmask(SIG_SETMASK, &all, nullptr);
    for (int sig = 1; sig < NSIG; ++sig) signal(sig, SIG_DFL);
    signals_ = UniqueFd(signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK));
  }

  // They are the program's alone: when it closes a pipe, its reader is to see the end.
  void LetGoOfStdio(int null) {
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
      if (null < 0 || dup2(null, fd) < 0) close(fd);
    }
    for (int i = 1; i <= start_.config.container->preserve_fds; ++i) close(STDERR_FILENO + i);
  }

  void Turn() {
    std::vector<pollfd> fds = {{.fd = signals_.get(), .events = POLLIN},
                               {.fd = sandbox_.sentry.control.get(), .events = POLLIN},
                               {.fd = sandbox_.gofer.control.get(), .events = POLLIN},
                               {.fd = start_.creator.get(), .events = POLLIN},
                               {.fd = start_.listener.get(), .events = POLLIN},
                               {.fd = sandbox_.network.control.get(), .events = POLLIN}};
    const size_t first_client = fds.size();
    for (const auto& client : clients_) fds.push_back({client->socket.get(), POLLIN, 0});
    constexpr int kLookAgainMs = 50;
    const bool looks = paused_ && in_pod();
    if (poll(fds.data(), fds.size(), looks ? kLookAgainMs : -1) < 0) return;
    if (looks) freezer_.Again();
    // Reports first: a child's last words explain its end.
    if (fds[1].revents != 0) OnReports(sandbox_.sentry);
    if (fds[2].revents != 0) OnReports(sandbox_.gofer);
    if (fds[5].revents != 0) OnReports(sandbox_.network);
    if (fds[0].revents != 0) OnSignals();
    if (fds[3].revents != 0) OnCreator();
    for (size_t i = first_client; i < fds.size(); ++i) {
      if (fds[i].revents != 0) OnClient(*clients_[i - first_client]);
    }
    std::erase_if(clients_, [](const auto& client) { return client->gone; });
    if (fds[4].revents != 0) Accept();
  }

  void OnSignals() {
    signalfd_siginfo info;
    while (read(signals_.get(), &info, sizeof(info)) == sizeof(info)) {
      const int sig = static_cast<int>(info.ssi_signo);
      if (sig == SIGCHLD) {
        Reap();
      } else {
        const bool from_terminal = info.ssi_code == SI_KERNEL;
        (void)Signal(from_terminal ? Command::Kind::kSignalForeground : Command::Kind::kSignalInit,
                     sig);
      }
    }
  }

  // A process that does not run yet has no handlers: nothing but SIGKILL would do anything.
  Status Signal(Command::Kind kind, int sig) {
    if (!started_) {
      if (sig == SIGKILL) Finish(SIGKILL, "");
      return kOk;
    }
    const Status told = Tell({.kind = kind, .signal = sig});
    // The others wait, as signals of a frozen process do.
    if (sig != SIGKILL) return told;
    // Before it runs there are hooks that the sentry waits for.
    if (!told.ok() || !running_) Finish(SIGKILL, "");
    Resume();
    return kOk;
  }

  // `create` lets go, or has ended without doing so.
  void OnCreator() {
    char word = 0;
    const ssize_t size = recv(start_.creator.get(), &word, sizeof(word), MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
    start_.creator.reset();
    if (size != sizeof(word) || word != kReleased) Finish(SIGKILL, "");
  }

  void TellCreator(const Birth& birth) {
    if (!start_.creator.valid() || born_) return;
    born_ = true;
    send(start_.creator.get(), &birth, sizeof(birth), MSG_NOSIGNAL);
  }

  void OnReports(Child& child) {
    const auto take = [this](const Report& report) { OnReport(report); };
    if (ReceiveReports(child.control, take) || &child != &sandbox_.sentry || !in_pod()) return;
    Finish(SIGKILL, "the pod's sandbox is gone");
  }

  void OnReport(const Report& report) {
    switch (report.kind) {
      case Report::Kind::kRunning:
        running_ = true;
        break;
      case Report::Kind::kParked:
        TellCreator({.sentry = sandbox_.sentry.pid,
                     .gofer = sandbox_.gofer.pid,
                     .network = sandbox_.network.pid});
        break;
      case Report::Kind::kExited:
        Finish(report.status, "");
        break;
      case Report::Kind::kFailed:
        Finish(report.status << 8, report.message);
        break;
      case Report::Kind::kListed:
      case Report::Kind::kExecStarted:
      case Report::Kind::kExecFailed:
      case Report::Kind::kExecExited:
        OnExecReport(report);
        break;
    }
  }

  void OnExecReport(const Report& report) {
    const auto found = std::find_if(clients_.begin(), clients_.end(), [&](const auto& client) {
      return client->exec_id == report.id && !client->gone;
    });
    if (found == clients_.end()) return;
    Client& client = **found;
    const auto kind = report.kind == Report::Kind::kExecStarted  ? Reply::Kind::kStarted
                      : report.kind == Report::Kind::kListed     ? Reply::Kind::kDone
                      : report.kind == Report::Kind::kExecFailed ? Reply::Kind::kFailed
                                                                 : Reply::Kind::kExited;
    (void)SendReply(client.socket.get(), kind, report.status, report.message);
    if (kind != Reply::Kind::kStarted) client.gone = true;
  }

  void Accept() {
    for (;;) {
      UniqueFd socket(
          accept4(start_.listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (!socket.valid()) return;
      ucred peer{};
      socklen_t size = sizeof(peer);
      if (getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) continue;
      if (peer.uid != geteuid() && peer.uid != 0) continue;
      if (clients_.size() >= kMaxClients) continue;
      clients_.push_back(std::make_unique<Client>(Client{.socket = std::move(socket)}));
    }
  }

  void OnClient(Client& client) {
    while (!client.gone) {
      std::vector<UniqueFd> fds;
      const Result<Request> request = ReceiveRequest(client.socket.get(), fds);
      if (!request.ok() && request.error() == Errno(EAGAIN)) return;
      if (!request.ok() && request.error() == Errno(EMFILE) && client.exec_id == 0) {
        (void)SendReply(client.socket.get(), Reply::Kind::kFailed, 0,
                        "the container's monitor has too many open files");
        client.gone = true;
      } else if (!request.ok()) {
        // The end of the proxy is the end of its process: its pid is what callers kill.
        if (client.exec_id != 0) SignalExec(client, Command::Kind::kSignalExec, SIGKILL);
        client.gone = true;
      } else {
        OnRequest(client, *request, std::move(fds));
      }
    }
  }

  void OnRequest(Client& client, const Request& request, std::vector<UniqueFd> fds) {
    const int socket = client.socket.get();
    switch (request.kind) {
      case Request::Kind::kStart:
        if (!Start()) {
          (void)SendReply(socket, Reply::Kind::kFailed, 0, "the container cannot be started");
          return;
        }
        (void)SendReply(socket, Reply::Kind::kDone, 0);
        return;
      case Request::Kind::kSignal:
      case Request::Kind::kSignalAll:
        return Answer(socket,
                      Signal(request.kind == Request::Kind::kSignal ? Command::Kind::kSignalInit
                                                                    : Command::Kind::kSignalAll,
                             request.signal));
      case Request::Kind::kLimits: {
        if (fds.size() != 1) return Answer(socket, Errno(EPROTO));
        const int numbers[] = {fds[0].get()};
        return Answer(socket, Tell({.kind = Command::Kind::kLimits}, numbers));
      }
      case Request::Kind::kList:
        return List(client, std::move(fds));
      case Request::Kind::kAddContainer:
        return AddContainer(socket, std::move(fds));
      case Request::Kind::kPause:
        return Pause(socket);
      case Request::Kind::kResume:
        Resume();
        (void)SendReply(socket, Reply::Kind::kDone, 0);
        return;
      case Request::Kind::kDestroy:
        Finish(SIGKILL, "");
        return;
      case Request::Kind::kWait:
        client.waits = true;
        return;
      case Request::Kind::kExec:
        return Exec(client, std::move(fds));
      case Request::Kind::kExecSignal:
        return SignalExec(client, Command::Kind::kSignalExec, request.signal);
      case Request::Kind::kExecTerminal:
        return SignalExec(client, Command::Kind::kSignalExecTerminal, request.signal);
    }
    client.gone = true;
  }

  void Pause(int socket) {
    if (!in_pod()) {
      StopAll(sandbox_.sentry.pid);
    } else if (const absl::Status status = freezer_.Stop(); !status.ok()) {
      (void)SendReply(socket, Reply::Kind::kFailed, 0, std::string(status.message()));
      return;
    }
    paused_ = true;
    (void)SendReply(socket, Reply::Kind::kDone, 0);
  }

  void Resume() {
    if (!std::exchange(paused_, false)) return;
    in_pod() ? freezer_.Continue() : ContinueAll(sandbox_.sentry.pid);
  }

  // In a pod, whose sentry has the stubs of all.
  std::vector<pid_t> Stubs() const {
    std::vector<pid_t> pids = GroupOf(start_.directory).Processes();
    std::erase_if(pids, [this](pid_t pid) { return pid == getpid() || pid == sandbox_.gofer.pid; });
    return pids;
  }

  bool Start() {
    if (started_ || finished_ || !born_) return false;
    started_ = true;
    return Tell({.kind = Command::Kind::kStart}).ok();
  }

  void Exec(Client& client, std::vector<UniqueFd> fds) {
    if (!started_ || finished_ || client.exec_id != 0 || fds.size() < kExecFds) {
      (void)SendReply(client.socket.get(), Reply::Kind::kFailed, 0, "container is not running");
      return;
    }
    std::vector<int> numbers;
    for (const UniqueFd& fd : fds) numbers.push_back(fd.get());
    const Status told = Tell({.kind = Command::Kind::kExec, .id = last_exec_id_ + 1}, numbers);
    if (!told.ok()) return Answer(client.socket.get(), told);
    client.exec_id = ++last_exec_id_;
  }

  // One that stands still would not answer.
  void List(Client& client, std::vector<UniqueFd> fds) {
    Status told = Errno(EAGAIN);
    if (running_ && !finished_ && !paused_ && client.exec_id == 0 && fds.size() == 1) {
      const int numbers[] = {fds[0].get()};
      told = Tell({.kind = Command::Kind::kListProcesses, .id = last_exec_id_ + 1}, numbers);
    }
    if (!told.ok()) return Answer(client.socket.get(), told);
    client.exec_id = ++last_exec_id_;
  }

  // A container of the pod whose sandbox this is; its monitor hears of it from the sentry itself.
  void AddContainer(int socket, std::vector<UniqueFd> fds) {
    if (!running_ || finished_ || in_pod()) return Answer(socket, Errno(ESRCH));
    std::vector<int> numbers;
    for (const UniqueFd& fd : fds) numbers.push_back(fd.get());
    Answer(socket, Tell({.kind = Command::Kind::kAddContainer}, numbers));
  }

  // Whether the sentry is that of a pod, and no child.
  bool in_pod() const { return !start_.config.container->sandbox_directory.empty(); }

  // EAGAIN when the sentry takes nothing: it stands still, and so much is waiting already.
  Status Tell(const Command& command, std::span<const int> fds = {}) {
    return SendCommand(sandbox_.sentry.control.get(), command, fds);
  }

  static void Answer(int socket, const Status& status) {
    if (status.ok()) return (void)SendReply(socket, Reply::Kind::kDone, 0);
    (void)SendReply(socket, Reply::Kind::kFailed, 0,
                    status.error() == Errno(EAGAIN) ? "the sandbox does not take commands now"
                                                    : "container not running");
  }

  void SignalExec(Client& client, Command::Kind kind, int sig) {
    if (client.exec_id != 0) (void)Tell({.kind = kind, .signal = sig, .id = client.exec_id});
  }

  void Reap() {
    for (Child* child : {&sandbox_.sentry, &sandbox_.gofer, &sandbox_.network}) {
      int wait_status = 0;
      if (child->pid <= 0 || waitpid(child->pid, &wait_status, WNOHANG) != child->pid) continue;
      child->pid = -1;
      // What was said just before may not have been read yet.
      OnReports(sandbox_.sentry);
      OnReports(sandbox_.gofer);
      OnReports(sandbox_.network);
      // Without it a sandbox lives on; its calls about the network fail.
      if (child == &sandbox_.network) continue;
      const char* name = child == &sandbox_.sentry ? "sentry" : "gofer";
      Finish(SIGKILL, DescribeEnd(name, wait_status));
    }
  }

  // Once: kills both, and remembers how it ended. What is reported from now on is a consequence.
  void Finish(int wait_status, const std::string& complaint) {
    if (finished_) return;
    finished_ = true;
    wait_status_ = wait_status;
    for (const Child* child : {&sandbox_.sentry, &sandbox_.gofer, &sandbox_.network}) {
      if (child->pid > 0) kill(child->pid, SIGKILL);
    }
    if (complaint.empty()) return;
    if (born_) LOG_WARNING("%s", complaint.c_str());
    Birth birth{.failed = 1};
    memcpy(birth.message, complaint.data(), std::min(complaint.size(), sizeof(birth.message) - 1));
    TellCreator(birth);
  }

  void TellEnd() {
    for (const auto& client : clients_) {
      const int status = client->waits ? wait_status_ : SIGKILL;
      if (client->waits || client->exec_id != 0) {
        (void)SendReply(client->socket.get(), Reply::Kind::kExited, status);
      }
    }
  }

  MonitorStart start_;
  Sandbox sandbox_;
  UniqueFd signals_;  // signalfd(2)
  std::vector<std::unique_ptr<Client>> clients_;
  uint32_t last_exec_id_ = 0;
  bool born_ = false;
  bool started_ = false;  // Was told to run.
  bool running_ = false;  // Runs: hooks inside have ended.
  bool paused_ = false;
  Freezer freezer_{[this] { return Stubs(); }};
  bool finished_ = false;
  int wait_status_ = 0;
};

absl::Status Say(int monitor, char word) {
  if (send(monitor, &word, sizeof(word), MSG_NOSIGNAL) == sizeof(word)) return absl::OkStatus();
  return absl::InternalError("the container's monitor has died");
}

}  // namespace

absl::StatusOr<pid_t> ForkMonitor(MonitorStart start) {
  const pid_t pid = fork();
  if (pid < 0) return HostError("fork");
  if (pid > 0) return pid;
  std::vector<int> keep = {start.config.log_fd, start.listener.get(), start.creator.get(),
                           start.terminal.get()};
  const int last = STDERR_FILENO + start.config.container->preserve_fds;
  for (int fd = STDIN_FILENO; fd <= last; ++fd) keep.push_back(fd);
  CloseAllBut(keep);
  // Without a log there is nobody to tell: standard error is the program's.
  logging::SetDescriptor(start.config.log_fd);
  Monitor(std::move(start)).Run();
}

absl::StatusOr<Birth> AwaitBirth(int monitor) {
  Birth birth;
  for (;;) {
    const ssize_t size = recv(monitor, &birth, sizeof(birth), 0);
    if (size == sizeof(birth)) break;
    if (size < 0 && errno == EINTR) continue;
    return absl::InternalError("the container's monitor has died");
  }
  birth.message[sizeof(birth.message) - 1] = '\0';
  return birth;
}

absl::Status Proceed(int monitor) { return Say(monitor, kProceed); }
absl::Status Release(int monitor) { return Say(monitor, kReleased); }

}  // namespace runsc::oci
