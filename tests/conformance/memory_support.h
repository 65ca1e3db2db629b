// What the cases about memory share.
#ifndef TESTS_CONFORMANCE_MEMORY_SUPPORT_H_
#define TESTS_CONFORMANCE_MEMORY_SUPPORT_H_

#include <grp.h>
#include <setjmp.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <string>

#include "tests/conformance/support.h"

namespace conformance {

constexpr size_t kPage = 4096;
constexpr int kReadWrite = PROT_READ | PROT_WRITE;
constexpr int kPrivate = MAP_PRIVATE | MAP_ANONYMOUS;
constexpr int kShared = MAP_SHARED | MAP_ANONYMOUS;

// Newer than the build's headers.
constexpr int kMadvPopulateRead = 22, kMadvPopulateWrite = 23, kMadvDontneedLocked = 24,
              kMadvCollapse = 25;
constexpr int kSealFutureWrite = 0x10, kSealExec = 0x20;

// A mapping that goes away with its scope.
class Mapping {
 public:
  explicit Mapping(size_t size, int protection = kReadWrite, int flags = kPrivate, int fd = -1,
                   off_t offset = 0)
      : Mapping(nullptr, size, protection, flags, fd, offset) {}
  Mapping(void* hint, size_t size, int protection, int flags, int fd, off_t offset) : size_(size) {
    void* const at = mmap(hint, size, protection, flags, fd, offset);
    EXPECT_THAT(at, Succeeds());
    data_ = static_cast<char*>(at);
  }
  Mapping(const Mapping&) = delete;
  ~Mapping() { munmap(data_, size_); }
  char* get() const { return data_; }
  char* page(size_t index) const { return data_ + index * kPage; }
  char& operator[](size_t at) const { return data_[at]; }

 private:
  size_t size_;
  char* data_ = nullptr;
};

inline UniqueFd Memfd(off_t size, unsigned flags = 0) {
  UniqueFd fd(static_cast<int>(syscall(SYS_memfd_create, "conformance", flags)));
  EXPECT_THAT(fd.get(), Succeeds());
  EXPECT_THAT(ftruncate(fd.get(), size), Returns(0));
  return fd;
}

// Another description of what `fd` names, as open(2) of /proc/self/fd makes it.
inline UniqueFd Reopen(int fd, int flags) {
  return UniqueFd(open(("/proc/self/fd/" + std::to_string(fd)).c_str(), flags));
}

inline char ByteAt(int fd, off_t offset) {
  char byte = '?';
  EXPECT_THAT(pread(fd, &byte, 1, offset), Returns(1));
  return byte;
}

// Whether the kernel can read the byte: a write(2) from it, which reports rather than faults.
inline bool Readable(const void* at) {
  Pipe pipe;
  return write(pipe.write.get(), at, 1) == 1;
}

// What touching a byte raises in this thread: 0, or the signal with its code.
struct Fault {
  int signal = 0;
  int code = 0;
  void* addr = nullptr;
};
enum class Access { kRead, kWrite };
Fault FaultOf(volatile char* at, Access access = Access::kRead);
inline bool Writable(volatile char* at) { return FaultOf(at, Access::kWrite).signal == 0; }

// The permissions in /proc/self/maps of the mapping that holds `at`, "rw-p" for instance; empty
// when there is none.
std::string PermissionsOf(const void* at);

// A child without privileges, in whose body limits hold.
template <typename Body>
int AsNobody(Body body) {
  return InChild([&] {
    CHILD_CHECK(setgroups(0, nullptr) == 0);
    CHILD_CHECK(setresgid(65534, 65534, 65534) == 0);
    CHILD_CHECK(setresuid(65534, 65534, 65534) == 0);
    return body();
  });
}

// Lowers the soft and hard limit, which only a child should do.
inline bool SetLimit(int resource, rlim_t value) {
  const rlimit limit = {value, value};
  return setrlimit(static_cast<__rlimit_resource>(resource), &limit) == 0;
}

}  // namespace conformance

#endif  // TESTS_CONFORMANCE_MEMORY_SUPPORT_H_
