#include "sentry/fs/proc/host_stat.h"

#include <algorithm>
#include <charconv>
#include <vector>

namespace sentry::proc {
namespace {

using HostFile = platform::AddressSpace::HostFile;

uint64_t Number(std::string_view text) {
  uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

}  // namespace

HostStat ReadHostStat(Mm& mm, int host_tid) {
  HostStat out;
  const auto text = mm.memory().space().HostProc(HostFile::kStat, host_tid);
  if (!text.ok()) return out;
  const size_t behind_name = text->rfind(") ");
  if (behind_name == std::string::npos) return out;
  std::vector<std::string_view> fields;
  for (std::string_view rest = std::string_view(*text).substr(behind_name + 2); !rest.empty();) {
    const size_t end = std::min(rest.find(' '), rest.size());
    fields.push_back(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  constexpr size_t kFirst = 3;  // The field's number in the manual page.
  const auto field = [&](size_t number) {
    return number - kFirst < fields.size() ? fields[number - kFirst] : std::string_view();
  };
  if (!field(3).empty()) out.state = field(3)[0];
  out.minor_faults = Number(field(10));
  out.major_faults = Number(field(12));
  out.user_ticks = Number(field(14));
  out.system_ticks = Number(field(15));
  out.resident_pages = Number(field(24));
  out.processor = static_cast<int>(Number(field(39)));
  return out;
}

HostStatus::HostStatus(Mm& mm, int host_tid) {
  auto text = mm.memory().space().HostProc(HostFile::kStatus, host_tid);
  if (text.ok()) text_ = "\n" + *std::move(text);
}

uint64_t HostStatus::Number(std::string_view name) const {
  const size_t at = text_.find("\n" + std::string(name) + ":");
  if (at == std::string::npos) return 0;
  const size_t digits = text_.find_first_not_of(" \t", at + name.size() + 2);
  return digits == std::string::npos ? 0 : proc::Number(std::string_view(text_).substr(digits, 20));
}

}  // namespace sentry::proc
