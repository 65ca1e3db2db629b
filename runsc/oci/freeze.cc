#include "runsc/oci/freeze.h"

#include <dirent.h>
#include <signal.h>
#include <sys/wait.h>

#include <cerrno>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "runsc/spec/parse.h"

namespace runsc::oci {

namespace {

// Children of all its threads: proc_pid_task(5). Stubs are the sentry's, whoever cloned them.
std::vector<pid_t> ChildrenOf(pid_t pid) {
  std::vector<pid_t> children;
  const std::string tasks = absl::StrCat("/proc/", pid, "/task");
  DIR* const directory = opendir(tasks.c_str());
  if (directory == nullptr) return children;
  while (const dirent* entry = readdir(directory)) {
    const auto text = spec::ReadFile(absl::StrCat(tasks, "/", entry->d_name, "/children"));
    if (!text.ok()) continue;
    for (const absl::string_view word : absl::StrSplit(*text, ' ', absl::SkipEmpty())) {
      pid_t child = 0;
      if (absl::SimpleAtoi(word, &child)) children.push_back(child);
    }
  }
  closedir(directory);
  return children;
}

// proc_pid_status(5)
bool IsTraced(pid_t pid) {
  const auto text = spec::ReadFile(absl::StrCat("/proc/", pid, "/status"));
  return text.ok() && absl::StrContains(*text, "\nTracerPid:") &&
         !absl::StrContains(*text, "\nTracerPid:\t0\n");
}

}  // namespace

void StopAll(pid_t sentry) {
  if (sentry <= 0 || kill(sentry, SIGSTOP) != 0) return;
  // All its threads have stopped when it is reported; one that ends is left for the reaper.
  siginfo_t info{};
  while (waitid(P_PID, static_cast<id_t>(sentry), &info, WSTOPPED | WEXITED | WNOWAIT) != 0 &&
         errno == EINTR) {
  }
  for (const pid_t stub : ChildrenOf(sentry)) kill(stub, SIGSTOP);
}

void ContinueAll(pid_t sentry) {
  if (sentry <= 0) return;
  for (const pid_t stub : ChildrenOf(sentry)) kill(stub, SIGCONT);
  kill(sentry, SIGCONT);
}

bool Freezer::StopNew() {
  bool found = false;
  for (const pid_t pid : stubs_()) {
    if (stopped_.insert(pid).second) found = kill(pid, SIGSTOP) == 0 || found;
  }
  return found;
}

absl::Status Freezer::Stop() {
  for (const pid_t pid : stubs_()) {
    if (IsTraced(pid)) {
      return absl::UnimplementedError(
          "with --platform=ptrace a container of a pod cannot be paused alone, its sandbox can");
    }
  }
  Again();
  return absl::OkStatus();
}

void Freezer::Again() {
  // What is stopped forks no more.
  while (StopNew()) {
  }
}

void Freezer::Continue() {
  for (const pid_t pid : stubs_()) kill(pid, SIGCONT);
  stopped_.clear();
}

}  // namespace runsc::oci
