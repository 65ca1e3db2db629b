#include "runsc/cgroup/stats.h"

#include <nlohmann/json.hpp>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "runsc/cgroup/files.h"

namespace runsc::cgroup {

namespace {

using nlohmann::json;

// Go's types have no 2^64-1 where a limit is signed; v1 shows this for "unlimited", too.
uint64_t Limit(uint64_t value) { return value == UINT64_MAX ? INT64_MAX / 4096 * 4096 : value; }

std::vector<uint64_t> Numbers(const std::string& path) {
  std::vector<uint64_t> numbers;
  const absl::StatusOr<std::string> text = ReadText(path);
  if (!text.ok()) return numbers;
  for (const std::string& word : Split(*text, ' ')) {
    uint64_t number;
    if (absl::SimpleAtoi(word, &number)) numbers.push_back(number);
  }
  return numbers;
}

json MemoryV1(const std::string& directory) {
  const auto counter = [&](const std::string& front) {
    const std::string path = absl::StrCat(directory, "/", front);
    return json{{"limit", ReadNumber(path + "limit_in_bytes")},
                {"usage", ReadNumber(path + "usage_in_bytes")},
                {"max", ReadNumber(path + "max_usage_in_bytes")},
                {"failcnt", ReadNumber(path + "failcnt")}};
  };
  const std::map<std::string, uint64_t> raw = ReadTable(directory + "/memory.stat");
  const auto cache = raw.find("cache");
  return {{"cache", cache == raw.end() ? 0 : cache->second},
          {"usage", counter("memory.")},
          {"swap", counter("memory.memsw.")},
          {"kernel", counter("memory.kmem.")},
          {"kernelTCP", counter("memory.kmem.tcp.")},
          {"raw", raw}};
}

json MemoryV2(const std::string& directory) {
  std::map<std::string, uint64_t> raw = ReadTable(directory + "/memory.stat");
  const uint64_t usage = ReadNumber(directory + "/memory.current");
  const uint64_t limit = ReadNumber(directory + "/memory.max");
  const uint64_t swap_limit = ReadNumber(directory + "/memory.swap.max");
  const bool unlimited = limit == UINT64_MAX || swap_limit == UINT64_MAX;
  // As in v1 the second is the sum.
  return {{"cache", raw["file"]},
          {"usage",
           {{"limit", Limit(limit)},
            {"usage", usage},
            {"max", ReadNumber(directory + "/memory.peak")},
            {"failcnt", 0}}},
          {"swap",
           {{"limit", unlimited ? Limit(UINT64_MAX) : limit + swap_limit},
            {"usage", usage + ReadNumber(directory + "/memory.swap.current")},
            {"max", 0},
            {"failcnt", 0}}},
          {"raw", raw}};
}

json Cpu(const Placement& placement) {
  json usage = {{"total", 0}, {"kernel", 0}, {"user", 0}};
  json throttling = json::object();
  const std::string* accounting = placement.Find("cpuacct");
  const std::string* v2 = placement.Find("");
  if (accounting != nullptr) {
    usage = {{"total", ReadNumber(*accounting + "/cpuacct.usage")},
             {"percpu", Numbers(*accounting + "/cpuacct.usage_percpu")},
             {"percpu_kernel", Numbers(*accounting + "/cpuacct.usage_percpu_sys")},
             {"percpu_user", Numbers(*accounting + "/cpuacct.usage_percpu_user")},
             {"kernel", ReadNumber(*accounting + "/cpuacct.usage_sys")},
             {"user", ReadNumber(*accounting + "/cpuacct.usage_user")}};
  } else if (v2 != nullptr) {
    std::map<std::string, uint64_t> row = ReadTable(*v2 + "/cpu.stat");
    usage = {{"total", row["usage_usec"] * 1000},
             {"kernel", row["system_usec"] * 1000},
             {"user", row["user_usec"] * 1000}};
  }
  const std::string* cpu = placement.Find("cpu");
  if (const std::string* directory = cpu != nullptr ? cpu : v2) {
    std::map<std::string, uint64_t> row = ReadTable(*directory + "/cpu.stat");
    const uint64_t time = cpu != nullptr ? row["throttled_time"] : row["throttled_usec"] * 1000;
    throttling = {{"periods", row["nr_periods"]},
                  {"throttledPeriods", row["nr_throttled"]},
                  {"throttledTime", time}};
  }
  return {{"usage", usage}, {"throttling", throttling}};
}

// v1: lines of "MAJOR:MINOR OP NUMBER".
json BlockIoV1(const std::string& path) {
  json entries = json::array();
  const absl::StatusOr<std::string> text = ReadText(path);
  if (!text.ok()) return entries;
  for (const std::string& line : Split(*text, '\n')) {
    const std::vector<std::string> words =
        absl::StrSplit(line, absl::ByAnyChar(" :"), absl::SkipEmpty());
    uint64_t major, minor, value;
    if (words.size() == 4 && absl::SimpleAtoi(words[0], &major) &&
        absl::SimpleAtoi(words[1], &minor) && absl::SimpleAtoi(words[3], &value)) {
      entries.push_back({{"major", major}, {"minor", minor}, {"op", words[2]}, {"value", value}});
    }
  }
  return entries;
}

// v2: lines of "MAJOR:MINOR rbytes=N wbytes=N rios=N wios=N …".
void BlockIoV2(const std::string& path, json& bytes, json& operations) {
  const absl::StatusOr<std::string> text = ReadText(path);
  if (!text.ok()) return;
  for (const std::string& line : Split(*text, '\n')) {
    const std::vector<std::string> words = absl::StrSplit(line, absl::ByAnyChar(" :="));
    uint64_t major, minor, value;
    if (words.size() < 2 || !absl::SimpleAtoi(words[0], &major) ||
        !absl::SimpleAtoi(words[1], &minor)) {
      continue;
    }
    for (size_t i = 2; i + 1 < words.size(); i += 2) {
      if (!absl::SimpleAtoi(words[i + 1], &value)) continue;
      const std::string& key = words[i];
      if (key != "rbytes" && key != "wbytes" && key != "rios" && key != "wios") continue;
      json& list = key.ends_with("bytes") ? bytes : operations;
      list.push_back({{"major", major},
                      {"minor", minor},
                      {"op", key.starts_with('r') ? "Read" : "Write"},
                      {"value", value}});
    }
  }
}

json BlockIo(const Placement& placement) {
  json bytes = json::array(), operations = json::array();
  if (const std::string* v1 = placement.Find("blkio")) {
    for (const char* front : {"/blkio.bfq.", "/blkio.throttle."}) {
      bytes = BlockIoV1(absl::StrCat(*v1, front, "io_service_bytes_recursive"));
      operations = BlockIoV1(absl::StrCat(*v1, front, "io_serviced_recursive"));
      if (!bytes.empty()) break;
    }
  } else if (const std::string* v2 = placement.Find("")) {
    BlockIoV2(*v2 + "/io.stat", bytes, operations);
  }
  return {{"ioServiceBytesRecursive", bytes}, {"ioServicedRecursive", operations}};
}

json Hugepages(const Placement& placement) {
  json sizes = json::object();
  const std::string* v1 = placement.Find("hugetlb");
  const std::string* directory = v1 != nullptr ? v1 : placement.Find("");
  if (directory == nullptr) return sizes;
  // "hugepages-2048kB" is "2MB" in the group's files.
  for (const std::string& name : Subdirectories("/sys/kernel/mm/hugepages")) {
    uint64_t kib = 0;
    const std::string digits = name.substr(std::min(name.size(), size_t{10}));
    if (!absl::SimpleAtoi(digits.substr(0, digits.find('k')), &kib)) continue;
    const std::string size = kib >= 1 << 20   ? absl::StrCat(kib >> 20, "GB")
                             : kib >= 1 << 10 ? absl::StrCat(kib >> 10, "MB")
                                              : absl::StrCat(kib, "KB");
    const std::string front = absl::StrCat(*directory, "/hugetlb.", size, ".");
    sizes[size] = {{"usage", ReadNumber(front + (v1 != nullptr ? "usage_in_bytes" : "current"))},
                   {"max", v1 != nullptr ? ReadNumber(front + "max_usage_in_bytes") : 0},
                   {"failcnt", v1 != nullptr ? ReadNumber(front + "failcnt")
                                             : ReadTable(front + "events")["max"]}};
  }
  return sizes;
}

json Pids(const Placement& placement) {
  const std::string* v1 = placement.Find("pids");
  const std::string* directory = v1 != nullptr ? v1 : placement.Find("");
  if (directory == nullptr) return json::object();
  json pids = {{"current", ReadNumber(*directory + "/pids.current")}};
  const uint64_t limit = ReadNumber(*directory + "/pids.max");
  // runc leaves "max" out.
  if (limit != UINT64_MAX) pids["limit"] = limit;
  return pids;
}

// Bytes that are no UTF-8 can only come from an id; they must not end the process.
std::string Line(const json& event) {
  return event.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

}  // namespace

std::string StatsEvent(const Placement& placement, const std::string& id) {
  json data = {{"cpu", Cpu(placement)},           {"memory", json::object()},
               {"pids", Pids(placement)},         {"blkio", BlockIo(placement)},
               {"hugetlb", Hugepages(placement)}, {"intel_rdt", json::object()},
               {"network_interfaces", nullptr}};
  if (const std::string* v1 = placement.Find("memory")) {
    data["memory"] = MemoryV1(*v1);
  } else if (const std::string* v2 = placement.Find("")) {
    data["memory"] = MemoryV2(*v2);
  }
  return Line({{"type", "stats"}, {"id", id}, {"data", data}});
}

std::string OomEvent(const std::string& id) { return Line({{"type", "oom"}, {"id", id}}); }

}  // namespace runsc::cgroup
