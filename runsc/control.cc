#include "runsc/control.h"

#include <sys/socket.h>

#include <algorithm>
#include <cstring>

namespace runsc {

namespace {

Status SendAll(int socket, const void* data, size_t size) {
  for (;;) {
    if (send(socket, data, size, MSG_NOSIGNAL) == static_cast<ssize_t>(size)) return kOk;
    if (errno != EINTR) return Errno::Last();
  }
}

Status ReceiveAll(int socket, void* data, size_t size, int flags) {
  for (;;) {
    const ssize_t received = recv(socket, data, size, flags);
    if (received == static_cast<ssize_t>(size)) return kOk;
    if (received >= 0) return Errno(ECONNRESET);
    if (errno != EINTR) return Errno::Last();
  }
}

}  // namespace

Status SendCommand(int socket, const Command& command) {
  return SendAll(socket, &command, sizeof(command));
}

Result<Command> ReceiveCommand(int socket) {
  Command command{};
  TRY(ReceiveAll(socket, &command, sizeof(command), 0));
  return command;
}

Status SendReport(int socket, Report::Kind kind, int status, const std::string& message) {
  Report report{.kind = kind, .status = status};
  memcpy(report.message, message.data(), std::min(message.size(), sizeof(report.message) - 1));
  return SendAll(socket, &report, sizeof(report));
}

Result<Report> ReceiveReport(int socket) {
  Report report{};
  TRY(ReceiveAll(socket, &report, sizeof(report), MSG_DONTWAIT));
  // The sentry is not trusted with the end of the string.
  report.message[sizeof(report.message) - 1] = '\0';
  return report;
}

}  // namespace runsc
