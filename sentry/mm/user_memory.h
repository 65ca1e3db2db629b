// Copies between the sentry and application memory. Never call it with a lock held: a fault may
// block. Copy in once, then validate the copy.
#ifndef SENTRY_MM_USER_MEMORY_H_
#define SENTRY_MM_USER_MEMORY_H_

#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "platform/api/platform.h"
#include "sentry/mm/user_ptr.h"

namespace sentry {

class UserMemory {
 public:
  explicit UserMemory(Ref<platform::AddressSpace> space) : space_(std::move(space)) {}

  // All or nothing as far as the caller sees: a short copy is EFAULT.
  Status ReadBytes(UserAddr addr, std::span<std::byte> dst);
  Status WriteBytes(UserAddr addr, std::span<const std::byte> src);

  template <typename T>
  requires std::is_trivially_copyable_v<std::remove_const_t<T>> Result<std::remove_const_t<T>> Read(
      UserPtr<T> from) {
    std::remove_const_t<T> value;
    TRY(ReadBytes(from.addr, std::as_writable_bytes(std::span(&value, 1))));
    return value;
  }
  template <UserCopyable T>
  Status Write(UserPtr<T> to, const T& value) {
    return WriteBytes(to.addr, std::as_bytes(std::span(&value, 1)));
  }
  template <typename T>
  requires std::is_trivially_copyable_v<std::remove_const_t<T>>
      Result<std::vector<std::remove_const_t<T>>> ReadArray(UserPtr<T> from, size_t count) {
    std::vector<std::remove_const_t<T>> values(count);
    TRY(ReadBytes(from.addr, std::as_writable_bytes(std::span(values))));
    return values;
  }
  template <UserCopyable T>
  Status WriteArray(UserPtr<T> to, std::span<const T> values) {
    return WriteBytes(to.addr, std::as_bytes(values));
  }
  // A string without its NUL. `limit` counts the NUL; ENAMETOOLONG when none is found within it.
  Result<std::string> ReadString(UserCString from, size_t limit);
  // A path: at most PATH_MAX bytes with its NUL.
  Result<std::string> ReadPath(UserCString from);

  // Bytes copied before the first inaccessible page.
  size_t ReadSome(UserAddr addr, std::span<std::byte> dst) { return space_->Read(addr.raw, dst); }
  size_t WriteSome(UserAddr addr, std::span<const std::byte> src) {
    return space_->Write(addr.raw, src);
  }
  // From a mapping of a file, which may shrink meanwhile.
  size_t WriteMapped(UserAddr addr, std::span<const std::byte> src) {
    return space_->WriteMapped(addr.raw, src);
  }
  platform::AddressSpace& space() { return *space_; }

 private:
  Ref<platform::AddressSpace> space_;
};

}  // namespace sentry

#endif  // SENTRY_MM_USER_MEMORY_H_
