// A stub that is being filled. Internal to this folder.
#ifndef PLATFORM_PTRACE_IMAGE_H_
#define PLATFORM_PTRACE_IMAGE_H_

#include <pthread.h>

#include <memory>
#include <vector>

#include "platform/api/platform.h"
#include "platform/native/stub.h"
#include "platform/ptrace/core.h"

namespace platform::ptrace {

// Filled by the thread that made it, which traces the stub meanwhile: for Exec that is the tracer
// that takes it over, and Start hands it to a new one.
class PtraceImage final : public Image {
 public:
  static Result<std::unique_ptr<Image>> Create(Ref<Core> core);
  ~PtraceImage() override;

  void Map(const Mapping& mapping) override { queue_.push_back(mapping); }
  bool SetBreak(uint64_t start, uint64_t stack_top) override;
  Status Flush() override;
  Status JoinGroups(std::span<const int> files) override;
  Ref<AddressSpace> address_space() override;
  Result<std::unique_ptr<Thread>> Start(const Registers& registers, Guest& guest) override;

  // Ends the set-up and gives the stub to the caller. EIO when it is not the thread that filled it.
  struct Filled {
    Ref<HostProcess> process;
    Tracee tracee;
  };
  Result<Filled> Release();

 private:
  PtraceImage(Ref<Core> core, Ref<HostProcess> process)
      : core_(std::move(core)), process_(std::move(process)) {}
  Status Prepare();
  // To the batch that the stub makes next.
  void Add(uint64_t nr, const Tracee::Args& args);
  void Add(const Mapping& mapping);
  Status RunBatch();

  const Ref<Core> core_;
  const Ref<HostProcess> process_;
  const pthread_t owner_ = pthread_self();
  Tracee tracee_;
  std::vector<Mapping> queue_;
  std::vector<native::BatchCall> batch_;
  std::vector<int> to_send_;  // What the batch receives, in this order.
  int received_ = -1;         // Which of them the stub will have then.
  Errno error_{0};            // Of the first failure.
  bool released_ = false;
};

}  // namespace platform::ptrace

#endif  // PLATFORM_PTRACE_IMAGE_H_
