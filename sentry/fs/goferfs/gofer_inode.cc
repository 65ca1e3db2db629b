#include "sentry/fs/goferfs/gofer_inode.h"

#include <sys/sysmacros.h>

#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "sentry/fs/host/host_file.h"
#include "sentry/task/task.h"
#include "sentry/task/waiter.h"

namespace sentry {

namespace {

uint32_t NextDev() {
  static std::atomic<unsigned> next{0x800};
  return static_cast<uint32_t>(makedev(0, next.fetch_add(1, std::memory_order_relaxed)));
}

// One number for each of the host's devices, however many exports have files of it: what is known
// by device and inode number, as the names of sockets, is one thing for all containers of a pod.
uint32_t DevOf(uint64_t host_dev) {
  static absl::Mutex mu;  // Leaf.
  static auto& devs = *new absl::flat_hash_map<uint64_t, uint32_t>;
  absl::MutexLock lock(&mu);
  uint32_t& dev = devs[host_dev];
  if (dev == 0) dev = NextDev();
  return dev;
}

gofer::Time ToGofer(const timespec& time) {
  return {.seconds = time.tv_sec, .nanoseconds = static_cast<uint32_t>(time.tv_nsec)};
}

}  // namespace

Result<Ref<Inode>> GoferFs::Create(GoferClient& client, uint32_t index, const Options& options) {
  const gofer::NodeId root = gofer::RootNode(index);
  const gofer::Attr attr = TRY(client.GetAttr(root));
  const auto tree = MakeRef<GoferTree>(client, options);
  constexpr uint32_t kRoot = 0;
  if (index == kRoot) tree->set_holds_sockets();
  return tree->Intern({.id = root, .attr = attr});
}

GoferTree::Key GoferTree::KeyOf(const GoferInode* inode) {
  return {inode->host_dev(), inode->ino()};
}

Ref<GoferInode> GoferTree::MakeLocked(const gofer::WalkedNode& node) {
  const GoferDevice& device = DeviceLocked(node.attr.dev);
  switch (node.attr.mode & S_IFMT) {
    case S_IFREG:
      return MakeRef<GoferRegular>(device, node);
    case S_IFDIR:
      return MakeRef<GoferDirectory>(device, node);
    case S_IFLNK:
      return MakeRef<GoferSymlink>(device, node);
    default:
      return MakeRef<GoferInode>(device, node);
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

const GoferDevice& GoferTree::DeviceLocked(uint64_t host_dev) {
  std::unique_ptr<GoferDevice>& device = devices_[host_dev];
  if (device == nullptr) {
    device.reset(new GoferDevice{.tree = *this, .host_dev = host_dev, .dev = DevOf(host_dev)});
  }
  return *device;
}

void GoferTree::KeepCreated(const GoferInode& inode, UniqueFd fd) {
  UniqueFd replaced;
  absl::MutexLock lock(&mu_);
  replaced = std::exchange(created_[&inode], std::move(fd));
  created_count_.store(created_.size(), std::memory_order_relaxed);
}

UniqueFd GoferTree::TakeCreated(const GoferInode& inode) {
  UniqueFd fd;
  // Who has kept one comes before in its own thread.
  if (created_count_.load(std::memory_order_relaxed) == 0) return fd;
  absl::MutexLock lock(&mu_);
  const auto it = created_.find(&inode);
  if (it == created_.end()) return fd;
  fd = std::move(it->second);
  created_.erase(it);
  created_count_.store(created_.size(), std::memory_order_relaxed);
  return fd;
}

// Nobody else has it yet.
GoferInode::GoferInode(const GoferDevice& device,
                       const gofer::WalkedNode& node) ABSL_NO_THREAD_SAFETY_ANALYSIS
    : mode_(node.attr.mode),
      device_(device),
      node_(node.id),
      ino_(node.attr.ino) {
  blksize_log_ = PackedAttributes::Pack(node.attr, packed_);
  tree().AddRef();
}

GoferInode::~GoferInode() {
  GoferTree& tree = this->tree();
  tree.TakeCreated(*this);
  tree.Drop(*this);
  tree.Release();
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
  if (!tree().options().connect_sockets || this->type() != S_IFSOCK) return Errno(ECONNREFUSED);
  return client().Connect(node_, static_cast<uint32_t>(type));
}

Result<UniqueFd> GoferInode::TakeHostSocket() {
  if (type() != S_IFSOCK) return Errno(EOPNOTSUPP);
  UniqueFd fd = tree().TakeCreated(*this);
  if (!fd.valid()) return Errno(EOPNOTSUPP);
  return fd;
}

void GoferInode::Update(const gofer::Attr& attr) {
  absl::MutexLock lock(&mu());
  blksize_log_ = PackedAttributes::Pack(attr, packed_);
  // The type stays: it is the class of this object.
  mode_.store(type() | (attr.mode & 07777), std::memory_order_relaxed);
}

bool GoferInode::AnyoneMaySearch() const {
  return !tree().shared() && (mode_.load(std::memory_order_relaxed) & 0111) == 0111;
}

Result<Attributes> GoferInode::GetAttributes() {
  // Cleared first: what changes meanwhile makes the next caller ask again.
  const bool stale =
      stale_.load(std::memory_order_relaxed) && stale_.exchange(false, std::memory_order_acq_rel);
  Attributes a;
  a.dev = device_.dev;
  a.ino = ino_;
  if (!stale && !tree().shared() && !volatile_.load(std::memory_order_relaxed)) {
    absl::MutexLock lock(&mu());
    packed_.Unpack(mode_.load(std::memory_order_relaxed), blksize_log_, a);
    if (blksize_log_ != 0) return a;
  }
  const gofer::Attr attr = TRY(client().GetAttr(node_));
  Update(attr);
  Unpack(attr, a);
  a.mode = type() | (attr.mode & 07777);
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
