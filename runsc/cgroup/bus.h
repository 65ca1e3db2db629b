// Calls of D-Bus methods, as much as systemd's manager wants: calls, their answers, and the signal
// that a job has ended. The wire format is the D-Bus specification's, version 1, little-endian; the
// other end is systemd's private socket, where no bus is in between.
#ifndef RUNSC_CGROUP_BUS_H_
#define RUNSC_CGROUP_BUS_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/unique_fd.h"

namespace runsc::cgroup {

// Of types b, t, s, as, au, ay.
using Value = std::variant<bool, uint64_t, std::string, std::vector<std::string>,
                           std::vector<uint32_t>, std::vector<uint8_t>>;
struct Property {
  std::string name;
  Value value;
  bool operator==(const Property&) const = default;
};

// The bytes of a message, each value aligned as the specification wants it.
class BusWriter {
 public:
  BusWriter& Byte(uint8_t value);
  BusWriter& Number(uint32_t value);  // u; also b, which is 0 or 1.
  BusWriter& Long(uint64_t value);
  BusWriter& Text(std::string_view text);  // s, o
  BusWriter& Signature(std::string_view text);
  BusWriter& Variant(const Value& value);
  BusWriter& Properties(const std::vector<Property>& properties);  // a(sv)
  BusWriter& NoStructs();                                          // An empty array of structs.
  BusWriter& Align(size_t to);
  // Around the elements of an array.
  struct Array {
    size_t length_at, begin;
  };
  Array BeginArray(size_t alignment);
  void EndArray(const Array& array);

  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

// The opposite. What is not there is empty, and failed() is true from then on.
class BusReader {
 public:
  explicit BusReader(std::string bytes) : bytes_(std::move(bytes)) {}
  uint8_t Byte();
  uint32_t Number();
  std::string Text();
  std::string Signature();
  BusReader& Align(size_t to);
  bool failed() const { return failed_; }
  bool done() const { return failed_ || at_ >= bytes_.size(); }

 private:
  bool Take(size_t bytes, size_t& at);

  std::string bytes_;
  size_t at_ = 0;
  bool failed_ = false;
};

// A connection, for one thread. Whatever takes longer than 30 s is Unavailable.
class Bus {
 public:
  // To the socket of this path. NotFound when there is none or nobody listens.
  static absl::StatusOr<Bus> Connect(const std::string& path);

  struct Method {
    const char* path;
    const char* interface;
    const char* name;
    const char* signature;
  };
  // The answer's arguments. An error of the other side has its text as message, and NotFound
  // (no such unit), AlreadyExists or PermissionDenied for those that callers tell apart.
  absl::StatusOr<BusReader> Call(const Method& method, const BusWriter& arguments);
  // Waits for the end of a job that a call has answered with: "done", "canceled", "failed", ….
  absl::StatusOr<std::string> AwaitJob(const std::string& job);

 private:
  struct Message {
    uint8_t type = 0;
    uint32_t reply_to = 0;
    std::string member, error, body;
  };

  explicit Bus(UniqueFd socket) : socket_(std::move(socket)) {}
  absl::Status Authenticate();
  absl::Status Send(const std::string& bytes);
  absl::Status Receive(std::string& bytes, size_t size);
  absl::StatusOr<Message> NextMessage();

  UniqueFd socket_;
  uint32_t serial_ = 0;
  std::map<std::string, std::string> ended_;  // Jobs and their results, until asked for.
};

}  // namespace runsc::cgroup

#endif  // RUNSC_CGROUP_BUS_H_
