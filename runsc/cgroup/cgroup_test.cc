// Detection, places and plans, on text and on directories that only look like control groups.
#include <stdlib.h>
#include <sys/stat.h>

#include <fstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runsc/cgroup/files.h"
#include "runsc/cgroup/host.h"
#include "runsc/cgroup/manager.h"
#include "runsc/cgroup/plan.h"
#include "runsc/cgroup/shown.h"

namespace runsc::cgroup {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

constexpr const char* kHybridMounts =
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "40 31 0:37 / /sys/fs/cgroup/systemd rw shared:3 - cgroup cgroup rw,name=systemd\n"
    "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
    "42 31 0:39 / /proc rw - proc proc rw\n";
constexpr const char* kHybridOwn = "4:memory:/job/7\n3:cpu,cpuacct:/\n2:name=systemd:/s\n0::/u/x\n";
constexpr const char* kUnifiedMounts = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";

Placement Place(const Host& host, const std::string& path) {
  absl::StatusOr<Placement> placement = Locate(host, path, "id7");
  EXPECT_TRUE(placement.ok()) << placement.status();
  return placement.ok() ? *std::move(placement) : Placement{};
}

std::string ScopeError(const std::string& path) {
  const Host host = ParseHost(kUnifiedMounts, "0::/\n");
  return std::string(LocateScope(host, {}, path, "id7").status().message());
}

TEST(CgroupHost, Modes) {
  EXPECT_EQ(ParseHost(kHybridMounts, kHybridOwn).mode, Mode::kHybrid);
  EXPECT_EQ(ParseHost(kUnifiedMounts, "0::/\n").mode, Mode::kUnified);
  EXPECT_EQ(ParseHost("35 31 0:32 / /m rw - cgroup c rw,memory\n", "4:memory:/\n").mode,
            Mode::kLegacy);
  EXPECT_EQ(ParseHost("", "").mode, Mode::kNone);
  EXPECT_EQ(ParseHost("garbage\n1 2 3 - x\n", "x\n:\n").mode, Mode::kNone);
}

TEST(CgroupHost, AbsolutePathsStartAtTheMountPoints) {
  EXPECT_THAT(Place(ParseHost(kHybridMounts, kHybridOwn), "/docker/../a//b").directories,
              ElementsAre(Pair("", "/sys/fs/cgroup/unified/a/b"),
                          Pair("cpu", "/sys/fs/cgroup/cpu,cpuacct/a/b"),
                          Pair("cpuacct", "/sys/fs/cgroup/cpu,cpuacct/a/b"),
                          Pair("memory", "/sys/fs/cgroup/memory/a/b"),
                          Pair("name=systemd", "/sys/fs/cgroup/systemd/a/b")));
}

TEST(CgroupHost, RelativeAndEmptyPathsStartAtTheCallers) {
  const Host host = ParseHost(kHybridMounts, kHybridOwn);
  EXPECT_EQ(*Place(host, "../../x").Find("memory"), "/sys/fs/cgroup/memory/job/7/x");
  EXPECT_EQ(*Place(host, "").Find("memory"), "/sys/fs/cgroup/memory/job/7/id7");
  EXPECT_EQ(*Place(host, "").Find(""), "/sys/fs/cgroup/unified/u/x/id7");
  // Beside the caller, whose own group has processes.
  EXPECT_EQ(*Place(ParseHost(kUnifiedMounts, "0::/u/x\n"), "").Find(""), "/sys/fs/cgroup/u/id7");
}

TEST(CgroupHost, AMountThatShowsAPartOfTheHierarchy) {
  const Host host =
      ParseHost("35 31 0:32 /docker/c /sys/fs/cgroup/memory rw - cgroup c rw,memory\n",
                "4:memory:/docker/c/in\n");
  EXPECT_EQ(*Place(host, "x").Find("memory"), "/sys/fs/cgroup/memory/in/x");
}

TEST(CgroupHost, UnitsOfSystemd) {
  const Host host = ParseHost(kUnifiedMounts, "0::/\n");
  const UnitManager manager = {.socket = "/run/s", .slice = "system.slice"};
  const Placement placement = *LocateScope(host, manager, "a-b.slice:docker:77", "id7");
  EXPECT_EQ(placement.unit, "docker-77.scope");
  EXPECT_EQ(placement.slice, "a-b.slice");
  EXPECT_EQ(placement.socket, "/run/s");
  EXPECT_EQ(*placement.Find(""), "/sys/fs/cgroup/a.slice/a-b.slice/docker-77.scope");
  EXPECT_EQ(*LocateScope(host, manager, "", "id7")->Find(""),
            "/sys/fs/cgroup/system.slice/sandbox-id7.scope");
  EXPECT_EQ(*LocateScope(host, manager, "-.slice::x", "id7")->Find(""), "/sys/fs/cgroup/x.scope");
  const UnitManager user = {.socket = "/s", .group = "/u/user@7.service", .slice = "user.slice"};
  EXPECT_EQ(*LocateScope(host, user, ":p:x", "id7")->Find(""),
            "/sys/fs/cgroup/u/user@7.service/user.slice/p-x.scope");
  EXPECT_THAT(ScopeError("/a/b"), HasSubstr("is not SLICE:PREFIX:NAME"));
  EXPECT_THAT(ScopeError("a/b.slice:x:y"), HasSubstr("is no slice"));
  EXPECT_THAT(ScopeError("a.slice:x:../../y"), HasSubstr("makes no name of a unit"));
  EXPECT_THAT(ScopeError("a.slice:x:b.slice"), HasSubstr("is a slice"));
  EXPECT_THAT(ScopeError("a.slice::" + std::string(250, 'x')), HasSubstr("makes no name"));
}

TEST(CgroupHost, TheRootIsNoPlace) {
  const Host host = ParseHost(kUnifiedMounts, "0::/\n");
  EXPECT_THAT(std::string(Locate(host, "/", "id7").status().message()),
              HasSubstr("is the host's root"));
}

TEST(CgroupHost, PlacesSurviveTheStateOnDisk) {
  const Placement placement = Place(ParseHost(kHybridMounts, kHybridOwn), "/a");
  EXPECT_EQ(Decode(Encode(placement))->directories, placement.directories);
  const Placement scope = {.unit = "a.scope", .slice = "b.slice", .socket = "/s"};
  EXPECT_EQ(Decode(Encode(scope))->unit, "a.scope");
  EXPECT_EQ(Decode(Encode(scope))->slice, "b.slice");
  EXPECT_EQ(Decode(Encode(scope))->socket, "/s");
  EXPECT_FALSE(Decode("").ok());
  EXPECT_FALSE(Decode("{\"directories\": {\"\": \"/a/../../etc\"}}").ok());
  EXPECT_FALSE(Decode("{\"directories\": {\"\": 7}}").ok());
}

TEST(CgroupFiles, CleanPath) {
  EXPECT_EQ(CleanPath("/a/./b/../c//"), "/a/c");
  EXPECT_EQ(CleanPath("../../a"), "a");
  EXPECT_EQ(CleanPath("/.."), "/");
  EXPECT_EQ(CleanPath(""), "");
}

std::vector<std::string> Plan(const Placement& placement, const spec::Resources& resources) {
  std::vector<Write> plan;
  const absl::Status status = MakePlan(placement, resources, plan);
  std::vector<std::string> lines;
  for (const Write& write : plan) lines.push_back(write.path + " = " + write.value);
  if (!status.ok()) lines.push_back(std::string(status.message()));
  return lines;
}

const Placement kV1 = {.directories = {{"memory", "/m"},
                                       {"cpu", "/c"},
                                       {"cpuset", "/s"},
                                       {"pids", "/p"},
                                       {"blkio", "/b"},
                                       {"devices", "/d"},
                                       {"hugetlb", "/h"},
                                       {"net_cls", "/n"}}};
const Placement kV2 = {.directories = {{"", "/u"}}};

TEST(CgroupPlan, Memory) {
  spec::Resources r;
  r.memory = {.limit = 1000, .reservation = 500, .swap = 3000};
  EXPECT_THAT(Plan(kV1, r), ElementsAre("/m/memory.limit_in_bytes = 1000",
                                        "/m/memory.memsw.limit_in_bytes = 3000",
                                        "/m/memory.soft_limit_in_bytes = 500"));
  EXPECT_THAT(Plan(kV2, r), ElementsAre("/u/memory.swap.max = 2000", "/u/memory.max = 1000",
                                        "/u/memory.low = 500"));
  r.memory = {.limit = -1};
  EXPECT_THAT(Plan(kV1, r),
              ElementsAre("/m/memory.limit_in_bytes = -1", "/m/memory.memsw.limit_in_bytes = -1"));
  EXPECT_THAT(Plan(kV2, r), ElementsAre("/u/memory.swap.max = max", "/u/memory.max = max"));
  r.memory = {.limit = 0, .swap = 0, .disable_oom_killer = false};
  EXPECT_THAT(Plan(kV1, r), ElementsAre());
  r.memory = {.disable_oom_killer = true};
  EXPECT_THAT(Plan(kV1, r), ElementsAre("/m/memory.oom_control = 1"));
  EXPECT_THAT(Plan(kV2, r), ElementsAre(HasSubstr("linux.resources.memory.disableOOMKiller")));
  r.memory = {.kernel = 5};
  EXPECT_THAT(Plan(kV1, r), ElementsAre(HasSubstr("linux.resources.memory.kernel")));
  r.memory = {.limit = 1000, .swap = 500};
  EXPECT_THAT(Plan(kV2, r), ElementsAre(HasSubstr("is below memory.limit")));
}

TEST(CgroupPlan, CpuAndCpuset) {
  spec::Resources r;
  r.cpu = {.shares = 1024, .quota = 50000, .period = 100000, .cpus = "0-1", .mems = "0"};
  EXPECT_THAT(Plan(kV1, r),
              ElementsAre("/s/cpuset.cpus = 0-1", "/s/cpuset.mems = 0", "/c/cpu.shares = 1024",
                          "/c/cpu.cfs_period_us = 100000", "/c/cpu.cfs_quota_us = 50000"));
  EXPECT_THAT(Plan(kV2, r), ElementsAre("/u/cpuset.cpus = 0-1", "/u/cpuset.mems = 0",
                                        "/u/cpu.weight = 39", "/u/cpu.max = 50000 100000"));
  r.cpu = {.shares = 2, .quota = -1, .idle = 1};
  EXPECT_THAT(Plan(kV1, r), ElementsAre("/c/cpu.idle = 1", "/c/cpu.cfs_quota_us = -1"));
  EXPECT_THAT(Plan(kV2, r), ElementsAre("/u/cpu.idle = 1", "/u/cpu.max = max 100000"));
}

TEST(CgroupPlan, Weights) {
  EXPECT_EQ(WeightOfShares(2), 1u);
  EXPECT_EQ(WeightOfShares(262144), 10000u);
  EXPECT_EQ(IoWeight(10), 1u);
  EXPECT_EQ(IoWeight(1000), 10000u);
}

TEST(CgroupPlan, TheRest) {
  spec::Resources r;
  r.pids_limit = 20;
  r.block_io.read_bps = {{8, 16, 1 << 20}};
  r.block_io.write_iops = {{8, 16, 10}};
  r.hugepages = {{"2MB", 4194304}};
  r.devices = {{.allow = false}, {true, 'c', 1, std::nullopt, "rw"}};
  EXPECT_THAT(Plan(kV1, r),
              ElementsAre("/p/pids.max = 104", "/b/blkio.throttle.read_bps_device = 8:16 1048576",
                          "/b/blkio.throttle.write_iops_device = 8:16 10",
                          "/h/hugetlb.2MB.limit_in_bytes = 4194304",
                          "/h/hugetlb.2MB.rsvd.limit_in_bytes = 4194304", "/d/devices.deny = a",
                          "/d/devices.allow = c 1:* rw"));
  EXPECT_THAT(Plan(kV2, r), ElementsAre("/u/pids.max = 104", "/u/io.max = 8:16 rbps=1048576",
                                        "/u/io.max = 8:16 wiops=10", "/u/hugetlb.2MB.max = 4194304",
                                        "/u/hugetlb.2MB.rsvd.max = 4194304"));
  r = {};
  r.pids_limit = -1;
  EXPECT_THAT(Plan(kV1, r), ElementsAre("/p/pids.max = max"));
}

TEST(CgroupPlan, V2IsLeftOutWhereV1DoesItAll) {
  Placement hybrid = {.directories = {{"", "/u"}, {"memory", "/m"}}};
  spec::Resources r;
  r.hugepages = {{"2MB", 1}};
  LeaveOutIdleV2(hybrid, r);
  EXPECT_NE(hybrid.Find(""), nullptr);
  r = {};
  r.memory.limit = 5;
  LeaveOutIdleV2(hybrid, r);
  EXPECT_EQ(hybrid.Find(""), nullptr);
  Placement unified = kV2;
  LeaveOutIdleV2(unified, std::nullopt);
  EXPECT_NE(unified.Find(""), nullptr);
}

TEST(CgroupPlan, UnifiedAndWhatTheHostLacks) {
  spec::Resources r;
  r.unified = {{"memory.high", "100"}};
  EXPECT_THAT(Plan(kV2, r), ElementsAre("/u/memory.high = 100"));
  EXPECT_THAT(Plan(kV1, r), ElementsAre("linux.resources.unified: the host has no cgroup v2"));
  const Placement hybrid = {.directories = {{"", "/u"}, {"memory", "/m"}}};
  EXPECT_THAT(Plan(hybrid, r), ElementsAre(HasSubstr("memory.high is in the hands of cgroup v1")));
  r = {};
  r.cpu.shares = 5;
  EXPECT_THAT(Plan({}, r), ElementsAre("linux.resources.cpu: the host has no control group cpu"));
}

// A directory that looks like cgroup v2 to what reads and writes it.
class FakeTree : public testing::Test {
 protected:
  FakeTree() {
    char name[] = "/tmp/cgroup_test.XXXXXX";
    root_ = mkdtemp(name);
    Put("cgroup.controllers", "cpu memory\n");
    Put("cgroup.subtree_control", "");
  }
  ~FakeTree() override { (void)system(("rm -rf " + root_).c_str()); }
  void Put(const std::string& name, const std::string& text) {
    std::ofstream(root_ + "/" + name) << text;
  }
  std::string Get(const std::string& name) { return ReadText(root_ + "/" + name).value_or("?"); }
  Manager Make(const std::string& path) {
    const Host host = ParseHost("30 23 0:26 / " + root_ + " rw - cgroup2 c rw\n", "0::/\n");
    return Manager(*Locate(host, path, "id"));
  }
  std::string root_;
};

TEST_F(FakeTree, CreateEnablesControllersOnTheWay) {
  Manager manager = Make("/a/b");
  ASSERT_TRUE(manager.Create(OnRefusal::kFail, 1, {}).ok());
  EXPECT_TRUE(Exists(root_ + "/a/b"));
  EXPECT_EQ(Get("cgroup.subtree_control"), "+memory");  // The last write(2) of a plain file.
  EXPECT_TRUE(manager.Remove().ok());
  EXPECT_FALSE(Exists(root_ + "/a/b"));
  EXPECT_TRUE(manager.Remove().ok());
}

TEST_F(FakeTree, ALeafLeavesRoomForOthersGroups) {
  Placement placement = Make("/a").placement();
  placement.leaf = "@x";
  EXPECT_EQ(Decode(Encode(placement))->leaf, "@x");
  EXPECT_FALSE(Decode(R"({"leaf": "a/b"})").ok());
  Manager manager(placement);
  mkdir((root_ + "/a").c_str(), 0755);
  Put("a/cgroup.controllers", "pids\n");
  Put("a/cgroup.subtree_control", "");
  ASSERT_TRUE(manager.Create(OnRefusal::kFail, 1, {}).ok());
  EXPECT_EQ(Get("a/cgroup.subtree_control"), "+pids");
  Put("a/@x/cgroup.procs", "");
  EXPECT_TRUE(manager.EnterSelf().ok());
  EXPECT_EQ(Get("a/@x/cgroup.procs"), "0");
  EXPECT_EQ(manager.OpenEntries()->size(), 1u);
}

TEST_F(FakeTree, LimitsReachTheirFiles) {
  Manager manager = Make("/a");
  ASSERT_TRUE(manager.Create(OnRefusal::kFail, 1, {}).ok());
  Put("a/pids.max", "max\n");
  spec::Resources r;
  r.pids_limit = 7;
  EXPECT_TRUE(manager.Set(r).ok());
  EXPECT_EQ(Get("a/pids.max"), "78");
  r.memory.limit = 5;
  EXPECT_THAT(std::string(manager.Set(r).message()),
              HasSubstr("linux.resources.memory.limit: " + root_ + "/a/memory.max: "));
}

TEST(Shown, LimitsAsV2HasThem) {
  spec::Resources r;
  r.memory = {.limit = 10'000, .reservation = 5000, .swap = 30'000, .disable_oom_killer = true};
  r.cpu = {.shares = 1024, .quota = 7000, .realtime_runtime = 5, .cpus = "0-1"};
  r.pids_limit = 7;
  r.devices.push_back({.allow = true});
  const ShownLimits shown = LimitsToShow(r);
  EXPECT_THAT(shown, testing::UnorderedElementsAre(
                         Pair("memory.max", "8192\n"), Pair("memory.low", "4096\n"),
                         Pair("memory.swap.max", "16384\n"), Pair("cpu.weight", "39\n"),
                         Pair("cpu.max", "7000 100000\n"), Pair("cpuset.cpus", "0-1\n"),
                         Pair("pids.max", "7\n")));
  EXPECT_EQ(DecodeLimits(EncodeLimits(shown)), shown);
}

TEST(Shown, NoLimits) {
  spec::Resources r;
  EXPECT_TRUE(LimitsToShow(r).empty());
  r.memory.limit = -1;
  r.pids_limit = 0;
  EXPECT_THAT(LimitsToShow(r), testing::UnorderedElementsAre(Pair("memory.max", "max\n"),
                                                             Pair("memory.swap.max", "max\n"),
                                                             Pair("pids.max", "max\n")));
  EXPECT_TRUE(DecodeLimits("nonsense\n\n").empty());
}

TEST_F(FakeTree, ProcessesOfTheWholeTree) {
  Manager manager = Make("/a");
  ASSERT_TRUE(manager.Create(OnRefusal::kFail, 1, {}).ok());
  mkdir((root_ + "/a/child").c_str(), 0755);
  Put("a/cgroup.procs", "7\n3\n");
  Put("a/child/cgroup.procs", "5\nrubbish\n-1\n");
  EXPECT_THAT(manager.Processes(), ElementsAre(3, 5, 7));
}

TEST_F(FakeTree, OomKillsOfV2) {
  Manager manager = Make("/a");
  ASSERT_TRUE(manager.Create(OnRefusal::kFail, 1, {}).ok());
  Put("a/memory.events", "low 0\noom 3\noom_kill 2\n");
  EXPECT_EQ(manager.OomKills(), 2u);
  EXPECT_TRUE(manager.WatchOom().ok());
}

}  // namespace
}  // namespace runsc::cgroup
