// mmap(2) and its family, brk(2), memfd_create(2).
#include "tests/conformance/memory_support.h"

namespace {

TEST(Mmap, AnonymousIsZero) {
  Mapping map(64 * kPage, kReadWrite, kPrivate);
  for (size_t i = 0; i < 64 * kPage; i += 512) ASSERT_EQ(map[i], 0);
  memset(map.get(), 1, 64 * kPage);
  EXPECT_EQ(map[64 * kPage - 1], 1);
}

TEST(Mmap, Errors) {
  UniqueFd fd = OpenTemp(0, "x");
  EXPECT_THAT(mmap(nullptr, 0, PROT_READ, kPrivate, -1, 0), FailsWith(EINVAL));
  EXPECT_THAT(mmap(nullptr, kPage, PROT_READ, MAP_ANONYMOUS, -1, 0), FailsWith(EINVAL));
  EXPECT_THAT(mmap(nullptr, kPage, PROT_READ, MAP_PRIVATE, -1, 0), FailsWith(EBADF));
  EXPECT_THAT(mmap(nullptr, kPage, PROT_READ, MAP_PRIVATE, fd.get(), 100), FailsWith(EINVAL));
  EXPECT_THAT(mmap(nullptr, size_t{1} << 60, PROT_READ, kPrivate, -1, 0), FailsWith(ENOMEM));
  EXPECT_THAT(mmap(reinterpret_cast<void*>(123), kPage, PROT_READ, kPrivate | MAP_FIXED, -1, 0),
              FailsWith(EINVAL));
  Pipe pipe;
  EXPECT_THAT(mmap(nullptr, kPage, PROT_READ, MAP_PRIVATE, pipe.read.get(), 0), FailsWith(ENODEV));
  UniqueFd directory(open("/tmp", O_RDONLY));
  EXPECT_THAT(mmap(nullptr, kPage, PROT_READ, MAP_PRIVATE, directory.get(), 0), FailsWith(ENODEV));
}

TEST(Mmap, DescriptorNeedsTheAccess) {
  TempDir dir;
  WriteFile(dir / "f", "x");
  UniqueFd reader(open((dir / "f").c_str(), O_RDONLY)), writer(open((dir / "f").c_str(), O_WRONLY));
  EXPECT_THAT(mmap(nullptr, kPage, kReadWrite, MAP_SHARED, reader.get(), 0), FailsWith(EACCES));
  EXPECT_THAT(mmap(nullptr, kPage, PROT_READ, MAP_PRIVATE, writer.get(), 0), FailsWith(EACCES));
  Mapping map(kPage, kReadWrite, MAP_PRIVATE, reader.get());
  map[0] = 'y';
  EXPECT_EQ(ReadFile(dir / "f"), "x");
  // And protection cannot be raised above it later.
  Mapping shared(kPage, PROT_READ, MAP_SHARED, reader.get());
  EXPECT_THAT(mprotect(shared.get(), kPage, kReadWrite), FailsWith(EACCES));
}

TEST(Mmap, PrivateFile) {
  UniqueFd fd = OpenTemp(0, "contents");
  Mapping map(kPage, kReadWrite, MAP_PRIVATE, fd.get());
  EXPECT_STREQ(map.get(), "contents");
  map[0] = 'C';
  char byte;
  EXPECT_THAT(pread(fd.get(), &byte, 1, 0), Returns(1));
  EXPECT_EQ(byte, 'c');
}

TEST(Mmap, SharedFileBothWays) {
  UniqueFd fd = OpenTemp(0, "contents");
  Mapping map(kPage, kReadWrite, MAP_SHARED, fd.get());
  map[0] = 'C';
  char byte;
  EXPECT_THAT(pread(fd.get(), &byte, 1, 0), Returns(1));
  EXPECT_EQ(byte, 'C');
  EXPECT_THAT(pwrite(fd.get(), "!", 1, 7), Returns(1));
  EXPECT_STREQ(map.get(), "Content!");
  EXPECT_THAT(msync(map.get(), kPage, MS_SYNC), Returns(0));
}

TEST(Mmap, SurvivesTheDescriptorAndTheName) {
  TempDir dir;
  WriteFile(dir / "f", "kept");
  UniqueFd fd(open((dir / "f").c_str(), O_RDWR));
  Mapping map(kPage, kReadWrite, MAP_SHARED, fd.get());
  fd.reset();
  EXPECT_THAT(unlink((dir / "f").c_str()), Returns(0));
  EXPECT_STREQ(map.get(), "kept");
  map[0] = 'K';
  EXPECT_STREQ(map.get(), "Kept");
}

TEST(Mmap, FileOffset) {
  UniqueFd fd = OpenTemp(0, std::string(kPage, 'a') + std::string(kPage, 'b') + "c");
  Mapping map(2 * kPage, PROT_READ, MAP_PRIVATE, fd.get(), kPage);
  EXPECT_EQ(map[0], 'b');
  EXPECT_EQ(map[kPage], 'c');
  EXPECT_EQ(map[kPage + 1], 0);
}

TEST(Mmap, GrowingTheFileExtendsTheMapping) {
  UniqueFd fd = OpenTemp(0, "x");
  Mapping map(2 * kPage, kReadWrite, MAP_SHARED, fd.get());
  EXPECT_FALSE(Readable(map.get() + kPage));
  EXPECT_THAT(ftruncate(fd.get(), 2 * kPage), Returns(0));
  map[kPage] = 'y';
  EXPECT_TRUE(Readable(map.get() + kPage));
  EXPECT_THAT(ftruncate(fd.get(), 1), Returns(0));
  EXPECT_FALSE(Readable(map.get() + kPage));
}

TEST(Mmap, FixedReplaces) {
  Mapping map(3 * kPage, kReadWrite, kPrivate);
  memset(map.get(), 1, 3 * kPage);
  EXPECT_THAT(mmap(map.get() + kPage, kPage, kReadWrite, kPrivate | MAP_FIXED, -1, 0),
              Returns(static_cast<void*>(map.get() + kPage)));
  EXPECT_EQ(map[kPage - 1], 1);
  EXPECT_EQ(map[kPage], 0);
  EXPECT_EQ(map[2 * kPage], 1);
}

TEST(Mmap, FixedNoReplace) {
  Mapping map(kPage, kReadWrite, kPrivate);
  EXPECT_THAT(mmap(map.get(), kPage, PROT_READ, kPrivate | MAP_FIXED_NOREPLACE, -1, 0),
              FailsWith(EEXIST));
}

TEST(Mmap, HintIsHonouredWhenFree) {
  void* free_place;
  {
    Mapping map(16 * kPage, PROT_NONE, kPrivate);
    free_place = map.get();
  }
  Mapping map(free_place, kPage, PROT_READ, kPrivate, -1, 0);
  EXPECT_EQ(map.get(), free_place);
  EXPECT_THAT(mmap(free_place, kPage, PROT_READ, kPrivate, -1, 0),
              testing::Not(Returns(free_place)));
}

TEST(Mmap, Low32Bits) {
  Mapping map(kPage, kReadWrite, kPrivate | MAP_32BIT);
  EXPECT_LT(reinterpret_cast<uintptr_t>(map.get()), uintptr_t{1} << 31);
}

TEST(Mmap, LowestAddressesAreRefused) {
  EXPECT_THAT(mmap(nullptr, kPage, PROT_READ, kPrivate | MAP_FIXED, -1, 0), [] {
    // Root may, unless vm.mmap_min_addr is enforced by a security module.
    return testing::AnyOf(FailsWith(EPERM), Returns(static_cast<void*>(nullptr)));
  }());
  munmap(nullptr, kPage);
}

TEST(Munmap, HolesAndErrors) {
  Mapping map(3 * kPage, kReadWrite, kPrivate);
  EXPECT_THAT(munmap(map.get() + kPage, kPage), Returns(0));
  EXPECT_FALSE(Readable(map.get() + kPage));
  EXPECT_TRUE(Readable(map.get()));
  EXPECT_TRUE(Readable(map.get() + 2 * kPage));
  EXPECT_THAT(munmap(map.get() + kPage, kPage), Returns(0));
  EXPECT_THAT(munmap(map.get() + 1, kPage), FailsWith(EINVAL));
  EXPECT_THAT(munmap(map.get(), 0), FailsWith(EINVAL));
}

TEST(Mprotect, TakesAndGives) {
  Mapping map(2 * kPage, kReadWrite, kPrivate);
  map[0] = 'x';
  EXPECT_THAT(mprotect(map.get(), kPage, PROT_NONE), Returns(0));
  EXPECT_FALSE(Readable(map.get()));
  EXPECT_TRUE(Readable(map.get() + kPage));
  EXPECT_THAT(mprotect(map.get(), kPage, PROT_READ), Returns(0));
  EXPECT_EQ(map[0], 'x');
  EXPECT_THAT(InChild([&] {
                map[0] = 'y';
                return 0;
              }),
              Killed(SIGSEGV));
}

TEST(Mprotect, KernelRespectsIt) {
  Mapping map(kPage, PROT_READ, kPrivate);
  UniqueFd fd = OpenTemp(0, "x");
  EXPECT_THAT(read(fd.get(), map.get(), 1), FailsWith(EFAULT));
}

TEST(Mprotect, Errors) {
  Mapping map(2 * kPage, kReadWrite, kPrivate);
  EXPECT_THAT(mprotect(map.get() + 1, kPage, PROT_READ), FailsWith(EINVAL));
  EXPECT_THAT(mprotect(map.get(), kPage, 0x7000), FailsWith(EINVAL));
  ASSERT_THAT(munmap(map.get() + kPage, kPage), Returns(0));
  EXPECT_THAT(mprotect(map.get(), 2 * kPage, PROT_READ), FailsWith(ENOMEM));
}

TEST(Mprotect, GeneratedCodeRuns) {
  Mapping map(kPage, kReadWrite, kPrivate);
  const unsigned char code[] = {0xb8, 0x2a, 0, 0, 0, 0xc3};  // mov $42,%eax; ret
  memcpy(map.get(), code, sizeof code);
  ASSERT_THAT(mprotect(map.get(), kPage, PROT_READ | PROT_EXEC), Returns(0));
  EXPECT_EQ(reinterpret_cast<int (*)()>(map.get())(), 42);
}

TEST(Mprotect, GeneratedSystemCallRuns) {
  Mapping map(kPage, PROT_READ | PROT_WRITE | PROT_EXEC, kPrivate);
  const unsigned char code[] = {0xb8, 0x27, 0, 0, 0, 0x0f, 0x05, 0xc3};  // getpid
  memcpy(map.get(), code, sizeof code);
  for (int i = 0; i < 100; ++i) ASSERT_EQ(reinterpret_cast<int (*)()>(map.get())(), getpid());
}

TEST(Fork, PrivateIsCopiedAndSharedIsShared) {
  Mapping copied(kPage, kReadWrite, kPrivate);
  Mapping shared(kPage, kReadWrite, MAP_SHARED | MAP_ANONYMOUS);
  copied[0] = shared[0] = 1;
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(copied[0] == 1 && shared[0] == 1);
                copied[0] = 2;
                shared[0] = 2;
                return 0;
              }),
              Exited(0));
  EXPECT_EQ(copied[0], 1);
  EXPECT_EQ(shared[0], 2);
}

TEST(Fork, SharedFileMappingStaysOne) {
  UniqueFd fd = OpenTemp(0, "0");
  Mapping map(kPage, kReadWrite, MAP_SHARED, fd.get());
  const pid_t child = Start([&] {
    CHILD_CHECK(Eventually([&] { return *const_cast<volatile char*>(map.get()) == '1'; }));
    *const_cast<volatile char*>(map.get()) = '2';
    return 0;
  });
  *const_cast<volatile char*>(map.get()) = '1';
  EXPECT_THAT(Wait(child), Exited(0));
  EXPECT_EQ(map[0], '2');
}

TEST(Fork, ChildMappingsAreItsOwn) {
  Mapping map(2 * kPage, kReadWrite, kPrivate);
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(munmap(map.get(), kPage) == 0);
                return mprotect(map.get() + kPage, kPage, PROT_NONE);
              }),
              Exited(0));
  map[0] = map[kPage] = 1;
}

TEST(Mremap, GrowsWithItsContents) {
  void* at = mmap(nullptr, 2 * kPage, kReadWrite, kPrivate, -1, 0);
  ASSERT_THAT(at, Succeeds());
  memset(at, 7, 2 * kPage);
  at = mremap(at, 2 * kPage, 512 * kPage, MREMAP_MAYMOVE);
  ASSERT_THAT(at, Succeeds());
  const char* bytes = static_cast<char*>(at);
  EXPECT_EQ(bytes[0], 7);
  EXPECT_EQ(bytes[2 * kPage - 1], 7);
  EXPECT_EQ(bytes[2 * kPage], 0);
  EXPECT_EQ(bytes[512 * kPage - 1], 0);
  munmap(at, 512 * kPage);
}

TEST(Mremap, ShrinksInPlace) {
  Mapping map(4 * kPage, kReadWrite, kPrivate);
  EXPECT_THAT(mremap(map.get(), 4 * kPage, kPage, 0), Returns(static_cast<void*>(map.get())));
  EXPECT_FALSE(Readable(map.get() + kPage));
}

TEST(Mremap, FixedMovesAndReplaces) {
  Mapping from(kPage, kReadWrite, kPrivate), to(kPage, kReadWrite, kPrivate);
  from[0] = 'f';
  to[0] = 't';
  EXPECT_THAT(mremap(from.get(), kPage, kPage, MREMAP_MAYMOVE | MREMAP_FIXED, to.get()),
              Returns(static_cast<void*>(to.get())));
  EXPECT_EQ(to[0], 'f');
  EXPECT_FALSE(Readable(from.get()));
}

TEST(Mremap, Errors) {
  Mapping map(2 * kPage, kReadWrite, kPrivate);
  EXPECT_THAT(mremap(map.get() + 1, kPage, kPage, 0), FailsWith(EINVAL));
  EXPECT_THAT(mremap(map.get(), kPage, 0, 0), FailsWith(EINVAL));
  // The neighbour is in the way, and moving was not allowed.
  EXPECT_THAT(mremap(map.get(), kPage, 2 * kPage, 0), FailsWith(ENOMEM));
  ASSERT_THAT(munmap(map.get() + kPage, kPage), Returns(0));
  EXPECT_THAT(mremap(map.get() + kPage, kPage, 2 * kPage, MREMAP_MAYMOVE), FailsWith(EFAULT));
}

TEST(Mremap, SharedFileKeepsItsFile) {
  UniqueFd fd = OpenTemp(0, std::string(2 * kPage, 'x'));
  void* at = mmap(nullptr, kPage, kReadWrite, MAP_SHARED, fd.get(), 0);
  ASSERT_THAT(at, Succeeds());
  at = mremap(at, kPage, 2 * kPage, MREMAP_MAYMOVE);
  ASSERT_THAT(at, Succeeds());
  static_cast<char*>(at)[kPage] = 'y';
  char byte;
  EXPECT_THAT(pread(fd.get(), &byte, 1, kPage), Returns(1));
  EXPECT_EQ(byte, 'y');
  munmap(at, 2 * kPage);
}

TEST(Madvise, DontNeedDropsAnonymousPages) {
  Mapping map(4 * kPage, kReadWrite, kPrivate);
  memset(map.get(), 1, 4 * kPage);
  EXPECT_THAT(madvise(map.get() + kPage, 2 * kPage, MADV_DONTNEED), Returns(0));
  EXPECT_EQ(map[0], 1);
  EXPECT_EQ(map[kPage], 0);
  EXPECT_EQ(map[2 * kPage], 0);
  EXPECT_EQ(map[3 * kPage], 1);
}

TEST(Madvise, DontNeedRereadsAPrivateFile) {
  UniqueFd fd = OpenTemp(0, "file");
  Mapping map(kPage, kReadWrite, MAP_PRIVATE, fd.get());
  map[0] = 'F';
  EXPECT_THAT(madvise(map.get(), kPage, MADV_DONTNEED), Returns(0));
  EXPECT_STREQ(map.get(), "file");
}

TEST(Madvise, DontForkAndErrors) {
  Mapping map(kPage, kReadWrite, kPrivate);
  EXPECT_THAT(madvise(map.get(), kPage, MADV_DONTFORK), Returns(0));
  EXPECT_THAT(InChild([&] { return Readable(map.get()) ? 1 : 0; }), Exited(0));
  EXPECT_THAT(madvise(map.get() + 1, kPage, MADV_NORMAL), FailsWith(EINVAL));
  EXPECT_THAT(madvise(map.get(), kPage, 9999), FailsWith(EINVAL));
  EXPECT_THAT(madvise(map.get(), kPage, MADV_WILLNEED), Returns(0));
}

TEST(Brk, GrowsAndShrinks) {
  EXPECT_THAT(InChild([] {
                char* const begin = static_cast<char*>(sbrk(0));
                CHILD_CHECK(sbrk(10 * kPage) == begin);
                CHILD_CHECK(sbrk(0) == begin + 10 * kPage);
                for (size_t i = 0; i < 10 * kPage; ++i) CHILD_CHECK(begin[i] == 0);
                memset(begin, 1, 10 * kPage);
                CHILD_CHECK(brk(begin) == 0);
                CHILD_CHECK(sbrk(2 * kPage) == begin);
                // Pages that come back are fresh, beyond the one that was partly in use.
                CHILD_CHECK(begin[2 * kPage - 1] == 0);
                CHILD_CHECK(syscall(SYS_brk, 0) == reinterpret_cast<long>(begin + 2 * kPage));
                // A break that cannot be is answered with the present one.
                CHILD_CHECK(syscall(SYS_brk, 1) == reinterpret_cast<long>(begin + 2 * kPage));
                return 0;
              }),
              Exited(0));
}

TEST(Brk, CopiedByFork) {
  EXPECT_THAT(InChild([] {
                char* const begin = static_cast<char*>(sbrk(kPage));
                begin[0] = 1;
                CHILD_CHECK(WEXITSTATUS(InChild([&] {
                              CHILD_CHECK(sbrk(0) == begin + kPage && begin[0] == 1);
                              CHILD_CHECK(sbrk(kPage) == begin + kPage);
                              return 0;
                            })) == 0);
                CHILD_CHECK(sbrk(0) == begin + kPage);
                return 0;
              }),
              Exited(0));
}

TEST(Memfd, IsAFileWithoutAName) {
  UniqueFd fd = Memfd(2 * kPage);
  struct stat st = {};
  EXPECT_THAT(fstat(fd.get(), &st), Returns(0));
  EXPECT_EQ(st.st_size, static_cast<off_t>(2 * kPage));
  EXPECT_EQ(st.st_nlink, 0u);
  Mapping map(2 * kPage, kReadWrite, MAP_SHARED, fd.get());
  map[kPage] = 'm';
  char byte;
  EXPECT_THAT(pread(fd.get(), &byte, 1, kPage), Returns(1));
  EXPECT_EQ(byte, 'm');
}

TEST(Memfd, Seals) {
  UniqueFd fd = Memfd(kPage, MFD_ALLOW_SEALING);
  EXPECT_THAT(fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), Returns(0));
  EXPECT_THAT(ftruncate(fd.get(), 0), FailsWith(EPERM));
  EXPECT_THAT(ftruncate(fd.get(), 2 * kPage), FailsWith(EPERM));
  EXPECT_THAT(pwrite(fd.get(), "x", 1, 0), Returns(1));
  EXPECT_THAT(fcntl(fd.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SEAL), Returns(0));
  EXPECT_THAT(pwrite(fd.get(), "x", 1, 0), FailsWith(EPERM));
  EXPECT_THAT(fcntl(fd.get(), F_ADD_SEALS, F_SEAL_GROW), FailsWith(EPERM));
  EXPECT_EQ(fcntl(fd.get(), F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
}

TEST(Mincore, KnowsMappedFromUnmapped) {
  Mapping map(2 * kPage, kReadWrite, kPrivate);
  map[0] = 1;
  unsigned char resident[2] = {};
  EXPECT_THAT(mincore(map.get(), 2 * kPage, resident), Returns(0));
  EXPECT_EQ(resident[0] & 1, 1);
  EXPECT_EQ(resident[1] & 1, 0);
  ASSERT_THAT(munmap(map.get() + kPage, kPage), Returns(0));
  EXPECT_THAT(mincore(map.get(), 2 * kPage, resident), FailsWith(ENOMEM));
}

TEST(Limit, AddressSpace) {
  EXPECT_THAT(
      InChild([] {
        const rlimit limit = {1 << 30, 1 << 30};
        CHILD_CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
        CHILD_CHECK(mmap(nullptr, size_t{2} << 30, PROT_READ, kPrivate, -1, 0) == MAP_FAILED);
        CHILD_CHECK(errno == ENOMEM);
        return 0;
      }),
      Exited(0));
}

TEST(ProcMaps, ShowsAMappedFile) {
  TempDir dir;
  WriteFile(dir / "mapped", std::string(2 * kPage, 'x'));
  UniqueFd fd(open((dir / "mapped").c_str(), O_RDONLY));
  Mapping map(kPage, PROT_READ, MAP_PRIVATE, fd.get(), kPage);
  char expected[64];
  snprintf(expected, sizeof expected, "%lx-%lx r--p 00001000",
           reinterpret_cast<unsigned long>(map.get()),
           reinterpret_cast<unsigned long>(map.get() + kPage));
  const std::string maps = ReadFile("/proc/self/maps");
  const size_t at = maps.find(expected);
  ASSERT_NE(at, std::string::npos) << maps;
  const std::string line = maps.substr(at, maps.find('\n', at) - at);
  EXPECT_TRUE(line.ends_with(dir / "mapped")) << line;
  EXPECT_NE(maps.find("[stack]"), std::string::npos);
}

TEST(Copies, LargeBuffersAcrossPages) {
  // Reads and writes whose buffer spans mappings of different kinds.
  Mapping map(16 * kPage, kReadWrite, kPrivate);
  UniqueFd file = OpenTemp(0, std::string(4 * kPage, 'f'));
  ASSERT_THAT(
      mmap(map.get() + 4 * kPage, 4 * kPage, kReadWrite, MAP_PRIVATE | MAP_FIXED, file.get(), 0),
      Succeeds());
  UniqueFd out = OpenTemp();
  EXPECT_THAT(pwrite(out.get(), map.get() + 100, 10 * kPage, 0), Returns(10 * kPage));
  std::string back(10 * kPage, '?');
  EXPECT_THAT(pread(out.get(), back.data(), back.size(), 0), Returns(back.size()));
  EXPECT_EQ(memcmp(back.data(), map.get() + 100, back.size()), 0);
}

TEST(Copies, PartialBeforeABadPage) {
  Mapping map(2 * kPage, kReadWrite, kPrivate);
  ASSERT_THAT(mprotect(map.get() + kPage, kPage, PROT_NONE), Returns(0));
  Pipe pipe;
  EXPECT_THAT(write(pipe.write.get(), map.get() + kPage, 1), FailsWith(EFAULT));
  EXPECT_THAT(write(pipe.write.get(), "abc", 3), Returns(3));
  EXPECT_THAT(read(pipe.read.get(), map.get() + kPage, 3), FailsWith(EFAULT));
}

}  // namespace
