// What the command line asks for.
#ifndef RUNSC_CONFIG_H_
#define RUNSC_CONFIG_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace runsc {

namespace oci {
struct Container;
}  // namespace oci

// Exit status of the front-end itself, as docker and env(1) have them. The program's own status is
// passed on as it is, and 128+n says that signal n ended it.
inline constexpr int kExitSetUp = 125;  // Usage, set-up, or the sandbox itself broke.
inline constexpr int kExitNotExecutable = 126;
inline constexpr int kExitNotFound = 127;

enum class PlatformKind : uint8_t { kSystrap, kPtrace };
// kNone: a loopback interface of the sandbox's own. kHost: the network namespace that the front-end
// is in when it launches the sandbox (a container's is entered before); a network gofer makes the
// sockets.
enum class NetworkKind : uint8_t { kNone, kHost };
// Where what is written to an overlay lies: in memory, in unnamed files of the tree that it covers,
// or in such files of another directory of the host.
enum class OverlayKind : uint8_t { kNone, kMemory, kSelf, kDirectory };
// What of the host's unix sockets can be reached through shared files: --host-uds, as runsc has it.
enum class HostUds : uint8_t { kNone = 0, kOpen = 1, kCreate = 2, kAll = 3 };
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

// What the OCI commands are told besides.
struct OciOptions {
  std::string root;  // Where state is kept; empty for the default.
  bool systemd_cgroup = false;
  std::optional<bool> rootless;  // By the user id when absent.
  // --file-access: whether others may change the root at the same time. When absent they may, where
  // there is no overlay.
  std::optional<bool> shared_root;
  bool overlay_given = false;  // --overlay2 was.
  bool network_given = false;  // --network was.
  // Of one command each.
  std::string bundle = ".";
  std::string pid_file;
  std::string console_socket;
  std::string pidfd_socket;
  int preserve_fds = 0;
  uint64_t open_fds = 0;  // Bit n: descriptor n was open when the program began, of the first 64.
  bool detach = false;
  bool keep = false;
  bool all = false;
  bool force = false;
  bool quiet = false;
  bool ignore_paused = false;
  std::string format = "table";
  // exec
  std::string process_file;
  std::string cwd;
  std::vector<std::string> env;
  std::string user;
  std::vector<std::string> additional_gids;
  std::vector<std::string> capabilities;
  std::string cgroup;
  bool tty = false;
  bool no_new_privileges = false;
};

struct Config {
  PlatformKind platform = PlatformKind::kSystrap;
  NetworkKind network = NetworkKind::kNone;
  OverlayKind overlay = OverlayKind::kMemory;
  bool overlay_all = false;       // Over volumes and bind mounts as well.
  std::string overlay_directory;  // Of kDirectory; absolute.
  uint64_t overlay_size = 0;      // Bytes in each overlay; 0: as tmpfs has it.
  HostUds host_uds = HostUds::kNone;
  bool host_fifo = false;          // Fifos of the host can be opened.
  std::string root = "/";          // Absolute once the front-end has checked it.
  std::optional<std::string> cwd;  // The caller's when absent.
  std::string caller_cwd;          // Of the front-end; empty if it has none.
  std::vector<std::string> env;    // K=V, on top of the caller's.
  std::optional<User> user;        // The caller when absent.
  std::vector<Volume> volumes;
  std::string hostname = "sandbox";
  std::string domainname = "(none)";
  std::map<std::string, std::string> sysctls;  // By path below /proc/sys.
  bool strace = false;
  bool no_syscall_patching = false;
  bool patch_eagerly = false;
  bool patch_chaos = false;
  bool debug = false;
  bool debug_startup = false;
  bool version = false;
  std::string log;  // A file; standard error when empty.
  int log_fd = -1;  // Of `log` once it is open; -1 for standard error.
  LogFormat log_format = LogFormat::kText;
  std::vector<std::string> argv;  // What to run.
  OciOptions oci;
  // Of a container; nullptr for `do`. Its root, hostname and mounts count, not the ones above.
  const oci::Container* container = nullptr;
};

inline bool OpensHostSockets(const Config& config) {
  return (static_cast<int>(config.host_uds) & static_cast<int>(HostUds::kOpen)) != 0;
}
inline bool CreatesHostSockets(const Config& config) {
  return (static_cast<int>(config.host_uds) & static_cast<int>(HostUds::kCreate)) != 0;
}

// Whether the root is covered by an overlay.
inline bool HasOverlay(const Config& config) { return config.overlay != OverlayKind::kNone; }

}  // namespace runsc

#endif  // RUNSC_CONFIG_H_
