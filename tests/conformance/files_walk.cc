// Path walks: limits, trailing slashes, O_PATH, openat2(2).
#include <limits.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "tests/conformance/places.h"
#include "tests/conformance/support.h"

namespace {

class Walks : public AtPlace {
 protected:
  Walks() {
    EXPECT_THAT(mkdir((dir_ / "d").c_str(), 0755), Returns(0));
    WriteFile(dir_ / "f", "file");
    WriteFile(dir_ / "d/inner", "inner");
    EXPECT_THAT(symlink("f", (dir_ / "to_file").c_str()), Returns(0));
    EXPECT_THAT(symlink("d", (dir_ / "to_dir").c_str()), Returns(0));
    EXPECT_THAT(symlink("none", (dir_ / "dangling").c_str()), Returns(0));
    EXPECT_THAT(symlink("loop", (dir_ / "loop").c_str()), Returns(0));
    base_ = UniqueFd(open(dir_.path().c_str(), O_PATH | O_DIRECTORY));
  }
  std::string At(const std::string& name) const { return dir_ / name; }
  long Open2(const std::string& path, uint64_t flags, uint64_t resolve, uint64_t mode = 0) const {
    open_how how = {.flags = flags, .mode = mode, .resolve = resolve};
    // openat2(2): with ".." below a root of its own the caller is to try again while anybody on the
    // machine renames.
    long fd = -1;
    for (int attempt = 0; attempt < 32; ++attempt) {
      fd = syscall(SYS_openat2, base_.get(), path.c_str(), &how, sizeof how);
      if (fd >= 0 || errno != EAGAIN || (resolve & RESOLVE_CACHED) != 0) break;
    }
    if (fd >= 0) close(static_cast<int>(fd));
    return fd >= 0 ? 0 : -1;
  }
  TempDir dir_;
  UniqueFd base_;
};
AT_EACH_PLACE(Walks);

TEST_P(Walks, FortyLinksAreFollowed) {
  std::string last = "f";
  for (int i = 0; i < 41; ++i) {
    const std::string name = "l" + std::to_string(i);
    EXPECT_THAT(symlink(last.c_str(), At(name).c_str()), Returns(0));
    last = name;
  }
  EXPECT_EQ(ReadFile(At("l39")), "file");
  EXPECT_THAT(open(At("l40").c_str(), O_RDONLY), FailsWith(ELOOP));
}

TEST_P(Walks, LinksInTheMiddleCountAsWell) {
  EXPECT_THAT(symlink(".", At("here").c_str()), Returns(0));
  std::string path = dir_.path();
  for (int i = 0; i < 40; ++i) path += "/here";
  EXPECT_THAT(access((path + "/f").c_str(), F_OK), Returns(0));
  EXPECT_THAT(access((path + "/here/f").c_str(), F_OK), FailsWith(ELOOP));
}

TEST_P(Walks, ALoopIsFound) {
  struct stat st;
  EXPECT_THAT(stat(At("loop").c_str(), &st), FailsWith(ELOOP));
  EXPECT_THAT(lstat(At("loop").c_str(), &st), Returns(0));
  EXPECT_THAT(chdir(At("loop").c_str()), FailsWith(ELOOP));
}

TEST_P(Walks, NamesOf255Bytes) {
  WriteFile(At(std::string(255, 'n')), "");
  EXPECT_THAT(creat(At(std::string(256, 'n')).c_str(), 0644), FailsWith(ENAMETOOLONG));
  EXPECT_THAT(access(At(std::string(256, 'n')).c_str(), F_OK), FailsWith(ENAMETOOLONG));
  EXPECT_THAT(mkdir(At(std::string(256, 'n')).c_str(), 0755), FailsWith(ENAMETOOLONG));
}

TEST_P(Walks, PathsOf4095Bytes) {
  std::string path = dir_.path();
  while (path.size() + 4 < PATH_MAX) path += "/.";
  path.resize(PATH_MAX - 3, '/');
  path += "/f";
  EXPECT_EQ(path.size(), static_cast<size_t>(PATH_MAX - 1));
  EXPECT_THAT(access(path.c_str(), F_OK), Returns(0));
  path.insert(path.size() - 1, "/");
  EXPECT_THAT(access(path.c_str(), F_OK), FailsWith(ENAMETOOLONG));
}

TEST_P(Walks, EmptyPaths) {
  struct stat st;
  EXPECT_THAT(stat("", &st), FailsWith(ENOENT));
  EXPECT_THAT(open("", O_RDONLY), FailsWith(ENOENT));
  EXPECT_THAT(fstatat(base_.get(), "", &st, 0), FailsWith(ENOENT));
  EXPECT_THAT(fstatat(base_.get(), "", &st, AT_EMPTY_PATH), Returns(0));
}

TEST_P(Walks, TrailingSlashesMeanDirectories) {
  struct stat st;
  EXPECT_THAT(stat(At("f/").c_str(), &st), FailsWith(ENOTDIR));
  EXPECT_THAT(stat(At("d/").c_str(), &st), Returns(0));
  EXPECT_THAT(lstat(At("to_dir/").c_str(), &st), Returns(0));
  EXPECT_TRUE(S_ISDIR(st.st_mode));
  EXPECT_THAT(open(At("f/").c_str(), O_RDONLY), FailsWith(ENOTDIR));
  EXPECT_THAT(access(At("f/").c_str(), F_OK), FailsWith(ENOTDIR));
  EXPECT_THAT(chmod(At("f/").c_str(), 0644), FailsWith(ENOTDIR));
}

TEST_P(Walks, TrailingSlashesOfNewNames) {
  EXPECT_THAT(open(At("new/").c_str(), O_RDWR | O_CREAT, 0644), FailsWith(EISDIR));
  EXPECT_THAT(mkdir(At("new/").c_str(), 0755), Returns(0));
  EXPECT_THAT(symlink("x", At("link/").c_str()), FailsWith(ENOENT));
  EXPECT_THAT(link(At("f").c_str(), At("other/").c_str()), FailsWith(ENOENT));
  EXPECT_THAT(mknod(At("node/").c_str(), S_IFREG | 0644, 0), FailsWith(ENOENT));
  EXPECT_THAT(rename(At("f").c_str(), At("g/").c_str()), FailsWith(ENOTDIR));
  EXPECT_THAT(rename(At("new").c_str(), At("newer/").c_str()), Returns(0));
}

TEST_P(Walks, TrailingSlashesOfWhatGoes) {
  EXPECT_THAT(unlink(At("f/").c_str()), FailsWith(ENOTDIR));
  EXPECT_THAT(unlink(At("to_dir/").c_str()), FailsWith(ENOTDIR));
  EXPECT_THAT(rmdir(At("to_dir/").c_str()), FailsWith(ENOTDIR));
  EXPECT_THAT(unlink(At("d/inner").c_str()), Returns(0));
  EXPECT_THAT(rmdir(At("d///").c_str()), Returns(0));
}

TEST_P(Walks, DotsAtTheEnd) {
  EXPECT_THAT(rmdir(At("d/.").c_str()), FailsWith(EINVAL));
  EXPECT_THAT(rmdir(At("d/..").c_str()), FailsWith(ENOTEMPTY));
  EXPECT_THAT(mkdir(At("d/.").c_str(), 0755), FailsWith(EEXIST));
  EXPECT_THAT(unlink(At("d/.").c_str()), FailsWith(EISDIR));
  EXPECT_THAT(rename(At("d/.").c_str(), At("e").c_str()), FailsWith(EBUSY));
  EXPECT_THAT(rename(At("d").c_str(), At("d/..").c_str()), FailsWith(EBUSY));
}

TEST_P(Walks, DotDotOfAFile) {
  EXPECT_THAT(access(At("f/..").c_str(), F_OK), FailsWith(ENOTDIR));
  EXPECT_THAT(access(At("f/.").c_str(), F_OK), FailsWith(ENOTDIR));
  EXPECT_THAT(access(At("none/..").c_str(), F_OK), FailsWith(ENOENT));
}

TEST_P(Walks, DotDotOfALinkIsOfItsTarget) {
  EXPECT_THAT(mkdir(At("e").c_str(), 0755), Returns(0));
  EXPECT_THAT(symlink("../d", At("e/link").c_str()), Returns(0));
  EXPECT_EQ(ReadFile(At("e/link/../f")), "file");
}

TEST_P(Walks, RemovedDirectories) {
  EXPECT_THAT(mkdir(At("gone").c_str(), 0755), Returns(0));
  UniqueFd fd(open(At("gone").c_str(), O_RDONLY | O_DIRECTORY));
  EXPECT_THAT(rmdir(At("gone").c_str()), Returns(0));
  EXPECT_THAT(openat(fd.get(), "x", O_RDWR | O_CREAT, 0644), FailsWith(ENOENT));
  EXPECT_THAT(mkdirat(fd.get(), "x", 0755), FailsWith(ENOENT));
  struct stat st;
  EXPECT_THAT(fstatat(fd.get(), ".", &st, 0), Returns(0));
  EXPECT_EQ(st.st_nlink, 0u);
}

TEST_P(Walks, PathDescriptorsDoLittle) {
  UniqueFd fd(open(At("f").c_str(), O_PATH));
  char byte = 0;
  EXPECT_THAT(read(fd.get(), &byte, 1), FailsWith(EBADF));
  EXPECT_THAT(write(fd.get(), &byte, 1), FailsWith(EBADF));
  EXPECT_THAT(fchmod(fd.get(), 0600), FailsWith(EBADF));
  EXPECT_THAT(fchown(fd.get(), 0, 0), FailsWith(EBADF));
  EXPECT_THAT(ftruncate(fd.get(), 0), FailsWith(EBADF));
  EXPECT_THAT(fsync(fd.get()), FailsWith(EBADF));
  EXPECT_THAT(lseek(fd.get(), 0, SEEK_SET), FailsWith(EBADF));
  struct stat st;
  EXPECT_THAT(fstat(fd.get(), &st), Returns(0));
  EXPECT_EQ(fcntl(fd.get(), F_GETFL) & O_PATH, O_PATH);
}

TEST_P(Walks, PathDescriptorsNeedNoPermission) {
  WriteFile(At("secret"), "s", 0);
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(setresuid(1000, 1000, 1000) == 0);
                CHILD_CHECK(open(At("secret").c_str(), O_RDONLY) == -1 && errno == EACCES);
                UniqueFd fd(open(At("secret").c_str(), O_PATH));
                CHILD_CHECK(fd.valid());
                const std::string link = "/proc/self/fd/" + std::to_string(fd.get());
                CHILD_CHECK(open(link.c_str(), O_RDONLY) == -1 && errno == EACCES);
                return 0;
              }),
              Exited(0));
}

TEST_P(Walks, PathDescriptorsOfLinks) {
  UniqueFd fd(open(At("to_file").c_str(), O_PATH | O_NOFOLLOW));
  ASSERT_TRUE(fd.valid());
  struct stat st;
  EXPECT_THAT(fstat(fd.get(), &st), Returns(0));
  EXPECT_TRUE(S_ISLNK(st.st_mode));
  char text[16] = {};
  EXPECT_THAT(readlinkat(fd.get(), "", text, sizeof text), Returns(1));
  EXPECT_STREQ(text, "f");
}

TEST_P(Walks, PathDescriptorsAreStartsOfWalks) {
  UniqueFd fd(openat(base_.get(), "d/inner", O_RDONLY));
  EXPECT_TRUE(fd.valid());
  EXPECT_THAT(openat(fd.get(), "x", O_RDONLY), FailsWith(ENOTDIR));
  EXPECT_THAT(fchdir(base_.get()), Returns(0));
  EXPECT_THAT(chdir("/"), Returns(0));
}

TEST_P(Walks, Nofollow) {
  EXPECT_THAT(open(At("to_file").c_str(), O_RDONLY | O_NOFOLLOW), FailsWith(ELOOP));
  EXPECT_THAT(open(At("to_dir").c_str(), O_RDONLY | O_NOFOLLOW | O_DIRECTORY), FailsWith(ENOTDIR));
  EXPECT_THAT(open(At("to_dir/inner").c_str(), O_RDONLY | O_NOFOLLOW), Succeeds());
}

TEST_P(Walks, CreationThroughADanglingLink) {
  UniqueFd fd(open(At("dangling").c_str(), O_RDWR | O_CREAT, 0644));
  EXPECT_TRUE(fd.valid());
  EXPECT_THAT(access(At("none").c_str(), F_OK), Returns(0));
  EXPECT_THAT(open(At("dangling").c_str(), O_RDWR | O_CREAT | O_EXCL, 0644), FailsWith(EEXIST));
}

TEST_P(Walks, Openat2OfOrdinaryPaths) {
  EXPECT_THAT(Open2("d/inner", O_RDONLY, 0), Returns(0));
  EXPECT_THAT(Open2("d/new", O_RDWR | O_CREAT, 0, 0644), Returns(0));
  EXPECT_THAT(Open2("none", O_RDONLY, 0), FailsWith(ENOENT));
}

TEST_P(Walks, Openat2IsStrict) {
  EXPECT_THAT(Open2("f", 1ull << 40, 0), FailsWith(EINVAL));
  EXPECT_THAT(Open2("f", O_RDONLY, 1ull << 40), FailsWith(EINVAL));
  EXPECT_THAT(Open2("f", O_RDONLY, 0, 0644), FailsWith(EINVAL));
  EXPECT_THAT(Open2("f", O_RDWR | O_CREAT, 0, 010000), FailsWith(EINVAL));
  EXPECT_THAT(Open2("f", O_PATH | O_RDWR, 0), FailsWith(EINVAL));
  EXPECT_THAT(Open2("f", O_RDONLY, RESOLVE_BENEATH | RESOLVE_IN_ROOT), FailsWith(EINVAL));
  open_how how = {};
  EXPECT_THAT(syscall(SYS_openat2, base_.get(), "f", &how, 8), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_openat2, base_.get(), "f", &how, 8192), FailsWith(E2BIG));
}

TEST_P(Walks, ResolveNoSymlinks) {
  EXPECT_THAT(Open2("d/inner", O_RDONLY, RESOLVE_NO_SYMLINKS), Returns(0));
  EXPECT_THAT(Open2("to_dir/inner", O_RDONLY, RESOLVE_NO_SYMLINKS), FailsWith(ELOOP));
  EXPECT_THAT(Open2("to_file", O_RDONLY, RESOLVE_NO_SYMLINKS), FailsWith(ELOOP));
  EXPECT_THAT(Open2("to_file", O_PATH | O_NOFOLLOW, RESOLVE_NO_SYMLINKS), Returns(0));
}

TEST_P(Walks, ResolveNoMagiclinks) {
  const std::string magic = "/proc/self/fd/" + std::to_string(base_.get());
  EXPECT_THAT(Open2(magic, O_RDONLY, 0), Returns(0));
  EXPECT_THAT(Open2(magic, O_RDONLY, RESOLVE_NO_MAGICLINKS), FailsWith(ELOOP));
  EXPECT_THAT(Open2("/proc/self/status", O_RDONLY, RESOLVE_NO_MAGICLINKS), Returns(0));
}

TEST_P(Walks, ResolveBeneath) {
  EXPECT_THAT(Open2("d/../f", O_RDONLY, RESOLVE_BENEATH), Returns(0));
  EXPECT_THAT(Open2("..", O_RDONLY, RESOLVE_BENEATH), FailsWith(EXDEV));
  EXPECT_THAT(Open2("d/../../x", O_RDONLY, RESOLVE_BENEATH), FailsWith(EXDEV));
  EXPECT_THAT(Open2("/etc", O_RDONLY, RESOLVE_BENEATH), FailsWith(EXDEV));
  EXPECT_THAT(symlink("/etc", At("absolute").c_str()), Returns(0));
  EXPECT_THAT(Open2("absolute", O_RDONLY, RESOLVE_BENEATH), FailsWith(EXDEV));
  EXPECT_THAT(Open2("to_dir/inner", O_RDONLY, RESOLVE_BENEATH), Returns(0));
}

TEST_P(Walks, ResolveInRoot) {
  EXPECT_THAT(Open2("/f", O_RDONLY, RESOLVE_IN_ROOT), Returns(0));
  EXPECT_THAT(Open2("../../f", O_RDONLY, RESOLVE_IN_ROOT), Returns(0));
  EXPECT_THAT(symlink("/d/inner", At("absolute").c_str()), Returns(0));
  EXPECT_THAT(Open2("absolute", O_RDONLY, RESOLVE_IN_ROOT), Returns(0));
  EXPECT_THAT(Open2("/etc/passwd", O_RDONLY, RESOLVE_IN_ROOT), FailsWith(ENOENT));
  EXPECT_THAT(Open2("/made", O_RDWR | O_CREAT, RESOLVE_IN_ROOT, 0644), Returns(0));
  EXPECT_THAT(access(At("made").c_str(), F_OK), Returns(0));
}

TEST_P(Walks, ResolveNoXdev) {
  EXPECT_THAT(Open2("d/inner", O_RDONLY, RESOLVE_NO_XDEV), Returns(0));
  EXPECT_THAT(Open2("/proc/self/status", O_RDONLY, RESOLVE_NO_XDEV), FailsWith(EXDEV));
}

TEST_P(Walks, ResolveCachedNeverCreates) {
  EXPECT_THAT(Open2("x", O_RDWR | O_CREAT, RESOLVE_CACHED, 0644), FailsWith(EAGAIN));
  EXPECT_THAT(Open2("f", O_WRONLY | O_TRUNC, RESOLVE_CACHED), FailsWith(EAGAIN));
}

}  // namespace
