#include "platform/native/vdso_layout.h"

#include <sys/auxv.h>

#include <cstdio>
#include <cstring>

namespace platform::native {
namespace {

VdsoLayout ReadVdsoLayout() {
  VdsoLayout layout;
  layout.code = getauxval(AT_SYSINFO_EHDR);
  FILE* maps = fopen("/proc/self/maps", "re");
  if (maps == nullptr) return {};
  char line[512];
  while (fgets(line, sizeof(line), maps) != nullptr) {
    uint64_t start, end;
    if (strstr(line, "[vvar") == nullptr && strstr(line, "[vdso]") == nullptr) continue;
    if (sscanf(line, "%lx-%lx", &start, &end) != 2) continue;
    layout.areas.push_back({start, end});
  }
  fclose(maps);
  return layout.areas.empty() ? VdsoLayout{} : layout;
}

}  // namespace

const VdsoLayout& HostVdso() {
  static const VdsoLayout layout = ReadVdsoLayout();
  return layout;
}

}  // namespace platform::native
