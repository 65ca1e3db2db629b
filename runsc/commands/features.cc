#include "runsc/commands/features.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <span>

#include "runsc/spec/mount_options.h"
#include "runsc/spec/names.h"

namespace runsc {

namespace {

using nlohmann::ordered_json;

ordered_json Names(std::span<const spec::Name> names) {
  std::vector<std::string> list;
  for (const spec::Name& row : names) list.emplace_back(row.name);
  return list;
}

ordered_json Seccomp() {
  ordered_json actions = ordered_json::array();
  for (const spec::Name& row : spec::SeccompActions()) {
    // Refused: the other end would have to be told of calls that the host never sees.
    if (row.name != "SCMP_ACT_NOTIFY") actions.push_back(std::string(row.name));
  }
  return {{"enabled", true},
          {"actions", actions},
          {"operators", Names(spec::SeccompOperators())},
          {"archs", {"SCMP_ARCH_X86_64"}},
          {"knownFlags", Names(spec::SeccompFlags())},
          {"supportedFlags", Names(spec::SeccompFlags())}};
}

std::vector<std::string> MountOptions() {
  std::vector<std::string> names = spec::KnownMountOptions();
  std::erase_if(names, [](const std::string& name) { return name == "remount" || name == "mand"; });
  return names;
}

}  // namespace

std::string FeaturesText(const std::string& version, const std::string& commit) {
  const ordered_json off = {{"enabled", false}};
  const ordered_json features = {
      {"ociVersionMin", "1.0.0"},
      {"ociVersionMax", "1.2.0"},
      {"hooks",
       {"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"}},
      {"mountOptions", MountOptions()},
      {"linux",
       {{"namespaces", {"cgroup", "ipc", "mount", "network", "pid", "user", "uts"}},
        {"capabilities", Names(spec::CapabilityNames())},
        {"cgroup",
         {{"v1", true}, {"v2", true}, {"systemd", true}, {"systemdUser", true}, {"rdma", true}}},
        {"seccomp", Seccomp()},
        {"apparmor", off},
        {"selinux", off},
        {"intelRdt", off},
        {"mountExtensions", {{"idmap", off}}},
        {"netDevices", off}}},
      {"annotations",
       {{"dev.sandbox.version", version},
        {"dev.sandbox.commit", commit},
        {"org.opencontainers.runc.checkpoint.enabled", "false"}}}};
  return features.dump(4) + "\n";
}

}  // namespace runsc
