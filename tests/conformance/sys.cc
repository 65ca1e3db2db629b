// /sys/devices/system: what programs read to learn of processors, caches and memory nodes.
#include <sys/statvfs.h>

#include <algorithm>

#include "tests/conformance/proc_support.h"

namespace conformance {
namespace {

const std::string kSystem = "/sys/devices/system/";

std::string Cpu(int cpu, const std::string& name) {
  return TryRead(kSystem + "cpu/cpu" + std::to_string(cpu) + "/" + name);
}

// "0-2,5\n".
std::set<int> List(const std::string& text) {
  std::set<int> cpus;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, ',');) {
    if (part.empty() || part == "\n") continue;
    const size_t dash = part.find('-');
    const int first = std::stoi(part);
    const int last = dash == std::string::npos ? first : std::stoi(part.substr(dash + 1));
    for (int cpu = first; cpu <= last; ++cpu) cpus.insert(cpu);
  }
  return cpus;
}

// "ff,00000003\n": words of 32 bits, the highest first.
std::set<int> Mask(const std::string& text) {
  std::set<int> cpus;
  std::vector<uint32_t> words;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, ',');) {
    words.insert(words.begin(), static_cast<uint32_t>(std::stoul(part, nullptr, 16)));
  }
  for (size_t i = 0; i < words.size() * 32; ++i) {
    if ((words[i / 32] >> (i % 32) & 1) != 0) cpus.insert(static_cast<int>(i));
  }
  return cpus;
}

std::set<int> Online() { return List(TryRead(kSystem + "cpu/online")); }

uint64_t Number(const std::string& text) { return strtoull(text.c_str(), nullptr, 10); }

TEST(SysCpu, TheListsNameTheDirectories) {
  const std::set<int> online = Online(), possible = List(TryRead(kSystem + "cpu/possible"));
  ASSERT_FALSE(online.empty());
  EXPECT_EQ(static_cast<long>(online.size()), sysconf(_SC_NPROCESSORS_ONLN));
  EXPECT_EQ(static_cast<long>(possible.size()), sysconf(_SC_NPROCESSORS_CONF));
  for (const int cpu : online) {
    EXPECT_TRUE(possible.contains(cpu));
    EXPECT_TRUE(Names(kSystem + "cpu").contains("cpu" + std::to_string(cpu)));
  }
  EXPECT_EQ(TryRead(kSystem + "cpu/offline").back(), '\n');
  EXPECT_GE(Number(TryRead(kSystem + "cpu/kernel_max")), static_cast<uint64_t>(*online.rbegin()));
}

TEST(SysCpu, MasksAndListsOfTheTopologyAgree) {
  const std::set<int> online = Online();
  for (const int cpu : online) {
    for (const std::string name :
         {"core_cpus", "thread_siblings", "core_siblings", "package_cpus"}) {
      SCOPED_TRACE(std::to_string(cpu) + " " + name);
      const std::set<int> list = List(Cpu(cpu, "topology/" + name + "_list"));
      EXPECT_TRUE(list.contains(cpu));
      EXPECT_EQ(Mask(Cpu(cpu, "topology/" + name)), list);
      EXPECT_TRUE(std::includes(online.begin(), online.end(), list.begin(), list.end()));
    }
    EXPECT_EQ(Cpu(cpu, "topology/core_cpus"), Cpu(cpu, "topology/thread_siblings"));
    EXPECT_EQ(Cpu(cpu, "topology/package_cpus"), Cpu(cpu, "topology/core_siblings"));
  }
}

// Cores of one package that are not the same have other numbers.
TEST(SysCpu, CoresHaveNumbers) {
  const std::set<int> online = Online();
  for (const int one : online) {
    const std::set<int> core = List(Cpu(one, "topology/core_cpus_list"));
    const std::set<int> package = List(Cpu(one, "topology/package_cpus_list"));
    for (const int other : package) {
      EXPECT_EQ(Cpu(one, "topology/core_id") == Cpu(other, "topology/core_id"),
                core.contains(other));
      EXPECT_EQ(Cpu(one, "topology/physical_package_id"),
                Cpu(other, "topology/physical_package_id"));
    }
  }
}

TEST(SysCpu, CachesAreAsLargeAsTheirParts) {
  for (const int cpu : Online()) {
    for (int i = 0;; ++i) {
      const std::string index = "cache/index" + std::to_string(i) + "/";
      if (Cpu(cpu, index + "level").empty()) break;
      SCOPED_TRACE(index);
      const uint64_t bytes = Number(Cpu(cpu, index + "coherency_line_size")) *
                             Number(Cpu(cpu, index + "physical_line_partition")) *
                             Number(Cpu(cpu, index + "ways_of_associativity")) *
                             Number(Cpu(cpu, index + "number_of_sets"));
      EXPECT_EQ(Cpu(cpu, index + "size"), std::to_string(bytes / 1024) + "K\n");
      const std::string type = Cpu(cpu, index + "type");
      EXPECT_TRUE(type == "Data\n" || type == "Instruction\n" || type == "Unified\n") << type;
      const std::set<int> sharing = List(Cpu(cpu, index + "shared_cpu_list"));
      EXPECT_TRUE(sharing.contains(cpu));
      EXPECT_EQ(Mask(Cpu(cpu, index + "shared_cpu_map")), sharing);
      for (const int other : sharing) EXPECT_EQ(Cpu(cpu, index + "id"), Cpu(other, index + "id"));
    }
  }
}

// glibc asks the processor.
TEST(SysCpu, TheFirstCacheIsTheLibrarys) {
  const long size = sysconf(_SC_LEVEL1_DCACHE_SIZE);
  const std::string type = Cpu(0, "cache/index0/type");
  if (size <= 0 || type != "Data\n") GTEST_SKIP() << "this processor does not tell";
  EXPECT_EQ(Cpu(0, "cache/index0/level"), "1\n");
  EXPECT_EQ(Cpu(0, "cache/index0/size"), std::to_string(size / 1024) + "K\n");
}

TEST(SysNode, HasTheProcessors) {
  const std::set<int> nodes = List(TryRead(kSystem + "node/online"));
  ASSERT_TRUE(nodes.contains(0));
  EXPECT_TRUE(List(TryRead(kSystem + "node/possible")).contains(0));
  EXPECT_TRUE(List(TryRead(kSystem + "node/has_memory")).contains(0));
  std::set<int> all;
  for (const int node : nodes) {
    const std::string at = kSystem + "node/node" + std::to_string(node) + "/";
    const std::set<int> cpus = List(TryRead(at + "cpulist"));
    EXPECT_EQ(Mask(TryRead(at + "cpumap")), cpus);
    for (const int cpu : cpus) {
      const std::string name = "cpu" + std::to_string(cpu);
      EXPECT_EQ(LinkTarget(at + name), "../../cpu/" + name);
      EXPECT_EQ(LinkTarget(kSystem + "cpu/" + name + "/node" + std::to_string(node)),
                "../../node/node" + std::to_string(node));
    }
    all.insert(cpus.begin(), cpus.end());
  }
  EXPECT_EQ(all, Online());
}

TEST(SysNode, DistancesAndMemory) {
  const std::set<int> nodes = List(TryRead(kSystem + "node/online"));
  std::istringstream distances(TryRead(kSystem + "node/node0/distance"));
  std::vector<int> each;
  for (int one; distances >> one;) each.push_back(one);
  ASSERT_EQ(each.size(), nodes.size());
  EXPECT_EQ(each[0], 10);  // To itself.
  const std::string meminfo = TryRead(kSystem + "node/node0/meminfo");
  const uint64_t total = NumberField(meminfo, "Node 0 MemTotal");
  EXPECT_GT(total, 0u);
  EXPECT_GE(total, NumberField(meminfo, "Node 0 MemFree"));
  EXPECT_TRUE(TryRead(kSystem + "node/node0/numastat").starts_with("numa_hit "));
}

// Containers have it read-only.
TEST(SysFiles, AreForReading) {
  struct statvfs fs;
  ASSERT_THAT(statvfs("/sys", &fs), Returns(0));
  const bool read_only = (fs.f_flag & ST_RDONLY) != 0;
  const int no_write = read_only ? EROFS : EACCES, no_change = read_only ? EROFS : EPERM;
  EXPECT_THAT(open((kSystem + "cpu/online").c_str(), O_WRONLY), FailsWith(no_write));
  EXPECT_THAT(open((kSystem + "cpu/cpu0/topology/core_id").c_str(), O_RDWR), FailsWith(no_write));
  EXPECT_THAT(mkdir((kSystem + "cpu/cpu4000").c_str(), 0755), FailsWith(no_change));
  EXPECT_THAT(unlink((kSystem + "cpu/online").c_str()), FailsWith(no_change));
  struct stat st;
  ASSERT_THAT(stat((kSystem + "cpu/cpu0/topology").c_str(), &st), Returns(0));
  EXPECT_EQ(st.st_mode, S_IFDIR | 0755u);
}

}  // namespace
}  // namespace conformance
