#include "runsc/oci/pod.h"

#include <sched.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/log.h"
#include "runsc/control.h"
#include "runsc/lockdown.h"
#include "runsc/oci/channel.h"
#include "runsc/oci/groups.h"
#include "runsc/spec/parse.h"

namespace runsc::oci {

namespace {

constexpr size_t kMaxDescription = 20 << 20;

// The first that is there.
std::string Annotation(const spec::Spec& spec, std::initializer_list<const char*> keys) {
  for (const char* key : keys) {
    const auto found = spec.annotations.find(key);
    if (found != spec.annotations.end()) return found->second;
  }
  return "";
}

std::string TypeOf(const spec::Spec& spec) {
  return Annotation(spec,
                    {"io.kubernetes.cri.container-type", "io.kubernetes.cri-o.ContainerType"});
}

// A number above 0, in `field`; an annotation of 0 limits nothing.
template <typename Number>
absl::Status ReadLimit(const spec::Spec& spec, const char* key, std::optional<Number>& field) {
  const std::string text = Annotation(spec, {key});
  Number number = 0;
  if (text.empty()) return absl::OkStatus();
  if (!absl::SimpleAtoi(text, &number)) {
    return absl::InvalidArgumentError(
        absl::StrCat("annotations: ", key, ": ", text, " is not a number"));
  }
  if (number > 0) field = number;
  return absl::OkStatus();
}

struct Shared {
  spec::NamespaceType type;
  const char* file;  // Of /proc/PID/ns.
  uint64_t flag;
};
constexpr Shared kShared[] = {
    {spec::NamespaceType::kNetwork, "net", CLONE_NEWNET},
    {spec::NamespaceType::kIpc, "ipc", CLONE_NEWIPC},
    {spec::NamespaceType::kUts, "uts", CLONE_NEWUTS},
    {spec::NamespaceType::kPid, "pid", CLONE_NEWPID},
};

// A namespace may have a file elsewhere, too, as in /run/netns.
bool IsSame(const std::string& path, const std::string& other) {
  struct stat a {
  }, b{};
  return stat(path.c_str(), &a) == 0 && stat(other.c_str(), &b) == 0 && a.st_dev == b.st_dev &&
         a.st_ino == b.st_ino;
}

// Without an entry it is the caller's, and in a pod that is the sandbox's.
absl::Status JoinOne(const Shared& shared, pid_t sandbox, Container& container) {
  for (spec::Namespace& one : container.spec.linux_.namespaces) {
    if (one.type != shared.type) continue;
    const std::string what = absl::StrCat("linux.namespaces: ", shared.file, ": ");
    if (one.path.empty()) {
      if (shared.flag != CLONE_NEWNET) return absl::OkStatus();
      return absl::UnimplementedError(absl::StrCat(what, "a pod has one network"));
    }
    const std::string own = absl::StrCat("/proc/", sandbox, "/ns/", shared.file);
    const bool same = one.path == own || (shared.flag == CLONE_NEWNET && IsSame(one.path, own));
    if (!same) {
      return absl::UnimplementedError(absl::StrCat(what, one.path, " is not the pod's sandbox's"));
    }
    if (shared.flag != CLONE_NEWNET) one.path.clear();
  }
  container.joins |= shared.flag;
  return absl::OkStatus();
}

}  // namespace

std::string PodOf(const spec::Spec& spec) {
  if (TypeOf(spec) != "container") return "";
  return Annotation(spec, {"io.kubernetes.cri.sandbox-id", "io.kubernetes.cri-o.SandboxID"});
}

bool IsPodSandbox(const spec::Spec& spec) { return TypeOf(spec) == "sandbox"; }

absl::Status ApplyPodLimits(spec::Spec& spec) {
  if (!IsPodSandbox(spec)) return absl::OkStatus();
  spec::Resources limits = spec.linux_.resources.value_or(spec::Resources());
  absl::Status status = ReadLimit(spec, "io.kubernetes.cri.sandbox-memory", limits.memory.limit);
  const auto read = [&](const char* key, auto& field) {
    if (status.ok()) status = ReadLimit(spec, key, field);
  };
  read("io.kubernetes.cri.sandbox-cpu-quota", limits.cpu.quota);
  read("io.kubernetes.cri.sandbox-cpu-period", limits.cpu.period);
  read("io.kubernetes.cri.sandbox-cpu-shares", limits.cpu.shares);
  spec.linux_.resources = std::move(limits);
  return status;
}

absl::Status JoinPod(const Store& store, Container& container) {
  const std::string id = PodOf(container.spec);
  if (id.empty() || id == container.id) return absl::OkStatus();
  const absl::StatusOr<Entry> sandbox = store.Find(id);
  if (!sandbox.ok()) {
    return absl::NotFoundError(
        absl::StrCat("the pod's sandbox ", id, ": ", sandbox.status().message()));
  }
  const Record record = sandbox->Load();
  if (PhaseOf(record) != Phase::kRunning) {
    return absl::FailedPreconditionError(absl::StrCat("the pod's sandbox ", id, " is not running"));
  }
  container.sandbox_directory = sandbox->directory();
  for (const Shared& shared : kShared) {
    if (absl::Status s = JoinOne(shared, record.monitor.pid, container); !s.ok()) return s;
  }
  constexpr uint64_t kAll = CLONE_NEWIPC | CLONE_NEWUTS;
  if ((container.joins & CLONE_NEWPID) != 0 && (container.joins & kAll) != kAll) {
    return absl::UnimplementedError(
        "linux.namespaces: with the pod's pid namespace, ipc and uts are the pod's, too");
  }
  if (!container.spec.linux_.cgroups_path.empty()) {
    LOG_INFO("linux.cgroupsPath: a container of a pod has a group below that of its sandbox");
  }
  return absl::OkStatus();
}

absl::StatusOr<Sandbox> LaunchInPod(const Config& config, const std::string& directory) {
  const Container& container = *config.container;
  absl::StatusOr<UniqueFd> connection = ConnectIn(container.sandbox_directory);
  if (!connection.ok()) return absl::FailedPreconditionError("the pod's sandbox is not running");
  const absl::StatusOr<std::vector<UniqueFd>> groups = GroupOf(directory).OpenEntries();
  if (!groups.ok()) return groups.status();
  const Result<UniqueFd> description = DescribeContainer(config, groups->size());
  if (!description.ok()) {
    return absl::InternalError(absl::StrCat("config.json: ", strerror(description.error().code())));
  }
  Handover handover;
  absl::StatusOr<Sandbox> sandbox = LaunchGofer(config, handover);
  if (!sandbox.ok()) return sandbox;
  std::vector<int> fds = {description->get(), handover.control.get(), handover.files.get(),
                          handover.ring.get()};
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO + container.preserve_fds; ++fd) fds.push_back(fd);
  for (const UniqueFd& group : *groups) fds.push_back(group.get());
  const Status sent = SendRequest(connection->get(), {.kind = Request::Kind::kAddContainer}, fds);
  const Result<Reply> reply =
      sent.ok() ? ReceiveReply(connection->get()) : Result<Reply>(sent.error());
  if (reply.ok() && reply->kind == Reply::Kind::kDone) return sandbox;
  Kill(sandbox->gofer);
  return absl::FailedPreconditionError(reply.ok()
                                           ? absl::StrCat("the pod's sandbox: ", reply->message)
                                           : std::string("the pod's sandbox is gone"));
}

Result<UniqueFd> DescribeContainer(const Config& config, size_t group_files) {
  const Container& container = *config.container;
  const auto text = spec::ReadFile(absl::StrCat(container.bundle, "/config.json"));
  if (!text.ok()) return Errno(EIO);
  const std::string all =
      absl::StrCat(container.joins, " ", config.overlay == OverlayKind::kMemory ? 1 : 0, " ",
                   config.oci.shared_root.value_or(true) ? 1 : 0, " ", container.preserve_fds, " ",
                   group_files, " ", absl::StrJoin(container.export_of_mount, " "), "\n",
                   container.id, "\n", container.bundle, "\n", container.rootfs, "\n", *text);
  UniqueFd fd(memfd_create("container", MFD_CLOEXEC));
  if (!fd.valid()) return Errno::Last();
  const ssize_t written = pwrite(fd.get(), all.data(), all.size(), 0);
  if (written < 0) return Errno::Last();
  if (static_cast<size_t>(written) != all.size()) return Errno(ENOSPC);
  return fd;
}

absl::StatusOr<Described> ReadDescription(int fd) {
  const absl::Status bad = absl::InternalError("the container's description cannot be read");
  struct stat st {};
  if (fstat(fd, &st) != 0 || static_cast<size_t>(st.st_size) > kMaxDescription) return bad;
  std::string text(static_cast<size_t>(st.st_size), '\0');
  if (pread(fd, text.data(), text.size(), 0) != st.st_size) return bad;
  const std::vector<std::string> lines = absl::StrSplit(text, absl::MaxSplits('\n', 4));
  if (lines.size() != 5) return bad;
  const std::vector<std::string> numbers = absl::StrSplit(lines[0], ' ', absl::SkipEmpty());
  std::vector<uint64_t> values(numbers.size());
  for (size_t i = 0; i < numbers.size(); ++i) {
    if (!absl::SimpleAtoi(numbers[i], &values[i])) return bad;
  }
  constexpr size_t kFixed = 5;
  if (values.size() < kFixed || values[3] > kMaxCommandFds || values[4] > kMaxCommandFds) {
    return bad;
  }
  absl::StatusOr<spec::Spec> spec = spec::Parse(lines[4]);
  if (!spec.ok()) return spec.status();
  if (!spec->process || !spec->root || spec->mounts.size() != values.size() - kFixed) return bad;
  Described described{
      .overlay = values[1] != 0, .shared = values[2] != 0, .group_files = values[4]};
  described.container = {.id = lines[1], .bundle = lines[2], .rootfs = lines[3]};
  described.container.spec = *std::move(spec);
  described.container.joins = values[0];
  described.container.preserve_fds = static_cast<int>(values[3]);
  for (size_t i = kFixed; i < values.size(); ++i) {
    described.container.export_of_mount.push_back(static_cast<uint32_t>(values[i]));
  }
  return described;
}

}  // namespace runsc::oci
