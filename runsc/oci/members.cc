#include "runsc/oci/members.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runsc/control.h"
#include "runsc/oci/inside.h"
#include "runsc/oci/pod.h"
#include "runsc/oci/seccomp.h"
#include "runsc/oci/sysctl.h"
#include "sentry/fs/gofer/gofer_client.h"
#include "sentry/task/namespaces.h"

namespace runsc::oci {

namespace {

constexpr size_t kMaxMembers = 4096;

bool WantsUnseenCalls(const Container& container) {
  const auto& seccomp = container.spec.linux_.seccomp;
  return seccomp.has_value() && !AllowsUnseenCalls(*MakeSeccompProgram(*seccomp));
}

absl::Status Failed(const char* what, Errno error) {
  return absl::InternalError(absl::StrCat(what, ": ", strerror(error.code())));
}

}  // namespace

// A container, from its description to its end. Used by its thread.
class Member {
 public:
  Member(sentry::Kernel& sandbox, const Config& config, uint32_t number, std::vector<UniqueFd> fds)
      : sandbox_(sandbox), config_(config), number_(number), fds_(std::move(fds)) {}

  void Run() {
    control_ = std::move(fds_[1]);
    const absl::Status status = SetUp();
    if (!status.ok()) {
      (void)SendReport(control_.get(), Report::Kind::kFailed, kExitSetUp,
                       std::string(status.message()));
      return;
    }
    (void)SendReport(control_.get(), Report::Kind::kParked, 0);
    while (Serve()) {
    }
    inside_->KillAll();
  }

 private:
  absl::Status SetUp() {
    absl::StatusOr<Described> described = ReadDescription(fds_[0].get());
    if (!described.ok()) return described.status();
    container_ = std::move(described->container);
    const size_t of_process = 3 + static_cast<size_t>(container_.preserve_fds);
    if (fds_.size() != kPodFds + of_process + described->group_files) {
      return Failed("descriptors", Errno(EMFILE));
    }
    for (size_t i = kPodFds + of_process; i < fds_.size(); ++i) {
      group_->files.push_back(std::move(fds_[i]));
    }
    fds_.resize(kPodFds + of_process);
    if (WantsUnseenCalls(container_) && !WantsUnseenCalls(*config_.container)) {
      return absl::UnimplementedError(
          "linux.seccomp: a profile that forbids calls which the host answers (futex, mmap) must "
          "be "
          "that of the pod's sandbox, too");
    }
    config_.overlay = described->overlay ? OverlayKind::kMemory : OverlayKind::kNone;
    config_.oci.shared_root = described->shared;
    config_.root = container_.rootfs;
    config_.container = &container_;
    MakeKernel();
    auto files =
        sentry::GoferClient::Create(std::move(fds_[2]), std::move(fds_[3]), sandbox_.platform());
    if (!files.ok()) return Failed("gofer", files.error());
    files_ = *std::move(files);
    inside_ = std::make_unique<Inside>(*kernel_, *files_, config_, control_.get(), number_, group_);
    std::vector<UniqueFd> stdio;
    for (size_t i = kPodFds; i < fds_.size(); ++i) stdio.push_back(std::move(fds_[i]));
    return inside_->Prepare(std::move(stdio));
  }

  void MakeKernel() {
    if ((container_.joins & CLONE_NEWPID) != 0) {
      kernel_ = &sandbox_;
      return;
    }
    const spec::Spec& spec = container_.spec;
    const sentry::UtsNamespace::Names names = sandbox_.namespaces().uts().names();
    own_kernel_ = std::make_unique<sentry::Kernel>(
        sandbox_.platform(), sandbox_.dispatcher(),
        sentry::Kernel::Options{
            .hostname = spec.hostname.empty() ? names.host : spec.hostname,
            .domainname = spec.domainname.empty() ? names.domain : spec.domainname,
            .sysctls = ShownSysctls(spec.linux_),
            .strace = config_.strace,
            .on_end = [this](int wait_status) {
              (void)SendReport(control_.get(), Report::Kind::kExited, wait_status);
            }});
    kernel_ = own_kernel_.get();
    kernel_->JoinNamespaces(sandbox_, container_.joins);
  }

  // One command. False when its monitor is gone, or what it asked for cannot be.
  bool Serve() {
    std::vector<UniqueFd> fds;
    const Result<Command> command = ReceiveCommand(control_.get(), fds);
    if (!command.ok()) return false;
    if (command->kind != Command::Kind::kStart) {
      inside_->OnCommand(*command, std::move(fds));
      return true;
    }
    const absl::Status started = inside_->Start();
    (void)SendReport(control_.get(), started.ok() ? Report::Kind::kRunning : Report::Kind::kFailed,
                     1, std::string(started.message()));
    return started.ok();
  }

  sentry::Kernel& sandbox_;
  Config config_;  // The sandbox's but for what is the container's own.
  const uint32_t number_;
  std::vector<UniqueFd> fds_;
  UniqueFd control_;
  Container container_;
  const Ref<sentry::ContainerGroup> group_ = MakeRef<sentry::ContainerGroup>();
  std::unique_ptr<sentry::GoferClient> files_;
  std::unique_ptr<sentry::Kernel> own_kernel_;
  sentry::Kernel* kernel_ = nullptr;
  std::unique_ptr<Inside> inside_;
};

namespace {

void* MemberThread(void* argument) {
  prctl(PR_SET_NAME, "member", 0, 0, 0);
  static_cast<Member*>(argument)->Run();
  return nullptr;
}

}  // namespace

Members::Members(sentry::Kernel& kernel, const Config& config) : kernel_(kernel), config_(config) {}
Members::~Members() = default;

absl::Status Members::Add(std::vector<UniqueFd> fds) {
  if (fds.size() < kPodFds) return Failed("the sandbox", Errno(EMFILE));
  Member* member = nullptr;
  {
    absl::MutexLock lock(&mu_);
    if (members_.size() >= kMaxMembers) {
      absl::Status full = Failed("the pod has had too many containers", Errno(EAGAIN));
      (void)SendReport(fds[1].get(), Report::Kind::kFailed, kExitSetUp,
                       std::string(full.message()));
      return full;
    }
    const auto number = static_cast<uint32_t>(members_.size() + 1);
    members_.push_back(std::make_unique<Member>(kernel_, config_, number, std::move(fds)));
    member = members_.back().get();
  }
  // It loads programs.
  constexpr size_t kStack = 1024 * 1024;
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kStack);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_t thread;
  const int error = pthread_create(&thread, &attributes, MemberThread, member);
  pthread_attr_destroy(&attributes);
  return error == 0 ? absl::OkStatus() : Failed("a thread", Errno(error));
}

}  // namespace runsc::oci
