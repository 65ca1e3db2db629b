// What the last component may look like, and what is wrong with the ones before: each call that
// takes a path, with each form of it. The tables are Linux's answers on ext4, tmpfs and overlayfs
// alike.
#include <string.h>
#include <sys/stat.h>

#include "tests/conformance/files_calls.h"

namespace {

// A slash behind a file, directory, link to a file, link to a directory, dangling link, nothing.
FOR_EACH_CALL(TrailingSlash);
TEST_P(TrailingSlash, AsLinuxAnswers) {
  static const std::vector<Expected> kTable = {
      {"OpenRead", "ENOTDIR ok ok ENOTDIR ok ENOENT ENOENT ok"},
      {"OpenWrite", "ENOTDIR EISDIR EISDIR ENOTDIR EISDIR ENOENT ENOENT EISDIR"},
      {"OpenTruncate", "ENOTDIR EISDIR EISDIR ENOTDIR EISDIR ENOENT ENOENT EISDIR"},
      {"OpenCreate", "EISDIR EISDIR EISDIR EISDIR EISDIR EISDIR EISDIR EISDIR"},
      {"OpenCreateWrite", "EISDIR EISDIR EISDIR EISDIR EISDIR EISDIR EISDIR EISDIR"},
      {"OpenExclusive", "EISDIR EISDIR EISDIR EISDIR EISDIR EISDIR EISDIR EISDIR"},
      {"OpenDirectory", "ENOTDIR ok ok ENOTDIR ok ENOENT ENOENT ok"},
      {"OpenNoFollow", "ENOTDIR ok ok ENOTDIR ok ENOENT ENOENT ok"},
      {"OpenPath", "ENOTDIR ok ok ENOTDIR ok ENOENT ENOENT ok"},
      {"OpenPathNoFollow", "ENOTDIR ok ok ENOTDIR ok ENOENT ENOENT ok"},
      {"Stat", "ENOTDIR ok ok ENOTDIR ok ENOENT ENOENT ok"},
      {"Lstat", "ENOTDIR ok ok ENOTDIR ok ENOENT ENOENT ok"},
      {"Statx", "ENOTDIR ok ok ENOTDIR ok ENOENT ENOENT ok"},
      {"StatxNoFollow", "ENOTDIR ok ok ENOTDIR ok ENOENT ENOENT ok"},
      {"Statfs", "ENOTDIR ok ok ENOTDIR ok ENOENT ENOENT ok"},
      {"AccessExists", "ENOTDIR ok ok ENOTDIR ok ENOENT ENOENT ok"},
      {"AccessWrite", "ENOTDIR ok ok ENOTDIR ok ENOENT ENOENT ok"},
      {"AccessNoFollow", "ENOTDIR ok ok ENOTDIR ok ENOENT ENOENT ok"},
      {"Chmod", "ENOTDIR ok ok ENOTDIR ok ENOENT ENOENT ok"},
      {"ChmodNoFollow", "ENOTDIR ok ok ENOTDIR ok ENOENT ENOENT ok"},
      {"Chown", "ENOTDIR ok ok ENOTDIR ok ENOENT ENOENT ok"},
      {"Lchown", "ENOTDIR ok ok ENOTDIR ok ENOENT ENOENT ok"},
      {"Utimes", "ENOTDIR ok ok ENOTDIR ok ENOENT ENOENT ok"},
      {"UtimesNoFollow", "ENOTDIR ok ok ENOTDIR ok ENOENT ENOENT ok"},
      {"Truncate", "ENOTDIR EISDIR EISDIR ENOTDIR EISDIR ENOENT ENOENT EISDIR"},
      {"Readlink", "ENOTDIR EINVAL EINVAL ENOTDIR EINVAL ENOENT ENOENT EINVAL"},
      {"Chdir", "ENOTDIR ok ok ENOTDIR ok ENOENT ENOENT ok"},
      {"Mkdir", "EEXIST EEXIST EEXIST EEXIST EEXIST EEXIST ok EEXIST"},
      {"Rmdir", "ENOTDIR ENOTEMPTY ok ENOTDIR ENOTDIR ENOTDIR ENOENT ENOTEMPTY"},
      {"Unlink", "ENOTDIR EISDIR EISDIR ENOTDIR ENOTDIR ENOTDIR ENOENT EISDIR"},
      {"MknodFifo", "EEXIST EEXIST EEXIST EEXIST EEXIST EEXIST ENOENT EEXIST"},
      {"MknodRegular", "EEXIST EEXIST EEXIST EEXIST EEXIST EEXIST ENOENT EEXIST"},
      {"Symlink", "EEXIST EEXIST EEXIST EEXIST EEXIST EEXIST ENOENT EEXIST"},
      {"LinkTo", "EEXIST EEXIST EEXIST EEXIST EEXIST EEXIST ENOENT EEXIST"},
      {"LinkFrom", "ENOTDIR EPERM EPERM ENOTDIR EPERM ENOENT ENOENT EPERM"},
      {"LinkFromFollowed", "ENOTDIR EPERM EPERM ENOTDIR EPERM ENOENT ENOENT EPERM"},
      {"RenameFrom", "ENOTDIR ok ok ENOTDIR ENOTDIR ENOTDIR ENOENT ok"},
      {"RenameFileTo", "ENOTDIR ENOTDIR ENOTDIR ENOTDIR ENOTDIR ENOTDIR ENOTDIR ENOTDIR"},
      {"RenameDirectoryTo", "ENOTDIR ENOTEMPTY ok ENOTDIR ENOTDIR ENOTDIR ok ENOTEMPTY"},
      {"RenameNoReplaceTo", "EEXIST EEXIST EEXIST EEXIST EEXIST EEXIST ENOTDIR EEXIST"},
      {"RenameExchange", "ENOTDIR ok ok ENOTDIR ENOTDIR ENOTDIR ENOENT ok"},
      {"SetXattr", "ENOTDIR ok ok ENOTDIR ok ENOENT ENOENT ok"},
      {"SetXattrNoFollow", "ENOTDIR ok ok ENOTDIR ok ENOENT ENOENT ok"},
      {"ListXattr", "ENOTDIR ok ok ENOTDIR ok ENOENT ENOENT ok"},
      {"RemoveXattr", "ENOTDIR ENODATA ENODATA ENOTDIR ENODATA ENOENT ENOENT ENODATA"},
  };
  EXPECT_EQ(Run({"@/f/", "@/d/", "@/e/", "@/lf/", "@/ld/", "@/ln/", "@/none/", "@/d//"}),
            ExpectedOf(call(), kTable))
      << "{\"" << call().name << "\", \"...\"}";
}

// "." and "..", as they are and behind something.
FOR_EACH_CALL(Dots);
TEST_P(Dots, AsLinuxAnswers) {
  static const std::vector<Expected> kTable = {
      {"OpenRead", "ok ok ok ok ENOTDIR ENOTDIR ENOENT ok ENOENT"},
      {"OpenWrite", "EISDIR EISDIR EISDIR EISDIR ENOTDIR ENOTDIR ENOENT EISDIR ENOENT"},
      {"OpenTruncate", "EISDIR EISDIR EISDIR EISDIR ENOTDIR ENOTDIR ENOENT EISDIR ENOENT"},
      {"OpenCreate", "EISDIR EISDIR EISDIR EISDIR ENOTDIR ENOTDIR ENOENT EISDIR ENOENT"},
      {"OpenCreateWrite", "EISDIR EISDIR EISDIR EISDIR ENOTDIR ENOTDIR ENOENT EISDIR ENOENT"},
      {"OpenExclusive", "EEXIST EEXIST EEXIST EEXIST ENOTDIR ENOTDIR ENOENT EEXIST ENOENT"},
      {"OpenDirectory", "ok ok ok ok ENOTDIR ENOTDIR ENOENT ok ENOENT"},
      {"OpenNoFollow", "ok ok ok ok ENOTDIR ENOTDIR ENOENT ok ENOENT"},
      {"OpenPath", "ok ok ok ok ENOTDIR ENOTDIR ENOENT ok ENOENT"},
      {"OpenPathNoFollow", "ok ok ok ok ENOTDIR ENOTDIR ENOENT ok ENOENT"},
      {"Stat", "ok ok ok ok ENOTDIR ENOTDIR ENOENT ok ENOENT"},
      {"Lstat", "ok ok ok ok ENOTDIR ENOTDIR ENOENT ok ENOENT"},
      {"Statx", "ok ok ok ok ENOTDIR ENOTDIR ENOENT ok ENOENT"},
      {"StatxNoFollow", "ok ok ok ok ENOTDIR ENOTDIR ENOENT ok ENOENT"},
      {"Statfs", "ok ok ok ok ENOTDIR ENOTDIR ENOENT ok ENOENT"},
      {"AccessExists", "ok ok ok ok ENOTDIR ENOTDIR ENOENT ok ENOENT"},
      {"AccessWrite", "ok ok ok ok ENOTDIR ENOTDIR ENOENT ok ENOENT"},
      {"AccessNoFollow", "ok ok ok ok ENOTDIR ENOTDIR ENOENT ok ENOENT"},
      {"Chmod", "ok ok ok ok ENOTDIR ENOTDIR ENOENT ok ENOENT"},
      {"ChmodNoFollow", "ok ok ok ok ENOTDIR ENOTDIR ENOENT ok ENOENT"},
      {"Chown", "ok ok ok ok ENOTDIR ENOTDIR ENOENT ok ENOENT"},
      {"Lchown", "ok ok ok ok ENOTDIR ENOTDIR ENOENT ok ENOENT"},
      {"Utimes", "ok ok ok ok ENOTDIR ENOTDIR ENOENT ok ENOENT"},
      {"UtimesNoFollow", "ok ok ok ok ENOTDIR ENOTDIR ENOENT ok ENOENT"},
      {"Truncate", "EISDIR EISDIR EISDIR EISDIR ENOTDIR ENOTDIR ENOENT EISDIR ENOENT"},
      {"Readlink", "EINVAL EINVAL EINVAL EINVAL ENOTDIR ENOTDIR ENOENT EINVAL ENOENT"},
      {"Chdir", "ok ok ok ok ENOTDIR ENOTDIR ENOENT ok ENOENT"},
      {"Mkdir", "EEXIST EEXIST EEXIST EEXIST ENOTDIR ENOTDIR ENOENT EEXIST ENOENT"},
      {"Rmdir", "EINVAL ENOTEMPTY EINVAL ENOTEMPTY ENOTDIR ENOTDIR ENOENT EINVAL ENOENT"},
      {"Unlink", "EISDIR EISDIR EISDIR EISDIR ENOTDIR ENOTDIR ENOENT EISDIR ENOENT"},
      {"MknodFifo", "EEXIST EEXIST EEXIST EEXIST ENOTDIR ENOTDIR ENOENT EEXIST ENOENT"},
      {"MknodRegular", "EEXIST EEXIST EEXIST EEXIST ENOTDIR ENOTDIR ENOENT EEXIST ENOENT"},
      {"Symlink", "EEXIST EEXIST EEXIST EEXIST ENOTDIR ENOTDIR ENOENT EEXIST ENOENT"},
      {"LinkTo", "EEXIST EEXIST EEXIST EEXIST ENOTDIR ENOTDIR ENOENT EEXIST ENOENT"},
      {"LinkFrom", "EPERM EPERM EPERM EPERM ENOTDIR ENOTDIR ENOENT EPERM ENOENT"},
      {"LinkFromFollowed", "EPERM EPERM EPERM EPERM ENOTDIR ENOTDIR ENOENT EPERM ENOENT"},
      {"RenameFrom", "EBUSY EBUSY EBUSY EBUSY ENOTDIR ENOTDIR ENOENT EBUSY ENOENT"},
      {"RenameFileTo", "EBUSY EBUSY EBUSY EBUSY ENOTDIR ENOTDIR ENOENT EBUSY ENOENT"},
      {"RenameDirectoryTo", "EBUSY EBUSY EBUSY EBUSY ENOTDIR ENOTDIR ENOENT EBUSY ENOENT"},
      {"RenameNoReplaceTo", "EEXIST EEXIST EEXIST EEXIST ENOTDIR ENOTDIR ENOENT EEXIST ENOENT"},
      {"RenameExchange", "EBUSY EBUSY EBUSY EBUSY ENOTDIR ENOTDIR ENOENT EBUSY ENOENT"},
      {"SetXattr", "ok ok ok ok ENOTDIR ENOTDIR ENOENT ok ENOENT"},
      {"SetXattrNoFollow", "ok ok ok ok ENOTDIR ENOTDIR ENOENT ok ENOENT"},
      {"ListXattr", "ok ok ok ok ENOTDIR ENOTDIR ENOENT ok ENOENT"},
      {"RemoveXattr", "ENODATA ENODATA ENODATA ENODATA ENOTDIR ENOTDIR ENOENT ENODATA ENOENT"},
  };
  EXPECT_EQ(Run({"@/.", "@/..", "@/e/.", "@/e/..", "@/f/.", "@/f/..", "@/none/.", "@/ld/.", ""}),
            ExpectedOf(call(), kTable))
      << "{\"" << call().name << "\", \"...\"}";
}

// The thing itself, of each kind.
FOR_EACH_CALL(EachKind);
TEST_P(EachKind, AsLinuxAnswers) {
  static const std::vector<Expected> kTable = {
      {"OpenRead", "ok ok ok ok ok ok ENOENT ELOOP ENOENT"},
      {"OpenWrite", "ok EISDIR EISDIR ENXIO ok EISDIR ENOENT ELOOP ENOENT"},
      {"OpenTruncate", "ok EISDIR EISDIR ok ok EISDIR ENOENT ELOOP ENOENT"},
      {"OpenCreate", "ok EISDIR EISDIR ok ok EISDIR ok ELOOP ok"},
      {"OpenCreateWrite", "ok EISDIR EISDIR ok ok EISDIR ok ELOOP ok"},
      {"OpenExclusive", "EEXIST EEXIST EEXIST EEXIST EEXIST EEXIST EEXIST EEXIST ok"},
      {"OpenDirectory", "ENOTDIR ok ok ENOTDIR ENOTDIR ok ENOENT ELOOP ENOENT"},
      {"OpenNoFollow", "ok ok ok ok ELOOP ELOOP ELOOP ELOOP ENOENT"},
      {"OpenPath", "ok ok ok ok ok ok ENOENT ELOOP ENOENT"},
      {"OpenPathNoFollow", "ok ok ok ok ok ok ok ok ENOENT"},
      {"Stat", "ok ok ok ok ok ok ENOENT ELOOP ENOENT"},
      {"Lstat", "ok ok ok ok ok ok ok ok ENOENT"},
      {"Statx", "ok ok ok ok ok ok ENOENT ELOOP ENOENT"},
      {"StatxNoFollow", "ok ok ok ok ok ok ok ok ENOENT"},
      {"Statfs", "ok ok ok ok ok ok ENOENT ELOOP ENOENT"},
      {"AccessExists", "ok ok ok ok ok ok ENOENT ELOOP ENOENT"},
      {"AccessWrite", "ok ok ok ok ok ok ENOENT ELOOP ENOENT"},
      {"AccessNoFollow", "ok ok ok ok ok ok ok ok ENOENT"},
      {"Chmod", "ok ok ok ok ok ok ENOENT ELOOP ENOENT"},
      {"ChmodNoFollow", "ok ok ok ok EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP ENOENT"},
      {"Chown", "ok ok ok ok ok ok ENOENT ELOOP ENOENT"},
      {"Lchown", "ok ok ok ok ok ok ok ok ENOENT"},
      {"Utimes", "ok ok ok ok ok ok ENOENT ELOOP ENOENT"},
      {"UtimesNoFollow", "ok ok ok ok ok ok ok ok ENOENT"},
      {"Truncate", "ok EISDIR EISDIR EINVAL ok EISDIR ENOENT ELOOP ENOENT"},
      {"Readlink", "EINVAL EINVAL EINVAL EINVAL ok ok ok ok ENOENT"},
      {"Chdir", "ENOTDIR ok ok ENOTDIR ENOTDIR ok ENOENT ELOOP ENOENT"},
      {"Mkdir", "EEXIST EEXIST EEXIST EEXIST EEXIST EEXIST EEXIST EEXIST ok"},
      {"Rmdir", "ENOTDIR ENOTEMPTY ok ENOTDIR ENOTDIR ENOTDIR ENOTDIR ENOTDIR ENOENT"},
      {"Unlink", "ok EISDIR EISDIR ok ok ok ok ok ENOENT"},
      {"MknodFifo", "EEXIST EEXIST EEXIST EEXIST EEXIST EEXIST EEXIST EEXIST ok"},
      {"MknodRegular", "EEXIST EEXIST EEXIST EEXIST EEXIST EEXIST EEXIST EEXIST ok"},
      {"Symlink", "EEXIST EEXIST EEXIST EEXIST EEXIST EEXIST EEXIST EEXIST ok"},
      {"LinkTo", "EEXIST EEXIST EEXIST EEXIST EEXIST EEXIST EEXIST EEXIST ok"},
      {"LinkFrom", "ok EPERM EPERM ok ok ok ok ok ENOENT"},
      {"LinkFromFollowed", "ok EPERM EPERM ok ok EPERM ENOENT ELOOP ENOENT"},
      {"RenameFrom", "ok ok ok ok ok ok ok ok ENOENT"},
      {"RenameFileTo", "ok EISDIR EISDIR ok ok ok ok ok ok"},
      {"RenameDirectoryTo", "ENOTDIR ENOTEMPTY ok ENOTDIR ENOTDIR ENOTDIR ENOTDIR ENOTDIR ok"},
      {"RenameNoReplaceTo", "EEXIST EEXIST EEXIST EEXIST EEXIST EEXIST EEXIST EEXIST ok"},
      {"RenameExchange", "ok ok ok ok ok ok ok ok ENOENT"},
      {"SetXattr", "ok ok ok EPERM ok ok ENOENT ELOOP ENOENT"},
      {"SetXattrNoFollow", "ok ok ok EPERM EPERM EPERM EPERM EPERM ENOENT"},
      {"ListXattr", "ok ok ok ok ok ok ENOENT ELOOP ENOENT"},
      {"RemoveXattr", "ENODATA ENODATA ENODATA EPERM ENODATA ENODATA ENOENT ELOOP ENOENT"},
  };
  EXPECT_EQ(Run({"@/f", "@/d", "@/e", "@/p", "@/lf", "@/ld", "@/ln", "@/ll", "@/none"}),
            ExpectedOf(call(), kTable))
      << "{\"" << call().name << "\", \"...\"}";
}

// Components that cannot be passed: nothing, a file, a fifo, a dangling link, a loop, a link to a
// file; names of 255 and 256 bytes; paths of 4,095 and 4,096 bytes.
FOR_EACH_CALL(BadWay);
TEST_P(BadWay, AsLinuxAnswers) {
  static const std::vector<Expected> kTable = {
      {"OpenRead",
       "ENOENT ENOTDIR ENOTDIR ENOENT ELOOP ENOTDIR ENOENT ENAMETOOLONG ENAMETOOLONG ENAMETOOLONG"},
      {"OpenWrite",
       "ENOENT ENOTDIR ENOTDIR ENOENT ELOOP ENOTDIR ENOENT ENAMETOOLONG ENAMETOOLONG ENAMETOOLONG"},
      {"OpenTruncate",
       "ENOENT ENOTDIR ENOTDIR ENOENT ELOOP ENOTDIR ENOENT ENAMETOOLONG ENAMETOOLONG ENAMETOOLONG"},
      {"OpenCreate",
       "ENOENT ENOTDIR ENOTDIR ENOENT ELOOP ENOTDIR ok ENAMETOOLONG ENAMETOOLONG ENAMETOOLONG"},
      {"OpenCreateWrite",
       "ENOENT ENOTDIR ENOTDIR ENOENT ELOOP ENOTDIR ok ENAMETOOLONG ENAMETOOLONG ENAMETOOLONG"},
      {"OpenExclusive",
       "ENOENT ENOTDIR ENOTDIR ENOENT ELOOP ENOTDIR ok ENAMETOOLONG ENAMETOOLONG ENAMETOOLONG"},
      {"OpenDirectory",
       "ENOENT ENOTDIR ENOTDIR ENOENT ELOOP ENOTDIR ENOENT ENAMETOOLONG ENAMETOOLONG ENAMETOOLONG"},
      {"OpenNoFollow",
       "ENOENT ENOTDIR ENOTDIR ENOENT ELOOP ENOTDIR ENOENT ENAMETOOLONG ENAMETOOLONG ENAMETOOLONG"},
      {"OpenPath",
       "ENOENT ENOTDIR ENOTDIR ENOENT ELOOP ENOTDIR ENOENT ENAMETOOLONG ENAMETOOLONG ENAMETOOLONG"},
      {"OpenPathNoFollow",
       "ENOENT ENOTDIR ENOTDIR ENOENT ELOOP ENOTDIR ENOENT ENAMETOOLONG ENAMETOOLONG ENAMETOOLONG"},
      {"Stat",
       "ENOENT ENOTDIR ENOTDIR ENOENT ELOOP ENOTDIR ENOENT ENAMETOOLONG ENAMETOOLONG ENAMETOOLONG"},
      {"Lstat",
       "ENOENT ENOTDIR ENOTDIR ENOENT ELOOP ENOTDIR ENOENT ENAMETOOLONG ENAMETOOLONG ENAMETOOLONG"},
      {"Statx",
       "ENOENT ENOTDIR ENOTDIR ENOENT ELOOP ENOTDIR ENOENT ENAMETOOLONG ENAMETOOLONG ENAMETOOLONG"},
      {"StatxNoFollow",
       "ENOENT ENOTDIR ENOTDIR ENOENT ELOOP ENOTDIR ENOENT ENAMETOOLONG ENAMETOOLONG ENAMETOOLONG"},
      {"Statfs",
       "ENOENT ENOTDIR ENOTDIR ENOENT ELOOP ENOTDIR ENOENT ENAMETOOLONG ENAMETOOLONG ENAMETOOLONG"},
      {"AccessExists",
       "ENOENT ENOTDIR ENOTDIR ENOENT ELOOP ENOTDIR ENOENT ENAMETOOLONG ENAMETOOLONG ENAMETOOLONG"},
      {"AccessWrite",
       "ENOENT ENOTDIR ENOTDIR ENOENT ELOOP ENOTDIR ENOENT ENAMETOOLONG ENAMETOOLONG ENAMETOOLONG"},
      {"AccessNoFollow",
       "ENOENT ENOTDIR ENOTDIR ENOENT ELOOP ENOTDIR ENOENT ENAMETOOLONG ENAMETOOLONG ENAMETOOLONG"},
      {"Chmod",
       "ENOENT ENOTDIR ENOTDIR ENOENT ELOOP ENOTDIR ENOENT ENAMETOOLONG ENAMETOOLONG ENAMETOOLONG"},
      {"ChmodNoFollow",
       "ENOENT ENOTDIR ENOTDIR ENOENT ELOOP ENOTDIR ENOENT ENAMETOOLONG ENAMETOOLONG ENAMETOOLONG"},
      {"Chown",
       "ENOENT ENOTDIR ENOTDIR ENOENT ELOOP ENOTDIR ENOENT ENAMETOOLONG ENAMETOOLONG ENAMETOOLONG"},
      {"Lchown",
       "ENOENT ENOTDIR ENOTDIR ENOENT ELOOP ENOTDIR ENOENT ENAMETOOLONG ENAMETOOLONG ENAMETOOLONG"},
      {"Utimes",
       "ENOENT ENOTDIR ENOTDIR ENOENT ELOOP ENOTDIR ENOENT ENAMETOOLONG ENAMETOOLONG ENAMETOOLONG"},
      {"UtimesNoFollow",
       "ENOENT ENOTDIR ENOTDIR ENOENT ELOOP ENOTDIR ENOENT ENAMETOOLONG ENAMETOOLONG ENAMETOOLONG"},
      {"Truncate",
       "ENOENT ENOTDIR ENOTDIR ENOENT ELOOP ENOTDIR ENOENT ENAMETOOLONG ENAMETOOLONG ENAMETOOLONG"},
      {"Readlink",
       "ENOENT ENOTDIR ENOTDIR ENOENT ELOOP ENOTDIR ENOENT ENAMETOOLONG ENAMETOOLONG ENAMETOOLONG"},
      {"Chdir",
       "ENOENT ENOTDIR ENOTDIR ENOENT ELOOP ENOTDIR ENOENT ENAMETOOLONG ENAMETOOLONG ENAMETOOLONG"},
      {"Mkdir",
       "ENOENT ENOTDIR ENOTDIR ENOENT ELOOP ENOTDIR ok ENAMETOOLONG ENAMETOOLONG ENAMETOOLONG"},
      {"Rmdir",
       "ENOENT ENOTDIR ENOTDIR ENOENT ELOOP ENOTDIR ENOENT ENAMETOOLONG ENAMETOOLONG ENAMETOOLONG"},
      {"Unlink",
       "ENOENT ENOTDIR ENOTDIR ENOENT ELOOP ENOTDIR ENOENT ENAMETOOLONG ENAMETOOLONG ENAMETOOLONG"},
      {"MknodFifo",
       "ENOENT ENOTDIR ENOTDIR ENOENT ELOOP ENOTDIR ok ENAMETOOLONG ENAMETOOLONG ENAMETOOLONG"},
      {"MknodRegular",
       "ENOENT ENOTDIR ENOTDIR ENOENT ELOOP ENOTDIR ok ENAMETOOLONG ENAMETOOLONG ENAMETOOLONG"},
      {"Symlink",
       "ENOENT ENOTDIR ENOTDIR ENOENT ELOOP ENOTDIR ok ENAMETOOLONG ENAMETOOLONG ENAMETOOLONG"},
      {"LinkTo",
       "ENOENT ENOTDIR ENOTDIR ENOENT ELOOP ENOTDIR ok ENAMETOOLONG ENAMETOOLONG ENAMETOOLONG"},
      {"LinkFrom",
       "ENOENT ENOTDIR ENOTDIR ENOENT ELOOP ENOTDIR ENOENT ENAMETOOLONG ENAMETOOLONG ENAMETOOLONG"},
      {"LinkFromFollowed",
       "ENOENT ENOTDIR ENOTDIR ENOENT ELOOP ENOTDIR ENOENT ENAMETOOLONG ENAMETOOLONG ENAMETOOLONG"},
      {"RenameFrom",
       "ENOENT ENOTDIR ENOTDIR ENOENT ELOOP ENOTDIR ENOENT ENAMETOOLONG ENAMETOOLONG ENAMETOOLONG"},
      {"RenameFileTo",
       "ENOENT ENOTDIR ENOTDIR ENOENT ELOOP ENOTDIR ok ENAMETOOLONG ENAMETOOLONG ENAMETOOLONG"},
      {"RenameDirectoryTo",
       "ENOENT ENOTDIR ENOTDIR ENOENT ELOOP ENOTDIR ok ENAMETOOLONG ENAMETOOLONG ENAMETOOLONG"},
      {"RenameNoReplaceTo",
       "ENOENT ENOTDIR ENOTDIR ENOENT ELOOP ENOTDIR ok ENAMETOOLONG ENAMETOOLONG ENAMETOOLONG"},
      {"RenameExchange",
       "ENOENT ENOTDIR ENOTDIR ENOENT ELOOP ENOTDIR ENOENT ENAMETOOLONG ENAMETOOLONG ENAMETOOLONG"},
      {"SetXattr",
       "ENOENT ENOTDIR ENOTDIR ENOENT ELOOP ENOTDIR ENOENT ENAMETOOLONG ENAMETOOLONG ENAMETOOLONG"},
      {"SetXattrNoFollow",
       "ENOENT ENOTDIR ENOTDIR ENOENT ELOOP ENOTDIR ENOENT ENAMETOOLONG ENAMETOOLONG ENAMETOOLONG"},
      {"ListXattr",
       "ENOENT ENOTDIR ENOTDIR ENOENT ELOOP ENOTDIR ENOENT ENAMETOOLONG ENAMETOOLONG ENAMETOOLONG"},
      {"RemoveXattr",
       "ENOENT ENOTDIR ENOTDIR ENOENT ELOOP ENOTDIR ENOENT ENAMETOOLONG ENAMETOOLONG ENAMETOOLONG"},
  };
  const std::string slashes(4095, '/');
  EXPECT_EQ(
      Run({"@/none/x", "@/f/x", "@/p/x", "@/ln/x", "@/ll/x", "@/lf/x", "@/" + std::string(255, 'n'),
           "@/" + std::string(256, 'n'), "@/" + std::string(256, 'n') + "/x", slashes + "x"}),
      ExpectedOf(call(), kTable))
      << "{\"" << call().name << "\", \"...\"}";
}

// For a user without rights: in a directory without search, without write, and a file of others.
FOR_EACH_CALL(Strangers);
TEST_P(Strangers, AsLinuxAnswers) {
  static const std::vector<Expected> kTable = {
      {"OpenRead", "EACCES EACCES ENOENT EACCES EACCES"},
      {"OpenWrite", "EACCES EACCES ENOENT EACCES EISDIR"},
      {"OpenTruncate", "EACCES EACCES ENOENT EACCES EISDIR"},
      {"OpenCreate", "EACCES EACCES EACCES EACCES EISDIR"},
      {"OpenCreateWrite", "EACCES EACCES EACCES EACCES EISDIR"},
      {"OpenExclusive", "EACCES EACCES EACCES EEXIST EEXIST"},
      {"OpenDirectory", "EACCES EACCES ENOENT ENOTDIR EACCES"},
      {"OpenNoFollow", "EACCES EACCES ENOENT EACCES EACCES"},
      {"OpenPath", "EACCES EACCES ENOENT ok ok"},
      {"OpenPathNoFollow", "EACCES EACCES ENOENT ok ok"},
      {"Stat", "EACCES EACCES ENOENT ok ok"},
      {"Lstat", "EACCES EACCES ENOENT ok ok"},
      {"Statx", "EACCES EACCES ENOENT ok ok"},
      {"StatxNoFollow", "EACCES EACCES ENOENT ok ok"},
      {"Statfs", "EACCES EACCES ENOENT ok ok"},
      {"AccessExists", "EACCES EACCES ENOENT ok ok"},
      {"AccessWrite", "EACCES EACCES ENOENT EACCES EACCES"},
      {"AccessNoFollow", "EACCES EACCES ENOENT EACCES EACCES"},
      {"Chmod", "EACCES EACCES ENOENT EPERM EPERM"},
      {"ChmodNoFollow", "EACCES EACCES ENOENT EPERM EPERM"},
      {"Chown", "EACCES EACCES ENOENT ok ok"},
      {"Lchown", "EACCES EACCES ENOENT ok ok"},
      {"Utimes", "EACCES EACCES ENOENT EPERM EPERM"},
      {"UtimesNoFollow", "EACCES EACCES ENOENT EPERM EPERM"},
      {"Truncate", "EACCES EACCES ENOENT EACCES EISDIR"},
      {"Readlink", "EACCES EACCES ENOENT EINVAL EINVAL"},
      {"Chdir", "EACCES EACCES ENOENT ENOTDIR EACCES"},
      {"Mkdir", "EACCES EACCES EACCES EEXIST EEXIST"},
      {"Rmdir", "EACCES EACCES ENOENT EACCES EACCES"},
      {"Unlink", "EACCES EACCES ENOENT EACCES EACCES"},
      {"MknodFifo", "EACCES EACCES EACCES EEXIST EEXIST"},
      {"MknodRegular", "EACCES EACCES EACCES EEXIST EEXIST"},
      {"Symlink", "EACCES EACCES EACCES EEXIST EEXIST"},
      {"LinkTo", "EACCES EACCES EACCES EEXIST EEXIST"},
      {"LinkFrom", "EACCES EACCES ENOENT EPERM EPERM"},
      {"LinkFromFollowed", "EACCES EACCES ENOENT EPERM EPERM"},
      {"RenameFrom", "EACCES EACCES ENOENT EACCES EACCES"},
      {"RenameFileTo", "EACCES EACCES EACCES EACCES EACCES"},
      {"RenameDirectoryTo", "EACCES EACCES EACCES EACCES EACCES"},
      {"RenameNoReplaceTo", "EACCES EACCES EACCES EEXIST EEXIST"},
      {"RenameExchange", "EACCES EACCES ENOENT EACCES EACCES"},
      {"SetXattr", "EACCES EACCES ENOENT EACCES EACCES"},
      {"SetXattrNoFollow", "EACCES EACCES ENOENT EACCES EACCES"},
      {"ListXattr", "EACCES EACCES ENOENT ok ok"},
      {"RemoveXattr", "EACCES EACCES ENOENT EACCES EACCES"},
  };
  if (strncmp(call().name, "LinkFrom", 8) == 0 &&
      ReadFile("/proc/sys/fs/protected_hardlinks") == "0\n") {
    GTEST_SKIP() << "links to files of others are allowed here";
  }
  TempDir base;
  const std::string dir = base / "tree";
  MakeTree(dir);
  for (const char* const name : {"/locked", "/shut"}) {
    ASSERT_THAT(mkdir((dir + name).c_str(), 0755), Succeeds());
    WriteFile(dir + name + "/f", "x", 0600);
    ASSERT_THAT(mkdir((dir + name + "/e").c_str(), 0700), Succeeds());
  }
  const std::pair<const char*, mode_t> modes[] = {
      {"/locked", 0600}, {"/shut", 0555}, {"", 0777}, {"/other", 0777}, {"/spare", 0777}};
  for (const auto& [name, mode] : modes) {
    ASSERT_THAT(chmod((dir + name).c_str(), mode), Succeeds());
  }
  std::vector<std::string> paths;
  for (const char* const name : {"/locked/x", "/locked/f", "/shut/none", "/shut/f", "/shut/e"}) {
    paths.push_back(dir + name);
  }
  EXPECT_EQ(
      RunInChild(
          dir, paths,
          [] { return setresgid(1000, 1000, 1000) == 0 && setresuid(1000, 1000, 1000) == 0; }),
      ExpectedOf(call(), kTable))
      << "{\"" << call().name << "\", \"...\"}";
  // Whoever removes it may be without rights, too.
  EXPECT_THAT(chmod((dir + "/locked").c_str(), 0755), Succeeds());
}

}  // namespace
