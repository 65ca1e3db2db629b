#include "sentry/fs/anon/epoll.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_format.h"
#include "sentry/fs/anon/anon_inode.h"
#include "sentry/fs/wake.h"

namespace sentry {
namespace {

constexpr uint32_t kPrivateBits = EPOLLWAKEUP | EPOLLONESHOT | EPOLLET | EPOLLEXCLUSIVE;
constexpr uint32_t kExclusiveOk =
    EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE;
constexpr int kMaxNesting = 4;         // EP_MAX_NESTS of the kernel.
constexpr size_t kMaxItems = 1 << 20;  // As /proc/sys/fs/epoll/max_user_watches limits.

uint32_t Wanted(uint32_t events) { return (events & ~kPrivateBits) | EPOLLERR | EPOLLHUP; }

}  // namespace

struct EpollFile::Item final : public WaitListener {
  Item(EpollFile& owner, Fd fd, Ref<File> file, const epoll_event& event)
      : owner(owner), fd(fd), file(std::move(file)), event(event), armed(true) {}
  // Runs under the lock of the file's queue.
  void OnReady(uint32_t events) override {
    if (armed.load(std::memory_order_relaxed)) owner.MarkReady(*this);
  }
  // EPOLLEXCLUSIVE: the next instance hears of what wakes nobody here (ep_poll_callback() of
  // Linux).
  bool TakeTurn(uint32_t events) override {
    const uint32_t ways = events & (POLLIN | POLLOUT);
    const bool wanted = ways == 0 || (ways != (POLLIN | POLLOUT) && (event.events & ways) != 0);
    return owner.MarkReady(*this) && wanted;
  }

  EpollFile& owner;
  const Fd fd;
  const Ref<File> file;
  epoll_event event;        // Guarded by the owner's control_mu_; of exclusive ones it stays.
  std::atomic<bool> armed;  // False once EPOLLONESHOT has reported.
  bool queued = false;      // The rest is guarded by the owner's ready_mu_.
  std::list<Item*>::iterator place;
};

// The graph of instances that watch instances, for the check against loops and depth. Its lock is a
// leaf, taken inside control_mu_.
struct EpollFile::Nesting {
  absl::Mutex mu;
  absl::flat_hash_map<const EpollFile*, std::vector<const EpollFile*>> children ABSL_GUARDED_BY(mu);
  absl::flat_hash_map<const EpollFile*, std::vector<const EpollFile*>> parents ABSL_GUARDED_BY(mu);
  using Edges = decltype(children);
  using Seen = absl::flat_hash_map<const EpollFile*, int>;

  static Nesting& Get() {
    static auto* const nesting = new Nesting;  // Never destroyed: files may outlive main.
    return *nesting;
  }

  // Levels that hang on `node`; no deeper than kMaxNesting, since nothing deeper is let in.
  static int Depth(const Edges& edges, const EpollFile* node, Seen& seen) {
    const auto [it, fresh] = seen.try_emplace(node, 0);
    if (!fresh) return it->second;
    int depth = 0;
    const auto next = edges.find(node);
    if (next != edges.end()) {
      for (const EpollFile* other : next->second) {
        depth = std::max(depth, 1 + Depth(edges, other, seen));
      }
    }
    seen[node] = depth;
    return depth;
  }

  Status Link(const EpollFile& parent, const EpollFile& child) ABSL_LOCKS_EXCLUDED(mu) {
    absl::MutexLock lock(&mu);
    Seen below, above;
    const int depth = Depth(children, &child, below) + 1 + Depth(parents, &parent, above);
    if (below.contains(&parent) || depth > kMaxNesting) return Errno(ELOOP);
    children[&parent].push_back(&child);
    parents[&child].push_back(&parent);
    return kOk;
  }

  static void Erase(Edges& edges, const EpollFile& from, const EpollFile& to) {
    const auto it = edges.find(&from);
    if (it == edges.end()) return;
    const auto edge = std::find(it->second.begin(), it->second.end(), &to);
    if (edge != it->second.end()) it->second.erase(edge);
    if (it->second.empty()) edges.erase(it);
  }
  void Unlink(const EpollFile& parent, const EpollFile& child) ABSL_LOCKS_EXCLUDED(mu) {
    absl::MutexLock lock(&mu);
    Erase(children, parent, child);
    Erase(parents, child, parent);
  }
};

EpollFile::EpollFile(OpenFlags flags) : File(NewAnonInode(), flags) {}

EpollFile::~EpollFile() {
  std::vector<std::unique_ptr<Item>> items;
  absl::MutexLock lock(&control_mu_);
  while (!items_.empty()) items.push_back(RemoveLocked(items_.begin()->first));
}

Status EpollFile::Add(Fd fd, Ref<File> file, const epoll_event& event) {
  EpollFile* const nested = FileCast<EpollFile>(*file);
  if ((event.events & EPOLLEXCLUSIVE) != 0 &&
      (nested != nullptr || (event.events & ~kExclusiveOk) != 0)) {
    return Errno(EINVAL);
  }
  if (file->wait_queue() == nullptr) return Errno(EPERM);  // Always ready: epoll_ctl(2).
  const Key key{file.get(), static_cast<int>(fd)};
  absl::MutexLock lock(&control_mu_);
  if (items_.contains(key)) return Errno(EEXIST);
  if (items_.size() >= kMaxItems) return Errno(ENOSPC);
  if (nested != nullptr) TRY(Nesting::Get().Link(*this, *nested));
  auto& item = *(items_[key] = std::make_unique<Item>(*this, fd, std::move(file), event));
  item.file->WatchClose(*this);
  // "One or more" are woken, epoll_ctl(2) says: with files of the host it is all.
  const bool exclusive = (event.events & EPOLLEXCLUSIVE) != 0 && !item.file->HearsFromHost();
  item.file->wait_queue()->Add(
      item, Wanted(event.events),
      exclusive ? WaitQueue::Turn::kExclusive : WaitQueue::Turn::kEverybody);
  if (PollItem(item) != 0) MarkReady(item);
  return kOk;
}

Status EpollFile::Modify(Fd fd, File& file, const epoll_event& event) {
  if ((event.events & EPOLLEXCLUSIVE) != 0) return Errno(EINVAL);
  absl::MutexLock lock(&control_mu_);
  const auto it = items_.find(Key{&file, static_cast<int>(fd)});
  if (it == items_.end()) return Errno(ENOENT);
  Item& item = *it->second;
  if ((item.event.events & EPOLLEXCLUSIVE) != 0) return Errno(EINVAL);
  // The queue knows the events, so the entry registers anew.
  file.wait_queue()->Remove(item);
  item.event = event;
  item.armed.store(true, std::memory_order_relaxed);
  file.wait_queue()->Add(item, Wanted(event.events));
  if (PollItem(item) != 0) MarkReady(item);
  return kOk;
}

Status EpollFile::Delete(Fd fd, File& file) {
  std::unique_ptr<Item> item;
  absl::MutexLock lock(&control_mu_);
  const Key key{&file, static_cast<int>(fd)};
  if (!items_.contains(key)) return Errno(ENOENT);
  item = RemoveLocked(key);
  return kOk;
}

void EpollFile::OnWatchedClose(File& file) {
  std::vector<std::unique_ptr<Item>> items;
  absl::MutexLock lock(&control_mu_);
  for (;;) {
    const auto it = items_.lower_bound(Key{&file, INT32_MIN});
    if (it == items_.end() || it->first.first != &file) return;
    items.push_back(RemoveLocked(it->first));
  }
}

std::unique_ptr<EpollFile::Item> EpollFile::RemoveLocked(Key key) {
  auto node = items_.extract(key);
  std::unique_ptr<Item> item = std::move(node.mapped());
  item->file->wait_queue()->Remove(*item);  // No OnReady comes after this.
  item->file->UnwatchClose(*this);
  const bool told = UnmarkReady(*item);
  if (told && (item->event.events & EPOLLEXCLUSIVE) != 0) {
    // Nobody has looked at what this one alone was told of.
    for (const uint32_t way : {POLLIN, POLLOUT}) {
      if ((item->event.events & way) != 0) item->file->wait_queue()->PassOn(way);
    }
  }
  if (EpollFile* nested = FileCast<EpollFile>(*item->file)) {
    Nesting::Get().Unlink(*this, *nested);
    // From now on the link may be made the other way round, and locks be taken so.
    control_mu_.ForgetDeadlockInfo();
  }
  return item;
}

uint32_t EpollFile::PollItem(Item& item) {
  if (!item.armed.load(std::memory_order_relaxed)) return 0;
  const uint32_t wanted = Wanted(item.event.events);
  const uint32_t events = item.file->Poll() & wanted;
  // A level-triggered entry that is ready is looked at again anyway.
  const uint32_t edge = item.event.events & EPOLLET;
  if (events == 0 || edge != 0) item.file->ArmHostEvents(wanted | edge);
  return events;
}

Result<std::vector<EpollFile::Report>> EpollFile::Collect(size_t max) {
  std::vector<Report> out;
  const WakesAfter wakes;
  absl::MutexLock lock(&control_mu_);
  // Each entry is looked at once, although level-triggered ones go back to the end.
  for (size_t left = ReadyCount(); left > 0 && out.size() < max; --left) {
    Item* const item = TakeReady();
    if (item == nullptr) break;
    const uint32_t events = PollItem(*item);
    if (events == 0) continue;
    Report& report =
        out.emplace_back(Report{item->event, {item->file.get(), static_cast<int>(item->fd)}});
    report.event.events = events;
    if ((item->event.events & EPOLLONESHOT) != 0) {
      item->armed.store(false, std::memory_order_relaxed);
    } else if ((item->event.events & EPOLLET) == 0) {
      PutReady(*item);
    }
  }
  // Whoever is on the list is told of no more until somebody looks.
  if (ReadyCount() > 0) queue_.PassOn(POLLIN | POLLRDNORM);
  if (out.empty()) return Errno(EAGAIN);
  return out;
}

void EpollFile::PutBack(std::span<const Report> reports) {
  absl::MutexLock lock(&control_mu_);
  for (const Report& report : reports) {
    const auto it = items_.find(report.entry);
    if (it == items_.end()) continue;
    it->second->armed.store(true, std::memory_order_relaxed);
    MarkReady(*it->second);
  }
}

uint32_t EpollFile::Poll() {
  absl::MutexLock lock(&control_mu_);
  for (size_t left = ReadyCount(); left > 0; --left) {
    Item* const item = TakeReady();
    if (item == nullptr) break;
    if (PollItem(*item) == 0) continue;
    // Whoever only looks does not change whose turn it is.
    PutReady(*item, Place::kFirst);
    return POLLIN | POLLRDNORM;
  }
  return 0;
}

bool EpollFile::MarkReady(Item& item) {
  return PutReady(item) && queue_.Notify(POLLIN | POLLRDNORM);
}

bool EpollFile::PutReady(Item& item, Place place) {
  absl::MutexLock lock(&ready_mu_);
  if (item.queued) return false;
  item.queued = true;
  item.place = ready_.insert(place == Place::kFirst ? ready_.begin() : ready_.end(), &item);
  return true;
}

bool EpollFile::UnmarkReady(Item& item) {
  absl::MutexLock lock(&ready_mu_);
  if (!item.queued) return false;
  ready_.erase(item.place);
  item.queued = false;
  return true;
}

EpollFile::Item* EpollFile::TakeReady() {
  absl::MutexLock lock(&ready_mu_);
  if (ready_.empty()) return nullptr;
  Item* const item = ready_.front();
  ready_.pop_front();
  item->queued = false;
  return item;
}

size_t EpollFile::ReadyCount() {
  absl::MutexLock lock(&ready_mu_);
  return ready_.size();
}

std::string EpollFile::FdInfo() {
  std::string out;
  absl::MutexLock lock(&control_mu_);
  for (const auto& [key, item] : items_) {
    const epoll_event event = item->event;  // Packed: no references into it.
    const uint64_t data = event.data.u64;
    const uint32_t events = event.events | EPOLLERR | EPOLLHUP;  // Always waited for.
    const auto attributes = item->file->inode().GetAttributes();
    absl::StrAppendFormat(&out, "tfd: %8d events: %8x data: %16x  pos:0 ino:%x sdev:%x\n",
                          key.second, events, data, attributes.ok() ? attributes->ino : 0,
                          attributes.ok() ? attributes->dev : 0);
  }
  return out;
}

Result<Ref<File>> CreateEpoll(int flags) {
  if ((flags & ~EPOLL_CLOEXEC) != 0) return Errno(EINVAL);
  return Ref<File>(MakeRef<EpollFile>(OpenFlags(O_RDWR)));
}

Status EpollControl(File& epoll, int op, Fd fd, Ref<File> file, const epoll_event& event) {
  if (file->wait_queue() == nullptr) return Errno(EPERM);
  EpollFile* const self = FileCast<EpollFile>(epoll);
  if (self == nullptr || file.get() == &epoll) return Errno(EINVAL);
  switch (op) {
    case EPOLL_CTL_ADD:
      return self->Add(fd, std::move(file), event);
    case EPOLL_CTL_MOD:
      return self->Modify(fd, *file, event);
    case EPOLL_CTL_DEL:
      return self->Delete(fd, *file);
    default:
      return Errno(EINVAL);
  }
}

}  // namespace sentry
