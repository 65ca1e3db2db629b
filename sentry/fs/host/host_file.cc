#include "sentry/fs/host/host_file.h"

#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_format.h"
#include "sentry/fs/host/host_poller.h"
#include "sentry/fs/host/host_terminal.h"
#include "sentry/task/job_control.h"
#include "sentry/task/kernel.h"
#include "sentry/task/task.h"

namespace sentry {
namespace {

// What travels in one host call, whatever the application asks for.
constexpr size_t kMaxTransfer = 65536;

Attributes FromStat(const struct stat& st) {
  return {.dev = st.st_dev,
          .ino = st.st_ino,
          .mode = st.st_mode,
          .nlink = static_cast<uint32_t>(st.st_nlink),
          .uid = st.st_uid,
          .gid = st.st_gid,
          .rdev = st.st_rdev,
          .size = static_cast<uint64_t>(st.st_size),
          .blocks = static_cast<uint64_t>(st.st_blocks),
          .blksize = static_cast<uint32_t>(st.st_blksize),
          .atime = st.st_atim,
          .mtime = st.st_mtim,
          .ctime = st.st_ctim,
          .btime = st.st_ctim};
}

// The inode behind a donated descriptor, with a descriptor of its own so that /proc/PID/fd (and so
// /dev/stdout) can open it again. Such an open shares the position, where there is one: the sentry
// has no path to open afresh.
class HostInode final : public Inode {
 public:
  HostInode(UniqueFd fd, uint32_t mode, OpenFlags access, Ref<HostTerminal> terminal,
            std::optional<HostFile::Owner> owner)
      : fd_(std::move(fd)),
        mode_(mode),
        access_(access),
        terminal_(std::move(terminal)),
        owner_(owner) {}

  Result<Attributes> GetAttributes() override {
    struct stat st {};
    if (fstat(fd_.get(), &st) != 0) return Errno::Last();
    Attributes attributes = FromStat(st);
    if (terminal_) attributes.rdev = HostTerminal::kDevice;
    if (owner_.has_value() && !S_ISREG(mode_) && !S_ISDIR(mode_)) {
      attributes.uid = owner_->uid;
      attributes.gid = owner_->gid;
    }
    return attributes;
  }
  Result<Ref<File>> Open(OpenFlags flags) override {
    if (S_ISSOCK(mode_)) return Errno(ENXIO);
    if (flags.readable() && !access_.readable()) return Errno(EACCES);
    if (flags.writable() && !access_.writable()) return Errno(EACCES);
    UniqueFd fd(fcntl(fd_.get(), F_DUPFD_CLOEXEC, 0));
    if (!fd.valid()) return Errno::Last();
    if (Task* const task = Task::Current(); task != nullptr && terminal_) {
      ClaimOnOpen(*task, *terminal_, flags);
    }
    return Ref<File>(MakeRef<HostFile>(Ref<Inode>::Share(*this), std::move(fd),
                                       flags.Without(O_NOCTTY), mode_ & S_IFMT, terminal_));
  }
  bool OpensItself() const override { return true; }

 private:
  const UniqueFd fd_;
  const uint32_t mode_;
  const OpenFlags access_;  // Of the donated description.
  const Ref<HostTerminal> terminal_;
  const std::optional<HostFile::Owner> owner_;
};

}  // namespace

Status SyncOnHost(int fd) {
  Task* const task = Task::Current();
  platform::Platform* const platform = task == nullptr ? nullptr : &task->kernel().platform();
  if (platform != nullptr) platform->EnterBlocking();
  const Status synced = fsync(fd) == 0 ? Status(kOk) : Errno::Last();
  if (platform != nullptr) platform->LeaveBlocking();
  return synced;
}

Result<Ref<File>> HostFile::Create(UniqueFd fd, std::optional<Owner> owner) {
  struct stat st {};
  if (fstat(fd.get(), &st) != 0) return Errno::Last();
  const int host_flags = fcntl(fd.get(), F_GETFL);
  if (host_flags < 0) return Errno::Last();
  // Whether the host's description blocks is its owner's business: to the application it does.
  const OpenFlags flags(static_cast<uint32_t>(host_flags) & (O_ACCMODE | O_APPEND));
  struct winsize unused {};
  Ref<HostTerminal> terminal;
  if (S_ISCHR(st.st_mode) && ioctl(fd.get(), TIOCGWINSZ, &unused) == 0) {
    terminal = HostTerminal::Of(fd.get(), st.st_rdev);
  }
  UniqueFd file_fd(fcntl(fd.get(), F_DUPFD_CLOEXEC, 0));
  if (!file_fd.valid()) return Errno::Last();
  const Ref<Inode> inode = MakeRef<HostInode>(std::move(fd), st.st_mode, flags, terminal, owner);
  return Ref<File>(
      MakeRef<HostFile>(inode, std::move(file_fd), flags, st.st_mode & S_IFMT, terminal));
}

// A regular file is always ready, and so are devices that cannot be polled (poll(2) says so).
HostFile::HostFile(Ref<Inode> inode, UniqueFd fd, OpenFlags flags, uint32_t type,
                   Ref<HostTerminal> terminal)
    : File(std::move(inode), flags),
      fd_(std::move(fd)),
      type_(type),
      terminal_(std::move(terminal)),
      seekable_(lseek(fd_.get(), 0, SEEK_CUR) >= 0 && !terminal_),
      always_ready_(type == S_IFREG || type == S_IFDIR || type == S_IFBLK) {}

HostFile::~HostFile() { HostPoller::Get().Remove(fd_.get()); }

Status HostFile::ReadyFor(short events) {
  if (always_ready_) return kOk;
  pollfd pfd{.fd = fd_.get(), .events = events, .revents = 0};
  if (poll(&pfd, 1, 0) > 0) return kOk;
  // News comes once: whoever was woken for bytes that somebody else took has to ask again.
  if (!queue_.empty()) ArmHostEvents(static_cast<uint32_t>(events));
  return Errno(EAGAIN);
}

// Between poll(2) and the read another process may take the bytes; the call then blocks this worker
// until more arrive, as it would block any two programs that share a terminal.
Result<size_t> HostFile::Read(IoDst& dst) {
  if (type_ == S_IFDIR) return Errno(EISDIR);
  if (dst.remaining() == 0) return size_t{0};
  TRY(ReadyFor(POLLIN));
  size_t size = std::min(dst.remaining(), kMaxTransfer);
  if (terminal_) size = terminal_->ReadableAtOnce(size);
  const auto buffer = std::make_unique_for_overwrite<std::byte[]>(size);
  const ssize_t count = read(fd_.get(), buffer.get(), size);
  if (count < 0) return Errno::Last() == Errno(EINTR) ? Errno(EAGAIN) : Errno::Last();
  if (count == 0) return size_t{0};
  return dst.CopyOut({buffer.get(), static_cast<size_t>(count)});
}

Result<size_t> HostFile::ReadWaiting(Task& task, IoDst& dst) {
  const ReadRules rules = terminal_ ? terminal_->rules() : ReadRules();
  return ReadByRules(task, *this, rules, dst, [&] { return Read(dst); });
}

Result<size_t> HostFile::Write(IoSrc& src) {
  const size_t total = src.remaining();
  if (total == 0) return size_t{0};
  TRY(ReadyFor(POLLOUT));
  // A pipe that polls writable takes PIPE_BUF bytes without blocking; terminals and sockets may
  // take fewer than offered and then block for a moment.
  const size_t limit = always_ready_ || terminal_ ? kMaxTransfer : size_t{4096};
  const size_t size = std::min(total, limit);
  const auto buffer = std::make_unique_for_overwrite<std::byte[]>(size);
  const size_t copied = TRY(src.CopyIn({buffer.get(), size}));
  const ssize_t count = write(fd_.get(), buffer.get(), copied);
  if (count < 0) {
    const Errno error = Errno::Last();
    src.Unread(copied);
    return error == Errno(EINTR) ? Errno(EAGAIN) : error;
  }
  src.Unread(copied - static_cast<size_t>(count));
  return static_cast<size_t>(count);
}

Result<size_t> HostFile::ReadAt(IoDst& dst, int64_t offset) {
  if (!seekable_) return Errno(ESPIPE);
  const size_t size = std::min(dst.remaining(), kMaxTransfer);
  const auto buffer = std::make_unique_for_overwrite<std::byte[]>(size);
  const ssize_t count = pread(fd_.get(), buffer.get(), size, offset);
  if (count < 0) return Errno::Last();
  if (count == 0) return size_t{0};
  return dst.CopyOut({buffer.get(), static_cast<size_t>(count)});
}

Result<size_t> HostFile::WriteAt(IoSrc& src, int64_t offset) {
  if (!seekable_) return Errno(ESPIPE);
  const size_t size = std::min(src.remaining(), kMaxTransfer);
  const auto buffer = std::make_unique_for_overwrite<std::byte[]>(size);
  if (size == 0) return size_t{0};
  const size_t copied = TRY(src.CopyIn({buffer.get(), size}));
  const ssize_t count = pwrite(fd_.get(), buffer.get(), copied, offset);
  if (count < 0) {
    const Errno error = Errno::Last();
    src.Unread(copied);
    return error;
  }
  src.Unread(copied - static_cast<size_t>(count));
  return static_cast<size_t>(count);
}

Result<int64_t> HostFile::Seek(int64_t offset, int whence) {
  if (!seekable_) return Errno(ESPIPE);
  const int64_t position = lseek(fd_.get(), offset, whence);
  if (position < 0) return Errno::Last();
  return position;
}

Status HostFile::Truncate(uint64_t size) {
  if (type_ != S_IFREG) return Errno(EINVAL);
  if (ftruncate(fd_.get(), static_cast<int64_t>(size)) != 0) return Errno::Last();
  return kOk;
}

Status HostFile::Sync() { return SyncOnHost(fd_.get()); }

Result<int64_t> HostFile::Ioctl(Task& task, uint32_t command, uint64_t arg) {
  if (command == FIONREAD) {
    int32_t count = 0;
    if (ioctl(fd_.get(), FIONREAD, &count) != 0) return Errno::Last();
    TRY(task.mem().Write(UserPtr<int32_t>{UserAddr{arg}}, count));
    return int64_t{0};
  }
  if (!terminal_) return Errno(ENOTTY);
  return terminal_->Ioctl(task, *this, command, arg);
}

uint32_t HostFile::Poll() {
  if (always_ready_) return POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM;
  constexpr short kAll = POLLIN | POLLPRI | POLLOUT | POLLRDNORM | POLLWRNORM | POLLRDHUP;
  pollfd pfd{.fd = fd_.get(), .events = kAll, .revents = 0};
  if (poll(&pfd, 1, 0) <= 0) return 0;
  return static_cast<uint16_t>(pfd.revents);
}

void HostFile::ArmHostEvents(uint32_t events) {
  if (always_ready_) return;
  // EPERM: the host calls it always ready (/dev/null), and poll(2) said the same.
  const Status armed = HostPoller::Get().Arm(fd_.get(), queue_, events);
  if (!armed.ok()) queue_.Notify(events);
}

Result<int> HostFile::HostFdForMapping(bool shared_write) {
  if (type_ != S_IFREG) return Errno(ENODEV);
  return fd_.get();
}

std::string HostFile::AnonymousName() const {
  const auto attributes = inode().GetAttributes();
  const uint64_t number = attributes.ok() ? attributes->ino : 0;
  if (type_ == S_IFIFO) return absl::StrFormat("pipe:[%u]", number);
  if (type_ == S_IFSOCK) return absl::StrFormat("socket:[%u]", number);
  if (terminal_) return "/dev/console";
  return absl::StrFormat("host:[%u]", number);
}

Status HostFile::CheckTerminalAccess(Task& task, TerminalAccess access) {
  if (!terminal_) return kOk;
  if (access == TerminalAccess::kWrite && !terminal_->StopsOutput()) return kOk;
  return CheckBackgroundAccess(task, *terminal_,
                               access == TerminalAccess::kRead ? SIGTTIN : SIGTTOU);
}

}  // namespace sentry
