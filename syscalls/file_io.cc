#include "syscalls/file_io.h"

#include <poll.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "sentry/net/socket.h"
#include "sentry/task/kernel.h"
#include "syscalls/socket_message.h"

namespace syscalls {
namespace {

using sentry::IoDst;
using sentry::IoSrc;
using sentry::RetryWhileBlocked;

// A pipe or terminal takes a part when it is full; a blocking write goes on with the rest.
bool ContinuesShortWrites(File& file) {
  if (file.seekable() || file.nonblocking()) return false;
  if (file.is_terminal()) return true;
  const auto attributes = file.inode().GetAttributes();
  return attributes.ok() && S_ISFIFO(attributes->mode);
}

// With RLIMIT_FSIZE in force a write of a regular file ends there; one that starts there fails.
Status ApplyWriteLimit(Task& task, File& file, IoSrc& src, std::optional<int64_t> offset,
                       std::optional<bool> append) {
  const uint64_t limit = task.Limit(RLIMIT_FSIZE);
  if (limit == RLIM_INFINITY || !file.seekable()) return kOk;
  const sentry::Attributes attributes = TRY(file.inode().GetAttributes());
  if (!S_ISREG(attributes.mode)) return kOk;
  uint64_t start = attributes.size;
  const bool appends = offset ? *offset == sentry::SeekableFile::kAppend
                              : append.value_or(file.flags().has(O_APPEND));
  if (!appends) {
    start = static_cast<uint64_t>(offset ? *offset : TRY(file.Seek(0, SEEK_CUR)));
  }
  if (start >= limit) return src.remaining() == 0 ? Status(kOk) : CheckFileSize(task, start + 1);
  src.Limit(limit - start);
  return kOk;
}

}  // namespace

Result<Ref<File>> GetReadable(Task& task, Fd fd) {
  Ref<File> file = TRY(task.fds().Get(fd));
  if (!file->flags().readable()) return Errno(EBADF);
  return file;
}

Result<Ref<File>> GetWritable(Task& task, Fd fd) {
  Ref<File> file = TRY(task.fds().Get(fd));
  if (!file->flags().writable()) return Errno(EBADF);
  return file;
}

void RaiseSignal(Task& task, int sig) {
  task.kernel().SendTo(task, sentry::MakeSignalInfo(sig, SI_USER, task.tgid(), task.creds().uid));
}

Status CheckFileSize(Task& task, uint64_t end) {
  if (end <= task.Limit(RLIMIT_FSIZE)) return kOk;
  RaiseSignal(task, SIGXFSZ);
  return Errno(EFBIG);
}

Result<int64_t> ReadFile(Task& task, File& file, IoDst& dst, std::optional<int64_t> offset) {
  if (auto* const socket = sentry::FileCast<sentry::Socket>(file)) {
    sentry::IncomingMessage message;
    return ReceiveAll(task, *socket, dst, message);
  }
  task.group().io.reads.fetch_add(1, std::memory_order_relaxed);
  size_t size = 0;
  if (file.is_terminal() && !offset) {
    TRY(file.CheckTerminalAccess(task, File::TerminalAccess::kRead));
    size = TRY(file.ReadWaiting(task, dst));
  } else {
    size = TRY(RetryWhileBlocked(
        task, file, POLLIN, [&] { return offset ? file.ReadAt(dst, *offset) : file.Read(dst); },
        sentry::Deadline::Never(), file.reader_turn()));
  }
  task.group().io.read_bytes.fetch_add(size, std::memory_order_relaxed);
  if (size != 0) sentry::notify::OnFile(file, IN_ACCESS);
  return static_cast<int64_t>(size);
}

Result<int64_t> WriteFile(Task& task, File& file, IoSrc& src, std::optional<int64_t> offset,
                          std::optional<bool> append) {
  const auto write = [&] {
    if (offset) return file.WriteAt(src, *offset);
    return append ? file.WriteOnce(src, *append) : file.Write(src);
  };
  if (auto* const socket = sentry::FileCast<sentry::Socket>(file)) {
    sentry::OutgoingMessage message;
    return SendAll(task, *socket, src, message);
  }
  task.group().io.writes.fetch_add(1, std::memory_order_relaxed);
  if (file.is_terminal()) TRY(file.CheckTerminalAccess(task, File::TerminalAccess::kWrite));
  TRY(ApplyWriteLimit(task, file, src, offset, append));
  int64_t total = 0;
  for (;;) {
    auto result = RetryWhileBlocked(task, file, POLLOUT, write);
    if (!result.ok()) {
      if (result.error() == Errno(EPIPE)) RaiseSignal(task, SIGPIPE);
      if (total != 0) return total;
      return result.error();
    }
    total += static_cast<int64_t>(*result);
    if (*result != 0) sentry::notify::OnFile(file, IN_MODIFY);
    task.group().io.written_bytes.fetch_add(*result, std::memory_order_relaxed);
    if (*result == 0 || src.remaining() == 0 || !ContinuesShortWrites(file)) return total;
  }
}

}  // namespace syscalls
