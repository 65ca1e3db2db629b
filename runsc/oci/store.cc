#include "runsc/oci/store.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "runsc/lockdown.h"
#include "runsc/oci/record_json.h"
#include "runsc/spec/parse.h"

namespace runsc::oci {

namespace {

constexpr char kState[] = "state.json";
constexpr char kLock[] = "lock";
constexpr size_t kLongestId = 1024;

absl::Status MakeRoot(const std::string& root) {
  std::string path;
  for (const absl::string_view part : absl::StrSplit(root, '/', absl::SkipEmpty())) {
    absl::StrAppend(&path, path.empty() && !root.starts_with('/') ? "" : "/", part);
    if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return HostError(path);
  }
  return absl::OkStatus();
}

// An open lock file under flock(2).
absl::StatusOr<UniqueFd> Lock(const std::string& directory) {
  const std::string path = absl::StrCat(directory, "/", kLock);
  UniqueFd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.valid()) return HostError(path);
  while (flock(fd.get(), LOCK_EX) != 0) {
    if (errno != EINTR) return HostError(path);
  }
  return fd;
}

absl::Status DoesNotExist() { return absl::NotFoundError("container does not exist"); }

}  // namespace

ProcessId Identify(pid_t pid) {
  ProcessId process{.pid = pid};
  const auto text = spec::ReadFile(absl::StrCat("/proc/", pid, "/stat"));
  if (pid <= 0 || !text.ok()) return process;
  // The name, in parentheses, may hold anything.
  const size_t behind_name = text->rfind(')');
  if (behind_name == std::string::npos) return process;
  const std::vector<std::string> fields =
      absl::StrSplit(text->substr(behind_name + 1), ' ', absl::SkipEmpty());
  constexpr size_t kStateField = 0, kStartTime = 19;
  if (fields.size() <= kStartTime || fields[kStateField] == "Z" || fields[kStateField] == "X") {
    return process;
  }
  process.start_time = strtoull(fields[kStartTime].c_str(), nullptr, 10);
  return process;
}

bool IsAlive(const ProcessId& process) {
  return process.pid > 0 && process.start_time != 0 &&
         Identify(process.pid).start_time == process.start_time;
}

Phase PhaseOf(const Record& record) {
  if (record.monitor.pid == 0) {
    return IsAlive(record.creator) ? Phase::kCreating : Phase::kStopped;
  }
  if (!IsAlive(record.monitor)) return Phase::kStopped;
  if (!record.started) return Phase::kCreated;
  return record.paused ? Phase::kPaused : Phase::kRunning;
}

const char* NameOf(Phase phase) {
  constexpr const char* kNames[] = {"creating", "created", "running", "paused", "stopped"};
  return kNames[static_cast<size_t>(phase)];
}

absl::Status CheckId(const std::string& id) {
  if (id.empty()) return absl::InvalidArgumentError("container id cannot be empty");
  const bool fine = std::all_of(id.begin(), id.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '+' || c == '-' || c == '.';
  });
  if (!fine || id == "." || id == ".." || id.size() > kLongestId) {
    return absl::InvalidArgumentError(absl::StrCat("invalid container ID format: ", id));
  }
  return absl::OkStatus();
}

absl::StatusOr<Entry> Store::Create(const std::string& id) const {
  if (absl::Status s = CheckId(id); !s.ok()) return s;
  if (absl::Status s = MakeRoot(root_); !s.ok()) return s;
  Entry entry;
  entry.id_ = id;
  entry.directory_ = absl::StrCat(root_, "/", id);
  if (mkdir(entry.directory_.c_str(), 0700) != 0) {
    if (errno != EEXIST) return HostError(entry.directory_);
    return absl::AlreadyExistsError("container with given ID already exists");
  }
  absl::StatusOr<UniqueFd> lock = Lock(entry.directory_);
  if (!lock.ok()) {
    rmdir(entry.directory_.c_str());
    return lock.status();
  }
  entry.lock_ = *std::move(lock);
  return entry;
}

absl::StatusOr<Entry> Store::Find(const std::string& id) const {
  if (absl::Status s = CheckId(id); !s.ok()) return s;
  Entry entry;
  entry.id_ = id;
  entry.directory_ = absl::StrCat(root_, "/", id);
  struct stat st {};
  if (stat(entry.directory_.c_str(), &st) != 0) {
    return errno == ENOENT || errno == ENOTDIR ? DoesNotExist() : HostError(entry.directory_);
  }
  return entry;
}

absl::StatusOr<Entry> Store::Open(const std::string& id) const {
  absl::StatusOr<Entry> found = Find(id);
  if (!found.ok()) return found;
  Entry entry = *std::move(found);
  absl::StatusOr<UniqueFd> lock = Lock(entry.directory_);
  if (!lock.ok())
    return access(entry.directory_.c_str(), F_OK) == 0 ? lock.status() : DoesNotExist();
  entry.lock_ = *std::move(lock);
  // Deleted while we waited.
  struct stat st {};
  if (fstat(entry.lock_.get(), &st) != 0 || st.st_nlink == 0) return DoesNotExist();
  return entry;
}

std::vector<std::string> Store::List() const {
  std::vector<std::string> ids;
  DIR* const directory = opendir(root_.c_str());
  if (directory == nullptr) return ids;
  while (const dirent* entry = readdir(directory)) {
    if (entry->d_type == DT_DIR && CheckId(entry->d_name).ok()) ids.emplace_back(entry->d_name);
  }
  closedir(directory);
  std::sort(ids.begin(), ids.end());
  return ids;
}

Record Entry::Load() const {
  Record record;
  const auto text = spec::ReadFile(absl::StrCat(directory_, "/", kState));
  if (text.ok()) record = RecordFromJson(*text);
  record.id = id_;
  return record;
}

absl::Status Entry::Save(const Record& record) const {
  const std::string path = absl::StrCat(directory_, "/", kState);
  const std::string text = RecordToJson(record);
  return WriteFileAtomically(path, text);
}

absl::Status Entry::Remove() {
  DIR* const directory = opendir(directory_.c_str());
  if (directory == nullptr) return HostError(directory_);
  // The lock last: whoever opens the directory meanwhile finds a lock that has gone.
  while (const dirent* entry = readdir(directory)) {
    const std::string name = entry->d_name;
    if (name != "." && name != ".." && name != kLock) unlinkat(dirfd(directory), name.c_str(), 0);
  }
  unlinkat(dirfd(directory), kLock, 0);
  closedir(directory);
  if (rmdir(directory_.c_str()) != 0) return HostError(directory_);
  lock_.reset();
  return absl::OkStatus();
}

}  // namespace runsc::oci
