// Handlers on a platform without guests: one task over tmpfs, called by number as a program does.
#include <elf.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>

#include <array>
#include <cstring>
#include <initializer_list>
#include <string>
#include <vector>

#include "sentry/fs/tmpfs/tmpfs.h"
#include "sentry/task/fake_platform.h"
#include "sentry/task/kernel.h"
#include "syscalls/abi_types.h"
#include "syscalls/dispatcher.h"

namespace syscalls {
namespace {

using platform::Verdict;
using sentry::OpenFlags;
using sentry::Task;
using sentry::UserAddr;
using sentry::UserPtr;

std::vector<std::byte> SmallProgram() {
  Elf64_Ehdr head{};
  memcpy(head.e_ident, ELFMAG, SELFMAG);
  head.e_ident[EI_CLASS] = ELFCLASS64;
  head.e_type = ET_EXEC;
  head.e_machine = EM_X86_64;
  head.e_entry = 0x400100;
  head.e_phoff = sizeof(head);
  head.e_phentsize = sizeof(Elf64_Phdr);
  head.e_phnum = 1;
  const Elf64_Phdr load = {.p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_vaddr = 0x400000,
                           .p_filesz = 0x200, .p_memsz = 0x200, .p_align = 4096};
  std::vector<std::byte> file(0x200);
  memcpy(file.data(), &head, sizeof(head));
  memcpy(file.data() + sizeof(head), &load, sizeof(load));
  return file;
}

constexpr uint64_t kScratch = 0x600000, kScratchSize = 0x10000;
constexpr uint64_t kBuffer = kScratch + 0x8000;

class HandlersTest : public testing::Test {
 protected:
  void SetUp() override {
    const sentry::Path root =
        kernel_.vfs().MountRoot(sentry::Tmpfs::Create(), "tmpfs", "none", 0);
    const auto creds = sentry::Credentials::ForUser(0, 0);
    const sentry::WalkContext walk{.root = root, .start = root, .creds = creds, .umask = 0};
    auto file = kernel_.vfs().Open(walk, "/prog", OpenFlags(O_CREAT | O_WRONLY), 0755);
    ASSERT_TRUE(file.ok());
    const auto program = SmallProgram();
    sentry::IoSrc source{std::span<const std::byte>(program)};
    ASSERT_TRUE((*file)->Write(source).ok());
    *file = nullptr;  // What is open for writing cannot be executed.
    ASSERT_TRUE(kernel_
                    .CreateInit({.argv = {"prog"},
                                 .path = "/prog",
                                 .root = root,
                                 .cwd = root,
                                 .creds = creds})
                    .ok());
    task_ = kernel_.FindTask(1);
    static_cast<sentry::fake::FakeAddressSpace&>(task_->mem().space())
        .Map(kScratch, kScratchSize);
  }

  Verdict Dispatch(uint64_t nr, std::initializer_list<uint64_t> args) {
    platform::SyscallArgs call{.nr = nr};
    std::copy(args.begin(), args.end(), call.args);
    return dispatcher_.Dispatch(*task_, call, nullptr);
  }
  int64_t Call(uint64_t nr, std::initializer_list<uint64_t> args = {}) {
    const Verdict verdict = Dispatch(nr, args);
    EXPECT_EQ(verdict.kind, Verdict::Kind::kReturn);
    return verdict.value;
  }
  // A string of the application's; good until the next one but three.
  uint64_t Str(std::string_view text) {
    next_ = (next_ + 1) % 4;
    const uint64_t addr = kScratch + next_ * 0x1000;
    const std::string terminated(text);
    EXPECT_TRUE(task_->mem()
                    .WriteBytes(UserAddr{addr}, std::as_bytes(std::span(terminated.c_str(),
                                                                        text.size() + 1)))
                    .ok());
    return addr;
  }
  template <typename T>
  T Get(uint64_t addr) {
    return *task_->mem().Read(UserPtr<const T>{UserAddr{addr}});
  }
  template <typename T>
  uint64_t Put(const T& value) {
    EXPECT_TRUE(task_->mem().Write(UserPtr<T>{UserAddr{kBuffer}}, value).ok());
    return kBuffer;
  }
  uint64_t Open(std::string_view path, int flags, int mode = 0644) {
    const int64_t fd = Call(SYS_open, {Str(path), uint64_t(flags), uint64_t(mode)});
    EXPECT_GE(fd, 0);
    return uint64_t(fd);
  }

  sentry::fake::FakePlatform platform_;
  LinuxDispatcher dispatcher_;
  sentry::Kernel kernel_{platform_, dispatcher_, {}};
  Ref<Task> task_;
  int next_ = 0;
};

TEST_F(HandlersTest, WritesSeeksAndReads) {
  const uint64_t fd = Open("/file", O_RDWR | O_CREAT);
  EXPECT_EQ(Call(SYS_write, {fd, Str("hello"), 5}), 5);
  EXPECT_EQ(Call(SYS_lseek, {fd, 1, SEEK_SET}), 1);
  EXPECT_EQ(Call(SYS_read, {fd, kBuffer, 100}), 4);
  EXPECT_EQ((Get<std::array<char, 4>>(kBuffer)), (std::array<char, 4>{'e', 'l', 'l', 'o'}));
  EXPECT_EQ(Call(SYS_pread64, {fd, kBuffer, 100, uint64_t(-1)}), -EINVAL);
  EXPECT_EQ(Call(SYS_fstat, {fd, kBuffer}), 0);
  EXPECT_EQ(Get<abi::Stat>(kBuffer).size, 5);
  EXPECT_EQ(Call(SYS_write, {fd, 8, 5}), -EFAULT);
  EXPECT_EQ(Call(SYS_ftruncate, {fd, 2}), 0);
  EXPECT_EQ(Call(SYS_newfstatat, {fd, Str(""), kBuffer, AT_EMPTY_PATH}), 0);
  EXPECT_EQ(Get<abi::Stat>(kBuffer).size, 2);
}

TEST_F(HandlersTest, DescriptorsComeAndGo) {
  const uint64_t fd = Open("/file", O_RDONLY | O_CREAT | O_CLOEXEC);
  EXPECT_EQ(Call(SYS_fcntl, {fd, F_GETFD}), FD_CLOEXEC);
  EXPECT_EQ(Call(SYS_fcntl, {fd, F_GETFL}), 0100000);
  EXPECT_EQ(Call(SYS_dup2, {fd, fd}), int64_t(fd));
  EXPECT_EQ(Call(SYS_dup3, {fd, fd, 0}), -EINVAL);
  EXPECT_EQ(Call(SYS_fcntl, {fd, F_DUPFD, 50}), 50);
  EXPECT_EQ(Call(SYS_close, {50}), 0);
  EXPECT_EQ(Call(SYS_close, {50}), -EBADF);
  EXPECT_EQ(Call(SYS_write, {fd, kBuffer, 1}), -EBADF);
  EXPECT_EQ(Call(SYS_close_range, {5, 4, 0}), -EINVAL);
  EXPECT_EQ(Call(SYS_close_range, {0, ~0u, 0}), 0);
  EXPECT_EQ(Call(SYS_fcntl, {fd, F_GETFD}), -EBADF);
}

TEST_F(HandlersTest, OpenWithPathOnlyNamesAFile) {
  Open("/file", O_RDONLY | O_CREAT);
  const uint64_t fd = Open("/file", O_PATH);
  EXPECT_EQ(Call(SYS_read, {fd, kBuffer, 1}), -EBADF);
  EXPECT_EQ(Call(SYS_fchmod, {fd, 0600}), -EBADF);
  EXPECT_EQ(Call(SYS_fstat, {fd, kBuffer}), 0);
  EXPECT_EQ(Call(SYS_open, {Str("/d"), O_CREAT | O_DIRECTORY}), -EINVAL);
}

TEST_F(HandlersTest, NamesAndDirectories) {
  EXPECT_EQ(Call(SYS_mkdir, {Str("/dir"), 0755}), 0);
  EXPECT_EQ(Call(SYS_mkdir, {Str("/dir"), 0755}), -EEXIST);
  EXPECT_EQ(Call(SYS_chdir, {Str("/dir")}), 0);
  EXPECT_EQ(Call(SYS_getcwd, {kBuffer, 4}), -ERANGE);
  EXPECT_EQ(Call(SYS_getcwd, {kBuffer, 100}), 5);
  Open("inside", O_RDONLY | O_CREAT);
  EXPECT_EQ(Call(SYS_rename, {Str("inside"), Str("/moved")}), 0);
  EXPECT_EQ(Call(SYS_access, {Str("inside"), F_OK}), -ENOENT);
  EXPECT_EQ(Call(SYS_symlink, {Str("target"), Str("/link")}), 0);
  EXPECT_EQ(Call(SYS_readlink, {Str("/link"), kBuffer, 3}), 3);
  EXPECT_EQ(Call(SYS_readlink, {Str("/moved"), kBuffer, 3}), -EINVAL);
  const uint64_t root = Open("/", O_RDONLY | O_DIRECTORY);
  EXPECT_EQ(Call(SYS_getdents64, {root, kBuffer, 8}), -EINVAL);
  EXPECT_GT(Call(SYS_getdents64, {root, kBuffer, 4096}), 5 * 24);
  EXPECT_EQ(Call(SYS_getdents64, {root, kBuffer, 4096}), 0);
  EXPECT_EQ(Call(SYS_unlinkat, {uint64_t(AT_FDCWD), Str("/moved"), AT_REMOVEDIR}), -ENOTDIR);
}

TEST_F(HandlersTest, PipesAndPoll) {
  ASSERT_EQ(Call(SYS_pipe2, {kBuffer, O_NONBLOCK}), 0);
  const auto ends = Get<std::array<int, 2>>(kBuffer);
  const uint64_t reader = uint64_t(ends[0]), writer = uint64_t(ends[1]);
  EXPECT_EQ(Call(SYS_read, {reader, kBuffer, 1}), -EAGAIN);
  Put(std::array<abi::PollFd, 2>{{{.fd = ends[0], .events = POLLIN}, {.fd = 99, .events = POLLIN}}});
  EXPECT_EQ(Call(SYS_poll, {kBuffer, 2, uint64_t(-1)}), 1);
  EXPECT_EQ(Get<abi::PollFd>(kBuffer + 8).revents, POLLNVAL);
  EXPECT_EQ(Call(SYS_write, {writer, Str("x"), 1}), 1);
  EXPECT_EQ(Call(SYS_poll, {kBuffer, 1, 0}), 1);
  EXPECT_EQ(Get<abi::PollFd>(kBuffer).revents, POLLIN);
  EXPECT_EQ(Call(SYS_lseek, {reader, 0, SEEK_SET}), -ESPIPE);
  EXPECT_EQ(Call(SYS_close, {reader}), 0);
  {
    // The first process does not hear of signals without a handler.
    absl::MutexLock lock(&kernel_.mu());
    task_->group().handlers->actions[SIGPIPE].handler = 0x400100;
  }
  EXPECT_EQ(Call(SYS_write, {writer, Str("x"), 1}), -EPIPE);
  absl::MutexLock lock(&kernel_.mu());
  EXPECT_TRUE(task_->pending_signals().pending().has(SIGPIPE));
}

TEST_F(HandlersTest, RecordLocksOfOneProcessDoNotConflict) {
  const uint64_t fd = Open("/file", O_RDWR | O_CREAT);
  const uint64_t flock = Put(abi::Flock{.type = F_WRLCK, .start = 0, .length = 10});
  EXPECT_EQ(Call(SYS_fcntl, {fd, F_SETLK, flock}), 0);
  EXPECT_EQ(Call(SYS_fcntl, {fd, F_SETLK, flock}), 0);
  // A lock of the open description is somebody else's.
  EXPECT_EQ(Call(SYS_fcntl, {fd, F_OFD_SETLK, flock}), -EAGAIN);
  EXPECT_EQ(Call(SYS_fcntl, {fd, F_OFD_GETLK, flock}), 0);
  EXPECT_EQ(Get<abi::Flock>(flock).pid, 1);
  // Closing any descriptor of the file drops them.
  EXPECT_EQ(Call(SYS_close, {Open("/file", O_RDONLY)}), 0);
  EXPECT_EQ(Call(SYS_fcntl, {fd, F_OFD_SETLK, Put(abi::Flock{.type = F_WRLCK})}), 0);
  EXPECT_EQ(Call(SYS_close, {fd}), 0);
  const uint64_t again = Open("/file", O_RDWR);
  EXPECT_EQ(Call(SYS_fcntl, {again, F_SETLK, Put(abi::Flock{.type = F_WRLCK})}), 0);
}

TEST_F(HandlersTest, MappingsAreCheckedBeforeTheHostMakesThem) {
  const uint64_t fd = Open("/file", O_RDWR | O_CREAT);
  Call(SYS_ftruncate, {fd, 4096});
  const Verdict mapped = Dispatch(SYS_mmap, {0, 4096, PROT_READ, MAP_SHARED, fd, 0});
  EXPECT_EQ(mapped.kind, Verdict::Kind::kContinue);
  EXPECT_GE(mapped.host_fd, 0);
  EXPECT_EQ(mapped.guest_fd, int(fd));
  EXPECT_EQ(Call(SYS_mmap, {0, 4096, PROT_READ, MAP_SHARED, fd, 1}), -EINVAL);
  EXPECT_EQ(Call(SYS_mmap, {0, 0, PROT_READ, MAP_SHARED, fd, 0}), -EINVAL);
  EXPECT_EQ(Call(SYS_mmap, {0, 4096, PROT_READ, MAP_PRIVATE, 99, 0}), -EBADF);
  const uint64_t read_only = Open("/file", O_RDONLY);
  EXPECT_EQ(Call(SYS_mmap, {0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, read_only, 0}), -EACCES);
  const uint64_t end = task_->mem().space().user_end();
  EXPECT_EQ(Call(SYS_munmap, {end - 4096, 8192}), -EINVAL);
  EXPECT_EQ(Call(SYS_mprotect, {end, 4096, PROT_READ}), -ENOMEM);
  EXPECT_EQ(Call(SYS_mremap, {kScratch, 4096, end, MREMAP_MAYMOVE}), -ENOMEM);
  EXPECT_EQ(Call(SYS_mincore, {kScratch, 4096, end}), -EFAULT);
  EXPECT_EQ(Call(SYS_madvise, {kScratch, 4096, 12345}), -EINVAL);
  EXPECT_EQ(Call(SYS_arch_prctl, {0x3001, 0}), -EINVAL);
}

TEST_F(HandlersTest, IdsFollowTheCapabilityRules) {
  EXPECT_EQ(Call(SYS_setresuid, {1000, 1000, 2000}), 0);
  EXPECT_EQ(task_->creds().effective, 0u);
  EXPECT_EQ(Call(SYS_setuid, {0}), -EPERM);
  EXPECT_EQ(Call(SYS_setuid, {2000}), 0);
  EXPECT_EQ(Call(SYS_geteuid), 2000);
  EXPECT_EQ(Call(SYS_getuid), 1000);
  EXPECT_EQ(Call(SYS_setgroups, {0, 0}), -EPERM);
  EXPECT_EQ(Call(SYS_sethostname, {Str("x"), 1}), -EPERM);
}

TEST_F(HandlersTest, TimeAndLimits) {
  EXPECT_EQ(Call(SYS_nanosleep, {Put(abi::Timespec{0, 1000}), 0}), 0);
  EXPECT_EQ(Call(SYS_nanosleep, {Put(abi::Timespec{0, 1'000'000'000}), 0}), -EINVAL);
  EXPECT_EQ(Call(SYS_clock_gettime, {CLOCK_MONOTONIC, kBuffer}), 0);
  EXPECT_EQ(Call(SYS_prlimit64, {0, RLIMIT_NOFILE, Put(abi::Rlimit{8, 8}), 0}), 0);
  EXPECT_EQ(Call(SYS_dup2, {0, 8}), -EBADF);
  EXPECT_EQ(Call(SYS_setrlimit, {RLIMIT_NOFILE, Put(abi::Rlimit{9, 8})}), -EINVAL);
  EXPECT_EQ(Call(SYS_getrandom, {kBuffer, 300, 0}), 300);
  EXPECT_EQ(Call(SYS_getrandom, {kBuffer, 1, 0x80}), -EINVAL);
  EXPECT_EQ(Call(SYS_uname, {kBuffer}), 0);
  EXPECT_STREQ(Get<abi::Utsname>(kBuffer).sysname, "Linux");
}

TEST_F(HandlersTest, WhatIsMissingAnswersItsErrno) {
  EXPECT_EQ(Call(SYS_socket, {AF_VSOCK, 1, 0}), -EAFNOSUPPORT);
  EXPECT_EQ(Call(SYS_ptrace), -EPERM);
  EXPECT_EQ(Call(SYS_add_key), -ENOSYS);
  EXPECT_EQ(Call(400), -ENOSYS);
  EXPECT_EQ(Call(~uint64_t{0}), -ENOSYS);
}

TEST_F(HandlersTest, CopiesBetweenFiles) {
  const uint64_t in = Open("/in", O_RDWR | O_CREAT), out = Open("/out", O_RDWR | O_CREAT);
  EXPECT_EQ(Call(SYS_write, {in, Str("0123456789"), 10}), 10);
  EXPECT_EQ(Call(SYS_sendfile, {out, in, Put(int64_t{4}), 100}), 6);
  EXPECT_EQ(Get<int64_t>(kBuffer), 10);
  EXPECT_EQ(Call(SYS_copy_file_range, {in, Put(int64_t{0}), in, 0, 11, 0}), -EINVAL);
  EXPECT_EQ(Call(SYS_copy_file_range, {in, Put(int64_t{0}), out, 0, 4, 0}), 4);
  EXPECT_EQ(Call(SYS_lseek, {out, 0, SEEK_CUR}), 10);
}

}  // namespace
}  // namespace syscalls
