#include "runsc/cgroup/shown.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "runsc/cgroup/plan.h"

namespace runsc::cgroup {
namespace {

// For which a plan for v2 would fail as a whole.
void LeaveOutV1(spec::Resources& resources) {
  spec::MemoryLimits& memory = resources.memory;
  memory.kernel.reset();
  memory.kernel_tcp.reset();
  memory.disable_oom_killer.reset();
  if (memory.swap.value_or(0) > 0 && memory.swap < memory.limit.value_or(0)) memory.swap.reset();
  if (memory.limit.value_or(0) <= 0 && memory.swap.value_or(0) > 0) memory.swap.reset();
  resources.cpu.realtime_period.reset();
  resources.cpu.realtime_runtime.reset();
  resources.network = {};
  resources.devices.clear();
  resources.rdma.clear();
  resources.hugepages.clear();
  // Of the host's disks nothing is shown.
  resources.block_io = {.weight = resources.block_io.weight};
}

// Memory is counted in pages.
std::string RoundDown(const std::string& file, const std::string& value) {
  if (!file.starts_with("memory.") || value.empty() || value[0] < '0' || value[0] > '9') {
    return value;
  }
  return absl::StrCat(strtoull(value.c_str(), nullptr, 10) & ~uint64_t{4095});
}

}  // namespace

ShownLimits LimitsToShow(spec::Resources resources) {
  LeaveOutV1(resources);
  // The program's tasks are counted by the sentry: not the number that the host is told.
  const std::optional<int64_t> tasks = std::exchange(resources.pids_limit, std::nullopt);
  Placement place;
  place.directories[""] = "";
  std::vector<Write> plan;
  ShownLimits shown;
  if (!MakePlan(place, resources, plan).ok()) return shown;
  for (const Write& write : plan) {
    const bool other = !write.other_path.empty() && !write.other_value.empty();
    const std::string file = (other ? write.other_path : write.path).substr(1);
    std::string value = RoundDown(file, other ? write.other_value : write.value);
    if (absl::StrContains(value, '\n')) continue;
    shown.emplace_back(file, absl::StrCat(value, "\n"));
  }
  if (tasks) shown.emplace_back("pids.max", *tasks > 0 ? absl::StrCat(*tasks, "\n") : "max\n");
  return shown;
}

std::string EncodeLimits(const ShownLimits& limits) {
  std::string lines;
  for (const auto& [file, value] : limits) absl::StrAppend(&lines, file, " ", value);
  return lines;
}

ShownLimits DecodeLimits(std::string_view lines) {
  ShownLimits limits;
  const std::vector<std::string> all = absl::StrSplit(std::string(lines), '\n', absl::SkipEmpty());
  for (const std::string& line : all) {
    const std::pair<std::string, std::string> parts = absl::StrSplit(line, absl::MaxSplits(' ', 1));
    if (!absl::StrContains(parts.first, '.')) continue;
    limits.emplace_back(parts.first, absl::StrCat(parts.second, "\n"));
  }
  return limits;
}

}  // namespace runsc::cgroup
