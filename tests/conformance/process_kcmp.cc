// kcmp(2): what tasks share.
#include <linux/kcmp.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <set>
#include <thread>
#include <vector>

#include "tests/conformance/proc_support.h"

namespace {

long Compare(pid_t one, pid_t other, int type, unsigned long a = 0, unsigned long b = 0) {
  return syscall(SYS_kcmp, one, other, type, a, b);
}

constexpr int kWhole[] = {KCMP_VM, KCMP_FILES, KCMP_FS, KCMP_SIGHAND};

TEST(Kcmp, ATaskSharesEverythingWithItself) {
  for (const int type : kWhole) EXPECT_THAT(Compare(getpid(), getpid(), type), Returns(0)) << type;
  EXPECT_THAT(Compare(getpid(), getpid(), KCMP_IO), Returns(0));
}

TEST(Kcmp, Threads) {
  pid_t tid = 0;
  std::thread([&] {
    tid = gettid();
    for (const int type : kWhole) EXPECT_THAT(Compare(getpid(), tid, type), Returns(0)) << type;
  }).join();
}

TEST(Kcmp, AForkedChildSharesNothing) {
  Sleeper child;
  for (const int type : kWhole) {
    const long forth = Compare(getpid(), child.pid(), type);
    const long back = Compare(child.pid(), getpid(), type);
    EXPECT_TRUE((forth == 1 && back == 2) || (forth == 2 && back == 1)) << type;
  }
}

TEST(Kcmp, OpenFileDescriptions) {
  const UniqueFd one(eventfd(0, 0)), other(eventfd(0, 0)), copy(dup(one.get()));
  const pid_t pid = getpid();
  EXPECT_THAT(Compare(pid, pid, KCMP_FILE, one.get(), one.get()), Returns(0));
  EXPECT_THAT(Compare(pid, pid, KCMP_FILE, one.get(), copy.get()), Returns(0));
  const long forth = Compare(pid, pid, KCMP_FILE, one.get(), other.get());
  EXPECT_TRUE(forth == 1 || forth == 2);
  EXPECT_EQ(Compare(pid, pid, KCMP_FILE, other.get(), one.get()), 3 - forth);
  Sleeper child;
  EXPECT_THAT(Compare(pid, child.pid(), KCMP_FILE, one.get(), copy.get()), Returns(0));
  EXPECT_THAT(Compare(pid, pid, KCMP_FILE, one.get(), 999), FailsWith(EBADF));
  EXPECT_THAT(Compare(pid, pid, KCMP_FILE, ~0ul, one.get()), FailsWith(EBADF));
}

// It is a total order: a checkpoint sorts what thousands of tasks have.
TEST(Kcmp, OrdersThem) {
  std::vector<UniqueFd> files;
  for (int i = 0; i < 6; ++i) files.emplace_back(eventfd(0, 0));
  const auto less = [&](const UniqueFd& a, const UniqueFd& b) {
    return Compare(getpid(), getpid(), KCMP_FILE, a.get(), b.get()) == 1;
  };
  std::set<int> ranks;
  for (const UniqueFd& file : files) {
    int below = 0;
    for (const UniqueFd& other : files) below += less(other, file) ? 1 : 0;
    ranks.insert(below);
  }
  EXPECT_EQ(ranks.size(), files.size());
}

TEST(Kcmp, Errors) {
  const pid_t pid = getpid();
  EXPECT_THAT(Compare(pid, 1 << 29, KCMP_VM), FailsWith(ESRCH));
  EXPECT_THAT(Compare(1 << 29, pid, KCMP_VM), FailsWith(ESRCH));
  EXPECT_THAT(Compare(pid, pid, 99), FailsWith(EINVAL));
  EXPECT_THAT(Compare(pid, pid, -1), FailsWith(EINVAL));
  EXPECT_EQ(AsNobody([pid] {
              CHILD_CHECK(Compare(pid, pid, KCMP_VM) == -1 && errno == EPERM);
              CHILD_CHECK(Compare(getpid(), pid, KCMP_VM) == -1 && errno == EPERM);
              return 0;
            }),
            0);
}

}  // namespace
