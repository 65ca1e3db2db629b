// A sentry that has been taken over: whatever it writes into the ring, the gofer lives on, and
// nothing outside of the root changes or becomes visible.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <set>
#include <string>
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
    before_ = Snapshot();
  }
  ~World() { fs::remove_all(path_); }

  std::string root() const { return path_ + "/root"; }
  std::string frozen() const { return path_ + "/frozen"; }
  void ExpectUntouched() const { EXPECT_EQ(Snapshot(), before_); }

  // A descriptor that the gofer gave away.
  void ExpectInside(int fd) const {
    struct stat st;
    ASSERT_EQ(fstat(fd, &st), 0);
    EXPECT_TRUE(S_ISREG(st.st_mode));
    EXPECT_EQ(outside_inodes_.count(st.st_ino), 0u);
    const bool writable = (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY;
    EXPECT_FALSE(writable && frozen_inodes_.count(st.st_ino) != 0);
  }

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
  EXPECT_GT(errors[0], 3000);
  EXPECT_GT(attacker.descriptors_, 20);
  for (int error : {EINVAL, EBADF, ESTALE, EROFS, ENOSYS}) EXPECT_GT(errors[error], 0) << error;
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
