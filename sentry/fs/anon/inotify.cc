#include "sentry/fs/anon/inotify.h"

#include <sys/inotify.h>
#include <sys/ioctl.h>

#include <array>
#include <cstring>
#include <span>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_format.h"
#include "sentry/fs/anon/anon_inode.h"
#include "sentry/task/task.h"

namespace sentry {
namespace {

// Instances of each user.
struct Instances {
  absl::Mutex mu;  // Leaf.
  absl::flat_hash_map<uint32_t, size_t> of_user ABSL_GUARDED_BY(mu);

  static Instances& Get() {
    static Instances& instances = *new Instances;
    return instances;
  }
  Status Take(uint32_t uid) {
    absl::MutexLock lock(&mu);
    size_t& used = of_user[uid];
    if (used >= InotifyFile::kMaxInstances) return Errno(EMFILE);
    ++used;
    return kOk;
  }
  void Return(uint32_t uid) {
    absl::MutexLock lock(&mu);
    const auto it = of_user.find(uid);
    if (--it->second == 0) of_user.erase(it);
  }
};

// The name with its NUL, in whole event headers.
size_t NameRoom(size_t length) {
  constexpr size_t kHeader = sizeof(inotify_event);
  return length == 0 ? 0 : (length + 1 + kHeader - 1) / kHeader * kHeader;
}

}  // namespace

size_t InotifyFile::Event::size() const { return sizeof(inotify_event) + NameRoom(name.size()); }

InotifyFile::InotifyFile(uint32_t uid, OpenFlags flags) : File(NewAnonInode(), flags), uid_(uid) {}

InotifyFile::~InotifyFile() {
  InotifyFile::OnLastClose();
  Instances::Get().Return(uid_);
}

void InotifyFile::OnLastClose() { notify::Table::Get().RemoveAll(*this); }

Result<int> InotifyFile::AddWatch(const Path& place, uint32_t mask) {
  const uint64_t dev = TRY(place.dentry->inode().GetAttributes()).dev;
  absl::MutexLock lock(&watches_mu_);
  return notify::Table::Get().Add(*this, place, dev, mask, uid_, next_wd_);
}

Status InotifyFile::RemoveWatch(int wd) { return notify::Table::Get().Remove(*this, wd); }

void InotifyFile::OnEvent(int wd, uint32_t mask, uint32_t cookie, std::string_view name) {
  // Linux leaves it out here, so that what older programs see does not change.
  if ((mask & (IN_DELETE_SELF | IN_MOVE_SELF)) != 0) mask &= ~uint32_t{IN_ISDIR};
  {
    absl::MutexLock lock(&mu_);
    Event event{.wd = wd, .mask = mask, .cookie = cookie, .name = std::string(name)};
    if (events_.size() >= kMaxQueuedEvents) {
      if (events_.back().mask == IN_Q_OVERFLOW) return;
      event = {.wd = -1, .mask = IN_Q_OVERFLOW, .cookie = 0, .name = {}};
    } else if (!events_.empty()) {
      const Event& last = events_.back();
      if (last.wd == wd && last.mask == mask && last.name == name && cookie == last.cookie) return;
    }
    bytes_ += event.size();
    events_.push_back(std::move(event));
  }
  queue_.Notify(POLLIN | POLLRDNORM);
}

Result<size_t> InotifyFile::Read(IoDst& dst) {
  size_t done = 0;
  for (;;) {
    std::array<std::byte, sizeof(inotify_event) + 272> bytes{};
    size_t size = 0;
    {
      absl::MutexLock lock(&mu_);
      if (events_.empty()) return done != 0 ? Result<size_t>(done) : Errno(EAGAIN);
      const Event& event = events_.front();
      size = event.size();
      if (size > dst.remaining()) return done != 0 ? Result<size_t>(done) : Errno(EINVAL);
      const inotify_event header{.wd = event.wd,
                                 .mask = event.mask,
                                 .cookie = event.cookie,
                                 .len = static_cast<uint32_t>(NameRoom(event.name.size()))};
      memcpy(bytes.data(), &header, sizeof(header));
      memcpy(bytes.data() + sizeof(header), event.name.data(), event.name.size());
      bytes_ -= size;
      events_.pop_front();
    }
    // As in Linux, an event that cannot be delivered is lost.
    const Result<size_t> copied = dst.CopyOut(std::span(bytes).first(size));
    if (!copied.ok() || *copied < size) return done != 0 ? Result<size_t>(done) : Errno(EFAULT);
    done += size;
  }
}

uint32_t InotifyFile::Poll() {
  absl::MutexLock lock(&mu_);
  return events_.empty() ? 0 : POLLIN | POLLRDNORM;
}

Result<int64_t> InotifyFile::Ioctl(Task& task, uint32_t command, uint64_t arg) {
  if (command != FIONREAD) return Errno(ENOTTY);
  int32_t bytes = 0;
  {
    absl::MutexLock lock(&mu_);
    bytes = static_cast<int32_t>(bytes_);
  }
  TRY(task.mem().Write(UserPtr<int32_t>{UserAddr{arg}}, bytes));
  return int64_t{0};
}

std::string InotifyFile::FdInfo() {
  std::string text;
  for (const notify::Mark& mark : notify::Table::Get().MarksOf(*this)) {
    const Result<Attributes> attributes = mark.inode->GetAttributes();
    absl::StrAppendFormat(&text, "inotify wd:%x ino:%x sdev:%x mask:%x ignored_mask:0\n", mark.wd,
                          attributes.ok() ? attributes->ino : 0, mark.dev, mark.mask);
  }
  return text;
}

Result<Ref<File>> CreateInotify(uint32_t uid, int flags) {
  if ((flags & ~(IN_NONBLOCK | IN_CLOEXEC)) != 0) return Errno(EINVAL);
  TRY(Instances::Get().Take(uid));
  return Ref<File>(MakeRef<InotifyFile>(uid, OpenFlags(O_RDONLY | (flags & IN_NONBLOCK))));
}

}  // namespace sentry
