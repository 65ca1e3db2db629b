#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runsc/commands/default_spec.h"
#include "runsc/commands/docker_config.h"
#include "runsc/commands/events.h"
#include "runsc/commands/features.h"
#include "runsc/commands/options.h"
#include "runsc/commands/ps.h"
#include "runsc/commands/update.h"
#include "runsc/spec/parse.h"
#include "runsc/spec/unsupported.h"

namespace runsc {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class Args {
 public:
  Args(std::initializer_list<const char*> words) {
    for (const char* word : words) pointers_.push_back(const_cast<char*>(word));
  }
  operator std::span<char* const>() const { return pointers_; }

 private:
  std::vector<char*> pointers_;
};

class Commands : public testing::Test {
 protected:
  Commands() {
    char name[] = "/tmp/commands_test.XXXXXX";
    folder_ = mkdtemp(name);
  }
  ~Commands() override { (void)system(("rm -rf " + folder_).c_str()); }
  std::string Content(const std::string& name) {
    std::stringstream text;
    text << std::ifstream(folder_ + "/" + name).rdbuf();
    return text.str();
  }
  std::string folder_;
};

TEST_F(Commands, OptionsOfEveryForm) {
  constexpr OptionName kNames[] = {{"bundle", "b", true}, {"all", "a", false}};
  const Options options =
      *ParseOptions("x", kNames, Args({"-b", "1", "id", "--all", "--bundle=2", "--", "-b"}));
  EXPECT_EQ(options.Get("bundle"), "2");
  EXPECT_TRUE(options.Has("all"));
  EXPECT_THAT(options.others, ElementsAre("id", "-b"));
  EXPECT_FALSE(ParseOptions("x", kNames, Args({"--all=false"}))->Has("all"));
  EXPECT_EQ(ParseOptions("x", kNames, Args({"--bundle"})).status().message(),
            "x: --bundle wants a value");
  EXPECT_EQ(ParseOptions("x", kNames, Args({"-z"})).status().message(), "x: unknown flag -z");
}

TEST_F(Commands, TheDefaultSpecIsOneThatWeRun) {
  for (const std::string& text : {DefaultSpec(), DefaultSpecRootless(1000, 100)}) {
    const absl::StatusOr<spec::Spec> spec = spec::Parse(text);
    ASSERT_TRUE(spec.ok()) << spec.status();
    EXPECT_TRUE(spec::CheckSupported(*spec).ok()) << spec::CheckSupported(*spec);
    EXPECT_EQ(spec->process->args, std::vector<std::string>{"sh"});
    EXPECT_EQ(spec->mounts.size(), 7u);
  }
  const spec::Spec rootless = *spec::Parse(DefaultSpecRootless(1000, 100));
  EXPECT_EQ(rootless.linux_.uid_mappings.at(0).host_id, 1000u);
  EXPECT_EQ(rootless.linux_.gid_mappings.at(0).host_id, 100u);
  EXPECT_EQ(rootless.linux_.Find(spec::NamespaceType::kNetwork), nullptr);
  EXPECT_THAT(DefaultSpecRootless(1, 1), testing::Not(HasSubstr("gid=5")));
}

TEST_F(Commands, SpecNeverOverwrites) {
  EXPECT_TRUE(SpecCommand(Args({"--bundle", folder_.c_str()})).ok());
  EXPECT_EQ(Content("config.json"), DefaultSpec());
  EXPECT_EQ(SpecCommand(Args({"-b", folder_.c_str(), "--rootless"})).message(),
            "File config.json exists. Remove it first");
  EXPECT_EQ(Content("config.json"), DefaultSpec());
}

TEST_F(Commands, FeaturesNameWhatIsSupportedOnly) {
  const nlohmann::json features = nlohmann::json::parse(FeaturesText("1", "c"), nullptr, false);
  ASSERT_TRUE(features.is_object());
  EXPECT_EQ(features["ociVersionMin"], "1.0.0");
  EXPECT_EQ(features["hooks"].size(), 6u);
  EXPECT_EQ(features["linux"]["capabilities"].size(), 41u);
  EXPECT_EQ(features["linux"]["mountExtensions"]["idmap"]["enabled"], false);
  for (const auto& action : features["linux"]["seccomp"]["actions"]) {
    EXPECT_NE(action, "SCMP_ACT_NOTIFY");
  }
}

TEST_F(Commands, UpdateFromFlags) {
  const UpdateRequest request = *ParseUpdate(
      Args({"--memory", "64m", "--memory-swap=-1", "--cpu-quota", "50000", "--cpu-share=512",
            "--cpuset-cpus", "0-1", "--pids-limit", "20", "--blkio-weight=100", "id"}));
  EXPECT_EQ(request.id, "id");
  EXPECT_EQ(request.resources.memory.limit, 64 << 20);
  EXPECT_EQ(request.resources.memory.swap, -1);
  EXPECT_EQ(request.resources.cpu.quota, 50000);
  EXPECT_EQ(request.resources.cpu.shares, 512u);
  EXPECT_EQ(request.resources.cpu.cpus, "0-1");
  EXPECT_EQ(request.resources.pids_limit, 20);
  EXPECT_EQ(request.resources.block_io.weight, 100);
  EXPECT_EQ(ParseUpdate(Args({"--memory", "lots", "id"})).status().message(),
            "update: --memory: lots is no size");
  EXPECT_FALSE(ParseUpdate(Args({"--memory", "9999999t", "id"})).ok());
  EXPECT_FALSE(ParseUpdate(Args({"--l3-cache-schema", "x", "id"})).ok());
  EXPECT_FALSE(ParseUpdate(Args({"--memory", "1"})).ok());
}

TEST_F(Commands, UpdateFromAFile) {
  std::ofstream(folder_ + "/r.json") << R"({"pids": {"limit": 7}})";
  const std::string flag = "--resources=" + folder_ + "/r.json";
  const UpdateRequest request = *ParseUpdate(Args({flag.c_str(), "--memory=1", "id"}));
  EXPECT_EQ(request.resources.pids_limit, 7);
  EXPECT_FALSE(request.resources.memory.limit);
  EXPECT_FALSE(ParseUpdate(Args({"--resources=/nonexistent", "id"})).ok());
}

TEST_F(Commands, EventsAndPsArguments) {
  EXPECT_TRUE(ParseEvents(Args({"--stats", "id"}))->once);
  EXPECT_EQ(ParseEvents(Args({"--interval=200ms", "id"}))->interval, absl::Milliseconds(200));
  EXPECT_FALSE(ParseEvents(Args({"--interval=0", "id"})).ok());
  EXPECT_TRUE(ParsePs(Args({"--format", "json", "id"}))->json);
  EXPECT_THAT(ParsePs(Args({"--format=table", "id", "-o", "pid"}))->ps_args,
              ElementsAre("-o", "pid"));
  EXPECT_FALSE(ParsePs(Args({"--format=xml", "id"})).ok());
  EXPECT_FALSE(ParsePs(Args({"--format"})).ok());
}

TEST_F(Commands, PsAsJsonAndAsTable) {
  EXPECT_EQ(*PsText({.id = "x", .json = true}, {3, 1}), "[3,1]\n");
  EXPECT_EQ(*PsText({.id = "x", .json = true}, {}), "[]\n");
  const absl::StatusOr<std::string> table =
      PsText({.id = "x", .ps_args = {"-e", "-o", "pid,comm"}}, {getpid()});
  ASSERT_TRUE(table.ok()) << table.status();
  EXPECT_THAT(*table, HasSubstr(std::to_string(getpid())));
  EXPECT_EQ(std::count(table->begin(), table->end(), '\n'), 2);
}

TEST_F(Commands, DaemonJsonKeepsTheRest) {
  const std::string old = R"({"zeta": 1, "runtimes": {"kata": {"path": "/k"}}, "alpha": [true]})";
  const std::string with = *WithRuntime(old, "sandbox", "/usr/bin/sandbox", {"--platform=ptrace"});
  EXPECT_LT(with.find("zeta"), with.find("alpha"));
  const nlohmann::json config = nlohmann::json::parse(with, nullptr, false);
  EXPECT_EQ(config["runtimes"]["kata"]["path"], "/k");
  EXPECT_EQ(config["runtimes"]["sandbox"]["path"], "/usr/bin/sandbox");
  EXPECT_EQ(config["runtimes"]["sandbox"]["runtimeArgs"][0], "--platform=ptrace");
  EXPECT_EQ(nlohmann::json::parse(*WithoutRuntime(with, "sandbox"), nullptr, false),
            nlohmann::json::parse(old, nullptr, false));
  EXPECT_EQ(*WithoutRuntime(old, "sandbox"), old);
  EXPECT_EQ(*WithoutRuntime(*WithRuntime("", "s", "/s", {}), "s"), "{}\n");
  EXPECT_FALSE(WithRuntime("{", "s", "/s", {}).ok());
  EXPECT_FALSE(WithRuntime(R"({"runtimes": 7})", "s", "/s", {}).ok());
}

TEST_F(Commands, InstallAndUninstall) {
  const std::string flag = "--config_file=" + folder_ + "/docker/daemon.json";
  ASSERT_TRUE(InstallCommand(Args({flag.c_str(), "--", "--strace"})).ok());
  EXPECT_THAT(Content("docker/daemon.json"), HasSubstr("--strace"));
  EXPECT_TRUE(InstallCommand(Args({flag.c_str(), "--", "--strace"})).ok());
  EXPECT_THAT(std::string(InstallCommand(Args({flag.c_str()})).message()), HasSubstr("--clobber"));
  EXPECT_TRUE(InstallCommand(Args({flag.c_str(), "--clobber"})).ok());
  EXPECT_THAT(Content("docker/daemon.json"), testing::Not(HasSubstr("--strace")));
  chmod((folder_ + "/docker/daemon.json").c_str(), 0600);
  EXPECT_TRUE(UninstallCommand(Args({flag.c_str()})).ok());
  EXPECT_EQ(Content("docker/daemon.json"), "{}\n");
  struct stat st;
  ASSERT_EQ(stat((folder_ + "/docker/daemon.json").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600u);
  EXPECT_FALSE(InstallCommand(Args({"--runtime=runc", flag.c_str()})).ok());
}

}  // namespace
}  // namespace runsc
