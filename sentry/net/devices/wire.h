// The attributes of netlink messages: netlink(7), include/uapi/linux/netlink.h. Every number is in
// host order, every attribute padded to four bytes.
#ifndef SENTRY_NET_DEVICES_WIRE_H_
#define SENTRY_NET_DEVICES_WIRE_H_

#include <linux/netlink.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace sentry {

constexpr size_t NlPad(size_t size) { return (size + 3) & ~size_t{3}; }

template <typename T>
requires std::is_trivially_copyable_v<T> std::string_view NlBytes(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof(value)};
}

// The front of `bytes` as a T, zeroes where it is shorter.
template <typename T>
requires std::is_trivially_copyable_v<T> T NlRead(std::string_view bytes) {
  T value{};
  memcpy(static_cast<void*>(&value), bytes.data(), std::min(sizeof(T), bytes.size()));
  return value;
}

// The attributes in a run of bytes, which must outlive this. Ends at the first that is malformed.
class NlAttributes {
 public:
  explicit NlAttributes(std::string_view bytes) : bytes_(bytes) {}
  // Those behind a body of type T.
  template <typename T>
  static NlAttributes After(std::string_view payload) {
    return NlAttributes(payload.substr(std::min(NlPad(sizeof(T)), payload.size())));
  }

  template <typename Visit>
  void ForEach(Visit visit) const {
    std::string_view rest = bytes_;
    while (rest.size() >= sizeof(nlattr)) {
      const auto header = NlRead<nlattr>(rest);
      if (header.nla_len < sizeof(nlattr) || header.nla_len > rest.size()) return;
      visit(static_cast<uint16_t>(header.nla_type & NLA_TYPE_MASK),
            rest.substr(sizeof(nlattr), header.nla_len - sizeof(nlattr)));
      rest.remove_prefix(std::min(NlPad(header.nla_len), rest.size()));
    }
  }
  // The last of that type, as nla_parse() of Linux keeps it.
  std::optional<std::string_view> Find(uint16_t type) const {
    std::optional<std::string_view> found;
    ForEach([&](uint16_t one, std::string_view value) {
      if (one == type) found = value;
    });
    return found;
  }
  std::string_view Bytes(uint16_t type) const { return Find(type).value_or(std::string_view()); }
  // Up to its NUL.
  std::string_view String(uint16_t type) const {
    const std::string_view value = Bytes(type);
    return value.substr(0, value.find('\0'));
  }
  template <typename T>
  T Number(uint16_t type, T otherwise = {}) const {
    const auto value = Find(type);
    return value && value->size() >= sizeof(T) ? NlRead<T>(*value) : otherwise;
  }

 private:
  std::string_view bytes_;
};

// Puts a body and attributes together.
class NlPayload {
 public:
  NlPayload() = default;
  template <typename T>
  requires std::is_trivially_copyable_v<T>
  explicit NlPayload(const T& body) : bytes_(NlBytes(body)) { Pad(); }

  NlPayload& Put(uint16_t type, std::string_view value) {
    const nlattr header{.nla_len = static_cast<uint16_t>(sizeof(nlattr) + value.size()),
                        .nla_type = type};
    bytes_.append(NlBytes(header));
    bytes_.append(value);
    Pad();
    return *this;
  }
  NlPayload& PutString(uint16_t type, const std::string& value) {
    return Put(type, std::string_view(value.c_str(), value.size() + 1));
  }
  template <typename T>
  requires std::is_arithmetic_v<T> NlPayload& PutNumber(uint16_t type, T value) {
    return Put(type, NlBytes(value));
  }
  template <typename T>
  requires std::is_class_v<T> NlPayload& PutStruct(uint16_t type, const T& value) {
    return Put(type, NlBytes(value));
  }
  std::string Take() { return std::move(bytes_); }
  const std::string& bytes() const { return bytes_; }

 private:
  void Pad() { bytes_.resize(NlPad(bytes_.size())); }

  std::string bytes_;
};

}  // namespace sentry

#endif  // SENTRY_NET_DEVICES_WIRE_H_
