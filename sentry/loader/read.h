// Opening and reading what is to be executed.
#ifndef SENTRY_LOADER_READ_H_
#define SENTRY_LOADER_READ_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/result.h"
#include "sentry/fs/vfs.h"

namespace sentry {

// Reads until `dst` is full or the file ends; the bytes read.
Result<size_t> ReadUpTo(File& file, uint64_t offset, std::span<std::byte> dst);

// Opens a regular file that `walk` may execute. ETXTBSY while it is open for writing; nobody opens
// it for that as long as the result lives.
Result<Ref<File>> OpenExecutable(Vfs& vfs, const WalkContext& walk, std::string_view path,
                                 const WalkOptions& options, Attributes* attributes,
                                 bool* nosuid);

}  // namespace sentry

#endif  // SENTRY_LOADER_READ_H_
