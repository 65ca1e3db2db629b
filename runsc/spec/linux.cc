// The linux section (config-linux.md) without its resources and seccomp.
#include <sys/personality.h>

#include "absl/strings/str_cat.h"
#include "runsc/spec/mount_options.h"
#include "runsc/spec/sections.h"

namespace runsc::spec {

namespace {

void ReadNamespace(const Reader& in, Namespace& out) {
  if (!in["type"].present()) in["type"].Fail("is missing");
  out.type = static_cast<NamespaceType>(
      ReadName(in["type"], NamespaceNames(), "namespace of Linux").value_or(0));
  in["path"].Read(out.path);
  if (!out.path.empty() && !out.path.starts_with('/')) {
    in["path"].Fail(absl::StrCat("\"", out.path, "\" is not absolute"));
  }
}

void ReadNamespaces(const Reader& in, std::vector<Namespace>& namespaces) {
  ReadEach(in, namespaces, ReadNamespace);
  uint32_t seen = 0;
  for (const Namespace& one : namespaces) {
    const uint32_t bit = 1u << static_cast<uint32_t>(one.type);
    if ((seen & bit) != 0) in.Fail("names a type twice");
    seen |= bit;
  }
}

void ReadMapping(const Reader& in, IdMapping& mapping) {
  in["containerID"].Require(mapping.container_id);
  in["hostID"].Require(mapping.host_id);
  in["size"].Require(mapping.size);
  if (!in.failed() && mapping.size == 0) in["size"].Fail("is 0");
}

void ReadDevice(const Reader& in, Device& device) {
  std::string type;
  in["type"].Require(type);
  if (!in.failed() && type != "b" && type != "c" && type != "u" && type != "p") {
    in["type"].Fail(absl::StrCat("\"", type, "\" is not one of b, c, u, p"));
  }
  if (in.failed()) return;
  device.type = type == "u" ? 'c' : type[0];
  RequireAbsolute(in["path"], device.path);
  // A fifo has no number.
  if (device.type != 'p') {
    in["major"].Require(device.major);
    in["minor"].Require(device.minor);
  }
  in["fileMode"].Read(device.file_mode);
  device.file_mode &= 07777;  // Docker writes the type's bits, too.
  in["uid"].Read(device.uid);
  in["gid"].Read(device.gid);
}

void ReadPropagation(const Reader& in, uint64_t& out) {
  std::string text;
  in.Read(text);
  if (text.empty()) return;
  out = DecodePropagation(text);
  if (out == 0) in.Fail(absl::StrCat("\"", text, "\" is no propagation of mounts"));
}

void ReadPersonality(const Reader& in, std::optional<uint32_t>& out) {
  if (!in.present()) return;
  std::string domain;
  in["domain"].Require(domain);
  if (in.failed()) return;
  if (domain != "LINUX" && domain != "LINUX32") {
    in["domain"].Fail(absl::StrCat("\"", domain, "\" is not one of LINUX, LINUX32"));
  }
  if (!in["flags"].Elements().empty()) in["flags"].Fail("none is defined");
  out = domain == "LINUX32" ? PER_LINUX32 : PER_LINUX;
}

void ReadTimeOffsets(const Reader& in, bool& out) {
  for (const auto& [name, clock] : in.Fields()) {
    if (name != "monotonic" && name != "boottime") clock.Fail("is neither monotonic nor boottime");
    int64_t seconds = 0;
    uint32_t nanoseconds = 0;
    clock["secs"].Read(seconds);
    clock["nanosecs"].Read(nanoseconds);
    out |= seconds != 0 || nanoseconds != 0;
  }
}

void ReadPaths(const Reader& in, std::vector<std::string>& paths) {
  in.Read(paths);
  for (const std::string& path : paths) {
    if (!path.starts_with('/')) in.Fail(absl::StrCat("\"", path, "\" is not absolute"));
  }
}

}  // namespace

void ReadLinux(const Reader& in, Linux& out) {
  ReadNamespaces(in["namespaces"], out.namespaces);
  ReadEach(in["uidMappings"], out.uid_mappings, ReadMapping);
  ReadEach(in["gidMappings"], out.gid_mappings, ReadMapping);
  ReadEach(in["devices"], out.devices, ReadDevice);
  in["cgroupsPath"].Read(out.cgroups_path);
  if (in["resources"].present()) ReadResources(in["resources"], out.resources.emplace());
  ReadPropagation(in["rootfsPropagation"], out.rootfs_propagation);
  if (in["seccomp"].present()) ReadSeccomp(in["seccomp"], out.seccomp.emplace());
  in["sysctl"].Read(out.sysctl);
  ReadPaths(in["maskedPaths"], out.masked_paths);
  ReadPaths(in["readonlyPaths"], out.readonly_paths);
  in["mountLabel"].Read(out.mount_label);
  ReadPersonality(in["personality"], out.personality);
  ReadTimeOffsets(in["timeOffsets"], out.time_offsets);
  out.intel_rdt = in["intelRdt"].present();
  out.memory_policy = in["memoryPolicy"].present();
  out.net_devices = !in["netDevices"].Fields().empty();
}

}  // namespace runsc::spec
