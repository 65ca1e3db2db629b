// What a patched call takes along in its mailbox, and what it brings back.
#ifndef PLATFORM_SYSTRAP_CARRIED_H_
#define PLATFORM_SYSTRAP_CARRIED_H_

#include <array>
#include <optional>

#include "platform/api/disposition.h"
#include "platform/api/platform.h"
#include "platform/native/address_space.h"

namespace platform::systrap {

// Which argument of a call is a path that it reads, the first or the second; nothing for others.
// Where two are paths, the first of them.
std::optional<size_t> PathArgument(uint64_t nr);

// One bit for each call number, the form in which the stub looks it up: calls whose argument
// `index` is a path.
std::array<uint8_t, kMaxSyscalls / 8> PathCalls(size_t index);

// `carried` as the stub has left it: what it has copied in, and where the answer's bytes may go.
// What does not fit together carries nothing.
struct CarriedPlaces {
  native::CarriedBuffer::Place in;
  native::CarriedBuffer::Place out;
};
CarriedPlaces CarriedBy(const SyscallArgs& call, uint64_t carried);

}  // namespace platform::systrap

#endif  // PLATFORM_SYSTRAP_CARRIED_H_
