// The options of tmpfs: limits, modes, owners.
#include <sys/statfs.h>

#include "tests/conformance/mount_support.h"

namespace {

struct statfs StatFs(const std::string& path) {
  struct statfs st = {};
  EXPECT_THAT(statfs(path.c_str(), &st), Returns(0));
  return st;
}

TEST_F(Mounts, TmpfsSizeIsALimit) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a", 0, "size=64k"), Returns(0));
    UniqueFd fd(open(At("a/f").c_str(), O_RDWR | O_CREAT, 0644));
    const std::string data(128 << 10, 'x');
    EXPECT_THAT(write(fd.get(), data.data(), data.size()), Returns(64 << 10));
    EXPECT_THAT(write(fd.get(), data.data(), 1), FailsWith(ENOSPC));
    EXPECT_EQ(StatFs(At("a")).f_bfree, 0u);
    EXPECT_THAT(ftruncate(fd.get(), 0), Returns(0));
    EXPECT_EQ(StatFs(At("a")).f_bfree, 16u);
  });
}

TEST_F(Mounts, TmpfsSizeWords) {
  Inside([&] {
    const std::pair<const char*, uint64_t> kCases[] = {
        {"size=4096", 1}, {"size=5000", 2}, {"size=8k", 2}, {"size=1M", 256}, {"nr_blocks=7", 7}};
    for (const auto& [text, blocks] : kCases) {
      EXPECT_THAT(MountTmpfs("a", 0, text), Returns(0)) << text;
      EXPECT_EQ(StatFs(At("a")).f_blocks, blocks) << text;
      EXPECT_THAT(umount(At("a").c_str()), Returns(0));
    }
  });
}

TEST_F(Mounts, TmpfsInodesAreALimit) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a", 0, "nr_inodes=4"), Returns(0));
    for (const char* name : {"a/1", "a/2", "a/3"}) Touch(name);
    EXPECT_THAT(creat(At("a/4").c_str(), 0644), FailsWith(ENOSPC));
    EXPECT_THAT(mkdir(At("a/4").c_str(), 0755), FailsWith(ENOSPC));
    EXPECT_EQ(StatFs(At("a")).f_files, 4u);
    EXPECT_EQ(StatFs(At("a")).f_ffree, 0u);
    EXPECT_THAT(unlink(At("a/1").c_str()), Returns(0));
    Touch("a/4");
  });
}

TEST_F(Mounts, TmpfsModeAndOwner) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a", 0, "mode=0750,uid=12,gid=34"), Returns(0));
    struct stat st;
    EXPECT_THAT(stat(At("a").c_str(), &st), Returns(0));
    EXPECT_EQ(st.st_mode, static_cast<mode_t>(S_IFDIR | 0750));
    EXPECT_EQ(st.st_uid, 12u);
    EXPECT_EQ(st.st_gid, 34u);
    EXPECT_THAT(MountTmpfs("b"), Returns(0));
    EXPECT_THAT(stat(At("b").c_str(), &st), Returns(0));
    EXPECT_EQ(st.st_mode, static_cast<mode_t>(S_IFDIR | 01777));
  });
}

TEST_F(Mounts, TmpfsRefusesWhatItDoesNotKnow) {
  Inside([&] {
    for (const char* bad : {"nonsense", "size=x", "mode=9", "uid=abc", "size", "nr_inodes=-1x"}) {
      EXPECT_THAT(MountTmpfs("a", 0, bad), FailsWith(EINVAL)) << bad;
    }
    EXPECT_THAT(MountTmpfs("a", 0, ""), Returns(0));
  });
}

TEST_F(Mounts, TmpfsOptionsAreShown) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a", 0, "size=1m,nr_inodes=10,mode=700,uid=1,gid=2"), Returns(0));
    EXPECT_EQ(FindMount(At("a"))->super_options, "rw,size=1024k,nr_inodes=10,mode=700,uid=1,gid=2");
  });
}

TEST_F(Mounts, TmpfsRemountChangesLimits) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a", 0, "size=64k"), Returns(0));
    EXPECT_THAT(mount(nullptr, At("a").c_str(), nullptr, MS_REMOUNT, "size=128k"), Returns(0));
    EXPECT_EQ(StatFs(At("a")).f_blocks, 32u);
    WriteFile(At("a/f"), std::string(100 << 10, 'x'));
    EXPECT_THAT(mount(nullptr, At("a").c_str(), nullptr, MS_REMOUNT, "size=64k"),
                FailsWith(EINVAL));
    EXPECT_THAT(mount(nullptr, At("a").c_str(), nullptr, MS_REMOUNT, "nonsense"),
                FailsWith(EINVAL));
  });
}

TEST_F(Mounts, TmpfsTypeAndNames) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a"), Returns(0));
    const struct statfs st = StatFs(At("a"));
    EXPECT_EQ(static_cast<uint64_t>(st.f_type), 0x01021994u);
    EXPECT_EQ(st.f_bsize, 4096);
    EXPECT_EQ(st.f_frsize, 4096);
    EXPECT_EQ(st.f_namelen, 255);
  });
}

TEST_F(Mounts, TmpfsHolesCostNothing) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a", 0, "size=64k"), Returns(0));
    UniqueFd fd(open(At("a/f").c_str(), O_RDWR | O_CREAT, 0644));
    EXPECT_THAT(ftruncate(fd.get(), 1 << 30), Returns(0));
    EXPECT_THAT(pwrite(fd.get(), "x", 1, (1 << 30) - 1), Returns(1));
    EXPECT_THAT(fallocate(fd.get(), 0, 0, 1 << 20), FailsWith(ENOSPC));
  });
}

TEST_F(Mounts, TmpfsInstancesAreApart) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a"), Returns(0));
    EXPECT_THAT(MountTmpfs("b"), Returns(0));
    struct stat one, two;
    EXPECT_THAT(stat(At("a").c_str(), &one), Returns(0));
    EXPECT_THAT(stat(At("b").c_str(), &two), Returns(0));
    EXPECT_NE(one.st_dev, two.st_dev);
  });
}

TEST_F(Mounts, RamfsIgnoresWhatItDoesNotKnow) {
  Inside([&] {
    EXPECT_THAT(mount("r", At("a").c_str(), "ramfs", 0, "nonsense,mode=711"), Returns(0));
    struct stat st;
    EXPECT_THAT(stat(At("a").c_str(), &st), Returns(0));
    EXPECT_EQ(st.st_mode, static_cast<mode_t>(S_IFDIR | 0711));
  });
}

}  // namespace
