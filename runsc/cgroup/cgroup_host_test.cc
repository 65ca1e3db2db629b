// The control groups of this machine, where it lets us make any.
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runsc/cgroup/files.h"
#include "runsc/cgroup/host.h"
#include "runsc/cgroup/manager.h"
#include "runsc/cgroup/stats.h"

namespace runsc::cgroup {
namespace {

class RealGroup : public testing::Test {
 protected:
  void SetUp() override {
    host_ = *DetectHost();
    if (geteuid() != 0 || host_.mode == Mode::kNone) GTEST_SKIP() << "no control groups to make";
    const std::string path = "/sandbox_cgroup_test." + std::to_string(getpid()) + "/x";
    manager_ = Manager(*Locate(host_, path, "id"));
    const absl::Status status = manager_.Create(OnRefusal::kFail, 0, {});
    if (!status.ok()) GTEST_SKIP() << status;
  }
  void TearDown() override {
    (void)manager_.Kill();
    for (const pid_t pid : children_) waitpid(pid, nullptr, 0);
    EXPECT_TRUE(manager_.Remove().ok());
    for (const auto& [controller, directory] : manager_.placement().directories) {
      EXPECT_FALSE(Exists(directory));
      rmdir(directory.substr(0, directory.rfind('/')).c_str());
    }
  }
  // Runs `body` in a child that is in the group already.
  template <typename Body>
  pid_t Start(Body body) {
    int ready[2];
    EXPECT_EQ(pipe(ready), 0);
    const pid_t pid = fork();
    if (pid == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      const char entered = manager_.EnterSelf().ok() ? 'y' : 'n';
      if (write(ready[1], &entered, 1) == 1) body();
      _exit(0);
    }
    children_.push_back(pid);
    char entered = 0;
    EXPECT_EQ(read(ready[0], &entered, 1), 1);
    EXPECT_EQ(entered, 'y');
    close(ready[0]);
    close(ready[1]);
    return pid;
  }
  std::string File(const char* v1_controller, const std::string& v1, const std::string& v2) {
    const std::string* directory = manager_.placement().Find(v1_controller);
    if (directory != nullptr) return ReadText(*directory + "/" + v1).value_or("?");
    return ReadText(*manager_.placement().Find("") + "/" + v2).value_or("?");
  }

  Host host_;
  Manager manager_{Placement{}};
  std::vector<pid_t> children_;
};

TEST_F(RealGroup, EnterListAndKill) {
  const pid_t pid = Start([] { pause(); });
  EXPECT_THAT(manager_.Processes(), testing::ElementsAre(pid));
  EXPECT_TRUE(manager_.Kill().ok());
  int status = 0;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  children_.clear();
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

TEST_F(RealGroup, EnterOneself) {
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t pid = fork();
  if (pid == 0) {
    const char byte = manager_.EnterSelf().ok() ? 'y' : 'n';
    if (write(ready[1], &byte, 1) == 1) pause();
    _exit(1);
  }
  children_.push_back(pid);
  char answer = 0;
  EXPECT_EQ(read(ready[0], &answer, 1), 1);
  EXPECT_EQ(answer, 'y');
  close(ready[0]);
  close(ready[1]);
  const absl::StatusOr<std::string> own = ReadText("/proc/" + std::to_string(pid) + "/cgroup");
  for (const auto& [controller, directory] : manager_.placement().directories) {
    EXPECT_THAT(ReadPids(directory + "/cgroup.procs"), testing::ElementsAre(pid)) << *own;
  }
}

TEST_F(RealGroup, KillWithoutV2) {
  Placement v1 = manager_.placement();
  LeaveOutIdleV2(v1, std::nullopt);
  EXPECT_EQ(v1.Find("") == nullptr, host_.mode != Mode::kUnified);
  const pid_t pid = Start([] { pause(); });
  // Reaped beside it, as by the parent of a container.
  const pid_t killer = fork();
  if (killer == 0) _exit(Manager(v1).Kill().ok() ? 0 : 1);
  EXPECT_EQ(waitpid(pid, nullptr, 0), pid);
  children_.clear();
  int status = 1;
  EXPECT_EQ(waitpid(killer, &status, 0), killer);
  EXPECT_EQ(status, 0);
}

TEST_F(RealGroup, LimitsAreTheKernels) {
  spec::Resources r;
  r.memory.limit = 64 << 20;
  r.pids_limit = 20;
  r.cpu.quota = 50000;
  r.cpu.period = 100000;
  absl::Status status = manager_.Set(r);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(File("memory", "memory.limit_in_bytes", "memory.max"), "67108864");
  EXPECT_EQ(File("pids", "pids.max", "pids.max"), "104");
  EXPECT_THAT(File("cpu", "cpu.cfs_quota_us", "cpu.max"), testing::StartsWith("50000"));
  // Up and down again, the sum with swap as well.
  for (const int64_t limit : {int64_t{256} << 20, int64_t{32} << 20, int64_t{-1}}) {
    r.memory.limit = limit;
    r.memory.swap = limit;
    status = manager_.Set(r);
    ASSERT_TRUE(status.ok()) << status;
  }
}

TEST_F(RealGroup, OomIsTold) {
  spec::Resources r;
  r.memory.limit = 16 << 20;
  ASSERT_TRUE(manager_.Set(r).ok());
  r.memory = {.swap = 16 << 20};
  (void)manager_.Set(r);  // Only where swap is counted.
  absl::StatusOr<UniqueFd> watch = manager_.WatchOom();
  ASSERT_TRUE(watch.ok()) << watch.status();
  EXPECT_EQ(manager_.OomKills(), 0u);
  const pid_t pid = Start([] {
    char* memory = static_cast<char*>(
        mmap(nullptr, 64 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    for (size_t i = 0; i < 64 << 20; i += 4096) memory[i] = 1;
  });
  pollfd wait = {watch->get(), POLLIN, 0};
  EXPECT_EQ(poll(&wait, 1, 30000), 1);
  EXPECT_EQ(waitpid(pid, nullptr, 0), pid);
  children_.clear();
  EXPECT_GE(manager_.OomKills(), 1u);
}

TEST_F(RealGroup, LeftoversBelowAreRemoved) {
  for (const auto& [controller, directory] : manager_.placement().directories) {
    ASSERT_EQ(mkdir((directory + "/left").c_str(), 0755), 0);
    ASSERT_EQ(mkdir((directory + "/left/over").c_str(), 0755), 0);
  }
  EXPECT_TRUE(manager_.Remove().ok());
  for (const auto& [controller, directory] : manager_.placement().directories) {
    EXPECT_FALSE(Exists(directory));
  }
}

TEST_F(RealGroup, StatsAreJsonInRuncsWords) {
  Start([] { pause(); });
  const nlohmann::json event =
      nlohmann::json::parse(StatsEvent(manager_.placement(), "id"), nullptr, false);
  ASSERT_TRUE(event.is_object());
  EXPECT_EQ(event["type"], "stats");
  EXPECT_EQ(event["id"], "id");
  EXPECT_EQ(event["data"]["pids"]["current"], 1);
  EXPECT_TRUE(event["data"]["memory"]["usage"]["limit"].is_number_unsigned());
  EXPECT_TRUE(event["data"]["cpu"]["usage"]["total"].is_number_unsigned());
}

}  // namespace
}  // namespace runsc::cgroup
