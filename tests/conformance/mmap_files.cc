// Mappings of files, on each kind of file that there is.
#include <sys/mount.h>
#include <sys/socket.h>

#include "tests/conformance/memory_support.h"

namespace {

constexpr int kMapSync = 0x80000;

// Where the file lies. A memfd has no name, so that one is opened again through /proc.
enum class Kind { kRoot, kTmpfs, kMemfd };

class FileMapping : public testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    if (GetParam() == Kind::kMemfd) {
      memfd_ = Memfd(0);
      path_ = "/proc/self/fd/" + std::to_string(memfd_.get());
    } else {
      path_ = GetParam() == Kind::kRoot ? "/var/tmp/mapped.XXXXXX" : "/dev/shm/mapped.XXXXXX";
      UniqueFd made(mkstemp(path_.data()));
      ASSERT_THAT(made.get(), Succeeds());
    }
    Fill(std::string(kPage, 'a') + std::string(kPage, 'b') + "tail");
  }
  void TearDown() override {
    if (GetParam() != Kind::kMemfd) unlink(path_.c_str());
  }
  void Fill(const std::string& contents) {
    UniqueFd fd = Open(O_WRONLY | O_TRUNC);
    ASSERT_THAT(pwrite(fd.get(), contents.data(), contents.size(), 0), Returns(contents.size()));
  }
  UniqueFd Open(int flags = O_RDWR) {
    UniqueFd fd(open(path_.c_str(), flags));
    EXPECT_THAT(fd.get(), Succeeds());
    return fd;
  }

 private:
  std::string path_;
  UniqueFd memfd_;
};

INSTANTIATE_TEST_SUITE_P(, FileMapping, testing::Values(Kind::kRoot, Kind::kTmpfs, Kind::kMemfd),
                         [](const auto& kind) {
                           return kind.param == Kind::kRoot    ? "root"
                                  : kind.param == Kind::kTmpfs ? "tmpfs"
                                                               : "memfd";
                         });

TEST_P(FileMapping, AccessFollowsTheDescriptor) {
  UniqueFd reader = Open(O_RDONLY), writer = Open(O_WRONLY), both = Open(O_RDWR);
  for (const int type : {MAP_SHARED, MAP_SHARED_VALIDATE}) {
    EXPECT_THAT(mmap(nullptr, kPage, kReadWrite, type, reader.get(), 0), FailsWith(EACCES));
    EXPECT_THAT(mmap(nullptr, kPage, PROT_WRITE, type, reader.get(), 0), FailsWith(EACCES));
    EXPECT_THAT(mmap(nullptr, kPage, PROT_READ, type, writer.get(), 0), FailsWith(EACCES));
    EXPECT_THAT(mmap(nullptr, kPage, PROT_NONE, type, writer.get(), 0), FailsWith(EACCES));
    Mapping shared(kPage, kReadWrite, type, both.get());
  }
  EXPECT_THAT(mmap(nullptr, kPage, PROT_WRITE, MAP_PRIVATE, writer.get(), 0), FailsWith(EACCES));
  Mapping copy(kPage, kReadWrite, MAP_PRIVATE, reader.get());
  copy[0] = 'z';
  EXPECT_EQ(ByteAt(reader.get(), 0), 'a');
}

TEST_P(FileMapping, ReadOnlyStaysReadOnly) {
  UniqueFd reader = Open(O_RDONLY);
  Mapping shared(2 * kPage, PROT_READ, MAP_SHARED, reader.get());
  EXPECT_THAT(mprotect(shared.get(), kPage, kReadWrite), FailsWith(EACCES));
  EXPECT_THAT(mprotect(shared.get(), kPage, PROT_WRITE), FailsWith(EACCES));
  EXPECT_EQ(FaultOf(shared.get(), Access::kWrite).signal, SIGSEGV);
  EXPECT_THAT(mprotect(shared.get(), kPage, PROT_NONE), Returns(0));
  EXPECT_THAT(mprotect(shared.get(), kPage, PROT_READ), Returns(0));
  EXPECT_EQ(shared[0], 'a');
  EXPECT_EQ(PermissionsOf(shared.get()), "r--s");
  EXPECT_THAT(InChild([&] {
                return mprotect(shared.get(), kPage, kReadWrite) == -1 && errno == EACCES ? 0 : 1;
              }),
              Exited(0));
}

TEST_P(FileMapping, ReadOnlySeesWhatOthersWrite) {
  UniqueFd reader = Open(O_RDONLY), both = Open(O_RDWR);
  Mapping seen(kPage, PROT_READ, MAP_SHARED, reader.get());
  Mapping written(kPage, kReadWrite, MAP_SHARED, both.get());
  written[1] = 'W';
  EXPECT_EQ(seen[1], 'W');
  EXPECT_THAT(pwrite(both.get(), "P", 1, 2), Returns(1));
  EXPECT_EQ(seen[2], 'P');
}

TEST_P(FileMapping, WritableCanBeRaised) {
  UniqueFd both = Open(O_RDWR);
  Mapping shared(kPage, PROT_READ, MAP_SHARED, both.get());
  EXPECT_THAT(mprotect(shared.get(), kPage, kReadWrite), Returns(0));
  shared[0] = 'R';
  EXPECT_EQ(ByteAt(both.get(), 0), 'R');
}

TEST_P(FileMapping, PrivateOfAReadOnlyDescriptorCanBeRaised) {
  UniqueFd reader = Open(O_RDONLY);
  Mapping map(kPage, PROT_READ, MAP_PRIVATE, reader.get());
  EXPECT_THAT(mprotect(map.get(), kPage, kReadWrite), Returns(0));
  map[0] = 'x';
  EXPECT_EQ(ByteAt(reader.get(), 0), 'a');
}

TEST_P(FileMapping, BadDescriptors) {
  UniqueFd fd = Open();
  UniqueFd path = UniqueFd(open("/tmp", O_PATH));
  EXPECT_THAT(mmap(nullptr, kPage, PROT_READ, MAP_PRIVATE, path.get(), 0), FailsWith(EBADF));
  const int closed = fd.get();
  fd.reset();
  EXPECT_THAT(mmap(nullptr, kPage, PROT_READ, MAP_PRIVATE, closed, 0), FailsWith(EBADF));
}

TEST_P(FileMapping, Offsets) {
  UniqueFd fd = Open();
  EXPECT_THAT(mmap(nullptr, kPage, PROT_READ, MAP_PRIVATE, fd.get(), 1), FailsWith(EINVAL));
  Mapping second(kPage, PROT_READ, MAP_SHARED, fd.get(), kPage);
  EXPECT_EQ(second[0], 'b');
  EXPECT_THAT(mmap(nullptr, 2 * kPage, PROT_READ, MAP_SHARED, fd.get(),
                   static_cast<off_t>(0x7ffffffffffff000)),
              FailsWith(EOVERFLOW));
}

TEST_P(FileMapping, OverlappingMappingsAreOne) {
  UniqueFd fd = Open();
  Mapping whole(2 * kPage, kReadWrite, MAP_SHARED, fd.get());
  Mapping part(kPage, kReadWrite, MAP_SHARED, fd.get(), kPage);
  whole[kPage + 7] = 'o';
  EXPECT_EQ(part[7], 'o');
}

TEST_P(FileMapping, TailOfTheLastPageIsZero) {
  UniqueFd fd = Open();
  Mapping map(kPage, kReadWrite, MAP_SHARED, fd.get(), 2 * kPage);
  EXPECT_EQ(map[3], 'l');
  for (size_t at = 4; at < kPage; ++at) ASSERT_EQ(map[at], 0) << at;
  // What is written there is not the file's.
  map[10] = 'x';
  struct stat st;
  ASSERT_THAT(fstat(fd.get(), &st), Returns(0));
  EXPECT_EQ(st.st_size, static_cast<off_t>(2 * kPage + 4));
}

TEST_P(FileMapping, BeyondTheEndIsABusError) {
  UniqueFd fd = Open();
  Mapping map(4 * kPage, kReadWrite, MAP_SHARED, fd.get());
  const Fault fault = FaultOf(map.page(3) + 5);
  EXPECT_EQ(fault.signal, SIGBUS);
  EXPECT_EQ(fault.code, BUS_ADRERR);
  EXPECT_EQ(fault.addr, map.page(3) + 5);
  EXPECT_EQ(FaultOf(map.page(2)).signal, 0);
}

TEST_P(FileMapping, TruncationTakesPagesAway) {
  UniqueFd fd = Open();
  Mapping shared(2 * kPage, kReadWrite, MAP_SHARED, fd.get());
  Mapping copy(2 * kPage, kReadWrite, MAP_PRIVATE, fd.get());
  copy[kPage] = 'c';
  ASSERT_THAT(ftruncate(fd.get(), 100), Returns(0));
  EXPECT_EQ(FaultOf(shared.page(1)).signal, SIGBUS);
  EXPECT_EQ(FaultOf(copy.page(1)).signal, SIGBUS);  // Copied pages go as well.
  EXPECT_EQ(shared[99], 'a');
  EXPECT_EQ(shared[100], 0);
  ASSERT_THAT(ftruncate(fd.get(), 2 * kPage), Returns(0));
  EXPECT_EQ(shared[kPage], 0);
  EXPECT_EQ(copy[kPage], 0);
}

TEST_P(FileMapping, GrowthIsSeen) {
  UniqueFd fd = Open();
  Mapping map(8 * kPage, kReadWrite, MAP_SHARED, fd.get());
  EXPECT_EQ(FaultOf(map.page(7)).signal, SIGBUS);
  EXPECT_THAT(pwrite(fd.get(), "g", 1, 8 * kPage - 1), Returns(1));
  EXPECT_EQ(map[8 * kPage - 1], 'g');
  EXPECT_EQ(map[7 * kPage], 0);
}

TEST_P(FileMapping, PrivatePagesAreCopiedAtTheFirstWrite) {
  UniqueFd fd = Open();
  Mapping map(2 * kPage, kReadWrite, MAP_PRIVATE, fd.get());
  map[0] = 'p';
  EXPECT_THAT(pwrite(fd.get(), "XY", 2, 0), Returns(2));
  EXPECT_EQ(map[0], 'p');
  EXPECT_EQ(map[1], 'a');
  // The other page is the file's still.
  EXPECT_THAT(pwrite(fd.get(), "Z", 1, kPage), Returns(1));
  EXPECT_EQ(map[kPage], 'Z');
}

TEST_P(FileMapping, CoherentWithReadAndWrite) {
  UniqueFd fd = Open();
  Mapping map(2 * kPage, kReadWrite, MAP_SHARED, fd.get());
  for (int i = 0; i < 64; ++i) {
    map[static_cast<size_t>(i) * 100] = static_cast<char>('0' + i);
    ASSERT_EQ(ByteAt(fd.get(), i * 100), static_cast<char>('0' + i));
    const char back = static_cast<char>('A' + i);
    ASSERT_THAT(pwrite(fd.get(), &back, 1, i * 100), Returns(1));
    ASSERT_EQ(map[static_cast<size_t>(i) * 100], back);
  }
}

TEST_P(FileMapping, BetweenProcesses) {
  UniqueFd fd = Open();
  EXPECT_THAT(InChild([&] {
                UniqueFd own = Open(O_RDWR);
                Mapping map(kPage, kReadWrite, MAP_SHARED, own.get());
                CHILD_CHECK(map[0] == 'a');
                map[0] = 'c';
                return 0;
              }),
              Exited(0));
  Mapping map(kPage, PROT_READ, MAP_SHARED, fd.get());
  EXPECT_EQ(map[0], 'c');
}

TEST_P(FileMapping, ReadIntoAMappingOfTheSameFile) {
  UniqueFd fd = Open();
  Mapping map(2 * kPage, kReadWrite, MAP_SHARED, fd.get());
  EXPECT_THAT(pread(fd.get(), map.get(), kPage, kPage), Returns(kPage));
  EXPECT_EQ(map[0], 'b');
  EXPECT_THAT(pwrite(fd.get(), map.get() + kPage, 10, 0), Returns(10));
}

TEST_P(FileMapping, OutlivesItsDescriptor) {
  UniqueFd fd = Open();
  Mapping map(kPage, kReadWrite, MAP_SHARED, fd.get());
  const int number = fd.get();
  fd.reset();
  // The number is free for others.
  UniqueFd other = OpenTemp(0, "other");
  EXPECT_EQ(other.get(), number);
  map[0] = 'k';
  EXPECT_EQ(ByteAt(Open().get(), 0), 'k');
  Mapping second(kPage, PROT_READ, MAP_PRIVATE, other.get());
  EXPECT_STREQ(second.get(), "other");
}

TEST_P(FileMapping, NumberThatIsReplaced) {
  UniqueFd fd = Open(), other = OpenTemp(0, "other");
  const int number = fd.get();
  Mapping map(kPage, PROT_READ, MAP_SHARED, number);
  ASSERT_THAT(dup2(other.get(), number), Returns(number));
  Mapping second(kPage, PROT_READ, MAP_SHARED, number);
  EXPECT_STREQ(second.get(), "other");
  EXPECT_EQ(map[0], 'a');
  ASSERT_THAT(close_range(static_cast<unsigned>(number), static_cast<unsigned>(number), 0),
              Returns(0));
  EXPECT_THAT(mmap(nullptr, kPage, PROT_READ, MAP_SHARED, number, 0), FailsWith(EBADF));
  fd.release();
}

TEST_P(FileMapping, ValidateRefusesWhatItDoesNotKnow) {
  UniqueFd fd = Open();
  EXPECT_THAT(mmap(nullptr, kPage, PROT_READ, MAP_SHARED_VALIDATE | kMapSync, fd.get(), 0),
              FailsWith(EOPNOTSUPP));
  EXPECT_THAT(mmap(nullptr, kPage, PROT_READ, MAP_SHARED_VALIDATE | (1 << 25), fd.get(), 0),
              FailsWith(EOPNOTSUPP));
}

TEST_P(FileMapping, PopulateBringsPagesIn) {
  UniqueFd fd = Open();
  Mapping map(2 * kPage, PROT_READ, MAP_SHARED | MAP_POPULATE, fd.get());
  unsigned char resident[2] = {};
  ASSERT_THAT(mincore(map.get(), 2 * kPage, resident), Returns(0));
  EXPECT_EQ(resident[0] & resident[1] & 1, 1);
}

TEST_P(FileMapping, FixedOverAnother) {
  UniqueFd fd = Open();
  Mapping map(3 * kPage);
  map[kPage] = 1;
  ASSERT_THAT(mmap(map.page(1), kPage, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd.get(), kPage),
              Returns(static_cast<void*>(map.page(1))));
  EXPECT_EQ(map[kPage], 'b');
  EXPECT_EQ(map[2 * kPage], 0);
}

TEST_P(FileMapping, GrowsDownIsForPrivateOnes) {
  UniqueFd fd = Open();
  EXPECT_THAT(mmap(nullptr, kPage, kReadWrite, MAP_SHARED | MAP_GROWSDOWN, fd.get(), 0),
              FailsWith(EINVAL));
}

TEST_P(FileMapping, CodeFromAFileRuns) {
  UniqueFd fd = Open();
  const unsigned char code[] = {0xb8, 0x09, 0, 0, 0, 0xc3};  // mov $9,%eax; ret
  ASSERT_THAT(pwrite(fd.get(), code, sizeof code, 0), Returns(sizeof code));
  Mapping map(kPage, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd.get());
  EXPECT_EQ(reinterpret_cast<int (*)()>(map.get())(), 9);
}

TEST_P(FileMapping, SharedByForkAndUnmappedAlone) {
  UniqueFd fd = Open();
  Mapping map(2 * kPage, kReadWrite, MAP_SHARED, fd.get());
  EXPECT_THAT(InChild([&] {
                map[0] = 'f';
                CHILD_CHECK(munmap(map.get(), 2 * kPage) == 0);
                CHILD_CHECK(FaultOf(map.get()).signal == SIGSEGV);
                return 0;
              }),
              Exited(0));
  EXPECT_EQ(map[0], 'f');
}

TEST_P(FileMapping, WrittenPagesChangeTheTimeOfModification) {
  UniqueFd fd = Open();
  const timespec old[2] = {{1000, 0}, {1000, 0}};
  ASSERT_THAT(futimens(fd.get(), old), Returns(0));
  Mapping map(kPage, kReadWrite, MAP_SHARED, fd.get());
  ASSERT_THAT(pwrite(fd.get(), "w", 1, 0), Returns(1));
  struct stat st;
  ASSERT_THAT(fstat(fd.get(), &st), Returns(0));
  EXPECT_GT(st.st_mtime, 1000);
}

// A program's own text: a file that nobody writes.
TEST(MmapProgram, PrivateAndReadOnly) {
  UniqueFd self(open("/proc/self/exe", O_RDONLY));
  Mapping map(kPage, kReadWrite, MAP_PRIVATE, self.get());
  EXPECT_EQ(memcmp(map.get(), "\177ELF", 4), 0);
  map[0] = 'x';
  EXPECT_EQ(ByteAt(self.get(), 0), '\177');
  Mapping shared(kPage, PROT_READ, MAP_SHARED, self.get());
  EXPECT_THAT(mprotect(shared.get(), kPage, kReadWrite), FailsWith(EACCES));
}

TEST(MmapNoexec, ExecutableMappingsAreRefused) {
  TempDir dir;
  if (mount("none", dir.path().c_str(), "tmpfs", MS_NOEXEC, nullptr) != 0) {
    GTEST_SKIP() << "may not mount here";
  }
  {
    WriteFile(dir / "f", "text");
    UniqueFd fd(open((dir / "f").c_str(), O_RDWR));
    EXPECT_THAT(mmap(nullptr, kPage, PROT_EXEC, MAP_PRIVATE, fd.get(), 0), FailsWith(EPERM));
    EXPECT_THAT(mmap(nullptr, kPage, PROT_READ | PROT_EXEC, MAP_SHARED, fd.get(), 0),
                FailsWith(EPERM));
    Mapping map(kPage, PROT_READ, MAP_PRIVATE, fd.get());
    EXPECT_STREQ(map.get(), "text");
  }
  EXPECT_THAT(umount2(dir.path().c_str(), MNT_DETACH), Returns(0));
}

TEST(MmapNoexec, MappingsCannotBecomeExecutable) {
  constexpr int kExecutable = PROT_READ | PROT_EXEC;
  TempDir dir, other;
  if (mount("none", dir.path().c_str(), "tmpfs", MS_NOEXEC, nullptr) != 0) {
    GTEST_SKIP() << "may not mount here";
  }
  {
    WriteFile(dir / "f", std::string(2 * kPage, 'x'));
    UniqueFd fd(open((dir / "f").c_str(), O_RDWR));
    Mapping map(2 * kPage, PROT_READ, MAP_PRIVATE, fd.get());
    Mapping shared(kPage, PROT_READ, MAP_SHARED, fd.get());
    EXPECT_THAT(mprotect(map.get(), kPage, kExecutable), FailsWith(EACCES));
    EXPECT_THAT(mprotect(map.page(1), kPage, PROT_EXEC), FailsWith(EACCES));
    EXPECT_THAT(mprotect(shared.get(), kPage, kExecutable), FailsWith(EACCES));
    EXPECT_THAT(mprotect(shared.get(), kPage, kExecutable | 0x8 /* PROT_SEM */), FailsWith(EACCES));
    EXPECT_THAT(syscall(SYS_pkey_mprotect, map.get(), kPage, kExecutable, -1), FailsWith(EACCES));
    EXPECT_THAT(mprotect(map.get(), 2 * kPage, kReadWrite), Returns(0));
    // Written to, it is still the file's.
    map[0] = 'y';
    EXPECT_THAT(mprotect(map.get(), kPage, kExecutable), FailsWith(EACCES));
    EXPECT_THAT(InChild([&] {
                  return mprotect(map.get(), kPage, kExecutable) == -1 && errno == EACCES ? 0 : 1;
                }),
                Exited(0));
    // What lies in front is changed, what lies behind is not reached.
    Mapping three(3 * kPage);
    ASSERT_EQ(mmap(three.page(1), kPage, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd.get(), 0),
              three.page(1));
    EXPECT_THAT(mprotect(three.get(), 3 * kPage, kExecutable), FailsWith(EACCES));
    EXPECT_EQ(PermissionsOf(three.page(0)), "r-xp");
    EXPECT_EQ(PermissionsOf(three.page(1)), "r--p");
    EXPECT_EQ(PermissionsOf(three.page(2)), "rw-p");
    ASSERT_THAT(munmap(three.page(1), kPage), Returns(0));
    EXPECT_THAT(mprotect(three.get(), 3 * kPage, kExecutable), FailsWith(ENOMEM));
    // Others are not concerned.
    WriteFile(other / "f", "text");
    UniqueFd plain(open((other / "f").c_str(), O_RDONLY));
    Mapping allowed(kPage, PROT_READ, MAP_PRIVATE, plain.get());
    EXPECT_THAT(mprotect(allowed.get(), kPage, kExecutable), Returns(0));
    Mapping anonymous(kPage);
    EXPECT_THAT(mprotect(anonymous.get(), kPage, kExecutable), Returns(0));
  }
  EXPECT_THAT(umount2(dir.path().c_str(), MNT_DETACH), Returns(0));
}

TEST(MmapSpecial, NotEverythingIsMemory) {
  int pair[2];
  ASSERT_THAT(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), Returns(0));
  UniqueFd a(pair[0]), b(pair[1]), event(static_cast<int>(syscall(SYS_eventfd2, 0, 0))),
      proc(open("/proc/self/status", O_RDONLY)), directory(open("/", O_RDONLY));
  for (const UniqueFd* fd : {&a, &event, &directory}) {
    EXPECT_THAT(mmap(nullptr, kPage, PROT_READ, MAP_PRIVATE, fd->get(), 0), FailsWith(ENODEV));
  }
  EXPECT_THAT(mmap(nullptr, kPage, PROT_READ, MAP_PRIVATE, proc.get(), 0),
              testing::AnyOf(FailsWith(ENODEV), FailsWith(EIO)));
}

}  // namespace
