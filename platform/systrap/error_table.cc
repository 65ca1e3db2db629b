// The errors of path calls that a stub tells by itself (.Lknown in native/fast_path.S). The stub
// reads a record without a lock: it holds if it is the same before and behind that, and if its
// generation is the table's. So forgetting all of them is one store.
#include <nmmintrin.h>

#include <algorithm>
#include <cstring>

#include "platform/systrap/site_table.h"

namespace platform::systrap {

namespace {

__attribute__((target("sse4.2"))) uint64_t Place(uint64_t nr, std::span<const uint64_t> path) {
  uint64_t crc = static_cast<uint32_t>(nr);
  for (size_t word = path.size(); word-- > 0;) crc = _mm_crc32_u64(crc, path[word]);
  return crc % (1 << SITE_ERRORS_BITS);
}

}  // namespace

void SiteTable::Keep(const KnownError& known) {
  uint64_t path[ERROR_PATH_SIZE / 8] = {};
  const size_t size = known.path.size() + 1;
  if (size > sizeof(path)) return;
  std::memcpy(path, known.path.data(), known.path.size());
  const size_t words = (size + 7) / 8;
  const uint64_t place = Place(known.nr, std::span(path).first(words));
  absl::MutexLock lock(&errors_mu_);
  if (closed_) return;
  auto& record = reinterpret_cast<native::ErrorRecord*>(memory_ + SITE_TABLE_SIZE)[place];
  const uint64_t version = record.version.load(std::memory_order_relaxed) | 1;
  record.version.store(version, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_release);
  record.generation = Word(SITE_ERRORS_GENERATION).load(std::memory_order_relaxed);
  record.nr = known.nr;
  record.size = size;
  record.value = known.error;
  static_assert(sizeof(record.masks) == sizeof(known.masks));
  std::ranges::copy(known.masks, record.masks);
  std::ranges::copy(known.args, record.args);
  std::copy_n(path, words, record.path);
  record.version.store(version + 1, std::memory_order_release);
  Word(SITE_ERRORS_KEPT + place / 64 * 8).fetch_or(uint64_t{1} << place % 64);
  Word(SITE_ERRORS_ANY).store(1, std::memory_order_release);
}

void SiteTable::Forget() { Word(SITE_ERRORS_GENERATION).fetch_add(1); }

bool SiteTable::WantsMany() {
  constexpr int kMostFillings = 8;
  const uint64_t generation = Word(SITE_ERRORS_GENERATION).load(std::memory_order_relaxed);
  if (filled_.exchange(generation) == generation) return false;
  return fillings_.fetch_add(1) < kMostFillings;
}

void SiteTable::Close() {
  absl::MutexLock lock(&errors_mu_);
  closed_ = true;
  Word(SITE_ERRORS_ANY).store(0);
  Forget();
}

}  // namespace platform::systrap
