// A process of the runtime-spec as bytes, for the way from `exec` to the sentry.
#ifndef RUNSC_OCI_PROCESS_WIRE_H_
#define RUNSC_OCI_PROCESS_WIRE_H_

#include <cstddef>
#include <span>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "runsc/spec/spec.h"

namespace runsc::oci {

// What the sentry needs of it: scheduling and labels, which mean nothing inside, stay behind.
std::string EncodeProcess(const spec::Process& process);
// EPROTO for anything that EncodeProcess does not write.
Result<spec::Process> DecodeProcess(std::span<const std::byte> bytes);

// The same by way of a memfd. E2BIG above 4 MiB.
Result<UniqueFd> ProcessToMemfd(const spec::Process& process);
Result<spec::Process> ProcessFromMemfd(int fd);

}  // namespace runsc::oci

#endif  // RUNSC_OCI_PROCESS_WIRE_H_
