// Option strings of a mount ("ro,nosuid,size=64k"), taken apart as runc's specconv does it.
#ifndef RUNSC_SPEC_MOUNT_OPTIONS_H_
#define RUNSC_SPEC_MOUNT_OPTIONS_H_

#include <string>
#include <vector>

#include "runsc/spec/spec.h"

namespace runsc::spec {

// Fills the flags and data of `mount`. What is no option of mount(8) is the filesystem's, in
// `data`.
void DecodeOptions(const std::vector<std::string>& options, Mount& mount);
// "private", "rslave" … as MS_* bits; 0 if it is none of them.
uint64_t DecodePropagation(std::string_view option);
// Every option that DecodeOptions knows, for `features`.
std::vector<std::string> KnownMountOptions();

}  // namespace runsc::spec

#endif  // RUNSC_SPEC_MOUNT_OPTIONS_H_
