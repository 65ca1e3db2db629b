#include "runsc/hooks/hooks.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "base/unique_fd.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace runsc {
namespace {

using testing::HasSubstr;

class Hooks : public testing::Test {
 protected:
  Hooks() {
    char name[] = "/tmp/hooks_test.XXXXXX";
    folder_ = mkdtemp(name);
  }
  ~Hooks() override { (void)system(("rm -rf " + folder_).c_str()); }
  // A hook that is a shell script.
  spec::Hook Script(const std::string& text) {
    const std::string path = folder_ + "/hook" + std::to_string(count_++);
    std::ofstream(path) << "#!/bin/sh\n" << text << "\n";
    chmod(path.c_str(), 0755);
    return {.path = path};
  }
  std::string Content(const std::string& name) {
    std::stringstream text;
    text << std::ifstream(folder_ + "/" + name).rdbuf();
    return text.str();
  }
  std::string Message(const std::vector<spec::Hook>& hooks) {
    return std::string(RunHooks("prestart", hooks, state_).message());
  }

  std::string folder_;
  int count_ = 0;
  HookState state_ = {"1.2.0", "c1", "created", 77, "/b", {{"k", "v"}}};
};

TEST_F(Hooks, TheStateIsStandardInput) {
  ASSERT_TRUE(RunHooks("x", {Script("cat >" + folder_ + "/seen")}, state_).ok());
  EXPECT_EQ(
      Content("seen"),
      R"({"annotations":{"k":"v"},"bundle":"/b","id":"c1","ociVersion":"1.2.0","pid":77,"status":"created"})");
}

TEST_F(Hooks, ArgumentsAndEnvironmentAreItsOwn) {
  setenv("OF_THE_RUNTIME", "1", 1);
  spec::Hook hook = Script("echo \"$1 $A ${OF_THE_RUNTIME-none}\" >" + folder_ + "/seen");
  hook.args = {"name", "one"};
  hook.env = {"A=two"};
  ASSERT_TRUE(RunHooks("x", {hook}, state_).ok());
  EXPECT_EQ(Content("seen"), "one two none\n");
}

TEST_F(Hooks, NothingOfTheRuntimeIsInherited) {
  ASSERT_TRUE(
      RunHooks("x", {Script("ls /proc/self/fd | wc -l >" + folder_ + "/seen")}, state_).ok());
  EXPECT_EQ(Content("seen"), "4\n");  // 0, 1, 2 and that of ls.
}

TEST_F(Hooks, TheFirstFailureEndsItAndSaysWhy) {
  EXPECT_EQ(Message({Script("exit 0"), Script("echo no; echo luck >&2; exit 3"),
                     Script("touch " + folder_ + "/ran")}),
            "prestart hook #1 " + folder_ + "/hook1: exit status 3: no; luck");
  EXPECT_NE(access((folder_ + "/ran").c_str(), F_OK), 0);
  EXPECT_THAT(Message({Script("kill -9 $$")}), HasSubstr("signal 9"));
  EXPECT_THAT(Message({{.path = "/nonexistent"}}),
              HasSubstr("/nonexistent: cannot be run: No such file or directory"));
}

TEST_F(Hooks, ATimeoutKillsWhatTheHookStarted) {
  spec::Hook hook = Script("sleep 1000 & echo $! >" + folder_ + "/pid; wait");
  hook.timeout = 1;
  EXPECT_THAT(Message({hook}), HasSubstr("not done within 1 s"));
  const pid_t left = atoi(Content("pid").c_str());
  ASSERT_GT(left, 0);
  // Dead, or about to be; burying it is init's or a subreaper's.
  const UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, left, 0)));
  pollfd end = {pidfd.get(), POLLIN, 0};
  EXPECT_TRUE(!pidfd.valid() || poll(&end, 1, 20000) == 1);
}

TEST_F(Hooks, WhatAHookLeavesBehindIsNotWaitedFor) {
  ASSERT_TRUE(RunHooks("x", {Script("sleep 1000 & echo $! >" + folder_ + "/pid")}, state_).ok());
  kill(atoi(Content("pid").c_str()), SIGKILL);
}

TEST_F(Hooks, MuchOutputIsCutShort) {
  const std::string message = Message({Script("head -c 1000000 /dev/zero | tr '\\0' x; exit 1")});
  EXPECT_LT(message.size(), 5000u);
}

}  // namespace
}  // namespace runsc
