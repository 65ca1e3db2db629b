// Blocking transfers, for everything that reads and writes files.
#ifndef SYSCALLS_FILE_IO_H_
#define SYSCALLS_FILE_IO_H_

#include <cstdint>
#include <optional>

#include "sentry/mm/io.h"
#include "syscalls/common.h"

namespace syscalls {

// The file if it is open for reading or writing (EBADF).
Result<Ref<File>> GetReadable(Task& task, Fd fd);
Result<Ref<File>> GetWritable(Task& task, Fd fd);

// Read and write as the calls do: wait while the file blocks, and keep what was done when a signal
// ends the wait. At the file's position, which moves, or at `offset`.
Result<int64_t> ReadFile(Task& task, File& file, sentry::IoDst& dst,
                         std::optional<int64_t> offset = std::nullopt);
// Honours RLIMIT_FSIZE (SIGXFSZ, EFBIG) and raises SIGPIPE with EPIPE.
// `append`: whether to write at the end, whatever O_APPEND says.
Result<int64_t> WriteFile(Task& task, File& file, sentry::IoSrc& src,
                          std::optional<int64_t> offset = std::nullopt,
                          std::optional<bool> append = std::nullopt);

// Whether a regular file may reach `end`: SIGXFSZ and EFBIG beyond RLIMIT_FSIZE.
Status CheckFileSize(Task& task, uint64_t end);
void RaiseSignal(Task& task, int sig);

}  // namespace syscalls

#endif  // SYSCALLS_FILE_IO_H_
