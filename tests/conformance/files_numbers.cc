// Which number a new descriptor gets: the lowest that is free (POSIX, File Descriptor Allocation).
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <random>
#include <set>

#include "tests/conformance/support.h"

namespace {

// In a child, so that no numbers but its own matter: 0 to 9 are taken, the rest is free.
template <typename Body>
int WithTenDescriptors(Body body) {
  return InChild([&] {
    UniqueFd null(open("/dev/null", O_RDWR));
    for (int fd = 0; fd < 10; fd++) {
      if (fd != null.get()) CHILD_CHECK(dup2(null.get(), fd) == fd);
    }
    CHILD_CHECK(null.get() < 10 && syscall(SYS_close_range, 10, ~0u, 0) == 0);
    body();
    return 0;
  });
}

TEST(DescriptorNumbers, FillTheGaps) {
  EXPECT_THAT(WithTenDescriptors([] {
                CHILD_CHECK(dup(0) == 10);
                CHILD_CHECK(dup(0) == 11);
                CHILD_CHECK(close(3) == 0 && close(7) == 0);
                CHILD_CHECK(dup(0) == 3);
                CHILD_CHECK(dup(0) == 7);
                CHILD_CHECK(dup(0) == 12);
              }),
              Exited(0));
}

TEST(DescriptorNumbers, Dup2LeavesTheOthers) {
  EXPECT_THAT(WithTenDescriptors([] {
                CHILD_CHECK(dup2(0, 10) == 10);
                CHILD_CHECK(dup2(0, 12) == 12);
                CHILD_CHECK(dup(0) == 11);
                CHILD_CHECK(dup(0) == 13);
                CHILD_CHECK(close(12) == 0 && dup(0) == 12);
              }),
              Exited(0));
}

TEST(DescriptorNumbers, FromANumberOn) {
  EXPECT_THAT(WithTenDescriptors([] {
                CHILD_CHECK(fcntl(0, F_DUPFD, 20) == 20);
                CHILD_CHECK(fcntl(0, F_DUPFD, 20) == 21);
                CHILD_CHECK(dup(0) == 10);
                CHILD_CHECK(close(5) == 0 && fcntl(0, F_DUPFD, 6) == 11);
                CHILD_CHECK(fcntl(0, F_DUPFD, 2) == 5);
                CHILD_CHECK(dup(0) == 12);
              }),
              Exited(0));
}

TEST(CloseRange, Flags) {
  constexpr unsigned kUnshare = 2, kCloseOnExec = 4;
  EXPECT_THAT(syscall(SYS_close_range, 100, 101, 1), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_close_range, 100, 101, 8), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_close_range, 101, 100, 0), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_close_range, 100'000, ~0u, 0), Returns(0)) << "nothing there";
  EXPECT_THAT(InChild([] {
                const UniqueFd a(open("/dev/null", O_RDONLY)), b(dup(a.get()));
                const auto last = static_cast<unsigned>(b.get());
                CHILD_CHECK(syscall(SYS_close_range, last, last, kCloseOnExec) == 0);
                CHILD_CHECK(fcntl(a.get(), F_GETFD) == 0);
                CHILD_CHECK(fcntl(b.get(), F_GETFD) == FD_CLOEXEC);
                CHILD_CHECK(syscall(SYS_close_range, 0, ~0u, kCloseOnExec) == 0);
                CHILD_CHECK(fcntl(a.get(), F_GETFD) == FD_CLOEXEC);
                return 0;
              }),
              Exited(0));
  // A thread that takes a table of its own closes nothing of the others'.
  EXPECT_THAT(InChild([] {
                const UniqueFd a(open("/dev/null", O_RDONLY));
                const auto number = static_cast<unsigned>(a.get());
                bool gone = false, marked = false;
                Thread([&] {
                  gone = syscall(SYS_close_range, number, ~0u, kUnshare) == 0 &&
                         fcntl(a.get(), F_GETFD) == -1 && errno == EBADF;
                }).Join();
                CHILD_CHECK(gone && fcntl(a.get(), F_GETFD) == 0);
                Thread([&] {
                  marked = syscall(SYS_close_range, number, number, kUnshare | kCloseOnExec) == 0 &&
                           fcntl(a.get(), F_GETFD) == FD_CLOEXEC;
                }).Join();
                CHILD_CHECK(marked && fcntl(a.get(), F_GETFD) == 0);
                return 0;
              }),
              Exited(0));
}

TEST(DescriptorNumbers, AfterCloseRange) {
  EXPECT_THAT(WithTenDescriptors([] {
                CHILD_CHECK(syscall(SYS_close_range, 4, 6, 0) == 0);
                for (const int expected : {4, 5, 6, 10}) CHILD_CHECK(dup(0) == expected);
              }),
              Exited(0));
}

TEST(DescriptorNumbers, InACopyOfTheTable) {
  EXPECT_THAT(WithTenDescriptors([] {
                CHILD_CHECK(dup(0) == 10);
                CHILD_CHECK(close(4) == 0);
                CHILD_CHECK(InChild([] { return dup(0) == 4 && dup(0) == 11 ? 0 : 1; }) == 0);
                CHILD_CHECK(dup(0) == 4);
              }),
              Exited(0));
}

TEST(DescriptorNumbers, TwoAtOnce) {
  EXPECT_THAT(WithTenDescriptors([] {
                CHILD_CHECK(close(2) == 0 && close(8) == 0);
                int pair[2];
                CHILD_CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
                CHILD_CHECK(pair[0] == 2 && pair[1] == 8);
                CHILD_CHECK(pipe(pair) == 0 && pair[0] == 10 && pair[1] == 11);
              }),
              Exited(0));
}

TEST(DescriptorNumbers, TheLimitIsAboveTheGaps) {
  EXPECT_THAT(WithTenDescriptors([] {
                rlimit few{.rlim_cur = 10, .rlim_max = 10};
                CHILD_CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
                CHILD_CHECK(dup(0) == -1 && errno == EMFILE);
                CHILD_CHECK(close(9) == 0 && dup(0) == 9);
                CHILD_CHECK(dup(0) == -1 && errno == EMFILE);
                CHILD_CHECK(close(1) == 0 && dup(0) == 1);
              }),
              Exited(0));
}

TEST(DescriptorNumbers, InAnyOrder) {
  EXPECT_THAT(WithTenDescriptors([] {
                std::minstd_rand random(7);
                std::set<int> open = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
                for (int i = 0; i < 2000; i++) {
                  if (random() % 2 == 0 && open.size() > 1) {
                    auto it = std::next(open.begin(), 1 + random() % (open.size() - 1));
                    CHILD_CHECK(close(*it) == 0);
                    open.erase(it);
                  } else {
                    int lowest = 0;
                    while (open.contains(lowest)) lowest++;
                    CHILD_CHECK(dup(0) == lowest);
                    open.insert(lowest);
                  }
                }
              }),
              Exited(0));
}

}  // namespace
