// When and how a call site is rewritten.
#include <asm/prctl.h>
#include <linux/membarrier.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <algorithm>
#include <charconv>

#include "base/log.h"
#include "platform/systrap/context.h"
#include "platform/systrap/core.h"

namespace platform::systrap {

using native::SlotAddress;

namespace {

// A thread is busy when so many calls and signals come within this time: a good part of it goes by
// in notifications then.
constexpr uint32_t kBusyCalls = 32;
constexpr int64_t kBusyNs = 1'300'000;
// Rewriting a site costs about as much as this many notifications.
constexpr uint32_t kHotSite = 24;
// The number of the mailboxes' memfd in a stub, for the time of one mmap: not one by which the
// application is likely to map a file in another thread at the same time.
constexpr int kMailboxFd = 1021;
// Calls that came the slow way although somebody should have been looking at the mailbox.
constexpr int kMostMissed = 16;
constexpr int64_t kMissedNs = 1'000'000;

// The protections of the mapping that holds [start, start + size), as in proc_pid_maps(5): "r-xp".
// Empty when it is not in one.
std::string ProtectionsAt(std::string_view maps, uint64_t start, size_t size) {
  while (!maps.empty()) {
    const std::string_view line = maps.substr(0, maps.find('\n'));
    maps.remove_prefix(std::min(line.size() + 1, maps.size()));
    uint64_t from = 0, to = 0;
    const char* end = line.data() + line.size();
    auto parsed = std::from_chars(line.data(), end, from, 16);
    if (parsed.ec != std::errc() || parsed.ptr == end || *parsed.ptr != '-') continue;
    parsed = std::from_chars(parsed.ptr + 1, end, to, 16);
    if (parsed.ec != std::errc() || end - parsed.ptr < 5) continue;
    if (start >= from && start + size <= to) return std::string(parsed.ptr + 1, 4);
  }
  return "";
}

// Another call has come although somebody should be looking at the mailbox. True when that happens
// so often that nobody is.
bool Missed(HostThread& thread) {
  if (thread.mailbox->call.polled.load(std::memory_order_relaxed) == 0) return false;
  const int64_t now = MonotonicNs();
  if (now - thread.missed_since > kMissedNs) {
    thread.missed = 0;
    thread.missed_since = now;
  }
  return ++thread.missed > kMostMissed;
}

// Makes pages writable for as long as it takes, and tells whether it could.
class Writable {
 public:
  Writable(StubContext& context, uint64_t start, size_t size)
      : context_(context), start_(start & ~uint64_t{4095}) {
    size_ = ((start + size + 4095) & ~uint64_t{4095}) - start_;
    ok_ = Protect(PROT_READ | PROT_WRITE | PROT_EXEC);
  }
  ~Writable() {
    if (ok_) Protect(PROT_READ | PROT_EXEC);
  }
  bool ok() const { return ok_; }

 private:
  bool Protect(int prot) {
    return context_
        .HostCall({.nr = SYS_mprotect, .args = {start_, size_, static_cast<uint64_t>(prot)}})
        .ok();
  }
  StubContext& context_;
  const uint64_t start_;
  uint64_t size_;
  bool ok_;
};

Status Store(StubContext& context, uint64_t address, const uint8_t* bytes, uint64_t size) {
  const uint64_t value = size == 2 ? bytes[0] | bytes[1] << 8 : bytes[0];
  TRY(context.HostCall({.nr = STUB_STORE_CALL, .args = {address, value, size}}));
  return kOk;
}

Status SerializeOthers(StubContext& context) {
  TRY(context.HostCall(
      {.nr = SYS_membarrier, .args = {MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE}}));
  return kOk;
}

// Other threads may be running through the bytes: the first two become a jump to themselves, where
// whoever arrives waits for the rest.
Status StoreWhileOthersRun(StubContext& context, uint64_t site,
                           std::span<const uint8_t, kMovSize> code) {
  constexpr uint8_t kJumpHere[] = {0xeb, 0xfe};
  TRY(context.HostCall(
      {.nr = SYS_membarrier, .args = {MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE}}));
  TRY(Store(context, site, kJumpHere, 2));
  TRY(SerializeOthers(context));
  TRY(Store(context, site + 2, code.data() + 2, 2));
  TRY(Store(context, site + 4, code.data() + 4, 1));
  TRY(SerializeOthers(context));
  return Store(context, site, code.data(), 2);
}

}  // namespace

void Systrap::Count(HostThread& thread) {
  if (++thread.calls < kBusyCalls) return;
  const int64_t now = MonotonicNs();
  thread.busy = now - thread.window < kBusyNs;
  thread.window = now;
  thread.calls = 0;
}

void Systrap::Observe(HostThread& thread, const SyscallArgs& call) {
  Count(thread);
  if ((!thread.busy && !eager_) || !IsMailable(dispositions_, call.nr)) return;
  absl::MutexLock lock(&mu_);
  if (thread.uses_gs || thread.ended || thread.process->sites->table == Sites::Table::kImpossible) {
    return;
  }
  Sites::Site* site = thread.process->sites->Find(call.ip);
  if (site == nullptr || site->state == Sites::State::kHopeless) return;
  if (site->state == Sites::State::kPatched && thread.mailbox != nullptr) {
    if (!thread.polled) {
      RequestPollingLocked(thread);
    } else if (Missed(thread) && !eager_) {
      StopPollingLocked(thread);
      spin_no_more_.store(true, std::memory_order_relaxed);
    }
    return;
  }
  if (++site->calls < kHotSite && !eager_) return;
  thread.patch = Sites::Record{.after = call.ip, .nr = call.nr};
  InterruptLocked(thread);
}

void Systrap::Patch(StubContext& context, HostThread& thread, const Sites::Record& site) {
  const Ref<Sites> sites = thread.process->sites;
  bool patched = false;
  {
    absl::MutexLock lock(&mu_);
    if (sites->being_patched) return;  // There will be other calls.
    sites->being_patched = true;
    const Sites::Site* known = sites->Find(site.after);
    patched = known != nullptr && known->state == Sites::State::kPatched;
  }
  Status done = kOk;
  if (thread.mailbox == nullptr) done = AttachMailbox(context, thread);
  if (done.ok() && !patched) done = WriteSite(context, thread, site);
  if (!done.ok()) {
    LOG_DEBUG("the site of call %d is left as it is: errno %d", static_cast<int>(site.nr),
              done.error().code());
  }
  absl::MutexLock lock(&mu_);
  sites->being_patched = false;
  Sites::Site* known = sites->Find(site.after);
  if (known == nullptr) return;
  known->calls = 0;
  if (!patched) known->state = done.ok() ? Sites::State::kPatched : Sites::State::kHopeless;
}

bool Systrap::AnswerSegmentBase(HostThread& thread, const seccomp_notif& notification) {
  const auto* args = notification.data.args;
  if (args[0] == ARCH_SET_GS) {
    absl::MutexLock lock(&mu_);
    thread.uses_gs = args[1] != 0;
    DetachMailboxLocked(thread);
    return false;
  }
  if (args[0] != ARCH_GET_GS || thread.mailbox == nullptr) return false;
  const uint64_t none = 0;
  const bool written = thread.process->space->WriteObject(args[1], none);
  thread.process->channel.listener.Reply(notification.id, written ? 0 : -EFAULT);
  return true;
}

Status Systrap::AttachMailbox(StubContext& context, HostThread& thread) {
  const uint64_t address = SlotAddress(thread.slot) + STUB_SLOT_MAILBOX;
  std::optional<size_t> index;
  {
    absl::MutexLock lock(&mu_);
    index = thread.process->sites->MailboxOf(thread.slot);
  }
  if (!index.has_value()) {
    index = TRY(pool_->Allocate());
    const auto mapped = context.HostCall(
        {.nr = SYS_mmap,
         .args = {address, STUB_MAILBOX_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
                  uint64_t{kMailboxFd}, pool_->offset(*index)},
         .host_fd = pool_->fd(),
         .guest_fd = kMailboxFd});
    // What could be mapped all the same is not given to another process.
    if (!mapped.ok()) return mapped.error();
    absl::MutexLock lock(&mu_);
    thread.process->sites->SetMailbox(thread.slot, *index);
  }
  // A forked child must not share it.
  TRY(context.HostCall({.nr = SYS_madvise, .args = {address, STUB_MAILBOX_SIZE, MADV_DONTFORK}}));
  native::MailboxPage& page = pool_->at(*index);
  std::memset(static_cast<void*>(&page), 0, sizeof(page));
  page.call.patience.store(pool_->Patience(), std::memory_order_relaxed);
  const uint64_t yes = 1;
  if (!thread.process->space->WriteObject(SlotAddress(thread.slot) + STUB_SLOT_HAS_MAILBOX, yes)) {
    return Errno(EFAULT);
  }
  TRY(context.HostCall({.nr = SYS_arch_prctl, .args = {ARCH_SET_GS, address}}));
  absl::MutexLock lock(&mu_);
  thread.mailbox = &page;
  return kOk;
}

Status Systrap::WriteSite(StubContext& context, HostThread& thread, const Sites::Record& site) {
  native::NativeAddressSpace& space = *thread.process->space;
  std::array<uint8_t, kMovSize + 1> code;
  if (!space.ReadObject(site.after - kMovSize, code)) return Errno(ENOEXEC);
  const std::optional<SiteForm> form = FormOf(code, site.nr);
  if (!form.has_value()) return Errno(ENOEXEC);
  const size_t size = *form == SiteForm::kMov ? kMovSize : kXorSize;
  const uint64_t start = site.after - size;
  const bool alone = space.ThreadCount() <= 1;
  // Stores that others see whole lie in one cache line.
  if (!alone && ((start & 63) == 63 || ((start + 2) & 63) == 63)) return Errno(ENOEXEC);
  // Neither what the application itself may write to nor what is shared with a file.
  if (ProtectionsAt(TRY(space.HostMaps()), start, size) != "r-xp") return Errno(ENOEXEC);

  Sites::Record record{.after = site.after, .nr = site.nr};
  bool maps_step = false;
  size_t index = 0;
  {
    absl::MutexLock lock(&mu_);
    Sites& sites = *thread.process->sites;
    if (*form == SiteForm::kXor) {
      record.step = sites.FreeStep(start);
      if (record.step == 0) return Errno(ENOSPC);
      maps_step = !sites.HasStepIn(record.step & ~uint64_t{4095});
    }
    index = sites.AddRecord(record);
  }
  if (index == 0) return Errno(ENOSPC);
  TRY(WriteRecord(context, thread, index, record));
  if (*form == SiteForm::kXor) {
    const Status stepped = WriteStep(context, space, index, record.step, maps_step);
    if (!stepped.ok()) {
      absl::MutexLock lock(&mu_);
      thread.process->sites->ForgetStep(index);
      return stepped;
    }
  }
  const Writable text(context, start, size);
  if (!text.ok()) return Errno(EACCES);
  if (*form == SiteForm::kXor) {
    const std::array<uint8_t, kXorRewritten> patched = PatchedShortCode(start, record.step);
    if (alone) return space.WriteObject(start, patched) ? Status(kOk) : Status(Errno(EFAULT));
    // Whoever has read the old two bytes goes on to the bytes that stay: nobody has to wait.
    TRY(Store(context, start, patched.data(), kXorRewritten));
    TRY(context.HostCall(
        {.nr = SYS_membarrier, .args = {MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE}}));
    return SerializeOthers(context);
  }
  const std::array<uint8_t, kMovSize> patched = PatchedCode(index);
  if (!alone) return StoreWhileOthersRun(context, start, patched);
  return space.WriteObject(start, patched) ? Status(kOk) : Status(Errno(EFAULT));
}

Status Systrap::WriteRecord(StubContext& context, HostThread& thread, size_t index,
                            const Sites::Record& site) {
  native::NativeAddressSpace& space = *thread.process->space;
  bool fresh;
  {
    absl::MutexLock lock(&mu_);
    fresh = thread.process->sites->table == Sites::Table::kNone;
  }
  if (fresh) {
    const auto mapped = context.HostCall(
        {.nr = SYS_mmap,
         .args = {SITE_TABLE, SITE_TABLE_SIZE, PROT_READ | PROT_EXEC,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, ~uint64_t{0}, 0}});
    absl::MutexLock lock(&mu_);
    thread.process->sites->table = mapped.ok() ? Sites::Table::kMapped : Sites::Table::kImpossible;
    if (!mapped.ok()) return mapped.error();
  }
  const uint64_t record = SITE_TABLE + index * SITE_RECORD_SIZE;
  const Writable table(context, SITE_TABLE, record + SITE_RECORD_SIZE - SITE_TABLE);
  const uint64_t header[] = {native::StubAddress(sandbox_stub_fast_call, STUB_CODE),
                             native::StubAddress(sandbox_stub_fast_local, STUB_CODE)};
  if (!table.ok()) return Errno(EFAULT);
  if (fresh && !space.WriteObject(SITE_TABLE, header)) return Errno(EFAULT);
  const bool written = space.WriteObject(record, MakeRecord(index, site.after, site.nr));
  return written ? Status(kOk) : Status(Errno(EFAULT));
}

Status Systrap::WriteStep(StubContext& context, native::NativeAddressSpace& space, size_t index,
                          uint64_t step, bool maps) {
  constexpr uint64_t kPage = 4096;
  if (maps) {
    const uint64_t page = step & ~(kPage - 1);
    if (page + kPage > STUB_REGION_START) return Errno(ENOMEM);
    TRY(context.HostCall(
        {.nr = SYS_mmap,
         .args = {page, kPage, PROT_READ | PROT_EXEC,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, ~uint64_t{0}, 0}}));
  }
  const Writable text(context, step, kStepSize);
  const bool written = text.ok() && space.WriteObject(step, StepCode(index));
  return written ? Status(kOk) : Status(Errno(EFAULT));
}

}  // namespace platform::systrap
