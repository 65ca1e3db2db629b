#include "runsc/oci/mount_data.h"

#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace runsc::oci {

namespace {

// A number in `base`, alone.
bool ParseNumber(std::string_view text, int base, uint64_t& number) {
  const std::string copy(text);
  char* end = nullptr;
  errno = 0;
  number = strtoull(copy.c_str(), &end, base);
  return !copy.empty() && copy[0] >= '0' && copy[0] <= '9' && *end == '\0' && errno == 0;
}

// memparse() of Linux, and a percentage of the host's memory.
bool ParseSize(std::string_view text, uint64_t& size) {
  if (text.empty()) return false;
  unsigned shift = 0;
  switch (text.back()) {
    case 'g':
    case 'G':
      shift = 30;
      break;
    case 'm':
    case 'M':
      shift = 20;
      break;
    case 'k':
    case 'K':
      shift = 10;
      break;
    case '%': {
      if (!ParseNumber(text.substr(0, text.size() - 1), 10, size) || size > 100) return false;
      size = static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) *
             static_cast<uint64_t>(sysconf(_SC_PAGESIZE)) / 100 * size;
      return true;
    }
    default:
      break;
  }
  if (shift != 0) text.remove_suffix(1);
  if (!ParseNumber(text, 10, size) || size > (UINT64_MAX >> shift)) return false;
  size <<= shift;
  return true;
}

// Calls `take` with each option; false refuses it.
absl::Status ForEachOption(const std::string& what, const std::string& data, auto take) {
  const std::vector<std::string> options = absl::StrSplit(data, ',', absl::SkipEmpty());
  for (const std::string& option : options) {
    const std::pair<std::string, std::string> parts =
        absl::StrSplit(option, absl::MaxSplits('=', 1));
    if (!take(parts.first, parts.second)) {
      return absl::InvalidArgumentError(
          absl::StrCat(what, ": the option ", option, " is not supported"));
    }
  }
  return absl::OkStatus();
}

template <typename T>
bool Store(std::string_view text, int base, T& field) {
  uint64_t number = 0;
  if (!ParseNumber(text, base, number) || number > UINT32_MAX) return false;
  field = static_cast<uint32_t>(number);
  return true;
}

}  // namespace

absl::Status ReadTmpfsData(const std::string& what, const std::string& data,
                           sentry::TmpfsOptions& options) {
  return ForEachOption(what, data, [&](const std::string& name, const std::string& value) {
    if (name == "size") return ParseSize(value, options.size);
    if (name == "nr_inodes") return ParseSize(value, options.inodes);
    if (name == "nr_blocks") {
      if (!ParseSize(value, options.size)) return false;
      options.size *= 4096;
      return true;
    }
    if (name == "mode") return Store(value, 8, options.mode);
    if (name == "uid") return Store(value, 10, options.uid);
    if (name == "gid") return Store(value, 10, options.gid);
    return name == "huge" || name == "mpol" || name == "inode32" || name == "inode64" ||
           name == "noswap";
  });
}

absl::Status ReadDevptsData(const std::string& what, const std::string& data,
                            sentry::DevptsOptions& options) {
  return ForEachOption(what, data, [&](const std::string& name, const std::string& value) {
    if (name == "newinstance") return true;
    if (name == "ptmxmode") return Store(value, 8, options.ptmx_mode);
    if (name == "mode") return Store(value, 8, options.mode);
    if (name == "uid") return Store(value, 10, options.uid);
    if (name == "gid") return Store(value, 10, options.gid);
    if (name == "max") return Store(value, 10, options.max);
    return false;
  });
}

}  // namespace runsc::oci
