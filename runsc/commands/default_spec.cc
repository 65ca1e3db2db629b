#include "runsc/commands/default_spec.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "base/unique_fd.h"
#include "runsc/commands/options.h"

namespace runsc {

namespace {

// In the order in which runc writes the fields.
using nlohmann::ordered_json;

constexpr const char* kDefaultSpec = R"({
  "ociVersion": "1.2.0",
  "process": {
    "terminal": true,
    "user": {
      "uid": 0,
      "gid": 0
    },
    "args": [
      "sh"
    ],
    "env": [
      "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
      "TERM=xterm"
    ],
    "cwd": "/",
    "capabilities": {
      "bounding": [
        "CAP_AUDIT_WRITE",
        "CAP_KILL",
        "CAP_NET_BIND_SERVICE"
      ],
      "effective": [
        "CAP_AUDIT_WRITE",
        "CAP_KILL",
        "CAP_NET_BIND_SERVICE"
      ],
      "permitted": [
        "CAP_AUDIT_WRITE",
        "CAP_KILL",
        "CAP_NET_BIND_SERVICE"
      ],
      "ambient": [
        "CAP_AUDIT_WRITE",
        "CAP_KILL",
        "CAP_NET_BIND_SERVICE"
      ]
    },
    "rlimits": [
      {
        "type": "RLIMIT_NOFILE",
        "hard": 1024,
        "soft": 1024
      }
    ],
    "noNewPrivileges": true
  },
  "root": {
    "path": "rootfs",
    "readonly": true
  },
  "hostname": "sandbox",
  "mounts": [
    {
      "destination": "/proc",
      "type": "proc",
      "source": "proc"
    },
    {
      "destination": "/dev",
      "type": "tmpfs",
      "source": "tmpfs",
      "options": [
        "nosuid",
        "strictatime",
        "mode=755",
        "size=65536k"
      ]
    },
    {
      "destination": "/dev/pts",
      "type": "devpts",
      "source": "devpts",
      "options": [
        "nosuid",
        "noexec",
        "newinstance",
        "ptmxmode=0666",
        "mode=0620",
        "gid=5"
      ]
    },
    {
      "destination": "/dev/shm",
      "type": "tmpfs",
      "source": "shm",
      "options": [
        "nosuid",
        "noexec",
        "nodev",
        "mode=1777",
        "size=65536k"
      ]
    },
    {
      "destination": "/dev/mqueue",
      "type": "mqueue",
      "source": "mqueue",
      "options": [
        "nosuid",
        "noexec",
        "nodev"
      ]
    },
    {
      "destination": "/sys",
      "type": "sysfs",
      "source": "sysfs",
      "options": [
        "nosuid",
        "noexec",
        "nodev",
        "ro"
      ]
    },
    {
      "destination": "/sys/fs/cgroup",
      "type": "cgroup",
      "source": "cgroup",
      "options": [
        "nosuid",
        "noexec",
        "nodev",
        "relatime",
        "ro"
      ]
    }
  ],
  "linux": {
    "resources": {
      "devices": [
        {
          "allow": false,
          "access": "rwm"
        }
      ]
    },
    "namespaces": [
      {
        "type": "pid"
      },
      {
        "type": "network"
      },
      {
        "type": "ipc"
      },
      {
        "type": "uts"
      },
      {
        "type": "mount"
      }
    ],
    "maskedPaths": [
      "/proc/acpi",
      "/proc/asound",
      "/proc/kcore",
      "/proc/keys",
      "/proc/latency_stats",
      "/proc/timer_list",
      "/proc/timer_stats",
      "/proc/sched_debug",
      "/sys/firmware",
      "/proc/scsi"
    ],
    "readonlyPaths": [
      "/proc/bus",
      "/proc/fs",
      "/proc/irq",
      "/proc/sys",
      "/proc/sysrq-trigger"
    ]
  }
})";

void MakeRootless(ordered_json& spec, unsigned uid, unsigned gid) {
  ordered_json& mine = spec["linux"];
  mine.erase("resources");
  ordered_json namespaces = ordered_json::array();
  // Without a network namespace: nobody would bring its devices up.
  for (const char* type : {"pid", "ipc", "uts", "mount", "user"}) {
    namespaces.push_back({{"type", type}});
  }
  mine["namespaces"] = namespaces;
  const auto map = [](unsigned id) {
    return ordered_json::array({{{"containerID", 0}, {"hostID", id}, {"size", 1}}});
  };
  mine["uidMappings"] = map(uid);
  mine["gidMappings"] = map(gid);
  for (ordered_json& mount : spec["mounts"]) {
    // The group tty is not mapped.
    if (mount["destination"] == "/dev/pts") mount["options"].erase(5);
  }
}

ordered_json Document() { return ordered_json::parse(kDefaultSpec, nullptr, false); }

std::string Text(const ordered_json& document) { return document.dump(1, '\t') + "\n"; }

}  // namespace

std::string DefaultSpec() { return Text(Document()); }

std::string DefaultSpecRootless(unsigned uid, unsigned gid) {
  ordered_json document = Document();
  MakeRootless(document, uid, gid);
  return Text(document);
}

absl::Status SpecCommand(std::span<char* const> args) {
  constexpr OptionName kNames[] = {{"bundle", "b", true}, {"rootless", nullptr, false}};
  const absl::StatusOr<Options> options = ParseOptions("spec", kNames, args);
  if (!options.ok()) return options.status();
  const std::string path = absl::StrCat(options->Get("bundle", "."), "/config.json");
  const std::string text =
      options->Has("rootless") ? DefaultSpecRootless(geteuid(), getegid()) : DefaultSpec();
  const UniqueFd file(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  if (!file.valid() && errno == EEXIST) {
    return absl::AlreadyExistsError("File config.json exists. Remove it first");
  }
  if (!file.valid() ||
      write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return absl::ErrnoToStatus(errno, path);
  }
  return absl::OkStatus();
}

}  // namespace runsc
