// A container inside its sentry: what it is made of, and what later commands ask of it.
#ifndef RUNSC_OCI_INSIDE_H_
#define RUNSC_OCI_INSIDE_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "base/unique_fd.h"
#include "runsc/config.h"
#include "runsc/control.h"
#include "runsc/oci/container.h"
#include "sentry/fs/gofer/gofer_client.h"
#include "sentry/task/kernel.h"

namespace runsc::oci {

// One per sentry of a container, made and used by its main thread until the first process runs, by
// the control thread afterwards. All references outlive it.
class Inside {
 public:
  // `control`: where reports go.
  Inside(sentry::Kernel& kernel, sentry::GoferClient& files, const Config& config, int control)
      : kernel_(kernel),
        files_(files),
        config_(config),
        container_(*config.container),
        control_(control) {}

  // The tree and the first process, which does not run yet. A failure's message is what runc says.
  absl::Status Prepare();
  // Lets it run.
  void Start();
  // kExec and the signals; the descriptors are those of the command.
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
  absl::Status Exec(uint32_t id, std::vector<UniqueFd> fds);
  void Signal(const Command& command);

  sentry::Kernel& kernel_;
  sentry::GoferClient& files_;
  const Config& config_;
  const Container& container_;
  const int control_;
  sentry::Path root_;
  Ref<sentry::Task> first_;  // Until it runs.
  absl::Mutex mu_;           // Leaf.
  std::map<uint32_t, Added> added_ ABSL_GUARDED_BY(mu_);
};

}  // namespace runsc::oci

#endif  // RUNSC_OCI_INSIDE_H_
