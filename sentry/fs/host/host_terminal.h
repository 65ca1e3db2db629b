// The terminals that the sandbox was started on: tty_ioctl(4).
#ifndef SENTRY_FS_HOST_HOST_TERMINAL_H_
#define SENTRY_FS_HOST_HOST_TERMINAL_H_

#include <cstdint>

#include "base/result.h"
#include "base/unique_fd.h"
#include "sentry/fs/file.h"
#include "sentry/task/terminal.h"
#include "sentry/tty/read_rules.h"

namespace sentry {

// One for each terminal of the host among the donated descriptors. The host keeps the line
// (settings, window size, input, echo); sessions and process groups are the sentry's own, since the
// sandbox's mean nothing to the host. What the host's terminal would signal reaches the front-end,
// which passes it on (Kernel::SignalForeground).
class HostTerminal final : public Terminal {
 public:
  // Inside it is /dev/console, whatever its number outside.
  static constexpr uint64_t kDevice = 5 << 8 | 1;

  // The one that `fd` is a descriptor of: the same for equal device numbers. They are kept
  // until a later one finds their other end closed.
  static Ref<HostTerminal> Of(int fd, uint64_t host_device);
  explicit HostTerminal(UniqueFd fd) : fd_(std::move(fd)) {}

  uint64_t device() const override { return kDevice; }
  Result<Ref<File>> Open(Ref<Inode> node, OpenFlags flags) override;

  // What concerns the line goes to the host terminal with copied and checked arguments. ENOTTY for
  // everything that is not about terminals.
  Result<int64_t> Ioctl(Task& task, File& file, uint32_t command, uint64_t arg);
  // TOSTOP: background processes may not write.
  bool StopsOutput() const;
  ReadRules rules() const;
  // How much of `size` bytes may be asked for in one read that must not block the host: outside
  // canonical mode what is there, as VMIN may ask for more.
  size_t ReadableAtOnce(size_t size) const;

 private:
  const UniqueFd fd_;
};

}  // namespace sentry

#endif  // SENTRY_FS_HOST_HOST_TERMINAL_H_
