// Files whose bytes are read and written over again and again: what a kernel keeps of them must
// follow every change of size, every hole and every seal.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <atomic>
#include <thread>

#include "tests/conformance/places.h"
#include "tests/conformance/support.h"

namespace {

constexpr size_t kPage = 4096;
constexpr size_t kSize = 64 * kPage;

std::string Pattern(size_t size, unsigned seed) {
  std::string bytes(size, '\0');
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>((i * 31 + seed) >> 3);
  return bytes;
}

std::string ReadAt(int fd, size_t size, off_t offset) {
  std::string bytes(size, '?');
  const ssize_t n = pread(fd, bytes.data(), size, offset);
  EXPECT_GE(n, 0);
  bytes.resize(n < 0 ? 0 : n);
  return bytes;
}

struct stat StatOf(int fd) {
  struct stat st = {};
  EXPECT_THAT(fstat(fd, &st), Returns(0));
  return st;
}

class Reread : public conformance::AtPlace {
 protected:
  Reread() : fd(OpenTemp(0, contents)) { Warm(); }
  // Reads everything several times, in small and in large pieces.
  void Warm() {
    const auto size = static_cast<size_t>(StatOf(fd.get()).st_size);
    for (int i = 0; i < 4; ++i) {
      for (size_t at = 0; at < size; at += kPage) ReadAt(fd.get(), kPage, static_cast<off_t>(at));
      ReadAt(fd.get(), size, 0);
    }
  }
  void Expect(const std::string& expected) {
    EXPECT_EQ(StatOf(fd.get()).st_size, static_cast<off_t>(expected.size()));
    EXPECT_TRUE(ReadAt(fd.get(), expected.size() + 1, 0) == expected);
    for (size_t at = 0; at < expected.size(); at += 3 * kPage - 5) {
      EXPECT_TRUE(ReadAt(fd.get(), kPage, static_cast<off_t>(at)) == expected.substr(at, kPage));
    }
  }

  std::string contents = Pattern(kSize, 1);
  UniqueFd fd;
};
AT_EACH_PLACE(Reread);

TEST_P(Reread, SeesTheSameEachTime) {
  Expect(contents);
  Warm();
  Expect(contents);
}

TEST_P(Reread, EndsAtTheEnd) {
  EXPECT_EQ(ReadAt(fd.get(), kPage, kSize - 7), contents.substr(kSize - 7));
  EXPECT_EQ(ReadAt(fd.get(), kPage, kSize), "");
  EXPECT_EQ(ReadAt(fd.get(), kPage, kSize + kPage), "");
}

TEST_P(Reread, SeesWhatIsWrittenOver) {
  for (unsigned round = 2; round < 8; ++round) {
    contents = Pattern(kSize, round);
    for (size_t at = 0; at < kSize; at += 2 * kPage) {
      EXPECT_THAT(pwrite(fd.get(), contents.data() + at, 2 * kPage, static_cast<off_t>(at)),
                  Returns(2 * kPage));
    }
    Expect(contents);
  }
}

TEST_P(Reread, WritesAcrossTheEnd) {
  Expect(contents);
  const std::string more = Pattern(3 * kPage, 9);
  EXPECT_THAT(pwrite(fd.get(), more.data(), more.size(), kSize - kPage), Returns(more.size()));
  contents.resize(kSize - kPage);
  contents += more;
  Expect(contents);
}

TEST_P(Reread, GrowsFarBeyondWhatItWas) {
  const std::string more = Pattern(kSize, 5);
  EXPECT_THAT(lseek(fd.get(), 0, SEEK_END), Returns(kSize));
  for (int i = 0; i < 16; ++i) {
    EXPECT_THAT(write(fd.get(), more.data(), more.size()), Returns(more.size()));
    contents += more;
    Expect(contents);
  }
}

TEST_P(Reread, ForgetsWhatIsTruncated) {
  EXPECT_THAT(ftruncate(fd.get(), kPage + 100), Returns(0));
  contents.resize(kPage + 100);
  Expect(contents);
  EXPECT_EQ(ReadAt(fd.get(), kPage, 2 * kPage), "");
  EXPECT_THAT(ftruncate(fd.get(), kSize), Returns(0));
  contents.resize(kSize);
  Expect(contents);
  EXPECT_THAT(ftruncate(fd.get(), 0), Returns(0));
  Expect("");
  EXPECT_THAT(pwrite(fd.get(), "new", 3, 2 * kPage), Returns(3));
  Expect(std::string(2 * kPage, '\0') + "new");
}

TEST_P(Reread, HolesStayHoles) {
  EXPECT_THAT(ftruncate(fd.get(), 4 * kSize), Returns(0));
  contents.resize(4 * kSize);
  const blkcnt_t blocks = StatOf(fd.get()).st_blocks;
  for (int i = 0; i < 3; ++i) {
    Warm();
    Expect(contents);
  }
  EXPECT_EQ(StatOf(fd.get()).st_blocks, blocks);
  EXPECT_THAT(lseek(fd.get(), 0, SEEK_HOLE), Returns(kSize));
  EXPECT_THAT(lseek(fd.get(), kSize, SEEK_DATA), FailsWith(ENXIO));
}

TEST_P(Reread, SeesHolesThatArePunched) {
  const int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  const blkcnt_t blocks = StatOf(fd.get()).st_blocks;
  ASSERT_THAT(fallocate(fd.get(), mode, 16 * kPage, 32 * kPage), Returns(0));
  std::fill_n(contents.begin() + 16 * kPage, 32 * kPage, '\0');
  for (int i = 0; i < 3; ++i) {
    Warm();
    Expect(contents);
  }
  EXPECT_LT(StatOf(fd.get()).st_blocks, blocks);
  EXPECT_THAT(lseek(fd.get(), 0, SEEK_HOLE), Returns(16 * kPage));
  EXPECT_THAT(lseek(fd.get(), 16 * kPage, SEEK_DATA), Returns(48 * kPage));
  EXPECT_THAT(pwrite(fd.get(), "x", 1, 20 * kPage), Returns(1));
  contents[20 * kPage] = 'x';
  Expect(contents);
}

TEST_P(Reread, SharesItsBytesWithMappings) {
  void* const map = mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  ASSERT_NE(map, MAP_FAILED);
  auto* const bytes = static_cast<char*>(map);
  Warm();
  bytes[5 * kPage] = 'm';
  contents[5 * kPage] = 'm';
  Expect(contents);
  EXPECT_THAT(pwrite(fd.get(), "w", 1, 6 * kPage), Returns(1));
  EXPECT_EQ(bytes[6 * kPage], 'w');
  munmap(map, kSize);
}

TEST_P(Reread, SeesHolesMadeThroughMappings) {
  void* const map = mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  ASSERT_NE(map, MAP_FAILED);
  Warm();
  if (madvise(map, 8 * kPage, MADV_REMOVE) == 0) {
    std::fill_n(contents.begin(), 8 * kPage, '\0');
    Warm();
    EXPECT_THAT(lseek(fd.get(), 0, SEEK_DATA), Returns(8 * kPage));
  } else {
    EXPECT_EQ(errno, EOPNOTSUPP);
  }
  Expect(contents);
  munmap(map, kSize);
}

TEST_P(Reread, BadMemoryIsEfaultAndTakesNothing) {
  char* const bad = reinterpret_cast<char*>(kPage);
  EXPECT_THAT(syscall(SYS_pread64, fd.get(), bad, kPage, 0), FailsWith(EFAULT));
  EXPECT_THAT(syscall(SYS_pread64, fd.get(), bad, kSize, 0), FailsWith(EFAULT));
  EXPECT_THAT(syscall(SYS_pwrite64, fd.get(), bad, kPage, 0), FailsWith(EFAULT));
  EXPECT_THAT(syscall(SYS_pwrite64, fd.get(), bad, kSize, 0), FailsWith(EFAULT));
  Expect(contents);
}

TEST_P(Reread, StopsWhereMemoryEnds) {
  void* const map =
      mmap(nullptr, 4 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(map, MAP_FAILED);
  auto* const bytes = static_cast<char*>(map);
  ASSERT_THAT(munmap(bytes + 3 * kPage, kPage), Returns(0));
  EXPECT_THAT(pread(fd.get(), bytes, 4 * kPage, 0), Returns(3 * kPage));
  EXPECT_TRUE(std::string(bytes, 3 * kPage) == contents.substr(0, 3 * kPage));
  munmap(map, 3 * kPage);
}

TEST_P(Reread, VectorsTakePieces) {
  std::string a(100, '?'), b(5000, '?'), c(3, '?');
  const iovec pieces[] = {{a.data(), a.size()}, {b.data(), b.size()}, {c.data(), c.size()}};
  EXPECT_THAT(preadv(fd.get(), pieces, 3, 77), Returns(5103));
  EXPECT_TRUE(a + b + c == contents.substr(77, 5103));
  std::fill(b.begin(), b.end(), 'B');
  EXPECT_THAT(pwritev(fd.get(), pieces, 3, 1000), Returns(5103));
  contents.replace(1000, 5103, a + b + c);
  Expect(contents);
}

TEST_P(Reread, TimesFollowWrites) {
  const timespec old[2] = {{.tv_sec = 1'000'000, .tv_nsec = 0},
                           {.tv_sec = 1'000'000, .tv_nsec = 0}};
  for (int i = 0; i < 4; ++i) {
    ASSERT_THAT(pwrite(fd.get(), contents.data(), kSize, 0), Returns(kSize));
    ASSERT_THAT(futimens(fd.get(), old), Returns(0));
    ASSERT_THAT(pwrite(fd.get(), contents.data(), 8, 8), Returns(8));
    EXPECT_GT(StatOf(fd.get()).st_mtim.tv_sec, 1'000'000);
  }
}

TEST_P(Reread, SurvivesTruncationsMeanwhile) {
  std::atomic<bool> done = false;
  std::thread truncates([&] {
    for (int i = 0; i < 300; ++i) {
      EXPECT_THAT(ftruncate(fd.get(), i % 2 == 0 ? kPage : kSize), Returns(0));
    }
    done = true;
  });
  // What was cut off reads as zeroes afterwards; nothing else is ever seen.
  while (!done) {
    const std::string seen = ReadAt(fd.get(), kSize, 0);
    for (size_t at = 0; at < seen.size(); at += kPage) {
      EXPECT_TRUE(seen[at] == contents[at] || seen[at] == '\0');
    }
    EXPECT_THAT(pwrite(fd.get(), contents.data(), 100, 0), Returns(100));
  }
  truncates.join();
  EXPECT_EQ(ReadAt(fd.get(), kPage, 0), contents.substr(0, kPage));
}

// Linux writes with the inode's lock held: the later of two writes is there as a whole.
TEST_P(Reread, WritersDoNotMix) {
  const std::string ones(kSize, '1'), twos(kSize, '2');
  for (int i = 0; i < 50; ++i) {
    std::thread other(
        [&] { EXPECT_THAT(pwrite(fd.get(), twos.data(), kSize, 0), Returns(kSize)); });
    EXPECT_THAT(pwrite(fd.get(), ones.data(), kSize, 0), Returns(kSize));
    other.join();
    const std::string seen = ReadAt(fd.get(), kSize, 0);
    ASSERT_TRUE(seen == ones || seen == twos);
  }
}

// What is large is read and written in one go while the file grows, is cut and gets holes.
TEST_P(Reread, LargePiecesSurviveWhatOthersDo) {
  const int punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  std::atomic<bool> done = false;
  std::thread changes([&] {
    for (int i = 1; i <= 100; ++i) {
      EXPECT_THAT(pwrite(fd.get(), contents.data(), kSize, i % 10 * kSize), Returns(kSize));
      EXPECT_THAT(fallocate(fd.get(), punch, 8 * kPage, 8 * kPage), Returns(0));
      if (i % 10 == 0) {
        EXPECT_THAT(ftruncate(fd.get(), 5 * kPage), Returns(0));
      }
    }
    done = true;
  });
  std::thread writes([&] {
    while (!done) EXPECT_THAT(pwrite(fd.get(), contents.data(), kSize, 0), Returns(kSize));
  });
  while (!done) {
    const std::string seen = ReadAt(fd.get(), 4 * kSize, 0);
    for (size_t at = 0; at < seen.size(); at += kPage) {
      EXPECT_TRUE(seen[at] == contents[at % kSize] || seen[at] == '\0');
    }
  }
  changes.join();
  writes.join();
  EXPECT_THAT(pwrite(fd.get(), contents.data(), kSize, 0), Returns(kSize));
  EXPECT_TRUE(ReadAt(fd.get(), kSize, 0) == contents);
}

TEST_P(Reread, TwoDescriptionsSeeOneFile) {
  UniqueFd other(open(("/proc/self/fd/" + std::to_string(fd.get())).c_str(), O_RDWR | O_APPEND));
  ASSERT_TRUE(other.valid());
  EXPECT_THAT(write(other.get(), "tail", 4), Returns(4));
  contents += "tail";
  Expect(contents);
  EXPECT_EQ(ReadAt(other.get(), 10, kSize - 6), contents.substr(kSize - 6));
}

TEST(RereadMemfd, CanBeSealedAfterwards) {
  UniqueFd fd(memfd_create("reread", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_TRUE(fd.valid());
  const std::string contents = Pattern(kSize, 3);
  for (int i = 0; i < 6; ++i) {
    ASSERT_THAT(pwrite(fd.get(), contents.data(), kSize, 0), Returns(kSize));
    EXPECT_TRUE(ReadAt(fd.get(), kSize, 0) == contents);
  }
  EXPECT_THAT(fcntl(fd.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK), Returns(0));
  EXPECT_THAT(pwrite(fd.get(), "x", 1, 0), FailsWith(EPERM));
  EXPECT_THAT(ftruncate(fd.get(), 0), FailsWith(EPERM));
  EXPECT_TRUE(ReadAt(fd.get(), kSize, 0) == contents);
}

}  // namespace
