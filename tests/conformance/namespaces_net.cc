// Network namespaces: network_namespaces(7).
#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "tests/conformance/namespaces_support.h"
#include "tests/conformance/unix_support.h"

namespace {

sockaddr_in Loopback(uint16_t port = 0) {
  sockaddr_in to = {};
  to.sin_family = AF_INET;
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  to.sin_port = htons(port);
  return to;
}

template <typename Address>
int Bind(int fd, const Address& to) {
  return bind(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to);
}
template <typename Address>
int Connect(int fd, const Address& to) {
  return connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to);
}

short FlagsOfLoopback() {
  const UniqueFd fd(socket(AF_INET, SOCK_DGRAM, 0));
  ifreq request = {};
  strcpy(request.ifr_name, "lo");
  EXPECT_THAT(ioctl(fd.get(), SIOCGIFFLAGS, &request), Succeeds());
  return request.ifr_flags;
}

bool SetLoopback(bool up) {
  const UniqueFd fd(socket(AF_INET, SOCK_DGRAM, 0));
  ifreq request = {};
  strcpy(request.ifr_name, "lo");
  request.ifr_flags = static_cast<short>(IFF_LOOPBACK | (up ? IFF_UP : 0));
  return ioctl(fd.get(), SIOCSIFFLAGS, &request) == 0;
}

TEST(NetNamespaces, HasALoopbackThatIsDown) {
  EXPECT_THAT(InChild([] {
                CHILD_CHECK(unshare(CLONE_NEWNET) == 0);
                CHILD_CHECK((FlagsOfLoopback() & IFF_UP) == 0);
                CHILD_CHECK((FlagsOfLoopback() & IFF_LOOPBACK) != 0);
                struct if_nameindex* const names = if_nameindex();
                CHILD_CHECK(names != nullptr && std::string(names[0].if_name) == "lo");
                return 0;
              }),
              Exited(0));
}

TEST(NetNamespaces, NothingIsReachable) {
  EXPECT_THAT(InChild([] {
                CHILD_CHECK(unshare(CLONE_NEWNET) == 0);
                const UniqueFd tcp(socket(AF_INET, SOCK_STREAM, 0));
                const UniqueFd udp(socket(AF_INET, SOCK_DGRAM, 0));
                CHILD_CHECK(Connect(tcp.get(), Loopback(1)) == -1 && errno == ENETUNREACH);
                CHILD_CHECK(Connect(udp.get(), Loopback(1)) == -1 && errno == ENETUNREACH);
                const sockaddr_in to = Loopback(1);
                CHILD_CHECK(sendto(udp.get(), "x", 1, 0, reinterpret_cast<const sockaddr*>(&to),
                                   sizeof to) == -1);
                CHILD_CHECK(errno == ENETUNREACH);
                return 0;
              }),
              Exited(0));
}

TEST(NetNamespaces, AnAddressCanBeBoundWhileItIsDown) {
  EXPECT_THAT(InChild([] {
                CHILD_CHECK(unshare(CLONE_NEWNET) == 0);
                const UniqueFd early(socket(AF_INET, SOCK_STREAM, 0));
                CHILD_CHECK(Bind(early.get(), Loopback()) == 0);
                CHILD_CHECK(SetLoopback(true) && SetLoopback(false));
                const UniqueFd late(socket(AF_INET, SOCK_STREAM, 0));
                CHILD_CHECK(Bind(late.get(), Loopback()) == 0);
                const UniqueFd foreign(socket(AF_INET, SOCK_STREAM, 0));
                sockaddr_in other = Loopback();
                other.sin_addr.s_addr = htonl(0x0a010203);
                CHILD_CHECK(Bind(foreign.get(), other) == -1 && errno == EADDRNOTAVAIL);
                return 0;
              }),
              Exited(0));
}

TEST(NetNamespaces, WorksOnceTheLoopbackIsUp) {
  EXPECT_THAT(
      InChild([] {
        CHILD_CHECK(unshare(CLONE_NEWNET) == 0);
        CHILD_CHECK(SetLoopback(true));
        CHILD_CHECK((FlagsOfLoopback() & IFF_UP) != 0);
        const UniqueFd listener(socket(AF_INET, SOCK_STREAM, 0));
        CHILD_CHECK(Bind(listener.get(), Loopback()) == 0);
        CHILD_CHECK(listen(listener.get(), 1) == 0);
        sockaddr_in at = {};
        socklen_t size = sizeof at;
        CHILD_CHECK(getsockname(listener.get(), reinterpret_cast<sockaddr*>(&at), &size) == 0);
        const UniqueFd client(socket(AF_INET, SOCK_STREAM, 0));
        CHILD_CHECK(Connect(client.get(), at) == 0);
        const UniqueFd server(accept(listener.get(), nullptr, nullptr));
        CHILD_CHECK(write(client.get(), "x", 1) == 1);
        char byte = 0;
        CHILD_CHECK(read(server.get(), &byte, 1) == 1 && byte == 'x');
        return 0;
      }),
      Exited(0));
}

TEST(NetNamespaces, PortsAreItsOwn) {
  EXPECT_THAT(InChild([] {
                CHILD_CHECK(unshare(CLONE_NEWNET) == 0);
                CHILD_CHECK(SetLoopback(true));
                const UniqueFd first(socket(AF_INET, SOCK_STREAM, 0));
                CHILD_CHECK(Bind(first.get(), Loopback(7777)) == 0);
                CHILD_CHECK(listen(first.get(), 1) == 0);
                const UniqueFd again(socket(AF_INET, SOCK_STREAM, 0));
                CHILD_CHECK(Bind(again.get(), Loopback(7777)) == -1 && errno == EADDRINUSE);
                CHILD_CHECK(unshare(CLONE_NEWNET) == 0);
                CHILD_CHECK(SetLoopback(true));
                const UniqueFd other(socket(AF_INET, SOCK_STREAM, 0));
                CHILD_CHECK(Connect(other.get(), Loopback(7777)) == -1 && errno == ECONNREFUSED);
                const UniqueFd same(socket(AF_INET, SOCK_STREAM, 0));
                CHILD_CHECK(Bind(same.get(), Loopback(7777)) == 0);
                return 0;
              }),
              Exited(0));
}

TEST(NetNamespaces, ASocketStaysWhereItWasMade) {
  EXPECT_THAT(InChild([] {
                const UniqueFd home = OpenNamespace("net");
                CHILD_CHECK(unshare(CLONE_NEWNET) == 0);
                CHILD_CHECK(SetLoopback(true));
                const UniqueFd listener(socket(AF_INET, SOCK_STREAM, 0));
                CHILD_CHECK(Bind(listener.get(), Loopback(7778)) == 0);
                CHILD_CHECK(listen(listener.get(), 1) == 0);
                const UniqueFd client(socket(AF_INET, SOCK_STREAM, 0));
                CHILD_CHECK(setns(home.get(), CLONE_NEWNET) == 0);
                CHILD_CHECK(Connect(client.get(), Loopback(7778)) == 0);
                return 0;
              }),
              Exited(0));
}

TEST(NetNamespaces, AbstractNamesAreItsOwn) {
  EXPECT_THAT(InChild([] {
                sockaddr_un name = {};
                name.sun_family = AF_UNIX;
                snprintf(name.sun_path + 1, 64, "conformance.%d", getpid());
                const UniqueFd listener(socket(AF_UNIX, SOCK_STREAM, 0));
                CHILD_CHECK(Bind(listener.get(), name) == 0);
                CHILD_CHECK(listen(listener.get(), 1) == 0);
                CHILD_CHECK(unshare(CLONE_NEWNET) == 0);
                const UniqueFd client(socket(AF_UNIX, SOCK_STREAM, 0));
                CHILD_CHECK(Connect(client.get(), name) == -1 && errno == ECONNREFUSED);
                const UniqueFd same(socket(AF_UNIX, SOCK_STREAM, 0));
                CHILD_CHECK(Bind(same.get(), name) == 0);
                return 0;
              }),
              Exited(0));
}

TEST(NetNamespaces, PathNamesAreNot) {
  TempDir directory;
  EXPECT_THAT(InChild([&] {
                sockaddr_un name = {};
                name.sun_family = AF_UNIX;
                strcpy(name.sun_path, (directory / "socket").c_str());
                const UniqueFd listener(socket(AF_UNIX, SOCK_STREAM, 0));
                CHILD_CHECK(Bind(listener.get(), name) == 0);
                CHILD_CHECK(listen(listener.get(), 1) == 0);
                CHILD_CHECK(unshare(CLONE_NEWNET) == 0);
                const UniqueFd client(socket(AF_UNIX, SOCK_STREAM, 0));
                CHILD_CHECK(Connect(client.get(), name) == 0);
                return 0;
              }),
              Exited(0));
}

TEST(NetNamespaces, ASocketKeepsItsNamespace) {
  UnixPair pair;
  const pid_t child = Start([&] {
    CHILD_CHECK(unshare(CLONE_NEWNET) == 0);
    CHILD_CHECK(SetLoopback(true));
    const UniqueFd listener(socket(AF_INET, SOCK_STREAM, 0));
    CHILD_CHECK(Bind(listener.get(), Loopback(7779)) == 0 && listen(listener.get(), 1) == 0);
    const UniqueFd client(socket(AF_INET, SOCK_STREAM, 0));
    CHILD_CHECK(Connect(client.get(), Loopback(7779)) == 0);
    CHILD_CHECK(write(client.get(), "kept", 4) == 4);
    CHILD_CHECK(SendFds(pair.b.get(), "x", {listener.get()}) == 1);
    return 0;
  });
  EXPECT_THAT(Wait(child), Exited(0));
  Received got = Receive(pair.a.get());
  ASSERT_EQ(got.fds.size(), 1u);
  UniqueFd server(accept(got.fds[0].get(), nullptr, nullptr));
  ASSERT_TRUE(server.valid()) << ErrnoName(errno);
  EXPECT_EQ(ReadAll(server.get()), "kept");
  got.fds.clear();
  server.reset();
}

TEST(NetNamespaces, ProcShowsThatOfTheProcess) {
  EXPECT_THAT(
      InChild([] {
        CHILD_CHECK(unshare(CLONE_NEWNET) == 0);
        const std::string devices = ReadFile("/proc/net/dev");
        CHILD_CHECK(devices.find("lo:") != std::string::npos);
        CHILD_CHECK(std::count(devices.begin(), devices.end(), '\n') == 3);
        CHILD_CHECK(ReadFile("/proc/net/if_inet6").empty());
        CHILD_CHECK(ReadFile("/proc/net/tcp").find("00000000:1E63") == std::string::npos);
        const UniqueFd listener(socket(AF_INET, SOCK_STREAM, 0));
        sockaddr_in any = {};
        any.sin_family = AF_INET;
        any.sin_port = htons(0x1e63);
        CHILD_CHECK(Bind(listener.get(), any) == 0 && listen(listener.get(), 1) == 0);
        CHILD_CHECK(ReadFile("/proc/net/tcp").find("00000000:1E63") != std::string::npos);
        // A child that goes elsewhere sees this one through its parent.
        CHILD_CHECK(InChild([] {
                      CHILD_CHECK(unshare(CLONE_NEWNET) == 0);
                      const std::string parents = "/proc/" + std::to_string(getppid()) + "/net/tcp";
                      CHILD_CHECK(ReadFile("/proc/net/tcp").find("1E63") == std::string::npos);
                      CHILD_CHECK(ReadFile(parents).find("1E63") != std::string::npos);
                      return 0;
                    }) == 0);
        return 0;
      }),
      Exited(0));
}

TEST(NetNamespaces, SettingsAreItsOwn) {
  EXPECT_THAT(InChild([] {
                CHILD_CHECK(unshare(CLONE_NEWNET) == 0);
                const std::string file = "/proc/sys/net/ipv4/ip_local_port_range";
                CHILD_CHECK(ReadFile(file) == "32768\t60999\n");
                UniqueFd fd(open(file.c_str(), O_WRONLY));
                if (!fd.valid()) return errno == EROFS ? 0 : 1;
                CHILD_CHECK(write(fd.get(), "40000 40010", 11) == 11);
                CHILD_CHECK(ReadFile(file) == "40000\t40010\n");
                CHILD_CHECK(unshare(CLONE_NEWNET) == 0);
                CHILD_CHECK(ReadFile(file) == "32768\t60999\n");
                return 0;
              }),
              Exited(0));
}

TEST(NetNamespaces, SysfsShowsTheMounters) {
  EXPECT_THAT(InChild([] {
                TempDir directory;
                CHILD_CHECK(unshare(CLONE_NEWNET | CLONE_NEWNS) == 0);
                CHILD_CHECK(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0);
                CHILD_CHECK(mount("s", directory.path().c_str(), "sysfs", 0, nullptr) == 0);
                const std::string lo = directory / "class/net/lo/operstate";
                CHILD_CHECK(ReadFile(lo) == "down\n");
                CHILD_CHECK(SetLoopback(true));
                CHILD_CHECK(ReadFile(lo) == "unknown\n");
                CHILD_CHECK(umount(directory.path().c_str()) == 0);
                return 0;
              }),
              Exited(0));
}

}  // namespace
