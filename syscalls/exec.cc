#include "syscalls/exec.h"

#include <limits.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "sentry/task/clone.h"
#include "sentry/task/exec.h"
#include "sentry/task/kernel.h"
#include "sentry/task/restart.h"

namespace syscalls {

using sentry::CloneArgs;
using sentry::ExecArgs;

namespace {

constexpr size_t kMaxStringSize = 32 * 4096;  // MAX_ARG_STRLEN, with the NUL.
constexpr uint64_t kMaxArguments = 6 << 20;   // Three quarters of _STK_LIM.
constexpr uint64_t kMinArguments = 128 << 10;

// Strings of one array mostly lie side by side, or in a few places: what lies together is read as
// one window, and all windows at once.
class StringReader {
 public:
  explicit StringReader(Task& task) : mem_(task.mem()) {}

  // Reads ahead for the next strings. What cannot be is read, or refused, by itself.
  void Foresee(std::span<const uint64_t> addresses) {
    std::vector<uint64_t> sorted(addresses.begin(), addresses.end());
    std::sort(sorted.begin(), sorted.end());
    windows_.clear();
    size_t total = 0;
    for (const uint64_t address : sorted) {
      if (!windows_.empty() && address <= windows_.back().end) {
        windows_.back().end = EndOfFirstRead(address);
      } else {
        windows_.push_back({.start = address, .end = EndOfFirstRead(address)});
      }
    }
    for (Window& window : windows_) window.at = std::exchange(total, total + window.size());
    bytes_.resize(total);
    std::vector<platform::AddressSpace::Piece> pieces;
    for (const Window& window : windows_) {
      const auto dst = std::span(bytes_).subspan(window.at, window.size());
      pieces.push_back({.addr = window.start, .dst = std::as_writable_bytes(dst)});
    }
    windows_.resize(mem_.space().ReadPieces(pieces));
  }

  // ENAMETOOLONG without a NUL within `limit` bytes.
  Result<std::string> Read(uint64_t address, size_t limit) {
    const std::optional<std::string_view> found = Find(address);
    if (found.has_value() && found->size() < limit) return std::string(*found);
    return mem_.ReadString(UserCString{UserAddr{address}}, limit);
  }

 private:
  struct Window {
    uint64_t start = 0, end = 0;
    size_t at = 0;  // In bytes_.
    size_t size() const { return static_cast<size_t>(end - start); }
  };

  // Beyond the page there may be nothing. Most strings are shorter.
  static uint64_t EndOfFirstRead(uint64_t address) {
    constexpr uint64_t kPage = 4096, kMostOfOne = 512;
    const uint64_t room = kPage - address % kPage;
    return address > UINT64_MAX - kPage ? address : address + std::min(room, kMostOfOne);
  }

  // The string at `address` if a window holds all of it.
  std::optional<std::string_view> Find(uint64_t address) const {
    const auto behind =
        std::upper_bound(windows_.begin(), windows_.end(), address,
                         [](uint64_t value, const Window& window) { return value < window.start; });
    if (behind == windows_.begin() || address >= (behind - 1)->end) return std::nullopt;
    const Window& window = *(behind - 1);
    const std::string_view rest =
        std::string_view(bytes_.data() + window.at, window.size()).substr(address - window.start);
    const size_t end = rest.find('\0');
    if (end == std::string_view::npos) return std::nullopt;
    return rest.substr(0, end);
  }

  sentry::UserMemory& mem_;
  std::vector<Window> windows_;  // Apart, by address.
  std::vector<char> bytes_;
};

// The pointers of argv or envp up to the null one, some at a time.
Result<std::vector<uint64_t>> ReadPointers(Task& task, UserPtr<const uint64_t> from,
                                           uint64_t& budget) {
  std::vector<uint64_t> pointers;
  std::array<uint64_t, 64> some;
  for (;;) {
    const size_t bytes =
        task.mem().ReadSome((from + pointers.size()).addr, std::as_writable_bytes(std::span(some)));
    const size_t count = bytes / sizeof(uint64_t);
    if (count == 0) return Errno(EFAULT);
    for (const uint64_t pointer : std::span(some).first(count)) {
      if (pointer == 0) return pointers;
      if (budget < sizeof(pointer)) return Errno(E2BIG);
      budget -= sizeof(pointer);
      pointers.push_back(pointer);
    }
  }
}

// Reads argv or envp. `budget` shrinks by the strings and their pointers; E2BIG beyond it.
Result<std::vector<std::string>> ReadStrings(Task& task, UserPtr<const uint64_t> from,
                                             uint64_t& budget) {
  std::vector<std::string> strings;
  if (!from) return strings;
  constexpr size_t kForeseen = 256;
  const std::vector<uint64_t> addresses = TRY(ReadPointers(task, from, budget));
  StringReader reader(task);
  for (size_t i = 0; i < addresses.size(); ++i) {
    const uint64_t address = addresses[i];
    if (i % kForeseen == 0) {
      reader.Foresee(std::span(addresses).subspan(i, std::min(kForeseen, addresses.size() - i)));
    }
    Result<std::string> string = reader.Read(address, std::min<uint64_t>(kMaxStringSize, budget));
    if (!string.ok()) {
      return string.error() == Errno(ENAMETOOLONG) ? Errno(E2BIG) : string.error();
    }
    budget -= std::min<uint64_t>(budget, string->size() + 1);
    strings.push_back(*std::move(string));
  }
  return strings;
}

constexpr int kExecveCheck = 0x10000;  // AT_EXECVE_CHECK, Linux 6.14.

enum class Purpose : uint8_t { kExecute, kCheck };

Control Execute(Task& task, Context& context, ExecArgs args, UserPtr<const uint64_t> argv,
                UserPtr<const uint64_t> envp, Purpose purpose) {
  // Linux opens the file before it looks at the arguments.
  const auto fail = [&](Errno error) {
    const Status executable = sentry::CheckExecutable(task, args);
    return Control::Fail(executable.ok() ? error : executable.error());
  };
  uint64_t budget = std::clamp(task.Limit(RLIMIT_STACK) / 4, kMinArguments, kMaxArguments);
  Result<std::vector<std::string>> arguments = ReadStrings(task, argv, budget);
  if (!arguments.ok()) return fail(arguments.error());
  Result<std::vector<std::string>> environment = ReadStrings(task, envp, budget);
  if (!environment.ok()) return fail(environment.error());
  if (purpose == Purpose::kCheck) {
    const Status executable = sentry::CheckExecutable(task, args);
    return executable.ok() ? Control::Return(0) : Control::Fail(executable.error());
  }
  args.argv = *std::move(arguments);
  // A program never sees argc 0 (Linux 5.18).
  if (args.argv.empty()) args.argv.emplace_back();
  args.envp = *std::move(environment);
  const Status status = sentry::ExecTask(task, context, std::move(args));
  if (!status.ok()) return Control::Fail(status.error());
  return Control::Return(0);  // The first registers of the new program, rax = 0 among them.
}

CloneArgs FromClone(uint64_t flags, uint64_t stack, uint64_t parent_tid, uint64_t child_tid,
                    uint64_t tls) {
  // The low byte of clone(2)'s flags is the exit signal; the pidfd goes where parent_tid is.
  CloneArgs args;
  args.flags = flags & 0xffffff00;
  args.exit_signal = static_cast<int>(flags & CSIGNAL);
  args.stack = stack;
  args.parent_tid = parent_tid;
  args.pidfd = parent_tid;
  args.child_tid = child_tid;
  args.tls = tls;
  return args;
}

Result<int64_t> DoClone(Task& task, Context& context, const CloneArgs& args) {
  return int64_t{TRY(sentry::CloneTask(task, context, args))};
}

}  // namespace

Control Execve(Task& task, Context& context, UserCString path, UserPtr<const uint64_t> argv,
               UserPtr<const uint64_t> envp) {
  return Execveat(task, context, sentry::kAtFdCwd, path, argv, envp, 0);
}

Control Execveat(Task& task, Context& context, Fd dirfd, UserCString path,
                 UserPtr<const uint64_t> argv, UserPtr<const uint64_t> envp, int flags) {
  const Result<std::string> name = task.mem().ReadPath(path);
  if (!name.ok()) return Control::Fail(name.error());
  if (name->empty() && (flags & AT_EMPTY_PATH) == 0) return Control::Fail(Errno(ENOENT));
  if ((flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | kExecveCheck)) != 0) {
    return Control::Fail(Errno(EINVAL));
  }
  const Purpose purpose = (flags & kExecveCheck) != 0 ? Purpose::kCheck : Purpose::kExecute;
  ExecArgs args;
  args.path = args.exec_name = *name;
  args.options.follow_last = (flags & AT_SYMLINK_NOFOLLOW) == 0;
  args.options.allow_empty = (flags & AT_EMPTY_PATH) != 0;
  if (dirfd == sentry::kAtFdCwd || name->starts_with('/')) {
    args.walk = task.walk_context();
    return Execute(task, context, std::move(args), argv, envp, purpose);
  }
  const Result<sentry::FdEntry> entry = task.fds().GetEntry(dirfd);
  if (!entry.ok()) return Control::Fail(entry.error());
  if (name->empty() && !entry->file->path().dentry) {
    args.walk = task.walk_context();
    args.walk.start = task.vfs().AnonymousPath(*entry->file);  // memfds; others cannot be executed.
  } else {
    const Result<sentry::WalkContext> walk = task.walk_context(dirfd);
    if (!walk.ok()) return Control::Fail(walk.error());
    args.walk = *walk;
  }
  args.exec_name = absl::StrCat("/dev/fd/", static_cast<int>(dirfd));
  if (!name->empty()) absl::StrAppend(&args.exec_name, "/", *name);
  args.close_on_exec_dirfd = entry->close_on_exec;
  return Execute(task, context, std::move(args), argv, envp, purpose);
}

Result<int64_t> Clone(Task& task, Context& context, uint64_t flags, uint64_t stack,
                      UserPtr<int> parent_tid, UserPtr<int> child_tid, uint64_t tls) {
  if ((flags & CLONE_PIDFD) != 0 && (flags & CLONE_PARENT_SETTID) != 0) return Errno(EINVAL);
  return DoClone(task, context,
                 FromClone(flags, stack, parent_tid.addr.raw, child_tid.addr.raw, tls));
}

Result<int64_t> Clone3(Task& task, Context& context, UserAddr args, size_t size) {
  constexpr size_t kKnown = sizeof(clone_args), kPage = 4096;
  if (size > kPage) return Errno(E2BIG);
  if (size < CLONE_ARGS_SIZE_VER0) return Errno(EINVAL);
  std::vector<std::byte> bytes(std::max(size, kKnown));
  TRY(task.mem().ReadBytes(args, std::span(bytes).first(size)));
  // Fields that this kernel does not know must be zero.
  const auto unknown = std::span(bytes).subspan(kKnown);
  if (std::any_of(unknown.begin(), unknown.end(), [](std::byte b) { return b != std::byte{0}; })) {
    return Errno(E2BIG);
  }
  clone_args raw;
  std::memcpy(&raw, bytes.data(), sizeof(raw));
  constexpr uint64_t kKnownFlags = 0xffffffff | CLONE_CLEAR_SIGHAND | CLONE_INTO_CGROUP;
  if ((raw.flags & ~kKnownFlags) != 0 || (raw.flags & (CLONE_DETACHED | CSIGNAL)) != 0) {
    return Errno(EINVAL);
  }
  if (raw.exit_signal > static_cast<uint64_t>(sentry::kSignalCount)) return Errno(EINVAL);
  if ((raw.set_tid == 0) != (raw.set_tid_size == 0) || raw.set_tid_size > 32) {
    return Errno(EINVAL);
  }
  if ((raw.flags & CLONE_SIGHAND) != 0 && (raw.flags & CLONE_CLEAR_SIGHAND) != 0) {
    return Errno(EINVAL);
  }
  if ((raw.flags & (CLONE_THREAD | CLONE_PARENT)) != 0 && raw.exit_signal != 0) {
    return Errno(EINVAL);
  }
  if ((raw.stack == 0) != (raw.stack_size == 0)) return Errno(EINVAL);
  const uint64_t user_end = task.mem().space().user_end();
  if (raw.stack > user_end || raw.stack_size > user_end - raw.stack) return Errno(EINVAL);
  if ((raw.flags & CLONE_INTO_CGROUP) != 0 &&
      (raw.cgroup > INT32_MAX || size < CLONE_ARGS_SIZE_VER2)) {
    return Errno(EINVAL);
  }
  std::vector<sentry::Pid> set_tid;
  if (raw.set_tid_size != 0) {
    set_tid = TRY(
        task.mem().ReadArray(UserPtr<const sentry::Pid>{UserAddr{raw.set_tid}}, raw.set_tid_size));
    // One level of pid namespaces, and its numbers are for who restores checkpoints.
    constexpr int kCapSysAdmin = 21, kCapCheckpointRestore = 40;
    if (set_tid.size() > 1 || set_tid[0] < 1) return Errno(EINVAL);
    if (!task.creds().HasCapability(kCapSysAdmin) &&
        !task.creds().HasCapability(kCapCheckpointRestore)) {
      return Errno(EPERM);
    }
  }
  return DoClone(task, context,
                 {.flags = raw.flags,
                  .pidfd = raw.pidfd,
                  .child_tid = raw.child_tid,
                  .parent_tid = raw.parent_tid,
                  .exit_signal = static_cast<int>(raw.exit_signal),
                  .stack = raw.stack == 0 ? 0 : raw.stack + raw.stack_size,
                  .tls = raw.tls,
                  .set_tid = std::move(set_tid),
                  .cgroup = static_cast<int>(raw.cgroup)});
}

Result<int64_t> Fork(Task& task, Context& context) {
  return DoClone(task, context, {.exit_signal = SIGCHLD});
}

Result<int64_t> Vfork(Task& task, Context& context) {
  return DoClone(task, context, {.flags = CLONE_VFORK | CLONE_VM, .exit_signal = SIGCHLD});
}

}  // namespace syscalls
