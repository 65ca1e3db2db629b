// fs.protected_* in directories that everybody can write to (proc_sys_fs(5), fs/namei.c): judged by
// the values that the machine has.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "tests/conformance/support.h"

namespace conformance {
namespace {

constexpr uid_t kOwner = 1111, kOther = 2222, kThird = 3333;

int Level(const char* name) {
  return atoi(ReadFile(std::string("/proc/sys/fs/protected_") + name).c_str());
}

class Protected : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "makes files of others";
    ASSERT_THAT(chmod(base_.path().c_str(), 0755), Succeeds());
  }
  // A directory of kOwner with files of kOwner, kOther and root.
  std::string Directory(mode_t mode) {
    const std::string dir = base_ / ("dir" + std::to_string(++directories_));
    EXPECT_THAT(mkdir(dir.c_str(), 0755), Succeeds());
    for (const uid_t uid : {kOwner, kOther, uid_t{0}}) {
      const std::string tail = std::to_string(uid);
      WriteFile(dir + "/file" + tail, "text", 0666);
      EXPECT_THAT(chmod((dir + "/file" + tail).c_str(), 0666), Succeeds());
      EXPECT_THAT(mkfifo((dir + "/fifo" + tail).c_str(), 0666), Succeeds());
      EXPECT_THAT(chmod((dir + "/fifo" + tail).c_str(), 0666), Succeeds());
      EXPECT_THAT(symlink(target().c_str(), (dir + "/link" + tail).c_str()), Succeeds());
      for (const char* const kind : {"/file", "/fifo", "/link"}) {
        EXPECT_THAT(lchown((dir + kind + tail).c_str(), uid, uid), Succeeds());
      }
    }
    EXPECT_THAT(chown(dir.c_str(), kOwner, kOwner), Succeeds());
    EXPECT_THAT(chmod(dir.c_str(), mode), Succeeds());
    return dir;
  }
  std::string target() {
    const std::string path = base_ / "target";
    if (access(path.c_str(), F_OK) != 0) WriteFile(path, "text", 0666);
    EXPECT_THAT(chmod(path.c_str(), 0666), Succeeds());
    return path;
  }

 private:
  TempDir base_;
  int directories_ = 0;
};

// What open(2) answers to `uid`: 0 or an errno.
int OpenAs(uid_t uid, const std::string& path, int flags) {
  int answer = -1;
  const int status = InChild([&] {
    if (uid != 0 && (setresgid(uid, uid, uid) != 0 || setresuid(uid, uid, uid) != 0)) return 200;
    const int fd = open(path.c_str(), flags | O_NONBLOCK, 0600);
    return fd >= 0 ? 0 : errno;
  });
  if (WIFEXITED(status)) answer = WEXITSTATUS(status);
  return answer;
}

TEST_F(Protected, SymbolicLinksOfOthersAreNotFollowed) {
  const int refused = Level("symlinks") != 0 ? EACCES : 0;
  const std::string sticky = Directory(01777);
  // Who made the link, and whose directory it is, may lead others.
  EXPECT_EQ(OpenAs(kThird, sticky + "/link1111", O_RDONLY), 0);
  EXPECT_EQ(OpenAs(kOther, sticky + "/link2222", O_RDONLY), 0);
  EXPECT_EQ(OpenAs(kThird, sticky + "/link2222", O_RDONLY), refused);
  EXPECT_EQ(OpenAs(0, sticky + "/link2222", O_RDONLY), refused);
  EXPECT_EQ(OpenAs(kThird, sticky + "/link2222", O_WRONLY | O_CREAT), refused);
  // Not followed, or not at the end.
  EXPECT_EQ(OpenAs(kThird, sticky + "/link2222", O_PATH | O_NOFOLLOW), 0);
  EXPECT_EQ(OpenAs(kThird, sticky + "/link2222/", O_RDONLY), refused != 0 ? refused : ENOTDIR);
  ASSERT_THAT(symlink("/", (sticky + "/root").c_str()), Succeeds());
  ASSERT_THAT(lchown((sticky + "/root").c_str(), kOther, kOther), Succeeds());
  EXPECT_EQ(OpenAs(kThird, sticky + "/root/proc", O_RDONLY), 0);
  EXPECT_EQ(OpenAs(kThird, sticky + "/root", O_RDONLY), refused);
  // Reached by a link that lies elsewhere.
  const std::string outer = target() + ".link";
  ASSERT_THAT(symlink((sticky + "/link2222").c_str(), outer.c_str()), Succeeds());
  EXPECT_EQ(OpenAs(kThird, outer, O_RDONLY), refused);
  struct stat st;
  EXPECT_THAT(lstat((sticky + "/link2222").c_str(), &st), Succeeds());
  const int found = stat((sticky + "/link2222").c_str(), &st);
  EXPECT_EQ(found == 0 ? 0 : errno, refused);
}

TEST_F(Protected, OnlyStickyDirectoriesOfEverybodyAreLookedAt) {
  for (const mode_t mode : {0777, 01775, 01755}) {
    const std::string dir = Directory(mode);
    EXPECT_EQ(OpenAs(kThird, dir + "/link2222", O_RDONLY), 0) << std::oct << mode;
  }
}

TEST_F(Protected, FilesOfOthersAreNotOpenedWhereOneMeantToCreate) {
  for (const auto& [kind, level] :
       {std::pair("/file", Level("regular")), std::pair("/fifo", Level("fifos"))}) {
    const int everybody = level >= 1 ? EACCES : 0, group = level >= 2 ? EACCES : 0;
    const std::string sticky = Directory(01777);
    const std::string theirs = sticky + kind + "2222";
    EXPECT_EQ(OpenAs(kThird, theirs, O_RDWR | O_CREAT), everybody) << kind;
    EXPECT_EQ(OpenAs(0, theirs, O_RDWR | O_CREAT), everybody) << kind;
    EXPECT_EQ(OpenAs(kThird, theirs, O_RDWR | O_CREAT | O_EXCL), EEXIST) << kind;
    EXPECT_EQ(OpenAs(kThird, theirs, O_RDWR), 0) << kind;
    EXPECT_EQ(OpenAs(kOther, theirs, O_RDWR | O_CREAT), 0) << kind;
    EXPECT_EQ(OpenAs(kThird, sticky + kind + "1111", O_RDWR | O_CREAT), 0) << kind;
    EXPECT_EQ(OpenAs(kThird, sticky + kind + "0", O_RDWR | O_CREAT), everybody) << kind;
    // By a link: the directory in which the file lies counts.
    const std::string link = target() + "." + (kind + 1);
    ASSERT_THAT(symlink(theirs.c_str(), link.c_str()), Succeeds());
    EXPECT_EQ(OpenAs(kThird, link, O_RDWR | O_CREAT), everybody) << kind;
    ASSERT_THAT(chmod(sticky.c_str(), 01775), Succeeds());
    EXPECT_EQ(OpenAs(kThird, theirs, O_RDWR | O_CREAT), group) << kind;
    ASSERT_THAT(chmod(sticky.c_str(), 01755), Succeeds());
    EXPECT_EQ(OpenAs(kThird, theirs, O_RDWR | O_CREAT), 0) << kind;
    ASSERT_THAT(chmod(sticky.c_str(), 0777), Succeeds());
    EXPECT_EQ(OpenAs(kThird, theirs, O_RDWR | O_CREAT), 0) << kind;
  }
}

TEST_F(Protected, TheirValuesAreNumbersWithinBounds) {
  for (const char* const name : {"symlinks", "hardlinks", "fifos", "regular"}) {
    const std::string path = std::string("/proc/sys/fs/protected_") + name;
    const std::string before = ReadFile(path);
    const UniqueFd fd(open(path.c_str(), O_WRONLY));
    if (!fd.valid() && errno == EROFS) GTEST_SKIP() << "/proc/sys cannot be written to";
    ASSERT_TRUE(fd.valid()) << name;
    EXPECT_THAT(write(fd.get(), "3", 1), FailsWith(EINVAL)) << name;
    EXPECT_THAT(pwrite(fd.get(), "-1", 2, 0), FailsWith(EINVAL)) << name;
    EXPECT_THAT(pwrite(fd.get(), "x", 1, 0), FailsWith(EINVAL)) << name;
    EXPECT_THAT(pwrite(fd.get(), before.data(), before.size(), 0),
                Returns(static_cast<ssize_t>(before.size())))
        << name;
    EXPECT_EQ(ReadFile(path), before);
  }
}

}  // namespace
}  // namespace conformance
