#include "runsc/cgroup/manager.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "runsc/cgroup/files.h"
#include "runsc/cgroup/plan.h"
#include "runsc/cgroup/systemd.h"

namespace runsc::cgroup {

namespace {

// Waiting for the kernel: from a fifth of a millisecond, doubled up to 20 ms, for five seconds.
template <typename Condition>
bool Eventually(Condition condition) {
  absl::Duration pause = absl::Microseconds(200), left = absl::Seconds(5);
  while (!condition()) {
    if (left <= absl::ZeroDuration()) return false;
    absl::SleepFor(pause);
    left -= pause;
    pause = std::min(pause * 2, absl::Milliseconds(20));
  }
  return true;
}

// A new cpuset of v1 has no CPU and no memory and takes no process before it has both.
absl::Status InheritCpuset(const std::string& directory) {
  const std::string parent = directory.substr(0, directory.rfind('/'));
  for (const char* file : {"/cpuset.cpus", "/cpuset.mems"}) {
    const absl::StatusOr<std::string> own = ReadText(directory + file);
    if (!own.ok() || !own->empty()) continue;
    const absl::StatusOr<std::string> value = ReadText(parent + file);
    if (!value.ok() || value->empty()) continue;
    if (absl::Status s = WriteText(directory + file, *value); !s.ok()) return s;
  }
  return absl::OkStatus();
}

// Lets the children of `directory` have every controller that it has. What cannot be enabled is
// noticed when a limit of it is set.
void EnableControllers(const std::string& directory) {
  const absl::StatusOr<std::string> controllers = ReadText(directory + "/cgroup.controllers");
  if (!controllers.ok()) return;
  for (const std::string& name : Split(*controllers, ' ')) {
    (void)WriteText(directory + "/cgroup.subtree_control", absl::StrCat("+", name));
  }
}

// Makes `path` from the top down.
absl::Status MakeDirectories(const std::string& path, const std::string& controller) {
  for (size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    const std::string part = path.substr(0, end);
    const bool last = end == path.npos;
    if (mkdir(part.c_str(), 0755) != 0 && errno != EEXIST) {
      // Above the mount point there may be no right to make anything, and no need.
      const int error = errno;
      if (!Exists(part)) return absl::ErrnoToStatus(error, part);
    }
    if (controller == "cpuset" && Exists(part + "/cpuset.cpus")) {
      if (absl::Status s = InheritCpuset(part); !s.ok()) return s;
    }
    if (last) return absl::OkStatus();
    if (controller.empty()) EnableControllers(part);
  }
}

// systemd removes groups of v1 that it did not make, for as long as they are empty.
absl::Status MakeAndFill(const std::string& path, const std::string& controller, pid_t pid) {
  absl::Status status;
  Eventually([&] {
    status = MakeDirectories(path, controller);
    if (status.ok()) status = WriteText(path + "/cgroup.procs", absl::StrCat(pid));
    return !absl::IsNotFound(status);
  });
  return status;
}

// Whoever else is in the group would be killed with the container.
absl::Status CheckScope(const Placement& placement, pid_t pid) {
  const std::string* home = placement.Find("name=systemd");
  if (home == nullptr) home = placement.Find("");
  if (home != nullptr && ReadPids(*home + "/cgroup.procs") == std::vector<pid_t>{pid}) {
    return absl::OkStatus();
  }
  return absl::InternalError(absl::StrCat("systemd: ", placement.unit,
                                          ": its processes are not in ",
                                          home == nullptr ? "any group" : *home));
}

// With systemd the process is in the group itself, and until it has left no controller can be
// enabled for what is below.
absl::Status MakeLeaf(const Placement& placement, pid_t pid) {
  const std::string* const group = placement.Find("");
  if (group == nullptr) return absl::OkStatus();
  const std::string leaf = absl::StrCat(*group, "/", placement.leaf);
  if (mkdir(leaf.c_str(), 0755) != 0 && errno != EEXIST) return absl::ErrnoToStatus(errno, leaf);
  if (!placement.unit.empty()) {
    if (absl::Status s = WriteText(leaf + "/cgroup.procs", absl::StrCat(pid)); !s.ok()) return s;
  }
  EnableControllers(*group);
  return absl::OkStatus();
}

bool IsRefusal(const absl::Status& status) {
  return status.code() == absl::StatusCode::kPermissionDenied ||
         status.code() == absl::StatusCode::kFailedPrecondition;  // EROFS
}

absl::Status Apply(const Write& write) {
  absl::Status status = WriteText(write.path, write.value);
  if (absl::IsNotFound(status) && !write.other_path.empty()) {
    status =
        WriteText(write.other_path, write.other_value.empty() ? write.value : write.other_value);
  }
  if (absl::IsNotFound(status) && write.may_be_absent) return absl::OkStatus();
  if (status.ok()) return status;
  return absl::Status(status.code(),
                      absl::StrCat("linux.resources.", write.field, ": ", status.message()));
}

void Collect(const std::string& directory, std::set<pid_t>& pids) {
  // Depth is bounded by the length of a path.
  std::vector<std::string> todo = {directory};
  while (!todo.empty()) {
    const std::string one = std::move(todo.back());
    todo.pop_back();
    for (const pid_t pid : ReadPids(one + "/cgroup.procs")) pids.insert(pid);
    for (const std::string& name : Subdirectories(one)) todo.push_back(one + "/" + name);
  }
}

// Children first. EBUSY, while something in there is still dying, is tried again.
absl::Status RemoveTree(const std::string& directory) {
  std::vector<std::string> all = {directory};
  for (size_t i = 0; i < all.size(); ++i) {
    for (const std::string& name : Subdirectories(all[i])) all.push_back(all[i] + "/" + name);
  }
  for (auto one = all.rbegin(); one != all.rend(); ++one) {
    int error = 0;
    Eventually([&] {
      error = rmdir(one->c_str()) == 0 ? 0 : errno;
      return error != EBUSY;
    });
    if (error != 0 && error != ENOENT) return absl::ErrnoToStatus(error, *one);
  }
  return absl::OkStatus();
}

}  // namespace

void LeaveOutIdleV2(Placement& placement, const std::optional<spec::Resources>& resources) {
  const std::string* const v2 = placement.Find("");
  if (v2 == nullptr || placement.directories.size() == 1) return;
  std::vector<Write> plan;
  if (resources && !MakePlan(placement, *resources, plan).ok()) return;
  const std::string front = *v2 + "/";
  const bool used = std::any_of(plan.begin(), plan.end(),
                                [&](const Write& write) { return write.path.starts_with(front); });
  if (!used) placement.directories.erase("");
}

const std::string* Manager::Main() const {
  if (const std::string* v2 = placement_.Find("")) return v2;
  if (const std::string* freezer = placement_.Find("freezer")) return freezer;
  return placement_.directories.empty() ? nullptr : &placement_.directories.begin()->second;
}

absl::Status CheckEmpty(const Placement& placement) {
  std::set<pid_t> pids;
  for (const auto& [controller, directory] : placement.directories) Collect(directory, pids);
  if (pids.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("linux.cgroupsPath: there are ", pids.size(),
                                                    " processes in the group already"));
}

absl::Status Manager::Create(OnRefusal refusal, pid_t pid,
                             const std::optional<spec::Resources>& resources) {
  if (!placement_.unit.empty()) {
    if (absl::Status s = StartScope(placement_, pid, resources); !s.ok()) return s;
    if (absl::Status s = CheckScope(placement_, pid); !s.ok()) {
      (void)StopScope(placement_);
      return s;
    }
  }
  auto one = placement_.directories.begin();
  while (one != placement_.directories.end()) {
    const absl::Status status = placement_.unit.empty() ? MakeDirectories(one->second, one->first)
                                                        : MakeAndFill(one->second, one->first, pid);
    if (!status.ok() && (refusal == OnRefusal::kFail || !IsRefusal(status))) {
      (void)Remove();
      return absl::Status(status.code(), absl::StrCat("control group ", status.message()));
    }
    one = status.ok() ? std::next(one) : placement_.directories.erase(one);
  }
  return placement_.leaf.empty() ? absl::OkStatus() : MakeLeaf(placement_, pid);
}

std::vector<std::string> Manager::Entries() const {
  std::vector<std::string> files;
  for (const auto& [controller, directory] : placement_.directories) {
    const std::string inner = placement_.leaf.empty() ? "" : "/" + placement_.leaf;
    files.push_back(controller.empty() ? absl::StrCat(directory, inner, "/cgroup.procs")
                                       : absl::StrCat(directory, "/tasks"));
  }
  // Controllers that are mounted together.
  std::sort(files.begin(), files.end());
  files.erase(std::unique(files.begin(), files.end()), files.end());
  return files;
}

absl::Status Manager::EnterSelf() const {
  for (const std::string& file : Entries()) {
    // "0" is the writing thread: cgroup_procs_write_start() takes no global lock for it.
    if (absl::Status s = WriteText(file, "0"); !s.ok()) {
      return absl::Status(s.code(), absl::StrCat("control group ", s.message()));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<UniqueFd>> Manager::OpenEntries() const {
  std::vector<UniqueFd> fds;
  for (const std::string& file : Entries()) {
    fds.emplace_back(open(file.c_str(), O_WRONLY | O_CLOEXEC));
    if (!fds.back().valid()) return absl::ErrnoToStatus(errno, "control group " + file);
  }
  return fds;
}

absl::Status Manager::Set(const spec::Resources& resources) const {
  std::vector<Write> plan, again;
  if (absl::Status s = MakePlan(placement_, resources, plan); !s.ok()) return s;
  if (resources.memory.check_before_update.value_or(false) &&
      resources.memory.limit.value_or(0) > 0 && placement_.Find("memory") == nullptr) {
    if (ReadNumber(*placement_.Find("") + "/memory.current") >
        static_cast<uint64_t>(*resources.memory.limit)) {
      return absl::FailedPreconditionError("linux.resources.memory.limit: more is in use");
    }
  }
  // Some pairs bound each other (memory and its sum with swap, quota and period), so what is
  // refused at first may be right once the other has changed.
  for (const Write& write : plan) {
    if (!Apply(write).ok()) again.push_back(write);
  }
  for (const Write& write : again) {
    if (absl::Status s = Apply(write); !s.ok()) return s;
  }
  return absl::OkStatus();
}

absl::Status Manager::Update(const spec::Resources& resources) const {
  if (!placement_.unit.empty()) {
    if (absl::Status s = UpdateScope(placement_, resources); !s.ok()) return s;
  }
  return Set(resources);
}

std::vector<pid_t> Manager::Processes() const {
  std::set<pid_t> pids;
  if (const std::string* directory = Main()) Collect(*directory, pids);
  return {pids.begin(), pids.end()};
}

absl::Status Manager::Kill() const {
  const std::string* directory = Main();
  if (directory == nullptr || !Exists(*directory)) return absl::OkStatus();
  if (WriteText(*directory + "/cgroup.kill", "1").ok()) return absl::OkStatus();
  // v1 delivers a signal when the group thaws; not frozen, who forks away is met in the next round.
  if (Exists(*directory + "/freezer.state"))
    (void)WriteText(*directory + "/freezer.state", "THAWED");
  const bool empty = Eventually([&] {
    const std::vector<pid_t> left = Processes();
    for (const pid_t pid : left) kill(pid, SIGKILL);
    return left.empty();
  });
  if (empty) return absl::OkStatus();
  return absl::DeadlineExceededError(absl::StrCat(*directory, ": its processes do not end"));
}

absl::Status Manager::Remove() const {
  absl::Status first;
  if (!placement_.unit.empty()) first = StopScope(placement_);
  for (const auto& [controller, directory] : placement_.directories) {
    if (!Exists(directory)) continue;
    const absl::Status status = RemoveTree(directory);
    if (first.ok()) first = status;
  }
  return first;
}

absl::StatusOr<UniqueFd> Manager::WatchOom() const {
  const std::string* v1 = placement_.Find("memory");
  if (v1 == nullptr) {
    const std::string* v2 = placement_.Find("");
    if (v2 == nullptr) return absl::FailedPreconditionError("the host has no control group memory");
    UniqueFd watch(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    const std::string file = *v2 + "/memory.events";
    if (inotify_add_watch(watch.get(), file.c_str(), IN_MODIFY | IN_DELETE_SELF) < 0) {
      return absl::ErrnoToStatus(errno, file);
    }
    return watch;
  }
  UniqueFd event(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  const std::string file = *v1 + "/memory.oom_control";
  const UniqueFd control(open(file.c_str(), O_RDONLY | O_CLOEXEC));
  if (!control.valid()) return absl::ErrnoToStatus(errno, file);
  if (absl::Status s =
          WriteText(*v1 + "/cgroup.event_control", absl::StrCat(event.get(), " ", control.get()));
      !s.ok()) {
    return s;
  }
  return event;
}

uint64_t Manager::OomKills() const {
  if (const std::string* v1 = placement_.Find("memory")) {
    return ReadTable(*v1 + "/memory.oom_control")["oom_kill"];
  }
  const std::string* v2 = placement_.Find("");
  return v2 == nullptr ? 0 : ReadTable(*v2 + "/memory.events")["oom_kill"];
}

}  // namespace runsc::cgroup
