// Pseudo-terminals for the cases of the family `terminals`.
#ifndef TESTS_CONFORMANCE_TERMINALS_SUPPORT_H_
#define TESTS_CONFORMANCE_TERMINALS_SUPPORT_H_

#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>

#include <functional>
#include <string>
#include <string_view>

#include "tests/conformance/support.h"

namespace conformance {

inline std::string PtsName(int master) {
  unsigned number = 0;
  EXPECT_THAT(ioctl(master, TIOCGPTN, &number), Returns(0));
  return "/dev/pts/" + std::to_string(number);
}

// A master and, unless it is not wanted, its slave: nobody's controlling terminal.
class Pty {
 public:
  enum class Slave { kOpen, kClosed };
  explicit Pty(Slave slave = Slave::kOpen)
      : master(open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC)) {
    EXPECT_TRUE(master.valid()) << "ptmx: " << ErrnoName(errno);
    int unlocked = 0;
    EXPECT_THAT(ioctl(master.get(), TIOCSPTLCK, &unlocked), Returns(0));
    name = PtsName(master.get());
    if (slave == Slave::kOpen) this->slave.reset(OpenSlave());
  }
  int OpenSlave(int flags = O_RDWR | O_NOCTTY | O_CLOEXEC) const {
    return open(name.c_str(), flags);
  }

  termios Get() const {
    termios modes = {};
    EXPECT_THAT(tcgetattr(slave.get(), &modes), Returns(0));
    return modes;
  }
  void Change(const std::function<void(termios&)>& change) const {
    termios modes = Get();
    change(modes);
    EXPECT_THAT(tcsetattr(slave.get(), TCSANOW, &modes), Returns(0));
  }
  // Bytes go through as they are; a read waits for `minimum` bytes.
  void MakeRaw(cc_t minimum = 1, cc_t tenths = 0) const {
    Change([&](termios& t) {
      cfmakeraw(&t);
      t.c_cc[VMIN] = minimum;
      t.c_cc[VTIME] = tenths;
    });
  }
  void Type(std::string_view keys) const {
    EXPECT_THAT(write(master.get(), keys.data(), keys.size()), Returns(keys.size()));
  }
  void Print(std::string_view text) const {
    EXPECT_THAT(write(slave.get(), text.data(), text.size()), Returns(text.size()));
  }
  // One read(2) of what there is, waiting for it.
  static std::string ReadOnce(int fd, size_t size = 8192) {
    if (!WaitReadable(fd)) return "(nothing)";
    std::string text(size, '\0');
    const ssize_t n = read(fd, text.data(), size);
    if (n < 0) return "(" + ErrnoName(errno) + ")";
    text.resize(static_cast<size_t>(n));
    return text;
  }
  std::string Line(size_t size = 8192) const { return ReadOnce(slave.get(), size); }
  // Reads until `size` bytes have come.
  static std::string ReadExactly(int fd, size_t size) {
    std::string text;
    while (text.size() < size) {
      const std::string more = ReadOnce(fd, size - text.size());
      if (more.empty() || more == "(nothing)" || more == "(EIO)") return text + more;
      text += more;
    }
    return text;
  }
  std::string Shown(size_t size) const { return ReadExactly(master.get(), size); }
  // Everything shown so far: up to a mark that the program prints. What was typed has been
  // processed if its effect on the slave's side has been seen.
  std::string ShownSoFar() const {
    Print("|");
    std::string text;
    while (text.empty() || text.back() != '|') {
      const std::string more = ReadOnce(master.get());
      if (more.empty() || more.front() == '(') return text + more;
      text += more;
    }
    text.pop_back();
    return text;
  }
  int Pending() const {
    int count = -1;
    EXPECT_THAT(ioctl(slave.get(), FIONREAD, &count), Returns(0));
    return count;
  }

  UniqueFd master, slave;
  std::string name;
};

inline short PollNow(int fd, short events = POLLIN | POLLOUT | POLLPRI) {
  pollfd one = {fd, events, 0};
  return poll(&one, 1, 0) < 0 ? static_cast<short>(-1) : one.revents;
}
inline bool PollsEventually(int fd, short events) {
  return Eventually([&] { return (PollNow(fd, events) & events) == events; });
}

// In a child: a new session whose controlling terminal is the slave. Returns its descriptor.
inline int TakeTerminal(const Pty& pty) {
  CHILD_CHECK(setsid() > 0);
  const int fd = pty.OpenSlave(O_RDWR);
  CHILD_CHECK(fd >= 0);
  CHILD_CHECK(tcgetsid(fd) == getpid());
  return fd;
}

// A session on a terminal, run in a child.
inline int InSession(const Pty& pty, const std::function<int(int)>& body) {
  return InChild([&] { return body(TakeTerminal(pty)); });
}

// In a session leader: a child in a process group of its own, which runs `body` once it is in the
// background (or the foreground).
enum class Where { kBackground, kForeground };
inline pid_t StartJob(int tty, Where where, const std::function<int()>& body) {
  Pipe go;
  const pid_t child = Start([&] {
    setpgid(0, 0);
    CHILD_CHECK(Await(go.read.get()));
    return body();
  });
  setpgid(child, child);
  if (where == Where::kForeground) {
    signal(SIGTTOU, SIG_IGN);
    CHILD_CHECK(tcsetpgrp(tty, child) == 0);
  }
  CHILD_CHECK(Post(go.write.get()));
  return child;
}

}  // namespace conformance

#endif  // TESTS_CONFORMANCE_TERMINALS_SUPPORT_H_
