// The half of GoferClient that moves messages.
#include <sys/socket.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstring>

#include "sentry/fs/gofer/gofer_client.h"

namespace sentry {

namespace {

using gofer::SlotState;

// A sleeping client looks this often whether the gofer still lives: its death wakes nobody.
constexpr std::chrono::milliseconds kLivenessInterval{100};
// With more forgotten ids than this, the next request is preceded by a message of its own.
constexpr size_t kForgetBacklog = 512;

}  // namespace

Result<std::unique_ptr<GoferClient>> GoferClient::Create(UniqueFd socket, UniqueFd ring,
                                                         platform::BlockingHooks& hooks) {
  gofer::RingMapping mapping = TRY(gofer::MapRing(ring));
  return std::unique_ptr<GoferClient>(
      new GoferClient(std::move(socket), std::move(mapping), hooks));
}

GoferClient::GoferClient(UniqueFd socket, gofer::RingMapping ring, platform::BlockingHooks& hooks)
    : socket_(std::move(socket)),
      ring_(std::move(ring)),
      hooks_(hooks),
      spinning_pays_(gofer::SpinningPays()) {}

GoferClient::~GoferClient() = default;

uint32_t GoferClient::TakeSlot() {
  absl::MutexLock lock(&mu_);
  if (!HasFreeSlotLocked()) [[unlikely]] {
    hooks_.EnterBlocking();
    mu_.Await(absl::Condition(
        +[](GoferClient* self) ABSL_NO_THREAD_SAFETY_ANALYSIS { return self->HasFreeSlotLocked(); },
        this));
    hooks_.LeaveBlocking();
  }
  // The lowest: few slots in use keep few pages of the ring in memory.
  const uint32_t slot = static_cast<uint32_t>(std::countr_zero(free_slots_));
  free_slots_ &= free_slots_ - 1;
  return slot;
}

void GoferClient::ReturnSlot(uint32_t slot) {
  absl::MutexLock lock(&mu_);
  free_slots_ |= uint32_t{1} << slot;
}

void GoferClient::Forget(NodeId node) {
  if (node == NodeId::kNone || dead()) return;
  absl::MutexLock lock(&mu_);
  forgotten_.push_back(node);
  forgotten_count_.store(forgotten_.size(), std::memory_order_relaxed);
}

size_t GoferClient::TakeForgotten(std::span<NodeId> ids) {
  if (forgotten_count_.load(std::memory_order_relaxed) == 0) return 0;
  absl::MutexLock lock(&mu_);
  const size_t count = std::min(ids.size(), forgotten_.size());
  std::copy(forgotten_.end() - count, forgotten_.end(), ids.begin());
  forgotten_.resize(forgotten_.size() - count);
  forgotten_count_.store(forgotten_.size(), std::memory_order_relaxed);
  return count;
}

void GoferClient::SendForgotten(uint32_t slot) {
  if (forgotten_count_.load(std::memory_order_relaxed) <= kForgetBacklog) [[likely]]
    return;
  // Bytes of the ring are always written through memcpy: there are no objects in them.
  NodeId ids[kForgetBacklog];
  const size_t count = TakeForgotten(ids);
  memcpy(ring_->payloads[slot], ids, count * sizeof(NodeId));
  ring_->slots[slot].request = {.op = gofer::Op::kForget,
                                .payload_size = static_cast<uint32_t>(count * sizeof(NodeId)),
                                .count = static_cast<uint32_t>(count)};
  // Only a dead gofer fails, and that one holds no descriptors.
  (void)Exchange(slot);
}

Result<gofer::Response> GoferClient::Exchange(uint32_t slot) {
  gofer::Request& request = ring_->slots[slot].request;
  request.tag = next_tag_.fetch_add(1, std::memory_order_relaxed) * gofer::kSlotCount + slot;
  for (;;) {
    request.forget_count = static_cast<uint16_t>(TakeForgotten(request.forgets));
    request.client_cpu = gofer::CurrentCpu();
    TRY(HandOver(slot));
    const gofer::Response response = ring_->slots[slot].response;
    if (response.payload_size > gofer::kPayloadSize) return Errno(EIO);
    // The gofer is out of descriptors: it may have some back first.
    const bool out_of_nodes = response.error == ENFILE || response.error == EMFILE;
    if (out_of_nodes && forgotten_count_.load(std::memory_order_relaxed) > 0) continue;
    if (response.error != 0) return Errno(response.error);
    return response;
  }
}

Status GoferClient::HandOver(uint32_t index) {
  if (dead()) [[unlikely]]
    return Errno(EIO);
  gofer::Slot& slot = ring_->slots[index];
  gofer::RingHeader& header = ring_->header;
  auto limit = gofer::kSpinLimit;
  slot.state.store(SlotState::kSubmitted, std::memory_order_relaxed);
  // Both sequentially consistent, as in the gofer: either it sees the bit before it sleeps, or it
  // is seen to sleep here.
  header.pending.fetch_or(uint32_t{1} << index, std::memory_order_seq_cst);
  if (header.server_state.load(std::memory_order_seq_cst) == gofer::ServerState::kSleeping &&
      header.server_state.exchange(gofer::ServerState::kAwake) == gofer::ServerState::kSleeping) {
    if (!RingDoorbell()) return Died();
    limit = gofer::kWakeSpinLimit;
  }
  auto done = [&slot] { return slot.state.load(std::memory_order_acquire) == SlotState::kDone; };
  // On the gofer's own cpu spinning would only keep it from running.
  const bool spin = spinning_pays_ &&
                    header.server_cpu.load(std::memory_order_relaxed) != slot.request.client_cpu;
  if (spin && gofer::SpinUntil(done, limit)) return kOk;
  return Sleep(slot);
}

Status GoferClient::Sleep(gofer::Slot& slot) {
  SlotState expected = SlotState::kSubmitted;
  if (slot.state.compare_exchange_strong(expected, SlotState::kSleeping,
                                         std::memory_order_acq_rel)) {
    hooks_.EnterBlocking();
    while (slot.state.load(std::memory_order_acquire) == SlotState::kSleeping) {
      gofer::WaitOnSlot(slot.state, SlotState::kSleeping, kLivenessInterval);
      if (slot.state.load(std::memory_order_acquire) != SlotState::kSleeping) break;
      if (dead() || !RingDoorbell()) break;
    }
    hooks_.LeaveBlocking();
  }
  if (slot.state.load(std::memory_order_acquire) != SlotState::kDone) return Died();
  return kOk;
}

bool GoferClient::RingDoorbell() {
  const char bell = 0;
  // A full queue means that bells enough are waiting.
  return send(socket_.get(), &bell, sizeof(bell), MSG_DONTWAIT | MSG_NOSIGNAL) >= 0 ||
         errno == EAGAIN || errno == EINTR;
}

Errno GoferClient::Died() {
  dead_.store(true, std::memory_order_relaxed);
  return Errno(EIO);
}

Result<UniqueFd> GoferClient::TakeFd(uint32_t slot, uint64_t tag) {
  absl::MutexLock lock(&receive_mu_);
  // The gofer sends before it answers, so that what is missing now never comes.
  while (received_[slot].tag != tag) TRY(ReceiveFdLocked());
  UniqueFd fd = std::move(received_[slot].fd);
  received_[slot].tag = 0;
  if (!fd.valid()) return Errno(EMFILE);
  return fd;
}

Status GoferClient::ReceiveFdLocked() {
  gofer::FdMessage message;
  iovec io{.iov_base = &message, .iov_len = sizeof(message)};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr header{};
  header.msg_iov = &io;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof(control);
  const ssize_t size = recvmsg(socket_.get(), &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (size < 0 && errno == EINTR) return kOk;
  if (size != sizeof(message)) return Died();
  UniqueFd fd;  // Stays empty when this process has no room for a descriptor.
  const cmsghdr* cmsg = CMSG_FIRSTHDR(&header);
  if (cmsg != nullptr && cmsg->cmsg_level == SOL_SOCKET && cmsg->cmsg_type == SCM_RIGHTS &&
      cmsg->cmsg_len == CMSG_LEN(sizeof(int))) {
    int number;
    memcpy(&number, CMSG_DATA(cmsg), sizeof(number));
    fd.reset(number);
  }
  ReceivedFd& received = received_[message.tag % gofer::kSlotCount];
  received.tag = message.tag;
  received.fd = std::move(fd);
  return kOk;
}

}  // namespace sentry
