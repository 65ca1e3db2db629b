#include "platform/systrap/systrap.h"

#include <sys/auxv.h>
#include <sys/mman.h>

#include "platform/native/stub.h"
#include "platform/systrap/core.h"

namespace platform::systrap {
namespace {

// The stub's stacks hold the host's signal frame: AT_MINSIGSTKSZ says how large it is here.
constexpr size_t kReserve = 2048;

}  // namespace

Result<std::unique_ptr<Platform>> CreateSystrap(const SystrapOptions& options) {
  if (getauxval(AT_MINSIGSTKSZ) + kReserve > STUB_SLOT_USED - STUB_SLOT_STACK) {
    return Errno(EINVAL);
  }
  std::unique_ptr<MailboxPool> pool;
  if (options.patch_calls_of != nullptr && CpuHasFastPath()) {
    auto created = MailboxPool::Create();
    if (created.ok()) pool = *std::move(created);
  }
  static constexpr DispositionTable kNone{};
  std::unique_ptr<native::Zygote> zygote = TRY(
      native::Zygote::Create({.filter = std::span(options.filter.code).first(options.filter.size),
                              .notify = true,
                              .proc_fd = options.proc_fd}));
  Listener listener(zygote->TakeListener());
  TRY(listener.Prepare());
  return std::unique_ptr<Platform>(
      std::make_unique<Systrap>(std::move(zygote), std::move(listener), native::NativeLayout(),
                                options.patch_calls_of != nullptr ? *options.patch_calls_of : kNone,
                                std::move(pool), options.patch_eagerly));
}

}  // namespace platform::systrap
