#include "runsc/oci/sysctl.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/unique_fd.h"
#include "runsc/lockdown.h"

namespace runsc::oci {

namespace {

// Of the IPC and UTS namespaces, which are always the container's own.
constexpr std::string_view kOwn[] = {
    "kernel/msgmax",   "kernel/msgmnb",     "kernel/msgmni", "kernel/sem",
    "kernel/shmall",   "kernel/shmmax",     "kernel/shmmni", "kernel/shm_rmid_forced",
    "kernel/hostname", "kernel/domainname",
};

// Dots separate, or slashes with dots inside names: sysctl(8).
std::string PathOf(const std::string& name) {
  std::string path = name;
  const size_t first = path.find_first_of("./");
  if (first == path.npos || path[first] == '/') return path;
  for (char& c : path) {
    if (c == '.' || c == '/') c = c == '.' ? '/' : '.';
  }
  return path;
}

bool IsNetwork(const std::string& path) { return path.starts_with("net/"); }

// Segments that nobody uses are removed at the end anyway.
bool IsShown(const std::string& path) {
  return path == "kernel/shm_rmid_forced";
}

}  // namespace

absl::Status CheckSysctls(const spec::Linux& linux_) {
  const bool own_network = linux_.Find(spec::NamespaceType::kNetwork) != nullptr;
  for (const auto& [name, value] : linux_.sysctl) {
    const std::string path = PathOf(name);
    if (path.find("..") != path.npos) {
      return absl::InvalidArgumentError(absl::StrCat("linux.sysctl: ", name, ": is no name"));
    }
    if (IsNetwork(path)) {
      if (own_network) continue;
      return absl::InvalidArgumentError(absl::StrCat("linux.sysctl: sysctl \"", name,
                                                     "\" not allowed in host network namespace"));
    }
    const bool own = std::find(std::begin(kOwn), std::end(kOwn), path) != std::end(kOwn) ||
                     path.starts_with("fs/mqueue/");
    if (!own) {
      return absl::InvalidArgumentError(absl::StrCat("linux.sysctl: sysctl \"", name,
                                                     "\" is not in a separate kernel namespace"));
    }
  }
  return absl::OkStatus();
}

std::map<std::string, std::string> ShownSysctls(const spec::Linux& linux_) {
  std::map<std::string, std::string> paths;
  for (const auto& [name, value] : linux_.sysctl) {
    if (IsShown(PathOf(name))) paths[PathOf(name)] = value;
  }
  return paths;
}

std::map<std::string, std::string> WrittenSysctls(const spec::Linux& linux_) {
  std::map<std::string, std::string> paths;
  for (const auto& [name, value] : linux_.sysctl) {
    if (!IsShown(PathOf(name))) paths[PathOf(name)] = value;
  }
  return paths;
}

absl::Status SetNetworkSysctls(const spec::Linux& linux_) {
  for (const auto& [path, value] : WrittenSysctls(linux_)) {
    if (!IsNetwork(path)) continue;
    const std::string file = absl::StrCat("/proc/sys/", path);
    const UniqueFd fd(open(file.c_str(), O_WRONLY | O_CLOEXEC));
    if (!fd.valid() || write(fd.get(), value.data(), value.size()) < 0) {
      return HostError(absl::StrCat("linux.sysctl: ", file));
    }
  }
  return absl::OkStatus();
}

}  // namespace runsc::oci
