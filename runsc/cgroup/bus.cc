#include "runsc/cgroup/bus.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <type_traits>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace runsc::cgroup {

namespace {

constexpr time_t kPatience = 30;  // Seconds, as runc waits for systemd.
constexpr uint32_t kMaxMessage = 1 << 20;
constexpr size_t kMaxEnded = 4096;
constexpr size_t kFixedHeader = 16;  // With the length of the fields.

enum Type : uint8_t { kMethodCall = 1, kMethodReturn = 2, kError = 3, kSignal = 4 };
enum Field : uint8_t {
  kPath = 1,
  kInterface = 2,
  kMember = 3,
  kErrorName = 4,
  kReplySerial = 5,
  kDestination = 6,
  kSignature = 8,
};

constexpr size_t Padded(size_t size, size_t to) { return (size + to - 1) / to * to; }

template <typename T>
constexpr const char* SignatureOf() {
  if constexpr (std::is_same_v<T, bool>) return "b";
  if constexpr (std::is_same_v<T, uint64_t>) return "t";
  if constexpr (std::is_same_v<T, std::string>) return "s";
  if constexpr (std::is_same_v<T, std::vector<std::string>>) return "as";
  if constexpr (std::is_same_v<T, std::vector<uint32_t>>) return "au";
  if constexpr (std::is_same_v<T, std::vector<uint8_t>>) return "ay";
}

void WriteOne(BusWriter& out, bool value) { out.Number(value ? 1 : 0); }
void WriteOne(BusWriter& out, uint64_t value) { out.Long(value); }
void WriteOne(BusWriter& out, uint32_t value) { out.Number(value); }
void WriteOne(BusWriter& out, uint8_t value) { out.Byte(value); }
void WriteOne(BusWriter& out, const std::string& value) { out.Text(value); }
template <typename T>
void WriteOne(BusWriter& out, const std::vector<T>& values) {
  const BusWriter::Array array = out.BeginArray(1);  // Of lengths, numbers or bytes: 4 at most.
  for (const T& value : values) WriteOne(out, value);
  out.EndArray(array);
}

absl::Status FailureOf(const std::string& error, const std::string& text) {
  const std::string message = absl::StrCat("systemd: ", text.empty() ? error : text);
  if (absl::EndsWith(error, ".NoSuchUnit")) return absl::NotFoundError(message);
  if (absl::EndsWith(error, ".UnitExists")) return absl::AlreadyExistsError(message);
  if (absl::EndsWith(error, ".AccessDenied")) return absl::PermissionDeniedError(message);
  return absl::InternalError(message);
}

absl::Status Trouble(const char* what) {
  const bool late = errno == EAGAIN || errno == EWOULDBLOCK;
  return absl::UnavailableError(
      absl::StrCat("systemd: ", what, ": ", late ? "no answer" : strerror(errno)));
}

absl::Status BadMessage() {
  return absl::InternalError("systemd: a message that cannot be understood");
}

std::string MakeCall(const Bus::Method& method, uint32_t serial, const std::string& body) {
  BusWriter header;
  header.Byte('l').Byte(kMethodCall).Byte(0).Byte(1);
  header.Number(static_cast<uint32_t>(body.size())).Number(serial);
  const BusWriter::Array fields = header.BeginArray(8);
  const auto add = [&header](Field field, const char* type, const char* text) {
    header.Align(8).Byte(field).Signature(type);
    field == kSignature ? header.Signature(text) : header.Text(text);
  };
  add(kPath, "o", method.path);
  add(kInterface, "s", method.interface);
  add(kMember, "s", method.name);
  add(kDestination, "s", "org.freedesktop.systemd1");
  if (method.signature[0] != '\0') add(kSignature, "g", method.signature);
  header.EndArray(fields);
  header.Align(8);
  return header.bytes() + body;
}

}  // namespace

BusWriter& BusWriter::Align(size_t to) {
  bytes_.resize(Padded(bytes_.size(), to));
  return *this;
}

BusWriter& BusWriter::Byte(uint8_t value) {
  bytes_.push_back(static_cast<char>(value));
  return *this;
}

BusWriter& BusWriter::Number(uint32_t value) {
  Align(sizeof(value));
  bytes_.append(reinterpret_cast<const char*>(&value), sizeof(value));
  return *this;
}

BusWriter& BusWriter::Long(uint64_t value) {
  Align(sizeof(value));
  bytes_.append(reinterpret_cast<const char*>(&value), sizeof(value));
  return *this;
}

BusWriter& BusWriter::Text(std::string_view text) {
  Number(static_cast<uint32_t>(text.size()));
  bytes_.append(text).push_back('\0');
  return *this;
}

BusWriter& BusWriter::Signature(std::string_view text) {
  Byte(static_cast<uint8_t>(text.size()));
  bytes_.append(text).push_back('\0');
  return *this;
}

// The padding in front of the first element does not count as part of the array.
BusWriter::Array BusWriter::BeginArray(size_t alignment) {
  Number(0);
  const size_t length_at = bytes_.size() - sizeof(uint32_t);
  Align(alignment);
  return {length_at, bytes_.size()};
}

void BusWriter::EndArray(const Array& array) {
  const auto length = static_cast<uint32_t>(bytes_.size() - array.begin);
  memcpy(bytes_.data() + array.length_at, &length, sizeof(length));
}

BusWriter& BusWriter::Variant(const Value& value) {
  std::visit(
      [this](const auto& one) {
        Signature(SignatureOf<std::decay_t<decltype(one)>>());
        WriteOne(*this, one);
      },
      value);
  return *this;
}

BusWriter& BusWriter::Properties(const std::vector<Property>& properties) {
  const Array array = BeginArray(8);
  for (const Property& property : properties) Align(8).Text(property.name).Variant(property.value);
  EndArray(array);
  return *this;
}

BusWriter& BusWriter::NoStructs() { return Properties({}); }

bool BusReader::Take(size_t bytes, size_t& at) {
  failed_ = failed_ || bytes_.size() - at_ < bytes;
  if (failed_) return false;
  at = std::exchange(at_, at_ + bytes);
  return true;
}

BusReader& BusReader::Align(size_t to) {
  size_t at;
  (void)Take(Padded(at_, to) - at_, at);
  return *this;
}

uint8_t BusReader::Byte() {
  size_t at;
  return Take(1, at) ? static_cast<uint8_t>(bytes_[at]) : 0;
}

uint32_t BusReader::Number() {
  uint32_t value = 0;
  size_t at;
  if (Align(sizeof(value)).Take(sizeof(value), at)) {
    memcpy(&value, bytes_.data() + at, sizeof(value));
  }
  return value;
}

std::string BusReader::Text() {
  const size_t size = Number();
  size_t at;
  return Take(size + 1, at) ? bytes_.substr(at, size) : "";
}

std::string BusReader::Signature() {
  const size_t size = Byte();
  size_t at;
  return Take(size + 1, at) ? bytes_.substr(at, size) : "";
}

absl::StatusOr<Bus> Bus::Connect(const std::string& path) {
  sockaddr_un address{.sun_family = AF_UNIX};
  if (path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(absl::StrCat("systemd: ", path, ": File name too long"));
  }
  memcpy(address.sun_path, path.c_str(), path.size() + 1);
  Bus bus(UniqueFd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)));
  const timeval patience{.tv_sec = kPatience, .tv_usec = 0};
  setsockopt(bus.socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  setsockopt(bus.socket_.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
  if (connect(bus.socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) !=
      0) {
    const bool absent = errno == ENOENT || errno == ECONNREFUSED;
    const std::string message = absl::StrCat("systemd: ", path, ": ", strerror(errno));
    return absent ? absl::NotFoundError(message) : absl::UnavailableError(message);
  }
  if (absl::Status s = bus.Authenticate(); !s.ok()) return s;
  return bus;
}

// The other side asks the socket who we are; a uid that we told would be another one in a user
// namespace. Its answers are lines: "DATA", "OK GUID".
absl::Status Bus::Authenticate() {
  constexpr char kHello[] = "\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n";
  if (absl::Status s = Send(std::string(kHello, sizeof(kHello) - 1)); !s.ok()) return s;
  constexpr size_t kMaxLine = 512;
  for (std::string line;; line.clear()) {
    while (!line.ends_with("\r\n")) {
      if (line.size() > kMaxLine) return BadMessage();
      if (absl::Status s = Receive(line, 1); !s.ok()) return s;
    }
    if (line.starts_with("OK ")) return absl::OkStatus();
    if (!line.starts_with("DATA")) return absl::PermissionDeniedError("systemd: not for us");
  }
}

absl::Status Bus::Send(const std::string& bytes) {
  for (size_t sent = 0; sent < bytes.size();) {
    const ssize_t n = send(socket_.get(), bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Trouble("sending");
    sent += static_cast<size_t>(n);
  }
  return absl::OkStatus();
}

// `size` bytes more.
absl::Status Bus::Receive(std::string& bytes, size_t size) {
  size_t at = bytes.size();
  bytes.resize(at + size);
  while (at < bytes.size()) {
    const ssize_t n = recv(socket_.get(), bytes.data() + at, bytes.size() - at, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Trouble("receiving");
    if (n == 0) return absl::UnavailableError("systemd: has closed the connection");
    at += static_cast<size_t>(n);
  }
  return absl::OkStatus();
}

absl::StatusOr<Bus::Message> Bus::NextMessage() {
  std::string header;
  if (absl::Status s = Receive(header, kFixedHeader); !s.ok()) return s;
  BusReader fixed(header);
  if (fixed.Byte() != 'l') return BadMessage();
  Message message{.type = fixed.Byte()};
  const uint32_t body_size = fixed.Align(4).Number();
  (void)fixed.Number();  // Its serial.
  const uint32_t fields_size = fixed.Number();
  if (body_size > kMaxMessage || fields_size > kMaxMessage) return BadMessage();
  std::string rest;
  if (absl::Status s = Receive(rest, Padded(fields_size, 8) + body_size); !s.ok()) return s;
  // The fields begin at 16, so they are aligned by themselves.
  for (BusReader fields(rest.substr(0, fields_size)); !fields.Align(8).done();) {
    const uint8_t field = fields.Byte();
    const std::string type = fields.Signature();
    if (type == "u") {
      const uint32_t number = fields.Number();
      if (field == kReplySerial) message.reply_to = number;
    } else if (type == "s" || type == "o") {
      std::string text = fields.Text();
      if (field == kMember) message.member = std::move(text);
      if (field == kErrorName) message.error = std::move(text);
    } else if (type == "g") {
      (void)fields.Signature();
    } else {
      return BadMessage();
    }
  }
  message.body = rest.substr(Padded(fields_size, 8));
  // JobRemoved(u id, o job, s unit, s result)
  if (message.type == kSignal && message.member == "JobRemoved" && ended_.size() < kMaxEnded) {
    BusReader body(message.body);
    (void)body.Number();
    std::string job = body.Text();
    (void)body.Text();
    ended_[std::move(job)] = body.Text();
  }
  return message;
}

absl::StatusOr<BusReader> Bus::Call(const Method& method, const BusWriter& arguments) {
  const uint32_t serial = ++serial_;
  if (absl::Status s = Send(MakeCall(method, serial, arguments.bytes())); !s.ok()) return s;
  for (;;) {
    absl::StatusOr<Message> message = NextMessage();
    if (!message.ok()) return message.status();
    if (message->reply_to != serial) continue;
    BusReader body(std::move(message->body));
    if (message->type == kMethodReturn) return body;
    if (message->type == kError) return FailureOf(message->error, body.Text());
  }
}

absl::StatusOr<std::string> Bus::AwaitJob(const std::string& job) {
  // Other signals may come without end.
  const absl::Time deadline = absl::Now() + absl::Seconds(kPatience);
  while (absl::Now() < deadline) {
    const auto found = ended_.find(job);
    if (found != ended_.end()) return std::move(ended_.extract(found).mapped());
    const absl::StatusOr<Message> message = NextMessage();
    if (!message.ok()) return message.status();
  }
  return absl::UnavailableError("systemd: a job does not end");
}

}  // namespace runsc::cgroup
