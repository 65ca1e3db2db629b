// What inotify(7) reports of each call.
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <utime.h>

#include "tests/conformance/inotify_support.h"

namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class Events : public testing::Test {
 protected:
  Events() { WriteFile(file_, "0123456789"); }
  // Watches the directory (1) and then the file (2).
  void WatchBoth(uint32_t mask = IN_ALL_EVENTS) {
    EXPECT_THAT(inotify_.Watch(dir_.path(), mask), Returns(1));
    EXPECT_THAT(inotify_.Watch(file_, mask), Returns(2));
  }
  TempDir dir_;
  const std::string file_ = dir_ / "file";
  Inotify inotify_;
};

TEST_F(Events, OpenAndClose) {
  WatchBoth();
  UniqueFd fd(open(file_.c_str(), O_RDONLY));
  EXPECT_THAT(inotify_.Events(), ElementsAre("1:OPEN file", "2:OPEN"));
  fd.reset();
  EXPECT_THAT(inotify_.Events(), ElementsAre("1:CLOSE_NOWRITE file", "2:CLOSE_NOWRITE"));
}

TEST_F(Events, CloseOfAWriterSaysSo) {
  WatchBoth(IN_CLOSE);
  UniqueFd(open(file_.c_str(), O_WRONLY)).reset();
  UniqueFd(open(file_.c_str(), O_RDWR)).reset();
  EXPECT_THAT(inotify_.Events(), ElementsAre("1:CLOSE_WRITE file", "2:CLOSE_WRITE",
                                             "1:CLOSE_WRITE file", "2:CLOSE_WRITE"));
}

TEST_F(Events, OnlyTheLastCloseCounts) {
  UniqueFd fd(open(file_.c_str(), O_RDONLY));
  UniqueFd second(dup(fd.get()));
  WatchBoth(IN_CLOSE);
  fd.reset();
  EXPECT_THAT(inotify_.Events(), IsEmpty());
  second.reset();
  EXPECT_THAT(inotify_.Events(), ElementsAre("1:CLOSE_NOWRITE file", "2:CLOSE_NOWRITE"));
}

TEST_F(Events, PathDescriptorsSayNothing) {
  WatchBoth();
  UniqueFd(open(file_.c_str(), O_PATH)).reset();
  EXPECT_THAT(inotify_.Events(), IsEmpty());
}

TEST_F(Events, ReadAndWrite) {
  UniqueFd fd(open(file_.c_str(), O_RDWR));
  WatchBoth();
  char byte;
  EXPECT_THAT(read(fd.get(), &byte, 1), Returns(1));
  EXPECT_THAT(write(fd.get(), "x", 1), Returns(1));
  EXPECT_THAT(inotify_.Events(),
              ElementsAre("1:ACCESS file", "2:ACCESS", "1:MODIFY file", "2:MODIFY"));
}

TEST_F(Events, NothingAtTheEndOfTheFile) {
  UniqueFd fd(open(file_.c_str(), O_RDONLY));
  WatchBoth();
  char byte;
  EXPECT_THAT(pread(fd.get(), &byte, 1, 100), Returns(0));
  EXPECT_THAT(inotify_.Events(), IsEmpty());
}

TEST_F(Events, VectorsAndOffsets) {
  UniqueFd fd(open(file_.c_str(), O_RDWR));
  WatchBoth(IN_ACCESS | IN_MODIFY);
  char byte;
  const iovec piece = {&byte, 1};
  EXPECT_THAT(preadv(fd.get(), &piece, 1, 0), Returns(1));
  EXPECT_THAT(inotify_.Events(), ElementsAre("1:ACCESS file", "2:ACCESS"));
  EXPECT_THAT(pwritev(fd.get(), &piece, 1, 0), Returns(1));
  EXPECT_THAT(inotify_.Events(), ElementsAre("1:MODIFY file", "2:MODIFY"));
  EXPECT_THAT(pwrite(fd.get(), &byte, 1, 0), Returns(1));
  EXPECT_THAT(inotify_.Events(), ElementsAre("1:MODIFY file", "2:MODIFY"));
}

TEST_F(Events, EqualEventsInARowAreOne) {
  UniqueFd fd(open(file_.c_str(), O_WRONLY));
  EXPECT_THAT(inotify_.Watch(file_, IN_MODIFY), Returns(1));
  for (int i = 0; i < 5; ++i) EXPECT_THAT(write(fd.get(), "x", 1), Returns(1));
  EXPECT_THAT(inotify_.Events(), ElementsAre("1:MODIFY"));
}

TEST_F(Events, OthersInBetweenKeepThemApart) {
  UniqueFd fd(open(file_.c_str(), O_RDWR));
  EXPECT_THAT(inotify_.Watch(file_, IN_MODIFY | IN_ACCESS), Returns(1));
  char byte;
  for (int i = 0; i < 2; ++i) {
    EXPECT_THAT(pwrite(fd.get(), "x", 1, 0), Returns(1));
    EXPECT_THAT(pread(fd.get(), &byte, 1, 0), Returns(1));
  }
  EXPECT_THAT(inotify_.Events(), ElementsAre("1:MODIFY", "1:ACCESS", "1:MODIFY", "1:ACCESS"));
}

TEST_F(Events, Truncation) {
  WatchBoth(IN_MODIFY | IN_ATTRIB);
  EXPECT_THAT(truncate(file_.c_str(), 3), Returns(0));
  EXPECT_THAT(inotify_.Events(), ElementsAre("1:MODIFY file", "2:MODIFY"));
  UniqueFd fd(open(file_.c_str(), O_RDWR));
  EXPECT_THAT(ftruncate(fd.get(), 7), Returns(0));
  EXPECT_THAT(inotify_.Events(), ElementsAre("1:MODIFY file", "2:MODIFY"));
}

TEST_F(Events, OpenThatTruncates) {
  EXPECT_THAT(inotify_.Watch(file_, IN_ALL_EVENTS), Returns(1));
  UniqueFd(open(file_.c_str(), O_WRONLY | O_TRUNC)).reset();
  EXPECT_THAT(inotify_.Events(),
              testing::UnorderedElementsAre("1:MODIFY", "1:OPEN", "1:CLOSE_WRITE"));
}

TEST_F(Events, Fallocate) {
  UniqueFd fd(open(file_.c_str(), O_RDWR));
  WatchBoth(IN_MODIFY);
  EXPECT_THAT(fallocate(fd.get(), 0, 0, 100), Returns(0));
  EXPECT_THAT(inotify_.Events(), ElementsAre("1:MODIFY file", "2:MODIFY"));
}

TEST_F(Events, CreationOfAFile) {
  EXPECT_THAT(inotify_.Watch(dir_.path(), IN_ALL_EVENTS), Returns(1));
  UniqueFd(open((dir_ / "new").c_str(), O_WRONLY | O_CREAT, 0600)).reset();
  EXPECT_THAT(inotify_.Events(), ElementsAre("1:CREATE new", "1:OPEN new", "1:CLOSE_WRITE new"));
}

TEST_F(Events, OpenOfWhatIsThereCreatesNothing) {
  EXPECT_THAT(inotify_.Watch(dir_.path(), IN_CREATE), Returns(1));
  UniqueFd(open(file_.c_str(), O_WRONLY | O_CREAT, 0600)).reset();
  EXPECT_THAT(inotify_.Events(), IsEmpty());
}

TEST_F(Events, CreationOfEverythingElse) {
  EXPECT_THAT(inotify_.Watch(dir_.path(), IN_ALL_EVENTS), Returns(1));
  EXPECT_THAT(mkdir((dir_ / "d").c_str(), 0700), Returns(0));
  EXPECT_THAT(symlink("x", (dir_ / "s").c_str()), Returns(0));
  EXPECT_THAT(mkfifo((dir_ / "p").c_str(), 0600), Returns(0));
  EXPECT_THAT(mknod((dir_ / "n").c_str(), S_IFREG | 0600, 0), Returns(0));
  EXPECT_THAT(inotify_.Events(),
              ElementsAre("1:CREATE|ISDIR d", "1:CREATE s", "1:CREATE p", "1:CREATE n"));
}

TEST_F(Events, HardLinks) {
  WatchBoth();
  EXPECT_THAT(link(file_.c_str(), (dir_ / "two").c_str()), Returns(0));
  EXPECT_THAT(inotify_.Events(), ElementsAre("2:ATTRIB", "1:CREATE two"));
  EXPECT_THAT(unlink((dir_ / "two").c_str()), Returns(0));
  EXPECT_THAT(inotify_.Events(), ElementsAre("2:ATTRIB", "1:DELETE two"));
}

TEST_F(Events, EventsThroughAnotherNameReachTheInode) {
  EXPECT_THAT(link(file_.c_str(), (dir_ / "two").c_str()), Returns(0));
  WatchBoth(IN_OPEN);
  UniqueFd(open((dir_ / "two").c_str(), O_RDONLY)).reset();
  EXPECT_THAT(inotify_.Events(), ElementsAre("1:OPEN two", "2:OPEN"));
}

TEST_F(Events, RemovalOfAFile) {
  WatchBoth();
  EXPECT_THAT(unlink(file_.c_str()), Returns(0));
  EXPECT_THAT(inotify_.Events(),
              ElementsAre("2:ATTRIB", "2:DELETE_SELF", "2:IGNORED", "1:DELETE file"));
}

TEST_F(Events, RemovalOfAnOpenFileEndsWithItsClose) {
  UniqueFd fd(open(file_.c_str(), O_RDONLY));
  EXPECT_THAT(inotify_.Watch(file_, IN_ALL_EVENTS), Returns(1));
  EXPECT_THAT(unlink(file_.c_str()), Returns(0));
  EXPECT_THAT(inotify_.Events(), ElementsAre("1:ATTRIB"));
  fd.reset();
  EXPECT_THAT(inotify_.Events(), ElementsAre("1:CLOSE_NOWRITE", "1:DELETE_SELF", "1:IGNORED"));
}

TEST_F(Events, AnotherNameKeepsTheInode) {
  EXPECT_THAT(link(file_.c_str(), (dir_ / "two").c_str()), Returns(0));
  EXPECT_THAT(inotify_.Watch(file_, IN_ALL_EVENTS), Returns(1));
  EXPECT_THAT(unlink(file_.c_str()), Returns(0));
  EXPECT_THAT(inotify_.Events(), ElementsAre("1:ATTRIB"));
}

TEST_F(Events, RemovalOfADirectory) {
  EXPECT_THAT(mkdir((dir_ / "d").c_str(), 0700), Returns(0));
  EXPECT_THAT(inotify_.Watch(dir_.path(), IN_ALL_EVENTS), Returns(1));
  EXPECT_THAT(inotify_.Watch(dir_ / "d", IN_ALL_EVENTS), Returns(2));
  EXPECT_THAT(rmdir((dir_ / "d").c_str()), Returns(0));
  EXPECT_THAT(inotify_.Events(), ElementsAre("2:DELETE_SELF", "2:IGNORED", "1:DELETE|ISDIR d"));
}

TEST_F(Events, Rename) {
  WatchBoth();
  EXPECT_THAT(rename(file_.c_str(), (dir_ / "to").c_str()), Returns(0));
  EXPECT_THAT(inotify_.Events(),
              ElementsAre("1:MOVED_FROM file #1", "1:MOVED_TO to #1", "2:MOVE_SELF"));
}

TEST_F(Events, RenameBetweenDirectories) {
  EXPECT_THAT(mkdir((dir_ / "d").c_str(), 0700), Returns(0));
  EXPECT_THAT(inotify_.Watch(dir_.path(), IN_MOVE), Returns(1));
  EXPECT_THAT(inotify_.Watch(dir_ / "d", IN_MOVE), Returns(2));
  EXPECT_THAT(rename(file_.c_str(), (dir_ / "d/x").c_str()), Returns(0));
  EXPECT_THAT(inotify_.Events(), ElementsAre("1:MOVED_FROM file #1", "2:MOVED_TO x #1"));
}

TEST_F(Events, RenameOfADirectory) {
  EXPECT_THAT(mkdir((dir_ / "d").c_str(), 0700), Returns(0));
  EXPECT_THAT(inotify_.Watch(dir_.path(), IN_ALL_EVENTS), Returns(1));
  EXPECT_THAT(inotify_.Watch(dir_ / "d", IN_ALL_EVENTS), Returns(2));
  EXPECT_THAT(rename((dir_ / "d").c_str(), (dir_ / "e").c_str()), Returns(0));
  EXPECT_THAT(inotify_.Events(),
              ElementsAre("1:MOVED_FROM|ISDIR d #1", "1:MOVED_TO|ISDIR e #1", "2:MOVE_SELF"));
}

TEST_F(Events, RenameOverAFile) {
  WriteFile(dir_ / "victim", "v");
  EXPECT_THAT(inotify_.Watch(dir_.path(), IN_ALL_EVENTS), Returns(1));
  EXPECT_THAT(inotify_.Watch(dir_ / "victim", IN_ALL_EVENTS), Returns(2));
  EXPECT_THAT(rename(file_.c_str(), (dir_ / "victim").c_str()), Returns(0));
  EXPECT_THAT(inotify_.Events(), ElementsAre("1:MOVED_FROM file #1", "1:MOVED_TO victim #1",
                                             "2:ATTRIB", "2:DELETE_SELF", "2:IGNORED"));
}

TEST_F(Events, Exchange) {
  WriteFile(dir_ / "other", "o");
  EXPECT_THAT(inotify_.Watch(dir_.path(), IN_MOVE), Returns(1));
  EXPECT_THAT(
      renameat2(AT_FDCWD, file_.c_str(), AT_FDCWD, (dir_ / "other").c_str(), RENAME_EXCHANGE),
      Returns(0));
  EXPECT_THAT(inotify_.Events(), ElementsAre("1:MOVED_FROM file #1", "1:MOVED_TO other #1",
                                             "1:MOVED_FROM other #2", "1:MOVED_TO file #2"));
}

TEST_F(Events, TheWatchFollowsAMovedInode) {
  EXPECT_THAT(inotify_.Watch(file_, IN_OPEN), Returns(1));
  EXPECT_THAT(rename(file_.c_str(), (dir_ / "to").c_str()), Returns(0));
  UniqueFd(open((dir_ / "to").c_str(), O_RDONLY)).reset();
  EXPECT_THAT(inotify_.Events(), ElementsAre("1:OPEN"));
}

TEST_F(Events, ModeAndOwner) {
  WatchBoth(IN_ATTRIB | IN_MODIFY);
  EXPECT_THAT(chmod(file_.c_str(), 0600), Returns(0));
  EXPECT_THAT(inotify_.Events(), ElementsAre("1:ATTRIB file", "2:ATTRIB"));
  EXPECT_THAT(chown(file_.c_str(), 1, 1), Returns(0));
  EXPECT_THAT(inotify_.Events(), ElementsAre("1:ATTRIB file", "2:ATTRIB"));
}

TEST_F(Events, Times) {
  WatchBoth(IN_ATTRIB | IN_MODIFY | IN_ACCESS);
  EXPECT_THAT(utimes(file_.c_str(), nullptr), Returns(0));
  EXPECT_THAT(inotify_.Events(), ElementsAre("1:ATTRIB file", "2:ATTRIB"));
  const timespec only_access[2] = {{1, 0}, {0, UTIME_OMIT}};
  EXPECT_THAT(utimensat(AT_FDCWD, file_.c_str(), only_access, 0), Returns(0));
  EXPECT_THAT(inotify_.Events(), ElementsAre("1:ACCESS file", "2:ACCESS"));
  const timespec only_change[2] = {{0, UTIME_OMIT}, {1, 0}};
  EXPECT_THAT(utimensat(AT_FDCWD, file_.c_str(), only_change, 0), Returns(0));
  EXPECT_THAT(inotify_.Events(), ElementsAre("1:MODIFY file", "2:MODIFY"));
}

TEST_F(Events, ExtendedAttributes) {
  WatchBoth();
  EXPECT_THAT(setxattr(file_.c_str(), "user.a", "1", 1, 0), Returns(0));
  EXPECT_THAT(inotify_.Events(), ElementsAre("1:ATTRIB file", "2:ATTRIB"));
  EXPECT_THAT(removexattr(file_.c_str(), "user.a"), Returns(0));
  EXPECT_THAT(inotify_.Events(), ElementsAre("1:ATTRIB file", "2:ATTRIB"));
}

TEST_F(Events, FailuresSayNothing) {
  WatchBoth();
  EXPECT_THAT(mkdir(file_.c_str(), 0700), FailsWith(EEXIST));
  EXPECT_THAT(rmdir(file_.c_str()), FailsWith(ENOTDIR));
  EXPECT_THAT(open((dir_ / "none").c_str(), O_RDONLY), FailsWith(ENOENT));
  EXPECT_THAT(inotify_.Events(), IsEmpty());
}

TEST_F(Events, StatSaysNothing) {
  WatchBoth();
  struct stat st;
  EXPECT_THAT(stat(file_.c_str(), &st), Returns(0));
  EXPECT_THAT(access(file_.c_str(), R_OK), Returns(0));
  EXPECT_THAT(inotify_.Events(), IsEmpty());
}

TEST_F(Events, ListingADirectory) {
  EXPECT_THAT(inotify_.Watch(dir_.path(), IN_ALL_EVENTS), Returns(1));
  UniqueFd fd(open(dir_.path().c_str(), O_RDONLY | O_DIRECTORY));
  char buffer[4096];
  EXPECT_GT(syscall(SYS_getdents64, fd.get(), buffer, sizeof buffer), 0);
  fd.reset();
  EXPECT_THAT(inotify_.Events(),
              ElementsAre("1:OPEN|ISDIR", "1:ACCESS|ISDIR", "1:CLOSE_NOWRITE|ISDIR"));
}

TEST_F(Events, SubdirectoriesReportTheirOwnToTheParent) {
  EXPECT_THAT(mkdir((dir_ / "d").c_str(), 0700), Returns(0));
  EXPECT_THAT(inotify_.Watch(dir_.path(), IN_ALL_EVENTS), Returns(1));
  EXPECT_THAT(chmod((dir_ / "d").c_str(), 0755), Returns(0));
  UniqueFd(open((dir_ / "d").c_str(), O_RDONLY)).reset();
  EXPECT_THAT(inotify_.Events(),
              ElementsAre("1:ATTRIB|ISDIR d", "1:OPEN|ISDIR d", "1:CLOSE_NOWRITE|ISDIR d"));
}

TEST_F(Events, GrandchildrenAreNotReported) {
  EXPECT_THAT(mkdir((dir_ / "d").c_str(), 0700), Returns(0));
  EXPECT_THAT(inotify_.Watch(dir_.path(), IN_ALL_EVENTS), Returns(1));
  WriteFile(dir_ / "d/inner", "x");
  EXPECT_THAT(inotify_.Events(), IsEmpty());
}

TEST_F(Events, SendfileReadsAndWrites) {
  UniqueFd in(open(file_.c_str(), O_RDONLY));
  UniqueFd out(open((dir_ / "out").c_str(), O_WRONLY | O_CREAT, 0600));
  EXPECT_THAT(inotify_.Watch(dir_.path(), IN_ACCESS | IN_MODIFY), Returns(1));
  EXPECT_THAT(sendfile(out.get(), in.get(), nullptr, 5), Returns(5));
  EXPECT_THAT(inotify_.Events(), testing::UnorderedElementsAre("1:ACCESS file", "1:MODIFY out"));
}

TEST_F(Events, CopyFileRange) {
  UniqueFd in(open(file_.c_str(), O_RDONLY));
  UniqueFd out(open((dir_ / "out").c_str(), O_WRONLY | O_CREAT, 0600));
  EXPECT_THAT(inotify_.Watch(dir_.path(), IN_MODIFY), Returns(1));
  EXPECT_THAT(copy_file_range(in.get(), nullptr, out.get(), nullptr, 5, 0), Returns(5));
  EXPECT_THAT(inotify_.Events(), ElementsAre("1:MODIFY out"));
}

TEST_F(Events, MappingsAreSilent) {
  UniqueFd fd(open(file_.c_str(), O_RDWR));
  WatchBoth(IN_ACCESS | IN_MODIFY);
  void* const map = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  ASSERT_NE(map, MAP_FAILED);
  static_cast<char*>(map)[0] = 'x';
  munmap(map, 4096);
  EXPECT_THAT(inotify_.Events(), IsEmpty());
}

TEST_F(Events, OtherProcessesAreSeen) {
  EXPECT_THAT(inotify_.Watch(dir_.path(), IN_CREATE | IN_CLOSE_WRITE), Returns(1));
  EXPECT_THAT(InChild([&] {
                UniqueFd(open((dir_ / "child").c_str(), O_WRONLY | O_CREAT, 0600)).reset();
                return 0;
              }),
              Exited(0));
  EXPECT_THAT(inotify_.Events(), ElementsAre("1:CREATE child", "1:CLOSE_WRITE child"));
}

TEST_F(Events, TheEndOfAProcessClosesItsFiles) {
  EXPECT_THAT(inotify_.Watch(dir_.path(), IN_CLOSE), Returns(1));
  EXPECT_THAT(InChild([&] {
                (void)open(file_.c_str(), O_WRONLY);
                return 0;
              }),
              Exited(0));
  EXPECT_TRUE(WaitReadable(inotify_.fd()));
  EXPECT_THAT(inotify_.Events(), ElementsAre("1:CLOSE_WRITE file"));
}

}  // namespace
