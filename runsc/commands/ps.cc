#include "runsc/commands/ps.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/unique_fd.h"
#include "runsc/commands/options.h"

namespace runsc {

namespace {

// Everything that `ps ARGS` prints.
absl::StatusOr<std::string> RunPs(const std::vector<std::string>& ps_args) {
  std::vector<char*> argv = {const_cast<char*>("ps")};
  for (const std::string& one : ps_args) argv.push_back(const_cast<char*>(one.c_str()));
  if (ps_args.empty()) argv.push_back(const_cast<char*>("-ef"));
  argv.push_back(nullptr);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return absl::ErrnoToStatus(errno, "pipe");
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  const pid_t pid = fork();
  if (pid < 0) return absl::ErrnoToStatus(errno, "fork");
  if (pid == 0) {
    dup2(writer.get(), STDOUT_FILENO);
    execvp("ps", argv.data());
    _exit(127);
  }
  writer.reset();
  std::string text;
  char buffer[4096];
  for (;;) {
    const ssize_t got = read(reader.get(), buffer, sizeof(buffer));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    text.append(buffer, static_cast<size_t>(got));
  }
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (status != 0) return absl::InternalError("ps: the host's ps(1) failed");
  return text;
}

}  // namespace

absl::StatusOr<PsRequest> ParsePs(std::span<char* const> args) {
  // What follows the id belongs to ps(1), dashes or not.
  size_t flags = 0;
  while (flags < args.size() && args[flags][0] == '-') {
    const std::string text = args[flags];
    flags += text.find('=') == text.npos ? 2 : 1;
  }
  flags = std::min(flags, args.size());
  constexpr OptionName kNames[] = {{"format", "f", true}};
  const absl::StatusOr<Options> options = ParseOptions("ps", kNames, args.first(flags));
  if (!options.ok()) return options.status();
  args = args.subspan(flags);
  if (args.empty()) return absl::InvalidArgumentError("ps: wants a container id");
  const std::string format = options->Get("format", "table");
  if (format != "json" && format != "table") {
    return absl::InvalidArgumentError(
        absl::StrCat("ps: --format: ", format, " is not one of json, table"));
  }
  PsRequest request = {.id = args[0], .json = format == "json"};
  request.ps_args.assign(args.begin() + 1, args.end());
  return request;
}

absl::StatusOr<std::string> PsText(const PsRequest& request, const std::vector<pid_t>& pids) {
  if (request.json) return absl::StrCat("[", absl::StrJoin(pids, ","), "]\n");
  const absl::StatusOr<std::string> all = RunPs(request.ps_args);
  if (!all.ok()) return all.status();
  const std::vector<std::string> lines = absl::StrSplit(*all, '\n', absl::SkipEmpty());
  if (lines.empty()) return absl::InternalError("ps: the host's ps(1) printed nothing");
  const std::vector<std::string> header =
      absl::StrSplit(lines[0], absl::ByAnyChar(" \t"), absl::SkipEmpty());
  const size_t column = std::find(header.begin(), header.end(), "PID") - header.begin();
  if (column == header.size()) return absl::InvalidArgumentError("ps: no column PID in the output");
  std::string text = lines[0] + "\n";
  for (size_t i = 1; i < lines.size(); ++i) {
    const std::vector<std::string> words =
        absl::StrSplit(lines[i], absl::ByAnyChar(" \t"), absl::SkipEmpty());
    pid_t pid;
    if (column < words.size() && absl::SimpleAtoi(words[column], &pid) &&
        std::find(pids.begin(), pids.end(), pid) != pids.end()) {
      absl::StrAppend(&text, lines[i], "\n");
    }
  }
  return text;
}

}  // namespace runsc
