#include "runsc/hooks/hooks.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/unique_fd.h"

namespace runsc {

namespace {

constexpr size_t kMaxOutput = 4096;  // Of a hook, in a message.
constexpr int kCannotRun = 127;

// A file, not a pipe: a hook that does not read it harms nobody.
absl::StatusOr<UniqueFd> StateFile(const HookState& state) {
  const std::string text = ToJson(state);
  UniqueFd file(memfd_create("state", MFD_CLOEXEC));
  if (!file.valid() ||
      write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
      lseek(file.get(), 0, SEEK_SET) != 0) {
    return absl::ErrnoToStatus(errno, "the state for a hook");
  }
  return file;
}

std::vector<char*> Pointers(const std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (const std::string& one : strings) pointers.push_back(const_cast<char*>(one.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

// In the child. Only calls that are safe after a fork.
[[noreturn]] void Become(const char* path, char* const* args, char* const* env, int input,
                         int output) {
  setsid();
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  signal(SIGPIPE, SIG_DFL);
  dup2(input, STDIN_FILENO);
  dup2(output, STDOUT_FILENO);
  dup2(output, STDERR_FILENO);
  syscall(SYS_close_range, 3u, ~0u, 0u);
  execve(path, args, env);
  const char* why = strerror(errno);
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, why, strlen(why));
  _exit(kCannotRun);
}

int64_t NowMs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

// Takes what is there. False at the end of the file.
bool Take(int fd, std::string& output) {
  char buffer[1024];
  const ssize_t got = read(fd, buffer, sizeof(buffer));
  if (got > 0) output.append(buffer, std::min<size_t>(got, kMaxOutput - output.size()));
  return got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
}

// Collects output until the hook itself has ended; what it left running is not waited for. False
// when the time is over.
bool Follow(int pidfd, int output_fd, int timeout_s, std::string& output) {
  const int64_t end = NowMs() + int64_t{timeout_s} * 1000;
  pollfd fds[2] = {{pidfd, POLLIN, 0}, {output_fd, POLLIN, 0}};
  for (;;) {
    int wait = -1;
    if (timeout_s > 0) {
      wait = static_cast<int>(std::clamp<int64_t>(end - NowMs(), 0, INT32_MAX));
    }
    const int ready = poll(fds, 2, wait);
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return false;
    if (fds[1].revents != 0 && !Take(output_fd, output)) fds[1].fd = -1;
    if (fds[0].revents == 0) continue;
    // The last words, unless another process holds the pipe.
    for (size_t before = SIZE_MAX; fds[1].fd >= 0 && output.size() != before;) {
      before = output.size();
      (void)Take(output_fd, output);
    }
    return true;
  }
}

std::string Verdict(int status) {
  if (WIFSIGNALED(status)) return absl::StrCat("signal ", WTERMSIG(status));
  if (WEXITSTATUS(status) == kCannotRun) return "cannot be run";
  return absl::StrCat("exit status ", WEXITSTATUS(status));
}

absl::Status RunOne(const spec::Hook& hook, const HookState& state) {
  const absl::StatusOr<UniqueFd> input = StateFile(state);
  if (!input.ok()) return input.status();
  int ends[2];
  if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return absl::ErrnoToStatus(errno, "pipe");
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  // The hook's own end blocks, as it may expect.
  fcntl(writer.get(), F_SETFL, 0);
  const std::vector<std::string> name = {hook.path};
  const std::vector<char*> args = Pointers(hook.args.empty() ? name : hook.args);
  const std::vector<char*> env = Pointers(hook.env);
  const pid_t pid = fork();
  if (pid < 0) return absl::ErrnoToStatus(errno, "fork");
  if (pid == 0) Become(hook.path.c_str(), args.data(), env.data(), input->get(), writer.get());
  writer.reset();
  const UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  std::string output;
  const bool in_time =
      pidfd.valid() ? Follow(pidfd.get(), reader.get(), hook.timeout.value_or(0), output) : true;
  if (!in_time) {
    kill(-pid, SIGKILL);
    kill(pid, SIGKILL);  // It may not have its session yet.
  }
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (!in_time) {
    return absl::DeadlineExceededError(absl::StrCat("not done within ", *hook.timeout, " s"));
  }
  if (status == 0) return absl::OkStatus();
  while (output.ends_with('\n')) output.pop_back();
  return absl::InternalError(absl::StrCat(Verdict(status), output.empty() ? "" : ": ",
                                          absl::StrReplaceAll(output, {{"\n", "; "}})));
}

}  // namespace

std::string ToJson(const HookState& state) {
  nlohmann::json text = {{"ociVersion", state.oci_version},
                         {"id", state.id},
                         {"status", state.status},
                         {"bundle", state.bundle}};
  if (state.pid != 0) text["pid"] = state.pid;
  if (!state.annotations.empty()) text["annotations"] = state.annotations;
  return text.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

absl::Status RunHooks(const std::string& kind, const std::vector<spec::Hook>& hooks,
                      const HookState& state) {
  for (size_t i = 0; i < hooks.size(); ++i) {
    if (const absl::Status s = RunOne(hooks[i], state); !s.ok()) {
      return absl::Status(s.code(),
                          absl::StrCat(kind, " hook #", i, " ", hooks[i].path, ": ", s.message()));
    }
  }
  return absl::OkStatus();
}

}  // namespace runsc
