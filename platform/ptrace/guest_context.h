// A guest thread that stands still in a call-back. Internal to this folder.
#ifndef PLATFORM_PTRACE_GUEST_CONTEXT_H_
#define PLATFORM_PTRACE_GUEST_CONTEXT_H_

#include <memory>
#include <vector>

#include "platform/api/platform.h"
#include "platform/ptrace/guest_thread.h"

namespace platform::ptrace {

class GuestContext final : public Context {
 public:
  explicit GuestContext(GuestThread& thread) : thread_(thread) { tracee().GetRegisters(regs); }
  // Takes over what the guest has made of the registers.
  void Store() { tracee().SetRegisters(regs); }

  Result<std::vector<std::byte>> ReadFpState() override;
  Status WriteFpState(std::span<const std::byte> state) override;
  Result<uint64_t> HostCall(const HostCallRequest& request) override {
    return thread_.HostCall(request);
  }
  Result<std::unique_ptr<Thread>> Clone(const CloneRequest& request, Guest& guest) override {
    return thread_.Clone(request, guest);
  }
  Status Exec(Image& image) override;

 private:
  Tracee& tracee() { return thread_.tracee_; }

  GuestThread& thread_;
};

}  // namespace platform::ptrace

#endif  // PLATFORM_PTRACE_GUEST_CONTEXT_H_
