#include "sentry/fs/sys/cpu.h"

#include <cpuid.h>

#include <algorithm>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/host_cpus.h"
#include "sentry/fs/proc/host_info.h"

namespace sentry {
namespace {

constexpr std::string_view kCpu = "devices/system/cpu";
constexpr std::string_view kNode = "devices/system/node";

// From `first` up to but not `end`.
struct CpuRange {
  int first = 0, end = 0;
};

// "0", "0-3": the kernel's %*pbl.
std::string ListOf(CpuRange cpus) {
  if (cpus.end - cpus.first == 1) return absl::StrCat(cpus.first, "\n");
  return absl::StrFormat("%d-%d\n", cpus.first, cpus.end - 1);
}

// Hexadecimal words of 32 bits, the highest first, as wide as `count` processors ask for: %*pb.
std::string MaskOf(CpuRange cpus, int count) {
  std::string text;
  const int words = (count + 31) / 32;
  for (int word = words - 1; word >= 0; --word) {
    uint32_t bits = 0;
    for (int bit = 0; bit < 32; ++bit) {
      const int cpu = word * 32 + bit;
      if (cpu >= cpus.first && cpu < cpus.end) bits |= uint32_t{1} << bit;
    }
    const int width = word == words - 1 ? ((count - 1) % 32) / 4 + 1 : 8;
    absl::StrAppendFormat(&text, "%0*x%s", width, bits, word == 0 ? "\n" : ",");
  }
  return text;
}

void AddRange(SysTree& tree, std::string_view at, std::string_view mask_name,
              std::string_view list_name, CpuRange cpus, int count) {
  tree.Text(at, std::string(mask_name), MaskOf(cpus, count));
  tree.Text(at, std::string(list_name), ListOf(cpus));
}

struct Cache {
  uint32_t type = 0;  // 1 data, 2 instruction, 3 unified.
  uint32_t level = 0;
  uint32_t line = 0, partitions = 0, ways = 0, sets = 0;
  int sharing = 1;  // Processors.
};

// Intel's leaf 4, AMD's 0x8000001d: the same registers.
uint32_t CacheLeaf() {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
  constexpr uint32_t kAmdTopology = 0x80000001, kTopologyBit = 1u << 22;
  if (__get_cpuid(kAmdTopology, &eax, &ebx, &ecx, &edx) != 0 && (ecx & kTopologyBit) != 0) {
    return 0x8000001d;
  }
  return 4;
}

std::vector<Cache> Caches(int cpus) {
  std::vector<Cache> caches;
  const uint32_t leaf = CacheLeaf();
  constexpr uint32_t kMost = 16;
  for (uint32_t i = 0; i < kMost; ++i) {
    uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
    if (__get_cpuid_count(leaf, i, &eax, &ebx, &ecx, &edx) == 0 || (eax & 0x1f) == 0) break;
    const uint32_t level = eax >> 5 & 7;
    // A core is a processor here; only what all cores of a package have is shared.
    const int sharing = level < 3 ? 1 : static_cast<int>((eax >> 14 & 0xfff) + 1);
    caches.push_back({.type = eax & 0x1f,
                      .level = level,
                      .line = (ebx & 0xfff) + 1,
                      .partitions = (ebx >> 12 & 0x3ff) + 1,
                      .ways = (ebx >> 22) + 1,
                      .sets = ecx + 1,
                      .sharing = std::min(sharing, cpus)});
  }
  return caches;
}

void AddCache(SysTree& tree, const std::string& at, const Cache& cache, int cpu, int count) {
  static constexpr std::string_view kTypes[] = {"", "Data", "Instruction", "Unified"};
  const auto number = [&](std::string name, uint64_t value) {
    tree.Text(at, std::move(name), absl::StrCat(value, "\n"));
  };
  const int first = cpu / cache.sharing * cache.sharing;
  number("level", cache.level);
  number("id", static_cast<uint64_t>(cpu / cache.sharing));
  number("coherency_line_size", cache.line);
  number("physical_line_partition", cache.partitions);
  number("ways_of_associativity", cache.ways);
  number("number_of_sets", cache.sets);
  const uint64_t bytes = uint64_t{cache.line} * cache.partitions * cache.ways * cache.sets;
  tree.Text(at, "size", absl::StrCat(bytes / 1024, "K\n"));
  if (cache.type < std::size(kTypes))
    tree.Text(at, "type", absl::StrFormat("%s\n", kTypes[cache.type]));
  AddRange(tree, at, "shared_cpu_map", "shared_cpu_list",
           {first, std::min(first + cache.sharing, count)}, count);
}

void FillCpu(SysTree& tree, int cpu, int count) {
  const CpuRange all{0, count}, self{cpu, cpu + 1};
  constexpr std::string_view kTopology = "topology";
  tree.Text(kTopology, "core_id", absl::StrCat(cpu, "\n"));
  tree.Text(kTopology, "physical_package_id", "0\n");
  tree.Text(kTopology, "die_id", "0\n");
  for (const std::string_view one : {"thread_siblings", "core_cpus"}) {
    AddRange(tree, kTopology, one, absl::StrFormat("%s_list", one), self, count);
  }
  for (const std::string_view one : {"core_siblings", "package_cpus", "die_cpus"}) {
    AddRange(tree, kTopology, one, absl::StrFormat("%s_list", one), all, count);
  }
  int index = 0;
  for (const Cache& cache : Caches(count)) {
    AddCache(tree, absl::StrCat("cache/index", index++), cache, cpu, count);
  }
  tree.Link("", "node0", "../../node/node0");
  tree.Link("", "subsystem", "../../../../bus/cpu");
}

// "Node 0 " in front of the lines that have a place here.
std::string NodeMemory() {
  static constexpr std::string_view kShown[] = {
      "MemTotal:", "MemFree:", "Active:",    "Inactive:", "Unevictable:",     "Mlocked:",
      "Dirty:",    "Mapped:",  "AnonPages:", "Shmem:",    "HugePages_Total:", "HugePages_Free:"};
  std::string text;
  std::istringstream lines(MemInfoText());
  for (std::string line; std::getline(lines, line);) {
    const std::string name = line.substr(0, line.find(':') + 1);
    if (std::find(std::begin(kShown), std::end(kShown), name) == std::end(kShown)) continue;
    text += "Node 0 " + line + "\n";
  }
  return text;
}

}  // namespace

void AddCpus(SysTree& tree) {
  const int count = HostCpuCount();
  const std::string all = ListOf({0, count});
  for (const char* name : {"online", "possible", "present"}) tree.Text(kCpu, name, all);
  for (const char* name : {"offline", "isolated"}) tree.Text(kCpu, name, "\n");
  tree.Text(kCpu, "kernel_max", absl::StrCat(CPU_SETSIZE - 1, "\n"));
  for (int i = 0; i < count; ++i) {
    const auto fill = [i, count](SysTree& own) { FillCpu(own, i, count); };
    tree.Later(kCpu, absl::StrCat("cpu", i), fill);
    tree.Link("bus/cpu/devices", absl::StrCat("cpu", i),
              absl::StrCat("../../../devices/system/cpu/cpu", i));
  }
}

void AddNode(SysTree& tree) {
  for (const char* name : {"online", "possible", "has_cpu", "has_memory", "has_normal_memory"}) {
    tree.Text(kNode, name, "0\n");
  }
  tree.Link("bus/node/devices", "node0", "../../../devices/system/node/node0");
  tree.Later(kNode, "node0", [count = HostCpuCount()](SysTree& own) {
    AddRange(own, "", "cpumap", "cpulist", {0, count}, count);
    own.Text("", "distance", "10\n");
    own.Text("", "meminfo", [] { return Result<std::string>(NodeMemory()); });
    own.Text("", "numastat",
             "numa_hit 0\nnuma_miss 0\nnuma_foreign 0\ninterleave_hit 0\nlocal_node 0\n"
             "other_node 0\n");
    for (int i = 0; i < count; ++i) {
      own.Link("", absl::StrCat("cpu", i), absl::StrCat("../../cpu/cpu", i));
    }
    own.Link("", "subsystem", "../../../../bus/node");
  });
}

}  // namespace sentry
