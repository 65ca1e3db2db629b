// Errors of path calls that are made again and again. A kernel may know them in advance, and then
// has to forget them in time: behind each change the very next call tells the truth.
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include <atomic>
#include <cstddef>
#include <functional>
#include <thread>

#include "tests/conformance/edge.h"
#include "tests/conformance/support.h"

namespace {

constexpr int kOften = 300;  // Enough for any short cut to be taken.

// The errno of each kind of call; 0 if it succeeds.
int StatError(const std::string& path) {
  struct stat st;
  return stat(path.c_str(), &st) == 0 ? 0 : errno;
}
int LinkError(const std::string& path) {
  char text[64];
  return readlink(path.c_str(), text, sizeof text) >= 0 ? 0 : errno;
}
int OpenError(const std::string& path) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  return fd.valid() ? 0 : errno;
}
int AccessError(const std::string& path) {
  return faccessat(AT_FDCWD, path.c_str(), F_OK, 0) == 0 ? 0 : errno;
}

// In a child, which has learnt what its parent has, and more.
template <typename Body>
void Apart(Body body) {
  EXPECT_THAT(InChild([&] {
                body();
                return testing::Test::HasFailure() ? 1 : 0;
              }),
              Exited(0));
}

// In a program of its own, begun behind `prepare`: what is said of one is said of all that it
// forks, and some tests end that. With the variable set the test shows what it finds.
template <typename Prepare, typename Body>
void InFreshProgram(Prepare prepare, Body body) {
  constexpr const char* kFresh = "HOT_ERRORS_FRESH";
  if (getenv(kFresh) != nullptr) return body();
  const auto* test = testing::UnitTest::GetInstance()->current_test_info();
  const std::string filter =
      std::string("--gtest_filter=") + test->test_suite_name() + "." + test->name();
  EXPECT_THAT(InChild([&] {
                const UniqueFd nowhere(open("/dev/null", O_WRONLY | O_CLOEXEC));
                if (dup2(nowhere.get(), STDOUT_FILENO) < 0 || !prepare()) return 126;
                setenv(kFresh, "1", 1);
                execl("/proc/self/exe", "hot_errors", filter.c_str(), nullptr);
                return 127;
              }),
              Exited(0));
}

class HotErrors : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/hot_errors.XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    ASSERT_EQ(chmod(name, 0755), 0);
    top_ = name;
    ASSERT_EQ(mkdir((top_ + "/d").c_str(), 0755), 0);
    WriteFile(top_ + "/file", "x");
  }
  void TearDown() override {
    const std::string remove = "rm -rf " + top_;
    EXPECT_EQ(system(remove.c_str()), 0);
  }
  // Each error as often as it takes to be known.
  static void Learn(const std::string& path, int stat_error, int link_error) {
    for (int i = 0; i < kOften; ++i) {
      ASSERT_EQ(StatError(path), stat_error) << path;
      ASSERT_EQ(AccessError(path), stat_error) << path;
      ASSERT_EQ(OpenError(path), stat_error) << path;
      ASSERT_EQ(LinkError(path), link_error) << path;
    }
  }
  static void LearnMissing(const std::string& path) { Learn(path, ENOENT, ENOENT); }

  std::string top_;
};

TEST_F(HotErrors, WhatIsMadeIsThere) {
  struct {
    const char* what;
    std::function<int(const char*)> make;
    int link_error;
  } const kinds[] = {
      {"file",
       [](const char* path) { return close(open(path, O_CREAT | O_EXCL | O_WRONLY, 0644)); },
       EINVAL},
      {"directory", [](const char* path) { return mkdir(path, 0755); }, EINVAL},
      {"fifo", [](const char* path) { return mknod(path, S_IFIFO | 0644, 0); }, EINVAL},
      {"symlink", [](const char* path) { return symlink("file", path); }, 0},
      {"link", [this](const char* path) { return link((top_ + "/file").c_str(), path); }, EINVAL},
      {"rename",
       [this](const char* path) {
         WriteFile(top_ + "/other", "");
         return rename((top_ + "/other").c_str(), path);
       },
       EINVAL},
      {"socket",
       [](const char* path) {
         const UniqueFd fd(socket(AF_UNIX, SOCK_STREAM, 0));
         sockaddr_un name{.sun_family = AF_UNIX, .sun_path = {}};
         strcpy(name.sun_path, path);
         return bind(fd.get(), reinterpret_cast<sockaddr*>(&name), sizeof name);
       },
       EINVAL},
  };
  for (const auto& kind : kinds) {
    const std::string path = top_ + "/" + kind.what + "1";
    for (int round = 0; round < 3; ++round) {
      LearnMissing(path);
      ASSERT_EQ(kind.make(path.c_str()), 0) << kind.what;
      ASSERT_EQ(AccessError(path), 0) << kind.what;
      ASSERT_EQ(StatError(path), 0) << kind.what;
      ASSERT_EQ(LinkError(path), kind.link_error) << kind.what;
      ASSERT_EQ(remove(path.c_str()), 0) << kind.what;
      ASSERT_EQ(StatError(path), ENOENT) << kind.what;
    }
  }
}

TEST_F(HotErrors, OthersMakeIt) {
  const std::string path = top_ + "/file1";
  for (int round = 0; round < 20; ++round) {
    LearnMissing(path);
    Apart([&] { EXPECT_EQ(mkdir(path.c_str(), 0755), 0); });
    ASSERT_EQ(StatError(path), 0);
    for (int i = 0; i < kOften; ++i) ASSERT_EQ(LinkError(path), EINVAL);
    Apart([&] {
      EXPECT_EQ(rmdir(path.c_str()), 0);
      EXPECT_EQ(symlink("d", path.c_str()), 0);
    });
    ASSERT_EQ(LinkError(path), 0);
    ASSERT_EQ(unlink(path.c_str()), 0);
    ASSERT_EQ(LinkError(path), ENOENT);
  }
}

TEST_F(HotErrors, ADirectoryOnTheWayMoves) {
  const std::string path = top_ + "/a/b/name";
  LearnMissing(path);  // The first of them is missing.
  ASSERT_EQ(mkdir((top_ + "/a").c_str(), 0755), 0);
  LearnMissing(path);
  ASSERT_EQ(mkdir((top_ + "/n").c_str(), 0755), 0);
  WriteFile(top_ + "/n/name", "");
  ASSERT_EQ(rename((top_ + "/n").c_str(), (top_ + "/a/b").c_str()), 0);
  ASSERT_EQ(StatError(path), 0);
  ASSERT_EQ(rename((top_ + "/a").c_str(), (top_ + "/z").c_str()), 0);
  LearnMissing(path);
  ASSERT_EQ(mkdir((top_ + "/a").c_str(), 0755), 0);
  ASSERT_EQ(
      renameat2(AT_FDCWD, (top_ + "/z").c_str(), AT_FDCWD, (top_ + "/a").c_str(), RENAME_EXCHANGE),
      0);
  ASSERT_EQ(StatError(path), 0);
  for (int i = 0; i < kOften; ++i) ASSERT_EQ(LinkError(path), EINVAL);
  ASSERT_EQ(rename((top_ + "/a").c_str(), (top_ + "/y").c_str()), 0);
  ASSERT_EQ(LinkError(path), ENOENT);
}

TEST_F(HotErrors, ASymbolicLinkOnTheWayLeadsElsewhere) {
  ASSERT_EQ(mkdir((top_ + "/e").c_str(), 0755), 0);
  WriteFile(top_ + "/e/name", "");
  const std::string link = top_ + "/l", path = link + "/name";
  for (int round = 0; round < 5; ++round) {
    ASSERT_EQ(symlink("d", link.c_str()), 0);
    LearnMissing(path);
    ASSERT_EQ(unlink(link.c_str()), 0);
    ASSERT_EQ(symlink("e", link.c_str()), 0);
    ASSERT_EQ(StatError(path), 0);
    ASSERT_EQ(unlink(link.c_str()), 0);
  }
}

TEST_F(HotErrors, AFileBecomesADirectory) {
  const std::string path = top_ + "/file/below";
  Learn(path, ENOTDIR, ENOTDIR);
  const std::string slash = top_ + "/file/";
  for (int i = 0; i < kOften; ++i) ASSERT_EQ(LinkError(slash), ENOTDIR);
  ASSERT_EQ(unlink((top_ + "/file").c_str()), 0);
  LearnMissing(path);
  ASSERT_EQ(mkdir((top_ + "/file").c_str(), 0755), 0);
  ASSERT_EQ(mkdir(path.c_str(), 0755), 0);
  ASSERT_EQ(StatError(path), 0);
  ASSERT_EQ(LinkError(slash), EINVAL);
}

TEST_F(HotErrors, WhoMayNotSearchIsToldSo) {
  const std::string path = top_ + "/d/name";
  Apart([&] {
    LearnMissing(path);
    ASSERT_EQ(chmod((top_ + "/d").c_str(), 0700), 0);
    LearnMissing(path);
    ASSERT_EQ(setresuid(65534, 65534, 65534), 0);
    Learn(path, EACCES, EACCES);
  });
  ASSERT_EQ(chmod((top_ + "/d").c_str(), 0755), 0);
  // Owned by whom it is about, who takes the right from himself.
  ASSERT_EQ(chown((top_ + "/d").c_str(), 65534, 65534), 0);
  Apart([&] {
    ASSERT_EQ(setresuid(65534, 65534, 65534), 0);
    for (int round = 0; round < 3; ++round) {
      LearnMissing(path);
      ASSERT_EQ(chmod((top_ + "/d").c_str(), 0600), 0);
      ASSERT_EQ(StatError(path), EACCES);
      ASSERT_EQ(LinkError(path), EACCES);
      ASSERT_EQ(chmod((top_ + "/d").c_str(), 0755), 0);
    }
  });
}

TEST_F(HotErrors, MountsCover) {
  const auto namespace_of_its_own = [] {
    return unshare(CLONE_NEWNS) == 0 &&
           mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
  };
  InFreshProgram(namespace_of_its_own, [this] {
    const std::string place = top_ + "/d", path = place + "/name", full = top_ + "/full";
    ASSERT_EQ(mkdir(full.c_str(), 0755), 0);
    WriteFile(full + "/name", "");
    for (int round = 0; round < 3; ++round) {
      LearnMissing(path);
      ASSERT_EQ(mount(full.c_str(), place.c_str(), nullptr, MS_BIND, nullptr), 0);
      ASSERT_EQ(StatError(path), 0);
      for (int i = 0; i < kOften; ++i) ASSERT_EQ(LinkError(path), EINVAL);
      ASSERT_EQ(umount(place.c_str()), 0);
      ASSERT_EQ(LinkError(path), ENOENT);
    }
  });
}

TEST_F(HotErrors, RootsDiffer) {
  InFreshProgram([] { return true; },
                 [this] {
                   ASSERT_EQ(mkdir((top_ + "/d/etc").c_str(), 0755), 0);
                   WriteFile(top_ + "/d/etc/only_inside", "");
                   LearnMissing("/etc/only_inside");
                   Apart([&] {
                     LearnMissing("/etc/only_inside");
                     ASSERT_EQ(chroot((top_ + "/d").c_str()), 0);
                     ASSERT_EQ(StatError("/etc/only_inside"), 0);
                     LearnMissing("/etc/passwd");
                     // A child of it, in a namespace of its own.
                     Apart([&] {
                       ASSERT_EQ(unshare(CLONE_NEWNS), 0);
                       ASSERT_EQ(StatError("/etc/only_inside"), 0);
                       LearnMissing("/etc/passwd");
                     });
                   });
                   ASSERT_EQ(StatError("/etc/passwd"), 0);
                   LearnMissing("/etc/only_inside");
                 });
}

TEST_F(HotErrors, OtherArgumentsCount) {
  const std::string path = top_ + "/nothing", there = top_ + "/file";
  char text[16];
  struct stat st;
  struct statx stx;
  for (int i = 0; i < kOften; ++i) {
    ASSERT_THAT(readlink(path.c_str(), text, sizeof text), FailsWith(ENOENT));
    ASSERT_THAT(syscall(SYS_readlink, path.c_str(), text, 0), FailsWith(EINVAL));
    ASSERT_THAT(syscall(SYS_readlink, path.c_str(), nullptr, 5), FailsWith(ENOENT));
    ASSERT_THAT(readlinkat(AT_FDCWD, there.c_str(), text, sizeof text), FailsWith(EINVAL));
    ASSERT_THAT(readlinkat(-1, there.c_str(), text, sizeof text), FailsWith(EINVAL));
    ASSERT_THAT(syscall(SYS_access, path.c_str(), R_OK), FailsWith(ENOENT));
    ASSERT_THAT(syscall(SYS_access, path.c_str(), 8), FailsWith(EINVAL));
    ASSERT_THAT(syscall(SYS_newfstatat, AT_FDCWD, path.c_str(), &st, 0), FailsWith(ENOENT));
    ASSERT_THAT(syscall(SYS_newfstatat, AT_FDCWD, path.c_str(), &st, 0x10), FailsWith(EINVAL));
    ASSERT_THAT(syscall(SYS_newfstatat, 77, path.c_str(), nullptr, 0), FailsWith(ENOENT));
    ASSERT_THAT(statx(AT_FDCWD, path.c_str(), 0, STATX_ALL, &stx), FailsWith(ENOENT));
    ASSERT_THAT(statx(AT_FDCWD, path.c_str(), 0x6000, STATX_ALL, &stx), FailsWith(EINVAL));
    ASSERT_THAT(open(path.c_str(), O_RDONLY), FailsWith(ENOENT));
    ASSERT_THAT(open(path.c_str(), O_RDONLY | O_CREAT | O_DIRECTORY, 0644), FailsWith(EINVAL));
    ASSERT_THAT(open((path + "/").c_str(), O_RDONLY | O_CREAT, 0644), FailsWith(EISDIR));
    // The same bytes, and more of them.
    ASSERT_EQ(StatError(path.substr(0, path.size() - 1)), ENOENT);
    ASSERT_EQ(StatError(path + "/more"), ENOENT);
  }
  const UniqueFd made(open(path.c_str(), O_RDONLY | O_CREAT, 0644));
  ASSERT_TRUE(made.valid());
  ASSERT_EQ(StatError(path), 0);
  ASSERT_EQ(StatError(path + "/more"), ENOTDIR);
}

TEST_F(HotErrors, RelativePathsFollowTheirDirectory) {
  ASSERT_EQ(mkdir((top_ + "/e").c_str(), 0755), 0);
  WriteFile(top_ + "/e/name", "");
  Apart([&] {
    for (int round = 0; round < 3; ++round) {
      ASSERT_EQ(chdir((top_ + "/d").c_str()), 0);
      LearnMissing("name");
      ASSERT_EQ(chdir((top_ + "/e").c_str()), 0);
      ASSERT_EQ(StatError("name"), 0);
    }
  });
}

TEST_F(HotErrors, PathsMayBeLongAndEndWhereTheMemoryEnds) {
  const Edge edge;
  struct stat st;
  for (int round = 0; round < 40; ++round) {
    for (const size_t size : {1, 7, 8, 100, 120, 130, 150, 158, 159, 160, 200}) {
      const std::string path = top_ + "/" + std::string(size, 'n');
      ASSERT_THAT(stat(edge.Last(path), &st), FailsWith(ENOENT)) << size;
    }
  }
  for (const size_t size : {1, 100, 130, 159, 200}) {
    const std::string path = top_ + "/" + std::string(size, 'n');
    ASSERT_EQ(mkdir(path.c_str(), 0755), 0);
    ASSERT_EQ(stat(edge.Last(path), &st), 0) << size;
  }
}

// A filter that answers for stat(2) and its like what it wants to.
TEST_F(HotErrors, FiltersSeeThem) {
  InFreshProgram([] { return true; },
                 [this] {
                   Apart([&] {
                     LearnMissing(top_ + "/nothing");
                     sock_filter code[] = {
                         {BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(seccomp_data, nr)},
                         {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, SYS_newfstatat},
                         {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | EXDEV},
                         {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, SYS_readlink},
                         {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | EDOM},
                         {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW}};
                     const sock_fprog program{.len = std::size(code), .filter = code};
                     ASSERT_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
                     ASSERT_EQ(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
                     for (int i = 0; i < kOften; ++i) {
                       ASSERT_EQ(StatError(top_ + "/nothing"), EXDEV);
                       ASSERT_EQ(LinkError(top_ + "/nothing"), EDOM);
                       ASSERT_EQ(AccessError(top_ + "/nothing"), ENOENT);
                     }
                   });
                 });
}

// Who sees the number has to see the file, which is there until the next odd number.
TEST_F(HotErrors, NobodyIsToldWhatWasTrueBefore) {
  const std::string path = top_ + "/flickers";
  std::atomic<int> turn{0};
  std::atomic<bool> stop{false};
  std::thread other([&] {
    while (!stop) {
      if (mkdir(path.c_str(), 0755) != 0) abort();
      ++turn;  // Odd: it is there.
      std::this_thread::yield();
      ++turn;  // Even: it may go.
      if (rmdir(path.c_str()) != 0) abort();
    }
  });
  int seen = 0;
  for (int i = 0; i < 20000 || (seen < 20 && i < 2000000); ++i) {
    const int before = turn;
    const int stat_error = StatError(path), link_error = LinkError(path);
    if (turn == before && before % 2 == 1) {
      ++seen;
      EXPECT_EQ(stat_error, 0);
      EXPECT_EQ(link_error, EINVAL);
    }
  }
  stop = true;
  other.join();
  EXPECT_GE(seen, 1);
}

}  // namespace
