// The host's list of mappings (proc_pid_maps(5)), which is the truth about an address space.
#ifndef SENTRY_MM_HOST_MAPS_H_
#define SENTRY_MM_HOST_MAPS_H_

#include <cstdint>
#include <string_view>
#include <vector>

namespace sentry {

struct HostRange {
  uint64_t begin = 0, end = 0;  // Bytes, [begin, end).
  bool readable = false, writable = false, executable = false, shared = false;
  uint64_t offset = 0;   // Into the file, bytes.
  uint64_t dev = 0;      // Of the file, as makedev(3) has it.
  uint64_t ino = 0;      // 0: anonymous.
  bool special = false;  // The vDSO and its data.
};

// The lines of `text` that are such lines, in the order of addresses.
std::vector<HostRange> ParseHostMaps(std::string_view text);

// Whether every byte of [begin, end) lies in one of `ranges`.
bool CoversRange(const std::vector<HostRange>& ranges, uint64_t begin, uint64_t end);

}  // namespace sentry

#endif  // SENTRY_MM_HOST_MAPS_H_
