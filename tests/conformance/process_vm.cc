// process_vm_readv(2) and process_vm_writev(2).
#include <sys/prctl.h>
#include <sys/uio.h>

#include "tests/conformance/memory_support.h"

namespace {

// A child that shows its memory until it is told to look at it itself.
class Other {
 public:
  template <typename Check>
  explicit Other(Check check)
      : pid_(Start([&] {
          CHILD_CHECK(Post(ready_.write.get()));
          CHILD_CHECK(Await(go_.read.get()));
          return check();
        })) {
    EXPECT_TRUE(Await(ready_.read.get()));
  }
  pid_t pid() const { return pid_; }
  int Finish() {
    EXPECT_TRUE(Post(go_.write.get()));
    return Wait(pid_);
  }

 private:
  Pipe ready_, go_;
  pid_t pid_;
};

ssize_t ReadFrom(pid_t pid, const void* from, void* to, size_t size) {
  const iovec local = {to, size}, remote = {const_cast<void*>(from), size};
  return process_vm_readv(pid, &local, 1, &remote, 1, 0);
}
ssize_t WriteTo(pid_t pid, const void* from, void* to, size_t size) {
  const iovec local = {const_cast<void*>(from), size}, remote = {to, size};
  return process_vm_writev(pid, &local, 1, &remote, 1, 0);
}

TEST(ProcessVm, ReadsAChild) {
  Mapping map(2 * kPage);
  strcpy(map.get() + kPage - 3, "across");
  Other child([] { return 0; });
  map[kPage] = '!';  // In the parent only.
  char seen[7] = {};
  EXPECT_THAT(ReadFrom(child.pid(), map.get() + kPage - 3, seen, 7), Returns(7));
  EXPECT_STREQ(seen, "across");
  EXPECT_THAT(child.Finish(), Exited(0));
}

TEST(ProcessVm, WritesToAChild) {
  Mapping map(kPage);
  Other child([&] { return strcmp(map.get(), "written") == 0 ? 0 : 1; });
  EXPECT_THAT(WriteTo(child.pid(), "written", map.get(), 8), Returns(8));
  EXPECT_EQ(map[0], 0);
  EXPECT_THAT(child.Finish(), Exited(0));
}

TEST(ProcessVm, Itself) {
  char from[] = "itself", to[7] = {};
  EXPECT_THAT(ReadFrom(getpid(), from, to, 7), Returns(7));
  EXPECT_STREQ(to, "itself");
  EXPECT_THAT(WriteTo(getpid(), "ITSELF", from, 7), Returns(7));
  EXPECT_STREQ(from, "ITSELF");
}

TEST(ProcessVm, ScattersAndGathers) {
  char a[] = "abc", b[] = "defgh", c[] = "ij", x[6] = {}, y[6] = {};
  const iovec remote[] = {{a, 3}, {b, 5}, {c, 2}}, local[] = {{x, 5}, {y, 5}};
  EXPECT_THAT(process_vm_readv(getpid(), local, 2, remote, 3, 0), Returns(10));
  EXPECT_STREQ(x, "abcde");
  EXPECT_STREQ(y, "fghij");
  const iovec short_local[] = {{x, 4}};
  memset(x, 0, sizeof x);
  EXPECT_THAT(process_vm_readv(getpid(), short_local, 1, remote, 3, 0), Returns(4));
  EXPECT_STREQ(x, "abcd");
  const iovec empty[] = {{a, 0}, {b, 2}};
  EXPECT_THAT(process_vm_writev(getpid(), short_local, 1, empty, 2, 0), Returns(2));
  EXPECT_STREQ(b, "abfgh");
}

TEST(ProcessVm, LargeCopies) {
  constexpr size_t kSize = 3 << 20;
  Mapping from(kSize), to(kSize);
  for (size_t i = 0; i < kSize; i += 97) from[i] = static_cast<char>(i);
  EXPECT_THAT(ReadFrom(getpid(), from.get(), to.get(), kSize), Returns(kSize));
  EXPECT_EQ(memcmp(from.get(), to.get(), kSize), 0);
}

TEST(ProcessVm, PartialBeforeWhatIsNotThere) {
  Mapping map(3 * kPage);
  memset(map.get(), 'p', 3 * kPage);
  ASSERT_THAT(mprotect(map.page(2), kPage, PROT_NONE), Returns(0));
  std::vector<char> buffer(3 * kPage);
  EXPECT_THAT(ReadFrom(getpid(), map.get(), buffer.data(), 3 * kPage), Returns(2 * kPage));
  EXPECT_THAT(ReadFrom(getpid(), map.page(2), buffer.data(), kPage), FailsWith(EFAULT));
  const iovec local = {buffer.data(), 3 * kPage};
  const iovec remote[] = {{map.page(1), kPage}, {map.page(2), kPage}, {map.page(0), kPage}};
  EXPECT_THAT(process_vm_readv(getpid(), &local, 1, remote, 3, 0), Returns(kPage));
}

TEST(ProcessVm, ProtectionCounts) {
  Mapping map(kPage, PROT_READ);
  EXPECT_THAT(WriteTo(getpid(), "x", map.get(), 1), FailsWith(EFAULT));
  char byte;
  EXPECT_THAT(ReadFrom(getpid(), map.get(), &byte, 1), Returns(1));
}

TEST(ProcessVm, Errors) {
  char byte = 0;
  const iovec one = {&byte, 1};
  EXPECT_THAT(process_vm_readv(getpid(), &one, 1, &one, 1, 1), FailsWith(EINVAL));
  EXPECT_THAT(process_vm_readv(getpid(), &one, 1025, &one, 1, 0), FailsWith(EINVAL));
  EXPECT_THAT(process_vm_readv(getpid(), &one, 1, &one, 1025, 0), FailsWith(EINVAL));
  EXPECT_THAT(process_vm_readv(999999999, &one, 1, &one, 1, 0), FailsWith(ESRCH));
  EXPECT_THAT(process_vm_readv(getpid(), reinterpret_cast<iovec*>(8), 1, &one, 1, 0),
              FailsWith(EFAULT));
  EXPECT_THAT(process_vm_readv(getpid(), &one, 1, reinterpret_cast<iovec*>(8), 1, 0),
              FailsWith(EFAULT));
  const iovec negative = {&byte, SIZE_MAX};
  EXPECT_THAT(process_vm_readv(getpid(), &negative, 1, &one, 1, 0), FailsWith(EINVAL));
}

TEST(ProcessVm, NothingToDo) {
  char byte = 0;
  const iovec one = {&byte, 1}, none = {&byte, 0};
  EXPECT_THAT(process_vm_readv(getpid(), nullptr, 0, &one, 1, 0), Returns(0));
  EXPECT_THAT(process_vm_readv(getpid(), &one, 1, nullptr, 0, 0), Returns(0));
  EXPECT_THAT(process_vm_readv(getpid(), &one, 1, &none, 1, 0), Returns(0));
}

TEST(ProcessVm, NoRoomAsksNobody) {
  char byte = 0;
  const iovec none = {&byte, 0}, one = {&byte, 1};
  EXPECT_THAT(process_vm_readv(999999999, &none, 1, &one, 1, 0), Returns(0));
  EXPECT_THAT(process_vm_writev(999999999, &none, 1, &one, 1, 0), Returns(0));
  EXPECT_THAT(process_vm_readv(getpid(), &none, 1, reinterpret_cast<iovec*>(8), 1, 0), Returns(0));
  EXPECT_THAT(process_vm_readv(getpid(), &none, 1, &one, 1, 1), FailsWith(EINVAL));
}

TEST(ProcessVm, BadLocalMemory) {
  char byte = 0;
  const iovec bad = {reinterpret_cast<void*>(8), 1}, one = {&byte, 1};
  EXPECT_THAT(process_vm_readv(getpid(), &bad, 1, &one, 1, 0), FailsWith(EFAULT));
  EXPECT_THAT(process_vm_writev(getpid(), &bad, 1, &one, 1, 0), FailsWith(EFAULT));
}

TEST(ProcessVm, OthersProcessesNeedAPrivilege) {
  char byte = 'p';
  const pid_t parent = getpid();
  EXPECT_THAT(AsNobody([&] {
                char seen;
                CHILD_CHECK(ReadFrom(parent, &byte, &seen, 1) == -1 && errno == EPERM);
                CHILD_CHECK(WriteTo(parent, "x", &byte, 1) == -1 && errno == EPERM);
                return 0;
              }),
              Exited(0));
  EXPECT_EQ(byte, 'p');
}

TEST(ProcessVm, UndumpableOnesNeedAPrivilege) {
  EXPECT_THAT(AsNobody([] {
                CHILD_CHECK(prctl(PR_SET_DUMPABLE, 1) == 0);
                char byte = 'd', seen = 0;
                Pipe ready, go;
                const pid_t child = Start([&] {
                  CHILD_CHECK(prctl(PR_SET_DUMPABLE, 0) == 0);
                  return Post(ready.write.get()) && Await(go.read.get()) ? 0 : 1;
                });
                CHILD_CHECK(Await(ready.read.get()));
                CHILD_CHECK(ReadFrom(child, &byte, &seen, 1) == -1 && errno == EPERM);
                CHILD_CHECK(Post(go.write.get()));
                return WEXITSTATUS(Wait(child));
              }),
              Exited(0));
}

TEST(ProcessVm, EndedProcesses) {
  char byte = 0;
  const pid_t child = Start([] { return 0; });
  siginfo_t info;
  ASSERT_THAT(waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT), Returns(0));
  EXPECT_THAT(ReadFrom(child, &byte, &byte, 1), FailsWith(ESRCH));
  EXPECT_THAT(Wait(child), Exited(0));
  EXPECT_THAT(ReadFrom(child, &byte, &byte, 1), FailsWith(ESRCH));
}

}  // namespace
