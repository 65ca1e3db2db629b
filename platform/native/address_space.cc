#include "platform/native/address_space.h"

#include <sys/uio.h>

#include <algorithm>
#include <charconv>

#include "absl/strings/str_cat.h"

namespace platform::native {

pid_t NativeAddressSpace::Target() const {
  absl::MutexLock lock(&mu_);
  return tids_.empty() ? 0 : tids_.front();
}

size_t NativeAddressSpace::Read(uint64_t addr, std::span<std::byte> dst) {
  const pid_t tid = Target();
  if (tid == 0 || dst.empty()) return 0;
  const iovec local{dst.data(), dst.size()};
  const iovec remote{reinterpret_cast<void*>(addr), dst.size()};
  const ssize_t n = process_vm_readv(tid, &local, 1, &remote, 1, 0);
  return n < 0 ? 0 : static_cast<size_t>(n);
}

size_t NativeAddressSpace::Write(uint64_t addr, std::span<const std::byte> src) {
  const pid_t tid = Target();
  if (tid == 0 || src.empty()) return 0;
  const iovec local{const_cast<std::byte*>(src.data()), src.size()};
  const iovec remote{reinterpret_cast<void*>(addr), src.size()};
  const ssize_t n = process_vm_writev(tid, &local, 1, &remote, 1, 0);
  return n < 0 ? 0 : static_cast<size_t>(n);
}

Result<std::string> NativeAddressSpace::HostMaps() {
  const std::string host = TRY(zygote_.ReadProc(absl::StrCat(Target(), "/maps")));
  std::string text;
  for (std::string_view rest = host; !rest.empty();) {
    const std::string_view line = rest.substr(0, std::min(rest.find('\n'), rest.size() - 1) + 1);
    rest.remove_prefix(line.size());
    uint64_t start = 0;
    std::from_chars(line.data(), line.data() + line.size(), start, 16);
    // The stub's own; the kernel's vsyscall page lies above it.
    if (start >= STUB_REGION_START && start < STUB_REGION_END) continue;
    if (start >= SITE_TABLE && start < SITE_TABLE + SITE_TABLE_SIZE) continue;
    text += line;
  }
  return text;
}

void NativeAddressSpace::AddThread(pid_t tid) {
  absl::MutexLock lock(&mu_);
  tids_.push_back(tid);
}

void NativeAddressSpace::RemoveThread(pid_t tid) {
  absl::MutexLock lock(&mu_);
  const auto it = std::find(tids_.begin(), tids_.end(), tid);
  if (it != tids_.end()) tids_.erase(it);
}

size_t NativeAddressSpace::ThreadCount() const {
  absl::MutexLock lock(&mu_);
  return tids_.size();
}

Result<Slot> NativeAddressSpace::AllocateSlot() {
  absl::MutexLock lock(&mu_);
  const auto free = std::find(slot_used_.begin(), slot_used_.end(), false);
  const size_t index = static_cast<size_t>(free - slot_used_.begin());
  if (free != slot_used_.end()) {
    *free = true;
    return Slot{.index = index, .mapped = true};
  }
  if (index == kMaxSlots) return Errno(EAGAIN);
  slot_used_.push_back(true);
  return Slot{.index = index, .mapped = false};
}

void NativeAddressSpace::FreeSlot(size_t index) {
  absl::MutexLock lock(&mu_);
  slot_used_[index] = false;
}

Ref<NativeAddressSpace> NativeAddressSpace::Fork(size_t used_slot) const {
  auto copy = MakeRef<NativeAddressSpace>(zygote_);
  absl::MutexLock lock(&mu_);
  absl::MutexLock copy_lock(&copy->mu_);
  copy->slot_used_.assign(slot_used_.size(), false);
  copy->slot_used_[used_slot] = true;
  return copy;
}

}  // namespace platform::native
