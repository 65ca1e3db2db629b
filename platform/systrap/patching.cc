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
// A site of a thread that is not busy, but whose calls the thread can answer itself at any time.
constexpr uint32_t kOftenSite = 128;
constexpr uint64_t kPage = 4096;
// Calls that came the slow way although somebody should have been looking at the mailbox.
constexpr int kMostMissed = 16;
constexpr int64_t kMissedNs = 1'000'000;

struct MappedRange {
  uint64_t start = 0;
  uint64_t end = 0;
  std::string_view protections;  // As in proc_pid_maps(5): "r-xp".
};

// Takes the next mapping from a text of proc_pid_maps(5).
std::optional<MappedRange> NextMapping(std::string_view& maps) {
  while (!maps.empty()) {
    const std::string_view line = maps.substr(0, maps.find('\n'));
    maps.remove_prefix(std::min(line.size() + 1, maps.size()));
    MappedRange range;
    const char* end = line.data() + line.size();
    auto parsed = std::from_chars(line.data(), end, range.start, 16);
    if (parsed.ec != std::errc() || parsed.ptr == end || *parsed.ptr != '-') continue;
    parsed = std::from_chars(parsed.ptr + 1, end, range.end, 16);
    if (parsed.ec != std::errc() || end - parsed.ptr < 5) continue;
    range.protections = std::string_view(parsed.ptr + 1, 4);
    return range;
  }
  return std::nullopt;
}

bool IsFree(std::string_view maps, uint64_t page) {
  while (const auto mapping = NextMapping(maps)) {
    if (mapping->start < page + kPage && mapping->end > page) return false;
  }
  return true;
}

// The code around an address: mappings without a gap that are neither the application's to write to
// nor shared with a file. Where some of it has been patched there are several.
std::optional<MappedRange> CodeAround(std::string_view maps, uint64_t address) {
  std::optional<MappedRange> found;
  while (const auto next = NextMapping(maps)) {
    const bool code = next->protections == "r-xp";
    if (code && found.has_value() && found->end == next->start) {
      found->end = next->end;
      continue;
    }
    if (found.has_value() && found->end > address) break;
    found = code ? next : std::nullopt;
  }
  const bool inside = found.has_value() && found->start <= address && found->end > address;
  return inside ? found : std::nullopt;
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
// whoever arrives waits for the rest. Whoever has read the old ones goes on to the call.
Status StoreWhileOthersRun(StubContext& context, uint64_t site, std::span<const uint8_t> code) {
  constexpr uint8_t kJumpHere[] = {0xeb, 0xfe};
  TRY(context.HostCall(
      {.nr = SYS_membarrier, .args = {MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE}}));
  if (code.size() > 2) {
    TRY(Store(context, site, kJumpHere, 2));
    TRY(SerializeOthers(context));
    for (size_t i = 2; i < code.size(); i += 2) {
      TRY(Store(context, site + i, code.data() + i, std::min<size_t>(code.size() - i, 2)));
    }
    TRY(SerializeOthers(context));
  }
  TRY(Store(context, site, code.data(), 2));
  return SerializeOthers(context);
}

// Sites::PoolUse::open, as long as it stands.
class OpenedPool {
 public:
  OpenedPool(Systrap& platform, HostThread& thread)
      : platform_(platform), sites_(thread.process->sites), ok_(platform.OpenPool(thread)) {}
  ~OpenedPool() {
    if (ok_) platform_.ClosePool(*sites_);
  }
  bool ok() const { return ok_; }

 private:
  Systrap& platform_;
  const Ref<Sites> sites_;
  const bool ok_;
};

// The text around a call site.
struct SiteText {
  std::vector<uint8_t> bytes;
  size_t call = 0;  // Where in it the instruction is.
};

Result<SiteText> ReadText(native::NativeAddressSpace& space, const MappedRange& mapping,
                          uint64_t after) {
  const uint64_t call = after - kSyscallSize;
  const uint64_t from = std::max(mapping.start, call - std::min<uint64_t>(call, kTextBefore));
  const uint64_t to = std::min(mapping.end, after + kTextBehind);
  SiteText text{.bytes = std::vector<uint8_t>(to - from), .call = call - from};
  const size_t got = space.Read(from, std::as_writable_bytes(std::span(text.bytes)));
  if (got <= text.call) return Errno(ENOEXEC);
  text.bytes.resize(got);
  return text;
}

}  // namespace

void Systrap::Count(HostThread& thread) {
  if (++thread.calls < kBusyCalls) return;
  const int64_t now = MonotonicNs();
  thread.busy = now - thread.window < kBusyNs;
  thread.window = now;
  thread.calls = 0;
}

void Systrap::Learn(HostThread& thread, const SyscallArgs& call) {
  absl::MutexLock lock(&mu_);
  const Sites::MappedImage* image = thread.process->sites->NewsFrom(call.ip);
  if (image != nullptr) images_.Note(*image->file, call.ip - image->start + image->offset, call.nr);
}

int Systrap::MapExecutable(Sites& sites, int host_fd, uint64_t addr, uint64_t length,
                           uint64_t offset, Ref<const ImageCache::Copy>& copy) {
  constexpr uint64_t kFarthest = uint64_t{1} << 47;
  if (length == 0 || length > kFarthest || addr > kFarthest || offset > kFarthest) return host_fd;
  Ref<ImageCache::File> file = images_.Find(host_fd);
  if (!file) return host_fd;
  bool has_table = false;
  {
    absl::MutexLock lock(&mu_);
    has_table = static_cast<bool>(sites.table);
  }
  if (has_table) copy = images_.CopyFor(*file, host_fd, offset, length);
  absl::MutexLock lock(&mu_);
  Sites::MappedImage image{
      .file = std::move(file), .start = addr, .end = addr + length, .offset = offset, .copy = copy};
  if (!sites.AddImage(image)) {
    image.copy = copy = nullptr;
    sites.AddImage(std::move(image));
  }
  return copy ? copy->fd.get() : host_fd;
}

Ref<ImageCache::File> Systrap::FindProgram(int host_fd) {
  return pool() == nullptr ? nullptr : images_.Find(host_fd);
}

bool Systrap::BirthsPatched(const ImageCache::File* program) const {
  if (pool() == nullptr || !warm_.load(std::memory_order_relaxed)) return false;
  return eager_ || program == nullptr || images_.Pays(*program);
}

void Systrap::Observe(HostThread& thread, const SyscallArgs& call) {
  Count(thread);
  if (!IsMailable(dispositions_, call.nr)) return;
  Learn(thread, call);
  const bool local = AnswersInPlace(call.nr);
  if (!thread.busy && !eager_ && !local && thread.mailbox == nullptr) return;
  absl::MutexLock lock(&mu_);
  if (thread.uses_gs || thread.ended || thread.process->sites->hopeless) return;
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
  // A mailbox for each of many threads would cost more memory than it saves time.
  const bool often = local && thread.process->slots.size() == 1;
  if (!thread.busy && !eager_ && !often) return;
  if (thread.mailbox == nullptr && !thread.process->sites->MayHaveMailbox(thread.slot)) return;
  if (++site->calls < (thread.busy ? kHotSite : kOftenSite) && !eager_) return;
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
  // Others have taken the last mailboxes, or are in the way: that is not the site's fault.
  const bool crowded = done.error() == Errno(EAGAIN) ||
                       (thread.mailbox == nullptr && !sites->MayHaveMailbox(thread.slot));
  if (!patched && !crowded) {
    known->state = done.ok() ? Sites::State::kPatched : Sites::State::kHopeless;
  }
}

bool Systrap::AnswerSegmentBase(HostThread& thread, const seccomp_notif& notification) {
  const auto* args = notification.data.args;
  if (args[0] == ARCH_SET_GS) {
    thread.guest->ShareSignals(nullptr);
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

Result<native::MailboxPage*> Systrap::MapMailbox(StubContext& context, HostThread& thread,
                                                 size_t slot) {
  std::optional<size_t> index;
  {
    absl::MutexLock lock(&mu_);
    index = thread.process->sites->MailboxOf(slot);
    if (!index.has_value() && !thread.process->sites->MayHaveMailbox(slot)) return Errno(EAGAIN);
  }
  if (!index.has_value()) {
    const uint64_t address = SlotAddress(slot) + STUB_SLOT_MAILBOX;
    const OpenedPool open(*this, thread);
    if (!open.ok()) return Errno(EAGAIN);
    const Result<size_t> unused = pool()->Allocate();
    if (!unused.ok()) return Errno(ENOSPC);  // For good, unlike EAGAIN.
    index = *unused;
    Result<uint64_t> mapped = context.HostCall(
        {.nr = SYS_mmap,
         .args = {address, STUB_MAILBOX_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
                  uint64_t{kPoolFd}, pool()->offset(*index)},
         .host_fd = pool()->fd(),
         .guest_fd = kPoolFd});
    // A forked child must not share it.
    if (mapped.ok()) {
      mapped = context.HostCall(
          {.nr = SYS_madvise, .args = {address, STUB_MAILBOX_SIZE, MADV_DONTFORK}});
    }
    absl::MutexLock lock(&mu_);
    if (!mapped.ok()) {
      thread.process->sites->Retire(*index);
      return mapped.error();
    }
    thread.process->sites->SetMailbox(slot, *index);
  }
  warm_.store(true, std::memory_order_relaxed);
  return &pool()->Clear(*index);
}

Status Systrap::AttachMailbox(StubContext& context, HostThread& thread) {
  native::MailboxPage* page = TRY(MapMailbox(context, thread, thread.slot));
  const uint64_t slot = SlotAddress(thread.slot);
  const uint64_t yes = 1;
  if (!thread.process->space->WriteObject(slot + STUB_SLOT_HAS_MAILBOX, yes)) return Errno(EFAULT);
  TRY(context.HostCall({.nr = SYS_arch_prctl, .args = {ARCH_SET_GS, slot + STUB_SLOT_MAILBOX}}));
  thread.guest->ShareSignals(&page->call.signals);
  absl::MutexLock lock(&mu_);
  thread.mailbox = page;
  return kOk;
}

Status Systrap::WriteSite(StubContext& context, HostThread& thread, const Sites::Record& site) {
  native::NativeAddressSpace& space = *thread.process->space;
  const std::string maps = TRY(space.HostMaps());
  const uint64_t call = site.after - kSyscallSize;
  const std::optional<MappedRange> mapping = CodeAround(maps, call);
  if (!mapping.has_value()) return Errno(ENOEXEC);
  const SiteText text = TRY(ReadText(space, *mapping, site.after));
  const std::optional<SiteForm> form = FormOf(text.bytes, text.call, site.nr);
  if (!form.has_value()) return Errno(ENOEXEC);
  Sites::Record record{.after = site.after,
                       .nr = site.nr,
                       .displaced = static_cast<uint8_t>(form->displaced.size()),
                       .any_number = !form->number_known};
  const bool alone = space.ThreadCount() <= 1;
  // Stores that others see whole lie in one cache line.
  if (!alone && (record.start() & 63) == 63) return Errno(ENOEXEC);

  TRY(EnsureTable(context, thread));
  bool maps_step = false;
  size_t index = 0;
  {
    absl::MutexLock lock(&mu_);
    Sites& sites = *thread.process->sites;
    if (form->has_step()) {
      record.step_size = static_cast<uint8_t>(StepCode(*form, 0, 0, 0).size());
      record.step = sites.FreeStep(StepsOf(*form, site.after), kMostStep, [&](uint64_t page) {
        return page + kPage <= STUB_REGION_START && IsFree(maps, page);
      });
      if (record.step == 0) return Errno(ENOSPC);
      maps_step = !sites.HasStepIn(record.step & ~(kPage - 1));
    }
    index = sites.AddRecord(record);
    if (index == 0) return Errno(ENOSPC);
    sites.table->Write(index, MakeRecord(*form, index, site.after, site.nr));
  }
  if (form->has_step()) {
    const Status stepped = WriteStep(context, space, record.step,
                                     StepCode(*form, site.after, index, record.step), maps_step);
    if (!stepped.ok()) {
      absl::MutexLock lock(&mu_);
      thread.process->sites->ForgetStep(index);
      return stepped;
    }
  }
  const std::vector<uint8_t> patched = PatchedCode(*form, site.after, index, record.step);
  const Writable writable(context, record.start(), patched.size());
  if (!writable.ok()) return Errno(EACCES);
  if (!alone) return StoreWhileOthersRun(context, record.start(), patched);
  const auto bytes = std::as_bytes(std::span(patched));
  return space.Write(record.start(), bytes) == bytes.size() ? Status(kOk) : Status(Errno(EFAULT));
}

Status Systrap::EnsureTable(StubContext& context, HostThread& thread) {
  Sites& sites = *thread.process->sites;
  {
    absl::MutexLock lock(&mu_);
    if (sites.table) return kOk;
  }
  const OpenedPool open(*this, thread);
  if (!open.ok()) return Errno(EAGAIN);
  Ref<SiteTable> table = TRY(tables().Make());
  const auto mapped = context.HostCall(
      {.nr = SYS_mmap,
       .args = {SITE_TABLE, SITE_MAPPED_SIZE, PROT_READ | PROT_EXEC,
                MAP_SHARED | MAP_FIXED_NOREPLACE, uint64_t{kPoolFd}, table->offset()},
       .host_fd = tables().fd(),
       .guest_fd = kPoolFd});
  absl::MutexLock lock(&mu_);
  if (!mapped.ok()) {
    sites.hopeless = true;
    return mapped.error();
  }
  sites.table = std::move(table);
  return kOk;
}

Status Systrap::WriteStep(StubContext& context, native::NativeAddressSpace& space, uint64_t step,
                          std::span<const uint8_t> code, bool maps) {
  if (code.empty()) return Errno(ENOEXEC);
  if (maps) {
    TRY(context.HostCall(
        {.nr = SYS_mmap,
         .args = {step & ~(kPage - 1), kPage, PROT_READ | PROT_EXEC,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, ~uint64_t{0}, 0}}));
  }
  const Writable text(context, step, code.size());
  const bool written = text.ok() && space.Write(step, std::as_bytes(code)) == code.size();
  return written ? Status(kOk) : Status(Errno(EFAULT));
}

}  // namespace platform::systrap
