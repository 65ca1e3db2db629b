#include "platform/systrap/systrap.h"

#include <sys/auxv.h>
#include <sys/mman.h>

#include <algorithm>

#include "base/host_cpus.h"
#include "platform/native/stub.h"
#include "platform/systrap/core.h"

namespace platform::systrap {
namespace {

// The stub's stacks hold the host's signal frame: AT_MINSIGSTKSZ says how large it is here.
constexpr size_t kReserve = 2048;

constexpr int kMostChannels = 4;

}  // namespace

Result<std::unique_ptr<Platform>> CreateSystrap(const SystrapOptions& options) {
  if (getauxval(AT_MINSIGSTKSZ) + kReserve > STUB_SLOT_USED - STUB_SLOT_STACK) {
    return Errno(EINVAL);
  }
  static constexpr DispositionTable kNone{};
  const DispositionTable& dispositions =
      options.patch_calls_of != nullptr ? *options.patch_calls_of : kNone;
  std::unique_ptr<FastPathMemory> fast_path;
  if (options.patch_calls_of != nullptr && CpuHasFastPath()) {
    auto mailboxes = MailboxPool::Create();
    auto tables = SiteTables::Create(options.proc_fd, dispositions);
    if (mailboxes.ok() && tables.ok()) {
      fast_path = std::make_unique<FastPathMemory>(
          FastPathMemory{*std::move(mailboxes), *std::move(tables), RunQueue(options.proc_fd)});
    }
  }
  std::vector<std::unique_ptr<native::Zygote>> zygotes;
  for (int i = 0; i < std::min(HostCpuCount(), kMostChannels); ++i) {
    zygotes.push_back(TRY(native::Zygote::Begin(
        {.filter = std::span(options.filter.code).first(options.filter.size),
         .notify = true,
         .setup_fds = fast_path == nullptr
                          ? std::array{-1, -1}
                          : std::array{fast_path->mailboxes->fd(), fast_path->tables->fd()},
         .proc_fd = i == 0 ? options.proc_fd : -1})));
  }
  std::vector<std::unique_ptr<Channel>> channels;
  for (auto& zygote : zygotes) {
    TRY(zygote->Finish());
    channels.push_back(std::make_unique<Channel>(std::move(zygote)));
    TRY(channels.back()->listener.Prepare());
  }
  return std::unique_ptr<Platform>(std::make_unique<Systrap>(
      std::move(channels), native::NativeLayout(), dispositions, std::move(fast_path),
      options.patch_eagerly || options.patch_chaos, options.patch_chaos));
}

}  // namespace platform::systrap
