// Threads that do the same thing to one AF_UNIX socket at the same time, and limits that several
// sockets share: exactly one of the threads has its way, and nothing is left behind.
#include <sys/resource.h>
#include <sys/time.h>

#include <atomic>
#include <thread>

#include "tests/conformance/unix_support.h"

namespace {

constexpr int kRounds = 100;

// Runs `first` and `second` in two threads at once; how often they answered 0, and which errors
// there were otherwise.
struct Answers {
  int good = 0;
  std::vector<int> errors;
};
template <typename First, typename Second>
Answers AtOnce(First first, Second second) {
  std::atomic<int> ready{0};
  int errors[2] = {};
  const auto run = [&](auto& body, int& error) {
    ready++;
    while (ready < 2) std::this_thread::yield();
    error = body() == 0 ? 0 : errno;
  };
  std::thread other([&] { run(second, errors[1]); });
  run(first, errors[0]);
  other.join();
  Answers answers;
  for (const int error : errors) {
    if (error == 0) answers.good++;
    if (error != 0) answers.errors.push_back(error);
  }
  return answers;
}

TEST(UnixRaces, BindToTwoNames) {
  for (int i = 0; i < kRounds; i++) {
    const std::string one = UniqueName("one"), two = UniqueName("two");
    {
      UniqueFd fd = UnixSocketOf(SOCK_STREAM);
      const Answers got =
          AtOnce([&] { return Bind(fd, UnixName(one)); }, [&] { return Bind(fd, UnixName(two)); });
      EXPECT_EQ(got.good, 1);
      EXPECT_EQ(got.errors, std::vector<int>{EINVAL});
    }
    // Both names are free again.
    UniqueFd a = UnixSocketOf(SOCK_STREAM), b = UnixSocketOf(SOCK_STREAM);
    EXPECT_THAT(Bind(a, UnixName(one)), Returns(0));
    EXPECT_THAT(Bind(b, UnixName(two)), Returns(0));
  }
}

TEST(UnixRaces, BindToTwoPaths) {
  TempDir dir;
  const std::string one = dir / "one", two = dir / "two";
  for (int i = 0; i < kRounds; i++) {
    UniqueFd fd = UnixSocketOf(SOCK_STREAM);
    const Answers got =
        AtOnce([&] { return Bind(fd, UnixName(one)); }, [&] { return Bind(fd, UnixName(two)); });
    EXPECT_EQ(got.good, 1);
    EXPECT_EQ(got.errors, std::vector<int>{EINVAL});
    // What the other one has made is gone.
    EXPECT_EQ((unlink(one.c_str()) == 0) + (unlink(two.c_str()) == 0), 1);
  }
}

TEST(UnixRaces, BindToANameAndAPath) {
  TempDir dir;
  const std::string path = dir / "path";
  for (int i = 0; i < kRounds; i++) {
    const std::string name = UniqueName("name");
    {
      UniqueFd fd = UnixSocketOf(SOCK_DGRAM);
      const Answers got = AtOnce([&] { return Bind(fd, UnixName(name)); },
                                 [&] { return Bind(fd, UnixName(path)); });
      EXPECT_EQ(got.good, 1);
    }
    unlink(path.c_str());
    UniqueFd again = UnixSocketOf(SOCK_DGRAM);
    EXPECT_THAT(Bind(again, UnixName(name)), Returns(0));
  }
}

TEST(UnixRaces, AutobindTwice) {
  for (int i = 0; i < kRounds; i++) {
    UniqueFd fd = UnixSocketOf(SOCK_DGRAM);
    const auto bind_any = [&] { return Bind(fd, UnixName("")); };
    EXPECT_EQ(AtOnce(bind_any, bind_any).good, 2);
    sockaddr_un name{};
    socklen_t size = sizeof(name);
    EXPECT_THAT(getsockname(fd.get(), reinterpret_cast<sockaddr*>(&name), &size), Returns(0));
    EXPECT_EQ(size, sizeof(sa_family_t) + 6);
  }
}

TEST(UnixRaces, ConnectTwice) {
  Listener listener(SOCK_STREAM, 10);
  for (int i = 0; i < kRounds; i++) {
    UniqueFd fd = UnixSocketOf(SOCK_STREAM);
    const auto to_it = [&] { return Connect(fd, UnixName(listener.name)); };
    const Answers got = AtOnce(to_it, to_it);
    EXPECT_EQ(got.good, 1);
    EXPECT_EQ(got.errors, std::vector<int>{EISCONN});
    const UniqueFd server = listener.Accept();
    EXPECT_THAT(SendText(fd.get(), "there"), Returns(5));
    EXPECT_EQ(Text(server.get()), "there");
    // There is no second connection.
    EXPECT_EQ(PollNow(listener.fd.get(), POLLIN), 0);
  }
}

TEST(UnixRaces, ConnectAndClose) {
  for (int i = 0; i < kRounds; i++) {
    Listener listener;
    UniqueFd fd = UnixSocketOf(SOCK_STREAM);
    AtOnce([&] { return Connect(fd, UnixName(listener.name)); },
           [&] { return listener.fd.reset(), 0; });
    // Whatever came first, the socket is as good as it was, or its connection has ended.
    Listener another;
    const int result = Connect(fd, UnixName(another.name));
    if (result != 0) {
      EXPECT_EQ(errno, EISCONN);
      continue;
    }
    UniqueFd server = another.Accept();
    EXPECT_THAT(SendText(fd.get(), "there"), Returns(5));
    EXPECT_EQ(Text(server.get()), "there");
  }
}

TEST(UnixRaces, ShutdownAndClose) {
  for (int i = 0; i < kRounds; i++) {
    Listener listener;
    UniqueFd copy(dup(listener.fd.get()));
    listener.fd.reset();
    AtOnce([&] { return shutdown(copy.get(), SHUT_RDWR), 0; }, [&] { return copy.reset(), 0; });
  }
}

// A sender that has waited for room in a queue and is closed is no longer waited for.
TEST(UnixRaces, SendersComeAndGo) {
  const std::string name = UniqueName("receiver");
  UniqueFd receiver = UnixSocketOf(SOCK_DGRAM);
  ASSERT_THAT(Bind(receiver, UnixName(name)), Returns(0));
  const auto full_sender = [&] {
    UniqueFd sender = UnixSocketOf(SOCK_DGRAM);
    EXPECT_THAT(Connect(sender, UnixName(name)), Returns(0));
    while (SendText(sender.get(), "x", MSG_DONTWAIT) == 1) {
    }
    EXPECT_EQ(errno, EAGAIN);
    return sender;
  };
  for (int i = 0; i < kRounds; i++) full_sender();
  const UniqueFd last = full_sender();
  EXPECT_EQ(PollNow(last.get(), POLLOUT), 0);
  const pid_t child = Start([&] {
    pollfd one{.fd = last.get(), .events = POLLOUT, .revents = 0};
    CHILD_CHECK(poll(&one, 1, -1) == 1);
    return 0;
  });
  Text(receiver.get());
  EXPECT_THAT(Wait(child), Exited(0));
}

// unix_dgram_disconnected(): what is dropped makes room.
TEST(UnixRaces, AReceiverThatConnectsMakesRoom) {
  const std::string name = UniqueName("receiver"), other = UniqueName("other");
  const std::string third = UniqueName("third");
  UniqueFd receiver = UnixSocketOf(SOCK_DGRAM), peer = UnixSocketOf(SOCK_DGRAM);
  UniqueFd next = UnixSocketOf(SOCK_DGRAM), sender = UnixSocketOf(SOCK_DGRAM);
  ASSERT_THAT(Bind(receiver, UnixName(name)), Returns(0));
  ASSERT_THAT(Bind(peer, UnixName(other)), Returns(0));
  ASSERT_THAT(Bind(next, UnixName(third)), Returns(0));
  ASSERT_THAT(Connect(sender, UnixName(name)), Returns(0));
  while (SendText(sender.get(), "x", MSG_DONTWAIT) == 1) {
  }
  EXPECT_EQ(PollNow(sender.get(), POLLOUT), 0);
  ASSERT_THAT(Connect(receiver, UnixName(other)), Returns(0));
  EXPECT_EQ(PollNow(receiver.get(), POLLIN), POLLIN);  // The first peer takes nothing away.
  ASSERT_THAT(Connect(receiver, UnixName(third)), Returns(0));
  EXPECT_EQ(PollNow(receiver.get(), POLLIN), 0);
  EXPECT_EQ(PollNow(sender.get(), POLLOUT), POLLOUT);
}

// SO_SNDTIMEO is of the call, not of each wait: whoever is woken for nothing does not start again.
TEST(UnixRaces, ATimeoutIsOfTheWholeCall) {
  UnixPair pair;
  timeval time{.tv_sec = 0, .tv_usec = 50'000};
  ASSERT_THAT(setsockopt(pair.a.get(), SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time)), Returns(0));
  char buffer[64];
  SendText(pair.b.get(), "ab");
  EXPECT_THAT(recv(pair.a.get(), buffer, 10, MSG_WAITALL), Returns(2));
  EXPECT_THAT(recv(pair.a.get(), buffer, 10, MSG_WAITALL), FailsWith(EAGAIN));
}

TEST(UnixRaces, ConnectGivesUp) {
  Listener listener(SOCK_STREAM, 0);
  const UniqueFd first = listener.Client();
  UniqueFd fd = UnixSocketOf(SOCK_STREAM);
  timeval time{.tv_sec = 0, .tv_usec = 20'000};
  ASSERT_THAT(setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &time, sizeof(time)), Returns(0));
  EXPECT_THAT(Connect(fd, UnixName(listener.name)), FailsWith(EAGAIN));
  const UniqueFd server = listener.Accept();
  EXPECT_THAT(Connect(fd, UnixName(listener.name)), Returns(0));
}

TEST(UnixLimits, AcceptWithoutADescriptorLosesNothing) {
  Listener listener;
  const UniqueFd client = listener.Client();
  EXPECT_THAT(InChild([&] {
                rlimit few{};
                CHILD_CHECK(getrlimit(RLIMIT_NOFILE, &few) == 0);
                const rlim_t former = few.rlim_cur;
                few.rlim_cur = 0;
                CHILD_CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
                CHILD_CHECK(accept(listener.fd.get(), nullptr, nullptr) == -1 && errno == EMFILE);
                few.rlim_cur = former;
                CHILD_CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
                CHILD_CHECK(PollNow(listener.fd.get(), POLLIN) == POLLIN);
                const UniqueFd server = listener.Accept();
                CHILD_CHECK(server.get() >= 0);
                CHILD_CHECK(SendText(client.get(), "x") == 1 && Text(server.get()) == "x");
                return 0;
              }),
              Exited(0));
}

// The number comes first: nobody waits for a connection that could not be had.
TEST(UnixLimits, AcceptWithoutADescriptorDoesNotWait) {
  Listener listener;
  UniqueFd pipe_end = OpenTemp();
  EXPECT_THAT(InChild([&] {
                rlimit none{};
                CHILD_CHECK(getrlimit(RLIMIT_NOFILE, &none) == 0);
                none.rlim_cur = 0;
                CHILD_CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
                CHILD_CHECK(accept(listener.fd.get(), nullptr, nullptr) == -1 && errno == EMFILE);
                CHILD_CHECK(accept(pipe_end.get(), nullptr, nullptr) == -1 && errno == EMFILE);
                CHILD_CHECK(accept(-1, nullptr, nullptr) == -1 && errno == EBADF);
                return 0;
              }),
              Exited(0));
}

TEST(UnixLimits, TheReservedNumberIsNobodysElse) {
  Listener listener;
  const UniqueFd client = UnixSocketOf(SOCK_STREAM);
  EXPECT_THAT(
      InChild([&] {
        int accepted = -1;
        std::thread waiting([&] { accepted = accept(listener.fd.get(), nullptr, nullptr); });
        // A number stays free, or becomes the connection's: never both.
        std::vector<UniqueFd> others;
        for (int i = 0; i < 50; i++) others.emplace_back(dup(0));
        CHILD_CHECK(Connect(client, UnixName(listener.name)) == 0);
        waiting.join();
        CHILD_CHECK(accepted >= 0);
        for (const UniqueFd& other : others) CHILD_CHECK(other.get() != accepted);
        return 0;
      }),
      Exited(0));
}

// too_many_unix_fds(): as many files in flight as a process may have open, for each user.
TEST(UnixLimits, FilesInFlight) {
  EXPECT_THAT(InChild([&] {
                rlimit few{.rlim_cur = 40, .rlim_max = 40};
                CHILD_CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
                // A user that has nothing else in flight.
                CHILD_CHECK(geteuid() != 0 || (setresgid(61234, 61234, 61234) == 0 &&
                                               setresuid(61234, 61234, 61234) == 0));
                UnixPair pair;
                ssize_t sent = 0;
                int count = 0;
                while ((sent = SendFds(pair.a.get(), "x", {0, 0}, MSG_DONTWAIT)) == 1) count += 2;
                CHILD_CHECK(sent == -1 && errno == ETOOMANYREFS);
                CHILD_CHECK(count == 42);
                // What is received is no longer in flight.
                char byte;
                CHILD_CHECK(recv(pair.b.get(), &byte, 1, 0) == 1);
                CHILD_CHECK(SendFds(pair.a.get(), "x", {0, 0}) == 1);
                CHILD_CHECK(SendFds(pair.a.get(), "x", {0, 0}) == -1 && errno == ETOOMANYREFS);
                // Bytes alone go on, and so do files once nothing is left in flight.
                CHILD_CHECK(SendText(pair.a.get(), "y") == 1);
                pair.b.reset();
                UnixPair another(SOCK_DGRAM);
                CHILD_CHECK(SendFds(another.a.get(), "x", {0, 0}) == 1);
                return 0;
              }),
              Exited(0));
}

TEST(UnixLimits, RightsLiftThatLimit) {
  if (geteuid() != 0) GTEST_SKIP() << "needs CAP_SYS_RESOURCE";
  EXPECT_THAT(InChild([&] {
                rlimit few{.rlim_cur = 40, .rlim_max = 40};
                CHILD_CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
                UnixPair pair;
                for (int i = 0; i < 30; i++) {
                  CHILD_CHECK(SendFds(pair.a.get(), "x", {0, 0}, MSG_DONTWAIT) == 1);
                }
                return 0;
              }),
              Exited(0));
}

}  // namespace
