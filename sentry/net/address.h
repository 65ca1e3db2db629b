// Socket addresses, as they come from the application: bytes of a family's own format.
#ifndef SENTRY_NET_ADDRESS_H_
#define SENTRY_NET_ADDRESS_H_

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

namespace sentry {

// A struct sockaddr_* of at most sizeof(struct sockaddr_storage) bytes. Size 0: no address.
struct SocketAddress {
  static constexpr size_t kMaxSize = sizeof(sockaddr_storage);

  std::array<std::byte, kMaxSize> bytes{};
  uint32_t size = 0;

  SocketAddress() = default;
  // Requires: data.size() <= kMaxSize.
  explicit SocketAddress(std::span<const std::byte> data)
      : size(static_cast<uint32_t>(data.size())) {
    std::copy(data.begin(), data.end(), bytes.begin());
  }
  template <typename T>
  requires std::is_trivially_copyable_v<T>
  static SocketAddress Of(const T& address) {
    return SocketAddress(std::as_bytes(std::span(&address, 1)));
  }

  // AF_UNSPEC when there are not even two bytes.
  sa_family_t family() const {
    sa_family_t family = AF_UNSPEC;
    if (size >= sizeof(family)) memcpy(&family, bytes.data(), sizeof(family));
    return family;
  }
  // The first sizeof(T) bytes, zeroes where there are fewer: look at `size`.
  template <typename T>
  requires(std::is_trivially_copyable_v<T> && sizeof(T) <= kMaxSize) T As()
  const {
    T address;
    memcpy(static_cast<void*>(&address), bytes.data(), sizeof(T));
    return address;
  }
  std::span<const std::byte> data() const { return {bytes.data(), size}; }
};

}  // namespace sentry

#endif  // SENTRY_NET_ADDRESS_H_
