// An address space over a plain buffer, for unit tests.
#ifndef SYSCALLS_FAKE_MEMORY_H_
#define SYSCALLS_FAKE_MEMORY_H_

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "platform/api/platform.h"

namespace syscalls {

// Memory from kBase on; nothing else is mapped.
class FakeMemory final : public platform::AddressSpace {
 public:
  static constexpr uint64_t kBase = 0x10000;
  explicit FakeMemory(size_t size = 16384) : bytes_(size) {}

  size_t Read(uint64_t addr, std::span<std::byte> dst) override {
    const size_t count = Accessible(addr, dst.size());
    if (count != 0) memcpy(dst.data(), bytes_.data() + (addr - kBase), count);
    return count;
  }
  size_t Write(uint64_t addr, std::span<const std::byte> src) override {
    const size_t count = Accessible(addr, src.size());
    if (count != 0) memcpy(bytes_.data() + (addr - kBase), src.data(), count);
    return count;
  }
  uint64_t user_end() const override { return uint64_t{1} << 46; }
  uint64_t vdso() const override { return 0; }
  Result<std::string> HostMaps() override { return Errno(ENOSYS); }

  // Puts a value somewhere: its address.
  template <typename T>
  uint64_t Put(const T& value) {
    return PutBytes(std::as_bytes(std::span(&value, 1)));
  }
  uint64_t PutString(std::string_view text) {
    const std::string terminated(text);
    return PutBytes(std::as_bytes(std::span(terminated.c_str(), text.size() + 1)));
  }
  template <typename T>
  T Get(uint64_t addr) {
    T value{};
    (void)Read(addr, std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }
  // The first address that is not mapped.
  uint64_t end() const { return kBase + bytes_.size(); }

 private:
  uint64_t PutBytes(std::span<const std::byte> bytes) {
    const uint64_t addr = kBase + used_;
    used_ += (bytes.size() + 15) & ~size_t{15};
    (void)Write(addr, bytes);
    return addr;
  }
  size_t Accessible(uint64_t addr, size_t count) const {
    if (addr < kBase || addr >= end()) return 0;
    return std::min<size_t>(count, end() - addr);
  }

  std::vector<std::byte> bytes_;
  size_t used_ = 0;
};

}  // namespace syscalls

#endif  // SYSCALLS_FAKE_MEMORY_H_
