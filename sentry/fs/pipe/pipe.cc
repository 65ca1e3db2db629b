#include "sentry/fs/pipe/pipe.h"

#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "absl/strings/str_format.h"
#include "base/large_buffer.h"
#include "sentry/fs/anon/anon_inode.h"
#include "sentry/task/task.h"

namespace sentry {
namespace {

// Bytes that travel between the application and the sentry in one go: small amounts on the stack,
// others in a block of at most 64 KiB, whatever the application asks for.
class Bounce {
 public:
  static constexpr size_t kMax = 65536;
  explicit Bounce(size_t size) : size_(std::min(size, kMax)) {
    if (size_ > small_.size()) large_ = static_cast<std::byte*>(LargeBuffer::Allocate());
  }
  ~Bounce() {
    if (large_ != nullptr) LargeBuffer::Free(large_);
  }
  Bounce(const Bounce&) = delete;
  std::span<std::byte> bytes() {
    return {large_ == nullptr ? small_.data() : large_,
            large_ == nullptr ? std::min(size_, small_.size()) : size_};
  }

 private:
  const size_t size_;
  std::array<std::byte, kPipePage> small_;
  std::byte* large_ = nullptr;  // Without memory for it the small one does.
};

// The inode of an anonymous pipe, which /proc/PID/fd/N (and so /dev/stdout) opens again.
class PipeInode final : public AnonInode {
 public:
  explicit PipeInode(Ref<Pipe> pipe)
      : AnonInode(kPipeDevice, S_IFIFO | 0600), pipe_(std::move(pipe)) {}
  // Unlike a fifo's, this open waits for nobody.
  Result<Ref<File>> Open(OpenFlags flags) override {
    return Ref<File>(MakeRef<PipeFile>(Ref<Inode>::Share(*this), pipe_, flags));
  }
  bool OpensItself() const override { return true; }

 private:
  const Ref<Pipe> pipe_;
};

uint32_t EndsOf(OpenFlags flags) {
  return (flags.readable() ? Pipe::kRead : 0u) | (flags.writable() ? Pipe::kWrite : 0u);
}

}  // namespace

Result<size_t> Pipe::Read(IoDst& dst) {
  if (dst.remaining() == 0) return size_t{0};
  bool left = false;
  const Result<size_t> read = ReadPieces(dst, left);
  if (left) queue_.PassOn(POLLIN | POLLRDNORM);
  return read;
}

Result<size_t> Pipe::ReadPieces(IoDst& dst, bool& left) {
  size_t done = 0;
  while (dst.remaining() > 0) {
    size_t available;
    bool packet;
    {
      absl::MutexLock lock(&mu_);
      if (size_ == 0) {
        if (done > 0 || counters_.writers == 0) return done;
        return Errno(EAGAIN);
      }
      available = size_;
      packet = pages_.front().packet;
      if (packet && done > 0) return done;
    }
    Bounce bounce(std::min(available, dst.remaining()));
    size_t taken;
    {
      absl::MutexLock lock(&mu_);
      taken = TakeLocked(bounce.bytes());
      left = size_ > 0;
    }
    if (taken == 0) continue;  // Another reader was faster.
    queue_.Notify(POLLOUT | POLLWRNORM);
    const auto copied = dst.CopyOut(bounce.bytes().first(taken));
    const size_t count = copied.ok() ? *copied : 0;
    done += count;
    if (count < taken) {
      {
        absl::MutexLock lock(&mu_);
        PutBackLocked(bounce.bytes().subspan(count, taken - count));
        left = false;
      }
      queue_.Notify(POLLIN | POLLRDNORM);  // Somebody may have seen an empty pipe meanwhile.
      if (done > 0) return done;
      return copied.ok() ? Errno(EFAULT) : copied.error();
    }
    if (packet) return done;
  }
  return done;
}

Result<size_t> Pipe::Peek(std::span<std::byte> bytes) const {
  absl::MutexLock lock(&mu_);
  if (size_ == 0 && counters_.writers != 0) return Errno(EAGAIN);
  size_t done = 0;
  for (const Page& page : pages_) {
    if (done == bytes.size() || (page.packet && done > 0)) break;
    const size_t count = std::min<size_t>(bytes.size() - done, page.end - page.begin);
    memcpy(bytes.data() + done, page.bytes.get() + page.begin, count);
    done += count;
    if (page.packet) break;
  }
  return done;
}

Result<size_t> Pipe::Write(IoSrc& src, bool packet) {
  const size_t total = src.remaining();
  if (total == 0) return size_t{0};
  size_t done = 0;
  while (src.remaining() > 0) {
    const size_t atomic = src.remaining() <= kPipePage && done == 0 ? src.remaining() : 1;
    size_t room;
    {
      absl::MutexLock lock(&mu_);
      if (counters_.readers == 0) return done > 0 ? Result<size_t>(done) : Errno(EPIPE);
      room = RoomLocked(packet);
    }
    if (room < atomic) return done > 0 ? Result<size_t>(done) : Errno(EAGAIN);
    Bounce bounce(std::min(room, src.remaining()));
    const auto copied = src.CopyIn(bounce.bytes());
    if (!copied.ok() || *copied == 0) {
      if (done > 0) return done;
      return copied.ok() ? Errno(EFAULT) : copied.error();
    }
    size_t put;
    {
      // Another writer may have taken the room meanwhile.
      absl::MutexLock lock(&mu_);
      put = std::min(RoomLocked(packet), *copied);
      if (put < std::min(atomic, *copied)) put = 0;
      PutLocked(bounce.bytes().first(put), packet);
    }
    if (put > 0) queue_.Notify(POLLIN | POLLRDNORM);
    src.Unread(*copied - put);
    done += put;
    // Short because of a fault or of another writer: the caller finds out which when it tries
    // again.
    if (put < bounce.bytes().size()) return done > 0 ? Result<size_t>(done) : Errno(EAGAIN);
  }
  return done;
}

size_t Pipe::WritableBytes() const {
  absl::MutexLock lock(&mu_);
  return RoomLocked(false);
}

size_t Pipe::RoomLocked(bool packet) const {
  size_t room = pages_.size() < max_pages_ ? (max_pages_ - pages_.size()) * kPipePage : 0;
  if (!packet && !pages_.empty() && !pages_.back().packet) room += kPipePage - pages_.back().end;
  return room;
}

void Pipe::PutLocked(std::span<const std::byte> bytes, bool packet) {
  size_ += bytes.size();
  while (!bytes.empty()) {
    if (packet || pages_.empty() || pages_.back().packet || pages_.back().end == kPipePage) {
      pages_.push_back({.bytes = NewPageLocked(), .packet = packet});
    }
    Page& page = pages_.back();
    const size_t count = std::min(bytes.size(), kPipePage - page.end);
    memcpy(page.bytes.get() + page.end, bytes.data(), count);
    page.end += count;
    bytes = bytes.subspan(count);
  }
}

size_t Pipe::TakeLocked(std::span<std::byte> bytes) {
  size_t taken = 0;
  while (taken < bytes.size() && !pages_.empty()) {
    Page& page = pages_.front();
    if (page.packet && taken > 0) break;
    const size_t count = std::min<size_t>(bytes.size() - taken, page.end - page.begin);
    memcpy(bytes.data() + taken, page.bytes.get() + page.begin, count);
    page.begin += count;
    taken += count;
    size_ -= count;
    const bool packet = page.packet;
    if (packet) size_ -= page.end - page.begin;  // What a short read leaves of a packet is lost.
    if (packet || page.begin == page.end) PopPageLocked();
    if (packet) break;
  }
  return taken;
}

void Pipe::PutBackLocked(std::span<const std::byte> bytes) {
  size_ += bytes.size();
  while (!bytes.empty()) {
    const size_t count = std::min(bytes.size(), kPipePage);
    Page page{.bytes = NewPageLocked(), .end = static_cast<uint32_t>(count)};
    memcpy(page.bytes.get(), bytes.last(count).data(), count);
    pages_.push_front(std::move(page));
    bytes = bytes.first(bytes.size() - count);
  }
}

void Pipe::PopPageLocked() {
  // An empty pipe keeps one page while somebody may write again.
  if (spare_ == nullptr && counters_.writers > 0) spare_ = std::move(pages_.front().bytes);
  pages_.pop_front();
}

std::unique_ptr<std::byte[]> Pipe::NewPageLocked() {
  if (spare_ != nullptr) return std::move(spare_);
  return std::make_unique_for_overwrite<std::byte[]>(kPipePage);
}

uint32_t Pipe::Poll(uint32_t ends, bool saw_writer) {
  absl::MutexLock lock(&mu_);
  uint32_t events = 0;
  if ((ends & kRead) != 0) {
    if (size_ > 0) events |= POLLIN | POLLRDNORM;
    if (counters_.writers == 0 && saw_writer) events |= POLLHUP;
  }
  if ((ends & kWrite) != 0) {
    if (pages_.size() < max_pages_) events |= POLLOUT | POLLWRNORM;
    if (counters_.readers == 0) events |= POLLERR;
  }
  return events;
}

size_t Pipe::ReadableBytes() const {
  absl::MutexLock lock(&mu_);
  return size_;
}

size_t Pipe::capacity() const {
  absl::MutexLock lock(&mu_);
  return max_pages_ * kPipePage;
}

Result<size_t> Pipe::SetCapacity(size_t bytes) {
  if (bytes > size_t{1} << 31) return Errno(EINVAL);
  const size_t rounded = std::bit_ceil(std::max(bytes, kPipePage));
  if (rounded > kPipeMaxCapacity) return Errno(EPERM);
  {
    absl::MutexLock lock(&mu_);
    if (pages_.size() > rounded / kPipePage) return Errno(EBUSY);
    max_pages_ = rounded / kPipePage;
  }
  queue_.Notify(POLLOUT | POLLWRNORM);
  return rounded;
}

void Pipe::OpenEnds(uint32_t ends) {
  {
    absl::MutexLock lock(&mu_);
    if ((ends & kRead) != 0) counters_.reader_opens++, counters_.readers++;
    if ((ends & kWrite) != 0) counters_.writer_opens++, counters_.writers++;
  }
  // Opens that wait for their other end look again.
  queue_.Notify(POLLIN | POLLOUT);
}

void Pipe::CloseEnds(uint32_t ends) {
  {
    absl::MutexLock lock(&mu_);
    if ((ends & kRead) != 0) counters_.readers--;
    if ((ends & kWrite) != 0) counters_.writers--;
    if (counters_.writers == 0) {
      spare_ = nullptr;
      LargeBuffer::Trim();
    }
    // A fifo that nobody has open any more forgets its bytes.
    if (counters_.readers == 0 && counters_.writers == 0) {
      pages_.clear();
      size_ = 0;
    }
  }
  queue_.Notify((ends & kRead) != 0 ? POLLOUT | POLLWRNORM | POLLERR : 0u);
  queue_.Notify((ends & kWrite) != 0 ? POLLIN | POLLRDNORM | POLLHUP : 0u);
}

Pipe::Counters Pipe::counters() const {
  absl::MutexLock lock(&mu_);
  return counters_;
}

PipeFile::PipeFile(Ref<Inode> inode, Ref<Pipe> pipe, OpenFlags flags, FifoOpen fifo)
    : File(std::move(inode), flags), pipe_(std::move(pipe)), ends_(EndsOf(flags)), fifo_(fifo) {
  pipe_->OpenEnds(ends_);
}

PipeFile::~PipeFile() { PipeFile::OnLastClose(); }

void PipeFile::OnLastClose() {
  if (open_.exchange(false)) pipe_->CloseEnds(ends_);
}

Result<size_t> PipeFile::Read(IoDst& dst) { return pipe_->Read(dst); }

Result<size_t> PipeFile::Write(IoSrc& src) { return pipe_->Write(src, flags().has(O_DIRECT)); }

Result<int64_t> PipeFile::Ioctl(Task& task, uint32_t command, uint64_t arg) {
  if (command != FIONREAD) return Errno(ENOTTY);
  const int32_t count = static_cast<int32_t>(pipe_->ReadableBytes());
  TRY(task.mem().Write(UserPtr<int32_t>{UserAddr{arg}}, count));
  return int64_t{0};
}

uint32_t PipeFile::Poll() {
  const bool saw_writer =
      !fifo_.quiet_writer_opens || pipe_->counters().writer_opens != *fifo_.quiet_writer_opens;
  return pipe_->Poll(ends_, saw_writer);
}

Status PipeFile::FinishOpen() {
  const Pipe::Counters counters = pipe_->counters();
  if (fifo_.past_reader_opens && counters.reader_opens == *fifo_.past_reader_opens) {
    return Errno(EAGAIN);
  }
  if (fifo_.past_writer_opens && counters.writer_opens == *fifo_.past_writer_opens) {
    return Errno(EAGAIN);
  }
  return kOk;
}

std::string PipeFile::AnonymousName() const {
  const auto attributes = inode().GetAttributes();
  return absl::StrFormat("pipe:[%u]", attributes.ok() ? attributes->ino : 0);
}

Result<std::pair<Ref<File>, Ref<File>>> CreatePipe(OpenFlags flags) {
  if ((flags.raw() & ~(O_NONBLOCK | O_DIRECT | O_CLOEXEC)) != 0) return Errno(EINVAL);
  const Ref<Pipe> pipe = MakeRef<Pipe>();
  const Ref<Inode> inode = MakeRef<PipeInode>(pipe);
  const OpenFlags common = flags.Without(O_CLOEXEC);
  Ref<File> reader = MakeRef<PipeFile>(inode, pipe, common.Without(O_DIRECT).With(O_RDONLY));
  Ref<File> writer = MakeRef<PipeFile>(inode, pipe, common.With(O_WRONLY));
  return std::pair(std::move(reader), std::move(writer));
}

}  // namespace sentry
