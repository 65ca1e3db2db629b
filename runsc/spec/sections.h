// The sections of config.json, each read from its Reader. Shared by the files of this folder only.
#ifndef RUNSC_SPEC_SECTIONS_H_
#define RUNSC_SPEC_SECTIONS_H_

#include <optional>
#include <string>

#include "runsc/spec/names.h"
#include "runsc/spec/reader.h"
#include "runsc/spec/spec.h"

namespace runsc::spec {

void ReadProcess(const Reader& in, Process& process);
void ReadLinux(const Reader& in, Linux& out);
void ReadResources(const Reader& in, Resources& resources);
void ReadSeccomp(const Reader& in, Seccomp& seccomp);

// A name out of a table; fails when it is not there, with `what` in the message.
std::optional<uint32_t> ReadName(const Reader& in, std::span<const Name> names, const char* what);
// A string that must be there and begin with '/'.
void RequireAbsolute(const Reader& in, std::string& path);

}  // namespace runsc::spec

#endif  // RUNSC_SPEC_SECTIONS_H_
