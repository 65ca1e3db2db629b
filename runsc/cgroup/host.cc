#include "runsc/cgroup/host.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "runsc/cgroup/files.h"
#include "runsc/spec/reader.h"

namespace runsc::cgroup {

namespace {

// /proc/self/cgroup, "NUMBER:CONTROLLERS:PATH", by controller; v2 under "".
std::map<std::string, std::string> ParseOwn(const std::string& text) {
  std::map<std::string, std::string> own;
  for (const std::string& line : Split(text, '\n')) {
    const std::vector<std::string> parts = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (parts.size() != 3) continue;
    const std::vector<std::string> controllers = absl::StrSplit(parts[1], ',');  // \"\" is v2.
    for (const std::string& controller : controllers) own[controller] = parts[2];
  }
  return own;
}

struct MountLine {
  std::string root;  // What of the filesystem is mounted there.
  std::string mount_point;
  std::string type;
  std::vector<std::string> options;  // Of the superblock.
};

// "36 35 98:0 /root /mnt rw,noatime master:1 - cgroup cgroup rw,memory", proc_pid_mountinfo(5).
bool ParseMountLine(const std::string& line, MountLine& out) {
  const std::pair<std::string, std::string> halves =
      absl::StrSplit(line, absl::MaxSplits(" - ", 1));
  const std::vector<std::string> front = absl::StrSplit(halves.first, ' ');
  const std::vector<std::string> back = absl::StrSplit(halves.second, ' ');
  if (front.size() < 5 || back.size() < 3) return false;
  out = {front[3], front[4], back[0], absl::StrSplit(back[2], ',')};
  return true;
}

// Where this process is below a mount that shows `root` of the hierarchy.
std::string Below(const std::string& root, const std::string& own) {
  if (root == "/" || !own.starts_with(root)) return own.empty() ? "/" : own;
  const std::string rest = own.substr(root.size());
  return rest.empty() ? "/" : rest;
}

bool Has(const Host& host, const std::string& controller) {
  return std::any_of(host.hierarchies.begin(), host.hierarchies.end(),
                     [&](const Hierarchy& one) { return one.controller == controller; });
}

// A scope in its slice, as a path: "a-b.slice" is in "a.slice", systemd.slice(5).
absl::StatusOr<std::string> ExpandSlice(const std::string& slice) {
  if (slice.empty() || slice == "-.slice") return std::string();
  const std::string name(absl::StripSuffix(slice, ".slice"));
  if (name == slice || name.find('/') != name.npos || name.starts_with('-') ||
      name.ends_with('-') || absl::StrContains(name, "--")) {
    return absl::InvalidArgumentError(
        absl::StrCat("linux.cgroupsPath: \"", slice, "\" is no slice of systemd"));
  }
  std::string path, prefix;
  for (const std::string& part : Split(name, '-')) {
    absl::StrAppend(&prefix, prefix.empty() ? "" : "-", part);
    absl::StrAppend(&path, "/", prefix, ".slice");
  }
  return path;
}

// systemd.unit(5), "Unit names": what follows is part of a path, too.
bool IsUnitName(const std::string& name) {
  constexpr size_t kMost = 255;
  constexpr std::string_view kOthers = ":-_.\\@";
  return name.size() <= kMost && std::all_of(name.begin(), name.end(), [&](char c) {
           return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
                  kOthers.find(c) != kOthers.npos;
         });
}

// "SLICE:PREFIX:NAME".
absl::StatusOr<Placement> LocateUnit(const UnitManager& manager, const std::string& cgroups_path,
                                     const std::string& id) {
  const std::string text = cgroups_path.empty() ? absl::StrCat(":sandbox:", id) : cgroups_path;
  const std::vector<std::string> parts = absl::StrSplit(text, ':');
  const auto bad = [&text](const char* why) {
    return absl::InvalidArgumentError(absl::StrCat("linux.cgroupsPath: \"", text, "\" ", why));
  };
  if (parts.size() != 3 || parts[2].empty()) {
    return bad("is not SLICE:PREFIX:NAME, as the systemd driver wants it");
  }
  if (parts[2].ends_with(".slice")) return bad("is a slice, in which there can be no processes");
  Placement placement{.socket = manager.socket};
  placement.slice = parts[0].empty() ? manager.slice : parts[0];
  placement.unit =
      absl::StrCat(parts[1].empty() ? "" : absl::StrCat(parts[1], "-"), parts[2], ".scope");
  if (!IsUnitName(placement.unit)) return bad("makes no name of a unit");
  return placement;
}

}  // namespace

Host ParseHost(const std::string& mountinfo, const std::string& own_cgroups) {
  Host host;
  const std::map<std::string, std::string> own = ParseOwn(own_cgroups);
  const auto add = [&](const MountLine& line, const std::string& controller) {
    const auto found = own.find(controller);
    // The first mount counts; a controller that this process is not told of cannot be used.
    if (found == own.end() || Has(host, controller)) return;
    host.hierarchies.push_back({line.mount_point, controller, Below(line.root, found->second)});
  };
  for (const std::string& text : Split(mountinfo, '\n')) {
    MountLine line;
    if (!ParseMountLine(text, line)) continue;
    if (line.type == "cgroup2") add(line, "");
    if (line.type != "cgroup") continue;
    for (const std::string& option : line.options) add(line, option);
  }
  const bool v2 = Has(host, "");
  const bool v1 = host.hierarchies.size() > (v2 ? 1 : 0);
  host.mode = v1 && v2 ? Mode::kHybrid : v1 ? Mode::kLegacy : v2 ? Mode::kUnified : Mode::kNone;
  return host;
}

absl::StatusOr<Host> DetectHost() {
  const absl::StatusOr<std::string> mountinfo = ReadText("/proc/self/mountinfo");
  if (!mountinfo.ok()) return mountinfo.status();
  const absl::StatusOr<std::string> own = ReadText("/proc/self/cgroup");
  if (!own.ok()) return own.status();
  return ParseHost(*mountinfo, *own);
}

const std::string* Placement::Find(const std::string& controller) const {
  const auto found = directories.find(controller);
  return found == directories.end() ? nullptr : &found->second;
}

std::string Encode(const Placement& placement) {
  const nlohmann::json text = {{"directories", placement.directories},
                               {"leaf", placement.leaf},
                               {"unit", placement.unit},
                               {"slice", placement.slice},
                               {"socket", placement.socket}};
  return text.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

absl::StatusOr<Placement> Decode(const std::string& text) {
  const nlohmann::json document = nlohmann::json::parse(text, nullptr, false);
  absl::Status failure;
  Placement placement;
  const spec::Reader in(&document, "cgroup", &failure);
  in["directories"].Read(placement.directories);
  in["leaf"].Read(placement.leaf);
  in["unit"].Read(placement.unit);
  in["slice"].Read(placement.slice);
  in["socket"].Read(placement.socket);
  if (!failure.ok()) return failure;
  for (const auto& [controller, directory] : placement.directories) {
    // What is removed later must be a directory below one of the host.
    if (!directory.starts_with('/') || CleanPath(directory) != directory) {
      return absl::InvalidArgumentError("cgroup: not a clean path");
    }
  }
  if (placement.leaf.find('/') != placement.leaf.npos) {
    return absl::InvalidArgumentError("cgroup: not a name");
  }
  return placement;
}

absl::StatusOr<Placement> Locate(const Host& host, const std::string& cgroups_path,
                                 const std::string& id) {
  Placement placement;
  std::string inner = CleanPath(cgroups_path);
  if (inner.empty()) inner = id;
  if (inner == "/") return absl::InvalidArgumentError("linux.cgroupsPath: is the host's root");
  for (const Hierarchy& one : host.hierarchies) {
    std::string parent = inner.starts_with('/') ? "" : one.own;
    // Below a group of v2 that has processes no controller can be enabled; runc goes beside it,
    // too.
    if (one.controller.empty() && host.mode == Mode::kUnified && parent.size() > 1) {
      parent.resize(parent.rfind('/'));
    }
    placement.directories[one.controller] =
        absl::StrCat(one.mount_point, CleanPath(absl::StrCat("/", parent, "/", inner)));
  }
  return placement;
}

absl::StatusOr<Placement> LocateScope(const Host& host, const UnitManager& manager,
                                      const std::string& cgroups_path, const std::string& id) {
  absl::StatusOr<Placement> placement = LocateUnit(manager, cgroups_path, id);
  if (!placement.ok()) return placement;
  const absl::StatusOr<std::string> slice = ExpandSlice(placement->slice);
  if (!slice.ok()) return slice.status();
  for (const Hierarchy& one : host.hierarchies) {
    placement->directories[one.controller] = absl::StrCat(
        one.mount_point,
        CleanPath(absl::StrCat("/", manager.group, "/", *slice, "/", placement->unit)));
  }
  return placement;
}

}  // namespace runsc::cgroup
