// The memory shared by the sentry and its gofer, and how they hand a slot over.
//
// A client thread owns a slot (the client keeps the list of free ones), fills request and payload,
// sets `state` to kSubmitted and then its bit in `pending`. The gofer takes bits, answers and sets
// kDone. A side that finds nothing spins for a bounded time, then sleeps:
//  - the gofer says so in `server_state` and receives on the socket, so that a doorbell and the
//    sentry's death are one and the same wait, in one thread;
//  - the client turns kSubmitted into kSleeping and waits on the futex `state`.
// Idle, neither wakes up.
#ifndef GOFER_PROTOCOL_RING_H_
#define GOFER_PROTOCOL_RING_H_

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "base/result.h"
#include "base/unique_fd.h"
#include "gofer/protocol/messages.h"

namespace gofer {

inline constexpr uint32_t kSlotCount = 32;

enum class SlotState : uint32_t { kIdle, kSubmitted, kSleeping, kDone };
enum class ServerState : uint32_t { kAwake, kSleeping };

struct alignas(64) Slot {
  std::atomic<SlotState> state;
  alignas(64) Request request;
  alignas(64) Response response;
};

struct RingHeader {
  alignas(64) std::atomic<uint32_t> pending;
  alignas(64) std::atomic<ServerState> server_state;
  std::atomic<uint32_t> server_cpu;  // Where the gofer last ran.
};

struct Ring {
  RingHeader header;
  Slot slots[kSlotCount];
  alignas(4096) std::byte payloads[kSlotCount][kPayloadSize];
};
static_assert(std::atomic<SlotState>::is_always_lock_free);
static_assert(sizeof(Ring) % 4096 == 0);

// A memfd of the ring's size, sealed against resizing: otherwise one side could make the other's
// accesses fault.
Result<UniqueFd> CreateRing();

// Owns the ring's mapping in this process.
class RingMapping {
 public:
  RingMapping() = default;
  explicit RingMapping(Ring* ring) : ring_(ring) {}
  RingMapping(RingMapping&& other) noexcept : ring_(std::exchange(other.ring_, nullptr)) {}
  RingMapping& operator=(RingMapping&& other) noexcept {
    std::swap(ring_, other.ring_);
    return *this;
  }
  ~RingMapping();

  Ring* operator->() const { return ring_; }

 private:
  Ring* ring_ = nullptr;
};

// Refuses a descriptor that CreateRing did not make.
Result<RingMapping> MapRing(const UniqueFd& memfd);

// Sleeps while `word` is `expected`, for at most `timeout`. May return early.
void WaitOnSlot(std::atomic<SlotState>& word, SlotState expected, std::chrono::nanoseconds timeout);
void WakeSlot(std::atomic<SlotState>& word);

// The cpu this thread runs on, from user space.
uint32_t CurrentCpu();
// False with a single cpu, where waiting actively only keeps the other side from running.
bool SpinningPays();

// Polls `ready` until it holds or `limit` is over. Returns whether it held.
template <typename Ready>
bool SpinUntil(Ready ready, std::chrono::nanoseconds limit) {
  const auto end = std::chrono::steady_clock::now() + limit;
  do {
    for (int i = 0; i < 16; ++i) {
      if (ready()) return true;
      __builtin_ia32_pause();
    }
  } while (std::chrono::steady_clock::now() < end);
  return false;
}
inline constexpr std::chrono::microseconds kSpinLimit{20};
// While the other side is being woken on another cpu, which takes about 35 us: to give up before
// that would put both to sleep and double it.
inline constexpr std::chrono::microseconds kWakeSpinLimit{60};

}  // namespace gofer

#endif  // GOFER_PROTOCOL_RING_H_
