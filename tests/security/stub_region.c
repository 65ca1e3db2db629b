// Tries to get code of its own into the top of the address space, where the platform's filter trusts
// what runs. Prints one line for each way that worked, and "done".
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define REGION 0x7fffe0000000ul
#define REGION_END 0x7ffffffff000ul
#define PAGE 4096ul

static const int kAll = PROT_READ | PROT_WRITE | PROT_EXEC;

static void Try(unsigned long at) {
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS;
  const int more[] = {0, MAP_FIXED, MAP_FIXED_NOREPLACE, MAP_SHARED ^ MAP_PRIVATE};
  for (unsigned i = 0; i < 4; ++i) {
    void* got = mmap((void*)at, PAGE, kAll, flags ^ more[i], -1, 0);
    if (got != MAP_FAILED && (unsigned long)got >= REGION) {
      printf("mmap(%#lx, flags %#x) gave %p\n", at, flags ^ more[i], got);
    }
  }
  if (mprotect((void*)at, PAGE, kAll) == 0) printf("mprotect(%#lx)\n", at);
  if (mprotect((void*)at, PAGE, PROT_READ | PROT_EXEC | PROT_GROWSDOWN) == 0) {
    printf("mprotect(%#lx) growing\n", at);
  }
  if (madvise((void*)at, PAGE, MADV_DONTNEED) == 0) printf("madvise(%#lx)\n", at);
  void* mine = mmap(NULL, PAGE, kAll, flags, -1, 0);
  void* moved = mremap(mine, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, (void*)at);
  if (moved != MAP_FAILED) printf("mremap to %#lx\n", at);
  moved = mremap((void*)at, PAGE, 2 * PAGE, MREMAP_MAYMOVE);
  if (moved != MAP_FAILED) printf("mremap from %#lx\n", at);
  // Of no length it is another mapping of what is shared there.
  moved = mremap((void*)at, 0, PAGE, MREMAP_MAYMOVE);
  if (moved != MAP_FAILED) printf("mremap of nothing from %#lx\n", at);
  if (munmap((void*)at, PAGE) == 0) printf("munmap(%#lx)\n", at);
}

int main(void) {
  // The stub, its set-up copy, the first slots, and the last page.
  const unsigned long places[] = {REGION,           REGION + 0x10000,  REGION + 0x11000,
                                  REGION + 0x100000, REGION + 0x108000, REGION_END - PAGE};
  for (unsigned i = 0; i < sizeof(places) / sizeof(places[0]); ++i) Try(places[i]);
  // Ranges that begin below it and reach into it.
  if (munmap((void*)(REGION - PAGE), 2 * PAGE) == 0) printf("munmap across\n");
  if (mprotect((void*)(REGION - PAGE), 2 * PAGE, kAll) == 0) printf("mprotect across\n");
  if (munmap((void*)0x7f0000000000, REGION_END - 0x7f0000000000) == 0) printf("munmap of all\n");
  printf("done\n");
  return 0;
}
