#include "runsc/launch.h"

#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gofer/protocol/ring.h"
#include "runsc/control.h"
#include "runsc/gofer_main.h"
#include "runsc/lockdown.h"
#include "runsc/net_gofer_main.h"
#include "runsc/oci/container.h"
#include "runsc/sentry_main.h"
#include "runsc/startup_trace.h"

namespace runsc {

namespace {

constexpr uint32_t kNobody = 65534;

// The two ends of what a child and the front-end, or both children, share.
struct Pair {
  UniqueFd first, second;
};

absl::StatusOr<Pair> MakePair() {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0) {
    return HostError("socketpair");
  }
  return Pair{UniqueFd(fds[0]), UniqueFd(fds[1])};
}

// A fork into a new pid namespace and, unless told otherwise, a user namespace; the others are
// entered by the child itself, in parallel with its sibling. As with fork(2), libc must learn the
// child's thread id.
pid_t ForkIntoNamespaces(unsigned long flags = CLONE_NEWUSER | CLONE_NEWPID) {
  int* tid_address = nullptr;
  flags |= SIGCHLD;
  if (prctl(PR_GET_TID_ADDRESS, &tid_address, 0, 0, 0) == 0 && tid_address != nullptr) {
    flags |= CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID;
  }
  return static_cast<pid_t>(syscall(SYS_clone, flags, nullptr, nullptr, tid_address, 0));
}

Status WriteProcFile(pid_t pid, const char* file, const std::string& text) {
  const UniqueFd fd(open(absl::StrCat("/proc/", pid, "/", file).c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd.valid()) return Errno::Last();
  if (write(fd.get(), text.data(), text.size()) < 0) return Errno::Last();
  return kOk;
}

// Every id of this user namespace, mapped to itself.
std::string IdentityMap(const char* path) {
  FILE* file = fopen(path, "re");
  if (file == nullptr) return "";
  std::string map;
  unsigned inside, outside, count;
  while (fscanf(file, "%u %u %u", &inside, &outside, &count) == 3) {
    absl::StrAppend(&map, inside, " ", inside, " ", count, "\n");
  }
  fclose(file);
  return map;
}

std::string SingleIdMap(uint32_t id) { return absl::StrCat(id, " ", id, " 1\n"); }

struct IdMaps {
  std::string uids, gids;
  bool deny_setgroups = false;
  Identity identity;
};

Status WriteMaps(pid_t pid, const IdMaps& maps) {
  if (maps.deny_setgroups) TRY(WriteProcFile(pid, "setgroups", "deny"));
  TRY(WriteProcFile(pid, "uid_map", maps.uids));
  return WriteProcFile(pid, "gid_map", maps.gids);
}

// The caller, and nobody else: what an ordinary user may map.
IdMaps CallerOnly() {
  return {.uids = SingleIdMap(geteuid()),
          .gids = SingleIdMap(getegid()),
          .deny_setgroups = true,
          .identity = {geteuid(), getegid()}};
}

// Root's gofer sees every owner as it is.
IdMaps Everyone() {
  return {.uids = IdentityMap("/proc/self/uid_map"),
          .gids = IdentityMap("/proc/self/gid_map"),
          .identity = {0, 0}};
}

// Root's sentry is nobody.
IdMaps NobodyOnly() {
  return {
      .uids = SingleIdMap(kNobody), .gids = SingleIdMap(kNobody), .identity = {kNobody, kNobody}};
}

// Whether this process may map ids that are not its own: CAP_SETUID and CAP_SETGID.
bool MayMapIds() {
  if (geteuid() != 0) return false;
  return prctl(PR_CAPBSET_READ, 6 /* CAP_SETGID */, 0, 0, 0) == 1 &&
         prctl(PR_CAPBSET_READ, 7 /* CAP_SETUID */, 0, 0, 0) == 1;
}

// Whether `path`, a map of this process's user namespace, has `id`.
bool MapHas(const char* path, uint32_t id) {
  FILE* file = fopen(path, "re");
  if (file == nullptr) return false;
  bool has = false;
  unsigned inside, outside, count;
  while (fscanf(file, "%u %u %u", &inside, &outside, &count) == 3) {
    has |= id >= inside && id - inside < count;
  }
  fclose(file);
  return has;
}

// Rootless podman's root may be alone in its user namespace.
bool HasNobody() {
  return MapHas("/proc/self/uid_map", kNobody) && MapHas("/proc/self/gid_map", kNobody);
}

IdMaps SentryMaps() { return MayMapIds() && HasNobody() ? NobodyOnly() : CallerOnly(); }

// Whether this process has rights in the network namespaces that it may enter: then its network
// gofer stays in its user namespace.
bool MayEnterNetworks() {
  return MayMapIds() && prctl(PR_CAPBSET_READ, 21 /* CAP_SYS_ADMIN */, 0, 0, 0) == 1;
}

// In the child: only what it is given stays open, and no signal that is meant for the program or
// the front-end touches it or its own children.
void BecomeChild(const char* name, const std::vector<int>& keep) {
  prctl(PR_SET_NAME, name, 0, 0, 0);
  CloseAllBut(keep);
  for (const int sig : {SIGHUP, SIGINT, SIGQUIT, SIGPIPE, SIGALRM, SIGTERM, SIGUSR1, SIGUSR2,
                        SIGTSTP, SIGTTIN, SIGTTOU, SIGWINCH, SIGURG, SIGIO}) {
    signal(sig, SIG_IGN);
  }
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

absl::Status MapAndGo(const Child& child, const IdMaps& maps) {
  const Status mapped = WriteMaps(child.pid, maps);
  if (!mapped.ok()) {
    return absl::InternalError(
        absl::StrCat("cannot map ids into a user namespace: ", strerror(mapped.error().code())));
  }
  // A child that has died already is found when it is waited for.
  (void)SendCommand(child.control.get(), {.kind = Command::Kind::kGo});
  return absl::OkStatus();
}

absl::Status ForkFailed() {
  const int error = errno;
  const char* hint = error == EPERM    ? " (are user namespaces forbidden here?)"
                     : error == ENOSPC ? " (user.max_user_namespaces or user.max_pid_namespaces)"
                                       : "";
  return absl::InternalError(absl::StrCat("cannot create namespaces: ", strerror(error), hint));
}

// What the children need, made before the first fork.
struct Channels {
  Pair gofer_control, sentry_control, files;  // First ends: front-end, front-end, sentry.
  Pair network_control, network;              // Likewise; with a network of the host only.
  UniqueFd ring;
};

absl::StatusOr<Channels> MakeChannels(bool network) {
  Channels channels;
  std::vector<Pair*> pairs = {&channels.gofer_control, &channels.sentry_control, &channels.files};
  if (network) pairs.insert(pairs.end(), {&channels.network_control, &channels.network});
  for (Pair* pair : pairs) {
    absl::StatusOr<Pair> made = MakePair();
    if (!made.ok()) return made.status();
    *pair = *std::move(made);
  }
  Result<UniqueFd> ring = gofer::CreateRing();
  if (!ring.ok()) {
    return absl::InternalError(absl::StrCat("memfd_create: ", strerror(ring.error().code())));
  }
  channels.ring = *std::move(ring);
  return channels;
}

// Standard error, but for a container: there it is the program's alone.
int ComplaintsOf(const Config& config) { return config.container != nullptr ? -1 : STDERR_FILENO; }

pid_t ForkGofer(const Config& config, Channels& channels, const Identity& identity) {
  const pid_t pid = ForkIntoNamespaces();
  if (pid != 0) return pid;
  BecomeChild("sandbox-gofer",
              {ComplaintsOf(config), config.log_fd, channels.gofer_control.second.get(),
               channels.files.second.get(), channels.ring.get()});
  _exit(GoferMain({.config = config,
                   .identity = identity,
                   .control = std::move(channels.gofer_control.second),
                   .socket = std::move(channels.files.second),
                   .ring = std::move(channels.ring)}));
}

pid_t ForkNetGofer(const Config& config, Channels& channels, bool privileged,
                   const Identity& identity) {
  const pid_t pid = privileged ? ForkIntoNamespaces(CLONE_NEWPID) : ForkIntoNamespaces();
  if (pid != 0) return pid;
  BecomeChild("sandbox-net",
              {ComplaintsOf(config), config.log_fd, channels.network_control.second.get(),
               channels.network.second.get()});
  _exit(NetGoferMain({.identity = identity,
                      .privileged = privileged,
                      .control = std::move(channels.network_control.second),
                      .socket = std::move(channels.network.second)}));
}

std::vector<uint32_t> CallersGroups() {
  std::vector<uint32_t> groups(NGROUPS_MAX);
  const int count = getgroups(static_cast<int>(groups.size()), groups.data());
  groups.resize(static_cast<size_t>(std::max(count, 0)));
  return groups;
}

pid_t ForkSentry(const Config& config, Channels& channels, const Identity& identity) {
  const User caller{geteuid(), getegid()};
  std::vector<uint32_t> groups = CallersGroups();
  const int nice = getpriority(PRIO_PROCESS, 0);
  const pid_t pid = ForkIntoNamespaces();
  if (pid != 0) return pid;
  std::vector<int> keep = {config.log_fd, channels.sentry_control.second.get(),
                           channels.files.first.get(), channels.network.first.get(),
                           channels.ring.get()};
  const int passed_on = config.container != nullptr ? config.container->preserve_fds : 0;
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO + passed_on; ++fd) keep.push_back(fd);
  BecomeChild("sandbox-sentry", keep);
  SentryMain({.config = config,
              .identity = identity,
              .caller = caller,
              .groups = std::move(groups),
              .nice = nice,
              .control = std::move(channels.sentry_control.second),
              .socket = std::move(channels.files.first),
              .ring = std::move(channels.ring),
              .network = std::move(channels.network.first)});
}

// Starts the network gofer, which needs no other of the sandbox's processes.
absl::Status StartNetGofer(const Config& config, Channels& channels, Child& child) {
  const bool privileged = MayEnterNetworks();
  const IdMaps maps = privileged ? SentryMaps() : CallerOnly();
  child.pid = ForkNetGofer(config, channels, privileged, maps.identity);
  if (child.pid < 0) return ForkFailed();
  child.control = std::move(channels.network_control.first);
  channels.network_control.second.reset();
  channels.network.second.reset();
  if (!privileged) return MapAndGo(child, maps);
  (void)SendCommand(child.control.get(), {.kind = Command::Kind::kGo});
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Sandbox> Launch(const Config& config) {
  const bool network = config.network != NetworkKind::kNone;
  absl::StatusOr<Channels> channels = MakeChannels(network);
  if (!channels.ok()) return channels.status();
  const bool may_map = MayMapIds();
  const IdMaps gofer_maps = may_map ? Everyone() : CallerOnly();
  const IdMaps sentry_maps = SentryMaps();

  Sandbox sandbox;
  sandbox.gofer.pid = ForkGofer(config, *channels, gofer_maps.identity);
  if (sandbox.gofer.pid < 0) return ForkFailed();
  sandbox.gofer.control = std::move(channels->gofer_control.first);
  channels->gofer_control.second.reset();
  sandbox.sentry.pid = ForkSentry(config, *channels, sentry_maps.identity);
  absl::Status status = sandbox.sentry.pid < 0 ? ForkFailed() : absl::OkStatus();
  sandbox.sentry.control = std::move(channels->sentry_control.first);
  channels->sentry_control.second.reset();
  StartupMark("front-end: forked");

  if (status.ok()) status = MapAndGo(sandbox.sentry, sentry_maps);
  if (status.ok()) status = MapAndGo(sandbox.gofer, gofer_maps);
  if (status.ok() && network) status = StartNetGofer(config, *channels, sandbox.network);
  if (!status.ok()) {
    Kill(sandbox.network);
    Kill(sandbox.sentry);
    Kill(sandbox.gofer);
    return status;
  }
  StartupMark("front-end: id maps written");
  return sandbox;
}

absl::StatusOr<Sandbox> LaunchGofer(const Config& config, Handover& handover) {
  absl::StatusOr<Channels> channels = MakeChannels(/*network=*/false);
  if (!channels.ok()) return channels.status();
  const IdMaps maps = MayMapIds() ? Everyone() : CallerOnly();
  Sandbox sandbox;
  sandbox.gofer.pid = ForkGofer(config, *channels, maps.identity);
  if (sandbox.gofer.pid < 0) return ForkFailed();
  sandbox.gofer.control = std::move(channels->gofer_control.first);
  channels->gofer_control.second.reset();
  if (absl::Status s = MapAndGo(sandbox.gofer, maps); !s.ok()) {
    Kill(sandbox.gofer);
    return s;
  }
  sandbox.sentry.control = std::move(channels->sentry_control.first);
  handover = {.control = std::move(channels->sentry_control.second),
              .files = std::move(channels->files.first),
              .ring = std::move(channels->ring)};
  return sandbox;
}

void Kill(Child& child) {
  if (child.pid <= 0) return;
  kill(child.pid, SIGKILL);
  while (waitpid(child.pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  child.pid = -1;
}

}  // namespace runsc
