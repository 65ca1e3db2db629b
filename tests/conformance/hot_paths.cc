// Calls with paths and structures again and again: a kernel may carry them in other ways than those
// of the first time.
#include <dirent.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/utsname.h>

#include <array>
#include <atomic>
#include <thread>

#include "tests/conformance/edge.h"
#include "tests/conformance/support.h"

namespace {

constexpr int kMany = 300;
constexpr size_t kPage = 4096;

class HotPaths : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/hot_paths.XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    directory_ = name;
    file_ = directory_ + "/file";
    UniqueFd fd(open(file_.c_str(), O_CREAT | O_RDWR, 0640));
    ASSERT_TRUE(fd.valid());
    ASSERT_EQ(write(fd.get(), "12345", 5), 5);
    ASSERT_EQ(symlink("file", (directory_ + "/link").c_str()), 0);
  }
  void TearDown() override {
    unlink((directory_ + "/link").c_str());
    unlink(file_.c_str());
    rmdir(directory_.c_str());
  }

  std::string directory_;
  std::string file_;
};

TEST_F(HotPaths, APathMayEndWhereTheMemoryEnds) {
  const Edge edge;
  struct stat st;
  for (int i = 0; i < kMany; ++i) {
    // Of any length, with slashes that mean nothing.
    const std::string path = std::string(static_cast<size_t>(i % 40), '/') + file_;
    memset(&st, 0xff, sizeof st);
    ASSERT_EQ(stat(edge.Last(path), &st), 0) << i;
    ASSERT_EQ(st.st_size, 5);
    ASSERT_EQ(st.st_mode, S_IFREG | 0640u);
    ASSERT_EQ(access(edge.Last(path), R_OK), 0);
  }
}

TEST_F(HotPaths, LongPathsAreFoundAndTooLongOnesAreNot) {
  struct stat st;
  const size_t sizes[] = {200, 255, 256, 1000, 1022, 1023, 1024, 1025, 2000, 4094, 4095};
  for (int i = 0; i < kMany; ++i) {
    const size_t size = sizes[static_cast<size_t>(i) % std::size(sizes)];
    const std::string path = std::string(size - file_.size(), '/') + file_;
    ASSERT_EQ(lstat(path.c_str(), &st), 0) << size;
    ASSERT_EQ(st.st_size, 5);
    const std::string longer = std::string(4096, '/');
    ASSERT_THAT(lstat(longer.c_str(), &st), FailsWith(ENAMETOOLONG));
    const std::string name = directory_ + "/" + std::string(256, 'n');
    ASSERT_THAT(lstat(name.c_str(), &st), FailsWith(ENAMETOOLONG));
  }
}

TEST_F(HotPaths, APathThatCannotBeReadIsAFault) {
  const Edge edge;
  struct stat st;
  memset(edge.end() - 8, 'x', 8);  // No NUL in front of the end.
  for (int i = 0; i < kMany; ++i) {
    ASSERT_EQ(stat(file_.c_str(), &st), 0);
    ASSERT_THAT(stat(edge.end(), &st), FailsWith(EFAULT));
    ASSERT_THAT(stat(edge.end() - 8, &st), FailsWith(EFAULT));
    ASSERT_THAT(syscall(SYS_open, nullptr, O_RDONLY), FailsWith(EFAULT));
    ASSERT_THAT(open("", O_RDONLY), FailsWith(ENOENT));
  }
}

TEST_F(HotPaths, AStructureThatCannotBeWrittenIsAFault) {
  const Edge edge;
  struct stat st;
  const UniqueFd fd(open(file_.c_str(), O_RDONLY));
  for (int i = 0; i < kMany; ++i) {
    ASSERT_EQ(fstat(fd.get(), &st), 0);
    ASSERT_THAT(stat(file_.c_str(), reinterpret_cast<struct stat*>(edge.end())), FailsWith(EFAULT));
    ASSERT_THAT(fstat(fd.get(), reinterpret_cast<struct stat*>(edge.end() - 16)),
                FailsWith(EFAULT));
    // Where nothing is written nothing is missing.
    ASSERT_THAT(stat("/none", reinterpret_cast<struct stat*>(edge.end())), FailsWith(ENOENT));
    auto* exact = reinterpret_cast<struct stat*>(edge.end() - sizeof(struct stat));
    ASSERT_EQ(fstat(fd.get(), exact), 0);
    ASSERT_EQ(exact->st_size, 5);
  }
}

TEST_F(HotPaths, NothingBehindTheAnswerIsTouched) {
  const std::string link = directory_ + "/link";
  std::array<char, 600> buffer;
  for (int i = 0; i < kMany; ++i) {
    buffer.fill('#');
    ASSERT_EQ(readlink(link.c_str(), buffer.data() + 8, 500), 4);
    ASSERT_EQ(std::string(buffer.data(), 14), "########file##");
    ASSERT_EQ(readlink(link.c_str(), buffer.data() + 8, 2), 2);
    buffer.fill('#');
    ASSERT_EQ(stat(file_.c_str(), reinterpret_cast<struct stat*>(buffer.data() + 8)), 0);
    ASSERT_EQ(buffer[7], '#');
    ASSERT_EQ(buffer[8 + sizeof(struct stat)], '#');
    ASSERT_THAT(readlink(link.c_str(), buffer.data(), 0), FailsWith(EINVAL));
  }
}

TEST_F(HotPaths, TheAnswerMayReplaceTheQuestion) {
  const std::string link = directory_ + "/link";
  for (int i = 0; i < kMany; ++i) {
    std::array<char, 256> buffer{};
    memcpy(buffer.data(), link.c_str(), link.size());
    ASSERT_EQ(syscall(SYS_readlink, buffer.data(), buffer.data(), buffer.size()), 4);
    ASSERT_EQ(std::string(buffer.data(), 5), "file" + link.substr(4, 1));
    std::array<char, 256> path{};
    memcpy(path.data(), file_.c_str(), file_.size());
    ASSERT_EQ(syscall(SYS_stat, path.data(), path.data()), 0);
    ASSERT_EQ(reinterpret_cast<struct stat*>(path.data())->st_size, 5);
  }
}

TEST_F(HotPaths, EachCallFindsItsPath) {
  const UniqueFd at(open(directory_.c_str(), O_RDONLY | O_DIRECTORY));
  struct statx stx;
  struct statfs fs;
  struct stat st;
  for (int i = 0; i < kMany; ++i) {
    ASSERT_EQ(statx(at.get(), "file", AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &stx), 0);
    ASSERT_EQ(stx.stx_size, 5u);
    ASSERT_EQ(fstatat(at.get(), "link", &st, AT_SYMLINK_NOFOLLOW), 0);
    ASSERT_TRUE(S_ISLNK(st.st_mode));
    ASSERT_EQ(fstatat(at.get(), "", &st, AT_EMPTY_PATH), 0);
    ASSERT_TRUE(S_ISDIR(st.st_mode));
    ASSERT_EQ(faccessat(at.get(), "file", W_OK, 0), 0);
    ASSERT_EQ(statfs(file_.c_str(), &fs), 0);
    ASSERT_GT(fs.f_namelen, 0);
    const std::string one = directory_ + "/one", two = directory_ + "/two";
    const UniqueFd made(openat(at.get(), "one", O_CREAT | O_EXCL | O_WRONLY, 0600));
    ASSERT_TRUE(made.valid());
    ASSERT_EQ(chmod(one.c_str(), 0444), 0);
    ASSERT_EQ(futimens(made.get(), nullptr), 0);
    ASSERT_EQ(rename(one.c_str(), two.c_str()), 0);
    ASSERT_EQ(link(two.c_str(), one.c_str()), 0);
    ASSERT_EQ(unlinkat(at.get(), "one", 0), 0);
    ASSERT_EQ(unlink(two.c_str()), 0);
    ASSERT_EQ(mkdir(one.c_str(), 0700), 0);
    ASSERT_EQ(symlink(file_.c_str(), two.c_str()), 0);
    ASSERT_EQ(unlink(two.c_str()), 0);
    ASSERT_EQ(rmdir(one.c_str()), 0);
  }
}

TEST_F(HotPaths, NamesOfTheSystem) {
  char cwd[256];
  utsname name;
  ASSERT_EQ(chdir(directory_.c_str()), 0);
  for (int i = 0; i < kMany; ++i) {
    ASSERT_EQ(syscall(SYS_getcwd, cwd, sizeof cwd), static_cast<long>(directory_.size() + 1));
    ASSERT_EQ(directory_, cwd);
    ASSERT_THAT(syscall(SYS_getcwd, cwd, 3), FailsWith(ERANGE));
    ASSERT_EQ(uname(&name), 0);
    ASSERT_STREQ(name.sysname, "Linux");
  }
  ASSERT_EQ(chdir("/"), 0);
}

// Names of one listing with a buffer of `size` bytes.
std::vector<std::string> List(int fd, char* buffer, size_t size) {
  std::vector<std::string> names;
  EXPECT_EQ(lseek(fd, 0, SEEK_SET), 0);
  for (;;) {
    const long got = syscall(SYS_getdents64, fd, buffer, size);
    EXPECT_GE(got, 0) << errno;
    if (got <= 0) break;
    for (long at = 0; at < got;) {
      const auto* entry = reinterpret_cast<const dirent64*>(buffer + at);
      names.emplace_back(entry->d_name);
      at += entry->d_reclen;
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

TEST_F(HotPaths, ListingsAreWholeWhateverTheBuffer) {
  std::vector<std::string> all = {".", "..", "file", "link"};
  for (int i = 0; i < 120; ++i) {
    all.push_back("a name of some length " + std::to_string(i));
    const UniqueFd fd(open((directory_ + "/" + all.back()).c_str(), O_CREAT | O_RDWR, 0600));
    ASSERT_TRUE(fd.valid());
  }
  std::sort(all.begin(), all.end());
  const UniqueFd at(open(directory_.c_str(), O_RDONLY | O_DIRECTORY));
  std::vector<char> memory(40'000);
  const Edge edge;
  for (int i = 0; i < kMany / 10; ++i) {
    for (const size_t size : {280, 1000, 4095, 4096, 4097, 32768}) {
      ASSERT_EQ(List(at.get(), memory.data() + i % 8 * 8, size), all) << size;
    }
    ASSERT_EQ(List(at.get(), edge.end() - 512, 512), all);
    ASSERT_EQ(lseek(at.get(), 0, SEEK_SET), 0);
    ASSERT_THAT(syscall(SYS_getdents64, at.get(), edge.end(), 512), FailsWith(EFAULT));
  }
  for (const std::string& name : all) unlink((directory_ + "/" + name).c_str());
}

std::atomic<int> g_ticks{0};

// Signals arrive anywhere: before the call, in it, while its answer is copied.
TEST_F(HotPaths, InterruptedCallsAreWhole) {
  struct sigaction action {};
  action.sa_handler = [](int) { g_ticks.fetch_add(1); };
  struct sigaction before;
  ASSERT_EQ(sigaction(SIGALRM, &action, &before), 0);
  const itimerval often{.it_interval = {0, 700}, .it_value = {0, 700}};
  ASSERT_EQ(setitimer(ITIMER_REAL, &often, nullptr), 0);
  const std::string link = directory_ + "/link";
  for (int i = 0; i < 20'000 && g_ticks.load() < 100; ++i) {
    struct stat st;
    memset(&st, 0xff, sizeof st);
    ASSERT_EQ(stat(file_.c_str(), &st), 0);
    ASSERT_EQ(st.st_size, 5);
    ASSERT_EQ(st.st_mode, S_IFREG | 0640u);
    char target[16] = {};
    ASSERT_EQ(readlink(link.c_str(), target, sizeof target), 4);
    ASSERT_STREQ(target, "file");
    ASSERT_THAT(stat("/none", &st), FailsWith(ENOENT));
  }
  const itimerval never{};
  ASSERT_EQ(setitimer(ITIMER_REAL, &never, nullptr), 0);
  ASSERT_EQ(sigaction(SIGALRM, &before, nullptr), 0);
}

// What another thread writes meanwhile is one path or the other.
TEST_F(HotPaths, PathsThatChangeAreStillPaths) {
  std::vector<char> path(64);
  memcpy(path.data(), "/none", 6);
  std::atomic<bool> stop{false};
  std::thread other([&] {
    while (!stop.load()) {
      __atomic_store_n(&path[1], 'm', __ATOMIC_RELAXED);
      __atomic_store_n(&path[1], 'n', __ATOMIC_RELAXED);
    }
  });
  struct stat st;
  for (int i = 0; i < kMany; ++i) ASSERT_THAT(stat(path.data(), &st), FailsWith(ENOENT));
  stop.store(true);
  other.join();
}

}  // namespace
