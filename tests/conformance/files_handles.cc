// File handles: name_to_handle_at(2), open_by_handle_at(2).
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cstring>

#include "tests/conformance/places.h"
#include "tests/conformance/support.h"

namespace {

struct Handle {
  unsigned bytes = 128;  // MAX_HANDLE_SZ.
  int type = -1;
  char f_handle[128] = {};
  int mount_id = -1;

  std::string text() const { return std::string(f_handle, bytes); }
};

long ToHandle(int dirfd, const char* path, Handle& handle, int flags = 0) {
  return syscall(SYS_name_to_handle_at, dirfd, path, &handle, &handle.mount_id, flags);
}

long OpenHandle(int mount_fd, Handle& handle, int flags) {
  return syscall(SYS_open_by_handle_at, mount_fd, &handle, flags);
}

ino_t InodeOf(int fd) {
  struct stat st = {};
  EXPECT_THAT(fstat(fd, &st), Returns(0));
  return st.st_ino;
}

class Handles : public conformance::AtPlace {
 protected:
  void SetUp() override {
    WriteFile(dir / "file", "content");
    mount = UniqueFd(open(dir.path().c_str(), O_RDONLY | O_DIRECTORY));
    Handle handle;
    if (ToHandle(AT_FDCWD, (dir / "file").c_str(), handle) != 0 && errno == EOPNOTSUPP) {
      GTEST_SKIP() << "no handles on this filesystem";
    }
  }
  Handle Of(const std::string& name, int flags = 0) {
    Handle handle;
    EXPECT_THAT(ToHandle(mount.get(), name.c_str(), handle, flags), Returns(0));
    return handle;
  }
  UniqueFd Open(Handle handle, int flags = O_RDONLY) {
    UniqueFd fd(static_cast<int>(OpenHandle(mount.get(), handle, flags)));
    EXPECT_TRUE(fd.valid()) << strerror(errno);
    return fd;
  }

  TempDir dir;
  UniqueFd mount;
};
AT_EACH_PLACE(Handles);

TEST_P(Handles, LeadBackToTheFile) {
  UniqueFd fd = Open(Of("file"));
  char text[16] = {};
  EXPECT_THAT(read(fd.get(), text, sizeof text), Returns(7));
  EXPECT_STREQ(text, "content");
}

TEST_P(Handles, AreThoseOfTheInode) {
  ASSERT_THAT(link((dir / "file").c_str(), (dir / "second").c_str()), Returns(0));
  WriteFile(dir / "other", "");
  const Handle first = Of("file");
  EXPECT_EQ(first.type, Of("second").type);
  EXPECT_EQ(first.text(), Of("second").text());
  EXPECT_NE(first.text(), Of("other").text());
  EXPECT_GT(first.type, 0);
}

TEST_P(Handles, TellTheMount) {
  struct statx stx = {};
  ASSERT_THAT(statx(mount.get(), "file", 0, STATX_MNT_ID, &stx), Returns(0));
  EXPECT_EQ(static_cast<uint64_t>(Of("file").mount_id), stx.stx_mnt_id);
}

TEST_P(Handles, TellWhatRoomTheyNeed) {
  Handle handle{.bytes = 0};
  EXPECT_THAT(ToHandle(mount.get(), "file", handle), FailsWith(EOVERFLOW));
  EXPECT_EQ(handle.bytes, Of("file").bytes);
  EXPECT_EQ(handle.mount_id, Of("file").mount_id);
  EXPECT_THAT(ToHandle(mount.get(), "file", handle), Returns(0));
  EXPECT_EQ(handle.text(), Of("file").text());
}

TEST_P(Handles, SurviveRenames) {
  const Handle handle = Of("file");
  UniqueFd before(open((dir / "file").c_str(), O_RDONLY));
  ASSERT_THAT(mkdir((dir / "d").c_str(), 0755), Returns(0));
  ASSERT_THAT(rename((dir / "file").c_str(), (dir / "d/new").c_str()), Returns(0));
  EXPECT_EQ(InodeOf(Open(handle).get()), InodeOf(before.get()));
  EXPECT_EQ(Of("d/new").text(), handle.text());
}

TEST_P(Handles, AreStaleWithoutTheFile) {
  Handle handle = Of("file");
  ASSERT_THAT(unlink((dir / "file").c_str()), Returns(0));
  EXPECT_THAT(OpenHandle(mount.get(), handle, O_RDONLY), FailsWith(ESTALE));
}

TEST_P(Handles, AreStaleWhenAnotherTakesThePlace) {
  Handle handle = Of("file");
  WriteFile(dir / "other", "");
  ASSERT_THAT(rename((dir / "other").c_str(), (dir / "file").c_str()), Returns(0));
  EXPECT_THAT(OpenHandle(mount.get(), handle, O_RDONLY), FailsWith(ESTALE));
}

TEST_P(Handles, OfDirectories) {
  ASSERT_THAT(mkdir((dir / "d").c_str(), 0755), Returns(0));
  WriteFile(dir / "d/inside", "");
  const Handle handle = Of("d");
  UniqueFd fd = Open(handle, O_RDONLY | O_DIRECTORY);
  EXPECT_THAT(faccessat(fd.get(), "inside", F_OK, 0), Returns(0));
  Handle file = Of("file"), copy = handle;
  EXPECT_THAT(OpenHandle(mount.get(), file, O_RDONLY | O_DIRECTORY), FailsWith(ENOTDIR));
  EXPECT_THAT(OpenHandle(mount.get(), copy, O_RDWR), FailsWith(EISDIR));
  ASSERT_THAT(unlink((dir / "d/inside").c_str()), Returns(0));
  ASSERT_THAT(rmdir((dir / "d").c_str()), Returns(0));
  fd = UniqueFd();
  EXPECT_THAT(OpenHandle(mount.get(), copy, O_RDONLY), FailsWith(ESTALE));
}

TEST_P(Handles, OfSymlinks) {
  ASSERT_THAT(symlink("file", (dir / "link").c_str()), Returns(0));
  EXPECT_EQ(Of("link", AT_SYMLINK_FOLLOW).text(), Of("file").text());
  Handle handle = Of("link");
  EXPECT_NE(handle.text(), Of("file").text());
  EXPECT_THAT(OpenHandle(mount.get(), handle, O_RDONLY), FailsWith(ELOOP));
  UniqueFd fd = Open(handle, O_PATH | O_NOFOLLOW);
  char target[16] = {};
  EXPECT_THAT(readlinkat(fd.get(), "", target, sizeof target), Returns(4));
}

TEST_P(Handles, OfDescriptors) {
  UniqueFd fd(open((dir / "file").c_str(), O_PATH));
  Handle handle;
  EXPECT_THAT(ToHandle(fd.get(), "", handle, AT_EMPTY_PATH), Returns(0));
  EXPECT_EQ(handle.text(), Of("file").text());
  EXPECT_THAT(ToHandle(fd.get(), "", handle), FailsWith(ENOENT));
}

TEST_P(Handles, OpenWithTheAccessAskedFor) {
  const Handle handle = Of("file");
  UniqueFd fd = Open(handle, O_WRONLY | O_APPEND | O_CLOEXEC);
  EXPECT_THAT(write(fd.get(), "!", 1), Returns(1));
  EXPECT_THAT(fcntl(fd.get(), F_GETFD), Returns(FD_CLOEXEC));
  char byte;
  EXPECT_THAT(read(fd.get(), &byte, 1), FailsWith(EBADF));
  EXPECT_EQ(ReadFile(dir / "file"), "content!");
  Open(handle, O_WRONLY | O_TRUNC);
  EXPECT_EQ(ReadFile(dir / "file"), "");
}

TEST_P(Handles, AnyFileOfTheMountWillDo) {
  Handle handle = Of("file");
  WriteFile(dir / "other", "");
  UniqueFd other(open((dir / "other").c_str(), O_RDONLY));
  UniqueFd fd(static_cast<int>(OpenHandle(other.get(), handle, O_RDONLY)));
  EXPECT_TRUE(fd.valid());
}

TEST_P(Handles, NonsenseIsStale) {
  Handle handle = Of("file");
  memset(handle.f_handle, 0xee, handle.bytes);
  EXPECT_THAT(OpenHandle(mount.get(), handle, O_RDONLY), FailsWith(ESTALE));
}

TEST_P(Handles, ErrorsOfName) {
  Handle handle;
  EXPECT_THAT(ToHandle(mount.get(), "none", handle), FailsWith(ENOENT));
  EXPECT_THAT(ToHandle(-1, "file", handle), FailsWith(EBADF));
  EXPECT_THAT(ToHandle(mount.get(), "file", handle, AT_SYMLINK_NOFOLLOW), FailsWith(EINVAL));
  handle.bytes = 129;
  EXPECT_THAT(ToHandle(mount.get(), "file", handle), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_name_to_handle_at, mount.get(), "file", nullptr, &handle.mount_id, 0),
              FailsWith(EFAULT));
  handle.bytes = 128;
  EXPECT_THAT(syscall(SYS_name_to_handle_at, mount.get(), "file", &handle, nullptr, 0),
              FailsWith(EFAULT));
}

TEST_P(Handles, ErrorsOfOpen) {
  Handle handle = Of("file");
  EXPECT_THAT(OpenHandle(-1, handle, O_RDONLY), FailsWith(EBADF));
  EXPECT_THAT(syscall(SYS_open_by_handle_at, mount.get(), nullptr, O_RDONLY), FailsWith(EFAULT));
  handle.bytes = 0;
  EXPECT_THAT(OpenHandle(mount.get(), handle, O_RDONLY), FailsWith(EINVAL));
  handle.bytes = 129;
  EXPECT_THAT(OpenHandle(mount.get(), handle, O_RDONLY), FailsWith(EINVAL));
}

TEST_P(Handles, OpeningNeedsACapability) {
  Handle handle = Of("file");
  const pid_t child = fork();
  if (child == 0) {
    // Whoever is not root has none of them.
    const bool left = setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) == 0;
    const long result = OpenHandle(mount.get(), handle, O_RDONLY);
    _exit(left && result < 0 && errno == EPERM ? 0 : 1);
  }
  int status = -1;
  ASSERT_THAT(waitpid(child, &status, 0), Returns(child));
  EXPECT_EQ(status, 0);
}

TEST(HandlesOfOthers, ThereAreNone) {
  Handle handle;
  EXPECT_THAT(ToHandle(AT_FDCWD, "/proc/self/status", handle), FailsWith(EOPNOTSUPP));
  int pipes[2];
  ASSERT_THAT(pipe(pipes), Returns(0));
  EXPECT_THAT(ToHandle(pipes[0], "", handle, AT_EMPTY_PATH), FailsWith(EOPNOTSUPP));
  close(pipes[0]);
  close(pipes[1]);
}

}  // namespace
