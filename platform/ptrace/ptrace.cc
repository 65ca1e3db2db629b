#include "platform/ptrace/ptrace.h"

#include <signal.h>

#include "platform/native/zygote.h"
#include "platform/ptrace/core.h"
#include "platform/ptrace/filter.h"
#include "platform/ptrace/image.h"

namespace platform::ptrace {
namespace {

class PtracePlatform final : public Platform {
 public:
  PtracePlatform(Ref<Core> core, Layout layout) : core_(std::move(core)), layout_(layout) {}

  const char* name() const override { return "ptrace"; }
  Layout layout() const override { return layout_; }
  Result<std::unique_ptr<Image>> NewImage() override { return PtraceImage::Create(core_); }
  Result<UniqueFd> ReopenReadOnly(int fd) override { return core_->zygote().ReopenReadOnly(fd); }
  void Run() override { core_->Run(); }
  void Stop() override { core_->Stop(); }

  // A tracer serves one thread only, so it may as well sleep.
  void EnterBlocking() override {}
  void LeaveBlocking() override {}

 private:
  const Ref<Core> core_;
  const Layout layout_;
};

}  // namespace

namespace {

Result<std::unique_ptr<Platform>> CreateOnce(const PtraceOptions& options) {
  std::unique_ptr<DescriptorChannel> channel = TRY(DescriptorChannel::Create());
  std::unique_ptr<native::Zygote> zygote =
      TRY(native::Zygote::Create({.filter = kStubFilter,
                                  .notify = false,
                                  .keep_fd = channel->stub_end(),
                                  .proc_fd = options.proc_fd}));
  const auto core = MakeRef<Core>(options.dispositions, std::move(zygote), std::move(channel));
  return std::unique_ptr<Platform>(std::make_unique<PtracePlatform>(core, native::NativeLayout()));
}

// Tracers block all signals, and what a thread blocks is not ignored: for each stop of a stub the
// host would wake another thread of the sentry with SIGCHLD, to no effect. Whom a tracer waits for
// wakes it all the same.
void SilenceStops() {
  struct sigaction action {};
  action.sa_handler = SIG_DFL;
  action.sa_flags = SA_NOCLDSTOP;
  sigaction(SIGCHLD, &action, nullptr);
}

}  // namespace

Result<std::unique_ptr<Platform>> CreatePtrace(const PtraceOptions& options) {
  SilenceStops();
  // About one zygote in 4,000 is not traceable from the start (EINVAL), for a reason that has not
  // been found; the next one is.
  constexpr int kMostAttempts = 3;
  for (int attempt = 1;; ++attempt) {
    auto created = CreateOnce(options);
    if (created.ok() || created.error() != Errno(EINVAL) || attempt == kMostAttempts)
      return created;
  }
}

}  // namespace platform::ptrace
