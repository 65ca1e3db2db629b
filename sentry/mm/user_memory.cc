#include "sentry/mm/user_memory.h"

#include <limits.h>

#include <algorithm>
#include <cstring>

namespace sentry {

Status UserMemory::ReadBytes(UserAddr addr, std::span<std::byte> dst) {
  if (ReadSome(addr, dst) != dst.size()) return Errno(EFAULT);
  return kOk;
}

Status UserMemory::WriteBytes(UserAddr addr, std::span<const std::byte> src) {
  if (WriteSome(addr, src) != src.size()) return Errno(EFAULT);
  return kOk;
}

Result<std::string> UserMemory::ReadString(UserCString from, size_t limit) {
  // Most strings are short; the copies of longer ones double. A copy that reaches into an
  // inaccessible page is short, which matters only if the NUL is not in front of it.
  std::string text;
  char chunk[1024];
  size_t want = 256;
  while (text.size() < limit) {
    want = std::min({want, sizeof(chunk), limit - text.size()});
    const size_t got =
        ReadSome(from.addr + text.size(), std::as_writable_bytes(std::span(chunk, want)));
    const void* nul = memchr(chunk, 0, got);
    if (nul != nullptr) {
      text.append(chunk, static_cast<size_t>(static_cast<const char*>(nul) - chunk));
      return text;
    }
    if (got < want) return Errno(EFAULT);
    text.append(chunk, got);
    want *= 2;
  }
  return Errno(ENAMETOOLONG);
}

Result<std::string> UserMemory::ReadPath(UserCString from) { return ReadString(from, PATH_MAX); }

}  // namespace sentry
