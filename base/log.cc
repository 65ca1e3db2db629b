#include "base/log.h"

#include <time.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

namespace logging {
namespace internal {
std::atomic<Level> g_level{Level::kWarning};
}

namespace {

int g_fd = STDERR_FILENO;
Format g_format = Format::kText;

constexpr std::string_view kNames[] = {"error", "warning", "info", "debug"};

// The time as RFC 3339 in UTC, which is what the callers of OCI runtimes parse.
std::string Rfc3339Now() {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  tm utc;
  gmtime_r(&now.tv_sec, &utc);
  return absl::StrFormat("%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", utc.tm_year + 1900, utc.tm_mon + 1,
                         utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec, now.tv_nsec / 1000);
}

// RFC 8259, section 7.
std::string JsonEscape(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += absl::StrFormat("\\u%04x", c);
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace

void Configure(int fd, Format format, Level level) {
  g_fd = fd;
  g_format = format;
  internal::g_level.store(level, std::memory_order_relaxed);
}

void SetDescriptor(int fd) { g_fd = fd; }

void Write(Level level, std::string_view message) {
  const std::string_view name = kNames[static_cast<size_t>(level)];
  std::string line;
  if (g_format == Format::kJson) {
    line = absl::StrFormat("{\"level\":\"%s\",\"msg\":\"%s\",\"time\":\"%s\"}\n", name,
                           JsonEscape(message), Rfc3339Now());
  } else if (level <= Level::kWarning) {
    line = absl::StrFormat("sandbox: %s\n", message);
  } else {
    line = absl::StrFormat("sandbox: %s %s\n", Rfc3339Now(), message);
  }
  // One write, so that lines of several processes do not mix. A full log must not stop anyone.
  [[maybe_unused]] const ssize_t written = write(g_fd, line.data(), line.size());
}

void CheckFailed(const char* condition, const char* file, int line) {
  Write(Level::kError, absl::StrFormat("%s:%d: broken invariant: %s", file, line, condition));
  abort();
}

}  // namespace logging
