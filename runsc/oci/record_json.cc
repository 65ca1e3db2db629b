#include "runsc/oci/record_json.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "base/unique_fd.h"
#include "runsc/lockdown.h"

namespace runsc::oci {

namespace {

using Json = nlohmann::ordered_json;

Json ToJson(const ProcessId& process) {
  return Json{{"pid", process.pid}, {"startTime", process.start_time}};
}

void Get(const Json& json, const char* name, std::string& value) {
  const auto found = json.find(name);
  if (found != json.end() && found->is_string()) value = found->get<std::string>();
}

void Get(const Json& json, const char* name, bool& value) {
  const auto found = json.find(name);
  if (found != json.end() && found->is_boolean()) value = found->get<bool>();
}

void Get(const Json& json, const char* name, ProcessId& value) {
  const auto found = json.find(name);
  if (found == json.end() || !found->is_object()) return;
  const auto pid = found->find("pid");
  const auto start = found->find("startTime");
  if (pid == found->end() || start == found->end()) return;
  if (!pid->is_number_integer() || !start->is_number_integer()) return;
  value = {.pid = pid->get<pid_t>(), .start_time = start->get<uint64_t>()};
}

// Invalid UTF-8 in a path must not end the process.
std::string Dump(const Json& json, int indent) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

std::string RecordToJson(const Record& record) {
  Json annotations = Json::object();
  for (const auto& [key, value] : record.annotations) annotations[key] = value;
  const Json json = {{"id", record.id},
                     {"ociVersion", record.oci_version},
                     {"bundle", record.bundle},
                     {"rootfs", record.rootfs},
                     {"created", record.created},
                     {"owner", record.owner},
                     {"annotations", annotations},
                     {"creator", ToJson(record.creator)},
                     {"monitor", ToJson(record.monitor)},
                     {"sentry", ToJson(record.sentry)},
                     {"gofer", ToJson(record.gofer)},
                     {"network", ToJson(record.network)},
                     {"started", record.started},
                     {"paused", record.paused},
                     {"hasHooks", record.has_hooks}};
  return Dump(json, 2) + "\n";
}

Record RecordFromJson(std::string_view text) {
  Record record;
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return record;
  Get(json, "id", record.id);
  Get(json, "ociVersion", record.oci_version);
  Get(json, "bundle", record.bundle);
  Get(json, "rootfs", record.rootfs);
  Get(json, "created", record.created);
  Get(json, "owner", record.owner);
  Get(json, "creator", record.creator);
  Get(json, "monitor", record.monitor);
  Get(json, "sentry", record.sentry);
  Get(json, "gofer", record.gofer);
  Get(json, "network", record.network);
  Get(json, "started", record.started);
  Get(json, "paused", record.paused);
  Get(json, "hasHooks", record.has_hooks);
  const auto annotations = json.find("annotations");
  if (annotations != json.end() && annotations->is_object()) {
    for (const auto& [key, value] : annotations->items()) {
      if (value.is_string()) record.annotations[key] = value.get<std::string>();
    }
  }
  return record;
}

std::string StateJson(const Record& record, Phase phase) {
  // runc prints pid 0 for a process that is gone; in the specification it is then optional.
  Json json = {{"ociVersion", record.oci_version.empty() ? "1.2.0" : record.oci_version},
               {"id", record.id},
               {"pid", phase == Phase::kStopped ? 0 : record.monitor.pid},
               {"status", NameOf(phase)},
               {"bundle", record.bundle},
               {"rootfs", record.rootfs},
               {"created", record.created}};
  if (!record.annotations.empty()) {
    for (const auto& [key, value] : record.annotations) json["annotations"][key] = value;
  }
  json["owner"] = record.owner;
  return Dump(json, 2);
}

absl::Status WriteFileAtomically(const std::string& path, const std::string& text, mode_t mode) {
  const std::string temporary = absl::StrCat(path, ".tmp");
  const UniqueFd fd(
      open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode));
  if (!fd.valid()) return HostError(temporary);
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t written = write(fd.get(), text.data() + done, text.size() - done);
    if (written < 0) {
      absl::Status failure = HostError(temporary);
      unlink(temporary.c_str());
      return failure;
    }
    done += static_cast<size_t>(written);
  }
  // No fsync(2): a container does not survive the power either, and a flush takes longer than all
  // else that `create` does.
  if (rename(temporary.c_str(), path.c_str()) != 0) {
    absl::Status failure = HostError(path);
    unlink(temporary.c_str());
    return failure;
  }
  return absl::OkStatus();
}

}  // namespace runsc::oci
