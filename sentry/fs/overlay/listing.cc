#include "sentry/fs/overlay/listing.h"

#include <cstring>

namespace sentry {

void Listing::Add(const DirEntry& entry) {
  offsets_.push_back(static_cast<uint32_t>(packed_.size()));
  char head[kHeadSize];
  std::memcpy(head, &entry.ino, sizeof(entry.ino));
  head[8] = static_cast<char>(entry.type);
  head[9] = static_cast<char>(entry.name.size());
  packed_.append(head, sizeof(head));
  packed_.append(entry.name);
}

void Listing::Get(size_t index, DirEntry& entry) const {
  const char* head = packed_.data() + offsets_[index];
  std::memcpy(&entry.ino, head, sizeof(entry.ino));
  entry.type = static_cast<uint8_t>(head[8]);
  entry.name.assign(head + kHeadSize, static_cast<uint8_t>(head[9]));
}

}  // namespace sentry
