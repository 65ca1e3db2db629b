// What all threads and images of the platform share. Internal to this folder.
#ifndef PLATFORM_PTRACE_CORE_H_
#define PLATFORM_PTRACE_CORE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "platform/api/disposition.h"
#include "platform/api/platform.h"
#include "platform/native/zygote.h"
#include "platform/ptrace/descriptor_channel.h"
#include "platform/ptrace/host_process.h"
#include "platform/ptrace/tracee.h"

namespace platform::ptrace {

// Lives until the last tracer thread has ended.
class Core final : public RefCounted {
 public:
  Core(const DispositionTable& dispositions, std::unique_ptr<native::Zygote> zygote,
       std::unique_ptr<DescriptorChannel> channel)
      : dispositions_(dispositions), zygote_(std::move(zygote)), channel_(std::move(channel)) {}
  ~Core() override;

  Disposition DispositionOf(uint64_t nr) const {
    return nr < kMaxSyscalls ? dispositions_[nr] : Disposition::kEmulate;
  }
  native::Zygote& zygote() const { return *zygote_; }
  DescriptorChannel& channel() const { return *channel_; }

  // Has a killed thread collected that is no longer any tracer's concern.
  void Bury(Ref<HostProcess> process, pid_t tid) ABSL_LOCKS_EXCLUDED(mu_);
  // Buries the dead until Stop.
  void Run() ABSL_LOCKS_EXCLUDED(mu_);
  void Stop() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Dead {
    Ref<HostProcess> process;
    pid_t tid;
  };
  static void Collect(std::vector<Dead>& dead);

  const DispositionTable dispositions_;
  const std::unique_ptr<native::Zygote> zygote_;
  const std::unique_ptr<DescriptorChannel> channel_;
  absl::Mutex mu_;  // Leaf.
  std::vector<Dead> dead_ ABSL_GUARDED_BY(mu_);
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
};

// The message with room for one descriptor, as recvmsg(2) of a stub finds it.
struct ReceiveBuffer {
  uint64_t name = 0, name_length = 0;
  uint64_t iov = 0, iov_length = 0;  // None: the byte that came along is dropped.
  uint64_t control = 0, control_length = 0;
  uint64_t flags = 0;
  uint64_t control_data[3] = {};

  static ReceiveBuffer At(uint64_t address) {
    return {.control = address + offsetof(ReceiveBuffer, control_data),
            .control_length = sizeof(control_data)};
  }
};
// The number under which a descriptor appears: a stub has none but its end of the channel.
inline constexpr uint64_t kReceived = 0;

// Makes the stub execute a call with descriptor `host_fd` of the sentry in place of argument
// `fd_argument`. The descriptor is gone from the stub when the call has returned.
Result<uint64_t> CallWithDescriptor(Core& core, Tracee& tracee, HostProcess& process, uint64_t nr,
                                    Tracee::Args args, int host_fd, size_t fd_argument);
// Which argument of a call that is given a descriptor names it.
size_t DescriptorArgument(uint64_t nr);

}  // namespace platform::ptrace

#endif  // PLATFORM_PTRACE_CORE_H_
