// Which call changes which time of a file and of its directory.
#include <dirent.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "tests/conformance/files_calls.h"

namespace {

using Dir = const std::string&;

// Waits until files get another time than before.
void AwaitTick() {
  timespec before, now;
  clock_gettime(CLOCK_REALTIME_COARSE, &before);
  do {
    sched_yield();
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
  } while (now.tv_sec == before.tv_sec && now.tv_nsec == before.tv_nsec);
}

bool Same(const timespec& a, const timespec& b) {
  return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

// "a", "m" and "c" for the times that differ, "-" for those that do not; "gone".
std::string Changes(const struct stat& before, const std::string& path) {
  struct stat st = {};
  if (lstat(path.c_str(), &st) != 0) return "gone";
  std::string text;
  text += Same(before.st_atim, st.st_atim) ? '-' : 'a';
  text += Same(before.st_mtim, st.st_mtim) ? '-' : 'm';
  text += Same(before.st_ctim, st.st_ctim) ? '-' : 'c';
  return text;
}

UniqueFd Open(Dir path, int flags) { return UniqueFd(open(path.c_str(), flags, 0644)); }

struct Act {
  const char* name;
  // What changes of `file` ("data", also known as "second"), its directory and "target" ("other")
  // there.
  const char* changes;
  void (*run)(Dir dir);
};

const Act kActs[] = {
    {"Read", "a-- --- ---",
     [](Dir d) {
       char byte;
       EXPECT_THAT(read(Open(d + "/file", O_RDONLY).get(), &byte, 1), Returns(1));
     }},
    {"ReadNothing", "--- --- ---",
     [](Dir d) {
       char byte;
       EXPECT_THAT(read(Open(d + "/file", O_RDONLY).get(), &byte, 0), Returns(0));
     }},
    {"ReadAtTheEnd", "a-- --- ---",
     [](Dir d) {
       char byte;
       EXPECT_THAT(pread(Open(d + "/file", O_RDONLY).get(), &byte, 1, 100), Returns(0));
     }},
    {"ReadWithoutAtime", "--- --- ---",
     [](Dir d) {
       char byte;
       EXPECT_THAT(read(Open(d + "/file", O_RDONLY | O_NOATIME).get(), &byte, 1), Returns(1));
     }},
    {"Write", "-mc --- ---",
     [](Dir d) { EXPECT_THAT(write(Open(d + "/file", O_WRONLY).get(), "x", 1), Returns(1)); }},
    {"WriteNothing", "--- --- ---",
     [](Dir d) { EXPECT_THAT(write(Open(d + "/file", O_WRONLY).get(), "x", 0), Returns(0)); }},
    {"OpenOnly", "--- --- ---", [](Dir d) { EXPECT_TRUE(Open(d + "/file", O_RDWR).valid()); }},
    {"OpenCreatesNothing", "--- --- ---",
     [](Dir d) { EXPECT_TRUE(Open(d + "/file", O_RDWR | O_CREAT).valid()); }},
    {"OpenTruncates", "-mc --- ---",
     [](Dir d) { EXPECT_TRUE(Open(d + "/file", O_RDWR | O_TRUNC).valid()); }},
    {"TruncateToTheSame", "-mc --- ---",
     [](Dir d) { EXPECT_THAT(truncate((d + "/file").c_str(), 4), Returns(0)); }},
    {"TruncateGrows", "-mc --- ---",
     [](Dir d) { EXPECT_THAT(truncate((d + "/file").c_str(), 9), Returns(0)); }},
    {"FtruncateToTheSame", "-mc --- ---",
     [](Dir d) { EXPECT_THAT(ftruncate(Open(d + "/file", O_RDWR).get(), 4), Returns(0)); }},
    {"FtruncateShrinks", "-mc --- ---",
     [](Dir d) { EXPECT_THAT(ftruncate(Open(d + "/file", O_RDWR).get(), 2), Returns(0)); }},
    {"FallocateGrows", "-mc --- ---",
     [](Dir d) { EXPECT_THAT(fallocate(Open(d + "/file", O_RDWR).get(), 0, 0, 100), Returns(0)); }},
    {"FallocatePunches", "-mc --- ---",
     [](Dir d) {
       EXPECT_THAT(fallocate(Open(d + "/file", O_RDWR).get(),
                             FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 2),
                   Returns(0));
     }},
    {"Chmod", "--c --- ---",
     [](Dir d) { EXPECT_THAT(chmod((d + "/file").c_str(), 0600), Returns(0)); }},
    {"ChmodToTheSame", "--c --- ---",
     [](Dir d) { EXPECT_THAT(chmod((d + "/file").c_str(), 0644), Returns(0)); }},
    {"ChownOfNothing", "--c --- ---",
     [](Dir d) { EXPECT_THAT(chown((d + "/file").c_str(), -1, -1), Returns(0)); }},
    {"Link", "--c -mc ---",
     [](Dir d) { EXPECT_THAT(link((d + "/file").c_str(), (d + "/third").c_str()), Returns(0)); }},
    {"UnlinkOneOfTwo", "--c -mc ---",
     [](Dir d) { EXPECT_THAT(unlink((d + "/second").c_str()), Returns(0)); }},
    {"RenameOfIt", "--c -mc ---",
     [](Dir d) {
       EXPECT_THAT(rename((d + "/file").c_str(), (d + "/x").c_str()), Returns(0));
       EXPECT_THAT(rename((d + "/x").c_str(), (d + "/file").c_str()), Returns(0));
     }},
    {"RenameOver", "--c -mc gone",
     [](Dir d) {
       EXPECT_THAT(rename((d + "/target").c_str(), (d + "/second").c_str()), Returns(0));
     }},
    {"RenameToItself", "--- --- ---",
     [](Dir d) { EXPECT_THAT(rename((d + "/file").c_str(), (d + "/file").c_str()), Returns(0)); }},
    {"RenameToASecondName", "--- --- ---",
     [](Dir d) {
       EXPECT_THAT(rename((d + "/file").c_str(), (d + "/second").c_str()), Returns(0));
     }},
    {"Exchange", "--c -mc --c",
     [](Dir d) {
       EXPECT_THAT(renameat2(AT_FDCWD, (d + "/file").c_str(), AT_FDCWD, (d + "/target").c_str(),
                             RENAME_EXCHANGE),
                   Returns(0));
     }},
    {"RenameAway", "--- -mc gone",
     [](Dir d) {
       EXPECT_THAT(rename((d + "/target").c_str(), (d + "/../away").c_str()), Returns(0));
     }},
    {"Setxattr", "--c --- ---",
     [](Dir d) { EXPECT_THAT(setxattr((d + "/file").c_str(), "user.a", "1", 1, 0), Returns(0)); }},
    {"RemovexattrOfNone", "--- --- ---",
     [](Dir d) { EXPECT_THAT(removexattr((d + "/file").c_str(), "user.x"), FailsWith(ENODATA)); }},
    {"Getxattr", "--- --- ---",
     [](Dir d) {
       EXPECT_THAT(getxattr((d + "/file").c_str(), "user.x", nullptr, 0), FailsWith(ENODATA));
     }},
    {"UtimesOfBoth", "amc --- ---",
     [](Dir d) {
       const timespec times[2] = {{5, 0}, {6, 0}};
       EXPECT_THAT(utimensat(AT_FDCWD, (d + "/file").c_str(), times, 0), Returns(0));
     }},
    {"UtimesOfAccess", "a-c --- ---",
     [](Dir d) {
       const timespec times[2] = {{5, 0}, {0, UTIME_OMIT}};
       EXPECT_THAT(utimensat(AT_FDCWD, (d + "/file").c_str(), times, 0), Returns(0));
     }},
    {"UtimesOfChange", "-mc --- ---",
     [](Dir d) {
       const timespec times[2] = {{0, UTIME_OMIT}, {0, UTIME_NOW}};
       EXPECT_THAT(utimensat(AT_FDCWD, (d + "/file").c_str(), times, 0), Returns(0));
     }},
    {"UtimesOfNothing", "--- --- ---",
     [](Dir d) {
       const timespec times[2] = {{0, UTIME_OMIT}, {0, UTIME_OMIT}};
       EXPECT_THAT(utimensat(AT_FDCWD, (d + "/file").c_str(), times, 0), Returns(0));
     }},
    {"Readdir", "--- a-- ---",
     [](Dir d) {
       DIR* const dir = opendir(d.c_str());
       while (readdir(dir) != nullptr) {
       }
       closedir(dir);
     }},
    {"Create", "--- -mc ---",
     [](Dir d) { EXPECT_TRUE(Open(d + "/new", O_RDWR | O_CREAT).valid()); }},
    {"Mkdir", "--- -mc ---",
     [](Dir d) { EXPECT_THAT(mkdir((d + "/new").c_str(), 0755), Returns(0)); }},
    {"Mknod", "--- -mc ---",
     [](Dir d) { EXPECT_THAT(mkfifo((d + "/new").c_str(), 0644), Returns(0)); }},
    {"Symlink", "--- -mc ---",
     [](Dir d) { EXPECT_THAT(symlink("x", (d + "/new").c_str()), Returns(0)); }},
    {"Unlink", "--- -mc gone",
     [](Dir d) { EXPECT_THAT(unlink((d + "/target").c_str()), Returns(0)); }},
    {"FailedCreate", "--- --- ---",
     [](Dir d) {
       EXPECT_THAT(mkdir((d + "/file").c_str(), 0755), FailsWith(EEXIST));
       EXPECT_THAT(rmdir((d + "/file").c_str()), FailsWith(ENOTDIR));
       EXPECT_THAT(unlink((d + "/none").c_str()), FailsWith(ENOENT));
     }},
    {"LinkOfIt", "--- -mc --c",
     [](Dir d) {
       EXPECT_THAT(link((d + "/target").c_str(), (d + "/new").c_str()), Returns(0));
       EXPECT_THAT(unlink((d + "/new").c_str()), Returns(0));
     }},
    {"Sendfile", "a-- --- -mc",
     [](Dir d) {
       UniqueFd in = Open(d + "/file", O_RDONLY), out = Open(d + "/target", O_WRONLY);
       EXPECT_THAT(sendfile(out.get(), in.get(), nullptr, 4), Returns(4));
     }},
    {"CopyFileRange", "a-- --- -mc",
     [](Dir d) {
       UniqueFd in = Open(d + "/file", O_RDONLY), out = Open(d + "/target", O_WRONLY);
       EXPECT_THAT(copy_file_range(in.get(), nullptr, out.get(), nullptr, 4, 0), Returns(4));
     }},
    {"Splice", "a-- --- -mc",
     [](Dir d) {
       Pipe pipe;
       UniqueFd in = Open(d + "/file", O_RDONLY), out = Open(d + "/target", O_WRONLY);
       EXPECT_THAT(splice(in.get(), nullptr, pipe.write.get(), nullptr, 4, 0), Returns(4));
       EXPECT_THAT(splice(pipe.read.get(), nullptr, out.get(), nullptr, 4, 0), Returns(4));
     }},
    {"LooksAndLocks", "--- --- ---",
     [](Dir d) {
       struct stat st;
       UniqueFd fd = Open(d + "/file", O_RDONLY);
       EXPECT_THAT(stat((d + "/file").c_str(), &st), Returns(0));
       EXPECT_THAT(access((d + "/file").c_str(), R_OK), Returns(0));
       EXPECT_THAT(flock(fd.get(), LOCK_SH), Returns(0));
       EXPECT_THAT(lseek(fd.get(), 2, SEEK_SET), Returns(2));
       EXPECT_THAT(fsync(fd.get()), Returns(0));
     }},
};

class TimesOfActs : public testing::TestWithParam<std::tuple<Place, size_t>> {};
INSTANTIATE_TEST_SUITE_P(, TimesOfActs,
                         testing::Combine(testing::ValuesIn(Places()),
                                          testing::Range<size_t>(0, std::size(kActs))),
                         [](const auto& info) {
                           return NameOf(std::get<0>(info.param)) + "_" +
                                  kActs[std::get<1>(info.param)].name;
                         });

TEST_P(TimesOfActs, AsOnLinux) {
  const Act& act = kActs[std::get<1>(GetParam())];
  setenv("CONFORMANCE_DIR", DirectoryOf(std::get<0>(GetParam())).c_str(), 1);
  TempDir base;
  const std::string dir = base / "dir";
  ASSERT_THAT(mkdir(dir.c_str(), 0755), Returns(0));
  const std::string names[] = {dir + "/file", dir, dir + "/target"};
  WriteFile(names[0], "data");
  WriteFile(names[2], "other");
  ASSERT_THAT(link(names[0].c_str(), (dir + "/second").c_str()), Returns(0));
  // Access before modification: relatime says that the next access counts.
  const timespec old[2] = {{1000, 0}, {2000, 0}};
  struct stat before[3];
  for (size_t i = 0; i < 3; ++i) {
    ASSERT_THAT(utimensat(AT_FDCWD, names[i].c_str(), old, 0), Returns(0));
    ASSERT_THAT(lstat(names[i].c_str(), &before[i]), Returns(0));
  }
  AwaitTick();
  act.run(dir);
  std::string changes;
  for (size_t i = 0; i < 3; ++i) changes += (i == 0 ? "" : " ") + Changes(before[i], names[i]);
  std::string expected = act.changes;
  // A tmpfs counts a read of nothing, and an overlay reads for copy_file_range(2) without a trace.
  const Place place = std::get<0>(GetParam());
  const std::string name = act.name;
  if (name == "ReadNothing" && place == Place::kTmpfs) expected = "a-- --- ---";
  if (name == "CopyFileRange" && place == Place::kOverlay) expected = "--- --- -mc";
  EXPECT_EQ(changes, expected) << name;
}

class AccessTimes : public AtPlace {
 protected:
  // Whether reading a byte changes the time of last access, which was set to `access`.
  bool ReadingCounts(const std::string& path, timespec access, timespec change) {
    const timespec times[2] = {access, change};
    EXPECT_THAT(utimensat(AT_FDCWD, path.c_str(), times, 0), Returns(0));
    AwaitTick();
    struct stat before = {}, after = {};
    EXPECT_THAT(stat(path.c_str(), &before), Returns(0));
    EXPECT_EQ(ReadFile(path), "x");
    EXPECT_THAT(stat(path.c_str(), &after), Returns(0));
    return !Same(before.st_atim, after.st_atim);
  }
  // A bind mount of the directory onto itself with other flags, in a child.
  template <typename Body>
  void WithFlags(unsigned long flags, Body body) {
    EXPECT_THAT(
        InChild([&] {
          const char* const path = dir_.path().c_str();
          CHILD_CHECK(unshare(CLONE_NEWNS) == 0);
          CHILD_CHECK(mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0);
          CHILD_CHECK(mount(path, path, nullptr, MS_BIND, nullptr) == 0);
          CHILD_CHECK(mount("none", path, nullptr, MS_REMOUNT | MS_BIND | flags, nullptr) == 0);
          body();
          return testing::Test::HasFailure() ? 1 : 0;
        }),
        Exited(0));
  }
  static timespec Now() {
    timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now;
  }
  // In the past, and later than any change of status cannot be: times of access in the future.
  static timespec Later() { return {Now().tv_sec + 1000, 0}; }
  TempDir dir_;
};
AT_EACH_PLACE(AccessTimes);

TEST_P(AccessTimes, RelativeOnesFollowChanges) {
  WriteFile(dir_ / "f", "x");
  EXPECT_TRUE(ReadingCounts(dir_ / "f", {1000, 0}, {2000, 0}));
}

TEST_P(AccessTimes, RelativeOnesStayWhenLaterThanChanges) {
  WriteFile(dir_ / "f", "x");
  EXPECT_FALSE(ReadingCounts(dir_ / "f", Later(), {2000, 0}));
}

TEST_P(AccessTimes, OldOnesAreRenewed) {
  WriteFile(dir_ / "f", "x");
  // Not later than the change of status, which setting it was.
  EXPECT_TRUE(ReadingCounts(dir_ / "f", {3000, 0}, {2000, 0}));
}

TEST_P(AccessTimes, NoatimeMounts) {
  WriteFile(dir_ / "f", "x");
  WithFlags(MS_NOATIME, [&] { EXPECT_FALSE(ReadingCounts(dir_ / "f", {1000, 0}, {2000, 0})); });
}

TEST_P(AccessTimes, NoatimeMountsHaveDirectoriesWithout) {
  WithFlags(MS_NOATIME, [&] {
    struct stat before = {}, after = {};
    const timespec times[2] = {{1000, 0}, {2000, 0}};
    EXPECT_THAT(utimensat(AT_FDCWD, dir_.path().c_str(), times, 0), Returns(0));
    EXPECT_THAT(stat(dir_.path().c_str(), &before), Returns(0));
    DIR* const dir = opendir(dir_.path().c_str());
    while (readdir(dir) != nullptr) {
    }
    closedir(dir);
    EXPECT_THAT(stat(dir_.path().c_str(), &after), Returns(0));
    EXPECT_TRUE(Same(before.st_atim, after.st_atim));
  });
}

TEST_P(AccessTimes, NodiratimeMountsHaveFilesWith) {
  WriteFile(dir_ / "f", "x");
  WithFlags(MS_NODIRATIME | MS_RELATIME, [&] {
    EXPECT_TRUE(ReadingCounts(dir_ / "f", {1000, 0}, {2000, 0}));
  });
}

TEST_P(AccessTimes, DescriptorsWithoutAtime) {
  WriteFile(dir_ / "f", "x");
  const timespec times[2] = {{1000, 0}, {2000, 0}};
  EXPECT_THAT(utimensat(AT_FDCWD, (dir_ / "f").c_str(), times, 0), Returns(0));
  UniqueFd fd(open((dir_ / "f").c_str(), O_RDONLY));
  EXPECT_THAT(fcntl(fd.get(), F_SETFL, O_NOATIME), Returns(0));
  EXPECT_EQ(fcntl(fd.get(), F_GETFL) & O_NOATIME, O_NOATIME);
  EXPECT_EQ(ReadAll(fd.get()), "x");
  struct stat st = {};
  EXPECT_THAT(stat((dir_ / "f").c_str(), &st), Returns(0));
  EXPECT_EQ(st.st_atim.tv_sec, 1000);
}

TEST_P(AccessTimes, ThatOfALinkWhenItIsRead) {
  ASSERT_THAT(symlink("target", (dir_ / "s").c_str()), Returns(0));
  const timespec times[2] = {{1000, 0}, {2000, 0}};
  EXPECT_THAT(utimensat(AT_FDCWD, (dir_ / "s").c_str(), times, AT_SYMLINK_NOFOLLOW), Returns(0));
  char target[16];
  EXPECT_THAT(readlink((dir_ / "s").c_str(), target, sizeof target), Returns(6));
  struct stat st = {};
  EXPECT_THAT(lstat((dir_ / "s").c_str(), &st), Returns(0));
  EXPECT_NE(st.st_atim.tv_sec, 1000);
  EXPECT_EQ(st.st_mtim.tv_sec, 2000);
}

}  // namespace
