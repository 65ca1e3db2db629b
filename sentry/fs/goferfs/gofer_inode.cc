#include "sentry/fs/goferfs/gofer_inode.h"

#include <sys/sysmacros.h>

#include <utility>

#include "sentry/fs/host/host_file.h"
#include "sentry/task/task.h"
#include "sentry/task/waiter.h"

namespace sentry {

namespace {

uint32_t NextDev() {
  static std::atomic<unsigned> next{0x800};
  return static_cast<uint32_t>(makedev(0, next.fetch_add(1, std::memory_order_relaxed)));
}

gofer::Time ToGofer(const timespec& time) {
  return {.seconds = time.tv_sec, .nanoseconds = static_cast<uint32_t>(time.tv_nsec)};
}

}  // namespace

Result<Ref<Inode>> GoferFs::Create(GoferClient& client, uint32_t index, const Options& options) {
  const gofer::NodeId root = gofer::RootNode(index);
  const gofer::Attr attr = TRY(client.GetAttr(root));
  return MakeRef<GoferTree>(client, options)->Intern({.id = root, .attr = attr});
}

GoferTree::Key GoferTree::KeyOf(const GoferInode* inode) {
  return {inode->host_dev(), inode->ino()};
}

Ref<GoferInode> GoferTree::MakeLocked(const gofer::WalkedNode& node) {
  const Ref<GoferTree> tree = Ref<GoferTree>::Share(*this);
  const uint32_t dev = DevLocked(node.attr.dev);
  switch (node.attr.mode & S_IFMT) {
    case S_IFREG:
      return MakeRef<GoferRegular>(tree, node, dev);
    case S_IFDIR:
      return MakeRef<GoferDirectory>(tree, node, dev);
    case S_IFLNK:
      return MakeRef<GoferSymlink>(tree, node, dev);
    default:
      return MakeRef<GoferInode>(tree, node, dev);
  }
}

Ref<GoferInode> GoferTree::Intern(const gofer::WalkedNode& node) {
  Ref<GoferInode> inode;
  {
    absl::MutexLock lock(&mu_);
    const auto it = inodes_.find(Key{node.attr.dev, node.attr.ino});
    const bool known =
        it != inodes_.end() && (*it)->type() == (node.attr.mode & S_IFMT) && (*it)->TryAddRef();
    if (!known) {
      // One whose destructor is under way, or whose number the host has used again.
      if (it != inodes_.end()) inodes_.erase(it);
      inode = MakeLocked(node);
      inodes_.insert(inode.get());
      return inode;
    }
    inode = Ref<GoferInode>::Adopt(*it);
  }
  if (inode->node() != node.id) client_.Forget(node.id);
  inode->Update(node.attr);
  return inode;
}

void GoferTree::Drop(const GoferInode& inode) {
  {
    absl::MutexLock lock(&mu_);
    const auto it = inodes_.find(KeyOf(&inode));
    if (it != inodes_.end() && *it == &inode) inodes_.erase(it);
  }
  client_.Forget(inode.node());
}

uint32_t GoferTree::DevLocked(uint64_t host_dev) {
  uint32_t& dev = devs_[host_dev];
  if (dev == 0) dev = NextDev();
  return dev;
}

GoferInode::GoferInode(Ref<GoferTree> tree, const gofer::WalkedNode& node, uint32_t dev)
    : tree_(std::move(tree)),
      node_(node.id),
      host_dev_(node.attr.dev),
      ino_(node.attr.ino),
      dev_(dev),
      mode_(node.attr.mode),
      packed_(Pack(node.attr)) {}

GoferInode::~GoferInode() {
  KeepCreated({});
  tree_->Drop(*this);
}

// A fifo of the host. Its description never blocks, whatever the application's does; HostFile asks
// before it reads or writes. A writer waits for a reader here, of which the host tells nobody; what
// a reader has to wait for it waits for at its first read.
Result<Ref<File>> GoferInode::Open(OpenFlags flags) {
  if (!OpensItself()) return Errno(ENXIO);
  Task* const task = Task::Current();
  UniqueFd fd;
  while (!fd.valid()) {
    Result<UniqueFd> opened = client().Open(node_, static_cast<int>(flags.raw() & O_ACCMODE));
    const bool waits =
        !opened.ok() && opened.error() == Errno(ENXIO) && task != nullptr && !flags.has(O_NONBLOCK);
    if (!opened.ok() && !waits) return opened.error();
    if (opened.ok()) {
      fd = *std::move(opened);
      break;
    }
    constexpr int64_t kPause = 10'000'000;
    const Status slept = Waiter(*task).Sleep(Deadline::After(kPause));
    if (!slept.ok() && slept.error() != Errno(ETIMEDOUT)) return slept.error();
  }
  return Ref<File>(MakeRef<HostFile>(Ref<Inode>::Share(*this), std::move(fd), flags, S_IFIFO,
                                     Ref<HostTerminal>()));
}

Result<UniqueFd> GoferInode::ConnectHostSocket(int type) {
  if (!tree_->options().connect_sockets || this->type() != S_IFSOCK) return Errno(ECONNREFUSED);
  return client().Connect(node_, static_cast<uint32_t>(type));
}

Result<UniqueFd> GoferInode::TakeHostSocket() {
  if (type() != S_IFSOCK) return Errno(EOPNOTSUPP);
  UniqueFd fd(created_fd_.exchange(-1));
  if (!fd.valid()) return Errno(EOPNOTSUPP);
  return fd;
}

GoferInode::Packed GoferInode::Pack(const gofer::Attr& attr) {
  Packed packed{.size = attr.size, .blocks = attr.blocks, .rdev = attr.rdev};
  const gofer::Time* const times[] = {&attr.atime, &attr.mtime, &attr.ctime, &attr.btime};
  for (int i = 0; i < 4; ++i) {
    packed.seconds[i] = times[i]->seconds;
    packed.nanoseconds[i] = times[i]->nanoseconds;
  }
  packed.nlink = attr.nlink;
  packed.uid = attr.uid;
  packed.gid = attr.gid;
  packed.blksize = attr.blksize;
  return packed;
}

void GoferInode::Update(const gofer::Attr& attr) {
  absl::MutexLock lock(&mu_);
  packed_ = Pack(attr);
  // The type stays: it is the class of this object.
  mode_.store(type() | (attr.mode & 07777), std::memory_order_relaxed);
}

bool GoferInode::AnyoneMaySearch() const {
  return !tree_->shared() && (mode_.load(std::memory_order_relaxed) & 0111) == 0111;
}

Result<Attributes> GoferInode::GetAttributes() {
  // Cleared first: what changes meanwhile makes the next caller ask again.
  const bool stale =
      stale_.load(std::memory_order_relaxed) && stale_.exchange(false, std::memory_order_acq_rel);
  if (stale || tree_->shared() || volatile_.load(std::memory_order_relaxed)) {
    Update(TRY(client().GetAttr(node_)));
  }
  Attributes a;
  a.dev = dev_;
  a.ino = ino_;
  absl::MutexLock lock(&mu_);
  a.mode = mode_.load(std::memory_order_relaxed);
  a.size = packed_.size;
  a.blocks = packed_.blocks;
  a.rdev = packed_.rdev;
  a.nlink = packed_.nlink;
  a.uid = packed_.uid;
  a.gid = packed_.gid;
  a.blksize = packed_.blksize;
  timespec* const times[] = {&a.atime, &a.mtime, &a.ctime, &a.btime};
  for (int i = 0; i < 4; ++i) {
    *times[i] = {.tv_sec = packed_.seconds[i], .tv_nsec = packed_.nanoseconds[i]};
  }
  return a;
}

Status GoferInode::SetAttributes(const AttributeChange& change) {
  GoferSetAttr request;
  if (change.mode) request.valid |= gofer::kSetMode;
  if (change.uid) request.valid |= gofer::kSetUid;
  if (change.gid) request.valid |= gofer::kSetGid;
  if (change.size) request.valid |= gofer::kSetSize;
  if (change.atime) request.valid |= gofer::kSetAtime;
  if (change.mtime) request.valid |= gofer::kSetMtime;
  request.mode = change.mode.value_or(0);
  request.uid = change.uid.value_or(0);
  request.gid = change.gid.value_or(0);
  request.size = change.size.value_or(0);
  request.atime = ToGofer(change.atime.value_or(timespec{}));
  request.mtime = ToGofer(change.mtime.value_or(timespec{}));
  if (request.valid == 0) return kOk;
  Update(TRY(client().SetAttr(node_, request)));
  return kOk;
}

Result<std::string> GoferInode::GetXattr(std::string_view name) {
  return client().GetXattr(node_, name);
}

Status GoferInode::SetXattr(std::string_view name, std::string_view value, int flags) {
  return client().SetXattr(node_, name, value, flags);
}

Status GoferInode::RemoveXattr(std::string_view name) { return client().RemoveXattr(node_, name); }

Result<std::vector<std::string>> GoferInode::ListXattr() {
  const std::string packed = TRY(client().ListXattr(node_));
  std::vector<std::string> names;
  for (size_t begin = 0; begin < packed.size();) {
    const size_t end = std::min(packed.find('\0', begin), packed.size());
    names.push_back(packed.substr(begin, end - begin));
    begin = end + 1;
  }
  return names;
}

Result<FilesystemStats> GoferInode::StatFs() {
  const gofer::StatFs host = TRY(client().StatFs(node_));
  return FilesystemStats{.type = host.type,
                         .bsize = host.block_size,
                         .blocks = host.blocks,
                         .bfree = host.blocks_free,
                         .bavail = host.blocks_available,
                         .files = host.files,
                         .ffree = host.files_free,
                         .namelen = host.name_length};
}

Result<std::string> GoferSymlink::ReadLink() {
  {
    absl::MutexLock lock(&target_mu_);
    if (!target_.empty()) return target_;
  }
  // A link never changes its target; a new link is a new inode.
  std::string target = TRY(client().ReadLink(node()));
  absl::MutexLock lock(&target_mu_);
  target_ = target;
  return target;
}

}  // namespace sentry
