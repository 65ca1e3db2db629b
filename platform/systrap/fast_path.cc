#include "platform/systrap/fast_path.h"

#include <cpuid.h>
#include <fcntl.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "absl/time/clock.h"
#include "platform/native/fp_state.h"

namespace platform::systrap {

using native::Mailbox;
using native::StubAddress;

namespace {

constexpr size_t kMaxMailboxes = 4096;
// Sites that are watched in one address space; programs have some hundreds.
constexpr size_t kMaxKnownSites = 2048;

constexpr uint64_t kFlagsMask = 0x8d5;  // OF, SF, ZF, AF, PF, CF.

// From lahf and seto, see fast_path.S.
uint64_t RestoreFlags(uint64_t eflags, uint64_t saved) {
  const uint64_t low = saved >> 8 & 0xd5;
  const uint64_t overflow = (saved & 1) << 11;
  return (eflags & ~kFlagsMask) | low | overflow;
}

bool Between(uint64_t ip, const char* from, const char* to) {
  return ip >= StubAddress(from, STUB_CODE) && ip < StubAddress(to, STUB_CODE);
}

bool InTable(uint64_t ip) { return ip >= SITE_TABLE && ip < SITE_TABLE + SITE_TABLE_SIZE; }

void BeforeCall(Registers& regs, uint64_t after, uint64_t nr) {
  regs.rip = after - kSyscallSize;
  regs.rax = nr;
}

}  // namespace

Result<std::unique_ptr<MailboxPool>> MailboxPool::Create() {
  return std::unique_ptr<MailboxPool>(
      new MailboxPool(TRY(SharedPool::Create("mailboxes", STUB_MAILBOX_SIZE, kMaxMailboxes))));
}

// What it has carried, registers among it, is nobody else's: who maps it next may look before Clear.
void MailboxPool::Free(size_t index) {
  std::memset(static_cast<void*>(&at(index)), 0, sizeof(native::MailboxPage));
  pool_->Free(index);
}

native::MailboxPage& MailboxPool::Clear(size_t index) {
  native::MailboxPage& page = at(index);
  std::memset(static_cast<void*>(&page), 0, offsetof(native::MailboxPage, data));
  page.call.patience.store(Patience(), std::memory_order_relaxed);
  page.call.signals.pending.store(1);  // Until somebody says otherwise.
  return page;
}

uint64_t MailboxPool::Patience() {
  absl::MutexLock lock(&mu_);
  if (patience_ == 0) {
    constexpr int kProbes = 500;
    constexpr int64_t kPatienceNs = 20000;
    const int64_t start = absl::GetCurrentTimeNanos();
    for (int i = 0; i < kProbes; ++i) __builtin_ia32_pause();
    const int64_t ns = std::max<int64_t>(absl::GetCurrentTimeNanos() - start, kProbes);
    patience_ = static_cast<uint64_t>(std::max<int64_t>(kPatienceNs * kProbes / ns, 16));
  }
  return patience_;
}

Sites::~Sites() {
  for (const auto& [slot, index] : mailboxes_) pool_->Free(index);
  for (const size_t index : retired_) pool_->Free(index);
}

Ref<Sites> Sites::Fork() const {
  auto copy = MakeRef<Sites>(pool_);
  copy->table = table;
  copy->sites_ = sites_;
  copy->hopeless = hopeless;
  copy->records_ = records_;
  copy->images_ = images_;
  copy->noted_ = noted_;
  return copy;
}

Sites::Site* Sites::Find(uint64_t after) {
  const auto it = sites_.find(after);
  if (it != sites_.end()) return &it->second;
  if (sites_.size() >= kMaxKnownSites) return nullptr;
  return &sites_[after];
}

size_t Sites::AddRecord(const Record& record) {
  const size_t index = table->Add();
  if (index != 0) records_[index] = record;
  return index;
}

bool Sites::AddImage(MappedImage image) {
  // What lay there is gone.
  std::erase_if(images_, [&](const MappedImage& other) {
    return other.start < image.end && image.start < other.end;
  });
  if (images_.size() >= kMostImages) images_.erase(images_.begin());
  if (image.copy) {
    const uint64_t base = image.start - image.offset;
    for (const ImageCache::Site& site : image.copy->sites) {
      if (!table->MayHold(site.record, base + site.after)) return false;
    }
    for (const ImageCache::Site& site : image.copy->sites) {
      const uint64_t after = base + site.after;
      records_[site.record] = {.after = after,
                               .nr = site.nr,
                               .displaced = static_cast<uint8_t>(site.form.displaced.size()),
                               .any_number = !site.form.number_known};
      table->Write(site.record, MakeRecord(site.form, site.record, after, site.nr));
      if (Site* entry = Find(after); entry != nullptr) entry->state = State::kPatched;
    }
  }
  images_.push_back(std::move(image));
  return true;
}

const Sites::MappedImage* Sites::NewsFrom(uint64_t after) {
  constexpr size_t kMostNoted = 1024;
  const auto it = std::find_if(images_.begin(), images_.end(), [after](const MappedImage& image) {
    return after > image.start && after <= image.end;
  });
  if (it == images_.end() || noted_.size() >= kMostNoted || !noted_.insert(after).second) {
    return nullptr;
  }
  return &*it;
}

uint64_t Sites::FreeStep(const StepRange& range, size_t size,
                         absl::FunctionRef<bool(uint64_t page)> is_free) const {
  constexpr uint64_t kPage = 4096, kAlign = 16;
  const uint64_t end = range.first + range.size;
  const auto in_page = [&](uint64_t page) -> uint64_t {
    const uint64_t last = std::min(page + kPage - size, end - 1);
    for (uint64_t step = (std::max(page, range.first) + kAlign - 1) & ~(kAlign - 1); step <= last;
         step += kAlign) {
      const bool used = std::any_of(records_.begin(), records_.end(), [&](const auto& entry) {
        const Record& record = entry.second;
        return record.step != 0 && step < record.step + record.step_size &&
               record.step < step + size;
      });
      if (!used) return step;
    }
    return 0;
  };
  for (const bool ours : {true, false}) {
    for (uint64_t page = range.first & ~(kPage - 1); page < end; page += kPage) {
      if (HasStepIn(page) != ours || (!ours && !is_free(page))) continue;
      if (const uint64_t step = in_page(page); step != 0) return step;
    }
  }
  return 0;
}

bool Sites::HasStepIn(uint64_t page) const {
  return std::any_of(records_.begin(), records_.end(), [page](const auto& entry) {
    const Record& record = entry.second;
    return record.step != 0 && (record.step & ~uint64_t{4095}) == page;
  });
}

const Sites::Record* Sites::RecordAt(uint64_t address) const {
  if (!InTable(address)) {
    const auto it = std::find_if(records_.begin(), records_.end(), [address](const auto& entry) {
      const Record& record = entry.second;
      return record.step != 0 && address >= record.step && address < record.step + record.step_size;
    });
    return it == records_.end() ? nullptr : &it->second;
  }
  const size_t index = (address - SITE_TABLE) / SITE_RECORD_SIZE;
  const auto it = records_.find(index);
  return it == records_.end() ? nullptr : &it->second;
}

std::optional<size_t> Sites::MailboxOf(size_t slot) const {
  const auto it = mailboxes_.find(slot);
  return it == mailboxes_.end() ? std::nullopt : std::optional<size_t>(it->second);
}

bool CpuHasFastPath() {
  constexpr unsigned long kFsGsBase = 2;  // HWCAP2_FSGSBASE: the kernel lets it be used.
  unsigned a, b, c, d;
  if ((getauxval(AT_HWCAP2) & kFsGsBase) == 0) return false;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & bit_SSE4_2) == 0) return false;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0 || (b & bit_BMI2) == 0) return false;
  return __get_cpuid(0x80000001, &a, &b, &c, &d) != 0 && (c & bit_LAHF_LM) != 0;
}

void UpdateLocal(Mailbox& box, uint64_t nr, int64_t value) {
  switch (nr) {
    case SYS_setuid:
    case SYS_setgid:
    case SYS_setreuid:
    case SYS_setregid:
    case SYS_setresuid:
    case SYS_setresgid:
      for (const int call : {SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid}) {
        box.local[*LocalIndex(static_cast<uint64_t>(call))].store(0, std::memory_order_relaxed);
      }
      return;
    default:
      if (const auto index = LocalIndex(nr); index.has_value() && value >= 0) {
        box.local[*index].store(static_cast<uint64_t>(value) + 1, std::memory_order_relaxed);
      }
  }
}

void ForgetLocal(Mailbox& box) {
  for (std::atomic<uint64_t>& answer : box.local) answer.store(0, std::memory_order_relaxed);
}

std::vector<std::byte> SelfFpState(const native::MailboxPage& page) {
  static const uint64_t features = native::EnabledFeatures();
  std::vector<std::byte> state(std::begin(page.xstate), std::end(page.xstate));
  std::memcpy(state.data() + native::kXstateFeatures, &features, sizeof(features));
  return native::ToSignalFrame(state);
}

bool CanStoreFpState() {
  return native::XstateSize(native::EnabledFeatures()) <= sizeof(native::MailboxPage::xstate);
}

Registers SelfRegisters(const native::MailboxPage& page) {
  constexpr uint64_t kOrdinaryFlags = 0x202;
  native::MachineContext machine = page.context;
  machine.eflags = RestoreFlags(kOrdinaryFlags, page.call.flags);
  machine.cr2 = machine.err = machine.trapno = 0;
  Registers regs;
  native::LoadRegisters(machine, regs);
  return regs;
}

namespace {

bool IsCarrying(uint64_t ip) { return Between(ip, sandbox_stub_fast_carry, sandbox_stub_fast_out); }

// The thread was changing its mask. What was to be told of the old one is returned.
CarriedBack UnwindMask(Registers& regs, const Mailbox& box) {
  const uint64_t ip = regs.rip;
  const uint64_t after = box.after;
  regs.eflags = RestoreFlags(regs.eflags, box.flags);
  if (Between(ip, sandbox_stub_fast_mask_saved, sandbox_stub_fast_masked) ||
      Between(ip, sandbox_stub_fast_mask_undone, sandbox_stub_fast_mask_tell)) {
    BeforeCall(regs, after, SYS_rt_sigprocmask);
    return {};
  }
  const bool told = Between(ip, sandbox_stub_fast_mask_told, sandbox_stub_fast_mask_out);
  regs.rip = after;
  regs.rax = 0;
  if (told || regs.rdx == 0) return {};
  return {.address = regs.rdx, .size = sizeof(uint64_t), .mask = regs.r11};
}

// In rt_sigaction(2), from where the flags are in the mailbox.
bool IsTellingAction(uint64_t ip) {
  return Between(ip, sandbox_stub_fast_action_saved, sandbox_stub_fast_action_end) &&
         ip != StubAddress(sandbox_stub_fast_action_out, STUB_CODE);
}

// The call has not been posted.
void UnwindEarly(Registers& regs, const Sites::Record& record, const native::MailboxPage* page) {
  const uint64_t ip = regs.rip;
  const uint64_t code =
      SITE_TABLE + (ip - SITE_TABLE) / SITE_RECORD_SIZE * SITE_RECORD_SIZE + SITE_CODE;
  const bool moved = record.any_number || record.step != 0;
  if (moved && (ip == record.step || (InTable(ip) && record.step == 0 && ip == code))) {
    regs.rip = record.start();  // It is about to execute what stood there.
  } else if (ip == StubAddress(sandbox_stub_fast_any_done, STUB_CODE)) {
    regs.rip = record.after;
  } else if (Between(ip, sandbox_stub_fast_mask, sandbox_stub_fast_mask_saved)) {
    BeforeCall(regs, record.after, SYS_rt_sigprocmask);
  } else if (Between(ip, sandbox_stub_fast_action, sandbox_stub_fast_action_saved)) {
    BeforeCall(regs, record.after, SYS_rt_sigaction);
  } else if (!record.any_number) {
    BeforeCall(regs, record.after, record.nr);
  } else if (Between(ip, sandbox_stub_fast_numbered, sandbox_stub_fast_carry) && page != nullptr) {
    BeforeCall(regs, record.after, page->call.nr);
  } else {
    BeforeCall(regs, record.after, regs.rax);
  }
}

// The thread was interrupting itself: with new registers it goes on with those, otherwise its call
// is done, and this interrupt will do.
void UnwindSelf(Registers& regs, native::MailboxPage& page, bool resuming) {
  const uint64_t state = page.self.state.exchange(0, std::memory_order_acq_rel);
  page.call.state.store(0, std::memory_order_relaxed);
  if (resuming || (state & MAILBOX_DONE) != 0) {
    native::LoadRegisters(page.context, regs);
    return;
  }
  regs.rip = page.call.after;
  regs.rax = page.call.value;
  regs.rdi = page.call.args[0];
  regs.rdx = page.call.args[2];
  regs.eflags = RestoreFlags(regs.eflags, page.call.flags);
}

}  // namespace

bool MayFault(uint64_t ip) {
  return IsCarrying(ip) || IsTellingAction(ip) ||
         Between(ip, sandbox_stub_fast_mask_saved, sandbox_stub_fast_mask_out);
}

CarriedBack UnwindFastPath(Registers& regs, const Sites& sites, native::MailboxPage* page,
                           const std::optional<MailAnswer>& answer) {
  const uint64_t ip = regs.rip;
  const bool in_record = InTable(ip) || sites.RecordAt(ip) != nullptr;
  if (in_record || Between(ip, sandbox_stub_fast_any, sandbox_stub_fast_carry) ||
      Between(ip, sandbox_stub_fast_slow, sandbox_stub_fast_end) ||
      Between(ip, sandbox_stub_fast_mask, sandbox_stub_fast_mask_saved) ||
      Between(ip, sandbox_stub_fast_action, sandbox_stub_fast_action_saved)) {
    const Sites::Record* record = sites.RecordAt(in_record ? ip : regs.r11);
    if (record != nullptr) UnwindEarly(regs, *record, page);
    return {};
  }
  if (ip == StubAddress(sandbox_stub_fast_out, STUB_CODE) ||
      ip == StubAddress(sandbox_stub_fast_mask_out, STUB_CODE) ||
      ip == StubAddress(sandbox_stub_fast_action_out, STUB_CODE)) {
    regs.rip = regs.r11;
    return {};
  }
  if (page == nullptr) return {};
  if (Between(ip, sandbox_stub_fast_self, sandbox_stub_fast_self_end)) {
    UnwindSelf(regs, *page, Between(ip, sandbox_stub_fast_self_resume, sandbox_stub_fast_self_end));
    return {};
  }
  if (Between(ip, sandbox_stub_fast_mask_saved, sandbox_stub_fast_mask_out)) {
    return UnwindMask(regs, page->call);
  }
  if (IsTellingAction(ip)) {
    regs.eflags = RestoreFlags(regs.eflags, page->call.flags);
    BeforeCall(regs, page->call.after, SYS_rt_sigaction);
    return {};
  }
  if (!IsCarrying(ip)) return {};
  Mailbox& box = page->call;
  const uint64_t after = box.after;
  const uint64_t nr = box.nr;
  const uint64_t state = box.state.exchange(0, std::memory_order_acq_rel);
  regs.eflags = RestoreFlags(regs.eflags, box.flags);
  regs.rdi = box.args[0];
  regs.rsi = box.args[1];
  regs.rdx = box.args[2];
  regs.r10 = box.args[3];
  // Read once: others may write to it between the look at a size and its use.
  const volatile Mailbox& shared = box;
  MailAnswer result{.value = static_cast<int64_t>(shared.value),
                    .refused = (state & MAILBOX_REFUSED) != 0,
                    .carried = {shared.to, shared.carried}};
  if (answer.has_value()) result = *answer;
  if ((!answer.has_value() && (state & MAILBOX_DONE) == 0) || result.refused) {
    BeforeCall(regs, after, nr);
    return {};
  }
  regs.rip = after;
  regs.rax = static_cast<uint64_t>(result.value);
  if (result.carried.size > sizeof(page->data)) return {};
  return {.address = result.carried.address,
          .size = result.carried.size,
          .in_part = nr == SYS_read || nr == SYS_pread64 || nr == SYS_recvfrom,
          .mask = std::nullopt};
}

}  // namespace platform::systrap
