#include "runsc/control.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <vector>

namespace runsc {
namespace {

struct Pair {
  Pair() {
    int fds[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
    front.reset(fds[0]);
    sentry.reset(fds[1]);
  }
  UniqueFd front, sentry;
};

std::vector<Report::Kind> Receive(Pair& pair, bool& there) {
  std::vector<Report::Kind> kinds;
  there = ReceiveReports(pair.front, [&](const Report& report) { kinds.push_back(report.kind); });
  return kinds;
}

TEST(ReceiveReports, TakesAllThatAreThere) {
  Pair pair;
  bool there = false;
  EXPECT_TRUE(Receive(pair, there).empty());
  EXPECT_TRUE(there);
  ASSERT_TRUE(SendReport(pair.sentry.get(), Report::Kind::kRunning, 0).ok());
  ASSERT_TRUE(SendReport(pair.sentry.get(), Report::Kind::kExited, 0).ok());
  const std::vector<Report::Kind> both = {Report::Kind::kRunning, Report::Kind::kExited};
  EXPECT_EQ(Receive(pair, there), both);
  EXPECT_TRUE(there);
}

TEST(ReceiveReports, TheLastOneOfASenderThatLeftACommandUnread) {
  Pair pair;
  ASSERT_TRUE(
      SendCommand(pair.front.get(), {.kind = Command::Kind::kSignalForeground, .signal = 28}).ok());
  ASSERT_TRUE(SendReport(pair.sentry.get(), Report::Kind::kExited, 0).ok());
  pair.sentry.reset();
  bool there = true;
  EXPECT_EQ(Receive(pair, there), std::vector<Report::Kind>{Report::Kind::kExited});
  EXPECT_FALSE(there);
  EXPECT_FALSE(pair.front.valid());
}

}  // namespace
}  // namespace runsc
