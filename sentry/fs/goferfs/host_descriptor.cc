#include "sentry/fs/goferfs/host_descriptor.h"

namespace sentry {
namespace {

constexpr uint64_t kNever = uint64_t{1} << 63;
constexpr uint64_t kMuch = 256 << 10;

}  // namespace

bool HostDescriptor::IsMapped(size_t bytes) {
  if ((read_.load(std::memory_order_relaxed) & kNever) != 0) return false;
  return read_.fetch_add(bytes, std::memory_order_relaxed) >= kMuch;
}

std::shared_ptr<const FileWindow> HostDescriptor::Window(uint64_t size) {
  absl::MutexLock lock(&mu_);
  if (window_ != nullptr && window_->bytes().size() >= size) return window_;
  window_ = FileWindow::Map(fd_.get(), size, FileWindow::For::kReading);
  if (window_ == nullptr) read_.fetch_or(kNever, std::memory_order_relaxed);
  return window_;
}

}  // namespace sentry
