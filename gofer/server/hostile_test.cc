// A sentry that has been taken over: whatever it writes into the ring, the gofer lives on, and
// nothing outside of the root changes or becomes visible.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gofer/protocol/ring.h"
#include "gofer/server/test_server.h"
#include "gtest/gtest.h"

namespace gofer {
namespace {

namespace fs = std::filesystem;

// A tree whose directory `root` is exported; what is beside it must stay as it is.
class World {
 public:
  World() {
    char path[] = "/tmp/gofer_hostile.XXXXXX";
    EXPECT_NE(mkdtemp(path), nullptr);
    path_ = path;
    fs::create_directories(path_ + "/outside/sub");
    Fill(path_ + "/outside/file", "secret");
    Fill(path_ + "/outside/sub/file", "secret");
    fs::create_directories(path_ + "/root/a/b");
    Fill(path_ + "/root/a/file", "text");
    fs::create_symlink(path_ + "/outside", path_ + "/root/out");
    fs::create_symlink("../outside/file", path_ + "/root/a/up");
    fs::create_directories(path_ + "/frozen/a");
    Fill(path_ + "/frozen/a/file", "frozen");
    fs::create_directories(path_ + "/store");
    before_ = Snapshot();
  }
  ~World() { fs::remove_all(path_); }

  std::string root() const { return path_ + "/root"; }
  std::string frozen() const { return path_ + "/frozen"; }
  std::string store() const { return path_ + "/store"; }
  std::string outside() const { return path_ + "/outside"; }
  void ExpectUntouched() const {
    EXPECT_EQ(Snapshot(), before_);
    EXPECT_TRUE(fs::is_empty(store()));
  }

  // What was changed on purpose.
  void Remember() { before_ = Snapshot(); }

  // A descriptor that the gofer gave away.
  void ExpectInside(int fd) const {
    struct stat st;
    ASSERT_EQ(fstat(fd, &st), 0);
    const bool special = lets_out_special_files && (S_ISSOCK(st.st_mode) || S_ISFIFO(st.st_mode));
    EXPECT_TRUE(S_ISREG(st.st_mode) || special);
    if (S_ISSOCK(st.st_mode)) return;  // Its number is not that of its name.
    EXPECT_EQ(outside_inodes_.count(st.st_ino), 0u);
    if (special) return;  // A fifo of a read-only tree can be written to, as in Linux.
    const bool writable = (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY;
    EXPECT_FALSE(writable && frozen_inodes_.count(st.st_ino) != 0);
  }

  bool lets_out_special_files = false;

 private:
  static void Fill(const std::string& path, const std::string& text) {
    std::ofstream(path) << text;
  }
  std::string Describe(const std::string& path) const {
    struct stat st;
    EXPECT_EQ(lstat(path.c_str(), &st), 0);
    (path.find("/frozen") == path.npos ? outside_inodes_ : frozen_inodes_).insert(st.st_ino);
    std::string text;
    if (S_ISREG(st.st_mode)) {
      std::ifstream in(path);
      std::getline(in, text);
    }
    return std::to_string(st.st_mode) + ' ' + std::to_string(st.st_uid) + ' ' +
           std::to_string(st.st_nlink) + ' ' + std::to_string(st.st_mtim.tv_sec) + ' ' +
           std::to_string(st.st_mtim.tv_nsec) + ' ' + text;
  }
  std::map<std::string, std::string> Snapshot() const {
    std::map<std::string, std::string> all;
    for (const char* part : {"/outside", "/frozen"}) {
      all[part] = Describe(path_ + part);
      for (const auto& entry : fs::recursive_directory_iterator(path_ + part)) {
        all[entry.path()] = Describe(entry.path());
      }
    }
    all["count"] =
        std::to_string(std::distance(fs::directory_iterator(path_), fs::directory_iterator()));
    return all;
  }

  std::string path_;
  mutable std::set<ino_t> outside_inodes_;
  mutable std::set<ino_t> frozen_inodes_;
  std::map<std::string, std::string> before_;
};

class Attacker {
 public:
  Attacker(TestServer& server, World& world, uint64_t seed)
      : world_(world),
        ring_(*MapRing(server.client_ring)),
        socket_(server.client_socket.get()),
        random_(seed) {}

  uint32_t Below(uint32_t limit) { return static_cast<uint32_t>(random_() % limit); }
  bool OneIn(uint32_t n) { return Below(n) == 0; }

  // Sends what is in a slot. False if no answer comes.
  bool Send(uint32_t index, const Request& request, std::string_view payload) {
    Slot& slot = ring_->slots[index];
    memcpy(ring_->payloads[index], payload.data(), payload.size());
    slot.request = request;
    slot.state.store(SlotState::kSubmitted);
    ring_->header.pending.fetch_or(uint32_t{1} << index);
    Bell();
    auto done = [&] { return slot.state.load() == SlotState::kDone; };
    for (int i = 0; i < 1000 && !done(); ++i) SpinUntil(done, std::chrono::milliseconds(5));
    Drain();
    return done();
  }
  Response response(uint32_t index) { return ring_->slots[index].response; }

  Request RandomRequest() {
    Request request;
    memset(static_cast<void*>(&request), 0, sizeof(request));
    request.op = static_cast<Op>(OneIn(30) ? random_() : 1 + Below(kOpCount - 1));
    request.tag = random_();
    request.node = RandomNode();
    request.node2 = RandomNode();
    request.flags = RandomFlags();
    request.offset = OneIn(2) ? Below(100) : random_();
    request.mode = OneIn(2) ? Below(01000) : static_cast<uint32_t>(random_());
    request.uid = OneIn(3) ? kNoOwner : static_cast<uint32_t>(random_());
    request.gid = OneIn(3) ? kNoOwner : Below(5);
    request.valid = Below(512);
    request.atime = {static_cast<int64_t>(random_()), static_cast<uint32_t>(random_()), 0};
    request.name_count = OneIn(10)  ? static_cast<uint16_t>(random_())
                         : OneIn(5) ? static_cast<uint16_t>(Below(4))
                                    : NamesOf(request.op);
    request.value_size = OneIn(3) ? static_cast<uint32_t>(random_()) : Below(20);
    request.count = OneIn(3) ? static_cast<uint32_t>(random_()) : Below(20);
    request.forget_count = static_cast<uint16_t>(OneIn(100) ? random_() : 0);
    if (request.op == Op::kForget && !OneIn(10)) request.op = Op::kWalk;
    for (NodeId& id : request.forgets) id = RandomNode();
    if (OneIn(10)) {  // A bit anywhere.
      auto* bytes = reinterpret_cast<unsigned char*>(&request);
      bytes[Below(sizeof(request))] ^= 1u << Below(8);
    }
    return request;
  }

  // Names, some of them good. Sets the request's size, not always rightly.
  std::string RandomPayload(Request& request) {
    static const char* const kNames[] = {
        "a",      "b",           "file", "out",    "up", "new", "new2",
        "x",      "user.test",   "sub",  "..",     ".",  "/",   "../outside",
        "a/file", "/etc/passwd", "out/", "..\x01", ""};
    constexpr uint32_t kGoodNames = 10;
    std::string payload;
    const uint32_t names = request.name_count < 40 ? request.name_count : Below(40);
    for (uint32_t i = 0; i < names; ++i) {
      const uint32_t choice = OneIn(2) ? Below(kGoodNames) : Below(std::size(kNames));
      payload += OneIn(20) ? std::string(Below(600), 'n') : kNames[choice];
      payload += '\0';
    }
    for (uint32_t i = Below(64); i > 0 && OneIn(2); --i) payload += static_cast<char>(random_());
    request.payload_size = static_cast<uint32_t>(payload.size());
    if (OneIn(10)) request.payload_size = Below(2 * kPayloadSize);
    if (OneIn(50)) request.payload_size = static_cast<uint32_t>(random_());
    return payload;
  }

  void Remember(const Request& request, uint32_t slot) {
    const Response answer = response(slot);
    EXPECT_LE(answer.payload_size, kPayloadSize);
    if (answer.error == ESTALE) std::erase(known_, request.node);
    if (answer.error != 0) return;
    if (answer.node != NodeId::kNone) known_.push_back(answer.node);
    if (request.op == Op::kWalk) {
      for (uint32_t i = 0; i < answer.count && i < kMaxWalk; ++i) {
        WalkedNode node;
        memcpy(&node, ring_->payloads[slot] + i * sizeof(node), sizeof(node));
        known_.push_back(node.id);
      }
    }
    if (known_.size() > 200) known_.erase(known_.begin(), known_.begin() + 50);
  }

  void Mutate(Request& request, std::string& payload) {
    auto* const bytes = reinterpret_cast<unsigned char*>(&request);
    for (uint32_t i = 1 + Below(3); i > 0; --i) {
      if (payload.empty() || OneIn(2)) {
        bytes[Below(sizeof(request))] = static_cast<unsigned char>(OneIn(2) ? random_() : 0);
      } else {
        payload[Below(static_cast<uint32_t>(payload.size()))] = "/.\0a\xff"[Below(5)];
      }
    }
    if (OneIn(3)) request.node = RandomNode();
  }

  // Of the walk that was answered in `slot`.
  std::vector<NodeId> WalkedNodes(uint32_t slot) {
    std::vector<NodeId> nodes;
    const Response answer = response(slot);
    for (uint32_t i = 0; answer.error == 0 && i < answer.count && i < kMaxWalk; ++i) {
      WalkedNode node;
      memcpy(&node, ring_->payloads[slot] + i * sizeof(node), sizeof(node));
      nodes.push_back(node.id);
    }
    return nodes;
  }

  void Garbage() {
    ring_->header.pending.store(static_cast<uint32_t>(random_()));
    ring_->header.server_state.store(static_cast<ServerState>(random_()));
    ring_->header.server_cpu.store(static_cast<uint32_t>(random_()));
    ring_->slots[Below(kSlotCount)].state.store(static_cast<SlotState>(random_()));
    Bell();
  }

 private:
  void Bell() { send(socket_, "bell", 1 + Below(4), MSG_DONTWAIT | MSG_NOSIGNAL); }

  void Drain() {
    for (;;) {
      FdMessage message;
      iovec io{.iov_base = &message, .iov_len = sizeof(message)};
      alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
      msghdr header{};
      header.msg_iov = &io;
      header.msg_iovlen = 1;
      header.msg_control = control;
      header.msg_controllen = sizeof(control);
      if (recvmsg(socket_, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) <= 0) return;
      const cmsghdr* cmsg = CMSG_FIRSTHDR(&header);
      ASSERT_NE(cmsg, nullptr);
      int fd;
      memcpy(&fd, CMSG_DATA(cmsg), sizeof(fd));
      world_.ExpectInside(fd);
      close(fd);
      ++descriptors_;
    }
  }

  static uint16_t NamesOf(Op op) {
    switch (op) {
      case Op::kRename:
      case Op::kSymlink:
        return 2;
      case Op::kWalk:
      case Op::kGetXattr:
      case Op::kCreate:
      case Op::kMkdir:
      case Op::kMknod:
      case Op::kLink:
      case Op::kUnlink:
      case Op::kSetXattr:
      case Op::kRemoveXattr:
      case Op::kBind:
        return 1;
      default:
        return 0;
    }
  }

  NodeId RandomNode() {
    if (OneIn(3)) return RootNode(OneIn(8) ? Below(3) : 0);
    if (OneIn(6)) return static_cast<NodeId>(random_());
    if (OneIn(6)) return MakeNodeId(Below(300), Below(4));
    return known_.empty() ? RootNode(0) : known_[Below(static_cast<uint32_t>(known_.size()))];
  }
  uint32_t RandomFlags() {
    static constexpr uint32_t kFlags[] = {
        0,           O_RDWR,   O_WRONLY,     O_TRUNC, O_RDWR | O_APPEND, O_PATH,
        O_DIRECTORY, O_CREAT,  AT_REMOVEDIR, 1,       RENAME_EXCHANGE,   O_TMPFILE,
        O_NOFOLLOW,  O_DIRECT, AT_EMPTY_PATH};
    return OneIn(5) ? static_cast<uint32_t>(random_()) : kFlags[Below(std::size(kFlags))];
  }

  World& world_;
  RingMapping ring_;
  const int socket_;
  std::mt19937_64 random_;
  std::vector<NodeId> known_;

 public:
  int descriptors_ = 0;
};

TEST(HostileSentry, RandomMessages) {
  World world;
  TestServer server({{world.root(), true}, {world.frozen(), false}});
  Attacker attacker(server, world, 20240607);
  std::map<int, int> errors;
  for (int i = 0; i < 30'000; ++i) {
    Request request = attacker.RandomRequest();
    const std::string payload = attacker.RandomPayload(request);
    const uint32_t slot = attacker.Below(kSlotCount);
    ASSERT_TRUE(attacker.Send(slot, request, payload)) << "message " << i;
    ++errors[attacker.response(slot).error];
    attacker.Remember(request, slot);
    if (attacker.OneIn(50)) attacker.Garbage();
  }
  world.ExpectUntouched();
  // The loop is worth something only if much of it got through.
  EXPECT_GT(errors[0], 2000);
  EXPECT_GT(attacker.descriptors_, 20);
  for (int error : {EINVAL, EBADF, ESTALE, EROFS, ENOSYS}) EXPECT_GT(errors[error], 0) << error;
}

// A socket that listens, by its path.
UniqueFd ListenAt(const std::string& path) {
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  memcpy(address.sun_path, path.data(), path.size());
  EXPECT_EQ(bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  EXPECT_EQ(listen(fd.get(), 100), 0);
  return fd;
}

// With everything that a policy can let through: sockets and fifos of the exports, and no others.
TEST(HostileSentry, RandomMessagesAboutSocketsAndFifos) {
  World world;
  const UniqueFd outside = ListenAt(world.outside() + "/b");
  const UniqueFd inside = ListenAt(world.root() + "/x");
  EXPECT_EQ(mkfifo((world.outside() + "/a").c_str(), 0666), 0);
  EXPECT_EQ(mkfifo((world.root() + "/sub").c_str(), 0666), 0);
  world.Remember();
  world.lets_out_special_files = true;
  TestServer server({{world.root(), true}, {world.frozen(), false}},
                    {.connect_sockets = true, .bind_sockets = true, .open_fifos = true});
  Attacker attacker(server, world, 7);
  for (int i = 0; i < 30'000; ++i) {
    Request request = attacker.RandomRequest();
    if (attacker.OneIn(4)) request.op = attacker.OneIn(2) ? Op::kBind : Op::kConnect;
    if (attacker.OneIn(4)) request.flags = SOCK_STREAM;
    const std::string payload = attacker.RandomPayload(request);
    const uint32_t slot = attacker.Below(kSlotCount);
    ASSERT_TRUE(attacker.Send(slot, request, payload)) << "message " << i;
    attacker.Remember(request, slot);
  }
  EXPECT_GT(attacker.descriptors_, 20);
  EXPECT_EQ(accept(outside.get(), nullptr, nullptr), -1);
  world.ExpectUntouched();
}

// Messages that a sentry could send, with some bytes changed: most get further than random ones.
TEST(HostileSentry, MutatedMessages) {
  World world;
  TestServer server({{world.root(), true}, {world.frozen(), false}, {world.store(), true, true}});
  for (uint64_t seed : {1, 2, 3}) {
    Attacker attacker(server, world, seed);
    std::vector<std::pair<Request, std::string>> sent;
    for (int i = 0; i < 12'000; ++i) {
      Request request;
      std::string payload;
      if (sent.empty() || attacker.OneIn(3)) {
        request = attacker.RandomRequest();
        payload = attacker.RandomPayload(request);
      } else {
        std::tie(request, payload) = sent[attacker.Below(static_cast<uint32_t>(sent.size()))];
        attacker.Mutate(request, payload);
      }
      const uint32_t slot = attacker.Below(kSlotCount);
      ASSERT_TRUE(attacker.Send(slot, request, payload)) << "seed " << seed << ", message " << i;
      if (attacker.response(slot).error == 0) sent.emplace_back(request, payload);
      if (sent.size() > 500) sent.erase(sent.begin(), sent.begin() + 100);
      attacker.Remember(request, slot);
    }
    EXPECT_GT(attacker.descriptors_, 5);
  }
  world.ExpectUntouched();
}

TEST(HostileSentry, AFilestoreGivesFilesWithoutNamesAndNothingElse) {
  World world;
  TestServer server({{world.root(), true}, {world.store(), true, true}});
  Attacker attacker(server, world, 1);
  for (uint32_t op = 1; op < kOpCount; ++op) {
    Request request{
        .op = static_cast<Op>(op), .node = RootNode(1), .payload_size = 2, .name_count = 1};
    if (request.op == Op::kForget) continue;
    if (request.op == Op::kNewUnnamed) request.name_count = 0;
    ASSERT_TRUE(attacker.Send(0, request, std::string("a\0", 2)));
    EXPECT_EQ(attacker.response(0).error, request.op == Op::kNewUnnamed ? 0 : EPERM) << op;
  }
  EXPECT_EQ(attacker.descriptors_, 1);
  ASSERT_TRUE(attacker.Send(0, {.op = Op::kNewUnnamed, .node = RootNode(0)}, ""));
  EXPECT_EQ(attacker.response(0).error, EPERM);
  // Neither as the target of what begins elsewhere.
  const Request rename{.op = Op::kRename,
                       .node = RootNode(0),
                       .node2 = RootNode(1),
                       .payload_size = 4,
                       .name_count = 2};
  ASSERT_TRUE(attacker.Send(0, rename, std::string("a\0b\0", 4)));
  EXPECT_EQ(attacker.response(0).error, EXDEV);
  world.ExpectUntouched();
}

// Swaps two names of the host until it is destroyed.
class Swapper {
 public:
  Swapper(std::string one, std::string other)
      : one_(std::move(one)), other_(std::move(other)), thread_([this] {
          while (!stop_.load()) {
            EXPECT_EQ(syscall(SYS_renameat2, AT_FDCWD, one_.c_str(), AT_FDCWD, other_.c_str(),
                              RENAME_EXCHANGE),
                      0);
            swaps_.fetch_add(1);
          }
        }) {}
  ~Swapper() {
    stop_.store(true);
    thread_.join();
  }
  int swaps() const { return swaps_.load(); }

 private:
  const std::string one_, other_;
  std::atomic<bool> stop_{false};
  std::atomic<int> swaps_{0};
  std::thread thread_;
};

// Walks to a/b/file and opens it, makes and removes names in a/b: what a swapped name leads to must
// never be outside.
void WalkWhileSwapped(Attacker& attacker, const Swapper& swapper) {
  for (int i = 0; i < 3000 || swapper.swaps() < 100; ++i) {
    Request walk{.op = Op::kWalk, .node = RootNode(0), .payload_size = 9, .name_count = 3};
    EXPECT_TRUE(attacker.Send(0, walk, std::string("a\0b\0file\0", 9)));
    const std::vector<NodeId> nodes = attacker.WalkedNodes(0);
    if (nodes.size() == 3) {
      EXPECT_TRUE(attacker.Send(1, {.op = Op::kOpen, .flags = O_RDWR, .node = nodes[2]}, ""));
    }
    if (nodes.size() >= 2) {
      Request create{.op = Op::kCreate,
                     .flags = O_RDWR,
                     .node = nodes[1],
                     .mode = 0600,
                     .payload_size = 5,
                     .name_count = 1};
      EXPECT_TRUE(attacker.Send(2, create, std::string("file\0", 5)));
      Request unlink{.op = Op::kUnlink, .node = nodes[1], .payload_size = 5, .name_count = 1};
      EXPECT_TRUE(attacker.Send(3, unlink, std::string("file\0", 5)));
    }
    for (NodeId node : nodes) {
      Request forget{.op = Op::kGetAttr, .node = RootNode(0), .forget_count = 1};
      forget.forgets[0] = node;
      EXPECT_TRUE(attacker.Send(4, forget, ""));
    }
  }
}

TEST(PathRaces, ADirectorySwappedWithASymlink) {
  World world;
  fs::create_symlink(world.outside(), world.root() + "/a/link");
  TestServer server({{world.root(), true}});
  Attacker attacker(server, world, 1);
  {
    Swapper swapper(world.root() + "/a/b", world.root() + "/a/link");
    WalkWhileSwapped(attacker, swapper);
  }
  world.ExpectUntouched();
}

TEST(PathRaces, AParentSwappedWithASymlink) {
  World world;
  fs::create_symlink("../outside", world.root() + "/link");
  fs::create_directories(world.outside() + "/b");
  std::ofstream(world.outside() + "/b/file") << "secret";
  world.Remember();
  TestServer server({{world.root(), true}});
  Attacker attacker(server, world, 1);
  {
    Swapper swapper(world.root() + "/a", world.root() + "/link");
    WalkWhileSwapped(attacker, swapper);
  }
  world.ExpectUntouched();
}

TEST(PathRaces, AFileSwappedWithASymlink) {
  World world;
  std::ofstream(world.root() + "/a/b/file") << "text";
  fs::create_symlink(world.outside() + "/file", world.root() + "/a/b/link");
  TestServer server({{world.root(), true}});
  Attacker attacker(server, world, 1);
  {
    Swapper swapper(world.root() + "/a/b/file", world.root() + "/a/b/link");
    for (int i = 0; i < 3000 || swapper.swaps() < 100; ++i) {
      Request walk{.op = Op::kWalk, .node = RootNode(0), .payload_size = 9, .name_count = 3};
      ASSERT_TRUE(attacker.Send(0, walk, std::string("a\0b\0file\0", 9)));
      const std::vector<NodeId> nodes = attacker.WalkedNodes(0);
      if (nodes.size() < 3) continue;
      ASSERT_TRUE(attacker.Send(1, {.op = Op::kOpen, .flags = O_RDWR, .node = nodes[2]}, ""));
      Request size{.op = Op::kSetAttr, .node = nodes[2], .valid = kSetMode | kSetSize};
      ASSERT_TRUE(attacker.Send(2, size, ""));
      for (NodeId node : nodes) {
        Request forget{.op = Op::kGetAttr, .node = RootNode(0), .forget_count = 1};
        forget.forgets[0] = node;
        ASSERT_TRUE(attacker.Send(4, forget, ""));
      }
    }
  }
  EXPECT_GT(attacker.descriptors_, 0);
  world.ExpectUntouched();
}

TEST(HostileSentry, NamesOutsideOfThePayloadAreRefused) {
  World world;
  TestServer server({{world.root(), true}});
  Attacker attacker(server, world, 1);
  const Request walk{.op = Op::kWalk, .node = RootNode(0), .payload_size = 4, .name_count = 1};
  ASSERT_TRUE(attacker.Send(0, walk, "file"));  // No NUL within the four bytes.
  EXPECT_EQ(attacker.response(0).error, EINVAL);
  Request large = walk;
  large.payload_size = kPayloadSize + 1;
  ASSERT_TRUE(attacker.Send(0, large, "file"));
  EXPECT_EQ(attacker.response(0).error, EINVAL);
  Request many = walk;
  many.name_count = kMaxWalk + 1;
  ASSERT_TRUE(attacker.Send(0, many, std::string("a\0a\0a\0a\0a\0a\0a\0a\0a\0a\0a\0", 22)));
  EXPECT_EQ(attacker.response(0).error, EINVAL);
}

TEST(HostileSentry, ARingThatCanShrinkIsRefused) {
  UniqueFd plain(memfd_create("ring", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(ftruncate(plain.get(), sizeof(Ring)), 0);
  EXPECT_FALSE(MapRing(plain).ok());
  auto ring = CreateRing();
  ASSERT_TRUE(ring.ok());
  EXPECT_NE(ftruncate(ring->get(), 4096), 0);
}

}  // namespace
}  // namespace gofer
