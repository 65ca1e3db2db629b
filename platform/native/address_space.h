// The memory of a host process that the sentry reads and writes with process_vm_readv(2).
#ifndef PLATFORM_NATIVE_ADDRESS_SPACE_H_
#define PLATFORM_NATIVE_ADDRESS_SPACE_H_

#include <sys/types.h>

#include <vector>

#include "absl/synchronization/mutex.h"
#include "platform/api/platform.h"
#include "platform/native/stub.h"
#include "platform/native/zygote.h"

namespace platform::native {

// Room for one thread in the stub region.
struct Slot {
  size_t index = 0;
  bool mapped = false;  // False: the stub has to map it first.
};

class NativeAddressSpace;

// Guest memory that a call has brought along, and that it takes back with its answer: what the
// thread that handles the call reads from one place, and writes to the other, goes to `data` while
// this lives. What was brought along is read before anything is written.
class CarriedBuffer {
 public:
  // Of the application's memory.
  struct Place {
    uint64_t address = 0;
    uint64_t size = 0;
    bool text = false;  // Whoever reads beyond it looks for its NUL.
  };
  // Requires: `data` holds either place.
  CarriedBuffer(NativeAddressSpace& space, const Place& in, const Place& out,
                std::span<std::byte> data);
  CarriedBuffer(const CarriedBuffer&) = delete;
  ~CarriedBuffer();
  // Makes `buffer`, which may be nullptr, the one of this thread; answers which one was.
  static CarriedBuffer* Exchange(CarriedBuffer* buffer);
  // From here on what is written goes to the memory at once, if nothing has been written yet.
  void BringNothingBack() {
    if (written_ == 0) out_ = {};
  }
  // What is to be copied to the application's memory.
  Place written() const { return {out_.address, written_}; }

 private:
  friend class NativeAddressSpace;
  // Bytes that were there; less than asked for, behind which there may be more memory, when a
  // string ends there. 0: to be read elsewhere.
  size_t Reads(uint64_t address, std::span<std::byte> dst);
  bool Writes(uint64_t address, std::span<const std::byte> src);
  bool TakesAll(uint64_t address, size_t size) const {
    return written_ == 0 && size != 0 && address == out_.address && size <= out_.size;
  }
  // Not in the way that was foreseen: what has been written goes to the memory first.
  void Flush(uint64_t address, size_t size);

  NativeAddressSpace& space_;
  const Place in_;
  Place out_;
  const std::span<std::byte> data_;
  size_t written_ = 0;
};

class NativeAddressSpace final : public AddressSpace {
 public:
  // `zygote` reads the host's list of mappings; it outlives the address space.
  explicit NativeAddressSpace(Zygote& zygote) : NativeAddressSpace(zygote, zygote.vdso()) {}
  // Of a stub that another zygote has forked, whose vDSO is elsewhere.
  NativeAddressSpace(Zygote& zygote, uint64_t vdso) : zygote_(zygote), vdso_(vdso) {}

  size_t Read(uint64_t addr, std::span<std::byte> dst) override;
  size_t Write(uint64_t addr, std::span<const std::byte> src) override;
  size_t ReadIntoMapped(uint64_t addr, std::span<std::byte> dst) override;
  size_t WriteFromMapped(uint64_t addr, std::span<const std::byte> src) override;
  std::span<std::byte> WriteInPlace(uint64_t addr, size_t size) override;
  void WroteInPlace(size_t size) override;
  size_t ReadPieces(std::span<const Piece> pieces) override;
  uint64_t user_end() const override { return STUB_REGION_START; }
  uint64_t vdso() const override { return vdso_; }
  Result<std::string> HostMaps() override;
  Status ReadPagemap(uint64_t offset, std::span<std::byte> dst) override;
  Result<std::string> HostProc(HostFile file, int host_tid) override;

  template <typename T>
  bool ReadObject(uint64_t addr, T& object) {
    return Read(addr, std::as_writable_bytes(std::span(&object, 1))) == sizeof(T);
  }
  template <typename T>
  bool WriteObject(uint64_t addr, const T& object) {
    return Write(addr, std::as_bytes(std::span(&object, 1))) == sizeof(T);
  }

  // Several pieces in one copy. False unless all of them could be written.
  struct WritePiece {
    uint64_t addr = 0;
    std::span<const std::byte> bytes;
  };
  bool WriteAll(std::span<const WritePiece> pieces);

  // The memory is reached through any live thread that uses it.
  void AddThread(pid_t tid) ABSL_LOCKS_EXCLUDED(mu_);
  void RemoveThread(pid_t tid) ABSL_LOCKS_EXCLUDED(mu_);
  size_t ThreadCount() const ABSL_LOCKS_EXCLUDED(mu_);

  // EAGAIN when the process has as many threads as there are slots.
  Result<Slot> AllocateSlot() ABSL_LOCKS_EXCLUDED(mu_);
  void FreeSlot(size_t index) ABSL_LOCKS_EXCLUDED(mu_);
  // What a forked child starts with: every slot mapped as here, one in use.
  Ref<NativeAddressSpace> Fork(size_t used_slot) const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  friend class CarriedBuffer;
  size_t ReadMemory(uint64_t addr, std::span<std::byte> dst);
  size_t WriteMemory(uint64_t addr, std::span<const std::byte> src);
  // What the mailbox still holds of this range goes to the memory.
  void FlushCarried(uint64_t addr, size_t size);
  pid_t Target() const ABSL_LOCKS_EXCLUDED(mu_);

  static thread_local CarriedBuffer* carried_;

  Zygote& zygote_;
  const uint64_t vdso_;
  mutable absl::Mutex mu_;  // Leaf.
  std::vector<pid_t> tids_ ABSL_GUARDED_BY(mu_);
  std::vector<bool> slot_used_ ABSL_GUARDED_BY(mu_);  // Its size is how many are mapped.
};

}  // namespace platform::native

#endif  // PLATFORM_NATIVE_ADDRESS_SPACE_H_
