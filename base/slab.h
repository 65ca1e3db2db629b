// Memory for very many small objects.
#ifndef BASE_SLAB_H_
#define BASE_SLAB_H_

#include <cstddef>

// Objects of the same size, in steps of eight bytes, share pages: nothing lies between them, where
// malloc has eight bytes and rounds up to 16. A page of which all objects are gone serves another
// size, or goes back to the host. Objects are aligned to eight bytes. Thread-safe.
//
// Sanitizers see ordinary allocations.
class Slab {
 public:
  static constexpr size_t kMostSize = 512;

  // Requires: size <= kMostSize.
  static void* Allocate(size_t size);
  static void Free(void* object);
  // Of the pages with objects in them.
  static size_t BytesInUse();
};

#endif  // BASE_SLAB_H_
