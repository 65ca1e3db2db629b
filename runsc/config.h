// What the command line asks for.
#ifndef RUNSC_CONFIG_H_
#define RUNSC_CONFIG_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace runsc {

// Exit status of the front-end itself, as docker and env(1) have them. The program's own status is
// passed on as it is, and 128+n says that signal n ended it.
inline constexpr int kExitSetUp = 125;  // Usage, set-up, or the sandbox itself broke.
inline constexpr int kExitNotExecutable = 126;
inline constexpr int kExitNotFound = 127;

enum class PlatformKind : uint8_t { kSystrap, kPtrace };
enum class NetworkKind : uint8_t { kNone, kHost };
enum class OverlayKind : uint8_t { kNone, kMemory };
enum class LogFormat : uint8_t { kText, kJson };

struct Volume {
  std::string source;       // On the host; absolute once the front-end has checked it.
  std::string destination;  // Absolute, in the sandbox.
  bool read_only = false;
};

struct User {
  uint32_t uid = 0;
  uint32_t gid = 0;
};

struct Config {
  PlatformKind platform = PlatformKind::kSystrap;
  NetworkKind network = NetworkKind::kNone;
  OverlayKind overlay = OverlayKind::kMemory;
  std::string root = "/";          // Absolute once the front-end has checked it.
  std::optional<std::string> cwd;  // The caller's when absent.
  std::string caller_cwd;          // Of the front-end; empty if it has none.
  std::vector<std::string> env;    // K=V, on top of the caller's.
  std::optional<User> user;        // The caller when absent.
  std::vector<Volume> volumes;
  std::string hostname = "sandbox";
  bool strace = false;
  bool no_syscall_patching = false;
  bool patch_eagerly = false;
  bool debug = false;
  bool debug_startup = false;
  std::string log;  // A file; standard error when empty.
  int log_fd = -1;  // Of `log` once it is open; -1 for standard error.
  LogFormat log_format = LogFormat::kText;
  std::vector<std::string> argv;  // What to run.
};

}  // namespace runsc

#endif  // RUNSC_CONFIG_H_
