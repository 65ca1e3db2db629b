// Who may do what: modes, groups, sticky and set-id bits, capabilities, umask.
#include <grp.h>
#include <linux/capability.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "tests/conformance/places.h"
#include "tests/conformance/support.h"

namespace {

constexpr uid_t kUser = 1000, kOther = 1001;
constexpr gid_t kGroup = 2000, kExtra = 2001;

// Keeps only these effective capabilities.
bool KeepOnly(std::initializer_list<int> capabilities) {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  if (syscall(SYS_capget, &header, data) != 0) return false;
  data[0].effective = data[1].effective = 0;
  for (const int capability : capabilities) {
    data[capability / 32].effective |= 1u << (capability % 32);
  }
  return syscall(SYS_capset, &header, data) == 0;
}

bool Become(uid_t uid, gid_t gid, std::vector<gid_t> groups = {}) {
  return setgroups(groups.size(), groups.data()) == 0 && setresgid(gid, gid, gid) == 0 &&
         setresuid(uid, uid, uid) == 0;
}

class Permissions : public AtPlace {
 protected:
  void Make(const std::string& name, mode_t mode, uid_t uid, gid_t gid) {
    WriteFile(At(name), "x");
    EXPECT_THAT(chown(At(name).c_str(), uid, gid), Returns(0));
    EXPECT_THAT(chmod(At(name).c_str(), mode), Returns(0));
  }
  void MakeDirectory(const std::string& name, mode_t mode, uid_t uid, gid_t gid) {
    EXPECT_THAT(mkdir(At(name).c_str(), 0755), Returns(0));
    EXPECT_THAT(chown(At(name).c_str(), uid, gid), Returns(0));
    EXPECT_THAT(chmod(At(name).c_str(), mode), Returns(0));
  }
  mode_t ModeOf(const std::string& name) {
    struct stat st = {};
    EXPECT_THAT(lstat(At(name).c_str(), &st), Returns(0));
    return st.st_mode & 07777;
  }
  std::string At(const std::string& name) const { return dir_ / name; }
  bool MayOpen(const std::string& name, int flags) const {
    return UniqueFd(open(At(name).c_str(), flags)).valid();
  }
  TempDir dir_;
};
AT_EACH_PLACE(Permissions);

TEST_P(Permissions, TheFirstClassThatFitsDecides) {
  Make("owner", 0077, kUser, kGroup);
  Make("group", 0707, kOther, kGroup);
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(Become(kUser, kGroup));
                CHILD_CHECK(!MayOpen("owner", O_RDONLY) && errno == EACCES);
                CHILD_CHECK(!MayOpen("group", O_RDONLY) && errno == EACCES);
                return 0;
              }),
              Exited(0));
}

TEST_P(Permissions, SupplementaryGroupsCount) {
  Make("f", 0640, kOther, kExtra);
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(Become(kUser, kGroup, {kExtra}));
                CHILD_CHECK(MayOpen("f", O_RDONLY));
                CHILD_CHECK(!MayOpen("f", O_WRONLY));
                return 0;
              }),
              Exited(0));
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(Become(kUser, kGroup));
                CHILD_CHECK(!MayOpen("f", O_RDONLY));
                return 0;
              }),
              Exited(0));
}

TEST_P(Permissions, SearchIsNeededForEachDirectory) {
  MakeDirectory("d", 0600, kUser, kGroup);
  Make("d/f", 0666, kUser, kGroup);
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(Become(kUser, kGroup));
                CHILD_CHECK(!MayOpen("d/f", O_RDONLY) && errno == EACCES);
                CHILD_CHECK(MayOpen("d", O_RDONLY));
                CHILD_CHECK(chdir(At("d").c_str()) == -1 && errno == EACCES);
                return 0;
              }),
              Exited(0));
}

TEST_P(Permissions, NewNamesNeedWriteAndSearch) {
  MakeDirectory("d", 0555, kUser, kGroup);
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(Become(kUser, kGroup));
                CHILD_CHECK(creat(At("d/x").c_str(), 0644) == -1 && errno == EACCES);
                CHILD_CHECK(mkdir(At("d/x").c_str(), 0755) == -1 && errno == EACCES);
                CHILD_CHECK(symlink("x", At("d/x").c_str()) == -1 && errno == EACCES);
                return 0;
              }),
              Exited(0));
}

TEST_P(Permissions, DacOverride) {
  Make("f", 0000, kOther, kGroup);
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(KeepOnly({CAP_DAC_OVERRIDE}));
                CHILD_CHECK(MayOpen("f", O_RDWR));
                CHILD_CHECK(access(At("f").c_str(), X_OK) == -1 && errno == EACCES);
                return 0;
              }),
              Exited(0));
}

TEST_P(Permissions, DacReadSearch) {
  Make("f", 0000, kOther, kGroup);
  MakeDirectory("d", 0000, kOther, kGroup);
  Make("d/f", 0000, kOther, kGroup);
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(setfsuid(kUser) == 0);
                CHILD_CHECK(KeepOnly({CAP_DAC_READ_SEARCH}));
                CHILD_CHECK(MayOpen("f", O_RDONLY));
                CHILD_CHECK(!MayOpen("f", O_WRONLY) && errno == EACCES);
                CHILD_CHECK(MayOpen("d/f", O_RDONLY));
                CHILD_CHECK(creat(At("d/g").c_str(), 0644) == -1 && errno == EACCES);
                return 0;
              }),
              Exited(0));
}

TEST_P(Permissions, WithoutCapabilitiesRootIsAnybody) {
  Make("f", 0600, kOther, kGroup);
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(KeepOnly({}));
                CHILD_CHECK(!MayOpen("f", O_RDONLY) && errno == EACCES);
                CHILD_CHECK(chmod(At("f").c_str(), 0666) == -1 && errno == EPERM);
                CHILD_CHECK(chown(At("f").c_str(), 0, 0) == -1 && errno == EPERM);
                return 0;
              }),
              Exited(0));
}

TEST_P(Permissions, Fowner) {
  Make("f", 0600, kOther, kGroup);
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(KeepOnly({CAP_FOWNER}));
                CHILD_CHECK(chmod(At("f").c_str(), 0644) == 0);
                const timespec times[2] = {{1, 0}, {1, 0}};
                CHILD_CHECK(utimensat(AT_FDCWD, At("f").c_str(), times, 0) == 0);
                CHILD_CHECK(chown(At("f").c_str(), 0, 0) == -1 && errno == EPERM);
                return 0;
              }),
              Exited(0));
}

TEST_P(Permissions, Chown) {
  Make("f", 0600, kOther, kGroup);
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(KeepOnly({CAP_CHOWN}));
                CHILD_CHECK(chown(At("f").c_str(), kUser, kExtra) == 0);
                return 0;
              }),
              Exited(0));
}

TEST_P(Permissions, OwnersMayGiveToTheirGroups) {
  Make("f", 0600, kUser, kGroup);
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(Become(kUser, kGroup, {kExtra}));
                const char* const f = strdup(At("f").c_str());
                CHILD_CHECK(chown(f, -1, kExtra) == 0);
                CHILD_CHECK(chown(f, kUser, kGroup) == 0);
                CHILD_CHECK(chown(f, -1, 3000) == -1 && errno == EPERM);
                CHILD_CHECK(chown(f, kOther, -1) == -1 && errno == EPERM);
                return 0;
              }),
              Exited(0));
}

TEST_P(Permissions, ChownClearsSetIdBits) {
  Make("f", 06755, kOther, kGroup);
  EXPECT_THAT(chown(At("f").c_str(), kUser, kGroup), Returns(0));
  EXPECT_EQ(ModeOf("f"), 0755u);
  Make("g", 06745, kOther, kGroup);
  EXPECT_THAT(chown(At("g").c_str(), kUser, kGroup), Returns(0));
  EXPECT_EQ(ModeOf("g"), 02745u);
}

TEST_P(Permissions, WritesClearSetIdBits) {
  Make("f", 06777, kOther, kGroup);
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(Become(kUser, kGroup));
                UniqueFd fd(open(At("f").c_str(), O_WRONLY));
                CHILD_CHECK(write(fd.get(), "y", 1) == 1);
                return 0;
              }),
              Exited(0));
  EXPECT_EQ(ModeOf("f"), 0777u);
}

TEST_P(Permissions, TruncationClearsSetIdBits) {
  Make("f", 06777, kOther, kGroup);
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(Become(kUser, kGroup));
                CHILD_CHECK(truncate(At("f").c_str(), 0) == 0);
                return 0;
              }),
              Exited(0));
  EXPECT_EQ(ModeOf("f"), 0777u);
}

TEST_P(Permissions, FsetidKeepsThem) {
  Make("f", 06777, kOther, kGroup);
  UniqueFd fd(open(At("f").c_str(), O_WRONLY));
  EXPECT_THAT(write(fd.get(), "y", 1), Returns(1));
  EXPECT_EQ(ModeOf("f"), 06777u);
}

TEST_P(Permissions, ChmodWithoutTheGroupDropsSetgid) {
  Make("f", 0755, kUser, kExtra);
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(Become(kUser, kGroup));
                CHILD_CHECK(chmod(At("f").c_str(), 02755) == 0);
                return 0;
              }),
              Exited(0));
  EXPECT_EQ(ModeOf("f"), 0755u);
}

TEST_P(Permissions, StickyDirectories) {
  MakeDirectory("d", 01777, 0, 0);
  Make("d/f", 0666, kOther, kGroup);
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(Become(kUser, kGroup));
                CHILD_CHECK(unlink(At("d/f").c_str()) == -1 && errno == EPERM);
                CHILD_CHECK(rename(At("d/f").c_str(), At("d/g").c_str()) == -1 && errno == EPERM);
                UniqueFd(creat(At("d/mine").c_str(), 0644)).reset();
                CHILD_CHECK(rename(At("d/mine").c_str(), At("d/f").c_str()) == -1);
                CHILD_CHECK(errno == EPERM);
                CHILD_CHECK(unlink(At("d/mine").c_str()) == 0);
                return 0;
              }),
              Exited(0));
}

TEST_P(Permissions, OwnersOfStickyDirectoriesMayRemove) {
  MakeDirectory("d", 01777, kUser, kGroup);
  Make("d/f", 0666, kOther, kGroup);
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(Become(kUser, kGroup));
                return unlink(At("d/f").c_str()) == 0 ? 0 : 1;
              }),
              Exited(0));
}

TEST_P(Permissions, SetgidDirectoriesGiveTheirGroup) {
  MakeDirectory("d", 02777, kOther, kExtra);
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(Become(kUser, kGroup));
                UniqueFd(creat(At("d/f").c_str(), 0644)).reset();
                CHILD_CHECK(mkdir(At("d/sub").c_str(), 0755) == 0);
                struct stat st;
                CHILD_CHECK(stat(At("d/f").c_str(), &st) == 0);
                CHILD_CHECK(st.st_uid == kUser && st.st_gid == kExtra);
                CHILD_CHECK(stat(At("d/sub").c_str(), &st) == 0);
                CHILD_CHECK(st.st_gid == kExtra && (st.st_mode & S_ISGID) != 0);
                return 0;
              }),
              Exited(0));
}

TEST_P(Permissions, SetgidOfAForeignGroupIsStripped) {
  MakeDirectory("d", 02777, kOther, kExtra);
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(Become(kUser, kGroup));
                UniqueFd fd(open(At("d/f").c_str(), O_RDWR | O_CREAT, 02775));
                struct stat st;
                CHILD_CHECK(fstat(fd.get(), &st) == 0);
                CHILD_CHECK((st.st_mode & S_ISGID) == 0);
                return 0;
              }),
              Exited(0));
}

TEST_P(Permissions, UmaskTakesBitsAway) {
  EXPECT_THAT(InChild([&] {
                umask(027);
                UniqueFd(open(At("f").c_str(), O_RDWR | O_CREAT, 0666)).reset();
                CHILD_CHECK(mkdir(At("d").c_str(), 0777) == 0);
                CHILD_CHECK(mkfifo(At("p").c_str(), 0666) == 0);
                CHILD_CHECK(umask(0) == 027);
                return 0;
              }),
              Exited(0));
  EXPECT_EQ(ModeOf("f"), 0640u);
  EXPECT_EQ(ModeOf("d"), 0750u);
  EXPECT_EQ(ModeOf("p"), 0640u);
}

TEST_P(Permissions, UmaskLeavesChmodAlone) {
  Make("f", 0600, 0, 0);
  EXPECT_THAT(InChild([&] {
                umask(077);
                return chmod(At("f").c_str(), 0666);
              }),
              Exited(0));
  EXPECT_EQ(ModeOf("f"), 0666u);
}

TEST_P(Permissions, TheFilesystemIdDecides) {
  Make("f", 0600, kUser, kGroup);
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(KeepOnly({CAP_SETUID}));
                CHILD_CHECK(!MayOpen("f", O_RDONLY));
                setfsuid(kUser);
                CHILD_CHECK(MayOpen("f", O_RDONLY));
                return 0;
              }),
              Exited(0));
}

TEST_P(Permissions, AccessAsksForTheRealIds) {
  Make("f", 0600, kUser, kGroup);
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(setresuid(kOther, kUser, kUser) == 0);
                CHILD_CHECK(access(At("f").c_str(), R_OK) == -1 && errno == EACCES);
                CHILD_CHECK(faccessat(AT_FDCWD, At("f").c_str(), R_OK, AT_EACCESS) == 0);
                return 0;
              }),
              Exited(0));
}

TEST_P(Permissions, TimesOfOthers) {
  Make("f", 0666, kOther, kGroup);
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(Become(kUser, kGroup));
                const std::string f = At("f");
                const timespec set[2] = {{1, 0}, {1, 0}};
                CHILD_CHECK(utimensat(AT_FDCWD, f.c_str(), nullptr, 0) == 0);
                CHILD_CHECK(utimensat(AT_FDCWD, f.c_str(), set, 0) == -1 && errno == EPERM);
                const timespec mixed[2] = {{0, UTIME_NOW}, {0, UTIME_OMIT}};
                CHILD_CHECK(utimensat(AT_FDCWD, f.c_str(), mixed, 0) == -1 && errno == EPERM);
                const timespec none[2] = {{0, UTIME_OMIT}, {0, UTIME_OMIT}};
                CHILD_CHECK(utimensat(AT_FDCWD, f.c_str(), none, 0) == 0);
                return 0;
              }),
              Exited(0));
}

TEST_P(Permissions, DevicesNeedMknod) {
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(KeepOnly({CAP_DAC_OVERRIDE}));
                CHILD_CHECK(mknod(At("n").c_str(), S_IFCHR | 0666, 0x103) == -1 && errno == EPERM);
                CHILD_CHECK(mknod(At("p").c_str(), S_IFIFO | 0666, 0) == 0);
                CHILD_CHECK(mknod(At("s").c_str(), S_IFSOCK | 0666, 0) == 0);
                return 0;
              }),
              Exited(0));
}

TEST_P(Permissions, ADirectoryThatMovesNeedsToBeWritable) {
  MakeDirectory("from", 0777, kUser, kGroup);
  MakeDirectory("to", 0777, kUser, kGroup);
  MakeDirectory("from/d", 0555, kUser, kGroup);
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(Become(kUser, kGroup));
                const std::string from = At("from/d");
                CHILD_CHECK(rename(from.c_str(), At("to/d").c_str()) == -1 && errno == EACCES);
                CHILD_CHECK(rename(from.c_str(), At("from/e").c_str()) == 0);
                return 0;
              }),
              Exited(0));
}

}  // namespace
