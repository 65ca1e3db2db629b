#include "runsc/startup_trace.h"

#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <vector>

#include "absl/strings/str_format.h"

namespace runsc {

namespace {

struct Mark {
  const char* step;  // The same address in all processes: they are forks of one.
  uint64_t ns;
};

struct Trace {
  std::atomic<uint32_t> count;
  Mark marks[128];
};

Trace* g_trace = nullptr;  // Shared between the processes.
uint64_t g_begin = 0;

uint64_t NowNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace

void StartupTraceBegin() { g_begin = NowNs(); }

void StartupTraceEnable() {
  void* page =
      mmap(nullptr, sizeof(Trace), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (page != MAP_FAILED) g_trace = new (page) Trace{};
}

void StartupMark(const char* step) {
  if (g_trace == nullptr) return;
  const uint32_t index = g_trace->count.fetch_add(1, std::memory_order_relaxed);
  if (index < std::size(g_trace->marks)) g_trace->marks[index] = {step, NowNs()};
}

void StartupTracePrint() {
  if (g_trace == nullptr) return;
  const size_t count = std::min<size_t>(g_trace->count.load(), std::size(g_trace->marks));
  // A mark that is still being written has no step yet.
  std::vector<Mark> marks;
  for (size_t i = 0; i < count; ++i) {
    if (g_trace->marks[i].step != nullptr) marks.push_back(g_trace->marks[i]);
  }
  std::sort(marks.begin(), marks.end(), [](const Mark& a, const Mark& b) { return a.ns < b.ns; });
  for (const Mark& mark : marks) {
    const std::string line =
        absl::StrFormat("%8.3f ms  %s\n", static_cast<double>(mark.ns - g_begin) / 1e6, mark.step);
    [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
  }
}

}  // namespace runsc
