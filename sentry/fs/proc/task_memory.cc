// What /proc/PID tells of a process's memory: cmdline, environ, auxv, mem, pagemap.
#include <algorithm>
#include <array>
#include <span>
#include <vector>

#include "sentry/fs/proc/proc_internal.h"
#include "sentry/task/task.h"

namespace sentry::proc {
namespace {

constexpr uint64_t kMaxBytes = 4 << 20;  // More than arguments and environment may take.

// Application memory as a text; what cannot be read ends it.
std::string ReadRange(Mm& mm, uint64_t begin, uint64_t end) {
  if (begin == 0 || end <= begin) return {};
  std::string text(std::min(end - begin, kMaxBytes), '\0');
  text.resize(mm.memory().ReadSome(UserAddr{begin}, std::as_writable_bytes(std::span(text))));
  return text;
}

// The memory of a process as a file; positions are addresses. It stays that of the program which
// ran when it was opened, and is empty once that has gone. Protections hold, unlike in Linux, where
// a debugger may write to text.
class MemFile final : public File {
 public:
  MemFile(const Subject& subject, Ref<Inode> inode, Ref<Mm> mm, OpenFlags flags)
      : File(std::move(inode), flags), subject_(subject), mm_(std::move(mm)) {}

  Result<size_t> ReadAt(IoDst& dst, int64_t offset) override {
    return Transfer(dst.remaining(), offset, [&](uint64_t addr, std::span<std::byte> page) {
      const size_t read = mm_->memory().ReadSome(UserAddr{addr}, page);
      return read == 0 ? Result<size_t>(size_t{0}) : dst.CopyOut(page.first(read));
    });
  }
  Result<size_t> WriteAt(IoSrc& src, int64_t offset) override {
    return Transfer(src.remaining(), offset,
                    [&](uint64_t addr, std::span<std::byte> page) -> Result<size_t> {
                      const size_t size = TRY(src.CopyIn(page));
                      return mm_->memory().space().Write(addr, page.first(size));
                    });
  }
  Result<size_t> Read(IoDst& dst) override {
    absl::MutexLock lock(&position_mu_);
    return Advance(ReadAt(dst, position_));
  }
  Result<size_t> Write(IoSrc& src) override {
    absl::MutexLock lock(&position_mu_);
    return Advance(WriteAt(src, position_));
  }
  // Addresses of the upper half are positions as well.
  Result<int64_t> Seek(int64_t offset, int whence) override {
    absl::MutexLock lock(&position_mu_);
    if (whence != SEEK_SET && whence != SEEK_CUR) return Errno(EINVAL);
    position_ = whence == SEEK_SET ? offset : position_ + offset;
    return position_;
  }
  bool seekable() const override { return true; }

 private:
  // A page at a time; what was moved before the first page that is not there counts.
  template <typename Move>
  Result<size_t> Transfer(size_t size, int64_t offset, Move move) {
    const auto now = subject_.Memory();
    if (!now.ok() || !*now || (*now)->get() != mm_.get()) return size_t{0};
    std::array<std::byte, 4096> page;
    size_t total = 0;
    while (total < size) {
      const uint64_t addr = static_cast<uint64_t>(offset) + total;
      const size_t in_page = std::min<size_t>(page.size() - addr % page.size(), size - total);
      const Result<size_t> moved = move(addr, std::span(page).first(in_page));
      if (!moved.ok() && total == 0) return moved;
      if (!moved.ok() || *moved == 0) break;
      total += *moved;
      if (*moved < in_page) break;
    }
    if (total == 0 && size != 0) return Errno(EIO);
    return total;
  }
  Result<size_t> Advance(Result<size_t> done) ABSL_EXCLUSIVE_LOCKS_REQUIRED(position_mu_) {
    if (done.ok()) position_ += static_cast<int64_t>(*done);
    return done;
  }

  const Subject subject_;
  const Ref<Mm> mm_;
  absl::Mutex position_mu_;
  int64_t position_ ABSL_GUARDED_BY(position_mu_) = 0;
};

// What the host says of each page: one word of 8 bytes, at 8 times the page's number. Where in the
// host's memory it is is nobody's business: 0, as Linux tells who lacks CAP_SYS_ADMIN. Linux:
// fs/proc/task_mmu.c.
class PagemapFile final : public File {
 public:
  PagemapFile(const Subject& subject, Ref<Inode> inode, Ref<Mm> mm, OpenFlags flags)
      : File(std::move(inode), flags), subject_(subject), mm_(std::move(mm)) {}

  Result<size_t> ReadAt(IoDst& dst, int64_t offset) override {
    constexpr uint64_t kEntry = 8, kPages = 0x7ffffffff000 / 4096;
    const auto now = subject_.Memory();
    if (!now.ok() || !*now || (*now)->get() != mm_.get()) return size_t{0};
    const auto begin = static_cast<uint64_t>(offset);
    if (begin % kEntry != 0 || dst.remaining() % kEntry != 0) return Errno(EINVAL);
    if (begin >= kPages * kEntry) return size_t{0};
    const size_t size = std::min<uint64_t>(dst.remaining(), kPages * kEntry - begin);
    constexpr size_t kMostAtOnce = 8192;
    constexpr uint64_t kFrame = (uint64_t{1} << 55) - 1;
    std::vector<uint64_t> entries(std::min(size / kEntry, kMostAtOnce));
    size_t total = 0;
    while (total < size) {
      const auto words =
          std::span(entries).first(std::min(entries.size(), (size - total) / kEntry));
      const auto part = std::as_writable_bytes(words);
      TRY(mm_->memory().space().ReadPagemap(begin + total, part));
      for (uint64_t& word : words) word &= ~kFrame;
      const Result<size_t> copied = dst.CopyOut(part);
      if (!copied.ok() && total == 0) return copied;
      if (!copied.ok()) break;
      total += *copied;
      if (*copied < part.size()) break;
    }
    return total;
  }
  Result<size_t> Read(IoDst& dst) override {
    absl::MutexLock lock(&position_mu_);
    const Result<size_t> done = ReadAt(dst, position_);
    if (done.ok()) position_ += static_cast<int64_t>(*done);
    return done;
  }
  Result<int64_t> Seek(int64_t offset, int whence) override {
    absl::MutexLock lock(&position_mu_);
    if (whence != SEEK_SET && whence != SEEK_CUR) return Errno(EINVAL);
    int64_t to = offset;
    if (whence == SEEK_CUR && __builtin_add_overflow(position_, offset, &to))
      return Errno(EOVERFLOW);
    position_ = to;
    return position_;
  }
  bool seekable() const override { return true; }

 private:
  const Subject subject_;
  const Ref<Mm> mm_;
  absl::Mutex position_mu_;
  int64_t position_ ABSL_GUARDED_BY(position_mu_) = 0;
};

}  // namespace

// A program that writes a title over its arguments may go on into the environment: the last byte of
// the arguments then is no NUL (setproctitle(3)).
Result<std::string> CmdlineText(const Subject& subject) {
  const auto mm = TRY(subject.Memory());
  if (!mm) return std::string();  // A zombie's is empty.
  const Mm::Layout layout = (*mm)->layout();
  std::string text = ReadRange(**mm, layout.arg_start, layout.arg_end);
  if (text.empty() || text.back() == '\0') return text;
  if (layout.env_start == layout.arg_end) {
    text += ReadRange(**mm, layout.env_start, layout.env_end);
  }
  const size_t nul = text.find('\0');
  return nul == std::string::npos ? text : text.substr(0, nul + 1);
}

Result<std::string> EnvironText(const Subject& subject) {
  const auto mm = TRY(subject.Memory());
  if (!mm) return std::string();
  const Mm::Layout layout = (*mm)->layout();
  return ReadRange(**mm, layout.env_start, layout.env_end);
}

Result<std::string> AuxvText(const Subject& subject) {
  const auto mm = TRY(subject.Memory());
  if (!mm) return std::string();
  const Mm::Layout layout = (*mm)->layout();
  return ReadRange(**mm, layout.auxv, layout.auxv + layout.auxv_size);
}

Result<Ref<File>> OpenMem(const Subject& subject, Ref<Inode> inode, OpenFlags flags) {
  TRY(CheckReaderMayInspect(subject));
  const auto mm = TRY(subject.Memory());
  if (!mm) return Errno(ESRCH);
  return Ref<File>(MakeRef<MemFile>(subject, std::move(inode), *mm, flags));
}

Result<Ref<File>> OpenPagemap(const Subject& subject, Ref<Inode> inode, OpenFlags flags) {
  TRY(CheckReaderMayInspect(subject));
  const auto mm = TRY(subject.Memory());
  if (!mm) return Errno(ESRCH);
  return Ref<File>(MakeRef<PagemapFile>(subject, std::move(inode), *mm, flags));
}

}  // namespace sentry::proc
