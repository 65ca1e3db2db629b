#include "tests/conformance/memory_support.h"

#include <stdio.h>
#include <string.h>

#include <sstream>

namespace conformance {
namespace {

sigjmp_buf g_back;
Fault g_fault;

void OnFault(int signal, siginfo_t* info, void*) {
  g_fault = {signal, info->si_code, info->si_addr};
  siglongjmp(g_back, 1);
}

}  // namespace

Fault FaultOf(volatile char* at, Access access) {
  ScopedAction segv(SIGSEGV, OnFault), bus(SIGBUS, OnFault);
  g_fault = {};
  if (sigsetjmp(g_back, 1) != 0) return g_fault;
  if (access == Access::kRead) {
    (void)*at;
  } else {
    const char value = *at;
    *at = value;
  }
  return {};
}

std::string PermissionsOf(const void* at) {
  std::istringstream maps(ReadFile("/proc/self/maps"));
  for (std::string line; std::getline(maps, line);) {
    unsigned long begin, end;
    char permissions[5];
    if (sscanf(line.c_str(), "%lx-%lx %4s", &begin, &end, permissions) != 3) continue;
    const auto addr = reinterpret_cast<unsigned long>(at);
    if (addr >= begin && addr < end) return permissions;
  }
  return "";
}

}  // namespace conformance
