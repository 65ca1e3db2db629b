// What two processes say to each other: a byte there and a byte back, and many bytes one way.
#include <arpa/inet.h>
#include <benchmark/benchmark.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <vector>

namespace {

enum Kind { kPipe, kUnix, kTcp };

void Need(bool good, const char* what) {
  if (good) return;
  perror(what);
  _exit(1);  // bench/run shows the line; going on would measure a failure.
}

void TcpPair(int ends[2]) {
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in name = {};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(name);
  auto* const address = reinterpret_cast<sockaddr*>(&name);
  Need(bind(listener, address, size) == 0 && listen(listener, 1) == 0 &&
           getsockname(listener, address, &size) == 0,
       "listen");
  ends[0] = socket(AF_INET, SOCK_STREAM, 0);
  Need(connect(ends[0], address, size) == 0, "connect");
  ends[1] = accept(listener, nullptr, nullptr);
  Need(ends[1] >= 0, "accept");
  const int on = 1;
  for (int i = 0; i < 2; ++i) setsockopt(ends[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  close(listener);
}

// Two ways between two processes: what each reads from and writes to.
struct Channel {
  int ours[2], theirs[2];  // To read from, to write to.

  explicit Channel(Kind kind) {
    if (kind == kPipe) {
      int there[2], back[2];
      Need(pipe(there) == 0 && pipe(back) == 0, "pipe");
      ours[0] = back[0], ours[1] = there[1], theirs[0] = there[0], theirs[1] = back[1];
      return;
    }
    int ends[2];
    if (kind == kTcp) TcpPair(ends);
    if (kind == kUnix) Need(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0, "socketpair");
    ours[0] = ours[1] = ends[0], theirs[0] = theirs[1] = ends[1];
  }
  static void Close(const int* fds) {
    close(fds[0]);
    if (fds[1] != fds[0]) close(fds[1]);
  }
  // Runs `child` in another process, with its end.
  template <typename Child>
  pid_t Fork(Child child) {
    const pid_t pid = fork();
    if (pid != 0) return Close(theirs), pid;
    Close(ours);  // Else it never sees the end.
    child();
    _exit(0);
  }
  void Finish(pid_t pid) {
    Close(ours);
    int status = 0;
    Need(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0, "child");
  }
};

void PingPong(benchmark::State& state, Kind kind) {
  Channel channel(kind);
  char byte = 0;
  const pid_t pid = channel.Fork([&] {
    while (read(channel.theirs[0], &byte, 1) == 1 && write(channel.theirs[1], &byte, 1) == 1) {
    }
  });
  for (auto _ : state) {
    Need(write(channel.ours[1], &byte, 1) == 1 && read(channel.ours[0], &byte, 1) == 1,
         "ping-pong");
  }
  channel.Finish(pid);
}

// An item is a KiB that the other process has read, in calls of range(0) bytes on either side.
void Bulk(benchmark::State& state, Kind kind) {
  constexpr size_t kRound = 64 << 20;  // Bytes of an iteration, the last of which is waited for.
  const auto size = static_cast<size_t>(state.range(0));
  Channel channel(kind);
  const pid_t pid = channel.Fork([&] {
    std::vector<char> buffer(size);
    size_t got = 0;
    for (;;) {
      const ssize_t n = read(channel.theirs[0], buffer.data(), size);
      if (n <= 0) break;
      got += static_cast<size_t>(n);
      if (got < kRound) continue;
      got -= kRound;
      Need(write(channel.theirs[1], buffer.data(), 1) == 1, "write");
    }
  });
  std::vector<char> buffer(size, 'x');
  for (auto _ : state) {
    for (size_t sent = 0; sent < kRound; sent += size) {
      Need(write(channel.ours[1], buffer.data(), size) == static_cast<ssize_t>(size), "write");
    }
    Need(read(channel.ours[0], buffer.data(), 1) == 1, "read");
  }
  channel.Finish(pid);
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(kRound / 1024));
}

void BM_PipePingPong(benchmark::State& state) { PingPong(state, kPipe); }
void BM_UnixPingPong(benchmark::State& state) { PingPong(state, kUnix); }
void BM_TcpPingPong(benchmark::State& state) { PingPong(state, kTcp); }
void BM_PipeBulk(benchmark::State& state) { Bulk(state, kPipe); }
void BM_UnixBulk(benchmark::State& state) { Bulk(state, kUnix); }
void BM_TcpBulk(benchmark::State& state) { Bulk(state, kTcp); }

constexpr int kSizes[] = {4096, 65536, 262144};
void WithSizes(benchmark::internal::Benchmark* one) {
  for (const int size : kSizes) one->Arg(size);
  one->UseRealTime();
}

BENCHMARK(BM_PipePingPong)->UseRealTime();
BENCHMARK(BM_UnixPingPong)->UseRealTime();
BENCHMARK(BM_TcpPingPong)->UseRealTime();
BENCHMARK(BM_PipeBulk)->Apply(WithSizes);
BENCHMARK(BM_UnixBulk)->Apply(WithSizes);
BENCHMARK(BM_TcpBulk)->Apply(WithSizes);

}  // namespace
