#include "runsc/oci/processes.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/unique_fd.h"
#include "runsc/lockdown.h"
#include "runsc/spec/parse.h"

namespace runsc::oci {

namespace {

// Children of all threads of a process; proc_pid_task(5).
std::vector<pid_t> ChildrenOf(pid_t pid) {
  std::vector<pid_t> children;
  const auto text = spec::ReadFile(absl::StrCat("/proc/", pid, "/task/", pid, "/children"));
  if (!text.ok()) return children;
  for (const absl::string_view word : absl::StrSplit(*text, ' ', absl::SkipEmpty())) {
    pid_t child = 0;
    if (absl::SimpleAtoi(word, &child)) children.push_back(child);
  }
  return children;
}

absl::StatusOr<std::string> OutputOf(const std::vector<std::string>& command) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return HostError("pipe");
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  std::vector<char*> argv;
  for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, writer.get(), STDOUT_FILENO);
  pid_t pid = -1;
  errno = posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (errno != 0) return HostError(command[0]);
  writer.reset();
  std::string text;
  char buffer[4096];
  for (;;) {
    const ssize_t count = read(reader.get(), buffer, sizeof(buffer));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    text.append(buffer, static_cast<size_t>(count));
  }
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (status != 0) return absl::InternalError(absl::StrCat(command[0], ": failed"));
  return text;
}

}  // namespace

std::vector<pid_t> ProcessesOf(const Record& record) {
  std::vector<pid_t> pids = {record.monitor.pid};
  if (!record.started || !IsAlive(record.sentry)) return pids;
  const std::vector<pid_t> stubs = ChildrenOf(record.sentry.pid);
  // The first two are the zygote and the stub of the first process, which the monitor stands for.
  for (size_t i = 2; i < stubs.size(); ++i) pids.push_back(stubs[i]);
  return pids;
}

absl::StatusOr<int> PrintTable(const std::vector<pid_t>& pids,
                               const std::vector<std::string>& flags) {
  std::vector<std::string> command = {"ps"};
  command.insert(command.end(), flags.begin(), flags.end());
  if (flags.empty()) command.emplace_back("-ef");
  const absl::StatusOr<std::string> text = OutputOf(command);
  if (!text.ok()) return text.status();
  const std::vector<std::string> lines = absl::StrSplit(*text, '\n', absl::SkipEmpty());
  if (lines.empty()) return 0;
  const std::vector<std::string> titles = absl::StrSplit(lines[0], ' ', absl::SkipEmpty());
  const auto column = std::find(titles.begin(), titles.end(), "PID") - titles.begin();
  if (static_cast<size_t>(column) == titles.size()) {
    return absl::InternalError("couldn't find PID field in ps output");
  }
  printf("%s\n", lines[0].c_str());
  for (size_t i = 1; i < lines.size(); ++i) {
    const std::vector<std::string> fields = absl::StrSplit(lines[i], ' ', absl::SkipEmpty());
    pid_t pid = 0;
    if (fields.size() <= static_cast<size_t>(column)) continue;
    if (!absl::SimpleAtoi(fields[static_cast<size_t>(column)], &pid)) continue;
    if (std::find(pids.begin(), pids.end(), pid) != pids.end()) printf("%s\n", lines[i].c_str());
  }
  return 0;
}

}  // namespace runsc::oci
