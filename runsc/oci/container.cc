#include "runsc/oci/container.h"

#include <limits.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "runsc/lockdown.h"
#include "runsc/oci/pod.h"
#include "runsc/oci/sysctl.h"
#include "runsc/spec/parse.h"
#include "runsc/spec/unsupported.h"

namespace runsc::oci {

namespace {

absl::StatusOr<std::string> Resolve(const std::string& what, const std::string& base,
                                    const std::string& path) {
  const std::string full = path.starts_with('/') ? path : absl::StrCat(base, "/", path);
  char resolved[PATH_MAX];
  if (realpath(full.c_str(), resolved) == nullptr) return HostError(absl::StrCat(what, ": ", full));
  return std::string(resolved);
}

absl::Status FindRoot(Container& container) {
  if (!container.spec.root) return absl::InvalidArgumentError("root: is missing");
  absl::StatusOr<std::string> path =
      Resolve("root.path", container.bundle, container.spec.root->path);
  if (!path.ok()) return path.status();
  struct stat st {};
  if (stat(path->c_str(), &st) != 0 || !S_ISDIR(st.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat("root.path: ", *path, ": Not a directory"));
  }
  container.rootfs = *std::move(path);
  return absl::OkStatus();
}

absl::Status FindMounts(Container& container) {
  for (const spec::Mount& mount : container.spec.mounts) {
    uint32_t& number = container.export_of_mount.emplace_back(0);
    if (!mount.IsBind()) continue;
    absl::StatusOr<std::string> source =
        Resolve(absl::StrCat("mounts: ", mount.destination), container.bundle, mount.source);
    if (!source.ok()) return source.status();
    container.host_trees.push_back({*std::move(source), (mount.flags & MS_RDONLY) == 0});
    number = static_cast<uint32_t>(container.host_trees.size());
  }
  return absl::OkStatus();
}

// Root's gofer sees every owner as it is, an ordinary user's sees the caller alone
// (runsc/launch.cc).
absl::Status CheckIdMaps(const spec::Linux& linux_) {
  const auto check = [](const char* field, const std::vector<spec::IdMapping>& maps, uint32_t own) {
    for (const spec::IdMapping& map : maps) {
      const bool honoured =
          geteuid() == 0 ? map.host_id == map.container_id : map.host_id == own && map.size == 1;
      if (!honoured) {
        return absl::UnimplementedError(
            absl::StrCat(field, ": maps of other ids than the caller's are not supported"));
      }
    }
    return absl::OkStatus();
  };
  if (absl::Status s = check("linux.uidMappings", linux_.uid_mappings, geteuid()); !s.ok())
    return s;
  return check("linux.gidMappings", linux_.gid_mappings, getegid());
}

}  // namespace

absl::StatusOr<Container> LoadContainer(const std::string& id, const std::string& bundle,
                                        const Store& store) {
  Container container{.id = id};
  absl::StatusOr<std::string> directory = Resolve("bundle", ".", bundle);
  if (!directory.ok()) return directory.status();
  container.bundle = *std::move(directory);
  absl::StatusOr<spec::Spec> spec = spec::Load(container.bundle);
  if (!spec.ok()) return spec.status();
  container.spec = *std::move(spec);
  if (absl::Status s = ApplyPodLimits(container.spec); !s.ok()) return s;
  if (absl::Status s = JoinPod(store, container); !s.ok()) return s;
  if (absl::Status s = spec::CheckSupported(container.spec); !s.ok()) return s;
  for (const std::string& remark : spec::Remarks(container.spec)) LOG_INFO("%s", remark);
  if (!container.spec.process) return absl::InvalidArgumentError("process: is missing");
  if (absl::Status s = CheckIdMaps(container.spec.linux_); !s.ok()) return s;
  if (absl::Status s = CheckSysctls(container.spec.linux_); !s.ok()) return s;
  if (absl::Status s = FindRoot(container); !s.ok()) return s;
  if (absl::Status s = FindMounts(container); !s.ok()) return s;
  return container;
}

}  // namespace runsc::oci
