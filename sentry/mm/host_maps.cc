#include "sentry/mm/host_maps.h"

#include <sys/sysmacros.h>

#include <algorithm>
#include <charconv>

namespace sentry {
namespace {

// Takes the field up to the next space; empty at the end of the line.
std::string_view TakeField(std::string_view& line) {
  line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
  const std::string_view field = line.substr(0, line.find(' '));
  line.remove_prefix(field.size());
  return field;
}

bool ParseNumber(std::string_view text, int base, uint64_t& value) {
  const auto [last, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  return error == std::errc() && last == text.data() + text.size();
}

// "begin-end rwxp offset major:minor inode   name".
bool ParseLine(std::string_view line, HostRange& range) {
  const std::string_view addresses = TakeField(line);
  const size_t dash = addresses.find('-');
  if (dash == std::string_view::npos) return false;
  if (!ParseNumber(addresses.substr(0, dash), 16, range.begin)) return false;
  if (!ParseNumber(addresses.substr(dash + 1), 16, range.end)) return false;
  const std::string_view permissions = TakeField(line);
  if (permissions.size() < 4) return false;
  range.readable = permissions[0] == 'r';
  range.writable = permissions[1] == 'w';
  range.executable = permissions[2] == 'x';
  range.shared = permissions[3] == 's';
  if (!ParseNumber(TakeField(line), 16, range.offset)) return false;
  const std::string_view device = TakeField(line);
  const size_t colon = device.find(':');
  uint64_t major = 0, minor = 0;
  if (colon == std::string_view::npos) return false;
  if (!ParseNumber(device.substr(0, colon), 16, major)) return false;
  if (!ParseNumber(device.substr(colon + 1), 16, minor)) return false;
  range.dev = makedev(static_cast<unsigned>(major), static_cast<unsigned>(minor));
  if (!ParseNumber(TakeField(line), 10, range.ino)) return false;
  range.special = TakeField(line).starts_with("[v");
  return true;
}

}  // namespace

std::vector<HostRange> ParseHostMaps(std::string_view text) {
  std::vector<HostRange> ranges;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    HostRange range;
    if (ParseLine(text.substr(0, end), range)) ranges.push_back(range);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return ranges;
}

bool CoversRange(const std::vector<HostRange>& ranges, uint64_t begin, uint64_t end) {
  auto at = std::upper_bound(ranges.begin(), ranges.end(), begin,
                             [](uint64_t addr, const HostRange& r) { return addr < r.end; });
  for (; at != ranges.end() && begin < end; ++at) {
    if (at->begin > begin) return false;
    begin = at->end;
  }
  return begin >= end;
}

}  // namespace sentry
