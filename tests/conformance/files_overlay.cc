// Files of the lower layer of an overlay: what a change copies up, hides and keeps. Natively an
// overlayfs that this program mounts; inside, the root's overlay over a directory of the host that
// run.py has made ($CONFORMANCE_LOWER), by this program ($CONFORMANCE_MAKE_LOWER).
#include <dirent.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <set>

#include "tests/conformance/support.h"

namespace {

constexpr int kTrees = 64;  // One for each case, since they change it.

void MakeLowerTree(const std::string& dir) {
  const auto at = [&](const char* name) { return dir + "/" + name; };
  mkdir(dir.c_str(), 0755);
  WriteFile(at("f"), "lower", 0640);
  WriteFile(at("linked"), "twice");
  link(at("linked").c_str(), at("twin").c_str());
  symlink("f", at("s").c_str());
  mkfifo(at("p").c_str(), 0600);
  mkdir(at("d").c_str(), 0750);
  for (const char* name : {"d/1", "d/2", "d/3"}) WriteFile(at(name), name);
  mkdir(at("d/sub").c_str(), 0755);
  WriteFile(at("d/sub/deep"), "deep");
  mkdir(at("e").c_str(), 0755);
  setxattr(at("f").c_str(), "user.old", "1", 1, 0);
  WriteFile(at("sparse"), "");
  truncate(at("sparse").c_str(), 1 << 20);
  const timespec old[2] = {{1000, 5}, {2000, 6}};
  for (const char* name : {"f", "linked", "d", "e"}) utimensat(AT_FDCWD, at(name).c_str(), old, 0);
}

// The directory of the trees; empty where there is no overlay.
std::string FindTrees() {
  if (const char* const fresh = getenv("CONFORMANCE_MAKE_LOWER")) {
    for (int i = 0; i < kTrees; ++i) MakeLowerTree(std::string(fresh) + "/" + std::to_string(i));
    _exit(testing::Test::HasFailure() ? 1 : 0);
  }
  if (const char* const given = getenv("CONFORMANCE_LOWER")) return given;
  if (unshare(CLONE_NEWNS) != 0) return "";
  if (mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return "";
  if (mount("conformance", "/mnt", "tmpfs", 0, "mode=755") != 0) return "";
  for (const char* path : {"/mnt/lower", "/mnt/upper", "/mnt/work", "/mnt/merged"})
    mkdir(path, 0755);
  for (int i = 0; i < kTrees; ++i) MakeLowerTree("/mnt/lower/" + std::to_string(i));
  // Like the sandbox's: directories of the lower tree can be renamed.
  const char* const options =
      "lowerdir=/mnt/lower,upperdir=/mnt/upper,workdir=/mnt/work,redirect_dir=on,index=on";
  return mount("conformance", "/mnt/merged", "overlay", 0, options) == 0 ? "/mnt/merged" : "";
}

class Overlay : public testing::Test {
 protected:
  Overlay() {
    static const std::string& trees = *new std::string(FindTrees());
    static int next = 0;
    if (!trees.empty() && next < kTrees) tree_ = trees + "/" + std::to_string(next++);
  }
  void SetUp() override {
    if (tree_.empty()) GTEST_SKIP() << "no overlay here";
  }
  std::string At(const std::string& name) const { return tree_ + "/" + name; }
  struct stat StatOf(const std::string& name) const {
    struct stat st = {};
    EXPECT_THAT(lstat(At(name).c_str(), &st), Returns(0)) << name;
    return st;
  }
  bool Has(const std::string& name) const { return access(At(name).c_str(), F_OK) == 0; }
  std::set<std::string> List(const std::string& name) const {
    std::set<std::string> names;
    DIR* const dir = opendir(At(name).c_str());
    if (dir == nullptr) return {"?"};
    while (const dirent* const entry = readdir(dir)) names.insert(entry->d_name);
    closedir(dir);
    names.erase(".");
    names.erase("..");
    return names;
  }
  UniqueFd Open(const std::string& name, int flags, mode_t mode = 0644) const {
    return UniqueFd(open(At(name).c_str(), flags, mode));
  }
  int Rename(const std::string& from, const std::string& to, unsigned flags = 0) const {
    return renameat2(AT_FDCWD, At(from).c_str(), AT_FDCWD, At(to).c_str(), flags);
  }

 private:
  std::string tree_;
};

using Names = std::set<std::string>;

TEST_F(Overlay, ShowsTheLowerTree) {
  EXPECT_EQ(List(""), (Names{"f", "linked", "twin", "s", "p", "d", "e", "sparse"}));
  EXPECT_EQ(ReadFile(At("f")), "lower");
  EXPECT_EQ(StatOf("f").st_mode, S_IFREG | 0640u);
  EXPECT_EQ(StatOf("f").st_mtim.tv_sec, 2000);
}

TEST_F(Overlay, WritesKeepTheRest) {
  UniqueFd fd = Open("f", O_RDWR);
  EXPECT_THAT(pwrite(fd.get(), "L", 1, 0), Returns(1));
  EXPECT_EQ(ReadFile(At("f")), "Lower");
  EXPECT_EQ(StatOf("f").st_mode, S_IFREG | 0640u);
}

TEST_F(Overlay, NumbersStayAcrossACopyUp) {
  const struct stat before = StatOf("f");
  EXPECT_TRUE(Open("f", O_RDWR).valid());
  EXPECT_THAT(chmod(At("f").c_str(), 0600), Returns(0));
  const struct stat after = StatOf("f");
  EXPECT_EQ(before.st_ino, after.st_ino);
  EXPECT_EQ(before.st_dev, after.st_dev);
}

TEST_F(Overlay, DirectoryNumbersStay) {
  const struct stat before = StatOf("d");
  WriteFile(At("d/new"), "x");
  EXPECT_EQ(before.st_ino, StatOf("d").st_ino);
  EXPECT_EQ(before.st_dev, StatOf("d").st_dev);
}

TEST_F(Overlay, ModificationTimesStayAcrossACopyUp) {
  EXPECT_TRUE(Open("f", O_RDWR).valid());
  EXPECT_EQ(StatOf("f").st_mtim.tv_sec, 2000);
  EXPECT_EQ(StatOf("f").st_mtim.tv_nsec, 6);
  EXPECT_THAT(chown(At("f").c_str(), 0, 0), Returns(0));
  EXPECT_EQ(StatOf("f").st_mtim.tv_sec, 2000);
}

TEST_F(Overlay, XattrsComeAlong) {
  EXPECT_THAT(setxattr(At("f").c_str(), "user.new", "2", 1, 0), Returns(0));
  char value[8];
  EXPECT_THAT(getxattr(At("f").c_str(), "user.old", value, sizeof value), Returns(1));
  EXPECT_THAT(getxattr(At("f").c_str(), "user.new", value, sizeof value), Returns(1));
  EXPECT_THAT(removexattr(At("f").c_str(), "user.old"), Returns(0));
  EXPECT_THAT(getxattr(At("f").c_str(), "user.old", value, sizeof value), FailsWith(ENODATA));
}

TEST_F(Overlay, TruncationNeedsNoData) {
  EXPECT_THAT(truncate(At("f").c_str(), 2), Returns(0));
  EXPECT_EQ(ReadFile(At("f")), "lo");
  EXPECT_TRUE(Open("f", O_WRONLY | O_TRUNC).valid());
  EXPECT_EQ(ReadFile(At("f")), "");
}

TEST_F(Overlay, HolesStayHoles) {
  UniqueFd fd = Open("sparse", O_RDWR);
  EXPECT_THAT(pwrite(fd.get(), "x", 1, 0), Returns(1));
  EXPECT_EQ(StatOf("sparse").st_size, 1 << 20);
  EXPECT_LT(StatOf("sparse").st_blocks * 512, 1 << 19);
}

TEST_F(Overlay, RemovedNamesAreGone) {
  EXPECT_THAT(unlink(At("f").c_str()), Returns(0));
  EXPECT_FALSE(Has("f"));
  EXPECT_EQ(List("").count("f"), 0u);
  EXPECT_THAT(unlink(At("f").c_str()), FailsWith(ENOENT));
}

TEST_F(Overlay, NewFilesTakeTheirPlace) {
  const ino_t old = StatOf("f").st_ino;
  EXPECT_THAT(unlink(At("f").c_str()), Returns(0));
  WriteFile(At("f"), "new", 0600);
  EXPECT_EQ(ReadFile(At("f")), "new");
  EXPECT_EQ(StatOf("f").st_mode, S_IFREG | 0600u);
  EXPECT_NE(StatOf("f").st_ino, old);
  char value[8];
  EXPECT_THAT(getxattr(At("f").c_str(), "user.old", value, sizeof value), FailsWith(ENODATA));
}

TEST_F(Overlay, NewDirectoriesAreOpaque) {
  for (const char* name : {"d/1", "d/2", "d/3", "d/sub/deep"}) {
    EXPECT_THAT(unlink(At(name).c_str()), Returns(0));
  }
  EXPECT_THAT(rmdir(At("d/sub").c_str()), Returns(0));
  EXPECT_THAT(rmdir(At("d").c_str()), Returns(0));
  EXPECT_THAT(mkdir(At("d").c_str(), 0755), Returns(0));
  EXPECT_EQ(List("d"), Names{});
  EXPECT_FALSE(Has("d/1"));
}

TEST_F(Overlay, ADirectoryWithLowerNamesIsNotEmpty) {
  EXPECT_THAT(rmdir(At("d").c_str()), FailsWith(ENOTEMPTY));
  for (const char* name : {"d/1", "d/2", "d/3"}) EXPECT_THAT(unlink(At(name).c_str()), Returns(0));
  EXPECT_THAT(rmdir(At("d").c_str()), FailsWith(ENOTEMPTY));
}

TEST_F(Overlay, ListingsMerge) {
  WriteFile(At("d/4"), "x");
  EXPECT_THAT(unlink(At("d/2").c_str()), Returns(0));
  EXPECT_TRUE(Open("d/1", O_RDWR).valid());
  EXPECT_EQ(List("d"), (Names{"1", "3", "4", "sub"}));
}

TEST_F(Overlay, ListingsMergeAfterARename) {
  EXPECT_THAT(Rename("d/1", "d/one"), Returns(0));
  EXPECT_THAT(Rename("f", "d/f"), Returns(0));
  EXPECT_EQ(List("d"), (Names{"2", "3", "f", "one", "sub"}));
  EXPECT_EQ(ReadFile(At("d/f")), "lower");
  EXPECT_FALSE(Has("f"));
}

TEST_F(Overlay, RenamesOfLowerFiles) {
  const ino_t number = StatOf("f").st_ino;
  EXPECT_THAT(Rename("f", "g"), Returns(0));
  EXPECT_EQ(StatOf("g").st_ino, number);
  EXPECT_EQ(ReadFile(At("g")), "lower");
  WriteFile(At("f"), "other");
  EXPECT_EQ(ReadFile(At("f")), "other");
}

TEST_F(Overlay, RenamesOverLowerFiles) {
  WriteFile(At("n"), "new");
  EXPECT_THAT(Rename("n", "f"), Returns(0));
  EXPECT_EQ(ReadFile(At("f")), "new");
  EXPECT_THAT(unlink(At("f").c_str()), Returns(0));
  EXPECT_FALSE(Has("f"));
}

TEST_F(Overlay, RenamesOfLowerDirectories) {
  EXPECT_THAT(Rename("d", "moved"), Returns(0));
  EXPECT_EQ(List("moved"), (Names{"1", "2", "3", "sub"}));
  EXPECT_EQ(ReadFile(At("moved/sub/deep")), "deep");
  EXPECT_FALSE(Has("d"));
  EXPECT_THAT(mkdir(At("d").c_str(), 0755), Returns(0));
  EXPECT_EQ(List("d"), Names{});
}

TEST_F(Overlay, RenamesOntoEmptyLowerDirectories) {
  EXPECT_THAT(Rename("d", "e"), Returns(0));
  EXPECT_EQ(List("e"), (Names{"1", "2", "3", "sub"}));
  EXPECT_THAT(Rename("e", "d/x"), FailsWith(ENOENT));
}

TEST_F(Overlay, ExchangesOfLowerNames) {
  EXPECT_THAT(Rename("f", "d", RENAME_EXCHANGE), Returns(0));
  EXPECT_EQ(ReadFile(At("d")), "lower");
  EXPECT_EQ(List("f"), (Names{"1", "2", "3", "sub"}));
}

TEST_F(Overlay, HardLinksStayOneFile) {
  EXPECT_EQ(StatOf("linked").st_ino, StatOf("twin").st_ino);
  EXPECT_EQ(StatOf("linked").st_nlink, 2u);
  UniqueFd fd = Open("linked", O_WRONLY);
  EXPECT_THAT(pwrite(fd.get(), "T", 1, 0), Returns(1));
  EXPECT_EQ(ReadFile(At("twin")), "Twice");
  EXPECT_EQ(StatOf("linked").st_ino, StatOf("twin").st_ino);
}

TEST_F(Overlay, LinkCountsOfLowerFiles) {
  EXPECT_THAT(unlink(At("twin").c_str()), Returns(0));
  EXPECT_EQ(StatOf("linked").st_nlink, 1u);
  EXPECT_THAT(link(At("linked").c_str(), At("third").c_str()), Returns(0));
  EXPECT_EQ(StatOf("third").st_nlink, 2u);
  EXPECT_EQ(ReadFile(At("third")), "twice");
}

TEST_F(Overlay, LinksToLowerSymlinks) {
  EXPECT_THAT(link(At("s").c_str(), At("s2").c_str()), Returns(0));
  char target[8] = {};
  EXPECT_THAT(readlink(At("s2").c_str(), target, sizeof target), Returns(1));
  EXPECT_STREQ(target, "f");
}

TEST_F(Overlay, OpenFilesOutliveTheirNames) {
  UniqueFd fd = Open("f", O_RDONLY);
  EXPECT_THAT(unlink(At("f").c_str()), Returns(0));
  EXPECT_EQ(ReadAll(fd.get()), "lower");
}

TEST_F(Overlay, DescriptorsSeeTheAttributesOfTheCopy) {
  UniqueFd fd = Open("f", O_RDONLY);
  EXPECT_THAT(chmod(At("f").c_str(), 0600), Returns(0));
  struct stat st = {};
  EXPECT_THAT(fstat(fd.get(), &st), Returns(0));
  EXPECT_EQ(st.st_mode & 07777, 0600u);
  EXPECT_THAT(fchmod(fd.get(), 0644), Returns(0));
  EXPECT_EQ(StatOf("f").st_mode & 07777, 0644u);
}

TEST_F(Overlay, WritesThroughOneDescriptorAreReadThroughALaterOne) {
  UniqueFd writer = Open("f", O_RDWR), reader = Open("f", O_RDONLY);
  EXPECT_THAT(pwrite(writer.get(), "LOWER+", 6, 0), Returns(6));
  EXPECT_EQ(ReadAll(reader.get()), "LOWER+");
}

TEST_F(Overlay, AppendingGoesBehindTheLowerData) {
  UniqueFd fd = Open("f", O_WRONLY | O_APPEND);
  EXPECT_THAT(write(fd.get(), "+", 1), Returns(1));
  EXPECT_EQ(ReadFile(At("f")), "lower+");
}

TEST_F(Overlay, SharedMappingsWriteTheCopy) {
  UniqueFd fd = Open("f", O_RDWR);
  void* const at = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  ASSERT_THAT(at, Succeeds());
  static_cast<char*>(at)[0] = 'L';
  EXPECT_EQ(ReadFile(At("f")), "Lower");
  munmap(at, 4096);
}

TEST_F(Overlay, TimesOfADirectoryChangeWithItsNames) {
  EXPECT_EQ(StatOf("e").st_mtim.tv_sec, 2000);
  WriteFile(At("e/new"), "x");
  EXPECT_NE(StatOf("e").st_mtim.tv_sec, 2000);
}

TEST_F(Overlay, FifosOfTheLowerTree) {
  EXPECT_TRUE(S_ISFIFO(StatOf("p").st_mode));
  UniqueFd fd = Open("p", O_RDWR | O_NONBLOCK);
  EXPECT_THAT(write(fd.get(), "x", 1), Returns(1));
  EXPECT_THAT(chmod(At("p").c_str(), 0666), Returns(0));
  char byte;
  EXPECT_THAT(read(fd.get(), &byte, 1), Returns(1));
}

TEST_F(Overlay, FailedChangesCopyNothing) {
  EXPECT_THAT(mkdir(At("d").c_str(), 0755), FailsWith(EEXIST));
  EXPECT_THAT(Rename("f", "d"), FailsWith(EISDIR));
  EXPECT_THAT(Rename("d", "d/sub/x"), FailsWith(EINVAL));
  EXPECT_THAT(Rename("none", "f"), FailsWith(ENOENT));
  EXPECT_EQ(StatOf("d").st_mtim.tv_sec, 2000);
  EXPECT_EQ(ReadFile(At("f")), "lower");
}

}  // namespace
