#include "platform/native/address_space.h"

#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace platform::native {
namespace {

// maps or smaps without the stub's own regions; the kernel's vsyscall page lies above them.
std::string WithoutStub(std::string_view host) {
  std::string text;
  bool skip = false;
  while (!host.empty()) {
    const std::string_view line = host.substr(0, std::min(host.find('\n'), host.size() - 1) + 1);
    host.remove_prefix(line.size());
    uint64_t start = 0;
    const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), start, 16);
    // Lines with numbers about a mapping begin with a name ("AnonHugePages:").
    if (error == std::errc() && end != line.data() + line.size() && *end == '-') {
      skip = (start >= STUB_REGION_START && start < STUB_REGION_END) ||
             (start >= SITE_TABLE && start < SITE_TABLE + SITE_MAPPED_SIZE);
    }
    if (!skip) text += line;
  }
  return text;
}

}  // namespace

pid_t NativeAddressSpace::Target() const {
  absl::MutexLock lock(&mu_);
  return tids_.empty() ? 0 : tids_.front();
}

thread_local CarriedBuffer* NativeAddressSpace::carried_ = nullptr;

CarriedBuffer::CarriedBuffer(NativeAddressSpace& space, const Place& in, const Place& out,
                             std::span<std::byte> data)
    : space_(space), in_(in), out_(out), data_(data) {
  NativeAddressSpace::carried_ = this;
}

CarriedBuffer::~CarriedBuffer() { NativeAddressSpace::carried_ = nullptr; }

CarriedBuffer* CarriedBuffer::Exchange(CarriedBuffer* buffer) {
  return std::exchange(NativeAddressSpace::carried_, buffer);
}

size_t CarriedBuffer::Reads(uint64_t address, std::span<std::byte> dst) {
  const uint64_t offset = address - in_.address;  // Large if it lies in front.
  if (written_ == 0 && offset < in_.size) {
    const size_t size = std::min<uint64_t>(dst.size(), in_.size - offset);
    std::memcpy(dst.data(), data_.data() + offset, size);
    if (size == dst.size() || (in_.text && std::memchr(dst.data(), 0, size) != nullptr))
      return size;
  }
  Flush(address, dst.size());
  return 0;
}

bool CarriedBuffer::Writes(uint64_t address, std::span<const std::byte> src) {
  const uint64_t offset = address - out_.address;
  if (offset > written_ || src.empty() || offset > out_.size || src.size() > out_.size - offset) {
    Flush(address, src.size());
    return false;
  }
  std::memcpy(data_.data() + offset, src.data(), src.size());
  written_ = std::max<size_t>(written_, offset + src.size());
  return true;
}

void CarriedBuffer::Flush(uint64_t address, size_t size) {
  if (address >= out_.address + written_ || out_.address >= address + size) return;
  space_.WriteMemory(out_.address, data_.first(std::exchange(written_, 0)));
}

size_t NativeAddressSpace::Read(uint64_t addr, std::span<std::byte> dst) {
  if (carried_ != nullptr && &carried_->space_ == this && !dst.empty()) {
    if (const size_t size = carried_->Reads(addr, dst); size != 0) return size;
  }
  return ReadMemory(addr, dst);
}

size_t NativeAddressSpace::ReadMemory(uint64_t addr, std::span<std::byte> dst) {
  const pid_t tid = Target();
  if (tid == 0 || dst.empty()) return 0;
  const iovec local{dst.data(), dst.size()};
  const iovec remote{reinterpret_cast<void*>(addr), dst.size()};
  const ssize_t n = process_vm_readv(tid, &local, 1, &remote, 1, 0);
  return n < 0 ? 0 : static_cast<size_t>(n);
}

// The host's kernel touches both sides: a page of ours that is gone is EFAULT for it.
size_t NativeAddressSpace::ReadIntoMapped(uint64_t addr, std::span<std::byte> dst) {
  FlushCarried(addr, dst.size());
  return ReadMemory(addr, dst);
}

size_t NativeAddressSpace::WriteFromMapped(uint64_t addr, std::span<const std::byte> src) {
  FlushCarried(addr, src.size());
  return WriteMemory(addr, src);
}

void NativeAddressSpace::FlushCarried(uint64_t addr, size_t size) {
  if (carried_ != nullptr && &carried_->space_ == this) carried_->Flush(addr, size);
}

size_t NativeAddressSpace::ReadPieces(std::span<const Piece> pieces) {
  constexpr size_t kMost = 64;  // At once.
  if (carried_ != nullptr) return AddressSpace::ReadPieces(pieces);
  const pid_t tid = Target();
  if (tid == 0) return 0;
  size_t whole = 0;
  std::array<iovec, kMost> local, remote;
  while (whole < pieces.size()) {
    const auto some = pieces.subspan(whole, std::min(kMost, pieces.size() - whole));
    for (size_t i = 0; i < some.size(); ++i) {
      local[i] = {some[i].dst.data(), some[i].dst.size()};
      remote[i] = {reinterpret_cast<void*>(some[i].addr), some[i].dst.size()};
    }
    const ssize_t n =
        process_vm_readv(tid, local.data(), some.size(), remote.data(), some.size(), 0);
    auto left = static_cast<size_t>(std::max<ssize_t>(n, 0));
    for (const Piece& piece : some) {
      if (piece.dst.size() > left) return whole;
      left -= piece.dst.size();
      ++whole;
    }
  }
  return whole;
}

size_t NativeAddressSpace::Write(uint64_t addr, std::span<const std::byte> src) {
  if (carried_ != nullptr && &carried_->space_ == this && carried_->Writes(addr, src)) {
    return src.size();
  }
  return WriteMemory(addr, src);
}

std::span<std::byte> NativeAddressSpace::WriteInPlace(uint64_t addr, size_t size) {
  const bool takes =
      carried_ != nullptr && &carried_->space_ == this && carried_->TakesAll(addr, size);
  return takes ? carried_->data_.first(size) : std::span<std::byte>();
}

void NativeAddressSpace::WroteInPlace(size_t size) { carried_->written_ = size; }

size_t NativeAddressSpace::WriteMemory(uint64_t addr, std::span<const std::byte> src) {
  const pid_t tid = Target();
  if (tid == 0 || src.empty()) return 0;
  const iovec local{const_cast<std::byte*>(src.data()), src.size()};
  const iovec remote{reinterpret_cast<void*>(addr), src.size()};
  const ssize_t n = process_vm_writev(tid, &local, 1, &remote, 1, 0);
  return n < 0 ? 0 : static_cast<size_t>(n);
}

bool NativeAddressSpace::WriteAll(std::span<const WritePiece> pieces) {
  constexpr size_t kMost = 4;
  if (pieces.size() > kMost) return false;
  const pid_t tid = Target();
  if (tid == 0) return false;
  iovec local[kMost], remote[kMost];
  size_t size = 0;
  for (size_t i = 0; i < pieces.size(); ++i) {
    const auto& [addr, bytes] = pieces[i];
    local[i] = {const_cast<std::byte*>(bytes.data()), bytes.size()};
    remote[i] = {reinterpret_cast<void*>(addr), bytes.size()};
    size += bytes.size();
  }
  const ssize_t n = process_vm_writev(tid, local, pieces.size(), remote, pieces.size(), 0);
  return n >= 0 && static_cast<size_t>(n) == size;
}

Result<std::string> NativeAddressSpace::HostMaps() {
  return WithoutStub(TRY(zygote_.ReadProc(absl::StrCat(Target(), "/maps"))));
}

Status NativeAddressSpace::ReadPagemap(uint64_t offset, std::span<std::byte> dst) {
  std::ranges::fill(dst, std::byte{0});
  const uint64_t end = user_end() / 4096 * 8;
  if (offset >= end) return kOk;
  const UniqueFd file = TRY(zygote_.OpenProc(absl::StrCat(Target(), "/pagemap")));
  dst = dst.first(std::min<uint64_t>(dst.size(), end - offset));
  const ssize_t n = pread(file.get(), dst.data(), dst.size(), static_cast<off_t>(offset));
  return n < 0 ? Status(Errno::Last()) : kOk;
}

Result<std::string> NativeAddressSpace::HostProc(HostFile file, int host_tid) {
  const std::string of_thread = absl::StrCat(host_tid, "/task/", host_tid);
  const std::string of_process = absl::StrCat(Target());
  const std::string& either = host_tid != 0 ? of_thread : of_process;
  switch (file) {
    case HostFile::kSmaps:
      return WithoutStub(TRY(zygote_.ReadProc(of_process + "/smaps")));
    case HostFile::kStat:
      return zygote_.ReadProc(either + "/stat");
    case HostFile::kStatus:
      return zygote_.ReadProc(either + "/status");
    case HostFile::kSchedstat:
      return zygote_.ReadProc(either + "/schedstat");
    case HostFile::kSyscall:
      return zygote_.ReadProc(either + "/syscall");
    case HostFile::kWaitChannel:
      return zygote_.ReadProc(either + "/wchan");
  }
  return Errno(ENOSYS);
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
  auto copy = MakeRef<NativeAddressSpace>(zygote_, vdso_);
  absl::MutexLock lock(&mu_);
  absl::MutexLock copy_lock(&copy->mu_);
  copy->slot_used_.assign(slot_used_.size(), false);
  copy->slot_used_[used_slot] = true;
  return copy;
}

}  // namespace platform::native
