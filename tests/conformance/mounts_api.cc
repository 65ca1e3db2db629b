// Mounts by descriptors: fsopen(2), fsconfig(2), fsmount(2), fspick(2), open_tree(2),
// move_mount(2), mount_setattr(2), statmount(2), listmount(2).
#include <sys/statfs.h>

#include <algorithm>
#include <cstring>

#include "tests/conformance/mount_support.h"

namespace {

constexpr int kOpenTree = 428, kMoveMount = 429, kFsopen = 430, kFsconfig = 431, kFsmount = 432,
              kFspick = 433, kMountSetattr = 442, kStatmount = 457, kListmount = 458;
enum { kFlag, kString, kBinary, kPath, kPathEmpty, kFd, kCreate, kReconfigure };
constexpr unsigned kFromEmpty = 4, kToEmpty = 0x40, kClone = 1, kRecursive = 0x8000;

struct Attr {
  uint64_t set, clear, propagation, userns;
};
struct Request {
  uint32_t size, spare;
  uint64_t id, param, ns;
};
struct StatMount {
  uint32_t size, opts;
  uint64_t mask;
  uint32_t dev_major, dev_minor;
  uint64_t magic;
  uint32_t sb_flags, fs_type;
  uint64_t id, parent;
  uint32_t id_old, parent_old;
  uint64_t attr, propagation, group, master, from;
  uint32_t root, point;
  uint64_t ns;
  uint64_t spare[48 + 1];
  char text[4096];
};
static_assert(offsetof(StatMount, text) == 512);

class MountApi : public Mounts {
 protected:
  static long Config(int fd, unsigned command, const char* key = nullptr,
                     const void* value = nullptr, int aux = 0) {
    return syscall(kFsconfig, fd, command, key, value, aux);
  }
  // A detached tmpfs.
  static UniqueFd NewTmpfs(unsigned attributes = 0) {
    UniqueFd context(static_cast<int>(syscall(kFsopen, "tmpfs", 0)));
    EXPECT_TRUE(context.valid());
    EXPECT_THAT(Config(context.get(), kString, "source", "src"), Returns(0));
    EXPECT_THAT(Config(context.get(), kCreate), Returns(0));
    return UniqueFd(static_cast<int>(syscall(kFsmount, context.get(), 0, attributes)));
  }
  long MoveTo(int fd, const std::string& name) {
    return syscall(kMoveMount, fd, "", AT_FDCWD, At(name).c_str(), kFromEmpty);
  }
  long OpenTree(const std::string& name, unsigned flags) {
    return syscall(kOpenTree, AT_FDCWD, At(name).c_str(), flags);
  }
  long Setattr(const std::string& name, Attr attr, unsigned flags = 0) {
    return syscall(kMountSetattr, AT_FDCWD, At(name).c_str(), flags, &attr, sizeof attr);
  }
  uint64_t UniqueId(const std::string& path) {
    struct statx st = {};
    EXPECT_THAT(syscall(SYS_statx, AT_FDCWD, path.c_str(), 0, 0x4000, &st), Returns(0));
    EXPECT_TRUE((st.stx_mask & 0x4000) != 0);
    uint64_t id;
    memcpy(&id, reinterpret_cast<const char*>(&st) + 0x90, sizeof id);
    return id;
  }
};

TEST_F(MountApi, AFilesystemStepByStep) {
  Inside([&] {
    UniqueFd context(static_cast<int>(syscall(kFsopen, "tmpfs", 1)));
    ASSERT_TRUE(context.valid());
    EXPECT_EQ(fcntl(context.get(), F_GETFD), FD_CLOEXEC);
    EXPECT_THAT(Config(context.get(), kString, "size", "64k"), Returns(0));
    EXPECT_THAT(Config(context.get(), kString, "source", "here"), Returns(0));
    EXPECT_THAT(Config(context.get(), kCreate), Returns(0));
    UniqueFd tree(static_cast<int>(syscall(kFsmount, context.get(), 0, 0x2)));
    ASSERT_TRUE(tree.valid());
    UniqueFd file(openat(tree.get(), "f", O_RDWR | O_CREAT, 0644));
    EXPECT_TRUE(file.valid());
    EXPECT_THAT(MoveTo(tree.get(), "a"), Returns(0));
    EXPECT_TRUE(Has("a/f"));
    const auto line = FindMount(At("a"));
    ASSERT_TRUE(line);
    EXPECT_EQ(line->options, "rw,nosuid,relatime");
    EXPECT_EQ(line->source, "here");
    EXPECT_EQ(line->super_options, "rw,size=64k");
  });
}

TEST_F(MountApi, FsopenArguments) {
  Inside([&] {
    EXPECT_THAT(syscall(kFsopen, "nosuchfs", 0), FailsWith(ENODEV));
    EXPECT_THAT(syscall(kFsopen, "tmpfs", 2), FailsWith(EINVAL));
    EXPECT_THAT(syscall(kFsopen, 8, 0), FailsWith(EFAULT));
  });
}

TEST_F(MountApi, IsForThePrivileged) {
  EXPECT_THAT(InChild([] {
                CHILD_CHECK(setresuid(1000, 1000, 1000) == 0);
                CHILD_CHECK(syscall(kFsopen, "tmpfs", 0) == -1 && errno == EPERM);
                CHILD_CHECK(syscall(kOpenTree, AT_FDCWD, "/tmp", kClone) == -1 && errno == EPERM);
                UniqueFd fd(static_cast<int>(syscall(kOpenTree, AT_FDCWD, "/tmp", 0)));
                CHILD_CHECK(fd.valid());
                return 0;
              }),
              Exited(0));
}

TEST_F(MountApi, FsconfigArguments) {
  Inside([&] {
    UniqueFd context(static_cast<int>(syscall(kFsopen, "tmpfs", 0)));
    const int fd = context.get();
    EXPECT_THAT(Config(fd, kFlag), FailsWith(EINVAL));
    EXPECT_THAT(Config(fd, kFlag, "ro", "x"), FailsWith(EINVAL));
    EXPECT_THAT(Config(fd, kString, "size"), FailsWith(EINVAL));
    EXPECT_THAT(Config(fd, kString, "size", "1m", 1), FailsWith(EINVAL));
    EXPECT_THAT(Config(fd, kCreate, "x"), FailsWith(EINVAL));
    EXPECT_THAT(Config(fd, 77), FailsWith(EOPNOTSUPP));
    EXPECT_THAT(Config(-1, kCreate), FailsWith(EINVAL));
    EXPECT_THAT(Config(500, kCreate), FailsWith(EBADF));
    EXPECT_THAT(Config(0, kCreate), FailsWith(EINVAL));
    EXPECT_THAT(Config(fd, kString, "nonsense", "1"), FailsWith(EINVAL));
    EXPECT_THAT(Config(fd, kFlag, "nonsense"), FailsWith(EINVAL));
    EXPECT_THAT(Config(fd, kString, "size", "x"), FailsWith(EINVAL));
    EXPECT_THAT(Config(fd, kReconfigure), FailsWith(EBUSY));
  });
}

TEST_F(MountApi, ASourceIsGivenOnce) {
  Inside([&] {
    UniqueFd context(static_cast<int>(syscall(kFsopen, "tmpfs", 0)));
    EXPECT_THAT(Config(context.get(), kString, "source", "a"), Returns(0));
    EXPECT_THAT(Config(context.get(), kString, "source", "b"), FailsWith(EINVAL));
  });
}

TEST_F(MountApi, CreatedOnce) {
  Inside([&] {
    UniqueFd context(static_cast<int>(syscall(kFsopen, "tmpfs", 0)));
    EXPECT_THAT(syscall(kFsmount, context.get(), 0, 0), FailsWith(EINVAL));
    EXPECT_THAT(Config(context.get(), kCreate), Returns(0));
    EXPECT_THAT(Config(context.get(), kCreate), FailsWith(EBUSY));
    EXPECT_THAT(Config(context.get(), kString, "size", "1m"), FailsWith(EBUSY));
    UniqueFd tree(static_cast<int>(syscall(kFsmount, context.get(), 0, 0)));
    EXPECT_TRUE(tree.valid());
    EXPECT_THAT(syscall(kFsmount, context.get(), 0, 0), FailsWith(EBUSY));
  });
}

TEST_F(MountApi, ReadOnlyFromTheStart) {
  Inside([&] {
    UniqueFd context(static_cast<int>(syscall(kFsopen, "tmpfs", 0)));
    EXPECT_THAT(Config(context.get(), kFlag, "ro"), Returns(0));
    EXPECT_THAT(Config(context.get(), kCreate), Returns(0));
    UniqueFd tree(static_cast<int>(syscall(kFsmount, context.get(), 0, 0)));
    EXPECT_THAT(openat(tree.get(), "f", O_RDWR | O_CREAT, 0644), FailsWith(EROFS));
  });
}

TEST_F(MountApi, FsmountArguments) {
  Inside([&] {
    UniqueFd context(static_cast<int>(syscall(kFsopen, "tmpfs", 0)));
    EXPECT_THAT(Config(context.get(), kCreate), Returns(0));
    EXPECT_THAT(syscall(kFsmount, context.get(), 2, 0), FailsWith(EINVAL));
    EXPECT_THAT(syscall(kFsmount, context.get(), 0, 0x80000000u), FailsWith(EINVAL));
    EXPECT_THAT(syscall(kFsmount, context.get(), 0, 0x30), FailsWith(EINVAL));
    EXPECT_THAT(syscall(kFsmount, 0, 0, 0), FailsWith(EINVAL));
    EXPECT_THAT(syscall(kFsmount, -1, 0, 0), FailsWith(EBADF));
  });
}

TEST_F(MountApi, ADetachedTreeGoesWithItsDescriptor) {
  Inside([&] {
    UniqueFd tree = NewTmpfs();
    UniqueFd file(openat(tree.get(), "f", O_RDWR | O_CREAT, 0644));
    tree.reset();
    EXPECT_THAT(write(file.get(), "x", 1), Returns(1));
    EXPECT_FALSE(FindMount(At("a")));
  });
}

TEST_F(MountApi, TheDescriptorIsAPath) {
  Inside([&] {
    UniqueFd tree = NewTmpfs();
    EXPECT_EQ(fcntl(tree.get(), F_GETFL) & O_PATH, O_PATH);
    char byte;
    EXPECT_THAT(read(tree.get(), &byte, 1), FailsWith(EBADF));
    struct stat st;
    EXPECT_THAT(fstat(tree.get(), &st), Returns(0));
    EXPECT_TRUE(S_ISDIR(st.st_mode));
  });
}

TEST_F(MountApi, OpenTreeClones) {
  Inside([&] {
    Touch("a/f");
    UniqueFd tree(static_cast<int>(OpenTree("a", kClone)));
    ASSERT_TRUE(tree.valid());
    EXPECT_THAT(MoveTo(tree.get(), "b"), Returns(0));
    EXPECT_TRUE(Has("b/f"));
    EXPECT_EQ(FindMount(At("b"))->root, "/a");
    // It is an ordinary mount now.
    tree.reset();
    EXPECT_TRUE(Has("b/f"));
    EXPECT_THAT(umount(At("b").c_str()), Returns(0));
  });
}

TEST_F(MountApi, OpenTreeRecursively) {
  Inside([&] {
    EXPECT_THAT(mkdir(At("a/sub").c_str(), 0755), Returns(0));
    EXPECT_THAT(MountTmpfs("a/sub"), Returns(0));
    Touch("a/sub/f");
    UniqueFd one(static_cast<int>(OpenTree("a", kClone)));
    UniqueFd all(static_cast<int>(OpenTree("a", kClone | kRecursive)));
    EXPECT_THAT(MoveTo(one.get(), "b"), Returns(0));
    EXPECT_THAT(MoveTo(all.get(), "c"), Returns(0));
    EXPECT_FALSE(Has("b/sub/f"));
    EXPECT_TRUE(Has("c/sub/f"));
  });
}

TEST_F(MountApi, OpenTreeArguments) {
  Inside([&] {
    EXPECT_THAT(OpenTree("a", kRecursive), FailsWith(EINVAL));
    EXPECT_THAT(OpenTree("a", 0x10000000), FailsWith(EINVAL));
    EXPECT_THAT(OpenTree("none", 0), FailsWith(ENOENT));
    EXPECT_THAT(MountTmpfs("a"), Returns(0));
    EXPECT_THAT(Propagate("a", MS_UNBINDABLE), Returns(0));
    EXPECT_THAT(OpenTree("a", kClone), FailsWith(EINVAL));
  });
}

TEST_F(MountApi, MoveMountMovesWhatIsMounted) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a"), Returns(0));
    Touch("a/f");
    EXPECT_THAT(syscall(kMoveMount, AT_FDCWD, At("a").c_str(), AT_FDCWD, At("b").c_str(), 0),
                Returns(0));
    EXPECT_TRUE(Has("b/f"));
    UniqueFd from(open(At("b").c_str(), O_PATH)), to(open(At("c").c_str(), O_PATH));
    EXPECT_THAT(syscall(kMoveMount, from.get(), "", to.get(), "", kFromEmpty | kToEmpty),
                Returns(0));
    EXPECT_TRUE(Has("c/f"));
  });
}

TEST_F(MountApi, MoveMountArguments) {
  Inside([&] {
    const auto move = [&](const char* from, const char* to, unsigned flags) {
      return syscall(kMoveMount, AT_FDCWD, At(from).c_str(), AT_FDCWD, At(to).c_str(), flags);
    };
    EXPECT_THAT(move("a", "b", 0), FailsWith(EINVAL));
    EXPECT_THAT(move("a", "b", 0x80000000u), FailsWith(EINVAL));
    EXPECT_THAT(move("none", "b", 0), FailsWith(ENOENT));
    UniqueFd tree = NewTmpfs();
    Touch("file");
    EXPECT_THAT(MoveTo(tree.get(), "file"), FailsWith(EINVAL));
    EXPECT_THAT(MoveTo(tree.get(), "a"), Returns(0));
  });
}

TEST_F(MountApi, AttachingPropagates) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a"), Returns(0));
    EXPECT_THAT(mkdir(At("a/sub").c_str(), 0755), Returns(0));
    EXPECT_THAT(Propagate("a", MS_SHARED), Returns(0));
    EXPECT_THAT(Bind("a", "b"), Returns(0));
    UniqueFd tree = NewTmpfs();
    EXPECT_THAT(MoveTo(tree.get(), "a/sub"), Returns(0));
    EXPECT_TRUE(FindMount(At("b/sub")));
  });
}

TEST_F(MountApi, FspickReconfigures) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a", 0, "size=64k"), Returns(0));
    UniqueFd context(static_cast<int>(syscall(kFspick, AT_FDCWD, At("a").c_str(), 1)));
    ASSERT_TRUE(context.valid());
    EXPECT_THAT(Config(context.get(), kString, "size", "128k"), Returns(0));
    EXPECT_THAT(Config(context.get(), kFlag, "ro"), Returns(0));
    EXPECT_THAT(Config(context.get(), kReconfigure), Returns(0));
    EXPECT_EQ(FindMount(At("a"))->super_options, "ro,size=128k");
    EXPECT_THAT(Config(context.get(), kCreate), FailsWith(EBUSY));
  });
}

TEST_F(MountApi, FspickArguments) {
  Inside([&] {
    EXPECT_THAT(syscall(kFspick, AT_FDCWD, At("a").c_str(), 0), FailsWith(EINVAL));
    EXPECT_THAT(syscall(kFspick, AT_FDCWD, At("none").c_str(), 0), FailsWith(ENOENT));
    EXPECT_THAT(syscall(kFspick, AT_FDCWD, At("a").c_str(), 0x100), FailsWith(EINVAL));
  });
}

TEST_F(MountApi, SetattrChangesFlags) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a", MS_NOSUID), Returns(0));
    EXPECT_THAT(Setattr("a", {.set = 0x1 | 0x8, .clear = 0x2, .propagation = 0, .userns = 0}),
                Returns(0));
    EXPECT_EQ(FindMount(At("a"))->options, "ro,noexec,relatime");
    EXPECT_THAT(creat(At("a/f").c_str(), 0644), FailsWith(EROFS));
    EXPECT_THAT(Setattr("a", {.set = 0, .clear = 0x1, .propagation = 0, .userns = 0}), Returns(0));
    Touch("a/f");
  });
}

TEST_F(MountApi, SetattrOfAccessTimes) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a"), Returns(0));
    EXPECT_THAT(Setattr("a", {.set = 0x10, .clear = 0, .propagation = 0, .userns = 0}),
                FailsWith(EINVAL));
    EXPECT_THAT(Setattr("a", {.set = 0x10, .clear = 0x10, .propagation = 0, .userns = 0}),
                FailsWith(EINVAL));
    EXPECT_THAT(Setattr("a", {.set = 0x10, .clear = 0x70, .propagation = 0, .userns = 0}),
                Returns(0));
    EXPECT_EQ(FindMount(At("a"))->options, "rw,noatime");
    EXPECT_THAT(Setattr("a", {.set = 0x20, .clear = 0x70, .propagation = 0, .userns = 0}),
                Returns(0));
    EXPECT_EQ(FindMount(At("a"))->options, "rw");
  });
}

TEST_F(MountApi, SetattrRecursively) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a"), Returns(0));
    EXPECT_THAT(mkdir(At("a/sub").c_str(), 0755), Returns(0));
    EXPECT_THAT(MountTmpfs("a/sub"), Returns(0));
    EXPECT_THAT(
        Setattr("a", {.set = 0x1, .clear = 0, .propagation = MS_SHARED, .userns = 0}, kRecursive),
        Returns(0));
    EXPECT_EQ(FindMount(At("a/sub"))->options, "ro,relatime");
    EXPECT_EQ(PropagationOf(At("a/sub")), "shared");
  });
}

TEST_F(MountApi, SetattrWithWriters) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a"), Returns(0));
    UniqueFd fd(creat(At("a/f").c_str(), 0644));
    EXPECT_THAT(Setattr("a", {.set = 0x1, .clear = 0, .propagation = 0, .userns = 0}),
                FailsWith(EBUSY));
  });
}

TEST_F(MountApi, SetattrArguments) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a"), Returns(0));
    Attr attr = {.set = 0x1, .clear = 0, .propagation = 0, .userns = 0};
    const std::string a = At("a");
    EXPECT_THAT(syscall(kMountSetattr, AT_FDCWD, a.c_str(), 0, &attr, 8), FailsWith(EINVAL));
    EXPECT_THAT(syscall(kMountSetattr, AT_FDCWD, a.c_str(), 0, &attr, 8192), FailsWith(E2BIG));
    EXPECT_THAT(Setattr("a", attr, 0x1), FailsWith(EINVAL));
    EXPECT_THAT(Setattr("a", {.set = 1ull << 40, .clear = 0, .propagation = 0, .userns = 0}),
                FailsWith(EINVAL));
    EXPECT_THAT(Setattr("a", {.set = 0, .clear = 0, .propagation = 3, .userns = 0}),
                FailsWith(EINVAL));
    EXPECT_THAT(Setattr("b", attr), FailsWith(EINVAL));
    EXPECT_THAT(Setattr("b", {}), Returns(0));
  });
}

TEST_F(MountApi, SetattrOfADetachedTree) {
  Inside([&] {
    Touch("a/f");
    UniqueFd tree(static_cast<int>(OpenTree("a", kClone)));
    Attr attr = {.set = 0x1, .clear = 0, .propagation = 0, .userns = 0};
    EXPECT_THAT(syscall(kMountSetattr, tree.get(), "", AT_EMPTY_PATH, &attr, sizeof attr),
                Returns(0));
    EXPECT_THAT(MoveTo(tree.get(), "b"), Returns(0));
    EXPECT_THAT(creat(At("b/g").c_str(), 0644), FailsWith(EROFS));
    Touch("a/g");
  });
}

TEST_F(MountApi, StatmountTells) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a", MS_NOSUID, "size=64k"), Returns(0));
    EXPECT_THAT(Propagate("a", MS_SHARED), Returns(0));
    const Request request = {32, 0, UniqueId(At("a")), 0x1 | 0x2 | 0x8 | 0x10 | 0x20 | 0x80, 0};
    StatMount st = {};
    ASSERT_THAT(syscall(kStatmount, &request, &st, sizeof st, 0), Returns(0));
    EXPECT_EQ(st.mask, request.param);
    EXPECT_EQ(st.id, request.id);
    EXPECT_EQ(st.parent, UniqueId(dir_.path()));
    EXPECT_EQ(static_cast<int>(st.id_old), FindMount(At("a"))->id);
    EXPECT_EQ(st.magic, 0x01021994u);
    EXPECT_EQ(st.attr, 0x2u);
    EXPECT_EQ(st.propagation, static_cast<uint64_t>(MS_SHARED));
    EXPECT_GT(st.group, 0u);
    EXPECT_STREQ(st.text + st.fs_type, "tmpfs");
    EXPECT_STREQ(st.text + st.root, "/");
    EXPECT_EQ(st.text + st.point, At("a"));
    EXPECT_STREQ(st.text + st.opts, "size=64k");
    EXPECT_GT(st.size, 512u);
  });
}

TEST_F(MountApi, StatmountArguments) {
  Inside([&] {
    StatMount st = {};
    Request request = {32, 0, UniqueId("/"), 0x20, 0};
    EXPECT_THAT(syscall(kStatmount, &request, &st, sizeof st, 1), FailsWith(EINVAL));
    EXPECT_THAT(syscall(kStatmount, &request, &st, 514, 0), FailsWith(EOVERFLOW));
    EXPECT_THAT(syscall(kStatmount, 8, &st, sizeof st, 0), FailsWith(EFAULT));
    request.size = 8;
    EXPECT_THAT(syscall(kStatmount, &request, &st, sizeof st, 0), FailsWith(EINVAL));
    request = {24, 0, 1ull << 60, 0x1, 0};
    EXPECT_THAT(syscall(kStatmount, &request, &st, sizeof st, 0), FailsWith(ENOENT));
  });
}

TEST_F(MountApi, ListmountListsWhatIsBelow) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a"), Returns(0));
    EXPECT_THAT(MountTmpfs("b"), Returns(0));
    uint64_t ids[64] = {};
    Request request = {24, 0, UniqueId(dir_.path()), 0, 0};
    ASSERT_THAT(syscall(kListmount, &request, ids, 64, 0), Returns(2));
    EXPECT_EQ(ids[0], UniqueId(At("a")));
    EXPECT_EQ(ids[1], UniqueId(At("b")));
    ASSERT_THAT(syscall(kListmount, &request, ids, 1, 0), Returns(1));
    request.param = ids[0];
    ASSERT_THAT(syscall(kListmount, &request, ids, 64, 0), Returns(1));
    EXPECT_EQ(ids[0], UniqueId(At("b")));
  });
}

TEST_F(MountApi, ListmountFromTheRoot) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a"), Returns(0));
    uint64_t ids[1024] = {};
    const Request request = {24, 0, ~0ull, 0, 0};
    const long count = syscall(kListmount, &request, ids, 1024, 0);
    ASSERT_GT(count, 2);
    EXPECT_NE(std::find(ids, ids + count, UniqueId(At("a"))), ids + count);
    EXPECT_TRUE(std::is_sorted(ids, ids + count));
    EXPECT_THAT(syscall(kListmount, &request, ids, 1024, 2), FailsWith(EINVAL));
  });
}

}  // namespace
