// Sockets and fifos of the host: what each word of the gofer's policy lets through, and nothing
// else.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include "gofer/server/test_server.h"
#include "gtest/gtest.h"
#include "sentry/fs/gofer/gofer_test_util.h"

namespace sentry {
namespace {

using gofer::NodeId;
using gofer::RootNode;

constexpr NodeId kRoot = RootNode(0);
constexpr NodeId kReadOnly = RootNode(1);
constexpr gofer::Policy kOpen{.connect_sockets = true};
constexpr gofer::Policy kCreate{.bind_sockets = true};
constexpr gofer::Policy kFifos{.open_fifos = true};

template <typename T>
int ErrorOf(const Result<T>& result) {
  return result.ok() ? 0 : result.error().code();
}

sockaddr_un Address(const std::string& path) {
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  memcpy(address.sun_path, path.data(), path.size());
  return address;
}

UniqueFd Server(const std::string& path, int type = SOCK_STREAM) {
  UniqueFd fd(socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  const sockaddr_un address = Address(path);
  EXPECT_EQ(bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  if (type != SOCK_DGRAM) {
    EXPECT_EQ(listen(fd.get(), 0), 0);
  }
  return fd;
}

// A tree with a server's socket, a fifo and a file in it; export 1 is the same, read-only.
class World {
 public:
  explicit World(const gofer::Policy& policy)
      : server_({{dir_.path(), true}, {dir_.path(), false}}, policy) {
    listener_ = Server(dir_ / "server");
    EXPECT_EQ(mkfifo((dir_ / "fifo").c_str(), 0600), 0);
    dir_.Write("file", "text");
    client_ = Connect(std::move(server_.client_socket), std::move(server_.client_ring), hooks_);
  }

  GoferClient& client() { return *client_; }
  NodeId Find(std::string_view name, NodeId root = kRoot) {
    return client_->Lookup(root, name)->id;
  }
  const TempDirectory& dir() const { return dir_; }
  int listener() const { return listener_.get(); }

 private:
  TempDirectory dir_;
  UniqueFd listener_;
  CountingHooks hooks_;
  gofer::TestServer server_;
  std::unique_ptr<GoferClient> client_;
};

TEST(GoferSockets, NothingWithoutAPolicy) {
  World world({});
  EXPECT_EQ(ErrorOf(world.client().Connect(world.Find("server"), SOCK_STREAM)), ECONNREFUSED);
  EXPECT_EQ(ErrorOf(world.client().Bind(kRoot, "new", SOCK_STREAM, {.mode = 0600})), EPERM);
  EXPECT_EQ(ErrorOf(world.client().Open(world.Find("fifo"), O_RDWR)), ENXIO);
  EXPECT_NE(access((world.dir() / "new").c_str(), F_OK), 0);
}

TEST(GoferSockets, EachWordLetsItsOwnThrough) {
  World open(kOpen);
  EXPECT_EQ(ErrorOf(open.client().Connect(open.Find("server"), SOCK_STREAM)), 0);
  EXPECT_EQ(ErrorOf(open.client().Bind(kRoot, "new", SOCK_STREAM, {.mode = 0600})), EPERM);
  EXPECT_EQ(ErrorOf(open.client().Open(open.Find("fifo"), O_RDWR)), ENXIO);
  World create(kCreate);
  EXPECT_EQ(ErrorOf(create.client().Connect(create.Find("server"), SOCK_STREAM)), ECONNREFUSED);
  EXPECT_EQ(ErrorOf(create.client().Bind(kRoot, "new", SOCK_STREAM, {.mode = 0600})), 0);
  World fifos(kFifos);
  EXPECT_EQ(ErrorOf(fifos.client().Connect(fifos.Find("server"), SOCK_STREAM)), ECONNREFUSED);
  EXPECT_EQ(ErrorOf(fifos.client().Bind(kRoot, "new", SOCK_STREAM, {.mode = 0600})), EPERM);
  EXPECT_EQ(ErrorOf(fifos.client().Open(fifos.Find("fifo"), O_RDWR)), 0);
}

TEST(GoferSockets, ConnectsAndNeverBlocks) {
  World world(kOpen);
  auto fd = world.client().Connect(world.Find("server"), SOCK_STREAM);
  ASSERT_TRUE(fd.ok());
  EXPECT_NE(fcntl(fd->get(), F_GETFL) & O_NONBLOCK, 0);
  const UniqueFd accepted(accept(world.listener(), nullptr, nullptr));
  ASSERT_TRUE(accepted.valid());
  EXPECT_EQ(write(fd->get(), "hello", 5), 5);
  char text[8] = {};
  EXPECT_EQ(read(accepted.get(), text, sizeof(text)), 5);
  EXPECT_STREQ(text, "hello");
}

TEST(GoferSockets, AReadOnlyTreeCanBeConnectedTo) {
  World world(kOpen);
  EXPECT_EQ(ErrorOf(world.client().Connect(world.Find("server", kReadOnly), SOCK_STREAM)), 0);
}

TEST(GoferSockets, ConnectErrors) {
  World world(kOpen);
  EXPECT_EQ(ErrorOf(world.client().Connect(world.Find("file"), SOCK_STREAM)), ECONNREFUSED);
  EXPECT_EQ(ErrorOf(world.client().Connect(kRoot, SOCK_STREAM)), ECONNREFUSED);
  EXPECT_EQ(ErrorOf(world.client().Connect(world.Find("server"), SOCK_DGRAM)), EPROTOTYPE);
  for (const uint32_t type : {0u, 3u, 7u, SOCK_STREAM | 0x80u, 0xffffffffu}) {
    EXPECT_EQ(ErrorOf(world.client().Connect(world.Find("server"), type)), EINVAL) << type;
  }
  { const UniqueFd gone = Server(world.dir() / "gone"); }
  EXPECT_EQ(ErrorOf(world.client().Connect(world.Find("gone"), SOCK_STREAM)), ECONNREFUSED);
}

TEST(GoferSockets, AFullQueueIsEagain) {
  World world(kOpen);
  std::vector<UniqueFd> waiting;
  int error = 0;
  while (error == 0 && waiting.size() < 100) {
    auto fd = world.client().Connect(world.Find("server"), SOCK_STREAM);
    error = ErrorOf(fd);
    if (fd.ok()) waiting.push_back(*std::move(fd));
  }
  EXPECT_EQ(error, EAGAIN);
}

TEST(GoferSockets, BindsARealSocket) {
  World world(kCreate);
  auto made = world.client().Bind(kRoot, "new", SOCK_STREAM, {.mode = 0640});
  ASSERT_TRUE(made.ok());
  EXPECT_EQ(made->node.attr.mode, S_IFSOCK | 0640u);
  struct stat st;
  ASSERT_EQ(stat((world.dir() / "new").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode, S_IFSOCK | 0640u);
  ASSERT_EQ(listen(made->fd.get(), 1), 0);
  const UniqueFd client(socket(AF_UNIX, SOCK_STREAM, 0));
  const sockaddr_un address = Address(world.dir() / "new");
  EXPECT_EQ(connect(client.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
}

TEST(GoferSockets, BindErrors) {
  World world(kCreate);
  GoferClient& client = world.client();
  EXPECT_EQ(ErrorOf(client.Bind(kRoot, "file", SOCK_STREAM, {.mode = 0600})), EADDRINUSE);
  EXPECT_EQ(ErrorOf(client.Bind(kReadOnly, "new", SOCK_STREAM, {.mode = 0600})), EROFS);
  EXPECT_EQ(ErrorOf(client.Bind(world.Find("file"), "new", SOCK_STREAM, {.mode = 0600})), ENOTDIR);
  EXPECT_EQ(ErrorOf(client.Bind(kRoot, "new", SOCK_RAW, {.mode = 0600})), EINVAL);
  for (const char* name : {"..", ".", "a/b", "../new", ""}) {
    EXPECT_EQ(ErrorOf(client.Bind(kRoot, name, SOCK_STREAM, {.mode = 0600})), EINVAL) << name;
  }
  EXPECT_EQ(ErrorOf(client.Bind(kRoot, std::string(200, 'x'), SOCK_STREAM, {.mode = 0600})),
            ENAMETOOLONG);
}

TEST(GoferSockets, BindDoesNotFollowSymlinks) {
  World world(kCreate);
  const TempDirectory outside;
  std::filesystem::create_symlink(outside / "new", world.dir() / "link");
  EXPECT_EQ(ErrorOf(world.client().Bind(kRoot, "link", SOCK_STREAM, {.mode = 0600})), EADDRINUSE);
  EXPECT_NE(access((outside / "new").c_str(), F_OK), 0);
}

TEST(GoferSockets, ConnectDoesNotFollowSymlinks) {
  World world(kOpen);
  const TempDirectory outside;
  const UniqueFd server = Server(outside / "server");
  std::filesystem::create_symlink(outside / "server", world.dir() / "link");
  EXPECT_EQ(ErrorOf(world.client().Connect(world.Find("link"), SOCK_STREAM)), ECONNREFUSED);
}

TEST(GoferSockets, Fifos) {
  World world(kFifos);
  const NodeId fifo = world.Find("fifo");
  EXPECT_EQ(ErrorOf(world.client().Open(fifo, O_WRONLY)), ENXIO);  // Nobody reads: no waiting.
  auto reader = world.client().Open(fifo, O_RDONLY);
  ASSERT_TRUE(reader.ok());
  EXPECT_NE(fcntl(reader->get(), F_GETFL) & O_NONBLOCK, 0);
  auto writer = world.client().Open(world.Find("fifo", kReadOnly), O_WRONLY);
  ASSERT_TRUE(writer.ok());
  EXPECT_EQ(write(writer->get(), "x", 1), 1);
  char byte;
  EXPECT_EQ(read(reader->get(), &byte, 1), 1);
}

}  // namespace
}  // namespace sentry
