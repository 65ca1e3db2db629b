#include "platform/systrap/image_cache.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "platform/systrap/instruction.h"
#include "platform/systrap/site_table.h"

namespace platform::systrap {

namespace {

// A copy pays when so many processes have mapped the file; one that knows more sites after more.
constexpr uint32_t kFirstMappings = 4;
constexpr uint32_t kMostCopies = 5;
// Being born with a mailbox, a table and patched copies takes about as long as seven notifications,
// and of a short program's calls most are those of its start, of which few can be answered in
// place.
constexpr uint64_t kWorthPatching = 96;
constexpr uint64_t kMostCalls = uint64_t{1} << 20;  // More say nothing more.

int64_t Nanoseconds(const timespec& time) {
  return time.tv_sec * int64_t{1'000'000'000} + time.tv_nsec;
}

Status CopyRange(int from, int to, uint64_t offset, uint64_t length) {
  std::vector<std::byte> buffer(std::min<uint64_t>(length, 256 << 10));
  for (uint64_t done = 0; done < length;) {
    const size_t want = std::min<uint64_t>(buffer.size(), length - done);
    const auto at = static_cast<off_t>(offset + done);
    const ssize_t got = pread(from, buffer.data(), want, at);
    if (got < 0) return Errno::Last();
    if (got == 0) return kOk;  // The rest of the last page.
    if (pwrite(to, buffer.data(), static_cast<size_t>(got), at) != got) return Errno::Last();
    done += static_cast<uint64_t>(got);
  }
  return kOk;
}

// Whether the instructions, as they are decoded from wherever one begins, fall on `at`. A program
// can jump to a call in the midst of an instruction; that is its own affair, and not to be
// everybody's.
bool IsBoundary(std::span<const uint8_t> text, size_t at) {
  constexpr size_t kLeadIn = 64, kStarts = 16, kEnough = 12;
  if (at < kLeadIn + kStarts) return false;
  size_t reached = 0;
  for (size_t start = at - kLeadIn - kStarts; start < at - kLeadIn; ++start) {
    size_t i = start;
    while (i < at) {
      const size_t size = Decode(text.subspan(i)).size;
      if (size == 0) break;
      i += size;
    }
    reached += i == at;
  }
  return reached >= kEnough;
}

// The form of a site in a file, if it can be the same at every address.
std::optional<SiteForm> FormIn(int fd, uint64_t after, uint64_t nr) {
  const uint64_t call = after - kSyscallSize;
  const uint64_t from = call - std::min<uint64_t>(call, kTextBefore);
  std::vector<uint8_t> text(after + kTextBehind - from);
  const ssize_t got = pread(fd, text.data(), text.size(), static_cast<off_t>(from));
  if (got <= static_cast<ssize_t>(call - from)) return std::nullopt;
  text.resize(static_cast<size_t>(got));
  if (!IsBoundary(text, call - from)) return std::nullopt;
  std::optional<SiteForm> form = FormOf(text, call - from, nr);
  if (form.has_value() && form->has_step()) return std::nullopt;
  return form;
}

}  // namespace

Ref<ImageCache::File> ImageCache::Find(int host_fd) {
  struct stat stat;
  if (fstat(host_fd, &stat) != 0 || !S_ISREG(stat.st_mode)) return nullptr;
  const Key key{.dev = stat.st_dev,
                .ino = stat.st_ino,
                .size = static_cast<uint64_t>(stat.st_size),
                .mtime = Nanoseconds(stat.st_mtim),
                .ctime = Nanoseconds(stat.st_ctim)};
  Ref<File> dropped;
  absl::MutexLock lock(&mu_);
  const auto it = files_.find(key);
  if (it != files_.end()) {
    it->second->used = ++clock_;
    return it->second;
  }
  if (files_.size() >= kMostFiles) {
    const auto oldest = std::min_element(
        files_.begin(), files_.end(),
        [](const auto& a, const auto& b) { return a.second->used < b.second->used; });
    dropped = std::move(oldest->second);
    files_.erase(oldest);
  }
  auto file = MakeRef<File>(key);
  file->used = ++clock_;
  files_.emplace(key, file);
  return file;
}

void ImageCache::Note(File& file, uint64_t after, uint64_t nr) {
  absl::MutexLock lock(&mu_);
  if (file.noted.size() < kMostSites) file.noted.emplace(after, nr);
}

Ref<const ImageCache::Copy> ImageCache::CopyFor(File& file, int host_fd, uint64_t offset,
                                                uint64_t length) {
  const auto fits = [&](const Ref<const Copy>& copy) {
    return copy && copy->start <= offset && offset + length <= copy->end;
  };
  Noted noted;
  {
    absl::MutexLock lock(&mu_);
    ++file.mappings;
    const bool due = !file.busy && file.noted.size() > file.built && file.copies < kMostCopies &&
                     file.mappings >= kFirstMappings << 2 * file.copies && length <= kMostBytes &&
                     bytes_ + length <= kMostInAll;
    if (!due) return fits(file.copy) ? file.copy : nullptr;
    file.busy = true;
    noted.assign(file.noted.begin(), file.noted.end());
  }
  const Result<Ref<Copy>> made = Make(file, host_fd, offset, length, noted);
  absl::MutexLock lock(&mu_);
  file.busy = false;
  file.built = noted.size();
  file.mappings = 0;
  ++file.copies;
  if (!made.ok()) return fits(file.copy) ? file.copy : nullptr;
  file.copy = *made;
  bytes_ += length;
  return file.copy;
}

void ImageCache::NoteCalls(File& program, uint64_t calls, bool patched) {
  calls = std::min(calls, kMostCalls);
  absl::MutexLock lock(&mu_);
  if (!program.calls.has_value()) {
    program.calls = 8 * calls;
    return;
  }
  const uint64_t average = *program.calls / 8;
  // Few from a patched one may be many: what it says counts for less, so that it does not come to
  // be born unpatched and patched by turns.
  const uint64_t weight = patched && calls < average ? 1 : 4;
  *program.calls += weight * calls;
  *program.calls -= weight * average;
}

bool ImageCache::Pays(const File& program) const {
  absl::MutexLock lock(&mu_);
  return !program.calls.has_value() || *program.calls >= 8 * kWorthPatching;
}

size_t ImageCache::RecordOf(File& file, uint64_t after) {
  absl::MutexLock lock(&mu_);
  size_t& record = file.records[after];
  if (record == 0 && next_record_ < kFirstOwnSite) record = next_record_++;
  return record;
}

Result<Ref<ImageCache::Copy>> ImageCache::Make(File& file, int host_fd, uint64_t offset,
                                               uint64_t length, const Noted& noted) {
  auto copy = MakeRef<Copy>();
  copy->start = offset;
  copy->end = offset + length;
  copy->fd = UniqueFd(memfd_create("patched", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  const int fd = copy->fd.get();
  if (!copy->fd.valid()) return Errno::Last();
  if (ftruncate(fd, static_cast<off_t>(copy->end)) != 0) return Errno::Last();
  TRY(CopyRange(host_fd, fd, offset, length));
  for (const auto& [after, nr] : noted) {
    if (after < offset + kTextBefore || after > copy->end) continue;
    std::optional<SiteForm> form = FormIn(host_fd, after, nr);
    if (!form.has_value()) continue;
    const size_t record = RecordOf(file, after);
    if (record == 0) break;
    const std::vector<uint8_t> code = PatchedCode(*form, after, record, /*step=*/0);
    const uint64_t at = after - kSyscallSize - form->displaced.size();
    if (pwrite(fd, code.data(), code.size(), static_cast<off_t>(at)) !=
        static_cast<ssize_t>(code.size())) {
      return Errno::Last();
    }
    copy->sites.push_back({.after = after, .nr = nr, .record = record, .form = *std::move(form)});
  }
  if (copy->sites.empty()) return Errno(ENOENT);
  if (fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return Errno::Last();
  }
  LOG_DEBUG("a copy of %d bytes of code with %d patched sites", static_cast<int>(length),
            static_cast<int>(copy->sites.size()));
  return copy;
}

}  // namespace platform::systrap
