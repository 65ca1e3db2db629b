#include "syscalls/strace.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "syscalls/abi_types.h"
#include "syscalls/fake_memory.h"
#include "syscalls/strace_names.h"

namespace syscalls {
namespace {

using platform::SyscallArgs;
using platform::Verdict;

class StraceTest : public testing::Test {
 protected:
  std::string Line(const SyscallArgs& call, int64_t result) {
    StraceLine line(mem_, call);
    return line.Finish({.kind = Verdict::Kind::kReturn, .value = result});
  }

  Ref<FakeMemory> memory_ = MakeRef<FakeMemory>();
  sentry::UserMemory mem_{memory_};
};

TEST_F(StraceTest, DecodesPathsAndFlags) {
  const uint64_t path = memory_->PutString("/etc/passwd");
  EXPECT_EQ(Line({.nr = SYS_openat, .args = {uint64_t(AT_FDCWD), path, O_CLOEXEC}}, 3),
            "openat(AT_FDCWD, \"/etc/passwd\", O_RDONLY|O_CLOEXEC) = 3");
  EXPECT_EQ(Line({.nr = SYS_openat, .args = {uint64_t(AT_FDCWD), path, O_WRONLY | O_CREAT, 0644}},
                 -EACCES),
            "openat(AT_FDCWD, \"/etc/passwd\", O_WRONLY|O_CREAT, 0644) = -1 EACCES (Permission "
            "denied)");
}

TEST_F(StraceTest, ShowsWhatWasReadAndNoMore) {
  const uint64_t buffer = memory_->PutString("hello\nworld");
  EXPECT_EQ(Line({.nr = SYS_read, .args = {0, buffer, 100}}, 6), "read(0, \"hello\\n\", 100) = 6");
  EXPECT_EQ(Line({.nr = SYS_read, .args = {0, FakeMemory::kBase, 100}}, -EAGAIN),
            "read(0, 0x10000, 100) = -1 EAGAIN (Resource temporarily unavailable)");
}

TEST_F(StraceTest, CutsLongBuffers) {
  const uint64_t buffer = memory_->PutString(std::string(100, 'x'));
  EXPECT_EQ(Line({.nr = SYS_write, .args = {1, buffer, 100}}, 100),
            "write(1, \"" + std::string(32, 'x') + "\"..., 100) = 100");
}

TEST_F(StraceTest, SurvivesBadAddresses) {
  EXPECT_EQ(Line({.nr = SYS_unlink, .args = {0}}, -EFAULT),
            "unlink(NULL) = -1 EFAULT (Bad address)");
  EXPECT_EQ(Line({.nr = SYS_unlink, .args = {1}}, -EFAULT),
            "unlink(0x1) = -1 EFAULT (Bad address)");
  EXPECT_EQ(Line({.nr = SYS_execve, .args = {1, ~uint64_t{0}, ~uint64_t{7}}}, -EFAULT),
            "execve(0x1, 0xffffffffffffffff, 0xfffffffffffffff8 /* 0 vars */) = -1 EFAULT (Bad "
            "address)");
  // A string that runs into what is not mapped.
  const uint64_t end = memory_->end();
  mem_.WriteSome(sentry::UserAddr{end - 2}, std::as_bytes(std::span("xy", 2)));
  EXPECT_EQ(Line({.nr = SYS_chdir, .args = {end - 2}}, -EFAULT),
            "chdir(0x13ffe) = -1 EFAULT (Bad address)");
}

TEST_F(StraceTest, SummarisesStructures) {
  const uint64_t stat = memory_->Put(abi::Stat{.mode = 0100644, .size = 12});
  EXPECT_EQ(Line({.nr = SYS_fstat, .args = {3, stat}}, 0),
            "fstat(3, {st_mode=S_IFREG|0644, st_size=12, ...}) = 0");
  const uint64_t fds = memory_->Put(abi::PollFd{.fd = 1, .events = 1, .revents = 0x10});
  EXPECT_EQ(Line({.nr = SYS_poll, .args = {fds, 1, uint64_t(-1)}}, 1),
            "poll([{fd=1, events=POLLIN, revents=POLLHUP}], 1, -1) = 1");
  const uint64_t status = memory_->Put(7 << 8);
  EXPECT_EQ(Line({.nr = SYS_wait4, .args = {uint64_t(-1), status, 0, 0}}, 12),
            "wait4(-1, [{WIFEXITED(s) && WEXITSTATUS(s) == 7}], 0, NULL) = 12");
}

TEST_F(StraceTest, NamesAddressesSignalsAndSets) {
  EXPECT_EQ(Line({.nr = SYS_mmap,
                  .args = {0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, uint64_t(-1), 0}},
                 0x7f0000000000),
            "mmap(NULL, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, NULL) = 0x7f0000000000");
  EXPECT_EQ(Line({.nr = SYS_kill, .args = {12, SIGTERM}}, 0), "kill(12, SIGTERM) = 0");
  EXPECT_EQ(FormatSignalSet(uint64_t{1} << (SIGINT - 1) | uint64_t{1} << (SIGCHLD - 1)),
            "[INT CHLD]");
  EXPECT_EQ(FormatSignalSet(~uint64_t{0}), "~[]");
  EXPECT_EQ(SignalName(34), "SIGRT_2");
}

TEST_F(StraceTest, ShowsCallsWithoutAResult) {
  const SyscallArgs call{.nr = SYS_exit_group, .args = {7}};
  EXPECT_EQ(StraceLine(mem_, call).Finish({.kind = Verdict::Kind::kGone}), "exit_group(7) = ?");
  EXPECT_EQ(Line({.nr = SYS_read, .args = {0, 0, 1}}, -512),
            "read(0, NULL, 1) = ? ERESTARTSYS (To be restarted if SA_RESTART is set)");
  EXPECT_EQ(Line({.nr = 9999}, -ENOSYS),
            "syscall_9999(NULL, NULL, NULL, NULL, NULL, NULL) = -1 ENOSYS (Function not "
            "implemented)");
}

}  // namespace
}  // namespace syscalls
