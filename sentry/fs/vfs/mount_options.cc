#include "sentry/fs/mount_options.h"

#include <algorithm>
#include <charconv>

namespace sentry {

MountOption ParseMountOption(std::string_view one) {
  const size_t equals = one.find('=');
  MountOption option{.name = std::string(one.substr(0, equals)), .value = {}};
  if (equals != one.npos) option.value = std::string(one.substr(equals + 1));
  return option;
}

MountOptions ParseMountOptions(std::string_view text) {
  MountOptions options;
  while (!text.empty()) {
    const std::string_view one = text.substr(0, text.find(','));
    text.remove_prefix(std::min(one.size() + 1, text.size()));
    if (one.empty()) continue;
    options.push_back(ParseMountOption(one));
  }
  return options;
}

Result<uint64_t> ParseMountSize(const MountOption& option, uint64_t percent_of) {
  if (!option.value) return Errno(EINVAL);
  const std::string_view text = *option.value;
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return Errno(EINVAL);
  const std::string_view suffix(end, static_cast<size_t>(text.data() + text.size() - end));
  if (suffix == "%" && percent_of != 0) {
    uint64_t part;
    if (__builtin_mul_overflow(percent_of / 100, value, &part)) return Errno(EINVAL);
    return part;
  }
  int shift = 0;
  if (suffix == "k" || suffix == "K") {
    shift = 10;
  } else if (suffix == "m" || suffix == "M") {
    shift = 20;
  } else if (suffix == "g" || suffix == "G") {
    shift = 30;
  } else if (!suffix.empty()) {
    return Errno(EINVAL);
  }
  if (value > UINT64_MAX >> shift) return Errno(EINVAL);
  return value << shift;
}

Result<uint32_t> ParseMountNumber(const MountOption& option, int base) {
  if (!option.value) return Errno(EINVAL);
  const std::string_view text = *option.value;
  uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size()) return Errno(EINVAL);
  return value;
}

}  // namespace sentry
