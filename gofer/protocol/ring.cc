#include "gofer/protocol/ring.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

namespace gofer {

namespace {
constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

// Not FUTEX_PRIVATE_FLAG: the word is shared between two processes.
long Futex(std::atomic<SlotState>& word, int op, uint32_t value, const timespec* timeout) {
  return syscall(SYS_futex, &word, op, value, timeout, nullptr, 0);
}
}  // namespace

Result<UniqueFd> CreateRing() {
  UniqueFd fd(memfd_create("gofer-ring", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd.valid()) return Errno::Last();
  if (ftruncate(fd.get(), sizeof(Ring)) != 0) return Errno::Last();
  if (fcntl(fd.get(), F_ADD_SEALS, kSeals) != 0) return Errno::Last();
  return fd;
}

Result<RingMapping> MapRing(const UniqueFd& memfd) {
  const int seals = fcntl(memfd.get(), F_GET_SEALS);
  if (seals < 0) return Errno::Last();
  struct stat st;
  if (fstat(memfd.get(), &st) != 0) return Errno::Last();
  if ((seals & kSeals) != kSeals || st.st_size != sizeof(Ring)) return Errno(EINVAL);
  void* memory = mmap(nullptr, sizeof(Ring), PROT_READ | PROT_WRITE, MAP_SHARED, memfd.get(), 0);
  if (memory == MAP_FAILED) return Errno::Last();
  return RingMapping(static_cast<Ring*>(memory));
}

RingMapping::~RingMapping() {
  if (ring_ != nullptr) munmap(ring_, sizeof(Ring));
}

void WaitOnSlot(std::atomic<SlotState>& word, SlotState expected,
                std::chrono::nanoseconds timeout) {
  const timespec limit{.tv_sec = static_cast<time_t>(timeout.count() / 1'000'000'000),
                       .tv_nsec = static_cast<long>(timeout.count() % 1'000'000'000)};
  Futex(word, FUTEX_WAIT, static_cast<uint32_t>(expected), &limit);
}

void WakeSlot(std::atomic<SlotState>& word) { Futex(word, FUTEX_WAKE, 1, nullptr); }

uint32_t CurrentCpu() { return static_cast<uint32_t>(sched_getcpu()); }

bool SpinningPays() {
  cpu_set_t set;
  CPU_ZERO(&set);
  return sched_getaffinity(0, sizeof(set), &set) != 0 || CPU_COUNT(&set) > 1;
}

}  // namespace gofer
