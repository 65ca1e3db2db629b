#include "runsc/cgroup/systemd.h"

#include <stdlib.h>

#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "runsc/cgroup/bus.h"
#include "runsc/cgroup/files.h"
#include "runsc/cgroup/properties.h"

namespace runsc::cgroup {

namespace {

// org.freedesktop.systemd1(5)
constexpr char kManager[] = "org.freedesktop.systemd1.Manager";
constexpr char kObject[] = "/org/freedesktop/systemd1";

constexpr Bus::Method OfManager(const char* name, const char* signature) {
  return {kObject, kManager, name, signature};
}

// A property of type s.
absl::StatusOr<std::string> GetText(Bus& bus, const std::string& object, const char* interface,
                                    const char* name) {
  const Bus::Method get = {object.c_str(), "org.freedesktop.DBus.Properties", "Get", "ss"};
  absl::StatusOr<BusReader> answer = bus.Call(get, BusWriter().Text(interface).Text(name));
  if (!answer.ok()) return answer.status();
  const bool is_text = answer->Signature() == "s";
  std::string text = answer->Text();
  if (is_text && !answer->failed()) return text;
  return absl::InternalError(absl::StrCat("systemd: ", name, ": is no text"));
}

// A call whose answer is a job; waits for its end.
absl::Status RunJob(Bus& bus, const Bus::Method& method, const BusWriter& arguments,
                    const std::string& what) {
  absl::StatusOr<BusReader> answer = bus.Call(method, arguments);
  if (!answer.ok()) return answer.status();
  const absl::StatusOr<std::string> result = bus.AwaitJob(answer->Text());
  if (!result.ok()) return result.status();
  if (*result == "done") return absl::OkStatus();
  return absl::InternalError(absl::StrCat("systemd: ", what, ": ", *result));
}

absl::StatusOr<std::vector<Property>> LimitsOf(Bus& bus, const Placement& placement,
                                               const spec::Resources& resources) {
  const absl::StatusOr<std::string> version = GetText(bus, kObject, kManager, "Version");
  if (!version.ok()) return version.status();
  return PropertiesOf(placement, resources, ParseVersion(*version));
}

// As runc asks for it. Delegated, because the group's files are written and groups may be made
// in it; without dependencies, or it would end early when the host shuts down.
std::vector<Property> ScopeOf(const Placement& placement, pid_t pid) {
  const bool v1 = placement.Find("blkio") != nullptr;
  return {{"Description", absl::StrCat("sandbox container ", placement.unit)},
          {"Slice", placement.slice},
          {"Delegate", true},
          {"PIDs", std::vector<uint32_t>{static_cast<uint32_t>(pid)}},
          {"MemoryAccounting", true},
          {"CPUAccounting", true},
          {v1 ? "BlockIOAccounting" : "IOAccounting", true},
          {"TasksAccounting", true},
          {"DefaultDependencies", false}};
}

// Where the unit is, below systemd's own group; NotFound when there is no such unit.
absl::StatusOr<std::string> GroupOfUnit(Bus& bus, const std::string& unit) {
  absl::StatusOr<BusReader> object = bus.Call(OfManager("GetUnit", "s"), BusWriter().Text(unit));
  if (!object.ok()) return object.status();
  return GetText(bus, object->Text(), "org.freedesktop.systemd1.Scope", "ControlGroup");
}

// One that has failed or not begun has no group.
bool IsOurs(const Placement& placement, const std::string& group) {
  const std::string slice = placement.slice == "-.slice" ? "" : "/" + placement.slice;
  return group.empty() || absl::EndsWith(group, absl::StrCat(slice, "/", placement.unit));
}

absl::Status Stop(Bus& bus, const Placement& placement) {
  const absl::StatusOr<std::string> group = GroupOfUnit(bus, placement.unit);
  if (absl::IsNotFound(group.status())) return absl::OkStatus();
  if (!group.ok()) return group.status();
  if (!IsOurs(placement, *group)) return absl::OkStatus();
  const BusWriter arguments = BusWriter().Text(placement.unit).Text("replace");
  const absl::Status stopped = RunJob(bus, OfManager("StopUnit", "ss"), arguments,
                                      absl::StrCat("stopping ", placement.unit));
  // Its processes were killed, which systemd may call a failure and keep in mind.
  (void)bus.Call(OfManager("ResetFailedUnit", "s"), BusWriter().Text(placement.unit)).status();
  return absl::IsNotFound(stopped) ? absl::OkStatus() : stopped;
}

}  // namespace

absl::StatusOr<UnitManager> FindManager(ManagerKind kind) {
  UnitManager manager{.socket = "/run/systemd/private", .slice = "system.slice"};
  if (kind == ManagerKind::kUser) {
    const char* const runtime = getenv("XDG_RUNTIME_DIR");
    if (runtime == nullptr || runtime[0] != '/') {
      return absl::FailedPreconditionError(
          "--systemd-cgroup: without root it takes a systemd of the user's own, and "
          "$XDG_RUNTIME_DIR is not set");
    }
    manager = {.socket = absl::StrCat(runtime, "/systemd/private"), .slice = "user.slice"};
  }
  absl::StatusOr<Bus> bus = Bus::Connect(manager.socket);
  if (absl::IsNotFound(bus.status())) {
    return absl::FailedPreconditionError(
        absl::StrCat("--systemd-cgroup: systemd is not running here (", manager.socket,
                     "); without the flag the runtime makes control groups itself"));
  }
  if (!bus.ok()) return bus.status();
  absl::StatusOr<std::string> group = GetText(*bus, kObject, kManager, "ControlGroup");
  if (!group.ok()) return group.status();
  manager.group = *std::move(group);
  return manager;
}

absl::Status StartScope(const Placement& placement, pid_t pid,
                        const std::optional<spec::Resources>& resources) {
  absl::StatusOr<Bus> bus = Bus::Connect(placement.socket);
  if (!bus.ok()) return bus.status();
  std::vector<Property> properties = ScopeOf(placement, pid);
  if (resources) {
    absl::StatusOr<std::vector<Property>> limits = LimitsOf(*bus, placement, *resources);
    if (!limits.ok()) return limits.status();
    properties.insert(properties.end(), limits->begin(), limits->end());
  }
  const BusWriter arguments =
      BusWriter().Text(placement.unit).Text("replace").Properties(properties).NoStructs();
  const auto start = [&] {
    return RunJob(*bus, OfManager("StartTransientUnit", "ssa(sv)a(sa(sv))"), arguments,
                  absl::StrCat("starting ", placement.unit));
  };
  const absl::Status started = start();
  if (!absl::IsAlreadyExists(started)) return started;
  // One that was left: nothing is in its group, which was looked at before.
  if (absl::Status s = Stop(*bus, placement); !s.ok()) return s;
  return start();
}

absl::Status UpdateScope(const Placement& placement, const spec::Resources& resources) {
  absl::StatusOr<Bus> bus = Bus::Connect(placement.socket);
  if (!bus.ok()) return bus.status();
  const absl::StatusOr<std::vector<Property>> limits = LimitsOf(*bus, placement, resources);
  if (!limits.ok()) return limits.status();
  if (limits->empty()) return absl::OkStatus();
  return bus
      ->Call(OfManager("SetUnitProperties", "sba(sv)"),
             BusWriter().Text(placement.unit).Number(/*runtime=*/1).Properties(*limits))
      .status();
}

absl::Status StopScope(const Placement& placement) {
  absl::StatusOr<Bus> bus = Bus::Connect(placement.socket);
  if (!bus.ok()) return bus.status();
  return Stop(*bus, placement);
}

}  // namespace runsc::cgroup
