#include "sentry/tty/pty_file.h"

#include <signal.h>

#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"
#include "sentry/task/job_control.h"
#include "sentry/task/task.h"

namespace sentry {
namespace {

using Chunk = std::array<uint8_t, LineDiscipline::kBufferSize>;

// Takes bytes out of the application and gives back what the line would not have.
template <typename Put>
Result<size_t> WriteThrough(IoSrc& src, Put put) {
  if (src.remaining() == 0) return size_t{0};
  Chunk chunk;
  const size_t size = std::min(src.remaining(), chunk.size());
  const size_t copied = TRY(src.CopyIn(std::as_writable_bytes(std::span(chunk).first(size))));
  const Result<size_t> taken = put(std::span<const uint8_t>(chunk).first(copied));
  src.Unread(copied - (taken.ok() ? *taken : 0));
  return taken;
}

template <typename Get>
Result<size_t> ReadThrough(IoDst& dst, Get get) {
  if (dst.remaining() == 0) return size_t{0};
  Chunk chunk;
  const size_t count = TRY(get(std::span(chunk).first(std::min(dst.remaining(), chunk.size()))));
  if (count == 0) return size_t{0};
  return dst.CopyOut(std::as_bytes(std::span(chunk).first(count)));
}

}  // namespace

std::string PtyFile::AnonymousName() const {
  if (end_ == Pty::End::kMaster) return "/dev/ptmx";
  return absl::StrCat("/dev/pts/", pty_->index());
}

Status PtyFile::CheckChange(Task& task) { return CheckBackgroundAccess(task, *pty_, SIGTTOU); }

PtySlaveFile::PtySlaveFile(Ref<Inode> inode, Ref<Pty> pty, OpenFlags flags)
    : PtyFile(std::move(inode), std::move(pty), flags, Pty::End::kSlave),
      session_(pty_->OpenSlave()) {}

PtySlaveFile::~PtySlaveFile() { OnLastClose(); }

void PtySlaveFile::OnLastClose() {
  if (open_.exchange(false)) pty_->CloseSlave(session_);
}

Result<size_t> PtySlaveFile::Read(IoDst& dst) {
  return ReadThrough(dst, [&](auto bytes) { return pty_->SlaveRead(bytes, session_); });
}

Result<size_t> PtySlaveFile::ReadWaiting(Task& task, IoDst& dst) {
  if (dst.remaining() == 0) return size_t{0};
  return ReadByRules(task, *this, pty_->SlaveRules(), dst, [&] { return Read(dst); });
}

Result<size_t> PtySlaveFile::Write(IoSrc& src) {
  return WriteThrough(src, [&](auto bytes) { return pty_->SlaveWrite(bytes, session_); });
}

Status PtySlaveFile::CheckTerminalAccess(Task& task, TerminalAccess access) {
  if (IsCutOff()) return kOk;
  const bool write = access == TerminalAccess::kWrite;
  if (write && (pty_->termios().lflag & TOSTOP) == 0) return kOk;
  return CheckBackgroundAccess(task, *pty_, access == TerminalAccess::kRead ? SIGTTIN : SIGTTOU);
}

Result<size_t> PtyMasterFile::Read(IoDst& dst) {
  return ReadThrough(dst, [&](auto bytes) { return pty_->MasterRead(bytes); });
}

Result<size_t> PtyMasterFile::ReadWaiting(Task& task, IoDst& dst) {
  return ReadByRules(task, *this, ReadRules(), dst, [&] { return Read(dst); });
}

Result<size_t> PtyMasterFile::Write(IoSrc& src) {
  return WriteThrough(src, [&](auto bytes) { return pty_->MasterWrite(bytes); });
}

}  // namespace sentry
