#include "tests/conformance/files_calls.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/xattr.h>

#include <algorithm>
#include <cstring>
#include <string_view>

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

namespace conformance {
namespace {

using Path = const std::string&;

// Closes what was opened.
long OpenWith(Path path, int flags, mode_t mode = 0644) {
  const long fd = syscall(SYS_openat, AT_FDCWD, path.c_str(), flags, mode);
  const int error = errno;
  if (fd >= 0) close(static_cast<int>(fd));
  errno = error;
  return fd;
}

// The working directory is the process's: in a child, whose errno comes back as its status.
long ChangeDirectory(Path path) {
  const int status = InChild([&] { return chdir(path.c_str()) == 0 ? 0 : errno; });
  errno = WEXITSTATUS(status);
  return errno == 0 ? 0 : -1;
}

long Statx(Path path, int flags) {
  struct statx out;
  return syscall(SYS_statx, AT_FDCWD, path.c_str(), flags, STATX_BASIC_STATS, &out);
}

// Names come or go: the tree is not used again.
bool ChangesNames(const PathCall& call) {
  static constexpr std::string_view kOthers[] = {"OpenRead",
                                                 "OpenWrite",
                                                 "OpenTruncate",
                                                 "OpenDirectory",
                                                 "OpenNoFollow",
                                                 "OpenPath",
                                                 "OpenPathNoFollow",
                                                 "Stat",
                                                 "Lstat",
                                                 "Statx",
                                                 "StatxNoFollow",
                                                 "Statfs",
                                                 "AccessExists",
                                                 "AccessWrite",
                                                 "AccessNoFollow",
                                                 "Chmod",
                                                 "ChmodNoFollow",
                                                 "Chown",
                                                 "Lchown",
                                                 "Utimes",
                                                 "UtimesNoFollow",
                                                 "Truncate",
                                                 "Readlink",
                                                 "Chdir",
                                                 "SetXattr",
                                                 "SetXattrNoFollow",
                                                 "ListXattr",
                                                 "RemoveXattr"};
  return std::find(std::begin(kOthers), std::end(kOthers), call.name) == std::end(kOthers);
}

std::vector<PathCall> MakeCalls() {
  static constexpr timespec kTimes[2] = {{1000, 0}, {2000, 0}};
  return {
      {"OpenRead", [](Path, Path p) { return OpenWith(p, O_RDONLY | O_NONBLOCK); }},
      {"OpenWrite", [](Path, Path p) { return OpenWith(p, O_WRONLY | O_NONBLOCK); }},
      {"OpenTruncate", [](Path, Path p) { return OpenWith(p, O_RDWR | O_TRUNC | O_NONBLOCK); }},
      {"OpenCreate", [](Path, Path p) { return OpenWith(p, O_RDONLY | O_CREAT | O_NONBLOCK); }},
      {"OpenCreateWrite", [](Path, Path p) { return OpenWith(p, O_RDWR | O_CREAT | O_NONBLOCK); }},
      {"OpenExclusive", [](Path, Path p) { return OpenWith(p, O_RDWR | O_CREAT | O_EXCL); }},
      {"OpenDirectory", [](Path, Path p) { return OpenWith(p, O_RDONLY | O_DIRECTORY); }},
      {"OpenNoFollow",
       [](Path, Path p) { return OpenWith(p, O_RDONLY | O_NOFOLLOW | O_NONBLOCK); }},
      {"OpenPath", [](Path, Path p) { return OpenWith(p, O_PATH); }},
      {"OpenPathNoFollow", [](Path, Path p) { return OpenWith(p, O_PATH | O_NOFOLLOW); }},
      {"Stat",
       [](Path, Path p) {
         struct stat st;
         return long{stat(p.c_str(), &st)};
       }},
      {"Lstat",
       [](Path, Path p) {
         struct stat st;
         return long{lstat(p.c_str(), &st)};
       }},
      {"Statx", [](Path, Path p) { return Statx(p, 0); }},
      {"StatxNoFollow", [](Path, Path p) { return Statx(p, AT_SYMLINK_NOFOLLOW); }},
      {"Statfs",
       [](Path, Path p) {
         struct statfs fs;
         return long{statfs(p.c_str(), &fs)};
       }},
      {"AccessExists", [](Path, Path p) { return long{access(p.c_str(), F_OK)}; }},
      {"AccessWrite", [](Path, Path p) { return long{access(p.c_str(), W_OK)}; }},
      {"AccessNoFollow",
       [](Path, Path p) {
         return syscall(SYS_faccessat2, AT_FDCWD, p.c_str(), W_OK, AT_SYMLINK_NOFOLLOW);
       }},
      {"Chmod", [](Path, Path p) { return long{chmod(p.c_str(), 0755)}; }},
      {"ChmodNoFollow",
       [](Path, Path p) {
         return syscall(SYS_fchmodat2, AT_FDCWD, p.c_str(), 0755, AT_SYMLINK_NOFOLLOW);
       }},
      {"Chown", [](Path, Path p) { return long{chown(p.c_str(), -1, -1)}; }},
      {"Lchown", [](Path, Path p) { return long{lchown(p.c_str(), -1, -1)}; }},
      {"Utimes", [](Path, Path p) { return long{utimensat(AT_FDCWD, p.c_str(), kTimes, 0)}; }},
      {"UtimesNoFollow",
       [](Path, Path p) {
         return long{utimensat(AT_FDCWD, p.c_str(), kTimes, AT_SYMLINK_NOFOLLOW)};
       }},
      {"Truncate", [](Path, Path p) { return long{truncate(p.c_str(), 1)}; }},
      {"Readlink",
       [](Path, Path p) {
         char target[256];
         return long{readlink(p.c_str(), target, sizeof target)};
       }},
      {"Chdir", [](Path, Path p) { return ChangeDirectory(p); }},
      {"Mkdir", [](Path, Path p) { return long{mkdir(p.c_str(), 0755)}; }},
      {"Rmdir", [](Path, Path p) { return long{rmdir(p.c_str())}; }},
      {"Unlink", [](Path, Path p) { return long{unlink(p.c_str())}; }},
      {"MknodFifo", [](Path, Path p) { return long{mknod(p.c_str(), S_IFIFO | 0644, 0)}; }},
      {"MknodRegular", [](Path, Path p) { return long{mknod(p.c_str(), S_IFREG | 0644, 0)}; }},
      {"Symlink", [](Path, Path p) { return long{symlink("anything", p.c_str())}; }},
      {"LinkTo", [](Path d, Path p) { return long{link((d + "/other").c_str(), p.c_str())}; }},
      {"LinkFrom", [](Path d, Path p) { return long{link(p.c_str(), (d + "/fresh").c_str())}; }},
      {"LinkFromFollowed",
       [](Path d, Path p) {
         return long{
             linkat(AT_FDCWD, p.c_str(), AT_FDCWD, (d + "/fresh").c_str(), AT_SYMLINK_FOLLOW)};
       }},
      {"RenameFrom",
       [](Path d, Path p) { return long{rename(p.c_str(), (d + "/fresh").c_str())}; }},
      {"RenameFileTo",
       [](Path d, Path p) { return long{rename((d + "/other").c_str(), p.c_str())}; }},
      {"RenameDirectoryTo",
       [](Path d, Path p) { return long{rename((d + "/spare").c_str(), p.c_str())}; }},
      {"RenameNoReplaceTo",
       [](Path d, Path p) {
         return long{
             renameat2(AT_FDCWD, (d + "/other").c_str(), AT_FDCWD, p.c_str(), RENAME_NOREPLACE)};
       }},
      {"RenameExchange",
       [](Path d, Path p) {
         return long{
             renameat2(AT_FDCWD, (d + "/other").c_str(), AT_FDCWD, p.c_str(), RENAME_EXCHANGE)};
       }},
      {"SetXattr", [](Path, Path p) { return long{setxattr(p.c_str(), "user.a", "1", 1, 0)}; }},
      {"SetXattrNoFollow",
       [](Path, Path p) { return long{lsetxattr(p.c_str(), "user.a", "1", 1, 0)}; }},
      {"ListXattr", [](Path, Path p) { return long{listxattr(p.c_str(), nullptr, 0)}; }},
      {"RemoveXattr", [](Path, Path p) { return long{removexattr(p.c_str(), "user.none")}; }},
  };
}

}  // namespace

const std::vector<PathCall>& PathCalls() {
  static const std::vector<PathCall>& calls = *new std::vector<PathCall>(MakeCalls());
  return calls;
}

std::string ResultOf(long result) {
  const int error = errno;
  return result >= 0 ? "ok" : ErrnoName(error);
}

void MakeTree(const std::string& dir) {
  ASSERT_THAT(mkdir(dir.c_str(), 0755), Succeeds());
  WriteFile(dir + "/f", "data");
  WriteFile(dir + "/other", "other");
  for (const char* name : {"/d", "/d/inner", "/e", "/spare"}) {
    ASSERT_THAT(mkdir((dir + name).c_str(), 0755), Succeeds());
  }
  ASSERT_THAT(mkfifo((dir + "/p").c_str(), 0644), Succeeds());
  const std::pair<const char*, const char*> links[] = {
      {"f", "/lf"}, {"d", "/ld"}, {"none", "/ln"}, {"ll", "/ll"}};
  for (const auto& [target, name] : links) {
    ASSERT_THAT(symlink(target, (dir + name).c_str()), Succeeds());
  }
}

ByCall::ByCall() {
  const char* const before = getenv("CONFORMANCE_DIR");
  before_ = before != nullptr ? before : "/tmp";
  setenv("CONFORMANCE_DIR", DirectoryOf(place()).c_str(), 1);
}

ByCall::~ByCall() { setenv("CONFORMANCE_DIR", before_.c_str(), 1); }

std::string ByCall::Run(const std::vector<std::string>& paths) const {
  TempDir base;
  std::string line, dir;
  int count = 0;
  for (const std::string& form : paths) {
    if (dir.empty()) MakeTree(dir = base / std::to_string(count++));
    std::string path = form;
    if (const size_t at = path.find('@'); at != std::string::npos) path.replace(at, 1, dir);
    if (!line.empty()) line += ' ';
    const std::string result = ResultOf(call().run(dir, path));
    if (result == "ok" && ChangesNames(call())) dir.clear();
    line += result;
  }
  return line;
}

std::string ByCall::RunInChild(const std::string& dir, const std::vector<std::string>& paths,
                               const std::function<bool()>& prepare) const {
  Pipe results;
  const pid_t child = Start([&] {
    CHILD_CHECK(prepare());
    for (const std::string& path : paths) {
      const std::string text =
          ResultOf(call().run(dir, path)) + (&path == &paths.back() ? "" : " ");
      CHILD_CHECK(write(results.write.get(), text.data(), text.size()) > 0);
    }
    return 0;
  });
  results.write.reset();
  std::string line = ReadAll(results.read.get());
  EXPECT_THAT(Wait(child), Exited(0));
  return line;
}

std::string NameOfCall(const testing::TestParamInfo<std::tuple<Place, size_t>>& info) {
  return NameOf(std::get<0>(info.param)) + "_" + PathCalls()[std::get<1>(info.param)].name;
}

std::string ExpectedOf(const PathCall& call, const std::vector<Expected>& table) {
  for (const Expected& row : table) {
    if (strcmp(row.name, call.name) == 0) return row.results;
  }
  return "(no row)";
}

}  // namespace conformance
