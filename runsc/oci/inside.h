// A container inside its sentry: what it is made of, and what later commands ask of it.
#ifndef RUNSC_OCI_INSIDE_H_
#define RUNSC_OCI_INSIDE_H_

#include <sched.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "base/unique_fd.h"
#include "runsc/cgroup/shown.h"
#include "runsc/config.h"
#include "runsc/control.h"
#include "runsc/oci/container.h"
#include "runsc/oci/members.h"
#include "sentry/fs/gofer/gofer_client.h"
#include "sentry/task/kernel.h"

namespace runsc::oci {

// One per sentry of a container, made and used by its main thread until the first process runs, by
// the control thread afterwards. All references outlive it.
class Inside {
 public:
  // `control`: where reports go.
  // `number`: which container of a pod it is, 0 for the one that the sandbox was made for, which is
  // where the sentry is and has no `group`.
  Inside(sentry::Kernel& kernel, sentry::GoferClient& files, const Config& config, int control,
         uint32_t number = 0, Ref<sentry::ContainerGroup> group = {})
      : kernel_(kernel),
        files_(files),
        config_(config),
        container_(*config.container),
        control_(control),
        number_(number),
        host_group_(std::move(group)) {}

  // The tree and the first process, which does not run yet. A failure's message is what runc says.
  // `fds` are its descriptors, from 0 on.
  absl::Status Prepare(std::vector<UniqueFd> fds);
  // Lets it run, once the hooks that run inside have ended; with them the platform must be running.
  bool has_start_hooks() const { return !container_.spec.hooks.start_container.empty(); }
  absl::Status Start();
  // SIGKILL to all of it, whether it runs or not.
  void KillAll();
  // All but kStart; the descriptors are those of the command.
  void OnCommand(const Command& command, std::vector<UniqueFd> fds);

 private:
  struct Added {
    Ref<sentry::ThreadGroup> group;
    Ref<sentry::Terminal> terminal;
  };

  absl::Status MakeProcess(const spec::Process& process, std::vector<UniqueFd> fds,
                           sentry::Kernel::InitProcess& init);
  absl::Status FindCommand(const std::vector<std::string>& args, sentry::Kernel::InitProcess& init);
  absl::Status NameTerminal(sentry::Kernel::InitProcess& init);
  absl::Status RunStartHooks();
  absl::Status RunStartHook(const spec::Hook& hook, const std::string& state);
  absl::Status Exec(uint32_t id, std::vector<UniqueFd> fds);
  void TakeLimits(const cgroup::ShownLimits& limits);
  void TakeLimits(const std::vector<UniqueFd>& fds);
  void Signal(const Command& command);
  void List(uint32_t id, const std::vector<UniqueFd>& fds);
  void SignalFirst(int sig);
  void SignalForeground(int sig);
  // Whether its processes are the sandbox's neighbours, in one pid namespace.
  bool shares_kernel() const { return (container_.joins & CLONE_NEWPID) != 0; }
  void LimitTasks(size_t most);
  // Of ThreadGroup.
  uint32_t tag() const { return shares_kernel() ? number_ : 0; }

  sentry::Kernel& kernel_;
  sentry::GoferClient& files_;
  const Config& config_;
  const Container& container_;
  const int control_;
  sentry::Path root_;
  const uint32_t number_;
  const Ref<sentry::ContainerGroup> host_group_;
  Ref<sentry::Task> first_;           // Until it runs.
  Ref<sentry::ThreadGroup> group_;    // Of the first process.
  Ref<sentry::Terminal> terminal_;    // That it began with.
  std::unique_ptr<Members> members_;  // Used by one thread, made when there is a first.
  absl::Mutex mu_;                    // Leaf.
  std::map<uint32_t, Added> added_ ABSL_GUARDED_BY(mu_);
};

}  // namespace runsc::oci

#endif  // RUNSC_OCI_INSIDE_H_
