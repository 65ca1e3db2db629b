#include "runsc/cgroup/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/unique_fd.h"

namespace runsc::cgroup {

absl::StatusOr<std::string> ReadText(const std::string& path) {
  const UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return absl::ErrnoToStatus(errno, path);
  std::string text;
  char buffer[4096];
  for (;;) {
    const ssize_t got = read(file.get(), buffer, sizeof(buffer));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return absl::ErrnoToStatus(errno, path);
    if (got == 0) break;
    text.append(buffer, static_cast<size_t>(got));
  }
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

absl::Status WriteText(const std::string& path, const std::string& text) {
  const UniqueFd file(open(path.c_str(), O_WRONLY | O_CLOEXEC | O_TRUNC));
  if (!file.valid()) return absl::ErrnoToStatus(errno, path);
  ssize_t written;
  do {
    written = write(file.get(), text.data(), text.size());
  } while (written < 0 && errno == EINTR);
  if (written < 0) return absl::ErrnoToStatus(errno, absl::StrCat(path, ": writing ", text));
  return absl::OkStatus();
}

bool Exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

uint64_t ReadNumber(const std::string& path) {
  const absl::StatusOr<std::string> text = ReadText(path);
  uint64_t number = 0;
  if (!text.ok()) return 0;
  if (*text == "max" || *text == "-1") return UINT64_MAX;
  return absl::SimpleAtoi(*text, &number) ? number : 0;
}

std::map<std::string, uint64_t> ReadTable(const std::string& path) {
  std::map<std::string, uint64_t> table;
  const absl::StatusOr<std::string> text = ReadText(path);
  if (!text.ok()) return table;
  for (const std::string& line : Split(*text, '\n')) {
    const std::pair<std::string, std::string> row = absl::StrSplit(line, absl::MaxSplits(' ', 1));
    uint64_t number;
    if (absl::SimpleAtoi(row.second, &number)) table[row.first] = number;
  }
  return table;
}

std::vector<pid_t> ReadPids(const std::string& path) {
  std::vector<pid_t> pids;
  const absl::StatusOr<std::string> text = ReadText(path);
  if (!text.ok()) return pids;
  for (const std::string& line : Split(*text, '\n')) {
    pid_t pid;
    if (absl::SimpleAtoi(line, &pid) && pid > 0) pids.push_back(pid);
  }
  return pids;
}

std::vector<std::string> Subdirectories(const std::string& path) {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(opendir(path.c_str()), closedir);
  if (directory == nullptr) return names;
  while (const dirent* entry = readdir(directory.get())) {
    const std::string name = entry->d_name;
    struct stat st;
    if (name != "." && name != ".." &&
        fstatat(dirfd(directory.get()), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISDIR(st.st_mode)) {
      names.push_back(name);
    }
  }
  return names;
}

std::vector<std::string> Split(const std::string& text, char delimiter) {
  return absl::StrSplit(text, delimiter, absl::SkipEmpty());
}

std::string CleanPath(const std::string& path) {
  std::vector<std::string> kept;
  for (const std::string& part : Split(path, '/')) {
    if (part == "..") {
      if (!kept.empty()) kept.pop_back();
    } else if (part != ".") {
      kept.push_back(part);
    }
  }
  return absl::StrCat(path.starts_with('/') ? "/" : "", absl::StrJoin(kept, "/"));
}

}  // namespace runsc::cgroup
