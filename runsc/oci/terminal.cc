#include "runsc/oci/terminal.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runsc/control.h"
#include "runsc/lockdown.h"

namespace runsc::oci {

namespace {

bool WriteAll(int fd, const char* data, size_t size) {
  while (size > 0) {
    const ssize_t written = write(fd, data, size);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    data += written;
    size -= static_cast<size_t>(written);
  }
  return true;
}

}  // namespace

absl::StatusOr<Pty> OpenPty(const std::optional<spec::ConsoleSize>& size, uid_t uid) {
  Pty pty;
  pty.master = UniqueFd(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!pty.master.valid()) return HostError("/dev/ptmx");
  if (unlockpt(pty.master.get()) != 0) return HostError("unlockpt");
  pty.slave = UniqueFd(ioctl(pty.master.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!pty.slave.valid()) return HostError("TIOCGPTPEER");
  // Not everybody may give files away; root's is good enough then.
  if (fchown(pty.slave.get(), uid, static_cast<gid_t>(-1)) != 0) errno = 0;
  if (size.has_value()) {
    const winsize window{.ws_row = size->rows, .ws_col = size->columns};
    if (ioctl(pty.master.get(), TIOCSWINSZ, &window) != 0) return HostError("TIOCSWINSZ");
  }
  return pty;
}

absl::Status SendDescriptor(const char* flag, const std::string& path, std::string_view name,
                            int descriptor) {
  sockaddr_un address{.sun_family = AF_UNIX};
  if (path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(absl::StrCat(flag, ": ", path, ": is too long"));
  }
  memcpy(address.sun_path, path.c_str(), path.size() + 1);
  const UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return HostError("socket");
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return HostError(absl::StrCat(flag, ": ", path));
  }
  const int fds[] = {descriptor};
  const Status sent = SendWithFds(fd.get(), std::as_bytes(std::span(name)), fds);
  if (!sent.ok()) {
    return absl::InternalError(absl::StrCat(flag, ": ", path, ": ", strerror(sent.error().code())));
  }
  return absl::OkStatus();
}

Relay::Relay(UniqueFd master) : master_(std::move(master)) {
  fcntl(master_.get(), F_SETFL, fcntl(master_.get(), F_GETFL) | O_NONBLOCK);
  termios modes{};
  if (tcgetattr(STDIN_FILENO, &modes) != 0) return;
  modes_ = modes;
  cfmakeraw(&modes);
  tcsetattr(STDIN_FILENO, TCSANOW, &modes);
  OnResize();
}

Relay::~Relay() {
  if (modes_.has_value()) tcsetattr(STDIN_FILENO, TCSANOW, &*modes_);
}

void Relay::OnInput() {
  char buffer[4096];
  const ssize_t count = read(STDIN_FILENO, buffer, sizeof(buffer));
  if (count < 0 && (errno == EINTR || errno == EAGAIN)) return;
  if (count <= 0) {
    // What is not a terminal has an end, which ^D says to the line.
    input_open_ = false;
    constexpr char kEndOfTransmission = 4;
    pending_ = kEndOfTransmission;
  } else {
    pending_.assign(buffer, static_cast<size_t>(count));
  }
  OnWritable();
}

void Relay::OnWritable() {
  while (!pending_.empty()) {
    const ssize_t written = write(master_.get(), pending_.data(), pending_.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0 && errno == EAGAIN) return;
    if (written <= 0) {
      input_open_ = false;
      pending_.clear();
      return;
    }
    pending_.erase(0, static_cast<size_t>(written));
  }
}

bool Relay::OnOutput() {
  char buffer[16384];
  const ssize_t count = read(master_.get(), buffer, sizeof(buffer));
  if (count < 0 && (errno == EINTR || errno == EAGAIN)) return true;
  // EIO: nobody has the other end open any more.
  if (count <= 0) return false;
  WriteAll(STDOUT_FILENO, buffer, static_cast<size_t>(count));
  return true;
}

void Relay::OnResize() {
  winsize window{};
  if (ioctl(STDIN_FILENO, TIOCGWINSZ, &window) != 0) return;
  ioctl(master_.get(), TIOCSWINSZ, &window);
}

}  // namespace runsc::oci
